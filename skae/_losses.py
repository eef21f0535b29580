"""Losses per sample: summed over features, in the units of the estimator's score."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SquaredError:
    """Squared error, summed over features; those that are NaN are left out."""

    missing: bool = False

    output_activation = "linear"
    unit_interval = False

    def per_sample(self, x, output):
        from keras import ops

        present, x = _present(x) if self.missing else (1.0, x)
        return ops.sum(present * ops.square(x - output), axis=-1)


@dataclass(frozen=True)
class BinaryCrossentropy:
    """Binary cross-entropy of a sigmoid output, from logits, summed over features.

    ``max(a, 0) - a x + log(1 + exp(-abs(a)))`` for a logit ``a``: the same number as
    from probabilities, with no clipping, so that gradients never vanish.
    """

    missing: bool = False

    output_activation = "sigmoid"
    unit_interval = True

    def per_sample(self, x, output):
        from keras import ops

        present, x = _present(x) if self.missing else (1.0, x)
        x = ops.broadcast_to(x, ops.shape(output))  # scores draw several outputs a row
        error = ops.binary_crossentropy(x, output, from_logits=True)
        return ops.sum(present * error, axis=-1)


def _present(x):
    """1 where x is a number and 0 where it is NaN, and x with 0 in place of NaN."""
    from keras import ops

    missing = ops.isnan(x)
    return ops.cast(~missing, x.dtype), ops.where(missing, 0.0, x)


LOSSES = {"squared_error": SquaredError, "binary_crossentropy": BinaryCrossentropy}


@dataclass(frozen=True)
class Gaussian:
    """Minus the log-density of a normal distribution, of diagonal covariance."""

    noise_per_feature: bool
    missing: bool = False

    output_activation = "linear"
    unit_interval = False
    has_noise = True

    def per_sample(self, x, mean, log_variance):
        from keras import ops

        present, x = _present(x) if self.missing else (1.0, x)
        squared = ops.square(x - mean) * ops.exp(-log_variance)
        nats = squared + log_variance + math.log(2 * math.pi)
        return ops.sum(present * nats, axis=-1) / 2


@dataclass(frozen=True)
class Bernoulli(BinaryCrossentropy):
    """Minus the log-probability of binary features, from logits."""

    has_noise = False


LIKELIHOODS = {
    "gaussian": Gaussian(noise_per_feature=False),
    "gaussian_diag": Gaussian(noise_per_feature=True),
    "bernoulli": Bernoulli(),
}
