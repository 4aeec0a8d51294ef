"""What the forecaster forecasts: rows, gaps, histories, covariates, quantiles, backtests."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

from sks4.exceptions import ValidationSplitWarning


@pytest.fixture
def series():
    """Return 60 hours of two noisy cycles, as a frame."""
    rng = np.random.default_rng(0)
    hours = np.arange(60)
    values = np.sin(2 * np.pi * hours[:, np.newaxis] / [12, 8]) + rng.normal(0, 0.1, (60, 2))
    index = pd.date_range("2024-01-01", periods=60, freq="h")
    return pd.DataFrame(values * [1, 100] + [5, -300], index, columns=["tide", "load"])


@pytest.fixture
def driven():
    """Return X and y of 80 days, where y follows X on the same day."""
    rng = np.random.default_rng(1)
    index = pd.period_range("2024-01-01", periods=80, freq="D")
    X = pd.DataFrame(rng.normal(size=(80, 2)), index, columns=["price", "holiday"])
    return X, (3 * X["price"] + 10).rename("sales")


def later(data, n_rows, step=1):
    """Return an empty frame for rows that follow, `step` rows behind the last one."""
    index = data.index
    start = index[-1] + step * index.freq
    make = pd.period_range if isinstance(index, pd.PeriodIndex) else pd.date_range
    return pd.DataFrame(index=make(start, periods=n_rows, freq=index.freq))


# --- what comes out ------------------------------------------------------------------------------


def test_forecast_has_the_labels_of_the_rows_that_follow(make_forecaster, series):
    forecast = make_forecaster().fit(series).forecast()
    assert forecast.index.equals(pd.date_range("2024-01-03 12:00", periods=4, freq="h"))
    assert forecast.columns.tolist() == ["tide", "load"]
    one = make_forecaster().fit(series["tide"]).forecast(6)
    assert one.name == "tide"
    assert one.index[-1] == pd.Timestamp("2024-01-03 17:00")


def test_forecast_of_arrays_is_an_array_of_their_axes(make_forecaster, series):
    values = series.to_numpy()
    for data, frame in ((values, series), (values[:, :1], series[["tide"]])):
        expected = make_forecaster().fit(frame).forecast(5).to_numpy()
        assert_array_equal(make_forecaster().fit(data).forecast(5), expected, strict=True)
    expected = make_forecaster().fit(series["tide"]).forecast(5).to_numpy()
    one = make_forecaster().fit(values[:, 0])
    assert_array_equal(one.forecast(5), expected, strict=True)
    listed = make_forecaster().fit(values[:, 0].tolist())
    assert_array_equal(listed.predict(np.empty((5, 0))), expected, strict=True)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2024-01-31", periods=60, freq="ME"),
        pd.period_range("2024-01", periods=60, freq="M"),
        pd.RangeIndex(100, 160),
    ],
    ids=["dates", "periods", "integers"],
)
def test_every_kind_of_index_gives_the_same_forecasts_as_an_array(make_forecaster, series, index):
    values = series["tide"].to_numpy()
    expected = make_forecaster().fit(values).forecast(9)
    forecaster = make_forecaster().fit(pd.Series(values[:54], index[:54]))
    forecaster.update(pd.Series(values[54:], index[54:]))
    plain = make_forecaster().fit(values[:54]).update(values[54:])
    assert_array_equal(forecaster.forecast(9), plain.forecast(9))
    whole = make_forecaster().fit(pd.Series(values, index))
    assert_array_equal(whole.forecast(9), expected)
    assert_array_equal(whole.predict(pd.DataFrame(index=whole.forecast(9).index)), expected)


def test_predict_equals_forecast_for_the_rows_that_follow(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    expected = forecaster.forecast(7)
    assert_array_equal(forecaster.predict(np.empty((7, 0))), expected)
    assert_array_equal(forecaster.predict(later(series, 7)), expected)
    assert_array_equal(forecaster.predict(later(series, 2, step=6)), expected[5:])


def test_rows_seen_are_forecast_one_step_ahead_from_the_context_before(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    predicted = forecaster.predict(series[20:])
    for row in (20, 33, 59):
        expected = forecaster.forecast(1, history=series[:row])
        assert_allclose(predicted[row - 20], expected.to_numpy()[0], rtol=1e-9)
    both = forecaster.predict(pd.concat([series[50:], later(series, 5)]))
    assert_array_equal(both[:10], predicted[30:])
    assert_array_equal(both[10:], forecaster.forecast(5))


def test_forecasts_roll_on_over_themselves(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    rolled = forecaster.forecast(10)
    history = series
    for start in (0, 4, 8):
        step = forecaster.forecast(history=history)
        assert_allclose(step[: 10 - start], rolled[start : start + 4], rtol=1e-9)
        history = pd.concat([history, step])


def test_forecast_from_another_history_needs_no_fit(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    expected = forecaster.forecast()
    shifted = series.set_axis(series.index + pd.Timedelta("100D"))
    elsewhere = forecaster.forecast(history=shifted[-12:])
    assert_allclose(elsewhere, expected, rtol=1e-9)
    assert elsewhere.index[0] == expected.index[0] + pd.Timedelta("100D")
    assert_array_equal(forecaster.forecast(), expected)
    one = make_forecaster().fit(series["tide"])
    plain = one.forecast(history=series["tide"].to_numpy())
    assert isinstance(plain, np.ndarray)
    assert_array_equal(plain, one.forecast())


def test_level_and_scale_of_the_window_carry_over(make_forecaster, series):
    forecaster = make_forecaster(max_epochs=1).fit(series)
    expected = forecaster.forecast()
    moved = forecaster.forecast(history=series * 7 + 1000)
    assert_allclose(moved, expected * 7 + 1000, rtol=1e-3)
    fixed = make_forecaster(max_epochs=1, standardize="global").fit(series)
    assert not np.allclose(fixed.forecast(history=series + 50), fixed.forecast() + 50, rtol=1e-3)


def test_constant_series_is_forecast_as_constant(make_forecaster):
    assert_allclose(make_forecaster(max_epochs=5).fit(np.full(40, 7.0)).forecast(9), 7, rtol=1e-3)


def test_forecaster_learns_a_cycle(make_forecaster, series):
    forecaster = make_forecaster(max_epochs=30, lr=0.02, d_model=8).fit(series[:50])
    assert forecaster.score(series[50:]) > 0.8


def test_independent_channels_do_not_see_each_other_and_mixed_ones_do(make_forecaster, series):
    changed = series.assign(load=series["load"].to_numpy()[::-1])
    for channels, same in (("independent", True), ("mixed", False)):
        forecaster = make_forecaster(channels=channels).fit(series)
        forecasts = [forecaster.forecast(history=data)["tide"] for data in (series, changed)]
        assert np.allclose(*forecasts, rtol=1e-9) is same


@pytest.mark.parametrize("pooling", ["all", "last", "mean", "max"])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_losses_and_poolings_learn(make_forecaster, series, loss, pooling):
    parameters = {"max_epochs": 8, "lr": 0.03, "dropout": 0.0, "lr_schedule": None}
    forecaster = make_forecaster(loss=loss, pooling=pooling, **parameters).fit(series)
    assert forecaster.history_[-1, "train_loss"] < 0.9 * forecaster.history_[0, "train_loss"]


# --- missing values ------------------------------------------------------------------------------


def test_missing_values_are_no_targets(make_forecaster, series):
    gaps = series.copy()
    gaps.iloc[30:35] = np.nan
    forecaster = make_forecaster(missing="mask").fit(gaps)
    weight = sum(forecaster.history_[0, "batches", :, "train_weight"])
    n_windows = 60 - 12 - 4 + 1
    assert weight == n_windows * 4 * 2 - 5 * 4 * 2
    wrong = series.to_numpy(copy=True)
    wrong[30:35] = 1e6
    from_masked = make_forecaster(missing="mask").fit(np.ma.array(wrong, mask=gaps.isna()))
    assert_array_equal(from_masked.forecast(), forecaster.forecast())


@pytest.mark.parametrize(("missing", "same"), [("mask", True), ("ffill", False)])
def test_what_fills_a_missing_value_has_no_effect_with_a_mask(
    make_forecaster, series, missing, same
):
    gaps = series.copy()
    gaps.iloc[-12] = np.nan  # the first row of the context, filled by the row before it
    moved = gaps.copy()
    moved.iloc[-13] += [3.0, 300.0]
    forecaster = make_forecaster(missing=missing).fit(gaps)
    forecasts = forecaster.forecast(), forecaster.forecast(history=moved)
    assert np.allclose(*forecasts, rtol=1e-9) is same


def test_gaps_in_a_real_series_are_bridged(make_forecaster, weekly):
    assert weekly.isna().sum() > 5
    forecast = make_forecaster(max_epochs=5).fit(weekly).forecast()
    assert forecast.index.freqstr == "W-SAT"
    assert forecast.between(weekly.min() - 5, weekly.max() + 5).all()


def test_missing_truth_is_left_out_of_the_score(make_forecaster, series):
    forecaster = make_forecaster().fit(series[:50])
    truth = series[50:].copy()
    truth.iloc[3, 1] = np.nan
    kept = np.arange(10) != 3
    expected = r2_score(series[50:][kept], forecaster.predict(series[50:])[kept])
    assert forecaster.score(truth) == pytest.approx(expected)


# --- covariates ----------------------------------------------------------------------------------


def test_covariates_of_a_row_act_on_its_forecast(make_forecaster, driven):
    X, y = driven
    forecaster = make_forecaster(max_epochs=60, lr=0.03, dropout=0.0).fit(X[:60], y[:60])
    assert forecaster.score(X[60:], y[60:]) > 0.8
    changed = X[60:].copy()
    changed.iloc[10] += 3
    difference = forecaster.predict(changed) - forecaster.predict(X[60:])
    assert_allclose(difference[:10], 0, atol=1e-9)
    assert difference[10] > 1


def test_forecast_takes_the_covariates_of_the_future(make_forecaster, driven):
    X, y = driven
    forecaster = make_forecaster().fit(X[:60], y[:60])
    expected = forecaster.predict(X[60:70])
    forecast = forecaster.forecast(X_future=X[60:70])
    assert_array_equal(forecast, expected)
    assert forecast.index.equals(X.index[60:70])
    pair = (X[:60], y[:60])
    assert_array_equal(forecaster.forecast(10, history=pair, X_future=X[60:70]), expected)


def test_covariates_stay_as_they_were_in_a_gap(make_forecaster, driven):
    X, y = driven
    forecaster = make_forecaster().fit(X[:60], y[:60])
    filled = X[60:70].copy()
    filled.iloc[:4] = X.iloc[59]
    assert_allclose(forecaster.predict(X[64:70]), forecaster.predict(filled)[4:], rtol=1e-9)


def test_covariates_may_have_no_columns_or_gaps(make_forecaster, driven):
    X, y = driven
    empty = make_forecaster().fit(X[[]], y)
    assert empty.n_features_in_ == 0
    assert_array_equal(empty.forecast(), make_forecaster().fit(y).forecast())
    holes = X.copy()
    holes.iloc[[0, 30, -1], 0] = np.nan
    forecaster = make_forecaster().fit(holes[:70], y[:70])
    predicted = forecaster.predict(holes[70:])
    expected = forecaster.predict(X[70:])
    assert_allclose(predicted[:-1], expected[:-1], rtol=1e-9)
    assert np.isfinite(predicted[-1])
    assert predicted[-1] != expected[-1]


def test_index_may_come_with_covariates_or_with_targets(make_forecaster, driven):
    X, y = driven
    for data in ((X, y), (X, y.to_numpy()), (X.to_numpy(), y)):
        forecaster = make_forecaster().fit(*data)
        future = data[0][:4]
        if isinstance(future, pd.DataFrame):
            future = future.set_axis(later(X, 4).index)
        forecast = forecaster.forecast(X_future=future)
        assert forecast.index[0] == pd.Period("2024-03-21", "D")


def test_calendar_makes_covariates_of_the_index(make_forecaster):
    index = pd.date_range("2024-01-01", periods=24 * 16, freq="h")
    busy = pd.Series(np.where(index.hour.isin(range(8, 18)), 5.0, 0.0), index)
    busy[index.day_of_week >= 5] = 0
    plain = {"max_epochs": 10, "lr": 0.03, "dropout": 0.0, "context_length": 6, "batch_size": 32}
    with_calendar = make_forecaster(calendar=["hour", "day_of_week"], **plain).fit(busy[:-48])
    without = make_forecaster(**plain).fit(busy[:-48])
    assert with_calendar.score(busy[-48:]) > max(0.6, without.score(busy[-48:]))
    assert with_calendar.n_features_in_ == 1
    assert_array_equal(with_calendar.forecast(48), with_calendar.predict(np.zeros(48)))
    assert_array_equal(
        with_calendar.predict(busy[-30:]), with_calendar.forecast(48).to_numpy()[-30:]
    )


# --- what is seen --------------------------------------------------------------------------------


def test_update_moves_on_without_training(make_forecaster, series):
    forecaster = make_forecaster().fit(series[:50])
    before = [value.clone() for value in forecaster.net_.module_.state_dict().values()]
    forecaster.update(series[50:55]).update(series[55:])
    after = forecaster.net_.module_.state_dict().values()
    assert all(map(torch.equal, before, after))
    assert_allclose(forecaster.forecast(), forecaster.forecast(history=series), rtol=1e-9)
    assert forecaster.forecast().index[0] == pd.Timestamp("2024-01-03 12:00")


def test_partial_fit_trains_on_the_windows_that_end_in_new_rows(make_forecaster, series):
    forecaster = make_forecaster().partial_fit(series[:50])
    assert sum(forecaster.history_[0, "batches", :, "train_batch_size"]) == 50 - 12 - 4 + 1
    forecaster.partial_fit(series[50:])
    assert sum(forecaster.history_[1, "batches", :, "train_batch_size"]) == 10
    assert forecaster.forecast().index[0] == pd.Timestamp("2024-01-03 12:00")


def test_partial_fit_appends_rows_without_a_target(make_forecaster, series):
    forecaster = make_forecaster(horizon=1).fit(series[:50])
    forecaster.partial_fit(series[50:52] * np.nan)
    assert forecaster.n_epochs_ == 2
    assert forecaster.partial_fit(series[52:]).n_epochs_ == 3
    assert forecaster.forecast(1).index[0] == pd.Timestamp("2024-01-03 12:00")


def test_validation_rows_are_the_last_ones(make_forecaster, series):
    # quantiles have no base, which would be chosen from the validation rows as well
    parameters = {"early_stopping": True, "validation_fraction": 0.25, "loss": "quantile"}
    forecaster = make_forecaster(**parameters).fit(series)
    n_windows = sum(forecaster.history_[0, "batches", :, "train_batch_size"])
    assert n_windows == 45 - 12 - 4 + 1
    assert sum(forecaster.history_[0, "batches", :, "valid_batch_size"]) == 15
    given = make_forecaster(loss="quantile").fit(series[:45], X_val=series[45:])
    assert_array_equal(given.history_[:, "valid_loss"], forecaster.history_[:, "valid_loss"])
    assert_allclose(given.forecast(1), forecaster.predict(series[45:46]), rtol=1e-9)


def test_training_does_not_see_the_validation_rows(make_forecaster, series):
    changed = series.copy()
    changed.iloc[45:] = 0.0
    parameters = {"validation_fraction": 0.25, "patience": 100, "max_epochs": 1, "loss": "quantile"}
    fits = [
        make_forecaster(early_stopping=True, **parameters).fit(data) for data in (series, changed)
    ]
    history = series[:45]
    assert_array_equal(*(fit.forecast(history=history) for fit in fits))


def test_too_short_series_is_used_whole_and_said_if_validation_was_asked_for(
    make_forecaster, series
):
    with pytest.warns(ValidationSplitWarning, match="needs 14 rows with .* leaves 6 of 20"):
        make_forecaster(early_stopping=True).fit(series[:20])
    automatic = make_forecaster(early_stopping="auto").fit(series[:40])
    assert "valid_loss" not in automatic.history_[0]


def test_last_rows_without_a_target_are_no_validation_rows(make_forecaster, series):
    series.iloc[45:] = np.nan
    parameters = {"validation_fraction": 0.25, "context_length": 6}
    automatic = make_forecaster(early_stopping="auto", **parameters).fit(series)
    assert "valid_loss" not in automatic.history_[0]
    with pytest.warns(ValidationSplitWarning, match="15 rows with an observed target"):
        make_forecaster(early_stopping=True, **parameters).fit(series)
    with pytest.raises(ValueError, match="validation rows must have an observed target"):
        make_forecaster().fit(series[:45], X_val=series[45:])


def test_given_validation_rows_do_not_stay_in_the_estimator(make_forecaster):
    rows = np.random.default_rng(0).normal(size=(20_000, 1))
    forecaster = make_forecaster(max_epochs=1, batch_size=64).fit(rows[:100], X_val=rows[100:])
    assert len(pickle.dumps(forecaster)) < rows.nbytes / 2


def test_weight_of_a_row_is_that_of_its_targets(make_forecaster, series):
    wrong = series.copy()
    wrong.iloc[-6:] = 1e4
    weight = (np.arange(60) < 54).astype(float)
    parameters = {"batch_size": 64, "standardize": None, "dropout": 0.0}
    weighted = make_forecaster(**parameters).fit(wrong / 100, sample_weight=weight)
    plain = make_forecaster(**parameters).fit(series[:54] / 100)
    # Windows that reach into the rows of weight 0 add their first steps, and nothing else.
    total = sum(weighted.history_[0, "batches", :, "train_weight"])
    assert total * weight.mean() == pytest.approx(2 * (39 * 4 + 3 + 2 + 1))
    assert weighted.history_[0, "train_loss"] == pytest.approx(
        plain.history_[0, "train_loss"], rel=0.2
    )


@pytest.mark.parametrize(
    ("n_rows", "horizon", "expected"), [(60, 4, 28), (60, 50, 20), (5000, 24, 512), (800, 24, 400)]
)
def test_context_follows_rows_and_horizon(make_forecaster, n_rows, horizon, expected):
    values = np.sin(np.arange(n_rows) * 2 * np.pi / 6)
    parameters = {"context_length": "auto", "max_epochs": 1, "max_time": 0.01, "batch_size": 64}
    forecaster = make_forecaster(horizon=horizon, **parameters).fit(values)
    assert forecaster.context_length_ == expected


def test_parameters_set_after_fit_leave_the_fitted_model_alone(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    expected = forecaster.forecast(6)
    forecaster.set_params(horizon=2, loss="quantile", calendar=["hour"], standardize=None)
    assert_array_equal(forecaster.forecast(6), expected)


# --- quantiles and intervals ---------------------------------------------------------------------


@pytest.fixture(params=["absolute_error", "quantile"])
def interval_forecaster(request, make_forecaster, series):
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "loss": request.param}
    return make_forecaster(**parameters).fit(series)


def test_quantiles_and_intervals_have_the_axes_of_the_targets(interval_forecaster, series):
    X = later(series, 9)
    assert interval_forecaster.predict_quantiles(X, [0.2, 0.5, 0.6]).shape == (9, 2, 3)
    assert interval_forecaster.predict_quantiles(X).shape == (9, 2, 7)
    assert interval_forecaster.predict_interval(X).shape == (9, 2, 2)
    one = interval_forecaster.set_params(quantiles=[0.1, 0.9]).fit(series["tide"])
    assert one.predict_quantiles(X).shape == (9, 2)
    assert one.predict_interval(X, 0.5).shape == (9, 2)


def test_quantiles_rise_and_intervals_are_between_them(interval_forecaster, series):
    X = later(series, 9)
    quantiles = interval_forecaster.predict_quantiles(X, [0.05, 0.3, 0.5, 0.7, 0.95])
    assert (np.diff(quantiles) >= 0).all()
    interval = interval_forecaster.predict_interval(X, 0.9)
    assert_allclose(interval, quantiles[..., [0, -1]])
    narrow = interval_forecaster.predict_interval(X, 0.4)
    assert (narrow[..., 0] >= interval[..., 0]).all()
    assert (narrow[..., 1] <= interval[..., 1]).all()


def test_forecast_of_learned_quantiles_is_their_median(make_forecaster, series):
    forecaster = make_forecaster(loss="quantile").fit(series)
    X = later(series, 6)
    assert_array_equal(forecaster.predict(X), forecaster.predict_quantiles(X, 0.5)[..., 0])
    between = make_forecaster(loss="quantile", quantiles=[0.2, 0.8]).fit(series)
    assert_allclose(between.predict(X), between.predict_quantiles(X).mean(axis=-1))


def test_intervals_cover_errors_of_the_validation_rows(make_forecaster):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=800)
    forecaster = make_forecaster(early_stopping=True, validation_fraction=0.5, batch_size=64)
    forecaster.fit(noise[:400])
    frame = forecaster.set_params(quantiles=[0.1, 0.9]).backtest(noise[388:])
    held = (frame["truth"] >= frame[0.1]) & (frame["truth"] <= frame[0.9])
    assert held.mean() == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
def test_intervals_widen_as_update_brings_truths_outside_of_them(make_forecaster, series, loss):
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "loss": loss}
    forecaster = make_forecaster(**parameters).fit(series)

    def width():
        return np.diff(forecaster.predict_interval(np.empty((4, 0)), 0.6))[..., 0]

    rng = np.random.default_rng(0)
    before = width() / series.std().to_numpy()
    for _ in range(12):
        index = later(series, 60).index[:5]
        wild = pd.DataFrame(
            series.mean().to_numpy() + 20 * series.std().to_numpy() * rng.normal(size=(5, 2)),
            index,
            columns=series.columns,
        )
        series = pd.concat([series, wild]).asfreq("h")
        forecaster.update(wild)
    assert (width() / series[:60].std().to_numpy() > 2 * before).all()


def test_update_compares_each_truth_with_the_forecast_made_for_it(make_forecaster, series):
    forecaster = make_forecaster(early_stopping=True, validation_fraction=0.3).fit(series[:50])
    expected = np.full((10, 4, 2), np.nan)
    for row in range(50, 60):
        for step in range(1, 5):
            history = series[: row - step + 1]
            forecast = forecaster.forecast(step, history=history).to_numpy()[-1]
            expected[row - 50, step - 1] = series.to_numpy()[row] - forecast
    before = forecaster._intervals_
    forecaster.update(series[50:])
    ranks = before.calibration.rank(expected)
    X = later(series, 4)
    for coverage in (0.5, 0.9):
        expected_levels = before.adaptive.observe(ranks).levels(coverage, np.arange(4))
        errors = before.calibration.observe(expected).quantile(np.arange(4), expected_levels)
        interval = forecaster.predict(X)[..., np.newaxis] + errors
        assert_allclose(forecaster.predict_interval(X, coverage), interval, rtol=1e-4)


def test_unknown_levels_need_two_learned_ones(make_forecaster, series):
    forecaster = make_forecaster(loss="quantile", quantiles=[0.9]).fit(series)
    X = later(series, 3)
    assert_array_equal(forecaster.predict_quantiles(X)[..., 0], forecaster.predict(X))
    follows = later(series, 60)
    forecaster.update(series.set_axis(follows.index))
    with pytest.raises(ValueError, match=r"only quantile is the one that was learned, 0\.9"):
        forecaster.predict_interval(later(follows, 3))


def test_intervals_without_validation_rows_say_what_to_do(make_forecaster, series):
    with pytest.raises(ValueError, match="need validation data, or loss='quantile', got neither"):
        make_forecaster().fit(series).predict_interval(later(series, 3))


# --- forecasts with their intervals --------------------------------------------------------------


def test_forecast_with_a_coverage_is_a_frame_with_dates(make_forecaster, series):
    parameters = {"early_stopping": True, "validation_fraction": 0.3}
    one = make_forecaster(**parameters).fit(series["tide"].rename_axis("hour"))
    frame = one.forecast(9, coverage=0.8)
    assert frame.columns.tolist() == ["forecast", "lower", "upper"]
    assert_array_equal(frame["forecast"], one.forecast(9))
    X = one.forecast(9)
    assert_array_equal(frame[["lower", "upper"]], one.predict_interval(X, 0.8))
    assert frame.index.equals(X.index)
    assert frame.index.name == "hour"
    both = make_forecaster(**parameters).fit(series)
    frame = both.forecast(coverage=0.8)
    assert frame.columns.tolist() == [
        (target, part) for target in ("tide", "load") for part in ("forecast", "lower", "upper")
    ]
    assert_array_equal(frame["load"]["upper"], both.predict_interval(frame, 0.8)[:, 1, 1])


def test_forecast_with_a_coverage_follows_history_and_rows_of_arrays(make_forecaster, series):
    values = series.to_numpy()
    forecaster = make_forecaster(loss="quantile").fit(values)
    frame = forecaster.forecast(3, coverage=0.9)
    assert frame.index.tolist() == [60, 61, 62]
    assert frame.columns.tolist()[:2] == [(0, "forecast"), (0, "lower")]
    earlier = forecaster.forecast(3, coverage=0.9, history=values[:40])
    assert earlier.index.tolist() == [40, 41, 42]
    expected = forecaster.forecast(3, history=values[:40])
    assert_array_equal(earlier.xs("forecast", axis=1, level=1), expected)


def test_forecast_with_covariates_and_a_coverage(make_forecaster, driven):
    X, y = driven
    forecaster = make_forecaster(loss="quantile").fit(X[:60], y[:60])
    frame = forecaster.forecast(X_future=X[60:66], coverage=0.5)
    assert_array_equal(frame["forecast"], forecaster.predict(X[60:66]))
    assert_array_equal(frame[["lower", "upper"]], forecaster.predict_interval(X[60:66], 0.5))


@pytest.mark.parametrize("coverage", [0.0, 1.0, 95, -0.5])
def test_coverage_of_a_forecast_must_be_a_share(make_forecaster, series, coverage):
    with pytest.raises(ValueError, match="coverage must be"):
        make_forecaster(loss="quantile").fit(series).forecast(coverage=coverage)


def test_intervals_of_a_forecaster_are_nested_after_every_update(make_forecaster, series):
    forecaster = make_forecaster(early_stopping=True, validation_fraction=0.3).fit(series[:50])
    wild = series * np.where(np.arange(60) % 3, 1, 6)[:, np.newaxis]
    coverages = (0.3, 0.5, 0.9, 0.95, 0.97)
    for row in range(50, 60):
        forecaster.update(wild[row : row + 1])
        frames = [forecaster.forecast(coverage=coverage) for coverage in coverages]
        for narrow, wide in pairwise(frames):
            for target in series:
                assert (wide[target]["lower"] <= narrow[target]["lower"]).all()
                assert (wide[target]["upper"] >= narrow[target]["upper"]).all()


# --- dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [list, np.asarray, pd.DatetimeIndex, lambda i: list(i.strftime("%c"))]
)
def test_dates_alone_are_forecast_by_date(make_forecaster, series, make):
    forecaster = make_forecaster().fit(series)
    ahead = forecaster.forecast(9)
    assert_array_equal(forecaster.predict(make(ahead.index[4:])), ahead[4:])
    assert_array_equal(forecaster.predict(make(series.index[30:])), forecaster.predict(series[30:]))
    with pytest.raises(ValueError, match="must continue that of fit"):
        forecaster.predict(make(ahead.index + pd.Timedelta("7min")))
    with pytest.raises(TypeError, match="X must hold the dates"):
        forecaster.predict([*make(ahead.index[:1]), "x"])


def test_rows_without_a_frequency_follow(make_forecaster, weekly):
    month_ends = pd.date_range("2018-01-31", periods=40, freq="ME")
    values = pd.Series(np.sin(np.arange(40.0)), month_ends)
    plain = make_forecaster().fit(values[:36].to_numpy()).update(values[36:].to_numpy())
    forecaster = make_forecaster().fit(values[:36])
    for row in range(36, 40):
        forecaster.update(values[row : row + 1].set_axis(pd.DatetimeIndex([month_ends[row]])))
    assert_array_equal(forecaster.forecast(), plain.forecast())
    two = pd.Series([1.0, 2.0], pd.DatetimeIndex(["2021-05-31", "2021-06-30"]))
    assert make_forecaster().fit(values[:38], X_val=values[38:].set_axis(month_ends[38:].to_list()))
    forecaster.partial_fit(two)
    assert forecaster.forecast(1).index[0] == pd.Timestamp("2021-07-31")
    table = forecaster.backtest(values[:20].set_axis(pd.DatetimeIndex(month_ends[:20].to_list())))
    assert table["origin"].iloc[0] == month_ends[11]


def test_days_of_a_time_zone_pass_the_change_of_clocks(make_forecaster):
    days = pd.date_range("2024-02-01 02:30", periods=57, freq="D").tz_localize("Europe/Berlin")
    forecaster = make_forecaster(calendar=["day_of_week"]).fit(pd.Series(np.arange(57.0), days))
    ahead = forecaster.forecast(8)
    assert ahead.index.strftime("%d %H:%M").tolist()[:4] == [
        "29 02:30",
        "30 02:30",
        "31 03:00",
        "01 02:30",
    ]
    assert_array_equal(forecaster.predict(ahead.index), ahead)


def test_holidays_are_covariates(make_forecaster):
    pytest.importorskip("holidays")
    days = pd.date_range("2022-01-01", "2024-06-30")
    dates = pd.to_datetime(["2022-05-26", "2022-10-03", "2023-01-01", "2023-10-03", "2024-05-01"])
    busy = pd.Series(np.where(days.isin(dates), 5.0, 0.0), days)
    train = {"max_epochs": 3, "lr": 0.03, "dropout": 0.0, "batch_size": 64, "standardize": "global"}
    forecaster = make_forecaster(holidays=list(dates), **train).fit(busy[:"2024-04-28"])
    ahead = forecaster.forecast(7)
    assert ahead["2024-05-01"] > ahead.drop(pd.Timestamp("2024-05-01")).max() + 0.1
    german = make_forecaster(holidays="DE", **train | {"max_epochs": 1}).fit(busy[:"2024-04-28"])
    assert german._seen_.n_covariates == 1
    with pytest.raises(ValueError, match="holidays must be"):
        make_forecaster(holidays="Atlantis").fit(busy)


def test_names_of_index_and_columns_survive(make_forecaster, series):
    named = series.rename_axis(index="hour", columns="series")
    forecaster = make_forecaster(loss="quantile").fit(named)
    for forecast in (forecaster.forecast(), forecaster.forecast(3, history=named[:40])):
        assert (forecast.index.name, forecast.columns.name) == ("hour", "series")
    assert forecaster.forecast(coverage=0.5).columns.names == ["series", None]
    pairs = pd.MultiIndex.from_tuples([("sea", "tide"), ("grid", "load")])
    forecaster.fit(series.set_axis(pairs, axis=1))
    assert forecaster.forecast().columns.equals(pairs)
    table = forecaster.backtest(series.set_axis(pairs, axis=1))
    assert table["target"].unique().tolist() == pairs.to_list()
    one = make_forecaster().fit(series["tide"].rename(("sea", "tide")))
    assert one.forecast().name == ("sea", "tide")
    assert one.backtest(series["tide"])["target"].unique().tolist() == [("sea", "tide")]


def test_update_reads_no_more_rows_than_it_needs(make_forecaster, monkeypatch):
    rng = np.random.default_rng(0)
    series = pd.Series(rng.normal(size=3000), pd.bdate_range("2000-01-03", periods=3000))
    parameters = {"early_stopping": True, "batch_size": 4096, "max_epochs": 1}
    forecaster = make_forecaster(**parameters).fit(series[:2950])
    read = []
    transform = type(forecaster.encoder_).transform
    monkeypatch.setattr(
        type(forecaster.encoder_),
        "transform",
        lambda self, values, *a, **k: read.append(len(values)) or transform(self, values, *a, **k),
    )
    for row in range(2950, 3000):
        forecaster.update(series[row : row + 1])
        forecaster.forecast(6)
    assert max(read) <= 12 + 4 + 1
    monkeypatch.undo()
    again = make_forecaster(**parameters).fit(series[:2950]).update(series[2950:])
    assert_array_equal(forecaster.forecast(6), again.forecast(6))


# --- backtest ------------------------------------------------------------------------------------


def test_backtest_equals_forecasts_from_every_origin(make_forecaster, series):
    forecaster = make_forecaster().fit(series[:40])
    frame = forecaster.backtest(series, stride=7)
    assert frame.columns.tolist() == ["origin", "step", "target", "truth", "forecast"]
    origins = frame["origin"].unique()
    assert list(origins) == list(series.index[11:56:7])
    assert len(frame) == len(origins) * 4 * 2
    for origin, rows in frame.groupby("origin"):
        expected = forecaster.forecast(history=series[:origin])
        table = rows.pivot(index="step", columns="target", values="forecast")
        assert_allclose(table[["tide", "load"]], expected, rtol=1e-9)
        truth = rows.pivot(index="step", columns="target", values="truth")
        assert_array_equal(truth[["tide", "load"]], series.loc[expected.index])


def test_backtest_rolls_on_and_may_be_shorter_than_the_horizon(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    for horizon in (1, 9):
        frame = forecaster.backtest(series[:30], horizon=horizon, stride=3)
        last = frame[frame["origin"] == frame["origin"].iloc[-1]]
        expected = forecaster.forecast(horizon, history=series[: frame["origin"].iloc[-1]])
        assert_allclose(last["forecast"], expected.to_numpy().ravel(), rtol=1e-9)
        assert frame["step"].max() == horizon


def test_backtest_of_arrays_counts_rows_and_targets(make_forecaster, series):
    frame = make_forecaster().fit(series.to_numpy()).backtest(series.to_numpy()[:20])
    assert frame["origin"].unique().tolist() == [11, 12, 13, 14, 15]
    assert frame["target"].unique().tolist() == [0, 1]


def test_backtest_has_the_quantiles_that_were_asked_for(make_forecaster, series):
    learned = make_forecaster(loss="quantile", quantiles=[0.1, 0.5, 0.9]).fit(series)
    frame = learned.backtest(series)
    assert frame.columns[5:].tolist() == [0.1, 0.5, 0.9]
    assert_array_equal(frame["forecast"], frame[0.5])
    conformal = make_forecaster(early_stopping=True, validation_fraction=0.3, quantiles=[0.1, 0.9])
    frame = conformal.fit(series).backtest(series, horizon=6)
    assert (frame[0.1] < frame[0.9]).all()


def test_backtest_takes_covariates(make_forecaster, driven):
    X, y = driven
    forecaster = make_forecaster().fit(X[:60], y[:60])
    frame = forecaster.backtest(X[48:], y[48:])
    first = frame[frame["origin"] == X.index[59]]
    assert_allclose(first["forecast"], forecaster.predict(X[60:64]), rtol=1e-9)
    assert frame["target"].unique().tolist() == ["sales"]


def test_data_that_changes_after_fit_changes_nothing(make_forecaster, driven):
    X, y = driven[0].to_numpy().copy(), driven[1].to_numpy().copy()
    forecaster = make_forecaster().fit(X, y)
    expected = forecaster.predict(np.ones((4, 2)))
    X[:], y[:] = 0, 0
    assert_array_equal(forecaster.predict(np.ones((4, 2))), expected)


@pytest.mark.gpu
def test_forecasts_of_a_gpu_are_those_of_the_cpu(make_forecaster, series):
    parameters = {"device": "cuda", "dtype": "float64", "dropout": 0.0}
    on_gpu = make_forecaster(**parameters).fit(series).forecast(9)
    on_cpu = make_forecaster(**(parameters | {"device": "cpu"})).fit(series).forecast(9)
    assert_allclose(on_gpu, on_cpu, rtol=1e-6)


def test_unfitted_forecaster_refuses(make_forecaster, series):
    for call in ("predict", "update", "backtest", "predict_interval", "predict_quantiles", "score"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(make_forecaster(), call)(series)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make_forecaster().forecast()
