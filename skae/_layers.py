"""Keras layers that an autoencoder needs and Keras does not have."""

import math

import keras
import numpy as np
import tensorflow as tf
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
        super().__init__(**kwargs)
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


#: The bounds of log-variances, in the units of standardised rows.
MAX_LOG_VARIANCE = 32.0


@keras.saving.register_keras_serializable("skae")
class LogVariance(keras.layers.Layer):
    """``x / (1 + abs(x) / bound)``: within (-bound, bound), and its gradient never zero.

    Parameters
    ----------
    bound : float, default=32.0
        What the log-variance stays below in size.
    """

    def __init__(self, bound=MAX_LOG_VARIANCE, **kwargs):
        super().__init__(**kwargs)
        self.bound = bound

    def call(self, inputs):
        return inputs / (1 + ops.abs(inputs) / self.bound)

    def inverse(self, log_variance):
        """What the layer makes this log-variance of, as far as that is finite."""
        limit = 0.999 * self.bound
        log_variance = np.clip(log_variance, -limit, limit)
        return log_variance / (1 - np.abs(log_variance) / self.bound)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "bound": self.bound}


@keras.saving.register_keras_serializable("skae")
class NoiseLogVariance(LogVariance):
    """The learned log-variance of the noise around the decoder's mean.

    Its output has shape (1, 1), or (1, n_features), whatever the number of rows.

    Parameters
    ----------
    per_feature : bool, default=False
        Whether each feature has its own.
    """

    def __init__(self, per_feature=False, **kwargs):
        super().__init__(**kwargs)
        self.per_feature = per_feature

    def build(self, input_shape):
        self.noise = self.add_weight(
            shape=(input_shape[-1] if self.per_feature else 1,),
            initializer="zeros",
            name="noise",
        )
        self.least = self.add_weight(
            shape=self.noise.shape,
            initializer=keras.initializers.Constant(-self.bound),
            trainable=False,
            name="least",
        )

    def call(self, inputs):
        return ops.maximum(super().call(self.noise), self.least)[None]

    def compute_output_shape(self, input_shape):
        return (1, input_shape[-1] if self.per_feature else 1)

    def get_config(self):
        return {**super().get_config(), "per_feature": self.per_feature}


@keras.saving.register_keras_serializable("skae")
class Unit(keras.layers.Layer):
    """Multiplies each feature by a unit, which is not trained."""

    def build(self, input_shape):
        self.unit = self.add_weight(
            shape=input_shape[1:], initializer="ones", trainable=False, name="unit"
        )

    def call(self, inputs):
        return inputs * self.unit

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("skae")
class Sampling(keras.layers.Layer):
    """Draws from the posterior, and adds its divergence from the prior to the loss.

    The inputs are the mean and the log-variance of a normal distribution with a
    diagonal covariance; the output is ``mean + std * noise``, through which gradients
    pass (Kingma & Welling 2014). The Kullback-Leibler divergence from the standard
    normal prior is summed over components, averaged over samples, and multiplied by
    the weights `beta` and `warmup`, which are not trained.

    Parameters
    ----------
    seed : int or None, default=None
        The seed of the noise.
    """

    #: Set by the model, which knows what it is compiled with.
    algorithm = "auto_select"

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        for name in ("beta", "warmup"):
            weight = self.add_weight(
                shape=(), initializer="ones", trainable=False, name=name
            )
            setattr(self, name, weight)

    def call(self, inputs):
        mean, log_variance = inputs
        variance = ops.exp(log_variance)
        kl = ops.sum(ops.square(mean) + variance - 1 - log_variance, axis=-1) / 2
        self.add_loss(self.beta * self.warmup * ops.mean(kl))
        seed = ops.cast(self.seed_generator.next(), "int32")
        noise = tf.random.stateless_normal(
            ops.shape(mean), seed, dtype=mean.dtype, alg=self.algorithm
        )
        return mean + ops.sqrt(variance) * noise

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


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


@keras.saving.register_keras_serializable("skae")
class Corruption(keras.layers.Layer):
    """Noise on standardised rows, drawn afresh for every batch while training.

    The weights say how much, and are not trained: the `level`, and the `unit` that it
    is in; the values `low` and `high` that noise stays between or puts in place; the
    `mean` and `scale` that rows have been standardised by. NaN stays NaN.

    Parameters
    ----------
    noise : {"gaussian", "masking", "salt_and_pepper"} or callable
        A callable takes rows in their own units and the seed generator.

    clips : bool, default=False
        Whether to clip noisy rows to `low` and `high`.

    algorithm : {"auto_select", "threefry"}, default="auto_select"
        TensorFlow's random numbers: XLA takes a hundred times as long for those that
        it selects itself on a CPU as for "threefry", which it alone knows.

    seed : int or None, default=None
        The seed of the noise.
    """

    def __init__(self, noise, clips=False, algorithm="auto_select", seed=None, **kwargs):
        super().__init__(**kwargs)
        self.noise, self.clips, self.algorithm = noise, clips, algorithm
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        features = input_shape[1:]
        for name, shape in (
            ("level", ()),
            ("unit", ()),
            ("low", features),
            ("high", features),
            ("mean", features),
            ("scale", ()),
        ):
            weight = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, name=name
            )
            setattr(self, name, weight)

    def call(self, inputs, training=False):
        if not training:
            return inputs
        noisy = self._custom if callable(self.noise) else getattr(self, f"_{self.noise}")
        noisy = noisy(inputs)
        return ops.clip(noisy, self.low, self.high) if self.clips else noisy

    def _uniform(self, x, low=0.0):
        return tf.random.stateless_uniform(
            ops.shape(x),
            ops.cast(self.seed_generator.next(), "int32"),
            low,
            1.0,
            x.dtype,
            alg=self.algorithm,
        )

    def _gaussian(self, x):
        normal = math.sqrt(2) * ops.erfinv(self._uniform(x, low=_ABOVE_MINUS_ONE))
        return x + self.level * self.unit * normal

    def _masking(self, x):
        masked = self._uniform(x) < self.level
        return ops.where(masked & ~ops.isnan(x), -self.mean / self.scale, x)

    def _salt_and_pepper(self, x):
        drawn = self._uniform(x)
        end = ops.where(drawn < self.level / 2, self.low, self.high)
        return ops.where((drawn < self.level) & ~ops.isnan(x), end, x)

    def _custom(self, x):
        noisy = self.noise(x * self.scale + self.mean, self.seed_generator)
        noisy = ops.convert_to_tensor(noisy, x.dtype)
        if noisy.shape != x.shape:
            raise ValueError(
                f"noise must return rows of the shape that it is given, {x.shape}. Got"
                f" {noisy.shape}."
            )
        return (noisy - self.mean) / self.scale

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "noise": self.noise,
            "clips": self.clips,
            "algorithm": self.algorithm,
            "seed": self.seed,
        }


#: The least number that the inverse error function is finite at, in float32.
_ABOVE_MINUS_ONE = float(np.nextafter(np.float32(-1), np.float32(0)))


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
