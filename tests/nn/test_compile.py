"""Compiled modules against eager ones."""

import copy

import pytest
import torch

from sks4.nn import S4ForecastModel, S4Layer, S4Model
from sks4.nn._random import RandomModule

# The compiler warns of its own code.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _forget_compiled_code():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def outputs_and_gradients(module, copied, *inputs, **options):
    """Return what `module`, with the parameters of `copied`, gives forward and backward."""
    result = module(*inputs, **options)
    y = result[0] if isinstance(result, tuple) else result
    y.square().sum().backward()
    return y.detach(), {name: p.grad for name, p in copied.named_parameters()}


def check_compiled(module, *inputs, **options):
    other = copy.deepcopy(module)
    expected = outputs_and_gradients(module, module, *inputs, **options)
    compiled = outputs_and_gradients(torch.compile(other), other, *inputs, **options)
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-5)


def test_compiled_layer_equals_the_eager_one():
    torch.manual_seed(0)
    check_compiled(S4Layer(2, 4, algorithm="scan"), torch.randn(2, 40, 2), return_state=False)


def test_compiled_model_equals_the_eager_one():
    torch.manual_seed(0)
    model = S4Model(2, 3, d_model=4, n_layers=1, d_state=4, dropout=0.0)
    check_compiled(model, torch.randn(2, 20, 2), torch.tensor([20, 7]))


def lend(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, RandomModule):
            module.generator = generator


def forecast_model():
    model = S4ForecastModel(2, 8, 3, d_model=4, n_layers=1, d_state=4, patch_size=4)
    with torch.no_grad():
        model.head.weight.normal_(0, 0.3)  # it is zero at first
    return model


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: S4Model(2, 3, d_model=4, n_layers=1, d_state=4, dropout=0.5), (4, 20, 2)),
        (forecast_model, (4, 8, 2)),
    ],
    ids=["model", "forecast"],
)
def test_compiled_model_draws_the_random_numbers_of_the_eager_one(make, shape):
    torch.manual_seed(0)
    model, u = make(), torch.randn(*shape)
    other = copy.deepcopy(model)
    # the generation of code, which takes most of the time, has no part in this
    compiled = torch.compile(other, backend="aot_eager")
    outputs = []
    for seed in (3, 4, 3):
        lend(model, seed)
        lend(other, seed)
        model.zero_grad()
        other.zero_grad()
        expected = outputs_and_gradients(model, model, u)
        found = outputs_and_gradients(compiled, other, u)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        outputs.append(found[0])
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], outputs[1])
