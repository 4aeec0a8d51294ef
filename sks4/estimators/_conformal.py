"""Quantiles of forecast errors, and levels that adapt to what has been covered."""

import numpy as np
import torch

# Errors kept: enough for the 0.99 quantile, in at most 8 MB.
_MAX_ROWS = 500
_MAX_ERRORS = 2_000_000

# Gibbs and Candès 2021, section 4: large enough to adapt, small enough to be stable.
_STEP_SIZE = 0.005

# Ranks kept for coverages not asked for yet: what is further back than 10 / _STEP_SIZE hardly
# counts. Up to twice as many are kept, so that few calls have to drop some.
_MAX_RANKS = 2000

# Levels nearer to 0 or 1 are no better known than this one from a few hundred errors.
_OUTERMOST = 1e-3


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
        self._refresh()

    def observe(self, errors: np.ndarray) -> None:
        """Take in the errors of later rows (n_rows, horizon, n_targets), and drop the oldest."""
        self._errors = np.concatenate([self._errors, errors.astype(np.float32)])
        self._errors = self._errors[-self._capacity :]
        self._refresh()

    def quantile(self, steps: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Return quantiles of the error.

        Parameters
        ----------
        steps : ndarray of shape (n_rows,), int
            Step of the horizon of each row, from 0.
        levels : ndarray of shape (n_rows, n_targets, n_levels)
            Levels from 0 to 1.

        Returns
        -------
        ndarray of shape (n_rows, n_targets, n_levels), float64
            Quantiles, with the levels corrected for the number of errors.
        """
        quantiles = np.empty(levels.shape)
        for target, pool in enumerate(self._pools):
            corrected = 0.5 + (levels[:, target] - 0.5) * (1 + 1 / len(pool))
            quantiles[:, target] = np.quantile(pool, corrected.clip(0, 1))
        return quantiles * self._scale[steps][..., np.newaxis]

    def rank(self, errors: np.ndarray) -> np.ndarray:
        """Return the level of each error (n_rows, horizon, n_targets), NaN where there is none.

        An error that occurs in the distribution has the middle of its levels there: at either end
        of them, an interval that ends in this very value would seem to miss it.
        """
        scaled = errors.astype(np.float32) / self._scale  # rounded as those it is compared with
        ranks = np.empty(errors.shape, dtype=np.float32)
        for target, pool in enumerate(self._pools):
            below, not_above = (
                np.searchsorted(pool, scaled[..., target], side=side) for side in ("left", "right")
            )
            ranks[..., target] = (below + not_above) / (2 * len(pool))
        return np.where(np.isnan(errors), np.float32("nan"), ranks)

    def _refresh(self) -> None:
        """Compute the scales, and sort the pools."""
        known = ~np.isnan(self._errors)
        squares = np.where(known, self._errors.astype(np.float64), 0) ** 2
        counts = known.sum(axis=0)
        overall = np.sqrt(squares.sum(axis=(0, 1)) / np.maximum(counts.sum(axis=0), 1))
        scale = np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1))
        scale = np.where(counts > 0, scale, overall)
        self._scale = np.where(scale > 0, scale, 1.0)  # (horizon, n_targets)
        scaled = self._errors / self._scale
        self._pools = [
            np.sort(scaled[..., target][known[..., target]])
            if known[..., target].any()
            else np.zeros(1)
            for target in range(scaled.shape[-1])
        ]


class AdaptiveLevels:
    """Levels of an interval that adapt, so that it covers what it should in the long run.

    Each observed truth has a rank in the distribution that was forecast for it. The miscoverage
    asked of the distribution, alpha, follows from the ranks by ``alpha += step * (target - miss)``,
    for every step of the horizon and every target on its own. Where the paper's intervals become
    infinite, below zero, these stay at the outermost levels, and a truth outside of them is a miss:
    so alpha remembers how many misses there are to make up for.

    References
    ----------
    Gibbs and Candès 2021 (Adaptive conformal inference under distribution shift,
    arXiv:2106.00170), equation 2.
    """

    def __init__(self) -> None:
        self._ranks: list[np.ndarray] = []
        # By coverage: alpha (horizon, n_targets), and how many of the ranks are in it.
        self._alphas: dict[float, tuple[np.ndarray, int]] = {}

    def observe(self, ranks: np.ndarray) -> None:
        """Take in the ranks of later rows, (n_rows, horizon, n_targets), NaN if unknown."""
        self._ranks += list(ranks.astype(np.float32))
        if len(self._ranks) > 2 * _MAX_RANKS:
            n_dropped = len(self._ranks) - _MAX_RANKS
            for coverage in self._alphas:
                self._alphas[coverage] = self._recursion(coverage), _MAX_RANKS
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
            Levels from 0 to 1.
        """
        if self._ranks:
            alpha = self._recursion(coverage)[steps]
        else:
            alpha = np.full((len(steps), n_targets), 1 - coverage)
        return np.stack(_ends(alpha), axis=-1)

    def _recursion(self, coverage: float) -> np.ndarray:
        """Return the miscoverage to ask for at each step and target."""
        start = np.full(self._ranks[0].shape, 1 - coverage)
        alpha, n_known = self._alphas.get(coverage, (start, 0))
        for ranks in self._ranks[n_known:]:
            lower, upper = _ends(alpha)
            change = 1 - coverage - ((ranks < lower) | (ranks > upper))
            alpha = np.where(np.isnan(ranks), alpha, alpha + _STEP_SIZE * change)
        self._alphas[coverage] = alpha, len(self._ranks)
        return alpha


def _ends(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels that leave half of alpha at either side."""
    lower = (alpha / 2).clip(_OUTERMOST, 0.5)
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
        Levels to return, from 0 to 1; the leading axes are those of `quantiles`.

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
    z_known, z = _normal_quantile(known), _normal_quantile(levels.clip(_OUTERMOST, 1 - _OUTERMOST))
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
    ranks = torch.special.ndtr(torch.from_numpy((first + last) / 2)).numpy()
    return np.where(np.isnan(truth), np.nan, ranks)


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
    """Return quantiles of the standard normal distribution."""
    return torch.special.ndtri(torch.from_numpy(np.asarray(levels, np.float64))).numpy()
