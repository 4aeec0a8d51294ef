"""Pairs of real and imaginary parts against complex numbers."""

import pytest
import torch

from sks4.ssm import _parts as parts


def pair(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.fixture
def a():
    return pair(0, 3, 5)


@pytest.fixture
def b():
    return pair(1, 3, 5)


def assert_pair(found, expected):
    torch.testing.assert_close(torch.complex(*found), expected)


def test_product(a, b):
    assert_pair(parts.multiply(a, b), torch.complex(*a) * torch.complex(*b))


def test_product_with_a_real_factor(a, b):
    assert_pair(parts.scale(a, b[0]), b[0] * torch.complex(*a))


def test_growth_by_a_difference_from_one(a, b):
    assert_pair(parts.grow(a, b), torch.complex(*a) * (1 + torch.complex(*b)))


def test_growth_keeps_small_differences():
    one, tiny = torch.ones(1, dtype=torch.float64), torch.full((1,), 1e-17, dtype=torch.float64)
    real, imag = parts.grow((torch.zeros_like(one), one), (tiny, tiny))  # i (1 + e + i e)
    assert (real.item(), imag.item()) == (-1e-17, 1.0)


def test_concatenation_is_along_the_last_axis(a):
    b = pair(2, 3, 2)
    expected = torch.cat([torch.complex(*a), torch.complex(*b)], -1)
    assert_pair(parts.concatenate(a, b), expected)


def test_cast_takes_the_dtype_alone(a):
    real, imag = parts.cast(a, torch.zeros(1, dtype=torch.float32))
    assert real.dtype == imag.dtype == torch.float32
    torch.testing.assert_close((real, imag), (a[0].float(), a[1].float()))
