"""The learning rate, the number of epochs, and how several splits choose them."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._training.defaults import Defaults, suited_rate
from skae._training.schedule import Adaptive, Constant, Planned, replayed
from skae.networks import DenseNetwork

WINE = StandardScaler().fit_transform(load_wine().data)
SMALL = DenseNetwork((16,))
DIGITS = load_digits().data / 16
OF_DIGITS = AutoencoderTransformer(8, network=SMALL, max_iter=30, random_state=0)


def test_a_constant_rate_ends_after_so_many_epochs_without_improvement():
    schedule = Constant(0.1, patience=2)
    assert [schedule.goes_on(better) for better in (True, False, False, True)] == [
        True
    ] * 4
    assert [schedule.goes_on(False) for _ in range(3)] == [True, True, False]
    assert_array_equal(schedule.rates(3), np.float32([0.1] * 3))


def test_an_adaptive_rate_is_lowered_where_the_loss_stops_falling():
    schedule = Adaptive(1.0, patience=4, factor=0.5, reductions=2, share=1 / 2)
    assert schedule.goes_on(True)
    rates = []
    while schedule.goes_on(False):
        rates.append(schedule.rate)
    assert rates == [1.0, 0.5, 0.5, 0.25, 0.25]


def test_nothing_is_lowered_before_the_first_gain():
    schedule = Adaptive(1.0, patience=4, share=1 / 2)
    assert [schedule.goes_on(False) for _ in range(4)] == [True] * 3 + [False]
    assert schedule.rate == 1.0


@pytest.mark.parametrize("n_epochs", [1, 3, 20])
def test_a_planned_rate_climbs_and_falls_by_the_batch(n_epochs):
    schedule = Planned(1.0, np.inf, n_epochs)
    rates = np.concatenate([schedule.rates(100) for _ in range(n_epochs)])
    peak = rates.argmax()
    assert_allclose(rates.max(), 1, atol=0.01)
    assert_allclose(rates[-1], 1 / 20, atol=0.01)
    assert abs(peak / len(rates) - 0.1) < 0.02
    assert (np.diff(rates[:peak]) > 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()


def test_more_rows_never_take_more_time_each():
    sizes = np.unique(np.logspace(1, 8, 200).astype(int))
    recipes = [Defaults.of(int(n)) for n in sizes]
    planned = [recipe.n_epochs for recipe in recipes if recipe.n_epochs is not None]
    assert planned == sorted(planned, reverse=True)
    assert Defaults.of(1_000_000).n_epochs <= 10
    batches = [recipe.batch_size for recipe in recipes]
    assert batches == sorted(batches)
    assert suited_rate(16) == suited_rate(32) < suited_rate(128)


def test_rates_are_replayed_over_fewer_epochs():
    assert replayed([4, 4, 2, 1], 2) == [4, 2]
    assert replayed([4, 2], 4) == [4, 4, 2, 2]
    assert replayed([], 0) == []


@pytest.mark.parametrize(
    "kind",
    [AutoencoderTransformer, pytest.param(VAETransformer, marks=pytest.mark.slow)],
)
def test_several_splits_find_what_one_can_not(kind):
    train, test = WINE[::2], WINE[1::2]
    fitted = kind(4, random_state=0).fit(train)
    assert fitted.score(test) > kind(4, max_iter=0).fit(train).score(test)
    history = fitted.history_
    assert len(history["loss"]) == len(history["val_loss"]) == fitted.n_iter_
    assert 0 < len(history["refit_loss"]) <= fitted.n_iter_
    again = kind(4, random_state=0).fit(train)
    assert_array_equal(again.transform(test), fitted.transform(test))


@pytest.mark.slow
def test_several_splits_find_next_to_nothing_in_noise():
    kept = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, test = rng.normal(size=(60, 5)), rng.normal(size=(5000, 5))
        fitted = AutoencoderTransformer(2, network=SMALL, max_iter=20, random_state=seed)
        pca = AutoencoderTransformer(2, max_iter=0).fit(X)
        assert fitted.fit(X).score(test) > 1.02 * pca.score(test)
        kept += np.allclose(fitted.transform(X), pca.transform(X), atol=1e-6)
    assert kept >= 4


@pytest.mark.parametrize("n_splits", [1, 2])
def test_the_number_of_splits_is_a_parameter(n_splits):
    denoiser = DenoisingAutoencoder(
        4, network=SMALL, n_splits=n_splits, max_iter=8, random_state=0
    ).fit(WINE)
    assert ("refit_loss" in denoiser.history_) == (n_splits > 1)


def test_callbacks_watch_one_training():
    callbacks = [keras.callbacks.LambdaCallback()]
    estimator = AutoencoderTransformer(network=SMALL, callbacks=callbacks, max_iter=2)
    assert "refit_loss" not in estimator.fit(WINE).history_
    with pytest.raises(ValueError, match=r"n_splits must be 1 or 'auto'\. Got 3"):
        estimator.set_params(n_splits=3).fit(WINE)


def least(fitted):
    return min(fitted.history_["val_loss"])


@pytest.mark.slow
def test_some_thousand_rows_are_trained_from_random_weights_too():
    """What is kept is what is better on validation rows; here that is the random start."""
    test = np.arange(len(DIGITS)) % 4 == 3
    model = AutoencoderTransformer(8, max_iter=40, random_state=0)
    linear = clone(model).set_params(init="linear").fit(DIGITS[~test])
    both = clone(model).fit(DIGITS[~test])
    assert least(both) < 0.98 * least(linear)
    assert both.score(DIGITS[test]) > 0.98 * linear.score(DIGITS[test])
    again = clone(model).fit(DIGITS[~test])
    assert_array_equal(again.transform(DIGITS), both.transform(DIGITS))


@pytest.mark.parametrize(
    "change",
    [
        {"network": DenseNetwork(())},
        {"callbacks": [keras.callbacks.LambdaCallback()]},
        {"early_stopping": False},
        {"n_splits": 2},
        {"max_iter": 0},
    ],
    ids=["linear network", "callbacks", "no early stopping", "splits", "no training"],
)
def test_there_is_no_second_start(change):
    model = clone(OF_DIGITS).set_params(**{"max_iter": 3} | change)
    codes = [
        clone(model).set_params(init=init).fit(DIGITS[:1200]).transform(DIGITS)
        for init in ("auto", "linear")
    ]
    assert_array_equal(*codes)


def test_a_linear_network_is_pca_which_an_epoch_shows():
    linear = clone(OF_DIGITS).set_params(network=DenseNetwork(()))
    fitted = clone(linear).fit(DIGITS)
    assert fitted.n_iter_ == len(fitted.history_["val_loss"]) == 1
    assert_allclose(fitted.transform(DIGITS), PCA(8).fit_transform(DIGITS), atol=1e-10)
    for change in (
        {"init": "random"},
        {"activity_l1": 0.1},
        {"loss": "absolute_error"},
        {"learning_rate": "constant"},
        {"early_stopping": False},
        {"callbacks": [keras.callbacks.LambdaCallback()]},
    ):
        other = clone(linear).set_params(max_iter=3, n_iter_no_change=np.inf, **change)
        assert other.fit(DIGITS).n_iter_ == 3


def test_rows_of_holes_have_no_second_start():
    holes = np.where(DIGITS[:1200] == 0.5, np.nan, DIGITS[:1200])
    model = clone(OF_DIGITS).set_params(max_iter=3)
    codes = [
        clone(model).set_params(init=init).fit_transform(holes)
        for init in ("auto", "linear")
    ]
    assert_array_equal(*codes)


def test_noise_stays_at_pca_in_spite_of_a_second_start():
    X = np.random.default_rng(0).normal(size=(1000, 5))
    fitted = AutoencoderTransformer(2, network=SMALL, max_iter=20, random_state=0).fit(X)
    test = np.random.default_rng(1).normal(size=(5000, 5))
    pca = AutoencoderTransformer(2, max_iter=0).fit(X)
    assert fitted.score(test) > 1.01 * pca.score(test)


def test_many_rows_are_trained_by_plan_within_max_iter():
    X = np.random.default_rng(0).normal(size=(50_000, 2)).astype(np.float32)
    fitted = AutoencoderTransformer(
        1, network=DenseNetwork((2,)), max_iter=2, early_stopping=False, random_state=0
    ).fit(X)
    assert fitted.n_iter_ == 2


def test_a_schedule_goes_its_own_way_whatever_the_number_of_rows():
    X = np.random.default_rng(0).normal(size=(50_000, 2)).astype(np.float32)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 1000)
    fitted = AutoencoderTransformer(
        1,
        network=DenseNetwork(()),
        learning_rate_init=schedule,
        n_iter_no_change=np.inf,
        max_iter=23,
        batch_size=5000,
        random_state=0,
    ).fit(X)
    assert fitted.n_iter_ == 23


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (keras.optimizers.Adam(use_ema=True), "use_ema"),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "LossScale"),
    ],
    ids=["averages", "scales"],
)
def test_optimizers_that_do_what_training_does_not_are_refused(optimizer, message):
    with pytest.raises(ValueError, match=f"optimizer must not .*{message}"):
        AutoencoderTransformer(network=SMALL, optimizer=optimizer).fit(WINE)


def test_a_scale_of_the_loss_changes_nothing():
    losses = [
        AutoencoderTransformer(
            4,
            network=SMALL,
            optimizer=keras.optimizers.SGD(0.01, loss_scale_factor=factor),
            n_splits=1,
            max_iter=3,
            random_state=0,
        )
        .fit(WINE)
        .loss_curve_
        for factor in (None, 1024.0)
    ]
    assert_allclose(*losses, rtol=1e-4)
