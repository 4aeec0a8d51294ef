import numpy as np
import pandas as pd
import pytest

from sks4.data import Timeline, find_period, periods_of_step


@pytest.mark.parametrize(
    ("freq", "periods"),
    [
        ("h", [24, 168]),
        ("30min", [48, 336]),
        ("2h", [12, 84]),
        ("5h", []),
        ("D", [7]),
        ("2D", []),
        ("7D", [52]),
        ("B", [5]),
        ("W-SUN", [52]),
        ("MS", [12]),
        ("BME", [12]),
        ("2ME", [6]),
        ("SMS", [24]),
        ("SME-20", [24]),
        ("2B", []),
        ("QS-APR", [4]),
        ("YS", []),
        (pd.offsets.CustomBusinessDay(), [5]),
        (pd.offsets.CustomBusinessDay(weekmask="Mon Wed Fri"), [3]),
        (pd.DateOffset(months=1), [12]),
        (pd.DateOffset(months=3), [4]),
        (pd.DateOffset(months=5), []),
        (pd.DateOffset(months=1, days=1), []),
        (pd.offsets.Easter(), []),
    ],
)
def test_periods_follow_from_the_step(freq, periods):
    timeline = Timeline(pd.date_range("2024-01-01", periods=6, freq=freq), 6)
    assert periods_of_step(timeline.offset) == periods


@pytest.mark.parametrize(
    ("freq", "periods"), [("M", [12]), ("Q", [4]), ("2h", [12, 84]), ("15min", [96, 672])]
)
def test_periods_of_time_have_steps_too(freq, periods):
    timeline = Timeline(pd.period_range("2024-01-01", periods=6, freq=freq), 6)
    assert periods_of_step(timeline.offset) == periods


def test_rows_without_dates_have_no_step():
    assert Timeline(None, 5).offset is None
    assert Timeline(pd.RangeIndex(5), 5).offset is None
    assert periods_of_step(None) == []


def series(period, n_rows=150, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return 3 * rng.normal(size=period)[np.arange(n_rows) % period] + rng.normal(0, noise, n_rows)


def spiked(values):
    return np.where(np.arange(len(values)) == 70, 1000.0, values)


def trended(values):
    return values + 2.0 * np.arange(len(values))


def shifted(values):
    return values + 500.0 * (np.arange(len(values)) > 90)


def gappy(values):
    return np.where(np.arange(len(values)) % 11 == 0, np.nan, values)


@pytest.mark.parametrize("change", [np.array, spiked, trended, shifted, gappy])
@pytest.mark.parametrize("period", [5, 7, 12, 24])
def test_season_of_a_series_is_found(period, change):
    assert find_period(change(series(period))[:, np.newaxis]) == period


@pytest.mark.parametrize("seed", range(5))
def test_no_season_is_found_where_there_is_none(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(120, 1))
    assert find_period(noise) is None
    assert find_period(noise.cumsum(axis=0)) is None
    assert find_period(np.arange(120.0)[:, np.newaxis] + noise) is None


def test_constant_and_short_series_have_no_season():
    assert find_period(np.full((50, 1), 3.0)) is None
    assert find_period(np.arange(5.0)[:, np.newaxis]) is None


def test_several_targets_share_a_season():
    assert find_period(np.column_stack([series(7), 100 * series(7, seed=1)])) == 7
