"""Slow truths: dense float64 systems, stepped one sample at a time, by the definitions alone."""

import numpy as np
import torch
from torch import Tensor


def dense_dplr(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the full complex system, both of each conjugate pair: ``A, B, C`` in complex128."""
    Lambda, P, B, C = (torch.cat([z, z.conj()], -1).to(torch.complex128) for z in (Lambda, P, B, C))
    return torch.diag_embed(Lambda) - P.mT @ P.conj(), B, C


def bilinear(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Discretize by the bilinear rule, written as its definition."""
    eye = torch.eye(A.shape[-1], dtype=A.dtype)
    h = dt[..., None, None].to(A.dtype) / 2
    inverse = torch.linalg.inv(eye - h * A)
    return inverse @ (eye + h * A), (inverse @ (2 * h * B[..., None]))[..., 0]


def kernel(A_bar: Tensor, B_bar: Tensor, C: Tensor, length: int) -> Tensor:
    """Return ``K[l] = C A_bar^l B_bar`` one power at a time, ``(H, length)``."""
    x, taps = B_bar, []
    for _ in range(length):
        taps.append((C * x).sum(-1))
        x = (A_bar @ x[..., None])[..., 0]
    K = torch.stack(taps, -1)
    return K.real if K.is_complex() else K


def recurrence(
    u: Tensor, A_bar: Tensor, B_bar: Tensor, C: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Step ``x <- A_bar x + B_bar u, y = C x`` over ``u (batch, H, length)``."""
    batch, H, length = u.shape
    x = torch.zeros(batch, H, A_bar.shape[-1], dtype=A_bar.dtype) if state is None else state
    outputs = []
    for t in range(length):
        x = torch.einsum("hmn,bhn->bhm", A_bar, x) + B_bar * u[:, :, t, None]
        outputs.append((C * x).sum(-1))
    return torch.stack(outputs, -1), x


def convolution(u: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Convolve causally by the definition, one feature and sequence at a time."""

    def one(x: np.ndarray) -> list[np.ndarray]:
        return [np.convolve(row, k)[: len(row)] for row, k in zip(x, K, strict=True)]

    return np.stack([one(x) for x in u])


def relative_error(got: Tensor, truth: Tensor) -> float:
    """Return the largest error relative to the largest entry of the truth."""
    return float((got.double() - truth.double()).abs().max() / truth.double().abs().max())
