"""Rows of time, checked and brought into one form."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array

from sks4._validation import unmasked
from sks4.data._inputs import plain_data, plain_rows, refuse_text_and_dates
from sks4.data._labels import index_from_state, index_state
from sks4.data._timeline import Timeline

_ADVICE = (
    "Drop it, make dates the index, encode categories (OneHotEncoder), or convert text with "
    "pd.to_numeric."
)


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of consecutive rows of time.

    Attributes
    ----------
    values : ndarray of shape (n_timepoints, n_targets), float64
        Targets, NaN where missing.
    covariates : ndarray of shape (n_timepoints, n_covariates), float64
        What is known ahead, features of the calendar included; NaN where missing.
    weights : ndarray of shape (n_timepoints,), float64
        Weight of each row as a target.
    """

    values: np.ndarray
    covariates: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Columns":
        """Return some of the rows."""
        return Columns(self.values[rows], self.covariates[rows], self.weights[rows])

    def followed_by(self, *later: "Columns") -> "Columns":
        """Return these rows and later ones."""
        if not later:
            return self
        blocks = (self, *later)
        return Columns(
            np.concatenate([block.values for block in blocks]),
            np.concatenate([block.covariates for block in blocks]),
            np.concatenate([block.weights for block in blocks]),
        )

    def with_covariates(self, start: int, covariates: np.ndarray) -> "Columns":
        """Return these rows with other covariates from one row on, as many as there are."""
        changed = self.covariates.copy()
        changed[start : start + len(covariates)] = covariates[: len(self) - start]
        return replace(self, covariates=changed)


@dataclass(frozen=True, eq=False)
class TimeRows:
    """Rows of time, to which others can be appended without copying those before.

    Attributes
    ----------
    blocks : tuple of Columns
        The rows in a few blocks, one after the other.
    timeline : Timeline
        The labels of the rows.
    """

    blocks: tuple[Columns, ...]
    timeline: Timeline

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.timeline)

    @property
    def n_covariates(self) -> int:
        """Number of covariates, features of the calendar included."""
        return self.blocks[0].covariates.shape[1]

    def columns(self) -> Columns:
        """Return all rows as one block."""
        return self.blocks[0].followed_by(*self.blocks[1:])

    def head(self, n_rows: int) -> "TimeRows":
        """Return the first rows, one at least."""
        return TimeRows((self.columns()[:n_rows],), self.timeline.head(n_rows))

    def pieces(self, n_rows: int) -> Iterator["TimeRows"]:
        """Yield the rows in pieces of `n_rows` without labels, the first one with what is over."""
        columns, n_over = self.columns(), len(self) % n_rows
        for stop in range(n_over or n_rows, len(self) + 1, n_rows):
            piece = columns[max(stop - n_rows, 0) : stop]
            yield TimeRows((piece,), Timeline(None, len(piece)))

    def followed_by(self, later: "TimeRows") -> "TimeRows":
        """Return these rows and others that follow them in time."""
        blocks = [*self.blocks, later.columns()]
        # Each block is larger than the next, so there are few, and a row is seldom copied.
        while len(blocks) > 1 and len(blocks[-2]) <= len(blocks[-1]):
            last = blocks.pop()
            blocks[-1] = blocks[-1].followed_by(last)
        return TimeRows(tuple(blocks), self.timeline.extended(len(later)))

    def latest(self, n_rows: int) -> Columns:
        """Return the last rows, preceded by one with the last known values before them.

        The row before stands for all earlier ones, which are not read further back than to the
        last known value of each column; targets of rows without weight do not count. It is absent
        if there are no earlier rows.
        """
        n_before = max(0, len(self) - n_rows)
        latest = self._from(n_before)
        if n_before == 0:
            return latest
        n_back = 1
        while True:
            n_back = min(n_back, n_before)
            before = self._from(n_before - n_back)[:n_back]
            values = np.where(before.weights[:, np.newaxis] > 0, before.values, np.nan)
            known = ~np.isnan(np.column_stack([values, before.covariates])).all(axis=0)
            if known.all() or n_back == n_before:
                break
            n_back *= 8
        row = Columns(_last_known(values), _last_known(before.covariates), np.ones(1))
        return row.followed_by(latest)

    def _from(self, start: int) -> Columns:
        """Return the rows from one on."""
        stop, blocks = len(self), []
        for block in reversed(self.blocks):
            first = stop - len(block)
            blocks.append(block[max(0, start - first) :])
            stop = first
            if first <= start:
                break
        return blocks[-1].followed_by(*blocks[-2::-1])


def _last_known(columns: np.ndarray) -> np.ndarray:
    """Return the last value of each column (n_rows, n_columns) that is not NaN, as one row."""
    newest = (~np.isnan(columns[::-1])).argmax(axis=0)
    return np.take_along_axis(columns[::-1], newest[np.newaxis], axis=0)


@dataclass(frozen=True, eq=False)
class TargetForm:
    """The form in which targets came, so that forecasts leave in the same.

    Attributes
    ----------
    n_targets : int or None
        Number of columns; None if the targets have one axis.
    names : Index
        Names of the targets, numbers if they have none.
    name : hashable or None
        Name of a Series.
    has_labels : bool
        Whether `names` are those of the user.
    """

    n_targets: int | None
    names: pd.Index
    name: Any
    has_labels: bool

    def __getstate__(self) -> dict[str, Any]:
        """Return the form as plain values, which any format of files can hold."""
        return vars(self) | {"names": index_state(self.names)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the form."""
        vars(self).update(state | {"names": index_from_state(state["names"])})

    @classmethod
    def of(cls, data: Any, values: np.ndarray) -> "TargetForm":
        """Return the form of some data, whose checked values have one axis or two."""
        data = plain_data(data)
        if isinstance(data, pd.DataFrame):
            return cls(values.shape[1], data.columns, None, True)
        if values.ndim == 2:
            return cls(values.shape[1], pd.RangeIndex(values.shape[1]), None, False)
        name = getattr(data, "name", None)
        names = pd.Index([0 if name is None else name], tupleize_cols=False)
        return cls(None, names, name, name is not None)

    def check_same(self, other: "TargetForm", name: str) -> None:
        """Raise ValueError if targets differ from those of fit in number or in names."""
        if self.n_targets != other.n_targets:
            shapes = [
                "(n_timepoints,)" if n is None else f"(n_timepoints, {n})"
                for n in (self.n_targets, other.n_targets)
            ]
            raise ValueError(f"{name} must have shape {shapes[0]} as in fit, got {shapes[1]}.")
        named = self.n_targets is not None and self.has_labels and other.has_labels
        if named and not self.names.equals(other.names):
            raise ValueError(
                f"{name} must have the columns of fit, {list(self.names)}, got {list(other.names)}."
            )

    def arrange(self, forecast: np.ndarray) -> np.ndarray:
        """Drop the axis of the targets from (n_rows, n_targets, ...) if those of fit had none."""
        return forecast[:, 0] if self.n_targets is None else forecast

    def label(self, forecast: np.ndarray, index: pd.Index | None) -> Any:
        """Return forecasts (n_rows, n_targets) as an array, or with labels as Series or frame."""
        if index is None:
            return self.arrange(forecast)
        if self.n_targets is not None:
            return pd.DataFrame(forecast, index=index, columns=self.names)
        return pd.Series(forecast[:, 0], index=index, name=self.name)

    def label_interval(
        self, forecast: np.ndarray, interval: np.ndarray, index: pd.Index
    ) -> pd.DataFrame:
        """Return forecasts and the ends of their intervals as a frame.

        Parameters
        ----------
        forecast : ndarray of shape (n_rows, n_targets)
            Forecasts.
        interval : ndarray of shape (n_rows, n_targets, 2)
            Lower and upper ends.
        index : Index
            Labels of the rows.

        Returns
        -------
        DataFrame
            Columns "forecast", "lower" and "upper"; for a table of targets, below the name of each.
        """
        parts = pd.Index(["forecast", "lower", "upper"])
        columns = np.concatenate([forecast[..., np.newaxis], interval], axis=-1)
        columns = columns.reshape(len(forecast), -1)
        return pd.DataFrame(columns, index=index, columns=self.names_with(parts))

    def names_with(self, parts: pd.Index) -> pd.Index:
        """Return the names of parts of a result; for a table of targets, below those of each."""
        if self.n_targets is None:
            return parts
        names = self.names.to_frame(index=False)
        pairs = names.loc[names.index.repeat(len(parts))].assign(part=np.tile(parts, len(names)))
        return pd.MultiIndex.from_frame(pairs, names=[*self.names.names, None])


def check_series(data: Any, name: str) -> np.ndarray:
    """Return a series as float64 of shape (n_timepoints,) or (n_timepoints, n_targets).

    Parameters
    ----------
    data : array-like
        The series, NaN where a value is missing.
    name : str
        What an error calls it.

    Returns
    -------
    ndarray, float64
        A copy or a view of the same shape.

    Raises
    ------
    TypeError
        If it is no array-like, or a column holds dates or text.
    ValueError
        If there is no row, a value is infinite or not a number, there are more than two axes, or
        a frame has a name twice.
    """
    data = plain_rows(data, name)
    if isinstance(data, (list, tuple)) and any(
        isinstance(item, (pd.DataFrame, pd.Series)) for item in data
    ):
        raise ValueError(
            f"{name} must be one series, or one frame with a column for each, got a "
            f"{type(data).__name__} of several. Series over the same times go "
            "into one frame: pd.concat(..., axis=1)."
        )
    return _checked_array(data, name, ensure_2d=False)


def check_covariates(X: Any, name: str = "X") -> np.ndarray:
    """Return covariates as float64 of shape (n_timepoints, n_covariates), perhaps no columns."""
    X = plain_rows(X, name)
    if isinstance(X, pd.DataFrame) and X.shape[1] == 0:
        return np.empty(X.shape)  # a frame without columns has no dtype that could be checked
    return _checked_array(X, name, ensure_min_features=0)


def _checked_array(data: Any, name: str, **options: Any) -> np.ndarray:
    """Return numbers as float64, NaN where missing or masked, or raise."""
    _check_array_like(data, name)
    for label, column in _columns(data, name):
        refuse_text_and_dates(column, label, _ADVICE)
    with np.errstate(invalid="ignore"):  # scikit-learn sums, also what is infinite
        return check_array(
            unmasked(data),
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            input_name=name,
            **options,
        )


def _check_array_like(data: Any, name: str) -> None:
    """Raise TypeError where there are no rows to be read."""
    is_array = hasattr(data, "shape") or hasattr(data, "__array__")
    is_list = hasattr(data, "__len__") and not isinstance(data, (str, bytes, Mapping, Set))
    if not (is_array or is_list):
        raise TypeError(
            f"{name} must be an array, a list of numbers, a Series or a DataFrame with at least 1 "
            f"dimension, got {'None' if data is None else f'a {type(data).__name__}'}. Convert it "
            "first, for example with pd.DataFrame(...) or list(...)."
        )


def _columns(data: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what has a type of its own, and what an error calls it."""
    if isinstance(data, pd.DataFrame):
        twice = data.columns[data.columns.duplicated()].tolist()
        if twice:
            raise ValueError(
                f"{name} must have every column name once, got {twice[0]!r} twice. Rename or drop "
                "one of them."
            )
        for label, column in data.items():
            yield f"Column {label!r} of {name}", column
    elif isinstance(data, (list, tuple)):
        yield name, np.array(data, dtype=object)  # numpy would make text of numbers beside it
    else:
        has_numpy_type = hasattr(getattr(data, "dtype", None), "kind")
        yield name, data if has_numpy_type else np.asarray(data)


def check_each_observed(values: np.ndarray, names: pd.Index, purpose: str) -> None:
    """Raise ValueError if a target (n_timepoints, n_targets) has no value at all."""
    empty = np.isnan(values).all(axis=0)
    if empty.any():
        got = "got only NaN. Pass more rows."
        if len(names) > 1:
            which = names.tolist()[int(empty.argmax())]  # a number of Python, not of numpy
            got = f"got only NaN for target {which!r}. Leave it out, or pass more rows."
        raise ValueError(
            f"Every target must have a value in the {len(values)} rows {purpose}, {got}"
        )
