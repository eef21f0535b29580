"""A user's script is checked as users' editors do it: mypy, and pyright at its strictest."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SCRIPT = """
from __future__ import annotations

from typing import Any, assert_type

import dask.array
import keras
import numpy as np
import pandas as pd
import polars as pl
import zarr
from scipy import sparse

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.likelihoods import Bernoulli, Gaussian, Likelihood
from skae.impute import AutoencoderImputer
from skae.networks import (
    ConvNetwork,
    CustomNetwork,
    DenseNetwork,
    Network,
    SequenceNetwork,
)
from skae.noise import GaussianNoise, Noise
from skae.outliers import ReconstructionOutlierDetector
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skae.plotting import (
    CodeDisplay,
    ComponentsDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)

X = np.random.default_rng(0).normal(size=(60, 4))

# -- fitting returns what is fitted, whose methods and attributes have types

autoencoder = AutoencoderTransformer(2, max_iter=1, n_splits=1)
assert_type(autoencoder.fit(X), AutoencoderTransformer)
assert_type(autoencoder.fit(X, sample_weight=np.ones(60), X_val=X[:40]), AutoencoderTransformer)
assert_type(autoencoder.partial_fit(X), AutoencoderTransformer)
assert_type(autoencoder.set_params(max_iter=2), AutoencoderTransformer)
assert_type(autoencoder.set_output(transform="default"), AutoencoderTransformer)
Z = autoencoder.fit(X).transform(X)
assert_type(Z, np.ndarray)
assert_type(autoencoder.fit_transform(X), np.ndarray)
assert_type(autoencoder.inverse_transform(Z), Any)
assert_type(autoencoder.reconstruct(X), Any)
assert_type(autoencoder.impute(X), Any)
assert_type(autoencoder.score_samples(X), np.ndarray)
assert_type(autoencoder.score_features(X), Any)
assert_type(autoencoder.score(X), float)
assert_type(autoencoder.get_feature_names_out(), np.ndarray)
assert_type(autoencoder.n_components_, int)
assert_type(autoencoder.n_samples_, int)
assert_type(autoencoder.n_features_in_, int)
assert_type(autoencoder.n_iter_, int)
assert_type(autoencoder.network_, Network)
assert_type(autoencoder.encoder_, keras.Model)
assert_type(autoencoder.decoder_, keras.Model)
assert_type(autoencoder.autoencoder_, keras.Model)
assert_type(autoencoder.mean_, np.ndarray)
assert_type(autoencoder.components_, np.ndarray)
assert_type(autoencoder.explained_variance_, np.ndarray)
assert_type(autoencoder.explained_variance_ratio_, np.ndarray)
assert_type(autoencoder.singular_values_, np.ndarray)
assert_type(autoencoder.noise_variance_, float)
assert_type(autoencoder.history_, dict[str, list[float]])
assert_type(autoencoder.loss_curve_, list[float])
assert_type(autoencoder.loss_, float)
assert_type(autoencoder.validation_scores_, list[float] | None)
assert_type(AutoencoderTransformer(2, max_iter=0).fit(X).get_covariance(), np.ndarray)

denoiser = DenoisingAutoencoder(2, noise=GaussianNoise(0.1, clip=(-3, 3)), max_iter=0)
assert_type(denoiser.fit(X, X_clean=X), DenoisingAutoencoder)
assert_type(denoiser.reconstruct(X), Any)
assert_type(denoiser.score(X, X_clean=X), float)

vae = VAETransformer(2, max_iter=0, n_iter_no_change=np.inf)
assert_type(vae.fit(X), VAETransformer)
assert_type(vae.posterior(X), tuple[np.ndarray, np.ndarray])
assert_type(vae.sample(3, random_state=0), Any)
assert_type(vae.elbo(X), np.ndarray)
assert_type(vae.kl_per_component_, np.ndarray)
assert_type(vae.n_active_components_, int)
assert_type(vae.noise_variance_, float | np.ndarray | None)

detector = ReconstructionOutlierDetector(autoencoder, contamination=0.2)
assert_type(detector.fit(X), ReconstructionOutlierDetector)
assert_type(detector.fit(X).predict(X), np.ndarray)
assert_type(detector.score_features(X), np.ndarray)
assert_type(detector.offset_, float)

imputer = AutoencoderImputer(vae, add_indicator=True)
assert_type(imputer.fit(X), AutoencoderImputer)
assert_type(imputer.transform(X), Any)
assert_type(imputer.inverse_transform(X), Any)
assert_type(imputer.get_feature_names_out(), np.ndarray)
assert_type(imputer.n_components_, int)

display = LatentSpaceDisplay.from_estimator(autoencoder, X)
assert_type(display, LatentSpaceDisplay)
assert_type(LossCurveDisplay.from_estimator(vae), LossCurveDisplay)
assert_type(display.ax_, Axes)
assert_type(display.figure_, Figure)
assert_type(ComponentsDisplay.from_estimator(vae).ax_, Axes)
assert_type(TraversalDisplay.from_estimator(vae, X).figure_, Figure)
assert_type(ReconstructionDisplay.from_estimator(vae, X).ax_, Axes)
assert_type(CodeDisplay.from_estimator(vae, X).ax_, Axes)
assert_type(autoencoder.start_loss_, float | None)

# -- what is given: rows of all kinds, and parameters


def kinds(path: str, stored: zarr.Array[Any], lazy: dask.array.Array) -> None:
    autoencoder.fit([[0.0, 1.0], [2.0, 3.0]])
    autoencoder.fit(X.reshape(60, 2, 2))
    autoencoder.fit(np.memmap(path, shape=(60, 4)))
    autoencoder.fit(pd.DataFrame(X)).transform(pd.DataFrame(X))
    autoencoder.fit(pl.DataFrame(X)).transform(pl.DataFrame(X))
    autoencoder.fit(sparse.csr_array(X)).transform(sparse.csr_matrix(X))
    autoencoder.fit(stored, X_val=X)
    autoencoder.fit(lazy)
    LatentSpaceDisplay.from_estimator(autoencoder, sparse.csr_array(X))
    loaded = skae.load(path)
    assert_type(loaded, Any)
    if isinstance(loaded, VAETransformer):
        loaded.sample(3)


class Laplace(Likelihood):
    def per_sample(
        self, x: Any, output: Any, log_noise: Any = None, present: Any = 1.0
    ) -> Any:
        return (present * abs(x - output)).sum(-1)


class Shift(Noise):
    def corrupt(self, x: Any, values: dict[str, Any], seed: Any) -> Any:
        return x + 1.0


class Identity(Network):
    def encode(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x

    def decode(self, z: keras.KerasTensor, shape: tuple[int, ...]) -> keras.KerasTensor:
        return z


DenoisingAutoencoder(network=Identity(), noise=Shift(), loss=Laplace())


def residual(x: keras.KerasTensor) -> keras.KerasTensor:
    return x


AutoencoderTransformer(network=(32, 16)).set_params(network__dropout=0.1)
AutoencoderTransformer(0.9, network=DenseNetwork((32, 16), activation="relu"))
AutoencoderTransformer("mle", optimizer=keras.optimizers.Adam(), random_state=0)
AutoencoderTransformer(None, network=ConvNetwork((8, 8, 1), filters=[8, 4]))
AutoencoderTransformer(network=SequenceNetwork((10, 1), cell="gru"), loss="huber")
AutoencoderTransformer(network=CustomNetwork(residual, residual), callbacks=[])
AutoencoderTransformer(loss=[("squared_error", [0, 1]), (Bernoulli(), slice(2, 4))])
DenoisingAutoencoder(noise=lambda x, seed: x, whiten=True, batch_size=32)
pairs = [("gaussian_diag", [0, 1]), ("categorical", [2, 3])]
VAETransformer(likelihood=pairs, random_state=np.random.RandomState(0))
VAETransformer(likelihood=Gaussian(per_feature=True))
"""

#: Lines that are wrong, and that each checker must say so of.
WRONG = """
from skae import AutoencoderTransformer, VAETransformer
from skae.networks import SequenceNetwork

AutoencoderTransformer(init="pca")
AutoencoderTransformer(2, None)
AutoencoderTransformer(max_iter="many")
AutoencoderTransformer(random_states=0)
VAETransformer(likelihood="normal")
SequenceNetwork((10, 1), cell="rnn")
AutoencoderTransformer().fit(3.5, sample_weights=None)
AutoencoderTransformer().n_components_.upper()
"""


def run(checker, path, *options, **environment):
    done = subprocess.run(
        [sys.executable, "-m", checker, *options, path.name],
        cwd=path.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode < 2, done.stdout + done.stderr
    return done.stdout


def mypy(path):
    """The numbers of the lines that mypy finds wrong, and what it says."""
    options = ["--strict", "--follow-imports=silent", "--allow-untyped-calls"]
    options += ["--disable-error-code=import-untyped"]  # SciPy's stubs are extra
    said = run("mypy", path, *options, MYPYPATH=str(ROOT))
    return {int(line) for line in re.findall(r":(\d+): error", said)}, said


def pyright(path):
    """The numbers of the lines that pyright finds wrong, and what it says."""
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    settings |= {"reportMissingTypeStubs": False}
    (path.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    options = ["--outputjson", "--pythonpath", sys.executable]
    found = json.loads(run("basedpyright", path, *options))["generalDiagnostics"]
    lines = [one["range"]["start"]["line"] + 1 for one in found]
    said = [one["message"] for one in found]
    return {*lines}, "\n".join(map(str, zip(lines, said, strict=True)))


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_users_script_has_types(checker, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    lines, said = checker(path)
    assert not lines, said


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_wrong_is_found(checker, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(WRONG)
    wrong = {i for i, line in enumerate(WRONG.split("\n"), 1) if "(" in line}
    lines, said = checker(path)
    assert lines == wrong, said


@pytest.mark.slow
def test_the_script_runs():
    exec(SCRIPT, {})
