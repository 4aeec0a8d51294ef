"""Heads: from features at every step to the output of a task, at once or as samples arrive."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sks4._validation import check_choice, check_integer

from ._initial import linear
from ._lengths import real_steps

POOLINGS = ("mean", "last", "max")


class PoolState(NamedTuple):
    """State of a pooling after the steps so far ``(batch, n)``, and the number of steps."""

    value: Tensor
    n_steps: int


class Reduction(nn.Module, ABC):
    """Base of reductions of features over time, at once or step by step.

    Attributes
    ----------
    is_sum : bool
        Whether the state grows with the number of steps, and so needs double precision.
    """

    is_sum: bool

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, n)``, from real steps only.

        Where steps are counted, `rate` is the sampling interval now over the one in training.
        """

    @abstractmethod
    def update(self, x: Tensor, state: PoolState | None) -> PoolState | None:
        """Add the features of new steps ``x (batch, length, d_model)``, possibly none.

        The new state has the dtype of the one before.
        """

    @abstractmethod
    def result(self, state: PoolState, rate: float = 1.0) -> Tensor:
        """Return the reduced features of all steps so far, ``(batch, n)``."""


class Pooling(Reduction):
    """Reduce each feature over the real steps of each sequence.

    Parameters
    ----------
    pooling : {"mean", "last", "max"}
        How.
    """

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.is_sum = pooling == "mean"

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, d_model)``."""
        if self.pooling == "last":
            if lengths is None:
                return x[:, -1]
            return x[torch.arange(len(x), device=x.device), lengths.long() - 1]
        if lengths is None:
            return x.mean(1) if self.pooling == "mean" else x.amax(1)
        real = real_steps(x, lengths)[..., None]
        if self.pooling == "max":
            return torch.where(real, x, -torch.inf).amax(1)
        return torch.where(real, x, 0.0).sum(1) / lengths[:, None]

    def update(self, x: Tensor, state: PoolState | None) -> PoolState | None:
        """Add the features of new steps ``x (batch, length, d_model)``, possibly none."""
        if x.shape[1] == 0:
            return state
        value = self._reduce(x)
        if state is None:
            return PoolState(value, x.shape[1])
        value = value.to(state.value.dtype)
        if state.n_steps:
            value = self._combine(state.value, value)
        return PoolState(value, state.n_steps + x.shape[1])

    def result(self, state: PoolState, rate: float = 1.0) -> Tensor:
        """Return the pooled features, ``(batch, d_model)``."""
        return state.value / state.n_steps if self.pooling == "mean" else state.value

    def _reduce(self, x: Tensor) -> Tensor:
        """Return the sum, the last or the maximum of ``x (batch, length, d_model)``."""
        if self.pooling == "last":
            return x[:, -1].clone()
        return x.sum(1) if self.pooling == "mean" else x.amax(1)

    def _combine(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the sum, the last or the maximum of two pieces."""
        if self.pooling == "last":
            return after
        return before + after if self.pooling == "mean" else torch.maximum(before, after)

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
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    """

    def __init__(
        self,
        d_model: int,
        n_outputs: int,
        pooling: str = "mean",
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.pool: Reduction = Pooling(pooling)
        check_integer("n_outputs", n_outputs)
        self.linear = linear(d_model, n_outputs, generator=generator, dtype=dtype)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, n_outputs)``."""
        return self.read(self.pool(x, lengths))

    def read(self, pooled: Tensor) -> Tensor:
        """Map pooled features ``(batch, n)`` to the output."""
        return self.linear(pooled)


class StepHead(nn.Module):
    """One vector for each step, for the prediction of the next one.

    Parameters
    ----------
    d_model : int
        Number of features.
    n_outputs : int
        Number of parameters of the next step's distribution.
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    """

    def __init__(
        self,
        d_model: int,
        n_outputs: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_integer("n_outputs", n_outputs)
        self.linear = linear(d_model, n_outputs, generator=generator, dtype=dtype)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, length, n_outputs)``."""
        return self.linear(x)
