"""Kernels against powers of dense float64 matrices."""

import functools

import pytest
import torch

import oracles
from oracles import RULES, error_per_system, random_system
from sks4 import ssm

DT = torch.tensor([0.001, 0.01, 0.03, 0.1], dtype=torch.float64)
STATE_SIZE = 64
LENGTHS = [1, 2, 3, 100, 1023]
LONGEST = 16384
# Relative errors of the damped circle and of the two-level product in single precision.
SINGLE = {"s4": 2e-5, "s4d": 2e-6}


@functools.cache
def systems():
    """Return each initialization as four systems that differ in their step and output."""
    return {rule: random_system(*rule[:2], STATE_SIZE, H=len(DT)) for rule in RULES}


@functools.cache
def long_kernels():
    """Return the kernel of each DPLR system from HiPPO's own matrices, one power at a time."""
    dense = []
    for measure in ssm.MEASURES:
        C = systems()["s4", measure, "bilinear"][3]
        A, B, c = oracles.hippo_system(measure, STATE_SIZE, C)
        dense.append([*oracles.bilinear(A, B, DT), c])
    kernels = oracles.kernel(*map(torch.cat, zip(*dense, strict=True)), LONGEST)
    return dict(zip(ssm.MEASURES, kernels.split(len(DT)), strict=True))


def kernel(kind, rule, system, dt, length):
    Lambda, P, B, C = system
    if kind == "s4":
        return ssm.dplr_kernel(Lambda, P, B, C, dt, length)
    return ssm.diagonal_kernel(Lambda, B, C, dt, length, discretization=rule)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
def test_kernel_matches_powers_of_dense_matrices(kind, init, rule, length):
    system = systems()[kind, init, rule]
    truth = oracles.kernel(*oracles.discrete_system(kind, rule, system, DT), length)
    double = kernel(kind, rule, system, DT, length)
    assert double.dtype == torch.float64
    assert error_per_system(double, truth) < 1e-9
    single = kernel(kind, rule, system, DT.float(), length)
    assert single.dtype == torch.float32
    # the step itself, rounded to single precision, is not the kernel's error
    rounded = oracles.discrete_system(kind, rule, system, DT.float().double())
    assert error_per_system(single, oracles.kernel(*rounded, length)) < SINGLE[kind]


@pytest.mark.parametrize("measure", ssm.MEASURES)
def test_dplr_kernel_matches_the_hippo_matrices_over_a_long_sequence(measure):
    K = kernel("s4", "bilinear", systems()["s4", measure, "bilinear"], DT, LONGEST)
    assert error_per_system(K, long_kernels()[measure]) < 1e-9


@pytest.mark.parametrize(("kind", "init", "rule"), RULES[3:])
def test_diagonal_kernel_matches_the_closed_form_over_a_long_sequence(kind, init, rule):
    Lambda, _, B, C = systems()[kind, init, rule]
    a_bar, b_bar = getattr(oracles, f"diagonal_{rule}")(Lambda, B, DT)
    exponents = torch.log(a_bar)[..., None] * torch.arange(LONGEST)
    truth = 2 * (C * b_bar)[:, None] @ torch.exp(exponents)
    K = ssm.diagonal_kernel(Lambda, B, C, DT, LONGEST, discretization=rule)
    assert error_per_system(K, truth.real[:, 0]) < 1e-9


@pytest.mark.parametrize("rank", [0, 2, 3])
def test_dplr_kernel_takes_any_rank(rank):
    torch.manual_seed(rank)
    Lambda = torch.complex(-torch.rand(2, 4) - 0.1, torch.randn(2, 4) * 5).to(torch.complex128)
    P, B, C = (torch.randn(2, *s, 4, dtype=torch.complex128) for s in ((rank,), (), ()))
    dt = torch.tensor([0.01, 0.1], dtype=torch.float64)
    truth = oracles.kernel(*oracles.discrete_system("s4", "bilinear", (Lambda, P, B, C), dt), 50)
    assert error_per_system(ssm.dplr_kernel(Lambda, P, B, C, dt, 50), truth) < 1e-9


@pytest.mark.parametrize("rank", [0, 1])
def test_kernel_is_exact_when_a_discrete_mode_is_zero(rank):
    # dt Lambda = -2 is mapped to a_bar = 0, whose logarithm does not exist
    Lambda = torch.tensor([[-2.0, -1 + 3j]], dtype=torch.complex128)
    P, B, C = (torch.ones(1, *s, 2, dtype=torch.complex128) for s in ((rank,), (), ()))
    dt = torch.ones(1, dtype=torch.float64)
    truth = oracles.kernel(*oracles.discrete_system("s4", "bilinear", (Lambda, P, B, C), dt), 9)
    assert error_per_system(ssm.dplr_kernel(Lambda, P, B, C, dt, 9), truth) < 1e-9
    if rank == 0:
        K = ssm.diagonal_kernel(Lambda, B, C, dt, 9, discretization="bilinear")
        assert error_per_system(K, truth) < 1e-14


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
def test_kernel_gradient_matches_finite_differences(kind, init, rule, length):
    *system, C = random_system(kind, init, 4, H=2)
    # away from the imaginary axis, so that finite differences do not leave the stable half
    system = [system[0] - 0.1, system[1], system[2], C]
    leaves = [
        z.clone(memory_format=torch.contiguous_format).requires_grad_()
        for z in (*system, DT[2:].clone())
    ]
    assert torch.autograd.gradcheck(
        lambda *z: kernel(kind, rule, z[:4], z[4], length), leaves, atol=1e-6
    )


def test_vandermonde_memory_is_that_of_two_small_tables():
    sizes = []

    def record(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    Lambda, _, B, C = random_system("s4d", "lin", 32)
    C = C.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(record, lambda x: x):
        ssm.diagonal_kernel(Lambda, B, C, DT[:1], 4096)
    table = 16 * 4096 * 16  # a materialized complex128 table of all powers
    assert max(sizes) < table / 16


def test_kernels_refuse_operands_that_do_not_fit():
    Lambda, P, B, C = random_system("s4", "legs", 8, H=2)
    dt = DT[:2]
    with pytest.raises(
        ValueError, match=r"must have the same shape \(H, N/2\), got \(2, 4\), \(4,"
    ):
        ssm.diagonal_kernel(Lambda, B[0], C, dt, 8)
    with pytest.raises(ValueError, match=r"dt must have shape \(2,\), got \(1,\)"):
        ssm.dplr_kernel(Lambda, P, B, C, DT[:1], 8)
    with pytest.raises(ValueError, match=r"P must have shape \(2, rank, 4\), got \(2, 4\)"):
        ssm.dplr_kernel(Lambda, P[:, 0], B, C, dt, 8)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        ssm.dplr_kernel(Lambda, P, B, C, dt, 0)
    with pytest.raises(ValueError, match="discretization must be one of"):
        ssm.diagonal_kernel(Lambda, B, C, dt, 8, discretization="euler")
