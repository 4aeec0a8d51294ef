"""The diagonal plus low-rank form, the diagonal initializations and the real form."""

import math

import pytest
import torch

from oracles import SYSTEMS, dense_dplr, random_system, relative_error
from sks4 import ssm

MEASURES = ["legs", "legt", "fout"]
SIZES = [2, 4, 16, 64, 256]


def whole(z):
    """Both of each conjugate pair."""
    return torch.cat([z, z.conj()], -1)


@pytest.mark.parametrize("N", SIZES)
@pytest.mark.parametrize("measure", MEASURES)
def test_dplr_reconstructs_the_hippo_system(measure, N):
    A, B = ssm.hippo(measure, N)
    Lambda, P, b, V = ssm.dplr(measure, N)
    dense, input_vector, _ = dense_dplr(Lambda, P, b, b)
    basis = whole(V)
    assert relative_error(basis @ dense @ basis.mH, A) < 1e-13
    assert relative_error(basis @ input_vector, B) < 1e-13


@pytest.mark.parametrize("N", SIZES)
@pytest.mark.parametrize("measure", MEASURES)
def test_dplr_eigenvectors_are_orthonormal(measure, N):
    basis = whole(ssm.dplr(measure, N)[3])
    # the other half of each pair is conjugated instead of computed, so that rounding grows with the
    # largest eigenvalue over the smallest gap
    assert (basis.mH @ basis - torch.eye(N)).abs().max() < 1e-11


@pytest.mark.parametrize(("measure", "decay", "rank"), [("legs", 0.5, 1), ("legt", 0, 2)])
def test_dplr_eigenvalues_have_the_known_real_part(measure, decay, rank):
    Lambda, P, B, V = ssm.dplr(measure, 16)
    assert (Lambda.real + decay).abs().max() < 1e-14
    assert (Lambda.imag > 0).all()
    shapes = [tuple(z.shape) for z in (Lambda, P, B, V)]
    assert shapes == [(8,), (rank, 8), (8,), (16, 8)]
    assert all(z.dtype == torch.complex128 for z in (Lambda, P, B, V))


def test_fout_frequencies_are_multiples_of_pi_with_the_double_zero_as_one_pair():
    Lambda, _, _, V = ssm.dplr("fout", 16)
    expected = torch.complex(torch.zeros(8).double(), math.pi * torch.arange(8).double())
    torch.testing.assert_close(Lambda, expected, rtol=1e-13, atol=1e-14)
    # the constant and its unused partner, which the first pair must span
    torch.testing.assert_close(V[:2, 0].abs(), torch.full((2,), 0.5).double().sqrt())


def test_diagonal_lin_and_inv_match_the_formulas():
    """S4D (arXiv:2206.11893), equations 8 and 9."""
    N = 8
    for init, frequency in {
        "lin": lambda n: math.pi * n,
        "inv": lambda n: N / math.pi * (N / (2 * n + 1) - 1),
    }.items():
        Lambda, B = ssm.diagonal(init, N)
        expected = torch.tensor([complex(-0.5, frequency(n)) for n in range(N // 2)])
        torch.testing.assert_close(Lambda, expected.to(torch.complex128), rtol=1e-6, atol=0)
        assert Lambda[1].imag.item() == pytest.approx(frequency(1), rel=1e-15)
        assert torch.equal(B, torch.ones(N // 2, dtype=torch.complex128))


def test_diagonal_legs_is_the_dplr_form_without_its_low_rank_part():
    Lambda, _, B, _ = ssm.dplr("legs", 16)
    assert all(map(torch.equal, ssm.diagonal("legs", 16), (Lambda, B)))


@pytest.mark.parametrize(("kind", "init"), SYSTEMS)
def test_initial_system_has_the_rank_of_its_kind(kind, init):
    Lambda, P, B = ssm.initial_system(kind, init, 8)
    rank = {"s4": {"legt": 2}.get(init, 1), "s4d": 0}[kind]
    assert P.shape == (rank, 4)
    assert Lambda.shape == B.shape == (4,)
    assert (Lambda.real <= 0).all()


@pytest.mark.parametrize(
    ("kind", "init", "message"),
    [
        ("s4", "lin", "init of ssm=\"s4\" must be one of 'legs', 'legt', 'fout', got 'lin'"),
        ("s4d", "fout", "init of ssm=\"s4d\" must be one of 'legs', 'lin', 'inv', got 'fout'"),
        ("s4d", "legt", "init of ssm=\"s4d\" must be one of .*Did you mean 'legs'"),
        ("s5", "legs", "ssm must be one of 's4', 's4d', got 's5'"),
    ],
)
def test_initial_system_refuses_an_unknown_pair(kind, init, message):
    with pytest.raises(ValueError, match=message):
        ssm.initial_system(kind, init, 8)


def test_diagonal_refuses_an_unknown_init():
    with pytest.raises(ValueError, match=r"init must be one of .*Did you mean 'lin'\?"):
        ssm.diagonal("line", 8)


@pytest.mark.parametrize(("kind", "init"), SYSTEMS)
def test_real_form_is_the_same_system_in_other_coordinates(kind, init):
    system = random_system(kind, init, 16, H=2)
    A, _, b, c = ssm.real_form(*system)
    dense, B, C = dense_dplr(*system)
    for power in range(4):  # Markov parameters determine a system's output
        moved = torch.linalg.matrix_power(A, power) @ b[..., None]
        expected = torch.linalg.matrix_power(dense, power) @ B[..., None]
        got, truth = (c[:, None] @ moved)[:, 0, 0], (C[:, None] @ expected)[:, 0, 0]
        assert relative_error(got, truth) < 1e-13


@pytest.mark.parametrize(("kind", "init"), SYSTEMS)
def test_real_form_never_gains_energy(kind, init):
    A, p, _, _ = ssm.real_form(*random_system(kind, init, 64))
    symmetric = A + A.mT
    assert torch.linalg.eigvalsh(symmetric).max() < 1e-12 * symmetric.abs().max()
    assert p.shape[-1] == 64


def test_real_form_gradient_is_that_of_the_dense_blocks():
    leaves = [
        torch.randn(shape, dtype=torch.complex128, requires_grad=True)
        for shape in ((2, 2), (2, 1, 2), (2, 2), (2, 2))
    ]
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(ssm.real_form, leaves)
