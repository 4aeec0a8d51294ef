"""Initial weights: from the given generator, the same in every dtype, distributed as in torch."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sks4.nn import (
    FilterBank,
    PooledHead,
    S4Backbone,
    S4Block,
    S4ForecastModel,
    S4Layer,
    S4Model,
    StepHead,
)
from sks4.nn._forecast import CovariateEffect
from sks4.nn._initial import embedding, linear, normal, uniform, zero_linear

SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4}
MODULES = {
    "layer": lambda **draw: S4Layer(3, 4, **draw),
    "bidirectional": lambda **draw: S4Layer(3, 4, ssm="s4d", bidirectional=True, **draw),
    "block": lambda **draw: S4Block(3, d_state=4, **draw),
    "block of batch norm": lambda **draw: S4Block(3, d_state=4, norm="batch", **draw),
    "backbone": lambda **draw: S4Backbone(2, **SMALL, patch_size=3, **draw),
    "symbols": lambda **draw: S4Backbone(5, **SMALL, inputs="symbols", **draw),
    "bank": lambda **draw: FilterBank(2, 6, 4, **draw),
    "pooled": lambda **draw: PooledHead(3, 2, **draw),
    "step": lambda **draw: StepHead(3, 2, **draw),
    "model": lambda **draw: S4Model(2, 3, **SMALL, **draw),
    "model by step": lambda **draw: S4Model(2, 3, head="step", **SMALL, **draw),
    "forecast": lambda **draw: S4ForecastModel(1, 12, 3, n_covariates=2, **SMALL, **draw),
    "covariates": lambda **draw: CovariateEffect(2, 3, **draw),
}


@pytest.fixture(params=MODULES, ids=list(MODULES))
def make_module(request):
    def make(seed=0, **draw):
        return MODULES[request.param](generator=torch.Generator().manual_seed(seed), **draw)

    return make


@pytest.fixture
def default_dtype():
    """Let a test change the default dtype."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


def assert_same_state(module, other):
    state, others = module.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    for name, value in state.items():
        assert value.dtype == others[name].dtype, name
        assert torch.equal(value, others[name]), name


def test_weights_repeat_with_the_generator_and_leave_the_global_one(make_module):
    before = torch.get_rng_state()
    module = make_module()
    assert_same_state(module, make_module())
    assert torch.equal(torch.get_rng_state(), before)
    other = make_module(1)
    drawn = [
        name
        for name, value in module.state_dict().items()
        if not torch.equal(value, other.state_dict()[name])
    ]
    assert drawn


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_the_same_whatever_the_default_dtype(make_module, default_dtype, dtype):
    expected = make_module(dtype=dtype)
    default_dtype(torch.float64 if dtype == torch.float32 else torch.float32)
    module = make_module(dtype=dtype)
    assert_same_state(module, expected)
    assert {value.dtype for value in module.state_dict().values() if value.is_floating_point()} == {
        dtype
    }


def test_weights_of_single_precision_are_those_of_double_rounded(make_module):
    single, double = make_module(dtype=torch.float32), make_module(dtype=torch.float64)
    for name, value in single.state_dict().items():
        # the feedthrough of a filter bank is computed from the rounded parameters
        torch.testing.assert_close(
            value.double(), double.state_dict()[name].double(), rtol=1e-4, atol=1e-5
        )


def test_default_dtype_holds_without_another(make_module, default_dtype):
    default_dtype(torch.float64)
    assert {p.dtype for p in make_module().parameters()} == {torch.float64}


def test_weights_are_the_same_in_threads():
    def build(seed):
        return S4Model(2, 3, **SMALL, generator=torch.Generator().manual_seed(seed))

    expected = [build(seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for model, other in zip(expected, pool.map(build, range(24)), strict=True):
            assert_same_state(model, other)


def test_without_a_generator_the_global_one_is_used():
    torch.manual_seed(3)
    first = S4Model(2, 3, **SMALL)
    second = S4Model(2, 3, **SMALL)
    torch.manual_seed(3)
    assert_same_state(S4Model(2, 3, **SMALL), first)
    assert not torch.equal(second.head.linear.weight, first.head.linear.weight)


# ---------------------------------------------------------------- distributions


@pytest.mark.parametrize("bias", [True, False])
def test_linear_has_the_distribution_of_torch(bias):
    module = linear(
        64, 500, bias=bias, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    expected = nn.Linear(64, 500, bias)
    assert (module.in_features, module.out_features) == (64, 500)
    for name, value in expected.named_parameters():
        drawn = module.get_parameter(name).detach()
        assert drawn.shape == value.shape
        assert module.get_parameter(name).requires_grad
        # uniform in (-1/8, 1/8); 500 values at least, so 5 standard errors are below 0.04 and 8%
        assert drawn.abs().max() <= 1 / 8
        assert value.abs().max() <= 1 / 8
        assert abs(drawn.mean()) < 0.04
        assert float(drawn.std()) == pytest.approx(1 / 8 / math.sqrt(3), rel=0.08)
    assert (module.bias is None) is not bias


def test_embedding_has_the_distribution_of_torch():
    module = embedding(100, 50, generator=torch.Generator().manual_seed(0), dtype=None)
    assert (module.num_embeddings, module.embedding_dim) == (100, 50)
    assert module.weight.requires_grad
    weight = module.weight.detach()
    assert float(weight.mean()) == pytest.approx(0.0, abs=0.07)
    assert float(weight.std()) == pytest.approx(1.0, rel=0.05)


def test_zero_linear_gives_zero_and_trains():
    module = zero_linear(3, 2, dtype=torch.float64)
    assert not module(torch.ones(4, 3, dtype=torch.float64)).any()
    assert all(p.requires_grad and p.dtype == torch.float64 for p in module.parameters())
    assert zero_linear(3, 2, bias=False, dtype=None).bias is None


def test_draws_have_shape_range_and_scale():
    generator = torch.Generator().manual_seed(0)
    drawn = uniform((50, 40), -1.0, 3.0, generator=generator, dtype=torch.float64)
    assert drawn.shape == (50, 40)
    assert -1 <= drawn.min() < -0.95
    assert 2.95 < drawn.max() < 3
    drawn = normal((50, 40), std=2.0, generator=generator, dtype=torch.float32)
    assert drawn.dtype == torch.float32
    assert float(drawn.std()) == pytest.approx(2.0, rel=0.1)
