"""Random numbers in training: drawn from a generator that the training loop lends."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class RandomModule(nn.Module):
    """Base of the modules that draw random numbers while they train.

    Attributes
    ----------
    generator : torch.Generator or None
        Source of the random numbers, None for torch's global one. It is one of the CPU even if the
        module is on another device, so the numbers do not depend on the device. The training loop
        sets it for the time of training; copies and pickles of the module are without it.
    """

    generator: torch.Generator | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the generator, which belongs to the training loop."""
        return super().__getstate__() | {"generator": None}


class FeatureDropout(RandomModule):
    """Dropout that keeps or drops a feature of a sequence for all of its time.

    Noise that is independent at each step would average out in a state space with a long memory,
    and would cost a random number for each entry.

    Parameters
    ----------
    p : float
        Probability that a feature is dropped, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {p}.")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of ``x (batch, length, d_model)``."""
        factors = self.factors(x)
        return x if factors is None else x * factors

    def factors(self, x: Tensor) -> Tensor | None:
        """Draw the factors (batch, 1, d_model) of `x`, None where nothing is dropped."""
        if not self.training or self.p == 0:
            return None
        return eagerly(self._mask)(x)

    def _mask(self, x: Tensor) -> Tensor:
        """Return ``1 / (1 - p)`` for each feature that is kept and 0 else, (batch, 1, d_model)."""
        mask = torch.empty(x.shape[0], 1, x.shape[2], dtype=torch.float32, device="cpu")
        mask.bernoulli_(1 - self.p, generator=self.generator)
        return mask.to(x.device, x.dtype, non_blocking=x.is_cuda) / (1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


def eagerly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, left out of the graph in a model that is compiled.

    A compiled graph would draw from random numbers of its own.
    """
    # not as a decorator, which would load the compiler with this module
    if torch.compiler.is_dynamo_compiling():
        return torch.compiler.disable(function)
    return function
