"""Scorer: a fitted model with what its scores of rows are measured by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_random_state, gen_batches, get_tags

from skae._data.rows import VALUES_AT_ONCE
from skae._data.series import padded
from skae._model.mixture import Mixture
from skae._utils.sklearn import safe_indexing

#: The minimum variance of an error, as a fraction of the mean variance of a feature.
LEAST_ERROR = 1e-3

#: The largest number of codes that a mixture is fitted to.
MOST_CODES = 10_000


def reconstructs(model):
    """Check whether a model encodes and decodes."""
    return hasattr(model, "transform") and hasattr(model, "inverse_transform")


@dataclass(frozen=True)
class Moments:
    """Moments of the features' contributions to a score, to score incomplete rows.

    Parameters
    ----------
    mean, variance : ndarray of shape (n_features,)
        The mean and variance of each feature's contribution, over the rows in which the
        feature is observed.

    covariance : float
        The mean covariance of the contributions of two features.
    """

    mean: np.ndarray
    variance: np.ndarray
    covariance: float

    @classmethod
    def of(cls, parts, weight):
        """Compute the moments of contributions by row and feature; NaN is missing."""
        there = ~np.isnan(parts)
        count = np.maximum(weight @ there, np.finfo(float).tiny)
        mean = weight @ np.nan_to_num(parts) / count
        deviations = np.where(there, parts - mean, 0.0)
        squares, n_there = (deviations**2).sum(axis=1), there.sum(axis=1)
        pairs = weight @ (n_there * (n_there - 1))
        between = weight @ (deviations.sum(axis=1) ** 2 - squares)
        covariance = max(between / pairs, 0.0) if pairs > 0 else 0.0
        return cls(mean, weight @ deviations**2 / count, covariance)

    def totals(self, parts):
        """Sum the contributions of each row, extrapolated to all features.

        The sum over all features is assumed to be as many standard deviations above its
        expectation as the sum over the observed features is.
        """
        there = ~np.isnan(parts)
        total, some = np.nansum(parts, axis=1), ~there.all(axis=1)
        here = there[some]
        width = np.sqrt(self._variance(here))
        off = (total[some] - here @ self.mean) / np.where(width > 0, width, np.inf)
        every = np.ones((1, len(self.mean)), bool)
        total[some] = self.mean.sum() + off * np.sqrt(self._variance(every))
        return total

    def _variance(self, there):
        n_there = there.sum(axis=1)
        return there @ self.variance + n_there * (n_there - 1) * self.covariance


@dataclass(frozen=True)
class Robust:
    """The usual size of errors and the density of codes, of which a score is made.

    Parameters
    ----------
    error_variance : ndarray of the shape of a row
    codes : Mixture
    moments : Moments
    """

    error_variance: np.ndarray
    codes: Mixture
    moments: Moments | None = None

    @classmethod
    def of(cls, squares, codes, least, weight, n_normals=None):
        """Measure squared errors, NaN where missing, and codes of weighted rows.

        Parameters
        ----------
        squares : ndarray of shape (n_samples, ...)
        codes : ndarray of shape (n_samples, n_components)
        least : float
            The minimum variance of an error.

        weight : ndarray of shape (n_samples,)
        n_normals : int or None, default=None
            The number of normals; None chooses it.
        """
        flat = _flat(squares)
        there = np.maximum(weight @ ~np.isnan(flat), np.finfo(float).tiny)
        variance = (weight @ np.nan_to_num(flat) / there + least).reshape(
            squares.shape[1:]
        )
        some, codes = slice(None), np.asarray(codes, np.float64)
        if len(codes) > MOST_CODES:
            some = check_random_state(0).permutation(len(codes))[:MOST_CODES]
        given = codes[some], weight[some]
        if n_normals is None:
            mixture = Mixture.by_bic(*given, seed=0)
        else:
            mixture = Mixture.by_em(*given, n_normals, seed=0)
        robust = cls(variance, mixture)
        parts = np.where(np.isnan(squares), np.nan, robust.of_features(squares))
        return replace(robust, moments=Moments.of(_flat(parts), weight))

    def of_features(self, squares):
        """Measure how abnormal each feature is; 0 where it is missing."""
        return np.log1p(np.nan_to_num(squares) / self.error_variance)

    def scores(self, squares, codes):
        """Score rows by their squared errors and codes."""
        of_code = self.codes.log_density_of_t(codes)
        parts = _flat(self.of_features(squares))
        if not np.isnan(squares).any():
            return of_code - parts.sum(axis=1)
        parts = np.where(np.isnan(_flat(squares)), np.nan, parts)
        return of_code - self.moments.totals(parts)


@dataclass(frozen=True)
class Scorer:
    """A fitted model that scores rows and their features.

    Parameters
    ----------
    model : object
        The fitted model.

    robust : Robust or None, default=None
        Scores by errors and codes; None scores by the model's own score, if it has one.

    moments : Moments or None, default=None
        The moments of the features' contributions to the model's own score.
    """

    model: Any
    robust: Robust | None = None
    moments: Moments | None = None

    @classmethod
    def of(cls, model, X, weight, by_errors, n_normals=None):
        """Measure the errors and codes, or the scores, of weighted rows."""
        scorer = cls(model)
        if by_errors:
            found = [
                (*scorer.errors(rows), scorer._variance(rows)) for rows in dense(X, model)
            ]
            squares, codes, variances = zip(*found, strict=True)
            squares, codes = np.concatenate(squares), np.concatenate(codes)
            least = LEAST_ERROR * np.mean(variances) or 1.0
            return cls(model, Robust.of(squares, codes, least, weight, n_normals))
        if get_tags(model).input_tags.allow_nan and hasattr(model, "score_features"):
            parts = np.concatenate([scorer._parts(rows) for rows in dense(X, model)])
            return cls(model, moments=Moments.of(parts, weight))
        return scorer

    @property
    def n_normals(self):
        """The number of normals of the density of codes; None without one."""
        return None if self.robust is None else len(self.robust.codes.weights)

    def scores(self, X):
        """Score rows: the lower, the more abnormal."""
        return np.concatenate([self._scores(rows) for rows in dense(X, self.model)])

    def _scores(self, X):
        if self.robust is not None:
            return self.robust.scores(*self.errors(X))
        if hasattr(self.model, "score_samples"):
            scores = np.asarray(self.model.score_samples(X), np.float64)
            if self.moments is not None and self._missing(X).any():
                some = _flat(self._missing(X)).any(axis=1)
                rows = safe_indexing(X, np.flatnonzero(some))
                scores[some] = self.moments.totals(self._parts(rows))
            return scores
        errors, _ = self.errors(X)
        return -np.nansum(_flat(errors), axis=1)

    def features(self, X):
        """Score the features of rows."""
        return np.concatenate([self._features(rows) for rows in dense(X, self.model)])

    def _features(self, X):
        if self.robust is not None:
            squares, codes = self.errors(X)
            found = -self.robust.of_features(squares)
            rest = self.robust.scores(squares, codes) - _flat(found).sum(axis=1)
            return found + _shared_out(rest, ~self._missing(X))
        if hasattr(self.model, "score_features"):
            found = np.asarray(self.model.score_features(X))
            if self.moments is None or not self._missing(X).any():
                return found
            rest = self._scores(X) - _flat(found).sum(axis=1)
            return found + _shared_out(rest, ~self._missing(X))
        noise = getattr(self.model, "noise_variance_", None)
        errors, _ = self.errors(X)
        return -errors / (noise if np.ndim(noise) == 1 else 1.0)

    def errors(self, X):
        """Return the squared error of each reconstructed value of X, and the codes."""
        if hasattr(self.model, "_errors_and_codes"):  # on the scale of each row
            return self.model._errors_and_codes(X)
        codes = self.model.transform(X)
        X_back = self.model.inverse_transform(codes)
        try:
            X, X_back, codes = map(_numbers, (X, X_back, codes))
        except ValueError as error:
            raise ValueError(
                f"X, or what transform and inverse_transform of {self.model!r} make of"
                " it, is not of numbers, so that it has no squared errors: use an estimator"
                f" of skae, which takes mixed tables, or encode X. {error}"
            ) from error
        return np.square(np.subtract(X, X_back, dtype=np.float64)), codes

    def _missing(self, X):
        """Return where values of X are missing, in a mixed table by its columns."""
        if sparse.issparse(X):
            return np.zeros(1, bool)
        table = getattr(self.model, "table_", None)
        return np.isnan(_numbers(X)) if table is None else table.missing(X)

    def _parts(self, X):
        """Return each feature's contribution to the model's score, NaN where X is."""
        parts = _flat(np.asarray(self.model.score_features(X)))
        return np.where(_flat(self._missing(X)), np.nan, parts)

    def _variance(self, X):
        """Return the mean variance of a value; 1 for a table, which has a unit each."""
        if getattr(self.model, "table_", None) is not None:
            return 1.0
        X = np.asarray(_numbers(X), np.float64)
        there = np.maximum((~np.isnan(X)).sum(axis=0), 1)
        return np.nanmean((X - np.nansum(X, axis=0) / there) ** 2)


def _shared_out(rest, there):
    """Divide one number for each row equally among its observed values."""
    places = tuple(range(1, there.ndim))
    return there * np.expand_dims(rest / np.maximum(there.sum(axis=places), 1), places)


def _flat(rows):
    return rows.reshape(len(rows), -1)


def _numbers(X):
    return check_array(X, allow_nd=True, ensure_all_finite="allow-nan")


def dense(X, model):
    """Yield X in memory, or the rows of a sparse X as dense arrays, some at a time.

    Many models, such as PCA, accept sparse input in `transform` only. Lists of series are
    padded as the model pads them.
    """
    if not sparse.issparse(X):
        X = X.compute() if hasattr(X, "compute") else X  # Dask's
        if hasattr(model, "network_"):
            shape = model._last_state.specification.row_shape
            X = padded(X, model.network_, shape=shape)
        yield X
        return
    for some in gen_batches(X.shape[0], max(1, VALUES_AT_ONCE // X.shape[1])):
        yield X.tocsr()[some].toarray()
