"""How many rows make a season: from the steps of the index, or from the series itself."""

import math
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.offsets import BaseOffset, CustomBusinessDay

from sks4.data._smoothing import nan_median

# Longest season that is looked for in the values, and rows, the last ones, to look for it.
_LONGEST, _MOST_ROWS = 400, 2000

# Distances further out count as this many usual ones, and not at all where a spike or a shift of
# the level must have made them.
_CLIP, _FARTHEST = 3.0, 10.0

# Distance of equal rows, in typical steps.
_ROUNDING = 1e-9

# A season must bring the distance of rows a season apart below this share of the distance of others
# ...
_LARGEST_SHARE = 0.8
# ... and, since the least one of many shares is taken, below 1 by so many standard errors.
_N_STANDARD_ERRORS = 3.0

# Of several seasons that fit about equally well, the others are multiples of the shortest.
_TOLERANCE = 1.25

# Seasons of calendar steps, by the letters that pandas gives them.
_SEASONS = {"SM": 24, "M": 12, "BM": 12, "Q": 4, "BQ": 4, "W": 52, "B": 5}

_DAY, _WEEK = pd.Timedelta(days=1), pd.Timedelta(weeks=1)


def periods_of_step(step: Any) -> list[int]:
    """Return the usual seasons of a step of time, in rows, the shortest first.

    Parameters
    ----------
    step : DateOffset, int or None
        Step from each row to the next: an offset of pandas; a number or None says nothing.

    Returns
    -------
    list of int
        A week of days; a day and a week of hours; a year of months; empty where there is none.

    Examples
    --------
    >>> import pandas as pd
    >>> periods_of_step(pd.offsets.Hour()), periods_of_step(pd.offsets.MonthEnd())
    ([24, 168], [12])
    """
    if not isinstance(step, BaseOffset):
        return []
    count = getattr(step, "n", 1)
    try:
        span = pd.Timedelta(step)
    except ValueError:
        season = _season_of_calendar(step)
        return [season // count] if season and season % count == 0 and season > count else []
    if span == _WEEK:
        return [_SEASONS["W"]]
    seasons = (_DAY, _WEEK) if span < _DAY else (_WEEK,)
    return [
        season // span for season in seasons if season % span == pd.Timedelta(0) < season - span
    ]


def _season_of_calendar(step: BaseOffset) -> int | None:
    """Return the season of steps of no fixed length, in such steps; None if they have none."""
    if isinstance(step, CustomBusinessDay):
        return int(np.sum(step.calendar.weekmask))
    if type(step) is pd.DateOffset:
        months = step.kwds.get("months", 0) if step.kwds.keys() == {"months"} else 0
        return 12 // months if months and 12 % months == 0 else None
    name = step.base.freqstr.partition("-")[0]  # Easter has one, too, but no rule_code
    return _SEASONS.get(name) or _SEASONS.get(name.rstrip("SE"))


def find_period(values: np.ndarray) -> int | None:
    """Return the season of a series that its values show, in rows.

    Rows a season apart are closer than others: the mean distance of rows at a lag is compared with
    that at the lags from half of it on, less what a trend makes of it. Distances are bounded, so
    that spikes do little.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_targets), float64
        Targets, NaN where missing.

    Returns
    -------
    int or None
        The season, three of which must fit; None if there is none.

    Examples
    --------
    >>> import numpy as np
    >>> find_period(np.sin(2 * np.pi * np.arange(60) / 12)[:, np.newaxis])
    12
    """
    longest = min(_LONGEST, len(values) // 3)
    if longest < 2:
        return None
    distances = _distances(values[-_MOST_ROWS:], longest + 1)
    lags = np.arange(2, longest + 1)
    shares = np.array([_share(distances, lag) for lag in lags.tolist()])
    is_least = (distances[2:-1] <= distances[1:-2]) & (distances[2:-1] <= distances[3:])
    shares = np.where(is_least, shares, np.inf)
    enough = np.minimum(_LARGEST_SHARE, 1 - _N_STANDARD_ERRORS / np.sqrt(len(values) - lags))
    shares = np.where(shares < enough, shares, np.inf)
    if not np.isfinite(shares).any():
        return None
    return int(lags[(shares <= _TOLERANCE * shares.min()).argmax()])


def _distances(values: np.ndarray, longest: int) -> np.ndarray:
    """Return the mean bounded distance of rows at each lag, from 0 on, over all targets."""
    steps = np.abs(np.diff(values, axis=0))
    typical = np.nanmean(np.minimum(steps, np.nanquantile(steps, 0.9, axis=0)), axis=0)
    scaled = values / np.where(typical > 0, typical, 1.0)
    changes = [scaled[lag:] - scaled[:-lag] for lag in range(1, longest + 1)]
    at_lag = [np.abs(change - nan_median(change, axis=0)) for change in changes]  # less the trend
    usual = np.median([nan_median(distance.ravel()) for distance in at_lag])
    if not usual > _ROUNDING:  # most values are equal, or none is known
        usual = np.mean([np.nansum(distance) / distance.size for distance in at_lag])
    if not usual > _ROUNDING:
        return np.zeros(longest + 1)
    means = np.full(longest + 1, np.inf)
    means[0] = 0.0
    for lag, distance in enumerate(at_lag, start=1):
        near = distance[distance <= _FARTHEST * usual]
        if len(near):
            means[lag] = np.minimum(near, _CLIP * usual).mean()
    return means


def _share(distances: np.ndarray, lag: int) -> float:
    """Return the distance at a lag over the mean of those at lags from half of it on."""
    others = distances[-(-lag // 2) : lag].mean()
    return float(distances[lag] / others) if 0 < others < math.inf else math.inf
