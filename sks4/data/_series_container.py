"""Containers of many series: taken apart into one series after the other, and put together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from sks4._compat import n_samples_of
from sks4._validation import check_choice
from sks4.data._inputs import plain_rows, sort_instances

FORECAST = "forecast"

_HINT = "a dict, a list of Series or frames, or a frame with row labels (series, time)"


@dataclass(frozen=True, eq=False)
class SeriesItems:
    """The series of a container, and where their rows were.

    Attributes
    ----------
    ids : tuple
        Name of each series; its position in a list.
    items : list of tuple
        X and y of each series; y is None where there is one part only.
    order : ndarray of shape (n_rows,) or None
        The row of a frame that each row of the series, one after the other, came from.
    labels : Index, DataFrame or None
        The labels of the rows of a frame, or the two columns that stand for them.
    """

    ids: tuple[Hashable, ...]
    items: list[tuple[Any, Any]]
    order: np.ndarray | None = None
    labels: Any = None


@dataclass(frozen=True, eq=False)
class SeriesContainer:
    """The form in which many series come, and in which results for them leave.

    Attributes
    ----------
    kind : {"dict", "list", "rows", "long"}
        A dict, a list, a frame with row labels (series, time), or a long table with columns of
        them.
    names : tuple
        Names of the labels or columns of series and time, and of the column of the target.
    covariates : list or None
        The other columns of a long table; None where they are not known yet.
    """

    kind: Literal["dict", "list", "rows", "long"]
    names: tuple[Any, Any, Any] = (None, None, None)
    covariates: list[Any] | None = None

    @classmethod
    def of(cls, X: Any, names: tuple[Any, Any, Any] | None = None) -> Self:
        """Return the container that X is; a long table if there are names of its columns.

        Raises
        ------
        ValueError, TypeError
            If X is no container, or a column is missing.
        """
        if names is not None:
            long = cls("long", names)
            others = [name for name in long._table(X, True).columns if name not in names]
            return replace(long, covariates=others)
        if isinstance(X, Mapping):
            return cls("dict")
        if isinstance(X, (pd.Series, pd.DataFrame)):
            return cls("rows", (*X.index.names, None))
        return cls("list")

    # ------------------------------------------------------------------ taking apart

    def split(
        self, X: Any, y: Any = None, *, name: str = "X", has_targets: bool = True
    ) -> SeriesItems:
        """Return the series of data in this form.

        Parameters
        ----------
        X, y : container
            Two parts of the same series, or one and None.
        name : str
            What an error calls X.
        has_targets : bool, default=True
            Whether a long table must have the column of the target.

        Raises
        ------
        ValueError, TypeError
            If the data are not in this form, X and y differ in their series, or a series has a
            time twice.
        """
        if self.kind == "dict":
            return self._split_dict(X, y, name)
        if self.kind == "list":
            return self._split_list(X, y, name)
        if self.kind == "rows":
            return self._split_rows(X, y, name)
        if y is not None:
            raise ValueError("y must be None for a long table, which holds the target, got one.")
        return self._split_long(X, has_targets)

    @staticmethod
    def _split_dict(X: Any, y: Any, name: str) -> SeriesItems:
        if not isinstance(X, Mapping):
            raise TypeError(f"{name} must be a dict of series, as in fit, got {_type(X)}.")
        _check_some(len(X), name)
        if y is not None and (not isinstance(y, Mapping) or set(y) != set(X)):
            got = sorted(map(repr, set(X) ^ set(y))) if isinstance(y, Mapping) else _type(y)
            raise ValueError(f"y must be a dict of the series in {name}, got a difference: {got}.")
        return SeriesItems(
            tuple(X), [(item, None if y is None else y[key]) for key, item in X.items()]
        )

    @staticmethod
    def _split_list(X: Any, y: Any, name: str) -> SeriesItems:
        for part, part_name in ((X, name), (y, "y")):
            if part is not None and not isinstance(part, (list, tuple)):
                raise TypeError(f"{part_name} must be a list of series, got {_type(part)}.")
        _check_some(len(X), name)
        if y is not None and len(y) != len(X):
            raise ValueError(f"y must have the {len(X)} series of {name}, got {len(y)}.")
        others = [None] * len(X) if y is None else y
        return SeriesItems(tuple(range(len(X))), list(zip(X, others, strict=True)))

    def _split_rows(self, X: Any, y: Any, name: str) -> SeriesItems:
        if isinstance(X, pd.MultiIndex):
            X = pd.DataFrame(index=X)
        if not isinstance(X, (pd.Series, pd.DataFrame)) or X.index.nlevels != 2:
            raise TypeError(
                f"{name} must be a frame with row labels (series, time), as in fit, got {_type(X)}."
            )
        _check_some(len(X), name)
        if y is not None:
            y = _with_labels_of(X, y)
        ids, times = (X.index.get_level_values(level) for level in (0, 1))
        order, stops, unique = sort_instances(ids, times, "Row label", *X.index.names)
        bounds = list(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True))
        parts = [
            [None] * len(bounds) if part is None else _cut(part.droplevel(0), order, bounds)
            for part in (X, y)
        ]
        items = list(zip(*parts, strict=True))
        return SeriesItems(tuple(unique.tolist()), items, order, X.index)

    def _split_long(self, X: Any, has_targets: bool) -> SeriesItems:
        table = self._table(X, has_targets)
        series, time, target = self.names
        covariates = self.covariates or []
        missing = [column for column in covariates if column not in table.columns]
        if missing:
            raise ValueError(f"X must have the columns of fit, got none named {missing}.")
        order, stops, unique = sort_instances(table[series], table[time], "Column", series, time)
        bounds = list(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True))
        index = pd.Index(table[time], name=time)
        X_parts = _cut(table[covariates].set_index(index), order, bounds)
        items: list[tuple[Any, Any]] = [(part, None) for part in X_parts]
        if has_targets:
            y_parts = _cut(table[target].set_axis(index), order, bounds)
            pairs = zip(X_parts, y_parts, strict=True)
            items = list(pairs) if covariates else [(part, None) for part in y_parts]
        return SeriesItems(tuple(unique.tolist()), items, order, table[[series, time]])

    def _table(self, X: Any, has_targets: bool) -> pd.DataFrame:
        """Return a long table of any library with the columns that it must have."""
        table = plain_rows(X, "X")
        if not isinstance(table, pd.DataFrame):
            raise TypeError(f"X must be a long table, as in fit, got {_type(X)}.")
        _check_some(len(table), "X")
        for role, column in zip(("series_id", "time", "target"), self.names, strict=True):
            if role != "target" or has_targets:
                check_choice(role, column, table.columns)
        return table

    def split_weights(self, weights: Any, items: SeriesItems) -> list[Any] | None:
        """Return the weights of the rows of each series, or None for none.

        Raises
        ------
        ValueError, TypeError
            If they are not in the form of the series.
        """
        if weights is None:
            return None
        if items.order is None:
            parts = self.split(weights, name="sample_weight")
            if set(parts.ids) != set(items.ids):
                raise ValueError("sample_weight must have the series of X.")
            by_id = dict(zip(parts.ids, parts.items, strict=True))
            return [by_id[key][0] for key in items.ids]
        array = np.asarray(weights)
        if array.shape != items.order.shape:
            raise ValueError(
                f"sample_weight must have shape ({len(items.order)},), got {array.shape}."
            )
        lengths = [len(X) for X, _ in items.items]
        return np.split(array[items.order], np.cumsum(lengths)[:-1])

    # ------------------------------------------------------------------ putting together

    def join(self, ids: Sequence[Hashable], parts: Sequence[Any]) -> Any:
        """Return labeled results, one for each series, in this form."""
        if self.kind == "dict":
            return dict(zip(ids, parts, strict=True))
        if self.kind == "list":
            return list(parts)
        series, time, _ = self.names
        joined = pd.concat(parts, keys=ids, names=[series, time])
        if self.kind == "rows":
            return joined
        if isinstance(joined, pd.Series):
            joined = joined.rename(FORECAST)
        return joined.reset_index()

    def arrange(self, items: SeriesItems, parts: Sequence[np.ndarray], columns: Any) -> Any:
        """Return arrays with an entry for each row of the series in the form of their container.

        Parameters
        ----------
        items : SeriesItems
            The series as they came.
        parts : sequence of ndarray of shape (n_rows, ...)
            Results for each series.
        columns : hashable, or Index of the last axes
            Name of a result without further axes, or names of the columns.
        """
        if items.order is None:
            return self.join(items.ids, parts)
        joined = np.concatenate(parts)
        values = np.empty_like(joined)
        values[items.order] = joined
        values = values.reshape(len(values), -1) if values.ndim > 1 else values
        if self.kind == "long":
            names = [columns] if values.ndim == 1 else columns
            frame = pd.DataFrame(values, index=items.labels.index, columns=names)
            return pd.concat([items.labels, frame], axis=1)
        if values.ndim == 1:
            return pd.Series(values, index=items.labels, name=columns)
        return pd.DataFrame(values, index=items.labels, columns=columns)


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
    return isinstance(data, Mapping) and not issparse(data)  # some of these are mappings


def _is_frame(item: Any) -> bool:
    """Return whether an item is a Series or a DataFrame of any library."""
    if isinstance(item, (pd.Series, pd.DataFrame)):
        return True
    is_foreign = hasattr(item, "__dataframe__") or hasattr(item, "__arrow_c_stream__")
    return is_foreign and isinstance(plain_rows(item, "X"), (pd.Series, pd.DataFrame))


def _check_some(n: int, name: str) -> None:
    if n == 0:
        raise ValueError(f"{name} must hold one series at least, got none: pass {_HINT}.")


def _with_labels_of(X: Any, y: Any) -> Any:
    """Return y with the row labels of X, which it must have if it has some."""
    if isinstance(y, (pd.Series, pd.DataFrame)):
        if not X.index.equals(y.index):
            raise ValueError("X and y must have the same row labels, in the same order.")
        return y
    if n_samples_of(y) != len(X):
        raise ValueError(f"y must have the {len(X)} rows of X, got {n_samples_of(y)}.")
    array = np.asarray(y)
    return (pd.Series if array.ndim == 1 else pd.DataFrame)(array, index=X.index)


def _cut(rows: Any, order: np.ndarray, bounds: list[tuple[int, int]]) -> list[Any]:
    """Return parts of a Series or a frame whose rows are put in order."""
    if not np.array_equal(order, np.arange(len(rows))):
        rows = rows.iloc[order]
    return [rows.iloc[a:b] for a, b in bounds]


def _type(data: Any) -> str:
    return "None" if data is None else f"a {type(data).__name__}"


def container_of(X: Any, series_id: Any, time: Any, target: Any) -> SeriesContainer | None:
    """Return the container that X is, None if it is one series.

    Raises
    ------
    ValueError
        If only some of the columns of a long table are named.
    """
    names = (series_id, time, target)
    if all(name is None for name in names):
        return SeriesContainer.of(X) if holds_many_series(X) else None
    if any(name is None for name in names):
        raise ValueError(
            "series_id, time and target must all be given for a long table, got "
            f"{series_id!r}, {time!r} and {target!r}."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"series_id, time and target must be three columns, got {names}.")
    return SeriesContainer.of(X, names)
