"""SciPy's array API is switched on before it is imported: no check of scikit-learn's is left out.

Keras comes in by skae's own door before any test can open another: TensorFlow reads how
much it may print once, when it is first imported.
"""

import os

os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest

from skae._utils.keras import import_keras

keras = import_keras()


def pytest_configure(config):
    """Divide the cores among the workers: BLAS of two on all cores waits for each other."""
    if n_workers := config.getoption("numprocesses", None):
        n_threads = max(1, os.cpu_count() // n_workers)
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(n_threads))


def pytest_collection_modifyitems(items):
    """On JAX other draws decide whether a fit leaves its start, and a check then fails."""
    if keras.backend.backend() == "jax":
        for mark in (mark for item in items for mark in item.iter_markers("xfail")):
            mark.kwargs["strict"] = False


@pytest.fixture(autouse=True)
def numpy_seeded():
    """What draws from NumPy's global state, as many of scikit-learn's checks do, is no luck."""
    np.random.seed(0)


@pytest.fixture
def without_xla(monkeypatch):
    """Train without XLA, which takes three times as long to compile a tiny network."""
    from skae.networks import DenseNetwork, SequenceNetwork

    for network in (DenseNetwork, SequenceNetwork):
        monkeypatch.setattr(network, "jit_compile", False)


@pytest.fixture
def with_xla(monkeypatch):
    """Train with XLA, however short the fit."""
    from skae.networks import Network, SequenceNetwork

    for network in (Network, SequenceNetwork):
        monkeypatch.setattr(network, "jit_work", 0)


@pytest.fixture
def keras_in_float64():
    """Keras models compute in float64, which on JAX they do where JAX is told to."""
    if keras.backend.backend() == "jax":
        import jax

        with jax.enable_x64(True):
            yield
    else:
        yield
