"""From parameters to operators: every form of the same systems, against dense ones."""

import math

import pytest
import torch

import oracles
from oracles import RULES
from sks4 import ssm
from sks4.nn._systems import Systems

H, N = 3, 6
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}
EVERY_RULE = pytest.mark.parametrize(("kind", "init", "rule"), RULES)


def system(kind, init, n_directions=1):
    """Return ``Lambda, P, B, dt, D`` of the systems and an output vector of each direction."""
    Lambda, P, B, _ = oracles.random_system(kind, init, N, H)
    generator = torch.Generator().manual_seed(1)
    C = torch.randn(n_directions, H, N // 2, dtype=torch.complex128, generator=generator)
    dt = torch.tensor([0.01, 0.05, 0.2], dtype=torch.float64)
    return Lambda, P, B, C, dt, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def systems(kind, init, rule, n_directions=1, bandlimit=None):
    Lambda, P, B, C, dt, D = system(kind, init, n_directions)
    parts = [torch.view_as_real(z.resolve_conj().contiguous()) for z in (P, B, C)]
    return Systems(
        dt.log(),
        (-Lambda.real).log(),
        Lambda.imag,
        *parts,
        D,
        low_rank=kind == "s4",
        discretization=rule,
        bandlimit=bandlimit,
    )


def dense(kind, init, rule, rate, direction=0, n_directions=1):
    Lambda, P, B, C, dt, _ = system(kind, init, n_directions)
    return oracles.discrete_system(kind, rule, (Lambda, P, B, C[direction]), rate * dt)


@EVERY_RULE
@pytest.mark.parametrize("rate", [1.0, 0.5, 3.0])
def test_kernels_are_those_of_dense_systems(kind, init, rule, rate):
    found = systems(kind, init, rule, 2).kernels(40, rate)
    for direction in range(2):
        truth = oracles.kernel(*dense(kind, init, rule, rate, direction, 2), 40)
        torch.testing.assert_close(found[direction], truth, **TOLERANCE)


@EVERY_RULE
def test_step_operator_gives_the_impulse_response(kind, init, rule):
    (operator,) = systems(kind, init, rule).step_operators(1.0, torch.float64)
    D = system(kind, init)[-1]
    state, outputs = torch.zeros(1, H, N, dtype=torch.float64), []
    for t in range(20):
        y, state = ssm.step(torch.full((1, H), float(t == 0), dtype=torch.float64), state, operator)
        outputs.append(y[0])
    expected = oracles.kernel(*dense(kind, init, rule, 1.0), 20)
    expected[:, 0] += D
    torch.testing.assert_close(torch.stack(outputs, 1), expected, **TOLERANCE)


@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_only_the_first_direction_has_a_feedthrough(kind):
    forward, back = systems(kind, "legs", "bilinear", 2).step_operators(1.0, torch.float64)
    assert torch.equal(forward.D, system(kind, "legs")[-1])
    assert not back.D.any()


@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_modes_above_the_band_give_no_output(rate):
    limit = 0.06
    found = systems("s4d", "lin", "zoh", bandlimit=limit).kernels(30, rate)
    Lambda, P, B, C, dt, _ = system("s4d", "lin")
    # half the sampling rate is half a turn a sample
    turns = rate * dt[:, None] * Lambda.imag.abs() / (2 * math.pi)
    is_slow = turns <= limit / 2
    assert is_slow.any()
    assert not is_slow.all()
    parts = Lambda, P, B, C[0] * is_slow
    truth = oracles.kernel(*oracles.discrete_system("s4d", "zoh", parts, rate * dt), 30)
    torch.testing.assert_close(found[0], truth, **TOLERANCE)


def test_operators_pass_gradients_to_every_parameter():
    found = systems("s4", "legs", "bilinear")
    names = ("log_dt", "log_decay", "frequency", "P", "B", "C")
    leaves = [getattr(found, name).clone().requires_grad_() for name in names]
    again = Systems(*leaves, found.D, True, "bilinear", None)
    again.kernels(30, 1.0).square().sum().backward()
    assert all(leaf.grad.abs().sum() > 0 for leaf in leaves)


def test_single_precision_parameters_compute_in_single_precision():
    double = systems("s4", "legs", "bilinear")
    parts = (double.log_dt, double.log_decay, double.frequency, double.P, double.B, double.C)
    single = Systems(*(x.float() for x in parts), double.D.float(), True, "bilinear", None)
    assert single.dtype == single.kernels(30, 1.0).dtype == torch.float32
    torch.testing.assert_close(
        single.kernels(30, 1.0).double(), double.kernels(30, 1.0), rtol=1e-4, atol=1e-5
    )
