"""Sequences drawn by compiled code against the same draws by operations of torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sks4 import _native
from sks4.nn import CompiledDraws, S4Model, S4Stepper, can_draw
from sks4.training import CategoricalLikelihood, GaussianLikelihood, LogisticMixtureLikelihood

pytestmark = pytest.mark.skipif(not _native.is_available(), reason="no compiled code")

LIKELIHOODS = {
    "categorical": CategoricalLikelihood(),
    "gaussian": GaussianLikelihood(),
    "mixture": LogisticMixtureLikelihood(3),
}
SYSTEMS = [
    {"ssm": "s4", "init": "legs"},
    {"ssm": "s4", "init": "fout"},
    {"ssm": "s4d", "init": "lin"},
]


def make(kind, size, *, dtype=torch.float64, n_more=1, **options):
    """Return a model of the next symbol or values, whose outputs differ a lot."""
    torch.manual_seed(0)
    n_outputs = LIKELIHOODS[kind].n_outputs(size)
    inputs = "symbols" if kind == "categorical" else "values"
    model = S4Model(size + n_more, n_outputs, head="step", inputs=inputs, **options)
    model = model.requires_grad_(False).eval()
    model.head.linear.weight.mul_(8)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.to(dtype)


def beginning(model, batch, length=5):
    """Return states and outputs after some inputs."""
    torch.manual_seed(1)
    u = torch.randint(model.backbone.n_inputs, (batch, length))
    if model.backbone.inputs == "values":
        dtype = model.backbone.projection.weight.dtype
        u = torch.randn(batch, length, model.backbone.n_inputs, dtype=dtype)
    features, state = model.backbone.advance(u)
    return state.layers, model.head.linear(features[:, -1])


@torch.inference_mode()
def drawn_by_torch(model, likelihood, states, output, noise, **options):
    stepper, drawn = S4Stepper(model.backbone, len(output)), []
    stepper.state = states
    for numbers in zip(*noise, strict=True):
        if drawn:
            u = drawn[-1]
            if model.backbone.inputs == "values":
                u = torch.nn.functional.pad(u, (0, model.backbone.n_inputs - u.shape[1]))
            output = model.head.linear(stepper.step(u))
        drawn.append(likelihood.draw(output, *numbers, **options))
    return torch.stack(drawn)


def both(model, kind, batch, n=20, seed=0, pieces=None, **options):
    """Return the same draws by compiled code and by torch."""
    likelihood, (states, output) = LIKELIHOODS[kind], beginning(model, batch)
    noise = likelihood.noise(n, output, torch.Generator().manual_seed(seed))
    starts = likelihood.starts(output) if kind == "mixture" else None
    assert can_draw(model)
    before = _native.N_CALLS["draw"]
    draws = CompiledDraws(model, kind, states, output, starts=starts, **options)
    parts = zip(*(x.split(pieces or n) for x in noise), strict=True)
    compiled = torch.cat([draws.draw(part) for part in parts])
    assert _native.N_CALLS["draw"] > before
    return compiled, drawn_by_torch(model, likelihood, states, output, noise, **options)


SHAPES = {
    "batch": st.sampled_from([1, 2, 5, 9]),
    "size": st.integers(1, 12),
    "n_more": st.integers(0, 2),
    "d_model": st.integers(1, 30) | st.sampled_from([64, 127, 257]),
    "d_state": st.integers(1, 10).map(lambda n: 2 * n) | st.sampled_from([64, 256]),
    "n_layers": st.integers(1, 3),
    "system": st.sampled_from(SYSTEMS),
    "norm": st.sampled_from(["layer", "batch", None]),
    "prenorm": st.booleans(),
    "temperature": st.sampled_from([1.0, 0.5, 2.0]),
    "dtype": st.sampled_from([torch.float32, torch.float64]),
}


@settings(max_examples=30)
@given(kind=st.sampled_from(["gaussian", "mixture"]), **SHAPES)
def test_both_paths_draw_the_same_values(kind, batch, size, temperature, system, dtype, **options):
    model = make(kind, size, dtype=dtype, **system, **options)
    compiled, plain = both(model, kind, batch, n=8, temperature=temperature)
    # what is drawn is fed back, so rounding grows from draw to draw
    scale = float(plain.abs().max()) + 1
    atol = scale * (2e-3 if dtype == torch.float32 else 1e-9)
    torch.testing.assert_close(compiled, plain, rtol=0, atol=atol)


@settings(max_examples=30)
@given(top_k=st.sampled_from([None, 1, 2, 5, 50]), **SHAPES)
def test_both_paths_draw_the_same_symbols(top_k, batch, size, temperature, system, **options):
    model = make("categorical", size, **system, **options)
    options = {"temperature": temperature, "top_k": top_k}
    compiled, plain = both(model, "categorical", batch, **options)
    assert torch.equal(compiled, plain)


@pytest.mark.parametrize("instructions", _native.instruction_sets())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("top_k", [None, 37])
def test_all_instruction_sets_draw_the_same_symbols(instructions, dtype, top_k, request):
    used = _native.used_instruction_set()
    request.addfinalizer(lambda: _native.use_instruction_set(used))
    _native.use_instruction_set(instructions)
    model = make("categorical", 256, dtype=dtype, d_model=21, n_layers=2, d_state=6)
    compiled, plain = both(model, "categorical", 3, n=100, temperature=1.0, top_k=top_k)
    assert torch.equal(compiled, plain)
    assert len(compiled.unique()) > 20


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_draws_in_pieces_are_those_at_once(kind):
    model = make(kind, 4, d_model=5, n_layers=1, d_state=4)
    at_once, _ = both(model, kind, 2, temperature=1.0)
    in_pieces, _ = both(model, kind, 2, pieces=7, temperature=1.0)
    assert torch.equal(at_once, in_pieces)


def test_draws_keep_to_the_most_probable_symbols_also_at_ties():
    model = make("categorical", 6, d_model=5, n_layers=1, d_state=4)
    states, _ = beginning(model, 1)
    output = torch.tensor([[1.0, 3.0, 3.0, 3.0, 0.0, 3.0]], dtype=torch.float64)
    noise = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    drawn = set()
    for uniform in noise:
        draws = CompiledDraws(model, "categorical", states, output, temperature=1.0, top_k=2)
        drawn.add(int(draws.draw([uniform.reshape(1, 1)])))
    assert len(drawn) == 2
    assert drawn < {1, 2, 3, 5}


def test_what_compiled_code_cannot_draw_is_known():
    options = {"d_model": 5, "n_layers": 1, "d_state": 4}
    model = make("categorical", 4, **options)
    assert can_draw(model)
    assert not can_draw(model.bfloat16())
    assert not can_draw(S4Model(4, 4, **options))
