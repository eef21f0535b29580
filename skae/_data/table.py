"""Tables: frames of numbers, categories, bools and dates, as matrices and back."""

from collections import Counter
from dataclasses import dataclass, replace

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse

from skae._data.columns import read, some
from skae._data.frames import (
    ARRAYS,
    BACKENDS,
    backend_of,
    has_categories,
    installed,
    objects,
)
from skae._data.kinds import Column, codes, warn_unknown
from skae._data.sources import is_stored

__all__ = ["Column", "Table"]


@dataclass(frozen=True)
class Table:
    """The columns of a frame as they were in fit.

    Its *encoded matrix* is what models see: a column for each number, datetime, duration,
    bool and category of two levels, and one for each level of other categories.

    Attributes
    ----------
    columns : tuple of Column
    backend : {"pandas", "polars", "pyarrow", "numpy"}
        What the frame was in fit.
    """

    columns: tuple[Column, ...]
    backend: str

    @classmethod
    def of(cls, X, categorical_features, *, declared=False):
        """Describe the columns of a frame; None if it has nothing but numbers.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
        categorical_features : "from_dtype", None, or array-like of names, indices or a mask
        declared : bool
            Encode all categories of a dtype, not just those that occur.

        Raises
        ------
        TypeError
            If a column holds values of no kind, or of several.

        ValueError
            If a category has too many levels, or names of columns are not unique.
        """
        if categorical_features is None or hasattr(X, "__dask_graph__"):
            return None
        _check_frame(X)
        by_dtype = isinstance(categorical_features, str)
        if by_dtype and (backend_of(X) is None or not len(X) or _only_numbers(X)):
            return None
        X = _rows(X)
        backend = _backend(X)
        names = backend.names(X)
        mask = [None] * len(names)
        if not by_dtype:
            mask = _mask(
                categorical_features, X, names if backend is not ARRAYS else None
            )
            if backend is ARRAYS and not any(mask):
                return None
        found = _read(backend, backend.columns(X), names, mask)
        if {values.kind for values in found} <= {"number", "bool"}:
            return None
        columns = tuple(
            Column.of(name, values, backend.name, declared=declared, named=bool(is_one))
            for name, values, is_one in zip(_checked(names), found, mask, strict=True)
        )
        return cls(columns, backend.name)

    @property
    def places(self):
        """The encoded columns of each column."""
        ends = np.cumsum([column.width for column in self.columns])
        return [
            np.arange(end - column.width, end)
            for end, column in zip(ends, self.columns, strict=True)
        ]

    @property
    def groups(self):
        """The encoded columns of each category with three levels or more."""
        return [places for places in self.places if len(places) > 1]

    @property
    def bits(self):
        """The encoded columns that are 0 or 1: bools, categories of two levels."""
        return self._singles("bool", "category")

    @property
    def numbers(self):
        """The encoded columns of numbers, datetimes and durations."""
        return self._singles("number", "datetime", "duration")

    @property
    def kinds(self):
        """The kind of each column."""
        return [column.kind for column in self.columns]

    @property
    def classes(self):
        """The encoded columns of each category and bool."""
        return [*self.bits[:, None], *self.groups]

    @property
    def informs(self):
        """True for each column that is encoded: not for a category of one level."""
        return np.array([column.width > 0 for column in self.columns])

    @property
    def limits(self):
        """The least and the greatest value of each encoded column in `fit`."""
        low, high = np.full((2, len(self.names)), np.inf) * [[-1], [1]]
        for column, places in zip(self.columns, self.places, strict=True):
            if column.kind in ("number", "datetime", "duration"):
                low[places], high[places] = column.low, column.high
        return low, high

    def rounded(self, matrix):
        """Round the columns whose numbers were whole in `fit`."""
        whole = [column.whole for column in self.columns]
        places = [p for p, one in zip(self.places, whole, strict=True) if one]
        found, columns = matrix.copy(), np.concatenate([np.empty(0, int), *places])
        found[:, columns] = np.rint(found[:, columns])
        return found

    def joined(self, other):
        """Describe the rows of two tables of the same columns.

        Raises
        ------
        ValueError
            If they have other columns, or columns of another kind.
        """
        alike = other is not None and [(c.name, c.kind) for c in self.columns] == [
            (c.name, c.kind) for c in other.columns
        ]
        if not alike:
            raise ValueError(
                "X_clean must have the columns of X, in their order and of their kinds:"
                f" {[*self.column_names]}."
            )
        columns = (a.joined(b) for a, b in zip(self.columns, other.columns, strict=True))
        return replace(self, columns=tuple(columns))

    def _singles(self, *kinds):
        found = [
            places
            for column, places in zip(self.columns, self.places, strict=True)
            if column.kind in kinds and column.width == 1
        ]
        return np.concatenate(found) if found else np.zeros(0, int)

    @property
    def names(self):
        """The names of the encoded columns."""
        return objects([name for column in self.columns for name in column.names])

    @property
    def column_names(self):
        """The names of the frame's columns."""
        return objects([column.name for column in self.columns])

    def encode(self, X):
        """Convert a frame, or an array of its columns, to the encoded matrix.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_columns)

        Returns
        -------
        matrix : ndarray of shape (n_samples, width)
            NaN for missing values and unknown levels. In float32 if its numbers are exact
            in float32.

        Raises
        ------
        TypeError
            If a column is of another kind than in fit; the message names it.
        """
        parts, narrow = [], []
        for column, values in _values(self.columns, X):
            part, missing = column.encode(values)
            parts.append(part)
            if missing.all():
                warn_unknown(column, values)
            if column.kind not in ("bool", "category"):
                narrow.append(column.kind == "number" and values.is_narrow)
        dtype = np.float32 if narrow and all(narrow) else np.float64
        return np.ascontiguousarray(np.hstack(parts), dtype)

    def missing(self, X):
        """Return where X has missing values or unknown levels, of shape (n, n_columns)."""
        return np.column_stack(
            [column.encode(values)[1] for column, values in _values(self.columns, X)]
        )

    def unknown(self, X):
        """Return the levels of X that were not in fit, as a text by column name."""
        found = {}
        for column, values in _values(self.columns, X):
            if column.kind == "category":
                new = column.encode(values)[1] & ~values.missing
                if new.any():
                    found[column.name] = some(values.values[new], 10)
        return found

    @property
    def empty(self):
        """The names of the categories without any value."""
        return [c.name for c in self.columns if c.kind == "category" and not c.levels]

    def decode(self, matrix, like=None, container="default"):
        """Convert an encoded matrix to a frame like that of fit.

        Parameters
        ----------
        matrix : ndarray of shape (n_samples, width)
            Numbers are rounded as the dtypes in fit ask. Of a bool, more than .5 is True;
            of a category, the level with the highest value is taken, the first on a tie.

        like : frame, optional
            The frame that is returned has its backend, and its index.

        container : {"default", "pandas", "polars"}
            The backend if `like` is no frame. By default, that of fit.

        Returns
        -------
        frame : frame or ndarray
            An array of objects if the backend can't be imported.
        """
        matrix = np.asarray(matrix)
        default = self.backend if container == "default" else container
        backend = installed(backend_of(like) or default)
        columns = [
            column.decode(matrix[:, places], backend)
            for column, places in zip(self.columns, self.places, strict=True)
        ]
        return backend.frame([column.name for column in self.columns], columns, like)

    def filled(self, X, matrix):
        """Replace missing values and unknown levels of X by those of an encoded matrix.

        Columns without missing values stay as they are. The others keep their dtypes.
        """
        X, backend, columns = _native(self.columns, X)
        matrix, made = np.asarray(matrix), {}
        for own, places, (i, column) in zip(
            self.columns, self.places, columns, strict=True
        ):
            is_one = True if own.kind == "category" else None
            values = read(backend, column, own.name, is_one)
            missing = own.encode(values)[1]
            if missing.any():
                made[i] = own.filled(column, values, missing, matrix[:, places], backend)
        return backend.replaced(X, made) if made else X

    def categorized(self, X):
        """Return a frame with categories, of the levels in fit, in place of strings."""
        X, backend, columns = _native(self.columns, X)
        made, dtype = {}, "Enum" if backend.name == "polars" else None
        for own, (i, column) in zip(self.columns, columns, strict=True):
            strings = own.levels and all(isinstance(one, str) for one in own.levels)
            if own.kind == "category" and strings and not has_categories(own.dtype):
                matrix, _ = own.encode(read(backend, column, own.name, True))
                places = codes(own, matrix)
                made[i] = backend.categories(places, own.levels, False, dtype)
        return backend.replaced(X, made) if made and backend is not ARRAYS else X

    def absent(self, matrix):
        """Return where an encoded matrix lacks a column, of shape (n, n_columns)."""
        return self.by_column(np.isnan(matrix)) > 0

    def by_column(self, matrix):
        """Add up the encoded columns of each column, of shape (n_samples, n_columns)."""
        matrix = np.asarray(matrix)
        found = [matrix[:, places].sum(axis=1) for places in self.places]
        return np.column_stack(found)


def _native(columns, X):
    """Return X, its backend, and the position of each column in X and what stands there."""
    X = _rows(X)
    backend = _backend(X)
    names, found = backend.names(X), backend.columns(X)
    if len(found) != len(columns):
        raise ValueError(f"X has {len(found)} columns, but the table has {len(columns)}.")
    order = {name: i for i, name in enumerate(names)}
    by_name = backend is not ARRAYS and all(column.name in order for column in columns)
    places = [order[column.name] for column in columns] if by_name else range(len(found))
    return X, backend, [(i, found[i]) for i in places]


def _values(columns, X):
    """Return the columns of a table, each with its values in X."""
    _, backend, found = _native(columns, X)
    for own, (_, column) in zip(columns, found, strict=True):
        is_one = True if own.kind == "category" else None
        yield own, read(backend, column, own.name, is_one)


def _backend(X):
    return BACKENDS[backend_of(X) or "numpy"]


def _rows(X):
    """Return a frame or an array of two dimensions."""
    if is_stored(X) or sparse.issparse(X):
        raise TypeError(
            "categorical_features needs dense rows in memory, or a Dask frame. Got"
            f" {type(X).__name__}."
        )
    if backend_of(X) is None and not isinstance(X, np.ndarray):
        X = np.asarray(X, dtype=object)
    if len(X.shape) != 2:
        raise ValueError(
            f"categorical_features needs rows of columns, of shape (n, columns). Got"
            f" {X.shape}."
        )
    return X


def _check_frame(X):
    """Raise if X is a frame of which columns can't be read."""
    package, name = type(X).__module__.partition(".")[0], type(X).__name__
    if package == "polars" and name == "LazyFrame":
        raise TypeError("X is a polars LazyFrame: pass X.collect().")
    if package == "pyarrow" and name == "RecordBatch":
        raise TypeError(
            "X is a pyarrow RecordBatch: pass pyarrow.Table.from_batches([X])."
        )


def _only_numbers(X):
    """Check by its dtypes whether a frame has nothing but numbers and bools."""
    if backend_of(X) == "pandas":
        return all(getattr(dtype, "kind", "O") in "biuf" for dtype in X.dtypes)
    backend = _backend(X)
    kinds = [backend.type(column) for column in backend.columns(X)]
    return all(kind.is_numeric() or kind == nw.Boolean for kind in kinds)


def _mask(categorical_features, X, names):
    """Return for each column whether the user names it as a category.

    The messages are those of scikit-learn's HistGradientBoostingClassifier.
    """
    given, n = np.asarray(categorical_features), X.shape[1]
    wrong = "categorical_features must be an array-like of bool, int or str, got: "
    if given.size == 0:
        return [False] * n
    if given.dtype.kind not in "ibUO":
        raise ValueError(f"{wrong}{given.dtype.name}.")
    if given.dtype.kind == "O":
        types = {type(one) for one in given.tolist()}
        if types != {str}:
            raise ValueError(f"{wrong}{', '.join(sorted(t.__name__ for t in types))}.")
    if given.dtype.kind == "b":
        if given.shape != (n,):
            raise ValueError(
                "categorical_features set as a boolean mask must have shape (n_features,),"
                f" got: {given.shape}"
            )
        return given.tolist()
    if given.dtype.kind == "i":
        if given.max() >= n or given.min() < 0:
            raise ValueError(
                "categorical_features set as integer indices must be in"
                " [0, n_features - 1]"
            )
        return np.isin(np.arange(n), given).tolist()
    return _named(given.tolist(), names)


def _named(given, names):
    """Return for each column whether it is among the given names."""
    if names is None:
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a boolean"
            " mask when the model is fitted on data without feature names."
        )
    for name in given:
        if name not in names:
            raise ValueError(
                f"categorical_features has an item value '{name}' which is not a valid"
                f" feature name of the training data. Observed feature names: {names}"
            )
    return [name in given for name in names]


def _read(backend, columns, names, mask):
    """Read the columns of a frame; each must have a kind."""
    found = [
        read(backend, column, name, is_one)
        for column, name, is_one in zip(columns, names, mask, strict=True)
    ]
    for name, values, is_one in zip(names, found, mask, strict=True):
        if is_one and values.kind in ("datetime", "duration"):
            raise TypeError(
                f"categorical_features names X's column {name!r}, which is a {values.kind}"
                f" of dtype {values.dtype}, for example {some(values.values)}: convert it to"
                " strings, or leave it out of categorical_features."
            )
        if values.kind == "empty":
            raise TypeError(
                f"X's column {name!r} holds only missing values, of dtype {values.dtype},"
                " which do not tell its kind: convert it to the dtype that it should have,"
                " or drop it."
            )
    return found


def _checked(names):
    """Return the names of columns as plain values; each must be a different one."""
    twice = sorted(str(name) for name, n in Counter(names).items() if n > 1)
    if twice:
        raise ValueError(
            "X's columns must have different names if any of them is not of numbers. More"
            f" than once: {twice[:10]}."
        )
    plain = [int(name) if isinstance(name, np.integer) else name for name in names]
    for name in plain:
        if not isinstance(name, (str, int)):
            raise TypeError(
                f"X's columns must have names that are strings or ints. Got {name!r}."
            )
    return [str(name) if isinstance(name, str) else name for name in plain]
