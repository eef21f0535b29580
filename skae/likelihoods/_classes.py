"""Distributions of 0 and 1, and of classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import entr, expit, logit, softmax

from skae._starts.glm import (
    bounded_step,
    latent_start,
    solved,
)
from skae.likelihoods._base import (
    Likelihood,
    StepwiseStarts,
)

#: The least entropy, in nats, by which a loss of classes is divided in a mixed table: the
#: floor keeps a class of 1 % from counting 18 times as much as the others.
LEAST_ENTROPY = 0.17

#: The fraction of Böhning's bound in the curvature of classes. A quarter is near the
#: best for the bound and for the likelihood of two tables of classes and numbers.
BOUND_PART = 1 / 4


class Bernoulli(Likelihood):
    """Binary features, or probabilities: the binary cross-entropy from logits.

    For a logit ``a`` it is ``max(a, 0) - a x + log(1 + exp(-abs(a)))``: the same number
    as from probabilities but without clipping, so that gradients never vanish.

    Examples
    --------
    >>> from skae import VAETransformer
    >>> from skae.likelihoods import Bernoulli
    >>> VAETransformer(likelihood=Bernoulli())
    VAETransformer(likelihood=Bernoulli())
    """

    activation = "sigmoid"
    domain = (0.0, 1.0)
    standardises = False

    def numbers(self, n_features):
        return np.arange(0)

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        x = ops.broadcast_to(x, ops.shape(output))  # scores have several outputs a row
        error = ops.binary_crossentropy(x, output, from_logits=True)
        return ops.sum(present * error, axis=-1)

    def decoder_start(self, start, examples):
        decoder = examples().decoder(self, start)
        return replace(start, decoder=decoder[:-1], intercept=decoder[-1])

    def generative_start(self, rows, n_components, beta):
        return latent_start(self, rows, n_components, beta)

    def intercept(self, X, counts):
        return logit(np.clip(super().intercept(X, counts), 1e-3, 1 - 1e-3))

    def step(self, design, X, decoder, ridge):
        p, curvature = design.expected(_logistic, decoder)
        return bounded_step(design, X - p, curvature, decoder, ridge, 1 / 4)

    def curvature(self, design, X, decoder):
        curvature = design.average(design.expected(_logistic, decoder)[1])
        return curvature, _inverse(curvature), np.empty(0)

    def loss_of_mean(self, mean, variance):
        entropy = _entropies(mean) + _entropies(1 - mean)
        return np.maximum(entropy, LEAST_ENTROPY)

    def sample(self, mean, noise, scale, rng):
        return rng.binomial(1, mean).astype(mean.dtype)


def _inverse(curvature):
    """Invert curvatures, with 0 where they are too small to inform the code."""
    real = curvature > np.finfo(float).eps
    return np.divide(1.0, curvature, out=np.zeros_like(curvature), where=real)


def _entropies(p):
    """Compute the part of each probability in an entropy, in nats."""
    return entr(np.clip(p, 0, 1))


def _logistic(logits):
    """Compute probabilities and their slopes."""
    p = expit(logits)
    return p, p * (1 - p)


class Categorical(StepwiseStarts, Likelihood):
    """One group of one-hot columns: the cross-entropy of their softmax.

    Examples
    --------
    >>> from skae import VAETransformer
    >>> vae = VAETransformer(
    ...     likelihood=[("gaussian_diag", slice(0, 5)), ("categorical", [5, 6, 7])]
    ... )
    """

    activation = "softmax"
    domain = (0.0, 1.0)
    standardises = False

    def groups(self, n_features):
        return [np.arange(n_features)]

    def numbers(self, n_features):
        return np.arange(0)

    def mean(self, output):
        from keras import ops

        if output.shape[-1] == 1:  # Keras warns of a softmax of one
            return ops.ones_like(output)
        return super().mean(output)

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return -ops.sum(present * x * ops.log_softmax(output, axis=-1), axis=-1)

    def intercept(self, X, counts):
        return np.log(np.clip(super().intercept(X, counts), 1e-3, None))

    def step(self, design, X, decoder, ridge):
        # By Stein's lemma, with the probabilities at the mean of the code. Their slopes
        # are mixed with Böhning's bound (1992): slopes at the mean are close to zero for
        # a certain class, and the decoder would grow without limit.
        p, loadings = softmax(design.rows @ decoder, axis=1), decoder[:-1]
        variance = design.counts[:, :1] * design.variance
        at_mean = (variance.T @ p) * loadings - (variance * (p @ loadings.T)).T @ p
        centred = loadings - loadings.mean(axis=1, keepdims=True)
        bound = variance.sum(axis=0)[:, None] * centred / 2
        slope = design.rows.T @ (design.counts * (X - p))
        slope[:-1] -= (1 - BOUND_PART) * at_mean + BOUND_PART * bound
        slope = slope - ridge @ decoder
        return decoder + solved(design.gram / 2 + ridge, slope)

    def curvature(self, design, X, decoder):
        p = softmax(design.rows @ decoder, axis=1)
        curvature = design.average(p * (1 - p))
        return curvature, _inverse(curvature), np.empty(0)

    def loss_of_mean(self, mean, variance):
        return np.full_like(mean, max(_entropies(mean).sum(), LEAST_ENTROPY))

    def sample(self, mean, noise, scale, rng):
        ends = np.cumsum(mean, axis=1, dtype=np.float64)
        drawn = rng.uniform(size=(len(mean), 1)) * ends[:, -1:]
        place = np.minimum((drawn > ends).sum(axis=1), mean.shape[1] - 1)
        return np.eye(mean.shape[1], dtype=mean.dtype)[place]
