"""Sequences of symbols: integers, characters, bytes or words, as numbers from zero."""

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils.validation import check_array

from sks4._validation import unmasked
from sks4.data._containers import as_panel
from sks4.data._inputs import (
    as_sequences,
    exact_array,
    exact_values,
    has_sequences_in_cells,
    holds_sequences,
    plain_data,
)
from sks4.data._panel import Panel

# dtype kinds that can be sorted together
_KINDS = {"b": "integers", "i": "integers", "u": "integers", "U": "text", "S": "bytes"}


class SymbolEncoder:
    """Number the symbols of sequences of one channel.

    Takes the forms of :func:`as_panel`, with symbols instead of numbers. In addition, a list
    (or Series) of str or bytes holds one sequence of characters, or of bytes, in each item. NaN and
    None are missing values, and padding at the end.

    Parameters
    ----------
    layout : {"nct", "ntc"}, default="nct"
        Order of the axes of arrays.

    Attributes
    ----------
    symbols_ : ndarray of shape (n_symbols,)
        The symbols in sorted order; symbol i becomes the number i.

    Examples
    --------
    >>> encoder = SymbolEncoder().fit(["abra", "cad"])
    >>> encoder.symbols_
    array(['a', 'b', 'c', 'd', 'r'], dtype='<U1')
    >>> [row.tolist() for row in encoder.transform(["bad"])]
    [[[1, 0, 3]]]
    """

    def __init__(self, layout: str = "nct") -> None:
        self.layout = layout

    def fit(self, X: Any) -> "SymbolEncoder":
        """Collect the symbols.

        Raises
        ------
        ValueError
            If values are fractions, of several kinds, or beyond 64 bits, or there is none.
        """
        found: list[np.ndarray] = []

        def collect(array: np.ndarray) -> np.ndarray:
            values, missing = _as_symbols(array)
            found.append(np.unique(values if missing is None else values[~missing]))
            return array

        _map_arrays(X, collect)
        found = [values for values in found if len(values)]
        if not found:
            values = X.to_numpy() if isinstance(X, pd.DataFrame) else X
            check_array(values, dtype=None, allow_nd=True, ensure_2d=False, ensure_all_finite=False)
        kinds = {_KINDS[values.dtype.kind] for values in found}
        if len(kinds) != 1:
            raise ValueError(
                f"The symbols must be of one kind, got {' and '.join(sorted(kinds)) or 'none'}."
            )
        self.symbols_ = np.unique(_concatenate(found))
        return self

    def transform(self, X: Any) -> Panel:
        """Return the sequences as a panel of numbers of symbols, NaN where missing.

        Raises
        ------
        ValueError
            If a symbol was not there in `fit`, or there are several channels.
        """
        panel = as_panel(_map_arrays(X, self._numbers), layout=self.layout)
        if panel.n_channels != 1:
            raise ValueError(
                f"Sequences of symbols must have one channel, got {panel.n_channels}. Combine "
                "several symbols at the same time to one, or fit with distribution='gaussian'."
            )
        return panel

    def encode_prompt(self, prompt: Any) -> np.ndarray:
        """Return the numbers of the symbols of one sequence, or of several of equal lengths.

        Parameters
        ----------
        prompt : str, bytes, array of shape (n_timepoints,) or (n_sequences, n_timepoints), or list
            One sequence, or with two axes, or as a list of texts, several.

        Returns
        -------
        ndarray of shape (n_timepoints,) or (n_sequences, n_timepoints)
            Numbers.

        Raises
        ------
        ValueError
            If a symbol was not there in `fit`, is missing, or lengths differ.
        """
        prompt = plain_data(prompt)
        if isinstance(prompt, (str, bytes)):
            prompt = _characters(prompt)
        elif isinstance(prompt, (list, tuple)) and any(isinstance(p, (str, bytes)) for p in prompt):
            prompt = [_characters(item) for item in prompt]
        numbers = self._numbers(_rectangular(unmasked(prompt)), "prompt")
        if numbers.dtype.kind == "f":
            raise ValueError("prompt must have no missing symbols, got NaN or None.")
        return numbers

    def _numbers(self, array: np.ndarray, input_name: str = "X") -> np.ndarray:
        """Return the numbers of the symbols in an array of any shape."""
        symbols, (values, missing) = self.symbols_, _as_symbols(array)
        if _KINDS[values.dtype.kind] != _KINDS[symbols.dtype.kind] and values.size:
            self._refuse(values.flat[0], input_name)
        given, values, unknown = values, *_in_type_of(symbols, values)
        numbers = np.searchsorted(symbols, values).clip(max=len(symbols) - 1)
        unknown |= symbols[numbers] != values
        if missing is not None:
            unknown &= ~missing
        if unknown.any():
            self._refuse(given[unknown][0], input_name)
        if missing is None:
            return numbers.astype(np.min_scalar_type(len(symbols)))  # as small as the data was
        return np.where(missing, np.nan, numbers)

    def _refuse(self, symbol: Any, input_name: str) -> None:
        symbols = self.symbols_.tolist()
        shown = ", ".join(map(repr, symbols[:8])) + (", ..." if len(symbols) > 8 else "")
        raise ValueError(
            f"{input_name} must hold the {len(symbols)} symbols of fit only ({shown}), got "
            f"{np.asarray(symbol).item()!r}. Fit with data in which every symbol occurs."
        )


def _map_arrays(X: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Apply a function to each array of values in X, and return them in the same form."""
    if issparse(X):
        check_array(X)  # refuses it, in scikit-learn's words
    X = unmasked(as_sequences(X))
    if isinstance(X, pd.DataFrame):
        if has_sequences_in_cells(X):
            return X.map(lambda cell: function(np.asarray(unmasked(cell))))
        return _map_frame(X, function)
    if isinstance(X, np.ndarray) and (X.ndim != 1 or X.dtype.kind not in "OUS"):
        return function(X)
    items = list(X)
    if any(isinstance(item, (str, bytes)) for item in items):
        return [function(_characters(item)) for item in items]
    if holds_sequences(items):
        return [_map_item(item, function) for item in items]
    return function(_rectangular(X))


def _map_item(item: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Apply a function to the values of one sequence."""
    if isinstance(item, pd.DataFrame):
        return _map_frame(item, function)
    return function(exact_values(unmasked(item)))


def _map_frame(frame: pd.DataFrame, function: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    values = function(exact_values(frame))
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def _characters(item: Any) -> np.ndarray:
    """Return the characters of a text, or the bytes of a bytes object as integers."""
    if isinstance(item, bytes):
        return np.frombuffer(item, np.uint8)
    if isinstance(item, str):
        return np.array(list(item), dtype="<U1")
    raise TypeError(
        f"A list of texts must hold str or bytes only, got {type(item).__name__}. A sequence of "
        "words is an array of str."
    )


def _rectangular(X: Any) -> np.ndarray:
    """Return nested lists as an array, of objects if they mix text with anything else."""
    try:
        return exact_array(X)
    except ValueError as error:
        raise ValueError(
            "Nested lists must have equal lengths. Pass sequences of different lengths as a list "
            "of arrays or of texts."
        ) from error


def _as_symbols(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return values of a kind that can be sorted, and which of them are missing, if any."""
    if array.dtype.kind in _KINDS:
        return array, None
    if array.dtype.kind == "O":
        return _from_objects(array)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported, got dtype {array.dtype}.")
    if array.dtype.kind != "f":
        raise ValueError(f"Symbols must be integers, text or bytes, got dtype {array.dtype}.")
    missing = np.isnan(array)
    values = np.where(missing, 0, array)
    if not (np.isfinite(values) & (values == np.trunc(values))).all():
        fraction = values[~(np.isfinite(values) & (values == np.trunc(values)))][0]
        raise ValueError(
            f"Symbols must be integers, text or bytes, got the value {fraction}. For real values, "
            "pass distribution='gaussian' or 'mixture'."
        )
    if not (np.abs(values) < 2**63).all():
        return _integers([int(value) for value in values.ravel()]).reshape(values.shape), missing
    return values.astype(np.int64), missing if missing.any() else None


def _from_objects(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return values of objects, which must be of one kind."""
    missing = pd.isna(array)
    present = [v.item() if isinstance(v, np.generic) else v for v in array[~missing].tolist()]
    kinds = {type(value) for value in present}
    if len(kinds) > 1 and any(issubclass(kind, (str, bytes)) for kind in kinds):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"The symbols must be of one kind, got {names}.")
    are_integers = all(_is_integer(value) for value in present)
    symbols = _integers(present) if are_integers else np.asarray(present)
    if symbols.dtype == object or symbols.ndim != 1:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"Symbols must be integers, text or bytes, got objects of type {names}.")
    values, _ = _as_symbols(symbols)
    filled = np.zeros(array.shape, values.dtype)
    filled[~missing] = values
    return filled, missing if missing.any() else None


def _is_integer(value: Any) -> bool:
    """Tell whether a value is an integer, perhaps as a float."""
    return isinstance(value, numbers.Integral) or (isinstance(value, float) and value.is_integer())


def _integers(values: list[Any]) -> np.ndarray:
    """Return integers of Python, perhaps as floats, in the type of 64 bits that holds them all."""
    if values and all(isinstance(value, bool) for value in values):
        return np.array(values)
    integers = [int(value) for value in values]
    low, high = min(integers, default=0), max(integers, default=0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.array(integers, dtype)
    also = f" together with {low}" if 2**63 <= high < 2**64 and low >= -(2**63) else ""
    wrong = high if high >= 2**63 else low
    raise ValueError(
        f"Symbols that are integers must all fit into one type of 64 bits, got {wrong}{also}. "
        "Number them from 0, or pass text."
    )


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    """Concatenate symbols of one kind without changing a value."""
    if np.result_type(*arrays).kind == "f":  # signed beside unsigned ones of 64 bits
        return _integers([value for array in arrays for value in array.tolist()])
    return np.concatenate(arrays)


def _in_type_of(symbols: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values that compare with symbols exactly, and which of them are beyond their type."""
    if symbols.dtype.kind not in "iu" or np.result_type(symbols, values).kind != "f":
        return values, np.zeros(values.shape, bool)
    limits = np.iinfo(symbols.dtype)
    beyond = (values < limits.min) | (values > limits.max)
    return np.where(beyond, 0, values).astype(symbols.dtype), beyond
