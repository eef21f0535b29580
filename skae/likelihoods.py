"""Likelihoods: a distribution around the decoder's output, and all that follows from it."""

import math

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis

from skae._starts import (
    LOGISTIC_ROWS,
    bernoulli_start,
    factor_start,
    fit_pca,
    logistic_start,
    ppca_start,
)
from skae._tunable import Tunable

__all__ = ["Bernoulli", "Gaussian", "Likelihood", "SquaredError"]


#: The bounds of log-variances, in the units of standardised rows.
MAX_LOG_VARIANCE = 32.0


def bounded(x):
    """``x / (1 + abs(x) / 32)``: within (-32, 32), and its gradient never zero."""
    return x / (1 + abs(x) / MAX_LOG_VARIANCE)


def unbounded(log_variance):
    """What `bounded` makes this log-variance of, as far as that is finite."""
    limit = 0.999 * MAX_LOG_VARIANCE
    log_variance = np.clip(log_variance, -limit, limit)
    return log_variance / (1 - np.abs(log_variance) / MAX_LOG_VARIANCE)


class Likelihood(Tunable):
    """Base class of the likelihoods and losses: the distribution of a row.

    A subclass has `per_sample`; everything else has a default that suits real numbers.

    Attributes
    ----------
    activation : str, default="linear"
        The name of the Keras activation that makes the mean of the decoder's output.

    domain : (float, float), default=(-inf, inf)
        The least and the greatest value that X may have.

    standardises : bool, default=True
        Whether the network works on rows that are centred and scaled.
    """

    activation = "linear"
    domain = (-math.inf, math.inf)
    standardises = True

    @property
    def is_linear(self):
        """Whether the mean is the decoder's output as it is."""
        return self.activation == "linear"

    def per_sample(self, x, output, log_noise=None, present=1.0):
        """Minus the log-density of each row, in ``keras.ops``.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            Standardised rows; 0 where nothing was measured.

        output : tensor of shape (..., n_samples, n_features)
            The decoder's output before its activation.

        log_noise : tensor of shape (1, 1) or (1, n_features), or None
            The log-variance of the noise, where the likelihood learns one.

        present : tensor of the shape of x, or 1.0
            1 where a value was measured and 0 where none was.

        Returns
        -------
        losses : tensor of shape (..., n_samples)
            Summed over features.
        """
        raise NotImplementedError

    def n_noise(self, n_features):
        """The number of noise variances that are learned."""
        return 0

    def in_units(self, loss, scale, n_features):
        """A loss of standardised rows in the units of X: nats, by the change of scale."""
        return loss + n_features * math.log(scale)

    # -- starts

    def decoder_start(self, start, pairs):
        """The linear start with the decoder that suits this distribution.

        Parameters
        ----------
        start : LinearStart
        pairs : callable
            Returns rows to encode and rows to decode to, complete, in float64.
        """
        return start

    def generative_start(self, rows, n_components, beta):
        """The linear latent variable model in closed form, a `ProbabilisticStart`."""
        pca = fit_pca(rows.complete, n_components)
        return ppca_start(pca, n_components, len(rows), beta)

    def knows_enough(self, some, rows):
        """Whether a start on some of the rows knows what one on all of them would."""
        return True

    # -- the fitted distribution

    def sample(self, mean, noise_variance, rng):
        """Rows drawn around their means, of shape (n_samples, n_features)."""
        raise ValueError(f"{type(self).__name__} has no samples: it is a loss.")

    def of_pca(self, X, X_noisy, n_components):
        """The loss that the linear model has on X; None where the two don't compare."""
        return None


class SquaredError(Likelihood):
    """The squared error, summed over features.

    Examples
    --------
    >>> from skae import AutoencoderTransformer
    >>> from skae.likelihoods import SquaredError
    >>> AutoencoderTransformer(loss=SquaredError())
    AutoencoderTransformer(loss=SquaredError())
    """

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return ops.sum(present * ops.square(x - output), axis=-1)

    def in_units(self, loss, scale, n_features):
        return loss * scale**2

    def of_pca(self, X, X_noisy, n_components):
        pca = fit_pca(X, n_components)
        X_pca = pca.inverse_transform(pca.transform(X_noisy))
        return float(np.square(X - X_pca, dtype=np.float64).sum(axis=1).mean())


class Gaussian(Likelihood):
    """A normal distribution around the output, whose noise variance is learned.

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

    def __init__(self, per_feature=False):
        self.per_feature = per_feature

    def n_noise(self, n_features):
        return n_features if self.per_feature else 1

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        squared = ops.square(x - output) * ops.exp(-log_noise)
        nats = squared + log_noise + math.log(2 * math.pi)
        return ops.sum(present * nats, axis=-1) / 2

    def generative_start(self, rows, n_components, beta):
        if self.per_feature:
            return factor_start(rows.complete, n_components, beta)
        return super().generative_start(rows, n_components, beta)

    def knows_enough(self, some, rows):
        if not self.per_feature:
            return True
        varies = rows.low != rows.high  # a feature must not be taken for a constant
        return bool((some.low != some.high)[varies].all())

    def sample(self, mean, noise_variance, rng):
        noise = rng.standard_normal(mean.shape) * np.sqrt(noise_variance)
        return mean + noise.astype(mean.dtype)

    def of_pca(self, X, X_noisy, n_components):
        """Minus the log-likelihood of the linear model of X on X, in nats."""
        linear = FactorAnalysis if self.per_feature else PCA
        return -float(linear(n_components).fit(X).score(X))


class Bernoulli(Likelihood):
    """Binary features, or probabilities: the binary cross-entropy, from logits.

    ``max(a, 0) - a x + log(1 + exp(-abs(a)))`` for a logit ``a``: the same number as
    from probabilities, with no clipping, so that gradients never vanish.

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

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        x = ops.broadcast_to(x, ops.shape(output))  # scores draw several outputs a row
        error = ops.binary_crossentropy(x, output, from_logits=True)
        return ops.sum(present * error, axis=-1)

    def decoder_start(self, start, pairs):
        return logistic_start(start, *pairs())

    def generative_start(self, rows, n_components, beta):
        pca = fit_pca(rows.complete, n_components)
        some = rows.filled(rows.spread(LOGISTIC_ROWS))
        return bernoulli_start(pca, some, n_components, beta)

    def sample(self, mean, noise_variance, rng):
        return rng.binomial(1, mean).astype(mean.dtype)


#: The losses and likelihoods that have a name of their own.
LOSSES = {"squared_error": SquaredError, "binary_crossentropy": Bernoulli}
LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian_diag": lambda: Gaussian(per_feature=True),
    "bernoulli": Bernoulli,
}
