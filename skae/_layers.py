"""Keras layers that an autoencoder needs and Keras does not have."""

import math

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("skae")
class Standardize(keras.layers.Layer):
    """``(x - mean) / scale``, or its inverse, with a mean and a scale per feature.

    Parameters
    ----------
    inverse : bool, default=False
        Whether to compute ``x * scale + mean``.
    """

    def __init__(self, inverse=False, **kwargs):
        super().__init__(**kwargs)
        self.inverse = inverse

    def build(self, input_shape):
        self.mean = self.add_weight(
            shape=input_shape[1:], initializer="zeros", trainable=False, name="mean"
        )
        self.scale = self.add_weight(
            shape=input_shape[1:], initializer="ones", trainable=False, name="scale"
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
        super().__init__(**kwargs)
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


class _OneFilter:
    """A convolution with one filter: a product for each of its taps, shifted and added.

    The same numbers in a half of the time that TensorFlow takes on a CPU, whose
    convolutions want many filters.
    """

    def convolution_op(self, inputs, kernel):
        *sizes, channels, _ = kernel.shape
        n_taps = math.prod(sizes)
        taps = ops.transpose(ops.reshape(kernel, (n_taps, channels)))
        shifts = ops.reshape(ops.eye(n_taps, dtype=inputs.dtype), (*sizes, n_taps, 1))
        return ops.conv(ops.matmul(inputs, taps), shifts, padding="same")


@keras.saving.register_keras_serializable("skae")
class OneFilterConv1D(_OneFilter, keras.layers.Conv1D):
    """`Conv1D` with one filter, no strides and padding "same"."""


@keras.saving.register_keras_serializable("skae")
class OneFilterConv2D(_OneFilter, keras.layers.Conv2D):
    """`Conv2D` with one filter, no strides and padding "same"."""


@keras.saving.register_keras_serializable("skae")
class OneFilterConv3D(_OneFilter, keras.layers.Conv3D):
    """`Conv3D` with one filter, no strides and padding "same"."""


@keras.saving.register_keras_serializable("skae")
class MaskMissing(keras.layers.Layer):
    """Puts zeros for NaN, and masks the time steps that hold nothing else."""

    supports_masking = True

    def call(self, inputs):
        return ops.where(ops.isnan(inputs), ops.zeros_like(inputs), inputs)

    def compute_mask(self, inputs, mask=None):
        return ops.logical_not(ops.all(ops.isnan(inputs), axis=-1))

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("skae")
class MeansByColumn(keras.layers.Layer):
    """An activation for each of several groups of columns.

    Parameters
    ----------
    activations : list of str
    columns : list of list of int
        Of each activation; all columns, each once.
    """

    def __init__(self, activations, columns, **kwargs):
        super().__init__(**kwargs)
        self.activations, self.columns = activations, columns

    def call(self, x):
        parts = [
            keras.activations.get(name)(keras.ops.take(x, np.array(columns), axis=-1))
            for name, columns in zip(self.activations, self.columns, strict=True)
        ]
        order = np.argsort(np.concatenate(self.columns))
        return keras.ops.take(keras.ops.concatenate(parts, axis=-1), order, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        more = {"activations": self.activations, "columns": self.columns}
        return {**super().get_config(), **more}
