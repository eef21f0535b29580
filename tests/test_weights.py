"""Weights of rows, and validation rows of the user's own."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import DenseNetwork
from skae.noise import MaskingNoise

pytestmark = pytest.mark.usefixtures("without_xla")

WINE = StandardScaler().fit_transform(load_wine().data)
DIGITS = load_digits().data[:150] / 16
RNG = np.random.default_rng(0)
TIMES = RNG.integers(0, 4, len(WINE))
SMALL = DenseNetwork((8,))
ESTIMATORS = [
    AutoencoderTransformer(3),
    AutoencoderTransformer(0.8),
    AutoencoderTransformer("mle"),
    AutoencoderTransformer(3, loss="binary_crossentropy"),
    DenoisingAutoencoder(3),
    DenoisingAutoencoder(3, noise=MaskingNoise(0.3)),
    VAETransformer(3),
    VAETransformer(3, likelihood="gaussian_diag"),
]


@pytest.mark.parametrize("shape", ["tall", "wide", "sparse", "sparse wide"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_a_weight_is_so_many_rows_where_the_fit_is_a_closed_form(estimator, shape):
    X, times = (DIGITS[:40], TIMES[:40]) if "wide" in shape else (WINE, TIMES)
    if estimator.n_components == "mle" and "wide" in shape:
        X = X[:, 10:40]
    if getattr(estimator, "loss", None) == "binary_crossentropy":
        X = (X - X.min(axis=0)) / np.ptp(X, axis=0).clip(1e-9)
    repeated = np.repeat(X, times, axis=0)
    if "sparse" in shape:
        X, repeated = sparse.csr_array(X), sparse.csr_array(repeated)
    estimator.set_params(max_iter=0, network=SMALL)
    weighted = estimator.fit(X, sample_weight=times)
    codes, score = weighted.transform(X), weighted.score(X, sample_weight=times)
    described = weighted.explained_variance_, weighted.noise_variance_
    again = estimator.fit(repeated)
    scale = np.abs(codes).max()
    assert_allclose(codes, again.transform(X), atol=1e-10 * scale)
    assert_allclose(score, again.score(repeated), rtol=1e-10, atol=1e-12)
    assert_allclose(described[0], again.explained_variance_, rtol=1e-8, atol=1e-10)
    if described[1] is not None:
        assert_allclose(described[1], again.noise_variance_, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS[::2], ids=str)
def test_a_weight_of_zero_is_no_row_in_training_too(estimator):
    X = (WINE - WINE.min(axis=0)) / np.ptp(WINE, axis=0)
    estimator.set_params(max_iter=3, network=SMALL, random_state=0)
    without = estimator.fit(X[50:]).transform(X)
    assert_array_equal(
        estimator.fit(X, sample_weight=np.r_[50 * [0], 128 * [1]]).transform(X), without
    )


def test_shares_are_weights_too():
    model = AutoencoderTransformer(3, max_iter=0)
    plain = model.fit(WINE).explained_variance_
    shares = np.full(len(WINE), 1 / len(WINE))
    assert_allclose(model.fit(WINE, sample_weight=shares).explained_variance_, plain)


@pytest.mark.parametrize(
    ("kind", "more", "most"),
    [
        (AutoencoderTransformer, {"init": "random"}, 1e-6),
        (AutoencoderTransformer, {}, 0.01),
        (VAETransformer, {}, 0.3),
    ],
)
def test_training_weighs_as_repeating_does(kind, more, most):
    """In one batch of all rows; but for the draws of the code, which are the rows' own.

    And but for rounding, which Adam makes steps of where gradients are next to nothing, as
    they are at the linear start: the same rows in another order differ by up to .008.
    """

    def scores(X, **weights):
        settings = {"early_stopping": False, "alpha": 0, "learning_rate_init": 0.003}
        settings |= more
        models = (
            kind(2, network=SMALL, max_iter=40, batch_size=1000, **settings)
            .set_params(random_state=seed)
            .fit(X, **weights)
            for seed in range(3)
        )
        return np.mean([model.score_samples(WINE) for model in models], axis=0)

    times = np.where(load_wine().target == 0, 5, 1)
    weighted, plain = scores(WINE, sample_weight=times), scores(WINE)
    repeated = scores(np.repeat(WINE, times, axis=0))
    difference = np.abs(weighted - repeated).mean()
    assert difference < most * np.abs(plain - repeated).mean()


def test_heavy_rows_are_reconstructed_better():
    weight = np.where(load_wine().target == 0, 20.0, 1.0)
    model = AutoencoderTransformer(2, network=SMALL, max_iter=30, random_state=0)
    first = load_wine().target == 0
    plain = model.fit(WINE).score(WINE[first])
    assert model.fit(WINE, sample_weight=weight).score(WINE[first]) > plain
    assert model.n_samples_ == weight.sum()
    with_weight = model.score(WINE, sample_weight=weight)
    assert_allclose(with_weight, np.average(model.score_samples(WINE), weights=weight))


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (np.ones(5), "AutoencoderTransformer.fit: sample_weight.shape"),
        (-np.ones(len(WINE)), "AutoencoderTransformer.fit: Negative values"),
        (
            np.zeros(len(WINE)),
            "AutoencoderTransformer.fit.* at least (one non-zero|two rows)",
        ),
        (np.eye(len(WINE))[0], "AutoencoderTransformer.fit needs at least two rows"),
        (np.full(len(WINE), np.nan), "AutoencoderTransformer.fit: .*NaN"),
    ],
)
def test_weights_that_are_none(weight, match):
    with pytest.raises(ValueError, match=match):
        AutoencoderTransformer().fit(WINE, sample_weight=weight)


def test_partial_fit_weighs():
    first = load_wine().target == 0
    weight = np.where(first, 50.0, 1.0)
    scores = []
    for given in (None, weight):
        model = AutoencoderTransformer(2, network=SMALL, random_state=0)
        for _ in range(20):
            model.partial_fit(WINE, sample_weight=given)
        scores.append(model.score(WINE[first]))
    assert scores[1] > scores[0]


# -- validation rows


def test_own_validation_rows_are_what_the_loss_is_measured_on():
    model = AutoencoderTransformer(2, network=SMALL, max_iter=40, random_state=0)
    model.fit(WINE[:120], X_val=WINE[120:])
    assert "refit_loss" not in model.history_
    best = min(model.history_["val_loss"])
    assert_allclose(-model.score(WINE[120:]), best, rtol=1e-5)
    alone = model.fit(WINE[:120], X_val=WINE[120:121]).transform(WINE)
    assert np.isfinite(alone).all()


def test_own_validation_rows_never_train():
    model = AutoencoderTransformer(2, max_iter=0).fit(WINE[:120], X_val=WINE[120:] * 100)
    plain = AutoencoderTransformer(2, max_iter=0).fit(WINE[:120])
    assert_array_equal(model.transform(WINE), plain.transform(WINE))


def test_validation_rows_go_through_a_pipeline():
    with config_context(enable_metadata_routing=True):
        model = AutoencoderTransformer(2, network=SMALL, max_iter=3, random_state=0)
        model.set_fit_request(X_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        X = load_wine().data
        pipeline.fit(X[:120], X_val=X[120:])
        scaler = StandardScaler().fit(X[:120])
        alone = AutoencoderTransformer(2, network=SMALL, max_iter=3, random_state=0)
        alone.fit(scaler.transform(X[:120]), X_val=scaler.transform(X[120:]))
        assert_array_equal(pipeline.transform(X), alone.transform(scaler.transform(X)))


def test_weights_go_through_a_grid_search():
    with config_context(enable_metadata_routing=True):
        model = AutoencoderTransformer(network=SMALL, max_iter=1, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"n_components": [1, 3]}, cv=2)
        search.fit(WINE, sample_weight=TIMES + 1)
        assert search.best_params_ == {"n_components": 3}


@pytest.mark.parametrize(
    ("beside", "match"),
    [
        ({"X_val": WINE[:, :5]}, r"X_val must have the shape of X, \(n, \*\(13,\)\)"),
        ({"X_val": np.full((3, 13), np.inf)}, "X_val contains infinity"),
        ({"X_val": WINE[:9], "early_stopping": False}, "early_stopping=False"),
        ({"X_val": 9 + WINE, "loss": "binary_crossentropy"}, r"X_val in \[0, 1\]"),
    ],
)
def test_validation_rows_that_are_none(beside, match):
    X_val = beside.pop("X_val")
    X = WINE if "loss" not in beside else np.clip(WINE, 0, 1)
    with pytest.raises(ValueError, match=match):
        AutoencoderTransformer(**beside).fit(X, X_val=X_val)


def test_what_comes_beside_x_has_its_columns():
    frame = pd.DataFrame(WINE, columns=[f"c{i}" for i in range(13)])
    turned = frame[frame.columns[::-1]]
    with pytest.raises(ValueError, match="X_val must have the columns of X"):
        AutoencoderTransformer().fit(frame, X_val=turned)
    with pytest.raises(ValueError, match="X_clean must have the columns of X"):
        DenoisingAutoencoder().fit(frame, X_clean=turned)


def test_pairs_are_validated_on_pairs():
    noisy = WINE + RNG.normal(size=WINE.shape)
    model = DenoisingAutoencoder(3, network=SMALL, max_iter=30, random_state=0)
    model.fit(noisy[:120], X_clean=WINE[:120], X_val=noisy[120:], X_val_clean=WINE[120:])
    error = -model.score(noisy[120:], X_clean=WINE[120:])
    assert_allclose(error, min(model.history_["val_loss"]), rtol=1e-5)
    with pytest.raises(ValueError, match="X_clean and X_val_clean go together"):
        model.fit(noisy, X_clean=WINE, X_val=noisy)
    with pytest.raises(ValueError, match="X_val_clean needs X_val"):
        model.fit(noisy, X_clean=WINE, X_val_clean=WINE)
