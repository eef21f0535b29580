"""Where other projects describe what these pages name, for intersphinx, without a network.

Each project is an address, the page of a name, and the names by their role. `write` makes of
them the files that Sphinx reads. `.ci/check_site.py` finds what the docs use and is not here.
"""

import zlib

CLASS, FUNCTION, METHOD, LABEL, TERM = (
    "py:class",
    "py:function",
    "py:method",
    "std:label",
    "std:term",
)

SKLEARN = {
    CLASS: (
        "calibration.CalibrationDisplay",
        "compose.ColumnTransformer",
        "decomposition.FactorAnalysis",
        "decomposition.KernelPCA",
        "decomposition.NMF",
        "decomposition.PCA",
        "ensemble.IsolationForest",
        "impute.IterativeImputer",
        "impute.MissingIndicator",
        "manifold.TSNE",
        "mixture.GaussianMixture",
        "neighbors.LocalOutlierFactor",
        "neural_network.MLPRegressor",
        "pipeline.Pipeline",
        "preprocessing.OneHotEncoder",
        "preprocessing.StandardScaler",
        "utils.metadata_routing.MetadataRequest",
    ),
    FUNCTION: ("manifold.trustworthiness", "set_config"),
}

#: By project: the address, and lines of role, name, page and title.
PROJECTS = {
    "sklearn": (
        "https://scikit-learn.org/stable/",
        [
            (role, f"sklearn.{name}", f"modules/generated/sklearn.{name}.html#$", "-")
            for role, names in SKLEARN.items()
            for name in names
        ]
        + [
            (
                METHOD,
                "sklearn.decomposition.PCA.score_samples",
                "modules/generated/sklearn.decomposition.PCA.html#$",
                "-",
            ),
            (LABEL, "metadata_routing", "metadata_routing.html", "Metadata Routing"),
            (
                LABEL,
                "df_output_transform",
                "modules/df_output_transform.html",
                "Pandas/Polars Output for Transformers",
            ),
            (
                LABEL,
                "sphx_glr_auto_examples_miscellaneous_plot_set_output.py",
                "auto_examples/miscellaneous/plot_set_output.html",
                "Introducing the set_output API",
            ),
            (TERM, "meta-estimator", "glossary.html#term-meta-estimator", "-"),
        ],
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        [
            (CLASS, "numpy.ndarray", "reference/generated/numpy.ndarray.html#$", "-"),
            (
                CLASS,
                "numpy.random.RandomState",
                "reference/random/legacy.html#$",
                "-",
            ),
            (TERM, "array_like", "glossary.html#term-array_like", "-"),
        ],
    ),
    "keras": (
        "https://keras.io/api/",
        [
            (CLASS, "keras.Model", "models/model/", "-"),
            (CLASS, "keras.callbacks.Callback", "callbacks/base_callback/", "-"),
            (CLASS, "keras.callbacks.TensorBoard", "callbacks/tensorboard/", "-"),
            (CLASS, "keras.optimizers.Optimizer", "optimizers/", "-"),
            (
                CLASS,
                "keras.optimizers.schedules.LearningRateSchedule",
                "optimizers/learning_rate_schedules/learning_rate_schedule/",
                "-",
            ),
        ],
    ),
    "matplotlib": (
        "https://matplotlib.org/stable/",
        [
            (CLASS, name, f"api/_as_gen/{name}.html#$", "-")
            for name in ("matplotlib.axes.Axes", "matplotlib.figure.Figure")
        ],
    ),
}

#: Types of parameters that have a page, as numpydoc finds them in docstrings.
TYPES = {
    "array-like": ":term:`array-like <numpy:array_like>`",
    "ndarray": "numpy.ndarray",
    "RandomState": "numpy.random.RandomState",
    "Axes": "matplotlib.axes.Axes",
    "Figure": "matplotlib.figure.Figure",
    **{name: f":class:`{name}`" for _, name, *_ in PROJECTS["keras"][1]},
}


def write(folder):
    """Write an inventory for each project; returns the mapping that intersphinx takes."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, entries) in PROJECTS.items():
        lines = [
            f"{name} {role} 1 {page} {title}\n" for role, name, page, title in entries
        ]
        head = (
            f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
            "# The remainder of this file is compressed using zlib.\n"
        )
        path = folder / f"{project}.inv"
        path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
        mapping[project] = (address, str(path))
    return mapping
