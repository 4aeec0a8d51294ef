import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import EncodedSeries, SeriesEncoder, WindowDataset


@pytest.fixture
def rows():
    """Return two targets of 30 rows, with gaps, and one covariate that is known 5 rows ahead."""
    rng = np.random.default_rng(0)
    values = rng.normal(5, 3, size=(30, 2))
    values[0, 0] = values[10:13, 1] = np.nan
    return values, rng.normal(size=(35, 1))


def encode(values, covariates, **parameters):
    encoder = SeriesEncoder(**parameters).fit(values, covariates[: len(values)])
    return encoder, encoder.transform(values, covariates, "float64")


def expected_window(series, origin, context_length, horizon):
    """Return context, covariates, targets and their weights by plain indexing."""
    before, behind = slice(origin - context_length, origin), slice(origin, origin + horizon)
    padding = np.zeros((horizon, series.values.shape[1]))
    values = np.concatenate([series.values, padding])
    has_been_seen = series.observed[:origin].numpy().any(axis=0)
    weight = np.concatenate([series.observed, padding]) * has_been_seen
    covariates = np.concatenate([series.covariates, series.covariates[-1:].expand(horizon, -1)])
    return (
        series.values[before].numpy() * has_been_seen,  # what fills them before comes later
        covariates[origin - context_length : origin + horizon],
        values[behind],
        weight[behind],
    )


@pytest.mark.parametrize(("context_length", "horizon"), [(1, 1), (4, 3), (7, 10), (12, 2)])
def test_windows_equal_plain_indexing(rows, context_length, horizon):
    _, series = encode(*rows)
    origins = np.arange(context_length, 31)
    windows = WindowDataset(series, origins, context_length, horizon, has_mask=True)
    picked = np.random.default_rng(1).permutation(len(windows)).tolist()
    inputs, targets = windows.__getitems__(picked)
    for i, row in enumerate(picked):
        context, covariates, y, weight = expected_window(
            series, origins[row], context_length, horizon
        )
        assert_array_equal(inputs["context"][i], context)
        assert_array_equal(inputs["covariates"][i], covariates)
        assert_array_equal(targets["y"][i], y)
        assert_array_equal(targets["weight"][i], weight)
        start = origins[row] - context_length
        assert_array_equal(inputs["observed"][i], series.observed[start : origins[row]])


def test_windows_copy_nothing_before_their_batch(rows):
    _, series = encode(*rows)
    windows = WindowDataset(series, np.arange(4, 25), 4, 3)
    tensors = [value for value in vars(windows).values() if isinstance(value, torch.Tensor)]
    assert windows._series is series
    assert all(tensor.numel() <= 2 * len(windows) for tensor in tensors)


def test_rows_before_the_first_one_are_not_observed(rows):
    _, series = encode(*rows)
    inputs, _ = WindowDataset(series, np.array([2]), 4, 3, has_mask=True)[0]
    assert_array_equal(inputs["context"][0, :, 1], series.values[[0, 0, 0, 1], 1])
    assert_array_equal(inputs["covariates"][0], series.covariates[[0, 0, 0, 1, 2, 3, 4]])
    assert not inputs["observed"][0, :2].any()


def test_windows_of_joined_series_are_those_of_each(rows):
    values, covariates = rows
    cuts = [(0, 3), (3, 4), (4, 30)]
    parts = [encode(values[a:b], covariates[a:b])[1] for a, b in cuts]
    joined, options = EncodedSeries.join(parts), {"has_mask": True}
    origins = [np.arange(1, len(part) + 1) for part in parts]
    starts = [a for a, _ in cuts]
    everywhere = np.concatenate([a + rows for a, rows in zip(starts, origins, strict=True)])
    weights = np.arange(30.0)
    together = WindowDataset(joined, everywhere, 5, 4, row_weight=weights, **options)
    batches = [
        WindowDataset(part, of_part, 5, 4, row_weight=weights[a:b], **options)[range(len(of_part))]
        for part, of_part, (a, b) in zip(parts, origins, cuts, strict=True)
    ]
    for kind, batch in enumerate(together[range(30)]):
        for name, tensor in batch.items():
            expected = torch.cat([single[kind][name] for single in batches])
            assert_array_equal(tensor, expected, err_msg=name)
    expected = np.concatenate(
        [part.known_before(of_part, 5) for part, of_part in zip(parts, origins, strict=True)]
    )
    assert_array_equal(joined.known_before(everywhere, 5), expected)


def test_rows_known_ahead_have_no_value(rows):
    _, series = encode(*rows)
    ahead = series.ahead()
    assert len(ahead) == 35
    assert not ahead.observed[30:].any()
    single = WindowDataset(series, np.array([30]), 4, 5, has_mask=True)[0]
    for kind, batch in enumerate(WindowDataset(ahead, np.array([30]), 4, 5, has_mask=True)[0]):
        for name in set(batch) - {"y"}:
            assert_array_equal(batch[name], single[kind][name])


def test_target_weighs_nothing_before_its_first_observation():
    values = np.arange(12.0)[:, np.newaxis]
    values[:6] = np.nan
    _, series = encode(values, np.empty((12, 0)))
    _, targets = WindowDataset(series, np.arange(4, 11), 3, 2)[list(range(7))]
    # The context has seen the first value, of row 6, from the origin 7 on.
    assert targets["weight"][:, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_row_weights_are_those_of_targets(rows):
    _, series = encode(*rows)
    weights = np.arange(30.0)
    windows = WindowDataset(series, np.array([20, 28]), 4, 3, row_weight=weights)
    _, targets = windows[0, 1]
    assert targets["weight"][:, :, 0].tolist() == [[20, 21, 22], [28, 29, 0]]


@pytest.mark.parametrize("n_steps", [1, 3, 4, 9])
def test_continuation_stands_in_the_place_of_values(rows, n_steps):
    _, series = encode(*rows)
    origins = np.array([6, 18, 30])
    continuation = np.random.default_rng(2).normal(size=(3, n_steps, 2))
    ahead = {"n_ahead": n_steps, "continuation": continuation[:, -6:]}
    windows = WindowDataset(series, origins, 4, 2, has_mask=True, **ahead)
    inputs, _ = windows[0, 1, 2]
    for i, origin in enumerate(origins):
        context = np.concatenate([series.values[:origin], continuation[i]])[-4:]
        assert_array_equal(inputs["context"][i], context)
        observed = np.concatenate([series.observed[:origin], np.ones((n_steps, 2), bool)])[-4:]
        assert_array_equal(inputs["observed"][i], observed)
        steps = np.arange(origin + n_steps - 4, origin + n_steps + 2).clip(max=34)
        assert_array_equal(inputs["covariates"][i], series.covariates[steps])
    assert_array_equal(WindowDataset(series, origins, 4, 2)[0][0]["context"][0], series.values[2:6])


@pytest.mark.parametrize("origins", [[0], [31], [10, 40]])
def test_origin_outside_the_rows_is_refused(rows, origins):
    _, series = encode(*rows)
    with pytest.raises(ValueError, match="origins must be from 1 to the number of rows, 30"):
        WindowDataset(series, np.array(origins), 4, 2)


# --- encoding ------------------------------------------------------------------------------------


def test_encoder_scales_fills_forward_and_restores(rows):
    values, covariates = rows
    encoder, series = encode(values, covariates)
    mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    filled = values.copy()
    filled[0, 0], filled[10:13, 1] = filled[1, 0], filled[9, 1]
    assert_allclose(series.values, (filled - mean) / scale)
    assert_array_equal(series.observed, ~np.isnan(values))
    assert_allclose(encoder.restore(series.values.numpy()), filled)


def test_encoder_fills_covariates_forward_and_first_ones_by_the_mean(rows):
    values, covariates = rows
    covariates[[0, 1, 20, 34]] = np.nan
    _, series = encode(values, covariates)
    assert_array_equal(series.covariates[:2], 0)
    assert_array_equal(series.covariates[[20, 34]], series.covariates[[19, 33]])


@pytest.mark.parametrize(("missing", "has_mask"), [("mask", True), ("ffill", False)])
def test_mask_follows_the_parameter(rows, missing, has_mask):
    encoder, _ = encode(*rows, missing=missing)
    assert encoder.has_mask_ is has_mask
    complete = np.nan_to_num(rows[0])
    assert encode(complete, rows[1], missing=missing)[0].has_mask_ is has_mask


def test_missing_value_is_refused_when_asked(rows):
    with pytest.raises(ValueError, match=r"missing='error', got NaN first in row 0"):
        encode(*rows, missing="error")


def test_values_stay_as_they_are_without_scaling(rows):
    values = np.nan_to_num(rows[0])
    encoder, series = encode(values, rows[1], standardize=False)
    assert_array_equal(series.values, values)
    assert_array_equal(encoder.restore(values), values)


def test_constant_and_empty_columns_are_harmless():
    values, covariates = np.full((9, 1), 7.0), np.full((9, 1), np.nan)
    encoder, series = encode(values, covariates)
    assert_array_equal(series.values, 0)
    assert_array_equal(series.covariates, 0)
    assert_array_equal(encoder.restore(np.zeros((2, 1))), 7)


def test_values_beyond_the_range_are_refused(rows):
    with pytest.raises(ValueError, match="The targets must be within 1e150 in magnitude"):
        encode(np.array([[1e200], [-1e200]]), np.empty((2, 0)))
    encoder, _ = encode(*rows)
    with pytest.raises(ValueError, match="The targets must be within the range of float32"):
        encoder.transform(np.full((3, 2), 1e60), np.zeros((3, 1)))


def test_tensors_have_the_type_that_is_asked_for(rows):
    encoder, _ = encode(*rows)
    for dtype in ("float32", "float64"):
        series = encoder.transform(*rows, dtype)
        assert series.values.dtype == series.covariates.dtype == getattr(torch, dtype)


def encode_covariates(train, later):
    encoder = SeriesEncoder().fit(np.arange(float(len(train)))[:, np.newaxis], train)
    return encoder.transform(np.zeros((1, 1)), later).covariates.numpy()


def test_covariates_far_beyond_the_training_rows_count_as_missing():
    train = np.random.default_rng(0).normal(10, 2, size=(200, 1))
    later = np.array([[11.0], [5000.0], [-5000.0], [12.0], [20.0]])
    expected = encode_covariates(train, later[[0, 0, 0, 3, 4]])
    assert_array_equal(encode_covariates(train, later), expected)
    train[[3, 50]] = [[5000.0], [-5000.0]]  # and do so in the training rows
    assert np.abs(encode_covariates(train, later)).max() < 8


def test_covariates_that_grow_or_are_seldom_other_than_zero_are_kept():
    trend = np.arange(200.0)[:, np.newaxis]
    assert_allclose(
        np.diff(encode_covariates(trend, trend * 4), axis=0), 4 / trend.std(), rtol=1e-4
    )
    rare = np.zeros((200, 1))
    rare[7] = 1.0
    assert_allclose(encode_covariates(rare, rare)[7], (1 - rare.mean()) / rare.std(), rtol=1e-5)
    few = np.zeros((200, 1))
    few[::20] = 1000.0
    assert encode_covariates(few, few * 3)[20] > 9
