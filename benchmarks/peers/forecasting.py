"""Forecasters to compare with: the seasonal naive forecast, linear maps, regressors on lags.

All of them see series that are standardized by the training rows, forecast each series from its own
past with the same parameters for all, and are fitted to the training rows, with the validation rows
for what is chosen. A series has the shape (n_timepoints, n_series).
"""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn import functional

from sks4.data import BucketBatchSampler, SeriesEncoder, WindowDataset
from sks4.training import (
    Batches,
    EarlyStopping,
    LearningRateSchedule,
    S4Net,
    SquaredError,
)

HOURS = 24
WEEK = 7 * HOURS


class Forecaster(BaseEstimator):
    """Base of the peers: ``fit(train, valid)``, then ``forecast(contexts)``."""

    context_length: int
    horizon: int

    @abstractmethod
    def fit(self, train: np.ndarray, valid: np.ndarray) -> Self:
        """Fit to rows of time; those of `valid` follow those of `train`."""

    @abstractmethod
    def forecast(self, contexts: np.ndarray) -> np.ndarray:
        """Map contexts (n, context_length) to forecasts (n, horizon)."""

    def _windows(self, rows: np.ndarray, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return contexts and what follows them, of all series one after the other."""
        length = self.context_length + self.horizon
        windows = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0)[::stride]
        windows = windows.reshape(-1, length)  # (n_windows * n_series, context_length + horizon)
        return windows[:, : self.context_length], windows[:, self.context_length :]


class SeasonalNaive(Forecaster):
    """What was observed at the same hour of the last day that is known."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.context_length = HOURS

    def fit(self, train: np.ndarray, valid: np.ndarray) -> Self:
        """Learn nothing."""
        return self

    def forecast(self, contexts: np.ndarray) -> np.ndarray:
        """Repeat the last day."""
        return np.tile(contexts, -(-self.horizon // HOURS))[:, : self.horizon]


class LagRidge(Forecaster):
    """scikit-learn's ridge regression from the lags to the whole horizon.

    Parameters
    ----------
    horizon : int
        Steps to forecast.
    context_length : int, default=336
        Number of lags.
    alphas : tuple of float
        Penalties, of which the one with the least squared error in the validation rows is taken.
    """

    def __init__(
        self,
        horizon: int,
        context_length: int = 336,
        alphas: tuple[float, ...] = (1.0, 1e2, 1e4, 1e5),
    ) -> None:
        self.horizon = horizon
        self.context_length = context_length
        self.alphas = alphas

    def fit(self, train: np.ndarray, valid: np.ndarray) -> Self:
        """Fit with every penalty and keep the best."""
        X, y = self._windows(train)
        X_valid, y_valid = self._windows(np.concatenate([train[-self.context_length :], valid]))
        models = [Ridge(alpha=alpha).fit(X, y) for alpha in self.alphas]
        errors = [np.square(model.predict(X_valid) - y_valid).mean() for model in models]
        self.model_ = models[int(np.argmin(errors))]
        return self

    def forecast(self, contexts: np.ndarray) -> np.ndarray:
        """Apply the linear map."""
        return self.model_.predict(contexts)


class LagBoosting(Forecaster):
    """scikit-learn's gradient boosted trees, one model for all steps, which it sees as a feature.

    The features are the last two days, the same hour as that of the forecast in each of the last
    seven days that are known, all less the last value, and the step. It trains on a sample of all
    pairs of a window and a step.

    Parameters
    ----------
    horizon : int
        Steps to forecast.
    n_samples : int, default=300_000
        Pairs of a window and a step to train on; a tenth as many, from the validation rows, say
        when to stop.
    random_state : int, default=0
        Seed of the sample.
    """

    def __init__(self, horizon: int, n_samples: int = 300_000, random_state: int = 0) -> None:
        self.horizon = horizon
        self.n_samples = n_samples
        self.random_state = random_state
        self.context_length = WEEK

    def fit(self, train: np.ndarray, valid: np.ndarray) -> Self:
        """Fit to a sample, until the validation error no longer falls."""
        rng = np.random.default_rng(self.random_state)
        X, y = self._sample(train, self.n_samples, rng)
        later = np.concatenate([train[-self.context_length :], valid])
        X_valid, y_valid = self._sample(later, self.n_samples // 10, rng)
        self.model_ = HistGradientBoostingRegressor(
            max_iter=300, early_stopping=True, random_state=self.random_state
        )
        self.model_.fit(X, y, X_val=X_valid, y_val=y_valid)
        return self

    def forecast(self, contexts: np.ndarray) -> np.ndarray:
        """Forecast every step of every window."""
        forecast = np.empty((len(contexts), self.horizon))
        for step in range(self.horizon):
            X = self._features(contexts, np.full(len(contexts), step))
            forecast[:, step] = self.model_.predict(X) + contexts[:, -1]
        return forecast

    def _sample(
        self, rows: np.ndarray, n_samples: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return features and targets of random windows and steps."""
        contexts, futures = self._windows(rows)
        chosen = rng.integers(len(contexts), size=n_samples)
        steps = rng.integers(self.horizon, size=n_samples)
        contexts = contexts[chosen]
        return self._features(contexts, steps), futures[chosen, steps] - contexts[:, -1]

    @staticmethod
    def _features(contexts: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return lags and the step (n, 2 * 24 + 7 + 1)."""
        days = contexts.reshape(len(contexts), -1, HOURS)
        same_hour = days[np.arange(len(days)), :, steps % HOURS]  # (n, 7)
        lags = np.concatenate([contexts[:, -2 * HOURS :], same_hour], axis=1)
        return np.column_stack([lags - contexts[:, -1:], steps])


class NLinear(nn.Module):
    """One linear map from the values less the last one, which is added again.

    References
    ----------
    Zeng et al. 2023 (Are Transformers Effective for Time Series Forecasting?, AAAI), section 4.
    """

    def __init__(self, context_length: int, horizon: int) -> None:
        super().__init__()
        self.linear = _mean_at_first(context_length, horizon)

    def forward(self, context: Tensor) -> Tensor:
        """Map ``context (batch, context_length, n_series)`` to ``(batch, horizon, n_series)``."""
        last = context[:, -1:]
        return self.linear((context - last).mT).mT + last


class DLinear(nn.Module):
    """A linear map of the moving average and another one of the rest, added.

    Parameters
    ----------
    context_length, horizon : int
        Steps.
    width : int, default=25
        Steps of the moving average, beyond the ends of which the outermost values stand.

    References
    ----------
    Zeng et al. 2023, section 4.
    """

    def __init__(self, context_length: int, horizon: int, width: int = 25) -> None:
        super().__init__()
        self.width = width
        self.trend = _mean_at_first(context_length, horizon)
        self.seasonal = _mean_at_first(context_length, horizon)

    def forward(self, context: Tensor) -> Tensor:
        """Map ``context (batch, context_length, n_series)`` to ``(batch, horizon, n_series)``."""
        u = context.mT  # (batch, n_series, context_length)
        ends = self.width // 2, (self.width - 1) // 2
        trend = functional.avg_pool1d(functional.pad(u, ends, mode="replicate"), self.width, 1)
        return (self.trend(trend) + self.seasonal(u - trend)).mT


def _mean_at_first(n_inputs: int, n_outputs: int) -> nn.Linear:
    """Return a linear map that is the mean of its inputs at first, as in the paper's code."""
    linear = nn.Linear(n_inputs, n_outputs)
    nn.init.constant_(linear.weight, 1 / n_inputs)
    return linear


class LinearNetwork(Forecaster):
    """Train a linear network with Adam and squared loss, in the loop of sks4.

    Parameters
    ----------
    network : type
        :class:`NLinear` or :class:`DLinear`.
    horizon : int
        Steps to forecast.
    context_length : int, default=336
        Steps to forecast from.
    lr : float, default=0.001
        Largest learning rate; a short rise, then half a cosine down to zero.
    max_epochs : int, default=4
        Passes over the windows. This and the rate gave the least error in the validation rows of
        ETTh1 at horizon 96; ten epochs at 0.005, as in the paper, gave 5 % more with this schedule.
    patience, batch_size : int, default=3, 32
        As in the paper; the weights of the best epoch in validation are kept.
    random_state : int, default=0
        Seed.
    """

    def __init__(
        self,
        network: type[nn.Module],
        horizon: int,
        context_length: int = 336,
        *,
        lr: float = 0.001,
        max_epochs: int = 4,
        patience: int = 3,
        batch_size: int = 32,
        random_state: int = 0,
    ) -> None:
        self.network = network
        self.horizon = horizon
        self.context_length = context_length
        self.lr = lr
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, train: np.ndarray, valid: np.ndarray) -> Self:
        """Train on all windows."""
        later = np.concatenate([train[-self.context_length :], valid])
        with torch.random.fork_rng():  # initial weights and dropout of torch's own modules
            torch.manual_seed(self.random_state)
            self.net_ = self._train(
                self._batches(train, self.batch_size, shuffle=True), self._batches(later, 512)
            )
        return self

    def _train(self, train: Batches, valid: Batches) -> S4Net:
        return S4Net(
            _Module(self.network(self.context_length, self.horizon)),
            SquaredError(),
            optimizer=torch.optim.Adam,
            lr=self.lr,
            max_epochs=self.max_epochs,
            seed=self.random_state,
            callbacks=[LearningRateSchedule(), EarlyStopping(self.patience)],
        ).fit(train, valid=valid)

    def forecast(self, contexts: np.ndarray) -> np.ndarray:
        """Apply the network."""
        u = torch.from_numpy(np.ascontiguousarray(contexts, np.float32))[..., None]
        with torch.no_grad():
            return self.net_.module_.eval()(u)[..., 0].numpy()

    def _batches(self, rows: np.ndarray, size: int, *, shuffle: bool = False) -> Batches:
        """Return all windows of some rows."""
        series = SeriesEncoder(standardize=False).fit(rows, rows[:, :0])
        series = series.transform(rows, rows[:, :0])
        origins = np.arange(self.context_length, len(rows) - self.horizon + 1)
        dataset = WindowDataset(series, origins, self.context_length, self.horizon)
        lengths = np.ones(len(origins), dtype=int)
        sampler = BucketBatchSampler(lengths, size, seed=self.random_state, shuffle=shuffle)
        return Batches(dataset, sampler)


class _Module(nn.Module):
    """A network with the one parameter group that the loop asks for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: Tensor) -> Tensor:
        """Call the network."""
        return self.network(context)

    def check_weights(self) -> None:
        if not all(parameter.isfinite().all() for parameter in self.parameters()):
            raise ArithmeticError("All weights must be finite.")

    def parameter_groups(
        self, lr: float, ssm_lr: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        """Return one group."""
        return [{"params": list(self.parameters()), "lr": lr, "weight_decay": weight_decay}]
