"""Forecasts of many series by one model, in the container in which the series came."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from sks4._compat import n_samples_of
from sks4._validation import check_integer, check_weights
from sks4.data import (
    Columns,
    EncodedSeries,
    SeriesContainer,
    SeriesItems,
    TimeRows,
    as_weights,
    check_each_observed,
    holds_many_series,
    plain_data,
)
from sks4.estimators._targets import r_squared
from sks4.estimators.forecasting._backtest import backtest_frame, backtest_origins
from sks4.estimators.forecasting._intervals import Intervals, by_time_of_truth, rows_at_once
from sks4.estimators.forecasting._panel import (
    OneSeries,
    StaticReader,
    fit_like,
    naming,
    read_like,
)
from sks4.estimators.forecasting._panel_training import Fitted
from sks4.estimators.forecasting._predictor import Forecasts, WindowPredictor
from sks4.estimators.forecasting._stream import ForecasterStream
from sks4.estimators.forecasting._training import latest_windows

# Rows that are encoded at once, and origins that are forecast at once, to bound the memory.
_MAX_ROWS, _MAX_ORIGINS = 200_000, 1000


@dataclass(frozen=True, eq=False)
class Job:
    """Some origins in a series, from which as many steps are forecast.

    Attributes
    ----------
    series : OneSeries
        The series, with its scale.
    rows : Columns
        The rows known.
    origins : ndarray of shape (n_origins,), int
        Number of these rows before each forecast.
    n_steps : int
        Rows to forecast.
    ahead : ndarray of shape (n_rows, n_covariates) or None
        Covariates of the rows that follow; None where no origin is after the last row.
    """

    series: OneSeries
    rows: Columns
    origins: np.ndarray
    n_steps: int
    ahead: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class PanelForecaster:
    """What forecasts many series; never changed.

    Attributes
    ----------
    container : SeriesContainer
        The form in which they came.
    known : dict of OneSeries
        The series, by name, in the order in which they came.
    usual : OneSeries
        Form, share and errors of a new series.
    predictor : WindowPredictor
        The net and the base, in the scale of each series.
    intervals : Intervals
        Errors of all series, each in the scale of the series over its usual error.
    static : StaticReader or None
        What reads the static features of new series, if fit got some.
    """

    container: SeriesContainer
    known: dict[Hashable, OneSeries]
    usual: OneSeries
    predictor: WindowPredictor
    intervals: Intervals
    static: StaticReader | None

    @classmethod
    def of(
        cls,
        container: SeriesContainer,
        ids: Sequence[Hashable],
        fitted: Fitted,
        static: StaticReader | None,
    ) -> Self:
        """Return a forecaster of series in the order of `ids`."""
        known = {key: fitted.known[key] for key in ids}
        return cls(container, known, fitted.usual, fitted.predictor, fitted.intervals, static)

    def attributes(self) -> dict[str, Any]:
        """Return it as fitted attributes of an estimator."""
        base = self.predictor.base
        return self.usual.reader.features.attributes() | {
            "context_length_": self.predictor.windows.context_length,
            "encoder_": [one.encoder for one in self.known.values()],
            "base_": None if base is None else base.base.name,
            "base_weight_": 1.0 if base is None else base.weight,
            "base_correction_": self.predictor.share,
            "_panel_": self,
        }

    # ------------------------------------------------------------------ forecasts

    def forecast(
        self,
        horizon: int | None,
        history: Any,
        X_future: Any,
        coverage: float | None,
        static: Any = None,
    ) -> Any:
        """Return forecasts of the rows that follow those seen, or those of other series."""
        is_one = history is not None and not self._is_many(history)
        series: dict[Hashable, OneSeries]
        if is_one:
            series = {"history": self._new(history, "history")}
            future: dict[Hashable, Any] = {} if X_future is None else {"history": X_future}
        else:
            series = self.known if history is None else self._read_history(history)
            future = self._by_id(X_future, "X_future", series)
        series = self._with_static(series, static, is_one=is_one)
        jobs = [self._job_ahead(key, one, horizon, future.get(key)) for key, one in series.items()]
        forecasts = [
            self._labeled(job.series, outputs[0], coverage)
            for job, outputs in zip(jobs, self._roll_out(jobs), strict=True)
        ]
        return forecasts[0] if is_one else self.container.join(list(series), forecasts)

    def _with_static(
        self, series: dict[Hashable, OneSeries], static: Any, *, is_one: bool
    ) -> dict[Hashable, OneSeries]:
        """Return series with static features; those that were not in fit need some."""
        new = [key for key, one in series.items() if not self._has_seen(key, one)]
        if self.static is None or not new:
            if static is not None:
                raise ValueError("static must be None, unless fit got some and series are new.")
            return series
        if is_one and static is not None:  # one row without a name
            static = np.atleast_2d(np.asarray(plain_data(static), dtype=np.float64))
        features = dict(zip(new, self.static.read(static, new), strict=True))
        return {
            key: replace(one, static=features[key]) if key in features else one
            for key, one in series.items()
        }

    def _has_seen(self, key: Hashable, one: OneSeries) -> bool:
        """Return whether a series was in fit: those of a history in a list never were."""
        return key in self.known and self.known[key].encoder is one.encoder

    def _is_many(self, history: Any) -> bool:
        """Return whether a history is of several series, in the container of fit."""
        return self.container.kind == "long" or holds_many_series(
            history[0] if isinstance(history, tuple) and len(history) == 2 else history
        )

    def _read_history(self, history: Any) -> dict[Hashable, OneSeries]:
        """Return the series of a history: known ones by their name keep their scale."""
        is_pair = isinstance(history, tuple) and len(history) == 2
        X, y = history if is_pair else (history, None)
        container = self.container
        if container.kind not in ("long", "rows") and not is_pair:
            container = SeriesContainer.of(X)
        items = container.split(X, y, name="history")
        return {
            key: self._new(item if y is not None or item[1] is not None else item[0], key)
            for key, item in zip(items.ids, items.items, strict=True)
        }

    def _new(self, history: Any, key: Hashable) -> OneSeries:
        """Return a series with other rows than those seen."""
        is_pair = isinstance(history, tuple) and len(history) == 2
        X, y = history if is_pair else (history, None)
        known = self.known.get(key) if self.container.kind != "list" else None
        like = self.usual if known is None else known
        with naming(key):
            read = read_like(like.reader, X, y)
            rows = read.rows.columns()
            check_each_observed(rows.values, like.reader.form.names, "of history")
            encoder = like.encoder if known is not None else fit_like(like.encoder, rows)
        return replace(like, reader=read.reader, rows=read.rows, encoder=encoder)

    def _job_ahead(self, key: Hashable, one: OneSeries, horizon: int | None, X_future: Any) -> Job:
        """Return the forecast of the rows that follow those of a series."""
        windows = self.predictor.windows
        if horizon is None:
            horizon = windows.horizon if X_future is None else n_samples_of(X_future)
        n_steps = check_integer("horizon", horizon)
        with naming(key):
            covariates = one.reader.future(X_future, one.rows.timeline, n_steps)
        return self._ahead(one, covariates)

    def _ahead(self, one: OneSeries, covariates: np.ndarray) -> Job:
        context = one.rows.latest(self.predictor.n_rows)
        return Job(one, context, np.array([len(context)]), len(covariates), covariates)

    def _labeled(self, one: OneSeries, outputs: np.ndarray, coverage: float | None) -> Any:
        """Return the forecast (n_steps, n_targets, n_outputs) of the rows that follow, labeled."""
        point = self._point(one, outputs)
        timeline, form = one.rows.timeline, one.reader.form
        labels = timeline.following(len(point))
        if coverage is None:
            return form.label(point, labels if timeline.has_labels else None)
        interval = self._interval(one, Forecasts(outputs, np.arange(len(outputs))), coverage)
        return form.label_interval(point, interval, labels)

    # ------------------------------------------------------------------ rows that are requested

    def predict(self, X: Any) -> Any:
        """Return one forecast for each row of X."""
        items = self.container.split(X, has_targets=False)
        parts = [
            one.reader.form.arrange(self._point(one, of_one.outputs))
            for one, of_one in self._forecasts(items)
        ]
        return self.container.arrange(items, parts, self._names("forecast"))

    def predict_quantiles(self, X: Any, levels: np.ndarray) -> Any:
        """Return quantiles of the forecast of each row of X."""
        items = self.container.split(X, has_targets=False)
        parts = []
        for one, of_one in self._forecasts(items):
            scaled = Forecasts(of_one.outputs / one.unit[:, np.newaxis], of_one.steps)
            quantiles = self.intervals.quantiles(scaled, levels) * one.unit[:, np.newaxis]
            parts.append(one.reader.form.arrange(one.restore(quantiles)))
        return self.container.arrange(items, parts, self._names(*levels.tolist()))

    def predict_interval(self, X: Any, coverage: float) -> Any:
        """Return an interval for each row of X."""
        items = self.container.split(X, has_targets=False)
        parts = [
            one.reader.form.arrange(self._interval(one, of_one, coverage))
            for one, of_one in self._forecasts(items)
        ]
        return self.container.arrange(items, parts, self._names("lower", "upper"))

    def _point(self, one: OneSeries, outputs: np.ndarray) -> np.ndarray:
        """Return the forecast of outputs (..., n_targets, n_outputs) in the unit of the targets."""
        return one.restore(self.predictor.point(outputs)[..., np.newaxis])[..., 0]

    def _interval(self, one: OneSeries, forecasts: Forecasts, coverage: float) -> np.ndarray:
        """Return the ends of intervals (n_rows, n_targets, 2) in the unit of the targets."""
        unit = one.unit[:, np.newaxis]
        scaled = Forecasts(forecasts.outputs / unit, forecasts.steps)
        return one.restore(self.intervals.interval(scaled, coverage) * unit)

    def _names(self, *parts: Any) -> Any:
        """Return the name of a result, or those of its columns, below the name of each target."""
        form = self.usual.reader.form
        if parts == ("forecast",):
            return form.names if form.n_targets is not None else "forecast"
        return form.names_with(pd.Index(parts))

    def _forecasts(self, items: SeriesItems) -> list[tuple[OneSeries, Forecasts]]:
        """Forecast the rows that are requested of each series."""
        jobs: list[Job] = []
        numbers: list[range] = []
        skipped = []
        for key, (rows, _) in zip(items.ids, items.items, strict=True):
            with naming(key):
                some, n_gap = self._jobs_of(self._known(key), rows)
            numbers.append(range(len(jobs), len(jobs) + len(some)))
            skipped.append(n_gap)
            jobs += some
        outputs = list(self._roll_out(jobs))
        forecasts = []
        for key, which, n_gap in zip(items.ids, numbers, skipped, strict=True):
            parts = [_in_order(outputs[i]) for i in which]
            joined = parts[0] if len(parts) == 1 else parts[0].followed_by(parts[1])
            forecasts.append((self.known[key], joined[n_gap:]))
        return forecasts

    def _jobs_of(self, one: OneSeries, X: Any) -> tuple[list[Job], int]:
        """Return what forecasts the rows that X requests, and how many of the first to skip."""
        reader, seen = one.reader, one.rows
        start, covariates = reader.requested(X, seen)
        if start >= len(seen):
            return [self._ahead(one, reader.ahead(seen, start, covariates))], start - len(seen)
        reader.check_start(start, seen, self.predictor.windows.context_length)
        rows = seen.columns().with_covariates(start, covariates)
        stop = start + len(covariates)
        jobs = [Job(one, rows, np.arange(start, min(stop, len(seen))), 1)]
        if stop > len(seen):
            ahead = covariates[len(seen) - start :]
            jobs.append(Job(one, rows, np.array([len(rows)]), len(ahead), ahead))
        return jobs, 0

    def _known(self, key: Hashable) -> OneSeries:
        """Return a series that was seen, or raise."""
        if key not in self.known:
            some = ", ".join(map(repr, list(self.known)[:5]))
            raise ValueError(
                f"This series was not in fit, which had {len(self.known)}: {some}"
                f"{', ...' if len(self.known) > 5 else ''}. Forecast a new one with "
                "forecast(history=...)."
            )
        return self.known[key]

    def _by_id(
        self, data: Any, name: str, series: dict[Hashable, OneSeries]
    ) -> dict[Hashable, Any]:
        """Return the parts of data for some series, by name."""
        if data is None:
            return {}
        items = self.container.split(data, name=name, has_targets=False)
        unknown = [key for key in items.ids if key not in series]
        if unknown:
            raise ValueError(
                f"{name} must be of the series to forecast, got also {unknown[0]!r}. Leave it out."
            )
        return {key: X for key, (X, _) in zip(items.ids, items.items, strict=True)}

    # ------------------------------------------------------------------ scores

    def score(self, X: Any, y: Any, sample_weight: Any) -> float:
        """Return the coefficient of determination, averaged over the series."""
        items = self.container.split(X, y)
        weights = self.container.split_weights(sample_weight, items) or [None] * len(items.ids)
        scores = []
        for key, (rows, truth), of_rows, (one, forecasts) in zip(
            items.ids, items.items, weights, self._forecasts(items), strict=True
        ):
            with naming(key):
                true = one.reader.truth(rows, truth, one.rows)
                point = one.reader.form.arrange(self._point(one, forecasts.outputs))
                is_known = ~np.isnan(np.column_stack([true, point])).any(axis=1)
                of_each = check_weights(as_weights(of_rows), len(true))
                if is_known.sum() > 1:  # no variance of one value
                    of_each = of_each[is_known]
                    scores.append(r_squared(true[is_known], point[is_known], of_each))
        if not scores:
            raise ValueError("A score needs two rows with a truth in a series, got none.")
        return float(np.mean(scores))

    def backtest(
        self,
        X: Any,
        y: Any,
        horizon: int | None,
        stride: int,
        levels: Sequence[float] | None,
    ) -> pd.DataFrame:
        """Forecast from every origin in some rows of each series."""
        windows = self.predictor.windows
        n_steps = check_integer("horizon", windows.horizon if horizon is None else horizon)
        stride = check_integer("stride", stride)
        items = self.container.split(X, y)
        jobs, labels = [], []
        for key, item in zip(items.ids, items.items, strict=True):
            with naming(key):
                one = self._known(key)
                rows = one.reader.read(*item)
                origins = backtest_origins(
                    len(rows),
                    windows.context_length,
                    n_steps,
                    stride,
                    advice="Pass also the rows before the first origin, or leave the series out.",
                )
                columns = rows.columns()
                check_each_observed(columns.values, one.reader.form.names, "passed")
            jobs.append(Job(one, columns, origins, n_steps))
            labels.append(rows.timeline.labels()[origins - 1])
        frames = [
            self._backtest_frame(job, outputs, index, levels)
            for job, outputs, index in zip(jobs, self._roll_out(jobs), labels, strict=True)
        ]
        table = pd.concat(frames, ignore_index=True)
        lengths = [len(frame) for frame in frames]
        table.insert(0, "series", pd.Index(items.ids, tupleize_cols=False).repeat(lengths))
        return table

    def _backtest_frame(
        self, job: Job, outputs: np.ndarray, labels: pd.Index, levels: Sequence[float] | None
    ) -> pd.DataFrame:
        """Return the table of one series."""
        one, truths = job.series, _truths(job)
        unit = one.unit[:, np.newaxis]
        quantiles = self.intervals.of_origins(outputs / unit, levels)
        restored = {
            level: one.restore((values * one.unit)[..., np.newaxis])[..., 0]
            for level, values in quantiles.items()
        }
        point = self._point(one, outputs)
        return backtest_frame(labels, one.reader.form.names, truths, point, restored)

    # ------------------------------------------------------------------ rows that were observed

    def observed(self, items: SeriesItems, weights: Sequence[Any] | None = None) -> Self:
        """Return a forecaster that has seen further rows, and whose intervals learned from them."""
        known, new = dict(self.known), {}
        of_each = weights or [None] * len(items.ids)
        for key, item, of_rows in zip(items.ids, items.items, of_each, strict=True):
            with naming(key):
                one = self._known(key)
                rows = one.reader.read_following(one.rows, *item, of_rows)
                one.encoder.check(rows.columns().values)
            new[key] = rows
        intervals, windows = self.intervals, self.predictor.windows
        at_once = rows_at_once(windows.horizon, windows.encoder.n_targets_ * len(new))
        for pieces in _ending_together(new, at_once):
            for key, rows in pieces.items():
                known[key] = replace(known[key], rows=known[key].rows.followed_by(rows))
            latest = [(known[key], len(rows)) for key, rows in pieces.items()]
            intervals = self._learned(intervals, latest)
        return replace(self, known=known, intervals=intervals)

    def _learned(self, intervals: Intervals, new: Sequence[tuple[OneSeries, int]]) -> Intervals:
        """Return intervals that learned from the last rows of some series, in order of time."""
        windows = self.predictor.windows
        if not intervals.adapts:
            return intervals
        jobs, counts = [], []
        for one, n_new in new:
            n_rows = len(one.rows)
            first = max(windows.context_length, n_rows - n_new + 1 - windows.horizon)
            if first < n_rows:
                columns = one.rows.latest(n_rows - first + self.predictor.n_rows)
                origins = np.arange(first, n_rows) - (n_rows - len(columns))
                jobs.append(Job(one, columns, origins, windows.horizon))
                counts.append(n_new)
        if not jobs:
            return intervals
        outputs, truths, times = [], [], []
        for job, n_new, of_job in zip(jobs, counts, self._roll_out(jobs), strict=True):
            scaled, of_rows = self._scaled(job, of_job)
            by_time = by_time_of_truth(scaled, of_rows, n_new)
            outputs.append(by_time[0])
            truths.append(by_time[1])
            times.append(np.arange(-n_new, 0))
        order = np.argsort(np.concatenate(times), kind="stable")
        return intervals.take_in(np.concatenate(outputs)[order], np.concatenate(truths)[order])

    def _scaled(self, job: Job, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return forecasts and truths in the scale of a series over its usual error."""
        one, scaler = job.series, job.series.encoder.target_scaler_
        truths = _truths(job)
        if scaler is not None:
            truths = scaler.transform(truths)
        return outputs / one.unit[:, np.newaxis], truths / one.unit

    def latest_windows(
        self, before: "PanelForecaster", keys: Sequence[Hashable]
    ) -> tuple[EncodedSeries, np.ndarray, np.ndarray] | None:
        """Return windows that end in the rows that were not seen before, None for none.

        Returns
        -------
        joined : EncodedSeries
            The last rows of each series, one after the other.
        weights : ndarray of shape (n_timepoints,)
            Their weights.
        origins : ndarray of shape (n_windows,), int
            Origins of the windows.
        """
        windows = self.predictor.windows
        parts, weights, origins, start = [], [], [], 0
        for key in keys:
            one, n_before = self.known[key], len(before.known[key].rows)
            columns, some = latest_windows(windows, one.rows, len(one.rows) - n_before)
            if len(some):
                parts.append(one.encode(columns, windows.dtype))
                weights.append(columns.weights)
                origins.append(start + some)
                start += len(columns)
        if not parts:
            return None
        return EncodedSeries.join(parts), np.concatenate(weights), np.concatenate(origins)

    def stream(self, keys: Sequence[Hashable] | None) -> ForecasterStream:
        """Return a stream for each of some series."""
        chosen = list(self.known) if keys is None else list(keys)
        if not chosen:
            raise ValueError("series must name one series at least, got none.")
        series = []
        for key in chosen:
            with naming(key):
                series.append(self._known(key))
        return ForecasterStream(
            self.predictor, self.usual.reader.form, len(series), series=tuple(series)
        )

    # ------------------------------------------------------------------ batches over series

    def _roll_out(self, jobs: Sequence[Job]) -> Iterator[np.ndarray]:
        """Yield scaled outputs (n_origins, n_steps, n_targets, n_outputs) of each job."""
        results: dict[int, np.ndarray] = {}
        for n_steps in sorted({job.n_steps for job in jobs}):
            chosen = [i for i, job in enumerate(jobs) if job.n_steps == n_steps]
            for some in _in_chunks(chosen, jobs):
                outputs = self._roll_out_chunk([jobs[i] for i in some], n_steps)
                results.update(zip(some, outputs, strict=True))
        return iter([results[i] for i in range(len(jobs))])

    def _roll_out_chunk(self, jobs: Sequence[Job], n_steps: int) -> list[np.ndarray]:
        """Return the outputs of jobs of as many steps."""
        dtype = self.predictor.windows.dtype
        parts = [job.series.encode(job.rows, dtype, job.ahead) for job in jobs]
        starts = np.cumsum([0] + [len(part) for part in parts[:-1]])
        counts = [len(job.origins) for job in jobs]
        origins = np.concatenate(
            [start + job.origins for start, job in zip(starts, jobs, strict=True)]
        )
        share = np.repeat([job.series.share for job in jobs], counts)
        joined = EncodedSeries.join(parts)
        outputs = [
            self.predictor.roll_out(joined, origins[some], n_steps, share=share[some])
            for some in _slices(len(origins))
        ]
        return np.split(np.concatenate(outputs), np.cumsum(counts)[:-1])


def _truths(job: Job) -> np.ndarray:
    """Return what followed each origin, (n_origins, n_steps, n_targets), NaN where unknown."""
    rows = job.origins[:, np.newaxis] + np.arange(job.n_steps)
    inside = np.minimum(rows, len(job.rows) - 1)
    return np.where((rows == inside)[..., np.newaxis], job.rows.values[inside], np.nan)


def _ending_together(
    new: Mapping[Hashable, TimeRows], n_rows: int
) -> Iterator[dict[Hashable, TimeRows]]:
    """Yield the rows of several series in pieces of `n_rows` or less, in order of time."""
    pieces = {key: list(rows.pieces(n_rows)) for key, rows in new.items()}
    for n_left in range(max(map(len, pieces.values()), default=0), 0, -1):
        yield {key: some[-n_left] for key, some in pieces.items() if len(some) >= n_left}


def _slices(n_origins: int) -> list[slice]:
    return [slice(i, i + _MAX_ORIGINS) for i in range(0, n_origins, _MAX_ORIGINS)]


def _in_order(outputs: np.ndarray) -> Forecasts:
    """Return outputs of one origin, or of one step from many, as forecasts of rows."""
    if len(outputs) == 1:
        return Forecasts(outputs[0], np.arange(outputs.shape[1]))
    return Forecasts(outputs[:, 0], np.zeros(len(outputs), dtype=int))


def _in_chunks(chosen: Sequence[int], jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Cut jobs so that each part has few rows and origins, or is one job."""
    part: list[int] = []
    n_rows = n_origins = 0
    for i in chosen:
        n_rows += len(jobs[i].rows)
        n_origins += len(jobs[i].origins)
        if part and (n_rows > _MAX_ROWS or n_origins > _MAX_ORIGINS):
            yield part
            part, n_rows, n_origins = [], len(jobs[i].rows), len(jobs[i].origins)
        part.append(i)
    if part:
        yield part
