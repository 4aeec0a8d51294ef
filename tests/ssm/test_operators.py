"""Chunk operators against the system stepped sample by sample, and the choice of their length."""

import pytest
import torch

from sks4 import ssm
from sks4.ssm import _operators
from sks4.ssm._dplr import add_blocks

DOUBLE = torch.float64


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def system(kind, H=3, N=6):
    """Return ``A_bar`` (H, N, N) of a contraction, and the arguments that stand for it."""
    if kind == "dense":
        A_bar = 0.3 * draw(H, N, N, seed=1) / N**0.5
        return A_bar, (A_bar - torch.eye(N, dtype=DOUBLE),)
    angle, size = draw(H, N // 2, seed=1), 0.9 * torch.sigmoid(draw(H, N // 2, seed=2))
    a = size * angle.cos(), size * angle.sin()
    A_bar = add_blocks(torch.zeros(H, N, N, dtype=DOUBLE), *a)
    if kind == "diagonal":
        return A_bar, ((a[0] - 1, a[1]),)
    q, r = 0.1 * draw(H, N, seed=3), 0.1 * draw(H, N, seed=4)
    return A_bar - q[..., None] * r[:, None], (a, q, r)


FORMS = {
    "dense": ssm.dense_operator,
    "diagonal": ssm.diagonal_operator,
    "dplr": ssm.dplr_operator,
}


@pytest.fixture(params=FORMS)
def case(request):
    """Return ``A_bar, B_bar, C, D`` and a function that forms the operator of a chunk length."""
    A_bar, arguments = system(request.param)
    H, N, _ = A_bar.shape
    B_bar, C, D = draw(H, N, seed=5), draw(H, N, seed=6), draw(H, seed=7)

    def form(b, **options):
        return FORMS[request.param](*arguments, B_bar, C, D, b, **options)

    return A_bar, B_bar, C, D, form


def stepped(A_bar, B_bar, C, D, u, x):
    """Return outputs (H, b) and the last state (H, N)."""
    outputs = []
    for t in range(u.shape[1]):
        x = (A_bar @ x[..., None])[..., 0] + B_bar * u[:, t, None]
        outputs.append((C * x).sum(1) + D * u[:, t])
    return torch.stack(outputs, 1), x


@pytest.mark.parametrize("b", [1, 2, 8, 32, 64])
def test_operator_maps_samples_and_state_as_the_steps_do(case, b):
    A_bar, B_bar, C, D, form = case
    H, N = C.shape
    u, x = draw(H, b, seed=8), draw(H, N, seed=9)
    operator = form(b)
    assert operator.chunk_length == b
    assert operator.matrix.shape == (H, b + N, b + N)
    joined = (torch.cat([u, x], 1)[:, None] @ operator.matrix)[:, 0]
    y, last = stepped(A_bar, B_bar, C, D, u, x)
    torch.testing.assert_close((joined[:, :b], joined[:, b:]), (y, last))


def test_blocks_of_an_operator_are_named(case):
    A_bar, B_bar, C, D, form = case
    u, x = draw(3, 16, seed=8), draw(3, 6, seed=9)
    operator = form(16)
    y, _ = stepped(A_bar, B_bar, C, D, u, torch.zeros_like(x))
    _, entered = stepped(A_bar, B_bar, C, D, u, torch.zeros_like(x))
    torch.testing.assert_close((u[:, None] @ operator.output[:, :16])[:, 0], y)
    torch.testing.assert_close((u[:, None] @ operator.enter)[:, 0], entered)
    _, moved = stepped(A_bar, B_bar, C, D, torch.zeros_like(u), x)
    torch.testing.assert_close((x[:, None] @ operator.move)[:, 0], moved)


@pytest.mark.parametrize("b", [1, 16, 64])
def test_powers_move_a_state_by_parts_of_a_chunk(case, b):
    A_bar, *_, form = case
    x, powers = draw(3, 6, seed=9), form(b).powers
    assert len(powers) == b.bit_length() - 1
    for k, power in enumerate(powers):
        moved = (torch.linalg.matrix_power(A_bar, 2**k) @ x[..., None])[..., 0]
        torch.testing.assert_close(x + (x[:, None] @ power)[:, 0], moved)


def test_powers_are_left_out_where_they_are_not_wanted(case):
    *_, form = case
    operator = form(32, with_powers=False)
    assert operator.powers == ()
    torch.testing.assert_close(operator.matrix, form(32).matrix)


@pytest.mark.parametrize(
    ("length", "chunk"), [(0, 1), (1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (10**6, 128)]
)
def test_chunk_is_no_longer_than_the_input_needs(length, chunk):
    assert ssm.fit_chunk(length) == chunk
    assert ssm.fit_chunk(length, 16) == min(chunk, 16)


@pytest.mark.parametrize(
    ("batch", "length", "chunk"),
    [
        (1, 2047, 32),  # one sequence is combined in pairs, which doubles the work
        (1, 2048, 64),
        (2, 2047, 32),
        (2, 2048, 64),
        (2, 32767, 64),
        (2, 32768, 128),
        (1, 32767, 64),
        (1, 32768, 128),
        (64, 20, 32),
        (4, 5, 8),
    ],
)
def test_small_batches_have_short_chunks(batch, length, chunk):
    assert ssm.economic_chunk(batch, length) == chunk


def test_double_precision_is_where_the_device_has_it():
    assert ssm.wide(torch.zeros(2)).dtype == DOUBLE


@pytest.mark.parametrize("b", [1, 5, 16, 48])
def test_toeplitz_matrix_and_its_transpose(b):
    K = draw(2, b).requires_grad_()
    T = _operators._Toeplitz.apply(K)
    for i in range(b):
        for j in range(b):
            expected = K[:, j - i] if j >= i else torch.zeros(2, dtype=DOUBLE)
            assert torch.equal(T[:, i, j], expected)
    G = draw(2, b, b, seed=1)
    (gradient,) = torch.autograd.grad((T * G).sum(), K)
    sums = [G.diagonal(offset, 1, 2).sum(1) for offset in range(b)]
    torch.testing.assert_close(gradient, torch.stack(sums, 1))


@pytest.mark.parametrize(("H", "sizes"), [(1, [1]), (32, [32]), (33, [32, 1]), (70, [32, 32, 6])])
def test_features_are_cut_into_groups_in_order(H, sizes):
    x = torch.arange(H)
    parts = [x[h] for h in _operators.groups(x)]
    assert [len(part) for part in parts] == sizes
    assert torch.equal(torch.cat(parts), x)


@pytest.mark.parametrize("b", [4, 32])
def test_gradients_of_an_operator(b):
    leaves = [draw(2, 4, 4, seed=1) / 8, draw(2, 4), draw(2, 4, seed=2), draw(2, seed=3)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    G = draw(2, b + 4, b + 4, seed=4)
    assert torch.autograd.gradcheck(
        lambda *x: (ssm.dense_operator(*x, b).matrix * G).sum(), leaves, atol=1e-6
    )
