"""Backbone and model: independence of the batch, streaming, parameter groups."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sks4.nn import S4Backbone, S4ForecastModel, S4Layer, S4Model
from summaries import summary_model

N_INPUTS, N_OUTPUTS = 2, 3
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}
NORMS = ["layer", "batch", None]
POOLINGS = ["mean", "last", "max"]
PATCHES = [1, 7]


def noise(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make(*, train=False, **options):
    """Return a small model in float64, with running statistics that are not the initial ones."""
    torch.manual_seed(0)
    sizes = {"d_model": 4, "n_layers": 2, "d_state": 4}
    is_summary = options.get("head") == "summary"
    options |= {"head": "pooled"} if is_summary else {}
    model = S4Model(N_INPUTS, N_OUTPUTS, **sizes | options).double().requires_grad_(False)
    model = summary_model(model.backbone, N_OUTPUTS) if is_summary else model
    with torch.no_grad():
        if model.backbone.inputs == "values":
            model(noise(4, 40, N_INPUTS, seed=3))
    return model.train(train)


def steps_of(model, lengths):
    return -(-lengths // model.backbone.patch_size)


@pytest.mark.parametrize("garbage", [1e6, float("nan")])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("patch_size", PATCHES)
@pytest.mark.parametrize(
    ("head", "pooling", "norm"),
    [
        *itertools.product(["pooled"], POOLINGS, NORMS),
        ("step", "mean", "layer"),
        ("summary", "mean", "layer"),
    ],
)
def test_prediction_depends_on_neither_the_batch_nor_the_padding(
    head, pooling, norm, patch_size, bidirectional, garbage
):
    options = {"head": head, "pooling": pooling, "norm": norm, "bidirectional": bidirectional}
    model = make(patch_size=patch_size, **options)
    lengths = torch.tensor([60, 7, 1, 36, 59])
    u = noise(5, 60, N_INPUTS)
    for row, length in zip(u, lengths, strict=True):
        row[length:] = garbage
    y = model(u, lengths)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = model(u[order], lengths[order])
    for i, length in enumerate(lengths):
        n_steps = steps_of(model, length) if head == "step" else None
        alone = model(u[i : i + 1, :length])[0]
        torch.testing.assert_close(y[i][:n_steps], alone, **TOLERANCE)
        position = order.tolist().index(i)
        torch.testing.assert_close(shuffled[position][:n_steps], alone, **TOLERANCE)


@pytest.mark.parametrize("norm", NORMS)
def test_training_loss_does_not_depend_on_the_padding(norm):
    lengths = torch.tensor([30, 12, 5])
    u = noise(3, 30, N_INPUTS)
    u = torch.where(torch.arange(30)[:, None] < lengths[:, None, None], u, 0.0)
    longer = torch.cat([u, noise(3, 20, N_INPUTS)], 1)
    results = []
    for batch in (u, longer):
        model = make(norm=norm, dropout=0.0, train=True).requires_grad_()
        loss = model(batch, lengths).square().sum()
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.numel()]
        statistics = [b for b in model.buffers() if b.is_floating_point()]
        results.append([loss.detach(), *gradients, *statistics])
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-9)


@given(
    pieces=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    patch_size=st.sampled_from(PATCHES),
    pooling=st.sampled_from(POOLINGS),
    norm=st.sampled_from(NORMS),
    head=st.sampled_from(["pooled", "summary"]),
    kind=st.sampled_from(["s4", "s4d"]),
)
def test_advance_by_pieces_of_any_size_equals_one_pass(
    pieces, patch_size, pooling, norm, head, kind
):
    model = make(patch_size=patch_size, pooling=pooling, norm=norm, head=head, ssm=kind)
    u, state, seen = noise(2, sum(pieces), N_INPUTS), None, 0
    for piece in u.split(pieces, 1):
        y, state = model.advance(piece, state)
        seen += piece.shape[1]
        torch.testing.assert_close(y, model(u[:, :seen]), **TOLERANCE)


@given(
    pieces=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    patch_size=st.sampled_from(PATCHES),
    norm=st.sampled_from(NORMS),
)
def test_advance_of_a_step_head_gives_the_whole_patches_of_one_pass(pieces, patch_size, norm):
    model = make(patch_size=patch_size, norm=norm, head="step")
    u, state, outputs = noise(2, sum(pieces), N_INPUTS), None, []
    for piece in u.split(pieces, 1):
        y, state = model.advance(piece, state)
        outputs.append(y)
    whole = u.shape[1] // patch_size
    torch.testing.assert_close(torch.cat(outputs, 1), model(u)[:, :whole], **TOLERANCE)


def test_advance_leaves_the_state_that_it_was_given_as_it_was():
    model, u = make(patch_size=3), noise(2, 20, N_INPUTS)
    _, state = model.advance(u[:, :10])
    before = copy.deepcopy(state)
    first, _ = model.advance(u[:, 10:], state)
    second, _ = model.advance(u[:, 10:], state)
    assert torch.equal(first, second)
    torch.testing.assert_close(state, before, rtol=0, atol=0)


def test_advance_carries_the_rate():
    model, u = make(), noise(2, 30, N_INPUTS)
    _, state = model.advance(u[:, :11], rate=0.5)
    y, _ = model.advance(u[:, 11:], state, rate=0.5)
    torch.testing.assert_close(y, model(u, rate=0.5), **TOLERANCE)
    assert not torch.allclose(y, model(u))


def test_state_of_a_stream_does_not_grow():
    model, state = make(patch_size=4), None
    sizes = set()
    for piece in noise(1, 400, N_INPUTS).split(40, 1):
        _, state = model.advance(piece, state)
        tensors = [*state.backbone.layers, state.backbone.pending, state.pooled.value]
        sizes.add(sum(x.numel() for x in tensors))
    assert len(sizes) == 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", ["layer", None])
def test_model_changes_none_of_its_parameters(norm, training):
    model = make(norm=norm, train=training)
    before = copy.deepcopy(model.state_dict())
    model(noise(2, 30, N_INPUTS), torch.tensor([30, 4]))
    model.advance(noise(2, 30, N_INPUTS))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("prenorm", [False, True])
def test_backbone_is_its_projection_and_blocks_with_a_norm_at_the_end(prenorm):
    backbone, x = make(prenorm=prenorm).backbone, noise(2, 30, N_INPUTS)
    got, _ = backbone(x)
    x = backbone.projection(x)
    for block in backbone.blocks:
        x, _ = block(x)
    # without prenorm, the last block has ended with its own
    expected = torch.nn.functional.layer_norm(x, (4,)) if prenorm else x
    torch.testing.assert_close(got, expected, **TOLERANCE)


def test_patch_is_a_linear_map_of_its_samples():
    backbone = S4Backbone(N_INPUTS, 4, 1, patch_size=3, norm=None, d_state=4).double()
    u = noise(2, 8, N_INPUTS)
    padded = torch.cat([u, torch.zeros(2, 1, N_INPUTS)], 1)
    patches = torch.stack([padded[:, i : i + 3].flatten(1) for i in (0, 3, 6)], 1)
    expected, _ = backbone.blocks[0](backbone.projection(patches))
    got, lengths = backbone(u, torch.tensor([8, 3]))
    torch.testing.assert_close(got[:1], expected[:1], **TOLERANCE)
    assert lengths.tolist() == [3, 1]


def test_symbols_are_rows_of_the_projection():
    backbone = make(inputs="symbols").backbone
    u = torch.tensor([[0, 1, 1], [1, 1, 0]])
    x = backbone.projection.weight[u]
    for block in backbone.blocks:
        x, _ = block(x)
    torch.testing.assert_close(backbone(u)[0], backbone.norm(x), **TOLERANCE)
    padded = torch.tensor([[0, 1, 1], [1, 0, 1]])
    got, _ = backbone(padded, torch.tensor([3, 2]))
    torch.testing.assert_close(got[1, :2], backbone(padded[1:, :2])[0][0], **TOLERANCE)
    first, state = backbone.advance(u[:, :1])
    second, _ = backbone.advance(u[:, 1:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), backbone(u)[0], **TOLERANCE)


def test_symbols_of_the_wrong_shape_or_type_are_refused():
    model = make(inputs="symbols")
    for u in (torch.zeros(2, 3), torch.zeros(2, 3, 1, dtype=torch.int64), torch.zeros(2, 0).long()):
        with pytest.raises(ValueError, match=r"numbers of symbols, integers of shape \(batch, len"):
            model(u)


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_parameter_groups_hold_each_parameter_once(kind, norm, prenorm):
    model = make(ssm=kind, norm=norm, prenorm=prenorm).requires_grad_()
    groups = model.parameter_groups(lr=0.01, ssm_lr=0.001, weight_decay=0.05)
    names = {id(p): name for name, p in model.named_parameters()}
    found = [names[id(p)] for group in groups for p in group["params"]]
    assert len(found) == len(set(found))
    assert set(found) == {n for n, p in model.named_parameters() if p.numel()}
    settings = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    for name, setting in settings.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("log_dt", "log_decay", "frequency", "P", "B"):
            assert setting == (0.001, 0.0), name
        elif last in ("bias", "D") or ".norm." in name or name.startswith("backbone.norm"):
            assert setting == (0.01, 0.0), name
        else:
            assert last in ("weight", "C")
            assert setting == (0.01, 0.05), name
    torch.optim.AdamW(groups)


@pytest.mark.parametrize(
    ("head", "shape"), [("pooled", (4, 3)), ("summary", (4, 3)), ("step", (4, 6, 3))]
)
def test_model_output_has_the_shape_of_its_head(head, shape):
    model = make(head=head, patch_size=7)
    u = noise(4, 40, N_INPUTS)
    assert model(u).shape == shape
    padded = torch.cat([u, u.new_zeros(4, 2, N_INPUTS)], 1)  # to six whole patches
    torch.testing.assert_close(model(u), model(padded), rtol=1e-9, atol=1e-9)


def test_layer_options_reach_every_layer():
    options = {"ssm": "s4d", "init": "inv", "bidirectional": True, "algorithm": "convolution"}
    layers = [m for m in make(**options).modules() if isinstance(m, S4Layer)]
    assert len(layers) == 2
    assert all(getattr(layer, name) == value for layer in layers for name, value in options.items())


# -- what a caller may get wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "pool"}, r"head must be one of .* Did you mean 'pooled'\?"),
        ({"pooling": "sum"}, "pooling must be one of"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"n_layers": 0}, "n_layers must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"norm": "group"}, "norm must be one of"),
        ({"d_state": 5}, "d_state must be even"),
        ({"d_model": 0}, "d_model must be at least 1, got 0"),
        ({"inputs": "symbol"}, r"inputs must be one of .* Did you mean 'symbols'\?"),
        ({"inputs": "symbols", "patch_size": 2}, "patch_size must be 1 for symbols, got 2"),
    ],
)
def test_model_refuses_options_that_are_not_valid(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("shape", [(2, 9), (2, 9, N_INPUTS + 1), (2, 0, N_INPUTS)])
def test_model_refuses_input_of_the_wrong_shape(shape):
    model = make()
    for call in (model, model.advance):
        with pytest.raises(
            ValueError, match=r"u must have shape \(batch, length, 2\) and at least"
        ):
            call(torch.zeros(shape))


def test_model_refuses_lengths_that_do_not_fit():
    with pytest.raises(
        ValueError, match="lengths must be between 1 and 9, got values from 3 to 10"
    ):
        make()(noise(2, 9, N_INPUTS), torch.tensor([3, 10]))


def test_model_refuses_another_rate_with_patches():
    model, u = make(patch_size=7), noise(2, 9, N_INPUTS)
    for call in (model, model.advance):
        with pytest.raises(ValueError, match=r"rate must be 1 with patch_size > 1, got rate=0\.5"):
            call(u, rate=0.5)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("patch_size", PATCHES)
def test_model_refuses_a_rate_that_is_not_positive_and_finite(patch_size, rate):
    with pytest.raises(ValueError, match="rate must be"):
        make(patch_size=patch_size)(noise(2, 9, N_INPUTS), rate=rate)


def test_bidirectional_model_refuses_to_advance():
    model = make(bidirectional=True)
    _, state = make().advance(noise(2, 9, N_INPUTS))
    for arguments in ((), (state,)):
        with pytest.raises(ValueError, match="A bidirectional layer has no state"):
            model.advance(noise(2, 9, N_INPUTS), *arguments)


@pytest.mark.gpu
def test_model_on_a_gpu_equals_the_cpu():
    model = make(norm="batch", train=True, dropout=0.0)
    u, lengths = noise(3, 200, N_INPUTS), torch.tensor([200, 50, 3])
    other = copy.deepcopy(model).cuda()
    y = other(u.cuda(), lengths.cuda()).cpu()
    torch.testing.assert_close(y, model(u, lengths), **TOLERANCE)
    streamed, _ = other.eval().advance(u.cuda())
    torch.testing.assert_close(streamed.cpu(), model.eval()(u), **TOLERANCE)


@pytest.mark.parametrize("norm", NORMS)
def test_first_state_space_reads_the_input_undistorted(norm):
    backbone = S4Backbone(1, d_model=4, n_layers=2, d_state=4, norm=norm).double()
    read = []
    backbone.blocks[0].layer.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    u = noise(1, 30, 1)
    for factor in (0.0, 1.0, 3.0):
        backbone(factor * u)
    zero, once, thrice = read
    torch.testing.assert_close(thrice - zero, 3 * (once - zero))


# ---------------------------------------------------------------- weights of no use


MODELS = {
    "model": lambda **options: S4Model(2, 3, d_model=4, n_layers=2, d_state=4, **options),
    "forecast": lambda **options: S4ForecastModel(
        1, 12, 3, d_model=4, n_layers=2, d_state=4, patch_size=4, **options
    ),
}


@pytest.mark.parametrize("norm", ["layer", "batch", None])
@pytest.mark.parametrize("ssm", ["s4", "s4d"])
@pytest.mark.parametrize("kind", MODELS)
def test_weights_are_accepted_until_one_of_them_is_not_finite(kind, ssm, norm):
    model = MODELS[kind](ssm=ssm, norm=norm)
    assert model.check_weights() is None
    state = copy.deepcopy(model.state_dict())
    for name, value in state.items():
        if value.numel() == 0 or not value.is_floating_point():
            continue
        for bad in (float("nan"), float("inf")):
            with torch.no_grad():
                model.state_dict()[name].view(-1)[-1] = bad
            with pytest.raises(ArithmeticError, match=f"does not hold for {name}"):
                model.check_weights()
            model.load_state_dict(state)
    model.check_weights()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, -110.0),
        (torch.float32, 89.0),
        (torch.float64, -800.0),
        (torch.float64, 800.0),
    ],
)
@pytest.mark.parametrize("name", ["log_dt", "log_decay"])
def test_weights_are_refused_when_a_step_or_a_decay_is_zero_or_infinite(name, dtype, value):
    model = MODELS["model"](dtype=dtype)
    with torch.no_grad():
        getattr(model.backbone.blocks[1].layer, name)[0] = value
    with pytest.raises(ArithmeticError, match=rf"exp\(backbone.blocks.1.layer.{name}\)"):
        model.check_weights()


def test_weights_of_half_precision_are_checked():
    model = MODELS["model"]().bfloat16()
    model.check_weights()
    with torch.no_grad():
        model.head.linear.bias[0] = float("nan")
    with pytest.raises(ArithmeticError, match=r"head\.linear\.bias"):
        model.check_weights()
