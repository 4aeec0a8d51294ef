"""The S4 block: norm, layer, activation, dropout, gate, residual."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sks4._validation import check_choice

from ._elementwise import activate, gate, normalize
from ._initial import linear
from ._layer import S4Layer
from ._lengths import real_steps
from ._random import FeatureDropout

NORMS = ("layer", "batch", None)


class S4Block(nn.Module):
    """Mix each feature over time by a state space, then the features at each time by a gate.

    Parameters
    ----------
    d_model : int
        Number of features.
    dropout : float, default=0.0
        Probability that a feature of a sequence is set to zero, at all its steps.
    norm : {"layer", "batch"} or None, default="layer"
        Normalization over the features of a step, or of a feature over the real steps of a batch.
    prenorm : bool, default=True
        Normalize the input of the state space instead of the output of the block.
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    **layer : dict
        Parameters of :class:`S4Layer`.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> y, state = nn.S4Block(4, d_state=8)(torch.randn(2, 100, 4))
    >>> y.shape
    torch.Size([2, 100, 4])
    """

    def __init__(
        self,
        d_model: int,
        *,
        dropout: float = 0.0,
        norm: str | None = "layer",
        prenorm: bool = True,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        **layer: Any,
    ) -> None:
        super().__init__()
        self.layer = S4Layer(d_model, **layer, generator=generator, dtype=dtype)
        self.norm = make_norm(norm, d_model, dtype)
        self.prenorm = prenorm
        self.dropout = FeatureDropout(dropout)
        self.gate = linear(d_model, 2 * d_model, generator=generator, dtype=dtype)

    def forward(
        self,
        u: Tensor,
        state: Tensor | None = None,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        *,
        return_state: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Map ``u (batch, length, d_model)`` to the same shape; see :meth:`S4Layer.forward`."""
        x = self.norm(u, lengths) if self.prenorm else u
        y, state = self.layer(x, state, lengths, rate, return_state=return_state)
        y = activate(y, self.dropout.factors(y))
        y = gate(self.gate(y), u, self.dropout.factors(u))
        return (y if self.prenorm else self.norm(y, lengths)), state


def make_norm(norm: str | None, d_model: int, dtype: torch.dtype | None = None) -> nn.Module:
    """Return the normalization of a name; all take ``(x, lengths)``."""
    check_choice("norm", norm, NORMS)
    if norm is None:
        return NoNorm()
    return {"layer": StepNorm, "batch": RealStepBatchNorm}[norm](d_model, dtype=dtype)


class StepNorm(nn.LayerNorm):
    """Layer normalization over the features of each step."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalize ``x (batch, length, d_model)``."""
        return normalize(x, self.weight, self.bias, self.eps)


class RealStepBatchNorm(nn.BatchNorm1d):
    """Batch normalization whose statistics are those of the real steps, not of padding.

    A single step, which has no variance, is normalized by the running statistics in training too.
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalize ``x (batch, length, d_model)``."""
        if lengths is None or not self.training:
            return self._normalize(x.flatten(0, 1)).view_as(x)
        real = real_steps(x, lengths)
        y = torch.zeros_like(x)
        y[real] = self._normalize(x[real])
        return y

    def _normalize(self, steps: Tensor) -> Tensor:
        """Normalize ``steps (n_steps, d_model)``."""
        if not self.training or len(steps) > 1:
            return super().forward(steps)
        return functional.batch_norm(
            steps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class NoNorm(nn.Module):
    """The identity, in the form of a normalization."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return `x`."""
        return x
