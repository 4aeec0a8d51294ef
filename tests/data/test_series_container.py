"""Containers of many series: what counts as one, taken apart and put together."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import dok_array

from sks4.data import SeriesContainer, container_of, holds_many_series


@pytest.fixture
def rows():
    """Return two series in a random order, one of them of other times."""
    index = pd.MultiIndex.from_tuples(
        [("b", 3), ("a", 1), ("b", 2), ("a", 0), ("b", 4)], names=["id", "t"]
    )
    return pd.Series([3.0, 1.0, 2.0, 0.0, 4.0], index, name="y")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"a": [1, 2]}, True),
        ([pd.Series([1.0])], True),
        ([np.zeros(3), pd.Series([1.0])], True),
        ([np.zeros(3), np.zeros(3)], False),
        ([[1, 2], [3, 4]], False),
        (np.zeros((3, 2)), False),
        (pd.DataFrame({"a": [1.0]}), False),
        (dok_array((2, 2)), False),
        (None, False),
    ],
)
def test_many_series_are_told_from_one(data, expected):
    assert holds_many_series(data) is expected


def test_rows_are_sorted_and_put_back(rows):
    container = SeriesContainer.of(rows)
    items = container.split(rows)
    assert items.ids == ("b", "a")
    assert [part.tolist() for part, _ in items.items] == [[2, 3, 4], [0, 1]]
    back = container.arrange(items, [part.to_numpy() for part, _ in items.items], "y")
    pd.testing.assert_series_equal(back, rows)
    frame = container.arrange(items, [np.zeros((3, 2)), np.ones((2, 2))], ["low", "high"])
    assert frame["high"].tolist() == [0, 1, 0, 1, 0]


def test_long_table_is_split_by_its_columns(rows):
    table = rows.reset_index().assign(price=[30.0, 10.0, 20.0, 0.0, 40.0])
    container = container_of(table, "id", "t", "y")
    items = container.split(table)
    X, y = items.items[0]
    assert_array_equal(X["price"], [20, 30, 40])
    assert_array_equal(y, [2, 3, 4])
    assert y.index.tolist() == [2, 3, 4]
    without = container.split(table.drop(columns="y"), has_targets=False)
    assert without.items[0][1] is None
    with pytest.raises(ValueError, match="target must be one of"):
        container.split(table.drop(columns="y"))
    with pytest.raises(ValueError, match=r"columns of fit, got none named \['price'\]"):
        container.split(table.drop(columns="price"))
    with pytest.raises(ValueError, match="y must be None for a long table"):
        container.split(table, rows)


def test_weights_follow_their_rows(rows):
    container = SeriesContainer.of(rows)
    items = container.split(rows)
    parts = container.split_weights(rows.to_numpy(), items)
    assert [part.tolist() for part in parts] == [[2, 3, 4], [0, 1]]
    assert container.split_weights(None, items) is None
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(5,\), got \(4,\)"):
        container.split_weights(np.ones(4), items)
    named = SeriesContainer("dict")
    of_dict = named.split({"a": [1, 2], "b": [3]})
    assert named.split_weights({"b": [5], "a": [6, 7]}, of_dict) == [[6, 7], [5]]
    with pytest.raises(ValueError, match="sample_weight must have the series of X"):
        named.split_weights({"b": [5]}, of_dict)


@pytest.mark.parametrize(
    ("kind", "data", "error", "message"),
    [
        ("dict", [1], TypeError, "X must be a dict of series, as in fit, got a list"),
        ("list", {"a": 1}, TypeError, "X must be a list of series, got a dict"),
        ("rows", pd.Series([1.0]), TypeError, r"row labels \(series, time\), .* got a Series"),
        ("list", [], ValueError, "must hold one series at least"),
    ],
)
def test_other_container_is_refused(kind, data, error, message):
    with pytest.raises(error, match=message):
        SeriesContainer(kind).split(data)


def test_targets_must_match_their_series(rows):
    with pytest.raises(ValueError, match=r"y must have the 5 rows of X, got 4"):
        SeriesContainer.of(rows).split(rows.to_frame(), np.ones(4))
    with pytest.raises(ValueError, match="y must have the 2 series of X, got 1"):
        SeriesContainer("list").split([rows, rows], [rows])
