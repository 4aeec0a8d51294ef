"""From the trained parameters of a layer to the operators that compute with them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sks4 import ssm as ops


@dataclass(frozen=True)
class Systems:
    """The parameters of the systems of a layer, and the operators that they define.

    Every call forms the operators again, differentiably, in double precision where the result
    requires it.

    Parameters
    ----------
    log_dt : Tensor of shape (H,)
        Logarithm of the step.
    log_decay, frequency : Tensor of shape (H, N/2)
        ``Lambda = -exp(log_decay) + i frequency``.
    P : Tensor of shape (H, rank, N/2, 2)
        Low-rank part, complex by parts; rank 0 for a diagonal system.
    B : Tensor of shape (H, N/2, 2)
        Input vector.
    C : Tensor of shape (directions, H, N/2, 2)
        Output vectors.
    D : Tensor of shape (H,)
        Feedthrough of the first direction; the other has none.
    low_rank : bool
        Whether the systems are of the kind with a low-rank part.
    discretization : {"bilinear", "zoh"}
        Rule.
    bandlimit : float or None
        Share of half the sampling rate above which modes give no output.
    """

    log_dt: Tensor
    log_decay: Tensor
    frequency: Tensor
    P: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    low_rank: bool
    discretization: str
    bandlimit: float | None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the computation: single precision unless the parameters are double."""
        return torch.promote_types(self.D.dtype, torch.float32)

    def step_operators(self, rate: float, dtype: torch.dtype) -> list[ops.StepOperator]:
        """Return the operator over one sample of each direction, in a dtype."""
        system = self._discretize(rate)
        return [ops.step_operator(system, C.to(dtype), D.to(dtype)) for C, D in self._outputs(rate)]

    def chunk_operators(self, b: int, rate: float, *, with_powers: bool) -> list[ops.ChunkOperator]:
        """Return the operator over `b` samples of each direction."""
        system, dtype = self._discretize(rate), self.dtype
        B_bar, outputs = system.B_bar.to(dtype), self._outputs(rate)
        if self.low_rank and self.P.shape[1] == 1:
            q, r = system.q[:, 0].to(dtype), system.r[:, 0].to(dtype)
            return [
                ops.dplr_operator(system.a_bar, q, r, B_bar, C, D, b, with_powers=with_powers)
                for C, D in outputs
            ]
        if self.low_rank:
            E = system.increment(dtype)
            return [
                ops.dense_operator(E, B_bar, C, D, b, with_powers=with_powers) for C, D in outputs
            ]
        e = system.a_bar[0] - 1, system.a_bar[1]
        return [
            ops.diagonal_operator(e, B_bar, C, D, b, with_powers=with_powers) for C, D in outputs
        ]

    def kernels(self, length: int, rate: float) -> Tensor:
        """Return the kernels of all directions, ``(directions, H, length)``."""
        re, im, P, B, dt = self._continuous(rate)
        Lambda, P, B, step = torch.complex(re, im), _complex(P), _complex(B), dt[:, 0]
        step = step.to(self.dtype)
        if self.low_rank:
            return torch.stack(
                [
                    ops.dplr_kernel(Lambda, P, B, _complex(C), step, length)
                    for C in self._outputs_in_band(rate)
                ]
            )
        rule = self.discretization
        return torch.stack(
            [
                ops.diagonal_kernel(Lambda, B, _complex(C), step, length, discretization=rule)
                for C in self._outputs_in_band(rate)
            ]
        )

    def _continuous(self, rate: float) -> tuple[Tensor, ...]:
        """Return ``Re Lambda, Im Lambda, P, B, dt`` in double precision, complex parts last."""
        decay, frequency, P, B, dt = map(
            ops.wide, (self.log_decay, self.frequency, self.P, self.B, self.log_dt)
        )
        return -decay.exp(), frequency, P, B, rate * dt.exp()[:, None]

    def _discretize(self, rate: float) -> ops.DiscreteDPLR:
        """Return the discrete system in real form, in double precision."""
        re, im, P, B, dt = self._continuous(rate)
        if self.discretization == "bilinear":
            return ops.discretize_dplr((re, im), _real_vector(P), _real_vector(B), dt)
        a_bar, b_bar = ops.discretize_diagonal((re, im), (B[..., 0], B[..., 1]), dt)
        none = _real_vector(P)
        return ops.DiscreteDPLR(a_bar, none, none, _real_vector(torch.stack(b_bar, -1)))

    def _outputs_in_band(self, rate: float) -> Tensor:
        """Return `C` by parts, ``(directions, H, N/2, 2)``, zero for modes outside of the band."""
        if self.bandlimit is None:
            return self.C
        # radians a sample, of which pi is half the sampling rate
        speed = (rate * self.log_dt.exp()[:, None] * self.frequency).abs()
        return self.C * (speed <= self.bandlimit * math.pi)[..., None]

    def _outputs(self, rate: float) -> list[tuple[Tensor, Tensor]]:
        """Return the output vector ``(H, N)`` in real form and the feedthrough, by direction."""
        D, sign = self.D.to(self.dtype), self.C.new_tensor([1.0, -1.0])
        C = [_real_vector((C * sign).to(self.dtype)) for C in self._outputs_in_band(rate)]
        return list(zip(C, [D, torch.zeros_like(D)], strict=False))


def _real_vector(parts: Tensor) -> Tensor:
    """Return the real form ``(..., N)`` of a complex vector given by parts ``(..., N/2, 2)``."""
    return math.sqrt(2) * parts.mT.flatten(-2)


def _complex(parts: Tensor) -> Tensor:
    """Return ``(..., N/2)`` complex128 from parts ``(..., N/2, 2)``."""
    return torch.view_as_complex(ops.wide(parts).contiguous())
