"""BaseAutoencoder: the bookkeeping that all estimators share."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted

from skae._data.categories import known_rows
from skae._data.stored import rows_of
from skae._data.validation import (
    check_beside,
    check_reaches,
    check_weight,
    drift,
    empty_features,
    maybe_cut,
)
from skae._estimator import files
from skae._estimator.attributes import FittedViews
from skae._estimator.constraints import CONSTRAINTS
from skae._estimator.inference import FittedMethods
from skae._model import components
from skae._model.graph import Specification
from skae._starts.em import pca_of
from skae._utils.keras import import_keras
from skae._utils.params import copied
from skae._utils.sklearn import (
    CallbackSupportMixin,
    all_or_nothing,
    fit_context,
    with_callbacks,
)
from skae._utils.typing import MatrixLike
from skae._utils.warnings import numpy_defaults, warn_user
from skae.likelihoods._names import by_name
from skae.networks import DenseNetwork

#: Fitted attributes that describe the components.
DESCRIBED = (
    *("_state", "components_", "explained_variance_", "explained_variance_ratio_"),
    *("noise_variance_", "kl_per_component_"),
)

#: Held while fitted attributes are replaced.
SETTLING = threading.Lock()

#: The maximum number of values in a matrix.
MOST_VALUES = 2**31


class BaseAutoencoder(
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
            return self._fit(X, sample_weight, one_epoch=True)

    def _fit(self, X, sample_weight=None, *, one_epoch=False, **beside):
        """Check everything, fit, and assign the fitted attributes.

        `fitting.fit` does the work; parameters become values here. The other arguments
        that come with X go to `_read`.
        """
        before = self._before(one_epoch)
        network = DenseNetwork() if self.network is None else copied(self.network)
        network._validate_params()
        rows, held_out, row_shape = self._read(
            X, sample_weight, network, before, **beside
        )
        objective, rows, held_out = self._checked_objective(rows, held_out)
        import_keras()
        from skae._training import fitting
        from skae._training.monitor import Monitor
        from skae._training.plan import Plan

        validated = held_out is not None
        plan = Plan.of(self, rows, objective, before, one_epoch, validated=validated)
        specification = Specification(
            network=network,
            objective=objective,
            row_shape=row_shape,
            n_components=self._code_size(rows, before),
            code_activation=self.code_activation,
            linear=self._starts_linear(),
            seed=plan.seed,
        )
        if before is not None:
            self._check_same(specification, before.specification)

        def so_far(candidate):
            fitted = fitting.fitted(specification, candidate, rows)
            found = self._components(fitted, rows, candidate.variance)
            state = fitting.State(
                specification, candidate.weights, found.coordinates, plan.seed
            )
            attributes = {"_state": state, "_built": {}, "network_": network}
            return attributes | found.attributes

        with closing(
            Monitor(self, rows.shown(row_shape), plan=plan, so_far=so_far)
        ) as monitor:
            if one_epoch:
                more = specification, plan, monitor, before
                undescribed, course = fitting.advance(rows, *more)
                found = {"_undescribed": undescribed, **undescribed.attributes}
            else:
                fit = fitting.fit(
                    rows,
                    specification,
                    plan,
                    self._components,
                    monitor,
                    held_out=held_out,
                    before=before,
                )
                found, course = {"_state": fit.state, **fit.attributes}, fit.course
        history = course.after({} if before is None else self.history_)
        with SETTLING:
            for name in ("_undescribed", *DESCRIBED):
                vars(self).pop(name, None)
            vars(self).update(found, _built={}, network_=network, history_=history)
        if one_epoch and before is None:
            self._describe(rows)
        trains_on = one_epoch and before is not None and before.has_trained
        drifted = None
        if trains_on and plan.max_iter:
            place = self._last_state.coordinates
            drifted = drift(rows, place.mean, place.scale)
        empty = empty_features(self, rows) if before is None else None
        doubt = network._doubt if before is None else None
        for warning in (course.trouble, drifted, empty, doubt, maybe_cut(X, **beside)):
            if warning is not None:
                warn_user(warning)
        return self

    def _before(self, one_epoch):
        """Return the state to continue from, without computing a stream's components."""
        if not one_epoch and not self.warm_start:
            return None
        if one_epoch and "_undescribed" in vars(self):
            return self._last_state
        return getattr(self, "_state", None)

    @property
    def _last_state(self):
        """Return the state of the last fit, without computing a stream's components."""
        undescribed = vars(self).get("_undescribed")
        return self._state if undescribed is None else undescribed.state

    def _describe(self, rows=None):
        """Rotate the code to the components of the samples of all `partial_fit` calls."""
        while (undescribed := vars(self).get("_undescribed")) is not None:
            with numpy_defaults():
                state, attributes = undescribed.described(self._components, rows)
            with SETTLING:  # another thread may fit now
                if vars(self).get("_undescribed") is undescribed:
                    vars(self).update(attributes, _state=state)
                    del vars(self)["_undescribed"]

    if not TYPE_CHECKING:  # to a type checker, any attribute would exist

        def __getattr__(self, name):
            # the components of a stream are computed on demand
            if name in DESCRIBED and "_undescribed" in vars(self):
                self._describe()
                if name in vars(self):
                    return vars(self)[name]
            kind, why = type(self), ""
            if hasattr(kind, name) and "_state" not in vars(self):
                why = ": it is not fitted yet"
            raise AttributeError(f"{kind.__name__} has no attribute {name!r}{why}.")

    def _read(
        self,
        X,
        sample_weight,
        network,
        before,
        X_clean=None,
        X_val=None,
        X_val_clean=None,
    ):
        """Check the arguments of `fit`; return rows, validation rows and their shape."""
        given = X  # for selectors of columns, which need its names and dtypes
        X, row_shape = self._check_rows(X, network, reset=before is None)
        like = (X, row_shape, network)
        target = check_beside(self, "X_clean", X_clean, *like, paired=True)
        weight = check_weight(self, sample_weight, X)
        rows = rows_of(X, target, weight, network.allows_missing)
        rows.given = given
        held_out = self._held_out(X_val, X_val_clean, like)
        check_reaches(rows, held_out, before)
        return rows, held_out, row_shape

    def _checked_objective(self, rows, held_out):
        """Return the objective, and rows in its domain with NaN for unknown classes."""
        objective, names = self._objective(rows, False), self._feature_names(rows)
        given, several = getattr(self, objective.parameter), []
        for name, some in (("X", rows), ("X_val", held_out)):
            if some is not None:
                name = name if some.target is None else f"{name}_clean"
                objective.check(some.wanted, given, name)
                some = known_rows(objective, some, names)
            several.append(some)
        rows, held_out = several
        all_rows = [some for some in several if some is not None]
        all_rows += [some.target for some in all_rows if some.target]
        missing = rows.series or any(some.has_missing for some in all_rows)
        return replace(objective, missing=missing), rows, held_out

    def _feature_names(self, rows):
        return getattr(self, "feature_names_in_", np.arange(rows.n_features))

    def _held_out(self, X_val, X_val_clean, like):
        """Return the validation rows that the user passes; None if there are none."""
        if X_val is None:
            if X_val_clean is not None:
                raise ValueError("X_val_clean needs X_val, the noisy rows. Got None.")
            return None
        if not self.early_stopping:
            raise ValueError(
                "X_val is what early stopping looks at, but early_stopping=False."
            )
        X_val = check_beside(self, "X_val", X_val, *like)
        like = (X_val, *like[1:])
        target = check_beside(self, "X_val_clean", X_val_clean, *like, paired=True)
        return rows_of(X_val, target, None, like[2].allows_missing)

    def _by_name(self, names, parameter, rows):
        """Return the loss or likelihood that a parameter names, by column for a list."""
        given = getattr(self, parameter)
        columns = getattr(self, "feature_names_in_", None)
        frame = rows.given
        return by_name(given, names, rows.n_features, columns, parameter, frame)

    #: From a fitted model, rows and known variances to components.
    _components = staticmethod(components.of_code)

    def _check_same(self, specification, before):
        """Refuse to continue the fit of another model; missing values may differ."""
        missing = specification.objective.missing
        before = replace(before, objective=replace(before.objective, missing=missing))
        if specification != before:
            raise ValueError(
                "warm_start and partial_fit go on from the last fit, but what shapes the"
                " model has changed since: network, n_components, code_activation, loss,"
                " init, or whether X_clean is given. Fit a clone, or set it back."
            )

    def _starts_linear(self):
        """Return True if the model has a linear path parallel to the network."""
        obstacle = None
        if self.n_components is None:
            obstacle = "n_components=None, whose code is the network's own features"
        elif self.code_activation != "linear":
            obstacle = f"code_activation={self.code_activation!r}"
        if self.init == "linear" and obstacle is not None:
            raise ValueError(
                "init='linear' needs a dense, linear code (n_components a number and"
                f" code_activation='linear'), but got {obstacle}. Use init='auto' or"
                " init='random'."
            )
        return obstacle is None and self.init != "random"

    def _code_size(self, rows, before):
        """Return the number of components to build; None leaves it to the network."""
        if self.n_components is None:
            return None
        if isinstance(self.n_components, Integral):
            self._check_room(rows)
            return int(self.n_components)
        if before is not None:
            return self.n_components_
        return len(pca_of(rows, self.n_components).components_)

    def _check_room(self, rows):
        """Refuse a code whose weights or rotation do not fit into memory."""
        size = int(self.n_components)
        values = size * max(size, rows.n_features)
        if size > rows.n_features and values > MOST_VALUES:
            raise ValueError(
                f"n_components must be an int whose matrices fit into memory. Got {size},"
                f" for {rows.n_features} features: {values * 8 / 2**30:.3g} GiB each."
            )

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

    def __getstate__(self):
        """Return parameters and plain arrays; models are built again from them."""
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
        reads_missing = getattr(self.network, "allows_missing", False)
        tags.input_tags.allow_nan = not reads_missing  # except at the end of a series
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
