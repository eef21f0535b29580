"""Compiled encoding and decoding: one trace for any number of rows."""

import threading
from collections import OrderedDict

import numpy as np
import tensorflow as tf

from skae._model import build


class Inference:
    """The encoder and the decoder of an architecture, compiled for one dtype.

    The weights are arguments, so that one trace serves every fit of an architecture.
    """

    def __init__(self, architecture, dtype):
        self.models = build(architecture, dtype)
        self.encode = self._compiled(self.models.encoder)
        self.decode = self._compiled(self.models.decoder)

    def _compiled(self, model):
        trainable, fixed = model.trainable_variables, model.non_trainable_variables
        order = {id(variable): i for i, variable in enumerate(self.models.variables)}
        positions = [order[id(variable)] for variable in trainable + fixed]

        @tf.function(autograph=False)
        def call(x, *weights):
            head, tail = weights[: len(trainable)], weights[len(trainable) :]
            return model.stateless_call(head, tail, x, training=False)[0]

        concrete = call.get_concrete_function(
            tf.TensorSpec(model.input_shape, model.compute_dtype),
            *(tf.TensorSpec(v.shape, v.dtype) for v in trainable + fixed),
        )

        def bind(weights):
            tensors = [
                tf.constant(weights[i], dtype=variable.dtype)
                for i, variable in zip(positions, trainable + fixed, strict=True)
            ]
            return lambda x: concrete(tf.constant(x), *tensors).numpy()

        return bind


_kept, _lock, MAX_KEPT = OrderedDict(), threading.Lock(), 16


def inference(architecture, dtype):
    """The compiled encoder and decoder of an architecture, kept for the next fit."""
    key = (architecture.key, np.dtype(dtype).name)
    with _lock:
        found = _kept.pop(key, None)
    if found is None:
        found = Inference(architecture, np.dtype(dtype).name)
    with _lock:
        _kept[key] = found
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)
    return found
