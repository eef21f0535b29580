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


def shared_memory(shape, dtype):
    """An array and a tensor of the same memory: what fills the one fills the other."""
    size, alignment = math.prod(shape) * np.dtype(dtype).itemsize, 64
    memory = np.empty(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment  # where TensorFlow's own tensors start
    array = memory[start : start + size].view(dtype).reshape(shape)
    return array, tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _tensor(x):
    """A copy of x as a tensor; `tf.constant` copies large arrays twice."""
    if x.nbytes < 2**16:
        return tf.constant(x)
    array, tensor = shared_memory(x.shape, x.dtype)
    array[...] = x
    return tensor


class Inference:
    """The encoder and the decoder of an architecture, compiled for one dtype.

    The weights are arguments, so that one trace serves every fit of an architecture.
    """

    def __init__(self, architecture, dtype):
        models = build(architecture, dtype)
        self.row_shape, self.positions = architecture.row_shape, models.positions
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
        return concrete, [(models.order[id(v)], v.dtype) for v in variables]


def _functions(models):
    """What is compiled: functions, the variables that they read, and input shapes."""
    functions = {
        name: (partial(model, training=False), model.variables, [model.input_shape])
        for name, model in (("encode", models.encoder), ("decode", models.decoder))
    }
    more = models.architecture.objective.functions(models)
    return functions | {
        name: (function, models.variables, shapes)
        for name, (function, shapes) in more.items()
    }


class Fitted:
    """What is compiled, with the weights of one fit."""

    def __init__(self, inference, weights):
        self.row_shape, self.batch_rows = inference.row_shape, inference.batch_rows
        self.named = {name: weights[i] for name, i in inference.positions.items()}
        tensors = {
            i: tf.constant(weights[i], dtype=dtype)
            for i, dtype in {
                i for _, chosen in inference.functions.values() for i in chosen
            }
        }
        self.functions = {
            name: self._bind(concrete, [tensors[i] for i, _ in chosen])
            for name, (concrete, chosen) in inference.functions.items()
        }

    @staticmethod
    def _bind(concrete, tensors):
        dtypes = [tensor.dtype for tensor in concrete.outputs]

        def call(*inputs):
            # A quarter of the time that calling `concrete` takes, for a row
            found = tf.raw_ops.PartitionedCall(
                args=[*(_tensor(x) for x in inputs), *tensors],
                Tout=dtypes,
                f=concrete,
            )
            found = tuple(tensor.numpy() for tensor in found)
            return found if len(found) > 1 else found[0]

        return call

    def encode(self, X):
        """Codes, of shape (n_samples, n_components), of flat rows."""
        encode = self.functions["encode"]
        return self._in_batches(lambda rows: encode(rows.reshape(-1, *self.row_shape)), X)

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
