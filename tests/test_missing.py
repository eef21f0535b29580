"""Rows with holes: what is there decides, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._data import sources
from skae._data.rows import Rows
from skae._starts import em
from skae._starts.em import factors_of, pca_of
from skae._starts.imputation import LinearGaussian
from skae.networks import ConvNetwork, DenseNetwork, SequenceNetwork
from skae.noise import MaskingNoise

pytestmark = pytest.mark.usefixtures("without_xla")

WINE = StandardScaler().fit_transform(load_wine().data)
RNG = np.random.default_rng(0)
MISSING = RNG.random(WINE.shape) < 0.2
HOLES = np.where(MISSING, np.nan, WINE)
SMALL = DenseNetwork((8,))
ESTIMATORS = [
    AutoencoderTransformer(3),
    AutoencoderTransformer(3, init="random"),
    DenoisingAutoencoder(3),
    DenoisingAutoencoder(3, noise=MaskingNoise(0.2)),
    VAETransformer(3),
    VAETransformer(3, likelihood="gaussian_diag"),
    VAETransformer(3, init="random"),
]


def error_of(X_imputed, X=WINE, missing=MISSING):
    return np.sqrt(np.mean((X_imputed - X)[missing] ** 2))


def exact_scores(linear_model, X):
    """The log-likelihood of what is there, under the linear model that a VAE starts as."""
    covariance = linear_model.loadings.T @ linear_model.loadings + np.diag(
        linear_model.noise
    )
    there = ~np.isnan(X)
    return [
        multivariate_normal(linear_model.mean[p], covariance[np.ix_(p, p)]).logpdf(x[p])
        for x, p in zip(X, there, strict=True)
    ]


# -- the closed forms


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
@pytest.mark.parametrize("n_components", [1, 4])
def test_the_start_scores_what_is_there_exactly(likelihood, n_components):
    vae = VAETransformer(n_components, likelihood=likelihood, max_iter=0).fit(HOLES)
    expected = exact_scores(vae._state.coordinates.linear_model, HOLES)
    assert_allclose(vae.score_samples(HOLES), expected, atol=1e-9)
    assert_allclose(vae.elbo(HOLES), expected, atol=1e-9)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
def test_a_start_of_complete_rows_scores_holes_too(likelihood):
    vae = VAETransformer(3, likelihood=likelihood, max_iter=0).fit(WINE)
    expected = exact_scores(vae._state.coordinates.linear_model, HOLES)
    assert_allclose(vae.score_samples(HOLES), expected, atol=1e-9)


def test_without_holes_it_is_pca_and_factor_analysis():
    whole = pca_of(Rows(WINE), 3)
    assert_allclose(whole.components_, PCA(3).fit(WINE).components_, atol=1e-9)
    few = WINE.copy()
    few[0, 0] = np.nan
    nearly = pca_of(Rows(few), 3)
    assert_allclose(
        nearly.explained_variance_, PCA(3).fit(WINE).explained_variance_, 0.01
    )
    start = factors_of(Rows(few), 3, 1.0)
    noise = FactorAnalysis(3).fit(WINE).noise_variance_
    assert_allclose(start.noise_variance, noise, rtol=0.3)


def test_em_climbs_to_where_the_likelihood_is_highest():
    """No small change of the model gives what is there a higher likelihood."""
    vae = VAETransformer(2, max_iter=0).fit(HOLES)
    linear_model, rng = vae._state.coordinates.linear_model, np.random.default_rng(0)
    best = np.mean(exact_scores(linear_model, HOLES))
    for size in (1e-2, 1e-1):
        for _ in range(5):
            changed = LinearGaussian(
                linear_model.mean + size * rng.normal(size=13),
                linear_model.loadings * (1 + size * rng.normal(size=(2, 13))),
                linear_model.noise * (1 + size * rng.normal()),
            )
            assert np.mean(exact_scores(changed, HOLES)) < best + 1e-5


def test_a_code_is_what_the_values_that_are_there_say():
    vae = VAETransformer(3, max_iter=0).fit(HOLES)
    linear_model = vae._state.coordinates.linear_model
    mean, std = vae.posterior(HOLES)
    z, covariance = linear_model.codes(HOLES)
    assert_allclose(np.abs(mean), np.abs(z), atol=1e-8)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    assert_allclose(std, np.sqrt(variance), rtol=1e-6)
    assert_array_equal(vae.transform(HOLES), mean)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
def test_the_start_imputes_by_conditional_means_exactly(likelihood):
    vae = VAETransformer(3, likelihood=likelihood, max_iter=0).fit(HOLES)
    linear_model = vae._state.coordinates.linear_model
    assert_allclose(vae.impute(HOLES), linear_model.filled(HOLES), atol=1e-9)


def test_weights_are_repetitions_with_holes_too():
    times = RNG.integers(1, 3, len(HOLES))
    model = VAETransformer(2, max_iter=0)
    weighted = model.fit(HOLES, sample_weight=times).transform(HOLES)
    repeated = model.fit(np.repeat(HOLES, times, axis=0)).transform(HOLES)
    assert_allclose(weighted, repeated, atol=1e-8)


def test_wide_rows_with_holes():
    X = RNG.normal(size=(30, 3)) @ RNG.normal(size=(3, 5000))
    missing = RNG.random(X.shape) < 0.1
    model = AutoencoderTransformer(3, max_iter=0).fit(np.where(missing, np.nan, X))
    imputed = model.impute(np.where(missing, np.nan, X))
    assert error_of(imputed, X, missing) < 0.1 * X.std()


# -- whatever is fitted


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_holes_are_filled_better_than_by_means(estimator):
    estimator.set_params(network=SMALL, max_iter=20, random_state=0).fit(HOLES)
    imputed = estimator.impute(HOLES)
    assert_array_equal(imputed[~MISSING], WINE[~MISSING])
    most = 1.0 if estimator.init == "random" else 0.95
    assert error_of(imputed) < most * error_of(SimpleImputer().fit_transform(HOLES))
    assert np.isfinite(estimator.transform(HOLES)).all()
    assert np.isfinite(estimator.score(HOLES))
    assert np.isfinite(estimator.history_["loss"]).all()


@pytest.mark.parametrize("estimator", ESTIMATORS[::2], ids=str)
def test_what_is_not_there_plays_no_part(estimator):
    """Another value in a hole can't matter; a value that is there does."""
    estimator.set_params(network=SMALL, max_iter=3, random_state=0).fit(HOLES)
    codes = estimator.transform(HOLES)
    alone = estimator.transform(HOLES[5:6])
    assert_allclose(codes[5:6], alone, atol=1e-9)
    changed = HOLES.copy()
    changed[5, np.flatnonzero(~MISSING[5])[0]] += 1
    assert np.abs(estimator.transform(changed)[5] - codes[5]).max() > 1e-3


def test_scores_of_rows_with_and_without_holes_do_not_mix():
    vae = VAETransformer(3, network=SMALL, max_iter=5, random_state=0).fit(HOLES)
    mixed = np.vstack([WINE[:20], HOLES[:20]])
    scores = vae.score_samples(mixed)
    assert_allclose(scores[:20], vae.score_samples(WINE[:20]), rtol=1e-12)
    assert_allclose(scores[20:], vae.score_samples(HOLES[:20]), rtol=1e-12)


def test_training_on_holes_gains_on_other_rows_with_holes():
    X = load_digits().data / 16
    X = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
    start = VAETransformer(4, max_iter=0).fit(X[:1200])
    trained = VAETransformer(4, network=SMALL, max_iter=15, random_state=0).fit(X[:1200])
    assert trained.score(X[1200:]) > start.score(X[1200:]) + 1


def test_a_trained_vae_imputes_the_expectation_given_what_is_there():
    """By importance sampling, as by a sum over all codes."""
    X = load_digits().data[:600, 18:46:3] / 16
    missing = RNG.random(X.shape) < 0.3
    holes = np.where(missing, np.nan, X)
    vae = VAETransformer(
        1, network=SMALL, max_iter=60, n_importance_samples=2000, random_state=0
    ).fit(holes)
    codes = np.linspace(-6, 6, 4001)
    model = vae._fitted(np.dtype(np.float64))
    rows = vae.inverse_transform(codes[:, None] @ model.coordinates.rotation)
    errors = np.nansum((holes[:50, None] - rows) ** 2, axis=2)
    logs = -errors / vae.noise_variance_ / 2 - codes**2 / 2
    expected = softmax(logs, axis=1) @ rows
    found = vae.impute(holes[:50])
    gone = missing[:50]
    at_the_mean = vae.reconstruct(holes[:50])
    off = error_of(at_the_mean, expected, gone)
    assert error_of(found, expected, gone) < 0.3 * off
    assert_allclose(vae.impute(holes[7:8])[0], found[7], atol=1e-9)


def test_a_convolutional_vae_imputes_images():
    images = load_digits().images[:100].astype("float32") / 16
    holes = np.where(RNG.random(images.shape) < 0.1, np.float32(np.nan), images)
    network = ConvNetwork((8, 8, 1), filters=(4,))
    vae = VAETransformer(2, network=network, max_iter=2, random_state=0).fit(holes)
    imputed = vae.impute(holes)
    assert imputed.shape == images.shape
    assert imputed.dtype == np.float32
    assert np.isfinite(imputed).all()


def test_values_out_of_the_domain_are_refused_where_rows_are_imputed():
    X = (HOLES > 0).astype(float) + 0 * HOLES
    vae = VAETransformer(2, likelihood="bernoulli", max_iter=0).fit(X)
    with pytest.raises(ValueError, match=r"needs X in \[0, 1\]"):
        vae.impute(2 * X)


def test_float32_rows_and_other_shapes_have_holes_too():
    images = load_digits().images[:200].astype("float32") / 16
    missing = RNG.random(images.shape) < 0.1
    holes = np.where(missing, np.float32(np.nan), images)
    network = ConvNetwork((8, 8, 1), filters=(4,))
    model = AutoencoderTransformer(4, network=network, max_iter=2, random_state=0)
    imputed = model.fit(holes).impute(holes)
    assert imputed.shape == images.shape
    assert imputed.dtype == np.float32
    assert error_of(imputed, images, missing) < images.std()


def test_series_keep_nan_as_their_end():
    series = RNG.normal(size=(40, 6, 2)).cumsum(axis=1)
    series[::2, 4:] = np.nan
    network = SequenceNetwork((6, 2), units=4)
    model = AutoencoderTransformer(2, network=network, max_iter=2, random_state=0)
    assert np.isfinite(model.fit(series).transform(series)).all()
    series[0, 1] = np.nan
    with pytest.raises(ValueError, match="where a series has not ended"):
        model.fit(series)
    with pytest.raises(ValueError, match=r"must have the shape \(n_samples, timesteps"):
        model.fit(series.reshape(40, 12))


def test_pairs_may_have_holes_on_either_side():
    clean = np.where(RNG.random(WINE.shape) < 0.1, np.nan, WINE)
    noisy = np.where(MISSING, np.nan, WINE + 0.3 * RNG.normal(size=WINE.shape))
    model = DenoisingAutoencoder(4, network=SMALL, max_iter=5, random_state=0)
    denoised = model.fit(noisy, X_clean=clean).reconstruct(noisy)
    assert error_of(denoised) < error_of(SimpleImputer().fit_transform(HOLES))


def test_holes_may_come_after_the_first_call():
    model = VAETransformer(2, network=SMALL, random_state=0).partial_fit(WINE)
    model.partial_fit(HOLES).partial_fit(WINE)
    assert np.isfinite(model.score(HOLES))


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("container", ["array", "frame", "memmap"])
def test_columns_and_rows_without_any_value(kind, container, tmp_path, monkeypatch):
    """A column is a constant 0, as it says once and by name; a row is what is usual."""
    X = HOLES.copy()
    X[:, 3], X[7] = np.nan, np.nan
    rows, name = X, 3
    if container == "frame":
        rows, name = (
            pd.DataFrame(X, columns=load_wine().feature_names),
            "alcalinity_of_ash",
        )
    elif container == "memmap":
        monkeypatch.setattr(sources, "IN_MEMORY", 0)
        monkeypatch.setattr(sources, "BLOCK_VALUES", 13 * 50)
        rows = np.memmap(tmp_path / "X", X.dtype, "w+", shape=X.shape)
        rows[:] = X
    model = kind(2, network=SMALL, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match=f"without any value: .*{name}") as warned:
        model.fit(rows)
    assert sum("without any value" in str(one.message) for one in warned) == 1
    seen = rows if container == "frame" else X
    assert_allclose(np.asarray(model.impute(seen))[:, 3], 0, atol=1e-3)
    assert model.mean_[3] == 0
    assert np.isfinite(model.transform(seen)).all()
    assert np.isfinite(model.score(seen))
    without = kind(2, network=SMALL, max_iter=0).fit(np.delete(HOLES, 3, axis=1))
    closed = clone(model).set_params(max_iter=0)
    with pytest.warns(UserWarning, match="without any value"):
        closed.fit(np.delete(X, 7, axis=0))
    assert_allclose(
        closed.explained_variance_ratio_, without.explained_variance_ratio_, atol=0.03
    )


@pytest.mark.filterwarnings("ignore:No component is active")
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_rows_without_any_value_at_all(kind):
    X = np.full((20, 3), np.nan)
    with pytest.warns(UserWarning, match=r"without any value: \[0, 1, 2\]"):
        model = kind(2, network=SMALL, max_iter=0).fit(X)
    assert_array_equal(model.impute(X), np.zeros((20, 3)))


# -- however many features there are, and however few values


def plain_em(X, k, rounds=300):
    """Probabilistic PCA by EM (Tipping and Bishop 1999), row by row and in 64 bits.

    The rows with expectations in place of NaN, and the noise variance.
    """
    (n, p), there = X.shape, ~np.isnan(X)
    mean = np.nanmean(X, axis=0)
    _, s, axes = np.linalg.svd(np.where(there, X, mean) - mean, full_matrices=False)
    noise = (s[k:] ** 2).sum() / n / (p - k)
    W = axes[:k].T * np.sqrt(np.maximum(s[:k] ** 2 / n - noise, 1e-3))
    for _ in range(rounds):
        filled, unknown = X.copy(), np.zeros((p, p))
        for x, row, is_there in zip(filled, X, there, strict=True):
            here, gone = W[is_there], np.where(is_there, 0.0, 1.0)
            inverse = np.linalg.inv(noise * np.eye(k) + here.T @ here)
            z = inverse @ here.T @ (row - mean)[is_there]
            x[~is_there] = (mean + W @ z)[~is_there]
            lost = W * gone[:, None]
            unknown += noise * (lost @ inverse @ lost.T + np.diag(gone))
        mean = filled.mean(axis=0)
        scatter = (filled - mean).T @ (filled - mean) + unknown
        variance, axes = np.linalg.eigh(scatter / (n - 1))
        noise = variance[: p - k].mean()
        W = axes[:, -k:] * np.sqrt(np.maximum(variance[-k:] - noise, 0))
    return filled, noise


@pytest.mark.parametrize(
    ("n", "p", "k", "share"),
    [
        *[(30, 100, 3, 0.3), (50, 120, 2, 0.5), (60, 90, 1, 0.2)],  # fewer rows
        *[(60, 60, 3, 0.3), (40, 40, 2, 0.1)],  # as many
        *[(150, 30, 3, 0.3), (200, 12, 2, 0.5), (120, 20, 5, 0.2)],  # fewer features
    ],
)
def test_any_shape_of_table_is_completed_as_by_plain_em(n, p, k, share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, k)) @ rng.normal(size=(k, p)) + 0.3 * rng.normal(size=(n, p))
    missing = rng.random(X.shape) < share
    holes = np.where(missing, np.nan, X)
    filled, noise = plain_em(holes, k)
    vae = VAETransformer(k, max_iter=0, random_state=0).fit(holes)
    wanted = error_of(filled, X, missing)
    assert error_of(vae.impute(holes), X, missing) == pytest.approx(wanted, rel=0.01)
    means = error_of(np.broadcast_to(np.nanmean(holes, axis=0), X.shape), X, missing)
    assert wanted < 0.6 * means
    for kind in (AutoencoderTransformer, DenoisingAutoencoder, VAETransformer):
        model = kind(k, max_iter=0).fit(holes)
        assert model.explained_variance_ratio_.sum() <= 1
        if kind is not DenoisingAutoencoder:
            assert model.noise_variance_ == pytest.approx(noise, rel=0.01)
        # what all the rows' values are, less what k components of so few rows take up
        room = (1 - share) * min(n, p) - 1
        assert model.noise_variance_ == pytest.approx(0.09, rel=0.1 + k / room)


def test_features_beyond_the_gram_matrix_are_completed_as_by_plain_em(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 90)) + 0.3 * rng.normal(
        size=(40, 90)
    )
    missing = rng.random(X.shape) < 0.3
    holes = np.where(missing, np.nan, X)
    filled, noise = plain_em(holes, 2)
    monkeypatch.setattr(em, "GRAM_SIDE", 80)
    vae = VAETransformer(2, max_iter=0).fit(holes)
    wanted = error_of(filled, X, missing)
    assert error_of(vae.impute(holes), X, missing) == pytest.approx(wanted, rel=0.02)
    assert vae.noise_variance_ == pytest.approx(noise, rel=0.1)
    assert vae.explained_variance_ratio_.sum() <= 1


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.8])
def test_hardly_any_values_are_enough(kind, share):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5))
        X += 0.1 * rng.normal(size=X.shape)
        holes = np.where(rng.random(X.shape) < share, np.nan, X)
        model = kind(2, max_iter=0).fit(holes)
        assert 0 < model.explained_variance_ratio_.sum() <= 1
        assert np.isfinite(model.impute(holes)).all()
    model = kind(2, network=SMALL, max_iter=3, random_state=0).fit(holes)
    assert 0 < model.explained_variance_ratio_.sum() <= 1


def test_em_never_lowers_the_likelihood(monkeypatch):
    """Not by a leap to where the scatter matrix seems to go, either."""
    rng = np.random.default_rng(9)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(
        size=(60, 5)
    )
    X[rng.random(X.shape) < 0.7] = np.nan
    found, moments = [], LinearGaussian.moments

    def watched(self, rows):
        found.append(moments(self, rows))
        return found[-1]

    monkeypatch.setattr(LinearGaussian, "moments", watched)
    pca_of(Rows(X), 2)
    values = np.array([each.log_likelihood for each in found])
    best = np.maximum.accumulate(values)
    assert len(values) > 20
    lowered = np.flatnonzero(values < best - 1e-9)
    # what a leap has lowered is taken back in the next round
    assert all(values[i + 1] >= best[i] - 1e-9 for i in lowered if i + 1 < len(values))


def test_n_components_as_a_share_of_what_is_there():
    found = AutoencoderTransformer(0.7, max_iter=0).fit(HOLES).n_components_
    assert (
        abs(found - AutoencoderTransformer(0.7, max_iter=0).fit(WINE).n_components_) < 2
    )


def test_holes_in_a_pipeline_and_a_grid():
    X = np.where(MISSING, np.nan, load_wine().data)
    vae = VAETransformer(max_iter=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), vae),
        {"vaetransformer__n_components": [1, 4]},
        cv=3,
    )
    assert search.fit(X).best_params_ == {"vaetransformer__n_components": 4}


# -- what is refused


def test_infinity_stays_an_error():
    X = HOLES.copy()
    X[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        AutoencoderTransformer().fit(X)


def test_nan_in_sparse_rows_is_an_error():
    X = sparse.csr_array(np.where(MISSING, np.nan, WINE * (WINE > 0)))
    with pytest.raises(ValueError, match="NaN in sparse rows"):
        AutoencoderTransformer().fit(X)
    with pytest.raises(ValueError, match="impute needs dense rows"):
        AutoencoderTransformer(max_iter=0).fit(WINE).impute(sparse.csr_array(WINE))


def test_a_random_start_of_complete_rows_knows_nothing_of_holes():
    model = AutoencoderTransformer(2, init="random", max_iter=1).fit(WINE)
    with pytest.raises(ValueError, match="was fitted to complete rows without a linear"):
        model.transform(HOLES)


# -- frames


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_frames_come_back_with_their_names_and_index(container):
    names = [f"c{i}" for i in range(13)]
    frame = pd.DataFrame(HOLES, columns=names, index=np.arange(len(HOLES)) + 100)
    model = VAETransformer(2, max_iter=0).set_output(transform=container).fit(frame)
    for rows in (model.reconstruct(frame), model.impute(frame)):
        assert list(rows.columns) == names
        if container == "pandas":
            assert list(rows.index) == list(frame.index)
    plain = VAETransformer(2, max_iter=0).fit(frame)
    assert_array_equal(model.impute(frame), plain.impute(frame))
    assert isinstance(plain.impute(frame), np.ndarray)
    codes = model.transform(frame)
    assert list(model.inverse_transform(codes).columns) == names
    assert list(model.sample(2).columns) == names
    assert isinstance(plain.sample(2), np.ndarray)


def test_a_pipeline_of_frames_goes_back():
    frame = pd.DataFrame(WINE, columns=[f"c{i}" for i in range(13)])
    model = AutoencoderTransformer(13, max_iter=0)
    pipeline = make_pipeline(StandardScaler(), model).set_output(transform="pandas")
    codes = pipeline.fit_transform(frame)
    assert_allclose(pipeline.inverse_transform(codes), frame, atol=1e-9)
