"""Batches of sequences of different lengths: their lengths, which steps are real, reversal."""

import torch
from torch import Tensor


def check_lengths(lengths: Tensor, u: Tensor) -> None:
    """Raise if `lengths` do not fit the padded batch ``u (batch, length, ...)``."""
    if lengths.shape != u.shape[:1] or lengths.is_floating_point():
        raise ValueError(
            f"lengths must be integers of shape ({u.shape[0]},), got {lengths.dtype} of shape "
            f"{tuple(lengths.shape)}."
        )
    if torch.compiler.is_compiling() or lengths.is_meta:  # there are no values to read
        return
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= u.shape[1]:
        raise ValueError(
            f"lengths must be between 1 and {u.shape[1]}, got values from {int(lengths.min())} to "
            f"{int(lengths.max())}."
        )


def real_steps(u: Tensor, lengths: Tensor) -> Tensor:
    """Return which steps of ``u (batch, length, ...)`` are real, ``(batch, length)``."""
    return torch.arange(u.shape[1], device=u.device) < lengths[:, None]


def reverse_sequences(u: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence of ``u (batch, length, H)`` within its own length."""
    if lengths is None:
        return u.flip(1)
    steps = torch.arange(u.shape[1], device=u.device)
    index = torch.where(real_steps(u, lengths), lengths[:, None] - 1 - steps, steps)
    return u.gather(1, index[..., None].expand_as(u))
