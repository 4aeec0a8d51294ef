"""Windows over rows of time: the context before an origin, and the horizon after it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from sks4._validation import check_choice, check_integer
from sks4.data._batching import Batch
from sks4.data._gaps import fill_forward

# Squares of larger values are beyond float64.
_LARGEST = 1e150

# A standard deviation below this share of the mean is nothing but rounding: a few units in the last
# place.
_ROUNDING = 8 * np.finfo(np.float64).eps

# Values further from the median than so many widths of the middle 80 percent are spikes.
_FARTHEST = 10.0

# Covariates so many times as far from their median as this share of them count as missing.
_COVARIATES_TO_TRUST, _FARTHEST_COVARIATE = 0.99, 10.0


@dataclass(frozen=True, eq=False)
class EncodedSeries:
    """Rows of time as the network reads them, of one series or of several one after the other.

    Attributes
    ----------
    values : Tensor of shape (n_timepoints, n_targets)
        Scaled targets, with missing ones filled.
    observed : Tensor of shape (n_timepoints, n_targets), bool
        Which ones were not filled.
    covariates : Tensor of shape (at least n_timepoints, n_covariates)
        Scaled covariates; of one series there may be more rows, since they are known ahead.
    stops : Tensor of shape (n_series,), int64, or None
        Numbers of rows up to the end of each series, each of one row at least; None: one series.
    static : Tensor of shape (n_series, n_static) or None
        Scaled features of each series, which do not change in time.
    identity : Tensor of shape (n_series,), int64, or None
        Number of each series from 1, 0 of one that is not known.
    """

    values: Tensor
    observed: Tensor
    covariates: Tensor
    stops: Tensor | None = None
    static: Tensor | None = None
    identity: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of time points at which targets may be known."""
        return len(self.values)

    @classmethod
    def join(cls, parts: Sequence["EncodedSeries"]) -> "EncodedSeries":
        """Return single series one after the other; those known ahead end with their values."""
        lengths = torch.tensor([len(part) for part in parts])
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.observed for part in parts]),
            torch.cat([part.covariates[: len(part)] for part in parts]),
            lengths.cumsum(0),
            _joined([part.static for part in parts]),
            _joined([part.identity for part in parts]),
        )

    def ahead(self) -> "EncodedSeries":
        """Return one series with a row, without a value, for each that is known ahead."""
        n_more = len(self.covariates) - len(self)
        values = torch.cat([self.values, self.values[-1:].expand(n_more, -1)])
        observed = functional.pad(self.observed, (0, 0, 0, n_more))
        return replace(self, values=values, observed=observed)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the first row of each series, and the row after its last one, (n_series,)."""
        stops = torch.tensor([len(self)]) if self.stops is None else self.stops
        return functional.pad(stops[:-1], (1, 0)), stops

    def series_of(self, origins: Tensor) -> Tensor:
        """Return the number of the series that the row before each origin is from."""
        return torch.searchsorted(self.bounds()[1], origins)

    def known_before(self, origins: np.ndarray, length: int) -> np.ndarray:
        """Return what was observed before some origins, `length` rows at most.

        Returns an array of shape (n_origins, n_targets, length), float64, NaN where missing, also
        before the first row. Where no value is left, the last one before stands in each row.
        """
        after = torch.from_numpy(origins)
        first = self.bounds()[0][self.series_of(after)][:, None]
        rows = after[:, None] + torch.arange(-length, 0)
        inside = rows.maximum(first)
        is_known = self.observed[inside] & (rows == inside)[..., None]
        windows = torch.where(is_known, self.values[inside], torch.nan).double().numpy()
        windows = windows.swapaxes(1, 2)
        is_empty = np.isnan(windows).all(axis=-1, keepdims=True)
        last = self.values[after - 1].double().numpy()[..., np.newaxis]
        return np.where(is_empty, last, windows)

    def is_known_before(self, origins: Tensor) -> Tensor:
        """Return whether a target had a value before each origin, (n_origins, n_targets)."""
        return self.first_seen()[self.series_of(origins)] < origins[:, None]

    def first_seen(self) -> Tensor:
        """Return the first row of each series in which a target has a value, (n_series, n_targets).

        Of a target without any, the number of all rows.
        """
        starts, _ = self.bounds()
        rows = torch.arange(len(self), dtype=torch.int32)[:, None]
        seen_at = torch.where(self.observed, rows, len(self)).numpy()
        return torch.from_numpy(np.minimum.reduceat(seen_at, starts.numpy()))


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    some = [part for part in parts if part is not None]
    return torch.cat(some) if some else None


class SeriesEncoder:
    """Scale the columns of a series and of its covariates, and fill what is missing.

    Parameters
    ----------
    standardize : bool, default=True
        Whether each column is scaled to mean 0 and standard deviation 1 over the training rows.
        Covariates that do not vary there become zero, since they have no unit to be scaled by.
    missing : {"mask", "ffill", "error"}, default="mask"
        What happens to missing targets. "ffill": the last observed value stands for them, and the
        first observed one before it. "mask": the same, and the network also reads where. "error":
        refuse them.
    fix_constants : bool, default=False
        Whether the forecast of a target that does not vary in the training rows is their value.

    Attributes
    ----------
    target_scaler_, covariate_scaler_ : ColumnScaler or None
        The fitted scaling.
    covariate_bounds_ : tuple of ndarray of shape (n_covariates,), or None
        Least and largest covariates that count.
    has_mask_ : bool
        Whether the network reads a mask.
    n_targets_, n_covariates_ : int
        Numbers of columns.
    """

    def __init__(
        self, standardize: bool = True, missing: str = "mask", *, fix_constants: bool = False
    ) -> None:
        self.standardize = standardize
        self.fix_constants = fix_constants
        self.missing = check_choice("missing", missing, ("mask", "ffill", "error"))

    def fit(
        self,
        values: np.ndarray,
        covariates: np.ndarray,
        *,
        counts: np.ndarray | None = None,
        like: "SeriesEncoder | None" = None,
    ) -> "SeriesEncoder":
        """Learn from the training rows.

        Parameters
        ----------
        values : ndarray of shape (n_timepoints, n_targets), float64
            Targets, NaN where missing; each has one value at least.
        covariates : ndarray of shape (n_timepoints, n_covariates), float64
            Covariates, NaN where missing.
        counts : ndarray of shape (n_timepoints,), bool, or None, default=None
            Rows whose targets count; those of others are missing. None: all.
        like : SeriesEncoder or None, default=None
            Fitted encoder of another series, whose scaling of covariates is used; None: their own.

        Returns
        -------
        self : SeriesEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If missing values are refused, or values are too large to be scaled.
        """
        self.check(values)
        values = _counted(values, counts)
        self.has_mask_ = self.missing == "mask"
        self.n_targets_, self.n_covariates_ = values.shape[1], covariates.shape[1]
        self.target_scaler_ = self.covariate_scaler_ = self.covariate_bounds_ = None
        if self.standardize:
            unit = 0.0 if self.fix_constants else 1.0
            self.target_scaler_ = ColumnScaler.fit(without_spikes(values), "The targets", unit)
            if like is None:
                _check_magnitude(covariates, "The covariates")
                self.covariate_bounds_ = _usual_bounds(covariates)
                usual = _within(covariates, self.covariate_bounds_)
                self.covariate_scaler_ = ColumnScaler.fit(usual, "The covariates", 0.0)
            else:
                self.covariate_bounds_ = like.covariate_bounds_
                self.covariate_scaler_ = like.covariate_scaler_
        return self

    def check(self, values: np.ndarray) -> None:
        """Raise ValueError if missing values are refused and there are some."""
        if self.missing == "error" and np.isnan(values).any():
            row = int(np.isnan(values).any(axis=1).argmax())
            raise ValueError(
                "The series must have no missing values with missing='error', got NaN first in "
                f"row {row}. Pass missing='mask' or 'ffill'."
            )

    def transform(
        self,
        values: np.ndarray,
        covariates: np.ndarray,
        dtype: str = "float32",
        *,
        counts: np.ndarray | None = None,
    ) -> EncodedSeries:
        """Encode rows of time.

        Parameters
        ----------
        values : ndarray of shape (n_timepoints, n_targets)
            Targets, NaN where missing.
        covariates : ndarray of shape (at least n_timepoints, n_covariates)
            Covariates, NaN where missing: the last value before stands for it, else the mean. Those
            that are far beyond the ones in the training rows count as missing.
        dtype : {"float32", "float64"}, default="float32"
            Type of the result.
        counts : ndarray of shape (n_timepoints,), bool, or None, default=None
            Rows whose targets count; those of others are missing. None: all.

        Returns
        -------
        EncodedSeries
            Without NaN.

        Raises
        ------
        ValueError
            If missing values are refused, or a scaled value is beyond the range of `dtype`.
        """
        self.check(values)
        values = _counted(values, counts)
        absent = np.isnan(values)
        scaled = values if self.target_scaler_ is None else self.target_scaler_.transform(values)
        first = np.take_along_axis(scaled, absent.argmin(axis=0)[np.newaxis], axis=0)[0]
        filled = fill_forward(scaled.T, absent.T, np.nan_to_num(first)).T
        known = covariates
        if self.covariate_scaler_ is not None and self.covariate_bounds_ is not None:
            known = self.covariate_scaler_.transform(_within(covariates, self.covariate_bounds_))
        known = fill_forward(known.T, np.isnan(known.T), np.zeros(known.shape[1])).T
        encoded = EncodedSeries(
            _as_tensor(filled, dtype, "The targets"),
            torch.from_numpy(~absent),
            _as_tensor(known, dtype, "The covariates"),
        )
        _check_magnitude(values, "The targets")
        return encoded

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        """Bring outputs back into the unit of the targets.

        Parameters
        ----------
        outputs : ndarray of shape (..., n_targets)
            Scaled values.

        Returns
        -------
        ndarray of the same shape, float64
            Values in the unit of the targets.
        """
        outputs = outputs.astype(np.float64)
        if self.target_scaler_ is None:
            return outputs
        return self.target_scaler_.inverse_transform(outputs)


@dataclass(frozen=True, eq=False)
class ColumnScaler:
    """Shift and scale columns by mean and standard deviation, in whatever unit they are.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_columns,), float64
        Mean and standard deviation. A column with the scale 0 is zero, and its mean when scaled
        back.
    """

    mean_: np.ndarray
    scale_: np.ndarray

    @classmethod
    def fit(cls, columns: np.ndarray, name: str, constant_scale: float) -> "ColumnScaler":
        """Learn from columns (n_rows, n_columns), NaN where missing.

        Parameters
        ----------
        columns : ndarray of shape (n_rows, n_columns), float64
            The training rows. An empty column counts as constant zero.
        name : str
            Name of the columns, for the errors.
        constant_scale : float
            Scale of columns that do not vary.

        Raises
        ------
        ValueError
            If a value is above 1e150 in magnitude.
        """
        _check_magnitude(columns, name)
        observed = ~np.isnan(columns)
        counts = np.maximum(observed.sum(axis=0), 1)
        first = np.take_along_axis(columns, observed.argmax(axis=0)[np.newaxis], axis=0)[0]
        first = np.nan_to_num(first)
        shifted = np.where(observed, columns - first, 0.0)  # a constant is exactly zero
        shift = shifted.sum(axis=0) / counts
        deviations = np.where(observed, shifted - shift, 0.0)
        largest = np.abs(deviations).max(axis=0)
        unit = np.where(largest > 0, largest, 1.0)  # squares of small numbers would vanish
        scale = unit * np.sqrt(np.square(deviations / unit).sum(axis=0) / counts)
        mean = first + shift
        is_constant = scale <= _ROUNDING * np.abs(mean)
        return cls(mean, np.where(is_constant, constant_scale, scale))

    def transform(self, columns: np.ndarray) -> np.ndarray:
        """Scale columns; NaN stays NaN."""
        scale = np.where(self.scale_ > 0, self.scale_, np.inf)
        with np.errstate(over="ignore"):  # refused where it is rounded to the dtype
            return (columns - self.mean_) / scale

    def inverse_transform(self, columns: np.ndarray) -> np.ndarray:
        """Undo `transform`."""
        return columns * self.scale_ + self.mean_


def _check_magnitude(columns: np.ndarray, name: str) -> None:
    """Raise ValueError if the square of a value is beyond float64."""
    if (np.abs(columns, where=~np.isnan(columns), out=np.zeros_like(columns)) > _LARGEST).any():
        raise ValueError(
            f"{name} must be within 1e150 in magnitude, since their squares are computed. Scale "
            "them before."
        )


def _counted(values: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """Return targets, NaN in rows that do not count."""
    return values if counts is None else np.where(counts[:, np.newaxis], values, np.nan)


def without_spikes(values: np.ndarray) -> np.ndarray:
    """Return columns whose spikes are as large as the largest usual values.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_targets), float64
        Targets, NaN where missing.

    Returns
    -------
    ndarray of the same shape
        Values further from the median than ten times the distance of the middle 80 percent are
        moved there; all are kept where this distance is 0.
    """
    low, middle, high = _nan_quantiles(values, (0.1, 0.5, 0.9))
    reach = np.where(high > low, _FARTHEST * (high - low), np.inf)
    return np.clip(values, middle - reach, middle + reach)


def _usual_bounds(covariates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest values of columns (n_rows, n_columns) that are no spikes.

    They are infinite where 99 percent of a column are equal.
    """
    (middle,) = _nan_quantiles(covariates, (0.5,))
    distance = np.sort(np.abs(covariates - middle), axis=0)  # NaN last
    last = (~np.isnan(covariates)).sum(axis=0) - 1
    rank = np.floor(_COVARIATES_TO_TRUST * np.maximum(last, 0)).astype(int)[np.newaxis]
    usual = np.nan_to_num(np.take_along_axis(distance, rank, axis=0)[0])
    reach = np.where(usual > 0, _FARTHEST_COVARIATE * usual, np.inf)
    return middle - reach, middle + reach


def _within(columns: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return columns (n_rows, n_columns), NaN where they are beyond the bounds."""
    low, high = bounds
    return np.where((columns < low) | (columns > high), np.nan, columns)


def _nan_quantiles(columns: np.ndarray, levels: tuple[float, ...]) -> list[np.ndarray]:
    """Return order statistics of what is not NaN in columns, 0 of nothing."""
    ordered = np.sort(columns, axis=0)  # NaN last
    last = np.maximum((~np.isnan(columns)).sum(axis=0) - 1, 0)
    ranks = [np.rint(level * last).astype(int)[np.newaxis] for level in levels]
    return [np.nan_to_num(np.take_along_axis(ordered, rank, axis=0)[0]) for rank in ranks]


def _as_tensor(values: np.ndarray, dtype: str, name: str) -> Tensor:
    """Return a contiguous tensor, all finite."""
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(values, dtype=dtype)
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be within the range of {dtype} after scaling, got values up to "
            f"{np.abs(values).max():.3g}. Scale them before, or pass dtype='float64'."
        )
    return torch.from_numpy(array)


class WindowDataset(Dataset[Batch]):
    """Windows of series as whole batches, for a torch DataLoader with an identity `collate_fn`.

    No window is copied before its batch: the rows are found by their numbers. A batch is ``(inputs,
    targets)``. `inputs` holds "context", shape (batch, context_length, n_targets); "observed", bool
    of the same shape, if asked for; "covariates", shape (batch, context_length + horizon,
    n_covariates), "static", shape (batch, n_static), and "identity", int64 of shape (batch,), if
    the series have them. `targets` holds "y" and "weight", both
    (batch, horizon, n_targets); the weight is 0 where a target is missing, after the last row, or
    where its target has no value before the origin. The context of such a target is zero. Rows
    before the first one of a series are not observed; its first values and covariates stand there.

    Parameters
    ----------
    series : EncodedSeries
        The rows of time.
    origins : ndarray of shape (n_windows,), int
        Number of rows before the horizon of each window, one at least of its series. Covariates
        after the last known row stay as they were there.
    context_length, horizon : int
        Rows before and after an origin.
    has_mask : bool, default=False
        Whether "observed" is part of a batch.
    row_weight : ndarray of shape (n_timepoints,) or None, default=None
        What each row counts as a target; None: ones.
    n_ahead : int, default=0
        Rows by which the windows are moved beyond their origins.
    continuation : ndarray of shape (n_windows, n_steps, n_targets) or None, default=None
        What replaces values there: forecasts of the last of these rows, all of them
        or `context_length` at least. Needed if `n_ahead` is not 0.

    Raises
    ------
    ValueError
        If an origin has no row before it, or is after the last row.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.arange(10.0)[:, np.newaxis]
    >>> encoder = SeriesEncoder(standardize=False).fit(rows, np.empty((10, 0)))
    >>> series = encoder.transform(rows, np.empty((10, 0)))
    >>> windows = WindowDataset(series, np.array([4, 9]), context_length=3, horizon=2)
    >>> inputs, targets = windows[0, 1]
    >>> inputs["context"][:, :, 0].tolist(), targets["y"][:, :, 0].tolist()
    ([[1.0, 2.0, 3.0], [6.0, 7.0, 8.0]], [[4.0, 5.0], [9.0, 0.0]])
    >>> targets["weight"][1, :, 0].tolist()
    [1.0, 0.0]
    """

    def __init__(
        self,
        series: EncodedSeries,
        origins: np.ndarray,
        context_length: int,
        horizon: int,
        *,
        has_mask: bool = False,
        row_weight: np.ndarray | None = None,
        n_ahead: int = 0,
        continuation: np.ndarray | None = None,
    ) -> None:
        self.context_length = check_integer("context_length", context_length)
        self.horizon = check_integer("horizon", horizon)
        self.origins = torch.from_numpy(np.asarray(origins, dtype=np.int64))
        self.has_mask = has_mask
        self._check_origins(len(series))
        self.continuation = None if continuation is None else torch.from_numpy(continuation)
        self.n_ahead = n_ahead
        self._series = series
        self._row_weight = None if row_weight is None else torch.from_numpy(row_weight)
        self._starts, self._stops = series.bounds()
        self._first_seen = series.first_seen()

    def _check_origins(self, n_timepoints: int) -> None:
        first, last = int(self.origins.min()), int(self.origins.max())
        if first < 1 or last > n_timepoints:
            raise ValueError(
                f"origins must be from 1 to the number of rows, {n_timepoints}, got {first} to "
                f"{last}."
            )

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.origins)

    def __getitem__(self, rows: Any) -> Batch:
        """Return the windows at one position or several as a batch."""
        return self.__getitems__(np.atleast_1d(rows).tolist())

    def __getitems__(self, rows: list[int]) -> Batch:
        """Return the windows at some positions as one batch."""
        series, origins = self._series, self.origins[rows]
        number = series.series_of(origins)
        first, stop = self._starts[number, None], self._stops[number, None]
        ahead = origins[:, None] + self.n_ahead
        past = ahead + torch.arange(-self.context_length, 0)  # (batch, context_length)
        future = ahead + torch.arange(self.horizon)  # (batch, horizon)
        inside = past.maximum(first).minimum(stop - 1)
        inputs = {"context": series.values[inside]}
        if self.has_mask:
            inputs["observed"] = series.observed[inside] & (past == inside)[..., None]
        if self.continuation is not None:
            n_steps = min(self.n_ahead, self.context_length)
            inputs["context"][:, -n_steps:] = self.continuation[rows, -n_steps:]
            if self.has_mask:
                inputs["observed"][:, -n_steps:] = True
        if series.covariates.shape[1]:
            last = stop - 1 + len(series.covariates) - len(series)
            steps = torch.cat([past, future], dim=1).maximum(first).minimum(last)
            inputs["covariates"] = series.covariates[steps]
        if series.static is not None:
            inputs["static"] = series.static[number]
        if series.identity is not None:
            inputs["identity"] = series.identity[number]
        known = (self._first_seen[number] < origins[:, None])[:, None]  # (batch, 1, n_targets)
        if not known.all():  # what fills rows before the first value is this value, from later on
            inputs["context"] = torch.where(known, inputs["context"], 0)
        return inputs, self._targets(future, stop, known)

    def _targets(self, future: Tensor, stop: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Return the targets of some rows (batch, horizon), zero after the last one."""
        series, inside = self._series, future.minimum(stop - 1)
        exists = (future == inside)[..., None]
        y = torch.where(exists, series.values[inside], 0)
        weight = (series.observed[inside] & exists & known).to(y.dtype)
        if self._row_weight is not None:
            weight = weight * self._row_weight[inside][..., None].to(y.dtype)
        return {"y": y, "weight": weight}
