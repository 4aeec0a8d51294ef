"""Prepared steps against one pass over the whole sequence."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import SYSTEMS
from sks4.nn import ModelStepper, S4Backbone, S4Model, S4Stepper
from summaries import summary_model

N_INPUTS = 2
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}
NORMS = ["layer", "batch", None]
POOLINGS = ["mean", "last", "max"]
HEADS = pytest.mark.parametrize("head", ["pooled", "summary", "recall"])


def noise(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make(**options):
    """Return a small model in float64, with running statistics that are not the initial ones."""
    torch.manual_seed(0)
    sizes = {"d_model": 4, "n_layers": 2, "d_state": 4}
    head = options.get("head")
    is_summary = head in ("summary", "recall")
    options |= {"head": "pooled"} if is_summary else {}
    model = S4Model(N_INPUTS, 3, **sizes | options).double().requires_grad_(False)
    if is_summary:
        recalled = [1, 4] if head == "recall" else None
        model = summary_model(model.backbone, n_outputs=3, recalled=recalled)
    if model.backbone.inputs == "values":
        model(noise(4, 40, N_INPUTS, seed=3))
    for parameter in model.parameters():
        if parameter.dim() == 1:  # no bias or norm is the identity
            parameter += 0.3 * noise(*parameter.shape)
    return model.eval()


def pushed(model, u, pieces, **options):
    stepper = ModelStepper(model, len(u), **options)
    for piece in u.split(pieces, 1):
        stepper.push(piece)
    return stepper


@pytest.mark.parametrize(("kind", "init"), SYSTEMS)
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_steps_of_a_backbone_equal_one_pass(kind, init, rate):
    backbone = make(ssm=kind, init=init).backbone
    u, stepper = noise(3, 30, N_INPUTS), S4Stepper(backbone, batch=3, rate=rate)
    steps = [stepper.step(u[:, t]).clone() for t in range(30)]
    torch.testing.assert_close(torch.stack(steps, 1), backbone(u, rate=rate)[0], **TOLERANCE)


def test_steps_of_symbols_equal_one_pass():
    backbone = make(inputs="symbols").backbone
    u, stepper = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 1]]), S4Stepper(backbone, batch=2)
    steps = [stepper.step(u[:, t]).clone() for t in range(4)]
    torch.testing.assert_close(torch.stack(steps, 1), backbone(u)[0], **TOLERANCE)


@settings(max_examples=25)
@given(
    pieces=st.lists(st.sampled_from([1, 2, 3, 7, 70, 150]), min_size=1, max_size=5),
    patch_size=st.sampled_from([1, 7]),
    pooling=st.sampled_from(POOLINGS),
    norm=st.sampled_from(NORMS),
    prenorm=st.booleans(),
    head=st.sampled_from(["pooled", "summary"]),
)
def test_pushes_of_any_size_equal_one_pass(pieces, patch_size, pooling, norm, prenorm, head):
    model = make(patch_size=patch_size, pooling=pooling, norm=norm, prenorm=prenorm, head=head)
    u, seen = noise(2, sum(pieces), N_INPUTS), 0
    stepper = ModelStepper(model, 2)
    for piece in u.split(pieces, 1):
        stepper.push(piece)
        seen += piece.shape[1]
        torch.testing.assert_close(stepper.output(), model(u[:, :seen]), **TOLERANCE)


@pytest.mark.parametrize("n_steps", [3, 90])  # stepped, and scanned
def test_steps_of_a_summary_carry_the_rate(n_steps):
    model, u = make(head="summary"), noise(2, n_steps, N_INPUTS)
    expected = model(u, rate=0.5)
    torch.testing.assert_close(pushed(model, u, 90, rate=0.5).output(), expected, **TOLERANCE)
    torch.testing.assert_close(model.advance(u, rate=0.5)[0], expected, **TOLERANCE)
    assert not torch.allclose(model(u), expected)


@pytest.mark.parametrize(("patch_size", "rate"), [(1, 1.0), (1, 0.5), (4, 1.0)])
@pytest.mark.parametrize("pieces", [[1] * 31, [20, 11], [90, 3]])
def test_steps_of_filters_alone_equal_one_pass(patch_size, rate, pieces):
    backbone = S4Backbone(N_INPUTS, d_model=1, n_layers=0, patch_size=patch_size).double()
    model = summary_model(backbone, n_outputs=3).eval()
    u = noise(2, sum(pieces), N_INPUTS)
    stepper = pushed(model, u, pieces, rate=rate)
    torch.testing.assert_close(stepper.output(), model(u, rate=rate), **TOLERANCE)
    assert stepper.state.layers[-1].shape == (2, 5, 4)


@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_long_stream_in_single_precision_keeps_to_the_truth(kind):
    model = make(ssm=kind, dt_min=1e-4, dt_max=1e-2)
    u = noise(1, 3000, N_INPUTS)
    stepper = pushed(copy.deepcopy(model).float(), u.float(), 1)
    # the steps are as small as they come: their rounding must not add up
    torch.testing.assert_close(stepper.output().double(), model(u), rtol=0, atol=3e-6)


@HEADS
@pytest.mark.parametrize(("patch_size", "n_steps"), [(1, 10), (1, 90), (4, 10), (4, 90)])
def test_stepper_goes_on_from_a_pickle_and_from_a_copy(patch_size, n_steps, head):
    model, u = make(patch_size=patch_size, head=head), noise(2, 20 + n_steps, N_INPUTS)
    stepper = pushed(model, u[:, :n_steps], 3)
    others = [copy.deepcopy(stepper), pickle.loads(pickle.dumps(stepper))]
    assert others[0].model is model
    stepper.push(1e3 * u)  # must not reach the others
    for other in others:
        other.push(u[:, n_steps:])
        torch.testing.assert_close(other.output(), model(u), **TOLERANCE)


@HEADS
def test_reset_stepper_begins_anew(head):
    model, u = make(patch_size=3, head=head), noise(2, 20, N_INPUTS)
    stepper = pushed(model, 5 * u, 4)
    stepper.reset()
    stepper.push(u)
    torch.testing.assert_close(stepper.output(), model(u), **TOLERANCE)


@HEADS
@pytest.mark.parametrize("patch_size", [1, 4])
def test_output_does_not_change_what_is_remembered(patch_size, head):
    model, u = make(patch_size=patch_size, head=head), noise(2, 31, N_INPUTS)
    watched, unwatched = (ModelStepper(model, 2) for _ in range(2))
    for piece in u.split(1, 1):
        for stepper in (watched, unwatched):
            stepper.push(piece)
        assert torch.equal(watched.output(), watched.output())
    assert torch.equal(watched.output(), unwatched.output())


def test_memory_of_a_stepper_does_not_grow():
    stepper, sizes = ModelStepper(make(patch_size=4)), set()
    for piece in noise(1, 400, N_INPUTS).split(40, 1):
        stepper.push(piece)
        sizes.add(len(pickle.dumps(stepper)))
    assert max(sizes) - min(sizes) < 50  # numbers of steps


def test_stepper_keeps_its_weights_while_the_backbone_is_trained_on():
    backbone, u = make(patch_size=2, norm="batch").backbone, noise(2, 4)
    stepper = S4Stepper(backbone, batch=2)
    before = stepper.step(u).clone()
    with torch.no_grad():
        for tensor in (*backbone.parameters(), *backbone.buffers()):
            tensor.mul_(0)
    stepper.reset()
    assert torch.equal(stepper.step(u), before)


def test_stepper_of_a_training_backbone_uses_running_statistics_and_no_dropout():
    model, u = make(norm="batch", dropout=0.5), noise(2, 9, N_INPUTS)
    expected = model.backbone(u)[0]
    stepper = S4Stepper(model.train().backbone, batch=2)
    steps = [stepper.step(u[:, t]).clone() for t in range(9)]
    torch.testing.assert_close(torch.stack(steps, 1), expected, **TOLERANCE)


def test_state_of_a_stepper_is_that_of_the_backbone():
    backbone, u = make().backbone, noise(2, 12, N_INPUTS)
    _, state = backbone.advance(u)
    stepper = S4Stepper(backbone, batch=2)
    for t in range(12):
        stepper.step(u[:, t])
    torch.testing.assert_close(stepper.state, state.layers, **TOLERANCE)
    stepper.reset()
    stepper.state = state.layers
    torch.testing.assert_close(stepper.state, state.layers, rtol=0, atol=0)


def test_stepper_refuses_what_it_cannot_step():
    with pytest.raises(ValueError, match="A bidirectional layer has no state"):
        S4Stepper(S4Backbone(1, 4, 1, d_state=4, bidirectional=True))
    with pytest.raises(TypeError, match="a pooled head, got a step head"):
        ModelStepper(make(head="step"))
    with pytest.raises(ValueError, match="rate must be finite and above zero, got 0"):
        S4Stepper(make().backbone, rate=0)
    with pytest.raises(ValueError, match="rate must be 1 with patch_size > 1"):
        S4Stepper(make(patch_size=2).backbone, rate=0.5)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        S4Stepper(make().backbone, batch=0)


@pytest.mark.gpu
def test_stepper_on_a_gpu_equals_the_cpu():
    model, u = make(patch_size=3), noise(2, 300, N_INPUTS)
    stepper = pushed(copy.deepcopy(model).cuda(), u.cuda(), [1, 250, 49])
    torch.testing.assert_close(stepper.output().cpu(), model(u), **TOLERANCE)
