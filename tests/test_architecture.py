"""The design's promises: what is added takes one class, and names are names."""

import ast
import graphlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils._testing import assert_docstring_consistency

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.likelihoods import Likelihood
from skae.networks import DenseNetwork, SequenceNetwork
from skae.noise import Noise

X = StandardScaler().fit_transform(load_diabetes().data)
SMALL = DenseNetwork((8,))

ROOT = Path(skae.__file__).parent
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__"): path
    for path in ROOT.rglob("*.py")
}


def tree():
    """The tree in CONTRIBUTING.md: the files of each folder, the highest folder first."""
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    lines = text[text.index("    skae/\n") :].split("\n\n")[0].split("\n")[1:]
    folders = {"": []}
    for line in lines:
        first, *names = line.split()
        if first.endswith("/"):
            folders[first.removesuffix("/")] = names
        else:  # files, and after some spaces what they are
            folders[""] += line.strip().split("   ")[0].split()
    return folders


#: The folders from the top: what stands in one imports what is below it. `onnx` and
#: `plotting` are leaves, which no other folder imports.
FOLDERS = [name for name in tree() if name not in ("", "onnx", "plotting")]


def imports(path):
    """The modules of skae that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skae"):
            module = node.module.replace(".", "/").removeprefix("skae").strip("/")
            for alias in node.names:
                inner = f"{module}/{alias.name}".strip("/")
                yield inner if inner in MODULES else module


def test_the_tree_names_every_file():
    found = {
        f"{folder}/{name}".strip("/")
        for folder, names in tree().items()
        for name in names
    }
    assert found | {folder for folder in tree() if folder} == {*MODULES}


def test_imports_only_go_down():
    for name, path in MODULES.items():
        room = name.split("/")[0]
        if room in FOLDERS:
            below = FOLDERS[FOLDERS.index(room) :]
            others = {other.split("/")[0] for other in imports(path)}
            assert others <= {*below, "noise", "_version"}, name


def test_no_imports_go_in_circles():
    imported = {
        name: {other for other in imports(path) if other != name}
        for name, path in MODULES.items()
    }
    graphlib.TopologicalSorter(imported).prepare()


@pytest.mark.parametrize(
    ("backend", "room"), [("tensorflow", "_backend/tensorflow"), ("jax", "_backend/jax")]
)
def test_a_backend_is_in_one_file(backend, room):
    files = [
        name for name, path in MODULES.items() if f"import {backend}" in path.read_text()
    ]
    assert [name for name in files if name != "callbacks"] == [room]


class Laplace(Likelihood):
    """A toy: a double exponential distribution of unit scale around the output."""

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return ops.sum(present * (ops.abs(x - output) + np.log(2)), axis=-1)


@pytest.mark.parametrize(
    "estimator",
    [
        VAETransformer(likelihood=Laplace(), network=SMALL),
        AutoencoderTransformer(loss=Laplace(), network=SMALL),
        DenoisingAutoencoder(loss=Laplace(), network=SMALL),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_likelihood_takes_one_class(estimator):
    estimator.set_params(max_iter=5, random_state=0).fit(X)
    assert estimator.history_["val_loss"][-1] < estimator.history_["val_loss"][0]
    assert np.isfinite(estimator.score(X))


class Shift(Noise):
    """A toy: adds the same number to all values of a row."""

    def __init__(self, size=1.0):
        self.size = size

    def values(self, rows):
        return {"size": self.size}

    def corrupt(self, x, values, seed):
        from keras import ops

        return x + values["size"] * ops.cast(seed.normal((x.shape[0], 1)), x.dtype)


def test_a_noise_takes_one_class():
    denoiser = DenoisingAutoencoder(4, noise=Shift(), max_iter=0).fit(X)
    shifted = X + np.random.default_rng(0).normal(size=(len(X), 1))
    plain = AutoencoderTransformer(4, max_iter=0).fit(X)
    error = -denoiser.score(shifted, X_clean=X)
    assert error < 0.9 * ((plain.reconstruct(shifted) - X) ** 2).sum(axis=1).mean()


def test_weights_have_names_and_no_others():
    from skae._model.graph import build
    from skae._model.linear_path import replaced

    fitted = AutoencoderTransformer(network=SMALL, max_iter=1).fit(X)
    graph, weights = build(fitted._state.specification, "float32"), fitted._state.weights
    assert "encoder/encoder_dense_0/kernel" in weights
    graph.load(weights)
    with pytest.raises(KeyError, match="encoder/code/kernel"):
        graph.load({k: v for k, v in weights.items() if k != "encoder/code/kernel"})
    with pytest.raises(KeyError, match="nowhere"):
        graph.load(weights | {"nowhere": np.zeros(2)})
    with pytest.raises(KeyError, match="nowhere"):
        replaced(weights, {"nowhere": 1.0})


def test_warnings_point_at_the_line_that_fits():
    diverges = AutoencoderTransformer(
        network=SMALL, optimizer="sgd", learning_rate_init=1e3, max_iter=9
    )
    collapses = VAETransformer(
        network=SMALL, beta=1e4, max_iter=1, n_iter_no_change=np.inf
    )
    ends = AutoencoderTransformer(network=SMALL, max_iter=1)
    for estimator in (diverges, collapses, ends):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            line = sys._getframe().f_lineno + 1
            estimator.fit(X)
        mine = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
        assert [(w.filename, w.lineno) for w in mine] == [(__file__, line)]


def test_a_schedule_of_ones_own_works():
    import keras

    class Warmup(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, steps=100):
            self.steps = steps

        def __call__(self, step):
            return 0.01 * keras.ops.minimum(keras.ops.cast(step, "float32") / 100, 1.0)

        def get_config(self):
            return {"steps": self.steps}

    given = Warmup()
    for parameters in (
        {"learning_rate_init": given},
        {"optimizer": keras.optimizers.Adam(given)},
    ):
        fitted = AutoencoderTransformer(
            network=SMALL, max_iter=5, random_state=0, **parameters
        ).fit(X)
        assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_the_last_steps_may_be_missing_in_every_training_row_of_a_fold():
    series = np.random.default_rng(0).normal(size=(40, 6, 1)).cumsum(axis=1)
    short = series.copy()
    short[:, 4:] = np.nan
    network = SequenceNetwork((6, 1), units=4)
    fitted = AutoencoderTransformer(network=network, max_iter=2, random_state=0).fit(
        short
    )
    assert np.isfinite(fitted.transform(series)).all()
    assert fitted.mean_[4:].tolist() == [0, 0]


def test_a_batch_beyond_the_rows_is_the_rows():
    estimator = AutoencoderTransformer(
        network=SMALL, max_iter=2, early_stopping=False, random_state=0
    )
    few = [
        estimator.set_params(batch_size=size).fit_transform(X[:50]) for size in (50, 9999)
    ]
    assert_allclose(*few)


@pytest.mark.parametrize("other", [DenoisingAutoencoder, VAETransformer])
def test_the_same_parameters_are_described_by_the_same_words(other):
    same = [
        *("n_components", "network", "optimizer", "learning_rate_init", "alpha"),
        *("max_iter", "shuffle", "n_iter_no_change", "validation_fraction"),
        *("warm_start", "callbacks", "verbose", "random_state"),
    ]
    attributes = ["network_", "mean_", "loss_curve_", "loss_", "n_iter_", "encoder_"]
    attributes += ["components_", "singular_values_", "n_samples_"]
    assert_docstring_consistency(
        [AutoencoderTransformer, other],
        include_params=same,
        include_attrs=[*attributes, "n_components_", "validation_scores_"],
    )
