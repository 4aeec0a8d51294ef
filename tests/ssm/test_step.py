"""One step in parts against the dense recurrence."""

import pytest
import torch

import oracles
from sks4 import ssm

H, N = 3, 6
# a dozen steps of float64 numbers near one
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}
RANKS = pytest.mark.parametrize("rank", [0, 1, 2])


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def parts(rank):
    """Return ``Re a_bar, Im a_bar, q, r, B_bar, C, D`` of stable systems."""
    angle = draw(H, N // 2)
    diagonal = [0.8 * torch.cos(angle), 0.8 * torch.sin(angle)]
    low_rank = [0.1 * draw(H, rank, N, seed=seed) for seed in (1, 2)]
    return [*diagonal, *low_rank, draw(H, N, seed=3), draw(H, N, seed=4), draw(H, seed=5)]


def operator(re, im, q, r, B_bar, C, D):
    return ssm.step_operator(ssm.DiscreteDPLR((re, im), q, r, B_bar), C, D)


@RANKS
def test_steps_equal_the_dense_recurrence(rank):
    re, im, q, r, B_bar, C, D = leaves = parts(rank)
    rows = [
        torch.cat([torch.diag_embed(x), torch.diag_embed(y)], -1) for x, y in ((re, -im), (im, re))
    ]
    A_bar = torch.cat(rows, -2) - q.mT @ r
    u, state = draw(2, 12, H, seed=6), draw(2, H, N, seed=7)
    truth, last = oracles.recurrence(u.mT, A_bar, B_bar, C, state)
    outputs = []
    for t in range(12):
        y, state = ssm.step(u[:, t], state, operator(*leaves))
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), truth.mT + D * u, **TOLERANCE)
    torch.testing.assert_close(state, last, **TOLERANCE)


@RANKS
def test_step_gradient_matches_finite_differences(rank):
    operands = [*parts(rank), draw(2, H, seed=6), draw(2, H, N, seed=7)]

    def run(*leaves):
        *leaves, u, state = leaves
        return ssm.step(u, state, operator(*leaves))

    assert torch.autograd.gradcheck(run, [z.requires_grad_() for z in operands])


def test_step_operator_has_the_dtype_of_the_output_vector():
    re, im, q, r, B_bar, C, D = parts(1)
    one = operator(re, im, q, r, B_bar, C.float(), D.float())
    assert {x.dtype for x in (*one.e, *one[1:])} == {torch.float32}
