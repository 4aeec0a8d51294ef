"""The S4 layer as a textbook has it: correct, and neither fast nor small.

One materialized ``(H, N, length/2 + 1)`` complex64 Cauchy matrix over both of each conjugate pair,
four products with it joined by the Woodbury identity, an inverse FFT, an FFT convolution, plain
autograd.
"""

import math

import torch
from torch import Tensor, nn

from sks4 import ssm


class TextbookS4(nn.Module):
    """S4-LegS by the generating function at the roots of unity (Gu, Goel, Ré 2022, algorithm 1).

    The kernel is truncated by the trained parameter ``C (I - A_bar^length)`` itself, as in the
    paper.
    """

    def __init__(self, d_model: int, d_state: int = 64) -> None:
        super().__init__()
        Lambda, P, B, _ = ssm.dplr("legs", d_state)
        copies = [z.to(torch.complex64).repeat(d_model, 1) for z in (Lambda, P[0], B)]
        self.Lambda, self.P, self.B = (nn.Parameter(torch.view_as_real(z)) for z in copies)
        self.C = nn.Parameter(torch.randn(d_model, d_state // 2, 2) * math.sqrt(0.5))
        self.log_dt = nn.Parameter(torch.empty(d_model).uniform_(math.log(1e-3), math.log(1e-1)))
        self.D = nn.Parameter(torch.randn(d_model))

    def kernel(self, length: int) -> Tensor:
        """Return the kernel, ``(d_model, length)``."""
        both = (torch.view_as_complex(z) for z in (self.Lambda, self.P, self.B, self.C))
        Lambda, P, B, C = (torch.cat([z, z.conj()], -1) for z in both)  # (H, N)
        dt = self.log_dt.exp()[:, None]
        omega = torch.exp(-2j * math.pi * torch.arange(length // 2 + 1) / length)
        # 1e-7 keeps the division finite where omega is -1 (even lengths)
        g = 2 * (1 - omega) / (1 + omega + 1e-7)
        cauchy = 1 / (g - (dt * Lambda)[..., None])  # (H, N, length/2 + 1)
        k00, k01, k10, k11 = (
            dt * torch.einsum("hn,hnl->hl", v, cauchy)
            for v in (C * B, C * P, P.conj() * B, P.conj() * P)
        )
        spectrum = 2 / (1 + omega + 1e-7) * (k00 - k01 * k10 / (1 + k11))
        return torch.fft.irfft(spectrum, n=length)

    def forward(self, u: Tensor) -> Tensor:
        """Map ``u (batch, length, d_model)`` to the output of the same shape."""
        length = u.shape[1]
        u = u.transpose(1, 2)  # (batch, d_model, length)
        n = 2 * length
        spectrum = torch.fft.rfft(u, n=n) * torch.fft.rfft(self.kernel(length), n=n)
        y = torch.fft.irfft(spectrum, n=n)[..., :length] + self.D[:, None] * u
        return y.transpose(1, 2)
