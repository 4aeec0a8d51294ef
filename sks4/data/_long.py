"""Long tables, one row for each sequence and time, to sequences and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sks4._validation import check_choice
from sks4.data._containers import as_panel


def from_long(
    df: pd.DataFrame,
    *,
    id: str,
    time: str,
    values: str | Sequence[str],
    target: str | Sequence[str] | None = None,
) -> tuple[list[pd.DataFrame], np.ndarray | None, np.ndarray]:
    """Split a long table into one frame for each sequence.

    Parameters
    ----------
    df : DataFrame
        One row for each sequence and time, in any order.
    id, time : str
        The columns that say which sequence a row belongs to, and when it was observed.
    values : str or list of str
        The columns that become the channels.
    target : str, list of str or None, default=None
        The column or columns with the target, constant within each sequence.

    Returns
    -------
    X : list of DataFrame
        One frame for each sequence, in order of first appearance: rows sorted by time, which is
        the index, and `values` as columns.
    y : ndarray of shape (n_sequences,) or (n_sequences, n_targets), or None
        The target of each sequence; None if `target` is None.
    ids : ndarray of shape (n_sequences,)
        The identifier of each sequence. Serves as `groups` where nothing else does.

    Raises
    ------
    ValueError
        If a column does not exist, `id` or `time` has missing values, a sequence has one time
        twice, or a target changes within a sequence.

    Examples
    --------
    >>> import pandas as pd
    >>> from sks4 import from_long
    >>> df = pd.DataFrame({"who": ["a", "b", "a"], "t": [1, 0, 0], "x": [5.0, 7.0, 4.0]})
    >>> X, y, ids = from_long(df, id="who", time="t", values="x")
    >>> X[0]["x"].tolist(), ids.tolist()
    ([4.0, 5.0], ['a', 'b'])
    """
    channels = [values] if isinstance(values, str) else list(values)
    targets = [target] if isinstance(target, str) else list(target or ())
    for column in [id, time, *channels, *targets]:
        check_choice("The name of a column", column, df.columns)
    if df.empty:
        raise ValueError("df must have at least one row, got none.")
    codes, ids = _encode(df, id, sort=False)
    time_codes, _ = _encode(df, time, sort=True)
    order = np.lexsort((time_codes, codes))
    _refuse_repeated_times(df, id, time, codes[order], time_codes[order], order)
    stops = np.cumsum(np.bincount(codes))
    table = df[channels].set_index(pd.Index(df[time], name=time)).iloc[order]
    X = [table.iloc[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True)]
    return X, _constant_targets(df, target, codes), np.asarray(ids)


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
    ids = np.arange(len(frames)) if ids is None else np.asarray(ids)
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


def _encode(df: pd.DataFrame, column: str, *, sort: bool) -> tuple[np.ndarray, Any]:
    """Give each distinct entry of a column a number, and refuse missing ones."""
    codes, unique = pd.factorize(df[column], sort=sort)
    if (codes < 0).any():
        raise ValueError(
            f"Column {column!r} must have no missing values, got {(codes < 0).sum()}. Drop or "
            "fill these rows."
        )
    return codes, unique


def _refuse_repeated_times(
    df: pd.DataFrame,
    id: str,
    time: str,
    codes: np.ndarray,
    time_codes: np.ndarray,
    order: np.ndarray,
) -> None:
    """Raise if two rows, next to each other when sorted, have the same sequence and time."""
    repeated = (np.diff(codes) == 0) & (np.diff(time_codes) == 0)
    if repeated.any():
        row = df.iloc[[order[repeated.argmax()]]]
        (when,), (which,) = row[time].tolist(), row[id].tolist()  # Python's numbers, not numpy's
        raise ValueError(
            f"Each sequence must have a time only once, got {time}={when!r} several times "
            f"for {id}={which!r}. Drop or aggregate these rows."
        )


def _constant_targets(
    df: pd.DataFrame, target: str | Sequence[str] | None, codes: np.ndarray
) -> np.ndarray | None:
    """Return the target of each sequence, refusing one that changes within a sequence."""
    if target is None:
        return None
    _, first = np.unique(codes, return_index=True)
    for name in [target] if isinstance(target, str) else target:
        labels, _ = pd.factorize(df[name])  # numbers, so that missing targets compare as equal
        differs = labels != labels[first[codes]]
        if differs.any():
            raise ValueError(
                f"The target must be constant within each sequence, got different values of "
                f"{name!r} in sequence number {codes[differs.argmax()]} (in order of first "
                "appearance, from 0)."
            )
    return df[target if isinstance(target, str) else list(target)].to_numpy()[first]


def _as_frames(X: Any, layout: str) -> list[pd.DataFrame]:
    """Return the sequences as frames (rows are time); frames pass as they are."""
    panel = as_panel(X, layout=layout)
    if isinstance(X, (list, tuple, np.ndarray)) and isinstance(X[0], pd.DataFrame):
        return list(X)
    names: Sequence[str] | np.ndarray = [f"channel_{k}" for k in range(panel.n_channels)]
    if panel.form != "2d" and panel.feature_names is not None:
        names = panel.feature_names
    return [pd.DataFrame(sequence.T, columns=names) for sequence in panel]


def _target_columns(y: Any, target: str) -> dict[str, np.ndarray]:
    """Return the targets as named columns, none if `y` is None."""
    if y is None:
        return {}
    y = np.asarray(y)
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
