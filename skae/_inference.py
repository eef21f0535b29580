"""Compiled encoding and decoding: one trace for any number of rows."""

import threading
from collections import OrderedDict

import numpy as np
import tensorflow as tf
from scipy import sparse
from sklearn.utils import gen_batches

from skae._model import build

#: Values in the widest layer's output that one call may hold.
CALL_VALUES = 2**25


class Inference:
    """The encoder and the decoder of an architecture, compiled for one dtype.

    The weights are arguments, so that one trace serves every fit of an architecture.
    """

    def __init__(self, architecture, dtype):
        models = build(architecture, dtype)
        self.row_shape = architecture.row_shape
        self.encoder = self._compile(models, models.encoder)
        self.decoder = self._compile(models, models.decoder)
        widest = max(
            int(np.prod(layer.output.shape[1:]))
            for core in (models.encoder_core, models.decoder_core)
            for layer in core.layers
        )
        self.batch_rows = max(1, CALL_VALUES // widest)

    @staticmethod
    def _compile(models, model):
        """A concrete function of rows and weights, and which weights it takes."""
        trainable, fixed = model.trainable_variables, model.non_trainable_variables
        order = {id(variable): i for i, variable in enumerate(models.variables)}

        @tf.function(autograph=False)
        def call(x, *weights):
            head, tail = weights[: len(trainable)], weights[len(trainable) :]
            return model.stateless_call(head, tail, x, training=False)[0]

        concrete = call.get_concrete_function(
            tf.TensorSpec(model.input_shape, model.compute_dtype),
            *(tf.TensorSpec(v.shape, v.dtype) for v in trainable + fixed),
        )
        return concrete, [
            (order[id(variable)], variable.dtype) for variable in trainable + fixed
        ]


class Fitted:
    """The encoder and the decoder with the weights of one fit."""

    def __init__(self, inference, weights):
        self.row_shape, self.batch_rows = inference.row_shape, inference.batch_rows
        self._encoder = self._bind(inference.encoder, weights)
        self._decoder = self._bind(inference.decoder, weights)

    @staticmethod
    def _bind(compiled, weights):
        concrete, chosen = compiled
        tensors = [tf.constant(weights[i], dtype=dtype) for i, dtype in chosen]
        return lambda x: concrete(tf.constant(x), *tensors).numpy()

    def encode(self, X):
        """Codes, of shape (n_samples, n_components), of flat rows."""
        return self._in_batches(
            lambda rows: self._encoder(rows.reshape(-1, *self.row_shape)), X
        )

    def decode(self, Z):
        """Rows, in their own shape, of codes."""
        return self._in_batches(self._decoder, Z)

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
