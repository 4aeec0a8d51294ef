"""FFT convolution against the definition."""

import numpy as np
import pytest
import torch

import oracles
from sks4 import ssm
from sks4.ssm._convolution import fast_length, real_fft


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize("taps", [1, 5, 31, 40])
@pytest.mark.parametrize("length", [1, 2, 31])
def test_fft_conv_matches_the_definition(length, taps, dtype, tolerance):
    rng = np.random.default_rng(0)
    u, K = rng.standard_normal((2, 3, length)), rng.standard_normal((3, taps))
    y = ssm.fft_conv(torch.tensor(u, dtype=dtype), torch.tensor(K, dtype=dtype))
    assert y.dtype == dtype
    # rounding of an FFT is relative to the norms of both operands
    atol = tolerance * 10 * np.sqrt(min(length, taps))
    np.testing.assert_allclose(y, oracles.convolution(u, K), rtol=0, atol=atol)


def test_fft_conv_gradient_matches_finite_differences():
    torch.manual_seed(0)
    u, K = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 2, 5), (2, 7)))
    assert torch.autograd.gradcheck(ssm.fft_conv, (u, K))


@pytest.mark.parametrize("length", [1, 5, 8, 11])
def test_real_fft_and_its_gradient_are_those_of_torch(length):
    torch.manual_seed(0)
    x = torch.randn(3, length, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 5, dtype=torch.complex128)
    gradients = []
    for transform in (real_fft, torch.fft.rfft):
        spectrum = transform(x, 8)
        gradients += torch.autograd.grad((spectrum * weights).real.sum(), x)
    assert torch.equal(real_fft(x, 8), torch.fft.rfft(x, 8))
    assert torch.allclose(*gradients, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("u", "K"), [((2, 3, 8), (2, 8)), ((3, 8), (3, 8)), ((2, 3, 8), (2, 3, 8))]
)
def test_fft_conv_refuses_shapes_that_do_not_fit(u, K):
    with pytest.raises(ValueError, match=r"u must have shape \(batch, H, length\) and K \(H, kern"):
        ssm.fft_conv(torch.zeros(u), torch.zeros(K))


def test_fast_length_is_the_smallest_even_product_of_small_primes():
    smooth = sorted(2**a * 3**b * 5**c for a in range(1, 14) for b in range(9) for c in range(7))
    for n in [*range(1, 600), 4095, 4096, 4097, 8191]:
        assert fast_length(n) == next(m for m in smooth if m >= n)
