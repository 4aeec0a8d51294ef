"""Pooling and heads against loops over sequences."""

import pytest
import torch

from sks4.nn import (
    PooledHead,
    Pooling,
    StepHead,
)

REDUCTIONS = {"mean": lambda x: x.mean(0), "last": lambda x: x[-1], "max": lambda x: x.amax(0)}
POOLINGS = pytest.mark.parametrize("pooling", REDUCTIONS)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@POOLINGS
@pytest.mark.parametrize("garbage", [1e6, float("inf"), float("nan")])
def test_pooling_reduces_the_real_steps_alone(pooling, garbage):
    x, lengths = noise(4, 9, 3) - 5, torch.tensor([9, 4, 1, 8])  # below zero, as padding is not
    expected = [REDUCTIONS[pooling](row[:n]) for row, n in zip(x, lengths, strict=True)]
    for row, n in zip(x, lengths, strict=True):
        row[n:] = garbage
    torch.testing.assert_close(Pooling(pooling)(x, lengths), torch.stack(expected))


@POOLINGS
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_lengths_may_be_of_any_integer_type(pooling, dtype):
    x, lengths = noise(4, 9, 3), torch.tensor([9, 4, 1, 8])
    pool = Pooling(pooling)
    torch.testing.assert_close(pool(x, lengths.to(dtype)), pool(x, lengths), rtol=0, atol=0)


@POOLINGS
def test_pooling_without_lengths_reduces_all_steps(pooling):
    x = noise(4, 9, 3)
    expected = torch.stack([REDUCTIONS[pooling](row) for row in x])
    torch.testing.assert_close(Pooling(pooling)(x), expected)


@POOLINGS
def test_pooling_in_pieces_equals_pooling_at_once(pooling):
    x, pool, state = noise(4, 12, 3) - 5, Pooling(pooling), None
    for piece in x.split([1, 0, 5, 2, 4], 1):
        state = pool.update(piece, state)
    torch.testing.assert_close(pool.result(state), pool(x))


@POOLINGS
def test_pooling_gradient_of_padding_is_zero(pooling):
    x, lengths = noise(2, 6, 3).requires_grad_(), torch.tensor([6, 2])
    Pooling(pooling)(x, lengths).sum().backward()
    assert (x.grad[1, 2:] == 0).all()
    assert (x.grad[1, :2] != 0).any()


def test_pooling_must_be_known():
    with pytest.raises(ValueError, match=r"pooling must be one of .* Did you mean 'mean'\?"):
        Pooling("man")


def test_heads_map_each_sequence_or_each_step():
    x, lengths = noise(4, 9, 3).float(), torch.tensor([9, 4, 1, 8])
    pooled, by_step = PooledHead(3, 5), StepHead(3, 5)
    for i, (row, n) in enumerate(zip(x, lengths, strict=True)):
        torch.testing.assert_close(pooled(x, lengths)[i], pooled.linear(row[:n].mean(0)))
        for t in range(n):
            torch.testing.assert_close(by_step(x, lengths)[i, t], by_step.linear(row[t]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PooledHead(3, 0), "n_outputs must be at least 1, got 0"),
        (lambda: StepHead(3, 0), "n_outputs must be at least 1, got 0"),
    ],
)
def test_heads_refuse_sizes_below_one(build, message):
    with pytest.raises(ValueError, match=message):
        build()
