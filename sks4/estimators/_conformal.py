"""Quantiles of forecast errors, and levels that adapt to what has been covered."""

from typing import NamedTuple

import numpy as np
import torch

# Errors kept: enough for the 0.99 quantile, in at most 8 MB.
_MAX_ROWS = 500
_MAX_ERRORS = 2_000_000

# Errors of a target that make a distribution, if there are more: evenly spread over their order.
_MAX_POOL = 5_000

# Earlier distributions kept, for errors of forecasts that were made by them.
_MAX_SHAPES = 8

# Gibbs and Candès 2021, section 4: large enough to adapt, small enough to be stable.
_STEP_SIZE = 0.005

# Earlier values of alpha kept for each coverage, so that at long horizons, too, they stay small.
_MAX_ALPHAS = 128

# Ranks kept for coverages not asked for yet: what is further back than 10 / _STEP_SIZE hardly
# counts. Up to twice as many are kept, so that few calls have to drop some.
_MAX_RANKS = 2000

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
        scaled = errors.astype(np.float32) / self.scale[steps]  # rounded as those in the pools
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
    depend on the step, and a validation block that is hardly longer than the horizon will do.

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
        self._errors = errors[rows].astype(np.float32)
        self._n_observed = 0
        self._shapes = [self._shape()]

    def observe(self, errors: np.ndarray) -> None:
        """Take in the errors of later rows (n_rows, horizon, n_targets), and drop the oldest."""
        self._errors = np.concatenate([self._errors, errors.astype(np.float32)])
        self._errors = self._errors[-self._capacity :]
        self._n_observed += len(errors)
        horizon = errors.shape[1]
        spacing = horizon // _MAX_SHAPES
        if len(self._shapes) > 1 and self._shapes[-1].start - self._shapes[-2].start < spacing:
            self._shapes.pop()  # no forecast of the horizon is far from the one before it
        while len(self._shapes) > 1 and self._shapes[1].start <= self._n_observed - horizon:
            self._shapes.pop(0)  # no forecast of what is still to come was made by it
        self._shapes.append(self._shape())

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

    def _shape(self) -> _Shape:
        """Compute the scales, and sort the pools."""
        known = ~np.isnan(self._errors)
        squares = np.where(known, self._errors.astype(np.float64), 0) ** 2
        counts = known.sum(axis=0)
        overall = np.sqrt(squares.sum(axis=(0, 1)) / np.maximum(counts.sum(axis=0), 1))
        scale = np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1))
        scale = np.where(counts > 0, scale, overall)
        scale = np.where(scale > 0, scale, 1.0)  # (horizon, n_targets)
        scaled = self._errors / scale
        pools = [
            _thinned(np.sort(scaled[..., target][known[..., target]]))
            for target in range(scaled.shape[-1])
        ]
        return _Shape(self._n_observed, scale, pools)


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


class _Alpha:
    """Alpha for one coverage, and what it was when the forecasts still to be judged were made."""

    def __init__(self, wanted: float, horizon: int, n_targets: int) -> None:
        self.wanted = wanted
        self.n_known = 0  # ranks that are in it
        self.now = np.full((horizon, n_targets), wanted)
        self._steps = np.arange(horizon)
        self._spacing = -(-horizon // _MAX_ALPHAS)
        # what it was, every so many rows, as far back as the first forecast of a row
        n_kept = (horizon - 1) // self._spacing + 2  # the oldest may begin before its row
        self._earlier = np.full((n_kept, horizon, n_targets), wanted, dtype=np.float32)
        self._n_rows = 0

    def observe(self, ranks: np.ndarray) -> None:
        """Take in the ranks of a row (horizon, n_targets), NaN if unknown."""
        n_kept = len(self._earlier)
        if self._n_rows % self._spacing == 0:
            self._earlier[self._n_rows // self._spacing % n_kept] = self.now
        origins = np.maximum(self._n_rows - self._steps, 0) // self._spacing
        lower, upper = _ends(self._earlier[origins % n_kept, self._steps])
        change = self.wanted - ((ranks < lower) | (ranks > upper))
        self.now = np.where(np.isnan(ranks), self.now, self.now + _STEP_SIZE * change)
        self._n_rows += 1
        self.n_known += 1


class AdaptiveLevels:
    """Levels of an interval that adapt, so that it covers what it should in the long run.

    Each observed truth has a rank in the distribution that was forecast for it. The miscoverage
    asked of the distribution, alpha, follows from the ranks by ``alpha += step * (target - miss)``,
    for every step of the horizon and every target on its own, where a miss is that of the interval
    with alpha as it was when the forecast was made. Where the paper's intervals become infinite,
    below zero, these go on beyond the outermost values that are known, by the same steps: they stay
    finite, and are wide enough where errors grow beyond all that came before.

    References
    ----------
    Gibbs and Candès 2021 (Adaptive conformal inference under distribution shift,
    arXiv:2106.00170), equation 2.
    """

    def __init__(self) -> None:
        self._ranks: list[np.ndarray] = []
        self._alphas: dict[float, _Alpha] = {}  # by coverage

    def observe(self, ranks: np.ndarray) -> None:
        """Take in the ranks of later rows, (n_rows, horizon, n_targets), NaN if unknown."""
        self._ranks += list(ranks.astype(np.float32))
        if len(self._ranks) > 2 * _MAX_RANKS:
            n_dropped = len(self._ranks) - _MAX_RANKS
            for coverage in self._alphas:
                self._recursion(coverage).n_known = _MAX_RANKS
            del self._ranks[:n_dropped]

    def levels(self, coverage: float, steps: np.ndarray, n_targets: int) -> np.ndarray:
        """Return the lower and the upper level.

        Parameters
        ----------
        coverage : float
            Share of the truths that the interval shall hold.
        steps : ndarray of shape (n_rows,), int
            Step of the horizon of each row, from 0.
        n_targets : int
            Number of targets.

        Returns
        -------
        ndarray of shape (n_rows, n_targets, 2)
            Levels, from 0 to 1 or beyond.
        """
        if self._ranks:
            alpha = self._recursion(coverage).now[steps]
        else:
            alpha = np.full((len(steps), n_targets), 1 - coverage)
        return np.stack(_ends(alpha), axis=-1)

    def _recursion(self, coverage: float) -> _Alpha:
        """Return the miscoverage to ask for at each step and target."""
        alpha = self._alphas.get(coverage)
        if alpha is None:
            alpha = self._alphas[coverage] = _Alpha(1 - coverage, *self._ranks[0].shape)
        for ranks in self._ranks[alpha.n_known :]:
            alpha.observe(ranks)
        return alpha


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
