"""What a patch of samples looks like to the blocks: the strength of its oscillations."""

import math

import torch
from torch import Tensor, nn

from sks4 import ssm as ops
from sks4._validation import check_integer

_FLOOR = 1e-3
"""Added to powers before the logarithm: 30 dB below white noise of unit variance."""

_BEND = 4.0
"""Bands are of equal width up to half the sampling rate over this, and of equal ratio above."""


class PatchSpectrum(nn.Module):
    r"""Mean and logarithmic powers of the frequency bands of patches.

    Of each input, the values :math:`u_0, ..., u_{P-1}` of a patch become their mean, and

    .. math:: \log\Bigl(\epsilon + \sum_k w_{bk} \bigl|\sum_t h_t u_t e^{-2\pi i k t / P}
              \bigr|^2\Bigr)

    for each band `b`, with the window of Hann, :math:`h_t \propto \sin^2(\pi (t + 1/2) / P)`, whose
    squares sum to one, and triangular weights :math:`w_b` that sum to one. Low bands are of equal
    width, high bands of equal ratio, as on the mel scale (Davis and Mermelstein 1980, section
    II.A). The phase is lost, so patches may be long.

    The results are centered and scaled by `center` and `scale`, which :meth:`fit` sets.

    Parameters
    ----------
    n_inputs : int
        Number of inputs.
    patch_size : int
        Number of samples in a patch, 4 at least.
    dtype : torch.dtype or None, default=None
        Dtype of the result; None for the default one.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> spectrum = nn.PatchSpectrum(2, patch_size=64)
    >>> spectrum(torch.randn(3, 10, 64 * 2)).shape
    torch.Size([3, 10, 40])
    """

    FEWEST_SAMPLES = 4
    """Smallest size of a patch, which has a single band."""

    def __init__(self, n_inputs: int, patch_size: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.n_inputs = check_integer("n_inputs", n_inputs)
        self.patch_size = check_integer("patch_size", patch_size, minimum=self.FEWEST_SAMPLES)
        bands = _bands(patch_size)
        self.atoms: Tensor
        self.bands: Tensor
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("atoms", _atoms(patch_size).to(dtype))
        self.register_buffer("bands", bands.to(dtype))
        self.register_buffer("center", torch.zeros(self.n_features, dtype=dtype))
        self.register_buffer("scale", torch.ones(self.n_features, dtype=dtype))

    @property
    def n_features(self) -> int:
        """Number of values for each patch."""
        return (1 + self.bands.shape[1]) * self.n_inputs

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches ``(..., patch_size * n_inputs)`` to ``(..., n_features)``.

        Successive values belong to successive inputs, in the patches and in the result.
        """
        described = self._describe(patches).to(self.center.dtype)
        return (described - self.center) / self.scale

    def fit(self, patches: Tensor) -> None:
        """Center and scale by the mean and the deviation over patches ``(n, ...)``."""
        described = self._describe(patches)
        self.center.copy_(described.mean(0))
        deviation = described.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-3, deviation, 1.0))  # nothing but rounding

    def _describe(self, patches: Tensor) -> Tensor:
        """Return what is centered and scaled, in double precision where there is one.

        A weak band beside a strong one is the small difference of large terms, which in single
        precision would depend on the batch.
        """
        values = ops.wide(patches).unflatten(-1, (self.patch_size, self.n_inputs)).mT
        real, imaginary = (values @ self.atoms.to(values.dtype)).chunk(2, -1)
        power = (real.square() + imaginary.square()) @ self.bands.to(values.dtype)
        described = torch.cat([values.mean(-1, keepdim=True), (power + _FLOOR).log()], -1)
        return described.mT.flatten(-2)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.n_inputs}, patch_size={self.patch_size}, n_bands={self.bands.shape[1]}"


def _atoms(patch_size: int) -> Tensor:
    """Return windowed cosines, then sines, ``(patch_size, 2 * (patch_size // 2 + 1))``."""
    t = torch.arange(patch_size, dtype=torch.float64)
    window = torch.sin(math.pi * (t + 0.5) / patch_size).square()
    window /= window.square().sum().sqrt()
    k = torch.arange(patch_size // 2 + 1, dtype=torch.float64)
    # the phase modulo one turn is exact in integers
    angle = 2 * math.pi * (torch.outer(t, k) % patch_size) / patch_size
    return window[:, None] * torch.cat([angle.cos(), angle.sin()], 1)


def _bands(patch_size: int) -> Tensor:
    """Return the weights of frequencies in bands, ``(patch_size // 2 + 1, n_bands)``."""
    k = torch.arange(patch_size // 2 + 1, dtype=torch.float64)
    bend = patch_size / 2 / _BEND
    n_bands = math.floor(bend * (1 + math.log(_BEND)))  # as wide as a frequency, up to the bend
    position = torch.where(k < bend, k, bend * (1 + torch.log(k.clamp(min=1) / bend)))
    distance = position[:, None] - torch.arange(1, n_bands + 1, dtype=torch.float64)
    weights = (1 - distance.abs()).clamp(min=0)
    weights = weights[:, weights.sum(0) > 0]
    return weights / weights.sum(0)
