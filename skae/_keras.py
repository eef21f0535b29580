"""The one door to Keras: imported at first use, quietly, and left as it was found."""

import contextlib
import importlib
import os
import random
import sys
import tempfile
from collections import defaultdict


def import_keras():
    """Keras on its TensorFlow backend, imported at the first call.

    TensorFlow writes a banner to standard error from C++ while it is imported, and
    more lines when its compiler first runs. They are held back, and shown if the
    import fails.

    Returns
    -------
    keras : module

    Raises
    ------
    ImportError
        If Keras is set to run on another backend than TensorFlow.

    RuntimeError
        If this process was forked from one that has used TensorFlow.
    """
    if _used.forked:
        raise RuntimeError(
            "This process was forked from one in which skae had used TensorFlow, whose"
            " threads do not survive a fork: it would wait for them for ever. Start"
            " processes by multiprocessing's 'spawn' or by joblib's 'loky', or fork"
            " before the first fit."
        )
    _used.here = True
    wanted = os.environ.get("KERAS_BACKEND", "tensorflow")
    if wanted != "tensorflow":
        raise ImportError(
            "skae needs Keras on its TensorFlow backend, but KERAS_BACKEND is set to"
            f" {wanted!r}. Unset KERAS_BACKEND or set it to 'tensorflow'."
        )
    if "keras" in sys.modules and "tensorflow" in sys.modules:
        keras = sys.modules["keras"]
    else:
        with _held_back_stderr():
            tensorflow = importlib.import_module("tensorflow")
            tensorflow.config.list_physical_devices()  # looks for GPUs, and says so
            keras = importlib.import_module("keras")
    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "skae needs Keras on its TensorFlow backend, but Keras is configured for"
            f" {keras.backend.backend()!r}. Set 'backend' to 'tensorflow' in Keras'"
            " configuration file, or KERAS_BACKEND in the environment."
        )
    return keras


class _Use:
    """Whether TensorFlow was used here, and whether it was by whom we were forked from."""

    here = forked = False

    def fork(self):
        self.forked = self.here


_used = _Use()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_used.fork)


@contextlib.contextmanager
def _held_back_stderr():
    """Hold back what is written to standard error, and show it if the block raises."""
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        sys.stderr.flush()
        descriptor = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no standard error to hold back
        descriptor = None
    try:
        if descriptor is None:
            yield
            return
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            except BaseException:
                sys.stderr.flush()
                os.dup2(descriptor, 2)
                held.seek(0)
                os.write(2, held.read())
                raise
            finally:
                sys.stderr.flush()
                os.dup2(descriptor, 2)
                os.close(descriptor)
    finally:
        if level is None:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)


@contextlib.contextmanager
def building(dtype, seed):
    """Build Keras layers in `dtype`, unseeded ones from `seed`; change nothing else.

    Keras draws the seed of a layer that was given none from Python's global
    generator, which is why that one is set, and put back, here. The dtype policy is
    put back too, and so is the count of names: layers without a name are numbered as
    in a fresh process, whatever was built before.
    """
    keras = import_keras()
    from keras.src.backend.common import global_state

    names = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", defaultdict(int))
    policy = keras.config.dtype_policy()
    state = random.getstate()
    random.seed(seed)
    keras.config.set_dtype_policy(dtype)
    try:
        yield keras
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(state)
        global_state.set_global_attribute("object_name_uids", names)
