"""Random numbers in training: dropout, and the generator that is lent to modules."""

import copy
import pickle

import pytest
import torch

from sks4.nn import S4ForecastModel, S4Model
from sks4.nn._random import FeatureDropout, RandomModule

SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4}
MODELS = {
    "model": lambda: S4Model(2, 3, dropout=0.4, **SMALL, generator=seeded(0)),
    "forecast": lambda: without_zeros(
        S4ForecastModel(2, 12, 3, dropout=0.4, patch_size=4, **SMALL, generator=seeded(0))
    ),
}
INPUTS = {"model": (5, 9, 2), "forecast": (6, 12, 2)}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def without_zeros(model):
    """Return the model with heads that are not zero, as they are at first."""
    with torch.no_grad():
        for linear in (model.head, model.linear):
            linear.weight.normal_(0, 0.3, generator=seeded(5))
    return model


def noise(*shape):
    return torch.randn(*shape, generator=seeded(1), dtype=torch.float64)


def lend(model, generator):
    for module in model.modules():
        if isinstance(module, RandomModule):
            module.generator = generator
    return model


@pytest.fixture(params=MODELS)
def model_and_input(request):
    return MODELS[request.param]().train(), noise(*INPUTS[request.param]).float()


def test_models_draw_from_the_generator_that_they_are_lent(model_and_input):
    model, u = model_and_input
    before = torch.get_rng_state()
    first, same, other = (lend(model, seeded(seed))(u).detach() for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_models_draw_the_same_in_both_precisions(model_and_input):
    model, u = model_and_input
    single = lend(model, seeded(3))(u).detach()
    double = lend(copy.deepcopy(model).double(), seeded(3))(u.double()).detach()
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


def test_models_draw_from_the_global_generator_without_another(model_and_input):
    model, u = model_and_input
    torch.manual_seed(3)
    first, other = model(u).detach(), model(u).detach()
    torch.manual_seed(3)
    assert torch.equal(model(u).detach(), first)
    assert not torch.equal(other, first)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_model_have_no_generator(model_and_input, make_copy):
    model = lend(model_and_input[0], seeded(3))
    modules = [module for module in make_copy(model).modules() if isinstance(module, RandomModule)]
    assert modules
    assert all(module.generator is None for module in modules)
    assert any(module.generator is not None for module in model.modules() if hasattr(module, "p"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_models_draw_the_same_on_a_gpu(model_and_input):
    model, u = model_and_input
    on_cpu = lend(model, seeded(3))(u).detach()
    on_gpu = lend(copy.deepcopy(model).cuda(), seeded(3))(u.cuda()).detach()
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_feature_dropout_drops_whole_features_and_keeps_the_mean(dtype):
    dropout = lend(FeatureDropout(0.25), seeded(0))
    y = dropout(torch.ones(100, 7, 50, dtype=dtype))
    assert y.dtype == dtype
    assert torch.equal(y, y[:, :1].expand_as(y))  # the same at every step
    assert not torch.equal(y[0], y[1])
    kept = y[:, 0] != 0
    assert torch.equal(y[:, 0][kept], torch.full_like(y[:, 0][kept], 1 / 0.75))
    assert kept.double().mean() == pytest.approx(0.75, abs=0.025)  # four standard errors


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_feature_dropout_is_the_identity_when_off(p, training):
    x = noise(2, 5, 3)
    assert FeatureDropout(p).train(training)(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_feature_dropout_refuses_a_probability_outside_of_its_range(p):
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1, got"):
        FeatureDropout(p)
