"""Containers of many series: taken apart into one series after the other, and put together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sks4.data._inputs import plain_rows, sort_instances


@dataclass(frozen=True, eq=False)
class SeriesContainer:
    """The form in which many series came.

    Attributes
    ----------
    kind : {"dict", "list", "rows"}
        A dict, a list, or a frame whose row labels are (series, time).
    ids : tuple
        Names of the series; their positions in a list.
    level : hashable or None
        Name of the first level of the row labels.
    """

    kind: Literal["dict", "list", "rows"]
    ids: tuple[Hashable, ...]
    level: Any = None

    @classmethod
    def split(cls, data: Any, name: str) -> tuple["SeriesContainer", list[Any]]:
        """Return the form of some data that `holds_many_series`, and its series.

        Parameters
        ----------
        data : mapping, list, Series or DataFrame
            The series.
        name : str
            What an error calls the data.

        Raises
        ------
        ValueError
            If there is no series, or a series has a time twice.
        """
        if isinstance(data, Mapping):
            form, series = cls("dict", tuple(data)), list(data.values())
        elif isinstance(data, (pd.Series, pd.DataFrame)):
            return cls._split_rows(data)
        else:
            form, series = cls("list", tuple(range(len(data)))), list(data)
        if not series:
            raise ValueError(f"{name} must hold one series at least, got an empty container.")
        return form, [plain_rows(item, f"{name}[{key!r}]") for key, item in zip(form.ids, series)]

    @classmethod
    def _split_rows(cls, data: Any) -> tuple["SeriesContainer", list[Any]]:
        """Split a Series or a frame whose row labels are (series, time)."""
        if not len(data):
            raise ValueError("X must hold one series at least, got 0 rows.")
        ids, times = (data.index.get_level_values(level) for level in (0, 1))
        order, stops, unique = sort_instances(ids, times, "Row label", *data.index.names)
        rows = data.droplevel(0).iloc[order]
        parts = [rows.iloc[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True)]
        return cls("rows", tuple(unique.tolist()), data.index.names[0]), parts

    def join(self, parts: Sequence[Any]) -> Any:
        """Return one result for each series in the form of the container."""
        if self.kind == "dict":
            return dict(zip(self.ids, parts, strict=True))
        if self.kind == "list":
            return list(parts)
        return pd.concat(parts, keys=self.ids, names=[self.level, parts[0].index.name])

    def name_of(self, position: int) -> str:
        """Return what an error calls a series."""
        return f"series {self.ids[position]!r}"


def holds_many_series(data: Any) -> bool:
    """Return whether data are many series: a dict, a list of Series or frames, or labeled rows.

    Nested lists and lists of arrays are one series, as is any frame whose rows have one label.

    Examples
    --------
    >>> import numpy as np
    >>> holds_many_series({"a": np.zeros(3)}), holds_many_series([np.zeros(3), np.ones(3)])
    (True, False)
    """
    if isinstance(data, (pd.Series, pd.DataFrame)):
        return data.index.nlevels == 2
    if isinstance(data, (list, tuple)):
        return any(_is_frame(item) for item in data)
    return isinstance(data, Mapping)


def _is_frame(item: Any) -> bool:
    """Return whether an item is a Series or a DataFrame of any library."""
    if isinstance(item, (pd.Series, pd.DataFrame)):
        return True
    is_foreign = hasattr(item, "__dataframe__") or hasattr(item, "__arrow_c_stream__")
    return is_foreign and isinstance(plain_rows(item, "X"), (pd.Series, pd.DataFrame))
