"""Likelihood: the base class of distributions around the decoder's output."""

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
    """Compute ``x / (1 + abs(x) / 32)``, in (-32, 32) and with nonzero gradient."""
    return x / (1 + abs(x) / MAX_LOG_VARIANCE)


def unbounded(log_variance):
    """Invert `bounded`, for log-variances clipped to where the inverse is finite."""
    limit = 0.999 * MAX_LOG_VARIANCE
    log_variance = np.clip(log_variance, -limit, limit)
    return log_variance / (1 - np.abs(log_variance) / MAX_LOG_VARIANCE)


def vary_alike(some, rows):
    """Return True if every feature that varies in the rows varies in some of them too."""
    varies = rows.low != rows.high
    return bool((some.low != some.high)[varies].all())


class Likelihood(Tunable):
    """Base class of the likelihoods and losses: the distribution of a sample.

    A subclass implements `per_sample`; everything else has a default that suits real
    numbers.

    Attributes
    ----------
    activation : str, default="linear"
        The name of the Keras activation that maps the decoder's output to the mean.

    domain : (float, float), default=(-inf, inf)
        The minimum and the maximum of the values that X may have.

    standardises : bool, default=True
        Whether samples are centred and scaled for the network.

    is_density : bool, default=True
        Whether `per_sample` is a negative log-density, whose value depends on the scale
        of X. A loss sets it to False.

    degree : int, default=0
        The power of the unit of X that is the unit of a loss which is no density.
    """

    activation: str = "linear"
    domain: tuple[float, float] = (-math.inf, math.inf)
    standardises: bool = True
    is_density: bool = True
    degree: int = 0

    @property
    def is_linear(self) -> bool:
        """True if the mean is the decoder's output, without an activation."""
        return self.activation == "linear"

    @property
    def sees_rows(self) -> bool:
        """True if the input of the network is untransformed, all on one scale."""
        return True

    #: Whether it is the squared error.
    is_squared_error = False

    #: Whether PCA has the least loss of all networks whose code and output are linear.
    pca_is_best = False

    @property
    def follows_moments(self) -> bool:
        """True if the initialisation depends on the mean and covariance of X alone."""
        return self.is_linear and self.sees_rows

    def blocks(self, n_features: int) -> list[tuple[Likelihood, np.ndarray]]:
        """Return pairs of a likelihood and its columns; by default one for all columns.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        blocks : list of (Likelihood, ndarray of int)
            Each column is in one of them.
        """
        return [(self, np.arange(n_features))]

    def groups(self, n_features: int) -> list[np.ndarray]:
        """Return the one-hot columns of each categorical variable.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        groups : list of ndarray of int
            None by default.
        """
        return []

    def numbers(self, n_features: int) -> np.ndarray:
        """Return the columns that are numbers, and neither classes nor probabilities.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        numbers : ndarray of int
            All columns by default.
        """
        return np.arange(n_features)

    def standardisation(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the scale that standardise samples.

        Parameters
        ----------
        mean, variance : ndarray of shape (n_features,)
            The mean and the variance of X.

        Returns
        -------
        mean, scale : ndarray of shape (n_features,)
            By default the scale is the same for all features: the root of their mean
            variance.
        """
        if not self.standardises:
            return np.zeros_like(mean), np.ones_like(mean)
        return mean, np.full_like(mean, math.sqrt(variance.mean()) or 1.0)

    def widths(self, rows: Any) -> np.ndarray | None:
        """Return the width of each column, by which a mixed table is divided.

        Parameters
        ----------
        rows : Rows
            The training samples.

        Returns
        -------
        widths : ndarray of shape (n_features,) or None
            None by default: all columns have the unit of X.
        """
        return None

    # -- in `keras.ops`

    def seen(self, x: Any) -> Any:
        """Transform standardised samples to the input of the network.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        seen : tensor of shape (n_samples, n_features)
            By default the samples, unchanged.
        """
        return x

    def mean(self, output: Any) -> Any:
        """Compute the mean of standardised samples from the decoder's output.

        Parameters
        ----------
        output : tensor of shape (..., n_features)
            The output before its activation.

        Returns
        -------
        mean : tensor of shape (..., n_features)
            The output after its activation.
        """
        return import_keras().activations.get(self.activation)(output)

    def output_layer(self) -> Any:
        """Make the layer that computes `mean` in a Keras model.

        Returns
        -------
        layer : keras.Layer
            A layer without weights.
        """
        layer = import_keras().layers.Activation
        return layer(self.activation, name="output_activation")

    def per_sample(
        self, x: Any, output: Any, log_noise: Any = None, present: Any = 1.0
    ) -> Any:
        """Compute minus the log-density of each sample, in ``keras.ops``.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            Standardised samples; 0 for missing values.

        output : tensor of shape (..., n_samples, n_features)
            The decoder's output before its activation.

        log_noise : tensor of shape (1, 1) or (1, n_features), or None
            The log-variance of the noise, where the likelihood learns one.

        present : tensor of the shape of x, or 1.0
            1 for observed and 0 for missing values.

        Returns
        -------
        losses : tensor of shape (..., n_samples)
            The losses, summed over features.
        """
        raise NotImplementedError

    # -- in NumPy

    def expectation(self, x: Any, output: Any, present: Any) -> Any:
        """Compute the mean of samples on each sample's own scale, in ``keras.ops``.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            The standardised samples; 0 for missing values.

        output : tensor of shape (..., n_samples, n_features)
            The output before its activation.

        present : tensor of the shape of x
            1 for observed and 0 for missing values.

        Returns
        -------
        mean : tensor of the shape of output
            By default the result of `mean`, because samples have no scale of their own.
        """
        return self.mean(output)

    def like(self, X: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Scale decoded samples to the samples that they are compared with.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            The samples; NaN for missing values.

        mean : ndarray of shape (n_samples, n_features)
            The decoder's means, in the units of X.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_features)
            By default the same means.
        """
        return mean

    def n_noise(self, n_features: int) -> int:
        """Return the number of noise variances that are learned.

        Parameters
        ----------
        n_features : int
            The number of columns.

        Returns
        -------
        n_noise : int
            0 by default.
        """
        return 0

    def noise_of(self, start: Any, scale: np.ndarray) -> tuple[Any, Any]:
        """Return a linear model's noise in standardised units, and its output's unit.

        Parameters
        ----------
        start : ProbabilisticStart
            The linear model of the initialisation.

        scale : ndarray of shape (n_features,)
            The scale that samples are divided by.

        Returns
        -------
        noise : ndarray of shape (n_noise,) or None
            The noise variances; None if none are learned.

        unit : float or ndarray of shape (n_features,)
            The unit that the output is divided by.
        """
        return None, 1.0

    def noise_variance(
        self, noise: np.ndarray | None, scale: np.ndarray
    ) -> float | np.ndarray | None:
        """Convert noise variances to squared units of X; None if there are none.

        Parameters
        ----------
        noise : ndarray of shape (n_noise,) or None
            Noise variances in standardised units.

        scale : ndarray of shape (n_features,)
            The scale that samples are divided by.

        Returns
        -------
        noise_variance : float, ndarray of shape (n_features,) or None
            The value of `noise_variance_`; NaN for columns without noise if others have
            it.
        """
        return None

    def in_units(self, loss: Any, scale: np.ndarray, present: Any = 1.0) -> Any:
        """Convert a loss of standardised samples to the units of X: nats by default.

        Parameters
        ----------
        loss : float or ndarray of shape (..., n_samples)
            The loss in standardised units.

        scale : ndarray of shape (n_features,)
            The scale that samples are divided by.

        present : ndarray of shape (n_samples, n_features) or 1.0
            True or 1 for observed values, False or 0 for missing values.

        Returns
        -------
        loss : float or ndarray of shape (..., n_samples)
            The loss in the units of X.
        """
        if not self.is_density:
            return loss * scale[0] ** self.degree
        return loss + (present * np.log(scale)).sum(axis=-1)

    def units_of_losses(self, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what turns the loss of a standardised value into that of X.

        Parameters
        ----------
        scale : ndarray of shape (n_features,)
            The scale that samples are divided by.

        Returns
        -------
        factor, offset : ndarray of shape (n_features,)
            As in `in_units`, by column.
        """
        if self.is_density:
            return np.ones_like(scale), np.log(scale)
        return scale[0] ** self.degree * np.ones_like(scale), np.zeros_like(scale)

    def loss_of_mean(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return the loss by which a column's loss is divided in a mixed table.

        Parameters
        ----------
        mean, variance : ndarray of shape (n_features,)
            The mean and the variance of X.

        Returns
        -------
        loss : ndarray of shape (n_features,)
            The loss of a constant output, in the units of X; by default 1.
        """
        return np.ones_like(mean)

    # -- initialisation

    def point_start(self, rows: Any, n_components: int) -> Any:
        """Return the linear autoencoder that initialises training.

        Parameters
        ----------
        rows : Rows
            The training samples.

        n_components : int
            The number of components.

        Returns
        -------
        start : LinearStart
            By default PCA.
        """
        return pca_start(pca_of(rows, n_components), n_components)

    def decoder_start(self, start: Any, examples: Callable[[], Any]) -> Any:
        """Replace the decoder of a linear model with one fitted to this distribution.

        Parameters
        ----------
        start : LinearStart
            The linear model with the least-squares decoder.

        examples : callable
            Returns `Examples`: inputs of the network, and the outputs that it is to give.

        Returns
        -------
        start : LinearStart
            By default the same model.
        """
        return start

    def generative_start(self, rows: Any, n_components: int, beta: float) -> Any:
        """Compute the linear latent variable model that initialises training.

        Parameters
        ----------
        rows : Rows
            The training samples.

        n_components : int
            The number of components.

        beta : float
            The weight of the KL divergence from the prior.

        Returns
        -------
        start : ProbabilisticStart
            By default probabilistic PCA.
        """
        return ppca_start(pca_of(rows, n_components), n_components, beta)

    # -- the steps of `skae._starts.glm`, in standardised units

    def intercept(self, X: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Fit a constant output to all samples.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            The samples, with any number for missing values.

        counts : ndarray of shape (n_samples, n_features or 1)
            The weight of each value: 0 for missing values.

        Returns
        -------
        intercept : ndarray of shape (n_features,)
            The output before its activation; by default the mean.
        """
        total = np.broadcast_to(counts, X.shape).sum(axis=0)
        return (counts * X).sum(axis=0) / np.where(total > 0, total, 1.0)

    def step(
        self, design: Any, X: np.ndarray, decoder: np.ndarray, ridge: np.ndarray
    ) -> np.ndarray:
        """Improve the decoder by one step.

        Parameters
        ----------
        design : Design
            The distribution of the codes of the samples, and the weight of each value.

        X : ndarray of shape (n_samples, n_features)
            The samples, with any number for missing values.

        decoder : ndarray of shape (n_design, n_features)
            The current decoder.

        ridge : ndarray of shape (n_design, n_design)
            The matrix of the ridge penalty on the decoder.

        Returns
        -------
        decoder : ndarray of shape (n_design, n_features)
            The new decoder, by default the least-squares solution.
        """
        return linear_step(design, X, ridge)

    def curvature(
        self, design: Any, X: np.ndarray, decoder: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the curvature of minus the log-density of each column at a decoder.

        Parameters
        ----------
        design : Design
            The distribution of the codes of the samples, and the weight of each value.

        X : ndarray of shape (n_samples, n_features)
            The samples, with any number for missing values.

        decoder : ndarray of shape (n_design, n_features)
            The decoder.

        Returns
        -------
        curvature : ndarray of shape (n_features,)
            The mean second derivative of minus the log-density by the output.
        slope : ndarray of shape (n_features,)
            The derivative of the output that fits a value, with respect to the input of
            the network.
        noise : ndarray of shape (n_noise,)
            The noise variances in standardised units.
        """
        mean, variance = design.outputs(decoder)
        noise = design.average((X - mean) ** 2 + variance, design.counts)
        spread = (X - design.average(X, design.counts)) ** 2
        typical = design.average(spread, design.counts).mean() or 1.0
        noise = np.maximum(noise, LEAST_NOISE * typical)
        return 1 / noise, np.ones_like(noise), np.empty(0)

    def output_unit(self, noise: np.ndarray) -> np.ndarray | float:
        """Return the unit of the decoder's output, in standardised units.

        Parameters
        ----------
        noise : ndarray
            The noise variances of the start, in standardised units.

        Returns
        -------
        unit : ndarray or float
            By default 1.
        """
        return 1.0

    def knows_enough(self, some: Any, rows: Any) -> bool:
        """Check that some of the samples are enough for the initialisation.

        Parameters
        ----------
        some, rows : Rows
            Some samples, and all samples.

        Returns
        -------
        knows_enough : bool
            By default True.
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
        """Draw samples around their means.

        Parameters
        ----------
        mean : ndarray of shape (n_samples, n_features)
            The means in the units of X.

        noise : ndarray of shape (n_noise,) or None
            The noise variances in standardised units.

        scale : ndarray of shape (n_features,)
            The scale that samples are divided by.

        rng : RandomState
            The random number generator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The samples in the units of X.

        Raises
        ------
        ValueError
            If it is a loss that is not a distribution.
        """
        raise ValueError(f"{type(self).__name__} has no samples: it is a loss.")

    def of_pca(
        self, X: np.ndarray, X_noisy: np.ndarray, n_components: int
    ) -> float | None:
        """Compute the loss of the linear model on X; None if it is not comparable.

        Parameters
        ----------
        X, X_noisy : ndarray of shape (n_samples, n_features)
            The samples that the linear model is fitted to, and those that it
            reconstructs.

        n_components : int
            The number of its components.

        Returns
        -------
        loss : float or None
            The loss in the units of `history_`.
        """
        return None


class StepwiseStarts:
    """Initialisation of likelihoods whose decoder is fitted by `skae._starts.glm`."""

    def generative_start(self, rows, n_components, beta):
        return latent_start(self, rows, n_components, beta)

    def point_start(self, rows, n_components):
        return point_start(self, rows, n_components)
