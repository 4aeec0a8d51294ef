"""The forecast that the network corrects: a simple one, chosen by windows held out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sks4.data import Smoother, nan_median

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

# Forecasts that are as plain: also a straight line through medians, perhaps with a fixed season.
_PLAIN = _NAIVE | {"linear": (0.0, 0.0, 1.0, _NONE), "seasonal_linear": (0.0, 0.0, 1.0, 0.0)}

# A slope must gain this share of the error to be taken, times the standard error of a mean over as
# many windows as there are without overlap; a smoother over a naive forecast the other one.
_PRICE_OF_SLOPE = 0.4
_PRICE_OF_SMOOTHING = 0.15

# Windows held out, over all targets; more say little more, since they overlap. And origins, at
# least.
_MAX_WINDOWS, _MIN_WINDOWS = 64, 8

# Origins in each of many series: the last ones are followed by few rows.
_FEWEST_ORIGINS = 4

# Error of a perfect forecast, in standard deviations of the series.
_ROUNDING = 1e-6

# Errors count as this many typical changes at most.
_CLIP = 10.0

# Smoothers evaluated at once, to bound the memory.
_AT_ONCE = 64

# The fewer rows, the noisier the choice: as many of the best smoothers are averaged as this number
# is multiples of the rows, at most so many.
_MANY_ROWS, _MAX_MEMBERS = 1500, 7


@dataclass(frozen=True, eq=False)
class BaseForecast:
    """The mean forecast of a few smoothers.

    Attributes
    ----------
    name : str
        "last_value", "drift", "linear" or "smoothing", or with a season "seasonal_naive",
        "seasonal_drift", "seasonal_linear" or "seasonal_smoothing".
    smoother : Smoother
        With parameters of shape (n_members, 1, 1).
    """

    name: str
    smoother: Smoother

    @property
    def is_naive(self) -> bool:
        """Whether it is one of the naive forecasts."""
        return self.name in _NAIVE

    @property
    def season_length(self) -> int:
        """Rows of the season that it repeats, 1 for none."""
        return 1 if np.isnan(self.smoother.season).all() else self.smoother.period

    def forecast(self, windows: np.ndarray, n_steps: int) -> np.ndarray:
        """Return forecasts (n_windows, n_targets, n_steps) from (n_windows, n_targets, length)."""
        return self.smoother.forecast(windows, n_steps).mean(axis=0)


@dataclass(frozen=True, eq=False)
class JudgedSmoothers:
    """Smoothers, and their errors from origins within series.

    Attributes
    ----------
    base : BaseForecast
        The forecast with the smallest error, the same for all series and targets.
    plain : BaseForecast
        The best one of those that smooth nothing: a naive forecast, or a straight line.
    errors : list of pairs
        All smoothers of a season, with parameters of shape (n_candidates, 1, 1), and their mean
        absolute errors, shape (n_candidates,); empty if there is nothing to judge them by.
    """

    base: BaseForecast
    plain: BaseForecast
    errors: list[tuple[Smoother, np.ndarray]]


def judge_smoothers(
    series: Sequence[np.ndarray], periods: Sequence[int], horizon: int, context_length: int
) -> JudgedSmoothers:
    """Judge smoothers by their errors from origins within one or several series.

    Every origin is forecast from the rows before it alone, at most `context_length` of them.

    Parameters
    ----------
    series : sequence of ndarray of shape (n_timepoints, n_targets), float64
        Scaled targets, NaN where missing.
    periods : sequence of int
        Seasons to try; those of which there are not two are left out.
    horizon : int
        Rows to forecast.
    context_length : int
        Rows to forecast from.

    Returns
    -------
    JudgedSmoothers
        The best ones, and all errors.
    """
    n_rows = int(np.median([len(values) for values in series]))
    n_targets = series[0].shape[1]
    longest = min(n_rows - 2, context_length) // 2
    periods = [period for period in periods if 1 < period <= longest] or [1]
    first = max(2 * max(periods) + 1, 4, n_rows // 3)
    n_windows = max(_MAX_WINDOWS // n_targets, _MIN_WINDOWS)
    held_out = _HeldOut.within(series, first, n_windows, horizon, context_length)
    if held_out is None:
        return JudgedSmoothers(_plain("last_value", 1), _plain("last_value", 1), [])
    n_apart = sum(max(len(values) - first, 0) for values in series) / horizon
    standard_error = 1 / math.sqrt(max(1.0, n_apart))
    n_members = min(max(_MANY_ROWS // sum(map(len, series)), 1), _MAX_MEMBERS)
    smoothers, plain, judged = [], [], []
    for period in periods:
        candidates = _candidates(period)
        errors = held_out.errors(candidates)
        judged.append((candidates, errors))
        errors = errors * (
            1 + _PRICE_OF_SLOPE * standard_error * ~np.isnan(candidates.slope[:, 0, 0])
        )
        best = errors.argsort()[:n_members]
        smoothers.append((errors[best].mean(), candidates[best]))
        names = [name for name, (*_, season) in _PLAIN.items() if period > 1 or math.isnan(season)]
        plain += [(errors[_position(candidates, name)], name, period) for name in names]
    least, smoother = min(smoothers, key=itemgetter(0))
    plainest = _plain(*min(plain)[1:])
    least_naive, name, period = min(one for one in plain if one[1] in _NAIVE)
    if least_naive <= least * (1 + _PRICE_OF_SMOOTHING * standard_error) + _ROUNDING:
        return JudgedSmoothers(_plain(name, period), plainest, judged)
    is_seasonal = not np.isnan(smoother.season[0]).all()
    name = "seasonal_smoothing" if is_seasonal else "smoothing"
    return JudgedSmoothers(BaseForecast(name, smoother), plainest, judged)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Windows, and what followed them.

    Attributes
    ----------
    windows : ndarray of shape (n_origins, n_targets, context_length)
        Rows before each origin, NaN where missing.
    truths : ndarray of shape (n_origins, n_targets, horizon)
        Rows after it, 0 where missing.
    is_known : ndarray of the same shape, bool
        Which are not missing.
    bounds : ndarray of shape (n_origins, n_targets, 1)
        Largest error of each target that counts, so that a spike does not decide.
    """

    windows: np.ndarray
    truths: np.ndarray
    is_known: np.ndarray
    bounds: np.ndarray

    @classmethod
    def within(
        cls,
        series: Sequence[np.ndarray],
        first: int,
        n_windows: int,
        horizon: int,
        context_length: int,
    ) -> "_HeldOut | None":
        """Return windows from row `first` of each series on, about `n_windows`; None for none."""
        parts = []
        for values in series:
            n_origins = max(n_windows // len(series), _FEWEST_ORIGINS)
            origins = np.linspace(first, len(values) - 1, n_origins)
            origins = np.unique(origins[origins < len(values)].astype(int))
            if len(origins):
                parts.append(cls.around(values, origins, horizon, context_length))
        if not any(part.is_known.any() for part in parts):
            return None
        return cls(
            np.concatenate([part.windows for part in parts]),
            np.concatenate([part.truths for part in parts]),
            np.concatenate([part.is_known for part in parts]),
            np.concatenate([part.bounds for part in parts]),
        )

    @classmethod
    def around(
        cls, values: np.ndarray, origins: np.ndarray, horizon: int, context_length: int
    ) -> "_HeldOut":
        """Return the windows around some origins in a series (n_timepoints, n_targets)."""
        windows = windows_before(values, origins, context_length)
        ahead = np.pad(values, ((0, horizon), (0, 0)), constant_values=np.nan)
        truths = windows_before(ahead, origins + horizon, horizon)
        changes = truths - _plain("last_value", 1).forecast(windows, horizon)
        typical = nan_median(np.abs(changes).swapaxes(0, 1).reshape(values.shape[1], -1))
        bounds = np.where(typical > _ROUNDING, _CLIP * typical, np.inf)
        bounds = np.broadcast_to(bounds[:, np.newaxis], (len(origins), len(bounds), 1))
        is_known = ~np.isnan(truths)
        return cls(windows, np.where(is_known, truths, 0.0), is_known, bounds)

    def errors(self, smoothers: Smoother) -> np.ndarray:
        """Return the mean absolute error of each smoother."""
        errors = np.empty(len(smoothers.level))
        for start in range(0, len(errors), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            forecasts = smoothers[part].forecast(self.windows, self.truths.shape[-1])
            deviations = np.minimum(np.abs(forecasts - self.truths), self.bounds)
            errors[part] = deviations.mean(axis=(1, 2, 3), where=self.is_known)
        return errors


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
    level, slope, damping, share = np.array(grid).T[:, :, np.newaxis, np.newaxis]
    return Smoother(level, slope, damping, share, period)


def _plain(name: str, period: int) -> BaseForecast:
    level, slope, damping, season = np.array(_PLAIN[name]).reshape(4, 1, 1, 1)
    return BaseForecast(name, Smoother(level, slope, damping, season, period))


def _position(smoothers: Smoother, name: str) -> int:
    """Return the position of a plain forecast among all candidates."""
    table = np.stack([smoothers.level, smoothers.slope, smoothers.damping, smoothers.season])
    wanted = np.array(_PLAIN[name])[:, np.newaxis]
    is_same = np.isclose(table[..., 0, 0], wanted, equal_nan=True).all(axis=0)
    return int(is_same.argmax())
