"""Tables: which kind each column is of, and frames as matrices and back."""

import datetime as dt
import json
import pickle
import re
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal, assert_series_equal

from skae._data.table import Column, Table

nan = np.nan


MAKERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.fixture(params=MAKERS)
def frame(request):
    """A function that makes a frame of each backend from lists."""
    return MAKERS[request.param]


def of(X, categorical_features="from_dtype", **arguments):
    return Table.of(X, categorical_features, **arguments)


def values(X, name):
    """The values of a column as a list, with None for missing ones."""
    found = X[name].to_pylist() if isinstance(X, pa.Table) else X[name].to_list()
    return [None if pd.isna(value) else value for value in found]


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame):
        assert_frame_equal(a, b)
    else:
        assert a.schema == b.schema
        assert a.equals(b)


# numbers only


def test_numbers_are_no_table(frame):
    assert of(frame({"a": [1, 2, 3], "b": [0.5, None, 2.0]})) is None
    assert of(frame({"a": [1, 2, 3], "b": [True, False, True]})) is None


def test_numbers_of_pandas_are_no_table():
    X = pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1.5, 2.5]})
    X["object"] = np.array([1, 2.5], object)
    X["flag"] = pd.array([True, None], "boolean")
    assert of(X) is None
    twice = X.iloc[:, [0, 1, 1]]
    assert of(twice) is None
    assert of(twice.iloc[:, 1:].astype("float32")) is None


def test_arrays_are_no_table_by_dtype():
    assert of(np.zeros((3, 2))) is None
    assert of(np.array([["a", 1], ["b", 2]], object)) is None
    assert of(pd.DataFrame({"a": ["x", "y"]}), None) is None


def test_a_frame_without_rows_is_left_to_scikit_learn():
    assert of(pd.DataFrame({"a": ["x"], "b": [1]})[:0]) is None


# kinds, names and places


def test_bools_are_numbers_or_yes_and_no(frame):
    columns = {"n": [1, 2, 3], "b": [True, False, True]}
    assert of(frame(columns)) is None
    table = of(frame(columns | {"c": ["x", "y", "x"]}))
    assert [column.kind for column in table.columns] == ["number", "bool", "category"]
    assert table.names.tolist() == ["n", "b", "c_y"]
    assert table.bits.tolist() == [1, 2]


def test_names_and_places(frame):
    X = frame(
        {
            "island": ["Torgersen", "Biscoe", "Dream", None],
            "mass": [3750.0, 3800.0, None, 3450.0],
            "sex": ["male", "female", None, "male"],
            "date": [dt.date(2007, 11, day) for day in (11, 12, 13, 14)],
            "one": ["only", "only", None, "only"],
        }
    )
    table = of(X)
    names = ["island_Biscoe", "island_Dream", "island_Torgersen", "mass", "sex_male"]
    assert table.names.tolist() == [*names, "date"]
    assert table.names.dtype == object
    assert table.column_names.tolist() == ["island", "mass", "sex", "date", "one"]
    places = [[0, 1, 2], [3], [4], [5], []]
    assert [found.tolist() for found in table.places] == places
    assert [found.tolist() for found in table.groups] == [[0, 1, 2]]
    assert table.bits.tolist() == [4]
    assert table.numbers.tolist() == [3, 5]
    matrix = table.encode(X)
    assert matrix.flags.c_contiguous
    assert_array_equal(
        matrix,
        [
            [0, 0, 1, 3750, 1, 0],
            [1, 0, 0, 3800, 0, 1],
            [0, 1, 0, nan, nan, 2],
            [nan, nan, nan, 3450, 1, 3],
        ],
    )
    missing = np.zeros((4, 5), bool)
    missing[[2, 2, 3, 2], [1, 2, 0, 4]] = True
    assert_array_equal(table.missing(X), missing)
    sums = table.by_column(np.arange(12.0).reshape(2, 6))
    assert_array_equal(sums, [[3, 3, 4, 5, 0], [21, 9, 10, 11, 0]])
    filled = table.filled(X, np.nan_to_num(matrix, nan=0.25))
    assert values(filled, "island")[3] == "Biscoe"  # the first on a tie
    assert values(filled, "mass")[2] == 0.25
    assert values(filled, "sex")[2] == "female"
    assert values(filled, "one") == ["only"] * 4


def test_the_round_trip_is_the_identity(frame):
    X = frame(
        {
            "c": ["b", "a", None, "c"],
            "i": [3, 1, 2, 2**40],
            "f": [0.1, None, -2.5, 1e300],
            "b": [True, False, True, True],
            "t": [
                dt.datetime(2020, 2, 29, 12, 30, 1, 7),
                None,
                *[dt.datetime(1970, 1, 1)] * 2,
            ],
            "d": [dt.timedelta(hours=3), None, dt.timedelta(days=-2), dt.timedelta(0)],
        }
    )
    table = of(X)
    assert_same(table.decode(table.encode(X), like=X), X)
    assert_same(table.decode(table.encode(X)), X)
    assert_same(table.filled(X, table.encode(X)), X)


# categories


def test_levels_are_those_seen_in_the_order_of_the_dtype():
    kind = pd.CategoricalDtype(["b", "a", "zz"])
    X = pd.DataFrame({"c": pd.Series(["b", "a", nan], dtype=kind), "n": [1, 2, 3]})
    table = of(X)
    assert table.columns[0].levels == ("b", "a")
    assert table.columns[0].declared == ("b", "a", "zz")
    assert table.names.tolist() == ["c_a", "n"]
    assert_array_equal(table.encode(X)[:, 0], [0, 1, nan])
    assert_frame_equal(table.decode(table.encode(X)), X)
    every = of(X, declared=True)
    assert every.names.tolist() == ["c_b", "c_a", "c_zz", "n"]


@pytest.mark.parametrize(
    "kind",
    [
        pd.CategoricalDtype([3, 1, 2]),
        pd.CategoricalDtype([2.5, 1.0], ordered=True),
        pd.CategoricalDtype([True, False]),
        pd.CategoricalDtype(np.array(["x", "y"], object), ordered=True),
        pd.CategoricalDtype(["x", 1]),
        "string",
        "string[pyarrow]",
        "str",
        "object",
        pd.ArrowDtype(pa.string()),
        pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_dtypes_of_categories_come_back(kind):
    levels = getattr(kind, "categories", ["x", "y"])
    column = pd.Series([levels[0], None, levels[1], levels[0]], dtype=kind)
    X = pd.DataFrame({"c": column, "n": range(4)})
    table = of(X)
    matrix = table.encode(X)
    assert_frame_equal(table.decode(matrix), X)
    filled = table.filled(X, np.nan_to_num(matrix))
    assert filled["c"].dtype == X["c"].dtype
    assert filled["c"].notna().all()


def test_unknown_levels_are_missing(frame):
    table = of(frame({"c": ["a", "b", "c"], "n": [1, 2, 3]}))
    assert table.names.tolist() == ["c_a", "c_b", "c_c", "n"]
    later = frame({"c": ["q", None, "b"], "n": [1, 1, 1]})
    matrix = table.encode(later)
    assert_array_equal(matrix[:, :3], [[nan] * 3, [nan] * 3, [0, 1, 0]])
    assert table.missing(later)[:, 0].tolist() == [True, True, False]
    filled = table.filled(later, np.array([[0.2, 0.5, 0.3, 9]] * 3))
    assert values(filled, "c") == ["b", "b", "b"]
    assert values(filled, "n") == [1, 1, 1]


def test_a_column_of_unknown_levels_warns_once():
    table = of(pd.DataFrame({"c": ["a", "b", "c"], "n": [1, 2, 3]}))
    later = pd.DataFrame({"c": ["A", "B"] * 5, "n": range(10)})
    with pytest.warns(
        UserWarning, match="'c' was in fit: 'A', 'B' .* 'a', 'b', 'c'"
    ) as w:
        table.encode(later)
    assert [one.filename for one in w] == [__file__]
    table.encode(later[:9])  # as few say nothing


def test_whole_floats_and_ints_are_one_level_and_bools_none():
    table = of(pd.DataFrame({"c": [3, 1, 2], "n": [1.5, 2, 3]}), ["c"])
    assert table.names.tolist() == ["c_1", "c_2", "c_3", "n"]
    later = pd.DataFrame({"c": [3.0, nan, 1.0], "n": [1.0, 2, 3]})
    assert_array_equal(table.encode(later)[:, 2], [1, nan, 0])
    assert table.filled(later, np.ones((3, 4)))["c"].tolist() == [3.0, 1.0, 1.0]
    with pytest.raises(TypeError, match=r"'c' .* bool"):
        table.encode(pd.DataFrame({"c": [True, False], "n": [1, 2]}))


def test_the_most_probable_level_is_taken():
    table = of(pd.DataFrame({"c": ["a", "b", "c"], "d": ["x", "y", "x"]}))
    matrix = [[0.3, 0.4, 0.3, 0.5], [0.4, 0.4, 0.2, 0.51], [nan, nan, nan, nan]]
    found = table.decode(np.array(matrix))
    assert values(found, "c") == ["b", "a", None]
    assert values(found, "d") == ["x", "y", None]


def test_categories_of_one_level_and_of_none():
    kind = pd.CategoricalDtype(["u", "v"])
    X = pd.DataFrame({"one": ["u", None], "n": [1.0, 2.0]}).astype({"one": kind})
    X["none"] = pd.Series([None, None], dtype=kind)
    table = of(X)
    assert [column.width for column in table.columns] == [0, 1, 0]
    assert [column.levels for column in table.columns] == [("u",), (), ()]
    found = table.decode(table.encode(X))
    assert values(found, "one") == ["u", "u"]
    assert values(found, "none") == [None, None]
    assert found.dtypes.tolist() == X.dtypes.tolist()


# bools


@pytest.mark.parametrize("kind", ["object", "boolean", "bool[pyarrow]"])
def test_bools_with_missing_values_keep_their_dtype(kind):
    X = pd.DataFrame(
        {"b": pd.Series([True, None, False], dtype=kind), "c": ["x", "y", "z"]}
    )
    table = of(X)
    matrix = table.encode(X)
    assert_array_equal(matrix[:, 0], [1, nan, 0])
    assert_frame_equal(table.decode(matrix), X)
    matrix[1, 0] = 0.7
    filled = table.filled(X, matrix)["b"]
    assert filled.dtype == X["b"].dtype
    assert filled.tolist() == [True, True, False]
    assert kind != "object" or {type(value) for value in filled} == {bool}


# dates and durations


ZONED = pd.date_range("2020-10-25", periods=9, freq="15min", tz="UTC")
DATES = {
    "objects": pd.Series([dt.date(2020, 1, 31), None, dt.date(1, 1, 1)], dtype=object),
    "zoned": pd.Series(ZONED.tz_convert("Europe/Berlin")),
    "zoned us": pd.Series(ZONED.as_unit("us").tz_convert("Europe/Berlin")),
    "ns": pd.Series(
        np.array(["2020-01-01T00:00:00.123456789", "NaT", "2020-01-02"], "M8[ns]")
    ),
    "s": pd.Series(np.array(["0001-01-01", "9999-12-31", "NaT"], "M8[s]")),
    "date32": pd.Series([dt.date(2020, 1, 1), None], dtype=pd.ArrowDtype(pa.date32())),
    "arrow": pd.Series([dt.datetime(2020, 1, 1, 5)], dtype="timestamp[us][pyarrow]"),
    "arrow zone": pd.Series(ZONED).astype("timestamp[ms, tz=Europe/Berlin][pyarrow]"),
    "hours": pd.Series(pd.to_timedelta([1, None, -30], unit="h")),
    "ns durations": pd.Series(np.array([1, 2**52 + 1, "NaT"], "m8[ns]")),
    "polars date": pl.Series([dt.date(2020, 1, 1), None, dt.date(1700, 2, 3)]),
    "polars": pl.Series(
        [dt.datetime(1900, 1, 1, 0, 0, 0, 1), None, dt.datetime(2030, 1, 1)]
    ),
    "polars ns": pl.Series([1, None, 10**15 + 1]).cast(pl.Datetime("ns", "Asia/Tokyo")),
    "polars ms": pl.Series([-1, 3, None]).cast(pl.Duration("ms")),
    "pyarrow": pa.chunked_array([pa.array([1, None, 99], pa.timestamp("s", "UTC"))]),
    "pyarrow time": pa.chunked_array([[dt.timedelta(1)], [dt.timedelta(0, 1), None]]),
}


@pytest.mark.parametrize("column", DATES.values(), ids=DATES.keys())
def test_dates_come_back_to_the_unit_and_the_zone(column):
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
    X = make[type(column).__module__.partition(".")[0]]({"t": column})
    table = of(X)
    assert table.columns[0].kind in ("datetime", "duration")
    found = table.decode(table.encode(X))
    assert_same(found, X)
    assert_same(
        table.filled(X, np.ones((len(column), 1))), table.filled(X, [[1.0]] * len(column))
    )


def test_days_since_the_first():
    X = pd.DataFrame(
        {"t": pd.to_datetime(["2020-01-03 00:00", "2020-01-01 12:00", None])}
    )
    X["d"] = pd.to_timedelta([36, None, 0], unit="h")
    table = of(X)
    assert_array_equal(table.encode(X), [[1.5, 1.5], [0, nan], [nan, 0]])
    assert table.columns[0].high == 1.5
    later = X.assign(t=X["t"].astype("M8[ns]") + pd.Timedelta(1, "D"))
    assert_array_equal(table.encode(later)[:, 0], [2.5, 1, nan])


def test_dates_are_rounded_as_those_of_fit(frame):
    days = [dt.datetime(2020, 1, day) for day in (1, 5, 9)]
    X = frame({"day": days, "hour": [dt.timedelta(hours=h) for h in (1, 2, 30)]})
    table = of(X)
    found = table.decode(np.array([[0.4, 0.4], [0.6, 1 / 24], [1e300, 2]]))
    assert values(found, "day")[:2] == [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)]
    assert values(found, "day")[2].year in (9999, 2262)  # nanoseconds end there
    hours = [value.total_seconds() / 3600 for value in values(found, "hour")]
    assert hours == [10, 1, 48]


def test_zoned_and_naive_datetimes_are_not_compared():
    X = pd.DataFrame({"t": ZONED})
    table = of(X)
    elsewhere = pd.DataFrame({"t": ZONED.tz_convert("Asia/Tokyo")})
    assert_array_equal(table.encode(elsewhere), table.encode(X))
    elsewhere.loc[1, "t"] = None
    assert table.filled(elsewhere, [[0.25]] * 9)["t"].dtype == elsewhere["t"].dtype
    with pytest.raises(TypeError, match=r"'t' is a datetime of dtype datetime64\[ns\]"):
        table.encode(pd.DataFrame({"t": ZONED.tz_localize(None).as_unit("ns")}))


# polars and pyarrow


def test_levels_of_polars_are_its_own():
    kind = pl.Categorical
    first = pl.DataFrame(
        {"c": pl.Series(["z", "m", None], dtype=kind), "f": [1.0, nan, None]}
    )
    other = pl.DataFrame({"c": pl.Series(["b", "a", "c"], dtype=kind)})
    assert of(other).columns[0].levels == ("a", "b", "c")
    table = of(first)
    assert table.columns[0].levels == ("m", "z")
    assert_array_equal(table.encode(first), [[1, 1], [0, nan], [nan, nan]])
    assert table.decode(table.encode(first)).schema == first.schema
    enum = pl.DataFrame(
        {"c": pl.Series(["a", "b", None], dtype=pl.Enum(["b", "x", "a"]))}
    )
    table = of(enum)
    assert table.columns[0].levels == ("b", "a")
    assert_same(table.decode(table.encode(enum)), enum)
    assert_same(
        table.filled(enum, np.ones((3, 1))),
        enum.with_columns(pl.Series("c", ["a", "b", "a"], enum["c"].dtype)),
    )


def test_dictionaries_of_pyarrow_stay_dictionaries():
    X = pa.table({"c": pa.array(["b", None, "a"]).dictionary_encode(), "n": [1, None, 3]})
    table = of(X)
    found = table.decode(table.encode(X))
    assert found.schema == X.schema
    assert found.to_pylist() == X.to_pylist()
    filled = table.filled(X, np.full((3, 2), 0.6))
    assert filled.schema == X.schema
    assert filled.to_pylist()[1] == {"c": "b", "n": 1}


@pytest.mark.parametrize(
    ("X", "remedy"),
    [
        (pl.LazyFrame({"a": ["x"]}), "collect()"),
        (pa.record_batch({"a": ["x"]}), "Table.from_batches"),
    ],
)
def test_what_is_no_frame_is_refused_by_its_name(X, remedy):
    with pytest.raises(TypeError, match=type(X).__name__) as error:
        of(X)
    assert remedy in str(error.value)


@pytest.mark.parametrize("fit", MAKERS)
def test_backends_agree_bit_for_bit(fit):
    columns = {
        "c": ["a", None, "b", "c"],
        "f": [0.1, None, 1 / 3, 2.0],
        "i": [1, 2, 3, 4],
        "b": [True, False, True, False],
        "t": [dt.datetime(2020, 1, 1, 0, 0, 7), None, *[dt.datetime(2021, 1, 1)] * 2],
    }
    frames = {name: make(columns) for name, make in MAKERS.items()}
    table = of(frames[fit])
    assert table.backend == fit
    wanted = table.encode(frames[fit])
    for X in frames.values():
        matrix = table.encode(X)
        assert matrix.dtype == wanted.dtype
        assert_array_equal(matrix, wanted)
        assert type(table.decode(matrix, like=X)) is type(X)
        assert type(table.filled(X, matrix)) is type(X)
        assert values(table.decode(matrix, like=X), "c") == columns["c"]
        assert values(table.decode(matrix, like=X), "t") == columns["t"]
    assert isinstance(table.decode(wanted, container="polars"), pl.DataFrame)
    assert isinstance(table.decode(wanted, container="pandas"), pd.DataFrame)


# filling


def test_columns_without_missing_values_stay_the_same():
    X = pd.DataFrame(
        {
            "full": [2**60 + 1, 5, 7],
            "big": pd.array([2**60 + 1, None, 7], "Int64"),
            "whole": [1.0, nan, 3.0],
            "c": ["x", None, "y"],
        },
        index=pd.Index([5, 2, 9], name="row"),
    )
    X.columns.name = "columns"
    before = X.copy()
    table = of(X)
    filled = table.filled(X, np.array([[9, 2.5, 2.5, 1]] * 3))
    assert np.shares_memory(filled["full"], X["full"])
    assert filled["big"].tolist() == [2**60 + 1, 2, 7]
    assert filled["whole"].tolist() == [1, 2.5, 3]
    assert filled["c"].tolist() == ["x", "y", "y"]
    assert filled.dtypes.tolist() == X.dtypes.tolist()
    assert filled.index.equals(X.index)
    assert filled.index.name == "row"
    assert filled.columns.name == "columns"
    assert_frame_equal(X, before)
    full = X.dropna()
    assert table.filled(full, np.zeros((2, 4))) is full
    decoded = table.decode(table.encode(X), like=X)
    assert decoded.index.tolist() == [5, 2, 9]


@pytest.mark.parametrize(
    ("kind", "given", "back"),
    [
        ("uint8", [-3.2, 2.5, 999], [0, 2, 255]),
        ("Int64", [2.5, 3.5, nan], [2, 4, None]),
        ("int64", [1e30, -1e30, 0.4], [2**63 - 1024, -(2**63), 0]),
        ("int8[pyarrow]", [2.5, nan, -200], [2, None, -128]),
        ("float32", [0.1, nan, 1.0], [float(np.float32(0.1)), None, 1]),
        (pd.ArrowDtype(pa.decimal128(4, 1)), [0.26, nan, 1e9], [0.3, None, 999.9]),
    ],
)
def test_numbers_are_rounded_for_their_dtype(kind, given, back):
    X = pd.DataFrame({"n": pd.Series([1, 2, 3], dtype=kind), "c": ["x", "y", "x"]})
    table = of(X)
    found = table.decode(np.column_stack([given, [0, 0, 0]]))
    assert found["n"].dtype == X["n"].dtype
    assert [None if v is None else float(v) for v in values(found, "n")] == [
        None if v is None else pytest.approx(v) for v in back
    ]


def test_numbers_of_polars_are_rounded_for_their_dtype():
    kinds = {"u": pl.UInt8, "i": pl.Int64, "d": pl.Decimal(4, 1), "f": pl.Float32}
    X = pl.DataFrame({name: [1, 2, 3] for name in kinds}, schema_overrides=kinds)
    X = X.with_columns(c=pl.Series(["x", "y", "z"]))
    table = of(X)
    found = table.decode(np.array([[-3.2, 2.5, 0.26, 0.5, 1, 0, 0], [nan] * 7]))
    assert found.schema == X.schema
    assert found["d"].cast(float).to_list() == [0.3, None]
    assert found.drop("d").rows() == [(0, 2, 0.5, "x"), (None,) * 4]


def test_ints_with_missing_values_are_floats_again():
    table = of(pd.DataFrame({"n": [1, 2, 3], "c": ["x", "y", "z"]}))
    found = table.decode(np.array([[1.4, 1, 0, 0], [nan, 1, 0, 0]]))
    assert_series_equal(found["n"], pd.Series([1.0, nan], name="n"))


def test_numbers_are_in_float32_if_that_is_exact():
    columns = {
        "c": ["x", "y"],
        "f": np.array([0.1, 2], "f4"),
        "i": np.array([1, 2], "i2"),
    }
    X = pd.DataFrame(columns)
    table = of(X)
    assert table.encode(X).dtype == np.float32
    assert table.encode(pl.from_pandas(X)).dtype == np.float32
    assert table.encode(pa.table(columns)).dtype == np.float32
    for other in (X.astype({"i": "i4"}), X.astype({"f": float})):
        assert table.encode(other).dtype == np.float64
        assert of(other).encode(other).dtype == np.float64
    dates = X.assign(f=pd.to_datetime("2020-01-01"))
    assert of(dates).encode(dates).dtype == np.float64
    assert of(X[["c"]]).encode(X[["c"]]).dtype == np.float64


# categorical_features


@pytest.mark.parametrize("given", [["a", "c"], [0, 2], [True, False, True], ("a", "c")])
def test_categorical_features_replace_the_dtypes(frame, given):
    X = frame({"a": [1, 2, 1], "b": [3, 4, 5], "c": ["x", "y", "z"]})
    table = of(X, given)
    assert table.names.tolist() == ["a_2", "b", "c_x", "c_y", "c_z"]
    assert_same(table.decode(table.encode(X)), X)


def test_what_categorical_features_leave_out():
    kind = pd.CategoricalDtype([2, 1])
    X = pd.DataFrame({"s": ["x", "y"], "k": pd.Series([1, 2], dtype=kind), "n": [1, 2]})
    table = of(X, ["s"])
    assert [column.kind for column in table.columns] == ["category", "number", "number"]
    assert table.encode(X)[:, 1].tolist() == [1, 2]
    with pytest.raises(TypeError, match="column 's' holds strings, 'x' and 'y'"):
        of(X, ["k"])
    assert of(X[["n"]], []) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["q"], "item value 'q' which is not a valid feature name"),
        ([3], "must be in [0, n_features - 1]"),
        ([-1], "must be in [0, n_features - 1]"),
        ([True], "must have shape (n_features,), got: (1,)"),
        ([0.5], "must be an array-like of bool, int or str, got: float64"),
        (np.array(["a", 1], object), "got: int, str"),
    ],
)
def test_wrong_categorical_features_are_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        of(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), given)


def test_arrays_have_categories_by_position():
    X = np.array([[0, 1.5], [2, 2.5], [1, nan], [nan, 0]])
    table = of(X, [0])
    assert table.backend == "numpy"
    assert table.names.tolist() == ["x0_0", "x0_1", "x0_2", "x1"]
    found = table.decode(table.encode(X))
    assert found.dtype == np.float64
    assert_array_equal(found, X)
    filled = table.filled(X, [[0.2, 0.2, 0.6, 7]] * 4)
    assert_array_equal(filled, [[0, 1.5], [2, 2.5], [1, 7], [2, 0]])
    with pytest.raises(ValueError, match="as an array of integers or as a boolean mask"):
        of(X, ["x0"])


def test_arrays_of_objects_have_categories_by_position():
    X = np.array([["a", 1, True], ["b", None, False], [nan, 2.5, None]], object)
    for given in (X, X.tolist()):
        table = of(given, [True, False, False])
        assert table.names.tolist() == ["x0_b", "x1", "x2"]
        matrix = table.encode(given)
        assert_array_equal(matrix, [[0, 1, 1], [1, nan, 0], [nan, 2.5, nan]])
        assert table.decode(matrix)[0].tolist() == ["a", 1, True]
    filled = table.filled(X, np.array([[1, 0.5, 1]] * 3))
    assert filled.tolist() == [["a", 1, True], ["b", 0.5, False], ["b", 2.5, True]]
    with pytest.raises(TypeError, match="'x0' holds strings"):
        of(X, [1])


def test_frames_are_encoded_from_arrays_of_their_columns():
    X = pd.DataFrame(
        {"c": ["x", None, "z"], "n": [1.5, nan, 2], "d": pd.to_datetime("2020")}
    )
    table = of(X)
    assert_array_equal(table.encode(X.to_numpy(dtype=object)), table.encode(X))
    with pytest.raises(ValueError, match="X has 2 columns, but the table has 3"):
        table.encode(X.to_numpy(dtype=object)[:, :2])


# refusals


OBJECTS = {
    "mixed": (["a", 1, 2.5], "several kinds, 'a' (string) and 1 (number)"),
    "lists": ([[1], [2, 3], None], "list, [1] and [2, 3]: make columns of its items"),
    "time": ([dt.time(1), None, dt.time(2)], "type time, datetime.time(1, 0) and"),
    "bytes": ([b"a", b"b", None], "type bytes, b'a' and b'b': decode it to strings"),
}


@pytest.mark.parametrize(("given", "message"), OBJECTS.values(), ids=OBJECTS.keys())
def test_what_has_no_kind_is_refused_by_name(given, message):
    for make in (pd.DataFrame, pl.DataFrame, pa.table):
        if make is not pd.DataFrame and isinstance(given[0], str):
            continue  # they have no mixed columns
        X = make({"fine": ["x", "y", "z"], "odd": given})
        with pytest.raises(TypeError, match=re.escape(message)) as error:
            of(X)
        assert "column 'odd'" in str(error.value)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (pd.period_range("2020", periods=3, freq="M"), ".dt.to_timestamp()"),
        (pd.cut([1, 2, 3], 2), "astype(str)"),
        (pd.interval_range(0, 3), "astype(str)"),
        (np.array([1j, 2, 3]), "real and imaginary parts"),
        (pd.array([None] * 3, dtype=object), "only missing values"),
        (pd.Categorical(pd.to_datetime(["2020-01-01"] * 3)), "numbers, strings or dates"),
        (["a"] * 150 + [1], "several kinds"),
    ],
)
def test_columns_of_pandas_without_a_kind_are_refused(given, remedy):
    with pytest.raises(TypeError, match=re.escape(remedy)) as error:
        of(
            pd.DataFrame(
                {
                    "fine": ["x", "y", "z"] * (len(given) // 3)
                    + ["x"] * (len(given) % 3),
                    "odd": given,
                }
            )
        )
    assert "column 'odd'" in str(error.value)


def test_an_all_null_column_of_polars_is_refused():
    with pytest.raises(TypeError, match="'odd' holds only missing values"):
        of(pl.DataFrame({"c": ["x", "y"], "odd": [None, None]}))


def test_too_many_levels_are_refused(frame):
    many = [f"level {i}" for i in range(300)] * 3
    with pytest.raises(
        ValueError, match=r"'odd' has 300 levels, .* more than 255: group"
    ):
        of(frame({"odd": many, "n": range(900)}))
    with pytest.raises(ValueError, match="'odd' has 300 levels"):
        of(frame({"odd": list(range(300)) * 3, "n": range(900)}), ["odd"])


def test_names_and_keys_are_refused_unless_they_are_named(frame):
    keys = [f"key {i}" for i in range(30)] + ["key 0"] * 20
    with pytest.raises(ValueError, match=r"'odd' has 30 levels.* in 50 values, as names"):
        of(frame({"odd": keys}))
    assert len(of(frame({"odd": keys}), ["odd"]).names) == 30
    assert len(of(frame({"odd": keys[:20]})).names) == 20
    assert len(of(frame({"odd": keys + ["key 0"] * 10})).names) == 30
    assert len(of(pd.DataFrame({"odd": pd.Categorical(keys)})).names) == 30


def test_columns_of_the_same_name_are_refused():
    X = pd.DataFrame([["x", 1, 2], ["y", 3, 4]], columns=["c", "n", "n"])
    with pytest.raises(ValueError, match=r"More than once: \['n'\]"):
        of(X)
    with pytest.raises(ValueError, match="More than once"):
        of(pa.Table.from_arrays([pa.array(["x", "y"])] * 2, names=["c", "c"]))
    X.columns = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    with pytest.raises(TypeError, match=r"strings or ints. Got \('a', 1\)"):
        of(X)


def test_names_may_be_ints():
    X = pd.DataFrame([["x", 1.5], ["y", 2.5], ["z", 3]])
    table = of(X)
    assert table.names.tolist() == ["0_x", "0_y", "0_z", "1"]
    assert [type(column.name) for column in table.columns] == [int, int]
    assert_frame_equal(table.decode(table.encode(X)), X, check_column_type=False)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_refused_in_scikit_learns_words(frame, value):
    X = frame({"c": ["x", "y"], "odd": [1.0, value]})
    with pytest.raises(ValueError, match=r"Input X contains infinity .* column 'odd'"):
        of(X)


@pytest.mark.parametrize(
    ("column", "given", "kinds"),
    [
        ("n", ["a", "b"], "'n' is a category of dtype .* it was a number of dtype"),
        ("c", [1, 2], "'c' is a .* it was a category of dtype"),
        ("b", [0, 2], "'b' is a number of dtype .* it was a bool of dtype"),
        ("t", [1.5, 2], "'t' is a number of dtype .* it was a datetime of dtype"),
        ("c", [dt.datetime(2020, 1, 1)] * 2, "'c' is a datetime of dtype .* a category"),
        ("n", [dt.timedelta(1)] * 2, "'n' is a duration of dtype .* a number of dtype"),
    ],
)
def test_another_kind_than_in_fit_is_refused(frame, column, given, kinds):
    X = {
        "n": [1.5, 2],
        "c": ["x", "y"],
        "b": [True, False],
        "t": [dt.datetime(2020, 1, 1)] * 2,
    }
    table = of(frame(X))
    with pytest.raises(TypeError, match=kinds):
        table.encode(frame(X | {column: given}))


def test_the_same_kind_in_another_dtype_makes_no_difference(frame):
    X = {"n": [1.0, 2.0], "c": ["x", "y"], "b": [True, False]}
    table = of(frame(X))
    wanted = table.encode(frame(X))
    for other in ({"n": [1, 2]}, {"b": [1, 0]}, {"b": [1.0, 0.0]}):
        assert_array_equal(table.encode(frame(X | other)), wanted)
    missing = table.encode(frame({name: [None, None] for name in X}))
    assert np.isnan(missing).all()
    kind = pd.CategoricalDtype(["y", "q", "x"])
    assert_array_equal(table.encode(pd.DataFrame(X).astype({"c": kind})), wanted)


def test_columns_are_found_by_their_names(frame):
    X = {"c": ["x", "y", "z"], "n": [1, 2, 3]}
    table = of(frame(X))
    turned = frame({"n": [1, None, 3], "c": ["x", "y", None]})
    assert_array_equal(table.encode(turned)[:2], [[1, 0, 0, 1], [0, 1, 0, nan]])
    filled = table.filled(turned, np.array([[0.1, 0.1, 0.8, 7]] * 3))
    assert values(filled, "n") == [1, 7, 3]
    assert values(filled, "c") == ["x", "y", "z"]


# plain values


def test_tables_are_plain_values():
    X = pd.DataFrame({"c": pd.Categorical(["x", "y", None]), "d": pd.to_datetime("2020")})
    X["n"] = np.arange(3, dtype="int8")
    X["k"] = pd.Categorical([3, 1, 2])
    table = of(X)
    again = [
        Column(**column) for column in json.loads(json.dumps(asdict(table)))["columns"]
    ]
    for column, one in zip(again, table.columns, strict=True):
        declared = None if one.declared is None else tuple(column.declared)
        assert column.name == one.name
        assert (tuple(column.levels), declared) == (one.levels, one.declared)
        assert (column.origin, column.step, column.high) == (
            one.origin,
            one.step,
            one.high,
        )
    assert pickle.loads(pickle.dumps(table)) == table


LOAD = """
import pickle, sys
sys.modules["pandas"] = None
import numpy as np
table = pickle.load(open(sys.argv[1], "rb"))
found = table.decode(np.array([[0, 1, 0, 2.5, 1, 0.4], [np.nan] * 6]))
assert found.dtype == object, found.dtype
print(found.tolist())
matrix = table.encode(found)
print(matrix.tolist())
"""


def test_a_table_is_loaded_without_pandas(tmp_path):
    X = pd.DataFrame(
        {
            "species": pd.Categorical(["Adelie", "Gentoo", "Chinstrap"]),
            "n": pd.array([1, 2, None], "Int64"),
            "b": [True, False, True],
            "t": pd.to_datetime(["2020-01-01", "2020-01-02", None]).tz_localize("UTC"),
        }
    )
    path = tmp_path / "table.pickle"
    path.write_bytes(pickle.dumps(of(X)))
    assert b"pandas.core" not in path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found, matrix = done.stdout.splitlines()
    date = "datetime.datetime(2020, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)"
    assert found == f"[['Chinstrap', 2.0, True, {date}], [None, nan, None, None]]"
    missing = ", ".join(["nan"] * 6)
    assert matrix == f"[[0.0, 1.0, 0.0, 2.0, 1.0, 0.0], [{missing}]]"
