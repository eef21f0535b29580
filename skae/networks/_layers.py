"""Layers of an autoencoder, built from Keras' own so that models load without skae."""

import math

import keras
import numpy as np
from keras import layers, ops


def gate(x, name):
    """Multiply by a learned factor initialised to zero (Bachlechner 2021, ReZero)."""
    factor = layers.EinsumDense(
        "bfc,c->bfc", (x.shape[1], 1), kernel_initializer="zeros", name=name
    )
    y = layers.Reshape((*x.shape[1:], 1), name=f"{name}_fold")(x)
    return layers.Reshape(x.shape[1:], name=f"{name}_unfold")(factor(y))


def present(x):
    """Replace NaN with zeros, and return a mask of the observed time steps."""
    missing = ops.isnan(x)
    mask = ops.logical_not(ops.all(missing, axis=-1))
    return ops.where(missing, ops.zeros_like(x), x), mask


def standardized(x, mean, scale):
    """Compute ``(x - mean) / scale``, with a mean for each feature."""
    centre = layers.Normalization(name="standardize")
    centre.build(x.shape)
    centre.adapt_mean.assign(mean)  # of variance one: Keras bounds small ones from below
    centre.finalize_state()
    return _scaled(centre(x), "standardize_scale", np.full(x.shape[1:], 1 / scale))


def unstandardized(x, mean, scale):
    """Compute ``x * scale + mean``, with a scale and a mean for each feature."""
    return _scaled(x, "unstandardize", scale, mean)


def _scaled(x, name, *weights):
    """Scale each feature by weights, since numbers in a configuration are float32."""
    bias_axes = "f" if len(weights) > 1 else None
    layer = layers.EinsumDense(
        "bf,f->bf", x.shape[1:], bias_axes=bias_axes, trainable=False, name=name
    )
    return _with_weights(layer, x, weights)


def rotated(z, matrix, offset, name):
    """Compute ``z @ matrix + offset``."""
    layer = layers.Dense(len(offset), trainable=False, name=name)
    return _with_weights(layer, z, [matrix, offset])


def _with_weights(layer, x, weights):
    y = layer(x)
    layer.set_weights(weights)
    return y


class _OneFilter:
    """A convolution with one filter: a product for each of its taps, shifted and added.

    The results are the same, in half of the time of TensorFlow's convolution on a CPU,
    which is optimised for many filters: 10 % of an epoch and more
    (benchmarks/one_filter.py). It is saved by the name of Keras' own layer, so that
    models load without skae.
    """

    def __init_subclass__(cls):
        cls.__module__, cls.__name__ = "keras.layers", cls.__mro__[2].__name__

    def convolution_op(self, inputs, kernel):
        *sizes, channels, _ = kernel.shape
        n_taps = math.prod(sizes)
        taps = ops.transpose(ops.reshape(kernel, (n_taps, channels)))
        shifts = ops.reshape(ops.eye(n_taps, dtype=inputs.dtype), (*sizes, n_taps, 1))
        products = ops.matmul(inputs, taps)
        return ops.conv(products, shifts, padding="same", data_format="channels_last")


class OneFilterConv1D(_OneFilter, keras.layers.Conv1D):
    """`Conv1D` with one filter, no strides and padding "same"."""


class OneFilterConv2D(_OneFilter, keras.layers.Conv2D):
    """`Conv2D` with one filter, no strides and padding "same"."""


class OneFilterConv3D(_OneFilter, keras.layers.Conv3D):
    """`Conv3D` with one filter, no strides and padding "same"."""
