"""Smoothers chosen by their likelihood: the errors of one step instead of those of a horizon."""

from dataclasses import dataclass

import numpy as np

from sks4.data import Smoother, SmoothingState

# A first guess of the starting state counts as much as so many rows.
_ROWS_OF_GUESS = 1.0

# Longer seasons have too many starting values to fit all of them.
_LONGEST_FITTED = 60

# The best smoothers that are averaged; what more of them would weigh hardly counts.
_MAX_MEMBERS = 4

# Smoothers and windows evaluated at once, to bound the memory.
_SMOOTHERS_AT_ONCE, _WINDOWS_AT_ONCE = 32, 128

# Least variance of one-step errors, of a series with standard deviation 1.
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False)
class LikelySmoothers:
    """The mean forecast of smoothers, weighted by their likelihood.

    Attributes
    ----------
    smoother : Smoother
        With parameters of shape (n_members, 1, 1).
    weights : ndarray of shape (n_members,)
        Weights of the members, which sum to 1.
    """

    smoother: Smoother
    weights: np.ndarray

    def forecast(self, windows: np.ndarray, n_steps: int) -> np.ndarray:
        """Return forecasts (n_windows, n_targets, n_steps) from (n_windows, n_targets, length)."""
        parts = [
            smooth_from_fitted_start(self.smoother, some)[0].extend(n_steps)
            for some in np.array_split(windows, max(1, -(-len(windows) // _WINDOWS_AT_ONCE)))
        ]
        return np.tensordot(self.weights, np.concatenate(parts, axis=1), axes=1)


def choose_likely(
    values: np.ndarray, candidates: list[tuple[Smoother, np.ndarray]]
) -> LikelySmoothers:
    """Return the smoothers under which the one-step errors of a series are the most likely.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_targets), float64
        Scaled targets, NaN where missing; the same smoothers are chosen for all.
    candidates : list of pairs
        Smoothers of one season, with parameters of shape (n_candidates, 1, 1), and which of them
        may be chosen, shape (n_candidates,), bool; one at least.

    Returns
    -------
    LikelySmoothers
        The best ones of one season, weighted by their corrected Akaike information criterion.

    References
    ----------
    Hyndman et al. 2008 (Forecasting with Exponential Smoothing), chapter 7, the criterion; Burnham
    and Anderson 2002 (Model Selection and Multimodel Inference), the weights.
    """
    windows = values.T[np.newaxis]
    choices = []
    for smoothers, may_be_chosen in candidates:
        allowed = smoothers[may_be_chosen]
        if not may_be_chosen.any():
            continue
        criteria = np.concatenate(
            [
                _criterion(part, smooth_from_fitted_start(part, windows)[1])
                for part in (
                    allowed[start : start + _SMOOTHERS_AT_ONCE]
                    for start in range(0, len(allowed.level), _SMOOTHERS_AT_ONCE)
                )
            ]
        )
        best = criteria.argsort()[:_MAX_MEMBERS]
        choices.append((criteria[best], allowed[best]))
    criteria, smoother = min(choices, key=lambda choice: choice[0][0])
    weights = np.exp((criteria[0] - criteria) / 2)
    return LikelySmoothers(smoother, weights / weights.sum())


def _criterion(smoothers: Smoother, errors: np.ndarray) -> np.ndarray:
    """Return the corrected Akaike criterion of smoothers from one-step errors.

    `errors` have shape (n_smoothers, 1, n_targets, length), NaN where they do not count.
    """
    n_errors = np.maximum((~np.isnan(errors)).sum(axis=(1, 3)), 1)  # (n_smoothers, n_targets)
    variance = np.nansum(errors**2, axis=(1, 3)) / n_errors + _LEAST_VARIANCE
    level, slope, season = (
        part[:, :, 0] for part in (smoothers.level, smoothers.slope, smoothers.season)
    )
    has_slope, has_season = ~np.isnan(slope), ~np.isnan(season)
    k = 2 + (level > 0) + has_slope * (1 + (slope > 0) + (smoothers.damping[:, :, 0] < 1))
    k = k + has_season * (smoothers.period - 1 + (season > 0))
    correction = 2 * k * (k + 1) / np.maximum(n_errors - k - 1, 1)
    return (n_errors * np.log(variance) + 2 * k + correction).sum(axis=1)


def smooth_from_fitted_start(
    smoothers: Smoother, windows: np.ndarray
) -> tuple[SmoothingState, np.ndarray]:
    """Read windows from the starting states with the smallest squared one-step errors.

    One-step errors are linear in the starting state, so it follows from a ridge regression, whose
    center is a first guess made of medians.

    Parameters
    ----------
    smoothers : Smoother
        With parameters of shape (n_smoothers, 1, 1).
    windows : ndarray of shape (n_windows, n_targets, length), float64
        Rows of time, NaN where missing.

    Returns
    -------
    state : SmoothingState
        States after the last rows, of shape (n_smoothers, n_windows, n_targets).
    errors : ndarray of shape (n_smoothers, n_windows, n_targets, length)
        One-step errors; NaN where a value is missing, a spike, or the first one of a shift.
    """
    guess, least_scale = smoothers.first_guess(windows)
    errors = np.empty((*guess.level.shape, windows.shape[-1]))
    state = smoothers.follow(windows, guess, least_scale, errors)
    if smoothers.period > _LONGEST_FITTED:
        return state, errors
    start = _fitted_start(smoothers, guess, windows, np.nan_to_num(errors))
    return smoothers.follow(windows, start, least_scale, errors), errors


def _fitted_start(
    smoothers: Smoother, guess: SmoothingState, windows: np.ndarray, errors: np.ndarray
) -> SmoothingState:
    """Return the starting state that a ridge regression of one-step errors finds.

    Rows in which a value is missing or far off count as if the guess was right there.
    """
    length, period, shape = windows.shape[-1], smoothers.period, guess.level.shape
    first = (~np.isnan(windows)).argmax(axis=-1).ravel()  # (n,), rows before the first value
    rows = first[:, np.newaxis] + np.arange(length)
    errors = errors.reshape(len(errors), -1, length)
    since = np.take_along_axis(errors, np.minimum(rows, length - 1)[np.newaxis], axis=-1)
    since = np.where(rows < length, since, 0.0)  # (n_smoothers, n, length) from the first value on
    effects = _effects_of_start(smoothers, length)  # (n_smoothers, length, n_states)
    lengths, which = np.unique(length - first, return_inverse=True)
    change = np.empty((*since.shape[:2], period + 2))
    for number, n_rows in enumerate(lengths.tolist()):
        known, some = effects[:, :n_rows], which == number
        gram = known.swapaxes(1, 2) @ known + _ROWS_OF_GUESS * np.eye(period + 2)
        with_errors = known.swapaxes(1, 2) @ since[:, some, :n_rows].swapaxes(
            1, 2
        )  # (n_smoothers, n_states, n_some)
        change[:, some] = np.linalg.solve(gram, with_errors).swapaxes(1, 2)
    place = (np.arange(period)[:, np.newaxis] - first + length) % period  # (period, n)
    season = np.take_along_axis(np.moveaxis(change[..., 2:], -1, 0), place[:, np.newaxis], axis=0)
    level, slope = (change[..., i].reshape(shape) for i in (0, 1))
    return SmoothingState(
        guess.level + level,
        guess.slope + slope,
        guess.season + season.reshape(period, *shape),
        guess.damping,
    )


def _effects_of_start(smoothers: Smoother, length: int) -> np.ndarray:
    """Return what one-step forecasts change with level, slope and season at the start.

    The shape is (n_smoothers, length, 2 + period): with the level, the slope, and each row of a
    season, the first one first. What a smoother does not have has no effect.
    """
    period = smoothers.period
    has_slope, has_season = ~np.isnan(smoothers.slope[:, 0]), ~np.isnan(smoothers.season[:, 0])
    of_level, damping = smoothers.level[:, 0], smoothers.damping[:, 0]  # (n_smoothers, 1)
    of_slope = np.nan_to_num(smoothers.slope[:, 0]) * of_level
    of_season = np.nan_to_num(smoothers.season[:, 0]) * (1 - of_level)
    unit = np.eye(period + 2)[:, np.newaxis] * np.ones((len(of_level), 1))
    level, slope, season = unit[0], unit[1] * has_slope, unit[2:] * has_season
    effects = np.empty((len(of_level), length, period + 2))
    for row in range(length):
        slope = slope * damping
        level = level + slope
        effect = level + season[row % period]
        effects[:, row] = effect
        level = level - of_level * effect
        slope = slope - of_slope * effect
        season[row % period] -= of_season * effect
    return effects
