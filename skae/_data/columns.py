"""Columns of a table: their kinds, and their values as numbers and back."""

import datetime
import decimal
import numbers
import re
from dataclasses import dataclass, field, replace

import narwhals.stable.v2 as nw
import numpy as np

from skae._data.frames import has_categories, integer_of, is_missing, objects
from skae._utils.warnings import warn_user

#: The largest number of levels of a category.
MOST_LEVELS = 255

#: A column of strings with more levels than this, and with more than half as many as it has
#: values, holds names or keys.
FEW_LEVELS = 20

#: The least number of values of a column of which none is known that are warned about.
FEW_VALUES = 10

#: Nanoseconds in each unit of time, the coarsest first.
UNITS = {"D": 86_400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9}
UNITS |= {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}

#: What to do with values that are no numbers, strings, bools or dates.
REMEDIES = {
    "list": "make columns of its items",
    "ndarray": "make columns of its items",
    "dict": "make columns of its items",
    "complex": "give its real and imaginary parts as two columns",
    "Period": "convert it by .dt.to_timestamp()",
    "Interval": "convert its categories to strings, .astype(str)",
    "time": "convert it to hours, a number",
    "datetime": "convert it by pandas.to_datetime",
    "timedelta": "convert it by pandas.to_timedelta",
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
            return np.array([value is None for value in self.values], bool)
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
    if categorical or kind in (nw.String, nw.Categorical, nw.Enum):
        found = _category(backend, column, name, dtype)
        return found if categorical is not False else _left_out(found, name)
    if kind is None:
        found = _of_values(backend.values(column), name, dtype)
        left_out = categorical is False and found.kind == "category"
        return _left_out(found, name) if left_out else found
    if kind.is_numeric():
        return Values("number", _finite(backend.floats(column), name), dtype)
    if kind == nw.Boolean:
        return Values("bool", backend.floats(column), dtype)
    if kind in (nw.Date, nw.Datetime):
        zone = getattr(kind, "time_zone", None)
        return Values("datetime", backend.ticks(column), dtype, zone=zone)
    if kind == nw.Duration:
        return Values("duration", backend.ticks(column), dtype)
    return _of_values(backend.objects(column), name, dtype)


def _category(backend, column, name, dtype):
    """Read a column as a category."""
    values = _without_missing(backend.objects(column))
    declared, ordered = backend.declared(column)
    several = families(values)
    if declared is None and len(several) > 1:
        raise _mixed(name, several)
    for family, value in several.items():
        if family not in ("number", "bool", "string"):
            raise _refused(name, values, value)
    if declared is not None:
        for value in declared:
            if not isinstance(value, (str, bool, int, float)):
                raise _refused(name, declared, value)
    kind = "category" if several or dtype != "object" else "empty"
    return Values(kind, values, dtype, declared, ordered)


def _of_values(values, name, dtype):
    """Read a column of which the values have to tell the kind."""
    if values.dtype.kind in "fiu":
        return Values("number", _finite(values.astype(np.float64), name), dtype)
    if values.dtype.kind == "b":
        return Values("bool", values.astype(np.float64), dtype)
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
    if family not in ("number", "bool"):
        raise _refused(name, values, value)
    return Values(family, _finite(values.astype(np.float64), name), dtype)


def _left_out(values, name):
    """Read a column of categories that the user does not name as one."""
    several = set(families(values.values))
    if several <= {"number", "bool"}:
        kind = "bool" if several == {"bool"} else "number"
        return Values(kind, values.values.astype(np.float64), values.dtype)
    raise TypeError(
        f"X's column {name!r} holds strings, {_some(values.values)}, and is not in"
        " categorical_features: name it there, pass 'from_dtype', or drop it."
    )


def _without_missing(values):
    """Set what is missing to None in an array of objects."""
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
    if issubclass(kind, (bool, np.bool_)):
        return "bool"
    if issubclass(kind, str):
        return "string"
    if issubclass(kind, (numbers.Real, decimal.Decimal)):
        return "number"
    if issubclass(kind, datetime.date) and not issubclass(kind, datetime.datetime):
        return "date"
    return kind.__name__


def _some(values, n=2):
    """Write the first different values of a column for a message."""
    found = []
    for value in values:
        if value is not None and not any(value is one or value == one for one in found):
            found.append(value)
        if len(found) == n:
            break
    return " and ".join(
        repr(getattr(value, "item", lambda v=value: v)()) for value in found
    )


def _mixed(name, several):
    some = " and ".join(f"{value!r} ({kind})" for kind, value in [*several.items()][:2])
    return TypeError(
        f"X's column {name!r} holds values of several kinds, {some}: convert them to one,"
        " for example by .astype(str), or drop the column."
    )


def _refused(name, values, value):
    what = type(value).__name__
    remedy = REMEDIES.get(what, "convert them to numbers, strings or dates")
    return TypeError(
        f"X's column {name!r} holds values of type {what}, {_some(values)}: {remedy}, or"
        " drop the column."
    )


def _finite(values, name):
    """Raise if a number is infinite, as scikit-learn does."""
    if np.isinf(values).any():
        raise ValueError(
            "Input X contains infinity or a value too large for dtype('float64'), in"
            f" column {name!r}."
        )
    return values


@dataclass(frozen=True)
class Column:
    """A column of a table, as it was in fit.

    Attributes
    ----------
    name : str or int
    kind : {"number", "bool", "category", "datetime", "duration"}
    levels : tuple
        The levels of a category that are encoded.

    declared : tuple or None
        All categories of the dtype, in its order.

    ordered : bool
        Whether the dtype declares an order.

    dtypes : dict of str to str
        The dtype in the backend of fit, by the backend's name.

    whole : bool
        Whether all numbers are whole.

    low, high : float
        The least and greatest encoded value.

    unit : str or None
        The unit of datetimes and durations: "D", "s", "ms", "us" or "ns".

    step : int
        The coarsest of day, hour, ..., nanosecond that all of them share, in units.

    origin : int
        The least datetime, in units since 1970.

    zone : str or None
        The time zone.
    """

    name: str | int
    kind: str
    levels: tuple = ()
    declared: tuple | None = None
    ordered: bool = False
    dtypes: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    unit: str | None = None
    step: int = 1
    origin: int = 0
    zone: str | None = None

    @classmethod
    def of(cls, name, values, backend, *, declared=False, named=False):
        """Describe a column by its values.

        Parameters
        ----------
        name : str or int
        values : Values
        backend : str
        declared : bool
            Encode all categories of the dtype, not just those that occur.

        named : bool
            Whether the user named the column as a category.
        """
        dtypes, present = {backend: values.dtype}, values.values[~values.missing]
        if values.kind == "category":
            levels = _levels(values, present, declared)
            _check_levels(name, levels, present, values, named)
            return cls(name, "category", levels, values.declared, values.ordered, dtypes)
        if values.kind in ("datetime", "duration"):
            return cls(
                name, values.kind, dtypes=dtypes, zone=values.zone, **_times(present)
            )
        if not len(present):
            return cls(name, values.kind, dtypes=dtypes)
        return cls(
            name,
            values.kind,
            dtypes=dtypes,
            whole=values.kind == "number" and bool((present == np.rint(present)).all()),
            low=float(present.min()),
            high=float(present.max()),
        )

    def joined(self, other):
        """Describe the values of two columns of the same kind."""
        levels = dict.fromkeys([*self.levels, *other.levels])
        if self.declared is None:
            levels, declared = sorted(levels), None
        else:
            declared = tuple(dict.fromkeys([*self.declared, *(other.declared or ())]))
            levels = [level for level in declared if level in levels]
        return replace(
            self,
            levels=tuple(levels),
            declared=declared,
            whole=self.whole and other.whole,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )

    @property
    def width(self):
        """The number of encoded columns."""
        if self.kind != "category" or len(self.levels) == 2:
            return 1
        return len(self.levels) if len(self.levels) > 2 else 0

    @property
    def names(self):
        """The names of the encoded columns."""
        if self.kind != "category":
            return [str(self.name)]
        levels = self.levels[1:] if len(self.levels) == 2 else self.levels
        return [f"{self.name}_{level}" for level in levels][: self.width]

    def encode(self, values):
        """Encode values as an array of shape (n, width), and return what is missing too."""
        missing = values.missing
        if missing.all():
            return np.full((len(missing), self.width), np.nan), missing
        values = self._checked(values)
        if self.kind == "category":
            return self._encode_levels(values.values)
        if self.kind in ("datetime", "duration"):
            return self._days(values.values)[:, None], missing
        return values.values[:, None], missing

    def _checked(self, values):
        """Raise if values are of another kind than in fit."""
        floats = self.kind in ("number", "bool") and values.kind == "category"
        if floats and set(families(values.values)) <= {"number", "bool"}:
            values = _left_out(values, self.name)
        same = values.kind == self.kind
        if self.kind == "category" and self.levels:
            same = bool(set(families(self.levels)) & set(families(values.values)))
        elif self.kind in ("number", "bool") and values.kind in ("number", "bool"):
            known = np.isin(values.values, (0, 1)) | np.isnan(values.values)
            same = self.kind == "number" or bool(known.all())
        elif self.kind == "datetime" and same:
            same = (values.zone is None) == (self.zone is None)
        if same:
            return values
        raise TypeError(
            f"X's column {self.name!r} holds {values.kind} values of dtype {values.dtype},"
            f" {_some(values.values)}, but held {self.kind} values of dtype"
            f" {self._dtype} in fit."
        )

    @property
    def _dtype(self):
        return next(iter(self.dtypes.values()), self.kind)

    def _encode_levels(self, values):
        """Encode levels as 0 and 1, or as one column each; an unknown one is missing."""
        index = {_key(level): i for i, level in enumerate(self.levels)}
        codes = np.array([index.get(_key(value), -1) for value in values], np.intp)
        missing = codes < 0
        if missing.all() and len(values) >= FEW_VALUES:
            self._warn_unknown(values)
        if self.width == 1:
            found = codes[:, None].astype(np.float64)
        else:
            found = np.eye(self.width)[codes] if self.width else np.empty((len(codes), 0))
        found[missing] = np.nan
        return found, missing

    def _warn_unknown(self, values):
        if sum(value is not None for value in values) < FEW_VALUES:
            return
        known = ", ".join(repr(level) for level in self.levels[:10])
        more = ", ..." if len(self.levels) > 10 else ""
        warn_user(
            UserWarning(
                f"No value of X's column {self.name!r} was in fit: {_some(values, 3)}, ... are"
                f" missing values to the model, which knows {known}{more}."
            )
        )

    def _days(self, values):
        """Convert datetimes and timedeltas to days since the origin."""
        origin = np.zeros(1, "m8[D]")
        if self.kind == "datetime":
            origin = np.array([self.origin]).view(f"M8[{self.unit}]")
        since = values - origin
        missing, per_day = np.isnat(since), _per_day(since.dtype)
        days, rest = np.divmod(since.view(np.int64), per_day)
        return np.where(missing, np.nan, days + rest / per_day)

    def _times(self, days):
        """Convert days since the origin to datetimes or timedeltas, rounded to the step."""
        kind = "M8" if self.kind == "datetime" else "m8"
        per_day = _per_day(np.dtype(f"m8[{self.unit}]"))
        low, high = _bounds(self.unit, per_day)
        missing = np.isnan(days)
        days = np.clip(np.where(missing, 0, days), low - self.origin / per_day, None)
        days = np.minimum(days, high - self.origin / per_day)
        whole = np.floor(days)
        rest = np.rint((days - whole) * per_day).astype(np.int64)
        ticks = whole.astype(np.int64) * per_day + rest
        ticks = np.rint(ticks / self.step).astype(np.int64) * self.step + self.origin
        found = ticks.view(f"{kind}[{self.unit}]")
        found[missing] = np.array("NaT", found.dtype)
        return found

    def decode(self, matrix, backend):
        """Build a column in a backend from encoded values."""
        if self.kind == "category":
            return self._decode_levels(self.codes(matrix), backend)
        values = matrix[:, 0].astype(np.float64)
        dtype = self.dtypes.get(backend.name)
        if self.kind in ("datetime", "duration"):
            return backend.times(self._times(values), self.zone, dtype)
        if self.kind == "bool":
            codes = np.where(np.isnan(values), 2, values > 0.5).astype(np.intp)
            return backend.plain(objects([False, True, None])[codes], dtype or "bool")
        dtype = self._number_dtype(backend.name)
        return backend.numbers(self._rounded(values, dtype), dtype)

    def filled(self, column, values, missing, matrix, backend):
        """Take the missing values of a column from encoded values."""
        own = replace(self, dtypes={backend.name: values.dtype})
        if self.kind == "category":
            present = objects([*self.levels, None])[self.codes(matrix)]
            return _refilled(
                own, values, np.where(missing, present, values.values), backend
            )
        return backend.where(missing, own.decode(matrix, backend), column)

    def codes(self, matrix):
        """Return the positions of the most probable levels, the first on a tie; or -1."""
        if not self.width:
            return np.full(len(matrix), len(self.levels) - 1)
        missing = np.isnan(matrix).all(axis=1)
        if self.width == 1:
            codes = (matrix[:, 0] > 0.5).astype(np.intp)
        else:
            codes = np.where(np.isnan(matrix), -np.inf, matrix).argmax(axis=1)
        return np.where(missing, -1, codes)

    def _number_dtype(self, backend):
        """Return the dtype of numbers in a backend."""
        own = self.dtypes.get(backend)
        if own is not None and not has_categories(own):
            return own
        found = integer_of(self._dtype)
        return "float64" if found is None else found.name

    def _rounded(self, values, dtype):
        """Round numbers for an integer dtype, and clip them to its bounds."""
        bounds = integer_of(dtype)
        if bounds is None:
            return np.rint(values) if self.whole and dtype == "object" else values
        low, high = np.iinfo(bounds).min, np.iinfo(bounds).max
        largest = float(high) if float(high) <= high else np.nextafter(float(high), 0)
        return np.clip(np.rint(values), float(low), largest)

    def _decode_levels(self, codes, backend):
        """Build a column of categories from the positions of their levels."""
        dtype = self.dtypes.get(backend.name)
        if not has_categories(dtype or self._dtype):
            values = objects([*self.levels, None])[codes]
            return backend.plain(values, dtype or self._plain_dtype)
        declared = self.levels if self.declared is None else self.declared
        index = {_key(level): i for i, level in enumerate(declared)}
        places = np.array([*(index[_key(level)] for level in self.levels), -1])
        return backend.categories(places[codes], declared, self.ordered, dtype)

    @property
    def _plain_dtype(self):
        """The dtype of a category of plain values in another backend than fit's."""
        several = set(families(self.levels))
        if several == {"number"}:
            whole = all(isinstance(level, int) for level in self.levels)
            return "int64" if whole else "float64"
        return "bool" if several == {"bool"} else "str"


def _refilled(column, values, present, backend):
    """Build a column of categories from values, and the dtype that it had."""
    levels = dict.fromkeys(values.declared or ())
    levels = tuple(dict.fromkeys([*levels, *(v for v in present if v is not None)]))
    index = {_key(level): i for i, level in enumerate(levels)}
    codes = np.array([index.get(_key(value), -1) for value in present], np.intp)
    declared = levels if values.declared is not None else None
    ordered = values.ordered and declared is not None
    own = replace(column, levels=levels, declared=declared, ordered=ordered)
    return own._decode_levels(codes, backend)


def _key(value):
    """Return what makes levels equal: 3 and 3.0 are one level, 1 and True are two."""
    return ("bool", bool(value)) if isinstance(value, (bool, np.bool_)) else value


def _levels(values, present, declared):
    """Return the levels of a category: in the order of the dtype, or sorted."""
    seen = {_key(value): value for value in present}
    if values.declared is not None:
        return tuple(v for v in values.declared if declared or _key(v) in seen)
    return tuple(sorted(_plain(value) for value in seen.values()))


def _plain(value):
    """Convert a level to a plain value; whole floats become ints."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return int(value) if value == int(value) else float(value)


def _check_levels(name, levels, present, values, named):
    """Raise if a category has too many levels, or is a column of keys."""
    keys = not named and not has_categories(values.dtype)
    keys = keys and len(levels) > max(FEW_LEVELS, len(present) / 2)
    if len(levels) > MOST_LEVELS or keys:
        raise ValueError(
            f"X's column {name!r} has {len(levels)} levels in {len(present)} values,"
            f" {_some(levels)} among them"
            + (
                ", as names or keys have"
                if keys
                else f"; at most {MOST_LEVELS} are allowed"
            )
            + ": group the rare ones, or encode it by scikit-learn's TargetEncoder or by"
            " skrub, or drop it."
        )


def _per_day(dtype):
    """Return the number of ticks of a timedelta's unit in a day."""
    return UNITS["D"] // UNITS[np.datetime_data(dtype)[0]]


def _bounds(unit, per_day):
    """Return the days since 1970 that a unit can express, of the years 1 to 9999."""
    most = (2**63 - 1) // per_day - 1
    low = np.datetime64("0001-01-01", "D").astype(int)
    return max(-most, int(low)), min(most, 2_932_896)


def _times(present):
    """Describe datetimes or timedeltas: their unit, step, origin and range in days."""
    unit = np.datetime_data(present.dtype)[0]
    ticks = present.view(np.int64)
    if not len(ticks):
        return {"unit": unit}
    own = UNITS[unit]
    shared = (n // own for n in UNITS.values() if n >= own)
    step = next(n for n in shared if not (ticks % n).any())
    origin = int(ticks.min()) if present.dtype.kind == "M" else 0
    per_day = _per_day(present.dtype)
    low, high = ((int(t) - origin) / per_day for t in (ticks.min(), ticks.max()))
    return {"unit": unit, "step": step, "origin": origin, "low": low, "high": high}
