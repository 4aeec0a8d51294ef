"""Initial weights, drawn from a generator of the caller's in a dtype of the caller's.

Everything is drawn in double precision and rounded, so models of any dtype start from the same
weights. Without a generator, torch's global one is used, as by torch's own modules.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def uniform(
    shape: Sequence[int],
    low: float,
    high: float,
    *,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
) -> Tensor:
    """Draw a tensor of `shape` uniformly from ``[low, high)``.

    Parameters
    ----------
    shape : sequence of int
        Shape.
    low, high : float
        Range.
    generator : torch.Generator or None
        Source of random numbers; None for the global one.
    dtype : torch.dtype or None
        Dtype of the result; None for the default one.

    Returns
    -------
    Tensor of shape `shape`
        On the device of the generator.
    """
    return _rounded(_empty(shape, generator).uniform_(low, high, generator=generator), dtype)


def normal(
    shape: Sequence[int],
    *,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    std: float = 1.0,
) -> Tensor:
    """Draw a tensor of `shape` from the normal distribution with mean zero; see :func:`uniform`."""
    return _rounded(_empty(shape, generator).normal_(0.0, std, generator=generator), dtype)


def linear(
    n_inputs: int,
    n_outputs: int,
    *,
    bias: bool = True,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
) -> nn.Linear:
    """Return a linear map with the initial distribution of :class:`torch.nn.Linear`."""
    module = nn.Linear(n_inputs, n_outputs, bias, device="meta", dtype=dtype)  # draws nothing
    bound = 1 / math.sqrt(n_inputs)
    options: dict[str, Any] = {"generator": generator, "dtype": dtype}
    module.weight = nn.Parameter(uniform((n_outputs, n_inputs), -bound, bound, **options))
    if bias:
        module.bias = nn.Parameter(uniform((n_outputs,), -bound, bound, **options))
    return module


def zero_linear(
    n_inputs: int, n_outputs: int, *, bias: bool = True, dtype: torch.dtype | None
) -> nn.Linear:
    """Return a linear map that is zero at first."""
    module = nn.Linear(n_inputs, n_outputs, bias, device="meta", dtype=dtype)
    module.weight = nn.Parameter(torch.zeros(n_outputs, n_inputs, dtype=dtype))
    if bias:
        module.bias = nn.Parameter(torch.zeros(n_outputs, dtype=dtype))
    return module


def embedding(
    n_symbols: int,
    d_model: int,
    *,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
) -> nn.Embedding:
    """Return features of symbols with the initial distribution of :class:`torch.nn.Embedding`."""
    weight = normal((n_symbols, d_model), generator=generator, dtype=dtype)
    return nn.Embedding.from_pretrained(weight, freeze=False)


def _empty(shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Return memory to draw into, in double precision."""
    device = None if generator is None else generator.device
    return torch.empty(tuple(shape), dtype=torch.float64, device=device)


def _rounded(drawn: Tensor, dtype: torch.dtype | None) -> Tensor:
    return drawn.to(torch.get_default_dtype() if dtype is None else dtype)
