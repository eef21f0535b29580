"""Streams: what `partial_fit` makes of rows that come call by call."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._objectives import Reconstruction
from skae._rows import Rows
from skae._stream import KEPT, Stream
from skae._training import Plan
from skae.likelihoods import SquaredError
from skae.networks import DenseNetwork

WINE = StandardScaler().fit_transform(load_wine().data) * np.arange(1, 14) + 3
RNG = np.random.default_rng(0)
SMALL = DenseNetwork(hidden_layer_sizes=(8,))
ERROR = Reconstruction(SquaredError())
SIZES = np.array([20, 1, 60, 2, 95])


def calls(X):
    return np.split(X, np.cumsum(SIZES)[:-1])


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(3, max_iter=0),
        AutoencoderTransformer(3, max_iter=0, whiten=True),
        DenoisingAutoencoder(3, max_iter=0),
        DenoisingAutoencoder(3, max_iter=0, noise="masking"),
        DenoisingAutoencoder(3, max_iter=0, noise="salt_and_pepper"),
        VAETransformer(3, max_iter=0),
        VAETransformer(3, max_iter=0, likelihood="gaussian_diag"),
    ],
    ids=["ae", "whiten", "dae", "masking", "salt", "vae", "diagonal"],
)
def test_a_linear_model_of_a_stream_is_that_of_all_rows(estimator):
    weight = RNG.integers(0, 3, len(WINE))
    weight[[0, 1, 20, 81, 82]] = 1
    for weighs in (False, True):
        given = [calls(weight) if weighs else [None] * len(SIZES)][0]
        whole = estimator.fit(WINE, sample_weight=weight if weighs else None)
        wanted, attributes = (
            whole.transform(WINE),
            {name: value for name, value in vars(whole).items() if name.endswith("_")},
        )
        stream = type(estimator)(**estimator.get_params())
        for rows, counts in zip(calls(WINE), given, strict=True):
            if counts is not None and len(rows) == 1:
                counts = None
            stream.partial_fit(rows, sample_weight=counts)
        tolerance = 1e-2 if "diag" in str(estimator) else 1e-8
        assert_allclose(stream.transform(WINE), wanted, atol=tolerance * wanted.std())
        for name in ("mean_", "components_", "explained_variance_", "n_samples_"):
            found = getattr(stream, name)
            assert_allclose(found, attributes[name], atol=tolerance, rtol=tolerance)


def test_a_stream_goes_on_after_a_fit():
    half = np.tile(WINE, (5, 1))
    other = half + RNG.standard_normal(half.shape) * 9
    wanted = AutoencoderTransformer(10, max_iter=0).fit(np.concatenate([half, other]))
    found = AutoencoderTransformer(10, max_iter=0).fit(half).partial_fit(other)
    # what the first components leave is taken for noise
    error = np.abs(found.get_covariance() - wanted.get_covariance()).max()
    assert error < 0.02 * wanted.get_covariance().max()
    assert found.n_samples_ == len(half) + len(other)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_components_follow_while_a_stream_trains(kind):
    X = RNG.standard_normal((4000, 6)) * [1, 1, 1, 1, 4, 0.5]
    X[:200, 4], X[:200, 0] = X[:200, 4] / 8, X[:200, 0] * 3  # what leads will not
    first, later = np.split(X + 7, [200])
    stream = kind(2, network=SMALL, random_state=0).partial_fit(first)
    assert np.abs(stream.components_[0]).argmax() == 0
    for rows in np.split(later, 10):
        stream.partial_fit(rows)
    assert_allclose(stream.mean_, np.concatenate([first, later]).mean(axis=0))
    assert stream.n_samples_ == 4000
    assert np.abs(stream.components_[0]).argmax() == 4
    assert stream.explained_variance_[0] == pytest.approx(16, rel=0.25)
    codes = stream.transform(later)
    assert_allclose(codes.mean(axis=0), 0, atol=0.5)
    # what is a component stays one, with its sign
    before = stream.transform(later)
    after = stream.partial_fit(later[:400]).transform(later)
    assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.9


def test_training_begins_after_linear_calls():
    stream = AutoencoderTransformer(2, network=SMALL, max_iter=0, random_state=0)
    for rows in calls(WINE):
        stream.partial_fit(rows)
    start = stream.score(WINE)
    stream.set_params(max_iter=100)
    for _ in range(40):
        stream.partial_fit(WINE)
    trained = stream.score(WINE)
    assert trained > start
    # none is thrown away by a call that does not train
    assert stream.set_params(max_iter=0).partial_fit(WINE).score(WINE) == trained
    assert stream.partial_fit(WINE).score(WINE) == trained


def test_a_stream_is_saved(tmp_path):
    stream = AutoencoderTransformer(2, max_iter=0).partial_fit(WINE[:90])
    stream.save(tmp_path / "stream.skae")
    loaded = skae.load(tmp_path / "stream.skae").partial_fit(WINE[90:])
    assert_array_equal(
        loaded.transform(WINE), stream.partial_fit(WINE[90:]).transform(WINE)
    )


def test_points_have_the_moments_of_the_stream():
    plan = Plan.of(AutoencoderTransformer(max_iter=0), Rows(WINE), ERROR, None, True)
    found, rows = Stream.of(Rows(WINE), plan, None).points, Rows(WINE)
    assert_allclose(found.mean, rows.mean)
    assert_allclose(found.variance, rows.variance)
    assert_array_equal(found.low, rows.low)
    constant = Stream.of(Rows(np.ones((4, 3))), plan, None).points
    assert_array_equal(constant.variance, 0)
    assert_array_equal(constant.mean, 1)


def test_the_sample_is_drawn_from_all_calls():
    X = np.arange(40_000.0)[:, None]
    plan = Plan.of(AutoencoderTransformer(random_state=0), Rows(X), ERROR, None, True)
    stream = None

    class Before:
        is_start = False

    for rows in np.split(X, 8):
        if stream is not None:
            Before.stream = stream
        stream = Stream.of(Rows(rows), plan, None if stream is None else Before)
    assert len(stream.sample) == KEPT
    assert len(np.unique(stream.sample)) == KEPT
    counts = np.histogram(stream.sample, bins=8, range=(0, 40_000))[0]
    assert counts.min() > 0.7 * KEPT / 8
    weight = np.where(X[:, 0] < 4000, 10.0, 1.0)  # half of all weight, about
    heavy = Stream.of(Rows(X, None, weight), plan, None).sample
    assert np.mean(heavy < 4000) == pytest.approx(40 / 76, abs=0.06)
