"""Sphinx: docs/README.md has the command."""

import sys
from importlib import import_module
from pathlib import Path

from jinja2 import Template
from numpydoc import xref

import skae

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "skae"
copyright = "2026, The skae developers"
release = version = skae.__version__

extensions = [
    "gallery_picture",
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["README.md", "_build", "_templates"]
templates_path = ["_templates"]

# -- reference: the page of every public name, with all of its methods

autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False


def write_api(
    public=(
        "skae",
        "skae.networks",
        "skae.noise",
        "skae.likelihoods",
        "skae.outliers",
        "skae.impute",
        "skae.onnx",
        "skae.plotting",
        "skae.callbacks",
    ),
):
    """Write api.rst from the modules' `__all__`, if it is not there as it should be."""
    names = {}
    for module in public:
        exported = import_module(module).__all__
        names[module] = [name for name in exported if not name.startswith("_")]
    template = Template((HERE / "_templates" / "api.rst").read_text("utf-8"))
    text, page = template.render(names=names), HERE / "api.rst"
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


def setup(app):
    write_api()


# -- other projects' pages, known without a network: docs/README.md says how to add one

intersphinx_mapping = {
    project: (address, f"_inventories/{project}.inv")
    for project, address in {
        "sklearn": "https://scikit-learn.org/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "keras": "https://keras.io/api/",
        "matplotlib": "https://matplotlib.org/stable/",
    }.items()
}
xref.DEFAULT_LINKS.clear()  # int and None need no link
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {
    "array-like": ":term:`array-like <numpy:array_like>`",
    "ndarray": "numpy.ndarray",
    "RandomState": "numpy.random.RandomState",
    "Axes": "matplotlib.axes.Axes",
    "Figure": "matplotlib.figure.Figure",
    **{
        f"keras.{name}": f":class:`keras.{name}`"
        for name in (
            "Model",
            "callbacks.Callback",
            "callbacks.TensorBoard",
            "optimizers.Optimizer",
            "optimizers.schedules.LearningRateSchedule",
        )
    },
}
numpydoc_xref_ignore = "all"

# -- gallery

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "ignore_pattern": "quickstart",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skae",),
    "image_scrapers": ("pictures.scrape",),
    "capture_repr": (),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,  # its page loads scripts from elsewhere
}

# -- HTML

html_theme = "pydata_sphinx_theme"
html_title = "skae"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["skae.css"]
html_copy_source = False
html_show_sourcelink = False
alone = "index getting_started how_it_works benchmarks tutorial changelog"
html_sidebars = {page: [] for page in alone.split()}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        "index": [],
    },
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
