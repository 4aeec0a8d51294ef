"""The element-wise parts of a block, in compiled code where there is some.

In torch each part is several passes over memory, with temporary tensors between; compiled, it is
one, forward and backward. The dropout of a part is one factor for each feature of a sequence.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sks4 import _native
from sks4.ssm import can_run

_LEAST_WORK = 100_000
"""Elements that occupy a thread for longer than it takes to wake it."""


class _Pass(IntEnum):
    """The passes in the order of ``block.h``."""

    ACTIVATE = 0
    GATE = 1
    NORMALIZE = 2
    ACTIVATE_BACK = 3
    GATE_BACK = 4
    NORMALIZE_BACK = 5


def activate(x: Tensor, factors: Tensor | None) -> Tensor:
    """Return ``factors * gelu(x)``.

    Parameters
    ----------
    x : Tensor of shape (batch, length, H)
        Input.
    factors : Tensor of shape (batch, 1, H) or None
        Dropout; None for ones.

    Returns
    -------
    Tensor of shape (batch, length, H)
        Output.
    """
    if _fits(x, factors):
        return _Activate.apply(x.contiguous(), factors)
    return _activate(x, factors)


def gate(x: Tensor, residual: Tensor, factors: Tensor | None) -> Tensor:
    """Return ``residual + factors * a * sigmoid(b)``.

    Parameters
    ----------
    x : Tensor of shape (batch, length, 2 H)
        `a` beside `b`.
    residual : Tensor of shape (batch, length, H)
        What the result is added to.
    factors : Tensor of shape (batch, 1, H) or None
        Dropout; None for ones.

    Returns
    -------
    Tensor of shape (batch, length, H)
        Output.
    """
    if _fits(x, residual, factors):
        return _Gate.apply(x.contiguous(), residual.contiguous(), factors)
    return _gate(x, residual, factors)


def normalize(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Normalize over the features of each step.

    Parameters
    ----------
    x : Tensor of shape (batch, length, H)
        Input.
    weight, bias : Tensor of shape (H,)
        Scale and shift of the result.
    epsilon : float
        Added to the variance.

    Returns
    -------
    Tensor of shape (batch, length, H)
        Output.
    """
    if _fits(x, weight, bias):
        return _Normalize.apply(x.contiguous(), weight.contiguous(), bias.contiguous(), epsilon)
    return _normalize(x, weight, bias, epsilon)


# -- in torch


def _activate(x: Tensor, factors: Tensor | None) -> Tensor:
    y = functional.gelu(x)
    return y if factors is None else y * factors


def _gate(x: Tensor, residual: Tensor, factors: Tensor | None) -> Tensor:
    y = functional.glu(x, -1)
    return residual + (y if factors is None else y * factors)


def _normalize(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return functional.layer_norm(x, weight.shape, weight, bias, epsilon)


def _differentiable(
    function: Callable[..., Tensor], inputs: list[Tensor], g: Tensor
) -> tuple[Tensor | None, ...]:
    """Return gradients that can be differentiated again."""
    with torch.enable_grad():
        y = function(*inputs)
    wanted = [x for x in inputs if x.requires_grad]
    gradients = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
    return tuple(next(gradients) if x.requires_grad else None for x in inputs)


# -- compiled


def _fits(x: Tensor, *others: Tensor | None) -> bool:
    """Return whether compiled code can work on these tensors."""
    if x.dim() != 3 or x.numel() == 0 or torch.is_autocast_enabled("cpu"):
        return False
    return can_run(x, *others) and all(o is None or o.dtype == x.dtype for o in others)


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, factors)
        out = torch.empty_like(x)
        _run(_Pass.ACTIVATE, x, out, factors=factors)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, factors = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(lambda x: _activate(x, factors), [x], g), None
        gx = torch.empty_like(x)
        _run(_Pass.ACTIVATE_BACK, x, gx, other=g.contiguous(), factors=factors)
        return gx, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, factors: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, factors)
        out = torch.empty_like(residual)
        _run(_Pass.GATE, x, out, other=residual, factors=factors)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, factors = ctx.saved_tensors
        if torch.is_grad_enabled():
            zero = g.new_zeros(())
            return *_differentiable(lambda x: _gate(x, zero, factors), [x], g), g, None
        gx = torch.empty_like(x)
        _run(_Pass.GATE_BACK, x, gx, other=g.contiguous(), factors=factors)
        return gx, g, None


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        out = torch.empty_like(x)
        moments = x.new_empty(2, x.shape[0] * x.shape[1])
        _run(_Pass.NORMALIZE, x, out, weight=weight, bias=bias, moments=moments, epsilon=epsilon)
        ctx.save_for_backward(x, weight, bias, moments)
        ctx.epsilon = epsilon
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, moments = ctx.saved_tensors
        if torch.is_grad_enabled():
            operands = [x, weight, bias]
            return *_differentiable(
                lambda x, w, b: _normalize(x, w, b, ctx.epsilon), operands, g
            ), None
        gx, g_weight, g_bias = (torch.empty_like(o) for o in (x, weight, bias))
        _run(
            _Pass.NORMALIZE_BACK,
            x,
            gx,
            other=g.contiguous(),
            weight=weight,
            moments=moments,
            g_weight=g_weight,
            g_bias=g_bias,
        )
        return gx, g_weight, g_bias, None


def _run(
    which: _Pass,
    x: Tensor,
    out: Tensor,
    *,
    other: Tensor | None = None,
    factors: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    moments: Tensor | None = None,
    g_weight: Tensor | None = None,
    g_bias: Tensor | None = None,
    epsilon: float = 0.0,
) -> None:
    """Run a pass over contiguous operands."""
    batch, length, H = x.shape
    if which in (_Pass.GATE, _Pass.GATE_BACK):
        H //= 2
    factors = None if factors is None else factors.contiguous()
    threads = max(1, min(torch.get_num_threads(), x.numel() // _LEAST_WORK))
    mean, rstd = (None, None) if moments is None else moments
    operands = [x, other, factors, weight, bias, out, mean, rstd, g_weight, g_bias]
    addresses = [0 if o is None else o.data_ptr() for o in operands]
    is_double = x.dtype == torch.float64
    _native.block([which, threads, is_double, batch * length, length, H, epsilon, *addresses])
