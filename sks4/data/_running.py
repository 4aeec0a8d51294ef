"""Scaling of each time point by level and spread of the time points up to it."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

_PRIOR_SHARE = 0.02
"""Weight of the prior variance, as a share of the mean length of the training sequences."""

_PRIOR_QUANTILE, _LEAST_SPREAD = 0.1, 1e-7
"""The prior variance is that of this quantile of the training sequences, and at least the square of
such a share of the standard deviation of all."""

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class RunningMoments:
    """Moments of sequences up to a time point, or up to each of several.

    Attributes
    ----------
    count : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
        Number of observed values.
    first, total, squares : ndarray of the same shape, float64
        First observed value, or 0 if there is none; sum of the deviations from it; sum of the
        squared deviations from the mean.
    """

    count: np.ndarray
    first: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of_nothing(cls, n_sequences: int, n_channels: int) -> Self:
        """Return the moments of sequences before their first time point, (..., 1)."""
        return cls(*np.zeros((4, n_sequences, n_channels, 1)))

    def after(self, values: np.ndarray) -> Self:
        """Return the moments after each of the next time points.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            NaN where missing, which changes no moment.
        """
        observed = ~np.isnan(values)
        leading = np.take_along_axis(values, observed.argmax(axis=-1)[..., np.newaxis], axis=-1)
        first = np.where(self.count > 0, self.first, np.nan_to_num(leading))
        # deviations from the first value, so that a large level costs no precision
        deviations = np.where(observed, values - first, 0.0)
        count = self.count + np.cumsum(observed, axis=-1, dtype=np.float64)
        total = self.total + np.cumsum(deviations, axis=-1)
        mean = total / np.maximum(count, 1)
        mean_before = np.concatenate([self.mean(), mean[..., :-1]], axis=-1)
        # Welford 1962: the increments are not negative, so nothing cancels
        increments = (deviations - mean_before) * (deviations - mean)
        squares = self.squares + np.cumsum(np.where(observed, increments, 0.0), axis=-1)
        return type(self)(count, np.where(count > 0, first, 0.0), total, squares)

    def after_one(self, values: np.ndarray) -> Self:
        """Return the moments after one more time point, as `after` does, in a fraction of its time.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_channels, 1), float64
            Where one is missing, or is the first of its sequence, moments are NaN.
        """
        deviations = values - self.first
        count, total = self.count + 1, self.total + deviations
        increments = (deviations - self.total / self.count) * (deviations - total / count)
        return type(self)(count, self.first, total, self.squares + increments)

    def last(self) -> Self:
        """Return the moments after the last time point."""
        return type(self)(*(array[..., -1:].copy() for array in vars(self).values()))

    def mean(self) -> np.ndarray:
        """Return the mean of the deviations from the first value; 0 of none."""
        return self.total / np.maximum(self.count, 1)


class RunningScale(NamedTuple):
    """Time points, scaled by mean and standard deviation of their sequences up to each of them.

    Attributes
    ----------
    values : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
        Scaled values, NaN where missing.
    level, log_spread : ndarray of the same shape, float64
        Means, and logarithms of standard deviations, standardized over the training data.
    after : RunningMoments
        The moments after the last time point. They are not finite where a value is too large.
    """

    values: np.ndarray
    level: np.ndarray
    log_spread: np.ndarray
    after: RunningMoments


class RunningScaler:
    """Scale each time point by mean and standard deviation of the sequence up to it.

    A value is scaled once and for all, by what has been read up to it, in whatever pieces. The
    variance of the first few time points is an uncertain one, so a small variance counts in
    addition, like some time points before the first.

    Attributes
    ----------
    prior_length_ : float
        Number of these time points, at the sampling rate of the training data.
    prior_variance_ : ndarray of shape (n_channels,), float64
        Their variance: that of a training sequence that varies less than most.
    level_, level_unit_, log_spread_, log_spread_unit_ : ndarray of shape (n_channels,), float64
        Mean and standard deviation, over the training sequences, of levels and of logarithms of
        spreads.

    References
    ----------
    Welford 1962 (Note on a method for calculating corrected sums of squares and products,
    Technometrics 4), the sums of squares.
    """

    def fit(self, lengths: np.ndarray, level: np.ndarray, spread: np.ndarray) -> Self:
        """Learn what is usual from the training data.

        Parameters
        ----------
        lengths : ndarray of shape (n_samples,), int
            Time points of each training sequence.
        level, spread : ndarray of shape (n_samples, n_channels), float64
            Their means and standard deviations, in the unit of all.
        """
        self.prior_length_ = _PRIOR_SHARE * float(lengths.mean())
        log_spread = np.log(np.maximum(spread, _LEAST_SPREAD))
        low = np.quantile(log_spread, _PRIOR_QUANTILE, axis=0)
        self.prior_variance_ = np.exp(2 * low)
        log_spread = np.maximum(log_spread, low)
        self.level_, self.level_unit_ = level.mean(axis=0), _unit(level)
        self.log_spread_, self.log_spread_unit_ = log_spread.mean(axis=0), _unit(log_spread)
        return self

    def scale(self, values: np.ndarray, before: RunningMoments, rate: float = 1.0) -> RunningScale:
        """Scale the next time points of sequences.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            In the unit of all, NaN where missing.
        before : RunningMoments
            The moments before them.
        rate : float, default=1.0
            Sampling interval of these sequences over that of the training data.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # refused by those who call
            if values.shape[-1] == 1:
                after = before.after_one(values)
                if np.isfinite(np.add.reduce(after.squares, axis=None)):
                    return RunningScale(*self._scaled(values, after, rate), after)
            moments = before.after(values)
            return RunningScale(*self._scaled(values, moments, rate), moments.last())

    def _scaled(
        self, values: np.ndarray, moments: RunningMoments, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values, levels and logarithms of spreads by the moments up to each of them."""
        mean = moments.mean()
        prior = (self.prior_length_ * self.prior_variance_)[:, np.newaxis]
        weight = self.prior_length_ + rate * moments.count
        variance = (prior + rate * moments.squares) / weight
        scaled = (values - moments.first - mean) / np.sqrt(variance)
        level = mean + moments.first - self.level_[:, np.newaxis]
        log_spread = 0.5 * np.log(variance) - self.log_spread_[:, np.newaxis]
        level /= self.level_unit_[:, np.newaxis]
        log_spread /= self.log_spread_unit_[:, np.newaxis]
        return scaled, level, log_spread


def _unit(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation over samples, 1 where they differ by rounding only."""
    deviation = values.std(axis=0)
    return np.where(deviation > _ROUNDING * (1 + np.abs(values).max(axis=0)), deviation, 1.0)
