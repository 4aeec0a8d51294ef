"""Mixup: averages of sequences and labels, with the loss of both."""

import numpy as np
import pytest
import torch

from sks4.training import CrossEntropy, Mixup

N = 6


def make_batch(dtype=torch.float32, unit=1.0):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(N, 5, 2, generator=generator, dtype=dtype)
    weight = torch.rand(N, generator=generator, dtype=dtype) + 0.5
    weight[2] = 0
    inputs = {"u": u, "rate": 1.0, "lengths": torch.tensor([5, 3, 5, 1, 2, 4])}
    return inputs, {"y": torch.arange(N), "weight": unit * weight}


def mix(batch, *, strength=0.4, seed=0):
    return Mixup(strength, N)(batch, torch.Generator().manual_seed(seed))


def partners(mixed, batch):
    """Return the rows that each mixed row is made of, and the share of the first, from the data."""
    rows = [0, 1, 3, 4, 5]
    flat = batch[0]["u"].flatten(1).double()
    found, shares = [], []
    for row, u in zip(rows, mixed[0]["u"].flatten(1).double(), strict=True):
        candidates = [((u - flat[row]).norm().item(), row, 1.0)]
        for other in rows:
            if other != row and candidates[0][0] > 1e-5:  # else the row is its own partner
                difference = flat[row] - flat[other]
                share = float((u - flat[other]) @ difference / difference.square().sum())
                error = (share * flat[row] + (1 - share) * flat[other] - u).norm().item()
                candidates.append((error, other, share))
        error, other, share = min(candidates)
        assert error < 1e-5
        found.append(other)
        shares.append(share)
    return rows, found, torch.tensor(shares, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixed_batch_has_the_mean_loss_of_both_labels(dtype, smoothing):
    batch = make_batch(dtype)
    mixed = mix(batch, strength=20.0)  # shares near one half, so partners can be told
    inputs, targets = mixed
    rows, others, share = partners(mixed, batch)
    assert sorted(others) == rows
    lengths = batch[0]["lengths"]
    assert (inputs["lengths"] == torch.maximum(lengths[rows], lengths[others])).all()
    assert inputs["rate"] == 1.0
    assert targets["y"].dtype == targets["weight"].dtype == dtype

    loss = CrossEntropy(smoothing)
    scores = torch.randn(len(rows), N, dtype=dtype)
    weight = batch[1]["weight"].double()
    labels, weights = (
        torch.tensor(rows + others),
        [share * weight[rows], (1 - share) * weight[others]],
    )
    expected = loss(torch.cat([scores, scores]), labels, torch.cat(weights).to(dtype))
    torch.testing.assert_close(loss(scores, targets["y"], targets["weight"]), expected)


def test_mixed_labels_are_probabilities():
    _, targets = mix(make_batch())
    torch.testing.assert_close(targets["y"].sum(1), torch.ones(N - 1))
    assert (targets["y"] >= 0).all()
    assert not targets["y"][:, 2].any()


@pytest.mark.parametrize("unit", [1e-42, 1e-30, 1e37])
def test_mixed_labels_do_not_depend_on_the_unit_of_the_weights(unit):
    expected, targets = mix(make_batch())[1], mix(make_batch(unit=unit))[1]
    # a weight of 1e-42 has eight bits
    torch.testing.assert_close(targets["y"], expected["y"], rtol=0, atol=1e-2)
    torch.testing.assert_close(targets["weight"] / unit, expected["weight"], rtol=1e-2, atol=0)


@pytest.mark.parametrize("strength", [1e-300, 1.0, 1e300])
def test_mixed_batch_is_finite_for_any_strength(strength):
    batch = make_batch()
    batch[1]["weight"].fill_(1.0)
    inputs, targets = mix(batch, strength=strength)
    assert inputs["u"].isfinite().all()
    largest = targets["y"].amax(1)  # the larger share, or 1 for a row that is its own partner
    if strength == 1e-300:
        assert (largest == 1).all()
    elif strength == 1e300:
        assert ((largest == 0.5) | (largest == 1)).all()
        assert (largest == 0.5).any()
    else:
        assert ((largest >= 0.5) & (largest <= 1)).all()


def test_batch_without_weights_is_left_as_it_is():
    inputs, targets = make_batch()
    nothing = inputs, targets | {"weight": torch.zeros(N)}
    assert mix(nothing) is nothing


def test_mixup_repeats_with_the_generator_and_changes_neither_batch_nor_global_generators():
    batch = make_batch()
    before = {name: value.clone() for name, value in batch[1].items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global one
    first, same, other = mix(batch), mix(batch), mix(batch, seed=1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002 - the global one
    assert torch.equal(first[0]["u"], same[0]["u"])
    assert not torch.equal(first[0]["u"], other[0]["u"])
    assert all(torch.equal(batch[1][name], value) for name, value in before.items())


def test_mixup_continues_with_the_generator():
    generator = torch.Generator().manual_seed(0)
    first, second = (Mixup(0.4, N)(make_batch(), generator)[0]["u"] for _ in range(2))
    assert not torch.equal(first, second)
