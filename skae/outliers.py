"""Outlier detection by the reconstruction error or the likelihood of a fitted model."""

from __future__ import annotations

from numbers import Real
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from skae._data.validation import check_weight
from skae._estimator import files
from skae._estimator.base import BaseAutoencoder
from skae._estimator.held_out import Fitting, last_of, percentile, rows_at
from skae._estimator.scorer import Robust, Scorer, reconstructs
from skae._utils.params import TunableDefaults
from skae._utils.sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    all_or_nothing,
    available_if,
    fit_context,
    num_samples,
    raise_for_params,
)
from skae._utils.typing import MatrixLike
from skae._utils.warnings import with_numpy_defaults
from skae._variational import VAETransformer

__all__ = ["ReconstructionOutlierDetector"]

#: The number of scaled median absolute deviations below the median of contamination
#: "auto", and the scale, by which the deviation of a normal is its standard deviation.
N_DEVIATIONS, SCALE = 3.0, 1.4826


def _default(_):
    """Return the model that ``estimator=None`` stands for."""
    return VAETransformer(0.8, random_state=0)


def _scores_features(detector):
    """Return True if the detector's model can score single features."""
    model = vars(detector).get("estimator_", detector._model())
    return hasattr(model, "score_features") or reconstructs(model)


def _labels_training_samples(detector):
    """Refuse `fit_predict` of a detector of novelties, as LocalOutlierFactor does."""
    if detector.novelty:
        raise AttributeError(
            "fit_predict needs novelty=False: with novelty=True, contamination is said of"
            " new samples, and predict is for these."
        )
    return True


class ReconstructionOutlierDetector(TunableDefaults, OutlierMixin, BaseEstimator):
    """Outlier detector based on any model of X: an autoencoder, PCA or a Pipeline.

    A model of the inliers reconstructs outliers badly, or assigns them a low likelihood.
    The detector scores a sample by its reconstruction errors, each relative to its usual
    size, and by the density of its code, or by the model's own `score_samples`. A
    threshold on the score separates outliers from inliers.

    Parameters
    ----------
    estimator : object or None, default=None
        The model, with `transform` and `inverse_transform`, or with `score_samples`. None
        is ``VAETransformer(0.8, random_state=0)``, on which nested parameters act too:
        ``set_params(estimator__n_components=2)``.

    score_by : {"robust", "model"}, default="robust"
        The score of a sample. "robust": the log density of its code minus the sum over
        features j of ``log(1 + error_j**2 / error_variance_[j])``, as for variables with
        the heavy tails of Cauchy's distribution, so that no single feature dominates. The
        density is a mixture, which has Student's t distributions with 4 degrees of freedom
        in place of normals. "model": the model's own `score_samples`, or if it has none,
        minus the squared error of its reconstruction. A model that does not reconstruct
        always has its own score.

    contamination : float in (0, 0.5] or "auto", default=0.1
        Determines the threshold. A float: the fraction of samples that are below it, of
        new samples that are like the training samples or of these, see `novelty`. "auto":
        three scaled median absolute deviations below the median of the scores that
        `novelty` chooses, below which are some 2 to 4 % of new inliers.

    novelty : bool, default=True
        Which scores set the threshold, as of
        :class:`~sklearn.neighbors.LocalOutlierFactor`. True: scores of training samples
        by models that have not seen them, so that `contamination` is the fraction of
        false alarms among new inliers. False: scores of the training samples by the
        model that was fitted to them, so that `contamination` is the fraction of them
        that `fit_predict` takes for outliers.

    Attributes
    ----------
    estimator_ : object
        The fitted model, a clone of `estimator`.

    error_variance_ : ndarray of the shape of a row
        With "robust", the mean squared error of each feature over the training samples,
        plus a thousandth of the features' mean variance.

    code_weights_ : ndarray of shape (n_normals,)
    code_means_ : ndarray of shape (n_normals, n_components)
    code_covariances_ : ndarray of shape (n_normals, n_components, n_components)
        With "robust", the mixture of normals that is fitted to the codes of the training
        samples. The number of normals, at most 6, is that of the least BIC. Each
        covariance is shrunk to their mean within the normals, and that to its diagonal,
        as if `n_components` further samples had it.

    offset_ : float
        The threshold of `score_samples`: see `contamination`.

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

    Where the scores of the threshold come from, with ``novelty=True``: an estimator of
    skae that stops early, alone or at the end of a Pipeline, has been validated on
    training samples that it, or with `n_splits` its like, was not trained on. These are
    scored. Every other model is fitted to four fifths of the training samples, five times,
    and scores the rest; of an estimator of skae without epochs, that takes no time to
    speak of.

    A model with outliers among its training samples learns these too: use
    ``max_iter=0`` then, or :class:`~sklearn.covariance.EllipticEnvelope`.

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
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
        "novelty": ["boolean"],
    }

    _objects: dict = {"estimator": _default}

    estimator_: Any
    offset_: float

    def __init__(
        self,
        estimator: Any = None,
        *,
        score_by: Literal["robust", "model"] = "robust",
        contamination: float | Literal["auto"] = 0.1,
        novelty: bool = True,
    ) -> None:
        self.estimator = estimator
        self.score_by = score_by
        self.contamination = contamination
        self.novelty = novelty

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        sample_weight: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Fit the model to X, and set the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or of what \
                `estimator` takes
            The training samples, most of them inliers.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights: of the threshold, of the size of errors, of the density of
            codes, and of the model, if its `fit` takes them. None is 1.

        **params : dict
            Parameters of the `fit` of the model, by metadata routing.

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
        if not (hasattr(model, "score_samples") or reconstructs(model)):
            raise TypeError(
                "estimator needs score_samples, or transform and inverse_transform, to"
                f" detect outliers, but got {model!r}."
            )
        X = X.compute() if hasattr(X, "compute") else X  # Dask's
        if num_samples(X) < 2:
            raise ValueError("A threshold needs rows to compare, but got n_samples=1.")
        weight = check_weight(self, sample_weight, X)
        if weight is not None and not weight.all():
            places = np.flatnonzero(weight)
            X, weight = rows_at(X, places), weight[places]
        params = self._params_of_model(params, weight)
        # parameters that are set later apply to the next fit
        by_errors = self.score_by == "robust" and reconstructs(model)
        counts = _counts(weight, num_samples(X))
        with all_or_nothing(self):
            fitting = Fitting(model, X, counts, by_errors, params)
            scorer, scores, of_scores = self._scored(fitting)
            self.estimator_ = scorer.model
            self._robust, self._moments = scorer.robust, scorer.moments
            self.offset_ = _threshold(scores, of_scores, self.contamination)
        return self

    def _model(self):
        if self.estimator is not None:
            return self.estimator
        return _default(None)

    def _params_of_model(self, params, weight):
        """Return the parameters of the `fit` of the model, by routing where enabled."""
        if get_config()["enable_metadata_routing"]:
            params = process_routing(self, "fit", sample_weight=weight, **params)
            return params.estimator.fit
        raise_for_params(params, self, "fit")
        model = self._model()
        if weight is None or not has_fit_parameter(last_of(model), "sample_weight"):
            return {}
        step = f"{model.steps[-1][0]}__" if isinstance(model, Pipeline) else ""
        return {f"{step}sample_weight": weight}

    def _scored(self, fitting):
        """Fit, and return the scorer, and the weighted scores that set the threshold."""
        singular = None
        try:
            scorer, folds = fitting.fitted()
            scores, weight = scorer.scores(fitting.X), fitting.weight
        except np.linalg.LinAlgError as error:
            singular = error
        if singular is not None or not np.isfinite(scores).all():
            raise ValueError(
                f"{self._model()!r} has no density on X, whose rows have a lower rank:"
                " give it fewer components than that, as PCA(0.95) does."
            ) from singular
        if self.novelty:
            scores, weight = fitting.held_out(scorer, folds)
        return scorer, scores, weight

    @available_if(_labels_training_samples)
    def fit_predict(self, X: MatrixLike, y: object = None, **params: Any) -> np.ndarray:
        """Fit to X, and predict whether each of its samples is an outlier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training samples.

        y : Ignored
            Present for API consistency.

        **params : dict
            Parameters of `fit`.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,)
            -1 for outliers and 1 for inliers.
        """
        return self.fit(X, **params).predict(X)

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
        return self._scorer.scores(X)

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
        return self._scorer.features(X)

    @property
    def _scorer(self):
        return Scorer(self.estimator_, self._robust, self._moments)

    @property
    def error_variance_(self) -> np.ndarray:
        """The usual squared error of each feature."""
        return self._usual("error_variance_").error_variance

    @property
    def code_weights_(self) -> np.ndarray:
        """The weights of the normals of the codes' density."""
        return self._usual("code_weights_").codes.weights

    @property
    def code_means_(self) -> np.ndarray:
        """The means of the normals of the codes' density."""
        return self._usual("code_means_").codes.means

    @property
    def code_covariances_(self) -> np.ndarray:
        """The covariances of the normals of the codes' density."""
        roots = self._usual("code_covariances_").codes.roots
        return roots @ np.swapaxes(roots, 1, 2)

    def _usual(self, name) -> Robust:
        found = vars(self).get("_robust")
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no {name}.")
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted detector to a file, which :func:`skae.load` reads.

        The file holds no code, as that of an estimator of skae.

        Parameters
        ----------
        path : str or path-like
            The file, with any name, such as "detector.skae".

        Raises
        ------
        TypeError
            If the model is no estimator of skae, or has a parameter that a file can't
            hold. The message names it.
        """
        check_is_fitted(self)
        self._validate_params()
        if not isinstance(self.estimator_, BaseAutoencoder):
            raise TypeError(
                "save needs an estimator of skae in the detector, which files can hold."
                f" Got {self.estimator_!r}. Pickle the detector."
            )
        values = {
            "score_by": self.score_by,
            "contamination": self.contamination,
            "novelty": self.novelty,
            "is_default": self.estimator is None,
            "offset": float(self.offset_),
            "robust": self._robust,
            "moments": self._moments,
        }
        self.estimator_._describe()
        files.write(path, self.estimator_, detector=values)

    @classmethod
    def _loaded(cls, model, is_default, offset, robust, moments, **params):
        """Return a fitted detector around a fitted model."""
        detector = cls(None if is_default else clone(model), **params)
        detector._validate_params()
        detector.estimator_, detector.offset_ = model, offset
        detector._robust, detector._moments = robust, moments
        return detector

    @property
    def n_features_in_(self) -> int:
        """Number of features seen during `fit`."""
        return _of_fitted(self, "n_features_in_")

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of features seen during `fit`."""
        return _of_fitted(self, "feature_names_in_")

    def get_metadata_routing(self):
        """Return the routing of metadata: `fit` passes them to the `fit` of the model.

        Returns
        -------
        routing : MetadataRouter
            The routing.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self._model(), method_mapping=mapping)

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), get_tags(self._model())
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        tags.array_api_support = False
        return tags


def _counts(weight, n_samples):
    """Return how often each sample counts, in total at least as often as there are some."""
    if weight is None:
        return np.ones(n_samples)
    return weight * max(1.0, len(weight) / weight.sum())


def _threshold(scores, weight, contamination):
    """Return the threshold of weighted scores."""
    if contamination != "auto":
        return percentile(scores, weight, 100 * contamination)
    median = percentile(scores, weight, 50)
    deviation = percentile(np.abs(scores - median), weight, 50)
    return median - N_DEVIATIONS * SCALE * deviation


def _of_fitted(detector, name):
    try:
        return getattr(vars(detector)["estimator_"], name)
    except (KeyError, AttributeError):
        raise AttributeError(f"{type(detector).__name__} has no {name}.") from None
