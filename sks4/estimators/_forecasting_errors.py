"""Forecasts from many origins, how wrong they were, and what that says of those to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sks4._validation import check_positive
from sks4.data import EncodedSeries
from sks4.estimators._conformal import (
    ErrorDistribution,
    interpolate_quantiles,
    rank_in_quantiles,
)
from sks4.estimators._forecasting_base import ForecastingS4, check_levels
from sks4.estimators._observations import Observations

# More validation origins than these say little more, since their horizons overlap.
_MAX_ORIGINS = 500


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of some rows of time.

    Attributes
    ----------
    outputs : ndarray of shape (n_rows, n_targets, 1 or n_quantiles), float64
        What the model says, in the unit of the targets.
    steps : ndarray of shape (n_rows,), int
        How many steps after the last row known each one is, from 0.
    """

    outputs: np.ndarray
    steps: np.ndarray


@dataclass(kw_only=True, eq=False, repr=False)
class CalibratedS4(ForecastingS4):
    """Base of the forecaster: forecasts, their errors, quantiles and intervals."""

    # ------------------------------------------------------------------ forecasts

    def _roll_out(self, series: EncodedSeries, origins: np.ndarray, n_steps: int) -> np.ndarray:
        """Forecast from every origin, beyond the horizon on the forecasts themselves.

        Returns an array of shape (n_origins, n_steps, n_targets, 1 or n_quantiles), float64, in
        the unit of the targets.
        """
        outputs: list[np.ndarray] = []
        continuation: np.ndarray | None = None
        sampler = self._sampler(len(origins))
        for n_ahead in range(0, n_steps, self._horizon_):
            dataset = self._dataset(series, origins, n_ahead=n_ahead, continuation=continuation)
            output = self.net_.predict_dataset(dataset, sampler)
            self._check_finite(output)
            if self._learned_levels_ is not None:
                output.sort(axis=-1)  # quantiles are learned one by one, and may cross
            else:
                output = output[..., np.newaxis]
            outputs.append(output)
            point = self._point(output).astype(output.dtype)
            known = point if continuation is None else np.concatenate([continuation, point], axis=1)
            continuation = known[:, -self.context_length_ :]
        rolled = np.concatenate(outputs, axis=1)[:, :n_steps]
        return self.encoder_.restore(rolled.swapaxes(-1, -2)).swapaxes(-1, -2)

    def _point(self, outputs: np.ndarray) -> np.ndarray:
        """Return the forecast itself of outputs (..., 1 or n_quantiles): the median of many."""
        if outputs.shape[-1] == 1:
            return outputs[..., 0]
        levels = self._learned_levels_
        assert levels is not None
        if 0.5 in levels:
            return outputs[..., int(np.flatnonzero(levels == 0.5)[0])]
        middle = np.broadcast_to(0.5, outputs.shape[:-1] + (1,))
        return interpolate_quantiles(outputs, levels, middle)[..., 0]

    def _forecasts(self, X: Any) -> Forecasts:
        """Forecast the rows that X asks for: those seen from the rows before, others from all."""
        start, covariates = self._requested(X)
        seen, stop = self._seen_, start + len(covariates)
        if start < min(self.context_length_, len(seen)):  # so X has an index
            labels = seen.timeline.labels()
            raise ValueError(
                f"X must begin after the first context_length_={self.context_length_} rows of fit, "
                f"from which the first forecast follows, got the index from {labels[start]} on, "
                f"row {start} of fit. Leave these rows out. If X is of rows that follow those of "
                f"fit, its index must go on from {seen.timeline.following(1)[0]}: set it, or pass "
                "X.to_numpy()."
            )
        series = self._encode(seen, self._known_ahead(start, covariates))
        inside = np.arange(start, min(stop, len(seen)))
        parts = []
        for first in range(0, len(inside), _MAX_ORIGINS):  # each makes a whole horizon at first
            origins = inside[first : first + _MAX_ORIGINS]
            parts.append(self._roll_out(series, origins, 1)[:, 0])
        if stop > len(seen):
            ahead = self._roll_out(series, np.array([len(seen)]), stop - len(seen))[0]
            parts.append(ahead[max(0, start - len(seen)) :])
        steps = np.maximum(np.arange(start, stop) - len(seen), 0)
        return Forecasts(np.concatenate(parts), steps)

    def _known_ahead(self, start: int, requested: np.ndarray) -> np.ndarray:
        """Return the covariates of all rows up to the last requested one, NaN in a gap."""
        seen = self._seen_
        gap = np.empty((0, requested.shape[1]))
        if start > len(seen):
            gap = np.full((start - len(seen), requested.shape[1]), np.nan)
            n_given = requested.shape[1] - self._n_calendar_features()
            if n_given < requested.shape[1]:
                labels = seen.timeline.following(len(gap))
                gap[:, n_given:] = self._with_calendar(gap[:, :n_given], labels)[:, n_given:]
        rest = seen.covariates[start + len(requested) :]
        return np.concatenate([seen.covariates[:start], gap, requested, rest])

    def _n_calendar_features(self) -> int:
        """Return how many of the covariates come from the index."""
        given = 0 if self._is_series_only_ else self.n_features_in_
        return self._seen_.covariates.shape[1] - given

    # ------------------------------------------------------------------ errors

    def _errors(
        self, series: EncodedSeries, values: np.ndarray, origins: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return forecasts and truths, NaN where there is none, from every origin."""
        forecasts = self._roll_out(series, origins, self._horizon_)
        padding = np.full((self._horizon_, values.shape[1]), np.nan)
        truths = np.lib.stride_tricks.sliding_window_view(
            np.concatenate([values, padding]), self._horizon_, axis=0
        )[origins]
        return forecasts, truths.swapaxes(1, 2)  # (n_origins, horizon, n_targets)

    def _calibrate(self, series: EncodedSeries, rows: Observations, n_train: int) -> None:
        """Learn the distribution of errors from the rows behind the training rows."""
        if self._learned_levels_ is not None:
            return
        n_origins = min(_MAX_ORIGINS, len(rows) - n_train)
        origins = np.linspace(n_train, len(rows) - 1, n_origins).round().astype(int)
        forecasts, truths = self._errors(series, rows.values, origins)
        self._calibration_ = ErrorDistribution(truths - forecasts[..., 0])

    def _update(self, X: Any, y: Any, sample_weight: Any = None) -> None:
        """Append rows to those seen, after their forecasts have been compared with them."""
        new = self._observations(X, y, sample_weight, reset=False)
        seen = self._seen_.followed_by(new)
        n_seen, horizon = len(self._seen_), self._horizon_
        learned = self._learned_levels_
        adapts = self._calibration_ is not None or (learned is not None and len(learned) > 1)
        origins = np.arange(max(self.context_length_, n_seen + 1 - horizon), len(seen))
        if adapts and len(origins):
            forecasts, truths = self._errors(self._encode(seen), seen.values, origins)
            # by time of the truth: row t is step h of the forecast from the first t - h rows
            index = np.arange(n_seen, len(seen))[:, np.newaxis] - np.arange(horizon) - origins[0]
            known = index >= 0
            steps = np.broadcast_to(np.arange(horizon), index.shape)
            forecasts, truths = (
                array[np.where(known, index, 0), steps] for array in (forecasts, truths)
            )
            truths = np.where(known[..., np.newaxis], truths, np.nan)
            self._adaptive_.observe(self._ranks(forecasts, truths))
            if self._calibration_ is not None:
                self._calibration_.observe(truths - forecasts[..., 0])
        self._seen_ = seen

    def _ranks(self, forecasts: np.ndarray, truths: np.ndarray) -> np.ndarray:
        """Return the level of each truth in the distribution that was forecast."""
        if self._calibration_ is not None:
            return self._calibration_.rank(truths - forecasts[..., 0])
        assert self._learned_levels_ is not None
        return rank_in_quantiles(truths, forecasts, self._learned_levels_)

    # ------------------------------------------------------------------ quantiles

    def predict_quantiles(
        self, X: Any, quantiles: float | Sequence[float] | None = None
    ) -> np.ndarray:
        """Return quantiles of the forecast of each row.

        With ``loss="quantile"`` they are learned; levels between the learned ones, and beyond, are
        interpolated. With another loss they are the forecast plus quantiles of the errors on the
        validation data, by step of the horizon; further steps have those of the last one. So the
        quantile at 0.5 is the forecast of `predict` plus the median of its errors there, which is
        another number unless the forecast is unbiased.

        Parameters
        ----------
        X : array-like of shape (n_rows,) or (n_rows, n_features)
            Rows to forecast, as in `predict`.
        quantiles : float, sequence of float or None, default=None
            Rising levels between 0 and 1; None: the parameter `quantiles`.

        Returns
        -------
        ndarray of shape (n_rows, n_quantiles) or (n_rows, n_targets, n_quantiles), float64
            Quantiles.

        Raises
        ------
        ValueError, TypeError
            As in `predict`, and if there was no validation data to learn errors from.
        """
        check_is_fitted(self)
        levels = np.array(self._levels() if quantiles is None else check_levels(quantiles))
        forecasts = self._forecasts(X)
        shape = forecasts.outputs.shape[:2] + levels.shape
        return self._form_.arrange(self._quantiles(forecasts, np.broadcast_to(levels, shape)))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Return an interval for each row that holds the truth with a given probability.

        Its ends are quantiles (see `predict_quantiles`), which split what is not covered evenly.
        After `update`, their levels have adapted to the share of truths that such intervals held.

        Parameters
        ----------
        X : array-like of shape (n_rows,) or (n_rows, n_features)
            Rows to forecast, as in `predict`.
        coverage : float, default=0.9
            Share of the truths that the intervals shall hold, above 0 and below 1.

        Returns
        -------
        ndarray of shape (n_rows, 2) or (n_rows, n_targets, 2), float64
            Lower and upper end.

        Raises
        ------
        ValueError, TypeError
            As in `predict`, and if there was no validation data to learn errors from.

        References
        ----------
        Gibbs and Candès 2021 (Adaptive conformal inference under distribution shift,
        arXiv:2106.00170).
        """
        check_is_fitted(self)
        if not 0 < check_positive("coverage", coverage) < 1:
            raise ValueError(f"coverage must be above 0 and below 1, got {coverage}.")
        forecasts = self._forecasts(X)
        steps = np.minimum(forecasts.steps, self._horizon_ - 1)
        levels = self._adaptive_.levels(coverage, steps, forecasts.outputs.shape[1])
        return self._form_.arrange(self._quantiles(forecasts, levels))

    def _quantiles(self, forecasts: Forecasts, levels: np.ndarray) -> np.ndarray:
        """Return quantiles (n_rows, n_targets, n_levels) at levels of the same shape."""
        if self._learned_levels_ is not None:
            return self._between_learned(forecasts.outputs, levels)
        if self._calibration_ is None:
            raise ValueError(
                "Quantiles and intervals need validation data, or loss='quantile', got neither in "
                "fit. Pass X_val to fit, or early_stopping=True, or fit a longer series, of which "
                "the last block is set aside."
            )
        steps = np.minimum(forecasts.steps, self._horizon_ - 1)
        return forecasts.outputs + self._calibration_.quantile(steps, levels)

    def _between_learned(self, outputs: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return quantiles at any level from those that were learned."""
        learned = self._learned_levels_
        assert learned is not None
        if len(learned) > 1:
            return interpolate_quantiles(outputs, learned, levels)
        if (levels != learned[0]).any():
            raise ValueError(
                f"The only quantile is the one that was learned, {learned[0]}, got other levels. "
                "Fit with two quantiles or more for those between, and for intervals."
            )
        return outputs

    def _check_finite(self, outputs: np.ndarray) -> None:
        """Raise ValueError if a forecast is not a finite number."""
        if not np.isfinite(outputs).all():
            raise ValueError(
                "The model must give finite forecasts, got NaN or infinity. The values of the "
                "context are likely far outside the range of the training data."
            )
