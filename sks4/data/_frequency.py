"""The frequency of dates: inferred from some, and the dates that follow by it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import (
    BaseOffset,
    BusinessDay,
    CustomBusinessDay,
    Day,
    LastWeekOfMonth,
    SemiMonthBegin,
    SemiMonthEnd,
    Tick,
    Week,
)

_DAY, _HALF_MONTH, _MONTH = pd.Timedelta(days=1), pd.Timedelta(days=13), pd.Timedelta(days=28)

# Days of a month that may part it in two.
_PARTING_DAYS = range(2, 28)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

# A weekday that is absent for so many weeks is not a missing row.
_WEEKS_TO_TRUST = pd.Timedelta(weeks=3)


def find_frequency(index: pd.DatetimeIndex) -> BaseOffset | None:
    """Return the frequency of dates, an inferred one only if it generates the very same dates.

    Parameters
    ----------
    index : DatetimeIndex
        Dates, one at least, in order.

    Returns
    -------
    DateOffset or None
        The frequency that they have or that is inferred; of a single date, a day. None if there is
        none.

    Examples
    --------
    >>> import pandas as pd
    >>> find_frequency(pd.DatetimeIndex(["2024-01-15", "2024-02-15", "2024-03-15"]))
    <DateOffset: months=1>
    """
    if index.freq is not None:
        return index.freq
    for freq in _candidates(index):
        if freq is not None and dates_from(index[:1], freq, len(index)).equals(index):
            return freq
    return None


def _candidates(index: pd.DatetimeIndex) -> Iterator[BaseOffset | None]:
    """Yield the frequencies that dates may have."""
    if len(index) == 1:
        yield Day()
        return
    yield _inferred(index)
    if len(np.unique(np.diff(index.asi8))) == 1:
        yield to_offset(index[1] - index[0])
    days, n_steps = on_the_wall(index).normalize(), len(index) - 1
    span = days[-1] - days[0]
    if span < _DAY * n_steps:
        return
    if index.tz is not None:
        yield _inferred(days)  # where the clocks jump over a time of day
    if span >= _MONTH * n_steps:
        # pandas infers the fourth weekday of a month instead
        yield LastWeekOfMonth(weekday=index[0].weekday())
        months = 12 * days.year + days.month
        yield pd.DateOffset(months=int(months[1] - months[0]))
    elif span >= _HALF_MONTH * n_steps:
        for day in sorted({*days[:2].day} & {*_PARTING_DAYS}):
            yield SemiMonthBegin(day_of_month=day)
            yield SemiMonthEnd(day_of_month=day)
    elif span >= _WEEKS_TO_TRUST:
        n_days = int(np.busday_count(days[0].date(), days[1].date()))
        if n_days > 1:
            yield BusinessDay(n_days)
        weekdays = [_WEEKDAYS[day] for day in np.unique(days.day_of_week)]
        yield CustomBusinessDay(weekmask=" ".join(weekdays))


def _inferred(index: pd.DatetimeIndex) -> BaseOffset | None:
    """Return what pandas infers, None if it is nothing."""
    if len(index) < 3 or not index.is_unique:
        return None
    return pd.DatetimeIndex(index, freq="infer").freq


def duration(freq: BaseOffset, tz: Any) -> pd.Timedelta | None:
    """Return the length of a step if all are equally long; otherwise None."""
    if isinstance(freq, (Day, Week)):
        # a day by the clock on the wall has 23 to 25 hours
        return (
            pd.Timedelta(days=freq.n * (7 if isinstance(freq, Week) else 1)) if tz is None else None
        )
    return pd.Timedelta(freq) if isinstance(freq, Tick) else None


# ------------------------------------------------------------------ dates at a frequency


def on_the_wall(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return local times without their zone."""
    return dates if dates.tz is None else dates.tz_localize(None)


def dates_from(start: pd.DatetimeIndex, freq: BaseOffset, n_dates: int) -> pd.DatetimeIndex:
    """Return dates at a frequency from the one of `start` on, with its name."""
    is_fixed = duration(freq, start.tz) is not None
    first = start if is_fixed else on_the_wall(start)
    return date_range(first, freq, start.tz, periods=n_dates)


def date_range(
    start: pd.DatetimeIndex, freq: BaseOffset, tz: Any, **until: Any
) -> pd.DatetimeIndex:
    """Return dates from the one of `start` on, a local time without zone if steps are by clock."""
    dates = pd.date_range(start[0], freq=freq, name=start.name, unit=start.unit, **until)
    return dates if start.tz == tz else localized(dates, tz, freq)


def localized(wall: pd.DatetimeIndex, tz: Any, freq: BaseOffset | None = None) -> pd.DatetimeIndex:
    """Return local times in their zone, with the frequency if all of them exist once.

    Where the clocks jump over a time, it is the next one; of a time that occurs twice, the first.
    """
    is_summer = np.ones(len(wall), dtype=bool)
    dates = wall.tz_localize(tz, ambiguous=is_summer, nonexistent="shift_forward")
    regular = not wall.tz_localize(tz, ambiguous="NaT", nonexistent="NaT").hasnans
    return pd.DatetimeIndex(dates, freq=freq) if regular and freq is not None else dates
