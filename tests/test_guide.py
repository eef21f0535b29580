"""The guide: each page is listed, begins with code, and shows what its examples print."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "user_guide"
PAGES = {path.stem: path.read_text("utf-8") for path in sorted(GUIDE.glob("*.rst"))}
TEXTS = {
    **PAGES,
    "getting_started": (GUIDE.parent / "getting_started.rst").read_text("utf-8"),
}
WITHOUT_PICTURE = {"index", "own_network", "files", "deploy", "tools", "scaling"}
WITHOUT_PICTURE |= {"guarantees", "crossings"}
TABLES = {"crossings"}  # of which a table is the subject


def test_the_index_has_a_line_for_each_page():
    lines = re.findall(r"^:doc:`(\w+)`\n   \S", PAGES["index"], re.M)
    assert sorted(lines) == sorted({*PAGES} - {"index"})


@pytest.mark.parametrize("page", sorted({*PAGES} - WITHOUT_PICTURE))
def test_a_page_shows_a_picture_soon(page):
    assert "gallery-picture::" in PAGES[page]


@pytest.mark.parametrize("page", sorted({*PAGES} - TABLES))
def test_code_comes_before_tables(page):
    text = PAGES[page]
    assert ".. list-table::" not in text[: text.index(">>> ")]


@pytest.mark.parametrize("page", sorted({*PAGES} - TABLES))
def test_tables_have_at_most_five_columns(page):
    for row in re.findall(r"^   \* - .*\n(?:    .*\n)*", PAGES[page], re.M):
        assert len(re.findall(r"^   [* ] -", row, re.M)) <= 5, row


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_examples_print_what_a_reader_wants_to_see(page):
    assert "True" not in TEXTS[page].splitlines()


def test_pictures_are_those_of_examples_that_there_are():
    named = re.findall(r"gallery-picture:: (\w+) \d", "".join(PAGES.values()))
    assert {*named} <= {path.stem for path in (ROOT / "examples").glob("plot_*.py")}
