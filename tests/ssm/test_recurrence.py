"""The recurrence against single steps in double precision, by compiled code and by the scan."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

from oracles import RULES
from sks4 import _native, ssm
from sks4.nn import S4Layer

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}  # float64 sums of some hundred terms near one
ON_BOTH_PATHS = pytest.mark.usefixtures("path")
COMPILED = pytest.mark.skipif(not _native.is_available(), reason="no compiled code")
RANKS = pytest.mark.parametrize("rank", [0, 1, 2])


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_operator(H, N, rank):
    """Return stable systems with modes of modulus 0.8."""
    angle = 3 * draw(H, N // 2)
    e = 0.8 * torch.cos(angle) - 1, 0.8 * torch.sin(angle)
    q, r = 0.1 * draw(H, rank, N, seed=4), 0.3 * draw(H, rank, N, seed=5)
    return ssm.StepOperator(e, q, r, draw(H, N, seed=1), draw(H, N, seed=2), draw(H, seed=3))


def rebuild(leaves):
    """Return the operator of leaves in the order of :func:`leaves_of`."""
    return ssm.StepOperator(tuple(leaves[:2]), *leaves[2:])


def leaves_of(operator):
    return [x.clone().requires_grad_() for x in (*operator.e, *operator[1:])]


def stepped(u, operator, state=None, lengths=None, reverse=False):
    """Return outputs, zero after the end of a sequence, and final states, by single steps."""
    batch, length, H = u.shape
    lengths = [length] * batch if lengths is None else lengths.tolist()
    state = u.new_zeros(batch, H, operator.C.shape[1]) if state is None else state
    outputs, states = [], []
    for row, x, n in zip(u, state, lengths, strict=True):
        samples, x = [torch.zeros_like(row[0])] * length, x[None]
        for t in reversed(range(n)) if reverse else range(n):
            y, x = ssm.step(row[None, t], x, operator)
            samples[t] = y[0]
        outputs.append(torch.stack(samples))
        states.append(x[0])
    return torch.stack(outputs), torch.stack(states)


def masked(y, lengths):
    """Return outputs with zeros after the end of each sequence."""
    return y if lengths is None else torch.where(ssm.real_steps(y, lengths)[..., None], y, 0)


# One sample, less than a strip, strips and single samples, whole blocks, many blocks; features
# that fill a part of a vector, one and several
CASES = pytest.mark.parametrize(
    ("batch", "length", "H", "N"),
    [(1, 1, 1, 2), (2, 7, 3, 4), (3, 64, 16, 2), (2, 65, 17, 6), (2, 135, 33, 8), (1, 256, 5, 10)],
)


@ON_BOTH_PATHS
@RANKS
@CASES
@pytest.mark.parametrize(("reverse", "ragged"), [(False, False), (False, True), (True, True)])
def test_recurrence_equals_single_steps(batch, length, H, N, rank, reverse, ragged):
    operator, u, state = make_operator(H, N, rank), draw(batch, length, H), draw(batch, H, N)
    lengths = torch.arange(length, length - batch, -1).clamp(min=1) if ragged else None
    y, last = ssm.recurrence(u, operator, state, lengths, reverse=reverse)
    expected = stepped(u, operator, state, lengths, reverse)
    torch.testing.assert_close((masked(y, lengths), last), expected, **TOLERANCE)


def gradients(function, u, operator, state, lengths, reverse, weights):
    leaves = [z.clone().requires_grad_() for z in (u, state)] + leaves_of(operator)
    y, last = function(leaves[0], rebuild(leaves[2:]), leaves[1], lengths, reverse=reverse)
    loss = (masked(y, lengths) * weights[0]).sum() + (last * weights[1]).sum()
    return torch.autograd.grad(loss, leaves, materialize_grads=True)


@ON_BOTH_PATHS
@RANKS
@CASES
@pytest.mark.parametrize(("reverse", "ragged"), [(False, False), (False, True), (True, True)])
def test_gradients_equal_those_of_single_steps(batch, length, H, N, rank, reverse, ragged):
    operator, u, state = make_operator(H, N, rank), draw(batch, length, H), draw(batch, H, N)
    lengths = torch.arange(length, length - batch, -1).clamp(min=1) if ragged else None
    arguments = u, operator, state, lengths, reverse, (draw(*u.shape, seed=8), draw(*state.shape))
    torch.testing.assert_close(
        gradients(ssm.recurrence, *arguments), gradients(stepped, *arguments), **TOLERANCE
    )


@ON_BOTH_PATHS
@RANKS
@pytest.mark.parametrize("use", [0, 1])
def test_gradient_matches_finite_differences_when_one_result_is_used(rank, use):
    operands = [draw(2, 11, 1), draw(2, 1, 4), *leaves_of(make_operator(1, 4, rank))]

    def run(u, state, *leaves):
        return ssm.recurrence(u, rebuild(leaves), state, torch.tensor([11, 4]))[use].clone()[:, :4]

    assert torch.autograd.gradcheck(run, [z.detach().requires_grad_() for z in operands])


@ON_BOTH_PATHS
@given(pieces=st.lists(st.integers(1, 150), min_size=1, max_size=5), rank=st.integers(0, 2))
def test_pieces_of_any_size_equal_one_pass(pieces, rank):
    operator, u = make_operator(3, 6, rank), draw(2, sum(pieces), 3)
    outputs, state = [], None
    for piece in u.split(pieces, 1):
        y, state = ssm.recurrence(piece, operator, state)
        outputs.append(y)
    torch.testing.assert_close(
        (torch.cat(outputs, 1), state), ssm.recurrence(u, operator), **TOLERANCE
    )


@ON_BOTH_PATHS
@pytest.mark.parametrize(
    "view",
    [
        lambda u: u.mT.contiguous().mT,  # time innermost
        lambda u: torch.cat([u, u], 2)[..., : u.shape[2]],  # rows with a gap
        lambda u: torch.cat([u[..., :1], u], 2)[..., 1:],  # not aligned
        lambda u: u[:, :, :1].expand_as(u),  # stride 0
        lambda u: torch.stack([u, u], 3)[..., 0],
    ],
)
def test_views_of_any_strides_are_read_where_they_are(view):
    operator, u = make_operator(20, 4, 1), draw(2, 70, 20)
    x = view(u)
    packed = x.contiguous()
    torch.testing.assert_close(ssm.recurrence(x, operator), ssm.recurrence(packed, operator))
    grads = []
    for z in (x.detach(), packed):
        z.requires_grad_()
        y, _ = ssm.recurrence(z, operator)
        grads.append(torch.autograd.grad(y, z, view(draw(2, 70, 20, seed=3)))[0])
    torch.testing.assert_close(*grads)


@ON_BOTH_PATHS
def test_gradient_of_a_sum_has_stride_zero_and_is_read():
    operator, u = make_operator(20, 4, 1), draw(2, 70, 20).requires_grad_()
    y, _ = ssm.recurrence(u, operator)
    (of_sum,) = torch.autograd.grad(y.sum(), u, retain_graph=True)
    (of_ones,) = torch.autograd.grad(y, u, torch.ones_like(y))
    torch.testing.assert_close(of_sum, of_ones)


@ON_BOTH_PATHS
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.mT.contiguous().mT,
        lambda x: torch.cat([x, x], 2)[..., : x.shape[2]],
        lambda x: x[:, :1].expand_as(x),
    ],
)
def test_states_and_their_gradients_may_have_any_strides(view):
    operator, u = make_operator(20, 4, 1), draw(2, 70, 20)
    state, gradient = view(draw(2, 20, 4, seed=4)), view(draw(2, 20, 4, seed=5))
    found = []
    for x, g in ((state, gradient), (state.contiguous(), gradient.contiguous())):
        x = x.detach().requires_grad_()
        y, last = ssm.recurrence(u, operator, x)
        found.append((y, last, torch.autograd.grad(last, x, g)[0]))
    torch.testing.assert_close(*found)


@ON_BOTH_PATHS
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_lengths_may_be_of_any_integer_type(dtype):
    operator, u, lengths = make_operator(3, 4, 1), draw(4, 70, 3), torch.tensor([70, 1, 64, 7])
    expected = ssm.recurrence(u, operator, lengths=lengths)
    torch.testing.assert_close(
        ssm.recurrence(u, operator, lengths=lengths.to(dtype)), expected, rtol=0, atol=0
    )


@ON_BOTH_PATHS
def test_what_pads_a_sequence_is_not_read():
    operator, u, lengths = make_operator(3, 4, 1), draw(2, 90, 3), torch.tensor([90, 41])
    expected = ssm.recurrence(u, operator, lengths=lengths)
    u[1, 41:] = 1e6
    y, last = ssm.recurrence(u, operator, lengths=lengths)
    torch.testing.assert_close((y[1, :41], last), (expected[0][1, :41], expected[1]))


@COMPILED
def test_output_after_the_end_of_a_sequence_is_zero():
    u = torch.full((2, 90, 3), math.nan, dtype=torch.float64)
    u[0], u[1, :41] = 0, 1
    y, _ = ssm.recurrence(u, make_operator(3, 4, 1), lengths=torch.tensor([90, 41]))
    assert torch.equal(y[1, 41:], torch.zeros(49, 3, dtype=torch.float64))
    assert y.isfinite().all()


# -- rounding

# Largest error, relative to the largest output of a feature
SINGLE = 2e-5


def signals(length, H):
    """Return inputs that round in different ways, by name."""
    impulse = torch.zeros(1, length, H)
    impulse[:, 0] = 1
    return {
        "white": draw(1, length, H, dtype=torch.float32),
        "constant": torch.ones(1, length, H),
        "slow": draw(1, length, H, dtype=torch.float32).cumsum(1),
        "impulse": impulse,
    }


def layer_operator(kind, init, rule):
    """Return the systems of a layer whose steps cover 1e-4 to 1, without feedthrough."""
    torch.manual_seed(0)
    layer = S4Layer(16, 64, kind, init, discretization=rule).requires_grad_(False)
    layer.log_dt.copy_(torch.logspace(-4, 0, 16).log())
    layer.D.zero_()
    return layer._systems().step_operators(1.0, torch.float64)[0]


@COMPILED
@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
@pytest.mark.parametrize("length", [1, 100, 16_384])
def test_single_precision_is_exact_for_every_kind_of_input(kind, init, rule, length):
    operator = layer_operator(kind, init, rule)
    for u in signals(length, 16).values():
        truth, _ = ssm.recurrence(u.double(), operator)
        y, _ = ssm.recurrence(u, operator)
        assert y.dtype == torch.float32
        error = (y - truth).abs().amax((0, 1)) / truth.abs().amax((0, 1))
        assert error.max() < SINGLE


@COMPILED
@pytest.mark.parametrize(("kind", "init", "rule"), RULES)
def test_gradients_in_single_precision_are_exact(kind, init, rule):
    operator = layer_operator(kind, init, rule)
    weights = draw(1, 4096, 16, seed=9, dtype=torch.float32)
    for u in signals(4096, 16).values():
        found = []
        for dtype in (torch.float64, torch.float32):
            x, leaves = u.to(dtype).requires_grad_(), leaves_of(operator)
            y, _ = ssm.recurrence(x, rebuild(leaves))
            operands = [x, *(z for z in leaves if z.numel())]
            found.append(torch.autograd.grad(y, operands, weights.to(dtype)))
        for truth, grad in zip(*found, strict=True):
            assert (grad - truth).abs().max() < 2e-4 * truth.abs().max()


@COMPILED
@pytest.mark.parametrize("name", _native.instruction_sets())
def test_every_instruction_set_of_this_processor_gives_the_same(name):
    operator, u = make_operator(21, 6, 1), draw(3, 150, 21)
    expected = ssm.recurrence(u, operator)
    grads = [gradients(ssm.recurrence, u, operator, draw(3, 21, 6), None, False, expected)]
    before = _native.used_instruction_set()
    try:
        _native.use_instruction_set(name)
        torch.testing.assert_close(ssm.recurrence(u, operator), expected)
        grads.append(gradients(ssm.recurrence, u, operator, draw(3, 21, 6), None, False, expected))
    finally:
        _native.use_instruction_set(before)
    torch.testing.assert_close(*grads)


@COMPILED
@pytest.mark.parametrize("H", [5, 40])  # cut by sequences, and by features
def test_results_are_bit_equal_from_call_to_call(H):
    operator, u = make_operator(H, 64, 1), draw(6, 300, H, dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        weights = draw(6, 300, H, dtype=torch.float32), draw(6, H, 64, dtype=torch.float32)
        state = torch.zeros(6, H, 64)
        first, *others = (
            gradients(ssm.recurrence, u, operator, state, None, False, weights) for _ in range(4)
        )
    finally:
        torch.set_num_threads(before)
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@COMPILED
@pytest.mark.parametrize(
    ("shape", "N", "rank", "trains", "pays"),
    [
        # little work, whatever is wasted
        ((1, 1, 1), 64, 1, True, True),
        ((1, 12_000 // 16, 1), 64, 1, True, True),
        ((1, 12_000 // 16 + 1, 1), 64, 1, True, False),
        # more work: at most a quarter is wasted
        ((40, 1000, 13), 16, 1, True, True),
        ((40, 1000, 12), 16, 1, True, False),
        ((40, 1000, 17), 16, 0, False, False),
        # low rank, usual sizes, many sequences: products of matrices train faster
        ((20, 1000, 64), 64, 1, True, True),
        ((20, 1001, 64), 64, 1, True, False),
        ((20, 1001, 64), 64, 2, True, False),
        ((20, 1001, 64), 64, 1, False, True),
        ((20, 1001, 64), 64, 0, True, True),
        ((20, 1001, 64), 32, 1, True, True),
        ((20, 1001, 64), 256, 1, True, True),
        ((2, 10_010, 64), 64, 1, True, True),
    ],
)
def test_recurrence_is_chosen_by_the_measured_table(shape, N, rank, trains, pays, monkeypatch):
    monkeypatch.setattr(_native, "lanes", lambda *, double: 8 if double else 16)
    u = torch.empty(1).expand(shape)
    assert ssm.recurrence_pays(u, N, rank, trains=trains) == pays


# -- what takes the path of torch


def ran_compiled(function):
    before = dict(_native.N_CALLS)
    function()
    return before != _native.N_CALLS


@COMPILED
def test_ordinary_tensors_run_compiled_code():
    operator, u = make_operator(3, 4, 1), draw(2, 9, 3)
    assert ran_compiled(lambda: ssm.recurrence(u, operator))
    assert ran_compiled(lambda: ssm.recurrence(u.float(), operator))
    with torch.inference_mode():
        assert ran_compiled(lambda: ssm.recurrence(u, operator))


def test_other_dtypes_and_devices_take_the_path_of_torch():
    operator, u = make_operator(3, 4, 1), draw(2, 9, 3)
    on_meta = ssm.StepOperator(
        tuple(z.to("meta") for z in operator.e), *(z.to("meta") for z in operator[1:])
    )
    results = []
    assert not ran_compiled(lambda: results.append(ssm.recurrence(u.to("meta"), on_meta)))
    y, last = results[0]
    assert y.is_meta
    assert y.shape == (2, 9, 3)
    assert last.shape == (2, 3, 4)


TRANSFORMS = {
    "vmap": lambda f, u: torch.func.vmap(f)(u[None]),
    "grad": lambda f, u: torch.func.grad(lambda x: f(x).sum())(u),
    "forward mode": lambda f, u: torch.func.jvp(f, (u,), (u,)),
}


def dual_number(f, u):
    with forward_ad.dual_level():
        f(forward_ad.make_dual(u, u))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at its first dual number
@pytest.mark.parametrize(
    "transform", [*TRANSFORMS.values(), dual_number], ids=[*TRANSFORMS, "dual"]
)
def test_transforms_of_functions_take_the_path_of_torch(transform):
    layer = S4Layer(3, 4).double()

    def run(u):
        return layer(u, return_state=False)[0]

    def attempt():
        # which has no rule for these transforms
        with pytest.raises(RuntimeError, match=r"autograd\.Function"):
            transform(run, draw(2, 20, 3))

    assert not ran_compiled(attempt)


@ON_BOTH_PATHS
def test_second_derivatives_are_refused():
    operator, u = make_operator(3, 4, 1), draw(2, 9, 3).requires_grad_()
    y, _ = ssm.recurrence(u, operator)
    (grad,) = torch.autograd.grad(y.square().sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiate twice|no autograd formula"):
        grad.square().sum().backward()


# -- what a caller may get wrong


@ON_BOTH_PATHS
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"u": torch.zeros(2, 0, 3)}, r"u must have shape \(batch, length, H\) and at least one"),
        ({"u": torch.zeros(2, 9)}, r"u must have shape \(batch, length, H\)"),
        ({"u": torch.zeros(2, 9, 4)}, r"C must have shape \(4, N\), got \(3, 4\)"),
        ({"B_bar": torch.zeros(3, 5)}, r"B_bar must have shape \(3, 4\), got \(3, 5\)"),
        ({"D": torch.zeros(4)}, r"D must have shape \(3,\), got \(4,\)"),
        ({"r": torch.zeros(3, 2, 4)}, r"r must have shape \(3, 1, 4\), got \(3, 2, 4\)"),
        (
            {"e": (torch.zeros(3, 2), torch.zeros(3, 4))},
            r"e\[1\] must have shape \(3, 2\), got \(3, 4\)",
        ),
        ({"state": torch.zeros(2, 3, 6)}, r"state must have shape .* = \(2, 3, 4\)"),
        ({"lengths": torch.tensor([9, 10])}, "lengths must be between 1 and 9"),
        ({"lengths": torch.tensor([0, 9])}, "lengths must be between 1 and 9"),
        ({"lengths": torch.tensor([9.0, 9.0])}, r"lengths must be integers of shape \(2,\)"),
    ],
)
def test_operands_that_do_not_fit_are_refused(options, message):
    parts = make_operator(3, 4, 1)._asdict()
    arguments = {"u": draw(2, 9, 3), "state": None, "lengths": None}
    for name, value in options.items():
        (parts if name in parts else arguments)[name] = value
    operator = ssm.StepOperator(**parts)
    ssm.recurrence(draw(2, 9, 3), make_operator(3, 4, 1))  # as it should be
    with pytest.raises(ValueError, match=message):
        ssm.recurrence(arguments["u"], operator, arguments["state"], arguments["lengths"])
