"""Compiled encoding and decoding: one trace for any number of rows."""

import math
import threading
from collections import OrderedDict
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse
from sklearn.utils import gen_batches

from skae._model import build

#: Values in the widest layer's output that one call may hold.
CALL_VALUES = 2**22

#: Values that are copied at once: they stay in the processor's cache.
COPIED_VALUES = 2**17


def shared_memory(shape, dtype):
    """An array and a tensor of the same memory: what fills the one fills the other."""
    size, alignment = math.prod(shape) * np.dtype(dtype).itemsize, 64
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment  # where TensorFlow's own tensors start
    array = memory[start : start + size].view(dtype).reshape(shape)
    return array, tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _tensor(x, copy=np.copyto):
    """A copy of x as a tensor; `tf.constant` copies large arrays twice."""
    if x.nbytes < 2**16:
        copied = np.empty_like(x)
        copy(copied, x)
        return tf.constant(copied)
    array, tensor = shared_memory(x.shape, x.dtype)
    for batch in gen_batches(x.shape[0], max(1, COPIED_VALUES // x[0].size)):
        copy(array[batch], x[batch])
    return tensor


class Inference:
    """The encoder and the decoder of an architecture, compiled for one dtype.

    The weights are arguments, so that one trace serves every fit of an architecture.
    """

    def __init__(self, architecture, dtype):
        models = build(architecture, dtype)
        self.paths = models.paths
        self.functions = {
            name: self._compile(models, function, variables, shapes, dtype)
            for name, (function, variables, shapes) in _functions(models).items()
        }
        widest = max(
            int(np.prod(output.shape[1:]))
            for core in (models.encoder_core, models.decoder_core)
            for layer in core.layers
            for output in keras.tree.flatten(layer.output)
        )
        self.batch_rows = max(1, CALL_VALUES // widest)

    @staticmethod
    def _compile(models, function, variables, shapes, dtype):
        """A concrete function of rows and weights, and which weights it takes."""

        @tf.function(autograph=False)
        def call(*arguments):
            inputs, weights = arguments[: len(shapes)], arguments[len(shapes) :]
            with keras.StatelessScope(list(zip(variables, weights, strict=True))):
                return function(*inputs)

        concrete = call.get_concrete_function(
            *(tf.TensorSpec(shape, dtype) for shape in shapes),
            *(tf.TensorSpec(v.shape, v.dtype) for v in variables),
        )
        return concrete, [(models.path_of[id(v)], v.dtype) for v in variables]


def _functions(models):
    """What is compiled: functions, the variables that they read, and input shapes."""
    core, decoder = models.encoder_core, models.decoder
    functions = {
        "encode": (
            partial(_encode, models),
            models.encoder.variables,
            [core.input_shape],
        ),
        "decode": (
            partial(decoder, training=False),
            decoder.variables,
            [decoder.input_shape],
        ),
    }
    more = models.architecture.objective.functions(models)
    return functions | {
        name: (function, [*models.variables.values()], shapes)
        for name, (function, shapes) in more.items()
    }


def _encode(models, standardized):
    """What the encoder makes of rows that are standardised already."""
    z = models.architecture.objective.point(
        models.encoder_core(standardized, training=False)
    )
    return models.encoder.get_layer("rotate")(z) if models.architecture.rotates else z


class Fitted:
    """What is compiled, with the weights of one fit."""

    def __init__(self, inference, weights):
        self.batch_rows = inference.batch_rows
        self.named = {name: weights[path] for name, path in inference.paths.items()}
        tensors = {
            path: tf.constant(weights[path], dtype=dtype)
            for path, dtype in {
                each for _, chosen in inference.functions.values() for each in chosen
            }
        }
        self.functions = {
            name: self._bind(concrete, [tensors[path] for path, _ in chosen])
            for name, (concrete, chosen) in inference.functions.items()
        }

    @staticmethod
    def _bind(concrete, tensors):
        dtypes = [tensor.dtype for tensor in concrete.outputs]

        def call(*inputs):
            # A quarter of the time that calling `concrete` takes, for a row
            found = tf.raw_ops.PartitionedCall(
                args=[*(x if tf.is_tensor(x) else _tensor(x) for x in inputs), *tensors],
                Tout=dtypes,
                f=concrete,
            )
            found = tuple(tensor.numpy() for tensor in found)
            return found if len(found) > 1 else found[0]

        return call

    def encode(self, X):
        """Codes, of shape (n_samples, n_components), of flat rows."""
        encode = self.functions["encode"]
        mean, scale = (self.named[name].astype(X.dtype) for name in ("mean", "scale"))
        mean = mean.ravel()

        def standardize(out, rows):  # while they are copied, it costs no time
            np.subtract(rows, mean, out=out)
            np.divide(out, scale, out=out)

        return self._in_batches(lambda rows: encode(_tensor(rows, standardize)), X)

    def decode(self, Z):
        """Rows, in their own shape, of codes."""
        return self._in_batches(self.functions["decode"], Z)

    def _in_batches(self, call, X):
        if X.shape[0] <= self.batch_rows and not sparse.issparse(X):
            return call(X)
        return np.concatenate(
            [
                call(X[batch].toarray() if sparse.issparse(X) else X[batch])
                for batch in gen_batches(X.shape[0], self.batch_rows)
            ]
        )


_kept, _lock, MAX_KEPT = OrderedDict(), threading.Lock(), 16


def inference(architecture, dtype):
    """The compiled encoder and decoder of an architecture, kept for the next fit."""
    name = np.dtype(dtype).name
    with _lock:
        found = _kept.get((architecture.key, name)) or Inference(architecture, name)
        _kept[architecture.key, name] = found
        _kept.move_to_end((architecture.key, name))
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)
    return found
