"""Many series with one model: what comes in, what comes out, and in which container."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from sks4 import plot
from sks4.exceptions import ValidationSplitWarning
from sks4.model_selection import PanelTimeSeriesSplit


@pytest.fixture
def make(make_forecaster):
    """Return a function that makes forecasters with the contexts that they choose."""
    return lambda **others: make_forecaster(
        **({"context_length": "auto", "patch_size": "auto"} | others)
    )


@pytest.fixture
def make_judged(make):
    """Return a function that makes forecasters that set rows aside, and correct a base."""
    return lambda **others: make(**({"early_stopping": "auto"} | others))


def weeks(n_days, start, unit, seed):
    rng = np.random.default_rng(seed)
    days = np.arange(n_days)
    values = np.sin(2 * np.pi * days / 7) + rng.normal(0, 0.2, n_days) + 3
    return pd.Series(unit * values, pd.date_range(start, periods=n_days, freq="D"), name="sales")


@pytest.fixture
def panel():
    """Return five daily series of other lengths, times and units: two are hardly any."""
    return {
        "north": weeks(90, "2024-01-01", 1.0, 0),
        "south": weeks(60, "2024-02-10", 1e4, 1),
        "east": weeks(75, "2023-12-01", 1e-3, 2),
        "new": weeks(1, "2024-03-01", 10.0, 3),
        "closed": pd.Series(5.0, pd.date_range("2024-01-01", periods=30, freq="D"), name="sales"),
    }


def as_rows(panel):
    return pd.concat(panel, names=["store", "day"])


def as_long(panel):
    table = as_rows(panel).rename("sales").reset_index()
    return table.sample(frac=1, random_state=0).reset_index(drop=True)


LONG = {"series_id": "store", "time": "day", "target": "sales"}


def later(series, n_rows):
    """Return an empty frame for the rows that follow."""
    start = series.index[-1] + pd.Timedelta(days=1)
    return pd.DataFrame(index=pd.date_range(start, periods=n_rows, freq="D"))


# --- containers ----------------------------------------------------------------------------------


def test_forecast_has_the_container_of_fit(make, panel):
    expected = make().fit(panel).forecast(6)
    assert list(expected) == list(panel)
    for key, series in panel.items():
        assert expected[key].index.equals(later(series, 6).index)
        assert expected[key].name == "sales"
    listed = make().fit(list(panel.values())).forecast(6)
    assert isinstance(listed, list)
    rows = make().fit(as_rows(panel)).forecast(6)
    assert rows.index.names == ["store", "day"]
    assert rows.name == "sales"
    long = make().fit(as_long(panel), **LONG).forecast(6)
    assert long.columns.tolist() == ["store", "day", "forecast"]
    for number, (key, forecast) in enumerate(expected.items()):
        assert_array_equal(listed[number], forecast)
        assert_array_equal(rows.loc[key], forecast)
        assert rows.loc[key].index.equals(forecast.index)
        assert_array_equal(long.loc[long["store"] == key, "forecast"], forecast)


def test_frames_of_several_targets_keep_their_columns(make, panel):
    frames = {key: pd.DataFrame({"a": s, "b": -2 * s}) for key, s in panel.items()}
    forecaster = make().fit(frames)
    forecast = forecaster.forecast(3)
    assert forecast["east"].columns.tolist() == ["a", "b"]
    rows = make().fit(as_rows(frames)).forecast(3)
    assert_array_equal(rows.loc["east"], forecast["east"])
    predicted = make().fit(as_rows(frames)).predict(as_rows(frames).loc[["north"]][-5:])
    assert predicted.columns.tolist() == ["a", "b"]


def test_polars_and_arrays_are_read_as_pandas(make, panel):
    few = {key: panel[key] for key in ("north", "south")}
    expected = make().fit(few).forecast()
    table = pl.from_pandas(as_long(few))
    long = make().fit(table, **LONG).forecast()
    for key in few:
        assert_allclose(long.loc[long["store"] == key, "forecast"], expected[key])
    values = {key: pl.Series(series.to_numpy()) for key, series in few.items()}
    polars = make().fit(values).forecast()
    arrays = make().fit({key: series.to_numpy() for key, series in few.items()}).forecast()
    listed = make().fit([pl.Series(series.to_numpy()) for series in few.values()]).forecast()
    for position, key in enumerate(few):
        assert isinstance(arrays[key], np.ndarray)
        assert_array_equal(polars[key], arrays[key])
        assert_array_equal(listed[position], arrays[key])


def test_lists_of_arrays_and_nested_lists_stay_one_series(make_forecaster):
    values = np.random.default_rng(0).normal(size=(40, 2))
    expected = make_forecaster().fit(values).forecast()
    assert_array_equal(make_forecaster().fit(list(values)).forecast(), expected)
    assert_array_equal(make_forecaster().fit(values.tolist()).forecast(), expected)


# --- equality ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9]},
        {"standardize": "global"},
        {"standardize": None},
        {"missing": "ffill"},
        {"context_length": 20, "early_stopping": True},
        {"calendar": "day_of_week"},
        {"dtype": "float32"},
    ],
    ids=str,
)
def test_panel_of_one_series_is_the_series(make_judged, panel, parameters):
    series = panel["north"].copy()
    if parameters.get("standardize") is not None or not parameters:
        series.iloc[[3, 40]] = np.nan
    one = make_judged(**parameters).fit(series)
    many = make_judged(**parameters).fit({"north": series})
    for name in ("base_", "base_correction_", "context_length_", "max_epochs_", "n_epochs_"):
        assert getattr(one, name) == getattr(many, name)
    close = {"rtol": 1e-9 if one.dtype == "float64" else 1e-5}
    assert_allclose(many.forecast(9)["north"], one.forecast(9), **close)
    wanted = one.forecast(coverage=0.8)
    assert_allclose(many.forecast(coverage=0.8)["north"], wanted, **close)
    X = pd.DataFrame(index=pd.date_range(series.index[50], periods=45, freq="D"))
    assert_allclose(many.predict({"north": X})["north"], one.predict(X), **close)
    assert_allclose(many.predict_interval({"north": X})["north"], one.predict_interval(X), **close)
    table, expected = many.backtest({"north": series}), one.backtest(series)
    assert table["series"].unique().tolist() == ["north"]
    assert_allclose(table["forecast"], expected["forecast"], **close)
    assert many.score({"north": series[60:]}) == pytest.approx(one.score(series[60:]))


def test_order_of_series_changes_nothing(make_judged, panel):
    expected = make_judged().fit(panel).forecast(coverage=0.9)
    shuffled = make_judged().fit(dict(reversed(panel.items()))).forecast(coverage=0.9)
    for key in panel:
        assert_allclose(shuffled[key], expected[key], rtol=1e-9)


def test_unit_of_a_series_changes_nothing(make_judged, panel):
    expected = make_judged().fit(panel).forecast(coverage=0.9)
    scaled = {**panel, "north": 1000 * panel["north"], "east": panel["east"] / 7}
    forecast = make_judged().fit(scaled).forecast(coverage=0.9)
    assert_allclose(forecast["north"], 1000 * expected["north"], rtol=1e-6)
    assert_allclose(forecast["east"], expected["east"] / 7, rtol=1e-6)
    assert_allclose(forecast["south"], expected["south"], rtol=1e-6)


# --- what is forecast ----------------------------------------------------------------------------


def test_series_of_one_row_and_constant_series_are_continued(make_judged, panel):
    forecast = make_judged().fit(panel).forecast(9)
    assert_allclose(forecast["closed"], 5)
    assert_allclose(forecast["new"], panel["new"].iloc[0])


def test_history_is_another_series_or_several(make_judged, panel):
    forecaster = make_judged().fit(panel)
    other = weeks(40, "2025-05-05", 300.0, 9).rename("other")
    forecast = forecaster.forecast(5, history=other)
    assert forecast.index.equals(later(other, 5).index)
    assert forecast.between(other.min() - 100, other.max() + 100).all()
    both = forecaster.forecast(5, history={"x": other, "y": other[:1]})
    assert_array_equal(both["x"], forecast)
    assert_allclose(both["y"], other.iloc[0])
    rows = make_judged().fit(as_rows(panel))
    assert_allclose(rows.forecast(5, history=other), forecast)
    assert_allclose(rows.forecast(5, history=as_rows({"x": other})), forecast)
    known = forecaster.forecast(history={"north": panel["north"]})["north"]
    assert_allclose(known, forecaster.forecast()["north"])


def test_predict_follows_the_rows_of_x(make_judged, panel):
    rows = as_rows({key: panel[key] for key in ("north", "south")})
    forecaster = make_judged().fit(as_rows(panel))
    X = rows.groupby("store").tail(6).sample(frac=1, random_state=1)
    predicted = forecaster.predict(X)
    assert predicted.index.equals(X.index)
    sorted_first = forecaster.predict(X.sort_index())
    assert_array_equal(predicted.sort_index(), sorted_first)
    of_dict = make_judged().fit(panel).predict({key: X.loc[key].sort_index() for key in ("north",)})
    assert_allclose(of_dict["north"], predicted.loc["north"].sort_index())
    long = make_judged().fit(as_long(panel), **LONG)
    table = X.rename("sales").reset_index()
    assert_allclose(long.predict(table)["forecast"], predicted)
    assert_allclose(long.predict(table.drop(columns="sales"))["forecast"], predicted)
    interval = forecaster.predict_interval(X, 0.8)
    assert interval.columns.tolist() == ["lower", "upper"]
    assert (interval["lower"] < interval["upper"]).all()
    quantiles = forecaster.predict_quantiles(X, [0.1, 0.9])
    assert quantiles.columns.tolist() == [0.1, 0.9]
    assert_allclose(quantiles, interval)


def test_rows_after_those_seen_are_those_of_forecast(make_judged, panel):
    forecaster = make_judged().fit(panel)
    forecast = forecaster.forecast(8)
    X = {key: later(series, 8)[3:] for key, series in panel.items()}
    predicted = forecaster.predict(X)
    for key in panel:
        assert_allclose(predicted[key], forecast[key][3:])


def test_intervals_are_in_the_unit_of_each_series(make_judged, panel):
    forecast = make_judged().fit(panel).forecast(coverage=0.9)
    width = {key: (table["upper"] - table["lower"]).mean() for key, table in forecast.items()}
    assert 0.1 < width["north"] < 4
    assert 0.1e4 < width["south"] < 4e4
    assert 0.1e-3 < width["east"] < 4e-3


def test_score_is_the_mean_over_series(make_judged, panel):
    forecaster = make_judged().fit(panel)
    X = {key: panel[key][-20:] for key in ("north", "east")}
    single = [forecaster.score({key: X[key]}) for key in X]
    assert forecaster.score(X) == pytest.approx(np.mean(single))
    weights = {key: np.r_[np.zeros(10), np.ones(10)] for key in X}
    half = forecaster.score({key: part[10:] for key, part in X.items()})
    assert forecaster.score(X, sample_weight=weights) == pytest.approx(half)


def test_backtest_names_the_series(make_judged, panel):
    forecaster = make_judged(quantiles=[0.2, 0.8]).fit(panel)
    few = {key: panel[key] for key in ("south", "north")}
    table = forecaster.backtest(few, stride=5)
    columns = ["series", "origin", "step", "target", "truth", "forecast", 0.2, 0.8]
    assert table.columns.tolist() == columns
    assert table["series"].unique().tolist() == ["south", "north"]
    first = table[table["series"] == "north"].head(4)
    origin = forecaster.context_length_
    assert (first["origin"] == panel["north"].index[origin - 1]).all()
    assert_allclose(first["truth"], panel["north"].iloc[origin : origin + 4])


def test_pickle_forecasts_the_same(make_judged, panel):
    forecaster = make_judged().fit(panel)
    copy = pickle.loads(pickle.dumps(forecaster))
    for key, forecast in forecaster.forecast(coverage=0.5).items():
        pd.testing.assert_frame_equal(copy.forecast(coverage=0.5)[key], forecast)


# --- covariates ----------------------------------------------------------------------------------


@pytest.fixture
def promoted(panel):
    """Return X and y of two stores, whose sales double when there is a promotion."""
    X, y = {}, {}
    for seed, key in enumerate(("north", "south")):
        index = panel[key].index
        promotion = np.random.default_rng(seed).random(len(index)) < 0.3
        X[key] = pd.DataFrame({"promotion": promotion.astype(float)}, index)
        y[key] = panel[key].mean() * (1 + X[key]["promotion"]).rename("sales")
    return X, y


def test_covariates_are_known_ahead(make, promoted):
    X, y = promoted
    learns = {"max_epochs": 25, "lr": 0.05, "horizon": 3, "context_length": 14, "dropout": 0.0}
    forecaster = make(**learns).fit(X, y)
    future = {
        key: pd.DataFrame({"promotion": [0.0, 1.0, 0.0]}, later(part, 3).index)
        for key, part in X.items()
    }
    forecast = forecaster.forecast(X_future=future)
    for key, part in forecast.items():
        assert part.iloc[1] > 1.5 * part.iloc[[0, 2]].max(), key
    assert_allclose(forecaster.predict(future)["north"], forecast["north"])
    rows = make(**learns).fit(as_rows(X), as_rows(y))
    of_rows = rows.forecast(X_future=as_rows(future))
    assert_allclose(of_rows.loc["north"], forecast["north"])
    table = as_rows(X).join(as_rows(y)).reset_index()
    long = make(**learns).fit(table, **LONG)
    of_long = long.forecast(X_future=as_rows(future).reset_index())
    assert_allclose(of_long["forecast"], of_rows)
    new = forecaster.forecast(
        history=(X["north"][:30], y["north"][:30]),
        X_future=future["north"].set_axis(X["north"].index[30:33]),
    )
    assert new.iloc[1] > 1.5 * new.iloc[0]


def test_calendar_and_weights_reach_every_series(make, panel):
    plain = make(calendar="day_of_week").fit(panel)
    weights = {key: np.ones(len(series)) for key, series in panel.items()}
    weights["north"][:40] = 0.0
    weighted = make(calendar="day_of_week").fit(panel, sample_weight=weights)
    assert np.isfinite(weighted.forecast()["new"]).all()
    assert not np.allclose(weighted.forecast()["south"], plain.forecast()["south"], rtol=1e-6)
    rows = make(calendar="day_of_week").fit(
        as_rows(panel), sample_weight=np.concatenate(list(weights.values()))
    )
    assert_allclose(rows.forecast().loc["south"], weighted.forecast()["south"])


# --- validation and model selection --------------------------------------------------------------


def test_validation_rows_may_be_given(make_judged, panel):
    X_val = {key: panel[key][-20:] for key in ("north", "south")}
    train = panel | {key: panel[key][:-20] for key in X_val}
    forecaster = make_judged().fit(train, X_val=X_val)
    assert "valid_loss" in forecaster.history_[-1]
    assert forecaster.forecast()["north"].index[0] == X_val["north"].index[0]
    with pytest.raises(ValueError, match="X_val must hold series of X, got 'west'"):
        make_judged().fit(train, X_val={"west": X_val["north"]})


def test_too_short_series_are_warned_of_once(make_judged, panel):
    short = {key: panel[key][:12] for key in ("north", "south")}
    with pytest.warns(ValidationSplitWarning, match="every series is too short") as caught:
        make_judged(early_stopping=True, horizon=6).fit(short)
    assert len(caught) == 1


def test_scikit_learn_selects_models_over_rows(make, panel):
    rows = as_rows({key: panel[key] for key in ("north", "south", "east")})
    splitter = PanelTimeSeriesSplit(n_splits=2, test_size=4)
    scores = cross_val_score(make(), rows, cv=splitter, error_score="raise")
    assert np.isfinite(scores).all()
    X, y = pd.DataFrame(index=rows.index), rows
    options = {"cv": splitter, "error_score": "raise", "scoring": "neg_mean_absolute_error"}
    assert (cross_val_score(make(), X, y, **options) < 0).all()
    search = GridSearchCV(make(), {"d_model": [2, 4]}, **options).fit(X, y)
    assert list(search.best_estimator_.forecast().index.levels[0]) == ["north", "south", "east"]


# --- errors --------------------------------------------------------------------------------------


def change(key, edit):
    """Return an edit of one series of a panel."""
    return lambda panel: panel | {key: edit(panel[key])}


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (change("south", lambda s: s.iloc[[0, 0, 1]]), ValueError, "In series 'south': .* twice"),
        (change("south", lambda s: s[::-1]), ValueError, "In series 'south': .* sorted by time"),
        (change("south", lambda s: s[::2]), ValueError, "In series 'south': .* at the steps"),
        (change("south", lambda s: s.drop(s.index[5])), ValueError, "In series 'south': .* steps"),
        (change("south", lambda s: s.to_numpy()), ValueError, "In series 'south': Either all"),
        (change("south", lambda s: s.to_period("D")), TypeError, "'south': .* one kind of index"),
        (change("south", lambda s: s.tz_localize("UTC")), ValueError, "'south': .* one time zone"),
        (change("south", lambda s: s.to_frame()), ValueError, "In series 'south': .* shape"),
        (change("south", lambda s: s.astype(str)), TypeError, "In series 'south': .* numbers"),
        (change("south", lambda s: s * np.nan), ValueError, "In series 'south': .* only NaN"),
        (change("south", lambda s: s * np.inf), ValueError, "In series 'south': .* infinity"),
        (change("south", lambda s: s[:0]), ValueError, "In series 'south': "),
        (change("south", lambda s: None), TypeError, "In series 'south': .* got None"),
        (change("south", lambda s: s.to_period()), TypeError, "In series 'south': .* kind"),
        (lambda panel: {}, ValueError, "must hold one series at least, got none"),
        (lambda panel: as_rows(panel)[:0], ValueError, "must hold one series at least"),
    ],
)
def test_error_names_the_series(make, panel, edit, error, message):
    with pytest.raises(error, match=message):
        make().fit(edit(panel))


def test_duplicate_rows_are_named(make, panel):
    rows = as_rows(panel)
    with pytest.raises(ValueError, match="several times for store='south'"):
        make().fit(pd.concat([rows, rows.loc[["south"]][:1]]))
    table = as_long(panel)
    with pytest.raises(ValueError, match="several times for store='south'"):
        make().fit(pd.concat([table, table[table["store"] == "south"][:1]]), **LONG)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"series_id": "store"}, "series_id, time and target must all be given"),
        (LONG | {"target": "sale"}, "target must be one of .* Did you mean 'sales'"),
        (LONG | {"time": "store"}, "must be three columns"),
    ],
)
def test_columns_of_a_long_table_must_exist(make, panel, names, message):
    with pytest.raises(ValueError, match=message):
        make().fit(as_long(panel), **names)


def test_unknown_series_are_named(make_judged, panel):
    forecaster = make_judged().fit(panel)
    other = {"west": panel["north"]}
    for method in ("predict", "predict_interval", "score", "backtest"):
        with pytest.raises(ValueError, match="In series 'west': This series was not in fit"):
            getattr(forecaster, method)(other)
    with pytest.raises(ValueError, match=r"X_future must be of the series to forecast, .* 'west'"):
        forecaster.forecast(X_future=other)
    with pytest.raises(TypeError, match="X must be a dict of series, as in fit, got a Series"):
        forecaster.predict(panel["north"])
    with pytest.raises(
        ValueError, match=r"In series 'south': A backtest needs .* leave the series"
    ):
        forecaster.backtest({"north": panel["north"], "south": panel["south"][:9]})


def test_missing_covariates_are_named(make, promoted):
    X, y = promoted
    forecaster = make().fit(X, y)
    with pytest.raises(ValueError, match=r"In series 'north': X_future must have 4 rows"):
        forecaster.forecast()
    wrong = {key: part.rename(columns={"promotion": "price"}) for key, part in X.items()}
    with pytest.raises(ValueError, match="In series 'north': The feature names should match"):
        forecaster.predict(wrong)
    with pytest.raises(ValueError, match="y must be a dict of the series in X"):
        make().fit(X, {"north": y["north"]})
    with pytest.raises(ValueError, match="X and y must have the same row labels"):
        make().fit(as_rows(X), as_rows(y)[::-1])


def test_too_short_series_are_refused_before_anything_changes(make, panel):
    forecaster = make().fit(panel)
    before = forecaster.forecast()["north"]
    with pytest.raises(ValueError, match="rows in the longest"):
        forecaster.fit({"a": panel["north"][:4], "b": panel["north"][:3]})
    assert_array_equal(forecaster.forecast()["north"], before)
    with pytest.raises(NotFittedError):
        make().forecast(history={"a": panel["north"]})


def test_one_series_after_many_leaves_no_trace(make, panel):
    forecaster = make().fit(panel).fit(panel["north"])
    assert isinstance(forecaster.forecast(), pd.Series)
    assert isinstance(forecaster.update(weeks(2, "2024-03-31", 1.0, 0)).forecast(), pd.Series)


# --- rows that come later ------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"loss": "quantile"}], ids=str)
@pytest.mark.parametrize("method", ["update", "partial_fit"])
def test_rows_of_one_series_are_appended_as_to_a_single_one(make_judged, panel, method, parameters):
    series = panel["north"]
    one = make_judged(**parameters).fit(series[:70])
    many = make_judged(**parameters).fit({"north": series[:70]})
    for rows in (series[70:72], series[72:90]):
        getattr(one, method)(rows)
        getattr(many, method)({"north": rows})
        wanted = one.forecast(6, coverage=0.8)
        assert_allclose(many.forecast(6, coverage=0.8)["north"], wanted, rtol=1e-6)


def test_first_partial_fit_reads_many_series(make, panel):
    single = make().partial_fit(panel["north"])
    many = make().partial_fit({"north": panel["north"]})
    assert_allclose(many.forecast()["north"], single.forecast(), rtol=1e-9)
    assert list(make().partial_fit(as_rows(panel)).forecast().index.levels[0]) == list(panel)


def test_update_of_some_series_moves_these_alone(make_judged, panel):
    later_rows = panel["north"][-5:]
    forecaster = make_judged().fit(panel | {"north": panel["north"][:-5]})
    before = forecaster.forecast()
    expected = forecaster.forecast(history={"north": panel["north"]})["north"]
    forecaster.update({"north": later_rows})
    after = forecaster.forecast()
    assert_allclose(after["north"], expected)
    assert_array_equal(after["south"], before["south"])
    long = make_judged().fit(as_long(panel | {"north": panel["north"][:-5]}), **LONG)
    table = long.update(as_long({"north": later_rows})).forecast()
    assert_allclose(table.loc[table["store"] == "north", "forecast"], expected)


def test_intervals_adapt_to_what_all_series_show(make_judged, panel):
    few = {key: panel[key] for key in ("north", "east")}
    forecaster = make_judged().fit({key: part[:-20] for key, part in few.items()})
    width = (forecaster.forecast(coverage=0.8)["north"].diff(axis=1)["upper"]).mean()
    noise = np.random.default_rng(0)
    wild = {key: part[-20:] + noise.normal(0, 20 * part.std(), 20) for key, part in few.items()}
    forecaster.update({"east": wild["east"]})
    wider = (forecaster.forecast(coverage=0.8)["north"].diff(axis=1)["upper"]).mean()
    assert abs(wider) > 1.5 * abs(width)


def test_rows_that_do_not_follow_are_named(make_judged, panel):
    forecaster = make_judged().fit(panel)
    before = forecaster.forecast()["south"]
    for method in ("update", "partial_fit"):
        rows = {"north": weeks(2, "2024-03-31", 1.0, 0), "south": panel["south"][:2]}
        with pytest.raises(ValueError, match="In series 'south': The rows must follow those seen"):
            getattr(forecaster, method)(rows)
        with pytest.raises(ValueError, match="In series 'west': This series was not in fit"):
            getattr(forecaster, method)({"west": panel["south"]})
    assert_array_equal(forecaster.forecast()["south"], before)
    assert len(forecaster.forecast()["north"]) == 4


# --- streams -------------------------------------------------------------------------------------


def test_streams_have_the_scale_of_their_series(make_judged, panel):
    forecaster = make_judged(series_embedding=True).fit(panel)
    keys = ["south", "north"]
    stream = forecaster.stream(series=keys)
    rows = np.stack([panel[key].to_numpy()[-60:] for key in keys])
    stream.push(rows[:, np.newaxis, :30]).push(rows[:, np.newaxis, 30:])
    histories = {key: panel[key][-60:] for key in keys}
    expected = forecaster.forecast(6, history=histories)
    for key, forecast in zip(keys, stream.forecast(6), strict=True):
        assert_allclose(forecast, expected[key], rtol=1e-6)
    assert forecaster.stream().n_streams == len(panel)
    again = pickle.loads(pickle.dumps(stream))
    assert_array_equal(again.forecast(), stream.forecast())


def test_stream_of_an_unknown_series_is_refused(make, panel):
    forecaster = make().fit(panel)
    with pytest.raises(ValueError, match="In series 'west': This series was not in fit"):
        forecaster.stream(series=["west"])
    with pytest.raises(ValueError, match="n_streams must be 1 for many series"):
        forecaster.stream(3)
    with pytest.raises(ValueError, match="must name one series"):
        forecaster.stream(series=[])
    with pytest.raises(ValueError, match="series must be None after a fit to one series"):
        make().fit(panel["north"]).stream(series=["north"])


# --- what is known of a series -------------------------------------------------------------------


@pytest.fixture
def kinds():
    """Return twelve series with a peak soon after a drop, or later: only their kind says which."""
    rng = np.random.default_rng(0)
    panel, kind = {}, {}
    for number in range(12):
        days = np.arange(65) % 10
        values = 3.0 * (days == (5 if number % 2 else 9)) - (days == 4) + rng.normal(0, 0.05, 65)
        panel[f"s{number}"] = pd.Series(values[: 45 + 10 * (number % 3)])
        kind[f"s{number}"] = float(number % 2)
    return panel, pd.DataFrame({"is_soon": kind})


def soon(forecast):
    """Return how much a forecast after a drop believes in a peak at once."""
    return forecast.iloc[0] - forecast.iloc[4]


LEARNS = {"max_epochs": 12, "lr": 0.05, "context_length": 4, "horizon": 5, "patch_size": 2}
LEARNS |= {"dropout": 0.0, "standardize": "global", "dtype": "float32"}


@pytest.fixture
def new(kinds):
    """Return a new series, after a drop, that has had peaks of both kinds."""
    panel, _ = kinds
    return pd.concat([panel["s0"][:20], panel["s1"][20:45]])


def test_static_features_are_read(make, kinds, new):
    panel, static = kinds
    forecaster = make(**LEARNS).fit(panel, static=static)
    one = soon(forecaster.forecast(history=new, static=[1.0]))
    other = soon(forecaster.forecast(history=new, static=pd.DataFrame({"is_soon": [0.0]})))
    assert one > 1
    assert other < -1
    both = forecaster.forecast(
        history={"x": new, "y": new}, static=pd.DataFrame({"is_soon": {"y": 0.0, "x": 1.0}})
    )
    assert soon(both["x"]) == pytest.approx(one)
    assert soon(both["y"]) == pytest.approx(other)
    listed = make(**LEARNS).fit(list(panel.values()), static=static.to_numpy())
    assert_array_equal(listed.forecast()[3], forecaster.forecast()["s3"])


@pytest.mark.parametrize(
    ("static", "error", "message"),
    [
        (lambda s: s[:-1], ValueError, "static must have a row for each series.* none for 's11'"),
        (lambda s: pd.concat([s, s[:1]]), ValueError, "one row for each series, got 's0' twice"),
        (lambda s: s.to_numpy()[:-1], ValueError, "each of the 12 series, got 11"),
        (lambda s: s.astype(str), TypeError, "Column 'is_soon' of static must hold numbers"),
        (lambda s: s[[]], ValueError, "one column at least"),
    ],
)
def test_bad_static_features_are_refused(make, kinds, static, error, message):
    panel, features = kinds
    with pytest.raises(error, match=message):
        make().fit(panel, static=static(features))


def test_new_series_need_static_features(make, kinds):
    panel, static = kinds
    forecaster = make().fit(panel, static=static)
    with pytest.raises(ValueError, match="static must be given for new series, such as 'x'"):
        forecaster.forecast(history={"x": panel["s0"]})
    wrong = pd.DataFrame({"size": {"x": 1.0}})
    with pytest.raises(ValueError, match=r"columns of fit, \['is_soon'\], got \['size'\]"):
        forecaster.forecast(history={"x": panel["s0"]}, static=wrong)
    with pytest.raises(ValueError, match="static must be None, unless"):
        forecaster.forecast(static=static)
    assert len(forecaster.forecast(history={"s0": panel["s0"]})["s0"]) == 4
    with pytest.raises(ValueError, match="static and series_weight must be None for one series"):
        make().fit(panel["s0"], static=static)


def test_embedding_tells_series_apart(make, kinds, new):
    panel, _ = kinds
    forecaster = make(series_embedding=True, **LEARNS).fit(panel)
    forecast = forecaster.forecast(history={"s0": new, "s1": new, "new": new})
    assert soon(forecast["s1"]) > 1
    assert soon(forecast["s0"]) < -1
    assert soon(forecast["s0"]) < soon(forecast["new"]) < soon(forecast["s1"])
    unknown = forecaster.net_.module_.embedding.weight[0]
    start = make(series_embedding=True, **(LEARNS | {"max_epochs": 1, "lr": 1e-9})).fit(panel)
    before = start.net_.module_.embedding.weight[0]
    assert not np.allclose(unknown.detach(), before.detach(), atol=1e-3)


def test_series_of_more_weight_is_followed(make, kinds, new):
    panel, static = kinds
    forecaster = make(**LEARNS).fit(panel, series_weight=static["is_soon"])
    other = make(**LEARNS).fit(panel, series_weight=1 - static["is_soon"].to_numpy())
    assert soon(forecaster.forecast(history=new)) > 1
    assert soon(other.forecast(history=new)) < -1
    assert set(forecaster.forecast()) == set(panel)
    with pytest.raises(ValueError, match="series_weight must have all series, got none for 's1'"):
        make().fit(panel, series_weight={"s0": 1.0})
    with pytest.raises(ValueError, match="no negative weight"):
        make().fit(panel, series_weight=-np.ones(12))


def test_forecast_of_many_series_is_not_plotted(make, panel):
    forecaster = make().fit(panel)
    with pytest.raises(ValueError, match="must be of one series to be plotted, got one of many"):
        plot.forecast(forecaster.forecast())


def test_names_of_columns_with_levels_survive(make_judged, panel):
    names = pd.MultiIndex.from_tuples([("n", "load"), ("s", "load")], names=["at", "what"])
    rows = as_rows({key: panel[key] for key in ("north", "south")})
    table = pd.concat([rows, -rows], axis=1).set_axis(names, axis=1)
    forecaster = make_judged().fit(table)
    ahead = forecaster.forecast(2).index
    assert forecaster.predict(ahead).columns.equals(names)
    for columns in (
        forecaster.predict_interval(ahead).columns,
        forecaster.forecast(2, coverage=0.8).columns,
        forecaster.predict_quantiles(ahead, [0.1, 0.9]).columns,
    ):
        assert columns.names == ["at", "what", None]
        assert columns.droplevel(2).unique().equals(names)
