"""The closed forms: exact, the same everywhere, and at rest where there is no variance."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis

from skae._data.rows import Rows
from skae._starts import scatter
from skae._starts.glm import Examples, latent_start
from skae._starts.linear import factor_start, pca_start, ppca_start
from skae._starts.pca import fit_pca
from skae._starts.wiener import denoiser_start, shrunken_start
from skae.likelihoods import Bernoulli

DIGITS, WINE = load_digits().data, load_wine().data
DIABETES = load_diabetes().data

ROW = np.arange(1.0, 6.0)
#: Rows in [0, 1] that span less than three components, their zeros exact.
FEW = {
    "two rows": np.array([[0.1, 0.9, 0.3], [0.7, 0.2, 0.3]]),
    "antisymmetric rows": 0.5 + np.outer([-1, 1], ROW) / 16,
    "antisymmetric wide": 0.5 + np.outer([-1, 1, -1, 1], np.arange(40)) / 128,
    "three rows": DIGITS[:3, :20] / 16,
    "duplicated rows": np.repeat(WINE[:2] / WINE.max(), 5, axis=0),
    "integer rows": np.outer([0, 1, 2, 3, 4, 0], ROW) / 20,
    "integer columns": np.outer(ROW, [0, 1, 1, 0, 1]) / 5,
    "constant columns": np.full((7, 4), 0.1),
    "one that varies": np.column_stack([np.full((7, 4), 0.1), np.linspace(0, 1, 7)]),
    "one row": np.array([[0.1, 0.9, 0.3]]),
}


def masked(X, level=0.25):
    return [(X, X * (1 - level), level * (1 - level) * X**2, 1.0)]


def logistic(start, *rows):
    """The start with a logistic decoder."""
    return Bernoulli().decoder_start(start, lambda: Examples(*rows, None, None))


def closed_forms(X, n_components=3):
    """All of them."""
    pca = fit_pca(X, n_components)
    linear = pca_start(pca, n_components)
    denoisers = {
        "masked": denoiser_start(masked(X), n_components),
        "pairs": denoiser_start([(X, X**2, 0.0, 1.0)], n_components),
        "gaussian": denoiser_start([(X, X, 0.04, 1.0)], n_components),
    }
    return denoisers | {
        "pca": linear,
        "ppca": ppca_start(pca, n_components),
        "ppca, beta": ppca_start(pca, n_components, beta=3.0),
        "factors": factor_start(X, n_components),
        "factors, beta": factor_start(X, n_components, beta=0.3),
        "bernoulli": latent_start(Bernoulli(), Rows(X), n_components),
        "shrunken": shrunken_start(pca, n_components, 0.04),
        "logistic": logistic(linear, X, 0.0, X),
        "logistic of noisy": logistic(denoisers["masked"], 0.75 * X, 0.2 * X**2, X),
    }


def rank(X):
    return np.linalg.matrix_rank(X - X[0])


def map_of(start):
    """What does not depend on the choice of axes where some tie."""
    noise = getattr(start, "noise_variance", None)
    return {
        "map": start.encoder @ start.decoder,
        "mean": start.mean,
        "intercept": start.intercept,
        "noise": np.zeros(1) if noise is None else np.atleast_1d(noise),
    }


# -- rows that span less than the components


@pytest.mark.parametrize("rows", FEW)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sparsely", [False, True])
def test_what_is_not_there_is_at_rest(rows, dtype, sparsely):
    X = FEW[rows].astype(dtype)
    most = rank(FEW[rows])
    pca = fit_pca(sparse.csr_array(X) if sparsely else X, 3)
    assert np.count_nonzero(pca.explained_variance_) == min(most, 3)
    assert_array_equal(pca.components_.any(axis=1), pca.explained_variance_ > 0)
    starts = closed_forms(np.asarray(X, np.float64))
    for name, start in starts.items():
        for field, value in vars(start).items():
            if field != "linear_model":
                assert value is None or np.isfinite(value).all(), name
        at_rest = np.zeros(3, bool)
        at_rest[2 * most if name == "pairs" else most :] = True
        assert not start.encoder[:, at_rest].any(), name
        assert not start.decoder[at_rest].any(), name
        if hasattr(start, "posterior_variance"):
            assert_array_equal(start.posterior_variance[at_rest], 1.0, err_msg=name)
            assert (start.posterior_variance > 0).all(), name


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
def test_the_rank_does_not_depend_on_the_unit(scale):
    X = np.vstack([WINE[:4], WINE[:4]]) * scale
    pca = fit_pca(X, 6)
    assert np.count_nonzero(pca.explained_variance_) == 3
    expected = fit_pca(WINE[[0, 1, 2, 3] * 2], 6)
    assert_allclose(pca.components_, expected.components_, atol=1e-9)
    assert_allclose(pca.singular_values_ / scale, expected.singular_values_)


def test_values_too_large_to_square_have_an_infinite_variance():
    assert np.isinf(fit_pca(np.sign(DIABETES) * 8e307, 2).explained_variance_[0])


#: Prints the closed forms of all rows, as one process computes them.
PROGRAM = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_starts import FEW, closed_forms, map_of, DIGITS, WINE
rows = FEW | {"digits": DIGITS[:200] / 16, "wide": DIGITS[:20] / 16}
np.savez(sys.argv[2], **{
    f"{name} | {kind} | {key}": value
    for name, X in rows.items()
    for kind, start in closed_forms(X).items()
    for key, value in map_of(start).items()
})
"""


@pytest.mark.slow
def test_the_kernels_of_the_processor_do_not_matter(tmp_path):
    found = []
    for core in ("Haswell", "Sandybridge", "Prescott"):
        path = tmp_path / f"{core}.npz"
        command = [sys.executable, "-W", "error", "-c", PROGRAM]
        subprocess.run(
            [*command, os.path.dirname(__file__), str(path)],
            env=os.environ | {"OPENBLAS_CORETYPE": core, "OMP_NUM_THREADS": "1"},
            check=True,
        )
        with np.load(path) as values:
            found.append(dict(values))
    first, *others = found
    for other in others:
        for name, value in first.items():
            # an intercept of rows that mirror each other is 0 but for rounding
            size = np.abs(value).max(initial=1e-9)
            assert np.isfinite(value).all(), name
            assert_allclose(other[name] / size, value / size, atol=1e-6, err_msg=name)


# -- PCA


@pytest.mark.parametrize("X", [DIGITS, WINE, DIGITS[:40]], ids=["tall", "wine", "wide"])
@pytest.mark.parametrize("n_components", [4, 10, 0.9, 0.99])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_pca_is_scikit_learns(X, n_components, offset):
    X = X + offset
    ours, theirs = fit_pca(X, n_components), PCA(n_components, svd_solver="full").fit(X)
    assert ours.n_components_ == theirs.n_components_
    for name in ("components_", "mean_"):
        assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=1e-10, atol=1e-10
        )
    for name in ("explained_variance_", "singular_values_"):
        ours_, theirs_ = getattr(ours, name), getattr(theirs, name)
        assert_allclose(ours_, theirs_, atol=1e-10 * theirs_[0])
    assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=1e-10
    )
    assert_allclose(ours.noise_variance_, theirs.noise_variance_, rtol=1e-6)
    assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-6)
    assert ours.score(X) == pytest.approx(theirs.score(X), abs=1e-8)


@pytest.mark.parametrize(
    "X", [DIGITS, WINE, DIABETES], ids=["digits", "wine", "diabetes"]
)
def test_minkas_number_is_scikit_learns(X):
    theirs = PCA("mle", svd_solver="full").fit(X).n_components_
    assert fit_pca(X, "mle").n_components_ == theirs
    assert fit_pca(X * 1e-12, "mle").n_components_ == theirs


def test_minkas_number_needs_as_many_rows_as_features():
    with pytest.raises(ValueError, match="20 samples of 64 features"):
        fit_pca(DIGITS[:20], "mle")


@pytest.mark.parametrize("X", [DIGITS, DIGITS[:40]], ids=["tall", "wide"])
@pytest.mark.parametrize("n_components", [5, 40, 0.9])
def test_sparse_rows_have_the_pca_of_dense_ones(X, n_components):
    dense, sparsely = fit_pca(X, n_components), fit_pca(sparse.csr_array(X), n_components)
    real = dense.explained_variance_ > 1e-6 * dense.explained_variance_[0]
    assert len(dense.components_) == len(sparsely.components_)
    assert_allclose(sparsely.components_[real], dense.components_[real], atol=1e-8)
    assert_allclose(
        sparsely.explained_variance_,
        dense.explained_variance_,
        atol=1e-10 * dense.explained_variance_[0],
    )


def test_float32_rows_are_computed_with_in_float64():
    X = (WINE + 1e3).astype(np.float32)
    expected = PCA(4, svd_solver="full").fit(X.astype(np.float64))
    assert_allclose(fit_pca(X, 4).components_, expected.components_, atol=1e-9)
    assert_allclose(fit_pca(X, 4).mean_, expected.mean_, rtol=1e-12)


def test_missing_values_are_the_mean():
    X = DIGITS[:300].copy()
    X[np.random.default_rng(0).uniform(size=X.shape) < 0.2] = np.nan
    X[:, 0] = np.nan
    mean = np.nan_to_num(np.nansum(X, axis=0) / np.maximum(np.isfinite(X).sum(axis=0), 1))
    expected = PCA(4, svd_solver="full").fit(np.where(np.isnan(X), mean, X))
    pca = fit_pca(X, 4)
    assert_allclose(pca.mean_, expected.mean_, atol=1e-12)
    assert_allclose(pca.components_, expected.components_, atol=1e-9)


@pytest.mark.parametrize("shape", [(90, 60), (60, 90)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sparsely", [False, True])
@pytest.mark.parametrize("limits", [{"EIGH_SIDE": 20}, {"GRAM_SIDE": 20}], ids=str)
def test_lanczos_finds_the_same(shape, dtype, sparsely, limits, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(shape[0], 4)) @ rng.normal(size=(4, shape[1])) * [[3.0]]
    X += rng.normal(size=shape)
    X[:, 3] = 0.1
    X = X.astype(dtype)
    rows = sparse.csr_array(X) if sparsely else X
    expected = PCA(4, svd_solver="full").fit(X.astype(np.float64))
    for name, value in limits.items():
        monkeypatch.setattr(scatter, name, value)
    exact = dtype == np.float64 or "EIGH_SIDE" in limits
    pca = fit_pca(rows, 4)
    atol = 1e-9 if exact else 1e-5
    assert_allclose(pca.components_, expected.components_, atol=atol)
    assert_allclose(pca.explained_variance_, expected.explained_variance_, rtol=atol)
    assert_allclose(pca.noise_variance_, expected.noise_variance_, rtol=10 * atol)
    assert_array_equal(fit_pca(rows, 4).components_, pca.components_)


@pytest.mark.parametrize("limits", [{"EIGH_SIDE": 20}, {"GRAM_SIDE": 20}], ids=str)
@pytest.mark.parametrize("spans", [0, 2])
@pytest.mark.parametrize("sparsely", [False, True])
def test_lanczos_leaves_at_rest_what_is_not_there(limits, spans, sparsely, monkeypatch):
    for name, value in limits.items():
        monkeypatch.setattr(scatter, name, value)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, spans)) @ rng.normal(size=(spans, 60))
    pca = fit_pca(sparse.csr_array(X + 1) if sparsely else X, 5)
    assert np.count_nonzero(pca.explained_variance_) == spans
    assert_array_equal(pca.components_.any(axis=1), np.arange(5) < spans)


def test_axes_that_tie_are_the_same_in_each_fit(monkeypatch):
    monkeypatch.setattr(scatter, "EIGH_SIDE", 20)
    X = sparse.csr_array(np.eye(60))
    first, second = fit_pca(X, 3), fit_pca(X, 3)
    assert_array_equal(first.components_, second.components_)


# -- factor analysis


@pytest.mark.parametrize(
    ("X", "k", "method"),
    [
        (DIGITS[:300], 4, "randomized"),
        (WINE, 3, "randomized"),
        (DIABETES * 20, 2, "randomized"),
        (DIGITS[:50], 4, "lapack"),
        (DIGITS[:30] + np.arange(64), 2, "lapack"),
    ],
    ids=["digits", "wine", "diabetes", "wide", "wide 2"],
)
def test_factor_analysis_is_scikit_learns(X, k, method):
    """Of features of one width, so that their units play no part."""
    width = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    theirs = FactorAnalysis(k, svd_method=method).fit(X / width)
    start = factor_start(X, k)
    noise = start.noise_variance / width**2
    assert_allclose(noise, theirs.noise_variance_, rtol=1e-6)
    loadings = start.decoder / width
    ours = loadings.T @ loadings + np.diag(noise)
    assert_allclose(ours, theirs.get_covariance(), atol=1e-7 * np.abs(ours).max())
    assert_array_equal(start.constant, X.min(axis=0) == X.max(axis=0))


def test_the_posterior_of_the_factors_is_diagonal_and_exact():
    start = factor_start(WINE, 3)
    precision = start.decoder / start.noise_variance @ start.decoder.T + np.eye(3)
    assert_allclose(
        np.linalg.inv(precision), np.diag(start.posterior_variance), atol=1e-9
    )
    expected = (start.decoder / start.noise_variance).T * start.posterior_variance
    assert_allclose(start.encoder, expected, atol=1e-9)


# -- the denoiser of rows that are fewer than the features


def by_covariance(clean, noisy, variance, k):
    """`denoiser_start` spelt out, by the pseudo-inverse."""
    x, y = clean - clean.mean(axis=0), noisy - noisy.mean(axis=0)
    S = y.T @ y / len(y) + np.diag(np.broadcast_to(variance, y.shape).mean(axis=0))
    wiener = x.T @ y / len(x) @ np.linalg.pinv(S, rcond=1e-12, hermitian=True)
    values, axes = np.linalg.eigh(wiener @ S @ wiener.T)
    axes = axes[:, : -k - 1 : -1]
    return (axes @ axes.T @ wiener).T, values[: -k - 1 : -1]


@pytest.mark.parametrize("shape", [(6, 30), (15, 16), (29, 30)])
@pytest.mark.parametrize("share", [0, 0.3, 0.8, 1])
def test_the_denoiser_of_few_rows_is_the_one_by_covariance(shape, share):
    rng = np.random.default_rng(0)
    clean = rng.normal(size=shape) * rng.uniform(0.1, 3, shape[1]) + 5
    clean[:, 2] = 0.1
    noisy = 0.6 * clean + 0.2 * rng.normal(size=shape)
    variance = rng.uniform(0.1, 2, shape) * (rng.uniform(size=shape[1]) < share)
    expected, explained = by_covariance(clean, noisy, variance, 3)
    chunks = [(clean[i], noisy[i], variance[i], 1.0) for i in (slice(4), slice(4, None))]
    start = denoiser_start(iter(chunks), 3)
    scale = np.abs(expected).max()
    assert_allclose(start.encoder @ start.decoder, expected, atol=1e-8 * scale)
    assert_allclose(start.explained_variance, explained, rtol=1e-8)
    assert_allclose(start.mean, noisy.mean(axis=0))
    assert_allclose(start.intercept, clean.mean(axis=0))
    assert_allclose(start.decoder @ start.decoder.T, np.eye(3), atol=1e-10)


def test_both_ways_meet_where_rows_become_as_many_as_features():
    X = np.random.default_rng(0).normal(size=(30, 30)) + 2
    few, many = denoiser_start(masked(X[:29]), 3), denoiser_start(masked(X), 3)
    for start, rows in ((few, X[:29]), (many, X)):
        expected, _ = by_covariance(*masked(rows)[0][:3], 3)
        assert_allclose(start.encoder @ start.decoder, expected, atol=1e-9)


def test_few_rows_are_looked_at_everywhere():
    X = DIGITS[:20]
    axes = fit_pca(X, 2).components_.T
    start, narrow = denoiser_start(masked(X), 2), denoiser_start(masked(X), 2, axes)
    assert_array_equal(start.encoder, narrow.encoder)


@pytest.mark.parametrize("n_features", [4, 40])
def test_expectations_that_are_one_but_for_rounding_say_nothing(n_features):
    X = np.random.default_rng(0).normal(size=(8, n_features))
    start = denoiser_start([(X, 1 + 2e-16 * np.sign(X), 0.0, 1.0)], 2)
    assert np.abs(start.encoder @ start.decoder).max() == 0


@pytest.mark.parametrize("level", [1e-12, 1e-9, 1e-6])
def test_little_noise_is_next_to_none(level):
    X = DIGITS[:20]
    without, little = denoiser_start(masked(X, 0), 4), denoiser_start(masked(X, level), 4)
    at = [(X - start.mean) @ start.encoder @ start.decoder for start in (without, little)]
    assert_allclose(at[0], at[1], atol=1e-3)


def test_scikit_learns_array_api_does_not_matter(monkeypatch):
    monkeypatch.setattr(scatter, "GRAM_SIDE", 20)
    with config_context(array_api_dispatch=True):
        fit_pca(DIGITS[:100, 5:], 2)
        fit_pca(WINE, "mle")
        factor_start(WINE, 2)


def test_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for X in FEW.values():
            closed_forms(X)
