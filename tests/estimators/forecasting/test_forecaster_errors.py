"""Bad input to the forecaster: what it says, and that nothing is silently realigned."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def series():
    """Return 40 hours of two targets as a frame."""
    index = pd.date_range("2024-01-01", periods=40, freq="h")
    values = np.random.default_rng(0).normal(size=(40, 2))
    return pd.DataFrame(values, index, columns=["a", "b"])


@pytest.fixture
def fitted(make_forecaster, series):
    return make_forecaster().fit(series)


@pytest.fixture
def driven(make_forecaster, series):
    """Return a forecaster fitted on covariates a and b, with a target without a name."""
    return make_forecaster().fit(series, series["a"].to_numpy())


def ahead(series, start=1, n_rows=4):
    """Return a frame like `series` for rows that follow, `start` rows behind its last one."""
    index = pd.date_range(series.index[-1] + start * series.index.freq, periods=n_rows, freq="h")
    return pd.DataFrame(0.0, index, columns=series.columns)


def set_value(series, row, value):
    changed = series.copy()
    changed.iloc[row] = value
    return changed


# --- fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"horizon": 0}, "'horizon' parameter of S4Forecaster must be an int in the range"),
        ({"horizon": 2.5}, "'horizon' parameter of S4Forecaster must be an int"),
        ({"context_length": "long"}, "'context_length' parameter"),
        ({"loss": "mse"}, "'loss' parameter of S4Forecaster must be a str among"),
        ({"standardize": "series"}, "'standardize' parameter of S4Forecaster must be a str among"),
        ({"quantiles": [0.5, 0.1]}, r"quantiles must rise, got \[0.5, 0.1\]"),
        ({"quantiles": [0.0, 0.5]}, "quantiles must be levels above 0 and below 1"),
        ({"quantiles": []}, "quantiles must be levels above 0 and below 1"),
        (
            {"calendar": ["weekday"]},
            r"calendar must be None or a sequence of names among \['minute'",
        ),
        ({"calendar": []}, "calendar must be None or a sequence of names"),
    ],
)
def test_bad_parameter_is_named(make_forecaster, series, parameters, message):
    with pytest.raises(ValueError, match=message):
        make_forecaster(**parameters).fit(series)


@pytest.mark.parametrize("n_rows", [1, 4, 15])
def test_too_short_series_says_how_many_rows_it_needs(make_forecaster, series, n_rows):
    message = (
        rf"context_length \+ horizon = 12 \+ 4 rows at least to train on, got n_samples={n_rows}"
    )
    with pytest.raises(ValueError, match=message):
        make_forecaster().fit(series[:n_rows])


def test_too_short_series_for_given_validation_rows(make_forecaster, series):
    with pytest.raises(ValueError, match="12 \\+ 4 rows at least to train on, got n_samples=10"):
        make_forecaster().fit(series[:10], X_val=series[10:])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.iloc[::-1], ValueError, "must be sorted by time"),
        (lambda s: s.sample(frac=1, random_state=0), ValueError, "must be sorted by time"),
        (lambda s: s.drop(s.index[20]), ValueError, "must have equal steps, got 2024-01-01 19:00"),
        (lambda s: pd.concat([s, s[-1:]]), ValueError, "every time once, got 2024-01-02 15:00:00"),
        (lambda s: s.set_axis([f"t{i}" for i in range(40)]), TypeError, "must be a DatetimeIndex"),
        (lambda s: s[:0], ValueError, "0 sample"),
        (lambda s: set_value(s, 3, np.inf), ValueError, "contains infinity"),
        (lambda s: s.assign(b=np.nan), ValueError, "got only NaN for target 'b'"),
        (
            lambda s: s.assign(b="x"),
            TypeError,
            "Column 'b' of X must hold numbers, got 'x' of type",
        ),
        (lambda s: s.assign(b="1.5"), TypeError, "Column 'b' of X must hold numbers, got '1.5'"),
        (lambda s: s.assign(b=pd.Categorical(["x"] * 40)), TypeError, "Column 'b' of X must hold"),
        (lambda s: s.assign(b=s.index), TypeError, r"Column 'b' .* numbers, got datetime64\["),
        (lambda s: s.assign(b=list(s.index.date)), TypeError, "Column 'b' .* of type date"),
        (lambda s: s.assign(b=s.index.to_period()), TypeError, "Column 'b' .* of type Period"),
        (lambda s: s.index.to_numpy(), TypeError, r"X must hold numbers, got datetime64\["),
        (lambda s: ["1.5"] * 40, TypeError, "X must hold numbers, got '1.5' of type str"),
        (lambda s: s["a"].astype(str), TypeError, "X must hold numbers, got '.*' of type str"),
        (lambda s: s.set_axis(["a", "a"], axis=1), ValueError, "column name once, got 'a' twice"),
        (lambda s: s["a"] * np.nan, ValueError, "rows to train on, got only NaN. Pass more rows"),
        (lambda s: s["a"] * np.inf, ValueError, "X contains infinity"),
        (lambda s: None, TypeError, "X must be an array, a list of numbers, .* got None"),
        (lambda s: (x for x in s["a"]), TypeError, "X must be an array, .* got a generator"),
        (lambda s: s.to_numpy()[np.newaxis], ValueError, "Found array with dim 3"),
        (lambda s: 3.0, TypeError, "at least 1 dimension"),
    ],
)
def test_bad_series_is_refused(make_forecaster, series, change, error, message):
    with pytest.raises(error, match=message):
        make_forecaster().fit(change(series))


def test_covariates_that_are_no_numbers_are_refused(make_forecaster, series):
    y = series["a"].to_numpy()
    with pytest.raises(TypeError, match="Column 'time' of X must hold numbers, got datetime64"):
        make_forecaster().fit(series.assign(time=series.index), y)
    with pytest.raises(TypeError, match=r"y must hold numbers, got '1.5' of type str"):
        make_forecaster().fit(series, np.array(["1.5"] * 40, dtype=object))
    with pytest.raises(ValueError, match="X must have every column name once, got 'b' twice"):
        make_forecaster().fit(series.set_axis(["b", "b"], axis=1), y)


def test_masked_values_are_missing(make_forecaster, series):
    values, mask = series.to_numpy(), np.random.default_rng(1).random((40, 2)) < 0.2
    forecaster = make_forecaster().fit(np.ma.masked_array(np.where(mask, 1e9, values), mask))
    expected = make_forecaster().fit(np.where(mask, np.nan, values)).forecast()
    assert np.array_equal(forecaster.forecast(), expected)


def test_missing_values_are_refused_if_asked(make_forecaster, series):
    with pytest.raises(ValueError, match="missing='error', got NaN first in row 5"):
        make_forecaster(missing="error").fit(set_value(series, 5, np.nan))


def test_indexes_of_covariates_and_targets_must_agree(make_forecaster, series):
    with pytest.raises(ValueError, match="15:00:00 for X and 0 to 39 for y"):
        make_forecaster().fit(series, series["a"].reset_index(drop=True))
    with pytest.raises(ValueError, match="X and y must have the same index"):
        make_forecaster().fit(series, series["a"].shift(1, freq="h"))


def test_numbers_of_rows_must_agree(make_forecaster, series):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_forecaster().fit(series.to_numpy(), series["a"].to_numpy()[:-1])


def test_covariates_must_have_two_axes(make_forecaster, series):
    with pytest.raises(ValueError, match="Expected a 2-dimensional container"):
        make_forecaster().fit(series["a"], series["b"])


def test_validation_rows_must_follow(make_forecaster, series):
    with pytest.raises(ValueError, match="must follow those seen so far, from 2024-01-02 06:00:00"):
        make_forecaster().fit(series[:30], X_val=series[32:])
    with pytest.raises(ValueError, match="X_val must be given where y_val is"):
        make_forecaster().fit(series[:30], y_val=series["a"][30:])
    with pytest.raises(ValueError, match="Data must come as in fit, as the series alone"):
        make_forecaster().fit(series[:30], X_val=series[30:], y_val=series["a"][30:])


@pytest.mark.parametrize(
    ("weight", "message"),
    [(-np.ones(40), "no negative weight"), (np.ones(39), r"shape \(40,\), got \(39,\)")],
)
def test_bad_weights_are_refused(make_forecaster, series, weight, message):
    with pytest.raises(ValueError, match=message):
        make_forecaster().fit(series, sample_weight=weight)


def test_calendar_needs_dates(make_forecaster, series):
    with pytest.raises(TypeError, match="needs a DatetimeIndex or a PeriodIndex, got rows without"):
        make_forecaster(calendar=["hour"]).fit(series.to_numpy())


# --- predict -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (lambda s: ahead(s).iloc[[0, 1, 3]], ValueError, "must have no hole and be in order"),
        (lambda s: ahead(s).iloc[::-1], ValueError, "must have no hole and be in order"),
        (lambda s: ahead(s).iloc[[0, 0]], ValueError, "must have no hole and be in order"),
        (lambda s: s[3:], ValueError, "must begin after the first context_length_=12 rows"),
        (lambda s: s[3:].shift(-9, freq="h"), ValueError, "must continue that of fit"),
        (lambda s: ahead(s).shift(1, freq="30min"), ValueError, "in steps of h, got"),
        (lambda s: ahead(s).tz_localize("UTC"), TypeError, "must have a time zone if"),
        (lambda s: ahead(s).reset_index(drop=True), TypeError, "must be of the kind it had in fit"),
        (lambda s: ahead(s)[:0], ValueError, "got 0 rows"),
    ],
)
def test_bad_rows_to_forecast_are_refused(fitted, driven, series, rows, error, message):
    for forecaster in (fitted, driven):
        with pytest.raises(error, match=message):
            forecaster.predict(rows(series))


def test_default_index_that_starts_again_says_how_to_go_on(make_forecaster, series):
    X, y = pd.DataFrame({"p": series["a"].to_numpy()}), pd.Series(series["b"].to_numpy())
    forecaster = make_forecaster().fit(X, y)
    with pytest.raises(ValueError, match=r"go on from 40: set it, or pass X.to_numpy\(\)"):
        forecaster.predict(pd.DataFrame({"p": [1.0, 2.0]}))
    rows = pd.DataFrame({"p": [1.0, 2.0]}, index=[40, 41])
    assert np.array_equal(forecaster.predict(rows), forecaster.forecast(X_future=rows))


def test_index_is_refused_after_a_fit_without(make_forecaster, series):
    forecaster = make_forecaster().fit(series.to_numpy())
    with pytest.raises(ValueError, match=r"must come without an index, .* since fit had none"):
        forecaster.predict(ahead(series))


def test_features_must_be_those_of_fit(driven, series):
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing"):
        driven.predict(ahead(series)[["a"]])
    with pytest.raises(ValueError, match="must be in the same order"):
        driven.predict(ahead(series)[["b", "a"]])
    with pytest.raises(ValueError, match="X has 3 features, but S4Forecaster is expecting 2"):
        driven.fit(series.to_numpy(), series["a"].to_numpy()).predict(np.zeros((2, 3)))


def test_infinite_covariate_is_refused(driven, series):
    with pytest.raises(ValueError, match="Input X contains infinity"):
        driven.predict(set_value(ahead(series), 1, np.inf))


@pytest.mark.parametrize("coverage", [0.0, 1.0, 95])
def test_coverage_must_be_a_share(fitted, series, coverage):
    with pytest.raises(ValueError, match="coverage must be"):
        fitted.predict_interval(ahead(series), coverage)


@pytest.mark.parametrize("quantiles", ["a", ["low", "high"], [[0.1], [0.2, 0.3]], {"low": 0.1}])
def test_quantiles_must_be_numbers(fitted, series, quantiles):
    with pytest.raises(TypeError, match="quantiles must be a number or a sequence of numbers, got"):
        fitted.predict_quantiles(ahead(series), quantiles)


# --- forecast, update, score, backtest -----------------------------------------------------------


def test_bad_arguments_of_forecast_are_refused(fitted, driven, series):
    for horizon, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), ("day", TypeError)):
        with pytest.raises(error, match="horizon must be"):
            fitted.forecast(horizon)
    with pytest.raises(ValueError, match="X_future must be None, since fit got a series alone"):
        fitted.forecast(X_future=ahead(series))
    with pytest.raises(ValueError, match="X_future must have 4 rows and 2 columns"):
        driven.forecast()
    with pytest.raises(ValueError, match=r"the 3 rows from 2024-01-02 16:00:00 on .* got 4 rows"):
        driven.forecast(3, X_future=ahead(series))
    with pytest.raises(ValueError, match="got 4 rows from 2024-01-02 18:00:00 on"):
        driven.forecast(X_future=ahead(series, start=3))
    with pytest.raises(ValueError, match="The index of X_future must have no hole"):
        driven.forecast(X_future=ahead(series).iloc[[0, 2]])


def test_bad_history_is_refused(fitted, driven, series):
    with pytest.raises(
        ValueError, match="history must have context_length_=12 rows at least, got 5"
    ):
        fitted.forecast(history=series[:5])
    with pytest.raises(ValueError, match=r"history must be a tuple \(X, y\)"):
        driven.forecast(history=series, X_future=ahead(series))
    with pytest.raises(ValueError, match="only NaN for target 'a'"):
        fitted.forecast(history=series.assign(a=np.nan))
    with pytest.raises(ValueError, match="index of X must be at the steps of fit, h, got"):
        fitted.forecast(history=series.set_axis(pd.date_range("2024-01-01", periods=40)))
    with pytest.raises(ValueError, match="should match those that were passed during fit"):
        fitted.forecast(history=series[["b", "a"]])


def test_updates_must_follow(fitted, driven, series):
    for forecaster, y in ((fitted, None), (driven, np.zeros(4))):
        for start in (2, -3):
            with pytest.raises(ValueError, match="must follow those seen so far"):
                forecaster.update(ahead(series, start=start), y)
        before = forecaster.predict(ahead(series))
        assert np.array_equal(forecaster.predict(ahead(series)), before)
    with pytest.raises(ValueError, match="Data must come as in fit, as X and y, got y=None"):
        driven.update(ahead(series))
    with pytest.raises(ValueError, match=r"y must have shape \(n_timepoints,\) as in fit"):
        driven.update(ahead(series), np.zeros((4, 1)))


def test_score_needs_the_truth(driven, fitted, series):
    with pytest.raises(ValueError, match="y must be given, since fit got X and y"):
        driven.score(ahead(series))
    with pytest.raises(ValueError, match=r"shape \(n_timepoints, 2\) as in fit, got"):
        fitted.score(ahead(series)[["a"]])


def test_truth_of_other_columns_is_refused(make_forecaster, fitted, series):
    with pytest.raises(ValueError, match=r"X must have the columns of fit, \['a', 'b'\], got"):
        fitted.score(ahead(series)[["b", "a"]])
    both = make_forecaster().fit(series, series)
    with pytest.raises(ValueError, match=r"y must have the columns of fit, \['a', 'b'\], got"):
        both.score(ahead(series), ahead(series)[["b", "a"]])


def test_truth_of_other_times_is_refused(make_forecaster, driven, series):
    X, y = ahead(series), pd.Series(np.arange(4.0), ahead(series).index)
    for other in (y[::-1], y.shift(-5, freq="30D"), y.reset_index(drop=True)):
        with pytest.raises(ValueError, match="X and y must have the same index"):
            driven.score(X, other)
    labeled = make_forecaster().fit(series.to_numpy(), series["a"])
    with pytest.raises(ValueError, match="of y must have no hole and be in order"):
        labeled.score(X.to_numpy(), y[::-1])
    later = y.shift(2, freq="h")
    with pytest.raises(ValueError, match=r"from 2024-01-02 16:00:00 on, since X has no index"):
        labeled.score(X.to_numpy(), later)
    assert driven.score(X, y) == driven.score(X, y.to_numpy())
    assert labeled.score(X.to_numpy(), y) == labeled.score(X.to_numpy(), y.to_numpy())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        driven.score(X, y.to_numpy()[:3])


def test_bad_backtests_are_refused(fitted, series):
    with pytest.raises(ValueError, match=r"needs context_length_ \+ horizon = 12 \+ 4 rows"):
        fitted.backtest(series[:15])
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        fitted.backtest(series, stride=0)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        fitted.backtest(series, horizon=0)


def test_values_far_outside_of_training_say_so(make_forecaster, series):
    forecaster = make_forecaster(dtype="float32", standardize="global").fit(series)
    with pytest.raises(ValueError, match="The targets must be within the range of float32"):
        forecaster.forecast(history=series * 1e200)
