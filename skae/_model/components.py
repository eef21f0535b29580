"""Coordinates, and the components of a fit: their order, signs and variance."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from skae._data.quantiles import MOST_QUANTILES, N_QUANTILES, quantiles_of
from skae._data.statistics import degrees_of_freedom
from skae._data.validation import check_variance
from skae._model.linear_path import linear_slopes
from skae._starts.imputation import LinearGaussian
from skae._starts.scatter import rounding

#: The number of training samples whose posteriors are stored, and the seed that draws them.
MOST_SAMPLES, SAMPLES_SEED = 4096, 20152


@dataclass(frozen=True)
class Coordinates:
    """Affine maps from a graph's output to rows of X, and from its code to components.

    A row is ``mean + scale * unit * output``, and its components are
    ``(code - offset) @ rotation``, with the output and the code of the graph.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)
        The scale that standardises rows: one number, except for likelihoods in which each
        feature has its own scale.

    unit : ndarray of shape (n_features,)
        The factor from the graph's output to a standardised row.

    rotation : ndarray of shape (n_components, n_components) or None
        Its columns are orthogonal, and of equal length unless they whiten; None leaves
        the code unchanged.

    offset : ndarray of shape (n_components,) or None
    linear_model : LinearGaussian or None
        The model of X that imputes missing values; None if there is none.
    """

    mean: np.ndarray
    scale: np.ndarray
    unit: np.ndarray
    rotation: np.ndarray | None = None
    offset: np.ndarray | None = None
    linear_model: LinearGaussian | None = None

    @classmethod
    def of(cls, rows, graph):
        """Compute the initial coordinates of a fit of a graph to these rows.

        Raises
        ------
        ValueError
            If the variance of the rows is not finite.
        """
        check_variance(rows.total_variance)
        specification = graph.specification
        likelihood = specification.objective.likelihood
        mean, scale = likelihood.standardisation(rows.mean, rows.variance)
        found = cls(mean, scale, np.ones_like(mean))
        if not specification.rotates:
            return found
        size = graph.decoder.input_shape[-1]
        unit = specification.objective.code_unit(scale)
        return replace(found, rotation=unit * np.eye(size), offset=np.zeros(size))

    @property
    def imputes(self):
        """True if missing values can be imputed."""
        return self.linear_model is not None

    def imputes_in(self, rows):
        """Check whether these rows have missing values that it imputes."""
        return self.imputes and rows.has_missing

    def with_new(self, new, mean, scale, of_linear_model):
        """Set the mean and the scale of features that have had no value so far."""
        model = self.linear_model
        if model is not None:
            model = replace(model, mean=np.where(new, of_linear_model, model.mean))
        return replace(
            self,
            mean=np.where(new, mean, self.mean),
            scale=np.where(new, scale, self.scale),
            unit=np.where(new, 1.0, self.unit),
            linear_model=model,
        )

    @property
    def inverse(self):
        """The inverse of the rotation."""
        return (self.rotation / np.square(self.rotation).sum(axis=0)).T


@dataclass(frozen=True)
class Components:
    """Coordinates that rotate the code to components, and a description of these.

    `attributes` are fitted attributes of the estimator, by name.
    """

    coordinates: Coordinates
    attributes: dict

    @property
    def whitened(self):
        """The same components with unit variance, except for those of zero variance."""
        variance = self.attributes["explained_variance_"]
        real = variance > rounding(len(variance)) * variance.max()
        rotation = self.coordinates.rotation / np.sqrt(np.where(real, variance, 1.0))
        return replace(self, coordinates=replace(self.coordinates, rotation=rotation))


class Regression:
    """The linear regression of rows on their codes, accumulated batch by batch.

    Parameters
    ----------
    scale : float or ndarray of shape (n_features,)
        Rows are divided by it in the sums, as float32 needs.
    """

    def __init__(self, scale):
        self.scale = np.asarray(scale, np.float64)
        self.n_samples, self.origin = 0, None
        self.code_sum, self.row_sum, self.square, self.product = 0.0, 0.0, 0.0, 0.0

    def add(self, codes, rows, weight=None):
        """Add codes and their rows, which must be centred or nearly so."""
        if self.origin is None:  # near the mean, for precision
            self.origin = codes.mean(axis=0, dtype=np.float64)
        codes, rows = codes - self.origin, rows / self.scale.astype(rows.dtype)
        heavy = codes if weight is None else codes * weight[:, None]
        total = rows.sum(axis=0, dtype=np.float64) if weight is None else weight @ rows
        self.n_samples += len(codes) if weight is None else weight.sum()
        self.code_sum = self.code_sum + heavy.sum(axis=0)
        self.row_sum = self.row_sum + total
        self.square = self.square + codes.T @ heavy
        self.product = self.product + heavy.astype(rows.dtype).T @ rows

    @property
    def mean(self):
        """The mean of the codes."""
        return self.origin + self.code_sum / self.n_samples

    @property
    def covariance(self):
        """The unbiased covariance of the codes."""
        return self._centred(self.square, self.code_sum)

    @property
    def cross(self):
        """The unbiased covariance of the codes with the rows."""
        return self.scale * self._centred(self.product, self.row_sum)

    @property
    def slopes(self):
        """The least squares solution, of shape (n_components, n_features)."""
        return linalg.pinvh(self.covariance) @ self.cross

    def _centred(self, product, others):
        product = product - np.outer(self.code_sum, others) / self.n_samples
        return product / degrees_of_freedom(self.n_samples)


def _units(model, rows):
    """Return what rows are divided by in sums, and the unit of the variance of a feature.

    All features have the unit of X, but for those of a mixed table, each of which is
    measured by its own width.
    """
    widths = model.specification.objective.likelihood.widths(rows)
    return (rows.typical_scale or 1.0, 1.0) if widths is None else (widths, widths)


def _total_variance(coordinates, rows, unit):
    """Compute the summed variance of all features, with missing values imputed.

    The variance of the observed values alone may be less than the variance that the
    components of a linear model explain, since the model uses all values of a row.
    """
    linear_model = coordinates.linear_model
    if linear_model is not None and rows.has_missing:
        rows = rows.few if rows.is_stored else rows
        squares = linear_model.squares(rows)
    elif np.ndim(unit) == 0:
        return rows.total_variance
    else:
        squares = rows.variance * degrees_of_freedom(rows.size)
    return float((squares / np.square(unit)).sum() / degrees_of_freedom(rows.size))


def _described(coordinates, rows, total, variance, slopes, **more):
    if rows.has_missing and coordinates.rotation is not None:
        # imputed values make components correlated, so that their variances overlap
        variance = variance * min(1.0, total / (variance.sum() or 1.0))
    share = variance / total if total > 0 else np.zeros_like(variance)
    attributes = {
        "mean_": rows.mean.astype(rows.dtype),
        "components_": slopes.astype(rows.dtype),
        "explained_variance_": variance,
        "explained_variance_ratio_": share,
        "n_components_": len(variance),
        "n_samples_": rows.size,
    }
    return Components(coordinates, attributes | more)


def _start_slopes(model):
    """Return the exact slopes of a linear start; None if they depend on the code."""
    if model.specification.objective.likelihood.is_linear:
        return linear_slopes(model.weights, model.coordinates)
    return None


def of_code(model, rows, variance=None, some=None):
    """Compute the components of an autoencoder's code.

    A linear code is rotated: the components are centred, uncorrelated and in decreasing
    order of variance. The sign of each agrees with its nearest initial component.
    The overall scale makes the components' variances add up to the variance of the rows
    that the reconstruction explains, as in PCA. A code behind an activation stays
    unchanged.

    Parameters
    ----------
    model : Fitted
        With the coordinates that the fit began with.

    rows : Rows
    variance : ndarray of shape (n_components,) or None
        The components' variance if it is known. The code is then in order already.

    some : Rows or None, default=None
        Not used here.
    """
    coordinates, slopes = model.coordinates, None
    scale, unit = _units(model, rows)
    total = _total_variance(coordinates, rows, unit)
    if variance is not None:
        left, slopes = total - variance.sum(), _start_slopes(model)
    if slopes is None:
        regression, unexplained = _reconstructed(model, rows, scale, unit)
        slopes = regression.slopes
    if variance is None:
        variance, left = np.diag(regression.covariance), unexplained
        if coordinates.rotation is not None:
            explained = total - unexplained
            coordinates, variance, slopes = _turned(coordinates, regression, explained)
    noise = _mean_discarded(rows, total, len(variance), left)
    return _described(coordinates, rows, total, variance, slopes, noise_variance_=noise)


def _reconstructed(model, rows, scale, unit):
    """Regress reconstructions on codes, and compute the unexplained variance."""
    scale = np.asarray(scale, rows.dtype)
    regression, unexplained = Regression(scale), 0.0
    mean = rows.mean.astype(rows.dtype)
    for batch in rows.batches(model.batch_rows):
        X = rows.dense(batch)
        codes = model.encode(X)
        output = model.decode(codes).reshape(X.shape)
        own = model.specification.objective.likelihood.like(X, output)
        error = (X - own) / scale
        error = np.nan_to_num(error) if rows.has_nan else error
        weight = rows.weight_of(batch)
        squared = np.einsum("ij,ij->i", error, error, dtype=np.float64)
        unexplained += squared.sum() if weight is None else weight @ squared
        regression.add(codes, output - mean, weight)
    to_unit = 1.0 if np.ndim(unit) else float(scale) ** 2
    unexplained *= to_unit / degrees_of_freedom(rows.size)
    return regression, unexplained * (1 if rows.series else rows.share_present**-1)


def _turned(coordinates, regression, explained):
    """Compute coordinates of uncorrelated components, their variances and slopes."""
    widths = np.sqrt(np.square(coordinates.rotation).sum(axis=0))
    widths /= widths[0]  # differ if this fit continues one that whitened
    offset = coordinates.offset + regression.mean @ coordinates.inverse
    variance, axes = linalg.eigh(regression.covariance / np.outer(widths, widths))
    variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])
    factor = 1.0
    if explained > 0 and variance.sum() > 0:
        factor = math.sqrt(explained / variance.sum())
    turn = axes / widths[:, None] * factor
    real = variance > rounding(len(variance)) * variance[0]
    variance = variance * factor**2
    slopes = turn.T @ regression.cross / np.where(real, variance, np.inf)[:, None]
    turned = coordinates.rotation @ turn
    return replace(coordinates, rotation=turned, offset=offset), variance, slopes


def _mean_discarded(rows, total, n_components, left):
    """Compute the mean variance of the discarded axes, as in PCA; 0 if it is rounding.

    Imputed values have variance on all axes, however few the rows are.
    """
    side = rows.n_features if rows.has_missing else min(rows.size, rows.n_features)
    if side <= n_components or left <= rounding(side) * total:
        return 0.0
    return float(left) / (side - n_components)


def of_posterior(model, rows, variance=None, some=None):
    """Compute the components of a variational autoencoder's code.

    Components are in decreasing order of the KL divergence of their posterior from the
    prior, and have the signs that PCA would give them. They are not rotated, so that the
    components stay independent in the posterior.

    Parameters
    ----------
    model : Fitted
        With the coordinates that the fit began with.

    rows : Rows
    variance : ndarray of shape (n_components,) or None
        The components' variance if it is known.

    some : Rows or None, default=None
        Samples for the distribution of the codes and of the columns, if the rows are
        points that stand for others. None is the rows.
    """
    (scale, unit), kl = _units(model, rows), 0.0
    of_rows, of_output = Regression(scale), Regression(scale)
    mean, rotation = rows.mean.astype(rows.dtype), model.coordinates.rotation
    slopes = None if variance is None else _start_slopes(model)
    for batch in rows.batches(model.batch_rows):
        X = model.imputed(rows.dense(batch))
        z, log_variance = (np.float64(found) for found in model.posterior(X))
        rest = np.expm1(log_variance) - log_variance
        weight = rows.weight_of(batch)
        divergence = (z**2 + rest) / 2
        kl = kl + (divergence.sum(axis=0) if weight is None else weight @ divergence)
        centered = np.nan_to_num(X - mean) if rows.has_nan else X - mean
        of_rows.add(z, centered, weight)
        if slopes is None:
            output = model.decode((z @ rotation).astype(rows.dtype))
            of_output.add(z, output.reshape(X.shape) - mean, weight)
    if slopes is None:
        slopes = of_output.slopes
    variance, loadings = np.diag(of_rows.covariance), of_rows.cross
    kl = np.maximum(kl / rows.size, 0)

    order = np.argsort(-kl, kind="stable")
    largest = loadings[np.arange(len(kl)), np.abs(loadings).argmax(axis=1)]
    matrix = np.eye(len(kl))[:, order] * np.where(largest < 0, -1.0, 1.0)[order]
    explained = np.zeros(len(kl))
    np.divide(
        ((loadings / unit) ** 2).sum(axis=1), variance, out=explained, where=variance > 0
    )
    coordinates, slopes = replace(model.coordinates, rotation=matrix), matrix.T @ slopes
    total = _total_variance(coordinates, rows, unit)
    drawn = _of_samples(model, rows if some is None else some, np.abs(matrix), matrix)
    kl = {"kl_per_component_": kl[order]}
    return _described(coordinates, rows, total, explained[order], slopes, **kl, **drawn)


def _of_samples(model, rows, sizes, matrix):
    """Compute the posteriors of some samples, and quantiles of their numbers.

    Parameters
    ----------
    model : Fitted
    rows : Rows
    sizes, matrix : ndarray of shape (n_components, n_components)
        The rotations of standard deviations and means to the components.
    """
    rng, weight = np.random.default_rng(SAMPLES_SEED), rows.weight
    if len(rows) > MOST_SAMPLES:
        share = None if weight is None else weight / weight.sum()
        index = rng.choice(len(rows), MOST_SAMPLES, replace=weight is not None, p=share)
        rows, weight = rows.take(np.sort(index)), None
    numbers = model.specification.objective.likelihood.numbers(rows.n_features)
    quantiles = None
    if len(numbers) * N_QUANTILES <= MOST_QUANTILES:
        quantiles = quantiles_of(rows.dense(slice(None))[:, numbers], weight)
    posteriors = np.empty((len(rows), 2, len(matrix)), np.float32)
    for batch in rows.batches(model.batch_rows):
        X = rows.dense(batch)
        mean, log_variance = model.posterior(X)
        posteriors[batch, 0] = mean @ matrix
        posteriors[batch, 1] = model.deviation(X, log_variance) @ sizes
    if weight is not None:
        index = rng.choice(len(rows), len(rows), p=weight / weight.sum())
        posteriors = posteriors[index]
    return {"posteriors_": posteriors, "quantiles_": quantiles}
