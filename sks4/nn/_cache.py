"""Operators that outlive a call."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

_MOST = 16
"""Operators that are kept; more means a caller that varies lengths, rates or dtypes."""


class OperatorCache:
    """Results that are kept until what they were computed from changes, safe to use in threads.

    A copy or pickle of it is empty.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version: Hashable = None
        self._entries: dict[Hashable, Any] = {}

    def get(self, key: Hashable, version: Hashable, build: Callable[[], Any]) -> Any:
        """Return what is kept for `key` and `version`, or ``build()``, which is kept from now on.

        Two threads may build the same at the same time; the results are equal.
        """
        with self._lock:
            if version != self._version:
                self._version, self._entries = version, {}
            if key in self._entries:
                return self._entries[key]
        value = build()
        with self._lock:
            if version == self._version:
                while len(self._entries) >= _MOST:
                    self._entries.pop(next(iter(self._entries)))  # the oldest
                self._entries[key] = value
        return value

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return OperatorCache, ()
