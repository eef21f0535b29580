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

#: Fitted attributes that say what the components of the rows are.
DESCRIBED = (
    *("_state", "components_", "explained_variance_", "explained_variance_ratio_"),
    *("noise_variance_", "kl_per_component_"),
)

#: Held while fitted attributes take the place of others.
SETTLING = threading.Lock()

#: Values in a matrix, at most.
MOST_VALUES = 2**31


class BaseAutoencoder(
    FittedViews,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    FittedMethods,
    BaseEstimator,
):
    """Base class of the autoencoders: all bookkeeping of fit.

    A subclass has one hook: `_objective(rows, missing)` returns what is trained for,
    such as a `Reconstruction`. Everything else is here, in `fitting`, and for what is
    done with a fitted model in `inference` and `attributes`.
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
            The training rows.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: 2 is the row twice, and 0 leaves it out. None is 1.

        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or (n_val, ...), \
                default=None
            Rows to validate on, of the columns and the shape of X. `validation_fraction`
            and `n_splits` then play no part. A search cuts what has as many rows as X,
            of which there is a warning.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is not what the estimator needs; the message names it.
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
        """Train for one epoch on X, from where the last call left off.

        Training begins with the call by which there have been more than five rows for
        each component, on all rows so far, by whose mean and variance those of all calls
        are standardised. Until then the model is the closed form of all rows, which a
        first call may begin with as few as two. Early stopping plays no part. The mean is
        that of the values of all calls; the components, with their scale, order and
        signs, are those of some 2,000 rows, drawn from all, and are computed when they
        are asked for.

        With ``max_iter=0`` no call trains: the model stays linear, and is the closed form
        of the rows of all calls, as if `fit` had been given them at once. Beyond some
        2,000 rows, which are kept, that takes complete rows, and a loss or likelihood
        whose start depends on their mean and covariance alone.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows of this call.

        y : Ignored
            Present for API consistency.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts: 2 is the row twice, and 0 leaves it out. None is 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Warns
        -----
        UserWarning
            If the mean of X is more than three standard deviations off that of the first
            call. Pass rows in random order.
        """
        with all_or_nothing(self):
            return self._fit(X, sample_weight, one_epoch=True)

    def _fit(self, X, sample_weight=None, *, one_epoch=False, **beside):
        """Check everything, fit, and put the fitted attributes in place.

        It all happens in `fitting.fit`; parameters become values here. What comes beside
        X goes to `_read`.
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
        """The state that a fit goes on from: of a stream, before anyone has looked at it."""
        if not one_epoch and not self.warm_start:
            return None
        if one_epoch and "_undescribed" in vars(self):
            return self._last_state
        return getattr(self, "_state", None)

    @property
    def _last_state(self):
        """The state of the last fit, of a stream without a look at its components."""
        undescribed = vars(self).get("_undescribed")
        return self._state if undescribed is None else undescribed.state

    def _describe(self, rows=None):
        """Turn the code to the components of the rows of all calls of `partial_fit`."""
        while (undescribed := vars(self).get("_undescribed")) is not None:
            with numpy_defaults():
                state, attributes = undescribed.described(self._components, rows)
            with SETTLING:  # in case that another thread fits now
                if vars(self).get("_undescribed") is undescribed:
                    vars(self).update(attributes, _state=state)
                    del vars(self)["_undescribed"]

    if not TYPE_CHECKING:  # to which attributes would all be known

        def __getattr__(self, name):
            # components of a stream are looked for when they are asked for
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
        """What is given to `fit`, checked: rows, those to validate on, and their shape."""
        given = X  # which selectors of columns look at
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
        """What is trained for, and rows in its domain, NaN where a class is unknown."""
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
        """The validation rows that the user brings; None where there are none."""
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
        """The loss or likelihood that a parameter names, by column where it is a list."""
        given = getattr(self, parameter)
        columns = getattr(self, "feature_names_in_", None)
        frame = rows.given
        return by_name(given, names, rows.n_features, columns, parameter, frame)

    #: From a fitted model, rows and known variances to components.
    _components = staticmethod(components.of_code)

    def _check_same(self, specification, before):
        """Refuse to go on from a fit of another model; holes may come and go."""
        missing = specification.objective.missing
        before = replace(before, objective=replace(before.objective, missing=missing))
        if specification != before:
            raise ValueError(
                "warm_start and partial_fit go on from the last fit, but what shapes the"
                " model has changed since: network, n_components, code_activation, loss,"
                " init, or whether X_clean is given. Fit a clone, or set it back."
            )

    def _starts_linear(self):
        """Whether the linear path runs next to the network."""
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
        """The number of components to build: None leaves it to the network."""
        if self.n_components is None:
            return None
        if isinstance(self.n_components, Integral):
            self._check_room(rows)
            return int(self.n_components)
        if before is not None:
            return self.n_components_
        return len(pca_of(rows, self.n_components).components_)

    def _check_room(self, rows):
        """Refuse a code whose weights, or rotation, no machine has the memory for."""
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

        The file is a zip of JSON and raw arrays and holds no code, so that it can be
        loaded wherever it comes from. It takes the place of a file that is there only
        when all of it is written.

        Parameters
        ----------
        path : str or path-like
            The file, by any name, such as "autoencoder.skae".

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
        """Parameters and plain arrays: what is built from them is built again."""
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
        tags.input_tags.allow_nan = not reads_missing  # but as the end of a series
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
