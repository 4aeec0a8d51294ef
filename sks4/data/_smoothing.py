"""Additive exponential smoothing of many windows at once, robust to spikes and level shifts."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# A one-step error of so many scales is no noise, but a spike or a level shift.
_OUTLIER = 6.0

# How fast the scale of one-step errors follows their size.
_SCALE_SHARE = 0.1

# Standard deviation of a normal distribution over its median and its mean absolute deviation.
_FROM_MEDIAN, _FROM_MEAN = 1.4826, 1.2533

# Scale where there is none to judge errors by: far beyond any scaled value.
_NO_SCALE = 1e200

# Rows, at least, in which the first level is sought.
_FIRST_ROWS = 10


@dataclass(frozen=True, eq=False)
class SmoothingState:
    """Level, slope and season of windows at their last rows.

    Attributes
    ----------
    level, slope : ndarray of shape (...)
        Level, and its change in a row.
    season : ndarray of shape (period, ...)
        Deviation from the level in each row of a season, the next row first.
    damping : ndarray, broadcastable to (...)
        Factor of the slope from each row to the next.
    """

    level: np.ndarray
    slope: np.ndarray
    season: np.ndarray
    damping: np.ndarray

    def extend(self, n_steps: int) -> np.ndarray:
        """Return forecasts of the rows that follow, shape (..., n_steps)."""
        level, slope = self.level, self.slope
        forecasts = np.empty((*level.shape, n_steps))
        for step in range(n_steps):
            slope = slope * self.damping
            level = level + slope
            forecasts[..., step] = level + self.season[step % len(self.season)]
        return forecasts


@dataclass(frozen=True, eq=False)
class Smoother:
    """Exponential smoothing of level, slope and season.

    A missing value changes nothing, and neither does a spike: a one-step error far beyond the scale
    of the others. If the next value is off by the same, the level has shifted, and is followed at
    once; if it is off by anything else, the scale grows.

    Parameters
    ----------
    level : ndarray of shape (...)
        Share of a one-step error that the level takes, from 0 to 1. All parameters have shapes that
        broadcast with each other and with the windows.
    slope : ndarray of shape (...)
        Share of the correction of the level that the slope takes; NaN for no slope.
    damping : ndarray of shape (...)
        Factor of the slope from each row to the next, from 0 to 1.
    season : ndarray of shape (...)
        Share of the rest of the error that the season takes; NaN for no season.
    period : int
        Rows of a season.

    References
    ----------
    Hyndman et al. 2008 (Forecasting with Exponential Smoothing), the additive models in
    error-correction form; Gelper, Fried and Croux 2010 (Robust Forecasting with Exponential and
    Holt-Winters Smoothing, Journal of Forecasting 29), errors judged by a running robust scale.

    Examples
    --------
    >>> import numpy as np
    >>> weeks = np.tile([0.0, 0, 0, 0, 0, 5, 5], 3)
    >>> level, slope, damping, season = np.array([0.0, np.nan, 1.0, 1.0])
    >>> Smoother(level, slope, damping, season, period=7).forecast(weeks, 7).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0]
    """

    level: np.ndarray
    slope: np.ndarray
    damping: np.ndarray
    season: np.ndarray
    period: int

    def __getitem__(self, rows: np.ndarray | slice | int) -> "Smoother":
        """Return the smoothers at some positions of the first axis of the parameters."""
        level, slope, damping, season = self.level, self.slope, self.damping, self.season
        return Smoother(level[rows], slope[rows], damping[rows], season[rows], self.period)

    def forecast(self, windows: np.ndarray, n_steps: int) -> np.ndarray:
        """Return forecasts (..., n_steps) of the rows that follow windows (..., length)."""
        return self.smooth(windows).extend(n_steps)

    def smooth(self, windows: np.ndarray) -> SmoothingState:
        """Read windows from the first row to the last.

        Parameters
        ----------
        windows : ndarray of shape (..., length), float64
            Rows of time, NaN where missing. A window without a value counts as zero.

        Returns
        -------
        SmoothingState
            State after the last row, in the shape of windows and parameters together.
        """
        return self.follow(windows, *self.first_guess(windows))

    def follow(
        self,
        windows: np.ndarray,
        start: SmoothingState,
        least_scale: np.ndarray,
        errors: np.ndarray | None = None,
    ) -> SmoothingState:
        """Read windows from the first row to the last, from a given state on.

        Parameters
        ----------
        windows : ndarray of shape (..., length), float64
            Rows of time, NaN where missing.
        start : SmoothingState
            State before the first value, in the shape of windows and parameters together.
        least_scale : ndarray, broadcastable to that shape
            Scale of one-step errors at first, below which it does not fall.
        errors : ndarray of shape (..., length), float64, or None, default=None
            If given, one-step errors are written to it: NaN where a value is missing, a spike, or
            the first one of a shift.

        Returns
        -------
        SmoothingState
            State after the last row.
        """
        level, slope, season, scale = start.level, start.slope, start.season.copy(), least_scale
        seasonal_share = np.nan_to_num(self.season) * (1 - self.level)
        slope_share = np.nan_to_num(self.slope) * self.level
        begun = np.zeros(windows.shape[:-1], dtype=bool)
        suspect = np.zeros(level.shape)  # the last error, if it was far
        for row, values in enumerate(np.moveaxis(windows, -1, 0), start=-windows.shape[-1]):
            observed = ~np.isnan(values)
            begun = begun | observed
            slope = np.where(begun, slope * self.damping, slope)
            level = level + np.where(begun, slope, 0.0)
            error = np.where(observed, values - level - season[row % self.period], 0.0)
            bound = _OUTLIER * scale
            is_far = np.abs(error) > bound
            is_first = is_far & (suspect == 0)  # perhaps a spike, which tells nothing of the scale
            has_shifted = is_far & ~is_first & (np.abs(error - suspect) <= bound)
            shift = np.where(has_shifted, (error + suspect) / 2, 0.0)
            size = _FROM_MEAN * np.minimum(np.abs(error), bound)
            is_usual = observed & ~is_first & ~has_shifted
            scale = np.where(is_usual, scale + _SCALE_SHARE * (size - scale), scale)
            scale = np.maximum(scale, least_scale)
            suspect = np.where(observed, np.where(is_far & ~has_shifted, error, 0.0), suspect)
            usual = np.where(is_far, 0.0, error)
            level = level + self.level * usual + shift
            slope = slope + slope_share * usual
            season[row % self.period] += seasonal_share * usual
            if errors is not None:
                errors[..., row] = np.where(observed & ~is_far, error, np.nan)
        return SmoothingState(level, slope, season, self.damping)

    def first_guess(self, windows: np.ndarray) -> tuple[SmoothingState, np.ndarray]:
        """Return a state before the first value, made of medians, and the scale of the errors.

        Both have the shape of windows and parameters together; see `smooth`.
        """
        parameters = self.level, self.slope, self.damping, self.season
        shape = np.broadcast_shapes(*(part.shape for part in parameters), windows.shape[:-1])
        has_slope, has_season = ~np.isnan(self.slope), ~np.isnan(self.season)
        guesses = [_Guess(windows, 1)]
        if self.period > 1:
            guesses.append(_Guess(windows, self.period))
        level, slope, scale, season = (
            np.where(has_season, parts[-1], parts[0])
            for parts in zip(*(guess.state(has_slope) for guess in guesses), strict=True)
        )
        season = np.where(has_season, season, 0.0)
        season = np.broadcast_to(season, (len(season), *shape))
        level, slope, scale = (np.broadcast_to(part, shape) for part in (level, slope, scale))
        return SmoothingState(level, slope, season, self.damping), scale


class _Guess:
    """First guess of level, slope and season of windows, before their first value.

    It is made of medians all along, so that spikes and a level shift do little.
    """

    def __init__(self, windows: np.ndarray, period: int) -> None:
        changes = windows[..., period:] - windows[..., :-period]
        usual = nan_median(changes)
        spread = nan_median(np.abs(changes - usual[..., np.newaxis])) * _FROM_MEDIAN / np.sqrt(2)
        self.scale = np.where(spread > 0, spread, _NO_SCALE)  # also where it is NaN
        self.slope = np.nan_to_num(usual) / period
        self.season = seasonal_pattern(windows, period)  # (..., period)
        length = windows.shape[-1]
        first = (~np.isnan(windows)).argmax(axis=-1)[..., np.newaxis]
        self._since = np.arange(1, length + 1) - first
        repeats = np.tile(self.season, -(-length // period))[..., -length:]
        is_early = self._since <= max(_FIRST_ROWS, 2 * period)
        self._early = np.where(is_early, windows - repeats, np.nan)

    def state(self, has_slope: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return level, slope, scale and season (period, ...), broadcast with `has_slope`."""
        flat = np.nan_to_num(nan_median(self._early))
        steep = np.nan_to_num(nan_median(self._early - self.slope[..., np.newaxis] * self._since))
        season = np.moveaxis(self.season, -1, 0)
        season = season.reshape(len(season), *(1,) * (has_slope.ndim - flat.ndim), *flat.shape)
        slope = np.where(has_slope, self.slope, 0.0)
        return np.where(has_slope, steep, flat), slope, self.scale, season


def seasonal_pattern(windows: np.ndarray, period: int) -> np.ndarray:
    """Return the median deviation from a moving average of one season, for each of its rows.

    Parameters
    ----------
    windows : ndarray of shape (..., length), float64
        Rows of time, NaN where missing.
    period : int
        Rows of a season.

    Returns
    -------
    ndarray of shape (..., period), float64
        Deviations with mean 0, the row that follows the windows first; 0 where nothing is known.
    """
    length = windows.shape[-1]
    if period == 1 or length < period + 1:
        return np.zeros((*windows.shape[:-1], period))
    deviations = windows - moving_average(windows, period)
    missing = np.full((*windows.shape[:-1], -length % period), np.nan)
    cycles = np.concatenate([missing, deviations], axis=-1)
    season = nan_median(cycles.reshape(*windows.shape[:-1], -1, period), axis=-2)
    n_known = np.maximum((~np.isnan(season)).sum(axis=-1, keepdims=True), 1)
    return np.nan_to_num(season - np.nansum(season, axis=-1, keepdims=True) / n_known)


def moving_average(windows: np.ndarray, width: int) -> np.ndarray:
    """Return centered moving averages of what is observed, along the last axis.

    The two outermost values of an even width count half. NaN near the ends, and where less than
    three quarters are observed.
    """
    observed = ~np.isnan(windows)
    sums, counts = (
        sliding_window_view(values, width, axis=-1).sum(axis=-1)
        for values in (np.where(observed, windows, 0.0), observed.astype(float))
    )
    means = np.where(counts >= 0.75 * width, sums / np.maximum(counts, 1), np.nan)
    if width % 2 == 0:
        means = (means[..., 1:] + means[..., :-1]) / 2
    averages = np.full(windows.shape, np.nan)
    averages[..., width // 2 : width // 2 + means.shape[-1]] = means
    first = observed.argmax(axis=-1)[..., np.newaxis]
    return np.where(np.arange(windows.shape[-1]) < first + width // 2, np.nan, averages)


def nan_median(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the median of what is not NaN along an axis, NaN where there is nothing.

    Much faster than numpy's own, which makes a call of Python for each row.
    """
    if values.shape[axis] == 0:
        return np.full(np.delete(values.shape, axis), np.nan)
    ordered = np.sort(values, axis=axis)  # NaN last
    count = (~np.isnan(values)).sum(axis=axis, keepdims=True)
    low, high = (
        np.take_along_axis(ordered, np.maximum(rank, 0), axis)
        for rank in ((count - 1) // 2, np.minimum(count // 2, values.shape[axis] - 1))
    )
    return ((low + high) / 2).squeeze(axis)
