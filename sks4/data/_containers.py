"""Every form in which a user may hold sequences, brought into one `Panel` without a copy."""

import re
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array

from sks4._validation import check_choice, unmasked
from sks4.data._advice import refuse_one_axis
from sks4.data._inputs import (
    FROM_LONG,
    as_sequences,
    has_sequences_in_cells,
    holds_sequences,
    may_be_numeric,
    refuse_dates,
    string_names,
)
from sks4.data._panel import Panel, build_panel
from sks4.exceptions import DataShapeWarning, NotNumericError

# Many sets have more channels than time points (sensor grids up to 7 times more); beyond this
# ratio swapped axes are the likelier explanation.
_SUSPICIOUS_RATIO = 8

# A frame with few named columns and many rows is more likely a recording than a set of sequences.
_FEW_COLUMNS, _MANY_ROWS = 6, 10

# In wider frames, id and time are looked for in the first two columns only.
_MANY_COLUMNS = 20

# Ids and times of a long table fill at least this part of the grid that they span: 1 over it.
_SPARSEST_GRID = 2

# Kinds of labels whose order says nothing about time.
_NO_ORDER = {"string", "bytes", "mixed", "mixed-integer"}


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
        - DataFrame with two-level columns (channel, time);
        - DataFrame with two levels of row labels (instance, time).

        Frames may be of any library that narwhals knows, such as polars and pyarrow, arrays of
        any library that numpy can read, such as torch.
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
    given, X = X, as_sequences(X)
    refuse_one_axis(X, given)
    if isinstance(X, pd.DataFrame):
        panel = _panel_from_frame(X)
    elif isinstance(X, (list, tuple)) and holds_sequences(X):
        panel = _panel_from_sequences(X, layout)
    else:
        panel = _panel_from_array(X, layout)
    _warn_if_swapped(panel)
    return panel


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
    if isinstance(X, (list, tuple)):
        X = _from_nested_list(X)
    X = unmasked(X)
    if isinstance(X, np.ndarray) and X.dtype == object:
        X = _as_numeric(X, "X")
    # Infinite and missing values are told apart per sample later, in bounded memory.
    array = check_array(X, allow_nd=True, ensure_all_finite=False, input_name="X")
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
    if any(isinstance(item, pd.DataFrame) for item in items):
        _check_same_columns(items)
        names = string_names(items[0].columns)
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
    if not isinstance(item, (np.ndarray, pd.DataFrame, pd.Series)):
        raise TypeError(
            f"Every sequence must be an array, a list of numbers, a Series or a DataFrame, got "
            f"{where} of type {type(item).__name__}."
        )
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
        refuse_dates(array, where)
        try:
            return np.where(pd.isna(array), np.nan, array).astype(np.float64)
        except (TypeError, OverflowError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{where} must hold numbers only: {error}") from error
        except ValueError as error:  # text
            raise NotNumericError(f"{where} must hold numbers only: {error}") from error
    raise NotNumericError(f"{where} must hold numbers only, got dtype {array.dtype}.")


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
    if frame.columns.nlevels > 2:
        raise ValueError(
            "The columns of X must have one level of names, or two, (channel, time), got "
            f"{frame.columns.nlevels} levels. Drop the others with X.droplevel(..., axis=1)."
        )
    if has_sequences_in_cells(frame):
        rows = [_stack_cells(row, f"X.iloc[{i}]") for i, row in enumerate(_cells(frame))]
        return _panel_from_sequences(rows, "nct", string_names(frame.columns))
    _refuse_columns_without_numbers(frame)
    array = check_array(_numeric_table(frame), ensure_all_finite=False, input_name="X")
    names = string_names(frame.columns)
    _warn_if_long(frame, names)
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
    _refuse_columns_without_numbers(frame)
    array = check_array(_numeric_table(frame), ensure_all_finite=False, input_name="X")
    array = array.reshape(len(frame), len(channels), len(times))
    return build_panel(array, "3d", string_names(channels))


def _cells(frame: pd.DataFrame) -> Iterable[tuple[Any, ...]]:
    """Iterate over the rows of a frame as tuples."""
    return frame.itertuples(index=False, name=None)


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


def _numeric_table(frame: pd.DataFrame) -> Any:
    """Return a frame of numbers as scikit-learn takes it: objects, or no columns, as an array."""
    # Without columns there is no dtype, which check_array needs before it can count columns.
    if frame.shape[1] and object not in frame.dtypes.tolist():
        return frame
    return _as_numeric(frame.to_numpy(np.dtype(object)), "X")


def _refuse_columns_without_numbers(frame: pd.DataFrame) -> None:
    """Raise if a column is not numeric: such a table is most often a long one."""
    columns = [name for name, column in frame.items() if not may_be_numeric(column)]
    if columns:
        raise ValueError(
            f"A DataFrame with one row per sequence must be numeric, got the columns {columns}. "
            f"If X is a long table (one row per sequence and time), convert it with {FROM_LONG}."
        )


def _warn_if_long(frame: pd.DataFrame, names: np.ndarray | None) -> None:
    """Warn where a frame with named columns looks as if its rows were time points."""
    if names is None or _are_numbered(names):
        return
    n_rows, n_columns = frame.shape
    if (key := _find_key(frame)) is not None:
        seen = f"X looks like a long table: {key[0]!r} repeats while {key[1]!r} increases, as an "
        seen += "id and a time do"
    elif n_columns <= _FEW_COLUMNS and n_rows >= _MANY_ROWS * n_columns:
        seen = f"X has {n_rows} rows and no more than {n_columns} columns, as a long table has"
    else:
        return
    warnings.warn(
        f"{seen}. Each row is taken as one sequence of length {n_columns}. If it is one time "
        f"point, convert X with {FROM_LONG}, or pass a list of frames, one for each sequence.",
        DataShapeWarning,
        stacklevel=4,
    )


def _are_numbered(names: np.ndarray) -> bool:
    """Tell whether the names of columns count time points, as in "t0", "t1", "t2"."""
    numbers = [re.search(r"\d+$", name) for name in names]
    if not all(numbers):
        return False
    counts = [int(found.group()) for found in numbers if found]
    return all(a < b for a, b in pairwise(counts))


def _find_key(frame: pd.DataFrame) -> tuple[str, str] | None:
    """Return the names of two columns that tell rows apart as an id and a time do, if any."""
    n_candidates = 2 if frame.shape[1] > _MANY_COLUMNS else frame.shape[1]
    columns = frame.iloc[:, :n_candidates].dropna(axis=1)
    counts = columns.nunique().to_dict()
    for id, time in permutations(counts, 2):
        repeats = 2 <= counts[id] <= len(frame) / 2 and counts[time] >= 2
        if repeats and _is_key(frame[id], frame[time], counts[id] * counts[time]):
            return id, time
    return None


def _is_key(ids: pd.Series, times: pd.Series, grid_size: int) -> bool:
    """Tell whether no row has id and time of another, and both look as in a long table.

    That is, most times occur for most ids, or rows of one id follow each other in order of time.
    """
    if grid_size < len(ids):
        return False
    n_runs = (ids.to_numpy()[1:] != ids.to_numpy()[:-1]).sum() + 1
    in_order = (
        n_runs == ids.nunique()
        and times.groupby(ids.to_numpy(), sort=False).is_monotonic_increasing.all()
    )
    if not (in_order or grid_size <= _SPARSEST_GRID * len(ids)):
        return False
    return not pd.DataFrame({"id": ids, "time": times}).duplicated().any()


def _check_same_columns(frames: Sequence[Any]) -> None:
    """Raise unless all items are frames with the columns of the first."""
    kinds = [isinstance(frame, pd.DataFrame) for frame in frames]
    if not all(kinds):
        first, other = kinds.index(True), kinds.index(False)
        raise TypeError(
            "A list of sequences must hold DataFrames only, or none, got a DataFrame in "
            f"X[{first}] and {type(frames[other]).__name__} in X[{other}]."
        )
    expected = frames[0].columns
    for i, frame in enumerate(frames):
        if not frame.columns.equals(expected):
            raise ValueError(
                "All DataFrames must have the same columns in the same order, got "
                f"{list(expected)} in X[0] and {list(frame.columns)} in X[{i}]."
            )
