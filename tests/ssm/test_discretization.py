"""Discretization against definitions, and the norm that keeps the powers from growing."""

import pytest
import torch
from scipy.linalg import expm

from oracles import RULES, bilinear, diagonal_bilinear, diagonal_zoh, random_system
from sks4 import ssm

DT = torch.tensor([0.001, 0.003, 0.01, 0.03, 0.1, 1.0], dtype=torch.float64)


def random_dense(H=3, N=4):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((H, N, N), (H, N))]


def parts(z):
    return z.real, z.imag


def discrete(kind, rule, system, dt):
    """Return the discrete system in real form, by the functions that a layer uses."""
    Lambda, P, B, C = system
    _, p, b, _ = ssm.real_form(Lambda, P, B, C)
    if kind == "s4":
        return ssm.discretize_dplr(parts(Lambda), p, b, dt[:, None])
    a_bar, b_bar = ssm.discretize_diagonal(
        parts(Lambda), parts(B), dt[:, None], discretization=rule
    )
    return ssm.DiscreteDPLR(a_bar, p, p, torch.cat(b_bar, -1))


def test_bilinear_matches_its_definition():
    A, B = random_dense()
    for dt in (DT[:3], torch.tensor(0.1, dtype=torch.float64)):
        for got, truth in zip(
            ssm.discretize_bilinear(A, B, dt), bilinear(A, B, dt.expand(3)), strict=True
        ):
            torch.testing.assert_close(got, truth, rtol=1e-13, atol=1e-13)


def test_discretization_broadcasts_one_system_over_many_steps():
    A, B = (z[0] for z in random_dense())
    for rule in (ssm.discretize_bilinear, ssm.discretize_zoh):
        A_bar, B_bar = rule(A, B, DT)
        for i, dt in enumerate(DT):
            one = rule(A, B, dt.item())
            torch.testing.assert_close((A_bar[i], B_bar[i]), one, rtol=1e-13, atol=1e-13)


def test_zoh_matches_the_matrix_exponential():
    A, B = random_dense()
    A_bar, B_bar = ssm.discretize_zoh(A, B, DT[3:])
    for i, dt in enumerate(DT[3:].tolist()):
        exponential = torch.from_numpy(expm(dt * A[i].numpy()))
        torch.testing.assert_close(A_bar[i], exponential, rtol=1e-12, atol=1e-13)
        integral = torch.linalg.solve(A[i], (exponential - torch.eye(4)) @ B[i])
        torch.testing.assert_close(B_bar[i], integral, rtol=1e-12, atol=1e-13)


def test_zoh_of_a_singular_system_is_exact():
    A = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)  # a double integrator
    A_bar, B_bar = ssm.discretize_zoh(A, torch.tensor([0.0, 1.0]).double(), torch.tensor(0.5))
    torch.testing.assert_close(A_bar, torch.tensor([[1.0, 0.5], [0.0, 1.0]]).double())
    torch.testing.assert_close(B_bar, torch.tensor([0.125, 0.5]).double())


@pytest.mark.parametrize(("rank", "N"), [(0, 6), (1, 2), (1, 8), (2, 8), (3, 8)])
def test_dplr_bilinear_equals_the_dense_rule(rank, N):
    generator = torch.Generator().manual_seed(rank)
    draw = {"generator": generator, "dtype": torch.complex128}
    H = len(DT)
    Lambda = -1 + torch.randn(H, N // 2, **draw)
    P, B, C = (torch.randn(H, *s, N // 2, **draw) for s in ((rank,), (), ()))
    A, p, b, _ = ssm.real_form(Lambda, P, B, C)
    system = ssm.discretize_dplr(parts(Lambda), p, b, DT[:, None])
    A_bar, B_bar = bilinear(A, b, DT)
    increment = system.increment(torch.float64)
    torch.testing.assert_close(increment, A_bar - torch.eye(N), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(system.B_bar, B_bar, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("init", ssm.MEASURES)
def test_dplr_bilinear_equals_the_dense_rule_for_initializations(init):
    system = random_system("s4", init, 64, H=len(DT))
    A, _, b, _ = ssm.real_form(*system)
    A_bar, B_bar = bilinear(A, b, DT)
    got = discrete("s4", "bilinear", system, DT)
    assert (got.increment(torch.float64) + torch.eye(64) - A_bar).abs().max() < 1e-12
    assert (got.B_bar - B_bar).abs().max() < 1e-12 * B_bar.abs().max()


@pytest.mark.parametrize("N", [2, 64])
@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
def test_discrete_system_is_a_contraction(kind, init, rule, N):
    system = random_system(kind, init, N, H=len(DT))
    A_bar = discrete(kind, rule, system, DT).increment(torch.float64) + torch.eye(N)
    assert torch.linalg.matrix_norm(A_bar, 2).max() <= 1 + 1e-12


@pytest.mark.parametrize("init", ["legs", "lin", "inv"])
@pytest.mark.parametrize("rule", ["bilinear", "zoh"])
def test_diagonal_rules_match_their_definitions(init, rule):
    Lambda, _, B, _ = random_system("s4d", init, 64, H=len(DT))
    got = ssm.discretize_diagonal(parts(Lambda), parts(B), DT[:, None], discretization=rule)
    truth = {"bilinear": diagonal_bilinear, "zoh": diagonal_zoh}[rule](Lambda, B, DT)
    for z, expected in zip(got, truth, strict=True):
        # phases reach 600 radians, which rounds the truth itself to 1e-13
        torch.testing.assert_close(torch.complex(*z), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("scale", [0, 1e-300, 1e-12, 1e-8, 1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("direction", [-1, 1j, -0.6 + 0.8j, -1e-9 + 1j])
def test_diagonal_zoh_is_accurate_near_zero(scale, direction):
    Lambda = torch.tensor([[scale * direction]], dtype=torch.complex128)
    one = torch.ones_like(Lambda)
    a_bar, b_bar = ssm.discretize_diagonal(
        parts(Lambda), parts(one), torch.ones(1, 1, dtype=torch.float64)
    )
    truth = diagonal_zoh(Lambda, one, torch.ones(1, dtype=torch.float64))
    for z, expected in zip((a_bar, b_bar), truth, strict=True):
        torch.testing.assert_close(torch.complex(*z), expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("z", [0, 1e-200, 1e-12j, -1e-8, 1e-3j, 1e-3 + 1e-9, -0.3 + 0.3j])
def test_diagonal_zoh_gradient_is_exact_near_zero(z):
    leaves = [
        torch.tensor([[x]], dtype=torch.float64, requires_grad=True)
        for x in (complex(z).real, complex(z).imag, 1.0, 0.5, 0.7)
    ]

    def discretize(re, im, b_re, b_im, dt):
        return sum(ssm.discretize_diagonal((re, im), (b_re, b_im), dt), ())

    assert torch.autograd.gradcheck(discretize, leaves, atol=1e-8)


def test_diagonal_rule_must_be_known():
    z = torch.zeros(1, 1)
    with pytest.raises(ValueError, match=r"discretization must be one of .*Did you mean 'zoh'"):
        ssm.discretize_diagonal((z, z), (z, z), z + 1, discretization="zo")


@pytest.mark.parametrize("dt", [0.0, -0.1, float("nan"), float("inf")])
def test_step_must_be_finite_and_positive(dt):
    A, B = random_dense(1)
    Lambda, P, b, C = random_system("s4", "legs", 4)
    message = "dt must be finite and above zero everywhere, got values from"
    for rule in (ssm.discretize_bilinear, ssm.discretize_zoh):
        with pytest.raises(ValueError, match=message):
            rule(A, B, dt)
    with pytest.raises(ValueError, match=message):
        ssm.dplr_kernel(Lambda, P, b, C, torch.tensor([dt]), 8)
    with pytest.raises(ValueError, match=message):
        ssm.diagonal_kernel(Lambda, b, C, torch.tensor([dt]), 8)
