"""Dates where fit had periods, periods where it had dates, and text for either."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sks4.data import Timeline, labels_in, time_index

# Periods, and dates one of which lies in each of them.
PAIRS = [
    ("D", pd.date_range("2024-01-01", periods=12, freq="D")),
    ("D", pd.date_range("2024-01-01 12:00", periods=12, freq="D")),
    ("D", pd.date_range("2024-03-25", periods=12, freq="D", tz="Europe/Berlin")),
    ("D", pd.bdate_range("2024-01-04", periods=12)),
    ("D", pd.date_range("2024-01-01", periods=12, freq="3D")),
    ("h", pd.date_range("2024-01-01 20:00", periods=12, freq="h")),
    ("h", pd.date_range("2024-03-30 20:00", periods=12, freq="h", tz="Europe/Berlin")),
    ("2h", pd.date_range("2024-01-01 20:00", periods=12, freq="2h")),
    ("15min", pd.date_range("2024-01-01 20:05", periods=12, freq="15min")),
    ("M", pd.date_range("2024-01-01", periods=12, freq="MS")),
    ("M", pd.date_range("2024-01-31", periods=12, freq="ME")),
    ("M", pd.date_range("2024-01-31", periods=12, freq="BME")),
    ("M", pd.date_range("2024-01-26", periods=12, freq=pd.offsets.LastWeekOfMonth(weekday=4))),
    ("M", pd.date_range("2024-01-15", periods=12, freq=pd.DateOffset(months=1))),
    ("M", pd.date_range("2024-01-31", periods=12, freq="2ME")),
    ("Q", pd.date_range("2024-01-01", periods=12, freq="QS-APR")),
    ("Q-NOV", pd.date_range("2024-02-29", periods=12, freq="QE-NOV")),
    ("Y", pd.date_range("1800-12-31", periods=12, freq="YE")),
    ("W-SUN", pd.date_range("2024-01-07", periods=12, freq="W-SUN")),
    ("W-SUN", pd.date_range("2024-01-01", periods=12, freq="W-MON")),
    ("W-SUN", pd.date_range("2024-01-03", periods=12, freq="7D")),
    ("h", pd.date_range("2024-01-05 12:00", periods=12, freq="bh")),
]


def periods_of(dates, freq):
    return (dates if dates.tz is None else dates.tz_localize(None)).to_period(freq)


@pytest.mark.parametrize(("freq", "dates"), PAIRS)
def test_periods_are_rows_of_their_dates(freq, dates):
    timeline, periods = Timeline(dates[:7], 7), periods_of(dates, freq)
    assert_array_equal(timeline.positions(periods), np.arange(12))
    assert_array_equal(timeline.positions(periods[9:10]), [9])
    other = timeline.elsewhere(periods[3:8], 5)
    assert other.labels().equals(dates[3:8])
    assert other.following(4).equals(dates[8:])
    with pytest.raises(ValueError, match="must have no hole and be in order"):
        timeline.positions(periods[[7, 9]])


@pytest.mark.parametrize(("freq", "dates"), PAIRS)
def test_dates_are_rows_of_their_periods(freq, dates):
    periods = periods_of(dates, freq)
    if len(set(np.diff(periods.asi8))) > 1:
        return  # no steps that are equal
    timeline = Timeline(periods[:7], 7)
    assert_array_equal(timeline.positions(dates), np.arange(12))
    assert timeline.elsewhere(dates[3:8], 5).following(4).equals(periods[8:])


@pytest.mark.parametrize("freq", ["D", "h", "M", "2M", "Q", "Q-NOV", "Y", "W-WED", "15min", "2h"])
@pytest.mark.parametrize("how", ["start", "end"])
def test_any_date_within_a_period_is_its_row(freq, how):
    periods = pd.period_range("2024-01-03", periods=12, freq=freq)
    timeline = Timeline(periods[:7], 7)
    assert_array_equal(timeline.positions(periods.to_timestamp(how=how)), np.arange(12))


def test_two_dates_in_a_period_are_refused():
    timeline = Timeline(pd.period_range("2024-01", periods=5, freq="M"), 5)
    with pytest.raises(
        ValueError, match="no hole and be in order, got 2024-06 right after 2024-06"
    ):
        timeline.positions(pd.date_range("2024-06-01", periods=2))
    with pytest.raises(ValueError, match="every time once, got 2024-06 twice"):
        timeline.elsewhere(pd.date_range("2024-06-01", periods=2), 2)


@pytest.mark.parametrize(
    ("dates", "periods"),
    [
        (pd.date_range("2024-01-01", periods=9), pd.period_range("2024-01", periods=2, freq="M")),
        (pd.bdate_range("2024-01-01", periods=9), pd.period_range("2024-01-13", periods=1)),
        (
            pd.bdate_range("2024-01-01", periods=9),
            pd.period_range("2024-01-15", periods=1, freq="W"),
        ),
        (
            pd.date_range("2024-01-31", periods=9, freq="ME"),
            pd.period_range("2024-10-30", periods=1, freq="D"),
        ),
    ],
)
def test_periods_with_no_date_or_several_are_refused(dates, periods):
    with pytest.raises(TypeError, match="Every period of X must hold one date at the steps of fit"):
        Timeline(dates, 9).positions(periods)


@pytest.mark.parametrize(
    ("known", "same"), [("h", "60min"), ("Q", "3M"), ("Q-DEC", "Q-MAR"), ("D", "24h"), ("W", "7D")]
)
def test_periods_of_the_same_span_are_those_of_fit(known, same):
    timeline = Timeline(pd.period_range("2024-01-01", periods=5, freq=known), 5)
    start = timeline.following(1)[0].start_time
    assert_array_equal(timeline.positions(pd.period_range(start, periods=3, freq=same)), [5, 6, 7])


def test_periods_that_dates_cannot_hold_say_so():
    timeline = Timeline(pd.date_range("2024-01-01", periods=5).as_unit("ns"), 5)
    with pytest.raises(ValueError, match=r"within the range of the dates in fit, got 1500-01-01"):
        timeline.positions(pd.period_range("1500-01-01", periods=2, freq="D"))


def test_names_of_the_index_survive():
    periods = pd.period_range("2024-01", periods=5, freq="M", name="month")
    dates = pd.date_range("2024-01-31", periods=5, freq="ME", name="day")
    assert Timeline(dates, 5).comparable(periods, "X").name == "month"
    assert Timeline(periods, 5).comparable(dates, "X").name == "day"


def test_objects_that_are_dates_are_an_index_of_dates():
    days = pd.date_range("2024-01-01", periods=3)
    for index in (days.astype(object), pd.Index(days.date), pd.Index(days.to_period("D").tolist())):
        found = time_index(pd.Series(0.0, index))
        assert isinstance(found, (pd.DatetimeIndex, pd.PeriodIndex))
        assert_array_equal(Timeline(days, 3).positions(found), [0, 1, 2])
    zones = [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="Asia/Tokyo")]
    mixed = pd.Series(0.0, pd.Index(zones, dtype=object))
    with pytest.raises(TypeError, match=r"got labels of type object.*pd\.to_datetime"):
        Timeline(time_index(mixed), 2)


def test_numbers_are_no_labels():
    for X in (np.zeros(3), [1, 2], [20240101], pd.Series([1.0]), pd.DataFrame({"a": [1]}), [None]):
        assert labels_in(X, None) is None
    assert labels_in(pd.DataFrame({"a": ["2024-01-01"], "b": [1]}), None) is None
