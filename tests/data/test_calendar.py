import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import check_calendar
from sks4.data._calendar import CYCLES
from sks4.exceptions import MissingDependencyError

INDEXES = {
    "dates": pd.date_range("2023-12-20", periods=800, freq="6h"),
    "zone": pd.date_range("2023-12-20", periods=800, freq="6h", tz="Europe/Berlin"),
    "periods": pd.period_range("2023-12-20", periods=200, freq="D"),
}


@pytest.fixture(params=INDEXES)
def index(request):
    return INDEXES[request.param]


@pytest.mark.parametrize("name", CYCLES)
def test_features_are_shares_and_the_same_at_the_same_time_of_the_cycle(index, name):
    features = check_calendar([name], None).transform(index)
    assert features.min() >= 0
    assert_allclose(features.sum(axis=1), 1)  # splines are shares
    field = (
        index.isocalendar().week
        if name == "week" and hasattr(index, "isocalendar")
        else getattr(index, name)
    )
    table = pd.DataFrame(features).groupby(np.asarray(field)).nunique()
    assert (table == 1).all(axis=None)


@pytest.mark.parametrize("name", CYCLES)
def test_times_of_a_cycle_are_apart_and_its_end_is_near_its_beginning(name):
    freq = {"minute": "min", "hour": "h"}.get(name, "D")
    index = pd.date_range("2020-01-01", "2020-12-31", freq=freq)  # a leap year with 53 weeks
    fields = index.isocalendar().week if name == "week" else getattr(index, name)
    features = pd.DataFrame(check_calendar([name], None).transform(index))
    times = features.groupby(np.asarray(fields)).first().to_numpy()  # in order of the cycle
    assert len(times) == CYCLES[name][1]
    steps = np.linalg.norm(times - np.roll(times, 1, axis=0), axis=1)
    assert steps.min() > 0
    assert 0.5 * steps[1:].min() < steps[0] < 1.5 * steps[1:].max()  # from the end to the start
    apart = np.linalg.norm(times[:, np.newaxis] - times, axis=2)[np.triu_indices(len(times), 1)]
    assert apart.min() > 0.5 * steps.min()


def test_last_week_of_a_year_is_near_the_first():
    days = pd.DatetimeIndex(["2020-12-31", "2021-01-04", "2020-06-15"])  # weeks 53, 1 and 25
    features = check_calendar(["week"], None).transform(days)
    assert np.abs(features[0] - features[1]).sum() < np.abs(features[0] - features[2]).sum()


@pytest.mark.parametrize(("one", "several"), [("week", ["week"]), (np.str_("hour"), ("hour",))])
def test_single_name_is_a_list_of_one(index, one, several):
    features = [check_calendar(names, None).transform(index) for names in (one, several)]
    assert_array_equal(*features)


def test_nothing_asked_for_is_no_calendar():
    assert check_calendar(None, None) is None


@pytest.mark.parametrize("calendar", ["weekday", ["hour", "year"], [], [3], ""])
def test_unknown_names_are_refused(calendar):
    with pytest.raises(ValueError, match=r"calendar must be None or a sequence of names among"):
        check_calendar(calendar, None)


# --- holidays ------------------------------------------------------------------------------------


def test_given_holidays_are_counted():
    dates = ["2024-01-01", pd.Timestamp("2024-01-06"), np.datetime64("2024-02-10")]
    calendar = check_calendar(None, dates)
    days = pd.date_range("2023-12-31", periods=50)
    expected = days.isin(pd.to_datetime(["2024-01-01", "2024-01-06", "2024-02-10"]))
    assert_array_equal(calendar.transform(days)[:, 0], expected)
    hours = pd.date_range("2023-12-31", periods=48, freq="h", tz="Asia/Tokyo")
    assert_array_equal(calendar.transform(hours)[:, 0], np.arange(48) >= 24)
    months = pd.period_range("2023-12", periods=4, freq="M")
    assert_array_equal(calendar.transform(months)[:, 0], [0, 2, 1, 0])


def test_holidays_of_a_country():
    pytest.importorskip("holidays")
    days = pd.date_range("2024-01-01", "2025-12-31")
    germany = check_calendar(None, "DE").transform(days)[:, 0]
    bavaria = check_calendar(None, "DE-BY").transform(days)[:, 0]
    assert germany[days == "2025-10-03"] == 1
    assert germany[days == "2024-01-06"] == 0
    assert bavaria[days == "2024-01-06"] == 1  # Epiphany
    assert germany.sum() < bavaria.sum()
    both = check_calendar(["month"], "DE").transform(days)
    assert_array_equal(both[:, -1], germany)


@pytest.mark.parametrize(
    "holidays", ["XX", "DE-XX", [], ["today is nice"], [None], 5, [20241225], [1.5]]
)
def test_bad_holidays_are_refused(holidays):
    pytest.importorskip("holidays")
    with pytest.raises(ValueError, match="holidays must be"):
        check_calendar(None, holidays)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(MissingDependencyError, match=r"sks4\[holidays\]"):
        check_calendar(None, "DE")
    assert check_calendar(None, ["2024-01-01"]) is not None


def test_labels_without_dates_are_refused():
    for calendar, wanted in (
        (check_calendar("hour", None), "calendar"),
        (check_calendar(None, ["2024-01-01"]), "holidays"),
    ):
        for index in (None, pd.RangeIndex(3)):
            with pytest.raises(
                TypeError, match=f"{wanted}.* needs a DatetimeIndex or a PeriodIndex"
            ):
                calendar.transform(index)
