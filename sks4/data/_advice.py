"""What to do with data that does not fit, said by the container in which it came."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from sks4._validation import is_number
from sks4.data._inputs import (
    FROM_LABELS,
    SCALARS,
    check_numbers,
    object_vector,
    plain_data,
    refuse_without_order,
)
from sks4.data._panel import Panel


def _as_array(X: Any) -> str:
    """Return the code that makes an array of X."""
    if hasattr(X, "to_numpy"):
        return "X.to_numpy()"
    return "X" if isinstance(X, (np.ndarray, torch.Tensor)) else "np.asarray(X)"


def refuse_one_axis(X: Any, given: Any) -> None:
    """Raise ValueError if X has one axis: a single sequence, or values that are none.

    Parameters
    ----------
    X : ndarray, DataFrame, Series or list
        What `as_sequences` returned.
    given : object
        The same as the user passed it.

    Raises
    ------
    ValueError
        If there is one axis of numbers.
    TypeError
        If items of a list are dates, text, or neither numbers nor sequences.
    """
    if isinstance(X, (list, tuple)):
        if any(isinstance(item, (list, tuple, np.ndarray, pd.DataFrame, pd.Series)) for item in X):
            return
        wrong = [i for i, item in enumerate(X) if not isinstance(item, SCALARS)]
        if wrong:
            raise TypeError(
                "Every sequence must be an array, a list of numbers, a Series or a DataFrame, got "
                f"X[{wrong[0]}] of type {type(X[wrong[0]]).__name__}."
            )
    elif issparse(X) or np.ndim(X) != 1:
        return
    check_numbers(object_vector(X), "X")
    is_list = isinstance(given, (list, tuple))
    one = "[X]" if is_list else f"{_as_array(given)}[np.newaxis]"
    raise ValueError(
        "Expected 2D array, got 1D array instead: X must have shape (n_samples, n_timepoints) or "
        f"(n_samples, n_channels, n_timepoints), got ({len(X)},). Reshape your data: one sequence "
        f"of one channel is {one}; for a model fitted with an axis of channels, "
        f"{'[np.asarray(X)]' if is_list else '[X]'}."
    )


def with_channel_axis(X: Any, layout: str) -> str:
    """Return the code that makes 3-D data of rows, one for each sequence."""
    return (
        f"{_as_array(X)}[:, np.newaxis]" if layout == "nct" else f"{_as_array(X)}[:, :, np.newaxis]"
    )


@contextmanager
def advice_on_length(table: Any, n_timepoints: int | None, layout: str) -> Iterator[None]:
    """Add to a ValueError raised inside how sequences of any length can be read.

    Parameters
    ----------
    table : ndarray or DataFrame
        The data, one row for each sequence, or a header of it.
    n_timepoints : int or None
        Number of columns in fit; None if there was an axis of channels, or no fit yet.
    layout : {"nct", "ntc"}
        Order of the axes of arrays.

    Raises
    ------
    ValueError
        With the advice if the number of columns is another one, otherwise as it was.
    """
    try:
        yield
    except ValueError as error:
        if n_timepoints is None or np.shape(table)[1] == n_timepoints:
            raise
        raise ValueError(
            f"{error}\nSequences as rows of a table must have the length of fit, {n_timepoints}. "
            "To read sequences of any length, fit with an axis of channels, "
            f"{with_channel_axis(table, layout)}, or a list of arrays."
        ) from error


def other_form_message(X: Any, n_timepoints: int | None, n_channels: int, layout: str) -> str:
    """Return what an error says of data whose axes are not those of fit.

    Parameters
    ----------
    X : ndarray, DataFrame or list
        What `as_sequences` returned.
    n_timepoints : int or None
        Number of columns in fit; None if there was an axis of channels.
    n_channels : int
        Number of channels in fit, if there was an axis of them.
    layout : {"nct", "ntc"}
        Order of the axes of arrays.

    Returns
    -------
    str
        The form of fit, the one given, and how to bring X into that of fit.
    """
    rows, channels = "one row for each sequence", "channels and time for each sequence"
    if n_timepoints is not None:
        return (
            f"X must have the form it had in fit, {rows}, got {channels}. Sequences of one channel "
            f"and length {n_timepoints} become rows by np.stack; fitted with an axis of channels, "
            "a 2-D array X as X[:, np.newaxis], sequences of any length go in."
        )
    shape = np.shape(X)
    many = with_channel_axis(X, layout)
    advice = f"If each row of X is a sequence of one channel, pass {many}."
    if isinstance(X, pd.DataFrame):
        advice = f"If the rows of X are time, it is one sequence: pass [X]. {advice}"
    elif shape[0 if layout == "nct" else 1] == n_channels:
        advice = f"If X is one sequence, pass {_as_array(X)}[np.newaxis]. {advice}"
    return (
        f"X must have the form it had in fit, {channels}, got {rows}, shape {shape}. {advice} "
        f"There must be {n_channels} channel(s)."
    )


def check_one_target_each(X: Any, panel: Panel, targets: np.ndarray) -> None:
    """Raise ValueError unless there are as many targets as sequences.

    Parameters
    ----------
    X : object
        The sequences as the user passed them.
    panel : Panel
        The same sequences.
    targets : ndarray of shape (n_targets, ...)
        One entry for each sequence, to be checked.
    """
    n_sequences, n_targets = len(panel), len(targets)
    if n_sequences == n_targets:
        return
    X, advice = plain_data(X), ""
    n_rows = len(X) if hasattr(X, "__len__") else 0
    if isinstance(X, (pd.DataFrame, pd.Series)) and X.index.nlevels > 1 and n_rows == n_targets:
        with_target = FROM_LABELS.replace("values=...", "values=..., target=...")
        advice = (
            " X has row labels (instance, time), so y must have one entry for each instance. With "
            f"one for each row, pass it to from_long as a column and target: {with_target}."
        )
    elif n_targets == 1 and panel.form == "2d":
        one = "[X]" if isinstance(X, pd.DataFrame) else f"{_as_array(X)}[np.newaxis]"
        advice = f" If X is one sequence, pass {one}."
    raise ValueError(
        f"Found input variables with inconsistent numbers of samples: [{n_sequences}, {n_targets}]."
        f" y must have one entry for each of the {n_sequences} sequences of X.{advice}"
    )


def check_requested_rows(X: Any) -> None:
    """Raise TypeError if X is a single value, or has no order, instead of rows to forecast."""
    if is_number(X):
        is_whole = isinstance(X, Real) and float(X).is_integer()
        n_rows = "" if X is None else int(X) if is_whole else "n"
        raise TypeError(
            f"X must have one row for each forecast, got {X!r}. For the rows that follow those "
            f"seen, call forecast({n_rows})."
        )
    if isinstance(X, SCALARS):
        raise TypeError(
            f"X must have one row for each forecast, got {X!r}. For a single date, pass a list: "
            "[X]. For the rows that follow those seen, call forecast(n)."
        )
    refuse_without_order(X, "X")


def check_same_names(name: str, fitted: np.ndarray | None, given: np.ndarray | None) -> None:
    """Raise ValueError if columns have names, had some in fit, and they differ.

    Parameters
    ----------
    name : str
        What an error calls the data.
    fitted, given : ndarray of shape (n_columns,) or None
        Names of the columns in fit, and now.
    """
    if fitted is not None and given is not None and fitted.tolist() != given.tolist():
        raise ValueError(
            f"{name} must have the columns of fit in their order, {fitted.tolist()}, got "
            f"{given.tolist()}. Select them in that order."
        )
