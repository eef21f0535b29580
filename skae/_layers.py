"""Keras layers that an autoencoder needs and Keras does not have."""

import keras
import numpy as np
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

    def call(self, inputs):
        return super().call(self.noise)[None]

    def compute_output_shape(self, input_shape):
        return (1, input_shape[-1] if self.per_feature else 1)

    def get_config(self):
        return {**super().get_config(), "per_feature": self.per_feature}


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
        noise = keras.random.normal(
            ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator
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
