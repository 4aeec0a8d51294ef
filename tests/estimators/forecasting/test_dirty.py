"""Gaps and spikes of a history have little effect, whatever fit has seen."""

import numpy as np
import pytest

WAVE = 5 + 2 * np.sin(2 * np.pi * np.arange(240) / 24)


@pytest.fixture(scope="module", params=["window", "global", None])
def fitted(request):
    """Return a network alone that was fitted to a complete series."""
    from sks4 import S4Forecaster

    tiny = {"d_model": 4, "n_layers": 1, "d_state": 4, "patch_size": 4, "dropout": 0.0}
    tiny |= {"max_epochs": 10, "lr": 0.02, "batch_size": 32, "random_state": 0}
    tiny |= {"horizon": 8, "context_length": 48, "early_stopping": False}
    forecaster = S4Forecaster(loss="quantile", standardize=request.param, **tiny).fit(WAVE[:200])
    assert forecaster.base_ is None
    return forecaster


def change(forecaster, history):
    """Return the largest change of the forecast that other values in its history make."""
    expected = forecaster.forecast(history=WAVE[:200])
    return np.abs(forecaster.forecast(history=history) - expected).max()


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_gaps_after_a_fit_without_have_little_effect(fitted, share):
    history = WAVE[:200].copy()
    history[np.flatnonzero(np.random.default_rng(1).random(199) < share)] = np.nan
    assert change(fitted, history) < 0.25


@pytest.mark.parametrize("row", [160, 190, 199])
@pytest.mark.parametrize("factor", [100, -100, 1e6])
def test_a_spike_of_the_history_has_little_effect(fitted, row, factor):
    history = WAVE[:200].copy()
    history[row] *= factor
    assert change(fitted, history) < 0.8


@pytest.mark.parametrize("n_missing", [5, 12, 20])
def test_a_gap_before_the_origin_is_continued_by_the_season(fitted, n_missing):
    history = WAVE[:200].copy()
    history[-n_missing:] = np.nan
    assert change(fitted, history) < 0.25


@pytest.mark.parametrize("row", [60, 115, 130])
def test_a_covariate_far_from_all_others_is_not_read(row):
    from sks4 import S4Forecaster

    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 2))
    y = 3 * X[:, 0] + rng.normal(0, 0.1, 160)
    tiny = {"d_model": 4, "n_layers": 1, "d_state": 4, "patch_size": 4, "random_state": 0}
    tiny |= {"horizon": 8, "context_length": 16, "lr": 0.02, "max_epochs": 12}
    X[row, 0] = 5000.0
    forecaster = S4Forecaster(**tiny).fit(X[:140], y[:140])
    forecast = forecaster.forecast(20, X_future=X[140:])
    assert np.abs(forecast - y[140:]).mean() < 1.0  # the mean has an error of 2.4
    ends = forecaster.predict_interval(X[140:])
    assert np.ptp(ends, axis=1).max() < 8
