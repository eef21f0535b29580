"""Imputation of missing values by an autoencoder, as scikit-learn's imputers do it."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from skae._data.frames import as_backend, backend_of, beside, nulls, with_nulls, without
from skae._data.rows import Rows
from skae._data.table import Table
from skae._estimator.held_out import last_of
from skae._starts.hidden import Hidden, choose, mean_model
from skae._starts.imputation import LinearGaussian
from skae._utils.params import TunableDefaults
from skae._utils.sklearn import (
    BaseImputer,
    HasMethods,
    all_or_nothing,
    available_if,
    check_feature_names,
    check_feature_names_in,
    check_n_features,
    check_sample_weight,
    fit_context,
    in_container,
    is_pandas_na,
    is_scalar_nan,
    mask_of,
    output_container,
    raise_for_params,
    safe_indexing,
)
from skae._utils.typing import MatrixLike, RandomState
from skae._utils.warnings import with_numpy_defaults
from skae._variational import VAETransformer
from skae.likelihoods import Categorical

__all__ = ["AutoencoderImputer"]

#: The number of rows from which on a network is trained.
ENOUGH_ROWS = 100

#: The least frequency by whose root a class is divided.
LEAST_SHARE = 1e-3


def _has_indicator(imputer):
    """Refuse `inverse_transform` of an imputer that does not say what was missing."""
    if not imputer.add_indicator:
        raise AttributeError(
            "inverse_transform needs add_indicator=True, to know which values were"
            f" missing. Got add_indicator={imputer.add_indicator}."
        )
    return True


def _is_nan(marker):
    return is_scalar_nan(marker) or is_pandas_na(marker)


def _is_number(marker):
    return isinstance(marker, Real) and not is_scalar_nan(marker)


@dataclass(frozen=True)
class _Space:
    """The columns that linear models impute: divided by their widths.

    Parameters
    ----------
    places : list of ndarray of int
        The features of each column: several for a category.

    classes : list of ndarray of int
        Those of booleans and categories.

    widths : ndarray of shape (n_features,)
    low, high : ndarray of shape (n_features,)
        The range of values, infinite for classes.
    """

    places: list
    classes: list
    widths: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def clipped(self, rows):
        return np.clip(rows, self.low, self.high)

    @property
    def units(self):
        """What features are multiplied by for a VAE: classes need 0 and 1."""
        return self.widths if self.classes else np.ones_like(self.widths)

    def likelihood(self, of_numbers):
        """Return the likelihood of a VAE, by column where some are classes."""
        if not self.classes:
            return of_numbers
        numbers = np.setdiff1d(np.arange(len(self.widths)), np.concatenate(self.classes))
        pairs = [("gaussian_diag", numbers)] if len(numbers) else []
        of_classes = (
            "bernoulli" if len(of) == 1 else "categorical" for of in self.classes
        )
        return [*pairs, *zip(of_classes, self.classes, strict=True)]

    def with_classes(self, rows, expected, missing, rng):
        """Draw missing classes with the probabilities that are expected of them."""
        for of in self.classes:
            here = np.flatnonzero(missing[:, of[0]])
            p = np.clip(expected[np.ix_(here, of)] * self.widths[of], 0, 1)
            if len(of) == 1:
                p = np.hstack([1 - p, p])
            drawn = Categorical().sample(p + np.finfo(float).tiny, None, None, rng)
            rows[np.ix_(here, of)] = drawn[:, -len(of) :] / self.widths[of]
        return rows


@dataclass(frozen=True)
class _LinearImputer:
    """A linear model of rows that imputes as an estimator does, without a network.

    Parameters
    ----------
    linear_model : LinearGaussian
    space : _Space
    """

    linear_model: LinearGaussian
    space: _Space

    def impute(self, X, n_draws=None, random_state=None):
        expected = self.linear_model.filled(X)
        if n_draws is None:
            return expected
        rng, missing = check_random_state(random_state), np.isnan(X)
        ends = self.space.low, self.space.high
        draws = (self.linear_model.drawn(X, *ends, rng) for _ in range(n_draws))
        return [self.space.with_classes(one, expected, missing, rng) for one in draws]


@dataclass(frozen=True)
class _UnitImputer:
    """An estimator of features in other units."""

    estimator: Any
    units: np.ndarray

    def impute(self, X, n_draws=None, random_state=None):
        options = {} if n_draws is None else {"n_draws": n_draws}
        found = self.estimator.impute(
            X * self.units, random_state=random_state, **options
        )
        if n_draws is None:
            return found / self.units
        return [one / self.units for one in found]


@dataclass(frozen=True)
class _MeanImputer:
    """The mean of what models impute, which errs less than each where they differ.

    A draw is that of one of them, so that the mean of draws is the same.

    Parameters
    ----------
    models : list of object
    """

    models: list

    def impute(self, X, n_draws=None, random_state=None):
        if n_draws is None:
            return np.mean([model.impute(X) for model in self.models], axis=0)
        rng = check_random_state(random_state)
        return [
            self.models[i].impute(X, n_draws=1, random_state=rng)[0]
            for i in rng.randint(len(self.models), size=n_draws)
        ]


class _TableMethods:
    """The steps of an imputer of mixed tables."""

    def _table_of(self, X):
        """Return the table of a frame without its empty columns; None of numbers alone."""
        if backend_of(X) is None:
            return None
        X = self._marked(X)
        kept = np.flatnonzero(~nulls(X).all(axis=0))
        if not len(kept):
            return None
        table = Table.of(safe_indexing(X, kept, axis=1), "from_dtype")
        if table is not None and self.keep_empty_features and len(kept) < X.shape[1]:
            raise ValueError(
                "keep_empty_features=True needs a frame of numbers: in a mixed table a"
                " column without any value has no kind."
            )
        return table

    def _marked(self, X):
        """Return a frame with missing values in place of the marker of these."""
        return X if _is_nan(self.missing_values) else without(X, self.missing_values)

    def _fit_table(self, X, seed, params):
        """Fit the model to a mixed table."""
        check_feature_names(self, X, reset=True)
        check_n_features(self, X, reset=True)
        X = self._marked(X)
        missing = nulls(X)
        self._fit_indicator(missing)
        self._filled_in_fit = ~missing.all(axis=0)
        X = safe_indexing(X, np.flatnonzero(self._filled_in_fit), axis=1)
        if self.estimator is not None:
            self.estimator_ = _seeded(self.estimator, seed).fit(X, **params)
            self.n_components_ = getattr(last_of(self.estimator_), "n_components_", 0)
            return self
        self._range = self.table_.limits
        self._fit_best(self.table_.encode(X), seed, **params)
        return self

    def _transform_table(self, X):
        """Impute the missing values of a mixed table."""
        check_feature_names(self, X, reset=False)
        check_n_features(self, X, reset=False)
        if backend_of(X) is not None:
            X = self._marked(X)
            X = safe_indexing(X, np.flatnonzero(self._filled_in_fit), axis=1)
        else:
            X = np.asarray(X, object)[:, self._filled_in_fit]
        matrix, missing = self.table_.encode(X), self.table_.missing(X)
        some, found = missing.any(axis=1), X
        if some.any() and self.estimator is None:
            rows = np.clip(self._imputed(X, matrix, some), *self._range)
            found = self.table_.filled(X, np.where(np.isnan(matrix), rows, matrix))
        elif some.any():
            found = _impute(self.estimator_, X, self._draws)
        found = self.table_.categorized(found)
        every = np.zeros((len(missing), self.n_features_in_), bool)
        every[:, self._filled_in_fit] = missing
        return self._with_indicator(found, every)

    def _with_indicator(self, X, missing):
        """Append columns that say where a mixed table had missing values."""
        container = output_container(self)
        X = X if container == "default" else as_backend(X, container)
        indicators = self._transform_indicator(missing)
        if indicators is None:
            return X
        names = self.get_feature_names_out()[self._filled_in_fit.sum() :]
        if backend_of(X) is None:
            return np.hstack([X, indicators])
        return beside(X, dict(zip(names, np.asarray(indicators, bool).T, strict=True)))

    def _inverse_table(self, X, kept, flags):
        """Put missing values back into a mixed table, without its empty columns."""
        rows = safe_indexing(X, np.arange(kept.sum()), axis=1)
        names = self.feature_names_in_[flags]
        found = {}
        for i, name in enumerate(names, start=kept.sum()):
            flag = np.asarray(safe_indexing(X, [i], axis=1)).ravel().astype(bool)
            if name in self.feature_names_in_[kept]:
                found[name] = flag
        return with_nulls(rows, found)


class AutoencoderImputer(TunableDefaults, _TableMethods, BaseImputer):
    """Imputation of missing values by an autoencoder that learns from incomplete samples.

    It replaces :class:`~sklearn.impute.IterativeImputer` and
    :class:`~sklearn.impute.KNNImputer`. A missing value is replaced with its expectation
    given the observed values of the sample, or with a draw from its distribution.

    Parameters
    ----------
    estimator : estimator object or None, default=None
        The model, with `impute`: an estimator of skae, or a Pipeline whose last step is
        one and whose other steps have `inverse_transform`. None chooses by how well
        values of X are imputed that are hidden from the models. It is the mean of
        linear models, probabilistic PCA and factor analysis, at most three, whose
        error is at most 1.1 times the least; or a :class:`~skae.VAETransformer` that
        starts at the best of them; or the mean of both. With fewer than 100 samples no
        network is trained. ``set_params(estimator__n_components=2)`` replaces None with a
        :class:`~skae.VAETransformer`.

    missing_values : int, float, str, np.nan, None or pandas.NA, default=np.nan
        The placeholder of missing values.

    sample_posterior : bool, default=False
        Whether to draw imputed values from their distribution, anew at each call of
        `transform`, instead of their expectation. Several draws are multiple imputation.

    add_indicator : bool, default=False
        Whether to append the columns of a :class:`~sklearn.impute.MissingIndicator`.

    keep_empty_features : bool, default=False
        Whether to keep columns without any value in `fit`, imputed with 0, instead of
        dropping them.

    random_state : int, RandomState instance or None, default=None
        Determines the hidden values, training and draws. Pass an int for reproducible
        results across calls. It also seeds `estimator` where that has no seed.

    Attributes
    ----------
    estimator_ : object
        The fitted model, which has `impute`: a clone of `estimator`. With None it is
        fitted to columns divided by their standard deviations.

    n_components_ : int
        The number of components of the model; 0 if it imputes the mean of each column.

    indicator_ : MissingIndicator or None
        The indicator of missing values; None without `add_indicator`.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, if they are all strings.

    random_state_ : RandomState
        The generator of seeds and draws.

    table_ : Table or None
        The columns of X with their kinds, where it is a frame with strings, categories or
        dates, which is then imputed as such; None for other X.

    See Also
    --------
    VAETransformer.impute : Imputation with a fitted model, as a method of it.
    sklearn.impute.IterativeImputer : Imputation by a regression of each column.

    Notes
    -----
    Imputed values are within the range of the values of their column in `fit`. Values
    that are not missing are returned as they are. In a frame with strings, categories or
    dates, strings become categories with the levels that `fit` has seen, which is the form
    in which estimators such as :class:`~sklearn.ensemble.HistGradientBoostingClassifier`
    take them; other columns keep their dtypes.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.impute import AutoencoderImputer
    >>> X = [[1, 2, 4], [2, 4, 8], [3, 6, 12], [4, np.nan, 16], [5, 10, np.nan]]
    >>> AutoencoderImputer().fit_transform(X).round(1)
    array([[ 1.,  2.,  4.],
           [ 2.,  4.,  8.],
           [ 3.,  6., 12.],
           [ 4.,  8., 16.],
           [ 5., 10., 16.]])
    """

    _parameter_constraints: dict = {
        **BaseImputer._parameter_constraints,
        "estimator": [HasMethods(["fit"]), None],
        "sample_posterior": ["boolean"],
        "random_state": ["random_state"],
    }

    _objects: dict = {"estimator": lambda _: VAETransformer()}

    estimator_: Any
    n_components_: int
    indicator_: Any
    n_features_in_: int
    feature_names_in_: np.ndarray
    random_state_: np.random.RandomState
    table_: Table | None = None

    def __init__(
        self,
        estimator: Any = None,
        *,
        missing_values: Any = np.nan,
        sample_posterior: bool = False,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            missing_values=missing_values,
            add_indicator=add_indicator,
            keep_empty_features=keep_empty_features,
        )
        self.estimator = estimator
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: object = None, **params: Any) -> Self:
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : Ignored
            Present for API consistency.

        **params : dict
            Parameters of the `fit` of the model, by metadata routing, such as
            `sample_weight`.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        TypeError
            If `estimator` can't impute, or can't draw and `sample_posterior` is True.

        ValueError
            If X or a parameter is invalid.
        """
        raise_for_params(params, self, "fit")
        _check_imputes(self.estimator, self.sample_posterior)
        params = process_routing(self, "fit", **params).estimator.fit
        with all_or_nothing(self):
            self.random_state_ = check_random_state(self.random_state)
            seed = self.random_state_.randint(np.iinfo(np.int32).max)
            self.table_ = self._table_of(X)
            if self.table_ is not None:
                return self._fit_table(X, seed, params)
            matrix, missing = self._checked(X, reset=True)
            self._fit_indicator(missing)
            self._filled_in_fit = ~missing.all(axis=0)
            matrix = matrix[:, self._filled_in_fit]
            self._range = np.nanmin(matrix, axis=0), np.nanmax(matrix, axis=0)
            self._widths = np.ones(matrix.shape[1])
            if not matrix.shape[1]:
                self.estimator_, self.n_components_ = None, 0
            elif self.estimator is None:
                self._fit_best(np.asarray(matrix, np.float64), seed, **params)
            else:
                self.estimator_ = _seeded(self.estimator, seed)
                self.estimator_.fit(self._given(X, matrix), y, **params)
                self.n_components_ = getattr(last_of(self.estimator_), "n_components_", 0)
        return self

    def _fit_best(self, matrix, seed, sample_weight=None):
        """Fit the model that imputes hidden values best."""
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, matrix, dtype=np.float64, ensure_non_negative=True
            )
        rows = Rows.weighted(matrix, None, sample_weight)
        self._widths, classes = rows.deviation, []
        places = [np.array([i]) for i in range(matrix.shape[1])]
        if self.table_ is not None:
            places = [of for of in self.table_.places if len(of)]
            classes = self.table_.classes
            for of in self.table_.groups:
                self._widths[of] = np.sqrt(np.maximum(rows.mean[of], LEAST_SHARE))
        low, high = (end / self._widths for end in self._range)
        space = _Space(places, classes, self._widths, low, high)
        matrix = matrix / self._widths
        self.estimator_, self.n_components_ = _best(matrix, space, seed, sample_weight)

    def _checked(self, X, reset):
        """Return X in floating point, with NaN for missing values, and where these are."""
        marker, options = self.missing_values, {"reset": reset}
        options["ensure_all_finite"] = True if _is_number(marker) else "allow-nan"
        if _is_number(marker) or is_scalar_nan(marker):
            X = validate_data(self, X, dtype=FLOAT_DTYPES, **options)
            mask = mask_of(X, marker)
        else:
            X = validate_data(self, X, dtype=None, **options)
            of_kind = X.dtype.kind in "OUS" or is_pandas_na(marker)
            mask = mask_of(X, marker) if of_kind else np.zeros(X.shape, bool)
            X = np.where(mask, 0, X)
            X = check_array(X, dtype=FLOAT_DTYPES, input_name="X")
        return np.where(mask, X.dtype.type(np.nan), X), mask

    def _given(self, X, matrix):
        """Return what the user's model is given: frames as they are, but empty columns."""
        if not (_is_nan(self.missing_values) and hasattr(self, "feature_names_in_")):
            return matrix
        return safe_indexing(X, np.flatnonzero(self._filled_in_fit), axis=1)

    @with_numpy_defaults
    def transform(self, X: MatrixLike) -> Any:
        """Impute the missing values of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_imputed : ndarray or frame of shape (n_samples, n_features_out)
            X without missing values. Columns that were empty in `fit` are dropped, or are
            0 with `keep_empty_features`. With `add_indicator` there is another column
            for each column with missing values in `fit`: 1 where these are. A frame with
            strings, categories or dates comes back as a frame.
        """
        check_is_fitted(self)
        if self.table_ is not None:
            return self._transform_table(X)
        matrix, missing = self._checked(X, reset=False)
        filled = np.where(missing, matrix.dtype.type(0), matrix)
        some = missing[:, self._filled_in_fit].any(axis=1)
        if some.any() and self._filled_in_fit.any():
            inner = matrix[:, self._filled_in_fit]
            found = np.clip(self._imputed(X, inner, some), *self._range)
            filled[:, self._filled_in_fit] = np.where(np.isnan(inner), found, inner)
        if not self.keep_empty_features:
            filled = filled[:, self._filled_in_fit]
        indicators = self._transform_indicator(missing)
        return self._concatenate_indicator(filled, indicators)

    @property
    def _draws(self):
        """The arguments of `impute`."""
        if not self.sample_posterior:
            return {}
        return {"n_draws": 1, "random_state": self.random_state_}

    def _imputed(self, X, matrix, some):
        """Return imputed rows; those without missing values as they are."""
        draws = self._draws
        if self.estimator is None:
            found = np.asarray(matrix, np.float64).copy()
            rows = _impute(self.estimator_, found[some] / self._widths, draws)
            found[some] = rows * self._widths
            return found
        return np.asarray(_impute(self.estimator_, self._given(X, matrix), draws))

    @available_if(_has_indicator)
    @in_container
    def inverse_transform(self, X: MatrixLike) -> Any:
        """Put missing values back where `transform` has imputed them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            What `transform` returns with `add_indicator`.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Samples with missing values. Values of columns without missing values in `fit`
            remain imputed.

        Raises
        ------
        AttributeError
            If `add_indicator` is False.

        ValueError
            If X has another number of columns.
        """
        check_is_fitted(self)
        n_out = len(self.get_feature_names_out())
        if self.table_ is None:
            X = check_array(X, dtype=FLOAT_DTYPES, input_name="X")
        if X.shape[1] != n_out:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__}."
                f"inverse_transform is expecting {n_out} features as input: the imputed"
                " columns and the indicators."
            )
        kept, flags = self._kept, self.indicator_.features_
        if self.table_ is not None:
            return self._inverse_table(X, kept, flags)
        marker, dtype = self.missing_values, X.dtype
        if is_pandas_na(marker):
            marker = np.nan
        elif not (_is_number(marker) or is_scalar_nan(marker)):
            dtype = object
        X_original = np.full((len(X), self.n_features_in_), marker, dtype)
        X_original[:, kept] = X[:, : kept.sum()]
        missing = np.zeros(X_original.shape, bool)
        missing[:, flags] = X[:, kept.sum() :].astype(bool)
        return np.where(missing, np.array(marker, dtype), X_original)

    @property
    def _kept(self):
        """A mask of the columns that `transform` returns."""
        return self._filled_in_fit | bool(self.keep_empty_features)

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input features. None is those seen during `fit`, or x0, x1, and
            so on.

        Returns
        -------
        feature_names_out : ndarray of str
            Names of the columns, and then of the indicators.
        """
        check_is_fitted(self)
        input_features = check_feature_names_in(self, input_features)
        names = input_features[self._kept]
        return self._concatenate_indicator_feature_names_out(names, input_features)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which metadata `fit` hands on to the model.

        Returns
        -------
        routing : MetadataRouter
            The routing. With ``estimator=None``, `sample_weight` is handed on.
        """
        model = self.estimator
        if model is None:
            model = VAETransformer()
            if get_config()["enable_metadata_routing"]:
                model.set_fit_request(sample_weight=True)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(estimator=model, method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = _is_nan(self.missing_values)
        tags.input_tags.categorical = True
        return tags


def _best(X, space, seed, weight):
    """Fit the model that imputes hidden values best; return it and its components.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    space : _Space
    seed : int
    weight : ndarray of shape (n_samples,) or None
    """
    stream = np.random.SeedSequence(seed).spawn(1)[0]
    hidden = Hidden.of(X, space.places, np.random.default_rng(stream))
    candidates = choose(hidden, weight, space.clipped)
    rows = Rows.weighted(X, None, weight)
    models = [candidate.fitted(rows) for candidate in candidates] or [mean_model(rows)]
    linear = _MeanImputer([_LinearImputer(model, space) for model in models])
    if not candidates or len(X) < ENOUGH_ROWS:
        return linear, candidates[0].n_components if candidates else 0
    best = candidates[0]
    vae = VAETransformer(
        best.n_components,
        likelihood=space.likelihood(best.likelihood),
        n_splits=1,
        random_state=seed,
    )
    vae.fit(hidden.rows * space.units, sample_weight=weight)
    vae = _UnitImputer(vae, space.units)
    starts = [_LinearImputer(one.linear_model, space) for one in candidates]
    of_start = space.clipped(_MeanImputer(starts).impute(hidden.rows))
    of_vae = space.clipped(vae.impute(hidden.rows))
    errors = map(hidden.error, (of_start, (of_start + of_vae) / 2, of_vae))
    models = linear, _MeanImputer([linear, vae]), vae
    return models[np.argmin([*errors])], best.n_components


def _before(model):
    """Return the steps of a Pipeline before the last, or None if there are none."""
    return model[:-1] if isinstance(model, Pipeline) and len(model) > 1 else None


def _check_imputes(model, draws):
    """Refuse a model that can't impute, or draw."""
    if model is None:
        return
    last = last_of(model)
    if not hasattr(last, "impute"):
        raise TypeError(
            "estimator needs impute, or to be a Pipeline whose last step has it. Got"
            f" {model!r}: take an estimator of skae, or None."
        )
    before = _before(model)
    if before is not None and not hasattr(before, "inverse_transform"):
        raise TypeError(
            "The steps of estimator before the last need inverse_transform, to impute"
            f" in the units of X. Got {model!r}."
        )
    if draws and not _draws(last):
        raise TypeError(
            "sample_posterior=True needs an estimator whose impute has n_draws, such as"
            f" VAETransformer: a reconstruction has no distribution. Got {last!r}."
        )


def _draws(model):
    return hasattr(model, "sample")  # it has a density


def _seeded(model, seed):
    """Clone a model, and seed it where it has no seed."""
    model = clone(model)
    names = [name for name in model.get_params() if name.endswith("random_state")]
    unset = [name for name in names if model.get_params()[name] is None]
    return model.set_params(**dict.fromkeys(unset, seed))


def _impute(model, X, draws):
    """Impute with a fitted model, or draw once."""
    before = _before(model)
    codes = X if before is None else before.transform(X)
    found = last_of(model).impute(codes, **draws)
    found = found[0] if draws else found
    return found if before is None else before.inverse_transform(found)
