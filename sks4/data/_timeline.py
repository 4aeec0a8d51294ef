"""Labels of rows of time: which row follows which, and to which row a label belongs."""

from typing import Any, NoReturn

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_string_dtype
from pandas.tseries.offsets import BaseOffset

from sks4.data._frequency import (
    date_range,
    dates_from,
    duration,
    find_frequency,
    localized,
    on_the_wall,
)
from sks4.data._label_kinds import as_kind_of, holds_integers
from sks4.data._labels import index_from_state, index_state, offset_from_state, offset_state

# A label this many years after the last known one is a mistake, and not a request.
_FARTHEST = pd.Timedelta(days=366 * 250)
# So is one that is so many rows ahead, all of which would be forecast.
_MOST_ROWS = 1_000_000

_CALENDAR = (pd.DatetimeIndex, pd.PeriodIndex)
_KINDS = "a DatetimeIndex, a PeriodIndex or an index of integers"


class Timeline:
    """Rows at equal steps of time, with or without labels.

    A timeline is never changed: `extended` returns another one, whose cost does not depend on the
    number of rows before.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, Index of integers, or None
        One label for each row, in order, at equal steps; None if the rows came as an array.
    n_rows : int
        Number of rows.
    name : str, default="X"
        Name of the data, for the errors.

    Raises
    ------
    TypeError
        If the labels are of another kind.
    ValueError
        If they are not sorted, occur twice, or are not at equal steps.

    Examples
    --------
    >>> import pandas as pd
    >>> timeline = Timeline(pd.period_range("2024-01", periods=3, freq="M"), 3)
    >>> timeline.following(2).strftime("%Y-%m").tolist()
    ['2024-04', '2024-05']
    >>> timeline.positions(pd.period_range("2024-03", periods=3, freq="M")).tolist()
    [2, 3, 4]
    """

    def __init__(self, index: pd.Index | None, n_rows: int, name: str = "X") -> None:
        self.n_rows = n_rows
        self._index = index
        if index is None:
            return
        _check_kind(index, name)
        _check_order(index, name)
        self._step = _step(index, name)
        self._last = index[-1:]

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows as plain values, which any format of files can hold."""
        state: dict[str, Any] = {"n_rows": self.n_rows, "_index": index_state(self._index)}
        if self._index is not None:
            state |= {"_last": index_state(self._last), "_step": offset_state(self._step)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the rows."""
        self.n_rows, self._index = state["n_rows"], index_from_state(state["_index"])
        if self._index is not None:
            self._last = index_from_state(state["_last"])
            self._step = offset_from_state(state["_step"])

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n_rows

    @property
    def has_labels(self) -> bool:
        """Whether the rows have labels."""
        return self._index is not None

    def labels(self) -> pd.Index:
        """Return the labels of all rows, their numbers if there are no labels."""
        if self._index is None:
            return pd.RangeIndex(self.n_rows)
        n_more = self.n_rows - len(self._index)
        if n_more == 0:
            return self._index
        return self._index.append(self._from(self._index[-1:], n_more + 1)[1:])

    def head(self, n_rows: int) -> "Timeline":
        """Return the timeline of the first rows, one at least."""
        if self._index is None:
            return Timeline(None, n_rows)
        index = self.labels()[:n_rows]
        return self._with(index, index[-1:], n_rows)

    def extended(self, n_rows: int) -> "Timeline":
        """Return the timeline with further rows after the last one."""
        if self._index is None:
            return Timeline(None, self.n_rows + n_rows)
        last = self._from(self._last, n_rows + 1)[-1:]
        return self._with(self._index, last, self.n_rows + n_rows)

    def following(self, n_rows: int) -> pd.Index:
        """Return the labels of the rows that follow the last one, numbers if there are none."""
        if self._index is None:
            return pd.RangeIndex(self.n_rows, self.n_rows + n_rows)
        try:
            return self._from(self._last, n_rows + 1)[1:]
        except pd.errors.OutOfBoundsDatetime as error:
            raise _beyond(f"{n_rows} rows after {self._last[0]}") from error

    def elsewhere(self, index: pd.Index | None, n_rows: int, name: str = "X") -> "Timeline":
        """Return the timeline of rows of any time, at the same steps.

        Raises
        ------
        TypeError, ValueError
            If the labels are of another kind, or not at these steps.
        """
        if index is None:
            return Timeline(None, n_rows)
        index = self.comparable(index, name)
        _check_order(index, name)
        expected = _labels(index[:1], self._step, len(index))
        if not expected.equals(index):
            row = max(1, int((expected != index).argmax()))
            got = f"{index[0]}" if len(index) == 1 else f"{index[row - 1]} and then {index[row]}"
            raise ValueError(
                f"The index of {name} must be at the steps of fit, {self.step_name}, got {got}. "
                "Resample the rows, or add those that are missing, as missing values."
            )
        return self._with(index, index[-1:], n_rows)

    def positions(self, index: pd.Index, name: str = "X") -> np.ndarray:
        """Return the number of each labeled row, counted from the first one known.

        Parameters
        ----------
        index : Index
            Labels, in order and without a hole.
        name : str, default="X"
            Name of the data, for the errors.

        Returns
        -------
        ndarray of shape (n_labels,), int64
            Consecutive numbers; those from ``len(self)`` on are of rows to come.

        Raises
        ------
        TypeError
            If the labels are of another kind than those known.
        ValueError
            If they are not on the grid of those known, or there is a hole between them.
        """
        index = self.comparable(index, name)
        _check_complete(index, name)
        try:
            positions = self._lookup(index)
        except pd.errors.OutOfBoundsDatetime as error:
            raise _beyond(index[-1]) from error
        if (positions < 0).any():
            label = index[int((positions < 0).argmax())]
            raise ValueError(
                f"The index of {name} must continue that of fit, from {self.labels()[0]} on in "
                f"steps of {self.step_name}, got {label}. Ask for rows from the first row of fit "
                "on."
            )
        if positions.max() - self.n_rows > _MOST_ROWS:
            raise ValueError(
                f"{name} must be of rows at most {_MOST_ROWS} steps ahead of the last one known, "
                f"{self._last[0]}, got {index[int(positions.argmax())]}."
            )
        steps = np.diff(positions)
        if (steps != 1).any():
            row = int((steps != 1).argmax())
            raise ValueError(
                f"The index of {name} must have no hole and be in order, got {index[row + 1]} "
                f"right after {index[row]}. Ask for all rows between, and choose among them."
            )
        return positions

    @property
    def step_name(self) -> str:
        """What an error calls the step."""
        if isinstance(self._index, pd.DatetimeIndex):
            return str(self._step.freqstr)
        if isinstance(self._index, pd.PeriodIndex):
            return f"{self._step} {self._index.freqstr}"
        return str(self._step)

    @property
    def first(self) -> pd.Index | None:
        """The label of the first row, as an index; None without labels."""
        return None if self._index is None else self._index[:1]

    @property
    def offset(self) -> BaseOffset | None:
        """The step from each row to the next as an offset of pandas; None without dates."""
        if isinstance(self._index, pd.PeriodIndex):
            return int(self._step) * self._index.freq.base
        return self._step if isinstance(self._index, pd.DatetimeIndex) else None

    def _with(self, index: pd.Index, last: pd.Index, n_rows: int) -> "Timeline":
        """Return a timeline at the same steps over labels that are known to have them."""
        timeline = object.__new__(Timeline)
        timeline.n_rows, timeline._index, timeline._last = n_rows, index, last
        timeline._step = self._step
        return timeline

    def _from(self, start: pd.Index, n_labels: int) -> pd.Index:
        """Return the labels of rows from the one label of `start` on."""
        if isinstance(start, pd.DatetimeIndex):
            return date_range(self._on_the_wall(start), self._step, start.tz, periods=n_labels)
        return _labels(start, self._step, n_labels)

    def _on_the_wall(self, start: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return a label as a local time, before the clocks have moved it."""
        assert isinstance(self._index, pd.DatetimeIndex)
        if start.tz is None or duration(self._step, start.tz) is not None:
            return start
        first, wall = self._index[:1].tz_localize(None), start.tz_localize(None)
        usual = wall.normalize() + (first - first.normalize())[0]
        return usual if localized(usual, start.tz)[0] == start[0] else wall

    def comparable(self, index: pd.Index, name: str) -> pd.Index:
        """Return labels in the time zone of those known.

        Raises
        ------
        TypeError, ValueError
            If they are of another kind, or there are no labels known.
        """
        known = self._index
        if known is None:
            raise ValueError(
                f"{name} must come without an index, as an array, since fit had none, got one. "
                "Pass .to_numpy() for rows that follow those of fit, or fit with an index."
            )
        if index.nlevels == 1:
            _check_complete(index, name)
        try:
            converted = as_kind_of(known, index, self._step)
        except pd.errors.OutOfBoundsDatetime as error:
            raise _beyond(index[0]) from error
        if converted is None:
            raise self._other_kind(index, name)
        if isinstance(known, pd.DatetimeIndex):
            assert isinstance(converted, pd.DatetimeIndex)
            if (known.tz is None) != (converted.tz is None):
                raise TypeError(
                    f"The index of {name} must have a time zone if that of fit has one, got "
                    f"{converted.tz} and in fit {known.tz}. Use tz_localize."
                )
            return converted.tz_convert(known.tz) if known.tz is not None else converted
        return converted

    def _other_kind(self, index: pd.Index, name: str) -> TypeError:
        """Return the error about labels that are none of this grid."""
        if isinstance(index, pd.PeriodIndex):
            if isinstance(self._index, pd.PeriodIndex):
                return TypeError(
                    f"The periods of {name} must be those of fit, {self._index.freqstr}, got "
                    f"{index.freqstr}. Use asfreq."
                )
            if isinstance(self._index, pd.DatetimeIndex):
                return TypeError(
                    f"Every period of {name} must hold one date at the steps of fit, "
                    f"{self.step_name}, got {index[0]} of frequency {index.freqstr}. Use asfreq, "
                    "or dates, with to_timestamp."
                )
        assert self._index is not None
        return TypeError(
            f"The index of {name} must be of the kind it had in fit, {_kind(self._index)}, got "
            f"{_kind(index)}. Convert it{_conversion(index)}, or pass an array for the rows that "
            "follow."
        )

    def _lookup(self, index: pd.Index) -> np.ndarray:
        """Return positions, -1 where a label is not on the grid."""
        assert self._index is not None
        first, step = self._index[:1], self._step
        if not isinstance(index, pd.DatetimeIndex):
            return _exact_quotient(_ordinals(index) - _ordinals(first), step)
        length = duration(step, first.tz)
        if length is not None:
            return _exact_quotient(index - first[0], length)
        positions = np.full(len(index), -1)
        later = index > self._last[0]
        if later.any() and index[later].min() - self._last[0] < _FARTHEST:
            start = self._on_the_wall(self._last)
            end = index.max() if start.tz == index.tz else index.max().tz_localize(None)
            ahead = date_range(start, step, first.tz, end=end)
            found = ahead.get_indexer(index[later])
            positions[later] = np.where(found >= 0, found + self.n_rows - 1, -1)
        if not later.all():
            positions[~later] = self.labels().get_indexer(index[~later])
        return positions


# ------------------------------------------------------------------ checks


def _kind(index: pd.Index) -> str:
    """Return the name of a kind of labels."""
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex, pd.MultiIndex)):
        return type(index).__name__
    return f"labels of type {index.dtype}"


def _conversion(index: pd.Index) -> str:
    """Return how labels become dates or integers, the end of a sentence that says to convert."""
    if index.nlevels == 1 and (index.dtype == object or is_string_dtype(index.dtype)):
        return ", for example with pd.to_datetime"
    return ", for example with .astype(int)" if is_float_dtype(index.dtype) else ""


def _check_kind(index: pd.Index, name: str) -> None:
    """Raise TypeError if the labels are neither dates nor periods nor integers."""
    if not (isinstance(index, _CALENDAR) or holds_integers(index)):
        raise TypeError(
            f"The index of {name} must be {_KINDS}, got {_kind(index)}. Convert it"
            f"{_conversion(index)}, or pass an array if the rows are at equal steps of time."
        )


def _check_complete(index: pd.Index, name: str) -> None:
    if index.hasnans:
        raise ValueError(f"The index of {name} must have no missing label, got one or several.")


def _check_order(index: pd.Index, name: str) -> None:
    """Raise ValueError if a label is missing, occurs twice or is out of order."""
    _check_complete(index, name)
    if index.has_duplicates:
        label = index[int(index.duplicated().argmax())]
        raise ValueError(
            f"The index of {name} must have every time once, got {label} twice. Drop or aggregate "
            "duplicates, for example with .groupby(level=0).mean(); local times that occur twice "
            "when the clocks change need a time zone (tz_localize)."
        )
    if not index.is_monotonic_increasing:
        raise ValueError(
            f"The index of {name} must be sorted by time, got {index[0]} ... {index[-1]} out of "
            "order. Use .sort_index(), and splits that keep the order (TimeSeriesSplit)."
        )


def _beyond(label: Any) -> ValueError:
    """Return the error about a date that the index of fit cannot hold."""
    return ValueError(
        f"Rows must be within the range of the dates in fit, got {label}. Fit with an index of "
        "another unit to go further, for example index.as_unit('s')."
    )


def _raise_irregular(index: pd.Index, row: int, name: str) -> NoReturn:
    advice = ""
    if isinstance(index, pd.DatetimeIndex):
        advice = (
            ". Where the steps are those of a calendar, such as trading hours, set its frequency, "
            "for example pd.offsets.CustomBusinessHour, or pass an array, whose rows count as "
            "equal steps"
        )
        wall = on_the_wall(index)
        if index.tz is not None and wall.is_unique and find_frequency(wall) is not None:
            advice = (
                ". By the clock on the wall, steps are equal: drop the zone with .tz_localize(None)"
            )
    raise ValueError(
        f"The index of {name} must have equal steps, got {index[row - 1]} and then {index[row]}. "
        "Add the rows that are missing, as missing values, with .asfreq or .reindex, or "
        f"aggregate with .resample{advice}."
    )


# ------------------------------------------------------------------ steps


def _step(index: pd.Index, name: str) -> Any:
    """Return the step between the labels: an offset of dates, a number otherwise."""
    if isinstance(index, pd.DatetimeIndex):
        freq = find_frequency(index)
        if freq is None:
            values, counts = np.unique(np.diff(index.asi8), return_counts=True)
            usual = values[counts.argmax()]
            _raise_irregular(index, int((np.diff(index.asi8) != usual).argmax()) + 1, name)
        return freq
    steps = np.diff(_ordinals(index))
    if (steps != steps[:1]).any():
        _raise_irregular(index, int((steps != steps[0]).argmax()) + 1, name)
    return int(steps[0]) if len(steps) else 1


def _exact_quotient(differences: Any, step: Any) -> np.ndarray:
    """Return how many steps fit into differences, -1 where it is no number of whole steps."""
    quotients = np.asarray(differences // step)
    return np.where((np.asarray(quotients * step == differences)) & (quotients >= 0), quotients, -1)


def _ordinals(index: pd.Index) -> np.ndarray:
    """Return periods or integers as integers."""
    return (index.asi8 if isinstance(index, pd.PeriodIndex) else index.to_numpy()).astype(np.int64)


def _labels(start: pd.Index, step: Any, n_labels: int) -> pd.Index:
    """Return labels at equal steps from the one label of `start` on, of the same kind and name."""
    if isinstance(start, pd.DatetimeIndex):
        return dates_from(start, step, n_labels)
    ordinals = _ordinals(start)[0] + step * np.arange(n_labels)
    if isinstance(start, pd.PeriodIndex):
        return pd.PeriodIndex.from_ordinals(ordinals, freq=start.freq, name=start.name)
    return pd.Index(ordinals, name=start.name)
