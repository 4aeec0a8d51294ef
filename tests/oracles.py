"""Slow truths: dense float64 systems, stepped one sample at a time, by the definitions alone."""

import math

import numpy as np
import torch
from torch import Tensor

from sks4 import ssm

SYSTEMS = [
    ("s4", "legs"),
    ("s4", "legt"),
    ("s4", "fout"),
    ("s4d", "legs"),
    ("s4d", "lin"),
    ("s4d", "inv"),
]
"""Every valid pair of a kind of system and an initialization."""

RULES = [
    (kind, init, rule)
    for kind, init in SYSTEMS
    for rule in (["bilinear"] if kind == "s4" else ["bilinear", "zoh"])
]
"""Every valid pair, with each rule of discretization that it has."""


def random_system(kind: str, init: str, N: int, H: int = 1) -> tuple[Tensor, ...]:
    """Return ``Lambda, P, B, C`` of `H` systems that differ in their random ``C`` alone."""
    Lambda, P, B = (z.expand(H, *z.shape) for z in ssm.initial_system(kind, init, N))
    generator = torch.Generator().manual_seed(0)
    C = torch.randn(H, N // 2, dtype=torch.complex128, generator=generator)
    return Lambda, P, B, C


def hippo_system(measure: str, N: int, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the real system in HiPPO's own coordinates whose output in the eigenbasis is `C`."""
    A, B = ssm.hippo(measure, N)
    V = ssm.dplr(measure, N)[3]
    return A, B, 2 * (C @ V.mH).real


def diagonal_bilinear(Lambda: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Discretize each mode by the bilinear rule."""
    z = dt[:, None] * Lambda
    return (1 + z / 2) / (1 - z / 2), dt[:, None] * B / (1 - z / 2)


def diagonal_zoh(Lambda: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Discretize each mode by zero-order hold, ``(e^z - 1)/z`` by its series for small ``z``."""
    z = dt[:, None] * Lambda
    series = sum(z**k / math.factorial(k + 1) for k in range(20))
    integral = torch.where(z.abs() < 0.5, series, (torch.exp(z) - 1) / torch.where(z == 0, 1, z))
    return torch.exp(z), dt[:, None] * B * integral


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


def discrete_system(kind: str, rule: str, system: tuple[Tensor, ...], dt: Tensor) -> list[Tensor]:
    """Discretize ``Lambda, P, B, C`` into a dense complex ``A_bar, B_bar, C``."""
    Lambda, P, B, C = system
    if kind == "s4":
        A, B, C = dense_dplr(Lambda, P, B, C)
        return [*bilinear(A, B, dt), C]
    rules = {"bilinear": diagonal_bilinear, "zoh": diagonal_zoh}
    a_bar, b_bar = rules[rule](Lambda, B, dt)
    a_bar, b_bar, C = (torch.cat([z, z.conj()], -1) for z in (a_bar, b_bar, C))
    return [torch.diag_embed(a_bar), b_bar, C]


def convolution(u: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Convolve causally by the definition, one feature and sequence at a time."""

    def one(x: np.ndarray) -> list[np.ndarray]:
        return [np.convolve(row, k)[: len(row)] for row, k in zip(x, K, strict=True)]

    return np.stack([one(x) for x in u])


def relative_error(got: Tensor, truth: Tensor) -> float:
    """Return the largest error relative to the largest entry of the truth."""
    got, truth = (z.to(torch.complex128) for z in (got, truth))
    return float((got - truth).abs().max() / truth.abs().max())


def error_per_system(got: Tensor, truth: Tensor) -> float:
    """Return the largest :func:`relative_error` of the systems along the first axis."""
    return max(map(relative_error, got, truth))
