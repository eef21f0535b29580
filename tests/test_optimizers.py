"""Optimizers: what Keras does by variable is done, with the one vector or without it."""

import math
import threading

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer
from skae._backend import optimizer
from skae._backend.optimizer import Optimizer
from skae.networks import CustomNetwork, DenseNetwork

pytestmark = pytest.mark.usefixtures("without_xla")

X = load_digits().data[:200] / 16
NAMES = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "adamax", "nadam"]
NAMES += ["lion", "muon", "adafactor", "ftrl"]
PLAIN = {
    "init": "random",
    "early_stopping": False,
    "max_iter": 5,
    "n_iter_no_change": math.inf,
    "learning_rate": "constant",
    "random_state": 0,
}


def trained(optimizer, network=None, **more):
    model = AutoencoderTransformer(
        4, network=network or DenseNetwork((9,)), optimizer=optimizer, **PLAIN | more
    )
    return model.fit(X)


def weights_of(model):
    return model._state.weights


@pytest.mark.parametrize("name", NAMES)
def test_one_vector_gives_the_weights_of_many(name, monkeypatch):
    one = weights_of(trained(name))
    monkeypatch.setattr(optimizer, "FLAT_VALUES", 0)
    _forget(monkeypatch)
    many = weights_of(trained(name))
    for path, value in one.items():
        assert_allclose(value, many[path], rtol=2e-4, atol=2e-5, err_msg=path)


def _forget(monkeypatch):
    """No program that is kept knows what the test has changed."""
    from skae._backend import pool

    monkeypatch.setattr(pool, "programs", type(pool.programs)(64))
    monkeypatch.setattr(pool, "compiled", {})


def constrained(units):
    layers, positive = keras.layers, keras.constraints.NonNeg()

    def decoder(z):
        layer = layers.Dense(units, "relu", kernel_constraint=positive, name="parts")
        return layer(z)

    return CustomNetwork(lambda x: layers.Dense(16, "relu")(x), decoder)


@pytest.mark.parametrize("max_iter", [0, 3])
@pytest.mark.parametrize("init", ["random", "auto"])
@pytest.mark.parametrize("units", [16, 1200])
def test_a_constraint_is_obeyed_whatever_the_size(units, init, max_iter):
    model = trained("adam", constrained(units), max_iter=max_iter, init=init)
    parts = {p: w for p, w in weights_of(model).items() if "parts/kernel" in p}
    assert len(parts) == 1
    assert all(kernel.min() >= 0 < kernel.max() for kernel in parts.values())


def adamw(**exclude):
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.5)
    if exclude:
        optimizer.exclude_from_weight_decay(**exclude)
    return optimizer


def test_weights_excluded_from_decay_do_not_decay():
    none = weights_of(trained(keras.optimizers.Adam(1e-3)))
    excluded = weights_of(trained(adamw(var_names=["kernel", "bias"])))
    decayed = weights_of(trained(adamw()))
    for path, value in excluded.items():
        assert_allclose(value, none[path], rtol=1e-4, atol=1e-6)
    kernel = next(path for path in none if path.endswith("kernel"))
    assert np.abs(decayed[kernel] - none[kernel]).max() > 1e-3
    # some of them: the others are as where all decay, up to what the gradients make of it
    some = weights_of(trained(adamw(var_names=["bias"]), max_iter=1))
    every = weights_of(trained(adamw(), max_iter=1))
    assert_allclose(some[kernel], every[kernel], rtol=0.05, atol=1e-3)


def test_variables_of_another_model_can_not_be_excluded():
    other = keras.Variable(np.zeros(3))
    with pytest.raises(ValueError, match=r"optimizer must exclude .* by their names"):
        trained(adamw(var_list=[other]))


def test_a_copy_has_what_was_set_after_it_was_made():
    given = keras.optimizers.SGD(0.1)
    given.momentum = 0.9  # its configuration says so, too
    given.extra = {"a": np.arange(3)}
    made = Optimizer.of(given, None).make()
    assert made.momentum == 0.9
    assert_array_equal(made.extra["a"], [0, 1, 2])
    assert made.extra["a"] is not given.extra["a"]
    assert Optimizer.of(given, None) == Optimizer.of(given, None)
    given.extra["a"][0] = 5
    assert Optimizer.of(given, None) != Optimizer.of(keras.optimizers.SGD(0.1), None)


def test_an_optimizer_that_has_trained_another_model_starts_afresh():
    used = keras.optimizers.Adam(1e-3)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile(used, "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    for path, value in weights_of(trained(keras.optimizers.Adam(1e-3))).items():
        assert_array_equal(weights_of(trained(used))[path], value)


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """As TensorFlow's Transformer tutorial writes it: without `get_config`."""

    def __init__(self, size, steps=10):
        super().__init__()
        self.size, self.steps = size, steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32") + 1
        rising = step * self.steps**-1.5
        return self.size**-0.5 * keras.ops.minimum(step**-0.5, rising)


class Locked(WarmUp):
    """One that can't be compared by value either."""

    def __init__(self, size):
        super().__init__(size)
        self.name = threading.get_ident


def test_a_schedule_of_one_s_own_needs_no_configuration():
    by_optimizer = trained(keras.optimizers.Adam(WarmUp(400.0)))
    by_rate = trained("adam", learning_rate_init=WarmUp(400.0))
    assert by_optimizer.loss_curve_ == by_rate.loss_curve_
    assert by_rate.loss_curve_[-1] < by_rate.loss_curve_[0]
    other = trained("adam", learning_rate_init=WarmUp(40_000.0))
    assert other.loss_curve_ != by_rate.loss_curve_
    one, same = (Optimizer.of("adam", WarmUp(400.0)) for _ in range(2))
    assert one == same != Optimizer.of("adam", WarmUp(401.0))
    assert trained("adam", learning_rate_init=Locked(400.0)).loss_curve_[-1] > 0


def test_no_fit_makes_another_optimizer(monkeypatch):
    """Each keeps 70 KB on TensorFlow, for as long as the process lives."""
    trained("adam"), trained(adamw())
    made = []
    init = keras.optimizers.Optimizer.__init__
    monkeypatch.setattr(
        keras.optimizers.Optimizer,
        "__init__",
        lambda self, *args, **kwargs: (made.append(self), init(self, *args, **kwargs))[1],
    )
    mine = adamw()
    del made[:]
    for _ in range(3):
        trained("adam"), trained(mine)
        trained("adam", learning_rate_init=0.01)
    assert made == []
