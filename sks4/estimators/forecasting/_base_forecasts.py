"""The forecast that the network corrects: a simple one, chosen by windows held out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sks4.data import Smoother

_NONE = math.nan

# Parameters of the smoothers to choose from: share of the level; share and damping of the slope;
# share of the season. The grid is coarse, since errors hardly change between its points.
_LEVELS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
_SLOPES = ((_NONE, 1.0), (0.0, 1.0), (0.0, 0.9), (0.1, 1.0), (0.3, 1.0), (0.1, 0.95))
_SEASONS = (0.0, 0.1, 0.3, 0.6, 1.0)

# The naive forecasts among them: level, slope and its damping, season.
_NAIVE = {
    "last_value": (1.0, _NONE, 1.0, _NONE),
    "drift": (1.0, 0.0, 1.0, _NONE),
    "seasonal_naive": (0.0, _NONE, 1.0, 1.0),
    "seasonal_drift": (0.0, 0.0, 1.0, 1.0),
}

# A slope must gain this share of the error to be taken, times the standard error of a mean over as
# many windows as there are without overlap; a smoother over a naive forecast the other one.
_PRICE_OF_SLOPE = 0.4
_PRICE_OF_SMOOTHING = 0.05

# Windows held out; more say little more, since they overlap.
_MAX_WINDOWS = 64

# Smoothers evaluated at once, to bound the memory.
_AT_ONCE = 64

# The fewer rows, the noisier the choice: the best smoothers are averaged, at most so many, and one
# from this number of rows on.
_MAX_MEMBERS = 7
_MANY_ROWS = 750


@dataclass(frozen=True, eq=False)
class BaseForecast:
    """The mean forecast of a few smoothers.

    Attributes
    ----------
    name : str
        "last_value", "drift", "seasonal_naive", "seasonal_drift", "smoothing" or
        "seasonal_smoothing".
    smoother : Smoother
        With parameters of shape (n_members, 1, 1).
    """

    name: str
    smoother: Smoother

    def forecast(self, windows: np.ndarray, n_steps: int) -> np.ndarray:
        """Return forecasts (n_windows, n_targets, n_steps) from (n_windows, n_targets, length)."""
        return self.smoother.forecast(windows, n_steps).mean(axis=0)


def choose_base(
    values: np.ndarray, periods: Sequence[int], horizon: int, context_length: int
) -> BaseForecast:
    """Return the base forecast with the smallest error from origins within a series.

    Every origin is forecast from the rows before it alone, at most `context_length` of them.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_targets), float64
        Scaled targets, NaN where missing.
    periods : sequence of int
        Seasons to try; those of which there are not two are left out.
    horizon : int
        Rows to forecast.
    context_length : int
        Rows to forecast from.

    Returns
    -------
    BaseForecast
        The same for all targets.
    """
    n_rows, n_targets = values.shape
    periods = [period for period in periods if 1 < period <= (n_rows - 2) // 2] or [1]
    first = max(2 * max(periods) + 1, 4, n_rows // 3)
    n_origins = min(max(_MAX_WINDOWS // n_targets, 8), n_rows - first)
    if n_origins < 1:
        return _naive("last_value", 1)
    origins = np.linspace(first, n_rows - 1, n_origins).astype(int)
    windows = windows_before(values, origins, context_length)
    ahead = np.pad(values, ((0, horizon), (0, 0)), constant_values=np.nan)
    truth = windows_before(ahead, origins + horizon, horizon)
    standard_error = 1 / math.sqrt(max(1.0, (n_rows - first) / horizon))
    n_members = min(max(_MANY_ROWS * 2 // n_rows, 1), _MAX_MEMBERS)
    naive, smoothed = [], []
    for period in periods:
        smoothers = _candidates(period)
        errors = _mean_errors(smoothers, windows, truth)
        errors *= 1 + _PRICE_OF_SLOPE * standard_error * ~np.isnan(smoothers.slope[:, 0, 0])
        best = errors.argsort()[:n_members]
        smoothed.append((errors[best].mean(), BaseForecast("smoothing" , smoothers[best])))
        naive += [(errors[_position(smoothers, name)], name, period) for name in _NAIVE if period > 1 or "seasonal" not in name]
    least, chosen = min(smoothed, key=lambda pair: pair[0])
    least_naive, name, period = min(naive)
    if least_naive <= least * (1 + _PRICE_OF_SMOOTHING * standard_error):
        return _naive(name, period)
    return chosen


def windows_before(values: np.ndarray, origins: np.ndarray, length: int) -> np.ndarray:
    """Return the rows before some origins, missing before the first one.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_targets)
        Rows of time.
    origins : ndarray of shape (n_origins,), int
        Numbers of rows before each origin.
    length : int
        Rows of a window.

    Returns
    -------
    ndarray of shape (n_origins, n_targets, length)
        The windows.
    """
    padded = np.pad(values, ((length, 0), (0, 0)), constant_values=np.nan)
    return sliding_window_view(padded, length, axis=0)[origins]


def _candidates(period: int) -> Smoother:
    """Return all smoothers of the grid, with parameters of shape (n_candidates, 1, 1)."""
    seasons = (_NONE, *_SEASONS) if period > 1 else (_NONE,)
    grid = [(level, *slope, season) for level, slope, season in product(_LEVELS, _SLOPES, seasons)]
    return Smoother(*np.array(grid).T[:, :, np.newaxis, np.newaxis], period=period)


def _naive(name: str, period: int) -> BaseForecast:
    parameters = np.array(_NAIVE[name]).reshape(4, 1, 1, 1)
    return BaseForecast(name, Smoother(*parameters, period=period))


def _position(smoothers: Smoother, name: str) -> int:
    """Return the position of a naive forecast among all candidates."""
    table = np.stack([smoothers.level, smoothers.slope, smoothers.damping, smoothers.season])
    wanted = np.array(_NAIVE[name])[:, np.newaxis]
    is_same = np.isclose(table[..., 0, 0], wanted, equal_nan=True).all(axis=0)
    return int(is_same.argmax())


def _mean_errors(smoothers: Smoother, windows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean absolute error of each smoother over windows; infinite where there is none."""
    errors = np.empty(len(smoothers.level))
    for start in range(0, len(errors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        deviations = np.abs(smoothers[part].forecast(windows, truth.shape[-1]) - truth)
        errors[part] = np.nanmean(deviations, axis=(1, 2, 3))
    return errors
