"""The mean of two simple forecasts: one chosen by errors of the horizon, one by its likelihood."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sks4.estimators.forecasting._base_forecasts import BaseForecast, judge_smoothers
from sks4.estimators.forecasting._likely_smoothers import LikelySmoothers, choose_likely

# Rows from which the likelihood is judged, and from which likely smoothers forecast, at most.
_MOST_ROWS = 256

# Likely smoothers have an error of the horizon at most so many times the smallest one ...
_TOLERANCE = 1.2
# ... which is this one at least, in standard deviations of the series.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class CombinedForecast:
    """The base forecast, or the mean of it and of likely smoothers.

    Attributes
    ----------
    base : BaseForecast
        The forecast with the smallest error from origins within the series.
    context_length : int
        Rows that it is made from.
    likely : LikelySmoothers or None
        What is averaged with it.
    n_rows : int
        Rows that a forecast is made from.
    """

    base: BaseForecast
    context_length: int
    likely: LikelySmoothers | None = None
    n_rows: int = 0

    @property
    def weight(self) -> float:
        """Weight of the base forecast in the mean."""
        return 1.0 if self.likely is None else 0.5

    def alone(self, base: BaseForecast | None = None) -> "CombinedForecast":
        """Return a base forecast alone; None: this one."""
        base = self.base if base is None else base
        return CombinedForecast(base, self.context_length, None, self.context_length)

    def forecast(self, windows: np.ndarray, n_steps: int) -> np.ndarray:
        """Return forecasts (n_windows, n_targets, n_steps) from (n_windows, n_targets, n_rows)."""
        forecast = self.base.forecast(_latest(windows, self.context_length), n_steps)
        if self.likely is None:
            return forecast
        likely = self.likely.forecast(windows, n_steps)
        return self.weight * forecast + (1 - self.weight) * likely


def _latest(windows: np.ndarray, length: int) -> np.ndarray:
    """Return the last rows; where no value is left, the last one before stands in each row."""
    latest = windows[..., -length:]
    is_empty = np.isnan(latest).all(axis=-1, keepdims=True)
    if not is_empty.any():
        return latest
    n_back = (~np.isnan(windows[..., ::-1])).argmax(axis=-1)[..., np.newaxis]
    last = np.take_along_axis(windows, windows.shape[-1] - 1 - n_back, axis=-1)
    return np.where(is_empty, last, latest)


def choose_combined(
    series: Sequence[np.ndarray], periods: Sequence[int], horizon: int, context_length: int
) -> CombinedForecast:
    """Return the base forecast for some series, or for a single one the mean with likely smoothers.

    Held-out errors of a short series are few, so they leave open what is best; errors of a single
    step are many, but a smoother that is good at them need not be good at a whole horizon. The mean
    of both choices has smaller errors than either. A naive forecast is left as it is: it is chosen
    where smoothing gains nothing.

    See `judge_smoothers` for the parameters.

    References
    ----------
    Clemen 1989 (Combining forecasts: a review and annotated bibliography, International Journal of
    Forecasting 5), means of few forecasts.
    """
    judged = judge_smoothers(series, periods, horizon, context_length)
    base = judged.base
    combined = CombinedForecast(base, context_length, None, context_length)
    if base.is_naive or len(series) > 1:
        return combined
    values = series[0][-_MOST_ROWS:]
    limit = _TOLERANCE * min(errors.min() for _, errors in judged.errors) + _ROUNDING
    candidates = [(smoothers, errors <= limit) for smoothers, errors in judged.errors]
    likely = choose_likely(values, candidates)
    n_rows = max(context_length, len(values))
    return CombinedForecast(base, context_length, likely, n_rows)
