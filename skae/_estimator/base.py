"""BaseAutoencoder: the bookkeeping that all estimators share."""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from os import PathLike
from typing import Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted

from skae._data.validation import (
    above_rank,
    drift,
    empty_features,
    heavy_tails,
    imputes,
    maybe_cut,
    unknown_levels,
)
from skae._estimator import files
from skae._estimator.attributes import FittedViews
from skae._estimator.checks import FitChecks
from skae._estimator.constraints import CONSTRAINTS
from skae._estimator.inference import FittedMethods
from skae._estimator.streamed import DESCRIBED, SETTLING, StreamedAttributes
from skae._model import components
from skae._utils.keras import import_keras
from skae._utils.params import TunableDefaults
from skae._utils.sklearn import (
    CallbackSupportMixin,
    all_or_nothing,
    clone_parameters,
    fit_context,
    with_callbacks,
)
from skae._utils.typing import MatrixLike
from skae._utils.warnings import warn_user
from skae.networks._dense import network_of


class BaseAutoencoder(
    TunableDefaults,
    FitChecks,
    StreamedAttributes,
    FittedViews,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    FittedMethods,
    BaseEstimator,
):
    """Base class of the autoencoders: all bookkeeping of fit.

    A subclass has one hook: `_objective(rows, missing)` returns the objective, such as a
    `Reconstruction`. Everything else is here, in `fitting`, and for fitted models in
    `inference` and `attributes`.
    """

    _parameter_constraints: dict = CONSTRAINTS

    _objects: dict = {"network": network_of}

    # -- fitting

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        sample_weight: ArrayLike | None = None,
        X_val: MatrixLike | None = None,
    ) -> Self:
        """Fit the model to X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, ...)
            The training samples.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Integer weights are equivalent to repeating samples, and 0
            leaves a sample out. None is 1.

        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or (n_val, ...), \
                default=None
            Validation samples, with the columns and the shape of X. They replace the
            samples that `validation_fraction` and `n_splits` would set aside. A grid
            search splits it where it has as many samples as X, and a warning is issued.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is invalid; the message names it.
        """
        with all_or_nothing(self):
            return self._fit(X, sample_weight, X_val=X_val)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on X, continuing from the last call.

        Training begins at the call with which more than five samples for each component
        have been seen. It begins on all samples so far, and their mean and variance
        standardise the samples of all calls. Until then the model is the closed-form
        initialisation of all samples; a first call needs at least two. Early stopping is
        not used. `mean_` is the mean of the values of all calls. The components, with
        their scale, order and signs, are those of some 2,000 samples drawn from all
        calls, and are computed on demand.

        With ``max_iter=0`` no call trains: the model stays linear, and is the closed-form
        model of the samples of all calls, as if `fit` had been given them at once. Beyond
        some 2,000 samples, which are stored, that needs samples without missing values,
        and a loss or likelihood whose initialisation depends on their mean and covariance
        alone.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples of this call.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. Integer weights are equivalent to repeating samples, and 0
            leaves a sample out. None is 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Warns
        -----
        UserWarning
            If the mean of X is more than three standard deviations from that of the first
            call. Pass samples in random order.
        """
        with all_or_nothing(self):
            return self._fit_call(X, sample_weight)

    def _fit(self, X, sample_weight=None, **more):
        """Check everything, fit, and set the fitted attributes.

        Parameters become values here, and `skae._training.fitting.fit` does the rest.
        Rows that accompany X are passed on to `_given`.
        """
        before = getattr(self, "_state", None) if self.warm_start else None
        given = self._given(X, sample_weight, before, **more)
        import_keras()
        from skae._training.fitting import fit
        from skae._training.monitor import watches
        from skae._training.plan import Plan

        plan = Plan.of(
            *(self, given.rows, given.objective, before),
            watched=watches(self),
            validated=given.held_out is not None,
        )
        specification = self._specification(given, plan.seed, before)
        with self._monitor(given, specification, plan) as monitor:
            held_out, describe = given.held_out, monitor.describe
            rows = (given.rows, specification, plan, describe, monitor)
            fitted = fit(*rows, held_out=held_out, before=before)
        found = {"_state": fitted.state, **fitted.attributes}
        self._settle(found, given, fitted.course, before)
        cut = maybe_cut(X, **more)
        above = above_rank(specification, given.rows)
        self._warn(fitted.course.trouble, *self._doubts(given, before), cut, above)
        return self

    def _fit_call(self, X, sample_weight=None, **more):
        """Check everything and train, as `_fit` does, for a call of `partial_fit`."""
        streams = "_undescribed" in vars(self)  # components are not computed yet
        before = self._last_state if streams else getattr(self, "_state", None)
        given = self._given(X, sample_weight, before, streams=True, **more)
        import_keras()
        from skae._training.plan import Plan
        from skae._training.streaming import advance

        plan = Plan.of_call(self, given.rows, given.objective, before)
        specification = self._specification(given, plan.seed, before)
        n_before = 0 if before is None else self.n_samples_
        with self._monitor(given, specification, plan) as monitor:
            rows = (given.rows, specification, plan, monitor)
            undescribed, course = advance(*rows, before, n_before)
        found = {"_undescribed": undescribed, **undescribed.attributes}
        self._settle(found, given, course, before)
        drifted = None
        if before is None:
            self._describe(given.rows)
        elif before.has_trained and plan.training.max_iter:
            place = self._last_state.coordinates
            drifted = drift(given.rows, place.mean, place.scale)
        self._warn(course.trouble, drifted, *self._doubts(given, before))
        return self

    @contextmanager
    def _monitor(self, given, specification, plan):
        """Make the monitor of a fit, for callbacks and `verbose`, and close it."""
        from skae._training.beginning import described
        from skae._training.monitor import Monitor

        describe = partial(
            described,
            specification=specification,
            rows=given.rows,
            seed=plan.seed,
            components=self._components,
        )
        shown = given.rows.shown(specification.row_shape)
        with closing(Monitor(self, shown, plan=plan, describe=describe)) as monitor:
            yield monitor

    def _settle(self, found, given, course, before):
        """Replace the fitted attributes of an earlier fit."""
        history = course.after({} if before is None else self.history_)
        start_loss = course.start if before is None else self.start_loss_
        network = given.network
        with SETTLING:
            for name in ("_undescribed", *DESCRIBED):
                vars(self).pop(name, None)
            vars(self).update(found, _built={}, network_=network, history_=history)
            self.start_loss_ = start_loss

    def _doubts(self, given, before):
        """Return the warnings about the data and the network of a first fit."""
        if before is not None:
            return [unknown_levels(self.table_, given.rows.given)]
        heavy = heavy_tails(self.table_, given.rows)
        return [empty_features(self, given.rows), given.network._doubt, heavy]

    def _warn(self, *warnings):
        for warning in warnings:
            if warning is not None:
                warn_user(warning)

    #: Maps a fitted model, rows and known variances to components.
    _components = staticmethod(components.of_code)

    # -- state

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to a file, which :func:`skae.load` reads.

        The file is a zip of JSON and raw arrays and holds no code, so it is safe to load
        wherever it comes from. An existing file is replaced only when the new one has
        been written completely.

        Parameters
        ----------
        path : str or path-like
            The file, with any name, such as "autoencoder.skae".

        Raises
        ------
        TypeError
            If a parameter is neither a number, a string, an array nor a network, noise
            or likelihood of skae: a function, a Keras object, a `RandomState`. The
            message names it.

        See Also
        --------
        skae.load : Loads the file.
        """
        check_is_fitted(self)
        self._validate_params()
        self._describe()
        files.write(path, self)

    def _of_fold(self, state, attributes):
        """Return this estimator with a model that its fit has trained on some rows."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), **attributes, _state=state, _built={})
        return other

    def __sklearn_clone__(self):
        copy = clone_parameters(self)
        copy.init = self.init  # of which a clone would not be fitted
        return copy

    def __getstate__(self):
        """Return parameters and plain arrays, from which models are built again."""
        self._describe()
        state = dict(super().__getstate__())
        if "_built" in state:
            state["_built"] = {}
        return state

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = imputes(self.network)
        tags.input_tags.three_d_array = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
