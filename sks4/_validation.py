"""Checks of values that a user passes, with one form of message.

Every message says what must hold, what was got and, where it helps, what to do.
"""

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any


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
