"""Streams: what `partial_fit` makes of rows that come call by call."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import skae
from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._data.rows import Rows
from skae._starts.moments import KEPT, Stream
from skae.networks import DenseNetwork

WINE = StandardScaler().fit_transform(load_wine().data) * np.arange(1, 14) + 3
RNG = np.random.default_rng(0)
SMALL = DenseNetwork(hidden_layer_sizes=(8,))
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
    found, rows = Stream.of(Rows(WINE), 0, None).points, Rows(WINE)
    assert_allclose(found.mean, rows.mean)
    assert_allclose(found.variance, rows.variance)
    assert_array_equal(found.low, rows.low)
    constant = Stream.of(Rows(np.ones((4, 3))), 0, None).points
    assert_array_equal(constant.variance, 0)
    assert_array_equal(constant.mean, 1)


def test_the_sample_is_drawn_from_all_calls():
    X = np.arange(40_000.0)[:, None]
    stream = None
    for rows in np.split(X, 8):
        stream = Stream.of(Rows(rows), 0, stream)
    assert len(stream.sample) == KEPT
    assert len(np.unique(stream.sample)) == KEPT
    counts = np.histogram(stream.sample, bins=8, range=(0, 40_000))[0]
    assert counts.min() > 0.7 * KEPT / 8
    weight = np.where(X[:, 0] < 4000, 10.0, 1.0)  # half of all weight, about
    heavy = Stream.of(Rows(X, None, weight), 0, None).sample
    assert np.mean(heavy < 4000) == pytest.approx(40 / 76, abs=0.06)


# -- calls of few rows, of rows with missing values, and of looks in between

BINARY = (load_digits().data[:150, 10:20] > 7).astype(float)
MIXED = [("gaussian_diag", slice(0, 6)), ("bernoulli", slice(6, 10))]


@pytest.mark.parametrize(
    ("estimator", "X"),
    [
        (VAETransformer(2, likelihood="bernoulli"), BINARY),
        (AutoencoderTransformer(2, loss="binary_crossentropy"), BINARY),
        (VAETransformer(2, likelihood="poisson"), load_digits().data[:150, 10:20]),
        (VAETransformer(2, likelihood=MIXED), np.hstack([WINE[:150, :6], BINARY[:, :4]])),
    ],
    ids=["bernoulli", "crossentropy", "poisson", "mixed"],
)
def test_any_closed_form_of_a_stream_is_that_of_all_rows_while_they_are_kept(
    estimator, X
):
    weight = RNG.integers(1, 4, len(X))
    estimator.set_params(max_iter=0, random_state=0)
    stream = clone(estimator)
    for rows, counts in zip(np.split(X, 5), np.split(weight, 5), strict=True):
        stream.partial_fit(rows, sample_weight=counts)
    whole = clone(estimator).fit(X, sample_weight=weight)
    assert_allclose(stream.transform(X), whole.transform(X), atol=1e-9)
    assert_allclose(stream.score_samples(X), whole.score_samples(X), atol=1e-8)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_a_stream_with_missing_values_is_that_of_all_rows(kind):
    X = np.where(np.random.default_rng(1).random(WINE.shape) < 0.2, np.nan, WINE)
    X[:20, 5] = np.nan  # has its first value in the second call
    stream = kind(3, max_iter=0)
    with pytest.warns(UserWarning, match=r"without any value: \[5\]"):
        stream.partial_fit(X[:20])
    assert stream.mean_[5] == 0
    for rows in np.split(X[20:170], 6):
        stream.partial_fit(rows)
    whole = kind(3, max_iter=0).fit(X[:170])
    assert_allclose(stream.mean_, np.nanmean(X[:170], axis=0))
    assert_allclose(
        stream._state.stream.squares, np.nansum((X[:170] - stream.mean_) ** 2, 0)
    )
    assert_allclose(stream.impute(X), whole.impute(X), rtol=1e-6)
    assert_allclose(stream.explained_variance_, whole.explained_variance_, rtol=1e-9)


@pytest.mark.parametrize(
    "likelihood",
    [None, "gaussian", pytest.param("gaussian_diag", marks=pytest.mark.slow)],
)
def test_a_feature_that_has_its_first_value_while_a_stream_trains(likelihood):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(400, 6))
    X[:, 4] = 1000 + 3 * X[:, 4]
    first, later = X[:200].copy(), X[200:]
    first[:, 4] = np.nan
    kind = VAETransformer if likelihood else AutoencoderTransformer
    more = {"likelihood": likelihood} if likelihood else {}
    stream = kind(2, network=SMALL, random_state=0, **more)
    with pytest.warns(UserWarning, match=r"without any value: \[4\]"):
        stream.partial_fit(first)
    for rows in np.split(first, 4):
        stream.partial_fit(rows)
    for rows in np.split(later, 4):
        stream.partial_fit(rows)
    assert stream.mean_[4] == pytest.approx(later[:, 4].mean())
    hidden = later.copy()
    hidden[:, 4] = np.nan
    filled = stream.impute(hidden)[:, 4]
    assert np.abs(filled - 1000).max() < 30
    assert np.isfinite(stream.score_samples(later)).all()
    others = np.delete(np.arange(6), 4)
    error = np.square(stream.reconstruct(later) - later)[:, others].mean()
    assert error < later[:, others].var(axis=0).mean()


@pytest.mark.slow
def test_a_stream_that_begins_with_hardly_any_rows_is_soon_no_worse_than_pca():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 10))
    X = np.tanh(X) + 0.05 * rng.normal(size=X.shape)
    pca, scores = PCA(3).fit(X).score(X), []
    for first in (3, 50):
        stream = VAETransformer(3, random_state=0).partial_fit(X[:first])
        for rows in np.split(X[50:], 79):
            stream.partial_fit(rows)
        scores.append(stream.score(X))
    assert min(scores) > pca
    assert scores[0] > scores[1] - 0.5


def test_training_waits_for_more_than_a_few_rows_a_component():
    stream = AutoencoderTransformer(2, network=SMALL, random_state=0)
    for rows in (WINE[:3], WINE[3:4], WINE[4:10]):
        stream.partial_fit(rows)
        assert stream.n_iter_ == 0
    whole = AutoencoderTransformer(2, network=SMALL, max_iter=0).fit(WINE[:10])
    assert_array_equal(stream.transform(WINE), whole.transform(WINE))
    stream.partial_fit(WINE[10:12])
    assert stream.n_iter_ == 1  # of all twelve
    assert stream._state.coordinates.mean == pytest.approx(WINE[:12].mean(axis=0))
    assert stream.n_samples_ == 12


@pytest.mark.parametrize("max_iter", [0, 200])
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_a_look_in_between_changes_nothing(kind, max_iter, tmp_path):
    """Nor does a pickle or a file: components are turned to when they are asked for."""
    streams = [
        kind(2, network=SMALL, max_iter=max_iter, random_state=0) for _ in range(4)
    ]
    for rows in np.split(WINE[:170], 10):
        for stream in streams:
            stream.partial_fit(rows)
        streams[1].transform(rows)
        streams[2] = pickle.loads(pickle.dumps(streams[2]))
        streams[3].save(tmp_path / "stream.skae")
        streams[3] = skae.load(tmp_path / "stream.skae")
    for stream in streams[1:]:
        assert_array_equal(stream.transform(WINE), streams[0].transform(WINE))
        assert_array_equal(stream.components_, streams[0].components_)
        assert stream.loss_curve_ == streams[0].loss_curve_


def test_components_are_looked_for_when_they_are_asked_for(monkeypatch):
    asked = []
    stream = AutoencoderTransformer(2, network=SMALL, random_state=0)
    of_code = stream._components
    monkeypatch.setattr(
        AutoencoderTransformer,
        "_components",
        lambda self, *args: (asked.append(1), of_code(*args))[1],
    )
    for rows in np.split(WINE[:170], 10):
        stream.partial_fit(rows)
    assert len(asked) == 1  # the first call, which finds out whether all is in order
    stream.components_, stream.transform(WINE), stream.explained_variance_ratio_
    assert len(asked) == 2
    assert not hasattr(stream, "kl_per_component_")


@pytest.fixture(scope="module")
def growth():
    """Kilobytes that a call adds to a process, without training and with it."""
    script = """if True:
        import gc, os, warnings
        import numpy as np
        from skae import AutoencoderTransformer
        warnings.simplefilter("ignore")
        def kilobytes():
            gc.collect()
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
        rng = np.random.default_rng(0)
        for max_iter in (0, 200):
            stream = AutoencoderTransformer(2, max_iter=max_iter, random_state=0)
            def call():
                X = rng.normal(size=(20, 6))
                stream.partial_fit(X)
                if max_iter == 0:
                    AutoencoderTransformer(2, max_iter=0).fit(X)
            for _ in range(400):
                call()
            before = kilobytes()
            for _ in range(600):
                call()
            print((kilobytes() - before) / 600)
        """
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs Linux")
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return dict(zip((0, 200), map(float, found.stdout.split()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("max_iter", [0, 200])
def test_no_call_leaves_anything_behind(max_iter, growth):
    """In the memory of the process, of which an optimizer of Keras took 70 KB a call."""
    assert growth[max_iter] < 2


def test_a_stream_may_be_used_in_one_thread_while_it_goes_on_in_another():
    rows = np.split(WINE[:170], 17)
    alone = AutoencoderTransformer(2, network=SMALL, random_state=0)
    stream = clone(alone).partial_fit(WINE[:20])
    alone.partial_fit(WINE[:20])
    over = threading.Event()

    def look():
        while not over.is_set():
            assert np.isfinite(stream.transform(WINE)).all()
            assert stream.components_.shape == (2, 13)

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for some in rows:
            stream.partial_fit(some)
        over.set()
    for done in looking:
        done.result()
    for some in rows:
        alone.partial_fit(some)
    assert_array_equal(stream.transform(WINE), alone.transform(WINE))
    assert stream.n_samples_ == alone.n_samples_ == 190
