"""Threads: what others do meanwhile neither changes a fit nor is changed by it."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer, DenoisingAutoencoder, VAETransformer
from skae.networks import ConvNetwork, CustomNetwork, DenseNetwork

X = load_digits().data[:120] / 16


def run(script):
    """What a fresh process writes, which TensorFlow may say as much as it likes to."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; os.environ.pop('TF_CPP_MIN_LOG_LEVEL', 0)\n" + script,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


@pytest.mark.slow
def test_eight_threads_may_be_the_first_to_use_tensorflow():
    script = """if True:
        import random, sys, threading
        from sklearn.datasets import load_digits
        from skae import AutoencoderTransformer
        from skae.networks import CustomNetwork

        def body(x):
            from keras import layers
            return layers.Dropout(0.2)(layers.Dense(4)(x))

        X = load_digits().data[:60]
        network = CustomNetwork(body, body, jit_compile=False)
        go, over, found, before = threading.Barrier(9), threading.Event(), [], random.Random(1)

        def fit():
            estimator = AutoencoderTransformer(2, network=network, max_iter=1, random_state=0)
            go.wait()
            found.append(estimator.fit(X).transform(X).tobytes())

        def write():
            go.wait()
            n_lines = 0
            while not over.wait(0.001):
                os.write(2, b"<%d>\\n" % n_lines)
                assert random.random() == before.random()
                n_lines += 1
            print(n_lines)

        random.seed(1)
        fits = [threading.Thread(target=fit) for _ in range(8)]
        writer = threading.Thread(target=write)
        for thread in [*fits, writer]:
            thread.start()
        for thread in fits:
            thread.join()
        over.set()
        writer.join()
        assert len(found) == 8 and len({*found}) == 1
        assert random.getstate() == before.getstate()
        import keras
        assert keras.config.dtype_policy().name == "float32"
        assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
        os.write(2, b"at the end")
        """
    done = run(script)
    n_lines = int(done.stdout)
    assert n_lines > 100
    assert [n for n in range(n_lines) if f"<{n}>\n" not in done.stderr] == []
    assert done.stderr.endswith("at the end")


def test_other_threads_keep_their_dtype_policy_and_their_draws():
    import random

    from skae._utils.keras import building

    inside, seen = threading.Event(), []

    def look():
        inside.wait()
        random.seed(5)
        seen.extend(
            [keras.config.dtype_policy().name, keras.initializers.HeNormal().seed]
        )

    other = threading.Thread(target=look)
    other.start()
    drawn = []
    for seed in (3, 3, 4):
        with building("float64", seed):
            drawn.append(keras.initializers.HeNormal().seed)
            inside.set()
            other.join()
    assert drawn[0] == drawn[1] != drawn[2]
    assert seen == ["float32", random.Random(5).randint(1, int(1e9))]


@pytest.fixture
def estimators(without_xla):
    from keras import layers

    def body(x):
        return layers.Dropout(0.2)(layers.Dense(4)(x))

    more = {"max_iter": 2, "random_state": 0}
    dense = DenseNetwork((8,), dropout=0.1)
    return [
        AutoencoderTransformer(2, network=dense, **more),
        AutoencoderTransformer(2, network=ConvNetwork((8, 8, 1), filters=(2,)), **more),
        DenoisingAutoencoder(2, network=dense, **more),
        VAETransformer(2, network=dense, **more),
        VAETransformer(
            2, network=CustomNetwork(body, body, jit_compile=False), init="random", **more
        ),
    ]


def used(estimator):
    codes = estimator.transform(X)
    return codes, estimator.inverse_transform(codes), estimator.score_samples(X)


@pytest.mark.slow
def test_fits_side_by_side_give_the_bits_of_fits_alone(estimators):
    alone = [used(clone(estimator).fit(X)) for estimator in estimators]
    many = 2 * estimators
    with ThreadPoolExecutor(len(many)) as pool:
        together = [*pool.map(lambda estimator: used(clone(estimator).fit(X)), many)]
    for one, other in zip(2 * alone, together, strict=True):
        for array, same in zip(one, other, strict=True):
            assert_array_equal(array, same)


def test_one_estimator_is_used_while_it_is_fitted_again(estimators):
    estimator = estimators[3].fit(X)
    codes = [clone(estimator).set_params(random_state=s).fit_transform(X) for s in (0, 1)]
    over = threading.Event()

    def transform():
        found = []
        while not over.is_set():
            found.append(estimator.transform(X))
        return found

    with ThreadPoolExecutor(4) as pool:
        try:
            transformed = [pool.submit(transform) for _ in range(4)]
            for seed in (1, 0, 1, 0, 1):
                estimator.set_params(random_state=seed).fit(X)
        finally:
            over.set()
    for found in transformed:
        for array in found.result():
            assert any(np.array_equal(array, known) for known in codes)
    assert_array_equal(estimator.transform(X), codes[1])


def test_what_is_compiled_for_an_old_fit_does_not_stand_for_a_new_one(
    estimators, monkeypatch
):
    from skae._backend import pool

    estimator, fitted = estimators[0].fit(X), pool.Fitted

    def meanwhile(*args):
        monkeypatch.setattr(pool, "Fitted", fitted)
        estimator.set_params(random_state=1).fit(X)
        return fitted(*args)

    new = clone(estimator).set_params(random_state=1).fit_transform(X)
    monkeypatch.setattr(pool, "Fitted", meanwhile)
    assert not np.array_equal(estimator.transform(X), new)
    assert_array_equal(estimator.transform(X), new)


# -- what fits share is never what another one has learned


@pytest.fixture
def six_of_three_shapes(without_xla, monkeypatch):
    """Estimators whose splits are trained in several programs each, which others then use."""
    from skae._training import workers

    monkeypatch.setattr(workers, "STEPS_SIDE_BY_SIDE", 0)
    monkeypatch.setattr(workers, "n_cores", lambda: 3)
    more = {"network": DenseNetwork((6,)), "max_iter": 3, "batch_size": 4}
    wide, tall, few = X[:40], X[:60, 10:30], X[:30, 20:28]
    return [
        (kind(2, random_state=seed, **more), rows)
        for rows in (wide, tall, few)
        for kind, seed in ((AutoencoderTransformer, 0), (VAETransformer, 1))
    ]


@pytest.mark.slow
def test_twelve_threads_begin_where_one_alone_begins(six_of_three_shapes):
    """Also where a program has first trained as a helper of another fit."""
    from skae._backend.pool import compiled, programs

    def fitted(pair):
        estimator, rows = pair
        found = clone(estimator).fit(rows)
        return found.transform(rows), found.history_["val_loss"]

    programs.items.clear()
    compiled.clear()
    alone = [fitted(pair) for pair in six_of_three_shapes]
    programs.items.clear()
    compiled.clear()
    for _ in range(3):
        with ThreadPoolExecutor(12) as pool:
            together = [*pool.map(fitted, 2 * six_of_three_shapes)]
        for one, other in zip(2 * alone, together, strict=True):
            assert one[1] == other[1]
            assert_array_equal(one[0], other[0])


def test_a_threaded_search_and_dask_s_threads_have_the_scores_of_one_thread(
    six_of_three_shapes,
):
    import dask
    from sklearn.model_selection import cross_val_score

    estimator, rows = six_of_three_shapes[2]
    alone = cross_val_score(clone(estimator), rows, cv=4)
    for _ in range(2):
        with joblib.parallel_config("threading", n_jobs=4):
            assert_array_equal(cross_val_score(clone(estimator), rows, cv=4), alone)
    fit = dask.delayed(lambda: clone(estimator).fit(rows).transform(rows))
    wanted = clone(estimator).fit_transform(rows)
    for found in dask.compute(*(fit() for _ in range(6)), scheduler="threads"):
        assert_array_equal(found, wanted)


def test_a_program_that_has_trained_knows_what_it_was_made_with():
    from skae._model.graph import build

    estimator = AutoencoderTransformer(2, network=DenseNetwork((8,)), max_iter=0).fit(X)
    specification = estimator._state.specification
    wanted = build(specification, "float32").initial(3)
    graph = build(specification, "float32")
    for variable in graph.variables.values():
        variable.assign(np.full(variable.shape, 7.0))
    for path, value in graph.initial(3).items():
        assert_array_equal(value, wanted[path])
        assert not np.any(value == 7)
