"""Frames: the columns of pandas, polars and pyarrow frames as arrays, and back.

Each backend has one class, with the same methods; nothing else in skae depends on the
backend of a frame. The packages are imported where they are needed.
"""

import datetime
import importlib
import re

import narwhals.stable.v2 as nw
import numpy as np

#: Dtypes of pyarrow with arguments, which `pyarrow.type_for_alias` does not know.
_ARROW = re.compile(
    r"(timestamp|duration|decimal\d+)\[?\(?(\w+)(?:, (?:tz=)?(.+?))?[\])]$"
)

#: A decimal, as polars or pyarrow writes it.
_DECIMAL = re.compile(
    r"decimal\d*\((?:precision=)?(\d+), (?:scale=)?(\d+)\)", re.IGNORECASE
)

#: A dictionary of pyarrow: its values and its indices.
_DICTIONARY = re.compile(r"dictionary<values=(\w+), indices=(\w+)")

#: An integer dtype, as any backend writes it.
_INTEGER = re.compile(r"^(u?int)(8|16|32|64|128)\b", re.IGNORECASE)

#: A dtype with categories, as any backend writes it.
_CATEGORICAL = re.compile("^(category|categorical|enum|dictionary)", re.IGNORECASE)


#: Dtypes of pandas and NumPy that have no missing values.
NO_MISSING = {
    "bool",
    *(f"{kind}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)),
}


def backend_of(X):
    """Return the name of the backend of a frame; None if X is no frame."""
    found = {
        "pandas": nw.dependencies.is_pandas_dataframe,
        "polars": nw.dependencies.is_polars_dataframe,
        "pyarrow": nw.dependencies.is_pyarrow_table,
    }
    return next((name for name, is_one in found.items() if is_one(X)), None)


def integer_of(dtype):
    """Return the NumPy integer of a backend's dtype, given as a string; else None."""
    found = _INTEGER.match(dtype)
    return None if found is None else np.dtype(found[0].lower().replace("128", "64"))


def decimal_of(dtype):
    """Return the precision and the scale of a backend's decimals; else None."""
    found = _DECIMAL.match(dtype)
    return None if found is None else tuple(int(one) for one in found.groups())


def has_categories(dtype):
    """Check whether a dtype, given as a string, is one of categories."""
    return bool(_CATEGORICAL.match(dtype))


def objects(values):
    """Convert a list to a one-dimensional array of objects."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def is_missing(value):
    """Check whether an object is None, NaN, NaT or pandas.NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return getattr(type(value), "__name__", "") != "ndarray" and _is_nan(value)


def _is_nan(value):
    try:
        return bool(value != value)  # of NaN alone
    except (TypeError, ValueError):
        return False


def _plain(value):
    """Convert a float to the object of a column of objects."""
    if value != value:
        return None
    return int(value) if value.is_integer() else value


class Arrays:
    """Columns of NumPy arrays."""

    name = "numpy"

    def names(self, X):
        return [f"x{i}" for i in range(X.shape[1])]

    def columns(self, X):
        return list(X.T)

    def type(self, column):
        """Return narwhals' dtype of a column; None if its values have to tell the kind."""

    def dtype(self, column):
        """Return the dtype of a column as a string."""
        return str(column.dtype)

    def values(self, column):
        """Return the values of a column of no known dtype."""
        return column

    def objects(self, column):
        """Return the values of a column as an array of objects."""
        return column.astype(object)

    def declared(self, column):
        """Return the categories that the dtype of a column declares, and their order."""
        return None, False

    def plain(self, values, dtype):
        """Build a column of plain values from objects, with None for missing ones."""
        if not dtype.startswith(("int", "uint", "float")):
            return values
        missing = any(value is None for value in values)
        return values.astype(np.float64 if missing else dtype)

    def numbers(self, values, dtype):
        """Build a column of floats, with NaN for missing ones."""
        return values

    def categories(self, codes, levels, ordered, dtype):
        """Build a column of categories from their codes, with -1 for missing ones."""
        return objects([*levels, None])[codes]

    def times(self, values, zone, dtype):
        """Build a column from datetimes of NumPy (in UTC) or its timedeltas."""
        if np.datetime_data(values.dtype)[0] == "ns":  # which would be ints
            values = values.astype(f"{values.dtype.kind}8[us]")
        found = values.astype(object)
        if zone is not None:
            found = [one and one.replace(tzinfo=datetime.UTC) for one in found]
        return objects(list(found))

    def where(self, mask, new, old):
        """Take the values of the new column where the mask is True."""
        return np.where(mask, new, old)

    def replaced(self, X, columns):
        """Return X with other columns, given by their positions."""
        found = X.astype(np.result_type(X, *columns.values()))
        for i, column in columns.items():
            found[:, i] = column
        return found

    def frame(self, names, columns, like):
        """Build a frame, with the index of another one."""
        found = np.empty((len(columns[0]), len(columns)), object)
        for i, column in enumerate(columns):
            found[:, i] = column
        numeric = all(np.asarray(column).dtype.kind in "biuf" for column in columns)
        return found.astype(np.float64) if numeric else found


class Pandas:
    """Columns of pandas frames."""

    name = "pandas"

    def names(self, X):
        return list(X.columns)

    def columns(self, X):
        return [X.iloc[:, i] for i in range(X.shape[1])]

    def type(self, column):
        if column.dtype == object or str(column.dtype).startswith("Sparse"):
            return None
        return nw.from_native(column, series_only=True).dtype

    def dtype(self, column):
        import pandas as pd

        found = column.dtype
        if isinstance(found, pd.ArrowDtype):
            return "utf8[pyarrow]" if str(found) == "string[pyarrow]" else str(found)
        if isinstance(found, pd.StringDtype) and found.na_value is pd.NA:
            return f"string[{found.storage}]"
        if isinstance(found, pd.CategoricalDtype):
            return f"category[{found.categories.dtype}]"
        return str(found)

    def values(self, column):
        if str(column.dtype).startswith("Sparse"):
            column = column.sparse.to_dense()
        return column.to_numpy()

    def objects(self, column):
        return column.to_numpy(dtype=object)

    def floats(self, column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)

    def ticks(self, column):
        if self.dtype(column).endswith("[pyarrow]"):
            return column.array.__arrow_array__().to_numpy(zero_copy_only=False)
        if getattr(column.dtype, "tz", None) is not None:
            column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return column.to_numpy()

    def declared(self, column):
        found = getattr(column.dtype, "categories", None)
        if found is None:
            return None, False
        return tuple(found.tolist()), bool(column.dtype.ordered)

    def _cast(self, column, dtype):
        import pandas as pd

        if dtype.endswith("[pyarrow]") and dtype != "string[pyarrow]":
            dtype = pd.ArrowDtype(_arrow_dtype(dtype.removesuffix("[pyarrow]")))
        return column.astype(dtype)

    def plain(self, values, dtype):
        import pandas as pd

        if dtype == "str":  # an object before pandas 3
            return pd.Series(values, dtype=pd.Series(["a"]).dtype)
        if dtype in NO_MISSING and any(value is None for value in values):
            dtype = "object" if dtype == "bool" else "float64"
        return self._cast(pd.Series(values, dtype=object), dtype)

    def numbers(self, values, dtype):
        import pandas as pd

        if dtype == "object":
            return pd.Series(objects([_plain(value) for value in values.tolist()]))
        if dtype in NO_MISSING and np.isnan(values).any():
            return pd.Series(values)
        return self._cast(pd.Series(values), dtype)

    def categories(self, codes, levels, ordered, dtype):
        import pandas as pd

        if (dtype or "").endswith("[pyarrow]"):
            made = BACKENDS["pyarrow"].categories(codes, levels, ordered, dtype[:-9])
            return pd.Series(pd.arrays.ArrowExtensionArray(made))
        of = None if dtype is None else dtype[len("category[") : -1]
        kind = pd.CategoricalDtype(pd.Index(list(levels), dtype=of), ordered)
        return pd.Series(pd.Categorical.from_codes(codes, dtype=kind))

    def times(self, values, zone, dtype):
        import pandas as pd

        if dtype == "object":
            return pd.Series(ARRAYS.times(values, zone, dtype), dtype=object)
        if values.dtype == "M8[D]":
            values = values.astype("M8[s]")
        column = pd.Series(values)
        if zone is not None:
            column = column.dt.tz_localize("UTC").dt.tz_convert(zone)
        return column if dtype is None else self._cast(column, dtype)

    def where(self, mask, new, old):
        import pandas as pd

        new.index = old.index
        if old.dtype == object:  # which pandas 2 would convert
            return pd.Series(np.where(mask, new, old), old.index, dtype=object)
        return old.where(~mask, new)

    def replaced(self, X, columns):
        found = X.copy(deep=False)
        for i, column in columns.items():
            column.index = X.index
            found.isetitem(i, column)
        return found

    def frame(self, names, columns, like):
        import pandas as pd

        found = pd.concat(columns, axis=1)
        found.columns = pd.Index(names)
        if backend_of(like) == "pandas":
            found.index, found.columns.name = like.index, like.columns.name
        return found


class Polars:
    """Columns of polars frames."""

    name = "polars"

    def names(self, X):
        return list(X.columns)

    def columns(self, X):
        return X.get_columns()

    def type(self, column):
        return nw.from_native(column, series_only=True).dtype

    def dtype(self, column):
        found = column.dtype
        plain = found.is_numeric() or found.is_temporal()
        return str(found if plain else found.base_type())

    def values(self, column):
        return self.objects(column)

    def objects(self, column):
        return objects(column.to_list())

    def floats(self, column):
        return nw.from_native(column, series_only=True).cast(nw.Float64).to_numpy()

    def ticks(self, column):
        return column.to_numpy()

    def declared(self, column):
        import polars as pl

        if column.dtype == pl.Enum:
            return tuple(column.dtype.categories.to_list()), True
        return None, False

    def _own(self, dtype):
        """Return the dtype of polars that a string stands for."""
        import polars as pl

        if decimal_of(dtype) is not None:
            return pl.Decimal(*decimal_of(dtype))
        named = {name.lower(): name for name in ("UInt8", "UInt16", "UInt32", "UInt64")}
        named |= {"bool": "Boolean", "str": "String"}
        return getattr(pl, named.get(dtype, dtype[0].upper() + dtype[1:]))

    def plain(self, values, dtype):
        import polars as pl

        return pl.Series(values.tolist(), dtype=self._own(dtype), strict=False)

    def numbers(self, values, dtype):
        import polars as pl

        return pl.Series(values, nan_to_null=True).cast(self._own(dtype))

    def categories(self, codes, levels, ordered, dtype):
        import polars as pl

        values = objects([*levels, None])[codes].tolist()
        if not all(isinstance(level, str) for level in levels):
            return pl.Series(values, strict=False)
        enum = ordered if dtype is None else dtype == "Enum"
        return pl.Series(values, dtype=pl.Enum(list(levels)) if enum else pl.Categorical)

    def times(self, values, zone, dtype):
        import polars as pl

        if np.datetime_data(values.dtype)[0] == "s":
            values = values.astype(f"{values.dtype.kind}8[ms]")
        column = pl.Series(values)
        if zone is not None:
            column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        return column

    def where(self, mask, new, old):
        import polars as pl

        return new.cast(old.dtype).zip_with(pl.Series(mask), old)

    def replaced(self, X, columns):
        return X.with_columns(column.alias(X.columns[i]) for i, column in columns.items())

    def frame(self, names, columns, like):
        import polars as pl

        return pl.DataFrame(
            [column.alias(str(name)) for name, column in zip(names, columns, strict=True)]
        )


class Arrow:
    """Columns of pyarrow tables."""

    name = "pyarrow"

    def names(self, X):
        return list(X.column_names)

    def columns(self, X):
        return X.columns

    def type(self, column):
        return nw.from_native(column, series_only=True).dtype

    def dtype(self, column):
        return str(column.type)

    def values(self, column):
        return self.objects(column)

    def objects(self, column):
        return objects(column.to_pylist())

    def floats(self, column):
        import pyarrow as pa

        if pa.types.is_integer(column.type):
            return column.to_numpy().astype(np.float64)
        return nw.from_native(column, series_only=True).cast(nw.Float64).to_numpy()

    def ticks(self, column):
        return column.to_numpy()

    def declared(self, column):
        if getattr(column.type, "ordered", False):
            values = column.unify_dictionaries().chunk(0).dictionary
            return tuple(values.to_pylist()), True
        return None, False

    def plain(self, values, dtype):
        import pyarrow as pa

        return pa.chunked_array([pa.array(values.tolist(), _arrow_dtype(dtype))])

    def numbers(self, values, dtype):
        import pyarrow as pa

        made = pa.array(values, from_pandas=True)
        return pa.chunked_array([made.cast(_arrow_dtype(dtype), safe=False)])

    def categories(self, codes, levels, ordered, dtype):
        import pyarrow as pa

        found = _DICTIONARY.match(dtype or "")
        values, indices = (None, "int32") if found is None else found.groups()
        made = pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=codes < 0).cast(_arrow_dtype(indices)),
            pa.array(levels, values and _arrow_dtype(values)),
            ordered=ordered,
        )
        return pa.chunked_array([made])

    def times(self, values, zone, dtype):
        import pyarrow as pa

        made = pa.array(values)
        if zone is not None:
            made = made.cast(pa.timestamp(made.type.unit, zone))
        if dtype is not None:
            made = made.cast(_arrow_dtype(dtype), safe=False)
        return pa.chunked_array([made])

    def where(self, mask, new, old):
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.if_else(pa.array(mask), new, old)

    def replaced(self, X, columns):
        for i, column in columns.items():
            X = X.set_column(i, X.schema.field(i).with_type(column.type), column)
        return X

    def frame(self, names, columns, like):
        import pyarrow as pa

        return pa.table(columns, names=[str(name) for name in names])


ARRAYS = Arrays()

BACKENDS = {one.name: one for one in (ARRAYS, Pandas(), Polars(), Arrow())}


def _arrow_dtype(text):
    """Return the dtype of pyarrow that a string stands for."""
    import pyarrow as pa

    if text == "str":
        return pa.string()
    found = _ARROW.match(text)
    if found is None:
        return pa.type_for_alias(text)
    kind, first, second = found.groups()
    if kind.startswith("decimal"):
        return getattr(pa, kind)(int(first), int(second))
    return pa.timestamp(first, second) if kind == "timestamp" else pa.duration(first)


def installed(name):
    """Return a backend by its name; arrays if its package can't be imported."""
    try:
        if name != "numpy":
            importlib.import_module(name)
    except ImportError:
        return ARRAYS
    return BACKENDS[name]


# -- frames of any backend, through narwhals


def nulls(X):
    """Return where a frame has missing values, of shape (n_rows, n_columns)."""
    frame = nw.from_native(X, eager_only=True)
    found = np.zeros(frame.shape, bool)
    for i, column in enumerate(frame.iter_columns()):
        missing = column.is_null()
        if column.dtype.is_float():
            missing = missing | column.is_nan().fill_null(True)
        found[:, i] = missing.to_numpy()
    return found


def without(X, marker):
    """Replace a marker of missing values in a frame with missing values."""
    frame = nw.from_native(X, eager_only=True)
    is_text, changed = isinstance(marker, str), []
    for column in frame.iter_columns():
        text = column.dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object)
        if text == is_text and (is_text or column.dtype.is_numeric()):
            name = column.name
            same = nw.col(name).cast(nw.String) if is_text else nw.col(name)
            changed.append(nw.when(same != marker).then(nw.col(name)).alias(name))
    return frame.with_columns(*changed).to_native() if changed else X


def with_nulls(X, places):
    """Set values of a frame to missing: by column name, the rows."""
    frame = nw.from_native(X, eager_only=True)
    for name, rows in places.items():
        column = frame[name]
        flag = nw.new_series("flag", ~rows, nw.Boolean, backend=frame.implementation)
        flag = _aligned(flag, X)
        there = frame.select(nw.col(name)).with_columns(flag)
        kept = there.select(nw.when(nw.col("flag")).then(nw.col(name)).alias(name))
        frame = frame.with_columns(kept[name] if column.name == name else column)
    return frame.to_native()


def beside(X, columns):
    """Append columns of booleans to a frame, given by name."""
    frame = nw.from_native(X, eager_only=True)
    added = [
        _aligned(nw.new_series(name, flags, nw.Boolean, backend=frame.implementation), X)
        for name, flags in columns.items()
    ]
    return frame.with_columns(*added).to_native()


def _aligned(series, X):
    """Give a series of pandas the index of a frame."""
    native = series.to_native()
    if not hasattr(X, "index") or not hasattr(native, "index"):
        return series
    return nw.from_native(native.set_axis(X.index), series_only=True)


def as_backend(X, name):
    """Convert a frame to another backend."""
    if backend_of(X) in (None, name):
        return X
    frame = nw.from_native(X, eager_only=True)
    return frame.to_pandas() if name == "pandas" else frame.to_polars()
