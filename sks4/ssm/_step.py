"""One sample at a time: the discrete system in its parts, which is O(N) a step."""

from typing import NamedTuple

import torch
from torch import Tensor

from ._discretization import DiscreteDPLR
from ._parts import multiply


class StepOperator(NamedTuple):
    """A discrete system over one sample, in real form and in its parts.

    ``x <- x + blocks(e) x - q^T (r x) + B_bar u``, then ``y = C x + D u``. Next to the dense form
    of the same step, N times less is read from memory: at H = N = 64 and one stream, 12 against 35
    microseconds (``benchmarks/bench_streaming.py``). And the difference from the identity, small
    for small steps, rounds to its own size.

    Attributes
    ----------
    e : pair of Tensors of shape (H, N/2)
        Real and imaginary part of the diagonal, less 1.
    q, r : Tensor of shape (H, rank, N)
        Low-rank part; rank 0 for a diagonal system.
    B_bar, C : Tensor of shape (H, N)
        Input and output vector.
    D : Tensor of shape (H,)
        Feedthrough.
    """

    e: tuple[Tensor, Tensor]
    q: Tensor
    r: Tensor
    B_bar: Tensor
    C: Tensor
    D: Tensor


def step_operator(system: DiscreteDPLR, C: Tensor, D: Tensor) -> StepOperator:
    """Return the operator over one sample.

    Parameters
    ----------
    system : DiscreteDPLR
        Discrete systems of shape (H, ...).
    C : Tensor of shape (H, N)
        Output vector in real form; its dtype becomes that of the operator.
    D : Tensor of shape (H,)
        Feedthrough.

    Returns
    -------
    StepOperator
        For :func:`step`.
    """
    dtype = C.dtype
    e = (system.a_bar[0] - 1).to(dtype), system.a_bar[1].to(dtype)
    q, r, B_bar = (x.to(dtype) for x in (system.q, system.r, system.B_bar))
    return StepOperator(e, q, r, B_bar, C, D)


def step(u: Tensor, state: Tensor, operator: StepOperator) -> tuple[Tensor, Tensor]:
    """Move a system by one sample: ``x <- A_bar x + B_bar u, y = C x + D u``.

    Parameters
    ----------
    u : Tensor of shape (batch, H)
        Input.
    state : Tensor of shape (batch, H, N)
        State before the sample.
    operator : StepOperator
        From :func:`step_operator`.

    Returns
    -------
    y : Tensor of shape (batch, H)
        Output.
    state : Tensor of shape (batch, H, N)
        State after the sample.
    """
    e, q, r, B_bar, C, D = operator
    top, bottom = state.chunk(2, -1)
    change = torch.cat(multiply(e, (top, bottom)), -1) + B_bar * u[..., None]
    if q.shape[1]:
        coupling = (r * state[..., None, :]).sum(-1, keepdim=True)  # (batch, H, rank, 1)
        change = change - (q * coupling).sum(-2)
    state = state + change
    return (C * state).sum(-1) + D * u, state
