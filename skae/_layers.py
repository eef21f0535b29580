"""Keras layers that an autoencoder needs and Keras does not have."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("skae")
class Standardize(keras.layers.Layer):
    """``(x - mean) / scale``, or its inverse, with one mean per feature and one scale.

    Parameters
    ----------
    inverse : bool, default=False
        Whether to compute ``x * scale + mean``.
    """

    def __init__(self, inverse=False, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.inverse = inverse

    def build(self, input_shape):
        self.mean = self.add_weight(
            shape=input_shape[1:], initializer="zeros", trainable=False, name="mean"
        )
        self.scale = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="scale"
        )

    def call(self, inputs):
        if self.inverse:
            return inputs * self.scale + self.mean
        return (inputs - self.mean) / self.scale

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "inverse": self.inverse}


@keras.saving.register_keras_serializable("skae")
class Rotate(keras.layers.Layer):
    """``(z - offset) @ matrix``, or ``z @ matrix + offset`` for the way back."""

    def __init__(self, inverse=False, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.inverse = inverse

    def build(self, input_shape):
        size = input_shape[-1]
        self.matrix = self.add_weight(
            shape=(size, size), initializer="identity", trainable=False, name="matrix"
        )
        self.offset = self.add_weight(
            shape=(size,), initializer="zeros", trainable=False, name="offset"
        )

    def call(self, inputs):
        if self.inverse:
            return ops.matmul(inputs, self.matrix) + self.offset
        return ops.matmul(inputs - self.offset, self.matrix)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "inverse": self.inverse}


@keras.saving.register_keras_serializable("skae")
class Gate(keras.layers.Layer):
    """A learned factor that starts at zero (Bachlechner et al. 2021, ReZero)."""

    def build(self, input_shape):
        self.gate = self.add_weight(shape=(), initializer="zeros", name="gate")

    def call(self, inputs):
        return inputs * self.gate

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("skae")
class ActivityPenalty(keras.layers.Layer):
    """Adds the mean over samples of ``sum(l1 * abs(code))`` to the loss.

    Keras' own `activity_regularizer` has summed over the batch in some versions and
    averaged in others; this mean does not depend on the batch size.
    """

    def build(self, input_shape):
        self.l1 = self.add_weight(
            shape=input_shape[1:], initializer="zeros", trainable=False, name="l1"
        )

    def call(self, inputs):
        self.add_loss(ops.mean(ops.sum(self.l1 * ops.abs(inputs), axis=-1)))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape
