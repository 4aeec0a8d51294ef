"""Causal convolution by the fast Fourier transform."""

from typing import Any

import torch
from torch import Tensor


def fast_length(n: int) -> int:
    """Return the smallest even ``2^a 3^b 5^c`` from `n` on, for which FFTs are fast."""
    best = 1 << max(n - 1, 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            quotient = -(-n // three)
            candidate = three << max(1, (quotient - 1).bit_length())
            best = min(best, candidate)
            three *= 3
        five *= 5
    return best


def fft_conv(u: Tensor, K: Tensor) -> Tensor:
    """Convolve a signal causally with a kernel: ``y[l] = sum_(j <= l) K[j] u[l - j]``.

    Parameters
    ----------
    u : Tensor of shape (batch, H, length)
        Input, real.
    K : Tensor of shape (H, kernel_length)
        Kernel; entries beyond the input's length have no effect.

    Returns
    -------
    Tensor of shape (batch, H, length)
        Output.

    Raises
    ------
    ValueError
        If the number of features of `u` and `K` differs.

    Examples
    --------
    >>> import torch
    >>> from sks4 import ssm
    >>> ssm.fft_conv(torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([[1.0, 1.0, 1.0]])).round()
    tensor([[[1., 3., 3.]]])
    """
    if u.dim() != 3 or K.dim() != 2 or u.shape[1] != K.shape[0]:
        raise ValueError(
            "u must have shape (batch, H, length) and K (H, kernel_length), "
            f"got {tuple(u.shape)} and {tuple(K.shape)}."
        )
    length = u.shape[-1]
    K = K[:, :length]
    n = fast_length(length + K.shape[-1] - 1)
    spectrum = real_fft(u, n) * real_fft(K, n)
    return torch.fft.irfft(spectrum, n=n)[..., :length]


def real_fft(x: Tensor, n: int) -> Tensor:
    """Return ``torch.fft.rfft(x, n=n)`` for an even `n`, with a backward pass that is real too.

    The one of torch is a complex transform of all `n` points, and takes several times as long.
    """
    spectrum: Tensor = _RealFFT.apply(x[..., :n], n)
    return spectrum


class _RealFFT(torch.autograd.Function):
    """:func:`real_fft` of at most `n` points."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: int) -> Tensor:
        ctx.length, ctx.n = x.shape[-1], n
        return torch.fft.rfft(x, n=n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # the inverse transform counts all frequencies twice, but for the first and the last one
        once = torch.full((grad.shape[-1],), 0.5, dtype=grad.real.dtype, device=grad.device)
        once[[0, -1]] = 1.0
        gx = torch.fft.irfft(grad * once, n=ctx.n, norm="forward")
        return gx[..., : ctx.length], None
