"""The parts of a block: norms, dropout, gate and residual."""

import copy

import pytest
import torch
from torch.nn import functional

from sks4.nn import S4Block
from sks4.nn._block import RealStepBatchNorm, make_norm

NORMS = ["layer", "batch", None]


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def make(**options):
    torch.manual_seed(0)
    return S4Block(4, d_state=4, **options).double().requires_grad_(False)


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_block_is_the_composition_of_its_parts(norm, prenorm):
    block, u = make(norm=norm, prenorm=prenorm), noise(2, 30, 4)
    normalize = {
        "layer": lambda x: functional.layer_norm(x, (4,)),
        "batch": lambda x: (x - x.mean((0, 1))) / torch.sqrt(x.var((0, 1), correction=0) + 1e-5),
        None: lambda x: x,
    }[norm]
    y, state = block.layer(normalize(u) if prenorm else u)
    a, b = functional.linear(functional.gelu(y), block.gate.weight, block.gate.bias).chunk(2, -1)
    expected = u + a * torch.sigmoid(b)
    got, got_state = block(u)
    torch.testing.assert_close(got, expected if prenorm else normalize(expected))
    torch.testing.assert_close(got_state, state)


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_block_step_by_step_equals_one_pass(norm, prenorm):
    block, u = make(norm=norm, prenorm=prenorm).eval(), noise(2, 20, 4)
    whole, last = block(u)
    outputs, state = [], None
    for t in range(20):
        y, state = block(u[:, t : t + 1], state)
        outputs.append(y)
    torch.testing.assert_close((torch.cat(outputs, 1), state), (whole, last))


def test_batch_norm_uses_the_statistics_of_real_steps_alone():
    torch.manual_seed(0)
    norm, x = RealStepBatchNorm(3).double(), 2 + 3 * noise(3, 10, 3)
    lengths = torch.tensor([10, 4, 1])
    real = torch.cat([row[:n] for row, n in zip(x, lengths, strict=True)])
    for row, n in zip(x, lengths, strict=True):
        row[n:] = 1e6
    y = norm(x, lengths)
    mean, variance = real.mean(0), real.var(0, correction=0)
    for row, source, n in zip(y, x, lengths, strict=True):
        expected = (source[:n] - mean) / torch.sqrt(variance + norm.eps)
        torch.testing.assert_close(row[:n], expected)
    momentum = norm.momentum
    torch.testing.assert_close(norm.running_mean, momentum * mean)
    torch.testing.assert_close(norm.running_var, 1 - momentum + momentum * real.var(0))


@pytest.mark.parametrize("lengths", [None, torch.tensor([1])])
def test_batch_norm_of_a_single_step_takes_the_running_statistics(lengths):
    norm = make_norm("batch", 2)
    x = torch.tensor([[[3.0, -1.0]]])
    norm.running_mean[0], norm.running_var[1] = 1.0, 4.0
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    torch.testing.assert_close(norm(x, lengths), torch.tensor([[[2.0, -0.5]]]))
    torch.testing.assert_close(dict(norm.state_dict()), before)


def test_batch_norm_takes_the_running_statistics_in_evaluation():
    norm, x = RealStepBatchNorm(3).double(), noise(2, 10, 3)
    norm(x)
    before = copy.deepcopy(norm.eval().state_dict())
    y = norm(x, torch.tensor([10, 3]))
    expected = (x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    torch.testing.assert_close(y, expected)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_norm_must_be_known():
    with pytest.raises(ValueError, match=r"norm must be one of 'layer', 'batch', None, got 'batc'"):
        make_norm("batc", 3)
    with pytest.raises(ValueError, match="norm must be one of"):
        S4Block(3, norm="group")
