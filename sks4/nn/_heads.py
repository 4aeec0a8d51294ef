"""Heads: from features at every step to what a task asks for, at once or as samples come in."""

from abc import ABC, abstractmethod
from functools import reduce
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sks4._validation import check_choice, check_integer

from ._lengths import real_steps

POOLINGS = ("mean", "last", "max")

_AT_ONCE = 1024
"""Steps that are summarized at once, so that the copies this takes stay small."""


class PoolState(NamedTuple):
    """What a pooling remembers of the steps so far ``(batch, n)``, and the number of steps."""

    value: Tensor
    n_steps: int


class Reduction(nn.Module, ABC):
    """What reduces features over time: at once, or as the steps come.

    Attributes
    ----------
    is_sum : bool
        Whether what is remembered grows with the number of steps, and so needs more digits.
    """

    is_sum: bool

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, n)``, from real steps only."""

    @abstractmethod
    def summarize(self, x: Tensor) -> Tensor:
        """Return what is remembered of steps ``x (batch, length, d_model)``, in new memory."""

    @abstractmethod
    def combine(self, before: Tensor, after: Tensor) -> Tensor:
        """Return what is remembered of both."""

    @abstractmethod
    def result(self, state: PoolState) -> Tensor:
        """Return what has been pooled, ``(batch, n)``."""

    def update(self, x: Tensor, state: PoolState | None) -> PoolState | None:
        """Add the features of new steps ``x (batch, length, d_model)``, possibly none."""
        if x.shape[1] == 0:
            return state
        value = self.summarize(x)
        if state is None:
            return PoolState(value, x.shape[1])
        return PoolState(self.combine(state.value, value), state.n_steps + x.shape[1])


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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, d_model)``."""
        if self.pooling == "last":
            if lengths is None:
                return x[:, -1]
            return x[torch.arange(len(x), device=x.device), lengths - 1]
        if lengths is None:
            return x.mean(1) if self.pooling == "mean" else x.amax(1)
        real = real_steps(x, lengths)[..., None]
        if self.pooling == "max":
            return torch.where(real, x, -torch.inf).amax(1)
        return torch.where(real, x, 0.0).sum(1) / lengths[:, None]

    def summarize(self, x: Tensor) -> Tensor:
        """Return the sum, the last or the maximum of ``x (batch, length, d_model)``."""
        if self.pooling == "last":
            return x[:, -1].clone()
        return x.sum(1) if self.pooling == "mean" else x.amax(1)

    def combine(self, before: Tensor, after: Tensor) -> Tensor:
        """Return what is remembered of both."""
        if self.pooling == "last":
            return after
        return before + after if self.pooling == "mean" else torch.maximum(before, after)

    def result(self, state: PoolState) -> Tensor:
        """Return what has been pooled, ``(batch, d_model)``."""
        return state.value / state.n_steps if self.pooling == "mean" else state.value

    def extra_repr(self) -> str:
        """Show the kind."""
        return repr(self.pooling)


class Summary(Reduction):
    """Describe the values that each feature takes in a sequence, whatever their order.

    Of each feature, centered and scaled: mean, maximum, and the shares of steps above -0.9, -0.15,
    0.15 and 0.9, where a step counts in part within 0.125 of the limit, so that rounding has little
    effect. Shares of steps above a limit are what the random convolutions of MiniRocket are
    pooled by (Dempster et al. 2021, arXiv:2012.08791, section 3.3).

    Parameters
    ----------
    center, scale : Tensor of shape (d_model,)
        What is taken for 0 and 1 of each feature.
    """

    LIMITS = (-0.9, -0.15, 0.15, 0.9)
    SLOPE = 4.0
    PER_FEATURE = 2 + len(LIMITS)

    is_sum = True

    def __init__(self, center: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, 6 * d_model)``."""
        if lengths is None:
            return self._averages(self._values(x, None), x.shape[1])
        return self._averages(self._values(x, real_steps(x, lengths)[..., None]), lengths[:, None])

    def summarize(self, x: Tensor) -> Tensor:
        """Return sums and maxima of ``x (batch, length, d_model)``."""
        return self._values(x, None)

    def combine(self, before: Tensor, after: Tensor) -> Tensor:
        """Return what is remembered of both."""
        n_sums = self._n_sums
        largest = torch.maximum(before[:, n_sums:], after[:, n_sums:])
        return torch.cat([before[:, :n_sums] + after[:, :n_sums], largest], -1)

    def result(self, state: PoolState) -> Tensor:
        """Return what has been pooled, ``(batch, 6 * d_model)``."""
        return self._averages(state.value, state.n_steps)

    @property
    def _n_sums(self) -> int:
        return (self.PER_FEATURE - 1) * len(self.center)

    def _values(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Return sums of the values and of the steps above each limit, then the maxima."""
        pieces = x.split(_AT_ONCE, 1)
        marks = [None] * len(pieces) if real is None else real.split(_AT_ONCE, 1)
        return reduce(self.combine, map(self._values_of_piece, pieces, marks))

    def _values_of_piece(self, x: Tensor, real: Tensor | None) -> Tensor:
        z = (x - self.center) / self.scale
        total = (z if real is None else torch.where(real, z, 0.0)).sum(1)
        if real is not None:
            z = torch.where(real, z, -torch.inf)
        above = [
            torch.add(0.5 - self.SLOPE * limit, z, alpha=self.SLOPE).clamp_(0, 1).sum(1)
            for limit in self.LIMITS
        ]
        return torch.cat([total, *above, z.amax(1)], -1)

    def _averages(self, value: Tensor, n_steps: int | Tensor) -> Tensor:
        """Divide the sums by the number of steps."""
        n_sums = self._n_sums
        return torch.cat([value[:, :n_sums] / n_steps, value[:, n_sums:]], -1)


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

    every_block: ClassVar[bool] = False

    def __init__(self, d_model: int, n_outputs: int, pooling: str = "mean") -> None:
        super().__init__()
        self.pool: Reduction = Pooling(pooling)
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


class SummaryHead(PooledHead):
    """One vector of scores for each sequence, from a summary of the features of all blocks.

    Its weights are not found by the gradient, but by a regression on the summaries.

    Parameters
    ----------
    trained : PooledHead
        The head that the backbone was trained with; training goes on with it.
    pool : Summary
        Of the features of all blocks side by side.
    weight : Tensor of shape (n_outputs, 6 * n_layers * d_model)
        Weights of the summaries.
    bias : Tensor of shape (n_outputs,)
        What is added.
    """

    every_block = True

    def __init__(self, trained: PooledHead, pool: Summary, weight: Tensor, bias: Tensor) -> None:
        nn.Module.__init__(self)
        self.trained = trained
        self.pool = pool
        # without memory there are no initial weights, which would be drawn at random
        self.linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        self.linear.weight = nn.Parameter(weight)
        self.linear.bias = nn.Parameter(bias)


class StepHead(nn.Module):
    """One vector for each step, for the prediction of the next one.

    Parameters
    ----------
    d_model : int
        Number of features.
    n_outputs : int
        Number of parameters of the next step's distribution.
    """

    every_block: ClassVar[bool] = False

    def __init__(self, d_model: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, check_integer("n_outputs", n_outputs))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d_model)`` to ``(batch, length, n_outputs)``."""
        return self.linear(x)
