"""Smoothing: few rows stand for a smooth distribution, of the same mean and covariance."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae._backend.augmentation import GROUP, smooth
from skae.networks import DenseNetwork

WINE = StandardScaler().fit_transform(load_wine().data)
SMALL = DenseNetwork((8,))


def batches(shape, seed=0):
    draws = np.random.default_rng(seed).normal(size=(*shape, 3))
    return draws @ [[1.0, 0.5, 0.0], [0.0, 1.0, -2.0], [0.0, 0.0, 0.1]] + [3.0, -1.0, 0.0]


@pytest.mark.parametrize("shape", [(500, 16), (160, 50), (2, 4000)])
def test_mean_and_covariance_stay_as_they_are(shape):
    before = batches(shape)
    after = before.copy()
    smooth([after], 0.5, 0)
    distance = (
        np.square(after - before).sum() / np.square(before - before.mean((0, 1))).sum()
    )
    # what is added has the variance h^2 / (1 + h^2), and rows shrink by 1 - 1 / sqrt(1 + h^2)
    assert_allclose(distance, 0.2 + (1 - 0.8**0.5) ** 2, rtol=0.1)
    before, after = before.reshape(-1, 3), after.reshape(-1, 3)
    assert_allclose(after.mean(axis=0), before.mean(axis=0), atol=0.02)
    assert_allclose(np.cov(after.T), np.cov(before.T), atol=0.07)


def test_rows_and_what_they_are_to_become_are_mixed_alike():
    rows = batches((5, GROUP + 3)).astype(np.float32)
    wanted = rows @ np.float32([[2, 0], [0, 1], [1, 1]])
    mixed, mixed_wanted = rows.copy(), wanted.copy()
    smooth([mixed, mixed_wanted], 0.5, (7, 0))
    assert mixed.dtype == np.float32
    assert_allclose(mixed @ [[2, 0], [0, 1], [1, 1]], mixed_wanted, atol=1e-5)
    again, other = rows.copy(), rows.copy()
    smooth([again], 0.5, (7, 0))
    smooth([other], 0.5, (7, 1))
    assert_array_equal(again, mixed)
    assert np.abs(other - mixed).max() > 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1)])
def test_a_single_row_stays_where_it_is(shape):
    rows = batches(shape)
    mixed = rows.copy()
    smooth([mixed], 0.5, 0)
    assert np.isfinite(mixed).all()
    if rows[..., 0].size == 1:
        assert_array_equal(mixed, rows)


def test_a_network_bends_less_to_single_rows():
    """Rows near a curved surface: on others smoothing is better, on its own it is worse."""
    ratios = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        axes = rng.normal(size=(3, 12))
        X = np.tanh(rng.normal(size=(2120, 3)) @ axes) + 0.2 * rng.normal(size=(2120, 12))
        model = AutoencoderTransformer(3, alpha=0, max_iter=60, random_state=seed)
        model.set_params(early_stopping=False, n_iter_no_change=np.inf)
        fits = [clone(model).set_params(smoothing=h).fit(X[:120]) for h in (0.4, 0.0)]
        ratios.append(
            [fits[0].score(some) / fits[1].score(some) for some in (X[120:], X[:120])]
        )
    unseen, seen = np.mean(ratios, axis=0)
    assert unseen < 0.97
    assert seen > 1.1


def test_few_rows_are_smoothed(without_xla):
    model = AutoencoderTransformer(3, network=SMALL, max_iter=20, random_state=0)

    def codes(smoothing, **more):
        fitted = clone(model).set_params(smoothing=smoothing, **more).fit(WINE)
        return fitted.transform(WINE)

    auto = codes("auto")
    assert_array_equal(auto, codes(0.5))
    assert np.abs(auto - codes(0.0)).max() > 1e-4
    assert_array_equal(codes("auto", n_splits=1), codes(0.0, n_splits=1))


def with_a_hole(X):
    X = X.copy()
    X[3, 2] = np.nan
    return X


@pytest.mark.parametrize(
    ("model", "X"),
    [
        (AutoencoderTransformer(2), with_a_hole(WINE)),
        (AutoencoderTransformer(2, loss="binary_crossentropy"), (WINE > 0).astype(float)),
        (AutoencoderTransformer(2, loss="poisson"), np.abs(WINE).round()),
        (
            AutoencoderTransformer(
                2, loss=[("squared_error", [0, 1]), ("binary_crossentropy", slice(2, 13))]
            ),
            np.where(np.arange(13) < 2, WINE, WINE > 0),
        ),
    ],
    ids=["hole", "binary", "counts", "by column"],
)
def test_what_is_no_row_when_mixed_is_not_smoothed(model, X, without_xla):
    model.set_params(network=SMALL, max_iter=2, random_state=0)
    auto, none = (clone(model).set_params(smoothing=h).fit(X) for h in ("auto", 0))
    assert_array_equal(auto.transform(X), none.transform(X))
    with pytest.raises(ValueError, match=r"smoothing .* must be 0 or 'auto'\. Got 0\.2"):
        clone(model).set_params(smoothing=0.2).fit(X)


def test_callbacks_see_the_rows_as_they_are(without_xla):
    callbacks = [keras.callbacks.LambdaCallback()]
    model = AutoencoderTransformer(3, network=SMALL, max_iter=3, callbacks=callbacks)
    model.set_params(random_state=0)
    codes = [
        clone(model).set_params(smoothing=h).fit_transform(WINE) for h in ("auto", 0.0)
    ]
    assert_array_equal(*codes)
