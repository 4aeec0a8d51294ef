"""Compiled modules against eager ones."""

import copy

import pytest
import torch

from sks4.nn import S4Layer, S4Model

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
