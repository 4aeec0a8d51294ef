"""Heads: from features at every step to what a task asks for, at once or as samples come in."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sks4._validation import check_choice, check_integer

POOLINGS = ("mean", "last", "max")


class PoolState(NamedTuple):
    """Features pooled so far ``(batch, d_model)``, a sum for the mean, and the number of steps."""

    value: Tensor
    n_steps: int


class Pooling(nn.Module):
    """Reduce features over the real steps of each sequence.

    Parameters
    ----------
    pooling : {"mean", "last", "max"}
        How.
    """

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = check_choice("pooling", pooling, POOLINGS)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, d_model)``."""
        if self.pooling == "last":
            if lengths is None:
                return x[:, -1]
            return x[torch.arange(len(x), device=x.device), lengths - 1]
        if lengths is None:
            return x.mean(1) if self.pooling == "mean" else x.amax(1)
        real = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        if self.pooling == "max":
            return torch.where(real, x, -torch.inf).amax(1)
        return torch.where(real, x, 0.0).sum(1) / lengths[:, None]

    def update(self, x: Tensor, state: PoolState | None) -> PoolState | None:
        """Add the features of new steps ``x (batch, length, d_model)``, possibly none."""
        if x.shape[1] == 0:
            return state
        value = {"mean": lambda: x.sum(1), "last": lambda: x[:, -1], "max": lambda: x.amax(1)}[
            self.pooling
        ]()
        if state is None:
            return PoolState(value, x.shape[1])
        if self.pooling == "mean":
            value = state.value + value
        elif self.pooling == "max":
            value = torch.maximum(state.value, value)
        return PoolState(value, state.n_steps + x.shape[1])

    def result(self, state: PoolState) -> Tensor:
        """Return what has been pooled, ``(batch, d_model)``."""
        return state.value / state.n_steps if self.pooling == "mean" else state.value

    def extra_repr(self) -> str:
        """Show the kind."""
        return repr(self.pooling)


class PooledHead(nn.Module):
    """One vector of scores or values for each sequence.

    Parameters
    ----------
    d_model : int
        Number of features.
    n_outputs : int
        Number of classes or targets.
    pooling : {"mean", "last", "max"}, default="mean"
        How the features are reduced over time.
    """

    def __init__(self, d_model: int, n_outputs: int, pooling: str = "mean") -> None:
        super().__init__()
        self.pool = Pooling(pooling)
        self.linear = nn.Linear(d_model, check_integer("n_outputs", n_outputs))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, n_outputs)``."""
        return self.read(self.pool(x, lengths))

    def read(self, pooled: Tensor) -> Tensor:
        """Map pooled features ``(batch, d_model)`` to the output."""
        return self.linear(pooled)


class HorizonHead(PooledHead):
    """The next `horizon` values of each target, all at once, from the pooled features.

    Parameters
    ----------
    d_model : int
        Number of features.
    n_outputs : int
        Number of targets.
    horizon : int
        Number of future steps.
    pooling : {"mean", "last", "max"}, default="last"
        How the features are reduced over time.
    """

    def __init__(self, d_model: int, n_outputs: int, horizon: int, pooling: str = "last") -> None:
        super().__init__(d_model, n_outputs * check_integer("horizon", horizon), pooling)
        self.horizon = horizon

    def read(self, pooled: Tensor) -> Tensor:
        """Map pooled features ``(batch, d_model)`` to ``(batch, horizon, n_outputs)``."""
        return self.linear(pooled).unflatten(-1, (self.horizon, -1))


class StepHead(nn.Module):
    """One vector for each step, for the prediction of the next one.

    Parameters
    ----------
    d_model : int
        Number of features.
    n_outputs : int
        Number of parameters of the next step's distribution.
    """

    def __init__(self, d_model: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, check_integer("n_outputs", n_outputs))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, length, n_outputs)``."""
        return self.linear(x)
