"""The unit of the series, of the covariates and of the weights does not matter."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sks4 import S4Forecaster

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 2, "patch_size": 4}
TINY |= {"horizon": 4, "context_length": 8, "dtype": "float64", "random_state": 0}

# two digits are lost where the offset is large, and training amplifies what is rounded
TOLERANCE = 1e-9


def series(seed):
    """Return a random walk, a noise, a constant, and one that is zero but for some rows."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(40, 4))
    values[:, 0] = values[:, 0].cumsum()
    values[:, 2] = 3.0
    values[:, 3] *= rng.random(40) < 0.2
    values[[3, 17], [0, 1]] = np.nan
    return values


units = st.tuples(st.floats(-9, 9).map(lambda e: 10.0**e), st.floats(-100, 100))


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 20),
    unit=units,
    standardize=st.sampled_from(["window", "global"]),
    loss=st.sampled_from(["absolute_error", "squared_error"]),
)
def test_forecasts_follow_the_unit_of_the_series(seed, unit, standardize, loss):
    scale, offset = unit[0], unit[0] * unit[1]
    y = series(seed)
    forecaster = S4Forecaster(standardize=standardize, loss=loss, early_stopping=True, **TINY)
    expected = forecaster.fit(y).forecast(7)
    interval = forecaster.predict_interval(np.empty((7, 0)))
    forecaster.fit(scale * y + offset)
    moved = (forecaster.forecast(7) - offset) / scale
    assert_allclose(moved, expected, atol=TOLERANCE, rtol=TOLERANCE)
    moved = (forecaster.predict_interval(np.empty((7, 0))) - offset) / scale
    # errors are kept in float32, over their own scale
    assert_allclose(moved, interval, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("standardize", ["window", "global"])
def test_constant_is_forecast_exactly_beside_others(standardize):
    for value in (0.0, 3.0, 1e-9, -1e12):
        y = series(0)
        y[:, 2] = value
        forecaster = S4Forecaster(standardize=standardize, **TINY).fit(y)
        assert_allclose(forecaster.forecast(9)[:, 2], value, rtol=1e-12)


@settings(max_examples=4, deadline=None)
@given(unit=units, constant=st.booleans())
def test_forecasts_do_not_depend_on_the_unit_of_covariates(unit, constant):
    scale, offset = unit[0], unit[0] * unit[1]
    rng = np.random.default_rng(0)
    X = np.full((44, 1), 5.0) if constant else rng.normal(size=(44, 1))
    y = series(1)[:, :2]
    forecasts = [
        S4Forecaster(**TINY).fit(x[:40], y).predict(x[40:]) for x in (X, scale * X + offset)
    ]
    assert_allclose(*forecasts, atol=TOLERANCE, rtol=TOLERANCE)


def test_covariate_that_was_constant_has_no_effect():
    y, X = series(0), np.ones((44, 1))
    forecaster = S4Forecaster(**TINY).fit(X[:40], y)
    assert_allclose(forecaster.predict(X[40:]), forecaster.predict(1e9 * X[40:]))


@pytest.mark.parametrize("unit", [1e-300, 1e-42, 1e12, 1e300])
def test_unit_of_the_weights_does_not_matter(unit):
    weight = np.random.default_rng(0).uniform(0.5, 2, 40)
    forecasts = [
        S4Forecaster(**TINY).fit(series(0), sample_weight=w).forecast()
        for w in (weight, unit * weight)
    ]
    assert_allclose(*forecasts, rtol=1e-9, atol=1e-9)


def test_tiny_and_huge_values_are_scaled():
    y = series(0)[:, :2]
    expected = S4Forecaster(**TINY).fit(y).forecast()
    for unit in (1e-200, 1e140):
        forecast = S4Forecaster(**TINY).fit(unit * y).forecast() / unit
        assert_allclose(forecast, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_other_history_than_that_of_fit_follows_its_own_unit():
    y = pd.Series(series(0)[:, 0]).ffill().to_numpy()
    forecaster = S4Forecaster(**TINY).fit(y)
    moved = forecaster.forecast(history=1e3 * y + 1e4)
    assert_allclose(moved, 1e3 * forecaster.forecast() + 1e4, rtol=1e-6)
