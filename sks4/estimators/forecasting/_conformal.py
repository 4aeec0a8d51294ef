"""Quantiles of forecast errors, and levels that adapt to what has been covered."""

import copy
from typing import NamedTuple

import numpy as np
import torch

# Errors kept: enough for the 0.99 quantile, in at most 8 MB.
_MAX_ROWS = 500
_MAX_ERRORS = 1_000_000

# Errors of a target that make a distribution, if there are more: evenly spread over their order.
_MAX_POOL = 5_000

# Earlier distributions kept, for errors of forecasts that were made by them.
_MAX_SHAPES = 8

# Gibbs and Candès 2021, section 4: large enough to adapt, small enough to be stable.
_STEP_SIZE = 0.005

# Earlier values of alpha that are kept, so that they are few at long horizons, too.
_MAX_ALPHAS = 128

# Coverages that adapt by themselves: those in use, and few enough to be quick.
_COVERAGES = np.array([0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])

# Errors that are this many times as large as usual are within float32, and so are their levels.
_FARTHEST = 1e30

# Levels nearer to 0 or 1 are no better known than this one from a few hundred errors.
_OUTERMOST = 1e-3

# Adapted levels go on below 0 and above 1, where they stand for values beyond all that is known. A
# level of -1/2 is twice as far from the median as the outermost value. Steeper, intervals swing
# far beyond what is needed, since the answer to a forecast comes as late as its horizon is long.
_WIDENING = 2.0
_OUTERMOST_Z = -float(torch.special.ndtri(torch.tensor(_OUTERMOST, dtype=torch.float64)))


class _Shape(NamedTuple):
    """Quantiles of errors, in force from a row of time on.

    Attributes
    ----------
    start : int
        How many rows had been observed before.
    scale : ndarray of shape (horizon, n_targets), float64
        Root mean square of the errors.
    pools : list of ndarrays, float32
        Errors of each target over their scale, sorted.
    """

    start: int
    scale: np.ndarray
    pools: list[np.ndarray]

    def rank(self, errors: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the level of each error (n, n_targets) at its step (n,), NaN where unknown."""
        scaled = np.clip(errors / self.scale[steps], -_FARTHEST, _FARTHEST)
        scaled = scaled.astype(np.float32)  # rounded as those in the pools
        ranks = np.empty(errors.shape, dtype=np.float32)
        for target, pool in enumerate(self.pools):
            column = scaled[:, target]
            below, not_above = (np.searchsorted(pool, column, side) for side in ("left", "right"))
            ranks[:, target] = (below + not_above) / (2 * len(pool)) + _beyond(column, pool)
        return np.where(np.isnan(errors), np.float32("nan"), ranks)


class ErrorDistribution:
    """The distribution of forecast errors: one shape for a target, one scale for each step.

    Errors are divided by their root mean square at the same step of the horizon, and pooled over
    the steps. So the quantiles are those of split conformal prediction where the shape does not
    depend on the step, and a validation block that is hardly longer than the horizon is enough. A
    distribution is never changed: `observe` returns another one.

    Parameters
    ----------
    errors : ndarray of shape (n_origins, horizon, n_targets)
        Truth minus forecast, in order of time; NaN where there is no truth.

    References
    ----------
    Lei et al. 2018 (Distribution-free predictive inference for regression, arXiv:1604.04173),
    algorithm 2, with signed errors.
    """

    def __init__(self, errors: np.ndarray) -> None:
        n_rows, horizon, n_targets = errors.shape
        self._capacity = int(np.clip(_MAX_ERRORS // (horizon * n_targets), 50, _MAX_ROWS))
        rows = np.unique(np.linspace(0, n_rows - 1, self._capacity).round().astype(int))
        self._errors = errors[rows]  # in float64: their unit is that of the user
        self._n_observed = 0
        self._shapes = [_shape(self._errors, 0)]

    def observe(self, errors: np.ndarray) -> "ErrorDistribution":
        """Return the distribution with errors of later rows (n_rows, horizon, n_targets).

        They replace the oldest.
        """
        n_observed, horizon = self._n_observed + len(errors), errors.shape[1]
        shapes = list(self._shapes)
        spacing = horizon // _MAX_SHAPES
        if len(shapes) > 1 and shapes[-1].start - shapes[-2].start < spacing:
            shapes.pop()  # no forecast of the horizon is far from the one before it
        while len(shapes) > 1 and shapes[1].start <= n_observed - horizon:
            shapes.pop(0)  # no forecast of what is still to come was made by it
        later = copy.copy(self)
        later._errors = np.concatenate([self._errors, errors])[-self._capacity :]
        later._n_observed = n_observed
        later._shapes = [*shapes, _shape(later._errors, n_observed)]
        return later

    def quantile(self, steps: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return quantiles of the error.

        Parameters
        ----------
        steps : ndarray of shape (n_rows,), int
            Step of the horizon of each row, from 0.
        levels : ndarray of shape (n_rows, n_targets, n_levels)
            Levels: from 0 to 1, or beyond for values beyond the outermost errors.

        Returns
        -------
        ndarray of shape (n_rows, n_targets, n_levels), float64
            Quantiles, with the levels corrected for the number of errors.
        """
        shape, quantiles = self._shapes[-1], np.empty(levels.shape)
        beyond = 1 + _WIDENING * np.maximum(np.maximum(-levels, levels - 1), 0)
        for target, pool in enumerate(shape.pools):
            corrected = 0.5 + (levels[:, target] - 0.5) * (1 + 1 / len(pool))
            median, inside = np.median(pool), np.quantile(pool, corrected.clip(0, 1))
            quantiles[:, target] = median + (inside - median) * beyond[:, target]
        return quantiles * shape.scale[steps][..., np.newaxis]

    def rank(self, errors: np.ndarray) -> np.ndarray:
        """Return the level of each error, in the distribution when its forecast was made.

        An error that occurs in the distribution has the middle of its levels there: at either end
        of them, an interval that ends in this very value would seem to miss it. An error beyond
        all of them has a level below 0 or above 1, as `quantile` takes it.

        Parameters
        ----------
        errors : ndarray of shape (n_rows, horizon, n_targets)
            Errors of the rows that follow those observed, by the steps of the horizon: those of
            row i at step h were forecast from the first i - h of these rows, or where this is
            negative, before the last h - i rows that were observed. NaN where there is none.

        Returns
        -------
        ndarray of the shape of `errors`, float32
            Levels, NaN where there is no error.
        """
        rows, steps = np.meshgrid(*map(np.arange, errors.shape[:2]), indexing="ij")
        origins = self._n_observed + np.minimum(rows - steps, 0)
        starts = [shape.start for shape in self._shapes]
        in_force = np.searchsorted(starts, origins, side="right").clip(1) - 1
        ranks = np.empty(errors.shape, dtype=np.float32)
        for i in np.unique(in_force):
            chosen = in_force == i
            ranks[chosen] = self._shapes[i].rank(errors[chosen], steps[chosen])
        return ranks


def _shape(errors: np.ndarray, start: int) -> _Shape:
    """Return the scales and the sorted pools of errors (n_rows, horizon, n_targets)."""
    known = ~np.isnan(errors)
    squares = np.where(known, errors, 0) ** 2
    counts = known.sum(axis=0)
    overall = np.sqrt(squares.sum(axis=(0, 1)) / np.maximum(counts.sum(axis=0), 1))
    scale = np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1))
    scale = np.where(counts > 0, scale, overall)
    scale = np.where(scale > 0, scale, 1.0)  # (horizon, n_targets)
    scaled = (errors / scale).astype(np.float32)
    pools = [
        _thinned(np.sort(scaled[..., target][known[..., target]]))
        for target in range(scaled.shape[-1])
    ]
    return _Shape(start, scale, pools)


def _thinned(pool: np.ndarray) -> np.ndarray:
    """Return a sorted pool, at most 5,000 of it with the outermost among them; a zero for none."""
    if len(pool) == 0:
        return np.zeros(1, dtype=np.float32)
    if len(pool) <= _MAX_POOL:
        return pool
    return pool[np.linspace(0, len(pool) - 1, _MAX_POOL).round().astype(int)]


def _beyond(errors: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Return how far the level of each error (...,) is below 0 or above 1; 0 within the pool."""
    median, low, high = np.median(pool), pool[0], pool[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (errors - high) / (high - median)
        below = (low - errors) / (median - low)
    # where half of the pool are one value, nothing says how far is far
    above, below = (np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for x in (above, below))
    return (np.maximum(above, 0) - np.maximum(below, 0)) / _WIDENING


class AdaptiveLevels:
    """Levels of intervals that adapt, so that they cover what they should in the long run.

    Each observed truth has a rank in the distribution that was forecast for it. The miscoverage
    requested of the distribution, alpha, follows from the ranks by
    ``alpha += step * (target - miss)``, for every step of the horizon and every target on its own,
    where a miss is that of the interval with alpha as it was when the forecast was made. Where the
    paper's intervals become infinite, below zero, these go on beyond the outermost values that are
    known, by the same steps: they stay finite, and are wide enough where errors grow beyond all
    that came before.

    The recursion runs for several coverages side by side. Each by itself would let an interval be
    narrower than one of a smaller coverage, so their alphas are put in order before they are used,
    and those of coverages between are interpolated: intervals are nested. Levels are never changed:
    `observe` returns other ones.

    Parameters
    ----------
    horizon, n_targets : int
        Number of steps and of targets.

    References
    ----------
    Gibbs and Candès 2021 (Adaptive conformal inference under distribution shift,
    arXiv:2106.00170), equation 2; Chernozhukov, Fernández-Val and Galichon 2010 (Quantile and
    probability curves without crossing, Econometrica), putting them in order.
    """

    def __init__(self, horizon: int, n_targets: int) -> None:
        self.horizon = horizon
        self._n_rows = 0
        self._alphas = np.broadcast_to(1 - _COVERAGES, (horizon, n_targets, len(_COVERAGES)))
        self._spacing = -(-horizon // _MAX_ALPHAS)
        # what they were, every so many rows, as far back as the first forecast of a row
        n_kept = (horizon - 1) // self._spacing + 2  # the oldest may begin before its row
        self._earlier = np.broadcast_to(
            self._alphas.astype(np.float32), (n_kept, *self._alphas.shape)
        )

    def observe(self, ranks: np.ndarray) -> "AdaptiveLevels":
        """Return the levels after later rows.

        Parameters
        ----------
        ranks : ndarray of shape (n_rows, horizon, n_targets)
            Ranks of the truths of each row, by the step at which it was forecast; NaN if unknown.
        """
        later = copy.copy(self)
        later._earlier = self._earlier.copy()
        for row in ranks.astype(np.float32):
            later._observe_row(row)
        return later

    def _observe_row(self, ranks: np.ndarray) -> None:
        """Take in the ranks of a row (horizon, n_targets)."""
        n_kept, steps = len(self._earlier), np.arange(len(ranks))
        if self._n_rows % self._spacing == 0:
            self._earlier[self._n_rows // self._spacing % n_kept] = _in_order(self._alphas)
        origins = np.maximum(self._n_rows - steps, 0) // self._spacing
        lower, upper = _ends(self._earlier[origins % n_kept, steps])
        ranks = ranks[..., np.newaxis]
        change = 1 - _COVERAGES - ((ranks < lower) | (ranks > upper))
        self._alphas = self._alphas + np.where(np.isnan(ranks), 0, _STEP_SIZE * change)
        self._n_rows += 1

    def levels(self, coverage: float, steps: np.ndarray) -> np.ndarray:
        """Return the lower and the upper level.

        Parameters
        ----------
        coverage : float
            Share of the truths that the interval should hold.
        steps : ndarray of shape (n_rows,), int
            Step of the horizon of each row, from 0.

        Returns
        -------
        ndarray of shape (n_rows, n_targets, 2)
            Levels, from 0 to 1 or beyond.
        """
        changes = _in_order(self._alphas)[steps] - (1 - _COVERAGES)  # (n_rows, n_targets, n)
        known = np.concatenate([[0.0], _COVERAGES, [1.0]])
        # nothing to learn of an interval that holds nothing; beyond the largest, as there
        changes = np.concatenate(
            [np.zeros_like(changes[..., :1]), changes, changes[..., -1:]], axis=-1
        )
        right = int(np.searchsorted(known, coverage).clip(1, len(known) - 1))
        share = (coverage - known[right - 1]) / (known[right] - known[right - 1])
        change = (1 - share) * changes[..., right - 1] + share * changes[..., right]
        return np.stack(_ends(1 - coverage + change), axis=-1)


def _in_order(alphas: np.ndarray) -> np.ndarray:
    """Return alphas (..., n_coverages) that do not rise with the coverage."""
    return -np.sort(-alphas, axis=-1)


def _ends(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels that leave half of alpha at either side."""
    lower = np.minimum(alpha / 2, 0.5)
    return lower, 1 - lower


def interpolate_quantiles(
    quantiles: np.ndarray, known: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Return quantiles at other levels than those that were forecast.

    Between two known levels, and beyond the outermost, the quantile is linear in the quantile of
    a normal distribution.

    Parameters
    ----------
    quantiles : ndarray of shape (..., n_known)
        Forecast quantiles, not falling along the last axis.
    known : ndarray of shape (n_known,)
        Their levels, rising, two at least.
    levels : ndarray of shape (..., n_levels)
        Levels to return, from 0 to 1 or beyond; the leading axes are those of `quantiles`.

    Returns
    -------
    ndarray of shape (..., n_levels)
        Quantiles.

    Examples
    --------
    >>> import numpy as np
    >>> known = np.array([0.25, 0.5, 0.75])
    >>> interpolate_quantiles(np.array([1.0, 2.0, 3.0]), known, np.array([0.5, 0.75]))
    array([2., 3.])
    """
    z_known, z = _normal_quantile(known), _normal_quantile(levels)
    left = np.searchsorted(z_known, z, side="right").clip(1, len(known) - 1) - 1
    low = np.take_along_axis(quantiles, left, axis=-1)
    high = np.take_along_axis(quantiles, left + 1, axis=-1)
    share = (z - z_known[left]) / (z_known[left + 1] - z_known[left])
    return low + share * (high - low)


def rank_in_quantiles(truth: np.ndarray, quantiles: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the level of each truth (...,) in forecast quantiles (..., n_known).

    Where several quantiles are the truth, it is in the middle of their levels.
    """
    z_known = _normal_quantile(known)
    below = (quantiles < truth[..., np.newaxis]).sum(axis=-1)
    not_above = (quantiles <= truth[..., np.newaxis]).sum(axis=-1)
    first = _extended(truth, quantiles, z_known, below, at_tie=0.0)
    last = _extended(truth, quantiles, z_known, not_above, at_tie=1.0)
    return np.where(np.isnan(truth), np.nan, _normal_level((first + last) / 2))


def _extended(
    truth: np.ndarray, quantiles: np.ndarray, z_known: np.ndarray, count: np.ndarray, at_tie: float
) -> np.ndarray:
    """Return z of each truth (...,) on the line through the quantiles around the first `count`.

    Where the two quantiles are the truth itself, `at_tie` says which share of the way is its z.
    """
    left = count.clip(1, len(z_known) - 1) - 1
    low = np.take_along_axis(quantiles, left[..., np.newaxis], axis=-1)[..., 0]
    high = np.take_along_axis(quantiles, left[..., np.newaxis] + 1, axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num((truth - low) / (high - low), nan=at_tie, posinf=50.0, neginf=-50.0)
    return z_known[left] + share * (z_known[left + 1] - z_known[left])


def _normal_quantile(levels: np.ndarray) -> np.ndarray:
    """Return quantiles of the standard normal distribution, linear beyond the outermost levels."""
    inner = np.clip(levels, _OUTERMOST, 1 - _OUTERMOST)
    z = torch.special.ndtri(torch.from_numpy(np.asarray(inner, np.float64))).numpy()
    return z + (levels - inner) * _WIDENING * _OUTERMOST_Z


def _normal_level(z: np.ndarray) -> np.ndarray:
    """Return the levels of which `_normal_quantile` makes `z`."""
    inner = np.clip(z, -_OUTERMOST_Z, _OUTERMOST_Z)
    levels = torch.special.ndtr(torch.from_numpy(np.asarray(inner, np.float64))).numpy()
    return levels + (z - inner) / (_WIDENING * _OUTERMOST_Z)
