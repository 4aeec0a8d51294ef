"""Rows are aligned by their dates in every method, whatever kind of label they come with."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

N_FIT, N_ROWS = 50, 60
DATES = pd.date_range("2020-01-31", periods=N_ROWS, freq="ME", name="month")
PERIODS = DATES.to_period("M")


def series(index):
    return pd.Series(np.random.default_rng(0).normal(size=N_ROWS).cumsum(), index, name="y")


KINDS = {"dates": (DATES, PERIODS), "periods": (PERIODS, DATES)}


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    """Return a fitted forecaster, its series, and the same series with the other kind of labels."""
    from sks4 import S4Forecaster

    tiny = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "patch_size": 4}
    tiny |= {"horizon": 4, "context_length": 12, "early_stopping": True, "random_state": 0}
    own, other = map(series, KINDS[request.param])
    forecaster = S4Forecaster(calendar="month", **tiny).fit(own[:N_FIT])
    return pickle.dumps(forecaster), own, other


CALLS = {
    "predict rows to come": lambda f, rows: f.predict(rows[N_FIT + 2 :]),
    "predict rows seen": lambda f, rows: f.predict(rows[20:30]),
    "predict labels": lambda f, rows: f.predict(rows.index[N_FIT:]),
    "predict a list of labels": lambda f, rows: f.predict(rows.index[N_FIT:].tolist()),
    "predict_interval": lambda f, rows: f.predict_interval(rows.index[N_FIT:].to_series()),
    "score": lambda f, rows: f.score(rows[N_FIT:]),
    "backtest": lambda f, rows: f.backtest(rows)["forecast"].to_numpy(),
    "history": lambda f, rows: f.forecast(history=rows[:40]),
    "update": lambda f, rows: f.update(rows[N_FIT : N_FIT + 2]).forecast(),
    "partial_fit": lambda f, rows: f.partial_fit(rows[N_FIT : N_FIT + 5]).forecast(),
    "validation": lambda f, rows: f.fit(rows[:N_FIT], X_val=rows[N_FIT:]).forecast().to_numpy(),
}


@pytest.mark.parametrize("call", CALLS)
def test_dates_and_periods_stand_for_each_other(fitted, call):
    stored, own, other = fitted
    expected, found = (CALLS[call](pickle.loads(stored), rows) for rows in (own, other))
    assert_array_equal(expected, found)
    if isinstance(expected, pd.Series):
        assert found.index.equals(expected.index)  # in the kind of fit
        assert type(found.index) is type(own.index)


def test_validation_rows_and_those_ahead_may_be_of_the_other_kind(make_forecaster):
    rows, other = series(DATES), series(PERIODS)
    X, X_other = (pd.DataFrame({"x": data.shift(3, fill_value=0.0)}) for data in (rows, other))
    forecasts = []
    for X_later, later in ((X, rows), (X_other, other)):
        forecaster = make_forecaster(early_stopping=True)
        forecaster.fit(X[:40], rows[:40], X_val=X_later[40:N_FIT], y_val=later[40:N_FIT])
        forecaster.update(X_later[40:N_FIT], later[40:N_FIT])
        forecasts.append(forecaster.forecast(X_future=X_later[N_FIT:], coverage=0.8))
    pd.testing.assert_frame_equal(*forecasts)


def test_series_of_a_panel_are_aligned_by_date(make_forecaster):
    rows, other = series(DATES), series(PERIODS)
    forecasts = []
    for later in (rows, other):
        forecaster = make_forecaster().fit({"a": rows[:N_FIT], "b": rows[:40]})
        forecaster.update({"a": later[N_FIT : N_FIT + 3]}).partial_fit({"b": later[40:45]})
        predicted = forecaster.predict({"a": later[30:40]})["a"]
        new = forecaster.forecast(history={"c": later[:30]})["c"]
        forecasts.append([*forecaster.forecast().values(), predicted, new])
    for expected, found in zip(*forecasts, strict=True):
        assert_array_equal(expected, found)
        assert getattr(expected, "index", None) is None or expected.index.equals(found.index)


def test_other_kinds_are_refused_before_anything_changes(fitted):
    stored, own, _ = fitted
    forecaster = pickle.loads(stored)
    before = pickle.dumps(forecaster)
    for index in (
        pd.period_range("2024-03", periods=5, freq="Q"),  # several rows in a period
        pd.period_range("2024-04", periods=5, freq="M"),  # a hole before it
        pd.date_range("2024-04-01", periods=5, freq="D"),
        pd.RangeIndex(N_FIT, N_FIT + 5),
        pd.Index([0.0, 1.0, 2.0, 3.0, 4.0]),
    ):
        for method in (forecaster.update, forecaster.partial_fit):
            with pytest.raises(
                (TypeError, ValueError), match=r"index of X|[Pp]eriods? of X|follow"
            ):
                method(own[N_FIT : N_FIT + 5].set_axis(index))
            assert pickle.dumps(forecaster) == before
