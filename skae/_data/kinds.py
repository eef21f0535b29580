"""Columns of a table: how values of each kind become numbers, and numbers values."""

from dataclasses import dataclass, field, replace

import numpy as np

from skae._data.columns import as_numbers, families, some
from skae._data.frames import decimal_of, has_categories, integer_of, objects
from skae._utils.warnings import warn_user

#: The largest number of levels of a category.
MOST_LEVELS = 255

#: A column of strings with more levels than this, and with more than half as many as it has
#: values, holds names or keys.
FEW_LEVELS = 20

#: The least number of values of a column that are warned about if none of them is known.
FEW_VALUES = 10

#: Nanoseconds in each unit of time, the coarsest first.
UNITS = {"D": 86_400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9}
UNITS |= {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}

#: The first and the last day of Python's dates, in days since 1970.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896


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
        The least datetime, in units since 1970 in UTC.

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
        column = cls(name, values.kind, dtypes={backend: values.dtype})
        present = values.values[~values.missing]
        found = KINDS[values.kind].describe(values, present, declared)
        column = replace(column, **found)
        if column.kind == "category":
            _check_levels(column, values, len(present), named)
        return column

    def joined(self, other):
        """Describe the values of two columns of the same kind."""
        levels = dict.fromkeys([*self.levels, *other.levels])
        if self.declared is None:
            levels, declared = sorted(levels), None
        else:
            declared = tuple(dict.fromkeys([*self.declared, *(other.declared or ())]))
            levels = [level for level in declared if level in levels]
        first, per_day = min(self.origin, other.origin), 1
        if self.kind == "datetime":
            per_day = UNITS["D"] // UNITS[self.unit]
        later = [(one.origin - first) / per_day for one in (self, other)]
        ends = zip((self, other), later, strict=True)
        low, high = zip(*((c.low + off, c.high + off) for c, off in ends), strict=True)
        return replace(
            self,
            levels=tuple(levels),
            declared=declared,
            whole=self.whole and other.whole,
            low=min(low),
            high=max(high),
            step=min(self.step, other.step),
            origin=first,
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
        levels = self.levels[1:] if self.width == 1 else self.levels[: self.width]
        return [f"{self.name}_{level}" for level in levels]

    @property
    def dtype(self):
        """The dtype in fit."""
        return next(iter(self.dtypes.values()), self.kind)

    def encode(self, values):
        """Encode values.

        Returns
        -------
        matrix : ndarray of shape (n, width)
        missing : ndarray of bool of shape (n,)
            True for values that are missing, and for unknown levels.
        """
        missing = values.missing
        if missing.all():
            return np.full((len(missing), self.width), np.nan), missing
        matrix, unknown = KINDS[self.kind].encode(self, self._checked(values))
        return matrix, missing | unknown

    def _checked(self, values):
        """Return values of the column's kind, or raise."""
        found = KINDS[self.kind].accepted(self, values)
        if found is None:
            raise TypeError(
                f"X's column {self.name!r} is a {values.kind} of dtype {values.dtype}, for"
                f" example {some(values.values)}, but in fit it was a {self.kind} of dtype"
                f" {self.dtype}."
            )
        return found

    def decode(self, matrix, backend):
        """Build a column in a backend from encoded values."""
        return KINDS[self.kind].decode(self, matrix, backend)

    def filled(self, column, values, missing, matrix, backend):
        """Replace missing values of a column by encoded values; its dtype stays."""
        own = replace(self, dtypes={backend.name: values.dtype}, zone=values.zone)
        if self.kind == "category":
            levels = objects([*self.levels, None])[codes(self, matrix)]
            return _refilled(
                own, values, np.where(missing, levels, values.values), backend
            )
        return backend.where(missing, own.decode(matrix, backend), column)


class Number:
    """Numbers stay as they are."""

    def describe(self, values, present, declared):
        if not len(present):
            return {}
        whole = bool((present == np.rint(present)).all())
        return {"whole": whole, "low": float(present.min()), "high": float(present.max())}

    def accepted(self, column, values):
        if values.kind == "category" and "string" not in families(values.values):
            return as_numbers(values, column.name)
        return values if values.kind in ("number", "bool") else None

    def encode(self, column, values):
        return values.values[:, None], False

    def decode(self, column, matrix, backend):
        own = column.dtypes.get(backend.name)
        if own is None or has_categories(own):
            whole = integer_of(column.dtype)
            own = "float64" if whole is None else whole.name
        values = matrix[:, 0].astype(np.float64)
        return backend.numbers(self._rounded(column, values, own), own)

    def _rounded(self, column, values, dtype):
        """Round numbers as a dtype asks, and clip them to its bounds."""
        bounds, digits = integer_of(dtype), decimal_of(dtype)
        if bounds is not None:
            low, high = np.iinfo(bounds).min, np.iinfo(bounds).max
            last = float(high) if float(high) <= high else np.nextafter(float(high), 0)
            return np.clip(np.rint(values), float(low), last)
        if digits is not None:
            precision, scale = digits
            last = 10.0 ** (precision - scale) - 10.0**-scale
            return np.clip(np.round(values, scale), -last, last)
        return np.rint(values) if column.whole and dtype == "object" else values


class Bool(Number):
    """Bools are 0 and 1; more than .5 is True."""

    def describe(self, values, present, declared):
        return super().describe(values, present, declared) | {"whole": False}

    def accepted(self, column, values):
        found = super().accepted(column, values)
        if found is None or (found.values[~found.missing] % 1).any():
            return None
        return (
            found
            if np.nanmin(found.values) >= 0 and np.nanmax(found.values) <= 1
            else None
        )

    def decode(self, column, matrix, backend):
        missing = np.isnan(matrix[:, 0])
        found = objects([False, True, None])[
            np.where(missing, 2, matrix[:, 0] > 0.5).astype(int)
        ]
        own = column.dtypes.get(backend.name)
        return backend.plain(found, own or "bool")


class Category:
    """Categories are one column of 0 and 1 for each level; one for two levels."""

    def describe(self, values, present, declared):
        seen = {_key(value): value for value in present}
        if values.declared is None:
            levels = sorted(_plain(value) for value in seen.values())
        else:
            levels = [v for v in values.declared if declared or _key(v) in seen]
        return {
            "levels": tuple(levels),
            "declared": values.declared,
            "ordered": values.ordered,
        }

    def accepted(self, column, values):
        if values.kind != "category":
            return None
        known = set(families(column.declared or column.levels))
        return values if not known or known & set(families(values.values)) else None

    def encode(self, column, values):
        found = _positions(values.values, column.levels)
        if column.width == 1:
            matrix = found[:, None].astype(np.float64)
        else:
            matrix = np.eye(len(column.levels))[found][:, : column.width]
        matrix[found < 0] = np.nan
        return matrix, found < 0

    def decode(self, column, matrix, backend):
        return _of_codes(column, codes(column, matrix), backend)


class Datetime:
    """Datetimes are days since the first one.

    Days are floats: of nanoseconds that are more than some fifty days off, and of
    microseconds more than seventy years off, the last digits are lost.
    """

    kind = "M8"

    def describe(self, values, present, declared):
        unit = np.datetime_data(present.dtype)[0]
        ticks, per_day = present.view(np.int64), _per_day(unit)
        found = {"unit": unit, "zone": values.zone}
        if not len(ticks):
            return found
        steps = (n // UNITS[unit] for n in UNITS.values() if n >= UNITS[unit])
        found["step"] = next(n for n in steps if not (ticks % n).any())
        origin = int(ticks.min()) if self.kind == "M8" else 0
        low, high = ((int(t) - origin) / per_day for t in (ticks.min(), ticks.max()))
        return found | {"origin": origin, "low": low, "high": high}

    def accepted(self, column, values):
        same = values.kind == column.kind
        same = same and (values.zone is None) == (column.zone is None)
        return values if same else None

    def encode(self, column, values):
        origin = np.array([column.origin]).view(f"{self.kind}[{column.unit or 'D'}]")
        since = values.values - origin
        days, rest = np.divmod(since.view(np.int64), per := _per_day(_unit(since)))
        matrix = np.where(np.isnat(since), np.nan, days + rest / per)
        return matrix[:, None], False

    def decode(self, column, matrix, backend):
        days, unit = matrix[:, 0].astype(np.float64), column.unit
        missing, per_day = np.isnan(days), _per_day(unit)
        low, high = self._bounds(column, per_day)
        days = np.clip(np.where(missing, 0, days), low, high)
        whole = np.floor(days)
        ticks = np.rint((days - whole) * per_day).astype(np.int64)
        ticks += whole.astype(np.int64) * per_day
        ticks = (ticks + column.step // 2) // column.step * column.step + column.origin
        found = ticks.view(f"{self.kind}[{unit}]")
        found[missing] = "NaT"
        return backend.times(found, column.zone, column.dtypes.get(backend.name))

    def _bounds(self, column, per_day):
        """Return the least and the greatest days that the unit can express."""
        most = (2**63 - 1) // per_day - 1
        low, high = -most, most
        if self.kind == "M8":
            low, high = max(low, FIRST_DAY), min(high, LAST_DAY)
        return low - column.origin / per_day, high - column.origin / per_day


class Duration(Datetime):
    """Durations are days."""

    kind = "m8"


KINDS = {
    "number": Number(),
    "bool": Bool(),
    "category": Category(),
    "datetime": Datetime(),
    "duration": Duration(),
}


def _unit(values):
    return np.datetime_data(values.dtype)[0]


def _per_day(unit):
    """Return how many units a day has."""
    return UNITS["D"] // UNITS[unit]


def _key(value):
    """Return what makes levels equal: 3 and 3.0 are one level, 1 and True are two."""
    return ("bool", bool(value)) if isinstance(value, (bool, np.bool_)) else value


def _positions(values, levels):
    """Return the position of each value among the levels; -1 if it is none of them."""
    index = {_key(level): i for i, level in enumerate(levels)}
    if not {*map(type, values)} <= {str, type(None)}:
        values = map(_key, values)
    return np.array([index.get(value, -1) for value in values], np.intp)


def _plain(value):
    """Convert a level to a plain value; whole floats become ints."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return int(value) if value == int(value) else float(value)


def codes(column, matrix):
    """Return the positions of the most probable levels, the first on a tie; -1 if missing."""
    if not column.width:
        return np.full(len(matrix), len(column.levels) - 1)
    if column.width == 1:
        found = (matrix[:, 0] > 0.5).astype(np.intp)
    else:
        found = np.where(np.isnan(matrix), -np.inf, matrix).argmax(axis=1)
    return np.where(np.isnan(matrix).all(axis=1), -1, found)


def _of_codes(column, found, backend):
    """Build a column of categories from the positions of their levels."""
    own = column.dtypes.get(backend.name)
    if not has_categories(own or column.dtype):
        values = objects([*column.levels, None])[found]
        return backend.plain(values, own or _plain_dtype(column.levels))
    declared = column.levels if column.declared is None else column.declared
    index = {_key(level): i for i, level in enumerate(declared)}
    places = np.array([*(index[_key(level)] for level in column.levels), -1])
    return backend.categories(places[found], declared, column.ordered, own)


def _plain_dtype(levels):
    """Return the dtype of levels in another backend than that of fit."""
    several = set(families(levels))
    if several == {"number"}:
        return "int64" if all(isinstance(level, int) for level in levels) else "float64"
    return "bool" if several == {"bool"} else "str"


def _refilled(column, values, present, backend):
    """Build a column of categories from values and the dtype of a column."""
    levels = {_key(level): level for level in values.declared or ()}
    for value in present:
        if value is not None:
            levels.setdefault(_key(value), value)
    levels = tuple(levels.values())
    found = _positions(present, levels)
    declared = None if values.declared is None else levels
    own = replace(column, levels=levels, declared=declared, ordered=values.ordered)
    return _of_codes(own, found, backend)


def _check_levels(column, values, n, named):
    """Raise if a category has too many levels, or is a column of names or keys."""
    n_levels = len(column.levels)
    keys = not named and not has_categories(values.dtype)
    keys = keys and n_levels > max(FEW_LEVELS, n / 2)
    if n_levels <= MOST_LEVELS and not keys:
        return
    why = f", more than {MOST_LEVELS}"
    if n_levels <= MOST_LEVELS:
        why = f" in {n} values, as names and keys have"
    raise ValueError(
        f"X's column {column.name!r} has {n_levels} levels, such as {some(column.levels)}"
        f"{why}: group the rare ones, or encode it by scikit-learn's TargetEncoder or by"
        " skrub, or drop it."
    )


def warn_unknown(column, values):
    """Warn if a category was fitted to none of the levels of a column of some length."""
    present = [value for value in values.values if value is not None]
    if column.kind != "category" or len(present) < FEW_VALUES:
        return
    more = ", ..." if len(column.levels) > 10 else ""
    warn_user(
        UserWarning(
            f"No value of X's column {column.name!r} was in fit: {some(present, 3)} are"
            f" missing values to the model. It knows {some(column.levels, 10)}{more}."
        )
    )
