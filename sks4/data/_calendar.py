"""Features of the calendar, from an index of dates or periods."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import SplineTransformer

from sks4.exceptions import MissingDependencyError

# First value, and how many there are before it starts again.
CYCLES = {
    "minute": (0, 60),
    "hour": (0, 24),
    "day_of_week": (0, 7),
    "day": (1, 31),
    "day_of_year": (1, 366),
    "week": (1, 53),
    "month": (1, 12),
    "quarter": (1, 4),
}

# As many as there are days or quarters where these are few; else enough for the shape of a day.
_MAX_SPLINES = 12


def check_calendar(
    calendar: str | Sequence[str] | None, holidays: str | Sequence[Any] | None
) -> "Calendar | None":
    """Return the features of the calendar that two parameters name, None for none.

    Parameters
    ----------
    calendar : str, sequence of str or None
        Keys of `CYCLES`.
    holidays : str, sequence of dates or None
        Code of a country, perhaps of a part of it, or dates.

    Raises
    ------
    ValueError
        If a name, a code or a date is not valid.
    MissingDependencyError
        If the holidays of a country are wanted, and the package is not installed.
    """
    if calendar is None and holidays is None:
        return None
    return Calendar(
        [] if calendar is None else _cycle_names(calendar),
        None if holidays is None else _holidays(holidays),
    )


class Calendar:
    """Smooth periodic features of the hour, the day of the week and the like, and of holidays.

    A cycle is encoded by periodic splines, so that its end is near its beginning.

    Parameters
    ----------
    names : sequence of str
        Keys of `CYCLES`.
    holidays : Holidays or None, default=None
        Days to count, as the last feature.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=30, freq="h")
    >>> Calendar(["hour", "day_of_week"]).transform(index).shape
    (30, 19)
    """

    def __init__(self, names: Sequence[str], holidays: "Holidays | None" = None) -> None:
        self.names = list(names)
        self.holidays = holidays
        cycles = {name: CYCLES[name] for name in self.names}
        splines = [
            (name, _periodic_splines(first, length), [name])
            for name, (first, length) in cycles.items()
        ]
        any_time = pd.DataFrame({name: [float(first)] * 2 for name, (first, _) in cycles.items()})
        self._encoder = ColumnTransformer(splines).fit(any_time) if splines else None

    def transform(self, index: pd.Index | None) -> np.ndarray:
        """Return the features of each label.

        Parameters
        ----------
        index : DatetimeIndex, PeriodIndex or None
            Labels of the rows.

        Returns
        -------
        ndarray of shape (n_labels, n_features), float64
            Values from 0 to 1; of periods with several holidays, their number.

        Raises
        ------
        TypeError
            If the labels are neither dates nor periods.
        """
        if not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
            wanted = f"calendar={self.names}" if self.names else "holidays"
            raise TypeError(
                f"{wanted} needs a DatetimeIndex or a PeriodIndex, got rows without. Pass a Series "
                "or a DataFrame with such an index, or leave the parameter out."
            )
        features = []
        if self._encoder is not None:
            fields = {name: _field(index, name).astype(float) for name in self.names}
            features.append(self._encoder.transform(pd.DataFrame(fields)))
        if self.holidays is not None:
            features.append(self.holidays.count(index)[:, np.newaxis])
        return np.hstack(features)


@dataclass(frozen=True)
class Holidays:
    """Holidays of a country, or given ones.

    Attributes
    ----------
    country, subdivision : str or None
        Codes of ISO 3166.
    dates : tuple of str
        The days, such as "2026-12-25", if no country is given.
    """

    country: str | None = None
    subdivision: str | None = None
    dates: tuple[str, ...] = ()

    def count(self, index: pd.DatetimeIndex | pd.PeriodIndex) -> np.ndarray:
        """Return the number of holidays in each period, or on the day of each date."""
        if isinstance(index, pd.PeriodIndex):
            first, last = index.start_time.normalize(), index.end_time.normalize()
        else:
            first = last = index.tz_localize(None).normalize()
        if len(index) == 0:
            return np.empty(0)
        days = self._days(first.min().year, last.max().year)
        first, last = (dates.to_numpy("datetime64[s]") for dates in (first, last))
        counts = np.searchsorted(days, last, "right") - np.searchsorted(days, first, "left")
        return counts.astype(np.float64)

    def _days(self, first: int, last: int) -> np.ndarray:
        """Return the holidays of some years, sorted."""
        days: Sequence[Any] = self.dates
        if self.country is not None:
            days = _of_country(self.country, self.subdivision, range(first, last + 1))
        return np.sort(np.array(days, dtype="datetime64[s]"))


def _cycle_names(calendar: str | Sequence[str]) -> list[str]:
    """Return names of cycles, or raise ValueError."""
    names = [calendar] if isinstance(calendar, str) else list(calendar)
    if not names or not all(isinstance(name, str) and name in CYCLES for name in names):
        raise ValueError(
            f"calendar must be None or a sequence of names among {list(CYCLES)}, or one of them, "
            f"got {calendar!r}."
        )
    return [str(name) for name in names]


def _holidays(holidays: str | Sequence[Any]) -> Holidays:
    """Return the holidays of a country or given ones, or raise."""
    if isinstance(holidays, str):
        country, _, subdivision = holidays.partition("-")
        _of_country(country, subdivision or None, range(2000, 2001))  # raises
        return Holidays(country, subdivision or None)
    try:
        are_numbers = any(isinstance(date, Number) for date in holidays)  # pandas would read them
        dates = [] if are_numbers else [pd.Timestamp(date) for date in holidays]
    except (TypeError, ValueError):
        dates = []
    if not dates or any(date is pd.NaT for date in dates):
        raise ValueError(
            "holidays must be None, the code of a country such as 'DE' or 'DE-BY', or a sequence "
            f"of dates such as ['2026-12-25'], got {holidays!r}."
        )
    return Holidays(dates=tuple(date.strftime("%Y-%m-%d") for date in dates))


def _of_country(country: str, subdivision: str | None, years: range) -> list[Any]:
    """Return the holidays of a country in some years."""
    try:
        from holidays import country_holidays
    except ImportError as error:
        raise MissingDependencyError(
            "The holidays of a country need the package 'holidays', which is not installed. "
            'Use pip install "sks4[holidays]", or pass their dates.'
        ) from error
    try:
        return list(country_holidays(country, subdiv=subdivision, years=years))
    except NotImplementedError as error:  # so the package tells of codes that it does not know
        code = country if subdivision is None else f"{country}-{subdivision}"
        raise ValueError(
            f"holidays must be the code of a country, such as 'DE', or of a part of one, such as "
            f"'DE-BY', or a sequence of dates, got {code!r}."
        ) from error


def _field(index: pd.DatetimeIndex | pd.PeriodIndex, name: str) -> Any:
    """Return a field of each label as numbers."""
    if name == "week" and isinstance(index, pd.DatetimeIndex):
        return index.isocalendar()["week"].to_numpy()
    return getattr(index, name)


def _periodic_splines(first: int, length: int) -> SplineTransformer:
    """Return splines over one cycle, whose ends meet."""
    n_splines = min(length, _MAX_SPLINES)
    knots = np.linspace(first, first + length, n_splines + 1)[:, np.newaxis]
    degree = min(3, n_splines - 1)
    return SplineTransformer(knots=knots, degree=degree, extrapolation="periodic")
