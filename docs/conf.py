"""Sphinx: `python -m sphinx docs docs/_build`, with the extra `docs` installed."""

import skae

project = "skae"
copyright = "2026, The skae developers"
release = version = skae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
numpydoc_show_class_members = False
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
}
html_theme = "alabaster"
exclude_patterns = ["_build"]
