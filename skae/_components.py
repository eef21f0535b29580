"""Coordinates, and the components that a fit ends at: their order, signs and variance."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class Coordinates:
    """Where a graph's numbers are in the space of X, and how its code is turned.

    A row is ``mean + scale * unit * output``, and its components are
    ``(code - offset) @ rotation``, both in the graph's own numbers.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
    scale : float
        What rows are standardised by.

    unit : ndarray of shape (n_features,)
        What the graph's output is multiplied by to be a standardised row.

    rotation : ndarray of shape (n_components, n_components) or None
        An orthogonal matrix times a number; None leaves the code as it is.

    offset : ndarray of shape (n_components,) or None
    """

    mean: np.ndarray
    scale: float
    unit: np.ndarray
    rotation: np.ndarray | None = None
    offset: np.ndarray | None = None

    @classmethod
    def of(cls, rows, graph):
        """Those that a fit of a graph to these rows begins with.

        Raises
        ------
        ValueError
            If the variance of the rows is not finite.
        """
        if not np.isfinite(rows.total_variance):
            raise ValueError(
                "X's values are too large: their variance is not finite. Scale X."
            )
        specification = graph.specification
        mean, scale = rows.mean, rows.typical_scale or 1.0
        if not specification.objective.likelihood.standardises:
            mean, scale = np.zeros_like(mean), 1.0
        found = cls(mean, scale, np.ones_like(mean))
        if not specification.rotates:
            return found
        size = graph.decoder.input_shape[-1]
        unit = specification.objective.code_unit(scale)
        return replace(found, rotation=unit * np.eye(size), offset=np.zeros(size))

    @property
    def inverse(self):
        """The inverse of the rotation."""
        return self.rotation.T / np.square(self.rotation[0]).sum()


@dataclass(frozen=True)
class Components:
    """Coordinates with the code turned to components, and what these are.

    `attributes` are fitted attributes of the estimator, by name.
    """

    coordinates: Coordinates
    attributes: dict


def _described(coordinates, rows, variance, **more):
    total = rows.total_variance
    share = variance / total if total > 0 else np.zeros_like(variance)
    attributes = {
        "mean_": rows.mean.astype(rows.dtype),
        "explained_variance_": variance,
        "explained_variance_ratio_": share,
        "n_components_": len(variance),
    }
    return Components(coordinates, attributes | more)


def of_code(model, rows, variance=None):
    """The components of an autoencoder's code.

    A linear code is turned to be centred, uncorrelated and in falling order of variance,
    each component in the direction of the starting one that it lies nearest to. Its
    overall scale is set so that the components' variances add up to the variance of the
    rows that the reconstruction explains, as PCA's do. A code behind an activation stays
    as it is.

    Parameters
    ----------
    model : Fitted
        With the coordinates that the fit began with.

    rows : Rows
    variance : ndarray of shape (n_components,) or None
        The components' variance where it is known: then the code is in order already.
    """
    coordinates, total = model.coordinates, rows.total_variance
    if variance is not None:
        return _described(coordinates, rows, variance)
    if coordinates.rotation is None:
        scaler = StandardScaler()
        for batch in rows.batches(model.batch_rows):
            scaler.partial_fit(model.encode(rows.dense(batch)))
        unbiased = len(rows) / max(len(rows) - 1, 1)
        return _described(coordinates, rows, scaler.var_ * unbiased)
    codes, unexplained = [], 0.0
    scale = rows.dtype.type(rows.typical_scale or 1.0)
    for batch in rows.batches(model.batch_rows):
        X = rows.dense(batch)
        codes.append(model.encode(X))
        error = (X - model.decode(codes[-1]).reshape(X.shape)) / scale
        error = np.nan_to_num(error) if rows.has_missing else error
        unexplained += np.einsum("ij,ij", error, error, dtype=np.float64)
    codes = np.concatenate(codes).astype(np.float64)
    covariance = np.atleast_2d(np.cov(codes, rowvar=False))
    found, axes = linalg.eigh(covariance)
    found, axes = np.maximum(found[::-1], 0), axes[:, ::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])
    explained = total - unexplained * float(scale) ** 2 / (len(codes) - 1)
    factor = 1.0
    if explained > 0 and found.sum() > 0:
        factor = math.sqrt(explained / found.sum())
    turned = coordinates.rotation @ axes * factor
    offset = coordinates.offset + codes.mean(axis=0) @ coordinates.inverse
    coordinates = replace(coordinates, rotation=turned, offset=offset)
    return _described(coordinates, rows, found * factor**2)


def of_posterior(model, rows, variance=None):
    """The components of a variational autoencoder's code.

    They are ordered by the divergence of their posterior from the prior, in falling
    order, and have the signs that PCA would give them; they are not turned, which keeps
    the posterior's components independent.
    """
    moment, loadings, kl, square = 0.0, 0.0, 0.0, 0.0
    mean = rows.mean.astype(rows.dtype)
    for batch in rows.batches(model.batch_rows):
        X = rows.dense(batch)
        z, log_variance = (np.float64(found) for found in model.posterior(X))
        surplus = np.expm1(log_variance) - log_variance
        kl = kl + (z**2 + surplus).sum(axis=0) / 2
        moment, square = moment + z.sum(axis=0), square + (z**2).sum(axis=0)
        centered = np.nan_to_num(X - mean) if rows.has_missing else X - mean
        loadings = loadings + z.astype(rows.dtype).T @ centered
    n_samples = len(rows)
    variance = (square - moment**2 / n_samples) / max(n_samples - 1, 1)
    loadings /= max(n_samples - 1, 1)
    kl = np.maximum(kl / n_samples, 0)

    order = np.argsort(-kl, kind="stable")
    largest = loadings[np.arange(len(kl)), np.abs(loadings).argmax(axis=1)]
    matrix = np.eye(len(kl))[:, order] * np.where(largest < 0, -1.0, 1.0)[order]
    explained = np.zeros(len(kl))
    np.divide((loadings**2).sum(axis=1), variance, out=explained, where=variance > 0)
    coordinates = replace(model.coordinates, rotation=matrix)
    return _described(coordinates, rows, explained[order], kl_per_component_=kl[order])
