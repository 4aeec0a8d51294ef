import numpy as np
import pytest

from sks4.data import Smoother, nan_median
from sks4.data._smoothing import moving_average, seasonal_pattern

NONE = np.nan


def smoother(level, slope=NONE, damping=1.0, season=NONE, period=1):
    return Smoother(*(np.array(share) for share in (level, slope, damping, season)), period=period)


def week(n_weeks, rng=None, noise=0.1):
    season = np.tile([3.0, 1, 0, 0, -1, -2, -1], n_weeks)
    return season if rng is None else season + rng.normal(0, noise, len(season))


def test_last_value_and_drift_are_special_cases():
    window = np.array([1.0, 3, 2, 5, 4, 7])
    np.testing.assert_allclose(smoother(1.0).forecast(window, 3), 7)
    line = 2.0 + 0.5 * np.arange(20)
    np.testing.assert_allclose(smoother(1.0, 0.0).forecast(line, 3), [12, 12.5, 13])


def test_seasonal_naive_is_a_special_case():
    rng = np.random.default_rng(0)
    window = week(4, rng)[:-2]  # does not end with a season
    forecast = smoother(0.0, season=1.0, period=7).forecast(window, 9)
    np.testing.assert_allclose(forecast[:7], window[-7:], atol=1e-12)
    np.testing.assert_allclose(forecast[7:], forecast[:2], atol=1e-12)


def test_matches_the_recursion_of_holt_and_winters_step_by_step():
    rng = np.random.default_rng(1)
    window, (alpha, beta, phi, gamma) = week(6, rng), (0.4, 0.2, 0.9, 0.3)
    fast = smoother(alpha, beta, phi, gamma, 7)
    start, _ = fast.first_guess(window)
    level, slope, season = start.level, start.slope, list(start.season)
    for row, value in enumerate(window):
        expected = level + phi * slope + season[row % 7]
        error = value - expected
        level, slope = level + phi * slope + alpha * error, phi * slope + alpha * beta * error
        season[row % 7] += gamma * (1 - alpha) * error
    slow = level + np.cumsum(phi ** np.arange(1, 9)) * slope + [season[k % 7] for k in range(8)]
    np.testing.assert_allclose(fast.forecast(window, 8), slow)


def test_many_smoothers_and_windows_at_once_equal_one_at_a_time():
    rng = np.random.default_rng(2)
    windows = rng.normal(size=(3, 2, 30)) + week(5)[:30]
    parameters = np.array([[0.1, NONE, 1.0, NONE], [0.5, 0.1, 0.9, 0.2], [0.0, 0.0, 1.0, 1.0]])
    together = Smoother(*parameters.T[:, :, np.newaxis, np.newaxis], period=7)
    forecasts = together.forecast(windows, 10)
    assert forecasts.shape == (3, 3, 2, 10)
    for i, one in enumerate(parameters):
        alone = smoother(*one, period=7).forecast(windows[1, 1], 10)
        np.testing.assert_allclose(forecasts[i, 1, 1], alone)


def test_rows_missing_before_the_first_value_change_nothing():
    rng = np.random.default_rng(3)
    window = week(4, rng)
    padded = np.concatenate([np.full(11, np.nan), window])
    holt_winters = smoother(0.3, 0.1, 0.9, 0.2, 7)
    np.testing.assert_allclose(holt_winters.forecast(padded, 9), holt_winters.forecast(window, 9))


def test_a_missing_value_is_bridged():
    rng = np.random.default_rng(4)
    window = week(8, rng)
    window[[20, 33, 34]] = np.nan
    forecast = smoother(0.2, season=0.2, period=7).forecast(window, 7)
    np.testing.assert_allclose(forecast, week(1), atol=0.3)


def test_a_window_without_a_value_is_zero():
    assert smoother(0.5, 0.1, 1.0, 0.1, 7).forecast(np.full(20, np.nan), 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("row", [3, 30, -2, -1])
def test_a_spike_has_hardly_any_effect(row):
    window = week(8, np.random.default_rng(5))
    holt_winters = smoother(0.3, 0.1, 0.9, 0.2, 7)
    expected = holt_winters.forecast(window, 7)
    window[row] = 1000.0
    np.testing.assert_allclose(holt_winters.forecast(window, 7), expected, atol=0.3)


@pytest.mark.parametrize(
    "spikes",
    [{-1: 1e6, -2: 1.2e6}, {30: 900.0, 31: 1000.0}, {40: 500.0, 41: -500.0}, {7: 99.0, 14: 1e4}],
    ids=str,
)
def test_spikes_side_by_side_are_no_shift(spikes):
    window = week(8, np.random.default_rng(5))
    holt_winters = smoother(0.3, 0.1, 0.9, 0.2, 7)
    expected = holt_winters.forecast(window, 7)
    for row, value in spikes.items():
        window[row] = value
    np.testing.assert_allclose(holt_winters.forecast(window, 7), expected, atol=0.3)


@pytest.mark.parametrize("size", [1, -1.2, 20, -1e5])  # of 10 to a million deviations of the noise
@pytest.mark.parametrize("n_after", [2, 3, 5, 20, 40])
def test_a_shift_of_the_level_is_followed_by_the_second_value(n_after, size):
    window = week(8, np.random.default_rng(6))
    holt_winters = smoother(0.1, season=0.1, period=7)
    window[-n_after:] += size
    np.testing.assert_allclose(holt_winters.forecast(window, 7), size + week(1), atol=0.5)


def test_values_that_jump_about_are_followed_once_the_scale_has_grown():
    rng = np.random.default_rng(9)
    calm, wild = rng.normal(0, 0.1, 30), rng.normal(50, 10, 40)
    level = smoother(0.3).forecast(np.concatenate([calm, wild]), 1)
    assert abs(level[0] - 50) < 15


def test_forecasts_follow_scale_and_offset():
    window = week(6, np.random.default_rng(7))
    holt_winters = smoother(0.3, 0.1, 0.9, 0.2, 7)
    expected = 50 + 3 * holt_winters.forecast(window, 9)
    np.testing.assert_allclose(holt_winters.forecast(50 + 3 * window, 9), expected)


@pytest.mark.parametrize("n_values", [0, 1, 4, 5])
def test_nan_median_equals_that_of_numpy(n_values):
    values = np.random.default_rng(8).normal(size=(2, 5))
    values[:, n_values:] = np.nan
    expected = np.full(2, np.nan) if n_values == 0 else np.nanmedian(values, axis=1)
    np.testing.assert_allclose(nan_median(values), expected)
    np.testing.assert_allclose(nan_median(values.T, axis=0), expected)


def test_moving_average_of_a_whole_season_is_flat():
    for period in (6, 7):
        window = np.tile(np.arange(period, dtype=float), 4)
        averages = moving_average(window, period)
        inner = averages[period // 2 : len(window) - period // 2]
        np.testing.assert_allclose(inner, (period - 1) / 2)
        assert np.isnan(averages[: period // 2]).all()


def test_seasonal_pattern_begins_with_the_row_that_follows():
    np.testing.assert_allclose(seasonal_pattern(week(4)[:-3], 7), np.roll(week(1), 3), atol=1e-12)
    assert seasonal_pattern(np.arange(5.0), 7).tolist() == [0.0] * 7  # less than a season
