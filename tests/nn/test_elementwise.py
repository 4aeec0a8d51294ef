"""The element-wise parts of a block: compiled code against torch in double precision."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from sks4 import _native
from sks4.nn import S4Block, _elementwise

LIMITS = {torch.float32: 2e-6, torch.float64: 1e-13}
SHAPES = [(1, 1, 1), (3, 50, 5), (2, 70, 16), (2, 33, 64), (1, 129, 257)]


@pytest.fixture(params=_native.instruction_sets() or [None])
def instructions(request):
    """Run a test with each instruction set of this processor."""
    if request.param is None:
        pytest.skip("no compiled code")
    before = _native.used_instruction_set()
    _native.use_instruction_set(request.param)
    yield request.param
    _native.use_instruction_set(before)


def draw(*shape, dtype, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    return x.to(dtype).requires_grad_()


def dropout(batch, H, dtype):
    return (torch.arange(batch * H).reshape(batch, 1, H) % 3 > 0).to(dtype) * 1.5


def reference_activate(x, factors):
    y = functional.gelu(x)
    return y if factors is None else y * factors


def reference_gate(x, residual, factors):
    y = functional.glu(x, -1)
    return residual + (y if factors is None else y * factors)


def assert_same(function, reference, operands, factors, limit):
    """Compare values and gradients with those of torch in double precision."""
    exact = [x.detach().double().requires_grad_() for x in operands]
    before = _native.N_CALLS["block"]
    y = function(*operands, *factors)
    expected = reference(*exact, *[None if f is None else f.double() for f in factors])
    g = draw(*y.shape, dtype=y.dtype, seed=7).detach()
    gradients = torch.autograd.grad(y, operands, g)
    assert _native.N_CALLS["block"] == before + 2
    expected_gradients = torch.autograd.grad(expected, exact, g.double())
    for found, right in zip([y, *gradients], [expected, *expected_gradients], strict=True):
        size = max(1.0, float(right.detach().abs().max()))
        assert_close(found.double(), right, rtol=0, atol=limit * size)


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("drops", [False, True])
def test_activation_and_gate_equal_those_of_torch(instructions, shape, drops, dtype):
    batch, length, H = shape
    factors = [dropout(batch, H, dtype) if drops else None]
    x = draw(batch, length, H, dtype=dtype)
    assert_same(_elementwise.activate, reference_activate, [x], factors, LIMITS[dtype])
    operands = [draw(batch, length, 2 * H, dtype=dtype), draw(batch, length, H, dtype=dtype)]
    assert_same(_elementwise.gate, reference_gate, operands, factors, LIMITS[dtype])


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_norm_equals_that_of_torch(instructions, shape, dtype):
    H = shape[-1]
    operands = [draw(*shape, dtype=dtype), draw(H, dtype=dtype), draw(H, dtype=dtype, seed=1)]

    def norm(x, weight, bias):
        return _elementwise.normalize(x, weight, bias, 1e-5)

    def reference(x, weight, bias):
        return functional.layer_norm(x, (H,), weight, bias, 1e-5)

    assert_same(norm, reference, operands, [], 3 * LIMITS[dtype])


def test_norm_of_a_large_level_loses_no_more_than_torch(instructions):
    x = draw(2, 40, 5, dtype=torch.float32, scale=1.0).detach() + 1000
    ones, zeros = torch.ones(5), torch.zeros(5)
    found = _elementwise.normalize(x, ones, zeros, 1e-5)
    expected = functional.layer_norm(x.double(), (5,), eps=1e-5)
    error = (functional.layer_norm(x, (5,), eps=1e-5) - expected).abs().max()
    assert (found - expected).abs().max() < 2 * error


@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_extreme_inputs_give_what_torch_gives_in_double_precision(instructions, dtype):
    ends = [0.0, -0.0, 1e-30, 5.0, -5.0, 13.5, -13.5, 80.0, -90.0, 800.0, -800.0, 1e30, -1e30]
    x = torch.tensor([*ends, float("inf"), float("nan")], dtype=dtype).reshape(1, -1, 1)
    y = _elementwise.activate(x, None).double()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    exact = x.double() * torch.special.erfc(-x.double() / 2**0.5) / 2  # exact where erf is -1
    assert_close(y, exact, rtol=tolerance, atol=1e-37, equal_nan=True)
    opened = torch.cat([torch.ones_like(x), x], -1)
    y = _elementwise.gate(opened, torch.zeros_like(x), None).double()
    assert_close(y, torch.sigmoid(x.double()), rtol=tolerance, atol=2e-38, equal_nan=True)


def test_gradients_of_a_compiled_block_are_those_of_differences(path):
    block = S4Block(3, d_state=4, dtype=torch.float64)
    u = draw(2, 6, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda u: block(u)[0], u)


def test_operands_of_any_strides_are_taken(path):
    block = S4Block(6, d_state=4)
    u = torch.randn(5, 6, 2)
    y, _ = block(u.permute(2, 0, 1))
    expected, _ = block(u.permute(2, 0, 1).contiguous())
    assert_close(y, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_result_does_not_depend_on_the_number_of_threads(threads, instructions):
    x = draw(4, 700, 128, dtype=torch.float32)
    weight, bias = draw(128, dtype=torch.float32), draw(128, dtype=torch.float32, seed=1)

    def run():
        y = _elementwise.normalize(x, weight, bias, 1e-5)
        return y, *torch.autograd.grad(y.square().sum(), (x, weight, bias))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = run()
        torch.set_num_threads(threads)
        found = run()
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_operands_of_mixed_or_half_dtypes_take_the_path_of_torch():
    before = dict(_native.N_CALLS)
    x = torch.randn(2, 5, 4, dtype=torch.bfloat16)
    assert _elementwise.activate(x, None).dtype == torch.bfloat16
    y = _elementwise.gate(torch.randn(2, 5, 8), torch.randn(2, 5, 4).double(), None)
    assert y.dtype == torch.float64
    assert before == _native.N_CALLS


@pytest.mark.parametrize("loss", [torch.sum, lambda y: y.pow(3).sum()], ids=["sum", "cube"])
def test_second_derivatives_are_those_of_torch(loss):
    operands = [draw(2, 5, 8, dtype=torch.float64), draw(2, 5, 4, dtype=torch.float64)]
    weight, bias = draw(4, dtype=torch.float64), draw(4, dtype=torch.float64, seed=1)

    def second(activate, gate, normalize):
        y = loss(normalize(gate(activate(operands[0], None), operands[1], None), weight, bias))
        first = torch.autograd.grad(y, [*operands, weight, bias], create_graph=True)
        return torch.autograd.grad(sum(g.pow(2).sum() for g in first), operands)

    found = second(
        _elementwise.activate, _elementwise.gate, lambda *o: _elementwise.normalize(*o, 1e-5)
    )
    expected = second(
        reference_activate, reference_gate, lambda x, w, b: functional.layer_norm(x, (4,), w, b)
    )
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b)


def test_dropout_draws_the_same_features_on_both_paths(path):
    block = S4Block(8, d_state=4, dropout=0.5, generator=torch.Generator().manual_seed(0))
    block.dropout.generator = torch.Generator().manual_seed(1)
    y, _ = block(torch.ones(3, 4, 8))
    zeros = (y == 1).all(1)  # features for which the gate is dropped
    again = torch.Generator().manual_seed(1)
    torch.empty(3, 1, 8).bernoulli_(0.5, generator=again)
    dropped = torch.empty(3, 1, 8).bernoulli_(0.5, generator=again)[:, 0] == 0
    assert torch.equal(zeros, dropped)
