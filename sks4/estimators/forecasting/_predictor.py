"""The forecaster as it was fitted: from rows of time to forecasts in the unit of the targets."""

import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from sks4.data import BucketBatchSampler, Columns, EncodedSeries, SeriesEncoder, WindowDataset
from sks4.estimators._auto import MAX_TOKENS
from sks4.estimators.forecasting._combined_forecast import CombinedForecast
from sks4.estimators.forecasting._conformal import interpolate_quantiles
from sks4.training import S4Net

# Origins that are forecast at once: each makes a whole horizon at first.
_MAX_ORIGINS = 500


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of some rows of time.

    Attributes
    ----------
    outputs : ndarray of shape (n_rows, n_targets, 1 or n_quantiles), float64
        Forecasts in the unit of the targets.
    steps : ndarray of shape (n_rows,), int
        How many steps after the last row known each one is, from 0.
    """

    outputs: np.ndarray
    steps: np.ndarray

    def __getitem__(self, rows: slice) -> "Forecasts":
        """Return the forecasts of some of the rows."""
        return Forecasts(self.outputs[rows], self.steps[rows])

    def followed_by(self, later: "Forecasts") -> "Forecasts":
        """Return these forecasts and those of later rows."""
        return Forecasts(
            np.concatenate([self.outputs, later.outputs]),
            np.concatenate([self.steps, later.steps]),
        )


@dataclass(frozen=True, eq=False)
class Windows:
    """How rows of time become windows for the net, and its outputs forecasts.

    Attributes
    ----------
    encoder : SeriesEncoder
        Scaling, and treatment of missing values.
    context_length, horizon : int
        Rows before and after the origin of a window.
    n_steps : int
        Steps of the state space in a window, over all targets.
    levels : ndarray of shape (n_quantiles,) or None
        Levels of the quantiles that the net forecasts; None: it makes one forecast.
    dtype : {"float32", "float64"}
        Type in which the net computes.
    """

    encoder: SeriesEncoder
    context_length: int
    horizon: int
    n_steps: int
    levels: np.ndarray | None
    dtype: str

    def encode(self, rows: Columns, ahead: np.ndarray | None = None) -> EncodedSeries:
        """Return rows, and perhaps covariates known ahead of them, as the net reads them.

        Targets of rows without weight count as missing.
        """
        covariates = rows.covariates
        if ahead is not None:
            covariates = np.concatenate([covariates, ahead])
        counts = rows.weights > 0
        return self.encoder.transform(rows.values, covariates, self.dtype, counts=counts)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs (..., n_targets, 1 or n_quantiles) in the unit of the targets."""
        return self.encoder.restore(outputs.swapaxes(-1, -2)).swapaxes(-1, -2)

    def around(self, series: EncodedSeries, origins: np.ndarray, **options: Any) -> WindowDataset:
        """Return the windows around some origins; see `WindowDataset` for the options."""
        return WindowDataset(
            series,
            origins,
            self.context_length,
            self.horizon,
            has_mask=self.encoder.has_mask_,
            **options,
        )

    def in_order(self, n_windows: int) -> BucketBatchSampler:
        """Return batches of windows that are not trained on."""
        return BucketBatchSampler(
            np.full(n_windows, self.n_steps), n_windows, max_tokens=MAX_TOKENS, shuffle=False
        )

    def shuffled(
        self, n_windows: int, batch_size: int, rng: np.random.Generator
    ) -> BucketBatchSampler:
        """Return batches of windows to train on."""
        return BucketBatchSampler(np.full(n_windows, self.n_steps), batch_size, seed=rng)


@dataclass(frozen=True, eq=False)
class WindowPredictor:
    """Forecast from the rows before any origins; complete in itself, and never changed.

    Attributes
    ----------
    net : S4Net
        The trained net.
    windows : Windows
        What it reads and writes.
    base : CombinedForecast or None
        The forecast that the net corrects; None if the net makes its forecasts alone.
    share : float
        Share of the difference between net and base that is added to the base, from 0 to 1.
    """

    net: S4Net
    windows: Windows
    base: CombinedForecast | None = None
    share: float = 1.0

    @property
    def n_rows(self) -> int:
        """Number of rows before an origin that forecasts read, where there are so many."""
        n_of_base = 0 if self.base is None else self.base.n_rows
        return max(self.windows.context_length, n_of_base)

    def copy(self) -> Self:
        """Return a predictor with weights of its own."""
        return replace(self, net=copy.deepcopy(self.net))

    def point(self, outputs: np.ndarray) -> np.ndarray:
        """Return the forecast itself of outputs (..., 1 or n_quantiles): the median of many."""
        if outputs.shape[-1] == 1:
            return outputs[..., 0]
        levels = self.windows.levels
        assert levels is not None
        if 0.5 in levels:
            return outputs[..., int(np.flatnonzero(levels == 0.5)[0])]
        middle = np.broadcast_to(0.5, outputs.shape[:-1] + (1,))
        return interpolate_quantiles(outputs, levels, middle)[..., 0]

    def roll_out(
        self,
        series: EncodedSeries,
        origins: np.ndarray,
        n_steps: int,
        *,
        share: np.ndarray | None = None,
    ) -> np.ndarray:
        """Forecast from every origin, beyond the horizon on the forecasts themselves.

        Parameters
        ----------
        series : EncodedSeries
            The rows.
        origins : ndarray of shape (n_origins,), int
            Number of rows before each forecast, one at least.
        n_steps : int
            Number of rows to forecast.
        share : ndarray of shape (n_origins,) or None, default=None
            Share of the net's correction at each origin; None: that of the predictor.

        Returns
        -------
        ndarray of shape (n_origins, n_steps, n_targets, 1 or n_quantiles), float64
            Forecasts in the unit of the targets; NaN for a target without a value before the
            origin.

        Raises
        ------
        ValueError
            If a forecast is not finite.
        """
        horizon, outputs = self.windows.horizon, []
        continuation: np.ndarray | None = None
        shares = np.full(len(origins), self.share) if share is None else share
        shares = shares[:, np.newaxis, np.newaxis, np.newaxis]
        is_known = series.is_known_before(torch.from_numpy(origins)).numpy()[:, np.newaxis]
        for n_ahead in range(0, n_steps, horizon):
            output = self._outputs(series, origins, shares, n_ahead, continuation)
            _check_finite(output, is_known[..., np.newaxis])
            outputs.append(output)
            point = np.where(is_known, self.point(output), 0).astype(output.dtype)
            known = point if continuation is None else np.concatenate([continuation, point], axis=1)
            continuation = known[:, -self.n_rows :]
        rolled = np.concatenate(outputs, axis=1)[:, :n_steps]
        return np.where(is_known[..., np.newaxis], self.windows.decode(rolled), np.nan)

    def _outputs(
        self,
        series: EncodedSeries,
        origins: np.ndarray,
        shares: np.ndarray,
        n_ahead: int,
        continuation: np.ndarray | None,
    ) -> np.ndarray:
        """Return scaled outputs (n_origins, horizon, n_targets, 1 or n_quantiles).

        `shares` are those of the net, shape (n_origins, 1, 1, 1).
        """
        if self.base is None or (shares == 1).all():
            return self._net_outputs(series, origins, n_ahead, continuation)
        output = self._base_outputs(series, origins, continuation)
        with np.errstate(over="ignore", invalid="ignore"):  # refused by `roll_out`
            if (shares > 0).any():
                corrected = self._net_outputs(series, origins, n_ahead, continuation)
                output = output + shares * (corrected - output)
            return output.astype(self.windows.dtype)

    def _net_outputs(
        self,
        series: EncodedSeries,
        origins: np.ndarray,
        n_ahead: int,
        continuation: np.ndarray | None,
    ) -> np.ndarray:
        """Return what the net forecasts, in the form of `_outputs`."""
        windows = self.windows
        dataset = windows.around(series, origins, n_ahead=n_ahead, continuation=continuation)
        output = self.net.predict_dataset(dataset, windows.in_order(len(origins)))
        if windows.levels is None:
            return output[..., np.newaxis]
        output.sort(axis=-1)  # quantiles are learned one by one, and may cross
        return output

    def _base_outputs(
        self, series: EncodedSeries, origins: np.ndarray, continuation: np.ndarray | None
    ) -> np.ndarray:
        """Return scaled forecasts of the base, shape (n_origins, horizon, n_targets, 1)."""
        assert self.base is not None
        length, parts = self.base.n_rows, []
        for start in range(0, len(origins), _MAX_ORIGINS):
            some = slice(start, start + _MAX_ORIGINS)
            contexts = series.known_before(origins[some], length)
            if continuation is not None:
                known = continuation[some].swapaxes(1, 2)  # (n_origins, n_targets, n_steps)
                contexts = np.concatenate([contexts, known], axis=-1)[..., -length:]
            parts.append(self.base.forecast(contexts, self.windows.horizon))
        return np.concatenate(parts).swapaxes(1, 2)[..., np.newaxis]

    # ------------------------------------------------------------------ forecasts

    def ahead(self, context: Columns, covariates: np.ndarray) -> Forecasts:
        """Forecast the rows that follow a context.

        Parameters
        ----------
        context : Columns
            The last `n_rows` known, `context_length` at least.
        covariates : ndarray of shape (n_steps, n_covariates)
            Covariates of the rows to forecast, perhaps no columns.

        Returns
        -------
        Forecasts
            One for each row of `covariates`.
        """
        n_steps = len(covariates)
        series = self.windows.encode(context, covariates)
        outputs = self.roll_out(series, np.array([len(context)]), n_steps)[0]
        return Forecasts(outputs, np.arange(n_steps))

    def one_step_ahead(self, rows: Columns, start: int, stop: int) -> Forecasts:
        """Forecast each of some known rows from the context before it."""
        series = self.windows.encode(rows)
        origins = np.arange(start, stop)
        parts = [
            self.roll_out(series, origins[first : first + _MAX_ORIGINS], 1)[:, 0]
            for first in range(0, len(origins), _MAX_ORIGINS)
        ]
        return Forecasts(np.concatenate(parts), np.zeros(len(origins), dtype=int))

    def backtest(
        self, rows: Columns, origins: np.ndarray, n_steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Forecast from origins within some rows.

        Returns
        -------
        outputs : ndarray of shape (n_origins, n_steps, n_targets, 1 or n_quantiles), float64
            Forecasts.
        truths : ndarray of shape (n_origins, n_steps, n_targets), float64
            Truths, NaN where missing or after the last row.
        """
        outputs = self.roll_out(self.windows.encode(rows), origins, n_steps)
        padding = np.full((n_steps, rows.values.shape[1]), np.nan)
        truths = np.lib.stride_tricks.sliding_window_view(
            np.concatenate([rows.values, padding]), n_steps, axis=0
        )[origins]
        return outputs, truths.swapaxes(1, 2)


def _check_finite(outputs: np.ndarray, is_known: np.ndarray) -> None:
    """Raise ValueError if a forecast of a known target is not a finite number."""
    if not np.isfinite(outputs, where=is_known, out=np.ones(outputs.shape, bool)).all():
        raise ValueError(
            "The model must give finite forecasts, got NaN or infinity. The values of the "
            "context are likely far outside the range of the training data."
        )
