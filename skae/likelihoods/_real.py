"""Distributions and losses of real numbers."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis

from skae._starts.em import factors_of
from skae._starts.pca import fit_pca
from skae._utils.sklearn import Interval
from skae.likelihoods._base import (
    Likelihood,
    vary_alike,
)


class SquaredError(Likelihood):
    """The squared error, summed over features.

    Examples
    --------
    >>> from skae import AutoencoderTransformer
    >>> from skae.likelihoods import SquaredError
    >>> AutoencoderTransformer(loss=SquaredError())
    AutoencoderTransformer(loss=SquaredError())
    """

    is_density, degree = False, 2
    is_squared_error = True
    pca_is_best = True  # Baldi & Hornik 1989

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return ops.sum(present * ops.square(x - output), axis=-1)

    def loss_of_mean(self, mean, variance):
        # twice the variance, so that the loss is half the square, as a normal density's
        return 2 * np.where(variance > 0, variance, 1.0)

    def of_pca(self, X, X_noisy, n_components):
        pca = fit_pca(X, n_components)
        X_pca = pca.inverse_transform(pca.transform(X_noisy))
        return float(np.square(X - X_pca, dtype=np.float64).sum(axis=1).mean())


class Gaussian(Likelihood):
    """A normal distribution around the output, with learned noise variance.

    Parameters
    ----------
    per_feature : bool, default=False
        Whether each feature has a noise variance of its own.

    Examples
    --------
    >>> from skae import VAETransformer
    >>> from skae.likelihoods import Gaussian
    >>> VAETransformer(likelihood=Gaussian(per_feature=True))
    VAETransformer(likelihood=Gaussian(per_feature=True))
    """

    _parameter_constraints: dict = {"per_feature": ["boolean"]}

    def __init__(self, per_feature: bool = False) -> None:
        self.per_feature = per_feature

    def standardisation(self, mean, variance):
        if not self.per_feature:
            return super().standardisation(mean, variance)
        return mean, np.sqrt(np.where(variance > 0, variance, 1.0))

    def n_noise(self, n_features):
        return n_features if self.per_feature else 1

    def noise_of(self, start, scale):
        if start.noise_variance is None:
            return None, 1.0
        noise = start.noise_variance / (scale if self.per_feature else scale[0]) ** 2
        return noise, self.output_unit(noise) * np.ones(len(scale))

    def output_unit(self, noise):
        return np.sqrt(noise)

    def noise_variance(self, noise, scale):
        if self.per_feature or np.ptp(scale):
            return noise * scale**2
        return float(noise[0] * scale[0] ** 2)

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        squared = ops.square(x - output) * ops.exp(-log_noise)
        nats = squared + log_noise + math.log(2 * math.pi)
        return ops.sum(present * nats, axis=-1) / 2

    def generative_start(self, rows, n_components, beta):
        if self.per_feature:
            return factors_of(rows, n_components, beta)
        return super().generative_start(rows, n_components, beta)

    def curvature(self, design, X, decoder):
        curvature, slope, _ = super().curvature(design, X, decoder)
        if not self.per_feature:
            curvature = np.full_like(curvature, 1 / np.mean(1 / curvature))
        noise = 1 / curvature if self.per_feature else 1 / curvature[:1]
        return curvature, slope, noise

    def knows_enough(self, some, rows):
        return not self.per_feature or vary_alike(some, rows)

    def sample(self, mean, noise, scale, rng):
        width = np.sqrt(self.noise_variance(noise, scale))
        return mean + (rng.standard_normal(mean.shape) * width).astype(mean.dtype)

    def of_pca(self, X, X_noisy, n_components):
        linear = FactorAnalysis if self.per_feature else PCA
        return -float(linear(n_components).fit(X).score(X))


class AbsoluteError(Likelihood):
    """The absolute error, summed over features, which is robust to large errors.

    Examples
    --------
    >>> from skae import AutoencoderTransformer
    >>> AutoencoderTransformer(loss="absolute_error")
    AutoencoderTransformer(loss='absolute_error')
    """

    is_density, degree = False, 1

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return ops.sum(present * ops.abs(x - output), axis=-1)

    def loss_of_mean(self, mean, variance):
        return np.sqrt(np.where(variance > 0, variance, 1.0))


class Huber(Likelihood):
    """The Huber loss: squared for small errors and absolute for large ones.

    Parameters
    ----------
    delta : float, default=1.0
        The error above which the loss is absolute, in units of the overall standard
        deviation of X, which is the root of the mean variance of its features.

    Examples
    --------
    >>> from skae import AutoencoderTransformer
    >>> from skae.likelihoods import Huber
    >>> AutoencoderTransformer(loss=Huber(0.5))
    AutoencoderTransformer(loss=Huber(delta=0.5))
    """

    is_density, degree = False, 2

    _parameter_constraints: dict = {"delta": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        error = ops.abs(x - output)
        small = ops.minimum(error, self.delta)
        # half the square up to delta, and its tangent beyond
        return ops.sum(present * small * (error - small / 2), axis=-1)

    def loss_of_mean(self, mean, variance):
        return np.where(variance > 0, variance, 1.0)
