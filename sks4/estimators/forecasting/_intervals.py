"""Quantiles of forecasts and prediction intervals: learned, or from errors, and adapting."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from sks4.estimators.forecasting._conformal import (
    AdaptiveLevels,
    ErrorDistribution,
    interpolate_quantiles,
    rank_in_quantiles,
)
from sks4.estimators.forecasting._predictor import Forecasts

# Forecasts of steps and targets, together, that are compared with the truth at once.
_FORECASTS_AT_ONCE = 500_000

# Learned with loss="quantile" where none are given.
DEFAULT_LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


@dataclass(frozen=True, eq=False)
class Intervals:
    """What past errors, or learned quantiles, tell of the errors to come; never changed.

    Attributes
    ----------
    learned : ndarray of shape (n_quantiles,) or None
        Levels of the quantiles that the model forecasts; None: it makes one forecast.
    adaptive : AdaptiveLevels
        Levels of intervals, after the truths observed so far.
    calibration : ErrorDistribution or None
        Distribution of the errors of a model without quantiles, if there are some.
    """

    learned: np.ndarray | None
    adaptive: AdaptiveLevels
    calibration: ErrorDistribution | None = None

    @classmethod
    def start(cls, learned: np.ndarray | None, horizon: int, n_targets: int) -> Self:
        """Return intervals of a model before anything has been observed."""
        return cls(learned, AdaptiveLevels(horizon, n_targets))

    @property
    def adapts(self) -> bool:
        """Whether there is a distribution in which truths have a rank."""
        several = self.learned is not None and len(self.learned) > 1
        return several or self.calibration is not None

    def calibrate(self, outputs: np.ndarray, truths: np.ndarray) -> Self:
        """Return intervals from errors on rows that the model was not trained on.

        Parameters
        ----------
        outputs : ndarray of shape (n_origins, horizon, n_targets, 1 or n_quantiles)
            Forecasts, in order of time.
        truths : ndarray of shape (n_origins, horizon, n_targets)
            Truths, NaN where there is none.
        """
        if self.learned is not None:
            return self
        return replace(self, calibration=ErrorDistribution(truths - outputs[..., 0]))

    def observe(self, outputs: np.ndarray, truths: np.ndarray, n_new: int) -> Self:
        """Return intervals that have learned from the truths of the last rows.

        Parameters
        ----------
        outputs : ndarray of shape (n_origins, horizon, n_targets, 1 or n_quantiles)
            Forecasts from each origin, the last one before the last row.
        truths : ndarray of shape (n_origins, horizon, n_targets)
            Truths, NaN where there is none.
        n_new : int
            Number of rows observed since the last time.
        """
        if not self.adapts or len(outputs) == 0:
            return self
        return self.take_in(*by_time_of_truth(outputs, truths, n_new))

    def take_in(self, outputs: np.ndarray, truths: np.ndarray) -> Self:
        """Return intervals that have learned from forecasts and truths by the time of the truth.

        Parameters
        ----------
        outputs : ndarray of shape (n_new, horizon, n_targets, 1 or n_quantiles)
            Forecasts of each new row, by the step at which it was forecast.
        truths : ndarray of shape (n_new, horizon, n_targets)
            Truths, NaN where there is none.
        """
        errors = truths - outputs[..., 0]
        if self.calibration is None:
            assert self.learned is not None
            ranks = rank_in_quantiles(truths, outputs, self.learned)
            return replace(self, adaptive=self.adaptive.observe(ranks))
        ranks = self.calibration.rank(errors)
        return replace(
            self,
            adaptive=self.adaptive.observe(ranks),
            calibration=self.calibration.observe(errors),
        )

    def quantiles(self, forecasts: Forecasts, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return quantiles (n_rows, n_targets, n_levels) at the same levels for all rows."""
        shape = forecasts.outputs.shape[:2] + (len(levels),)
        return self._at(forecasts, np.broadcast_to(np.asarray(levels), shape))

    def interval(self, forecasts: Forecasts, coverage: float) -> np.ndarray:
        """Return the ends of intervals (n_rows, n_targets, 2); a larger coverage contains them."""
        return self._at(forecasts, self.adaptive.levels(coverage, self._steps(forecasts)))

    def of_origins(
        self, outputs: np.ndarray, levels: Sequence[float] | None
    ) -> dict[float, np.ndarray]:
        """Return quantiles of forecasts from many origins, by level.

        Parameters
        ----------
        outputs : ndarray of shape (n_origins, n_steps, n_targets, 1 or n_quantiles)
            Forecasts.
        levels : sequence of float or None
            Levels, unless they are learned; None for none.

        Returns
        -------
        dict of float to ndarray of shape (n_origins, n_steps, n_targets)
            Quantiles.
        """
        if self.learned is not None:
            return {level: outputs[..., i] for i, level in enumerate(self.learned.tolist())}
        if levels is None:
            return {}
        zero = Forecasts(np.zeros_like(outputs[0]), np.arange(outputs.shape[1]))
        errors = self.quantiles(zero, levels)
        return {level: outputs[..., 0] + errors[..., i] for i, level in enumerate(levels)}

    def _steps(self, forecasts: Forecasts) -> np.ndarray:
        """Return the steps, those beyond the horizon as the last one of it."""
        return np.minimum(forecasts.steps, self.adaptive.horizon - 1)

    def _at(self, forecasts: Forecasts, levels: np.ndarray) -> np.ndarray:
        """Return quantiles (n_rows, n_targets, n_levels) at levels of the same shape."""
        if self.learned is not None:
            return self._between_learned(forecasts.outputs, levels)
        if self.calibration is None:
            raise ValueError(
                "Quantiles and intervals need validation data, or loss='quantile', got neither in "
                "fit. Pass X_val to fit, or early_stopping=True, or fit a longer series, of which "
                "the last block is set aside."
            )
        return forecasts.outputs + self.calibration.quantile(self._steps(forecasts), levels)

    def _between_learned(self, outputs: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return quantiles at any level from those that were learned."""
        assert self.learned is not None
        if len(self.learned) > 1:
            return interpolate_quantiles(outputs, self.learned, levels)
        if (levels != self.learned[0]).any():
            raise ValueError(
                f"The only quantile is the one that was learned, {self.learned[0]}, got other "
                "levels. Fit with two quantiles or more for those between, and for intervals."
            )
        return outputs


def rows_at_once(horizon: int, n_columns: int) -> int:
    """Return the number of rows to observe at once, which bounds the memory.

    `n_columns` are the targets of all series.
    """
    return max(horizon, _FORECASTS_AT_ONCE // (horizon * n_columns), 1)


def by_time_of_truth(
    outputs: np.ndarray, truths: np.ndarray, n_new: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return forecasts and truths by the time of the truth instead of the origin.

    Row t at step h is the forecast of the t-th new row from h + 1 rows before it. A truth is NaN
    where there was no such forecast.
    """
    n_origins, horizon = truths.shape[:2]
    steps = np.arange(horizon)
    # the last origin is before the last new row
    origins = n_origins - n_new + np.arange(n_new)[:, np.newaxis] - steps
    is_known = origins >= 0
    chosen = np.where(is_known, origins, 0), np.broadcast_to(steps, origins.shape)
    outputs, truths = outputs[chosen], truths[chosen]
    is_known = is_known[..., np.newaxis] & ~np.isnan(outputs[..., 0])
    return outputs, np.where(is_known, truths, np.nan)


def check_levels(levels: Any) -> list[float]:
    """Return levels of quantiles if they are between 0 and 1 and rising, else raise."""
    try:
        array = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(
            f"quantiles must be a number or a sequence of numbers, got {levels!r}. Pass "
            "[0.1, 0.5, 0.9]."
        ) from None
    if array.ndim != 1 or not len(array) or not ((array > 0) & (array < 1)).all():
        raise ValueError(
            f"quantiles must be levels above 0 and below 1, got {levels!r}. Pass [0.1, 0.5, 0.9]."
        )
    if (np.diff(array) <= 0).any():
        raise ValueError(f"quantiles must rise, got {levels!r}. Sort them.")
    return array.tolist()
