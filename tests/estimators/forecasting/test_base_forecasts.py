from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from sks4 import S4Forecaster
from sks4.data import Columns
from sks4.estimators.forecasting._base_forecasts import judge_smoothers, windows_before
from sks4.estimators.forecasting._training import best_share


def choose_base(*args):
    return judge_smoothers(*args).base


def week(n_rows, noise, seed=0, slope=0.0):
    rng = np.random.default_rng(seed)
    rows = np.arange(n_rows)
    return (np.sin(2 * np.pi * rows / 7) + slope * rows + rng.normal(0, noise, n_rows))[:, None]


def error(base, values, horizon):
    origins = np.array([len(values) - horizon])
    windows = windows_before(values[:-horizon], origins, 60)
    return np.abs(base.forecast(windows, horizon)[0, 0] - values[-horizon:, 0]).mean()


def test_a_season_is_smoothed_and_beats_the_last_one():
    values = week(120, 0.5)
    base = choose_base([values[:-14]], (7,), 14, 60)
    assert base.name == "seasonal_smoothing"
    naive = np.abs(np.tile(values[-21:-14, 0], 2) - values[-14:, 0]).mean()
    assert error(base, values, 14) < 0.9 * naive


def test_an_exact_season_is_repeated():
    values = week(60, 0.0)
    base = choose_base([values[:-7]], (7,), 7, 30)
    assert base.name == "seasonal_naive"
    np.testing.assert_allclose(error(base, values, 7), 0, atol=1e-9)


def test_a_random_walk_stays_at_its_last_value():
    walk = np.random.default_rng(1).normal(size=(300, 1)).cumsum(axis=0)
    assert choose_base([walk], (), 10, 100).name == "last_value"


def test_a_line_drifts_on():
    line = np.arange(60.0)[:, None]
    base = choose_base([line[:-5]], (), 5, 30)
    assert base.name == "drift"
    np.testing.assert_allclose(error(base, line, 5), 0, atol=1e-9)


def test_a_period_that_is_none_is_not_taken():
    noise = np.random.default_rng(2).normal(size=(200, 1))
    assert choose_base([noise], (7,), 10, 100).name == "smoothing"


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 9])
def test_the_shortest_series_have_a_base(n_rows):
    values = np.arange(float(n_rows))[:, None]
    base = choose_base([values], (7, 12), 4, 20)
    forecast = base.forecast(windows_before(values, np.array([n_rows]), 20), 4)
    assert forecast.shape == (1, 1, 4)
    assert np.isfinite(forecast).all()


def test_series_without_a_value_or_without_change_have_a_base():
    assert choose_base([np.full((40, 1), np.nan)], (7,), 4, 20).name == "last_value"
    constant = choose_base([np.full((40, 1), 3.0)], (7,), 4, 20)
    assert constant.forecast(np.full((1, 1, 20), 3.0), 2).tolist() == [[[3.0, 3.0]]]


def test_choice_does_not_depend_on_a_spike():
    values = week(200, 0.3)
    values[150] = 1e4
    assert choose_base([values], (7,), 14, 60).name == "seasonal_smoothing"


def test_windows_end_before_their_origins():
    windows = windows_before(np.arange(5.0)[:, None], np.array([0, 2, 5]), 3)
    expected = [[[np.nan] * 3], [[np.nan, 0, 1]], [[2, 3, 4]]]
    np.testing.assert_array_equal(windows, expected)


EVERY_ROW = np.arange(40)  # 8 blocks of 5 rows


def test_share_of_the_correction_is_that_of_the_smallest_error():
    rng = np.random.default_rng(3)
    truths = rng.normal(size=(40, 5, 2))
    base = truths + 1.0
    assert best_share(base, truths, truths, EVERY_ROW) == 1.0
    assert best_share(base, base - 2.0, truths, EVERY_ROW) == 0.5
    assert best_share(base, base + 1.0, truths, EVERY_ROW) == 0.0


def windows_of(series, horizon=5):
    """Return the windows of a series (n_rows, n_targets) at every row, NaN after its end."""
    padded = np.pad(series, ((0, horizon - 1), (0, 0)), constant_values=np.nan)
    return sliding_window_view(padded, horizon, axis=0).swapaxes(1, 2)


def test_share_shrinks_with_the_standard_error_over_blocks():
    truths = windows_of(np.zeros((40, 1)))
    base, network = truths + 1.0, truths + 1.0
    gains = np.array([0.9, 0.5, 0.9, 0.5, 0.9, 0.5, 0.9, 0.5])
    network -= windows_of(np.repeat(gains, 5)[:, None])
    error = gains.std(ddof=1) / np.sqrt(8)
    expected = 1 - (error / gains.mean()) ** 2
    assert best_share(base, network, truths, EVERY_ROW) == pytest.approx(expected)


def test_gain_in_one_block_is_no_evidence():
    truths = windows_of(np.zeros((40, 1)))
    gains = np.zeros(40)
    gains[10:15] = 1.0  # the whole error of a block, and nothing elsewhere
    network = truths + 1.0 - windows_of(gains[:, None])
    assert best_share(truths + 1.0, network, truths, EVERY_ROW) == 0.0


@pytest.mark.parametrize(("n_rows", "expected"), [(4, 0.0), (14, 0.0), (15, 1.0)])
def test_three_blocks_are_needed(n_rows, expected):
    truths = windows_of(np.random.default_rng(5).normal(size=(n_rows, 2)))
    assert best_share(truths + 1.0, truths, truths, np.arange(n_rows)) == expected


def test_missing_truths_have_no_effect_on_the_share():
    truths = np.random.default_rng(4).normal(size=(40, 5, 1))
    base, network = truths + 1.0, truths.copy()
    network[:, 2] = 1e6
    truths[:, 2] = np.nan
    assert best_share(base, network, truths, EVERY_ROW) == 1.0
    series = np.zeros((40, 1))
    series[10:] = np.nan
    truths = windows_of(series)  # two blocks are left
    assert best_share(np.nan_to_num(truths) + 1, np.nan_to_num(truths), truths, EVERY_ROW) == 0.0


def test_one_target_without_truths_leaves_the_other():
    truths = windows_of(np.zeros((40, 2))).copy()
    truths[..., 1] = np.nan
    base = np.nan_to_num(truths) + 1.0
    assert best_share(base, np.nan_to_num(truths), truths, EVERY_ROW) == 1.0


SMALL = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 2, "random_state": 0}


def test_a_short_series_is_forecast_by_its_base():
    values = week(60, 0.1)[:, 0]
    forecaster = S4Forecaster(horizon=7, **SMALL).fit(values)
    assert forecaster.base_ == "seasonal_smoothing"
    assert forecaster.patch_size_ == 7
    truth = np.sin(2 * np.pi * np.arange(60, 67) / 7)
    assert np.abs(forecaster.forecast() - truth).mean() < 0.3


def test_a_spike_does_not_ruin_the_forecast():
    values = week(80, 0.3)[:, 0]
    expected = S4Forecaster(horizon=7, **SMALL).fit(values).forecast()
    values[50] = 1000.0
    found = S4Forecaster(horizon=7, **SMALL).fit(values).forecast()
    np.testing.assert_allclose(found, expected, atol=0.4)


def test_a_row_of_weight_zero_counts_as_missing():
    values, weights = week(80, 0.3)[:, 0], np.ones(80)
    weights[[40, 78]] = 0.0
    missing = np.where(weights > 0, values, np.nan)
    weighted = S4Forecaster(horizon=7, **SMALL).fit(values, sample_weight=weights)
    expected = S4Forecaster(horizon=7, **SMALL).fit(missing, sample_weight=weights)
    np.testing.assert_allclose(weighted.forecast(), expected.forecast())


def test_stream_forecasts_from_the_base_too():
    values = week(80, 0.3)[:, 0]
    forecaster = S4Forecaster(horizon=7, **SMALL).fit(values)
    stream = forecaster.stream().push(values[np.newaxis, :70])
    expected = forecaster.forecast(10, history=values[:70])
    np.testing.assert_allclose(stream.forecast(10), expected, rtol=1e-5)


def test_no_value_after_an_origin_has_an_effect():
    values = week(80, 0.3)[:, 0]
    forecaster = S4Forecaster(horizon=7, **SMALL).fit(values)
    changed = np.concatenate([values[:60], 100 + values[60:]])
    tables = [forecaster.backtest(rows) for rows in (values, changed)]
    before = [table["forecast"][table["origin"] < 60] for table in tables]
    np.testing.assert_array_equal(*before)


def test_covariates_leave_the_network_alone():
    values = week(80, 0.3)[:, 0]
    forecaster = S4Forecaster(horizon=7, **SMALL).fit(np.ones((80, 1)), values)
    assert forecaster.base_ is None
    assert forecaster.base_correction_ == 1.0


@pytest.mark.parametrize("value", [1e30, 1e38])
def test_values_near_the_end_of_the_range_are_forecast_by_the_base(value):
    values = week(80, 0.3)[:, 0]
    predictor = S4Forecaster(horizon=7, **SMALL).fit(values)._predictor_
    predictor = replace(predictor, share=0.0)
    rows = np.concatenate([values[:60], np.full(20, value)])[:, np.newaxis]
    context = Columns(rows, np.empty((80, 0)), np.ones(80))
    forecasts = predictor.ahead(context, np.empty((7, 0)))
    np.testing.assert_allclose(forecasts.outputs, value, rtol=1e-5)


def test_many_windows_are_forecast_by_the_network_alone():
    values = week(2100, 0.3)[:, 0]
    parameters = SMALL | {"max_epochs": 1, "context_length": 14}
    forecaster = S4Forecaster(horizon=7, early_stopping=False, **parameters).fit(values)
    assert forecaster.base_ is None
    assert forecaster.base_correction_ == 1.0


def test_held_out_rows_decide_less_the_more_windows_there_are():
    values = np.random.default_rng(0).normal(size=1700).cumsum()
    parameters = SMALL | {"max_epochs": 1, "context_length": 14}
    forecaster = S4Forecaster(horizon=7, **parameters).fit(values)
    n_windows = 1700 - 170 - 14 - 7 + 1
    assert forecaster.base_correction_ >= n_windows / 1000 - 1


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (week(120, 0.05), "seasonal_naive"),
        (week(120, 0.05, slope=0.5), "seasonal_drift"),
        (np.random.default_rng(1).normal(size=(200, 1)).cumsum(axis=0), "last_value"),
    ],
)
def test_the_best_plain_forecast_smooths_nothing(values, name):
    judged = judge_smoothers([values], (7,), 7, 60)
    assert judged.plain.name == name
    assert np.isin(judged.plain.smoother.level, [0, 1]).all()
    if judged.base.is_naive:
        assert judged.base.name == name
