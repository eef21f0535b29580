"""Keras: its import at first use, without side effects, and its private parts."""

import contextlib
import functools
import importlib
import importlib.util
import os
import random
import re
import sys
import threading
from collections import defaultdict
from types import SimpleNamespace

import numpy as np

#: The backends of Keras that skae has a program for.
BACKENDS = ("tensorflow", "jax")

#: Locked by the thread that imports Keras, or builds with it.
LOCK = threading.RLock()


def import_keras():
    """Import Keras on its TensorFlow or its JAX backend, at the first call.

    TensorFlow reads its log level while it is imported. Information and warnings are
    hidden, unless TF_CPP_MIN_LOG_LEVEL is set.

    Returns
    -------
    keras : module

    Raises
    ------
    ImportError
        If Keras is set to run on another backend, or on one that is not installed.

    RuntimeError
        If this process was forked from one that has used Keras.
    """
    if _used.forked:
        raise RuntimeError(
            "This process was forked from one in which skae had used Keras, whose"
            " backend's threads do not survive a fork: it would wait for them for ever. Start"
            " processes by multiprocessing's 'spawn' or by joblib's 'loky', or fork"
            " before the first fit."
        )
    _used.here = True
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted is not None:
        _check(wanted, f"KERAS_BACKEND is set to {wanted!r}")
    with LOCK:
        if "keras" not in sys.modules:
            _import_keras()
        keras = importlib.import_module("keras")  # waits while another thread imports it
    backend = keras.backend.backend()
    if backend != wanted:  # by Keras' configuration file
        _check(backend, f"Keras is configured for {backend!r}")
    return keras


def _check(backend, who):
    """Raise if skae has no program for a backend, or if it is not installed."""
    if backend not in BACKENDS:
        raise ImportError(
            f"skae runs on Keras' backends 'tensorflow' and 'jax', but {who}. Set"
            " KERAS_BACKEND to one of them, or unset it for TensorFlow. Epochs are compiled"
            " loops over batches, which Keras on PyTorch does not have; to encode rows"
            " without either, write an ONNX file: skae.onnx.register_converters."
        )
    if importlib.util.find_spec(backend) is None:
        raise _missing(backend, who)


def _missing(backend, who):
    """Return the error of a backend that is not installed, which names both."""
    return ImportError(
        f"skae needs TensorFlow or JAX, which Keras computes with. {who}, but {backend} is"
        " not installed. Either install TensorFlow, `pip install tensorflow`, and leave"
        " KERAS_BACKEND unset; or install JAX, `pip install jax`, and set KERAS_BACKEND=jax"
        " in the environment before Keras is imported."
    )


class _Use:
    """Flags of Keras' use: in this process, and in the process it was forked from."""

    here = forked = False

    def fork(self):
        self.forked = self.here


_used = _Use()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_used.fork)


def _import_keras():
    """Import Keras and its backend, with TF_CPP_MIN_LOG_LEVEL set meanwhile."""
    unset = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _global_generators_untouched():
            importlib.import_module("keras")
    except ModuleNotFoundError as error:
        backend = (error.name or "").partition(".")[0]
        if backend not in BACKENDS:
            raise
        who = f"Keras runs on {backend!r} unless KERAS_BACKEND is set"
        raise _missing(backend, who) from error
    finally:
        if unset:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)


@contextlib.contextmanager
def _global_generators_untouched():
    """Let imports of this thread draw random numbers from separate generators.

    When they are imported, Rich (a dependency of Keras) draws from Python's global
    generator, and JAX (which TensorFlow imports if it is installed) from NumPy's.
    """
    thread, ours = threading.get_ident(), np.random.RandomState(0)
    found = vars(np.random).items()
    theirs = {
        name: function
        for name, function in found
        if isinstance(getattr(function, "__self__", None), np.random.RandomState)
    }

    def drawing(name):
        @functools.wraps(theirs[name])
        def draw(*args, **kwargs):
            alone = threading.get_ident() == thread
            function = getattr(ours, name, None) if alone else None
            return (function or theirs[name])(*args, **kwargs)

        return draw

    getrandbits, random.getrandbits = random.getrandbits, _Draws(0).getrandbits
    vars(np.random).update({name: drawing(name) for name in theirs})
    try:
        yield
    finally:
        random.getrandbits = getrandbits
        vars(np.random).update(theirs)


class _Draws:
    """A substitute for `random` or a function of it: this thread draws from a seed.

    Other threads draw from Python's global generator.
    """

    others = SimpleNamespace(randint=random.randint, getrandbits=random.getrandbits)

    def __init__(self, seed):
        self.thread, self.ours = threading.get_ident(), random.Random(seed)

    def generator(self):
        return self.ours if threading.get_ident() == self.thread else self.others

    def randint(self, low, high):
        return self.generator().randint(low, high)

    def getrandbits(self, k):
        return self.generator().getrandbits(k)


def reason(error):
    """Return an error's message in one line, without the wrapping that Keras adds."""
    text = str(error).strip() or type(error).__name__
    bold = re.search(r"\x1b\[1m(.+?)\x1b\[0m", text, re.DOTALL)
    return (bold.group(1) if bold else text).strip().splitlines()[0]


def symbolic(function, x):
    """Call a function with a KerasTensor, without computing anything."""
    import_keras()
    from keras.src.backend import compute_output_spec

    return compute_output_spec(function, x)


@contextlib.contextmanager
def building(dtype, seed):
    """Build Keras layers in `dtype`, unseeded ones from `seed`; change nothing else.

    The dtype policy and the count of names are restored at the end. Layers without a name
    are numbered as in a new process, whatever was built before. Both are local to the
    thread in Keras. A layer without a seed draws one by `random`, under the name that
    Keras' module of seeds has for it. That name is replaced meanwhile.
    """
    keras = import_keras()
    from keras.src.backend.common import global_state
    from keras.src.random import seed_generator

    with LOCK:
        names = global_state.get_global_attribute("object_name_uids")
        global_state.set_global_attribute("object_name_uids", defaultdict(int))
        policy = keras.config.dtype_policy()
        draws, seed_generator.python_random = seed_generator.python_random, _Draws(seed)
        keras.config.set_dtype_policy(dtype)
        try:
            yield keras
        finally:
            keras.config.set_dtype_policy(policy)
            seed_generator.python_random = draws
            global_state.set_global_attribute("object_name_uids", names)


# -- private parts of Keras 3, which any version may change; tested with 3.11 to 3.15


def flat_layers(model):
    """List all layers of a model, including nested ones."""
    return model._flatten_layers()


def own_variables(layer):
    """List the trainable variables of a layer itself, without nested layers."""
    return layer._trainable_variables


def functional_class():
    """Return the class of Keras' functional models."""
    from keras.src.models import Functional

    return Functional


def output_shape_of(layer):
    """Return the `output_shape` argument of a Lambda layer."""
    return layer._output_shape


def calls_of(model):
    """Yield the layer calls of a functional model, inputs before outputs."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for call in model._nodes_by_depth[depth]:
            if not call.is_input:
                yield call


def makes_calls(layer):
    """Check whether a layer is a functional model."""
    return hasattr(layer, "_nodes_by_depth")


def learning_rate_of(optimizer):
    """Return an optimizer's learning rate: a variable or a schedule."""
    return optimizer._learning_rate


def traces_batches(tensorboard):
    """Check whether Keras' TensorBoard callback profiles batches."""
    return tensorboard._should_trace


#: Attributes of an optimizer that are bookkeeping, or are handled separately.
BOOKKEEPING = {
    *("name", "built", "_lock", "_tracker", "_variables", "_trainable_variables"),
    *("_trainable_variables_indices", "_iterations", "_learning_rate"),
    *("_distribution_strategy", "_exclude_from_weight_decay_cache"),
}
