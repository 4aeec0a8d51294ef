from dataclasses import replace

import numpy as np

from sks4 import S4Forecaster
from sks4.estimators.forecasting._base_forecasts import windows_before
from sks4.estimators.forecasting._combined_forecast import choose_combined

SMALL = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}


def months(n_rows, seed=0):
    rng, rows = np.random.default_rng(seed), np.arange(n_rows)
    return 3 * np.sin(2 * np.pi * rows / 12) + 0.1 * rows + rng.normal(size=n_rows)


def scaled(n_rows, seed=0):
    values = months(n_rows, seed)[:, np.newaxis]
    return (values - values.mean()) / values.std()


def test_a_smoother_is_averaged_with_likely_ones():
    values = scaled(60)
    combined = choose_combined([values], (12,), 12, 36)
    assert combined.weight == 0.5
    assert combined.n_rows == 60
    windows = windows_before(values, np.array([60]), combined.n_rows)
    parts = [
        combined.base.forecast(windows[..., -36:], 12),
        combined.likely.forecast(windows, 12),
    ]
    np.testing.assert_allclose(combined.forecast(windows, 12), np.mean(parts, axis=0))
    np.testing.assert_array_equal(combined.alone().forecast(windows, 12), parts[0])


def test_a_context_without_a_value_repeats_the_last_one_before():
    values = scaled(60)
    combined = choose_combined([values], (12,), 12, 36)
    values[-40:] = np.nan
    windows = windows_before(values, np.array([60]), combined.n_rows)
    constant = np.full((1, 1, 36), values[19, 0])
    parts = combined.base.forecast(constant, 12), combined.likely.forecast(windows, 12)
    np.testing.assert_allclose(combined.forecast(windows, 12), np.mean(parts, axis=0))


def test_the_mean_has_smaller_errors_than_the_base():
    errors = []
    for seed in range(12):
        values = scaled(72, seed)
        combined = choose_combined([values[:60]], (12,), 12, 36)
        windows = windows_before(values, np.array([60]), combined.n_rows)
        errors.append(
            [
                np.abs(one.forecast(windows, 12)[0, 0] - values[60:, 0]).mean()
                for one in (combined.alone(), combined)
            ]
        )
    base, mean = np.mean(errors, axis=0)
    assert mean < 0.97 * base


def test_a_naive_forecast_is_left_as_it_is():
    walk = np.random.default_rng(1).normal(size=(300, 1)).cumsum(axis=0)
    combined = choose_combined([walk], (), 10, 100)
    assert combined.base.is_naive
    assert combined.weight == 1.0
    assert combined.n_rows == 100


def test_several_series_have_the_base_alone():
    combined = choose_combined([scaled(60), scaled(60, 1)], (12,), 12, 36)
    assert combined.weight == 1.0


def test_series_without_a_value_have_a_forecast():
    combined = choose_combined([np.full((40, 1), np.nan)], (7,), 4, 20)
    assert combined.forecast(np.zeros((1, 1, 20)), 4).tolist() == [[[0.0] * 4]]


def fitted(values, **options):
    return S4Forecaster(horizon=12, context_length=24, **(SMALL | options)).fit(values)


def test_forecaster_reads_rows_before_its_context_where_there_are_some():
    values = months(60)
    forecaster = fitted(values)
    assert forecaster.base_ == "seasonal_smoothing"
    assert forecaster.base_weight_ == 0.5
    assert forecaster.context_length_ == 24
    forecast = forecaster.forecast()
    np.testing.assert_allclose(forecaster.forecast(history=values), forecast, rtol=1e-6)
    shorter = forecaster.forecast(history=values[-24:])
    assert np.isfinite(shorter).all()
    assert not np.allclose(shorter, forecast, rtol=1e-6)


def test_weight_is_one_where_the_network_forecasts_alone():
    forecaster = fitted(months(60), standardize="global")
    assert forecaster.base_ is None
    assert forecaster.base_weight_ == 1.0


def test_update_stream_and_history_agree_beyond_the_context():
    values = months(90)
    forecaster = fitted(values[:60])
    expected = forecaster.forecast(30, history=values)
    updated = forecaster.update(values[60:75]).update(values[75:])
    np.testing.assert_allclose(updated.forecast(30), expected, rtol=1e-6)
    stream = forecaster.stream()
    for part in np.array_split(values, 7):
        stream.push(part[np.newaxis])
    np.testing.assert_allclose(stream.forecast(30), expected, rtol=1e-6)
    assert stream._recent.shape[1] == forecaster._predictor_.n_rows  # and no more


def test_backtest_equals_forecasts_from_each_origin():
    values = months(80)
    values[33] = np.nan
    forecaster = fitted(values[:60])
    table = forecaster.backtest(values, stride=11)
    for origin in np.unique(table["origin"]):
        rows = table[table["origin"] == origin]
        history = forecaster.forecast(history=values[: origin + 1])
        np.testing.assert_allclose(rows["forecast"], history, rtol=1e-6)


def test_intervals_learn_from_forecasts_of_the_same_rows_in_one_update_or_more():
    values = np.column_stack([months(90), months(90, 1)])
    at_once, by_row = fitted(values[:60]), fitted(values[:60])
    at_once.update(values[60:])
    base = by_row._predictor_.base
    assert base.n_rows > base.context_length
    for row in values[60:]:
        by_row.update(row[np.newaxis])
    first, second = at_once.forecast(), by_row.forecast()
    np.testing.assert_allclose(first, second, rtol=1e-6)
    alone = replace(by_row._predictor_, base=base.alone(), share=0.0)
    assert alone.n_rows == 24
