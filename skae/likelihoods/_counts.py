"""Distributions of counts."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from skae._starts.glm import (
    scoring_step,
)
from skae._utils.sklearn import Interval
from skae.likelihoods._base import (
    Likelihood,
    StepwiseStarts,
)

#: The maximum log-rate of a count, and the bounds of dispersions.
LARGEST_LOG_RATE, DISPERSIONS = 30.0, (1e-4, 1e2)

#: Iterations between the sizes of rows with missing values and their rates.
SIZES = 5


class Poisson(StepwiseStarts, Likelihood):
    """The Poisson distribution of counts. The network's input is the logarithm of 1 + x.

    Parameters
    ----------
    total : float or None, default=None
        If not None, the rates of a sample are relative to the sum of its values, and the
        decoder's means are those of a sample whose values add up to `total`. With missing
        values, the sum is estimated from the observed values and the fraction of the sum
        that the model expects of them.

    Examples
    --------
    >>> from skae import VAETransformer
    >>> VAETransformer(likelihood="poisson")
    VAETransformer(likelihood='poisson')
    """

    _parameter_constraints: dict = {
        "total": [Interval(Real, 0, None, closed="neither"), None]
    }

    activation = "exponential"
    domain = (0.0, math.inf)
    standardises = False

    def __init__(self, total: float | None = None) -> None:
        self.total = total

    @property
    def sees_rows(self):
        return False

    def seen(self, x):
        from keras import ops

        x = ops.maximum(x, 0)
        if self.total is not None:
            x = x * (self.total / ops.maximum(ops.sum(x, axis=-1, keepdims=True), 1e-9))
        return ops.log1p(x)

    def _log_size(self, x, output, present):
        """Compute the logarithm of each row's sum over `total`.

        With missing values, the sum of the observed values is divided by their fraction
        of the expected sum.
        """
        if self.total is None:
            return 0.0
        from keras import ops

        size = ops.sum(x, axis=-1, keepdims=True) / self.total
        if not isinstance(present, float):
            rate = ops.exp(ops.minimum(output, LARGEST_LOG_RATE))
            of_all = ops.sum(rate, axis=-1, keepdims=True)
            there = rate * ops.stop_gradient(present)
            share = ops.sum(there, axis=-1, keepdims=True) / of_all
            size = ops.where(share > 0, size / ops.maximum(share, 1e-9), 1.0)
        return ops.log(ops.maximum(size, 1e-9))

    def expectation(self, x, output, present):
        from keras import ops

        if self.total is None:
            return self.mean(output)
        return self.mean(output) * ops.exp(self._log_size(x, output, present))

    def like(self, X, mean):
        if self.total is None:
            return mean
        there = ~np.isnan(X)
        return mean * self._size(np.where(there, X, 0.0), mean, there)

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        log_size = self._log_size(x, output, present)
        log_rate = ops.minimum(output + log_size, LARGEST_LOG_RATE)
        nats = ops.exp(log_rate) - x * log_rate + log_gamma(x + 1)
        return ops.sum(present * nats, axis=-1)

    def _size(self, X, rate, present):
        """Compute each row's sum over `total`, as a column; see `_log_size`."""
        if self.total is None:
            return 1.0
        rate, share = np.broadcast_to(rate, X.shape), 1.0
        if present is not None:
            X = np.where(present, X, 0.0)
            share = np.sum(rate, axis=1, where=present, keepdims=True)
            share = share / rate.sum(axis=1, keepdims=True)
        size = X.sum(axis=1, keepdims=True) / self.total
        size = np.divide(size, share, out=np.ones_like(size), where=np.asarray(share) > 0)
        return np.maximum(size, 1e-9)

    def _rate(self, design, X, decoder):
        """Compute the expected rates, on each row's own scale."""
        mean, variance = design.outputs(decoder)
        rate = np.exp(np.minimum(mean + variance / 2, LARGEST_LOG_RATE))
        return rate * self._size(X, rate, design.present)

    def intercept(self, X, counts):
        rate = np.maximum(super().intercept(X, counts), 1e-3)
        if self.total is not None:
            present = np.broadcast_to(counts, X.shape) > 0
            for _ in range(SIZES):  # with missing values, sizes depend on the rates
                size = self._size(X, rate, present)
                weight = np.broadcast_to(counts * size, X.shape).sum(axis=0)
                rate = (counts * X).sum(axis=0) / np.where(weight > 0, weight, 1.0)
                rate = np.maximum(rate, 1e-3)
        return np.log(rate)

    def step(self, design, X, decoder, ridge):
        rate = self._rate(design, X, decoder)
        return scoring_step(design, X - rate, rate, rate, decoder, ridge)

    def curvature(self, design, X, decoder):
        rate = design.average(self._rate(design, X, decoder))
        return rate, (1 + rate) / rate, np.empty(0)

    def sample(self, mean, noise, scale, rng):
        return rng.poisson(mean).astype(mean.dtype)


class NegativeBinomial(Poisson):
    """The negative binomial distribution of counts, with a dispersion for each feature.

    The variance of a count with mean m is ``m + dispersion * m**2``; the dispersions are
    learned.

    Parameters
    ----------
    total : float or None, default=None
        If not None, the means of a sample are relative to the sum of its values, and the
        decoder's means are those of a sample whose values add up to `total`.

    Examples
    --------
    >>> from skae import VAETransformer
    >>> VAETransformer(likelihood="negative_binomial")
    VAETransformer(likelihood='negative_binomial')
    """

    def n_noise(self, n_features):
        return n_features

    def noise_of(self, start, scale):
        return start.noise_variance, np.ones(len(scale))

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        log_size = self._log_size(x, output, present)
        log_mean = ops.minimum(output + log_size, LARGEST_LOG_RATE)
        shape = ops.exp(-log_noise)
        # log(1 + mean / shape), in full precision where that is small
        rest = ops.softplus(log_mean + log_noise)
        nats = (
            log_gamma(shape)
            + log_gamma(x + 1)
            - log_gamma(x + shape)
            + shape * rest
            - x * (log_mean + log_noise - rest)
        )
        return ops.sum(present * nats, axis=-1)

    def _dispersion(self, rate, X, design):
        extra = design.average((X - rate) ** 2 - rate, design.counts)
        found = extra / np.maximum(design.average(rate**2, design.counts), 1e-9)
        return np.clip(found, *DISPERSIONS)

    def step(self, design, X, decoder, ridge):
        rate = self._rate(design, X, decoder)
        dispersion = self._dispersion(rate, X, design)
        mean, variance = design.outputs(decoder)
        size = rate / np.exp(np.minimum(mean + variance / 2, LARGEST_LOG_RATE))

        def slopes(outputs):
            rate = size * np.exp(np.minimum(outputs, LARGEST_LOG_RATE))
            rest = 1 + dispersion * rate
            curvature = rate * (1 + dispersion * X) / rest**2
            return (X - rate) / rest, curvature, rate / rest

        return scoring_step(design, *design.expected(slopes, decoder), decoder, ridge)

    def curvature(self, design, X, decoder):
        rate = self._rate(design, X, decoder)
        dispersion = self._dispersion(rate, X, design)
        mean = design.average(rate)
        return mean / (1 + dispersion * mean), (1 + mean) / mean, dispersion

    def sample(self, mean, noise, scale, rng):
        rate = rng.gamma(1 / noise, mean * noise)
        return rng.poisson(rate).astype(mean.dtype)


def log_gamma(x):
    """Compute the log-gamma function of positive numbers, in ``keras.ops``.

    It is Stirling's series at x + 7 (Abramowitz & Stegun 1964, 6.1.40), and the
    recurrence back to x: accurate to 1e-10.
    """
    from keras import ops

    product, high = 0.0, x + 7
    for i in range(7):
        product = product + ops.log(x + i)
    series = 1 / (12 * high) - 1 / (360 * high**3) + 1 / (1260 * high**5)
    stirling = (high - 0.5) * ops.log(high) - high + math.log(2 * math.pi) / 2
    return stirling + series - product
