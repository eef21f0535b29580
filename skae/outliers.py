"""Outliers: rows that a model of the usual rows reconstructs badly, or finds improbable."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import check_array, gen_batches, get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _num_samples, check_is_fitted

from skae._autoencoder import AutoencoderTransformer
from skae._rows import VALUES_AT_ONCE
from skae._sklearn import all_or_nothing, available_if, fit_context
from skae._typing import MatrixLike

__all__ = ["ReconstructionOutlierDetector"]


def _reconstructs(model):
    return hasattr(model, "transform") and hasattr(model, "inverse_transform")


def _scores_features(detector):
    """Whether the detector's model says something of single features."""
    model = detector._model()
    return hasattr(model, "score_features") or _reconstructs(model)


class ReconstructionOutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier detector around any model of rows: the autoencoders, PCA, a Pipeline.

    A model of the usual rows reconstructs unusual ones badly, or finds them improbable.
    The detector takes the model's own `score_samples`, or where it has none, minus the
    squared error of its reconstruction, and sets a threshold to it.

    Parameters
    ----------
    estimator : object or None, default=None
        The model, with `score_samples`, or with `transform` and `inverse_transform`. None
        is ``AutoencoderTransformer(0.5, random_state=0)``.

    contamination : float in (0, 0.5], default=0.1
        The share of the training rows that is taken for outliers: they are those with
        the lowest scores.

    Attributes
    ----------
    estimator_ : object
        The fitted model, a clone of `estimator`.

    offset_ : float
        The threshold of `score_samples`, a percentile of the scores of the training rows.

    n_features_in_ : int
        Number of features seen during `fit`, where `estimator_` has it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where `estimator_` has them.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Needs no scaling, and no training to speak of.
    sklearn.neighbors.LocalOutlierFactor : For rows whose density differs by region.

    Notes
    -----
    Where a model has both, its own score goes before the error of its reconstruction: the
    score of a density knows how large the error of each feature usually is, and where
    rows usually lie in the code. So :class:`~sklearn.decomposition.PCA` is taken at its
    log-likelihood, also with all components, where its reconstruction has no error; rows
    of a lower rank than it has components have none. The squared error of PCA is that of
    ``AutoencoderTransformer(n_components, max_iter=0)``.

    Squared errors are dominated by the features with the largest units: put a
    :class:`~sklearn.preprocessing.StandardScaler` before the detector, in a Pipeline.

    The model reconstructs the rows that it was fitted to a little better than others, so
    that of new usual rows a share somewhat above `contamination` lies below the
    threshold.

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
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
    }

    estimator_: Any
    offset_: float

    def __init__(self, estimator: Any = None, *, contamination: float = 0.1) -> None:
        self.estimator = estimator
        self.contamination = contamination

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Fit the model to X, and set the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or of what \
                `estimator` takes
            The training rows, most of them usual.

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
            If X or a parameter is not what the detector or its model needs.
        """
        model = self._model()
        if not (hasattr(model, "score_samples") or _reconstructs(model)):
            raise TypeError(
                "estimator needs score_samples, or transform and inverse_transform, to"
                f" tell outliers, but got {model!r}."
            )
        if _num_samples(X) < 2:
            raise ValueError("A threshold needs rows to compare, but got n_samples=1.")
        with all_or_nothing(self):
            self.estimator_ = clone(model).fit(X)
            scores = self._training_scores(X)
            self.offset_ = np.percentile(scores, 100 * self.contamination)
        return self

    def _model(self):
        if self.estimator is not None:
            return self.estimator
        return AutoencoderTransformer(0.5, random_state=0)

    def _training_scores(self, X):
        """Scores of the rows that the model was fitted to, which must be finite."""
        singular = None
        try:
            scores = self._scores(X)
        except np.linalg.LinAlgError as error:
            singular = error
        if singular is not None or not np.isfinite(scores).all():
            raise ValueError(
                f"{self.estimator_!r} has no density on X, whose rows have a lower rank:"
                " give it fewer components than that, as PCA(0.95) does."
            ) from singular
        return scores

    def predict(self, X: MatrixLike) -> np.ndarray:
        """Say of each row whether it is an outlier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,)
            -1 for outliers and 1 for usual rows.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def decision_function(self, X: MatrixLike) -> np.ndarray:
        """How far the score of each row is above the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``: negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def score_samples(self, X: MatrixLike) -> np.ndarray:
        """How usual each row is.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The higher the more usual: the model's own scores, or where it has none, minus
            the squared errors of its reconstruction, summed over features.
        """
        check_is_fitted(self)
        return self._scores(X)

    def _scores(self, X):
        return np.concatenate([self._scores_of(rows) for rows in _dense(X)])

    def _scores_of(self, X):
        if hasattr(self.estimator_, "score_samples"):
            return np.asarray(self.estimator_.score_samples(X), np.float64)
        errors = self._squared_errors(X)
        return -errors.reshape(len(errors), -1).sum(axis=1)

    @available_if(_scores_features)
    def score_features(self, X: MatrixLike) -> np.ndarray:
        """How usual each feature of each row is, given the others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of the shape of X
            The higher the more usual: the model's own `score_features`, whose sum over a
            row is its score, or where it has none, minus the squared errors of its
            reconstruction, over the noise variance of each feature where the model
            has learned one for each (`noise_variance_`).
        """
        check_is_fitted(self)
        return np.concatenate([self._feature_scores_of(rows) for rows in _dense(X)])

    def _feature_scores_of(self, X):
        if hasattr(self.estimator_, "score_features"):
            return self.estimator_.score_features(X)
        noise = getattr(self.estimator_, "noise_variance_", None)
        return -self._squared_errors(X) / (noise if np.ndim(noise) == 1 else 1.0)

    def _squared_errors(self, X):
        """The squared error of each value of X, reconstructed by the model."""
        X_back = self.estimator_.inverse_transform(self.estimator_.transform(X))
        X, X_back = (check_array(rows, allow_nd=True) for rows in (X, X_back))
        return np.square(np.subtract(X, X_back, dtype=np.float64))

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


def _dense(X):
    """X, or if it is sparse, its rows as dense arrays of some rows each.

    Sparse rows are often taken by `transform` alone, as of PCA.
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
