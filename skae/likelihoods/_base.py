"""Likelihood: a distribution around the decoder's output, and all that follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from skae._starts.em import pca_of
from skae._starts.glm import (
    latent_start,
    linear_step,
    point_start,
)
from skae._starts.linear import LEAST_NOISE, pca_start, ppca_start
from skae._utils.keras import import_keras
from skae._utils.params import Tunable

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


def vary_alike(some, rows):
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

    #: Whether PCA has the least loss of all networks whose code and output are linear.
    pca_is_best = False

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


class StepwiseStarts:
    """The starts of likelihoods whose decoder is fitted step by step, by `skae._starts.glm`."""

    def generative_start(self, rows, n_components, beta):
        return latent_start(self, rows, n_components, beta)

    def point_start(self, rows, n_components):
        return point_start(self, rows, n_components)
