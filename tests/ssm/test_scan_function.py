"""Long sequences and many features, which are computed in pieces, and the memory for it."""

import threading

import pytest
import torch

from sks4 import ssm
from sks4.ssm import _memory, _scan_function

N, b = 4, 4


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def results(batch, length, H, lengths):
    """Return output, state and all gradients of one scan."""
    A_bar = draw(H, N, N)
    A_bar = 0.95 * A_bar / torch.linalg.matrix_norm(A_bar, 2)[:, None, None]
    leaves = [A_bar - torch.eye(N), draw(H, N, seed=1), draw(H, N, seed=2), draw(H, seed=3)]
    leaves = [z.requires_grad_() for z in (*leaves, draw(batch, length, H), draw(batch, H, N))]
    *system, u, state = leaves
    operator = ssm.dense_operator(*system, b)
    y, last = ssm.scan(u, operator, state=state, lengths=lengths)
    grads = torch.autograd.grad([y, last], leaves, [draw(*y.shape), draw(*last.shape)])
    return y, last, *grads


@pytest.mark.parametrize(
    ("batch", "length", "lengths"),
    [
        (1, 61, None),  # by pairs
        (5, 61, [61, 32, 31, 1, 60]),  # in order, ending in, between and before segments
        (4, 64, [64, 48, 16, 3]),
    ],
)
def test_scan_in_segments_equals_the_scan_at_once(batch, length, lengths, monkeypatch):
    lengths = None if lengths is None else torch.tensor(lengths)
    at_once = results(batch, length, 5, lengths)
    monkeypatch.setattr(_scan_function, "_SEGMENT", 16 * batch)
    monkeypatch.setattr(_scan_function, "_WIDE", 2)
    assert len(_scan_function._segments(draw(batch, length, 5), b)) > 2
    for got, expected in zip(results(batch, length, 5, lengths), at_once, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_backward_pass_can_be_repeated_after_other_passes():
    u = draw(2, 20, 2).requires_grad_()
    system = 0.1 * draw(2, N, N), draw(2, N), draw(2, N, seed=1), draw(2)
    operator = ssm.dense_operator(*system, b)
    y, _ = ssm.scan(u, operator)
    first = torch.autograd.grad(y.sum(), u, retain_graph=True)[0]
    ssm.scan(draw(3, 40, 2, seed=7), operator)  # overwrites the workspace
    assert torch.equal(torch.autograd.grad(y.sum(), u)[0], first)


def test_workspace_has_the_shape_dtype_and_device_that_are_asked_for():
    for dtype in (torch.float32, torch.float64):
        memory = _memory.workspace("test", (3, 5), torch.empty(0, dtype=dtype))
        assert memory.shape == (3, 5)
        assert memory.dtype == dtype
    on_meta = _memory.workspace("test", (3, 5), torch.empty(0, device="meta"))
    assert on_meta.device.type == "meta"


def test_workspace_is_not_shared_between_names_or_threads():
    like = torch.empty(0)
    mine = _memory.workspace("test", (1000,), like).fill_(1)
    _memory.workspace("other", (1000,), like).fill_(2)
    thread = threading.Thread(target=lambda: _memory.workspace("test", (1000,), like).fill_(3))
    thread.start()
    thread.join()
    assert bool((mine == 1).all())


def test_workspace_that_grows_leaves_the_older_tensor_valid():
    like = torch.empty(0)
    small = _memory.workspace("grows", (10,), like).fill_(1)
    _memory.workspace("grows", (100_000,), like).fill_(2)
    assert bool((small == 1).all())


def test_too_large_a_workspace_is_not_kept(monkeypatch):
    monkeypatch.setattr(_memory, "_MOST", 100)
    like = torch.empty(0)
    first, second = (_memory.workspace("large", (26,), like) for _ in range(2))
    assert first.data_ptr() != second.data_ptr()


@pytest.mark.parametrize("b", [4, 16, 128])
@pytest.mark.parametrize("init", ["legs", "fout"])
def test_operator_from_tables_is_closer_to_the_truth_than_by_squaring(init, b):
    steps = torch.logspace(-3, 0, 7, dtype=torch.float64)[:, None]
    Lambda, P, B, _ = ssm.dplr(init, 64)
    _, p, vector, _ = ssm.real_form(Lambda, P, B, B)
    vectors = vector.expand(7, 64)
    system = ssm.discretize_dplr((Lambda.real, Lambda.imag), p.expand(7, 1, 64), vectors, steps)

    def by_tables(dtype):
        q, r = system.q[:, 0].to(dtype), system.r[:, 0].to(dtype)
        return ssm.dplr_operator(system.a_bar, q, r, *inputs(dtype), b)

    def by_squaring(dtype):
        return ssm.dense_operator(system.increment(dtype), *inputs(dtype), b)

    def inputs(dtype):
        return system.B_bar.to(dtype), vectors.to(dtype), steps[:, 0].to(dtype)

    def error(operator):
        parts = zip((operator.matrix, *operator.powers), (truth.matrix, *truth.powers), strict=True)
        return max(float((got - want).abs().max() / want.abs().max()) for got, want in parts)

    truth = by_squaring(torch.float64)
    assert error(by_tables(torch.float64)) < 1e-12
    assert error(by_tables(torch.float32)) < 4e-6
    if b == 128:
        assert error(by_tables(torch.float32)) < error(by_squaring(torch.float32)) / 2
