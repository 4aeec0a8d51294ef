"""Lengths, missing values, subsets and batches of sequences."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sks4.data._panel import build_panel

N = np.nan
ARRAYS = [
    np.array([[1.0, 2.0, N, N], [3.0, N, N, N]]),
    np.array([[N, 5.0, 6.0, 7.0], [1.0, 2.0, 3.0, 4.0]]),
    np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, N]]),
    np.array([[1.0, 2.0, N, N], [3.0, 4.0, N, N]]),
]


@pytest.fixture(params=["array", "list", "ragged"])
def panel(request):
    if request.param == "array":
        return build_panel(np.stack(ARRAYS), "3d")
    cut = [4, 4, 4, 2 if request.param == "ragged" else 4]
    return build_panel([x[:, :n] for x, n in zip(ARRAYS, cut, strict=True)], "ragged")


def test_length_ends_with_the_last_value_of_any_channel(panel):
    assert panel.lengths.tolist() == [2, 4, 4, 2]
    for x, array, length in zip(panel, ARRAYS, panel.lengths, strict=True):
        assert_array_equal(x, array[:, :length])


def test_only_values_before_the_end_are_missing(panel):
    assert panel.missing.tolist() == [True, True, True, False]
    assert panel.has_missing
    assert not panel.take(np.array([3])).has_missing


def test_subset_shares_the_memory(panel):
    part = panel.take(np.array([2, 0, 2]))
    assert len(part) == 3
    assert part.sequences is panel.sequences
    assert_array_equal(part[0], ARRAYS[2])
    assert_array_equal(part[1], ARRAYS[0][:, :2])


def test_batch_is_padded_to_its_longest(panel):
    batch = panel.gather(np.array([3, 0]))
    assert_array_equal(batch, [x[:, :2] for x in (ARRAYS[3], ARRAYS[0])])
    longer = panel.gather(np.array([1, 3]))
    assert_array_equal(longer, [ARRAYS[1], ARRAYS[3]])


@pytest.mark.parametrize("block_size", [2, 4, 6, 1000])
def test_blocks_hold_every_step_once(panel, monkeypatch, block_size):
    monkeypatch.setattr("sks4.data._panel._BLOCK_SIZE", block_size)
    blocks = list(panel.blocks())
    assert max(block.size for block in blocks) <= block_size
    expected = np.concatenate([x[:, :n] for x, n in zip(ARRAYS, [2, 4, 4, 2], strict=True)], axis=1)
    assert_array_equal(np.concatenate(blocks, axis=1), expected)


@pytest.mark.parametrize("block_size", [8, 1000])
def test_bad_value_is_found_in_any_block(monkeypatch, block_size):
    monkeypatch.setattr("sks4.data._panel._BLOCK_SIZE", block_size)
    arrays = np.stack(ARRAYS)
    arrays[2, 1, 0] = -np.inf
    with pytest.raises(ValueError, match=r"infinity: X\[2\], channel 1, time point 0"):
        build_panel(arrays, "3d")
    arrays[2] = np.nan
    with pytest.raises(ValueError, match=r"must have a value, got X\[2\] in which all"):
        build_panel(arrays, "3d")


def test_features_are_time_points_of_a_table_and_channels_else():
    table = build_panel(np.ones((3, 1, 7)), "2d")
    assert (table.n_features, table.n_timepoints, table.n_channels) == (7, 7, 1)
    cube = build_panel(np.ones((3, 2, 7)), "3d")
    assert (cube.n_features, cube.n_timepoints, cube.n_channels) == (2, None, 2)


def test_finite_values_whose_sum_overflows_are_no_infinity():
    large = np.full((2, 1, 3), 1e308)
    assert build_panel(large, "3d").lengths.tolist() == [3, 3]
