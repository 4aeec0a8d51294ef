"""Scaling of each time point by level and spread of the time points up to it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sks4.data._panel import Panel

_PRIOR_SHARE = 0.1
"""Weight of the training data, as a share of the mean length of its sequences."""


@dataclass(frozen=True, eq=False)
class RunningMoments:
    """Moments of sequences up to a time point, or up to each of several.

    Attributes
    ----------
    count : ndarray of shape (n_sequences, n_channels) or (n_sequences, n_channels, n_timepoints)
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
        """Return the moments of sequences before their first time point."""
        return cls(*np.zeros((4, n_sequences, n_channels)))

    def after(self, values: np.ndarray) -> Self:
        """Return the moments after each of the next time points.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            NaN where missing, which changes no moment.
        """
        observed = ~np.isnan(values)
        leading = np.take_along_axis(values, observed.argmax(axis=-1)[..., np.newaxis], axis=-1)
        first = np.where(self.count > 0, self.first, np.nan_to_num(leading[..., 0]))
        # deviations from the first value, so that a large level costs no precision
        deviations = np.where(observed, values - first[..., np.newaxis], 0.0)
        count = _added_up(self.count, observed)
        total = _added_up(self.total, deviations)
        mean = total / np.maximum(count, 1)
        mean_before = np.concatenate([self._mean()[..., np.newaxis], mean[..., :-1]], axis=-1)
        # Welford 1962: the increments are not negative, so nothing cancels
        increments = (deviations - mean_before) * (deviations - mean)
        squares = _added_up(self.squares, np.where(observed, increments, 0.0))
        return type(self)(count, np.broadcast_to(first[..., np.newaxis], mean.shape), total, squares)

    def last(self) -> Self:
        """Return the moments after the last time point."""
        return type(self)(*(array[..., -1].copy() for array in vars(self).values()))

    def _mean(self) -> np.ndarray:
        """Return the mean of the deviations from the first value; 0 of none."""
        return self.total / np.maximum(self.count, 1)


class RunningScaler:
    """Scale each time point by mean and standard deviation of the sequence up to it.

    What is usual in the training data counts like `prior_length` time points before the first one:
    its mean for the mean, its variance for the variance. So a sequence begins in the unit of the
    training data, and goes over to its own. A value is scaled once and for all, by what has been
    read with it, in whatever pieces.

    Parameters
    ----------
    prior_length : float
        Number of time points, at the sampling rate of the training data.

    References
    ----------
    Welford 1962 (Note on a method for calculating corrected sums of squares and products,
    Technometrics 4), the sums of squares.

    Examples
    --------
    >>> scaler = RunningScaler(1.0)
    >>> nothing = RunningMoments.of_nothing(1, 1)
    >>> scaled, moments = scaler.scale(np.full((1, 1, 10_000), 100.0), nothing)
    >>> scaled[0, 0, [0, -1]].round(2)
    array([70.71,  1.  ])
    """

    def __init__(self, prior_length: float) -> None:
        self.prior_length = prior_length

    @classmethod
    def fit(cls, panel: Panel) -> Self:
        """Return the scaler for sequences as long as those of the training data."""
        return cls(_PRIOR_SHARE * float(panel.lengths.mean()))

    def scale(
        self, values: np.ndarray, before: RunningMoments, rate: float = 1.0
    ) -> tuple[np.ndarray, RunningMoments]:
        """Scale the next time points of sequences.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            In units of the training data: standardized by its mean and standard deviation. NaN
            where missing.
        before : RunningMoments
            The moments before them.
        rate : float, default=1.0
            Sampling interval of these sequences over that of the training data.

        Returns
        -------
        scaled : ndarray of the shape of `values`, float64
            NaN where missing.
        after : RunningMoments
            The moments after the last of them. They are not finite where a value is too large.
        """
        moments = before.after(values)
        weight = self.prior_length + rate * moments.count
        level = (rate * moments.total - self.prior_length * moments.first) / weight
        variance = (self.prior_length + rate * moments.squares) / weight
        scaled = (values - moments.first - level) / np.sqrt(variance)
        return scaled, moments.last()


def _added_up(before: np.ndarray, increments: np.ndarray) -> np.ndarray:
    """Return the sums after each increment along the last axis, in float64."""
    return before[..., np.newaxis] + np.cumsum(increments, axis=-1, dtype=np.float64)
