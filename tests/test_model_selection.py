import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import TimeSeriesSplit

from sks4.model_selection import PanelTimeSeriesSplit


@pytest.fixture
def panel():
    """Return rows of three series in a random order: 30 days, the first 20, the last 12."""
    days = pd.date_range("2024-01-01", periods=30)
    parts = {"a": days, "b": days[:20], "c": days[-12:]}
    rows = pd.concat({key: pd.Series(np.arange(len(part)), part) for key, part in parts.items()})
    return rows.sample(frac=1, random_state=0)


@pytest.mark.parametrize(("n_splits", "test_size", "gap"), [(3, 4, 0), (2, 5, 3), (4, None, 1)])
def test_one_series_is_split_as_by_scikit_learn(panel, n_splits, test_size, gap):
    one = panel.sort_index().loc[["a"]]
    options = {"n_splits": n_splits, "test_size": test_size, "gap": gap}
    splits = list(PanelTimeSeriesSplit(**options).split(one))
    expected = list(TimeSeriesSplit(**options).split(one))
    assert len(splits) == len(expected) == PanelTimeSeriesSplit(**options).get_n_splits(one)
    for split, wanted in zip(splits, expected, strict=True):
        for part, positions in zip(split, wanted, strict=True):
            assert_array_equal(part, positions)


def test_all_series_are_cut_at_the_same_times(panel):
    times, series = panel.index.get_level_values(1), panel.index.get_level_values(0)
    splits = list(PanelTimeSeriesSplit(n_splits=3, test_size=4, gap=2).split(panel))
    for number, (train, test) in enumerate(splits):
        start = pd.Timestamp("2024-01-19") + pd.Timedelta(days=4 * number)
        assert times[train].max() == start - pd.Timedelta(days=3)
        assert times[test].min() == start
        assert times[test].max() == start + pd.Timedelta(days=3)
        assert set(series[test]) <= set(series[train])
    assert set(series[splits[0][1]]) == {"a", "b"}  # c begins at the last day before, in the gap
    assert set(series[splits[2][1]]) == {"a", "c"}


def test_frames_are_split_alike(panel):
    splitter = PanelTimeSeriesSplit(n_splits=2, test_size=3)
    expected = list(splitter.split(panel))
    for split, wanted in zip(splitter.split(panel.to_frame()), expected, strict=True):
        assert_array_equal(split[1], wanted[1])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_splits": 10, "test_size": 3}, ValueError, r"10 \* 3 \+ 0 times, got 30"),
        ({"n_splits": 2, "test_size": 10, "gap": 10}, ValueError, "times, got 30. Pass fewer"),
        ({"gap": -1}, ValueError, "gap must be at least 0"),
        ({"test_size": 0}, ValueError, "test_size must be at least 1"),
        ({"n_splits": 1.5}, TypeError, "n_splits must be an integer"),
    ],
)
def test_bad_parameter_is_refused(panel, parameters, error, message):
    with pytest.raises(error, match=message):
        next(PanelTimeSeriesSplit(**parameters).split(panel))


def test_rows_without_two_labels_are_refused(panel):
    for X in (panel.droplevel(0), panel.to_numpy()):
        with pytest.raises(TypeError, match=r"row labels \(series, time\)"):
            next(PanelTimeSeriesSplit().split(X))
