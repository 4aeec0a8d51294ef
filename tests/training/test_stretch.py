"""Sequences are resampled in time, each by a factor of its own."""

import numpy as np
import pytest
import torch

from sks4.training import Mixup, Stretch


def ramps(lengths, dtype=torch.float64):
    """Return a batch of two channels: the share of the sequence that is over, and a constant."""
    u = torch.full((len(lengths), max(lengths), 2), torch.nan, dtype=dtype)
    for row, length in enumerate(lengths):
        u[row, :length, 0] = torch.linspace(0, 1, length, dtype=dtype)
        u[row, :length, 1] = row
    inputs = {"u": u, "rate": 1.0}
    if min(lengths) < max(lengths):
        inputs["lengths"] = torch.tensor(lengths)
    targets = {"y": torch.arange(len(lengths)), "weight": torch.ones(len(lengths))}
    return inputs, targets


def stretch(batch, limit=2.0, seed=0, **options):
    return Stretch(limit, **options)(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [[50, 50, 50], [80, 2, 31], [9]])
def test_ramps_stay_ramps_from_end_to_end(lengths, dtype):
    inputs, targets = stretch(ramps(lengths, dtype))
    assert inputs["u"].dtype == dtype
    assert inputs["rate"] == 1.0
    assert (targets["y"] == torch.arange(len(lengths))).all()
    assert inputs["u"].shape[1] == inputs["lengths"].max()
    assert inputs["u"].isfinite().all()
    for row, (u, length) in enumerate(zip(inputs["u"], inputs["lengths"], strict=True)):
        expected = torch.linspace(0, 1, int(length), dtype=dtype)
        torch.testing.assert_close(u[:length, 0], expected)
        assert (u[:, 1] == row).all()


def test_factors_fill_their_range_evenly_in_logarithms():
    batch = ramps([1000] * 400)
    factors = np.log(stretch(batch, limit=1.5)[0]["lengths"].numpy() / 1000) / np.log(1.5)
    assert np.abs(factors).max() <= 1.001
    np.testing.assert_allclose(np.quantile(factors, [0.05, 0.5, 0.95]), [-0.9, 0, 0.9], atol=0.15)


def test_single_samples_stay():
    inputs, _ = stretch(ramps([1, 1]), limit=1.2)
    assert (inputs["lengths"] == 1).all()
    assert inputs["u"].shape == (2, 1, 2)
    assert (inputs["u"][:, 0, 1] == torch.arange(2)).all()


def test_same_generator_same_batch_and_input_is_left_alone():
    batch = ramps([30, 20])
    before = batch[0]["u"].clone()
    first, second, other = (stretch(batch, seed=seed)[0]["u"] for seed in (0, 0, 1))
    torch.testing.assert_close(first, second)
    assert first.shape != other.shape or not torch.allclose(first, other)
    torch.testing.assert_close(batch[0]["u"], before, equal_nan=True)


def test_another_transform_follows():
    inputs, targets = stretch(ramps([40, 40, 40]), then=Mixup(1.0, 3))
    assert targets["y"].shape == (3, 3)
    assert inputs["u"].shape[1] != 40
