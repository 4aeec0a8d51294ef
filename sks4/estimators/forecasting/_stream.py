"""A fitted forecaster that reads series row by row."""

import copy
from typing import Any, Self

import numpy as np
import pandas as pd

from sks4._validation import check_integer
from sks4.data import Columns, EncodedSeries, TargetForm, as_sample
from sks4.estimators._streaming import check_sample
from sks4.estimators.forecasting._panel import OneSeries
from sks4.estimators.forecasting._predictor import WindowPredictor


class ForecasterStream:
    """Series that a fitted forecaster reads as they come, in constant memory.

    Made by :meth:`sks4.S4Forecaster.stream`. At any time, its forecast equals that of
    ``forecaster.forecast(history=...)`` on everything pushed so far. It keeps the last
    `context_length_` rows of each stream, and the last value before them, which stands for what is
    missing at their beginning. A missing value counts as one at once, also at the end.

    A stream has a copy of the weights, so that it does not change when the forecaster is trained
    further; it can be pickled and resumes where it was.

    Parameters
    ----------
    predictor : WindowPredictor
        Forecasts from windows, without covariates and calendar. It is copied.
    form : TargetForm
        The form of the targets in fit.
    n_streams : int, default=1
        Number of series side by side. A row is pushed to all at the same time; a stream that has
        none gets NaN.
    series : tuple of OneSeries or None, default=None
        The scale of each stream, and what else is known of it; None: that of the predictor.

    Attributes
    ----------
    n_pushed : int
        Number of rows that each stream has got.

    Raises
    ------
    ValueError
        If the forecaster reads covariates or a calendar, or `n_streams` is not positive.
    """

    n_pushed: int
    _recent: np.ndarray
    _before: np.ndarray

    def __init__(
        self,
        predictor: WindowPredictor,
        form: TargetForm,
        n_streams: int = 1,
        *,
        series: tuple[OneSeries, ...] | None = None,
    ) -> None:
        self.n_streams = check_integer("n_streams", n_streams)
        if predictor.windows.encoder.n_covariates_:
            raise ValueError(
                "The forecaster must have been fitted without covariates and calendar to make a "
                "stream, which carries values alone, got some; use update and forecast instead."
            )
        self._predictor = predictor.copy()
        self._series = series
        self._form = form
        self._n_kept = predictor.n_rows
        self.reset()

    def push(self, sample: Any) -> Self:
        """Read the next row, or several.

        Parameters
        ----------
        sample : array-like of shape (n_targets,) or (n_targets, n_timepoints)
            Raw values, NaN where missing. With several streams there is a leading axis,
            ``(n_streams, n_targets)`` or ``(n_streams, n_targets, n_timepoints)``. In a DataFrame
            the rows are time, as in `fit`.

        Returns
        -------
        self : ForecasterStream
            The stream.

        Raises
        ------
        ValueError
            If the shape does not fit, or a value is infinite, or too large, or is missing and must
            not be. The stream is then as before.
        TypeError
            If the values are not real numbers.
        """
        form, sample = self._form, as_sample(sample)
        if isinstance(sample, pd.DataFrame) and form.n_targets is not None:
            form.check_same(TargetForm.of(sample, sample.to_numpy()), "A sample")
        new = check_sample(sample, self.n_streams, len(self._form.names)).swapaxes(1, 2)
        if np.isinf(new).any():
            raise ValueError("A sample must hold finite values or NaN, got infinity.")
        if new.size:  # raises if it cannot be encoded, before anything has changed
            for stream, values in enumerate(new):
                self._encode(stream, values)
        rows = np.concatenate([self._recent, new], axis=1)  # (n_streams, n_rows, n_targets)
        n_gone = max(0, rows.shape[1] - self._n_kept)
        before = self._before
        if n_gone:
            latest = np.concatenate([before[:, np.newaxis], rows[:, :n_gone]], axis=1)[:, ::-1]
            newest = (~np.isnan(latest)).argmax(axis=1)  # (n_streams, n_targets)
            before = np.take_along_axis(latest, newest[:, np.newaxis], axis=1)[:, 0]
        # one assignment, so that an interrupt comes before or after it
        self.__dict__ |= {
            "_before": before,
            "_recent": rows[:, n_gone:].copy(),
            "n_pushed": self.n_pushed + new.shape[1],
        }
        return self

    def forecast(self, horizon: int | None = None) -> np.ndarray:
        """Return forecasts of the rows that follow those pushed.

        Parameters
        ----------
        horizon : int or None, default=None
            Number of rows; None: the horizon of the model, beyond which it rolls on over its own
            forecasts.

        Returns
        -------
        ndarray of shape (horizon,) or (horizon, n_targets), float64
            Forecasts, as of `forecast` without labels. With several streams there is a leading
            axis, ``(n_streams, horizon)`` or ``(n_streams, horizon, n_targets)``.

        Raises
        ------
        ValueError, TypeError
            If `horizon` is not a positive integer, fewer than `context_length_` rows were pushed,
            a target of a stream has had no value yet, or a forecast is not finite.
        """
        predictor = self._predictor
        n_steps = check_integer(
            "horizon", predictor.windows.horizon if horizon is None else horizon
        )
        self._check_context()
        # one after the other, each stream being the context of one origin, so they are one batch
        series = self._contexts()
        origins = len(series) // self.n_streams * np.arange(1, self.n_streams + 1)
        share = None
        if self._series is not None:
            share = np.array([one.share for one in self._series])
        outputs = predictor.point(predictor.roll_out(series, origins, n_steps, share=share))
        if self._series is not None:
            pairs = zip(self._series, outputs, strict=True)
            outputs = np.stack([one.restore(rows[..., np.newaxis])[..., 0] for one, rows in pairs])
        if self._form.n_targets is None:
            outputs = outputs[..., 0]  # (n_streams, horizon)
        return outputs[0] if self.n_streams == 1 else outputs

    def reset(self) -> Self:
        """Go back to the beginning of all streams."""
        shape = (self.n_streams, len(self._form.names))
        self.n_pushed = 0
        self._recent = np.empty((shape[0], 0, shape[1]))
        self._before = np.full(shape, np.nan)  # the last values before the recent rows
        return self

    def copy(self) -> Self:
        """Return an independent stream that has read the same; the weights are shared."""
        return copy.copy(self)  # arrays are replaced by a push, never changed

    def _check_context(self) -> None:
        """Raise ValueError if there is too little to forecast from."""
        context_length = self._predictor.windows.context_length
        if self.n_pushed < context_length:
            raise ValueError(
                f"A stream must have context_length_={context_length} rows at least before a "
                f"forecast, got {self.n_pushed}. Push more rows."
            )
        empty = np.isnan(self._before) & np.isnan(self._recent).all(axis=1)
        if empty.any():
            stream, target = np.argwhere(empty)[0]
            raise ValueError(
                f"Every target must have a value before a forecast, got only NaN for target "
                f"{self._form.names[target]!r} of stream {stream}. Push a value first."
            )

    def _contexts(self) -> EncodedSeries:
        """Return the contexts of the streams, encoded, as one series after each other."""
        rows = self._recent
        if self.n_pushed > self._n_kept:
            rows = np.concatenate([self._before[:, np.newaxis], rows], axis=1)
        return EncodedSeries.join([self._encode(i, values) for i, values in enumerate(rows)])

    def _encode(self, stream: int, values: np.ndarray) -> EncodedSeries:
        """Return rows (n_rows, n_targets) of a stream as the network reads them."""
        n_rows, windows = len(values), self._predictor.windows
        columns = Columns(values, np.empty((n_rows, 0)), np.ones(n_rows))
        if self._series is None:
            return windows.encode(columns)
        return self._series[stream].encode(columns, windows.dtype)
