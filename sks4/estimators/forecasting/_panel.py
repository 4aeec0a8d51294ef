"""Many series with one model: each read on its own, in its own scale."""

import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from sks4._validation import check_weights
from sks4.data import (
    Calendar,
    Columns,
    EncodedSeries,
    SeriesEncoder,
    SeriesItems,
    Timeline,
    TimeRows,
    as_weights,
    check_covariates,
    check_each_observed,
    plain_data,
    time_index,
)
from sks4.estimators.forecasting._reader import SeriesReader


@dataclass(frozen=True, eq=False)
class OneSeries:
    """One of many series: its form, its rows, and what is known of it alone.

    Attributes
    ----------
    reader : SeriesReader
        The form of its data.
    rows : TimeRows
        The rows that forecasts follow.
    encoder : SeriesEncoder
        Its scale.
    share : float
        Share of the network's correction of the base, from 0 to 1.
    unit : ndarray of shape (n_targets,)
        Size of its errors, in its own scale.
    static : ndarray of shape (n_static,) or None
        Scaled features that do not change in time.
    identity : int or None
        Its number from 1, 0 if it was not in fit; None where series have no embedding.
    """

    reader: SeriesReader
    rows: TimeRows
    encoder: SeriesEncoder
    share: float
    unit: np.ndarray
    static: np.ndarray | None = None
    identity: int | None = None

    def encode(self, rows: Columns, dtype: str, ahead: np.ndarray | None = None) -> EncodedSeries:
        """Return rows as the network reads them, with those ahead whose covariates are known."""
        covariates = rows.covariates
        if ahead is not None:
            covariates = np.concatenate([covariates, ahead])
        counts = rows.weights > 0
        encoded = self.encoder.transform(rows.values, covariates, dtype, counts=counts).ahead()
        static = identity = None
        if self.static is not None:
            static = torch.from_numpy(self.static[np.newaxis].astype(dtype))
        if self.identity is not None:
            identity = torch.tensor([self.identity])
        return replace(encoded, static=static, identity=identity)

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        """Return scaled outputs (..., n_targets, n_outputs) in the unit of the targets."""
        return self.encoder.restore(outputs.swapaxes(-1, -2)).swapaxes(-1, -2)


@contextmanager
def naming(name: Hashable) -> Iterator[None]:
    """Name the series in an error about it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"In series {name!r}: {error}") from error


# ------------------------------------------------------------------ reading


@dataclass(frozen=True, eq=False)
class SeriesRows:
    """A series that was read, before it has a scale."""

    reader: SeriesReader
    rows: TimeRows


def read_panel(
    items: SeriesItems, calendar: Calendar | None, weights: Sequence[Any] | None = None
) -> dict[Hashable, SeriesRows]:
    """Read many series, which must have one form.

    The longest one shows the steps of all, since few rows may not show theirs.

    Parameters
    ----------
    items : SeriesItems
        The series.
    calendar : Calendar or None
        Features of the index.
    weights : sequence of array-like of shape (n_rows,), or None
        Weights of the rows of each series, relative to those of all.

    Raises
    ------
    ValueError, TypeError
        If a series is not valid, or differs from the longest in columns, steps or time zone.
    """
    lengths = [_n_rows(*item, key) for key, item in zip(items.ids, items.items, strict=True)]
    longest = items.ids[int(np.argmax(lengths))]
    with naming(longest):
        first = SeriesRows(
            *SeriesReader.fit(*items.items[lengths.index(max(lengths))], None, calendar)
        )
    panel: dict[Hashable, SeriesRows] = {}
    for key, (X, y) in zip(items.ids, items.items, strict=True):
        with naming(key):
            _check_same_labels(first.reader.timeline, _index_of(X, y))
            panel[key] = first if key == longest else read_like(first.reader, X, y)
            check_each_observed(
                panel[key].rows.columns().values, first.reader.form.names, "of the series"
            )
    return panel if weights is None else _with_weights(panel, weights)


def read_like(reader: SeriesReader, X: Any, y: Any) -> SeriesRows:
    """Read a series of any time in the form of another.

    Raises
    ------
    ValueError, TypeError
        If it differs in columns, steps or time zone.
    """
    index = _index_of(X, y)
    if reader.timeline.has_labels != (index is not None):
        raise ValueError(
            "Either all series must have an index of dates, periods or integers, or none, got "
            f"{'one' if index is not None else 'none'} here."
        )
    form = reader.form_of(X, y)
    reader.form.check_same(form, "The series")
    rows = reader.read(X, y)
    return SeriesRows(replace(reader, form=form, timeline=rows.timeline), rows)


def _index_of(X: Any, y: Any) -> pd.Index | None:
    index = time_index(X)
    return time_index(y) if index is None else index


def _n_rows(X: Any, y: Any, key: Hashable) -> int:
    with naming(key):
        if not hasattr(X, "__len__"):
            raise TypeError(f"A series must be a Series, a frame or an array, got {X!r}.")
        return len(X)


def _check_same_labels(timeline: Timeline, index: pd.Index | None) -> None:
    """Raise if one has dates and the other periods, or dates of another time zone."""
    first = timeline.first
    if first is None or index is None:
        return  # refused where the rows are read
    kinds = [type(labels).__name__ for labels in (first, index)]
    if set(kinds) == {"DatetimeIndex", "PeriodIndex"}:
        raise TypeError(
            f"All series must have one kind of index, got a {kinds[1]} here and a {kinds[0]} in "
            "others. Convert it with to_timestamp or to_period."
        )
    zones = [getattr(labels, "tz", None) for labels in (first, index)]
    if str(zones[0]) != str(zones[1]):
        raise ValueError(
            f"All series must have one time zone, got {zones[1]} here and {zones[0]} in others. "
            "Use tz_convert or tz_localize."
        )


def _with_weights(
    panel: dict[Hashable, SeriesRows], weights: Sequence[Any]
) -> dict[Hashable, SeriesRows]:
    """Return series with weights of their rows, relative to those of all series."""
    checked = []
    for (key, one), of_one in zip(panel.items(), weights, strict=True):
        with naming(key):
            array = np.asarray(as_weights(of_one), dtype=np.float64)
            if array.shape != (len(one.rows),):
                raise ValueError(
                    f"sample_weight must have shape ({len(one.rows)},), got {array.shape}."
                )
        checked.append(array)
    scaled = check_weights(np.concatenate(checked), sum(map(len, checked)))
    parts = np.split(scaled, np.cumsum([len(array) for array in checked])[:-1])
    weighted = {}
    for (key, one), part in zip(panel.items(), parts, strict=True):
        columns = replace(one.rows.columns(), weights=part)
        weighted[key] = SeriesRows(one.reader, TimeRows((columns,), one.rows.timeline))
    return weighted


# ------------------------------------------------------------------ what is known of a series


@dataclass(frozen=True, eq=False)
class StaticReader:
    """The static features of the series in fit, which those of other series must have.

    Attributes
    ----------
    names : Index or None
        Names of the columns, if they came as a frame.
    mean, scale : ndarray of shape (n_static,)
        Mean and standard deviation over the series in fit.
    """

    names: pd.Index | None
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, static: Any, keys: Sequence[Hashable]) -> tuple[Self, list[np.ndarray]]:
        """Return a reader, and the scaled features of each series.

        Raises
        ------
        ValueError, TypeError
            If they are not numbers, or a series has none.
        """
        table, values = _static_rows(static, keys)
        known = np.where(np.isnan(values).all(axis=0), 0.0, values)
        mean, scale = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        names = table.columns if isinstance(table, pd.DataFrame) else None
        reader = cls(names, mean, np.where(scale > 0, scale, 1.0))
        return reader, reader._scaled(values)

    def read(self, static: Any, keys: Sequence[Hashable]) -> list[np.ndarray]:
        """Return the scaled features of series; missing ones are as usual.

        Raises
        ------
        ValueError, TypeError
            If they are missing, or do not have the columns of fit.
        """
        if static is None:
            raise ValueError(
                f"static must be given for new series, such as {keys[0]!r}, since fit got some, "
                "got None."
            )
        table, values = _static_rows(static, keys)
        names = table.columns if isinstance(table, pd.DataFrame) else None
        if values.shape[1] != len(self.mean) or (
            names is not None and self.names is not None and not names.equals(self.names)
        ):
            wanted = len(self.mean) if self.names is None else self.names.tolist()
            got = values.shape[1] if names is None else names.tolist()
            raise ValueError(f"static must have the columns of fit, {wanted}, got {got}.")
        return self._scaled(values)

    def _scaled(self, values: np.ndarray) -> list[np.ndarray]:
        return list(np.nan_to_num((values - self.mean) / self.scale))


def _static_rows(static: Any, keys: Sequence[Hashable]) -> tuple[Any, np.ndarray]:
    """Return static features as they came, and as an array (n_series, n_static) in order."""
    table = plain_data(static)
    if isinstance(table, pd.DataFrame):
        missing = [key for key in keys if key not in table.index]
        if missing:
            raise ValueError(
                f"static must have a row for each series, labeled by its name, got none for "
                f"{missing[0]!r}."
            )
        if table.index.has_duplicates:
            twice = table.index[table.index.duplicated()][0]
            raise ValueError(f"static must have one row for each series, got {twice!r} twice.")
        table = table.loc[list(keys)]
    values = check_covariates(table, "static")
    if len(values) != len(keys):
        raise ValueError(
            f"static must have a row for each of the {len(keys)} series, got {len(values)}."
        )
    if values.shape[1] == 0:
        raise ValueError("static must have one column at least, got none.")
    return table, values


def check_series_weight(weight: Any, keys: Sequence[Hashable]) -> np.ndarray:
    """Return the weight of each series, with a mean of 1.

    Raises
    ------
    ValueError
        If a series has none, or weights are not valid.
    """
    if isinstance(weight, (Mapping, pd.Series)):
        missing = [key for key in keys if key not in weight]
        if missing:
            raise ValueError(f"series_weight must have all series, got none for {missing[0]!r}.")
        weight = [weight[key] for key in keys]
    return check_weights(as_weights(weight), len(keys), "series_weight")


@dataclass(frozen=True, eq=False)
class About:
    """What fit was told of the series beside their rows.

    Attributes
    ----------
    reader : StaticReader or None
        What reads static features, if there are some.
    static : dict of ndarray of shape (n_static,)
        Scaled static features of each series, empty if there are none.
    weight : dict of float
        Weight of each series in the loss.
    """

    reader: StaticReader | None
    static: dict[Hashable, np.ndarray]
    weight: dict[Hashable, float]

    @classmethod
    def read(cls, keys: Sequence[Hashable], static: Any, series_weight: Any) -> Self:
        """Return what is known of series, or raise if it is not valid."""
        weight = check_series_weight(series_weight, keys).tolist()
        weights = dict(zip(keys, weight, strict=True))
        if static is None:
            return cls(None, {}, weights)
        reader, features = StaticReader.fit(static, keys)
        return cls(reader, dict(zip(keys, features, strict=True)), weights)


# ------------------------------------------------------------------ order and scale


def canonical_order(blocks: Sequence[Columns]) -> list[int]:
    """Return an order of series that depends on their rows alone, and not on how they came."""
    keys = [
        (len(rows), *(zlib.crc32(np.ascontiguousarray(part).data) for part in vars(rows).values()))
        for rows in blocks
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)


def fit_like(encoder: SeriesEncoder, rows: Columns) -> SeriesEncoder:
    """Return an encoder with the scale of a series, and with the covariates of another one's."""
    own = SeriesEncoder(encoder.standardize, encoder.missing, fix_constants=encoder.fix_constants)
    return own.fit(rows.values, rows.covariates, counts=_counts(rows), like=encoder)


def _counts(rows: Columns) -> np.ndarray:
    """Return the rows whose targets count: those with a weight, or all if none is left of one."""
    counts = rows.weights > 0
    has_value = (counts[:, np.newaxis] & ~np.isnan(rows.values)).any(axis=0).all()
    return counts if has_value else np.ones_like(counts)


def scaled_series(
    encoder: SeriesEncoder,
    keys: Sequence[Hashable],
    series: Sequence[SeriesRows],
    train: Sequence[Columns],
) -> list[OneSeries]:
    """Return series that have a scale, learned from the rows to train on.

    Parameters
    ----------
    encoder : SeriesEncoder
        What is to be fitted.
    keys : sequence
        Names of the series.
    series : sequence of SeriesRows
        The series.
    train : sequence of Columns
        Their rows to train on. Covariates of all series have one scale.

    Raises
    ------
    ValueError
        If a target has no value, missing values are refused, or values are too large.
    """
    names = series[0].reader.form.names
    covariates = np.concatenate([rows.covariates for rows in train])
    scaled: list[OneSeries] = []
    for key, one, rows in zip(keys, series, train, strict=True):
        with naming(key):
            check_each_observed(rows.values, names, "to train on")
            if not scaled:
                encoder.fit(rows.values, covariates, counts=_counts(rows))
            own = fit_like(encoder, rows)
        scaled.append(OneSeries(one.reader, one.rows, own, 1.0, np.ones(len(names))))
    return scaled
