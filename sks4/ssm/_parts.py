"""Complex tensors as pairs of their real and imaginary parts, for code without complex numbers."""

import torch
from torch import Tensor


def multiply(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return ``a b``."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def scale(a: tuple[Tensor, Tensor], factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``factor a`` for a real factor."""
    return factor * a[0], factor * a[1]


def grow(a: tuple[Tensor, Tensor], e: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return ``a (1 + e)``."""
    product = multiply(a, e)
    return a[0] + product[0], a[1] + product[1]


def concatenate(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Append `b` to `a` along the last axis."""
    return torch.cat([a[0], b[0]], -1), torch.cat([a[1], b[1]], -1)


def cast(a: tuple[Tensor, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return `a` in the dtype of another tensor."""
    return a[0].to(like.dtype), a[1].to(like.dtype)
