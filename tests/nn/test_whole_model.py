"""The whole model: lengths, padding, pieces, norms, heads and parameter groups."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sks4 import nn

SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4}
POOLINGS = ("mean", "last", "max")
NORMS = ("layer", "batch", None)
# float64, different order of summation
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def make_model(**options):
    torch.manual_seed(0)
    return nn.S4Model(2, 3, **SMALL | options).double().eval()


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("patch_size", [1, 5])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_model_ignores_padding_and_company(pooling, norm, patch_size, bidirectional):
    model = make_model(
        pooling=pooling, norm=norm, patch_size=patch_size, bidirectional=bidirectional
    )
    lengths = torch.tensor([40, 1, 23])
    u = draw(3, 40, 2)
    padded = torch.where(torch.arange(40)[:, None] < lengths[:, None, None], u, 1e6)
    with torch.no_grad():
        together = model(padded, lengths)
        alone = [model(u[i : i + 1, :length]) for i, length in enumerate(lengths.tolist())]
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("patch_size", [1, 3])
@given(pieces=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_model_in_pieces_gives_the_output_of_one_pass(pooling, patch_size, pieces):
    model = make_model(pooling=pooling, patch_size=patch_size)
    u, state, seen = draw(2, sum(pieces), 2), None, 0
    with torch.no_grad():
        for piece in pieces:
            output, state = model.advance(u[:, seen : seen + piece], state)
            seen += piece
            torch.testing.assert_close(output, model(u[:, :seen]), **CLOSE)


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_model_in_pieces_gives_the_output_of_one_pass_at_another_rate(rate):
    model, u = make_model(), draw(1, 20, 2)
    with torch.no_grad():
        _, state = model.advance(u[:, :7], rate=rate)
        output, _ = model.advance(u[:, 7:], state, rate=rate)
        torch.testing.assert_close(output, model(u, rate=rate), **CLOSE)
        assert not torch.allclose(output, model(u))


def test_step_head_in_pieces_gives_the_output_of_one_pass():
    model, u = make_model(head="step", patch_size=2), draw(2, 10, 2)
    with torch.no_grad():
        first, state = model.advance(u[:, :3])
        second, _ = model.advance(u[:, 3:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), model(u), **CLOSE)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (5, 3)),
        ({"head": "horizon", "horizon": 7}, (5, 7, 3)),
        ({"head": "step"}, (5, 11, 3)),
        ({"head": "step", "patch_size": 4}, (5, 3, 3)),
    ],
)
def test_model_output_has_the_shape_of_its_head(options, shape):
    assert make_model(**options)(draw(5, 11, 2)).shape == shape


def test_batch_norm_takes_its_statistics_from_real_steps():
    block = nn.S4Block(4, d_state=4, norm="batch").double().train()
    lengths, u = torch.tensor([6, 2]), draw(2, 6, 4)
    real = torch.cat([u[0], u[1, :2]])
    normalized = block.norm(u, lengths)
    expected = (real - real.mean(0)) / torch.sqrt(real.var(0, unbiased=False) + block.norm.eps)
    torch.testing.assert_close(torch.cat([normalized[0], normalized[1, :2]]), expected)
    torch.testing.assert_close(block.norm.running_mean, 0.1 * real.mean(0))


def test_dropout_drops_a_feature_for_all_of_a_sequence():
    dropout = nn.S4Block(64, d_state=4, dropout=0.5).dropout.train()
    dropped = dropout(torch.ones(3, 10, 64)) == 0
    assert torch.equal(dropped.all(1), dropped.any(1))
    assert 0.2 < dropped.float().mean() < 0.8
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(dropout.eval()(torch.ones(1, 2, 64)), torch.ones(1, 2, 64))


@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_parameter_groups_hold_every_parameter_once(kind):
    model = make_model(ssm=kind, init="legs")
    groups = model.parameter_groups(lr=0.1, ssm_lr=0.01, weight_decay=0.5)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(set(grouped)) == len(grouped)
    assert set(grouped) == {id(p) for p in model.parameters() if p.numel()}
    settings = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    layer = model.backbone.blocks[0].layer
    for p in (layer.log_dt, layer.log_decay, layer.frequency, layer.B):
        assert settings[id(p)] == (0.01, 0.0)
    assert settings[id(layer.D)] == settings[id(model.head.linear.bias)] == (0.1, 0.0)
    assert settings[id(layer.C)] == settings[id(model.head.linear.weight)] == (0.1, 0.5)


def test_inference_changes_nothing_in_the_model():
    model = make_model(norm="batch")
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model(draw(2, 30, 2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_streaming_refuses_a_bidirectional_model():
    with pytest.raises(ValueError, match="bidirectional layer has no state"):
        make_model(bidirectional=True).advance(draw(1, 3, 2))


def test_another_rate_is_refused_with_patches():
    with pytest.raises(ValueError, match="rate must be 1 with patch_size > 1"):
        make_model(patch_size=2)(draw(1, 4, 2), rate=2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "pool"}, "head must be one of .* Did you mean 'pooled'"),
        ({"pooling": "mena"}, "pooling must be one of .* Did you mean 'mean'"),
        ({"norm": "batches"}, "norm must be one of .* Did you mean 'batch'"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"n_layers": 0}, "n_layers must be at least 1, got 0"),
    ],
)
def test_model_refuses_invalid_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        make_model(**options)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3), (2, 0, 2)])
def test_model_refuses_input_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"u must have shape \(batch, length, 2\)"):
        make_model()(draw(*shape))
