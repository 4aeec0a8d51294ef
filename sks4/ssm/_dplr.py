"""Diagonal plus low-rank systems: their initializations and their real form."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sks4._validation import check_choice

from ._hippo import MEASURES, check_state_size

DIAGONAL_INITS = ("legs", "lin", "inv")


def dplr(measure: str, N: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Return a HiPPO system as diagonal plus low rank, in complex coordinates.

    The normal part of ``A = V (diag(Lambda) - P^* P) V^*`` has a unitary eigenvector matrix. Of
    each conjugate pair of eigenvalues only the one with positive imaginary part is kept, so that
    ``A x = 2 Re(V (Lambda z - P^* 2 Re(P z)))`` for the real state ``x = 2 Re(V z)``, with the rows
    of `P` conjugated in the product.

    Parameters
    ----------
    measure : {"legs", "legt", "fout"}
        HiPPO measure.
    N : int
        State size, even.

    Returns
    -------
    Lambda : Tensor of shape (N/2,), complex128
        Eigenvalues of the normal part.
    P : Tensor of shape (rank, N/2), complex128
        Low-rank part; the rank is 1 (legs, fout) or 2 (legt).
    B : Tensor of shape (N/2,), complex128
        Input vector in the eigenbasis.
    V : Tensor of shape (N, N/2), complex128
        Orthonormal eigenvectors.

    References
    ----------
    Gu, Goel, Ré 2022 (arXiv:2111.00396), theorem 1 and appendix B.1;
    Goel et al. 2022 (arXiv:2202.09729), section 4.1, for the sign of the low-rank part.

    Examples
    --------
    >>> from sks4 import ssm
    >>> Lambda, P, B, V = ssm.dplr("legs", 64)
    >>> Lambda.shape, P.shape, bool((Lambda.real + 0.5).abs().max() < 1e-12)
    (torch.Size([32]), torch.Size([1, 32]), True)
    """
    A, B, P = MEASURES[check_choice("measure", measure, MEASURES)](check_state_size(N))
    normal = A + P.mT @ P
    decay = normal.diagonal().mean()  # the normal part is skew but for a multiple of the identity
    skew = normal - decay * torch.eye(N, dtype=A.dtype)
    frequencies, V = _conjugate_half((skew - skew.mT) / 2)
    to_eigenbasis = V.mH
    return (
        torch.complex(decay.expand_as(frequencies).clone(), frequencies),
        (to_eigenbasis @ P.mT.to(V.dtype)).mT.contiguous(),
        to_eigenbasis @ B.to(V.dtype),
        V,
    )


def _conjugate_half(skew: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``i w`` with ``w >= 0`` and eigenvectors of a real skew matrix, one a pair."""
    w, V = torch.linalg.eigh(torch.complex(torch.zeros_like(skew), -skew))  # ascending
    half = len(w) // 2
    w, V = w[half:], V[:, half:].contiguous()
    scale = w[-1]
    if w[0] <= 1e-12 * scale:
        # A double eigenvalue 0 (FouT's constant and its unused partner) comes with an arbitrary
        # real basis from the solver; a conjugate pair must be made of it by hand.
        null = torch.linalg.svd(skew).Vh[-2:].to(V.dtype)
        V[:, 0] = (null[0] + 1j * null[1]) / math.sqrt(2)
        w = w.clone()
        w[0] = 0.0
    return w, V


def diagonal(init: str, N: int) -> tuple[Tensor, Tensor]:
    r"""Return an S4D initialization, one of each conjugate pair.

    Parameters
    ----------
    init : {"legs", "lin", "inv"}
        ``lin`` spaces frequencies evenly, ``inv`` inversely; ``legs`` is HiPPO-LegS without its
        low-rank part.
    N : int
        State size, even.

    Returns
    -------
    Lambda : Tensor of shape (N/2,), complex128
        Diagonal state matrix.
    B : Tensor of shape (N/2,), complex128
        Input vector.

    References
    ----------
    Gu et al. 2022, S4D (arXiv:2206.11893), section 4.
    """
    check_choice("init", init, DIAGONAL_INITS)
    n = torch.arange(check_state_size(N) // 2, dtype=torch.float64)
    if init == "legs":
        Lambda, _, B, _ = dplr("legs", N)
        return Lambda, B
    frequencies = math.pi * n if init == "lin" else (N / math.pi) * (N / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(n, -0.5), frequencies), torch.ones_like(n) + 0j


def initial_system(ssm: str, init: str, N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``Lambda (N/2,), P (rank, N/2), B (N/2,)`` of a valid pair; rank 0 for ``"s4d"``."""
    check_choice("ssm", ssm, ("s4", "s4d"))
    if ssm == "s4":
        check_choice('init of ssm="s4"', init, MEASURES)
        Lambda, P, B, _ = dplr(init, N)
        return Lambda, P, B
    check_choice('init of ssm="s4d"', init, DIAGONAL_INITS)
    Lambda, B = diagonal(init, N)
    return Lambda, B.new_zeros(0, len(B)), B


def real_vector(z: Tensor) -> Tensor:
    """Map state or input coordinates ``(..., N/2)`` complex to ``(..., N)`` real.

    ``sqrt(2) [Re z; Im z]`` preserves the norm of a conjugate pair.
    """
    return math.sqrt(2) * torch.cat([z.real, z.imag], -1)


def real_covector(z: Tensor) -> Tensor:
    """Map output coordinates ``(..., N/2)`` complex to ``(..., N)`` real.

    ``real_covector(C) @ real_vector(x)`` equals ``2 Re(C @ x)``.
    """
    return math.sqrt(2) * torch.cat([z.real, -z.imag], -1)


def add_blocks(matrix: Tensor, real: Tensor, imag: Tensor) -> Tensor:
    """Add the real form of a diagonal ``real + i imag (..., N/2)`` to ``matrix (..., N, N)``."""
    return _AddBlocks.apply(matrix, real, imag)


class _AddBlocks(torch.autograd.Function):
    """Three additions along diagonals, instead of a dense matrix of zeros for each of them."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, real: Tensor, imag: Tensor) -> Tensor:
        half = real.shape[-1]
        total = matrix.clone()
        total.diagonal(0, -2, -1).add_(torch.cat([real, real], -1))
        total.diagonal(half, -2, -1).sub_(imag)
        total.diagonal(-half, -2, -1).add_(imag)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = grad.shape[-1] // 2
        main = grad.diagonal(0, -2, -1)
        upper, lower = grad.diagonal(half, -2, -1), grad.diagonal(-half, -2, -1)
        return grad, main[..., :half] + main[..., half:], lower - upper


def real_form(
    Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Return a conjugate-pair system as a real N-dimensional one.

    ``A + A^T = 2 diag(Re Lambda) - 2 p p^T`` is negative semidefinite when ``Re Lambda <= 0``,
    hence the bilinear ``A_bar`` is a contraction in the 2-norm.

    Parameters
    ----------
    Lambda, B, C : Tensor of shape (..., N/2), complex
        Diagonal, input and output, one of each conjugate pair.
    P : Tensor of shape (..., rank, N/2), complex
        Low-rank part; rank 0 for a diagonal system.

    Returns
    -------
    A : Tensor of shape (..., N, N)
        State matrix.
    p : Tensor of shape (..., rank, N)
        Low-rank part: ``A = blocks(Lambda) - p^T p``.
    b, c : Tensor of shape (..., N)
        Input and output vector; ``y = c . x`` needs no further factor 2.

    Examples
    --------
    >>> import torch
    >>> from sks4 import ssm
    >>> Lambda, P, B, V = ssm.dplr("legs", 8)
    >>> A, p, b, c = ssm.real_form(Lambda, P, B, B)
    >>> bool(torch.linalg.eigvalsh(A + A.mT).max() <= 0)
    True
    """
    p = real_vector(P)
    return (
        add_blocks(-(p.mT @ p), Lambda.real, Lambda.imag),
        p,
        real_vector(B),
        real_covector(C),
    )
