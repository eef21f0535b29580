"""The private parts of scikit-learn that skae uses.

They are stable in practice and used by other projects, but may change with any version.
Then this is the only file to change.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import _clone_parametrized as clone_parameters
from sklearn.base import _fit_context
from sklearn.decomposition._pca import _infer_dimension as infer_dimension
from sklearn.impute._base import _BaseImputer as BaseImputer
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils import metaestimators
from sklearn.utils._mask import _get_mask as mask_of
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    RealNotInt,
    StrOptions,
)
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config
from sklearn.utils.metadata_routing import _raise_for_params as raise_for_params
from sklearn.utils.validation import _check_feature_names as check_feature_names
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
)
from sklearn.utils.validation import _check_n_features as check_n_features
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _get_feature_names as get_feature_names
from sklearn.utils.validation import _num_samples as num_samples

from skae._utils.typing import Method
from skae._utils.warnings import numpy_defaults

if TYPE_CHECKING:  # a base class that may be unknown makes all attributes unknown

    class CallbackSupportMixin:
        def set_callbacks(self, *callbacks: Any) -> Self: ...
        def _init_callback_context(self, **arguments: Any) -> Any: ...

    def _with_callbacks(method: Method) -> Method: ...

else:
    try:  # scikit-learn 1.9 and later
        from sklearn.callback import CallbackSupportMixin
        from sklearn.callback import with_callbacks as _with_callbacks
    except ImportError:

        class CallbackSupportMixin:
            """A substitute for scikit-learn's class before version 1.9."""

            def _init_callback_context(self, **_):
                return None

        def _with_callbacks(method):
            return method


__all__ = [
    "BaseImputer",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "Options",
    "RealNotInt",
    "StrOptions",
    "all_or_nothing",
    "available_if",
    "check_feature_names",
    "check_feature_names_in",
    "check_n_features",
    "check_sample_weight",
    "clone_parameters",
    "contained",
    "fit_context",
    "get_feature_names",
    "has_callbacks",
    "in_columns",
    "in_container",
    "infer_dimension",
    "is_pandas_na",
    "is_scalar_nan",
    "mask_of",
    "num_samples",
    "output_container",
    "raise_for_params",
    "safe_indexing",
    "with_callbacks",
]


def has_callbacks(estimator):
    """Check whether scikit-learn's own callbacks watch an estimator."""
    return hasattr(estimator, "_skl_callbacks")


# -- scikit-learn's decorators, typed so that a method keeps its types


def with_callbacks(method: Method) -> Method:
    return _with_callbacks(method)


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Method], Method]:
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    return metaestimators.available_if(check)


@contextlib.contextmanager
def all_or_nothing(estimator):
    """Restore the estimator if fitting fails; use NumPy's default error handling."""
    before = dict(vars(estimator))
    try:
        with numpy_defaults():
            yield
    except BaseException:
        now = vars(estimator)
        now.update(before)
        theirs = ("_callback_fit", "_skl_callbacks")  # scikit-learn tears them down
        for name in [*now]:
            if name not in before and not name.startswith(theirs):
                del now[name]
        raise


def in_container(method: Method) -> Method:
    """Convert the rows that a method returns to the container of `set_output`.

    Columns have the names that the estimator was fitted to, and a frame keeps its index.
    scikit-learn does the same for the columns of `transform`.
    """
    return _converted(method, contained)


def in_columns(method: Method) -> Method:
    """Convert one number for each column of X to the container of `set_output`."""
    return _converted(method, in_named_columns)


def _converted(method, convert):
    @functools.wraps(method)
    def wrapped(self, X, *args, **kwargs):
        found = method(self, X, *args, **kwargs)
        if isinstance(found, list):
            return [convert(self, rows, X) for rows in found]
        return convert(self, found, X)

    return wrapped


def output_container(estimator):
    """Return what `set_output` asks of an estimator: "default", "pandas" or "polars"."""
    return _get_output_config("transform", estimator)["dense"]


def contained(estimator, rows, X):
    """Convert rows to the container of `set_output`, or of a mixed table.

    Parameters
    ----------
    estimator : BaseAutoencoder
    rows : ndarray of shape (n_samples, ...), or a frame, which is returned unchanged
    X : object
        The argument that the rows were computed from, whose index they get; None has none.
    """
    if not isinstance(rows, np.ndarray):
        return rows
    if estimator.table_ is not None:
        return estimator.table_.decode(rows, X, output_container(estimator))
    return in_named_columns(estimator, rows, X)


def in_named_columns(estimator, rows, X):
    """Convert an array with a column for each of X to the container of `set_output`."""
    container = output_container(estimator)
    if container == "default" or rows.ndim > 2:
        return rows
    names = getattr(estimator, "feature_names_in_", None)
    names = [f"x{i}" for i in range(rows.shape[1])] if names is None else names
    adapter = ADAPTERS_MANAGER.adapters[container]
    return adapter.create_container(rows, X, columns=names)
