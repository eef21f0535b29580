"""Is there a page for every public name, and does none ask the network for anything?

Do references lead to a page, and have pictures a text? Does a search find the page that answers?

Takes the folder that Sphinx built the site in, and fails with the names of what is wrong.
"""

import pkgutil
import re
import sys
from importlib import import_module
from pathlib import Path

import search

import skae

REFERENCE = r'<code class="xref py py-(?:class|func|meth) [^>]*>(?:<[^>]*>)?([^<]*)'
ANSWERS = {
    "missing values": "missing",
    "batch size": "tune",
    "epochs": "tune",
    "GPU": "scaling",
    "predict": "index",
    "embedding": "before_tsne",
    "save": "files",
}
ASKS = ('src="http', 'src="//', 'stylesheet" href="http')


def public_names():
    modules = [f"skae.{module.name}" for module in pkgutil.iter_modules(skae.__path__)]
    for module in ("skae", *(name for name in modules if "._" not in name)):
        names = import_module(module).__all__
        yield from (f"{module}.{name}" for name in names if not name.startswith("_"))


def has_page(site, name):
    page = site / "generated" / f"{name}.html"
    return page.exists() and f'id="{name}"' in page.read_text("utf-8")


def faults(text):
    """What is wrong with a page."""
    yield from (what for what in ASKS if what in text)
    linked = re.sub(f"<a [^>]*>{REFERENCE}", "", text)
    yield from (f"no link for {name}" for name in re.findall(REFERENCE, linked))
    pictures = re.findall(r"<img [^>]*>", text)
    yield from (f"no alt for {one}" for one in pictures if " alt=" not in one)


def main(folder):
    site, names = Path(folder), [*public_names()]
    pages = [*site.rglob("*.html")]
    wrong = [f"{name} has no page" for name in names if not has_page(site, name)]
    wrong += [
        f"{page.relative_to(site)} has {fault}"
        for page in pages
        for fault in faults(page.read_text("utf-8"))
    ]
    index = search.read(site)
    wrong += [
        f"a search for {query} finds {first} first, not {page}"
        for query, page in ANSWERS.items()
        if (first := search.pages(index, query)[0]) != f"user_guide/{page}"
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(pages)} pages, one for each of {len(names)} public names")


if __name__ == "__main__":
    main(*sys.argv[1:])
