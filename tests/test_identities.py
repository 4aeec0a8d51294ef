"""The views of one system are equal: recurrence, kernel, convolution and chunked scan."""

import functools

import pytest
import torch

import oracles
from oracles import RULES, error_per_system, random_system
from sks4 import ssm

DT = torch.tensor([0.001, 0.01, 0.03, 0.1], dtype=torch.float64)
N = 64
LONGEST = 16384


@functools.cache
def kernels(kind, init, rule):
    """Return the kernels in float64, which tests of their own compare with dense matrices."""
    Lambda, P, B, C = random_system(kind, init, N, H=len(DT))
    if kind == "s4":
        return ssm.dplr_kernel(Lambda, P, B, C, DT, LONGEST)
    return ssm.diagonal_kernel(Lambda, B, C, DT, LONGEST, discretization=rule)


@functools.cache
def system(kind, init, rule):
    """Return the discrete system in real form and its output vector, in float64."""
    Lambda, P, B, C = random_system(kind, init, N, H=len(DT))
    _, p, b, c = ssm.real_form(Lambda, P, B, C)
    parts = (Lambda.real, Lambda.imag)
    if kind == "s4":
        return ssm.discretize_dplr(parts, p, b, DT[:, None]), c
    a_bar, b_bar = ssm.discretize_diagonal(
        parts, (B.real, B.imag), DT[:, None], discretization=rule
    )
    real = ssm.real_form(Lambda, P, torch.complex(*b_bar), C)[2]
    return ssm.DiscreteDPLR(a_bar, p, p, real), c


def operator(kind, init, rule):
    discrete, c = system(kind, init, rule)
    vectors = discrete.B_bar, c, torch.zeros_like(DT)
    if kind == "s4":
        return ssm.dense_operator(discrete.increment(torch.float64), *vectors, ssm.CHUNK_LENGTH)
    re, im = discrete.a_bar
    return ssm.diagonal_operator((re - 1, im), *vectors, ssm.CHUNK_LENGTH)


@pytest.mark.parametrize("length", [1, 2, 3, 100, 1023, LONGEST])
@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
def test_scan_of_an_impulse_is_the_kernel(kind, init, rule, length):
    u = torch.zeros(1, length, len(DT), dtype=torch.float64)
    u[:, 0] = 1
    y, _ = ssm.scan(u, operator(kind, init, rule), return_state=False)
    assert error_per_system(y[0].mT, kernels(kind, init, rule)[:, :length]) < 1e-9


@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
def test_scan_recurrence_and_convolution_of_noise_are_equal(kind, init, rule):
    u = torch.randn(2, len(DT), 300, generator=torch.Generator().manual_seed(0)).double()
    discrete, c = system(kind, init, rule)
    A_bar = discrete.increment(torch.float64) + torch.eye(N)
    stepped, last = oracles.recurrence(u, A_bar, discrete.B_bar, c)
    scanned, state = ssm.scan(u.mT, operator(kind, init, rule))
    convolved = ssm.fft_conv(u, kernels(kind, init, rule))
    for got in (scanned.mT, convolved):
        assert error_per_system(got.transpose(0, 1), stepped.transpose(0, 1)) < 1e-9
    assert error_per_system(state, last) < 1e-9


def test_public_scan_of_a_discretized_hippo_system_is_its_kernel():
    A, B = ssm.hippo("legs", 16)
    C = torch.randn(len(DT), 8, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    Lambda, P, b, V = (z.expand(len(DT), *z.shape) for z in ssm.dplr("legs", 16))
    A_bar, B_bar = ssm.discretize_bilinear(A, B, DT)
    u = torch.zeros(1, len(DT), 500, dtype=torch.float64)
    u[..., 0] = 1
    y, _ = ssm.chunked_scan(u, A_bar, B_bar, 2 * (C[:, None] @ V.mH).real[:, 0])
    assert error_per_system(y[0], ssm.dplr_kernel(Lambda, P, b, C, DT, 500)) < 1e-9
