import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_pinball_loss

from sks4.metrics import mean_absolute_scaled_error, weighted_quantile_loss


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_mase_is_the_error_over_that_of_the_seasonal_naive_forecast(rng):
    train, true, predicted = rng.normal(size=(20, 2)), rng.normal(size=(5, 2)), np.zeros((5, 2))
    scale = np.abs(train[4:] - train[:-4]).mean(axis=0)
    expected = (np.abs(true - predicted) / scale).mean()
    score = mean_absolute_scaled_error(true, predicted, y_train=train, seasonality=4)
    assert score == pytest.approx(expected)
    swapped = mean_absolute_scaled_error(1e6 * true, predicted, y_train=1e6 * train, seasonality=4)
    assert swapped == pytest.approx(expected)


def test_mase_of_many_series_is_the_mean_over_them(rng):
    true = {"a": rng.normal(size=3), "b": 100 * rng.normal(size=4)}
    predicted = {"b": np.zeros(4), "a": np.zeros(3)}
    train = {"a": rng.normal(size=9), "b": 100 * rng.normal(size=12)}
    single = [
        mean_absolute_scaled_error(true[key], predicted[key], y_train=train[key]) for key in "ab"
    ]
    expected = pytest.approx(np.mean(single))
    assert mean_absolute_scaled_error(true, predicted, y_train=train) == expected

    def rows(parts):
        return pd.concat({key: pd.Series(part) for key, part in parts.items()})

    of_rows = mean_absolute_scaled_error(rows(true), rows(predicted), y_train=rows(train))
    assert of_rows == expected
    listed = [pd.Series(true[key]) for key in "ab"]
    others = {"y_train": [train[key] for key in "ab"]}
    assert mean_absolute_scaled_error(listed, [np.zeros(3), np.zeros(4)], **others) == expected


def test_missing_truths_are_left_out(rng):
    true, predicted = np.array([1.0, np.nan, 3.0]), np.array([2.0, 5.0, 5.0])
    assert mean_absolute_scaled_error(true, predicted, y_train=[0, 1, np.nan, 3, 4]) == 1.5
    quantiles = np.column_stack([predicted, predicted])
    assert weighted_quantile_loss(true, quantiles, quantiles=[0.4, 0.6]) == pytest.approx(3 / 4)


def test_quantile_loss_is_the_pinball_loss_over_the_truths(rng):
    true, forecast = rng.normal(size=30), np.sort(rng.normal(size=(30, 3)), axis=1)
    levels = [0.1, 0.5, 0.8]
    pinball = [
        mean_pinball_loss(true, forecast[:, i], alpha=level) for i, level in enumerate(levels)
    ]
    expected = 2 * np.mean(pinball) / np.abs(true).mean()
    assert weighted_quantile_loss(true, forecast, quantiles=levels) == pytest.approx(expected)
    many = {"a": true[:10], "b": true[10:]}
    quantiles = {"a": forecast[:10], "b": forecast[10:]}
    assert weighted_quantile_loss(many, quantiles, quantiles=levels) == pytest.approx(expected)
    both, table = np.column_stack([true, true]), np.stack([forecast, forecast], axis=1)
    assert weighted_quantile_loss(both, table, quantiles=levels) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, q: f([1, 2], [1], y_train=[1, 2]), r"must have one shape, got \(2, 1\)"),
        (lambda f, q: f([1], [1], y_train=[1, 1, 1]), "y_train must vary from season to season"),
        (lambda f, q: f([1], [1], y_train=[1]), "two values that are seasonality=1 rows apart"),
        (lambda f, q: f({"a": [1]}, {"b": [1]}, y_train={"a": [1, 2]}), "y_pred must hold the ser"),
        (lambda f, q: f({"a": [1]}, {"a": [1]}, y_train={"a": [1, 1]}), "y_train of series 'a'"),
        (lambda f, q: f([np.nan], [1], y_train=[1, 2]), "y_true must have a value"),
        (lambda f, q: q([1], [[1, 2]], quantiles=[0.5, 1]), "above 0 and below 1"),
        (lambda f, q: q([1], [[1, 2, 3]], quantiles=[0.2, 0.5]), "2 quantiles in the last axis"),
        (lambda f, q: q([0], [[1]], quantiles=[0.5]), "value that is not zero"),
    ],
)
def test_what_has_no_score_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(mean_absolute_scaled_error, weighted_quantile_loss)
