"""Heads: from features at every step to what a task asks for, at once or as samples come in."""

from abc import ABC, abstractmethod
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sks4._validation import check_choice, check_integer

from ._initial import linear
from ._lengths import real_steps

POOLINGS = ("mean", "last", "max")

_AT_ONCE, _ROWS = 2**19, 32
"""Values, and sequences, that are summarized at once: few enough that copies of them stay in the
cache, and enough steps of each that what an operation costs by itself does not count."""


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
            return x[torch.arange(len(x), device=x.device), lengths.long() - 1]
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

    Of each feature: the shares of steps above some limits, and the maximum in units of its scale. A
    step counts in part within 0.005 of a limit, in the same units, so that rounding has little
    effect. Rocket pools its random convolutions by maximum and share (Dempster et al. 2020,
    arXiv:1910.13051); limits at quantiles are those of MiniRocket (2021, arXiv:2012.08791).

    Parameters
    ----------
    limits : Tensor of shape (n_limits, n_features)
        Limits of each feature.
    scale : Tensor of shape (n_features,)
        What is taken for 1 of each feature.
    """

    WIDTH = 0.01

    is_sum = True

    def __init__(self, limits: Tensor, scale: Tensor) -> None:
        super().__init__()
        # a step counts in part over one unit from where it starts to count
        self.unit: Tensor
        self.start: Tensor
        self.register_buffer("unit", self.WIDTH * scale)
        self.register_buffer("start", limits / self.unit - 0.5)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, n_features)`` to ``(batch, (n_limits + 1) * n_features)``."""
        if lengths is None:
            return self._averages(self._values(x, None), x.shape[1])
        return self._averages(self._values(x, real_steps(x, lengths)[..., None]), lengths[:, None])

    def summarize(self, x: Tensor) -> Tensor:
        """Return sums and maxima of ``x (batch, length, n_features)``."""
        return self._values(x, None)

    def combine(self, before: Tensor, after: Tensor) -> Tensor:
        """Return what is remembered of both."""
        n_sums = self.start.numel()
        largest = torch.maximum(before[:, n_sums:], after[:, n_sums:])
        return torch.cat([before[:, :n_sums] + after[:, :n_sums], largest], -1)

    def result(self, state: PoolState) -> Tensor:
        """Return what has been pooled, ``(batch, (n_limits + 1) * n_features)``."""
        return self._averages(state.value, state.n_steps)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"n_features={len(self.unit)}, n_limits={len(self.start)}"

    def _values(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Return numbers of steps above each limit, then the maxima."""
        if x.shape[1] == 1:
            return self._values_of_piece(x, real)
        rows = x.split(_ROWS)
        marks = [None] * len(rows) if real is None else real.split(_ROWS)
        return torch.cat([self._values_of_rows(*pair) for pair in zip(rows, marks, strict=True)])

    def _values_of_rows(self, x: Tensor, real: Tensor | None) -> Tensor:
        n_steps = max(1, _AT_ONCE // (len(x) * x.shape[2]))
        pieces = x.split(n_steps, 1)
        marks = [None] * len(pieces) if real is None else real.split(n_steps, 1)
        return reduce(self.combine, map(self._values_of_piece, pieces, marks))

    def _values_of_piece(self, x: Tensor, real: Tensor | None) -> Tensor:
        z = x / self.unit
        if real is not None:
            z = torch.where(real, z, -torch.inf)
        if x.shape[1] == 1:  # all limits at once are fewer operations
            above = (z - self.start).clamp_(0, 1)
            return torch.cat([above, self.WIDTH * z], 1).flatten(1)
        counts = [(z - start).clamp_(0, 1).sum(1) for start in self.start]
        return torch.cat([*counts, self.WIDTH * z.amax(1)], -1)

    def _averages(self, value: Tensor, n_steps: int | Tensor) -> Tensor:
        """Divide the sums by the number of steps."""
        n_sums = self.start.numel()
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
