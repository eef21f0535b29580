"""Outlier detection by the reconstruction error or the likelihood of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import check_array, gen_batches, get_tags
from sklearn.utils.validation import check_is_fitted

from skae._data.rows import VALUES_AT_ONCE
from skae._utils.sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    all_or_nothing,
    available_if,
    fit_context,
    num_samples,
    safe_indexing,
)
from skae._utils.typing import MatrixLike
from skae._utils.warnings import with_numpy_defaults
from skae._variational import VAETransformer

__all__ = ["ReconstructionOutlierDetector"]

#: The minimum variance of an error, as a fraction of the mean variance of a feature.
LEAST_ERROR = 1e-3


def _reconstructs(model):
    return hasattr(model, "transform") and hasattr(model, "inverse_transform")


def _scores_features(detector):
    """Return True if the detector's model can score single features."""
    model = vars(detector).get("estimator_", detector._model())
    return hasattr(model, "score_features") or _reconstructs(model)


@dataclass(frozen=True)
class _Footing:
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
    def of(cls, parts):
        """Compute the moments of contributions by row and feature; NaN is missing."""
        there = ~np.isnan(parts)
        count = np.maximum(there.sum(axis=0), 1)
        mean = np.nansum(parts, axis=0) / count
        deviations = np.where(there, parts - mean, 0.0)
        squares, n_there = (deviations**2).sum(axis=1), there.sum(axis=1)
        pairs = max((n_there * (n_there - 1)).sum(), 1)
        between = (deviations.sum(axis=1) ** 2 - squares).sum() / pairs
        return cls(mean, (deviations**2).sum(axis=0) / count, max(between, 0.0))

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


class ReconstructionOutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier detector based on any model of X: an autoencoder, PCA or a Pipeline.

    A model of the inliers reconstructs outliers badly, or assigns them a low likelihood.
    The detector scores a sample by its reconstruction errors and by the distance of its
    code from the mean, each relative to its usual size, or by the model's own
    `score_samples`. A threshold on the score separates outliers from inliers.

    Parameters
    ----------
    estimator : object or None, default=None
        The model, with `transform` and `inverse_transform`, or with `score_samples`. None
        is ``VAETransformer(0.4, random_state=0)``.

    score_by : {"robust", "model"}, default="robust"
        The score of a sample. "robust": minus the sum over features j and components k of
        ``log(1 + error_j**2 / error_variance_[j])`` and of ``log(1 + (code_k -
        code_mean_[k])**2 / code_variance_[k])``, as for variables with the heavy tails of
        Cauchy's distribution, so that no single feature dominates. "model": the model's
        own `score_samples`, or if it has none, minus the squared error of its
        reconstruction. A model that does not reconstruct always has its own score.

    contamination : float in (0, 0.5], default=0.1
        The fraction of outliers in the training samples: those with the lowest scores
        are taken for outliers.

    Attributes
    ----------
    estimator_ : object
        The fitted model, a clone of `estimator`.

    error_variance_ : ndarray of the shape of a row
        With "robust", the mean squared error of each feature over the training samples,
        plus a thousandth of the features' mean variance.

    code_mean_, code_variance_ : ndarrays of shape (n_components,)
        With "robust", the mean and the variance of each component over the training
        samples.

    offset_ : float
        The threshold of `score_samples`, a percentile of the scores of the training
        samples.

    n_features_in_ : int
        Number of features seen during `fit`, where `estimator_` has it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where `estimator_` has them.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Needs no scaling, and no training to speak of.
    sklearn.neighbors.LocalOutlierFactor : For samples whose density differs by region.

    Notes
    -----
    With ``score_by="model"``, a model that has both a score and a reconstruction is
    scored by its own score. So :class:`~sklearn.decomposition.PCA` is scored by its
    log-likelihood, even with all components, where its reconstruction has no error. If
    the rank of X is lower than the number of components, PCA has no log-likelihood.
    Squared errors are dominated by the features with the largest units.

    The autoencoder is trained on squared errors: put a
    :class:`~sklearn.preprocessing.StandardScaler` before the detector, in a Pipeline.

    Samples with missing values have fewer features that may be unusual. Their scores are
    made comparable with those of complete samples: the sum over all features is assumed
    to be as many standard deviations above its expectation as the sum over the observed
    features is.

    The model reconstructs its training samples slightly better than others. So the
    fraction of new inliers below the threshold is somewhat higher than `contamination`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae.outliers import ReconstructionOutlierDetector
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X_benign, X_malignant = X[y == 1], X[y == 0]
    >>> detector = make_pipeline(StandardScaler(), ReconstructionOutlierDetector())
    >>> detector = detector.fit(X_benign)
    >>> bool((detector.predict(X_malignant) == -1).mean() > 0.7)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"]), None],
        "score_by": [StrOptions({"robust", "model"})],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
    }

    estimator_: Any
    offset_: float
    error_variance_: np.ndarray
    code_mean_: np.ndarray
    code_variance_: np.ndarray

    def __init__(
        self,
        estimator: Any = None,
        *,
        score_by: Literal["robust", "model"] = "robust",
        contamination: float = 0.1,
    ) -> None:
        self.estimator = estimator
        self.score_by = score_by
        self.contamination = contamination

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Fit the model to X, and set the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or of what \
                `estimator` takes
            The training samples, most of them inliers.

        y : Ignored
            Present for API consistency.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        TypeError
            If `estimator` has neither `score_samples`, nor `transform` and
            `inverse_transform`.

        ValueError
            If X or a parameter is invalid for the detector or its model.
        """
        model = self._model()
        if not (hasattr(model, "score_samples") or _reconstructs(model)):
            raise TypeError(
                "estimator needs score_samples, or transform and inverse_transform, to"
                f" detect outliers, but got {model!r}."
            )
        if num_samples(X) < 2:
            raise ValueError("A threshold needs rows to compare, but got n_samples=1.")
        with all_or_nothing(self):
            # parameters that are set later apply to the next fit
            self._by_errors = self.score_by == "robust" and _reconstructs(model)
            self.estimator_ = clone(model).fit(X)
            scores = self._training_scores(X)
            self.offset_ = np.percentile(scores, 100 * self.contamination)
        return self

    def _model(self):
        if self.estimator is not None:
            return self.estimator
        return VAETransformer(0.4, random_state=0)

    def _learn_what_is_usual(self, X):
        """Learn the usual size of errors and codes; return the scores of X."""
        found = [(*self._errors(rows), self._variance(rows)) for rows in _dense(X)]
        squares, codes, variances = zip(*found, strict=True)
        squares, codes = np.concatenate(squares), np.concatenate(codes)
        least = LEAST_ERROR * np.mean(variances) or 1.0
        there = np.maximum((~np.isnan(squares)).sum(axis=0), 1)
        self.error_variance_ = np.nansum(squares, axis=0) / there + least
        self.code_mean_ = codes.mean(axis=0)
        variance = codes.var(axis=0)
        self.code_variance_ = np.where(variance > 0, variance, 1.0)
        of_features, _ = self._unusual(squares, codes)
        self._footing = _Footing.of(
            _flat(np.where(np.isnan(squares), squares, of_features))
        )
        return self._score_by_errors(squares, codes)

    def _learn_of_scores(self, X):
        """Learn the features' contributions to a score that must handle NaN."""
        self._footing = None
        model = self.estimator_
        if get_tags(model).input_tags.allow_nan and hasattr(model, "score_features"):
            parts = [self._parts(rows) for rows in _dense(X)]
            self._footing = _Footing.of(np.concatenate(parts))
        return self._scores(X)

    def _training_scores(self, X):
        """Return the scores of the training samples, which must be finite."""
        singular = None
        try:
            robust = self._by_errors
            learn = self._learn_what_is_usual if robust else self._learn_of_scores
            scores = learn(X)
        except np.linalg.LinAlgError as error:
            singular = error
        if singular is not None or not np.isfinite(scores).all():
            raise ValueError(
                f"{self.estimator_!r} has no density on X, whose rows have a lower rank:"
                " give it fewer components than that, as PCA(0.95) does."
            ) from singular
        return scores

    def predict(self, X: MatrixLike) -> np.ndarray:
        """Predict whether each sample is an outlier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,)
            -1 for outliers and 1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def decision_function(self, X: MatrixLike) -> np.ndarray:
        """Return the score of each sample minus the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``: negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    @with_numpy_defaults
    def score_samples(self, X: MatrixLike) -> np.ndarray:
        """Score each sample by the measure that `score_by` chooses.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The lower, the more abnormal.
        """
        check_is_fitted(self)
        return self._scores(X)

    def _scores(self, X):
        return np.concatenate([self._scores_of(rows) for rows in _dense(X)])

    def _scores_of(self, X):
        if self._by_errors:
            return self._score_by_errors(*self._errors(X))
        if hasattr(self.estimator_, "score_samples"):
            scores = np.asarray(self.estimator_.score_samples(X), np.float64)
            if self._footing is not None and self._missing(X).any():
                some = _flat(self._missing(X)).any(axis=1)
                rows = safe_indexing(X, np.flatnonzero(some))
                scores[some] = self._footing.totals(self._parts(rows))
            return scores
        errors, _ = self._errors(X)
        return -np.nansum(errors.reshape(len(errors), -1), axis=1)

    @available_if(_scores_features)
    @with_numpy_defaults
    def score_features(self, X: MatrixLike) -> np.ndarray:
        """Score each feature of each sample, given the other features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of the shape of X
            The lower, the more abnormal; 0 where X is NaN. With "robust", the
            contribution of each feature to the score; the contributions of the code and
            of missing values are divided equally among the observed features. With
            "model", the model's own `score_features`, whose sum over the features is the
            score of the sample. If the model has none, minus the squared errors of its
            reconstruction, divided by the noise variance of each feature if the model has
            learned one for each (`noise_variance_`).
        """
        check_is_fitted(self)
        return np.concatenate([self._feature_scores_of(rows) for rows in _dense(X)])

    def _feature_scores_of(self, X):
        if self._by_errors:
            return -self._unusual_features(X)
        if hasattr(self.estimator_, "score_features"):
            found = np.asarray(self.estimator_.score_features(X))
            if self._footing is None or not self._missing(X).any():
                return found
            rest = self._scores_of(X) - _flat(found).sum(axis=1)
            return found + _shared_out(rest, ~self._missing(X))
        noise = getattr(self.estimator_, "noise_variance_", None)
        errors, _ = self._errors(X)
        return -errors / (noise if np.ndim(noise) == 1 else 1.0)

    def _unusual_features(self, X):
        """Measure how unusual each feature is, with an equal part of the code's."""
        squares, codes = self._errors(X)
        of_features, _ = self._unusual(squares, codes)
        rest = -self._score_by_errors(squares, codes) - _flat(of_features).sum(axis=1)
        return of_features + _shared_out(rest, ~self._missing(X))

    def _missing(self, X):
        """Return where values of X are missing, in a mixed table by its columns."""
        if sparse.issparse(X):
            return np.zeros(1, bool)
        table = getattr(self.estimator_, "table_", None)
        return np.isnan(_numbers(X)) if table is None else table.missing(X)

    def _parts(self, X):
        """Return each feature's contribution to the model's score, NaN where X is."""
        parts = _flat(np.asarray(self.estimator_.score_features(X)))
        return np.where(_flat(self._missing(X)), np.nan, parts)

    def _variance(self, X):
        """Return the mean variance of a value; 1 for a table, which has a unit each."""
        if getattr(self.estimator_, "table_", None) is not None:
            return 1.0
        X = np.asarray(_numbers(X), np.float64)
        there = np.maximum((~np.isnan(X)).sum(axis=0), 1)
        return np.nanmean((X - np.nansum(X, axis=0) / there) ** 2)

    def _score_by_errors(self, squares, codes):
        of_features, of_code = self._unusual(squares, codes)
        if not np.isnan(squares).any():
            return -_flat(of_features).sum(axis=1) - of_code
        parts = _flat(np.where(np.isnan(squares), squares, of_features))
        return -self._footing.totals(parts) - of_code

    def _unusual(self, squares, codes):
        """Measure how unusual each feature, 0 where X is NaN, and each code is."""
        of_features = np.log1p(np.nan_to_num(squares) / self.error_variance_)
        of_code = np.log1p((codes - self.code_mean_) ** 2 / self.code_variance_)
        return of_features, of_code.sum(axis=1)

    def _errors(self, X):
        """Return the squared error of each reconstructed value of X, and the codes."""
        if hasattr(self.estimator_, "_errors_and_codes"):  # on the scale of each row
            return self.estimator_._errors_and_codes(X)
        codes = self.estimator_.transform(X)
        X_back = self.estimator_.inverse_transform(codes)
        try:
            X, X_back, codes = map(_numbers, (X, X_back, codes))
        except ValueError as error:
            raise ValueError(
                f"X, or what transform and inverse_transform of {self.estimator_!r} make of"
                " it, is not of numbers, so that it has no squared errors: use an estimator"
                f" of skae, which takes mixed tables, or encode X. {error}"
            ) from error
        return np.square(np.subtract(X, X_back, dtype=np.float64)), codes

    @property
    def n_features_in_(self) -> int:
        """Number of features seen during `fit`."""
        return _of_fitted(self, "n_features_in_")

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of features seen during `fit`."""
        return _of_fitted(self, "feature_names_in_")

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), get_tags(self._model())
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        tags.array_api_support = False
        return tags


def _shared_out(rest, there):
    """Divide one number for each row equally among its observed values."""
    places = tuple(range(1, there.ndim))
    return there * np.expand_dims(rest / np.maximum(there.sum(axis=places), 1), places)


def _flat(rows):
    return rows.reshape(len(rows), -1)


def _numbers(X):
    return check_array(X, allow_nd=True, ensure_all_finite="allow-nan")


def _dense(X):
    """Yield X, or the rows of a sparse X as dense arrays, some at a time.

    Many models, such as PCA, accept sparse input in `transform` only.
    """
    if not sparse.issparse(X):
        yield X
        return
    for some in gen_batches(X.shape[0], max(1, VALUES_AT_ONCE // X.shape[1])):
        yield X.tocsr()[some].toarray()


def _of_fitted(detector, name):
    try:
        return getattr(vars(detector)["estimator_"], name)
    except (KeyError, AttributeError):
        raise AttributeError(f"{type(detector).__name__} has no {name}.") from None
