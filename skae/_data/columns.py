"""Columns of frames: which kind they are of, and their values as arrays of NumPy."""

import datetime
import decimal
import numbers
import re
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import numpy as np

from skae._data.frames import integer_of, is_missing, objects

#: What to do with values that are no numbers, strings, bools or dates.
REMEDIES = {
    "list": "make columns of its items",
    "ndarray": "make columns of its items",
    "dict": "make columns of its items",
    "complex": "give its real and imaginary parts as two columns",
    "Period": "convert it by .dt.to_timestamp()",
    "Interval": "convert its categories to strings, .astype(str)",
    "time": "convert it to hours, a number",
    "bytes": "decode it to strings",
}


@dataclass(frozen=True)
class Values:
    """The values of a column in arrays of NumPy.

    Attributes
    ----------
    kind : {"number", "bool", "category", "datetime", "duration", "empty"}
        "empty" is a column of objects that are all missing.

    values : ndarray
        Floats of numbers and bools, objects of categories, with None for missing ones,
        datetimes (in UTC) and timedeltas of NumPy.

    dtype : str
        The column's dtype in its backend.

    declared : tuple or None
        The categories of the dtype.

    ordered : bool
    zone : str or None
        The time zone.
    """

    kind: str
    values: np.ndarray
    dtype: str
    declared: tuple | None = None
    ordered: bool = False
    zone: str | None = None

    @property
    def missing(self):
        """True for each missing value."""
        if self.kind in ("category", "empty"):
            return np.equal(self.values, None).astype(bool)
        return np.isnan(self.values)

    @property
    def is_narrow(self):
        """Whether float32 holds all values exactly."""
        whole = integer_of(self.dtype)
        if self.kind == "bool" or (whole is not None and whole.itemsize <= 2):
            return True
        narrow = r"(float32|float16|float\[pyarrow|float$|halffloat|Sparse\[float32)"
        return bool(re.match(narrow, self.dtype, re.IGNORECASE))


def read(backend, column, name, categorical=None):
    """Read a column of a frame or an array.

    Parameters
    ----------
    backend : Backend
    column : Series, ChunkedArray or ndarray
    name : str or int
    categorical : bool, optional
        Whether the column is a category. By default, its dtype says it.

    Raises
    ------
    TypeError
        If its values are of no kind, or of several. The message names the column.
    """
    kind, dtype = backend.type(column), backend.dtype(column)
    if kind in (nw.Date, nw.Datetime):
        zone = getattr(kind, "time_zone", None)
        return Values("datetime", backend.ticks(column), dtype, zone=zone)
    if kind == nw.Duration:
        return Values("duration", backend.ticks(column), dtype)
    if categorical or kind in (nw.String, nw.Categorical, nw.Enum):
        found = _category(backend, column, name, dtype)
    elif kind is None:
        found = _of_values(backend.values(column), name, dtype)
    elif kind.is_numeric():
        return Values("number", _finite(backend.floats(column), name), dtype)
    elif kind == nw.Boolean:
        return Values("bool", backend.floats(column), dtype)
    else:
        found = _of_values(backend.objects(column), name, dtype)
    left_out = categorical is False and found.kind == "category"
    return as_numbers(found, name) if left_out else found


def _category(backend, column, name, dtype):
    """Read a column as a category."""
    values = _without_missing(backend.objects(column))
    declared, ordered = backend.declared(column)
    several = families(values)
    if declared is None and len(several) > 1:
        raise _mixed(name, several)
    for value in (*several.values(), *(declared or ())):
        if _family(type(value)) not in ("number", "bool", "string"):
            raise _refused(name, declared or values, value)
    if "number" in several and any(value in (np.inf, -np.inf) for value in values):
        raise _infinite(name)
    kind = "category" if several or dtype != "object" else "empty"
    return Values(kind, values, dtype, declared, ordered)


def _of_values(values, name, dtype):
    """Read a column of which the values have to tell the kind."""
    if values.dtype.kind in "fiub":
        kind = "bool" if values.dtype.kind == "b" else "number"
        return Values(kind, _finite(values.astype(np.float64), name), dtype)
    values = _without_missing(values.astype(object))
    several = families(values)
    if len(several) > 1:
        raise _mixed(name, several)
    if not several:
        return Values("empty", values, dtype)
    (family, value), *_ = several.items()
    if family == "string":
        return Values("category", values, dtype)
    if family == "date":
        return Values("datetime", values.astype("M8[D]"), dtype)
    if family == "datetime":
        zone = None if value.tzinfo is None else "UTC"
        values = objects([_in_utc(one) for one in values])
        return Values("datetime", values.astype("M8[us]"), dtype, zone=zone)
    if family == "timedelta":
        return Values("duration", values.astype("m8[us]"), dtype)
    if family not in ("number", "bool"):
        raise _refused(name, values, value)
    return Values(family, _finite(values.astype(np.float64), name), dtype)


def _in_utc(value):
    """Convert a datetime to one of UTC without a time zone; others stay."""
    if value is None or value.tzinfo is None:
        return value
    return value.astimezone(datetime.UTC).replace(tzinfo=None)


def as_numbers(values, name):
    """Convert the values of a category to floats.

    Raises
    ------
    TypeError
        If they are strings, which categorical_features has to name.
    """
    several = set(families(values.values))
    if several <= {"number", "bool"}:
        kind = "bool" if several == {"bool"} else "number"
        floats = _finite(values.values.astype(np.float64), name)
        return Values(kind, floats, values.dtype)
    raise TypeError(
        f"X's column {name!r} holds strings, {some(values.values)}, and is not in"
        " categorical_features: name it there, pass 'from_dtype', or drop it."
    )


def _without_missing(values):
    """Set what is missing to None in an array of objects."""
    if {*map(type, values)} <= {str, type(None)}:
        return values
    missing = [is_missing(value) for value in values]
    return np.where(missing, None, values) if any(missing) else values


def families(values):
    """Return the first value of each family of types: strings, numbers, bools, dates."""
    first = {}
    for value in values:
        first.setdefault(type(value), value)
    found = {}
    for kind, value in first.items():
        if value is not None:
            found.setdefault(_family(kind), value)
    return found


def _family(kind):
    """Return the family of a type."""
    if issubclass(kind, (bool, np.bool_)):
        return "bool"
    if issubclass(kind, str):
        return "string"
    if issubclass(kind, (numbers.Real, decimal.Decimal)):
        return "number"
    for base in (datetime.datetime, datetime.date, datetime.timedelta):
        if issubclass(kind, base):
            return base.__name__
    return kind.__name__


def some(values, n=2):
    """Write the first different values of a column for a message."""
    found = []
    for value in values:
        if value is None or is_missing(value):
            continue
        text = str(value) if isinstance(value, np.generic) else repr(value)
        if text not in found:
            found.append(text)
        if len(found) == n:
            break
    return " and ".join(found) if n == 2 else ", ".join(found)


def _mixed(name, several):
    two = " and ".join(f"{value!r} ({kind})" for kind, value in [*several.items()][:2])
    return TypeError(
        f"X's column {name!r} holds values of several kinds, {two}: convert them to one,"
        " for example by .astype(str), or drop the column."
    )


def _refused(name, values, value):
    what = type(value).__name__
    remedy = REMEDIES.get(what, "convert them to numbers, strings or dates")
    return TypeError(
        f"X's column {name!r} holds values of type {what}, {some(values)}: {remedy}, or"
        " drop the column."
    )


def _finite(values, name):
    """Raise if a number is infinite, as scikit-learn does."""
    if np.isinf(values).any():
        raise _infinite(name)
    return values


def _infinite(name):
    return ValueError(
        "Input X contains infinity or a value too large for dtype('float64'), in column"
        f" {name!r}."
    )
