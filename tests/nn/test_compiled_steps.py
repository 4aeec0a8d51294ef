"""Compiled steps against those by torch and one pass over the whole sequence."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sks4 import _native
from sks4.nn import ModelStepper, S4Backbone, S4Model, StepperState
from sks4.nn._compiled_steps import CompiledSteps
from summaries import summary_model

pytestmark = pytest.mark.skipif(not _native.is_available(), reason="no compiled code")

# sums in another order, in units of the largest output
ROUNDING = {torch.float32: 3e-5, torch.float64: 1e-11}


@pytest.fixture(autouse=True)
def compiled_steps_ran():
    """Assert that each test has taken compiled steps."""
    before = _native.N_CALLS["step"]
    yield
    assert _native.N_CALLS["step"] > before


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(*, head, n_inputs, n_outputs, dtype, **options):
    """Return a model whose biases and norms are not the identity."""
    torch.manual_seed(0)
    if head in ("summary", "recall"):
        backbone = S4Backbone(n_inputs, **options).double()
        recalled = [0, 2, 3] if head == "recall" else None
        model = summary_model(backbone, n_outputs=n_outputs, recalled=recalled)
    else:
        model = S4Model(n_inputs, n_outputs, pooling=head, **options).double()
    for i, tensor in enumerate([*model.parameters(), *model.buffers()]):
        tensor.requires_grad_(False)
        if tensor.dim() == 1 and tensor.dtype == torch.float64:
            tensor += 0.1 * noise(*tensor.shape, seed=i).abs()
    return model.eval().to(dtype)


def by_torch(model, *args, **options):
    """Return a stepper that does not use compiled code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_native, "_core", None)
        stepper = ModelStepper(model, *args, **options)
    assert not isinstance(stepper._steps, CompiledSteps)
    return stepper


def assert_equal(one, other, dtype):
    scale = float(other.abs().max()) + 1
    torch.testing.assert_close(one, other, rtol=0, atol=scale * ROUNDING[dtype])


SYSTEMS = [
    {"ssm": "s4", "init": "legs"},
    {"ssm": "s4", "init": "legt"},
    {"ssm": "s4", "init": "fout"},
    {"ssm": "s4d", "init": "lin"},
    {"ssm": "s4d", "init": "legs", "discretization": "bilinear"},
]
SHAPES = {
    "batch": st.sampled_from([1, 2, 3, 4, 5, 9]),
    "n_inputs": st.integers(1, 20),
    "n_outputs": st.integers(1, 20),
    "d_model": st.integers(1, 40) | st.sampled_from([64, 127, 257]),
    "d_state": st.integers(1, 10).map(lambda n: 2 * n) | st.sampled_from([64, 256]),
    "n_layers": st.integers(1, 3),
    "patch_size": st.sampled_from([1, 1, 3]),
    "system": st.sampled_from(SYSTEMS),
    "norm": st.sampled_from(["layer", "batch", None]),
    "prenorm": st.booleans(),
    "head": st.sampled_from(["mean", "last", "max", "summary", "recall"]),
    "dtype": st.sampled_from([torch.float32, torch.float64]),
    "rate": st.sampled_from([1.0, 0.7]),
}


@settings(max_examples=50)
@given(**SHAPES)
def test_both_paths_agree_for_any_shape(batch, system, dtype, rate, **options):
    rate = 1.0 if options["patch_size"] > 1 else rate
    model = make(dtype=dtype, **system, **options)
    u = noise(batch, 11, options["n_inputs"]).to(dtype)
    before = _native.N_CALLS["step"]
    compiled, plain = ModelStepper(model, batch, rate), by_torch(model, batch, rate)
    for piece in u.split([1, 1, 4, 1, 4], 1):
        compiled.push(piece)
        plain.push(piece)
        assert_equal(compiled.output(), plain.output(), dtype)
        assert_equal(compiled.features(), plain.features(), dtype)
    assert_equal(compiled.output(), model(u, rate=rate), dtype)
    assert _native.N_CALLS["step"] > before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("patch_size", [1, 4])
@pytest.mark.parametrize("n_filters", [5, 40])
def test_both_paths_agree_for_filters_alone(n_filters, patch_size, dtype):
    options = {"n_layers": 0, "d_model": 1, "patch_size": patch_size}
    model = make(head="summary", n_inputs=2, n_outputs=3, dtype=dtype, **options)
    u = noise(3, 30, 2).to(dtype)
    compiled, plain = ModelStepper(model, 3), by_torch(model, 3)
    for piece in u.split(1, 1):
        compiled.push(piece)
        plain.push(piece)
        assert_equal(compiled.output(), plain.output(), dtype)


@pytest.mark.parametrize("instructions", _native.instruction_sets())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("head", ["mean", "summary"])
def test_all_instruction_sets_agree(instructions, head, dtype, request):
    used = _native.used_instruction_set()
    request.addfinalizer(lambda: _native.use_instruction_set(used))
    _native.use_instruction_set(instructions)
    model = make(head=head, n_inputs=2, n_outputs=3, dtype=dtype, d_model=21, n_layers=2, d_state=6)
    u = noise(5, 20, 2).to(dtype)
    stepper = ModelStepper(model, 5)
    for piece in u.split(1, 1):
        stepper.push(piece)
    assert_equal(stepper.output(), model(u), dtype)


@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
@pytest.mark.parametrize("pieces", [1, 5, [80, 60, 20]])
def test_both_paths_agree_on_symbols(pooling, pieces):
    options = {"d_model": 9, "n_layers": 2, "d_state": 4, "inputs": "symbols"}
    model = make(head=pooling, n_inputs=7, n_outputs=3, dtype=torch.float64, **options)
    u = torch.randint(7, (2, 160), generator=torch.Generator().manual_seed(0))
    steppers = [ModelStepper(model, 2), by_torch(model, 2)]
    for stepper in steppers:
        for piece in u.split(pieces, 1):
            stepper.push(piece)
        assert_equal(stepper.output(), model(u), torch.float64)


@pytest.mark.parametrize("head", ["mean", "max", "summary"])
def test_state_is_handed_between_both_paths(head):
    options = {"d_model": 9, "n_layers": 2, "d_state": 4, "patch_size": 3}
    model = make(head=head, n_inputs=2, n_outputs=3, dtype=torch.float64, **options)
    u, stepper = noise(2, 40, 2), ModelStepper(model, 2)
    for k, piece in enumerate(u.split(4, 1)):
        other = by_torch(model, 2) if k % 2 else ModelStepper(model, 2)
        state = pickle.loads(pickle.dumps(stepper.state))
        assert isinstance(state, StepperState)
        other.state = state
        for at, expected in zip(other.state.layers, state.layers, strict=True):
            assert torch.equal(at, expected)
        other.push(piece)
        stepper = other
    assert_equal(stepper.output(), model(u), torch.float64)


def test_what_compiled_code_cannot_step_takes_the_other_path():
    options = {"d_model": 5, "n_layers": 1, "d_state": 4, "n_inputs": 2, "n_outputs": 3}
    model = make(head="mean", dtype=torch.float32, **options)
    u, before = noise(2, 5, 2).float(), _native.N_CALLS["step"]
    halves = copy.deepcopy(model)
    halves.head.bfloat16()
    subclass = type("Other", (S4Model,), {})
    changed = copy.deepcopy(model)
    changed.__class__ = subclass
    for other in (halves, changed):
        stepper = ModelStepper(other, 2)
        stepper.push(u)
        stepper.features()
    assert _native.N_CALLS["step"] == before
    ModelStepper(model, 2).push(u)  # which it can


def test_stepper_refuses_input_of_another_shape():
    options = {"d_model": 5, "n_layers": 1, "d_state": 4, "n_outputs": 3, "head": "mean"}
    model = make(n_inputs=2, dtype=torch.float32, **options)
    for stepper in (ModelStepper(model, 3), by_torch(model, 3)):
        for shape in [(3, 1, 3), (2, 1, 2), (3, 2)]:
            with pytest.raises(ValueError, match=r"u must have shape \(3, length, 2\), got"):
                stepper.push(torch.zeros(shape))
    u, stepper = noise(3, 4, 2).float(), ModelStepper(model, 3)
    stepper.push(u[:, :3])
    with pytest.raises(ValueError, match="u must have shape"):
        stepper.push(u[:2])
    stepper.push(u[:, 3:])
    assert_equal(stepper.output(), model(u), torch.float32)
    model = make(n_inputs=4, inputs="symbols", dtype=torch.float32, **options)
    for stepper in (ModelStepper(model, 1), by_torch(model, 1)):
        for symbol in (-1, 4):
            with pytest.raises(ValueError, match=r"symbols in u must be in \[0, 4\), got"):
                stepper.push(torch.tensor([[symbol]]))
        with pytest.raises(ValueError, match="u must hold numbers of symbols"):
            stepper.push(torch.zeros(1, 1))


@pytest.mark.parametrize("head", ["mean", "max", "last", "summary"])
def test_compiled_steps_pass_values_that_are_not_finite_on(head):
    options = {"d_model": 5, "n_layers": 1, "d_state": 4, "n_inputs": 2, "n_outputs": 3}
    stepper = ModelStepper(make(head=head, dtype=torch.float32, **options))
    for value in (0.0, float("nan"), 0.0):
        stepper.push(torch.full((1, 1, 2), value))
    assert not stepper.output().isfinite().any()


@pytest.mark.parametrize("ssm", ["s4", "s4d"])
@pytest.mark.parametrize("level", [0.0, 1.0])  # a constant moves slow modes by little for long
def test_compiled_steps_in_single_precision_keep_to_the_truth(ssm, level):
    options = {"d_model": 6, "n_layers": 2, "d_state": 8, "dt_min": 1e-4, "dt_max": 1e-3}
    model = make(head="mean", n_inputs=2, n_outputs=3, dtype=torch.float64, ssm=ssm, **options)
    u, single = level + noise(1, 20_000, 2), model.float()
    steppers = [ModelStepper(copy.deepcopy(single).double()), ModelStepper(single)]
    for piece in u.split(50, 1):
        for stepper, dtype in zip(steppers, (torch.float64, torch.float32), strict=True):
            stepper.push(piece.to(dtype))
    for exact, rounded in zip(*(stepper.state.layers for stepper in steppers), strict=True):
        # 3e-8 to 1.2e-7 measured: the state itself is rounded, and nothing adds up
        assert (rounded - exact).abs().max() < 4e-7 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("head", ["mean", "summary"])
@pytest.mark.parametrize("patch_size", [1, 3])
def test_restored_stepper_continues_with_the_same_bits(head, system, dtype, patch_size):
    options = {"d_model": 21, "n_layers": 2, "d_state": 6, "patch_size": patch_size}
    model = make(head=head, n_inputs=2, n_outputs=3, dtype=dtype, **system, **options)
    u, stepper = noise(2, 70, 2).to(dtype), ModelStepper(model, 2)
    for piece in u[:, :50].split(1, 1):
        stepper.push(piece)
    others = [copy.deepcopy(stepper), pickle.loads(pickle.dumps(stepper)), ModelStepper(model, 2)]
    others[2].state = stepper.state
    for piece in u[:, 50:].split(1, 1):
        for one in (stepper, *others):
            one.push(piece)
    for one in others:
        assert torch.equal(one.output(), stepper.output())
        for x, y in zip(one.state.layers, stepper.state.layers, strict=True):
            assert torch.equal(x, y)


def test_state_of_other_sizes_is_refused_and_changes_nothing():
    options = {"d_model": 5, "n_layers": 1, "d_state": 4, "n_outputs": 3, "head": "mean"}
    model = make(n_inputs=2, dtype=torch.float32, **options)
    u = noise(2, 9, 2).float()
    for stepper in (ModelStepper(model, 2), by_torch(model, 2)):
        stepper.push(u)
        for other in (ModelStepper(model, 3), by_torch(model, 1)):
            with pytest.raises(
                ValueError, match="The state must be of a stepper on the same model"
            ):
                stepper.state = other.state
        assert_equal(stepper.output(), model(u), torch.float32)
