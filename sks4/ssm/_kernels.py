"""Convolution kernels: the truncated generating function (S4) and the Vandermonde product (S4D)."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from ._convolution import fast_length, real_fft
from ._discretization import check_step, discretize_diagonal

# Points a sample and r^M of the damped circle, by dtype. The aliasing error is about r^M, the
# rounding error eps / r^L with r^L = (r^M)^(1/factor): 1e-16 and 2e-12 in double, 2e-6 and 3e-6 in
# single precision.
_CIRCLE = {torch.float64: (4, 1e-16), torch.float32: (4, 2e-6)}


def _check_system(Lambda: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> None:
    """Raise if the shapes of a system do not fit or a step is not positive."""
    if Lambda.dim() != 2 or B.shape != Lambda.shape or C.shape != Lambda.shape:
        raise ValueError(
            "Lambda, B and C must have the same shape (H, N/2), got "
            f"{tuple(Lambda.shape)}, {tuple(B.shape)} and {tuple(C.shape)}."
        )
    if dt.shape != Lambda.shape[:1]:
        raise ValueError(f"dt must have shape ({Lambda.shape[0]},), got {tuple(dt.shape)}.")
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}.")
    check_step(dt)


def _powers(a: Tensor, count: int) -> Tensor:
    """Return ``a^0 .. a^(count - 1)`` along a new last axis, by doubling.

    Doubling needs no logarithm, so ``a = 0`` is no special case.
    """
    table, power = torch.ones_like(a)[..., None], a[..., None]
    while table.shape[-1] < count:
        table = torch.cat([table, table * power], -1)
        power = power * power
    return table[..., :count]


def _power(a: Tensor, exponent: int) -> Tensor:
    """Return ``a^exponent`` by squaring, for the same reason."""
    result = torch.ones_like(a)
    while exponent:
        if exponent & 1:
            result = result * a
        a, exponent = a * a, exponent >> 1
    return result


def _real_pairs(z: Tensor) -> Tensor:
    """Concatenate real and imaginary part along the next-to-last axis."""
    return torch.cat([z.real, z.imag], -2)


def vandermonde(w: Tensor, a: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    r"""Return ``2 Re(sum_n w_n a_n^l)`` for ``l < length`` by a two-level product.

    With ``l = i m + j`` and ``m`` about ``sqrt(length)``, two small tables of powers (formed in
    double precision, so that the phase is right) and one real matrix product do it.

    Parameters
    ----------
    w : Tensor of shape (H, rows, N/2), complex128
        Coefficients.
    a : Tensor of shape (H, N/2), complex128
        Bases, of modulus at most 1.
    length : int
        Number of powers.
    dtype : torch.dtype
        Real dtype of the product and the result.

    Returns
    -------
    Tensor of shape (H, rows, length)
        The sums.
    """
    sums: Tensor = _Vandermonde.apply(w, a, length, dtype)
    return sums


class _Vandermonde(torch.autograd.Function):
    """:func:`vandermonde` and its backward pass, products with two small tables as well.

    The gradients are ``2 conj(sum_l g_l a_n^l)``, and by ``a`` the same with ``l w_n a_n^(l - 1)``.
    With ``l = i m + j`` the latter is ``(i m a^(i m - 1)) a^j + a^(i m) (j a^(j - 1))``.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor, a: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        H, rows, _ = w.shape
        m = 1 << ((length - 1).bit_length() + 1) // 2
        inner = _powers(a, m)  # (H, N/2, m)
        outer = _powers(inner[..., -1] * a, -(-length // m))  # (H, N/2, length/m)
        coarse = 2 * w[..., None] * outer[:, None]  # (H, rows, N/2, length/m)
        left = _real_pairs(coarse.conj()).mT.flatten(1, 2).to(dtype)  # (H, rows length/m, N)
        ctx.save_for_backward(w, inner, outer)
        return (left @ _real_pairs(inner).to(dtype)).view(H, rows, -1)[..., :length]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        w, inner, outer = ctx.saved_tensors
        (H, rows, n), m, blocks = w.shape, inner.shape[-1], outer.shape[-1]
        j = torch.arange(1, m, dtype=torch.float64, device=w.device)
        inner_slope = pad(j * inner[..., :-1], (1, 0))  # of a^j
        i = torch.arange(1, blocks, dtype=torch.float64, device=w.device)
        outer_slope = pad(m * i * outer[..., :-1] * inner[..., -1:], (1, 0))  # of a^(i m)
        table = torch.cat([_real_pairs(inner), _real_pairs(inner_slope)], 1).to(grad.dtype)
        if missing := blocks * m - grad.shape[-1]:  # else padding would be a copy
            grad = pad(grad, (0, missing))
        products = (grad.reshape(H, -1, m) @ table.mT).view(H, rows, blocks, 4, n)
        by_inner, by_slope = torch.complex(products[..., ::2, :], products[..., 1::2, :]).unbind(3)
        outer, outer_slope = (x.mT[:, None].to(by_inner.dtype) for x in (outer, outer_slope))
        gw = (by_inner * outer).sum(2)
        ga = (w * (by_inner * outer_slope + by_slope * outer).sum(2)).sum(1)
        return 2 * gw.conj().to(w.dtype), 2 * ga.conj(), None, None


def diagonal_kernel(
    Lambda: Tensor,
    B: Tensor,
    C: Tensor,
    dt: Tensor,
    length: int,
    *,
    discretization: str = "zoh",
) -> Tensor:
    r"""Return the convolution kernel of diagonal systems, ``K[l] = 2 Re(C a_bar^l b_bar)``.

    Parameters
    ----------
    Lambda, B, C : Tensor of shape (H, N/2), complex
        Diagonal, input and output vector, one of each conjugate pair.
    dt : Tensor of shape (H,)
        Step sizes.
    length : int
        Number of entries.
    discretization : {"zoh", "bilinear"}, default="zoh"
        Rule that leads to discrete time.

    Returns
    -------
    Tensor of shape (H, length)
        Kernel, of the dtype of `dt`.

    References
    ----------
    Gu et al. 2022, S4D (arXiv:2206.11893), section 3.3.
    """
    _check_system(Lambda, B, C, dt, length)
    Lambda, B, C = (z.to(torch.complex128) for z in (Lambda, B, C))
    a, b = discretize_diagonal(
        (Lambda.real, Lambda.imag),
        (B.real, B.imag),
        dt.double()[:, None],
        discretization=discretization,
    )
    w = C * torch.complex(*b)
    return vandermonde(w[:, None], torch.complex(*a), length, dt.dtype)[:, 0]


def dplr_kernel(Lambda: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    r"""Return the convolution kernel of DPLR systems under the bilinear rule.

    The generating function of the kernel is evaluated on a circle of radius ``r < 1``, as Cauchy
    products joined by the Woodbury identity, and inverted by an FFT. The damping makes the result
    exact for every length without a length-dependent parameter in place of `C`.

    Parameters
    ----------
    Lambda, B, C : Tensor of shape (H, N/2), complex
        Diagonal, input and output vector, one of each conjugate pair.
    P : Tensor of shape (H, rank, N/2), complex
        Low-rank part of ``A = diag(Lambda) - P P^*``.
    dt : Tensor of shape (H,)
        Step sizes.
    length : int
        Number of entries.

    Returns
    -------
    Tensor of shape (H, length)
        Kernel, of the dtype of `dt`.

    References
    ----------
    Gu, Goel, Ré 2022 (arXiv:2111.00396), algorithm 1, appendix C.3;
    Abate and Whitt 1992, Numerical inversion of probability generating functions, for the damping.

    Examples
    --------
    >>> import torch
    >>> from sks4 import ssm
    >>> Lambda, P, B, V = ssm.dplr("legs", 16)
    >>> system = (Lambda[None], P[None], B[None], B.conj()[None])
    >>> K = ssm.dplr_kernel(*system, torch.tensor([0.01], dtype=torch.float64), 100)
    >>> K.shape
    torch.Size([1, 100])
    """
    _check_system(Lambda, B, C, dt, length)
    if P.dim() != 3 or P.shape[::2] != Lambda.shape:
        raise ValueError(
            f"P must have shape ({Lambda.shape[0]}, rank, {Lambda.shape[1]}), got {tuple(P.shape)}."
        )
    dtype = dt.dtype if dt.dtype in _CIRCLE else torch.float32
    factor, damping = _CIRCLE[dtype]
    M = fast_length(factor * length)
    r = damping ** (1 / M)
    S = real_fft(_cauchy_sums(Lambda, P, B, C, dt, M, r, dtype), M)  # (H, 1+rank, 1+rank, M/2+1)
    angles = 2 * math.pi / M * torch.arange(M // 2 + 1, dtype=torch.float64, device=S.device)
    z = (r * torch.polar(torch.ones_like(angles), -angles)).to(S.dtype)
    spectrum = 2 * (S[:, 0, 0] - (1 + z) * _woodbury(S, z))
    damped = torch.fft.irfft(spectrum, n=M)[:, :length]
    growth = r ** -torch.arange(length, dtype=torch.float64, device=S.device)
    return (damped * growth.to(dtype)).to(dt.dtype)


def _cauchy_sums(
    Lambda: Tensor,
    P: Tensor,
    B: Tensor,
    C: Tensor,
    dt: Tensor,
    M: int,
    r: float,
    dtype: torch.dtype,
) -> Tensor:
    """Return the damped sequences whose FFT are the Cauchy products of (C, P^*) with (B, P).

    Shape ``(H, 1 + rank, 1 + rank, M)``, real.
    """
    Lambda, P, B, C = (z.to(torch.complex128) for z in (Lambda, P, B, C))
    a = dt.double()[:, None] * Lambda
    damped = r * (2 + a) / (2 - a)
    left = torch.cat([C[:, None], P.conj()], 1)  # (H, 1+rank, N/2)
    right = torch.cat([B[:, None], P], 1)
    scale = dt.double()[:, None] / ((2 - a) * (1 - _power(damped, M)))
    w = (left[:, :, None] * right[:, None] * scale[:, None, None]).flatten(1, 2)
    sums = vandermonde(w, damped, M, dtype)
    return sums.unflatten(1, (left.shape[1], right.shape[1]))


def _woodbury(S: Tensor, z: Tensor) -> Tensor:
    """Return ``S01 (I + (1 + z) S11)^-1 S10`` at each point, ``(H, points)``."""
    rank = S.shape[1] - 1
    if rank == 0:
        return torch.zeros_like(S[:, 0, 0])
    if rank == 1:
        return S[:, 0, 1] * S[:, 1, 0] / (1 + (1 + z) * S[:, 1, 1])
    S = S.permute(0, 3, 1, 2)  # (H, points, 1+rank, 1+rank)
    core = torch.eye(rank, dtype=S.dtype, device=S.device)
    core = core + (1 + z)[:, None, None] * S[..., 1:, 1:]
    solved = torch.linalg.solve(core, S[..., 1:, :1])
    return (S[..., :1, 1:] @ solved)[..., 0, 0]
