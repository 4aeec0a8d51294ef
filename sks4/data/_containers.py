"""Every form in which a user may hold sequences, brought into one `Panel` without a copy."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_array

from sks4._validation import check_choice, unmasked
from sks4.data._panel import Panel, build_panel
from sks4.exceptions import DataShapeWarning

# Many sets have more channels than time points (sensor grids up to 7 times more); beyond this
# ratio swapped axes are the likelier explanation.
_SUSPICIOUS_RATIO = 8

# Kinds of objects, in the words of pandas, that no sequence of numbers has in a column.
_NOT_NUMERIC = {
    *("string", "bytes", "mixed-integer", "categorical"),
    *("datetime64", "datetime", "date", "time", "timedelta64", "timedelta", "period"),
}

# Kinds of labels whose order says nothing about time.
_NO_ORDER = {"string", "bytes", "mixed", "mixed-integer"}

_ARRAY_TYPES = (np.ndarray, torch.Tensor, pd.DataFrame, pd.Series)


def as_panel(X: Any, *, layout: str = "nct") -> Panel:
    """Bring sequences of any supported form into one panel.

    Trailing time points at which all channels are NaN are padding; any other NaN is a missing
    value, as is what is masked in a masked array. Arrays without a mask are not copied, read-only
    memory maps included; frames are copied at most once.

    Parameters
    ----------
    X : array-like, list of arrays, list of frames, or DataFrame
        - 2-D array, nested list of numbers, or DataFrame with one row per sequence:
          ``(n_samples, n_timepoints)``, one channel;
        - 3-D array: ``(n_samples, n_channels, n_timepoints)``, see `layout`;
        - list, tuple or 1-D object array of arrays ``(n_channels, n_timepoints_i)``, see
          `layout`, or ``(n_timepoints_i,)``: sequences of different lengths;
        - list of DataFrames (rows are time, columns are channels) or of Series;
        - DataFrame with an array or Series in each cell (columns are channels);
        - DataFrame with two-level columns (channel, time).
    layout : {"nct", "ntc"}, default="nct"
        Whether channels come before time, or time before channels, in 3-D arrays and in lists
        of 2-D arrays. Frames are not affected: their rows are always time.

    Returns
    -------
    Panel
        Views of the sequences with their lengths.

    Raises
    ------
    ValueError
        If X has a wrong number of dimensions, no sample, a sequence without a value, different
        numbers of channels, an infinite value, values that are not real numbers, or times in
        two-level columns that do not increase.
    TypeError
        If X has none of these forms, is sparse, or holds objects that are not numbers.

    Warns
    -----
    DataShapeWarning
        If there are so many more channels than time points that the axes look swapped, or a
        frame of numbers looks like a long table, with an id and a time before the values.

    Examples
    --------
    >>> import numpy as np
    >>> panel = as_panel([np.zeros((2, 5)), np.zeros((2, 3))])
    >>> panel.n_channels, panel.lengths.tolist()
    (2, [5, 3])
    """
    check_choice("layout", layout, ("nct", "ntc"))
    check_form(X)
    if isinstance(X, pd.Series):
        X = X.to_numpy()
    if isinstance(X, pd.DataFrame):
        panel = _panel_from_frame(X)
    elif _holds_arrays(X):
        panel = _panel_from_sequences(X, layout)
    else:
        panel = _panel_from_array(X, layout)
    _warn_if_swapped(panel)
    return panel


def check_form(X: Any) -> None:
    """Raise TypeError if X is no array, list or frame, and ValueError if it is an empty list."""
    if isinstance(X, (list, tuple)) and not X:
        raise ValueError(
            f"X must hold at least one sequence, got an empty {type(X).__name__} with 0 sample(s)."
        )
    is_scalar = X is None or getattr(X, "shape", None) == ()
    is_array = hasattr(X, "__array__") or hasattr(X, "shape")
    is_list = hasattr(X, "__len__") and hasattr(X, "__getitem__")
    if is_array and not is_scalar:  # a sparse one is refused later, in scikit-learn's words
        return
    if is_list and not (is_scalar or isinstance(X, (str, bytes, Mapping))):
        return
    advice = ""
    if isinstance(X, (str, bytes)):
        advice = " Pass several texts as a list; a single one is [X]."
    elif isinstance(X, Mapping):
        advice = " Pass its sequences as list(X.values())."
    elif isinstance(X, (Iterator, Set)):
        advice = " Pass its items as list(X)."
    got = repr(X) if is_scalar or isinstance(X, Real) else f"an object of type {type(X).__name__}"
    raise TypeError(
        "X must be an array (n_samples, n_timepoints) or (n_samples, n_channels, n_timepoints), a "
        f"list of arrays or of DataFrames, or a DataFrame, got {got}.{advice}"
    )


def _holds_arrays(X: Any) -> bool:
    """Tell whether X is a list, tuple or 1-D object array with an array or frame in it."""
    if isinstance(X, np.ndarray):
        if X.dtype != object or X.ndim != 1:
            return False
    elif not isinstance(X, (list, tuple)):
        return False
    return any(isinstance(item, _ARRAY_TYPES) for item in X)


def _warn_if_swapped(panel: Panel) -> None:
    """Warn where channels outnumber time points so far that the axes look swapped."""
    longest = int(panel.lengths.max())
    if panel.form != "2d" and panel.n_channels >= _SUSPICIOUS_RATIO * longest:
        warnings.warn(
            f"X has {panel.n_channels} channels and at most {longest} time points, so time and "
            "channels look swapped. If they are, pass the other layout ('nct' or 'ntc').",
            DataShapeWarning,
            stacklevel=3,
        )


# --- arrays ------------------------------------------------------------------------------------


def _panel_from_array(X: Any, layout: str) -> Panel:
    """Build a panel from a 2-D or 3-D array-like of numbers."""
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    elif isinstance(X, (list, tuple)):
        X = _from_nested_list(X)
    # Infinite and missing values are told apart per sample later, in bounded memory.
    array = check_array(unmasked(X), allow_nd=True, ensure_all_finite=False, input_name="X")
    array = _as_numeric(array, "X")  # times are numeric for check_array
    if array.ndim == 2:
        return build_panel(array[:, np.newaxis], "2d")  # (n_samples, 1, n_timepoints)
    if array.ndim != 3:
        raise ValueError(
            "X must have shape (n_samples, n_timepoints) or (n_samples, n_channels, "
            f"n_timepoints), got {array.shape}."
        )
    if layout == "ntc":
        array = array.transpose(0, 2, 1)  # (n_samples, n_channels, n_timepoints)
    _check_not_empty(array[0], "X")
    return build_panel(array, "3d")


def _from_nested_list(X: Sequence[Any]) -> np.ndarray:
    """Return nested lists of numbers as an array."""
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "Nested lists of numbers must have equal lengths. Pass sequences of different lengths "
            "as a list of arrays, each of shape (n_channels, n_timepoints) or (n_timepoints,)."
        ) from error


def _panel_from_sequences(X: Iterable[Any], layout: str, names: np.ndarray | None = None) -> Panel:
    """Build a panel from separate sequences, whose lengths may differ."""
    items = list(X)
    if isinstance(items[0], pd.DataFrame):
        names = _string_names(items[0].columns)
        _check_same_columns(items)
    sequences = [_as_sequence(item, f"X[{i}]", layout) for i, item in enumerate(items)]
    for i, sequence in enumerate(sequences):
        if len(sequence) != len(sequences[0]):
            raise ValueError(
                "All sequences must have the same number of channels, got "
                f"{len(sequences[0])} in X[0] and {len(sequence)} in X[{i}] with "
                f"layout={layout!r}. Arrays must have shape (n_channels, n_timepoints) with "
                "'nct', (n_timepoints, n_channels) with 'ntc'."
            )
    return build_panel(sequences, "ragged", names)


def _as_sequence(item: Any, where: str, layout: str) -> np.ndarray:
    """Return one sequence as a numeric view of shape (n_channels, n_timepoints)."""
    is_frame = isinstance(item, pd.DataFrame)
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu()
    array = _as_numeric(np.asarray(unmasked(item)), where)
    if array.ndim == 1:
        array = array[np.newaxis]  # (1, n_timepoints)
    elif array.ndim != 2:
        raise ValueError(
            f"Each sequence must have shape (n_channels, n_timepoints) or (n_timepoints,), got "
            f"{array.shape} for {where}."
        )
    elif is_frame or layout == "ntc":
        array = array.T  # (n_channels, n_timepoints)
    _check_not_empty(array, where)
    return array


def _as_numeric(array: np.ndarray, where: str) -> np.ndarray:
    """Return `array` if it holds real numbers, converted if they are objects."""
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported, got dtype {array.dtype} for {where}.")
    if array.dtype.kind == "O":
        try:
            return np.where(pd.isna(array), np.nan, array).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where} must hold numbers only: {error}") from error
    raise ValueError(f"{where} must hold numbers only, got dtype {array.dtype}.")


def _check_not_empty(sequence: np.ndarray, where: str) -> None:
    """Raise if a sequence of shape (n_channels, n_timepoints) has no channel or time point."""
    if 0 in sequence.shape:
        raise ValueError(
            "Every sequence must have at least one channel and one time point, got "
            f"{sequence.shape[0]} channel(s) and {sequence.shape[1]} time point(s) for {where}."
        )


# --- frames ------------------------------------------------------------------------------------


def _panel_from_frame(frame: pd.DataFrame) -> Panel:
    """Build a panel from a frame with a row for each sequence."""
    if frame.columns.nlevels == 2:
        return _panel_from_two_levels(frame)
    if frame.size and any(_is_nested(cell) for cell in frame.iloc[0]):
        rows = [_stack_cells(row, f"X.iloc[{i}]") for i, row in enumerate(_cells(frame))]
        return _panel_from_sequences(rows, "nct", _string_names(frame.columns))
    _refuse_long_frame(frame)
    # Without columns there is no dtype, which check_array needs before it can count columns.
    table = frame if frame.shape[1] else frame.to_numpy(np.float64)
    array = check_array(table, ensure_all_finite=False, input_name="X")
    names = _string_names(frame.columns)
    _warn_if_long(array, names)
    return build_panel(array[:, np.newaxis], "2d", names)  # (n_samples, 1, n_timepoints)


def _panel_from_two_levels(frame: pd.DataFrame) -> Panel:
    """Build a panel from a frame with columns (channel, time)."""
    channels = frame.columns.get_level_values(0).unique()
    times = frame.columns.get_level_values(1).unique()
    expected = pd.MultiIndex.from_product([channels, times])
    if len(expected) != frame.shape[1] or not expected.isin(frame.columns).all():
        raise ValueError(
            f"Every channel must have the same time points in columns (channel, time), got "
            f"{frame.shape[1]} columns for {len(channels)} channels and {len(times)} time points."
        )
    # Text has no order of time ("t10" comes before "t2"), so it is taken as it is.
    is_text = pd.api.types.infer_dtype(times) in _NO_ORDER
    if not (is_text or times.is_monotonic_increasing):
        raise ValueError(
            "The time points in columns (channel, time) must increase from left to right, got "
            f"{list(times[:5])}{' and more' if len(times) > 5 else ''}. Sort the columns with "
            "X.sort_index(axis=1), or number the time points in their order."
        )
    if not expected.equals(frame.columns):
        frame = frame[expected]
    array = check_array(frame, ensure_all_finite=False, input_name="X")
    array = array.reshape(len(frame), len(channels), len(times))
    return build_panel(array, "3d", _string_names(channels))


def _cells(frame: pd.DataFrame) -> Iterable[tuple[Any, ...]]:
    """Iterate over the rows of a frame as tuples."""
    return frame.itertuples(index=False, name=None)


def _is_nested(cell: Any) -> bool:
    """Tell whether a cell of a frame holds a whole sequence."""
    return isinstance(cell, (*_ARRAY_TYPES, list, tuple))


def _stack_cells(cells: Sequence[Any], where: str) -> np.ndarray:
    """Stack the sequences in one row of a frame to (n_channels, n_timepoints)."""
    arrays = [np.asarray(unmasked(cell)) for cell in cells]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise ValueError(
            "The cells of one row must hold one-dimensional sequences of equal length, got the "
            f"shapes {sorted(shapes)} in {where}."
        )
    return np.stack([_as_numeric(array, where) for array in arrays])


def _refuse_long_frame(frame: pd.DataFrame) -> None:
    """Raise if a column is not numeric: such a table is most often a long one."""
    columns = [name for name, column in frame.items() if not _may_be_numeric(column)]
    if columns:
        raise ValueError(
            f"A DataFrame with one row per sequence must be numeric, got the columns {columns}. "
            "If X is a long table (one row per sequence and time), convert it with "
            "X, y, ids = sks4.from_long(X, id=..., time=..., values=...)."
        )


def _looks_long(array: np.ndarray) -> bool:
    """Tell whether rows begin with an id, the same in a run of rows, and a time that increases."""
    if array.shape[1] < 3:
        return False
    ids, times = array[:, 0], array[:, 1]
    is_same = ids[1:] == ids[:-1]
    n_runs = len(array) - int(is_same.sum())
    if not 2 <= n_runs <= len(array) / 2 or len(np.unique(ids)) != n_runs:
        return False
    return bool((times[1:] > times[:-1])[is_same].all())


def _warn_if_long(array: np.ndarray, names: np.ndarray | None) -> None:
    """Warn where the numbers of a frame with named columns look like those of a long table."""
    if names is not None and _looks_long(array):
        warnings.warn(
            f"X looks like a long table: {names[0]!r} repeats while {names[1]!r} increases, as an "
            f"id and a time do. Each row is taken as one sequence of length {len(names)}. If it is "
            "one time point, convert X with "
            "X, y, ids = sks4.from_long(X, id=..., time=..., values=...).",
            DataShapeWarning,
            stacklevel=4,
        )


def _may_be_numeric(column: pd.Series) -> bool:
    """Tell whether a column has a numeric type, or objects that are no text, dates or times."""
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    # What else cannot be converted is refused by check_array, in scikit-learn's words.
    return kind not in _NOT_NUMERIC


def _check_same_columns(frames: Sequence[Any]) -> None:
    """Raise unless all items are frames with the columns of the first."""
    expected = frames[0].columns
    for i, frame in enumerate(frames):
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(
                "A list of sequences must hold DataFrames only, or none, got a DataFrame in X[0] "
                f"and {type(frame).__name__} in X[{i}]."
            )
        if not frame.columns.equals(expected):
            raise ValueError(
                "All DataFrames must have the same columns in the same order, got "
                f"{list(expected)} in X[0] and {list(frame.columns)} in X[{i}]."
            )


def _string_names(columns: pd.Index) -> np.ndarray | None:
    """Return the names as an array of objects if all are strings, like scikit-learn."""
    if all(isinstance(name, str) for name in columns):
        return np.asarray(columns, dtype=object)
    return None
