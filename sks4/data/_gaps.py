"""Values in place of missing ones, from the values before them."""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

_N_HORIZONS = 16
"""Horizons that are learned; between them, coefficients are interpolated."""

_RIDGE = 1e-4
"""Penalty on the correction of the last value, as a share of the variance of what it follows."""


class GapState(NamedTuple):
    """What has been observed up to a time point.

    Attributes
    ----------
    value : ndarray of shape (n_sequences, n_channels), float64
        Last observed value, NaN if there is none.
    before : ndarray of shape (n_sequences, n_channels), float64
        Observed value before it, NaN if there is none.
    between : int or ndarray of shape (n_sequences, n_channels)
        Time points from `before` to `value`.
    since : int or ndarray of shape (n_sequences, n_channels)
        Time points since `value`.
    n_observed : int or ndarray of shape (n_sequences, n_channels)
        Number of observed values.
    total : float or ndarray of shape (n_sequences, n_channels)
        Their sum.
    """

    value: np.ndarray
    before: np.ndarray
    between: int | np.ndarray = 1
    since: int | np.ndarray = 0
    n_observed: int | np.ndarray = 0
    total: float | np.ndarray = 0.0

    @classmethod
    def of_nothing(cls, n_sequences: int, n_channels: int) -> Self:
        """Return the state before the first time point."""
        nothing = np.full((n_sequences, n_channels), np.nan)
        return cls(nothing, nothing)

    def after(self, values: np.ndarray) -> "GapState":
        """Return the state after time points (n_sequences, n_channels, n), none missing."""
        n_observed = self.n_observed + values.shape[-1]
        if values.shape[-1] == 1:
            value = values[..., 0].copy()
            return GapState(value, self.value, self.since + 1, 0, n_observed, self.total + value)
        total = _sums(values, self.total)[..., -1].copy()
        return GapState(values[..., -1].copy(), values[..., -2].copy(), 1, 0, n_observed, total)


class GapFiller:
    r"""Fill gaps by linear forecasts from the last value and its slope.

    A value :math:`h` steps after the last observed one, :math:`x`, is taken to be
    :math:`x + a_h (x - m) + b_h s`, with the mean :math:`m` of the sequence so far and the slope
    :math:`s` from the observed value before. The coefficients are those of least squares over the
    training sequences, for each channel and for several horizons (a direct forecast; Chevillon
    2007, Direct multi-step estimation and forecasting, Journal of Economic Surveys 21). So smooth
    signals go on in their direction, noise returns to its mean, and what is neither stays as it
    is, at any level. No forecast leaves the range of the training data and of the last value.

    What stands for a value follows from those before it, so streams are filled as whole sequences.

    Parameters
    ----------
    initial : ndarray of shape (n_channels,), float64
        What stands for values before the first one. Before `fit`, a value stands for all that are
        missing after it.

    Attributes
    ----------
    horizons_ : ndarray of shape (n_horizons,), float64
        Steps after the last value, from 0 on.
    coefs_ : ndarray of shape (2, n_channels, n_horizons), float64
        Coefficients of deviation and slope at these.
    range_ : ndarray of shape (2, n_channels), float64
        Smallest and largest value of the training data.

    Examples
    --------
    >>> import numpy as np
    >>> from sks4.data import GapFiller, GapState
    >>> waves = np.sin(0.1 * np.arange(200) + np.arange(8)[:, None, None])
    >>> filler = GapFiller(np.zeros(1)).fit([waves], longest=50)
    >>> gap = np.arange(200) // 10 % 2 == 1
    >>> filled, _ = filler.fill(np.where(gap, np.nan, waves), GapState.of_nothing(8, 1))
    >>> bool(np.abs(filled - waves).mean() < 0.02)
    True
    """

    def __init__(self, initial: np.ndarray) -> None:
        self.initial = initial
        self.horizons_ = np.zeros(1)
        self.coefs_ = np.zeros((2, len(initial), 1))
        self.range_ = np.tile([[-np.inf], [np.inf]], len(initial))

    def fit(self, batches: Iterable[np.ndarray], longest: int) -> Self:
        """Learn the coefficients.

        Parameters
        ----------
        batches : iterable of ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            Training sequences, NaN where missing and in the padding.
        longest : int
            Longest horizon.
        """
        horizons = np.unique(np.geomspace(1, longest, _N_HORIZONS).round().astype(np.int64))
        moments = np.zeros((len(horizons), len(self.initial), 3, 3))
        low, high = self.range_[::-1].copy()
        for batch in batches:
            x = batch.transpose(1, 0, 2)  # (n_channels, n_sequences, n_timepoints)
            deviation = x - _sums(x, 0.0) / np.maximum(np.cumsum(~np.isnan(x), axis=-1), 1)
            moments += [_moments(x, deviation, horizon) for horizon in horizons.tolist()]
            low = np.fmin(low, np.fmin.reduce(x, axis=(1, 2)))
            high = np.fmax(high, np.fmax.reduce(x, axis=(1, 2)))
        self.horizons_ = np.append(0.0, horizons)
        coefs = _solve(moments).transpose(2, 1, 0)  # (2, n_channels, n_horizons)
        self.coefs_ = np.pad(coefs, ((0, 0), (0, 0), (1, 0)))
        self.range_ = np.stack([low, high])
        return self

    def fill(
        self, values: np.ndarray, state: GapState, rate: float = 1.0
    ) -> tuple[np.ndarray, GapState]:
        """Replace missing values.

        Parameters
        ----------
        values : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            NaN where missing.
        state : GapState
            What has been observed before.
        rate : float, default=1.0
            Sampling interval over that of the training data.

        Returns
        -------
        filled : ndarray of shape (n_sequences, n_channels, n_timepoints), float64
            A copy without NaN.
        state : GapState
            What has been observed after the last time point.
        """
        known = np.stack([np.full_like(state.value, np.nan), state.before, state.value], -1)
        known = np.concatenate([known, values], axis=-1)  # the first one stands for none
        times = np.zeros(known.shape)
        times[..., 2] = -1 - np.asarray(state.since)
        times[..., 1] = times[..., 2] - state.between
        times[..., 3:] = np.arange(values.shape[-1])
        last = np.where(np.isnan(known), 0, np.arange(known.shape[-1]))
        last = np.maximum.accumulate(last, axis=-1)
        previous = np.concatenate([np.zeros_like(last[..., :1]), last[..., :-1]], axis=-1)
        previous = np.take_along_axis(previous, last, axis=-1)
        value, before = (np.take_along_axis(known, rows, axis=-1) for rows in (last, previous))
        since = times - np.take_along_axis(times, last, axis=-1)
        between = times - since - np.take_along_axis(times, previous, axis=-1)
        absent = np.isnan(values)
        n_observed = np.cumsum(~absent, axis=-1) + np.expand_dims(state.n_observed, -1)
        total = _sums(values, state.total)
        parts = (value, before, between, since, n_observed, total)
        after = GapState(*(part[..., -1].copy() for part in parts))
        # where there is none before; or values are too large, which the encoders refuse
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = np.nan_to_num((value - before) / (rate * between))
            deviation = np.nan_to_num(value[..., 3:] - total / n_observed)
            value = np.where(np.isnan(value), self.initial[:, np.newaxis], value)
            filled = self._forecast(
                value[..., 3:], deviation, slope[..., 3:], rate * since[..., 3:]
            )
        return np.where(absent, filled, values), after

    def _forecast(
        self, value: np.ndarray, deviation: np.ndarray, slope: np.ndarray, steps: np.ndarray
    ) -> np.ndarray:
        """Return forecasts some steps after values, all (n_sequences, n_channels, n)."""
        of_deviation, of_slope = np.empty((2, *value.shape))
        for channel in range(value.shape[1]):
            for array, coefs in zip((of_deviation, of_slope), self.coefs_[:, channel], strict=True):
                array[:, channel] = np.interp(steps[:, channel], self.horizons_, coefs)
        forecasts = value + of_deviation * deviation + of_slope * slope
        low, high = self.range_[..., np.newaxis]
        return np.clip(forecasts, np.minimum(low, value), np.maximum(high, value))


def _sums(values: np.ndarray, before: float | np.ndarray) -> np.ndarray:
    """Return sums up to each time point of (..., n), added one by one as in a stream."""
    first = np.broadcast_to(before, values.shape[:-1])[..., np.newaxis]
    return np.cumsum(np.concatenate([first, np.nan_to_num(values)], axis=-1), axis=-1)[..., 1:]


def _moments(x: np.ndarray, deviation: np.ndarray, horizon: int) -> np.ndarray:
    """Return products of deviation, slope and the change after them, (n_channels, 3, 3)."""
    now = x[..., 1:-horizon]
    slope, change = now - x[..., : now.shape[-1]], x[..., 1 + horizon :] - now
    parts = np.stack([deviation[..., 1:-horizon], slope, change], axis=1).reshape(len(x), 3, -1)
    parts[np.broadcast_to(np.isnan(parts).any(axis=1, keepdims=True), parts.shape)] = 0
    return parts @ parts.transpose(0, 2, 1)


def fill_forward(values: np.ndarray, absent: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """Replace absent values by the last one that is present.

    Parameters
    ----------
    values : ndarray of shape (..., n_channels, n_timepoints)
        Sequences.
    absent : ndarray of the same shape, bool
        Which values to replace.
    initial : ndarray of shape (n_channels,) or (..., n_channels)
        What precedes the first time point.

    Returns
    -------
    ndarray of the shape of `values`
        A filled copy.
    """
    steps = np.arange(values.shape[-1])
    last = np.maximum.accumulate(np.where(absent, -1, steps), axis=-1)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=-1)
    return np.where(last < 0, initial[..., np.newaxis], filled)


def _solve(moments: np.ndarray) -> np.ndarray:
    """Return coefficients of deviation and slope, (..., 2), from products (..., 3, 3)."""
    size = np.sqrt(np.diagonal(moments, axis1=-2, axis2=-1)[..., :2])
    # of a constant, or with no pair so far apart, the last value stays as it is
    inverse = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
    products = inverse[..., np.newaxis] * moments[..., :2, :2] * inverse[..., np.newaxis, :]
    with_changes = inverse[..., np.newaxis] * moments[..., :2, 2:]
    penalty = np.where(size > 0, _RIDGE, 1.0)[..., np.newaxis] * np.eye(2)
    return inverse * np.linalg.solve(products + penalty, with_changes)[..., 0]
