import numpy as np
import pytest

from sks4.data import Smoother, SmoothingState
from sks4.estimators.forecasting import _likely_smoothers as likely
from sks4.estimators.forecasting._likely_smoothers import choose_likely, smooth_from_fitted_start

# Level, slope, damping and season of smoothers; NaN for none.
PARAMETERS = [
    (0.0, np.nan, 1.0, np.nan),
    (0.3, 0.2, 0.9, 0.5),
    (0.0, 0.0, 1.0, 0.0),
    (1.0, 0.1, 1.0, np.nan),
    (0.2, np.nan, 1.0, 0.4),
]


def smoothers(*parameters, period=4):
    return Smoother(*np.array(parameters).T[:, :, np.newaxis, np.newaxis], period)


def series(n_rows, seed=0, slope=0.02):
    rng, rows = np.random.default_rng(seed), np.arange(n_rows)
    season = np.array([1.0, -0.5, 0.3, -0.8])[rows % 4]
    return season + slope * rows + rng.normal(0, 0.3, n_rows)


def test_effects_are_those_of_a_changed_start():
    window, some = series(23)[np.newaxis, np.newaxis], smoothers(*PARAMETERS)
    guess, scale = some.first_guess(window)
    scale = np.full_like(scale, 1e6)  # nothing is a spike, so that errors are linear in the start
    before, after = np.empty((2, *guess.level.shape, 23))
    some.follow(window, guess, scale, before)
    effects = likely._effects_of_start(some, 23)
    first = -23 % 4  # the row of the season that the window begins with
    changes = [
        SmoothingState(guess.level + 1, guess.slope, guess.season, guess.damping),
        SmoothingState(guess.level, guess.slope + 1, guess.season, guess.damping),
    ]
    for row in range(4):
        season = guess.season.copy()
        season[(first + row) % 4] += 1
        changes.append(SmoothingState(guess.level, guess.slope, season, guess.damping))
    has_slope, has_season = ~np.isnan(some.slope), ~np.isnan(some.season)
    for number, start in enumerate(changes):
        some.follow(window, start, scale, after)
        exists = [np.ones_like(has_slope), has_slope][number] if number < 2 else has_season
        expected = (before - after)[:, 0, 0] * exists[:, 0]
        np.testing.assert_allclose(effects[..., number], expected, atol=1e-12)


def test_fixed_components_are_a_ridge_regression():
    window = series(41)
    fixed = smoothers((0.0, 0.0, 1.0, 0.0))
    state, errors = smooth_from_fitted_start(fixed, window[np.newaxis, np.newaxis])
    rows = np.arange(1, 46)
    design = np.column_stack([np.ones(45), rows, np.eye(4)[np.arange(45) % 4]])
    guess, _ = fixed.first_guess(window[np.newaxis, np.newaxis])
    season = np.roll(guess.season[:, 0, 0, 0], 41 % 4)
    center = np.concatenate([[guess.level.item(), guess.slope.item()], season])
    gram = design[:41].T @ design[:41] + np.eye(6)
    start = center + np.linalg.solve(gram, design[:41].T @ (window - design[:41] @ center))
    np.testing.assert_allclose(errors[0, 0, 0], window - design[:41] @ start, atol=1e-9)
    np.testing.assert_allclose(state.extend(4)[0, 0, 0], design[41:] @ start, atol=1e-9)


def test_rows_before_the_first_value_change_nothing():
    values, some = series(30), smoothers(*PARAMETERS)
    padded = np.concatenate([np.full(9, np.nan), values])
    windows = np.stack([padded, np.concatenate([padded[4:], [0.0] * 4])])[:, np.newaxis]
    together, _ = smooth_from_fitted_start(some, windows)
    alone, _ = smooth_from_fitted_start(some, values[np.newaxis, np.newaxis])
    np.testing.assert_allclose(together.extend(6)[:, 0], alone.extend(6)[:, 0], atol=1e-10)


def test_long_seasons_start_from_the_first_guess(monkeypatch):
    window, some = series(30)[np.newaxis, np.newaxis], smoothers(*PARAMETERS)
    fitted, _ = smooth_from_fitted_start(some, window)
    monkeypatch.setattr(likely, "_LONGEST_FITTED", 3)
    guessed, _ = smooth_from_fitted_start(some, window)
    np.testing.assert_array_equal(guessed.extend(5), some.forecast(window, 5))
    assert not np.allclose(guessed.extend(5), fitted.extend(5))


def test_errors_of_missing_values_and_spikes_do_not_count():
    values = series(60)
    values[20], values[40] = np.nan, 1e4
    _, errors = smooth_from_fitted_start(smoothers(*PARAMETERS), values[np.newaxis, np.newaxis])
    assert np.isnan(errors[..., [20, 40]]).all()
    assert np.nanmax(np.abs(errors)) < 10


def choose(values, *parameters):
    some = smoothers(*parameters)
    return choose_likely(values, [(some, np.ones(len(parameters), bool))])


def test_the_likely_smoother_has_what_the_series_has():
    flat = np.random.default_rng(1).normal(size=(80, 1))
    level, trend, season = PARAMETERS[0], (0.0, 0.0, 1.0, np.nan), (0.0, np.nan, 1.0, 0.0)
    assert np.isnan(choose(flat, level, trend, season).smoother.slope[0]).all()
    steep = flat + 0.1 * np.arange(80)[:, np.newaxis]
    assert choose(steep, level, trend, season).smoother.slope[0].item() == 0.0
    weekly = series(80, slope=0.0)[:, np.newaxis]
    chosen = choose(weekly, level, trend, season)
    assert chosen.smoother.season[0].item() == 0.0
    assert chosen.weights[0] > 0.99


def test_weights_sum_to_one_and_fall():
    chosen = choose(series(50)[:, np.newaxis], *PARAMETERS)
    assert len(chosen.weights) == likely._MAX_MEMBERS
    assert chosen.weights.sum() == pytest.approx(1.0)
    assert (np.diff(chosen.weights) <= 0).all()


def test_only_what_may_be_chosen_is():
    some = smoothers(*PARAMETERS)
    allowed = np.array([True, False, False, False, False])
    chosen = choose_likely(series(50)[:, np.newaxis], [(some, ~allowed & False), (some, allowed)])
    assert chosen.smoother.level.tolist() == [[[0.0]]]
    assert np.isnan(chosen.smoother.season).all()


def test_forecasts_of_many_windows_and_targets_are_those_of_each(monkeypatch):
    monkeypatch.setattr(likely, "_WINDOWS_AT_ONCE", 2)
    windows = np.stack([np.stack([series(30, seed), series(30, seed + 9)]) for seed in range(5)])
    chosen = choose(windows[0].T, *PARAMETERS)
    together = chosen.forecast(windows, 7)
    assert together.shape == (5, 2, 7)
    for window, forecast in zip(windows, together, strict=True):
        for values, one in zip(window, forecast, strict=True):
            np.testing.assert_allclose(chosen.forecast(values[None, None], 7)[0, 0], one)


def test_a_spike_and_the_unit_change_little():
    values = series(60)[:, np.newaxis]
    chosen = choose(values, *PARAMETERS)
    before = chosen.forecast(values.T[np.newaxis], 4)
    spiked = values.copy()
    spiked[30] = 1e5
    assert np.abs(chosen.forecast(spiked.T[np.newaxis], 4) - before).max() < 0.2
    thousand = choose(1000 * values, *PARAMETERS)
    np.testing.assert_allclose(thousand.forecast(1000 * values.T[np.newaxis], 4), 1000 * before)
