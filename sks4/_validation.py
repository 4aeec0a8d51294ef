"""Checks of values that a user passes, with one form of message.

Every message says what must hold, what was got and, where it helps, what to do.
"""

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils import check_array


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is one of `choices`, else raise and suggest the nearest."""
    choices = list(choices)
    if value in choices:
        return value
    message = f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}."
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    raise ValueError(message + (f" Did you mean {near[0]!r}?" if near else ""))


def check_integer(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` as an int if it is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}.")
    return int(value)


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a float if it is a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}.")
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be finite and above zero, got {value}.")
    return number


def is_number(value: Any) -> bool:
    """Tell whether a value is a single number, also as an array without axes, or None."""
    is_scalar = isinstance(value, numbers.Number) or getattr(value, "shape", None) == ()
    return value is None or is_scalar


def check_weights(sample_weight: Any, n_samples: int, name: str = "sample_weight") -> np.ndarray:
    """Return weights with a mean of 1, so that their unit has no effect.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
        Nonnegative weights in any unit; None: all equal.
    n_samples : int
        Number of samples.
    name : str, default="sample_weight"
        Name of the parameter, for the errors.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        The weights, divided by their mean.

    Raises
    ------
    ValueError
        If there are not `n_samples` weights, one is negative, NaN or infinite, or all are zero.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    weights = check_array(
        unmasked(sample_weight), ensure_2d=False, dtype=np.float64, input_name=name
    )
    if weights.shape != (n_samples,):
        raise ValueError(f"{name} must have shape ({n_samples},), got {weights.shape}.")
    if weights.min() < 0 or weights.max() == 0:
        raise ValueError(
            f"{name} must hold no negative weight and have a sum above zero, got the minimum "
            f"{weights.min()} and the sum {weights.sum()}."
        )
    weights = weights / weights.max()  # the sum of large weights would overflow
    return weights / weights.mean()


def unmasked(array: Any) -> Any:
    """Return a masked array as an array with NaN where it is masked; anything else as it is.

    Parameters
    ----------
    array : object
        Only masked arrays of numpy are changed.

    Returns
    -------
    object
        Without a masked value, the data itself. Else a copy with NaN, in float64 if the type has
        no NaN; of text, bytes and objects, a copy of objects with None.

    Examples
    --------
    >>> import numpy as np
    >>> unmasked(np.ma.masked_equal([4, -1, 5], -1))
    array([ 4., nan,  5.])
    """
    if not isinstance(array, np.ma.MaskedArray):
        return array
    if not np.ma.is_masked(array):
        return array.data
    kind = array.dtype.kind
    dtype = np.dtype(np.float64 if kind in "biu" else object if kind in "US" else array.dtype)
    values = array.data.astype(dtype)
    values[np.ma.getmaskarray(array)] = np.nan if dtype.kind in "fc" else None
    return values
