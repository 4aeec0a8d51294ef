"""Long tables to sequences and back."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sks4.data import as_panel, from_long, to_long


def long_table(lengths, *, seed=0):
    """Return rows in random order, times with gaps, two channels and a target per sequence."""
    rng = np.random.default_rng(seed)
    tables = [
        pd.DataFrame(
            {
                "who": f"s{i}",
                "when": pd.Timestamp("2020-01-01")
                + pd.to_timedelta(np.sort(rng.choice(50, length, replace=False)), unit="h"),
                "x": rng.normal(size=length),
                "n": rng.integers(9, size=length),
                "label": "ab"[i % 2],
            }
        )
        for i, length in enumerate(lengths)
    ]
    return pd.concat(tables).sample(frac=1, random_state=seed, ignore_index=True)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 99))
def test_long_table_survives_the_round_trip(lengths, seed):
    df = long_table(lengths, seed=seed)
    X, y, ids = from_long(df, id="who", time="when", values=["x", "n"], target="label")
    assert ids.tolist() == df["who"].unique().tolist()
    back = to_long(X, y, ids=ids, id="who", time="when", target="label")
    in_order = ["who", "when"]
    pd.testing.assert_frame_equal(
        back.sort_values(in_order, ignore_index=True), df.sort_values(in_order, ignore_index=True)
    )
    X2, y2, ids2 = from_long(back, id="who", time="when", values=["x", "n"], target="label")
    for frame, frame2 in zip(X, X2, strict=True):
        pd.testing.assert_frame_equal(frame, frame2)
    np.testing.assert_array_equal(y, y2)
    np.testing.assert_array_equal(ids, ids2)


def test_from_long_sorts_by_time_and_keeps_names():
    df = pd.DataFrame({"id": [7, 5, 7], "t": [2, 0, 1], "x": [20.0, 0.0, 10.0], "y": [1, 2, 1]})
    X, y, ids = from_long(df, id="id", time="t", values="x", target="y")
    assert ids.tolist() == [7, 5]
    assert y.tolist() == [1, 2]
    assert X[0]["x"].tolist() == [10.0, 20.0]
    assert X[0].index.tolist() == [1, 2]
    assert as_panel(X).feature_names.tolist() == ["x"]


def test_from_long_returns_no_target_unless_asked():
    assert from_long(long_table([2]), id="who", time="when", values="x")[1] is None


def test_from_long_returns_one_column_for_each_of_several_targets():
    df = pd.DataFrame({"id": [0, 0, 1], "t": [0, 1, 0], "x": 0.0, "a": [1, 1, 2], "b": [3, 3, 4]})
    X, y, ids = from_long(df, id="id", time="t", values="x", target=["a", "b"])
    np.testing.assert_array_equal(y, [[1, 3], [2, 4]])
    back = to_long(X, y, ids=ids, time="t")
    assert back["target_1"].tolist() == [3, 3, 4]


def test_from_long_accepts_time_as_a_channel():
    X, _, _ = from_long(long_table([3]), id="who", time="when", values=["when", "x"])
    assert X[0]["when"].tolist() == X[0].index.tolist()


def test_from_long_accepts_a_missing_target():
    df = pd.DataFrame({"id": [0, 0], "t": [0, 1], "x": 0.0, "y": [np.nan, np.nan]})
    assert np.isnan(from_long(df, id="id", time="t", values="x", target="y")[1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": [0, 0, np.nan]}, "Column 'id' must have no missing values, got 1"),
        ({"t": [0, np.nan, np.nan]}, "Column 't' must have no missing values, got 2"),
        ({"t": [3, 3, 0]}, "a time only once, got t=.*3.* several times for id=.*0"),
        ({"y": [1, 2, 1]}, "constant within each sequence, got different values of 'y'"),
        ({"y": [1, np.nan, 1]}, "constant within each sequence, got different values of 'y'"),
    ],
)
def test_from_long_refuses_ambiguous_rows(change, message):
    df = pd.DataFrame({"id": [0, 0, 1], "t": [0, 1, 0], "x": 0.0, "y": [1, 1, 2]}).assign(**change)
    with pytest.raises(ValueError, match=message):
        from_long(df, id="id", time="t", values="x", target="y")


def test_from_long_refuses_an_empty_table():
    with pytest.raises(ValueError, match="at least one row"):
        from_long(long_table([1]).iloc[:0], id="who", time="when", values="x")


def test_from_long_suggests_the_nearest_column():
    with pytest.raises(ValueError, match="Did you mean 'label'"):
        from_long(long_table([1]), id="who", time="when", values="x", target="labels")


@pytest.mark.parametrize("wrap", [np.asarray, list])
def test_to_long_counts_time_and_names_channels_of_arrays(wrap):
    X = np.arange(12.0).reshape(2, 2, 3)
    table = to_long(wrap(X), [1, 0])
    assert table.columns.tolist() == ["id", "time", "channel_0", "channel_1", "target"]
    assert table["time"].tolist() == [0, 1, 2] * 2
    X2, y, ids = from_long(
        table, id="id", time="time", values=["channel_0", "channel_1"], target="target"
    )
    np.testing.assert_array_equal(np.stack(list(as_panel(X2))), X)
    assert (y.tolist(), ids.tolist()) == ([1, 0], [0, 1])


def test_to_long_leaves_the_padding_of_arrays_out():
    assert len(to_long(np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]))) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ["a"]}, "2 different values, one for each sequence, got 1"),
        ({"ids": ["a", "a"]}, "of which 1 differ"),
        ({"y": [1]}, "one entry for each of the 2 sequences, got 1 for 'target'"),
        ({"time": "id"}, "must have different names"),
        ({"id": "channel_0"}, "must have different names"),
    ],
)
def test_to_long_refuses_what_cannot_be_read_back(options, message):
    with pytest.raises(ValueError, match=message):
        to_long(np.zeros((2, 1, 3)), **options)


def test_repeated_time_is_named_as_a_plain_number():
    table = pd.DataFrame({"id": [7, 7], "t": [1, 1], "x": [0.0, 1.0]})
    with pytest.raises(ValueError, match=r"got t=1 several times for id=7\."):
        from_long(table, id="id", time="t", values="x")


# --- other libraries, other names, arrays --------------------------------------------------------

TABLE = {"who": ["b", "a", "b"], "when": [1, 0, 0], "x": [3, 4, 5], "y": [1.5, None, 2.5]}


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, pa.table, pl.LazyFrame])
def test_from_long_takes_frames_of_other_libraries(convert):
    X, y, ids = from_long(convert(TABLE), id="who", time="when", values=["x", "y"], target="who")
    assert ids.tolist() == y.tolist() == ["b", "a"]
    assert X[0].columns.tolist() == ["x", "y"]
    assert X[0]["x"].tolist() == [5, 3]
    assert X[0].index.tolist() == [0, 1]
    assert np.isnan(X[1]["y"].iloc[0])


def test_from_long_sorts_dates_of_polars():
    days = [dt.date(2024, 10, 1), dt.date(2024, 9, 1)]
    X, _, _ = from_long(
        pl.DataFrame({"i": [0, 0], "t": days, "x": [2.0, 1.0]}), id="i", time="t", values="x"
    )
    assert X[0]["x"].tolist() == [1.0, 2.0]
    assert X[0].index[0] == pd.Timestamp("2024-09-01")


@pytest.mark.parametrize(
    ("names", "values", "channels"),
    [
        ([0, 1, 2, 3], 2, [2]),
        ([0, 1, 2, 3], [2, 3], [2, 3]),
        ([0, 1, 2, 3], np.array([3, 2]), [3, 2]),
        (["who", "when", 2, "y"], (2, "y"), [2, "y"]),
        (pd.MultiIndex.from_tuples([("k", 0), ("k", 1), ("v", 0), ("v", 1)]), ("v", 1), [("v", 1)]),
    ],
)
def test_from_long_takes_names_of_any_kind(names, values, channels):
    table = pd.DataFrame(TABLE).set_axis(names, axis=1)
    first, second, *_ = table.columns
    X, _, _ = from_long(table, id=first, time=second, values=values)
    assert X[0].columns.tolist() == channels


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame])
def test_from_long_makes_arrays(convert):
    options = {"id": "who", "time": "when", "values": ["x", "y"]}
    frames, _, _ = from_long(convert(TABLE), **options)
    arrays, _, _ = from_long(convert(TABLE), **options, as_arrays=True)
    for array, frame in zip(arrays, frames, strict=True):
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, frame.to_numpy(dtype=float).T)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (
            {"x": list("uvw")},
            {},
            ValueError,
            r"numeric columns, got \['x'\] with text or categories",
        ),
        ({"x": pd.Categorical([1, 2, 1])}, {}, ValueError, r"got \['x'\] with text or categories"),
        ({"x": ["u", 1, 2]}, {}, ValueError, r"got \['x'\] with text or categories"),
        ({"x": pd.to_datetime(["2024"] * 3)}, {"as_arrays": True}, ValueError, r"numeric.*\['x'\]"),
        ({"when": ["9", "9", "10"]}, {}, ValueError, "must hold numbers or dates to be sorted by"),
        ({}, {"values": []}, ValueError, "must name one column or more"),
        ({}, {"values": ["x", "x"]}, ValueError, "each once"),
        ({}, {"values": "z"}, ValueError, "The name of a column must be one of"),
    ],
)
def test_from_long_refuses_columns(change, options, error, message):
    table = pd.DataFrame(TABLE).assign(**change)
    with pytest.raises(error, match=message):
        from_long(table, **{"id": "who", "time": "when", "values": "x"} | options)


def test_from_long_refuses_what_is_no_table():
    with pytest.raises(TypeError, match=r"df must be a DataFrame .* got an object of type list"):
        from_long([[1, 2, 3]], id=0, time=1, values=2)
    twice = pd.DataFrame(TABLE).set_axis(["who", "when", "x", "x"], axis=1)
    with pytest.raises(ValueError, match="every column name once, got 'x' twice"):
        from_long(twice, id="who", time="when", values="x")


def test_times_that_are_text_in_order_are_kept():
    table = pd.DataFrame({"id": [0, 0, 1], "t": ["2024-01", "2024-02", "2024-01"], "x": 0.0})
    assert len(from_long(table, id="id", time="t", values="x")[0]) == 2
