"""Training of the forecaster, and its forecasts from any number of origins."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from sks4.data import BucketBatchSampler, EncodedSeries, SeriesEncoder, WindowDataset
from sks4.estimators._auto import MAX_TOKENS
from sks4.estimators._conformal import AdaptiveLevels, ErrorDistribution
from sks4.estimators._forecasting_input import TimeRowsS4
from sks4.estimators._observations import Observations, check_each_observed
from sks4.estimators._old_base import S4Estimator
from sks4.exceptions import ValidationSplitWarning
from sks4.nn import S4ForecastModel
from sks4.training import (
    AbsoluteError,
    Batches,
    Huber,
    Quantile,
    S4Net,
    SquaredError,
    WeightAverage,
)

_LOSSES = {"squared_error": SquaredError, "absolute_error": AbsoluteError, "huber": Huber}

# Learned with loss="quantile" where none are given.
_QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)

# Longer contexts gained nothing on hourly data with daily and weekly cycles.
_LONGEST_CONTEXT = 512

# Validation rows beyond the horizon, so that every step has several origins.
_MIN_ORIGINS = 10

# Windows overlap, so few passes are enough where there are many of them.
_OPTIMIZER_STEPS = 350
_EPOCHS = (3, 100)
_BATCH_SIZE = 64

_AVERAGE_DECAY = 0.99


@dataclass(kw_only=True, eq=False, repr=False)
class ForecastingS4(TimeRowsS4):
    """Base of the forecaster: windows to a net, and the net to forecasts in the user's units."""

    d_model: int = 16
    n_layers: int = 2
    d_state: int = 16
    ssm: str = "s4d"
    dt_min: float | str = 0.01
    dt_max: float | str = 0.1
    patch_size: int = 24
    pooling: str = "all"
    dropout: float = 0.3
    lr: float = 0.002
    weight_decay: float = 0.01
    standardize: str | None = "window"
    horizon: int = 24
    context_length: int | str = "auto"
    loss: str = "absolute_error"
    quantiles: Sequence[float] | None = None
    channels: str = "independent"

    _parameter_constraints: ClassVar[dict[str, list]] = S4Estimator._parameter_constraints | {
        "pooling": [StrOptions({"all", "mean", "last", "max"})],
        "standardize": [StrOptions({"window", "global"}), None],
        "horizon": [Interval(Integral, 1, None, closed="left")],
        "context_length": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "loss": [StrOptions({*_LOSSES, "quantile"})],
        "quantiles": ["array-like", None],
        "channels": [StrOptions({"independent", "mixed"})],
        "calendar": ["array-like", None],
    }
    _model_parameters: ClassVar[tuple[str, ...]] = (
        *S4Estimator._model_parameters,
        *("horizon", "channels"),
    )
    _data_parameters: ClassVar[tuple[str, ...]] = (
        *S4Estimator._data_parameters,
        *("context_length", "loss", "quantiles", "calendar"),
    )
    _samples: ClassVar[str] = "windows"

    @abstractmethod
    def _calibrate(self, series: EncodedSeries, rows: Observations, n_train: int) -> None:
        """Learn the distribution of errors from the rows behind the training rows."""

    @abstractmethod
    def _update(self, X: Any, y: Any, sample_weight: Any = None) -> None:
        """Append rows to those seen, after their forecasts have been compared with them."""

    # ------------------------------------------------------------------ training

    def _fit(self, X: Any, y: Any, X_val: Any, y_val: Any, sample_weight: Any) -> Self:
        """Train, with the block of time given, or the last one, as validation data."""
        goes_on = self._begin(goes_on=self.warm_start)
        before = dict(vars(self))
        try:
            rows = self._observations_of_fit(X, y, sample_weight)
            if not goes_on:
                self._seed()
            all_rows, n_train = self._with_validation_rows(rows, X_val, y_val)
            if not goes_on:
                self._set_up(rows.head(n_train))
            origins = self._training_origins(n_train)
            series = self._encode(all_rows)
        except (TypeError, ValueError):
            if goes_on:  # what was fitted still follows the rows that it has seen
                self.__dict__.update(before)
            raise
        has_valid = n_train < len(all_rows)
        batches = self._training_batches(series, all_rows, origins)
        valid = self._validation_batches(series, all_rows, n_train) if has_valid else None
        self.max_epochs_ = self._n_epochs(len(batches.batch_sampler))
        net = self._net(early_stopping=has_valid and bool(self.early_stopping))
        self._announce(len(origins))
        with self._keeping(net):
            net.fit(batches, valid=valid)
        if has_valid:
            self._calibrate(series, all_rows, n_train)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Train one epoch on the windows that end in new rows; the first call fixes all else."""
        goes_on = self._begin(goes_on=True)
        if goes_on:
            n_seen = len(self._seen_)
            self._update(X, y, sample_weight)
            first = max(self.context_length_, n_seen + 1 - self.horizon)
            origins = np.arange(first, len(self._seen_) + 1 - self.horizon)
        else:
            rows = self._observations_of_fit(X, y, sample_weight)
            self._seed()
            self._set_up(rows)
            origins = self._training_origins(len(rows))
        if len(origins) == 0:
            return self
        series = self._encode(self._seen_)
        net = self._net()
        with self._keeping(net):
            net.partial_fit(self._training_batches(series, self._seen_, origins))
        return self

    def _begin(self, *, goes_on: bool) -> bool:
        """Check the parameters, and forget what was learned unless training goes on."""
        self._check_parameters(goes_on=goes_on)
        self._levels()
        self._check_calendar()
        goes_on = goes_on and self.__sklearn_is_fitted__()
        if not goes_on:
            self._forget()
        return goes_on

    def _observations_of_fit(self, X: Any, y: Any, sample_weight: Any) -> Observations:
        """Check the rows to train on, and make them those that forecasts follow."""
        goes_on = self.__sklearn_is_fitted__()
        rows = self._rows(X, y, sample_weight, reset=not goes_on)
        self._seen_ = rows
        self._calibration_: ErrorDistribution | None = None
        self._adaptive_ = AdaptiveLevels()
        return rows

    def _with_validation_rows(
        self, rows: Observations, X_val: Any, y_val: Any
    ) -> tuple[Observations, int]:
        """Return all rows, those of validation last, and the number of rows to train on."""
        if X_val is not None:
            later = self._observations(X_val, y_val, reset=False)
            if np.isnan(later.values).all():
                raise ValueError(
                    "The validation rows must have an observed target, got only missing ones. Pass "
                    "other rows, or none."
                )
            return rows.followed_by(later), len(rows)
        if y_val is not None:
            raise ValueError("X_val must be given where y_val is, got only y_val.")
        if not self.early_stopping:
            return rows, len(rows)
        is_wanted = self.early_stopping != "auto"
        n_valid = max(math.ceil(self.validation_fraction * len(rows)), self.horizon + _MIN_ORIGINS)
        n_train = len(rows) - n_valid
        n_spare = n_train - self._shortest() - (0 if is_wanted else n_valid)
        if n_spare >= 0 and not np.isnan(rows.values[n_train:]).all():
            return rows, n_train
        if is_wanted:
            warnings.warn(
                f"No validation block could be set aside: it needs {n_valid} rows with an observed "
                f"target, which leaves {max(n_train, 0)} of {len(rows)} to train on. Pass more "
                "rows, or X_val.",
                ValidationSplitWarning,
                stacklevel=4,
            )
        return rows, len(rows)

    def _shortest(self) -> int:
        """Return the number of rows that make one window."""
        context = 1 if self.context_length == "auto" else int(self.context_length)
        return context + self.horizon

    def _set_up(self, train: Observations) -> None:
        """Learn the scaling, and choose what is "auto", from the training rows."""
        self.context_length_ = (
            resolve_context_length(len(train), self.horizon, self.patch_size)
            if self.context_length == "auto"
            else int(self.context_length)
        )
        self._horizon_ = int(self.horizon)
        self._learned_levels_ = np.array(self._levels()) if self.loss == "quantile" else None
        check_each_observed(train.values, self._form_.names, "to train on")
        self.encoder_ = SeriesEncoder(self.standardize is not None, self.missing)
        self.encoder_.fit(train.values, train.covariates)
        self._resolve_auto(np.array([-(-self.context_length_ // self.patch_size)]))
        if self.batch_size == "auto":
            self.batch_size_ = max(1, min(_BATCH_SIZE, MAX_TOKENS // self._n_steps()))

    def _n_steps(self) -> int:
        """Return the number of steps that the state space makes in a window, over all series."""
        n_steps = -(-self.context_length_ // self.patch_size)
        return n_steps * (len(self._form_.names) if self.channels == "independent" else 1)

    def _n_epochs(self, n_batches: int) -> int:
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        low, high = _EPOCHS
        return min(max(low, math.ceil(_OPTIMIZER_STEPS / n_batches)), high)

    def _training_origins(self, n_train: int) -> np.ndarray:
        """Return the origins of the windows that lie in the first rows."""
        n_windows = n_train - self.context_length_ - self._horizon_ + 1
        if n_windows < 1:
            n_rows = len(self._seen_)
            aside = f" ({n_rows - n_train} more for validation)" if n_rows > n_train else ""
            raise ValueError(
                f"The series must have context_length + horizon = {self.context_length_} + "
                f"{self._horizon_} rows at least to train on, got n_samples={n_train}{aside}. "
                "Pass more rows, or smaller context_length and horizon."
            )
        return self.context_length_ + np.arange(n_windows)

    def _net(self, *, early_stopping: bool = False) -> S4Net:
        """Return a net to train: the one there is, going on, or a new one."""
        if self.__sklearn_is_fitted__():
            return self._continued_net(self.net_, early_stopping=early_stopping)
        model = self._build_model(
            S4ForecastModel,
            n_targets=len(self._form_.names),
            context_length=self.context_length_,
            n_covariates=self._seen_.covariates.shape[1],
            n_quantiles=None if self._learned_levels_ is None else len(self._learned_levels_),
            standardize=self.standardize == "window",
        )
        return self._build_net(model, early_stopping=early_stopping)

    def _criterion(self) -> torch.nn.Module:
        if self._learned_levels_ is not None:
            return Quantile(self._learned_levels_.tolist())
        return _LOSSES[self.loss]()

    def _averaging_callbacks(self) -> list:
        return [("weight_average", WeightAverage(_AVERAGE_DECAY))]

    def _levels(self) -> list[float]:
        """Return the levels that are learned, or given where no level is asked for."""
        return check_levels(_QUANTILES if self.quantiles is None else self.quantiles)

    # ------------------------------------------------------------------ windows

    def _encode(self, rows: Observations, covariates: np.ndarray | None = None) -> EncodedSeries:
        """Return rows as the network reads them, perhaps with covariates of rows to come."""
        if covariates is None:
            covariates = rows.covariates
        dtype = self._built_with_["dtype"] if self.__sklearn_is_fitted__() else self.dtype
        return self.encoder_.transform(rows.values, covariates, dtype)

    def _dataset(
        self,
        series: EncodedSeries,
        origins: np.ndarray,
        weights: np.ndarray | None = None,
        n_ahead: int = 0,
        continuation: np.ndarray | None = None,
    ) -> WindowDataset:
        return WindowDataset(
            series,
            origins,
            self.context_length_,
            self._horizon_,
            has_mask=self.encoder_.has_mask_,
            row_weight=weights,
            n_ahead=n_ahead,
            continuation=continuation,
        )

    def _training_batches(
        self, series: EncodedSeries, rows: Observations, origins: np.ndarray
    ) -> Batches:
        """Return shuffled batches of windows."""
        sampler = BucketBatchSampler(
            np.full(len(origins), self._n_steps()), self.batch_size_, seed=self._rng_
        )
        return Batches(self._dataset(series, origins, rows.weights), sampler)

    def _validation_batches(
        self, series: EncodedSeries, rows: Observations, n_train: int
    ) -> Batches:
        """Return batches of the windows whose horizons begin behind the training rows."""
        origins = np.arange(n_train, len(rows))
        return Batches(self._dataset(series, origins, rows.weights), self._sampler(len(origins)))

    def _sampler(self, n_windows: int) -> BucketBatchSampler:
        """Return the windows of the batches to evaluate."""
        return BucketBatchSampler(
            np.full(n_windows, self._n_steps()), n_windows, max_tokens=MAX_TOKENS, shuffle=False
        )


def resolve_context_length(n_rows: int, horizon: int, patch_size: int) -> int:
    """Return a context of whole patches that leaves two thirds of the rows for its windows."""
    length = min(_LONGEST_CONTEXT, (n_rows - horizon) // 3)
    return max(1, length // patch_size * patch_size if length > patch_size else length)


def check_levels(levels: Any) -> list[float]:
    """Return levels of quantiles if they are between 0 and 1 and rising, else raise."""
    try:
        array = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(
            f"quantiles must be a number or a sequence of numbers, got {levels!r}. Pass "
            "[0.1, 0.5, 0.9]."
        ) from None
    if array.ndim != 1 or not len(array) or not ((array > 0) & (array < 1)).all():
        raise ValueError(
            f"quantiles must be levels above 0 and below 1, got {levels!r}. Pass [0.1, 0.5, 0.9]."
        )
    if (np.diff(array) <= 0).any():
        raise ValueError(f"quantiles must rise, got {levels!r}. Sort them.")
    return array.tolist()
