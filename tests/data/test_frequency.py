import numpy as np
import pandas as pd
import pytest

from sks4.data import Timeline
from sks4.data._frequency import find_frequency


def stamps(index):
    """Return dates without a frequency."""
    return pd.DatetimeIndex(index.to_list())


def last_fridays(n):
    return pd.date_range("2024-01-01", periods=n, freq=pd.offsets.LastWeekOfMonth(weekday=4))


sunday_to_thursday = pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu")


@pytest.mark.parametrize(
    "index",
    [
        last_fridays(9),
        last_fridays(60),
        pd.date_range("2024-01-01", periods=40, freq="WOM-2TUE"),
        pd.date_range("2024-01-01", periods=9, freq="QS-APR"),
        pd.date_range("2024-01-31", periods=30, freq="BME"),
        pd.date_range("2024-01-01", periods=9, freq="YS"),
        pd.date_range("2024-03-25", periods=40, freq="D", tz="Europe/Berlin"),
        pd.date_range("2024-10-20", periods=40, freq="24h", tz="Europe/Berlin"),
        pd.date_range("2024-01-01", periods=40, freq="17min"),
        pd.date_range("2024-01-01", periods=9, freq="3D"),
        pd.date_range("2024-01-01", periods=9, freq="2W-WED"),
        # the 15th of every month, and of every quarter
        pd.date_range("2024-01-15", periods=30, freq=pd.DateOffset(months=1)),
        pd.date_range("2024-01-15 12:00", periods=30, freq=pd.DateOffset(months=3)),
        # Sunday to Thursday, and weekends
        pd.date_range("2024-01-07", periods=60, freq=sunday_to_thursday),
        pd.date_range(
            "2024-01-06", periods=30, freq=pd.offsets.CustomBusinessDay(weekmask="0000011")
        ),
        # the 1st and the 15th, the 15th and the last, and other days
        pd.date_range("2024-01-01", periods=12, freq="SMS"),
        pd.date_range("2024-01-15", periods=12, freq="SMS"),
        pd.date_range("2024-01-15", periods=12, freq="SME"),
        pd.date_range("2024-01-31", periods=12, freq="SME"),
        pd.date_range("2024-01-10", periods=30, freq="SMS-10"),
        pd.date_range("2024-01-20 08:00", periods=30, freq="SME-20"),
        # every few business days
        pd.date_range("2024-01-01", periods=20, freq="2B"),
        pd.date_range("2024-01-05", periods=20, freq="3B"),
        pd.date_range("2024-01-04 17:30", periods=20, freq="4B"),
        # midnight does not exist on 15 October
        pd.date_range("2017-10-01", periods=60).tz_localize(
            "America/Sao_Paulo", nonexistent="shift_forward"
        ),
    ],
)
def test_inferred_frequency_continues_the_labels(index):
    n_known = len(index) * 2 // 3
    timeline = Timeline(stamps(index[:n_known]), n_known)
    assert timeline.following(len(index) - n_known).equals(stamps(index[n_known:]))


def test_frequency_that_cannot_be_inferred_is_refused():
    days = pd.date_range("2024-01-01", periods=20)
    twice = days.append(days + pd.Timedelta(hours=11)).sort_values()  # at 0:00 and 11:00
    for index in (twice, pd.date_range("2024-01-01", periods=40, freq="SMS").delete(5)):
        with pytest.raises(ValueError, match=r"must have equal steps.*or pass an array"):
            Timeline(stamps(index), len(index))


def test_last_fridays_do_not_become_fourth_ones():
    index = last_fridays(40)
    assert Timeline(stamps(index[:30]), 30).following(10).equals(stamps(index[30:]))


def test_trading_hours_need_their_frequency():
    hours = pd.DatetimeIndex(
        [
            day + pd.Timedelta(hours=h)
            for day in pd.bdate_range("2024-01-01", periods=9)
            for h in range(8, 16)
        ]
    )
    with pytest.raises(ValueError, match=r"equal steps, got .*15:00.* 08:00.*CustomBusinessHour"):
        Timeline(hours, len(hours))
    hours.freq = pd.offsets.CustomBusinessHour(start="8:00", end="16:00")
    following = Timeline(hours, len(hours)).following(9)
    assert following[0] == pd.Timestamp("2024-01-12 08:00")
    assert following[8] == pd.Timestamp("2024-01-15 08:00")


@pytest.mark.parametrize("absent", [[3], [3, 10], [5, 6]])
def test_absent_days_are_no_frequency_of_their_own(absent):
    days = pd.date_range("2024-01-01", periods=14)
    assert find_frequency(days.delete(absent)) is None


def test_steps_by_the_clock_on_the_wall_say_so():
    wall = pd.date_range("2024-10-20", periods=40, freq="12h")
    with pytest.raises(ValueError, match=r"By the clock on the wall, .*tz_localize\(None\)"):
        Timeline(wall.tz_localize("Europe/Berlin"), 40)


def test_every_frequency_that_is_set_is_kept():
    for freq in (pd.DateOffset(days=2, hours=3), pd.offsets.Easter(), sunday_to_thursday):
        index = pd.date_range("2024-01-01", periods=9, freq=freq)
        assert find_frequency(index) == freq
        timeline = Timeline(index[:6], 6)
        assert timeline.following(3).equals(index[6:])
        assert np.array_equal(timeline.positions(stamps(index[4:])), np.arange(4, 9))
