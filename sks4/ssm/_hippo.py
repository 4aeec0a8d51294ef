"""HiPPO matrices: continuous-time systems whose state is a projection of the input's history."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sks4._validation import check_choice, check_integer


def _legs(N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scaled Legendre measure: all of the history, uniformly weighted."""
    n = torch.arange(N, dtype=torch.float64)
    B = torch.sqrt(2 * n + 1)
    A = -torch.tril(torch.outer(B, B), diagonal=-1) - torch.diag(n + 1)
    return A, B, torch.sqrt(n + 0.5)[None]


def _legt(N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the translated Legendre measure: a sliding window, uniformly weighted."""
    n = torch.arange(N)
    R = torch.sqrt(2 * n.double() + 1)
    alternating = 1.0 - 2.0 * ((n[:, None] - n[None, :]) % 2)  # (-1)^(n-k)
    sign = torch.where(n[:, None] < n[None, :], alternating, 1.0)
    A = -0.5 * torch.outer(R, R) * sign
    parity = torch.stack([n % 2 == 0, n % 2 == 1]).double()
    return A, R / 2, parity * R / math.sqrt(2)


def _fout(N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the truncated Fourier measure: a sliding window in sines and cosines."""
    B = torch.zeros(N, dtype=torch.float64)
    B[0] = 1.0
    B[2::2] = math.sqrt(2)
    m = torch.arange(N // 2)
    skew = torch.zeros(N, N, dtype=torch.float64)
    skew[2 * m + 1, 2 * m] = math.pi * m.double()
    skew[2 * m, 2 * m + 1] = -math.pi * m.double()
    return skew - torch.outer(B, B), B, B[None].clone()


MEASURES: dict[str, Callable[[int], tuple[Tensor, Tensor, Tensor]]] = {
    "legs": _legs,
    "legt": _legt,
    "fout": _fout,
}
"""Each measure's ``N -> A (N, N), B (N,), P (rank, N)`` such that ``A + P^T P`` is normal."""


def check_state_size(N: int, name: str = "N") -> int:
    """Return `N` if it is a positive even integer, which conjugate pairs need."""
    N = check_integer(name, N, minimum=2)
    if N % 2:
        raise ValueError(f"{name} must be even, because states form conjugate pairs, got {N}.")
    return N


def hippo(measure: str, N: int) -> tuple[Tensor, Tensor]:
    r"""Return the HiPPO system :math:`x' = A x + B u` of a measure.

    Parameters
    ----------
    measure : {"legs", "legt", "fout"}
        Scaled Legendre, translated Legendre or truncated Fourier.
    N : int
        State size, even.

    Returns
    -------
    A : Tensor of shape (N, N), float64
        State matrix.
    B : Tensor of shape (N,), float64
        Input vector.

    References
    ----------
    Gu et al. 2020, HiPPO (arXiv:2008.07669), theorem 2 and appendix D;
    Gu et al. 2022, How to Train Your HiPPO (arXiv:2206.12037), for LegT and FouT in this scaling.

    Examples
    --------
    >>> from sks4 import ssm
    >>> A, B = ssm.hippo("legs", 4)
    >>> A.diagonal()
    tensor([-1., -2., -3., -4.], dtype=torch.float64)
    """
    A, B, _ = MEASURES[check_choice("measure", measure, MEASURES)](check_state_size(N))
    return A, B
