"""What a search of the built site finds first, by the scores of Sphinx' searchtools.js."""

import json
import re

from sphinx.search.en import SearchEnglish

TITLE, TITLE_PART, TERM, TERM_PART = 15, 7, 5, 2
NAME, NAME_PART, PRIORITY = 11, 6, {0: 15, 1: 5, 2: -5}
LANGUAGE = SearchEnglish({})


def read(site):
    """Return the index of a site, which Sphinx wrote as a call of a function."""
    text = (site / "searchindex.js").read_text("utf-8")
    return json.loads(text[text.index("(") + 1 : text.rindex(")")])


def pages(index, query):
    """Return the pages that a query finds, the best first."""
    query = query.lower().strip()
    results = [*titles(index, query), *objects(index, query), *terms(index, query)]
    main, other = entries(index, query)
    ranked = [*sorted(results + main, key=_rank), *sorted(other, key=_rank)]
    return [*dict.fromkeys(index["docnames"][file] for *_, file in ranked)]


def _rank(result):
    score, name, _ = result
    return -score, name.lower()


def _share(score, query, text):
    return int(score * len(query) / len(text) + 0.5)


def titles(index, query):
    """Score titles and headings of which the query is at least half."""
    for title, places in index["alltitles"].items():
        if query in title.lower() and len(query) >= len(title) / 2:
            for file, _ in places:
                name = index["titles"][file]
                if name == title:
                    yield _share(TITLE, query, title) + 1, title, file
                else:
                    yield _share(TITLE, query, title), f"{name} > {title}", file


def entries(index, query):
    """Score entries of the directive `index`: those with an exclamation mark, and others."""
    main, other = [], []
    for entry, places in index["indexentries"].items():
        if query in entry and len(query) >= len(entry) / 2:
            for file, _, is_main in places:
                result = _share(100, query, entry), index["titles"][file], file
                (main if is_main else other).append(result)
    return main, other


def objects(index, query):
    """Score classes, functions and methods by their names."""
    words = set(query.split())
    for prefix, found in index["objects"].items():
        for file, kind, priority, _, name in found:
            full = f"{prefix}.{name}"
            low, last = full.lower(), name.lower().rpartition(".")[2]
            about = f"{full} {index['objnames'][str(kind)][2]} {index['titles'][file]}"
            for word in words:
                if word in low and all(each in about.lower() for each in words - {word}):
                    score = NAME if word in (low, last) else NAME_PART * (word in last)
                    yield score + PRIORITY.get(priority, 0), full, file


def terms(index, query):
    """Score pages that have all words of the query, by the best of them."""
    words = {
        LANGUAGE.stem(word) for word in query.split() if word not in LANGUAGE.stopwords
    }
    scores = [_of_word(index, word) for word in words]
    for file in set.intersection(*map(set, scores)):
        yield max(score[file] for score in scores), index["titles"][file], file


def _of_word(index, word):
    scores = {}
    for key, whole, part in (
        ("terms", TERM, TERM_PART),
        ("titleterms", TITLE, TITLE_PART),
    ):
        found = {word: whole} if word in index[key] else {}
        if not found and len(word) > 2:
            found = {
                term: part for term in index[key] if re.search(re.escape(word), term)
            }
        for term, score in found.items():
            files = index[key][term]
            for file in files if isinstance(files, list) else [files]:
                scores[file] = score
    return scores
