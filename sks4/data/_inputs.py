"""What an input is: containers of any library as those of numpy and pandas, in one place.

Everything that users pass goes through one of four functions: `as_sequences` (X of the estimators
of sequences, and what is pushed to their streams), `as_targets` (y, weights, symbols), `plain_data`
(rows of time, prompts), and `column_names` (to compare names). Other modules see arrays, frames
and Series of numpy and pandas, and lists of these, and nothing else.
"""

import numbers
import sys
from array import array as buffer_array
from collections.abc import Iterable, Iterator, Mapping, MappingView, Sequence, Set
from datetime import date, time, timedelta
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from sks4._validation import is_number, unmasked
from sks4.exceptions import NotNumericError

FROM_LONG = "X, y, ids = sks4.from_long(X, id=..., time=..., values=...)"
FROM_LABELS = FROM_LONG.replace("from_long(X,", "from_long(X.reset_index(),")

# What a list may hold without being a list of containers.
SCALARS = (
    *(numbers.Number, np.generic, str, bytes, type(None)),
    *(date, time, timedelta, pd.Period, pd.Interval, type(pd.NaT), type(pd.NA)),
)
_TEXT = (str, bytes)
_GROUPS = (pd.api.typing.DataFrameGroupBy, pd.api.typing.SeriesGroupBy)
_CONVERSION = (
    "Convert dates to a number in a unit of your choice, for example (dates - start) / "
    "pd.Timedelta('1D'), and text with pd.to_numeric."
)
_DATES = (date, time, timedelta, np.datetime64, np.timedelta64, pd.Period)

# Kinds of objects, in the words of pandas, that no sequence of numbers has in a column.
_KINDS_OF_TEXT = {"string", "bytes", "mixed-integer", "categorical"}
_NOT_NUMERIC = {
    *_KINDS_OF_TEXT,
    *("datetime64", "datetime", "date", "time", "timedelta64", "timedelta", "period"),
}

# Integers beyond this magnitude are not all numbers of float64.
_LARGEST_EXACT = 2**53

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


# --- containers of other libraries -------------------------------------------------------------


def plain_data(data: Any) -> Any:
    """Return data of any library as an array, a Series or a DataFrame, or a list of these.

    Frames and columns of polars, pyarrow and all others that narwhals knows become those of
    pandas: names are kept, dates stay dates, integers beside missing values stay integers. Tensors
    of any type, with gradients or not, arrays of other libraries, and deques become arrays of
    numpy. Lists are searched for such objects at any depth. What is of numpy or pandas is returned
    as it is; what is no container, too.

    Parameters
    ----------
    data : object
        What a user passed.

    Returns
    -------
    ndarray, Series, DataFrame, list, tuple or object
        Series and one-dimensional arrays of objects that hold sequences become lists of arrays.

    Raises
    ------
    TypeError
        If a tensor is sparse.
    ValueError
        If sequences within an array, a Series or a column are not rectangular.

    Examples
    --------
    >>> from collections import deque
    >>> plain_data([torch.ones(2, dtype=torch.bfloat16), deque([1, 2, 3])])
    [array([1., 1.], dtype=float32), array([1, 2, 3])]
    """
    if isinstance(data, np.ndarray) and data.dtype.kind not in "OT" and data.ndim:
        return data
    data = _from_other_library(data)
    if isinstance(data, (list, tuple)):
        return data if _all_scalars(data) else [plain_data(item) for item in data]
    data = _dense(data)
    if isinstance(data, pd.DataFrame):
        return _plain_cells(data)
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 2:
        has_sequences = any(map(is_container, data.flat))
        return _plain_cells(pd.DataFrame(data)) if has_sequences else data
    if _may_hold_objects(data) and any(map(is_container, items := list(data))):
        return [_plain_cell(item, f"item {i}") for i, item in enumerate(items)]
    return data


def plain_rows(data: Any, name: str) -> Any:
    """Return rows of time as `plain_data` does, and refuse a frame that is lazy.

    Raises
    ------
    TypeError
        If the number of rows is not known before all of them are computed.
    """
    is_of_pandas = isinstance(data, (pd.DataFrame, pd.Series))  # checked in our own words later
    if not is_of_pandas and isinstance(nw.from_native(data, pass_through=True), nw.LazyFrame):
        raise TypeError(f"{name} must not be lazy, got a {type(data).__name__}. Collect it first.")
    return plain_data(data)


def is_container(item: Any) -> bool:
    """Tell whether an item of a list, or a cell of a frame, holds several values itself."""
    if isinstance(item, SCALARS):
        return False
    if isinstance(item, (np.ndarray, pd.DataFrame, pd.Series, list, tuple)):
        return np.ndim(item) > 0 if isinstance(item, np.ndarray) else True
    return isinstance(_from_other_library(item), (np.ndarray, pd.DataFrame, pd.Series, list))


def _from_other_library(data: Any) -> Any:
    """Return a container of another library, not what it holds, as one of numpy or pandas."""
    if isinstance(data, (np.ndarray, pd.DataFrame, pd.Series, list, tuple, *SCALARS)):
        if not isinstance(data, np.ndarray):
            return data
        data = data.astype(object) if data.dtype.kind == "T" else data  # text of any length
        return data[()] if data.ndim == 0 else data
    if isinstance(data, torch.Tensor):
        return _from_tensor(data)
    if isinstance(data, pd.MultiIndex):
        return data.to_frame(index=False, allow_duplicates=True)
    if isinstance(data, (pd.Index, pd.api.extensions.ExtensionArray)):
        return pd.Series(data)
    data = _from_arrow(data)
    if (found := _from_narwhals(data)) is not None:
        return found
    if isinstance(data, (buffer_array, memoryview, bytearray)) or hasattr(data, "__array__"):
        return _from_other_library(_with_numpy_type(np.asarray(data)))
    if isinstance(data, Sequence):  # deque, range, UserList
        items = list(data)
        return exact_array(items) if items and _all_scalars(items) else items
    return data


def _from_tensor(tensor: torch.Tensor) -> Any:
    """Return a tensor as an array of numpy, in float32 if numpy does not have its type."""
    if tensor.is_nested:
        return [_from_tensor(part) for part in tensor.unbind()]
    if tensor.layout != torch.strided:
        raise TypeError(
            f"Sparse tensors are not supported, got one with layout {tensor.layout}. Pass "
            "tensor.to_dense()."
        )
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_floating_point() and tensor.dtype not in _NUMPY_FLOATS:
        tensor = tensor.float()
    return tensor.numpy()[()]


def _with_numpy_type(array: np.ndarray) -> np.ndarray:
    """Return an array of a type that numpy was taught, such as bfloat16, in float32."""
    is_foreign = array.dtype.kind == "V" and array.dtype.names is None
    return array.astype(np.float32) if is_foreign and np.can_cast(array.dtype, "f4") else array


def _from_arrow(data: Any) -> Any:
    """Return arrays, batches and scalars of pyarrow as what narwhals or numpy knows."""
    pyarrow = nw.dependencies.get_pyarrow()  # None unless it was imported
    if pyarrow is None:
        return data
    if isinstance(data, pyarrow.Scalar):
        return data.as_py()
    if isinstance(data, pyarrow.Array):
        return pyarrow.chunked_array([data])
    if isinstance(data, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([data])
    return data


def _from_narwhals(data: Any) -> Any:
    """Return a frame or a column that narwhals knows as one of pandas, None for anything else."""
    known = nw.from_native(data, pass_through=True, allow_series=True)
    if isinstance(known, nw.LazyFrame):
        known = known.collect()
    if isinstance(known, nw.Series):
        return pd.Series(_column_values(known), name=known.name or None)
    if isinstance(known, nw.DataFrame):
        columns = [_column_values(column) for column in known.iter_columns()]
        frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(len(known)))
        return frame.set_axis(pd.Index(known.columns), axis=1)
    return None


def _column_values(column: Any) -> Any:
    """Return the values of a column of narwhals, so that pandas reads the same."""
    dtype = column.dtype
    if dtype in (nw.List, nw.Array) and dtype.inner.is_float():
        return object_vector(list(column.to_numpy()))
    if dtype.is_nested():
        return object_vector([_nested_array(item) for item in column.to_list()])
    if (dtype.is_integer() or dtype == nw.Boolean) and column.null_count():
        missing = column.is_null().to_numpy()
        present = column.fill_null(False if dtype == nw.Boolean else 0).to_numpy()
        kind = pd.arrays.BooleanArray if dtype == nw.Boolean else pd.arrays.IntegerArray
        return kind(present.copy(), missing.copy())
    zone = getattr(dtype, "time_zone", None)
    values = column.to_numpy()
    if zone is not None:  # numpy has no time zones and counts in UTC
        return pd.Series(values).dt.tz_localize("UTC").dt.tz_convert(zone)
    return values


def _nested_array(item: Any) -> Any:
    """Return a list within a column as an array, anything else as it is."""
    return exact_array(item) if isinstance(item, list) and _all_scalars(item) else plain_data(item)


def object_vector(items: Sequence[Any]) -> np.ndarray:
    """Return a one-dimensional array of objects, also of objects that are arrays."""
    vector = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        vector[i] = item
    return vector


# --- what containers hold ----------------------------------------------------------------------


def _all_scalars(items: Sequence[Any]) -> bool:
    """Tell whether a list holds numbers, text and the like only."""
    return all(issubclass(kind, SCALARS) for kind in set(map(type, items)))


def _may_hold_objects(data: Any) -> bool:
    """Tell whether data is a vector whose type does not exclude sequences in it."""
    if isinstance(data, np.ndarray):
        return data.dtype == object and data.ndim == 1
    return isinstance(data, pd.Series) and _is_object_type(data.dtype)


def _dense(data: Any) -> Any:
    """Return a frame or a Series without sparse columns, which scikit-learn would not take."""
    if isinstance(data, pd.DataFrame):
        return data.apply(_dense) if any(map(_is_sparse, data.dtypes)) else data
    is_sparse = isinstance(data, pd.Series) and _is_sparse(data.dtype)
    return data.sparse.to_dense() if is_sparse else data


def _is_sparse(dtype: Any) -> bool:
    return isinstance(dtype, pd.SparseDtype)


def _is_object_type(dtype: Any) -> bool:
    """Tell whether values of a type of pandas may be sequences."""
    return dtype.kind == "O" and (isinstance(dtype, np.dtype) or dtype.type is list)


def _plain_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with a sequence in each cell as one of arrays, any other as it is."""
    nested = [
        k
        for k, dtype in enumerate(frame.dtypes)
        if _is_object_type(dtype) and any(map(is_container, frame.iloc[:, k]))
    ]
    if not nested:
        return frame
    columns = {
        k: object_vector([_plain_cell(cell, f"row {i}") for i, cell in enumerate(column)])
        if k in nested
        else column.to_numpy()
        for k, (_, column) in enumerate(frame.items())
    }
    return pd.DataFrame(columns, index=frame.index).set_axis(frame.columns, axis=1)


def _plain_cell(cell: Any, where: str) -> Any:
    """Return a sequence within a container as a frame or an array, anything else as it is."""
    cell = plain_data(cell)
    if isinstance(cell, pd.Series):
        return cell.to_numpy()
    return rectangular(cell, where) if isinstance(cell, (list, tuple)) else cell


def rectangular(values: Any, where: str) -> np.ndarray:
    """Return nested lists of numbers, text or arrays as one array, without changing a value.

    Raises
    ------
    ValueError
        If lists at the same depth have different lengths.
    """
    try:
        return exact_array(values)
    except ValueError as error:
        raise ValueError(
            f"The values of one sequence must form an array, got lists or arrays of different "
            f"lengths in {where}. All channels of a sequence must have the same number of time "
            "points."
        ) from error


def exact_array(values: Any) -> np.ndarray:
    """Return an array of nested lists in which every value is what it was.

    numpy makes text of numbers beside text, and float64 of large integers beside floats; here
    they become objects.

    Examples
    --------
    >>> exact_array([2**53 + 1, None])[0], exact_array([1, 2.5]).dtype
    (9007199254740993, dtype('float64'))
    """
    if isinstance(values, np.ndarray):
        return values
    array = np.asarray(values)
    if array.dtype.kind in "US" and not _is_text_only(values):
        return np.asarray(values, dtype=object)
    if array.dtype == np.float64 and (np.abs(array) >= _LARGEST_EXACT).any():
        objects = np.asarray(values, dtype=object)
        has_integers = any(isinstance(value, numbers.Integral) for value in objects.flat)
        return objects if has_integers else array
    return array


def _is_text_only(values: Any) -> bool:
    """Tell whether nested lists that numpy takes for text hold text of one kind only."""
    objects = np.asarray(values, dtype=object).ravel()
    return pd.api.types.infer_dtype(objects, skipna=False) in ("string", "bytes")


# --- sequences ---------------------------------------------------------------------------------


def as_sequences(X: Any) -> Any:
    """Return sequences of any library and form as an array, a frame, or a list of such.

    Besides what `plain_data` does, a frame (or Series) with two levels of row labels, instance and
    time, is split into a list of frames, and the items of a list of sequences become arrays or
    frames.

    Parameters
    ----------
    X : object
        Sequences in any form that the estimators take.

    Returns
    -------
    ndarray, DataFrame, Series or list
        A list holds separate sequences as soon as one item is an array, a Series or a frame;
        otherwise it holds numbers or text, perhaps nested.

    Raises
    ------
    TypeError, ValueError
        If X has none of the forms, is empty, or its row labels are not instance and time.
    """
    if isinstance(X, torch.Tensor) and X.is_nested:
        X = list(X.unbind())
    check_form(X)
    X = plain_data(X)
    if isinstance(X, (pd.DataFrame, pd.Series)) and X.index.nlevels > 1:
        return _split_instances(X)
    if isinstance(X, (list, tuple)) and holds_sequences(X):
        return [
            rectangular(item, f"X[{i}]") if isinstance(item, (list, tuple)) else item
            for i, item in enumerate(X)
        ]
    return X


def holds_sequences(X: Any) -> bool:
    """Tell whether a plain list holds separate sequences, and not numbers or text."""
    return any(
        isinstance(item, (np.ndarray, pd.DataFrame, pd.Series))
        or (isinstance(item, (list, tuple)) and not _all_scalars(item) and holds_sequences(item))
        for item in X
    )


def check_form(X: Any) -> None:
    """Raise TypeError if X is no array, list or frame, and ValueError if it is an empty list."""
    is_sequence = isinstance(X, Sequence) and not isinstance(X, (*_TEXT, bytearray, memoryview))
    if is_sequence and not len(X):
        raise ValueError(
            f"X must hold at least one sequence, got an empty {type(X).__name__} with 0 sample(s)."
        )
    if issparse(X):  # refused later, in scikit-learn's words
        return
    is_array = hasattr(X, "__array__") or hasattr(X, "shape")
    is_list = hasattr(X, "__len__") and hasattr(X, "__getitem__") and not isinstance(X, _GROUPS)
    is_lazy_frame = isinstance(nw.from_native(X, pass_through=True), nw.LazyFrame)
    if (is_array or is_list or is_lazy_frame) and not (
        is_number(X) or isinstance(X, (*_TEXT, Mapping))
    ):
        return
    got = repr(X) if is_number(X) else f"an object of type {type(X).__name__}"
    raise TypeError(
        "X must be an array (n_samples, n_timepoints) or (n_samples, n_channels, n_timepoints), a "
        f"list of arrays or of DataFrames, or a DataFrame, got {got}.{_advice_on_form(X)}"
    )


def _advice_on_form(data: Any) -> str:
    """Return what to do with a container that holds no order, or one sequence only."""
    if isinstance(data, _TEXT):
        return " Pass several texts as a list; a single one is [X]."
    if isinstance(data, Mapping):
        return " Pass its sequences as list(X.values())."
    if isinstance(data, _GROUPS):
        return " Pass the groups as [group for _, group in X]."
    if isinstance(data, (Iterator, MappingView, Set)):
        return " Pass its items as list(X)."
    return ""


def _split_instances(X: Any) -> Any:
    """Return one frame for each instance of one with row labels (instance, time)."""
    if isinstance(X, pd.DataFrame) and (X.columns.nlevels > 1 or has_sequences_in_cells(X)):
        return X  # a row for each sequence, whatever its labels
    if X.index.nlevels != 2:
        raise ValueError(
            f"A frame with several levels of row labels must have two, (instance, time), got "
            f"{X.index.nlevels}: {list(X.index.names)}. Convert it with {FROM_LABELS}."
        )
    if not len(X):
        raise ValueError("X must hold at least one sequence, got a frame with 0 sample(s).")
    instances, times = (X.index.get_level_values(level) for level in (0, 1))
    try:
        order, stops, _ = sort_instances(instances, times, "Row label", *X.index.names)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} Or convert X with {FROM_LABELS}.") from error
    table = X.droplevel(0).iloc[order]
    return [table.iloc[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True)]


def has_sequences_in_cells(frame: pd.DataFrame) -> bool:
    """Tell whether a plain frame has an array in a cell."""
    return any(
        _is_object_type(dtype) and any(isinstance(cell, np.ndarray) for cell in frame.iloc[:, k])
        for k, dtype in enumerate(frame.dtypes)
    )


def sort_instances(
    instances: Any, times: Any, what: str, instance_name: Any, time_name: Any
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Find where the rows of each instance are, sorted by time.

    Parameters
    ----------
    instances, times : Index or Series of length n_rows
        Which sequence each row belongs to, and when it was observed.
    what : {"Column", "Row label"}
        What an error calls either of them.
    instance_name, time_name : str or another name
        Their names.

    Returns
    -------
    order : ndarray of shape (n_rows,), int
        Rows, instances in order of first appearance, and sorted by time.
    stops : ndarray of shape (n_instances,), int
        How many rows there are up to the end of each instance.
    ids : Index
        The instances.

    Raises
    ------
    ValueError
        If one is missing, an instance has a time twice, or times that are text are not in order.
    """
    codes, ids = _factorize(instances, f"{what} {instance_name!r}", sort=False)
    time_codes, unique_times = _factorize(times, f"{what} {time_name!r}", sort=True)
    order = np.lexsort((time_codes, codes))
    repeated = (np.diff(codes[order]) == 0) & (np.diff(time_codes[order]) == 0)
    if repeated.any():
        row = order[repeated.argmax()]
        which, when = ids.tolist()[codes[row]], unique_times.tolist()[time_codes[row]]
        raise ValueError(
            f"Each sequence must have a time only once, got {time_name}={when!r} several times "
            f"for {instance_name}={which!r}. Drop or aggregate these rows."
        )
    is_moved = not np.array_equal(order, np.argsort(codes, kind="stable"))
    if is_moved and pd.api.types.infer_dtype(unique_times) in ("string", "mixed"):
        raise ValueError(
            f"{what} {time_name!r} must hold numbers or dates to be sorted by, got text such as "
            f"{unique_times[0]!r}, of which '10' comes before '9'. Convert it, for example with "
            "pd.to_datetime or pd.to_numeric."
        )
    return order, np.cumsum(np.bincount(codes)), ids


def _factorize(values: Any, name: str, *, sort: bool) -> tuple[np.ndarray, Any]:
    """Give each distinct value a number, and refuse missing ones."""
    try:
        codes, unique = pd.factorize(pd.Index(values), sort=sort)
    except TypeError as error:
        raise TypeError(f"{name} must hold values that can be compared, got {error}.") from error
    if (codes < 0).any():
        raise ValueError(
            f"{name} must have no missing values, got {(codes < 0).sum()}. Drop or fill these rows."
        )
    return codes, unique


def as_sample(sample: Any) -> Any:
    """Return what was pushed to a stream as an array, a frame, a Series, or a list of these.

    Raises
    ------
    TypeError
        If it is a mapping, a set, an iterator, a text, sparse, or None.
    """
    refuse_without_order(sample, "A sample")
    if sample is None or isinstance(sample, _TEXT):
        raise TypeError(f"A sample must be an array, a list or a Series, got {sample!r}.")
    if issparse(sample):
        raise TypeError(
            f"A sample must be dense, got a {type(sample).__name__}. Pass sample.toarray()."
        )
    sample = plain_data(sample)
    has_labels = isinstance(sample, pd.DataFrame) and sample.index.nlevels > 1
    return _split_instances(sample) if has_labels else sample


def channels_first(data: Any) -> Any:
    """Return sequences with channels before time: frames, also in a list, become arrays."""
    data = plain_data(data)
    if isinstance(data, pd.DataFrame):
        return exact_values(data).T
    return [channels_first(item) for item in data] if isinstance(data, list) else data


def plain_index(index: pd.Index) -> pd.Index:
    """Return row labels of a type of pyarrow in the type of pandas, dates as a DatetimeIndex."""
    if not isinstance(index.dtype, pd.ArrowDtype):
        return index
    is_date = index.dtype.kind == "M" or index.dtype.type is date
    return pd.DatetimeIndex(index) if is_date else pd.Index(index.to_numpy(), name=index.name)


# --- targets, weights and numbers --------------------------------------------------------------


def as_targets(y: Any, name: str = "y") -> Any:
    """Return targets, labels or weights of any library as an array of numpy.

    Parameters
    ----------
    y : object
        One entry for each sample, or a row of several.
    name : str
        What an error calls it.

    Returns
    -------
    ndarray
        Numbers, text, dates or objects, each with its value; NaN where one is missing. Sparse
        matrices and scalars are returned as they are, for scikit-learn to refuse.

    Raises
    ------
    TypeError
        If `y` is a mapping, a set or an iterator.
    ValueError
        If it mixes text and numbers, or its rows have different lengths.

    Examples
    --------
    >>> as_targets([torch.tensor(1), torch.tensor(0)])
    array([1, 0])
    """
    refuse_without_order(y, name)
    y = unmasked(plain_data(y))
    if issparse(y) or isinstance(y, _TEXT) or y is None:
        return y
    if isinstance(y, (pd.Series, pd.DataFrame)):
        return _missing_as_nan(exact_values(y))
    try:
        array = exact_array(y)
    except ValueError as error:
        raise ValueError(
            f"{name} must have one entry, or the same number of entries, for each sample, got "
            "rows of different lengths."
        ) from error
    if array.dtype == object:
        _refuse_mixed_kinds(array, name)
    return _missing_as_nan(array)


def as_weights(sample_weight: Any) -> Any:
    """Return the weights of a score as an array of numbers, None if there are none."""
    if sample_weight is None:
        return None
    return check_numbers(as_targets(sample_weight, "sample_weight"), "sample_weight")


def refuse_without_order(data: Any, name: str) -> None:
    """Raise TypeError if entries of a container have no position."""
    if isinstance(data, (Mapping, MappingView, Set, Iterator)):
        raise TypeError(
            f"{name} must be an array, a list or a Series, got a {type(data).__name__}, in which "
            "entries have no position. Pass them in order, as a list."
        )


def exact_values(data: Any) -> np.ndarray:
    """Return the values of a Series, frame or array in one array, without changing a value.

    Columns of several types, and integers beside missing values, become objects.
    """
    if isinstance(data, np.ndarray):
        return data
    dtypes = {data.dtype} if isinstance(data, pd.Series) else set(data.dtypes)
    is_mixed = len(dtypes) > 1
    has_gaps = not isinstance(next(iter(dtypes), np.dtype(float)), np.dtype) and (
        data.isna().to_numpy().any()
    )
    return data.to_numpy(dtype=object) if is_mixed or has_gaps else data.to_numpy()


def _missing_as_nan(array: np.ndarray) -> np.ndarray:
    """Return objects with NaN for None and NA, as numbers if all else are numbers."""
    if array.dtype != object:
        return array
    missing = pd.isna(array)
    filled = np.where(missing, np.nan, array)
    kinds = set(map(type, array[~missing].tolist()))
    is_numeric = all(issubclass(kind, (numbers.Real, np.number, np.bool_)) for kind in kinds)
    return exact_array(filled.tolist()) if is_numeric else filled


def _refuse_mixed_kinds(array: np.ndarray, name: str) -> None:
    """Raise ValueError if objects are text beside numbers, which cannot be told apart or sorted."""
    present = array[~pd.isna(array)].tolist()
    is_text_there = {isinstance(value, _TEXT) for value in present}
    if len(is_text_there) > 1:
        kinds = " and ".join(sorted({type(value).__name__ for value in present}))
        raise ValueError(f"{name} must hold values of one kind, got {kinds}. Convert them to one.")


def check_numbers(array: Any, name: str) -> Any:
    """Return an array if it may be read as numbers; otherwise raise.

    Parameters
    ----------
    array : ndarray or object
        What `as_targets` returned.
    name : str
        What an error calls it.

    Returns
    -------
    ndarray or object
        The same.

    Raises
    ------
    NotNumericError
        If there is text, or a date or a duration, which numpy would turn into numbers.
    TypeError
        If there is another object that is no number.
    ValueError
        If there is an integer beyond the range of float64.
    """
    refuse_text_and_dates(array, name)
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    values = array.ravel().tolist() if kind == "O" else []
    wrong = next((v for v in values if not _is_number_or_missing(v)), None)
    if wrong is not None:
        raise TypeError(f"{name} must hold numbers, got {wrong!r} of type {type(wrong).__name__}.")
    return array


def refuse_text_and_dates(array: Any, name: str, advice: str = _CONVERSION) -> None:
    """Raise if there is what numpy or ``float()`` would turn into numbers.

    Parameters
    ----------
    array : ndarray, Series or object
        Only what has a dtype is read.
    name : str
        What an error calls it.
    advice : str
        What an error advises.

    Raises
    ------
    NotNumericError
        If there is text, a date or a duration, also among other objects.
    ValueError
        If an integer is beyond the range of float64.
    """
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    values = []
    if kind == "O":
        values = np.asarray(array, dtype=object).ravel().tolist()
        refuse_large_integers(values, name)
    elif kind in ("U", "S", "T"):
        values = np.asarray(array).ravel()[:1].tolist()
    wrong = next((v for v in values if isinstance(v, (*_TEXT, *_DATES))), None)
    if wrong is not None:
        got = f"{wrong!r} of type {type(wrong).__name__}"
        got += ": could not convert string to float" if isinstance(wrong, _TEXT) else ""
    elif kind and kind in "mMUSTV":
        got = str(array.dtype)
    else:
        return
    raise NotNumericError(f"{name} must hold numbers, got {got}. {advice}")


def refuse_large_integers(values: Iterable[Any], name: str) -> None:
    """Raise ValueError if an integer of Python has no float64."""
    if any(isinstance(value, int) and abs(value) > sys.float_info.max for value in values):
        raise ValueError(f"{name} must be within the range of float64, got a larger integer.")


def _is_number_or_missing(value: Any) -> bool:
    is_number = isinstance(value, (numbers.Number, np.number, np.bool_))
    return (is_number and not isinstance(value, np.timedelta64)) or value is None or value is pd.NA


def refuse_dates(array: np.ndarray, name: str) -> None:
    """Raise if there is a date or a duration among objects, which numpy may convert."""
    values = array.ravel().tolist()
    wrong = next((v for v in values if isinstance(v, _DATES) and v is not pd.NaT), None)
    if wrong is not None:
        raise NotNumericError(
            f"{name} must hold numbers only, got {wrong!r} of type {type(wrong).__name__}."
        )


def may_be_numeric(column: pd.Series) -> bool:
    """Tell whether a column has a numeric type, or objects that are no text, dates or times."""
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    # What else cannot be converted is refused by check_array, in scikit-learn's words.
    return kind not in _NOT_NUMERIC


def is_text_column(column: pd.Series) -> bool:
    """Tell whether a column has text, also beside numbers, or categories."""
    return pd.api.types.infer_dtype(column, skipna=True) in _KINDS_OF_TEXT


def column_names(data: Any) -> np.ndarray | None:
    """Return the names of the columns of a frame of any library, or of the first one in a list.

    None if there is no frame or a name is not a string.
    """
    is_list = isinstance(data, (list, tuple)) and len(data) > 0
    frame = _from_other_library(data[0] if is_list else data)
    return string_names(frame.columns) if isinstance(frame, pd.DataFrame) else None


def string_names(columns: pd.Index) -> np.ndarray | None:
    """Return the names as an array of objects if all are strings, like scikit-learn."""
    if all(isinstance(name, str) for name in columns):
        return np.asarray(columns, dtype=object)
    return None
