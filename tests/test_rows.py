"""Rows: moments with and without holes, sparse or dense, and what is read of them."""

import tracemalloc
import weakref

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skae import AutoencoderTransformer, DenoisingAutoencoder
from skae._data.rows import Rows
from skae.networks import DenseNetwork

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 70)) * RNG.uniform(1, 9, 70) + 1e4
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, X)


def as_stored(kind, values, tmp_path):
    if kind == "sparse":
        return sparse.csr_matrix(values)
    if kind == "memory map":
        np.save(tmp_path / "X.npy", values)
        return np.load(tmp_path / "X.npy", mmap_mode="r")
    return values


@pytest.mark.parametrize("kind", ["dense", "sparse", "memory map"])
def test_moments_are_numpys(kind, tmp_path):
    rows = Rows(as_stored(kind, X, tmp_path))
    assert_allclose(rows.mean, X.mean(axis=0), rtol=1e-12)
    assert_allclose(rows.total_variance, X.var(axis=0, ddof=1).sum(), rtol=1e-8)
    low, high = (np.ravel(end) for end in (rows.low, rows.high))
    assert_array_equal(low, X.min(axis=0))
    assert_array_equal(high, X.max(axis=0))


def test_moments_of_holes_are_those_of_the_other_values():
    rows, series = Rows(HOLES), Rows(HOLES, series=True)
    assert_allclose(rows.mean, np.nanmean(HOLES, axis=0), rtol=1e-12)
    deviations = np.nansum((HOLES - np.nanmean(HOLES, axis=0)) ** 2)
    assert_allclose(series.total_variance, deviations / (len(X) - 1), rtol=1e-8)
    variance = np.nanvar(HOLES, axis=0) * len(X) / (len(X) - 1)
    assert_allclose(rows.variance, variance, rtol=1e-8)
    assert_array_equal(rows.low, np.nanmin(HOLES, axis=0))
    filled = np.where(np.isnan(HOLES), rows.mean, HOLES)
    assert_array_equal(rows.filled(), filled)


def test_a_feature_without_any_value_has_mean_zero_and_no_weight():
    empty = HOLES[:50].copy()
    empty[:, 3] = np.nan
    rows = Rows(empty)
    assert rows.mean[3] == 0
    assert np.isfinite(rows.complete).all()
    others = np.delete(empty, 3, axis=1)
    assert rows.total_variance == pytest.approx(Rows(others).total_variance)


def test_taking_rows_of_taken_rows():
    target = X[::-1]
    rows = Rows(X, target).take(np.arange(5, 50)).take(np.array([3, 1]))
    assert_array_equal(rows.dense(2), X[[8, 6]])
    assert_array_equal(rows.wanted.dense(2), target[[8, 6]])
    assert len(rows) == 2


def test_some_of_the_rows_are_copied_for_as_long_as_they_are_used():
    some = Rows(X).take(np.arange(5, 50))
    copy = weakref.ref(some.array)
    assert copy() is None
    assert some.array.shape == (45, X.shape[1])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_chunks_hold_the_rows_in_their_order(kind, tmp_path):
    rows = Rows(as_stored(kind, X, tmp_path)).take(np.arange(100, 200))
    buffers = {"rows": np.empty((4, 8, X.shape[1]))}
    order, seen = RNG.permutation(96), []
    for n_batches in rows.chunks(order, 8, buffers):
        seen.append(buffers["rows"][:n_batches].reshape(-1, X.shape[1]).copy())
    assert_array_equal(np.concatenate(seen), X[100 + order])


def test_splits_are_disjoint_and_whole():
    training, held_out = Rows(X).split(0.1, seed=3)
    assert len(held_out) == 300
    both = np.concatenate([training.index, held_out.index])
    assert_array_equal(np.sort(both), np.arange(len(X)))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64])
def test_whole_numbers_are_rows_like_any(dtype):
    whole = (np.abs(X[:200, :9] - 1e4) > 3 if dtype is bool else X[:200, :9] % 99).astype(
        dtype
    )
    images = whole.reshape(200, 3, 3)
    for kind in (AutoencoderTransformer, DenoisingAutoencoder):
        model = kind(2, network=DenseNetwork((4,)), max_iter=2, random_state=0)
        expected = model.fit(whole.astype(float)).transform(whole.astype(float))
        assert_array_equal(model.fit(whole).transform(whole), expected)
        assert_allclose(model.transform(whole[:1]), expected[:1], atol=1e-12)
        assert model.fit(images).reconstruct(images).dtype == np.float64
    assert_array_equal(model.fit(pd.DataFrame(whole)).transform(whole), expected)


def test_whole_numbers_are_not_blown_up():
    """Peak memory above the rows: less than they would take in float64."""
    wide = RNG.integers(0, 255, (200_000, 64), dtype=np.uint8)
    model = AutoencoderTransformer(2, max_iter=0, network=DenseNetwork((4,))).fit(X)
    tracemalloc.start()
    model.fit(wide)
    model.score(wide)
    assert tracemalloc.get_traced_memory()[1] < 8 * wide.nbytes / 2
    tracemalloc.stop()
