"""Rolling out forecasts and reading quantiles, with a rule in place of a trained net."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import Columns, SeriesEncoder
from sks4.estimators.forecasting._predictor import Forecasts, WindowPredictor, Windows

CONTEXT, HORIZON = 5, 3


class Rule:
    """Stands in for a net: the last value and 1, 2, ... more; quantiles around it, unsorted."""

    def __init__(self, spreads=None):
        self.spreads, self.contexts = spreads, []

    def predict_dataset(self, dataset, batch_sampler):
        inputs, _ = dataset.__getitems__(list(range(len(dataset))))
        context = inputs["context"].numpy()
        self.contexts.append(context)
        point = context[:, -1:] + np.arange(1, HORIZON + 1)[:, np.newaxis]
        return point if self.spreads is None else point[..., np.newaxis] + self.spreads


def predictor(values, net=None, levels=None, *, standardize=False):
    covariates = np.empty((len(values), 0))
    encoder = SeriesEncoder(standardize=standardize).fit(values, covariates)
    windows = Windows(encoder, CONTEXT, HORIZON, 1, levels, "float64")
    return WindowPredictor(net or Rule(), windows)


def columns(values):
    return Columns(values, np.empty((len(values), 0)), np.ones(len(values)))


def rows(n_rows=20, n_targets=2):
    return np.random.default_rng(0).normal(100, 30, (n_rows, n_targets))


@pytest.mark.parametrize("n_steps", [1, 3, 4, 11])
@pytest.mark.parametrize("standardize", [False, True])
def test_forecasts_roll_on_over_themselves(n_steps, standardize):
    values = rows()
    model = predictor(values, standardize=standardize)
    forecasts = model.ahead(columns(values), np.empty((n_steps, 0)))
    step = values.std(axis=0) if standardize else 1.0
    expected = values[-1] + np.arange(1, n_steps + 1)[:, np.newaxis] * step
    assert_allclose(forecasts.outputs[..., 0], expected)
    assert forecasts.steps.tolist() == list(range(n_steps))


def test_context_of_a_later_horizon_is_the_last_rows_and_the_forecasts():
    values = rows()
    net = Rule()
    predictor(values, net).ahead(columns(values), np.empty((9, 0)))
    first, second, third = (context[0] for context in net.contexts)
    ahead = values[-1] + np.arange(1, 7)[:, np.newaxis]
    assert_allclose(first, values[-5:])
    assert_allclose(second, np.concatenate([values[-2:], ahead[:3]]))
    assert_allclose(third, ahead[1:])


def test_rows_seen_are_forecast_from_the_row_before(monkeypatch):
    monkeypatch.setattr("sks4.estimators.forecasting._predictor._MAX_ORIGINS", 4)
    values = rows()
    forecasts = predictor(values).one_step_ahead(columns(values), 6, 17)
    assert_allclose(forecasts.outputs[..., 0], values[5:16] + 1)
    assert not forecasts.steps.any()


def test_backtest_meets_each_forecast_with_its_truth():
    values = rows()
    origins = np.array([5, 12, 18, 20])
    outputs, truths = predictor(values).backtest(columns(values), origins, 4)
    padded = np.concatenate([values, np.full((4, 2), np.nan)])
    for i, origin in enumerate(origins):
        assert_allclose(outputs[i, ..., 0], values[origin - 1] + np.arange(1, 5)[:, np.newaxis])
        assert_array_equal(truths[i], padded[origin : origin + 4])


def test_quantiles_that_cross_are_put_in_order_and_the_median_rolls_on():
    values, levels = rows(), np.array([0.1, 0.5, 0.9])
    spreads = np.array([0.0, 5.0, -7.0])  # in order: -7, 0, 5
    model = predictor(values, Rule(spreads), levels)
    outputs = model.ahead(columns(values), np.empty((7, 0))).outputs
    point = values[-1] + np.arange(1, 8)[:, np.newaxis]
    assert_allclose(outputs, point[..., np.newaxis] + np.sort(spreads))
    assert_allclose(model.point(outputs), point)


def test_point_between_levels_is_interpolated():
    values, levels = rows(), np.array([0.2, 0.8])
    model = predictor(values, Rule(np.array([-2.0, 4.0])), levels)
    outputs = np.array([[[-2.0, 4.0], [10.0, 12.0]]])
    assert_allclose(model.point(outputs), [[1.0, 11.0]])


def test_target_without_a_value_before_has_no_forecast():
    values = rows()
    values[:10, 1] = np.nan
    model = predictor(values)
    forecasts = model.one_step_ahead(columns(values), 8, 14).outputs[..., 0]
    assert_allclose(forecasts[:, 0], values[7:13, 0] + 1)
    assert np.isnan(forecasts[:3, 1]).all()
    assert_allclose(forecasts[3:, 1], values[10:13, 1] + 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_forecast_that_is_not_finite_is_refused(value):
    values = rows()
    model = predictor(values, Rule(np.array([value, 0.0])), np.array([0.1, 0.9]))
    with pytest.raises(ValueError, match="The model must give finite forecasts, got NaN or inf"):
        model.ahead(columns(values), np.empty((2, 0)))


def test_forecasts_are_cut_and_joined():
    forecasts = Forecasts(np.arange(12.0).reshape(4, 3, 1), np.arange(4))
    joined = forecasts[:1].followed_by(forecasts[1:])
    assert_array_equal(joined.outputs, forecasts.outputs)
    assert_array_equal(joined.steps, forecasts.steps)
