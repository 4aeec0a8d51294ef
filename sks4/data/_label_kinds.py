"""Labels of rows in whatever form they come: text as dates, dates as periods, periods as dates."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype
from pandas.tseries.offsets import BaseOffset, BusinessHour, CustomBusinessHour, Day, Tick

from sks4.data._frequency import localized, on_the_wall
from sks4.data._inputs import plain_index

_CALENDAR = (pd.DatetimeIndex, pd.PeriodIndex)
_LARGEST = np.iinfo(np.int64).max
_STAMPS = (str, date, np.datetime64, pd.Period)


def time_index(data: Any) -> pd.Index | None:
    """Return the labels of the rows of some data, None if they have none.

    Objects that are dates or periods become an index of them.
    """
    if not isinstance(data, (pd.DataFrame, pd.Series)):
        return None
    index = plain_index(data.index)
    if index.dtype != object or index.nlevels > 1:
        return index
    is_dates = pd.api.types.infer_dtype(index) == "date"
    return pd.DatetimeIndex(index) if is_dates else index.infer_objects()


# ------------------------------------------------------------------ labels instead of data


def labels_in(X: Any, known: pd.Index | None) -> pd.Index | None:
    """Return the labels that data consist of; None if they hold something else.

    Parameters
    ----------
    X : Any
        An index, or a Series, a frame of one column, an array, a list or a tuple of dates, periods,
        or dates as text.
    known : Index or None
        Labels of the rows in fit. Text and days without a time are in their periods, or in their
        time zone.

    Raises
    ------
    TypeError
        If only some items are labels, or one cannot be read.
    """
    if isinstance(X, pd.Index):
        return X
    items = _items(X)
    if items is None or not any(isinstance(item, _STAMPS) for item in items):
        return None
    wanted = "X must hold the dates of the rows to forecast, or be rows as in fit"
    others = [item for item in items if not isinstance(item, _STAMPS)]
    if others:
        raise TypeError(f"{wanted}, got {others[0]!r} among dates.")
    try:
        return _parsed(items, known)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{wanted}, got {X!r}: {error}") from error


def _items(X: Any) -> list[Any] | None:
    """Return the entries of a column that has no calendar as its index; None for anything else."""
    if isinstance(X, pd.DataFrame) and X.shape[1] == 1 and not isinstance(X.index, _CALENDAR):
        X = X.iloc[:, 0]
    if isinstance(X, pd.Series):
        is_column = not isinstance(X.index, _CALENDAR) and not is_numeric_dtype(X)
        return list(X) if is_column else None
    if isinstance(X, np.ndarray) and X.dtype.kind in "MUO":
        return list(X.ravel()) if X.ndim == 1 or X.shape[1:] == (1,) else None
    return list(X) if isinstance(X, (list, tuple)) else None


def _parsed(items: list[Any], known: pd.Index | None) -> pd.Index:
    """Return dates, periods, or text as an index."""
    if isinstance(items[0], pd.Period):
        return pd.PeriodIndex(items)
    items = [str(item) if isinstance(item, str) else item for item in items]  # of numpy, too
    if isinstance(known, pd.PeriodIndex) and isinstance(items[0], str):
        return pd.PeriodIndex([pd.Period(item, freq=known.freq) for item in items])
    zone, stamps = getattr(known, "tz", None), [pd.Timestamp(item) for item in items]
    if zone is not None:  # their offsets may differ
        stamps = [stamp if stamp.tz is None else stamp.tz_convert(zone) for stamp in stamps]
    dates = pd.DatetimeIndex(stamps)
    is_text = not any(isinstance(item, (datetime, np.datetime64)) for item in items)
    return _in_zone(dates, zone) if is_text and zone is not None and dates.tz is None else dates


def _in_zone(wall: pd.DatetimeIndex, zone: Any) -> pd.DatetimeIndex:
    """Return local times in their zone, or raise ValueError if one is not a single time there."""
    dates = wall.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if dates.hasnans:
        raise ValueError(
            f"{wall[int(dates.isna().argmax())]} occurs twice or not at all in {zone}, where the "
            "clocks change. Add the offset from UTC, such as +01:00."
        )
    return dates


# ------------------------------------------------------------------ dates and periods


def as_kind_of(known: pd.Index, index: pd.Index, step: Any) -> pd.Index | None:
    """Return labels as dates, periods or integers, whatever those known are.

    Parameters
    ----------
    known : Index
        The labels known, at least one.
    index : Index
        Labels of any kind, none missing.
    step : DateOffset or int
        The step from each of those known to the next.

    Returns
    -------
    Index or None
        The labels; None if they cannot be such.
    """
    if isinstance(known, pd.DatetimeIndex):
        if isinstance(index, pd.PeriodIndex):
            return dates_in_periods(index, known, step)
        return index if isinstance(index, pd.DatetimeIndex) else None
    if isinstance(known, pd.PeriodIndex):
        if isinstance(index, pd.PeriodIndex):
            return index if index.freqstr == known.freqstr else same_periods(index, known)
        return periods_of_dates(index, known) if isinstance(index, pd.DatetimeIndex) else None
    return index if holds_integers(index) else None


def holds_integers(index: pd.Index) -> bool:
    """Return whether labels are integers that 64 bits hold with a sign."""
    is_integer = index.nlevels == 1 and is_integer_dtype(index.dtype)
    return is_integer and (len(index) == 0 or index.max() <= _LARGEST)


def periods_of_dates(dates: pd.DatetimeIndex, known: pd.PeriodIndex) -> pd.PeriodIndex:
    """Return the period in which each date lies, of the frequency and the grid of those known."""
    periods = on_the_wall(dates).to_period(known.freq)
    first, n = known.asi8[:1], known.freq.n
    return pd.PeriodIndex.from_ordinals(
        first + (periods.asi8 - first) // n * n, freq=known.freq, name=dates.name
    )


def same_periods(periods: pd.PeriodIndex, known: pd.PeriodIndex) -> pd.PeriodIndex | None:
    """Return periods at the frequency of those known, None if they are of other lengths."""
    same = periods_of_dates(periods.start_time, known).rename(periods.name)
    is_same = same.start_time.equals(periods.start_time) and same.end_time.equals(periods.end_time)
    return same if is_same else None


def dates_in_periods(
    periods: pd.PeriodIndex, known: pd.DatetimeIndex, step: BaseOffset
) -> pd.DatetimeIndex | None:
    """Return the one date of a grid that lies in each period.

    Parameters
    ----------
    periods : PeriodIndex
        Periods, none missing.
    known : DatetimeIndex
        Dates of the grid.
    step : DateOffset
        The step from each to the next.

    Returns
    -------
    DatetimeIndex or None
        The dates; None if a period has none of them, or several.

    Examples
    --------
    >>> import pandas as pd
    >>> known = pd.date_range("2024-01-31", periods=3, freq="ME")
    >>> dates_in_periods(pd.period_range("2024-06", periods=2, freq="M"), known, known.freq)
    DatetimeIndex(['2024-06-30', '2024-07-31'], dtype='datetime64[us]', freq=None)
    """
    start, end = periods.start_time, periods.end_time
    first = on_the_wall(known[:1])
    if isinstance(step, (Tick, Day)) or type(step) is pd.DateOffset:
        dates = start + (first - first.to_period(periods.freq).start_time)[0]
    else:  # a frequency with dates of its own
        if not isinstance(step, (BusinessHour, CustomBusinessHour)):
            start = start.normalize() + (first - first.normalize())[0]
        dates = pd.DatetimeIndex([step.rollforward(stamp) for stamp in start])
    following = pd.DatetimeIndex([stamp + step for stamp in dates])
    if ((dates < periods.start_time) | (dates > end) | (following <= end)).any():
        return None
    dates = dates.as_unit(known.unit).rename(periods.name)
    return dates if known.tz is None else localized(dates, known.tz)
