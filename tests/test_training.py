"""The training loop: few programs, the same bits, nothing lost or left behind."""

import os
import random
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae._backend import optimizer
from skae.networks import DenseNetwork

SMALL = DenseNetwork(hidden_layer_sizes=(16,), dropout=0.1)

OF_TENSORFLOW = pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow",
    reason="how TensorFlow is imported, and a setting of its own",
)


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)[0]


def small(**parameters):
    return AutoencoderTransformer(
        4, **{"network": SMALL, "max_iter": 3, "random_state": 0} | parameters
    )


def test_nothing_is_compiled_again_for_other_rows_or_values(digits):
    from skae._backend.pool import programs

    def traces():
        return {key: program.n_traces for key, program in programs.items.items()}

    small(batch_size=32).fit(digits)
    before = traces()
    assert list(before.values())[-1] == 2  # one trains, one validates
    for n_samples in (50, 777, 1797):
        small(
            batch_size=32,
            learning_rate_init=1e-4 * n_samples,
            alpha=1.0,
            activity_l1=0.1,
            tol=0,
            random_state=n_samples,
        ).fit(digits[:n_samples] + n_samples)
    assert traces() == before


@pytest.mark.parametrize("by_xla", [False, True])
@pytest.mark.parametrize("flat_values", [0, 2**16])
def test_the_loss_has_the_penalty_of_every_batch(
    digits, monkeypatch, flat_values, by_xla
):
    """``alpha / 2`` times the squares of all kernels, a row of the batch (MLPRegressor's)."""
    monkeypatch.setattr(optimizer, "FLAT_VALUES", flat_values)
    monkeypatch.setattr(DenseNetwork, "jit_compile", by_xla)
    monkeypatch.setattr(DenseNetwork, "jit_work", 0)
    settings = {"init": "random", "early_stopping": False, "learning_rate_init": 1e-12}

    def fitted(alpha):
        network = DenseNetwork((6 + 2 * by_xla + bool(flat_values),))
        model = AutoencoderTransformer(
            3, network=network, max_iter=1, batch_size=50, alpha=alpha, **settings
        )
        return model.set_params(random_state=0).fit(digits)

    plain, penalized = fitted(0), fitted(2.0)
    kernels = [w for w in penalized._state.weights.values() if w.ndim > 1]
    expected = 2.0 / (2 * 50) * sum(np.square(kernel).sum() for kernel in kernels)
    expected *= penalized._state.coordinates.scale[0] ** 2
    assert penalized.loss_ - plain.loss_ == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("batch_size", [3, 48, 300])
@pytest.mark.parametrize("n_rows", [100, 256, 897])
def test_validation_has_the_loss_of_every_row(digits, batch_size, n_rows):
    """Rows are computed many batches at once; the last batch is filled up with others."""
    rows = digits[900 : 900 + n_rows]
    model = small(batch_size=batch_size, max_iter=1, n_iter_no_change=np.inf)
    model.fit(digits[:900], X_val=rows)
    assert model.history_["val_loss"] == pytest.approx([-model.score(rows)], rel=1e-5)


@OF_TENSORFLOW
def test_xla_compiles_a_fit_whose_work_repays_it():
    """Batches times the square root of weights times batch size, from a million on."""
    from skae._backend.tensorflow import repays_xla as by_xla
    from skae.networks import ConvNetwork, SequenceNetwork

    n_weights, batch_size = 25_000, 16  # the square root of the product is 632
    assert not by_xla(DenseNetwork(), 1581, batch_size, n_weights)
    assert by_xla(DenseNetwork(), 1582, batch_size, n_weights)
    assert by_xla(DenseNetwork(), 5 * 235, 256, 50_992)  # five epochs of MNIST
    assert by_xla(SequenceNetwork((8, 8)), 300, batch_size, n_weights)
    assert not by_xla(ConvNetwork((8, 8, 1)), 10**6, batch_size, n_weights)


def test_transform_is_traced_once_for_any_number_of_rows(digits):
    skae = small().fit(digits)
    skae.transform(digits)
    compiled = skae._fitted(digits.dtype)
    for n_samples in (1, 7, 500):
        skae.transform(digits[:n_samples])
        assert skae._fitted(digits.dtype) is compiled


def test_programs_kept_are_bounded(digits, monkeypatch):
    """In number, and in what their weights take; none holds rows."""
    from skae._backend.pool import programs

    monkeypatch.setattr(programs, "max_items", 3)
    for size in range(1, 6):
        small(network=DenseNetwork((size,)), max_iter=1, early_stopping=False).fit(
            digits[:20]
        )
    assert len(programs.items) == 3
    assert all(program.buffers is None for program in programs.items.values())
    last = [*programs.items.values()][-1]
    monkeypatch.setattr(programs, "max_values", 2 * last.size + 10)
    small(network=DenseNetwork((5,)), max_iter=1, early_stopping=False).fit(digits[:20])
    assert [*programs.items.values()][-1] is last
    assert len(programs.items) == 2
    monkeypatch.setattr(programs, "max_values", 1)
    small(network=DenseNetwork((5,)), max_iter=1, early_stopping=False).fit(digits[:20])
    assert [*programs.items.values()] == [last]


class Thing:
    size = 1


def test_what_two_threads_made_is_kept_twice_to_lend_and_once_to_share():
    from skae._backend.cache import Cache

    kept, one, other = Cache(3), Thing(), Thing()
    kept.put("key", one)
    kept.put("key", other)
    assert {kept.pop("key"), kept.pop("key")} == {one, other}
    assert kept.pop("key") is None
    shared = Cache(3)

    def make():  # while another thread is done with the same
        shared.get("key", lambda: one)
        return other

    assert shared.get("key", make) is one
    assert shared.get("key", make) is one
    assert len(shared.items) == 1


SCRIPT = """
import sys
import numpy as np
from sklearn.datasets import load_digits
from skae import AutoencoderTransformer
from skae.networks import DenseNetwork
if "deterministic" in sys.argv:
    import tensorflow
    tensorflow.config.experimental.enable_op_determinism()
X = load_digits(return_X_y=True)[0]
network = DenseNetwork(hidden_layer_sizes=(16,), dropout=0.1)
skae = AutoencoderTransformer(4, network=network, max_iter=3, random_state=0).fit(X)
sys.stdout.buffer.write(skae.transform(X).tobytes())
"""


@pytest.mark.parametrize(
    "how",
    ["plain", pytest.param("deterministic", marks=[pytest.mark.slow, OF_TENSORFLOW])],
)
def test_same_seed_same_bits_in_a_fresh_process_and_no_warnings(digits, how):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore:Maximum iterations", "-c", SCRIPT, how],
        capture_output=True,
        env=environment,
        check=True,
    )
    codes = small().fit(digits).transform(digits)
    assert done.stdout == codes.tobytes()
    if how == "plain":
        tensorflows = rb"WARNING: All log messages before|[IE]\d{4} [\d:.]+ +\d+ \w+\.cc:"
        lines = done.stderr.splitlines()
        assert [line for line in lines if not re.match(tensorflows, line)] == []


@pytest.mark.slow
def test_many_networks_print_nothing(digits, capfd, without_xla):
    for size in range(20, 32):
        small(network=DenseNetwork((size,)), max_iter=1).fit(digits[:50])
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_same_seed_same_bits_after_unrelated_keras_work(digits):
    import keras

    codes = small().fit(digits).transform(digits)
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.fit(digits, digits[:, :3], epochs=1, verbose=0)
    assert_array_equal(small().fit(digits).transform(digits), codes)
    assert_array_equal(
        small(random_state=np.random.RandomState(0)).fit(digits).transform(digits), codes
    )
    assert not np.array_equal(small(random_state=1).fit(digits).transform(digits), codes)


def test_the_callers_random_state_and_settings_are_left_alone(digits):
    import keras

    def draws():
        keras.utils.set_random_seed(3)
        yield
        yield (
            random.random(),
            np.random.random(),
            float(drawn_by_tensorflow()),
            float(keras.random.uniform(())),
        )

    def drawn_by_tensorflow():
        if keras.backend.backend() != "tensorflow":
            return 0
        import tensorflow as tf

        return tf.random.uniform(())

    undisturbed = draws()
    next(undisturbed)
    expected = next(undisturbed)
    environment, filters = dict(os.environ), list(warnings.filters)
    settings = keras.config.floatx(), keras.config.dtype_policy().name
    disturbed = draws()
    next(disturbed)
    skae = small(network=DenseNetwork((9,), dropout=0.5), verbose=0).fit(digits)
    skae.inverse_transform(skae.transform(digits))
    assert skae.encoder_ is not None
    assert next(disturbed) == expected
    assert dict(os.environ) == environment
    assert list(warnings.filters) == filters
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == settings


def test_importing_it_imports_neither_keras_nor_tensorflow():
    script = (
        "import sys, random, numpy, sklearn.preprocessing\n"
        "random.seed(0); numpy.random.seed(0)\n"
        "state = random.getstate(), numpy.random.get_state()[1].tolist()\n"
        "import skae, skae.networks\n"
        "from sklearn.base import clone\n"
        "estimator = clone(skae.AutoencoderTransformer(3, network=skae.networks.DenseNetwork()))\n"
        "repr(estimator.set_params(network__activation='relu'))\n"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "assert state == (random.getstate(), numpy.random.get_state()[1].tolist())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_keras_draws_nothing_from_the_callers_generator():
    script = (
        "import random, sys\n"
        "import numpy as np\n"
        "from skae._utils.keras import import_keras\n"
        "for name in [name for name in sys.modules if name.startswith('rich')]:\n"
        "    del sys.modules[name]\n"  # scikit-learn may have imported it, which draws
        "random.seed(0)\n"
        "state, getrandbits = random.getstate(), random.getrandbits\n"
        "numpy_s, rand = np.random.get_state(legacy=False), np.random.rand\n"
        "import_keras()\n"
        "assert 'rich.style' in sys.modules\n"
        "assert str(np.random.get_state(legacy=False)) == str(numpy_s)\n"
        "assert np.random.rand is rand\n"
        "assert state == random.getstate() and random.getrandbits == getrandbits\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


FORK = """
import os
import numpy as np
from skae import AutoencoderTransformer
from skae.networks import DenseNetwork
X = np.eye(9)
estimator = AutoencoderTransformer(network=DenseNetwork((2,)), max_iter=1)
def fit_in_a_child():
    child = os.fork()
    if not child:
        try:
            estimator.fit(X)
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
fit_in_a_child()
print("fitted", flush=True)
estimator.fit(X)
fit_in_a_child()
"""


@pytest.mark.slow
def test_a_forked_child_of_a_process_that_has_fitted_is_told_at_once():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    before, after = done.stdout.split("fitted\n")
    assert before == ""
    assert "'spawn'" in after
    assert "'loky'" in after


def test_another_backend_is_refused(digits):
    script = (
        "import numpy, skae\n"
        "try:\n"
        "    skae.AutoencoderTransformer().fit(numpy.eye(9))\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "KERAS_BACKEND is set to 'torch'" in done.stdout
    assert "ONNX" in done.stdout


# -- when things go wrong


@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_keeps_the_last_finite_weights(digits, early_stopping):
    skae = small(
        learning_rate_init=1e3,
        optimizer="sgd",
        network=DenseNetwork((16,)),
        max_iter=20,
        early_stopping=early_stopping,
    )
    with pytest.warns(ConvergenceWarning, match="diverged"):
        skae.fit(digits)
    assert np.isfinite(skae.transform(digits)).all()
    assert np.isfinite(skae.reconstruct(digits)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_values_give_finite_weights(digits, dtype):
    X = (digits * 1e30).astype(dtype)
    skae = small().fit(X)
    assert np.isfinite(skae.transform(X)).all()
    assert np.isfinite(skae.loss_)


def test_values_too_large_to_square_are_refused(digits):
    with pytest.raises(ValueError, match="X's values are too large"):
        small().fit(digits * 1e200)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_interrupt_leaves_a_usable_estimator(digits, early_stopping):
    import keras

    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=interrupt)]
    skae = small(callbacks=callbacks, max_iter=9, early_stopping=early_stopping)
    with pytest.warns(UserWarning, match="interrupted"):
        skae.fit(digits)
    assert skae.n_iter_ == 3
    assert np.isfinite(skae.transform(digits)).all()


def interrupt_at(monkeypatch, n):
    """Raise KeyboardInterrupt in place of the n-th epoch that a program is asked for."""
    from skae._backend.pool import Program

    epoch, calls = Program.epoch, []

    def call(*args):
        calls.append(None)
        if len(calls) == n:
            raise KeyboardInterrupt
        return epoch(*args)

    monkeypatch.setattr(Program, "epoch", call)


@pytest.mark.parametrize("n_done", [0, 2])
def test_an_interrupt_of_the_training_on_all_rows_keeps_the_last_epoch(
    digits, n_done, monkeypatch, without_xla
):
    """Two splits of four epochs, which are eight calls, and then those on all rows."""
    parameters = {"n_splits": 2, "max_iter": 4, "learning_rate": "constant"}
    whole = small(**parameters).fit(digits)
    assert len(whole.history_["refit_loss"]) > n_done
    interrupt_at(monkeypatch, 8 + n_done + 1)
    cut = small(**parameters)
    with pytest.warns(UserWarning, match="interrupted"):
        cut.fit(digits)
    assert cut.n_iter_ == 4
    done = whole.history_["refit_loss"][:n_done]
    assert cut.history_.get("refit_loss", []) == done
    start = small(max_iter=0).fit(digits)
    assert (cut.score(digits) > start.score(digits)) == (n_done > 0)
    if not n_done:
        np.testing.assert_allclose(cut.transform(digits), start.transform(digits))


@pytest.mark.parametrize("n_splits", [1, 2])
def test_an_interrupt_of_the_choice_of_epochs_goes_on_from_there(
    digits, n_splits, monkeypatch, without_xla
):
    interrupt_at(monkeypatch, 2 * n_splits + 1)
    skae = small(n_splits=n_splits, max_iter=9)
    with pytest.warns(UserWarning, match="interrupted"):
        skae.fit(digits)
    assert skae.n_iter_ == 2
    assert np.isfinite(skae.transform(digits)).all()


def test_an_interrupt_of_the_second_start_is_told_of(digits, monkeypatch, without_xla):
    """Four epochs from the linear start, and the first from random weights."""
    parameters = {"max_iter": 4, "learning_rate": "constant"}
    linear = small(init="linear", **parameters).fit(digits[:1200])
    interrupt_at(monkeypatch, 5)
    both = small(**parameters)
    with pytest.warns(UserWarning, match="interrupted"):
        both.fit(digits[:1200])
    assert_array_equal(both.transform(digits), linear.transform(digits))


def test_early_stopping_stops_and_keeps_the_best(digits):
    skae = small(network=DenseNetwork((16,)), max_iter=400, n_iter_no_change=3, tol=1e-2)
    skae.fit(digits)
    assert skae.n_iter_ < 400
    assert len(skae.validation_scores_) == skae.n_iter_ == len(skae.loss_curve_)
    gains = np.diff(skae.validation_scores_)[-4:]
    assert gains.max() < 1e-2 * digits.var(axis=0).sum()


@pytest.mark.parametrize(
    "kind", [AutoencoderTransformer, DenoisingAutoencoder, VAETransformer]
)
def test_a_fit_is_the_same_whatever_numpy_is_told_of_errors(digits, kind, without_xla):
    """Digits have constant columns, and numbers whose squares come to nothing."""
    X = np.where(np.arange(64) % 9, digits[:80] / 16, 1e-200)
    X[3:5, 20:30] = np.nan
    model = kind(3, network=SMALL, max_iter=2, random_state=0)

    def used():
        found = model.fit(X)
        codes = found.transform(X)
        back = found.inverse_transform(codes), found.impute(X), found.reconstruct(X)
        return codes, found.score_samples(X), found.score_features(X), *back

    wanted = used()
    with np.errstate(all="raise"):
        for array, same in zip(used(), wanted, strict=True):
            assert_array_equal(array, same)
