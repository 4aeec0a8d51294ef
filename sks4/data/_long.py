"""Long tables, one row for each sequence and time, to sequences and back."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sks4._validation import check_choice
from sks4.data._containers import as_panel
from sks4.data._inputs import (
    as_sequences,
    as_targets,
    is_text_column,
    may_be_numeric,
    plain_data,
    sort_instances,
)


def from_long(
    df: Any,
    *,
    id: Hashable,
    time: Hashable,
    values: Hashable | Sequence[Hashable],
    target: Hashable | Sequence[Hashable] | None = None,
    as_arrays: bool = False,
) -> tuple[list[pd.DataFrame] | list[np.ndarray], np.ndarray | None, np.ndarray]:
    """Split a long table into one frame, or one array, for each sequence.

    Parameters
    ----------
    df : DataFrame of pandas, polars, pyarrow or another library that narwhals knows
        One row for each sequence and time, in any order.
    id, time : str or another column name
        The columns that say which sequence a row belongs to, and when it was observed.
    values : str, another column name, or a list of them
        The columns that become the channels; numbers only.
    target : str, another column name, a list of them, or None, default=None
        The column or columns with the target, constant within each sequence.
    as_arrays : bool, default=False
        Whether the sequences are arrays, for pipelines with functions of arrays: without the names
        of the channels and the times.

    Returns
    -------
    X : list of DataFrame, or list of ndarray of shape (n_channels, n_timepoints_i)
        The sequences in order of first appearance. Frames have rows sorted by time, which is the
        index, and `values` as columns. Arrays are in float64, sorted by time as well.
    y : ndarray of shape (n_sequences,) or (n_sequences, n_targets), or None
        The target of each sequence; None if `target` is None.
    ids : ndarray of shape (n_sequences,)
        The identifier of each sequence. Serves as `groups` where nothing else does.

    Raises
    ------
    ValueError
        If a column does not exist or a name occurs twice, `id` or `time` has missing values, a
        sequence has one time twice, times that are text are not in order, a column of values
        is not numeric, or a target changes within a sequence.
    TypeError
        If `df` is no frame.

    Examples
    --------
    >>> import pandas as pd
    >>> from sks4 import from_long
    >>> df = pd.DataFrame({"who": ["a", "b", "a"], "t": [1, 0, 0], "x": [5.0, 7.0, 4.0]})
    >>> X, y, ids = from_long(df, id="who", time="t", values="x")
    >>> X[0]["x"].tolist(), ids.tolist()
    ([4.0, 5.0], ['a', 'b'])
    """
    table = _check_table(df)
    channels, targets = (_listed(names, table.columns) for names in (values, target))
    for column in [id, time, *channels, *targets]:
        check_choice("The name of a column", column, table.columns)
    if not channels or len(set(channels)) < len(channels):
        raise ValueError(f"values must name one column or more, each once, got {values!r}.")
    if table.empty:
        raise ValueError("df must have at least one row, got none.")
    _refuse_text(table, channels)
    order, stops, ids = sort_instances(table[id], table[time], "Column", id, time)
    rows = table[channels].set_index(pd.Index(table[time], name=time)).iloc[order]
    bounds = list(zip([0, *stops[:-1]], stops, strict=True))
    y = None if target is None else _constant_targets(table, target, targets, order, stops)
    if as_arrays:
        return _as_arrays(rows, bounds), y, np.asarray(ids)
    return [rows.iloc[a:b] for a, b in bounds], y, np.asarray(ids)


def _check_table(df: Any) -> pd.DataFrame:
    """Return a long table of any library as a frame of pandas whose names are distinct."""
    table = plain_data(df)
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            "df must be a DataFrame with a row for each sequence and time, got an object of type "
            f"{type(df).__name__}."
        )
    twice = table.columns[table.columns.duplicated()].tolist()
    if twice:
        raise ValueError(
            f"df must have every column name once, got {twice[0]!r} twice. Rename or drop one."
        )
    return table


def _listed(names: Any, columns: pd.Index) -> list[Any]:
    """Return one name or several as a list; a tuple may be one name, of columns of two levels."""
    if names is None:
        return []
    is_one = isinstance(names, Hashable) and (not isinstance(names, tuple) or names in columns)
    return [names] if is_one else list(names)


def _refuse_text(table: pd.DataFrame, channels: list[Any]) -> None:
    """Raise ValueError if columns of values hold text or categories."""
    wrong = [name for name in channels if is_text_column(table[name])]
    if wrong:
        raise ValueError(
            f"values must be numeric columns, got {wrong} with text or categories. Leave them "
            "out, or encode them as numbers first, for example with pd.factorize."
        )


def _as_arrays(rows: pd.DataFrame, bounds: list[tuple[int, int]]) -> list[np.ndarray]:
    """Return parts of a frame of numbers as arrays of shape (n_channels, n_timepoints)."""
    wrong = [name for name in rows.columns if not may_be_numeric(rows[name])]
    if wrong:
        raise ValueError(f"values must be numeric columns with as_arrays=True, got {wrong}.")
    array = np.ascontiguousarray(rows.to_numpy(np.float64, na_value=np.nan).T)
    return [array[:, a:b] for a, b in bounds]


def to_long(
    X: Any,
    y: Any = None,
    *,
    ids: Any = None,
    id: str = "id",
    time: str = "time",
    target: str = "target",
    layout: str = "nct",
) -> pd.DataFrame:
    """Write sequences as one long table, the inverse of `from_long`.

    Parameters
    ----------
    X : array-like, list of arrays, list of frames, or DataFrame
        Sequences in any form that the estimators accept.
    y : array-like of shape (n_samples,) or (n_samples, n_targets), or None, default=None
        Targets, repeated for each row of a sequence. Several targets take the names
        ``target_0``, ``target_1`` and so on.
    ids : array-like of shape (n_samples,) or None, default=None
        Identifiers, no two alike; None numbers the sequences from 0.
    id, time, target : str
        Names of the columns to write.
    layout : {"nct", "ntc"}, default="nct"
        The order of the axes in arrays.

    Returns
    -------
    DataFrame
        The columns `id`, `time`, one for each channel (its name, else ``channel_0``,
        ``channel_1`` and so on) and the target if given. Time is the index of frames, else
        counted from 0.

    Raises
    ------
    ValueError
        If the numbers of sequences, targets and ids differ, two ids or two column names are
        alike.
    """
    frames = _as_frames(X, layout)
    ids = np.arange(len(frames)) if ids is None else as_targets(ids, "ids")
    targets = _target_columns(y, target)
    _check_lengths(len(frames), ids, targets)
    lengths = [len(frame) for frame in frames]
    times = [frame.index for frame in frames]
    table = pd.concat(frames, ignore_index=True)
    columns = [id, time, *table.columns, *targets]
    if len(set(columns)) < len(columns):
        raise ValueError(f"The columns to write must have different names, got {columns}.")
    table.insert(0, id, np.repeat(ids, lengths))
    table.insert(1, time, times[0].append(times[1:]))
    for name, column in targets.items():
        table[name] = np.repeat(column, lengths)
    return table


def _constant_targets(
    table: pd.DataFrame, target: Any, names: list[Any], order: np.ndarray, stops: np.ndarray
) -> np.ndarray:
    """Return the target of each sequence, refusing one that changes within a sequence."""
    lengths = np.diff(stops, prepend=0)
    first = order[stops - lengths]
    for name in names:
        labels, _ = pd.factorize(table[name])  # numbers, so that missing targets compare as equal
        differs = labels[order] != np.repeat(labels[first], lengths)
        if differs.any():
            sequence = int(np.searchsorted(stops, differs.argmax(), side="right"))
            raise ValueError(
                f"The target must be constant within each sequence, got different values of "
                f"{name!r} in sequence number {sequence} (in order of first appearance, from 0)."
            )
    is_one = names == [target]
    return table[names[0] if is_one else names].to_numpy()[first]


def _as_frames(X: Any, layout: str) -> list[pd.DataFrame]:
    """Return the sequences as frames (rows are time); frames pass as they are."""
    X = as_sequences(X)
    panel = as_panel(X, layout=layout)
    if isinstance(X, list) and isinstance(X[0], pd.DataFrame):
        return X
    names: Sequence[str] | np.ndarray = [f"channel_{k}" for k in range(panel.n_channels)]
    if panel.form != "2d" and panel.feature_names is not None:
        names = panel.feature_names
    return [pd.DataFrame(sequence.T, columns=names) for sequence in panel]


def _target_columns(y: Any, target: str) -> dict[str, np.ndarray]:
    """Return the targets as named columns, none if `y` is None."""
    if y is None:
        return {}
    y = as_targets(y)
    if y.ndim == 1:
        return {target: y}
    return {f"{target}_{k}": y[:, k] for k in range(y.shape[1])}


def _check_lengths(n_samples: int, ids: np.ndarray, targets: dict[str, np.ndarray]) -> None:
    """Raise unless there are distinct ids, and targets, for each of `n_samples` sequences."""
    if len(ids) != n_samples or len(np.unique(ids)) != n_samples:
        raise ValueError(
            f"ids must be {n_samples} different values, one for each sequence, got {len(ids)} "
            f"of which {len(np.unique(ids))} differ."
        )
    for name, column in targets.items():
        if len(column) != n_samples:
            raise ValueError(
                f"y must have one entry for each of the {n_samples} sequences, got {len(column)} "
                f"for {name!r}."
            )
