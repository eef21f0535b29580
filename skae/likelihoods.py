"""Likelihoods: a distribution around the decoder's output, and all that follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, softmax
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skae._starts.em import factors_of, pca_of
from skae._starts.glm import (
    bounded_step,
    latent_start,
    linear_step,
    point_start,
    scoring_step,
    solved,
)
from skae._starts.linear import LEAST_NOISE, pca_start, ppca_start
from skae._starts.pca import fit_pca
from skae._utils.keras import import_keras
from skae._utils.params import Tunable, made

__all__ = [
    "AbsoluteError",
    "Bernoulli",
    "ByColumn",
    "Categorical",
    "Gaussian",
    "Huber",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "SquaredError",
    "from_transformer",
]


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


def _vary_alike(some, rows):
    """Whether no feature of the rows would be taken for a constant by some of them."""
    varies = rows.low != rows.high
    return bool((some.low != some.high)[varies].all())


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

    activation: str = "linear"
    domain: tuple[float, float] = (-math.inf, math.inf)
    standardises: bool = True

    @property
    def is_linear(self) -> bool:
        """Whether the mean is the decoder's output as it is."""
        return self.activation == "linear"

    @property
    def sees_rows(self) -> bool:
        """Whether the network sees rows as they are, all on one scale."""
        return True

    @property
    def follows_moments(self) -> bool:
        """Whether the start depends on the mean and the covariance of the rows alone."""
        return self.is_linear and self.sees_rows

    def blocks(self, n_features: int) -> list[tuple[Likelihood, np.ndarray]]:
        """Pairs of a likelihood and the columns that have it: all have this one.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        blocks : list of (Likelihood, ndarray of int)
            Each column once.
        """
        return [(self, np.arange(n_features))]

    def groups(self, n_features: int) -> list[np.ndarray]:
        """The columns of each group of which a row has one, of classes.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        groups : list of ndarray of int
            By default there are none.
        """
        return []

    def standardisation(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What rows are centred by and divided by, of shape (n_features,) each.

        Parameters
        ----------
        mean, variance : ndarray of shape (n_features,)
            Those of X.

        Returns
        -------
        mean, scale : ndarray of shape (n_features,)
            By default one scale for all features: the root of their mean variance.
        """
        if not self.standardises:
            return np.zeros_like(mean), np.ones_like(mean)
        return mean, np.full_like(mean, math.sqrt(variance.mean()) or 1.0)

    # -- in `keras.ops`

    def seen(self, x: Any) -> Any:
        """What the network sees of standardised rows.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        seen : tensor of shape (n_samples, n_features)
            By default the rows as they are.
        """
        return x

    def mean(self, output: Any) -> Any:
        """The mean of a standardised row, from the decoder's output.

        Parameters
        ----------
        output : tensor of shape (..., n_features)
            The output before its activation.

        Returns
        -------
        mean : tensor of shape (..., n_features)
            The output after it.
        """
        return import_keras().activations.get(self.activation)(output)

    def output_layer(self) -> Any:
        """The layer that computes `mean` in a Keras model.

        Returns
        -------
        layer : keras.Layer
            Without weights.
        """
        layer = import_keras().layers.Activation
        return layer(self.activation, name="output_activation")

    def per_sample(
        self, x: Any, output: Any, log_noise: Any = None, present: Any = 1.0
    ) -> Any:
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

    # -- in NumPy

    def expectation(self, x: Any, output: Any, present: Any) -> Any:
        """The mean of a standardised row on the row's own scale, in ``keras.ops``.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            The rows; 0 where nothing was measured.

        output : tensor of shape (..., n_samples, n_features)
            The output before its activation.

        present : tensor of the shape of x
            1 where a value was measured and 0 where none was.

        Returns
        -------
        mean : tensor of the shape of output
            By default what `mean` gives, which is on no other scale.
        """
        return self.mean(output)

    def like(self, X: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Decoded rows on the scale of the rows that they are held against.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows, NaN where nothing was measured.

        mean : ndarray of shape (n_samples, n_features)
            What the decoder gives, in the units of X.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_features)
            By default as it was.
        """
        return mean

    def n_noise(self, n_features: int) -> int:
        """The number of noise variances that are learned.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        n_noise : int
            None are by default.
        """
        return 0

    def noise_of(self, start: Any, scale: np.ndarray) -> tuple[Any, Any]:
        """The noise of a start in standardised units, and the unit of the output.

        Parameters
        ----------
        start : ProbabilisticStart
            The linear model.

        scale : ndarray of shape (n_features,)
            What rows are divided by.

        Returns
        -------
        noise : ndarray of shape (n_noise,) or None
            Its noise variances; None where none are learned.

        unit : float or ndarray of shape (n_features,)
            What its output is divided by.
        """
        return None, 1.0

    def noise_variance(
        self, noise: np.ndarray | None, scale: np.ndarray
    ) -> float | np.ndarray | None:
        """The noise in squared units of X; None where there is none.

        Parameters
        ----------
        noise : ndarray of shape (n_noise,) or None
            In standardised units.

        scale : ndarray of shape (n_features,)
            What rows are divided by.

        Returns
        -------
        noise_variance : float, ndarray of shape (n_features,) or None
            What `noise_variance_` is; NaN for columns that have none where others do.
        """
        return None

    def in_units(self, loss: Any, scale: np.ndarray, present: Any = 1.0) -> Any:
        """A loss of standardised rows in the units of X: nats, by the change of scale.

        Parameters
        ----------
        loss : float or ndarray of shape (..., n_samples)
            In standardised units.

        scale : ndarray of shape (n_features,)
            What rows are divided by.

        present : ndarray of shape (n_samples, n_features) or 1.0
            Which values are there.

        Returns
        -------
        loss : float or ndarray of shape (..., n_samples)
            In the units of X.
        """
        return loss + (present * np.log(scale)).sum(axis=-1)

    # -- starts

    def point_start(self, rows: Any, n_components: int) -> Any:
        """The linear autoencoder that training starts at.

        Parameters
        ----------
        rows : Rows
            The training rows.

        n_components : int
            The number of components.

        Returns
        -------
        start : LinearStart
            By default that of PCA.
        """
        return pca_start(pca_of(rows, n_components), n_components)

    def decoder_start(self, start: Any, examples: Callable[[], Any]) -> Any:
        """The linear start with the decoder that suits this distribution.

        Parameters
        ----------
        start : LinearStart
            The start with the decoder of least squares.

        examples : callable
            Returns `Examples`: rows as the network sees them, and as it is to give them.

        Returns
        -------
        start : LinearStart
            By default as it was.
        """
        return start

    def generative_start(self, rows: Any, n_components: int, beta: float) -> Any:
        """The linear latent variable model in closed form.

        Parameters
        ----------
        rows : Rows
            The training rows.

        n_components : int
            The number of components.

        beta : float
            The weight of the divergence from the prior.

        Returns
        -------
        start : ProbabilisticStart
            By default that of probabilistic PCA.
        """
        return ppca_start(pca_of(rows, n_components), n_components, beta)

    # -- the steps of `skae._starts.glm`, in standardised units

    def intercept(self, X: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The output that suits all rows best.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            The rows, any number where nothing was measured.

        counts : ndarray of shape (n_samples, n_features or 1)
            How often each value counts: 0 where nothing was measured.

        Returns
        -------
        intercept : ndarray of shape (n_features,)
            Before the activation; by default the mean.
        """
        total = np.broadcast_to(counts, X.shape).sum(axis=0)
        return (counts * X).sum(axis=0) / np.where(total > 0, total, 1.0)

    def step(
        self, design: Any, X: np.ndarray, decoder: np.ndarray, ridge: np.ndarray
    ) -> np.ndarray:
        """A decoder that suits the rows better.

        Parameters
        ----------
        design : Design
            What is known of the codes of the rows, and how often each value counts.

        X : ndarray of shape (n_samples, n_features)
            The rows, any number where nothing was measured.

        decoder : ndarray of shape (n_design, n_features)
            The decoder so far.

        ridge : ndarray of shape (n_design, n_design)
            The matrix of the penalty on the squares of the decoder.

        Returns
        -------
        decoder : ndarray of shape (n_design, n_features)
            By default that of least squares.
        """
        return linear_step(design, X, ridge)

    def curvature(
        self, design: Any, X: np.ndarray, decoder: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the columns say about the code, at a decoder.

        Parameters
        ----------
        design : Design
            What is known of the codes of the rows, and how often each value counts.

        X : ndarray of shape (n_samples, n_features)
            The rows, any number where nothing was measured.

        decoder : ndarray of shape (n_design, n_features)
            The decoder.

        Returns
        -------
        curvature : ndarray of shape (n_features,)
            The mean second derivative of minus the log-density by the output.
        slope : ndarray of shape (n_features,)
            How fast the output that a value asks for rises with what the network sees.
        noise : ndarray of shape (n_noise,)
            In standardised units.
        """
        mean, variance = design.outputs(decoder)
        noise = design.average((X - mean) ** 2 + variance, design.counts)
        spread = (X - design.average(X, design.counts)) ** 2
        typical = design.average(spread, design.counts).mean() or 1.0
        noise = np.maximum(noise, LEAST_NOISE * typical)
        return 1 / noise, np.ones_like(noise), np.empty(0)

    def knows_enough(self, some: Any, rows: Any) -> bool:
        """Whether a start on some of the rows knows what one on all of them would.

        Parameters
        ----------
        some, rows : Rows
            Some rows, and all of them.

        Returns
        -------
        knows_enough : bool
            By default it does.
        """
        return True

    # -- the fitted distribution

    def sample(
        self,
        mean: np.ndarray,
        noise: np.ndarray | None,
        scale: np.ndarray,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        """Rows drawn around their means.

        Parameters
        ----------
        mean : ndarray of shape (n_samples, n_features)
            In the units of X.

        noise : ndarray of shape (n_noise,) or None
            In standardised units.

        scale : ndarray of shape (n_features,)
            What rows are divided by.

        rng : RandomState
            What they are drawn with.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            In the units of X.

        Raises
        ------
        ValueError
            If it is a loss, and no distribution.
        """
        raise ValueError(f"{type(self).__name__} has no samples: it is a loss.")

    def of_pca(
        self, X: np.ndarray, X_noisy: np.ndarray, n_components: int
    ) -> float | None:
        """The loss that the linear model has on X; None where the two don't compare.

        Parameters
        ----------
        X, X_noisy : ndarray of shape (n_samples, n_features)
            The rows that the model is of, and those that it reconstructs them from.

        n_components : int
            The number of its components.

        Returns
        -------
        loss : float or None
            In the units of `history_`.
        """
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

    def in_units(self, loss, scale, present=1.0):
        return loss * scale[0] ** 2

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
        return noise, np.sqrt(noise) * np.ones(len(scale))

    def noise_variance(self, noise, scale):
        return noise * scale**2 if self.per_feature else float(noise[0] * scale[0] ** 2)

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
        return not self.per_feature or _vary_alike(some, rows)

    def sample(self, mean, noise, scale, rng):
        width = np.sqrt(self.noise_variance(noise, scale))
        return mean + (rng.standard_normal(mean.shape) * width).astype(mean.dtype)

    def of_pca(self, X, X_noisy, n_components):
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

    def sample(self, mean, noise, scale, rng):
        return rng.binomial(1, mean).astype(mean.dtype)


def _inverse(curvature):
    """How fast outputs rise with what is seen, 0 where that says nothing of the code."""
    real = curvature > np.finfo(float).eps
    return np.divide(1.0, curvature, out=np.zeros_like(curvature), where=real)


def _logistic(logits):
    """Probabilities, and their slopes."""
    p = expit(logits)
    return p, p * (1 - p)


class AbsoluteError(Likelihood):
    """The absolute error, summed over features: few large errors weigh less.

    Examples
    --------
    >>> from skae import AutoencoderTransformer
    >>> AutoencoderTransformer(loss="absolute_error")
    AutoencoderTransformer(loss='absolute_error')
    """

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return ops.sum(present * ops.abs(x - output), axis=-1)

    def in_units(self, loss, scale, present=1.0):
        return loss * scale[0]


class Huber(Likelihood):
    """Squared where errors are small and absolute where they are large.

    Parameters
    ----------
    delta : float, default=1.0
        The error from which on it is absolute, in units of the overall standard
        deviation of X, which is the root of the mean variance of its features.

    Examples
    --------
    >>> from skae import AutoencoderTransformer
    >>> from skae.likelihoods import Huber
    >>> AutoencoderTransformer(loss=Huber(0.5))
    AutoencoderTransformer(loss=Huber(delta=0.5))
    """

    _parameter_constraints: dict = {"delta": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        error = ops.abs(x - output)
        small = ops.minimum(error, self.delta)
        # half the square, and the line that goes on where that ends
        return ops.sum(present * small * (error - small / 2), axis=-1)

    def in_units(self, loss, scale, present=1.0):
        return loss * scale[0] ** 2


class _StepwiseStarts:
    """The starts of likelihoods whose decoder is fitted step by step, by `skae._starts.glm`."""

    def generative_start(self, rows, n_components, beta):
        return latent_start(self, rows, n_components, beta)

    def point_start(self, rows, n_components):
        return point_start(self, rows, n_components)


class Categorical(_StepwiseStarts, Likelihood):
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

    def mean(self, output):
        from keras import ops

        if output.shape[-1] == 1:  # of which Keras warns
            return ops.ones_like(output)
        return super().mean(output)

    def per_sample(self, x, output, log_noise=None, present=1.0):
        from keras import ops

        return -ops.sum(present * x * ops.log_softmax(output, axis=-1), axis=-1)

    def intercept(self, X, counts):
        return np.log(np.clip(super().intercept(X, counts), 1e-3, None))

    def step(self, design, X, decoder, ridge):
        # By Stein's lemma, with the probabilities at the mean of the code. Of their slopes
        # a part is Böhning's bound (1992): those at the mean are next to nothing where a
        # class is sure, which lets a decoder grow to any size
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

    def sample(self, mean, noise, scale, rng):
        ends = np.cumsum(mean, axis=1, dtype=np.float64)
        drawn = rng.uniform(size=(len(mean), 1)) * ends[:, -1:]
        place = np.minimum((drawn > ends).sum(axis=1), mean.shape[1] - 1)
        return np.eye(mean.shape[1], dtype=mean.dtype)[place]


class Poisson(_StepwiseStarts, Likelihood):
    """Counts whose variance is their mean: the network sees the logarithm of 1 + x.

    Parameters
    ----------
    total : float or None, default=None
        If not None, the rate of a row is relative to the sum of the row, and the
        decoder's means are those of a row whose values add up to `total`. Where values
        are missing, the sum of the others stands for the share that is expected of them.

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
        """The logarithm of each row's sum over `total`.

        Of a row with missing values it is the sum of the others, over the share of the
        expected sum that they have.
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
        """What each row's sum is of `total`, of shape (n_samples, 1); see `_log_size`."""
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
        """The expected rates, on each row's own scale."""
        mean, variance = design.outputs(decoder)
        rate = np.exp(np.minimum(mean + variance / 2, LARGEST_LOG_RATE))
        return rate * self._size(X, rate, design.present)

    def intercept(self, X, counts):
        rate = np.maximum(super().intercept(X, counts), 1e-3)
        if self.total is not None:
            present = np.broadcast_to(counts, X.shape) > 0
            for _ in range(SIZES):  # of rows with missing values they depend on the rates
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
    """Counts that vary more than their mean, by a dispersion of each feature.

    The variance of a count of the mean m is ``m + dispersion * m**2``; the dispersions
    are learned.

    Parameters
    ----------
    total : float or None, default=None
        If not None, the mean of a row is relative to the sum of the row, and the
        decoder's means are those of a row whose values add up to `total`.

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
        surplus = ops.softplus(log_mean + log_noise)
        nats = (
            log_gamma(shape)
            + log_gamma(x + 1)
            - log_gamma(x + shape)
            + shape * surplus
            - x * (log_mean + log_noise - surplus)
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
            surplus = 1 + dispersion * rate
            curvature = rate * (1 + dispersion * X) / surplus**2
            return (X - rate) / surplus, curvature, rate / surplus

        return scoring_step(design, *design.expected(slopes, decoder), decoder, ridge)

    def curvature(self, design, X, decoder):
        rate = self._rate(design, X, decoder)
        dispersion = self._dispersion(rate, X, design)
        mean = design.average(rate)
        return mean / (1 + dispersion * mean), (1 + mean) / mean, dispersion

    def sample(self, mean, noise, scale, rng):
        rate = rng.gamma(1 / noise, mean * noise)
        return rng.poisson(rate).astype(mean.dtype)


class ByColumn(_StepwiseStarts, Likelihood):
    """A likelihood for each of several groups of columns.

    A list of pairs in an estimator's `loss` or `likelihood` becomes one of these.

    Parameters
    ----------
    pairs : list of (Likelihood, array-like of int)
        The columns of all together are those of X, each once.
    """

    def __init__(self, pairs: Sequence[tuple[Likelihood, ArrayLike]]) -> None:
        self.pairs = pairs

    def _key(self):
        return type(self), *((one._key(), tuple(c)) for one, c in self.pairs)

    @property
    def is_linear(self):
        return False

    @property
    def sees_rows(self):
        return False

    def blocks(self, n_features):
        return [(one, np.asarray(columns)) for one, columns in self.pairs]

    def groups(self, n_features):
        return [
            columns[group]
            for one, columns in self.blocks(n_features)
            for group in one.groups(len(columns))
        ]

    @property
    def _columns(self):
        return np.concatenate([columns for _, columns in self.pairs])

    def _joined(self, parts):
        """Parts of the columns of each pair, in the columns' own order."""
        from keras import ops

        order = np.argsort(self._columns).astype(np.int32)
        return ops.take(ops.concatenate(parts, axis=-1), order, axis=-1)

    def _split(self, x):
        from keras import ops

        return [ops.take(x, np.asarray(c, np.int32), axis=-1) for _, c in self.pairs]

    def _noises(self, noise):
        """The part of each pair in what all have learned of the noise, on the last axis."""
        start = 0
        for one, columns in self.pairs:
            n_noise = one.n_noise(len(columns))
            yield noise[..., start : start + n_noise] if n_noise else None
            start += n_noise

    def standardisation(self, mean, variance):
        found = np.empty((2, len(mean)))
        for one, columns in self.pairs:
            found[:, columns] = one.standardisation(mean[columns], variance[columns])
        return found[0], found[1]

    def seen(self, x):
        parts = zip(self.pairs, self._split(x), strict=True)
        return self._joined([one.seen(part) for (one, _), part in parts])

    def mean(self, output):
        parts = zip(self.pairs, self._split(output), strict=True)
        return self._joined([one.mean(part) for (one, _), part in parts])

    def output_layer(self):
        return self.mean

    def expectation(self, x, output, present):
        parts = self._split(x), self._split(output), self._split(present)
        return self._joined(
            [
                one.expectation(*some)
                for (one, _), *some in zip(self.pairs, *parts, strict=True)
            ]
        )

    def like(self, X, mean):
        found = mean.copy()
        for one, columns in self.pairs:
            found[:, columns] = one.like(X[:, columns], mean[:, columns])
        return found

    def per_sample(self, x, output, log_noise=None, present=1.0):
        outputs, rows = self._split(output), self._split(x)
        there = [present] * len(rows) if isinstance(present, float) else None
        there = self._split(present) if there is None else there
        noises = self._noises(log_noise)
        return sum(
            one.per_sample(*parts)
            for (one, _), *parts in zip(
                self.pairs, rows, outputs, noises, there, strict=True
            )
        )

    def n_noise(self, n_features):
        return sum(one.n_noise(len(columns)) for one, columns in self.pairs)

    def noise_of(self, start, scale):
        unit = np.ones(len(scale))
        if not self.n_noise(len(scale)):
            return None, unit
        for (one, columns), noise in zip(
            self.pairs, self._noises(start.noise_variance), strict=True
        ):
            if isinstance(one, Gaussian):
                unit[columns] = np.sqrt(noise)
        return start.noise_variance, unit

    def noise_variance(self, noise, scale):
        if noise is None:
            return None
        found = np.full(len(scale), np.nan)
        for (one, columns), part in zip(self.pairs, self._noises(noise), strict=True):
            variance = one.noise_variance(part, scale[columns])
            if variance is not None:
                found[columns] = variance
        return found

    def in_units(self, loss, scale, present=1.0):
        return super().in_units(loss, self._density_scale(scale), present)

    def _density_scale(self, scale):
        """The scale of columns that have a density; errors stay as they are."""
        scale = scale.copy()
        for one, columns in self.pairs:
            if type(one).in_units is not Likelihood.in_units:
                scale[columns] = 1.0
        return scale

    def knows_enough(self, some, rows):
        return _vary_alike(some, rows)

    def sample(self, mean, noise, scale, rng):
        drawn = np.empty_like(mean)
        for (one, columns), part in zip(self.pairs, self._noises(noise), strict=True):
            drawn[:, columns] = one.sample(mean[:, columns], part, scale[columns], rng)
        return drawn


def by_name(given, names, n_features, feature_names=None, parameter="likelihood", X=None):
    """The likelihood that a user names, or gives for several groups of columns.

    Parameters
    ----------
    given : str, Likelihood or list of (str or Likelihood, columns)
        Columns as `ColumnTransformer` takes them: numbers, names, slices, masks, and
        functions of X that give such. Pairs without columns are left out.

    names : dict
        What names are short for.

    n_features : int
    feature_names : ndarray of str or None, default=None
    parameter : str
        The estimator's, for messages.

    X : object, default=None
        X as it was given to `fit`.

    Raises
    ------
    ValueError
        If a name is unknown, or the columns are not all columns of X, each once.
    """
    if not isinstance(given, list):
        return made(given, names)
    if not given:
        raise ValueError(
            f"{parameter} must be a list of at least one (likelihood, columns) pair. Got []."
        )
    pairs = []
    for pair in given:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise ValueError(
                f"{parameter} must be a list of (likelihood, columns) pairs. Got {pair!r}"
                " in it."
            )
        one, columns = pair
        if isinstance(one, str) and one not in names:
            raise ValueError(
                f"{parameter} knows {sorted(names)}, and objects of skae.likelihoods."
                f" Got {one!r}."
            )
        one = made(one, names)
        one._validate_params()
        places = _places(columns, n_features, feature_names, parameter, X)
        if len(places):
            pairs.append((one, places))
    none = np.empty(0, int)
    every = np.concatenate([none, *(columns for _, columns in pairs)])
    times = np.bincount(every, minlength=n_features)
    if (times != 1).any():
        wrong = np.flatnonzero(times != 1)
        shown = (
            wrong[:10].tolist() if feature_names is None else feature_names[wrong[:10]]
        )
        raise ValueError(
            f"{parameter} must have each column of X in one pair. These are in none, or in"
            f" several: {list(shown)}."
        )
    return ByColumn(pairs)


def _places(columns, n_features, feature_names, parameter, X):
    """The numbers of some columns, as an array."""
    names = [] if feature_names is None else list(feature_names)

    def place(name):
        return names.index(name) if isinstance(name, str) else name

    try:
        columns = columns(X) if callable(columns) else columns
        if isinstance(columns, str):
            columns = [place(columns)]
        elif isinstance(columns, slice):
            end = place(columns.stop)  # a name is among them, as in a ColumnTransformer
            end = end + 1 if isinstance(columns.stop, str) else end
            columns = slice(place(columns.start), end, columns.step)
        elif not isinstance(columns, np.ndarray):
            columns = [place(name) for name in np.atleast_1d(columns).tolist()]
            columns = np.array(columns, None if columns else int)
        places = np.arange(n_features)[columns]
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(
            f"{parameter}: {columns!r} are no columns of X: {error}"
        ) from error
    return np.atleast_1d(places)


def from_transformer(transformer: Any) -> list[tuple[str, list[int]]]:
    """The likelihoods by column of what a fitted ColumnTransformer gives.

    Each column that a :class:`~sklearn.preprocessing.OneHotEncoder` encodes becomes a
    "categorical" group, or "bernoulli" where it is one column of 0 and 1, as for two
    classes with ``drop="if_binary"``; all others are "gaussian_diag".

    Parameters
    ----------
    transformer : ColumnTransformer
        Fitted; its encoders, at the end of a Pipeline or alone.

    Returns
    -------
    pairs : list of (str, list of int)
        For the parameter `likelihood` of :class:`~skae.VAETransformer`.

    Raises
    ------
    ValueError
        If an encoder drops one of several classes, the others of which are not one-hot.

    Examples
    --------
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from skae.likelihoods import from_transformer
    >>> X = [[1.0, 0], [2.0, 1], [4.0, 2]]
    >>> encoder = OneHotEncoder(sparse_output=False)
    >>> columns = make_column_transformer((StandardScaler(), [0]), (encoder, [1]))
    >>> from_transformer(columns.fit(X))
    [('gaussian_diag', [0]), ('categorical', [1, 2, 3])]
    """
    check_is_fitted(transformer)
    n_features = max(place.stop for place in transformer.output_indices_.values())
    pairs, rest = [], set(range(n_features))
    for name, fitted, _ in transformer.transformers_:
        last = fitted[-1] if isinstance(fitted, Pipeline) else fitted
        if not isinstance(last, OneHotEncoder):
            continue
        start = transformer.output_indices_[name].start
        for classes, infrequent, dropped in zip(
            last.categories_, _infrequent(last), _dropped(last), strict=True
        ):
            n_columns = len(classes) - max(infrequent - 1, 0) - dropped
            group = list(range(start, start + n_columns))
            if dropped and n_columns > 1:
                raise ValueError(
                    f"The OneHotEncoder {name!r} drops one of {n_columns + 1} classes, so"
                    " that the others are not one-hot. Use drop=None or 'if_binary'."
                )
            if group:
                pairs.append(("bernoulli" if n_columns == 1 else "categorical", group))
            rest -= set(group)
            start += n_columns
    if rest:
        pairs.insert(0, ("gaussian_diag", sorted(rest)))
    return pairs


def _infrequent(encoder):
    """The number of classes of each column that share one column for infrequent ones."""
    if not getattr(encoder, "_infrequent_enabled", False):
        return [0] * len(encoder.categories_)
    return [0 if c is None else len(c) for c in encoder.infrequent_categories_]


def _dropped(encoder):
    """Whether each column has a class without a column of its own."""
    if encoder.drop_idx_ is None:
        return [0] * len(encoder.categories_)
    return [int(place is not None) for place in encoder.drop_idx_]


#: Counts above the exponential of this are no counts; dispersions are in between.
LARGEST_LOG_RATE, DISPERSIONS = 30.0, (1e-4, 1e2)

#: The part of the bound in the curvature of classes. Of none to all of it, a quarter is
#: near the best in the bound and in the likelihood of two tables of classes and numbers.
BOUND_PART = 1 / 4

#: Rounds of the sizes of rows with missing values and the rates that these depend on.
SIZES = 5


def log_gamma(x):
    """The logarithm of the gamma function of positive numbers, in ``keras.ops``.

    Stirling's series at x + 7 (Abramowitz & Stegun 1964, 6.1.40), and the recurrence
    back: right to 1e-10.
    """
    from keras import ops

    product, high = 0.0, x + 7
    for i in range(7):
        product = product + ops.log(x + i)
    series = 1 / (12 * high) - 1 / (360 * high**3) + 1 / (1260 * high**5)
    stirling = (high - 0.5) * ops.log(high) - high + math.log(2 * math.pi) / 2
    return stirling + series - product


#: The losses and likelihoods that have a name of their own.
LOSSES = {
    "squared_error": SquaredError,
    "binary_crossentropy": Bernoulli,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "categorical_crossentropy": Categorical,
    "poisson": Poisson,
}
LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian_diag": lambda: Gaussian(per_feature=True),
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}
