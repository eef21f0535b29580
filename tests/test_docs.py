"""The site builds without a warning, and has a page for every public name."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = [
    f"{module}.{name}"
    for module in (
        "skae",
        "skae.networks",
        "skae.noise",
        "skae.likelihoods",
        "skae.plotting",
        "skae.callbacks",
    )
    for name in import_module(module).__all__
    if not name.startswith("_")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy: Sphinx writes among its sources."""
    copy = tmp_path_factory.mktemp("copy")
    written = shutil.ignore_patterns("_build", "gallery", "generated")
    for folder in ("docs", "examples"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=written)
    for name in ("benchmarks/README.md", "CHANGELOG.md"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    options = ("-W", "--keep-going", "-q", "-D", "plot_gallery=0")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", "site"],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "site"


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_page(site, name):
    page = site / "generated" / f"{name}.html"
    assert f'id="{name}"' in page.read_text("utf-8")


@pytest.mark.slow
def test_no_page_asks_the_network_for_anything(site):
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        for what in ('src="http', 'src="//', 'stylesheet" href="http'):
            assert what not in text, page
