"""Streams of forecasters against forecast on everything pushed."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

# what the interface promises in float32
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def rows(n_rows=70, n_targets=2, share=0.0, seed=0):
    """Return series (n_rows, n_targets), some values missing."""
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(n_rows)[:, np.newaxis] / [2, 5][:n_targets])
    values = 3 + 2 * values + rng.normal(0, 0.3, (n_rows, n_targets))
    values[rng.random(values.shape) < share] = np.nan
    return values


@pytest.fixture
def fitted(make_forecaster):
    """Return a function that fits a forecaster in float32."""

    def fit(share=0.0, n_targets=2, **options):
        options = {"dtype": "float32", "max_epochs": 1} | options
        return make_forecaster(**options).fit(rows(n_targets=n_targets, share=share))

    return fit


@pytest.mark.parametrize(
    ("standardize", "channels", "share"),
    list(itertools.product(["window", "global", None], ["independent", "mixed"], [0.0, 0.4])),
)
def test_stream_forecasts_like_the_estimator_after_each_row(fitted, standardize, channels, share):
    forecaster = fitted(share, standardize=standardize, channels=channels)
    values = rows(30, share=share, seed=1)
    values[20:] = np.where(np.arange(10)[:, np.newaxis] < 3, np.nan, values[20:])
    stream = forecaster.stream().push(values[:11].T)
    for t in range(11, 30):
        assert stream.push(values[t]) is stream
        expected = forecaster.forecast(history=values[: t + 1])
        assert_allclose(stream.forecast(), expected, **TOLERANCE)
    assert_allclose(stream.forecast(31), forecaster.forecast(31, history=values), **TOLERANCE)


@pytest.mark.parametrize(
    "options", [{"patch_size": 5}, {"loss": "quantile"}, {"bidirectional": True}]
)
def test_any_model_can_be_streamed(fitted, options):
    forecaster, values = fitted(**options), rows(25, seed=2)
    stream = forecaster.stream().push(values.T)
    assert_allclose(stream.forecast(9), forecaster.forecast(9, history=values), **TOLERANCE)


@pytest.mark.parametrize("missing", ["mask", "ffill"])
def test_gaps_longer_than_the_context_have_the_last_value_before(fitted, missing):
    forecaster, values = fitted(0.2, missing=missing), rows(60, seed=3)
    values[:20, 0] = values[25:45, 1] = np.nan
    stream = forecaster.stream()
    for t in range(60):
        stream.push(values[t])
        if t >= 20:
            expected = forecaster.forecast(history=values[: t + 1])
            assert_allclose(stream.forecast(), expected, **TOLERANCE)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_several_streams_are_one_batch(fitted, n_targets, monkeypatch):
    forecaster = fitted(0.2, n_targets)
    values = np.stack([rows(40, n_targets, 0.2, seed) for seed in range(3)])
    streams = forecaster.stream(n_streams=3)
    streams.push(values[:, :30].swapaxes(1, 2)).push(values[:, 30])
    streams.push(values[:, 31:].swapaxes(1, 2))
    net, sizes = streams._predictor.net, []
    predict = net.predict_dataset
    monkeypatch.setattr(net, "predict_dataset", lambda *a: sizes.append(len(a[0])) or predict(*a))
    forecasts = streams.forecast(9)
    assert forecasts.shape == (3, 9, n_targets)
    assert sizes == [3, 3, 3]
    for forecast, history in zip(forecasts, values, strict=True):
        assert_allclose(forecast, forecaster.forecast(9, history=history), **TOLERANCE)


def test_forecasts_have_the_axes_of_fit(make_forecaster):
    series = pd.Series(rows(70, 1)[:, 0], pd.date_range("2024-01-01", periods=70), name="tide")
    forecaster = make_forecaster().fit(series)
    stream = forecaster.stream().push(series.to_frame())
    assert_allclose(stream.forecast(6), forecaster.forecast(6), **TOLERANCE)
    streams = forecaster.stream(n_streams=2).push(np.stack([series, series])[:, np.newaxis])
    expected = forecaster.forecast().to_numpy()
    assert_allclose(streams.forecast(), [expected, expected], **TOLERANCE)


def test_memory_does_not_grow(fitted):
    stream = fitted().stream().push(rows(20).T)
    size = len(pickle.dumps(stream))
    for _ in range(5):
        stream.push(rows(500).T)
    assert len(pickle.dumps(stream)) <= size + 20
    assert stream.n_pushed == 2520


def test_copy_pickle_and_reset(fitted):
    forecaster, values = fitted(), rows(40, seed=4)
    stream = forecaster.stream().push(values[:20].T)
    before = stream.forecast()
    other, stored = stream.copy(), pickle.loads(pickle.dumps(stream))
    other.push(values[20:].T)
    assert_array_equal(stream.forecast(), before)
    assert_array_equal(stored.push(values[20:].T).forecast(), other.forecast())
    again = other.reset().push(values[:20].T)
    assert_array_equal(again.forecast(), before)


def test_stream_keeps_its_weights(fitted):
    forecaster, values = fitted(), rows(40, seed=5)
    stream = forecaster.stream().push(values.T)
    before = stream.forecast()
    forecaster.partial_fit(values)
    assert_array_equal(stream.forecast(), before)
    assert not np.allclose(forecaster.forecast(history=values), before)


def test_errors_say_what_to_do(fitted, make_forecaster):
    with pytest.raises(NotFittedError):
        make_forecaster().stream()
    forecaster = fitted(missing="error")
    stream = forecaster.stream()
    with pytest.raises(ValueError, match=r"context_length_=12 rows at least.*got 11"):
        stream.push(rows(11).T).forecast()
    before = stream.push(rows(1)[0]).forecast()
    assert_allclose(
        before, forecaster.forecast(history=np.vstack([rows(11), rows(1)])), **TOLERANCE
    )
    for bad, message in [
        ([np.nan, 1.0], "no missing values"),
        ([np.inf, 1.0], "finite"),
        ([1e60, 1.0], "range of float32"),
        ([1.0], r"shape \(2,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            stream.push(bad)
    assert_array_equal(stream.forecast(), before)
    with pytest.raises(ValueError, match="horizon"):
        stream.forecast(0)
    with pytest.raises(ValueError, match="n_streams"):
        forecaster.stream(0)
    values = rows(12)
    values[:, 1] = np.nan
    with pytest.raises(ValueError, match="only NaN for target 1 of stream 0"):
        fitted(0.2).stream().push(values.T).forecast()


def test_covariates_and_calendar_are_refused(make_forecaster):
    values = rows()
    dated = pd.DataFrame(values, pd.date_range("2024-01-01", periods=70))
    forecasters = [
        make_forecaster().fit(values[:, :1], values[:, 1]),
        make_forecaster(calendar=["day_of_week"]).fit(dated),
    ]
    for forecaster in forecasters:
        with pytest.raises(ValueError, match="use update and forecast"):
            forecaster.stream()


def test_pushed_columns_must_be_those_of_fit(make_forecaster):
    frame = pd.DataFrame(rows(), columns=["north", "east"])
    stream = make_forecaster().fit(frame).stream().push(frame)
    with pytest.raises(ValueError, match=r"columns of fit, \['north', 'east'\]"):
        stream.push(frame[["east", "north"]])
    assert stream.n_pushed == len(frame)
