"""Conversion of the parameters `loss` and `likelihood` to objects."""

from __future__ import annotations

import numpy as np

from skae._utils.params import made
from skae.likelihoods._by_column import ByColumn
from skae.likelihoods._classes import Bernoulli, Categorical
from skae.likelihoods._counts import NegativeBinomial, Poisson
from skae.likelihoods._real import AbsoluteError, Gaussian, Huber, SquaredError

#: The losses and likelihoods by name.
LOSSES = {
    "squared_error": SquaredError,
    "binary_crossentropy": Bernoulli,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "categorical_crossentropy": Categorical,
    "poisson": Poisson,
}

LIKELIHOODS = {
    "auto": Gaussian,
    "gaussian": Gaussian,
    "gaussian_diag": lambda: Gaussian(per_feature=True),
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}


def by_name(given, names, n_features, feature_names=None, parameter="likelihood", X=None):
    """Make a likelihood from a name, an object or a list of pairs with columns.

    Parameters
    ----------
    given : str, Likelihood or list of (str or Likelihood, columns)
        The parameter, with columns as `ColumnTransformer` takes them: numbers, names,
        slices, masks, and functions of X that return these. Pairs without columns are
        left out.

    names : dict
        The likelihood of each name.

    n_features : int
    feature_names : ndarray of str or None, default=None
    parameter : str
        The name of the estimator's parameter, for messages.

    X : object, default=None
        X as it was passed to `fit`.

    Raises
    ------
    ValueError
        If a name is unknown, or the columns are not all columns of X, each once.
    """
    if not isinstance(given, list):
        return made(given, names)
    pairs = _pairs(given, names, n_features, feature_names, parameter, X)
    none = np.empty(0, int)
    every = np.concatenate([none, *(columns for _, columns in pairs)])
    times = np.bincount(every, minlength=n_features)
    if (times != 1).any():
        wrong = np.flatnonzero(times != 1)
        shown = (
            wrong[:10].tolist() if feature_names is None else feature_names[wrong[:10]]
        )
        raise ValueError(
            f"{parameter} must have each column of X in one pair. These are in none, or in"
            f" several: {list(shown)}."
        )
    return ByColumn(pairs)


def by_table(given, names, table, parameter, X):
    """Make the likelihood of a mixed table: what suits each column, or what is given.

    Parameters
    ----------
    given : str, Likelihood or list of (str or Likelihood, columns)
        The likelihood of the numbers, or pairs with columns of the table; the columns in
        no pair have the likelihood that suits their kind.

    names : dict
        The likelihood of each name.

    table : Table
    parameter : str
        The name of the estimator's parameter, for messages.

    X : frame or ndarray
        X as it was passed to `fit`.

    Raises
    ------
    ValueError
        If a name is unknown, a column is in several pairs, or the likelihood of a column
        is not one of its kind.
    """
    column_names, pairs = np.array([*table.column_names], object), []
    of_numbers = "gaussian_diag" if "gaussian_diag" in names else "squared_error"
    if isinstance(given, list):
        pairs = _pairs(given, names, len(column_names), column_names, parameter, X)
    elif given != "auto":
        of_numbers = given
    of_column = [None] * len(column_names)
    for one, columns in pairs:
        for column in columns:
            if of_column[column] is not None:
                raise ValueError(
                    f"{parameter} must have each column of X in one pair. In several:"
                    f" {column_names[column]!r}."
                )
            of_column[column] = one
    default, found = made(of_numbers, names), {}
    for name, one, places, kind in zip(
        column_names, of_column, table.places, table.kinds, strict=True
    ):
        classes = kind in ("bool", "category")
        if one is None:
            one = default if not classes else Categorical()
        _check_kind(one, name, kind, len(places), parameter)
        if not classes or len(places) == 1:
            one = Bernoulli() if classes else one
            key = one._key() if not getattr(one, "total", None) else id(one)
            found.setdefault(key, (one, []))[1].extend(places)
        elif len(places):
            found[name] = one, places
    joined = [(one, np.asarray(places)) for one, places in found.values()]
    return ByColumn(joined, each=True)


def _check_kind(one, name, kind, width, parameter):
    """Raise if a likelihood is not one of a column's kind."""
    of_classes = one.domain == (0.0, 1.0)
    if kind not in ("bool", "category") and of_classes:
        raise ValueError(
            f"{parameter}: column {name!r} of X holds numbers, and {one!r} is of classes."
            f" If the numbers are codes of classes, name the column in"
            " categorical_features."
        )
    if kind in ("bool", "category") and (
        not of_classes or (width > 1 and not one.groups(width))
    ):
        raise ValueError(
            f"{parameter}: column {name!r} of X holds classes, for which {one!r} is none:"
            " leave the column out of the pairs, or leave it out of categorical_features"
            " if it holds numbers."
        )


def _pairs(given, names, n_features, feature_names, parameter, X):
    """Check a list of pairs, and return objects and the indices of their columns."""
    if not given:
        raise ValueError(
            f"{parameter} must be a list of at least one (likelihood, columns) pair. Got []."
        )
    pairs = []
    for pair in given:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise ValueError(
                f"{parameter} must be a list of (likelihood, columns) pairs. Got {pair!r}"
                " in it."
            )
        one, columns = pair
        if isinstance(one, str) and one not in names:
            raise ValueError(
                f"{parameter} knows {sorted(names)}, and objects of skae.likelihoods."
                f" Got {one!r}."
            )
        one = made(one, names)
        one._validate_params()
        places = _places(columns, n_features, feature_names, parameter, X)
        if len(places):
            pairs.append((one, places))
    return pairs


def _places(columns, n_features, feature_names, parameter, X):
    """Convert columns to an array of their indices."""
    names = [] if feature_names is None else list(feature_names)

    def place(name):
        return names.index(name) if isinstance(name, str) else name

    try:
        columns = columns(X) if callable(columns) else columns
        if isinstance(columns, str):
            columns = [place(columns)]
        elif isinstance(columns, slice):
            end = place(columns.stop)  # a named end is included, as in ColumnTransformer
            end = end + 1 if isinstance(columns.stop, str) else end
            columns = slice(place(columns.start), end, columns.step)
        elif not isinstance(columns, np.ndarray):
            columns = [place(name) for name in np.atleast_1d(columns).tolist()]
            columns = np.array(columns, None if columns else int)
        places = np.arange(n_features)[columns]
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(
            f"{parameter}: {columns!r} are no columns of X: {error}"
        ) from error
    return np.atleast_1d(places)
