"""No forecast knows what comes after its origin, whatever the form of the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

N_ROWS, CONTEXT, HORIZON = 48, 12, 4
INDEX = pd.date_range("2024-01-01", periods=N_ROWS, freq="D")


def rows(seed, share_missing=0.0, n_leading=(0, 0)):
    """Return two targets and a covariate of 48 days, some values missing, also at the start."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N_ROWS, 3)).cumsum(axis=0)
    values[rng.random(values.shape) < share_missing] = np.nan
    for column, n_rows in enumerate(n_leading):
        values[:n_rows, column] = np.nan
    return pd.DataFrame(values, INDEX, columns=["a", "b", "x"])


FORMS = {
    "plain": {},
    "mixed": {"channels": "mixed"},
    "mixed, filled": {"channels": "mixed", "missing": "ffill", "standardize": None},
    "global": {"standardize": "global", "missing": "ffill"},
    "quantiles": {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9]},
    "calendar": {"calendar": ["day_of_week"], "channels": "mixed"},
    "covariates": {},
}


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    """Return a fitted forecaster, and the arguments that it takes some rows as."""
    from sks4 import S4Forecaster

    tiny = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "patch_size": 4}
    tiny |= {"horizon": HORIZON, "context_length": CONTEXT, "early_stopping": False}
    tiny |= {"dtype": "float64", "random_state": 0}
    forecaster = S4Forecaster(**tiny | FORMS[request.param])
    with_covariates = request.param == "covariates"

    def arguments(frame):
        return (frame[["x"]], frame[["a", "b"]]) if with_covariates else (frame[["a", "b"]],)

    return forecaster.fit(*arguments(rows(0, 0.2))), arguments


def backtest(form, frame):
    forecaster, arguments = form
    return forecaster.backtest(*arguments(frame)).drop(columns="truth")


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    n_leading=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    changed=st.integers(1, N_ROWS - 1),
    value=st.sampled_from([500.0, -1e6, np.nan]),
    column=st.sampled_from(["a", "b", "x"]),
)
def test_a_value_changes_no_forecast_from_before_it(form, seed, n_leading, changed, value, column):
    frame = rows(seed, 0.2, n_leading)
    other = frame.copy()
    other.loc[INDEX[changed:], column] = value
    if frame[["a", "b"]].isna().all().any() or other[["a", "b"]].isna().all().any():
        return  # refused
    before, after = backtest(form, frame), backtest(form, other)
    row = before["origin"] + pd.to_timedelta(before["step"], "D")
    # what is known ahead acts on its own row and later ones
    is_before = (before["origin"] if column != "x" else row) < INDEX[changed]
    pd.testing.assert_frame_equal(before[is_before], after[is_before])


@pytest.mark.parametrize("value", [500.0, -3.0])
def test_origin_with_nothing_before_it_has_no_forecast(form, value):
    frame = rows(1, 0.0, (20, 20))
    frame.loc[INDEX[20], ["a", "b"]] = value
    table = backtest(form, frame)
    has_past = table["origin"] >= INDEX[20]
    assert table.loc[~has_past, "forecast"].isna().all()
    assert table.loc[has_past, "forecast"].notna().all()


def test_rows_of_fit_before_the_first_value_have_no_forecast(make_forecaster):
    frame = rows(2, 0.0, (20, 0))[["a", "b"]]
    frame.loc[INDEX[20], "a"] = 500.0
    for channels in ("independent", "mixed"):
        forecaster = make_forecaster(channels=channels).fit(frame)
        predicted = forecaster.predict(frame[CONTEXT:])
        assert np.isnan(predicted[: 21 - CONTEXT, 0]).all()
        assert np.isfinite(predicted[21 - CONTEXT :]).all()
        assert np.isfinite(predicted[:, 1]).all()
        changed = frame.assign(a=frame["a"].where(frame.index < INDEX[20], -7.0))
        elsewhere = forecaster.backtest(changed, horizon=1)
        table = forecaster.backtest(frame, horizon=1)
        early = table["origin"] < INDEX[20]
        assert_array_equal(table.loc[early, "forecast"], elsewhere.loc[early, "forecast"])


def test_forecasts_of_one_target_do_not_show_when_another_begins(make_forecaster):
    frame = rows(3, 0.0, (20, 0))[["a", "b"]]
    # by its own scale, what fills a window would be a constant
    forecaster = make_forecaster(channels="mixed", standardize="global").fit(rows(4)[["a", "b"]])
    tables = []
    for first in (5.0, -5.0):
        frame.loc[INDEX[20], "a"] = first
        table = forecaster.backtest(frame)
        tables.append(table[table["origin"] < INDEX[20]]["forecast"])
    assert_array_equal(*tables)
