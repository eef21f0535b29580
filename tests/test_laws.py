"""Laws of a closed form: what must not matter does not, for settings drawn at random.

The order of rows and of features, units, a weight of two for a row twice, sparse rows,
float32, files, and one row at a time.
"""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.likelihoods import Huber, NegativeBinomial, Poisson
from skae.networks import DenseNetwork
from skae.noise import GaussianNoise, MaskingNoise, SaltAndPepperNoise

WINE = StandardScaler().fit_transform(load_wine().data) * np.arange(1, 14) + 2
CANCER = StandardScaler().fit_transform(load_breast_cancer().data)[:160, :12]
DIGITS = load_digits().data
CLASSES = np.eye(3)[load_wine().target]
MIXED = np.hstack([WINE[:, :5], CLASSES, WINE[:, 5:8] > 2, DIGITS[:178, 18:21]])
BY_COLUMN = [
    ("gaussian_diag", [0, 1, 2, 3, 4]),
    ("categorical", [5, 6, 7]),
    ("bernoulli", [8, 9, 10]),
    ("poisson", [11, 12, 13]),
]
AS_LOSSES = [
    ("squared_error", [0, 1, 2, 3, 4]),
    ("categorical_crossentropy", [5, 6, 7]),
    ("binary_crossentropy", [8, 9, 10]),
    ("poisson", [11, 12, 13]),
]
REALS, SHARES = (
    [WINE, CANCER],
    [DIGITS[:150, 18:30] / 16, (DIGITS[:150, 34:46] > 7) * 1.0],
)
COUNTS = [DIGITS[:150, 18:30], DIGITS[:120, 26:34]]


def setting(seed):
    """An estimator, rows for it, weights, and some values that are missing or none."""
    rng = np.random.default_rng(seed)

    def one(of):
        return of[rng.integers(len(of))]

    kind = one([AutoencoderTransformer, DenoisingAutoencoder, VAETransformer])
    given, rows = one(
        {
            AutoencoderTransformer: [
                *[("squared_error", REALS), ("absolute_error", REALS)],
                *[(Huber(0.5), REALS), ("binary_crossentropy", SHARES)],
                *[("poisson", COUNTS), (Poisson(total=50.0), COUNTS)],
                (AS_LOSSES, [MIXED]),
            ],
            DenoisingAutoencoder: [
                *[("squared_error", REALS), ("binary_crossentropy", SHARES)],
                *[("squared_error", SHARES), ("poisson", COUNTS)],
            ],
            VAETransformer: [
                *[("gaussian", REALS), ("gaussian_diag", REALS), ("bernoulli", SHARES)],
                *[("poisson", COUNTS), ("negative_binomial", COUNTS)],
                *[(Poisson(total=50.0), COUNTS), (NegativeBinomial(total=50.0), COUNTS)],
                (BY_COLUMN, [MIXED]),
            ],
        }[kind]
    )
    X = one(rows)
    parameter = "likelihood" if kind is VAETransformer else "loss"
    more = {parameter: given, "max_iter": 0, "network": DenseNetwork((4,))}
    if kind is DenoisingAutoencoder:
        noises = [GaussianNoise(0.4), MaskingNoise(0.3), SaltAndPepperNoise(0.2)]
        if rows is SHARES:
            noises.append(GaussianNoise(0.3, relative=False, clip=(0, 1)))
        more["noise"] = one(noises)
    X = X.astype(float)
    missing = rng.random(X.shape) < one([0.0, 0.15])
    if X.shape == MIXED.shape:
        missing[:, 5:8] = missing[:, 5:6]
    X[missing] = np.nan
    weight = one([None, rng.integers(1, 4, len(X)), rng.integers(0, 3, len(X))])
    return kind(int(rng.integers(1, 5)), **more), X, weight


def found(estimator, X, fitted_to, weight=None, **given):
    """What a fit says of rows, in no direction of the components."""
    model = clone(estimator).fit(fitted_to, sample_weight=weight, **given)
    back = model.reconstruct(X)
    impute = model.impute(X) if np.isnan(X).any() else back
    codes = np.abs(model.transform(X))
    return {
        "score_samples": model.score_samples(X),
        "reconstruct": back,
        "impute": impute,
        "codes": codes,
        "ratio": model.explained_variance_ratio_,
        "history": np.array(list(model.history_)),
    }


def alike(one, other, tolerance=1e-6, names=None):
    for name in names or one:
        if one[name].dtype.kind == "U":
            assert list(one[name]) == list(other[name])
            continue
        scale = np.abs(one[name]).max(initial=1e-9)
        assert_allclose(
            other[name], one[name], rtol=0, atol=tolerance * scale, err_msg=name
        )


SETTINGS = 48


@pytest.mark.parametrize("seed", range(SETTINGS))
def test_order_weights_and_seeds_do_not_matter(seed):
    estimator, X, weight = setting(seed)
    rng = np.random.default_rng(seed)
    # components that tie would be free to turn
    wanted = found(estimator, X, X, weight)
    order = rng.permutation(len(X))
    shuffled = None if weight is None else weight[order]
    alike(wanted, found(estimator, X, X[order], shuffled), 1e-5)
    if weight is not None:
        repeated = np.repeat(X, weight, axis=0)
        alike(wanted, found(estimator, X, repeated), 1e-5)
    estimator.set_params(random_state=seed + 1)
    alike(wanted, found(estimator, X, X, weight), 1e-9)


@pytest.mark.parametrize("seed", range(0, SETTINGS, 2))
def test_the_order_of_features_does_not_matter(seed):
    estimator, X, weight = setting(seed)
    order = np.random.default_rng(seed).permutation(X.shape[1])
    wanted = found(estimator, X, X, weight)
    parameter = "likelihood" if isinstance(estimator, VAETransformer) else "loss"
    given = getattr(estimator, parameter)
    if isinstance(given, list):
        place = np.argsort(order)
        moved = [(one, place[columns].tolist()) for one, columns in given]
        estimator.set_params(**{parameter: moved})
    other = found(estimator, X[:, order], X[:, order], weight)
    for name in ("reconstruct", "impute"):
        wanted[name] = wanted[name][:, order]
    alike(wanted, other, 1e-5)


@pytest.mark.parametrize("seed", range(1, SETTINGS, 2))
def test_float32_and_sparse_rows_and_single_ones_are_the_same(seed, tmp_path):
    estimator, X, weight = setting(seed)
    wanted = found(estimator, X, X, weight)
    if not np.isnan(X).any():
        rows = sparse.csr_array(X)
        model = clone(estimator).fit(rows, sample_weight=weight)
        scale = np.abs(wanted["score_samples"]).max()
        assert_allclose(
            model.score_samples(rows), wanted["score_samples"], atol=1e-6 * scale
        )
    single = X.astype(np.float32)
    alike(
        wanted, found(estimator, single, single, weight), 2e-3, ["reconstruct", "codes"]
    )
    model = clone(estimator).fit(X, sample_weight=weight)
    model.save(tmp_path / "model.skae")
    loaded = skae.load(tmp_path / "model.skae")
    for method in ("transform", "reconstruct", "score_samples"):
        of_all = getattr(model, method)(X)
        assert_allclose(getattr(loaded, method)(X), of_all, rtol=0, atol=0)
        for i in (0, len(X) // 2):
            alone = getattr(model, method)(X[i : i + 1])[0]
            size = 1e-9 * max(1.0, np.abs(of_all).max())
            assert_allclose(alone, of_all[i], rtol=1e-7, atol=size)


def has_unit(seed):
    """0 and 1, classes and counts have none, nor has noise in the units of X."""
    params = setting(seed)[0].get_params()
    given = params["loss"] if "loss" in params else params["likelihood"]
    with_unit = given in ("squared_error", "gaussian", "gaussian_diag", "absolute_error")
    return with_unit and getattr(params.get("noise"), "relative", True)


@pytest.mark.parametrize("seed", [seed for seed in range(SETTINGS) if has_unit(seed)])
@pytest.mark.parametrize("unit", [1e-3, 1e80])
def test_units_do_not_matter_where_there_are_any(seed, unit):
    estimator, X, weight = setting(seed)
    wanted, other = (
        found(estimator, X, X, weight),
        found(estimator, unit * X, unit * X, weight),
    )
    for name in ("reconstruct", "impute"):
        other[name] = other[name] / unit
    if not isinstance(estimator, VAETransformer):
        other["codes"] = other["codes"] / unit
        power = 1 if estimator.loss == "absolute_error" else 2
        other["score_samples"] = other["score_samples"] / unit**power
    else:
        there = np.isfinite(X).sum(axis=1)
        other["score_samples"] = other["score_samples"] + there * math.log(unit)
    alike(wanted, other, 1e-5)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_training_keeps_to_units_files_and_single_rows(kind, tmp_path, without_xla):
    more = {"network": DenseNetwork((6,)), "max_iter": 6, "random_state": 0}
    model = kind(2, **more).fit(WINE)
    other = kind(2, **more).fit(1e80 * WINE)
    assert model.n_iter_ == other.n_iter_ > 0
    assert_allclose(
        other.reconstruct(1e80 * WINE) / 1e80,
        model.reconstruct(WINE),
        rtol=1e-4,
        atol=1e-4,
    )
    model.save(tmp_path / "model.skae")
    loaded = skae.load(tmp_path / "model.skae")
    assert (loaded.transform(WINE) == model.transform(WINE)).all()
    assert_allclose(model.transform(WINE[:1]), model.transform(WINE)[:1], rtol=1e-10)
