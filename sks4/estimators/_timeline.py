"""The labels of rows of time: which row follows which, and where a requested one belongs."""

from typing import Any, NoReturn

import numpy as np
import pandas as pd

from sks4.data import index_from_state, index_state, plain_index

# A label this many rows behind the last known one is a mistake, and not a request.
_FARTHEST = 10**7

_KINDS = "a DatetimeIndex, a PeriodIndex or an index of integers"


class Timeline:
    """Rows at equal steps of time, with a label each or without labels.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex, Index of integers, or None
        One label for each row, in order, at equal steps; None if the rows came as an array.
    n_rows : int
        Number of rows.
    name : str
        What an error calls the data.

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
        self.index = None if index is None else _regular(index, name)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n_rows

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows as plain values, which any format of files can hold."""
        return {"n_rows": self.n_rows, "index": index_state(self.index)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the rows."""
        self.n_rows, self.index = state["n_rows"], index_from_state(state["index"])

    def labels(self) -> pd.Index:
        """Return the labels of all rows, their numbers if there are no labels."""
        return pd.RangeIndex(self.n_rows) if self.index is None else self.index

    def head(self, n_rows: int) -> "Timeline":
        """Return the timeline of the first rows."""
        return self._with(None if self.index is None else self.index[:n_rows], n_rows)

    def extended(self, n_rows: int) -> "Timeline":
        """Return the timeline with further rows behind the last one."""
        index = None if self.index is None else self.index.append(self.following(n_rows))
        if isinstance(index, pd.DatetimeIndex):
            index.freq = self.index.freq  # type: ignore[union-attr]
        return self._with(index, self.n_rows + n_rows)

    def following(self, n_rows: int) -> pd.Index:
        """Return the labels of the rows that follow the last one."""
        index = self.labels()
        ahead = np.arange(1, n_rows + 1)
        if isinstance(index, pd.DatetimeIndex):
            return pd.date_range(index[-1], periods=n_rows + 1, freq=index.freq)[1:]
        if isinstance(index, pd.PeriodIndex):
            ordinals = index[-1].ordinal + ahead * _step(index)
            return pd.PeriodIndex.from_ordinals(ordinals, freq=index.freq)
        return pd.Index(index[-1] + ahead * _step(index))

    def positions(self, index: pd.Index, name: str = "X") -> np.ndarray:
        """Return the number of each labeled row, counted from the first one known.

        Parameters
        ----------
        index : Index
            Labels, in order and without a hole.
        name : str
            What an error calls the data.

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
        if self.index is None:
            _raise_without_index(name)
        index = self._comparable(index, name)
        positions = self._lookup(index)
        if (positions < 0).any():
            label = index[int((positions < 0).argmax())]
            known = self.labels()
            raise ValueError(
                f"The index of {name} must continue that of fit, from {known[0]} on in steps of "
                f"{self._step_name()}, got {label}. Ask for rows from the first row of fit on."
            )
        steps = np.diff(positions)
        if (steps != 1).any():
            row = int((steps != 1).argmax())
            raise ValueError(
                f"The index of {name} must have no hole and be in order, got {index[row + 1]} "
                f"right after {index[row]}. Ask for all rows between, and choose among them."
            )
        return positions

    def check_same_steps(self, other: "Timeline") -> None:
        """Raise if other labeled rows, of any time, do not have the same steps."""
        if self.index is None:
            _raise_without_index("The rows")
        assert other.index is not None
        self._comparable(other.index, "the rows")
        if len(other) > 1 and self._step_name() != other._step_name():
            raise ValueError(
                f"The rows must be at the steps of fit, {self._step_name()}, got "
                f"{other._step_name()}. Resample them."
            )

    def _with(self, index: pd.Index | None, n_rows: int) -> "Timeline":
        """Return a timeline over an index that is known to be regular."""
        timeline = object.__new__(Timeline)
        timeline.index, timeline.n_rows = index, n_rows
        return timeline

    def _comparable(self, index: pd.Index, name: str) -> pd.Index:
        """Return the labels in the kind and the time zone of those known."""
        known = self.labels()
        kinds = (pd.DatetimeIndex, pd.PeriodIndex)
        if any(isinstance(known, kind) != isinstance(index, kind) for kind in kinds) or (
            not isinstance(known, kinds) and not pd.api.types.is_integer_dtype(index.dtype)
        ):
            raise TypeError(
                f"The index of {name} must be of the kind it had in fit, {_kind(known)}, got "
                f"{_kind(index)}. Convert it, or pass an array for the rows that follow."
            )
        if isinstance(known, pd.DatetimeIndex):
            if (known.tz is None) != (index.tz is None):
                raise TypeError(
                    f"The index of {name} must have a time zone if that of fit has one, got "
                    f"{index.tz} and in fit {known.tz}. Use tz_localize."
                )
            return index.tz_convert(known.tz) if known.tz is not None else index
        if isinstance(known, pd.PeriodIndex) and known.freq != index.freq:
            raise TypeError(
                f"The periods of {name} must be those of fit, {known.freqstr}, got "
                f"{index.freqstr}. Use asfreq."
            )
        return index

    def _lookup(self, index: pd.Index) -> np.ndarray:
        """Return positions, -1 where a label is not on the grid."""
        known = self.labels()
        if not isinstance(known, pd.DatetimeIndex):
            steps = _ordinals(index) - _ordinals(known[:1])
            step = _step(known)
            return np.where((steps % step == 0) & (steps >= 0), steps // step, -1)
        positions = known.get_indexer(index)
        n_more, last = len(index), index.max()
        while last > known[-1] and n_more < _FARTHEST:  # the step may vary, as of months
            more = self.following(n_more)
            found = more.get_indexer(index)
            positions = np.where(found >= 0, found + self.n_rows, positions)
            if more[-1] >= last:
                break
            n_more *= 4
        return positions

    def _step_name(self) -> str:
        known = self.labels()
        if isinstance(known, pd.DatetimeIndex):
            return str(known.freqstr)
        return (
            f"{_step(known)} {known.freqstr}"
            if isinstance(known, pd.PeriodIndex)
            else str(_step(known))
        )


def _raise_without_index(name: str) -> NoReturn:
    raise ValueError(
        f"{name} must come without an index, as an array, since fit had none, got one. Pass "
        ".to_numpy() for rows that follow those of fit, or fit with an index."
    )


def time_index(data: Any) -> pd.Index | None:
    """Return the labels of the rows of some data, None if they have none."""
    return plain_index(data.index) if isinstance(data, (pd.DataFrame, pd.Series)) else None


def _kind(index: pd.Index) -> str:
    """Return the name of a kind of labels."""
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex, pd.MultiIndex)):
        return type(index).__name__
    return f"labels of type {index.dtype}"


def _ordinals(index: pd.Index) -> np.ndarray:
    """Return the labels as integers."""
    return (index.asi8 if isinstance(index, pd.PeriodIndex) else index.to_numpy()).astype(np.int64)


def _step(index: pd.Index) -> int:
    """Return the step between periods or integers, 1 if there is a single one."""
    ordinals = _ordinals(index[:2])
    return int(ordinals[1] - ordinals[0]) if len(ordinals) == 2 else 1


def _regular(index: pd.Index, name: str) -> pd.Index:
    """Return the index, with its frequency if it has dates, or raise."""
    is_dates = isinstance(index, pd.DatetimeIndex)
    if not (
        is_dates
        or isinstance(index, pd.PeriodIndex)
        or (pd.api.types.is_integer_dtype(index.dtype) and index.nlevels == 1)
    ):
        raise TypeError(
            f"The index of {name} must be {_KINDS}, got {_kind(index)}. Set one, or pass an array "
            "if the rows are at equal steps of time."
        )
    if index.hasnans:
        raise ValueError(f"The index of {name} must have no missing label, got one or several.")
    if index.has_duplicates:
        label = index[int(index.duplicated().argmax())]
        raise ValueError(
            f"The index of {name} must have every time once, got {label} twice. Drop or aggregate "
            "duplicates, for example with .groupby(level=0).mean()."
        )
    if not index.is_monotonic_increasing:
        raise ValueError(
            f"The index of {name} must be sorted by time, got {index[0]} ... {index[-1]} out of "
            "order. Use .sort_index(), and splits that keep the order (TimeSeriesSplit)."
        )
    return _with_frequency(index, name) if is_dates else _equidistant(index, name)


def _equidistant(index: pd.Index, name: str) -> pd.Index:
    """Return periods or integers, or raise where a step differs."""
    steps = np.diff(_ordinals(index))
    if len(steps) and (steps != steps[0]).any():
        _raise_irregular(index, int((steps != steps[0]).argmax()) + 1, name)
    return index


def _with_frequency(index: pd.DatetimeIndex, name: str) -> pd.DatetimeIndex:
    """Return dates with their frequency set, or raise where a step differs."""
    if index.freq is not None:
        return index
    if len(index) > 2:
        inferred = pd.DatetimeIndex(index, freq="infer")
        if inferred.freq is not None:
            return inferred
    steps = np.diff(index.asi8)
    if (steps == steps[:1]).all():
        return pd.DatetimeIndex(index, freq=index[1] - index[0] if len(index) > 1 else "D")
    values, counts = np.unique(steps, return_counts=True)
    usual = values[counts.argmax()]
    _raise_irregular(index, int((steps != usual).argmax()) + 1, name)


def _raise_irregular(index: pd.Index, row: int, name: str) -> NoReturn:
    raise ValueError(
        f"The index of {name} must have equal steps, got {index[row - 1]} and then {index[row]}. "
        "Add the rows that are missing, as missing values, with .asfreq or .reindex, or "
        "aggregate with .resample."
    )
