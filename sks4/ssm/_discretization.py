"""From continuous to discrete time: bilinear rule and zero-order hold."""

from typing import NamedTuple

import torch
from torch import Tensor

from sks4._validation import check_choice

from ._dplr import add_blocks
from ._parts import multiply, scale

DISCRETIZATIONS = ("bilinear", "zoh")


def check_step(dt: Tensor) -> None:
    """Raise if a step size is not finite and above zero."""
    if not bool((torch.isfinite(dt) & (dt > 0)).all()):
        raise ValueError(
            "dt must be finite and above zero everywhere, got values from "
            f"{dt.min().item():g} to {dt.max().item():g}."
        )


def discretize_bilinear(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    r"""Discretize a dense system by the bilinear (Tustin) rule.

    :math:`\bar A = (I - \frac{dt}{2} A)^{-1} (I + \frac{dt}{2} A)`,
    :math:`\bar B = (I - \frac{dt}{2} A)^{-1} dt B`.

    Parameters
    ----------
    A : Tensor of shape (..., N, N)
        State matrix.
    B : Tensor of shape (..., N)
        Input vector.
    dt : Tensor of shape (...) or float
        Step size, in units of the continuous time.

    Returns
    -------
    A_bar : Tensor of shape (..., N, N)
        Discrete state matrix.
    B_bar : Tensor of shape (..., N)
        Discrete input vector.

    References
    ----------
    Gu, Goel, Ré 2022 (arXiv:2111.00396), equation 3.
    """
    dt = torch.as_tensor(dt, dtype=A.dtype, device=A.device)
    check_step(dt)
    h = dt[..., None, None] / 2
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    solution = torch.linalg.solve(eye - h * A, _beside(eye + h * A, 2 * h * B[..., None]))
    return solution[..., :-1], solution[..., -1]


def _beside(matrix: Tensor, column: Tensor) -> Tensor:
    """Append a column ``(..., N, 1)`` to a matrix ``(..., N, N)``, broadcasting both."""
    batch = torch.broadcast_shapes(matrix.shape[:-2], column.shape[:-2])
    return torch.cat([z.expand(*batch, *z.shape[-2:]) for z in (matrix, column)], -1)


def discretize_zoh(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    r"""Discretize a dense system by zero-order hold: the input is constant over each step.

    :math:`\bar A = e^{dt A}`, :math:`\bar B = \int_0^{dt} e^{s A} ds\, B`, both from one matrix
    exponential, so that a singular `A` needs no special case.

    Parameters
    ----------
    A : Tensor of shape (..., N, N)
        State matrix.
    B : Tensor of shape (..., N)
        Input vector.
    dt : Tensor of shape (...) or float
        Step size, in units of the continuous time.

    Returns
    -------
    A_bar : Tensor of shape (..., N, N)
        Discrete state matrix.
    B_bar : Tensor of shape (..., N)
        Discrete input vector.

    References
    ----------
    Van Loan 1978, Computing integrals involving the matrix exponential, equation 1.2.
    """
    dt = torch.as_tensor(dt, dtype=A.dtype, device=A.device)
    check_step(dt)
    augmented = torch.nn.functional.pad(_beside(A, B[..., None]), (0, 0, 0, 1))
    exponential = torch.linalg.matrix_exp(dt[..., None, None] * augmented)
    return exponential[..., :-1, :-1], exponential[..., :-1, -1]


# The two functions below work on real and imaginary parts, so that what a layer computes can be
# exported. They are the only place where a layer discretizes.


def discretize_diagonal(
    Lambda: tuple[Tensor, Tensor],
    B: tuple[Tensor, Tensor],
    dt: Tensor,
    *,
    discretization: str = "zoh",
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    r"""Discretize a diagonal system, in real and imaginary parts.

    Parameters
    ----------
    Lambda, B : pair of Tensors of shape (..., N/2)
        Real and imaginary part of the diagonal and of the input vector.
    dt : Tensor of shape (..., 1)
        Step size.
    discretization : {"zoh", "bilinear"}, default="zoh"
        Rule.

    Returns
    -------
    a_bar, b_bar : pair of Tensors of shape (..., N/2)
        Discrete diagonal and input vector, real and imaginary part.

    References
    ----------
    Gu et al. 2022, S4D (arXiv:2206.11893), equation 5.
    """
    check_choice("discretization", discretization, DISCRETIZATIONS)
    if discretization == "bilinear":
        inverse = _bilinear_inverse(Lambda, dt)
        return (2 * inverse[0] - 1, 2 * inverse[1]), scale(multiply(inverse, B), dt)
    x, y = dt * Lambda[0], dt * Lambda[1]
    growth, half = torch.exp(x), torch.sin(y / 2)
    cos, sin = 1 - 2 * half * half, torch.sin(y)
    # e^z - 1 without cancellation for small z
    difference = torch.expm1(x) * cos - 2 * half * half, growth * sin
    norm = x * x + y * y
    near_zero = norm < 1e-6  # here the quotient would lose digits in its gradient
    safe = torch.where(near_zero, 1.0, norm)
    quotient = (
        (difference[0] * x + difference[1] * y) / safe,
        (difference[1] * x - difference[0] * y) / safe,
    )
    series = _exponential_integral((x, y))
    integral = (
        torch.where(near_zero, series[0], quotient[0]),
        torch.where(near_zero, series[1], quotient[1]),
    )
    return (growth * cos, growth * sin), scale(multiply(integral, B), dt)


class DiscreteDPLR(NamedTuple):
    """A discrete system in real form, ``A_bar = blocks(a_bar) - q^T r``, kept in its parts.

    Attributes
    ----------
    a_bar : pair of Tensors of shape (..., N/2)
        Real and imaginary part of the diagonal.
    q, r : Tensor of shape (..., rank, N)
        Low-rank part; rank 0 for a diagonal system.
    B_bar : Tensor of shape (..., N)
        Input vector.
    """

    a_bar: tuple[Tensor, Tensor]
    q: Tensor
    r: Tensor
    B_bar: Tensor

    def increment(self, dtype: torch.dtype) -> Tensor:
        """Return ``A_bar - I`` as a dense matrix ``(..., N, N)``.

        For small steps it is small, and rounds to its own size instead of to that of 1.
        """
        low_rank = -(self.q.to(dtype).mT @ self.r.to(dtype))
        real, imag = self.a_bar
        return add_blocks(low_rank, (real - 1).to(dtype), imag.to(dtype))


def discretize_dplr(
    Lambda: tuple[Tensor, Tensor], p: Tensor, b: Tensor, dt: Tensor
) -> DiscreteDPLR:
    r"""Discretize a real-form DPLR system by the bilinear rule, without factorizing a matrix.

    With ``h = dt/2``, ``I - h A = D + h p^T p`` and ``D`` of 2x2 blocks, so the Woodbury identity
    inverts it with one ``rank x rank`` system: :math:`\bar A = 2 (I - hA)^{-1} - I`.

    Parameters
    ----------
    Lambda : pair of Tensors of shape (..., N/2)
        Real and imaginary part of the diagonal.
    p : Tensor of shape (..., rank, N)
        Low-rank part in real form.
    b : Tensor of shape (..., N)
        Input vector in real form.
    dt : Tensor of shape (..., 1)
        Step size.

    Returns
    -------
    DiscreteDPLR
        The discrete system.
    """
    h = dt / 2
    inverse = _bilinear_inverse(Lambda, dt)
    q = _rotate(inverse, p, transpose=False)  # rows D^-1 p
    right = _rotate(inverse, p, transpose=True)  # rows D^-T p
    core = torch.eye(p.shape[-2], dtype=p.dtype, device=p.device) + h[..., None] * (p @ q.mT)
    solved = right / core if p.shape[-2] == 1 else torch.linalg.solve(core, right)
    r = 2 * h[..., None] * solved
    uncoupled = _rotate(inverse, b[..., None, :], transpose=False)[..., 0, :]
    coupling = (q.mT @ (r @ b[..., None]))[..., 0] / 2
    a_bar = 2 * inverse[0] - 1, 2 * inverse[1]
    return DiscreteDPLR(a_bar, q, r, dt * (uncoupled - coupling))


def _bilinear_inverse(Lambda: tuple[Tensor, Tensor], dt: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of ``1 / (1 - dt/2 Lambda)``."""
    re, im = 1 - dt / 2 * Lambda[0], -dt / 2 * Lambda[1]
    norm = re * re + im * im
    return re / norm, -im / norm


def _exponential_integral(z: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the parts of ``(e^z - 1) / z`` for ``|z| < 1e-3``: its series up to ``z^4 / 5!``."""
    total = torch.ones_like(z[0]), torch.zeros_like(z[0])
    for k in (5, 4, 3, 2):
        product = multiply(z, total)
        total = 1 + product[0] / k, product[1] / k
    return total


def _rotate(z: tuple[Tensor, Tensor], x: Tensor, *, transpose: bool) -> Tensor:
    """Multiply rows ``x (..., rank, N)`` in real form by the 2x2 blocks of ``z (..., N/2)``."""
    re, im = z[0][..., None, :], z[1][..., None, :]
    top, bottom = x.chunk(2, -1)
    parts = multiply((re, -im if transpose else im), (top, bottom))
    return torch.cat(parts, -1)
