"""Many series with one model, each in its own scale."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from sks4.data import (
    EncodedSeries,
    SeriesContainer,
    SeriesEncoder,
    TargetForm,
    TimeRows,
    check_each_observed,
    holds_many_series,
)
from sks4.estimators.forecasting._intervals import Intervals
from sks4.estimators.forecasting._predictor import Forecasts, WindowPredictor, Windows
from sks4.estimators.forecasting._reader import SeriesReader

# Series forecast at once, to bound the memory.
_AT_ONCE = 500

# Windows of an epoch, drawn at random if there are more, since windows overlap; and windows that
# validate and calibrate.
_MAX_WINDOWS, _MAX_VALIDATION = 100_000, 5_000

# Rows set aside of a series beyond the horizon, so that every step has several origins.
_MIN_ORIGINS = 10


@dataclass(frozen=True, eq=False)
class ManySeries:
    """Series of the same form, each with a timeline and a scale of its own.

    Attributes
    ----------
    container : SeriesContainer
        The form in which they came.
    readers : list of SeriesReader
        What reads each series.
    rows : list of TimeRows
        The series.
    encoders : list of SeriesEncoder
        The scale of each series.
    """

    container: SeriesContainer
    readers: list[SeriesReader]
    rows: list[TimeRows]
    encoders: list[SeriesEncoder]

    @classmethod
    def read(cls, data: Any, make_encoder: Callable[[], SeriesEncoder], name: str = "X") -> Self:
        """Read a container of series.

        Raises
        ------
        ValueError, TypeError
            If a series is not valid, or differs from the first in its columns or its steps.
        """
        container, items = SeriesContainer.split(data, name)
        readers, rows, encoders = [], [], []
        for position, item in enumerate(items):
            try:
                reader, of_item = SeriesReader.fit(item, None, None, None)
                columns = of_item.columns()
                check_each_observed(columns.values, reader.form.names, "of the series")
                check_same_kind(readers[0] if readers else reader, reader)
                encoder = make_encoder().fit(columns.values, columns.covariates)
            except (ValueError, TypeError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"In {container.name_of(position)}: {error}") from error
            readers.append(reader)
            rows.append(of_item)
            encoders.append(encoder)
        return cls(container, readers, rows, encoders)

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self.rows)

    @property
    def form(self) -> TargetForm:
        """Form of the targets, that of the first series."""
        return self.readers[0].form


def check_same_kind(first: SeriesReader, other: SeriesReader) -> None:
    """Raise ValueError if a series has other columns, labels or steps than the first one."""
    first.form.check_same(other.form, "The series")
    timelines = first.timeline, other.timeline
    kinds = [_kind_of_labels(timeline) for timeline in timelines]
    if kinds[0] != kinds[1] and min(map(len, timelines)) > 1:  # one row has no steps
        raise ValueError(
            f"All series must have labels of one kind, steps and time zone, got {kinds[1]} and in "
            f"the first series {kinds[0]}. Resample the series to one frequency, or fit them "
            "apart."
        )


def _kind_of_labels(timeline: Any) -> str:
    """Return kind, step and time zone of the labels of a series."""
    if not timeline.has_labels:
        return "no index"
    labels = timeline.labels()
    zone = getattr(labels, "tz", None)
    name = f"{type(labels).__name__} in steps of {timeline.step_name}"
    return name if zone is None else f"{name} in {zone}"


# ------------------------------------------------------------------ training


@dataclass(frozen=True, eq=False)
class JoinedSeries:
    """Encoded series one after the other, and the origins of windows that lie within one.

    Attributes
    ----------
    series : EncodedSeries
        All rows, those of each series after half a context without values.
    train, valid : ndarray of int
        Origins of windows to train on, and of those whose horizons follow the training rows.
    """

    series: EncodedSeries
    train: np.ndarray
    valid: np.ndarray

    @classmethod
    def of(cls, many: ManySeries, windows: Windows, n_valid: Sequence[int]) -> Self:
        """Join series, the last rows of each of which validate."""
        length, horizon = windows.context_length, windows.horizon
        parts, train, valid, start = [], [], [], 0
        for rows, encoder, n_aside in zip(many.rows, many.encoders, n_valid, strict=True):
            part = encode(rows, encoder, windows, length // 2)
            stop = start + len(part)
            train.append(np.arange(start + length, stop - n_aside - horizon + 1))
            if n_aside:
                valid.append(np.arange(stop - n_aside, stop - horizon + 1))
            parts.append(part)
            start = stop
        empty = np.empty(0, dtype=int)
        return cls(join(parts), np.concatenate([empty, *train]), np.concatenate([empty, *valid]))

    def drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the origins to train and to validate on, at random if there are very many."""
        return _drawn(self.train, _MAX_WINDOWS, rng), _drawn(self.valid, _MAX_VALIDATION, rng)


def _drawn(origins: np.ndarray, n_most: int, rng: np.random.Generator) -> np.ndarray:
    if len(origins) <= n_most:
        return origins
    return np.sort(rng.choice(origins, n_most, replace=False))


def rows_to_validate_on(
    lengths: Sequence[int], horizon: int, context_length: int, fraction: float
) -> list[int]:
    """Return how many of the last rows of each series to set aside, 0 of short ones."""
    wanted = [max(math.ceil(fraction * n_rows), horizon + _MIN_ORIGINS) for n_rows in lengths]
    shortest = context_length + horizon
    return [n if n_rows - 2 * n >= shortest else 0 for n_rows, n in zip(lengths, wanted)]


def encode(
    rows: TimeRows, encoder: SeriesEncoder, windows: Windows, n_before: int
) -> EncodedSeries:
    """Return a series as the network reads it, after rows without values.

    There are `n_before` of these at least, and as many as a context needs.
    """
    series = replace(windows, encoder=encoder).encode(rows.columns())
    return series.after_gap(max(n_before, windows.context_length - len(series)))


def join(parts: Sequence[EncodedSeries]) -> EncodedSeries:
    """Return series one after the other."""
    return EncodedSeries(
        torch.cat([part.values for part in parts]),
        torch.cat([part.observed for part in parts]),
        torch.cat([part.covariates for part in parts]),
    )


# ------------------------------------------------------------------ forecasts


@dataclass(frozen=True, eq=False)
class ManyForecaster:
    """One trained net and the series that its forecasts follow.

    Attributes
    ----------
    many : ManySeries
        The series seen.
    predictor : WindowPredictor
        The net, in scaled units.
    intervals : Intervals
        Errors of all series, in scaled units.
    make_encoder : callable
        Returns an encoder that is not fitted.
    """

    many: ManySeries
    predictor: WindowPredictor
    intervals: Intervals
    make_encoder: Callable[[], SeriesEncoder]

    def forecast(self, history: Any, n_steps: int, coverage: float | None) -> Any:
        """Return forecasts in the form of the container, that of `history` if there is one.

        Raises
        ------
        ValueError, TypeError
            If `history` is not of the form of fit.
        """
        if history is None:
            return self.many.container.join(self._forecasts(self.many, n_steps, coverage))
        is_one = not holds_many_series(history)
        many = ManySeries.read([history] if is_one else history, self.make_encoder, "history")
        check_same_kind(self.many.readers[0], many.readers[0])
        forecasts = self._forecasts(many, n_steps, coverage)
        return forecasts[0] if is_one else many.container.join(forecasts)

    def _forecasts(self, many: ManySeries, n_steps: int, coverage: float | None) -> list[Any]:
        """Return the forecast of each series."""
        forecasts = []
        for first in range(0, len(many), _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, len(many)))
            for position, outputs in zip(some, self._outputs(many, some, n_steps), strict=True):
                forecasts.append(self._labeled(many, position, outputs, coverage))
        return forecasts

    def _outputs(self, many: ManySeries, some: range, n_steps: int) -> np.ndarray:
        """Return scaled outputs of some series, (n_series, n_steps, n_targets, n_outputs)."""
        windows = self.predictor.windows
        parts = []
        for position in some:
            rows = many.rows[position]
            latest = TimeRows((rows.latest(windows.context_length),), rows.timeline)
            parts.append(encode(latest, many.encoders[position], windows, 0))
        origins = np.cumsum([len(part) for part in parts])
        return self.predictor.roll_out(join(parts), origins, n_steps)

    def _labeled(
        self, many: ManySeries, position: int, outputs: np.ndarray, coverage: float | None
    ) -> Any:
        """Return the forecast of a series in its unit, with its labels."""
        form, encoder = many.readers[position].form, many.encoders[position]
        timeline = many.rows[position].timeline
        point = encoder.restore(self.predictor.point(outputs))
        labels = timeline.following(len(point))
        if coverage is None:
            has_labels = timeline.has_labels or many.container.kind == "rows"
            return form.label(point, labels if has_labels else None)
        ends = self.intervals.interval(Forecasts(outputs, np.arange(len(outputs))), coverage)
        interval = encoder.restore(ends.swapaxes(-1, -2)).swapaxes(-1, -2)
        return form.label_interval(point, interval, labels)
