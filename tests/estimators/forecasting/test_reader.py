"""Rows of time in every form, read without fitting anything."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sks4.data import check_calendar
from sks4.estimators.forecasting._reader import SeriesReader

DAYS = pd.date_range("2024-01-01", periods=20, freq="D", name="day")


def frame(n_rows=20, index=DAYS, columns=("a", "b")):
    values = np.arange(2.0 * n_rows).reshape(n_rows, 2)
    return pd.DataFrame(values, index[:n_rows], columns=list(columns))


def reader_and_rows(*data, calendar=None, holidays=None):
    data = data if len(data) == 2 else (*data, None)
    return SeriesReader.fit(*data, None, check_calendar(calendar, holidays))


@pytest.mark.parametrize(
    ("data", "n_targets", "n_covariates"),
    [
        ((np.arange(9.0),), 1, 0),
        (([1, 2, 3.5],), 1, 0),
        ((np.ones((9, 3)),), 3, 0),
        ((frame(),), 2, 0),
        ((frame()["a"],), 1, 0),
        ((frame(), frame()["a"]), 1, 2),
        ((frame()[[]], frame()), 2, 0),
        ((frame().to_numpy(), frame()), 2, 2),
    ],
)
def test_every_form_becomes_columns(data, n_targets, n_covariates):
    reader, rows = reader_and_rows(*data)
    columns = rows.columns()
    assert columns.values.shape == (len(rows), n_targets)
    assert columns.covariates.shape == (len(rows), n_covariates)
    assert rows.n_covariates == n_covariates
    assert_array_equal(columns.weights, 1)
    assert len(reader.form.names) == n_targets


def test_weights_are_divided_by_their_mean():
    _, rows = SeriesReader.fit(frame(), None, np.arange(20.0), None)
    assert_array_equal(rows.columns().weights, np.arange(20) / 9.5)


def test_rows_are_copies():
    data = np.ones((9, 2))
    _, rows = reader_and_rows(data)
    data[:] = 0
    assert_array_equal(rows.columns().values, 1)


# --- rows that follow ----------------------------------------------------------------------------


def of(index):
    return pd.DataFrame(np.ones((len(index), 2)), index, columns=["a", "b"])


@pytest.mark.parametrize(
    ("fitted", "following"),
    [
        # two rows have no frequency of their own
        (DAYS, pd.DatetimeIndex(["2024-01-21", "2024-01-22"])),
        (DAYS, pd.DatetimeIndex(["2024-01-21"])),
        # Monday to Friday look like business days
        (DAYS[:14], pd.bdate_range("2024-01-15", periods=5)),
        (DAYS, pd.date_range("2024-01-21", periods=3, freq="24h")),
        # all month ends are business days
        (pd.date_range("2024-01-31", periods=9, freq="ME"), pd.DatetimeIndex(["2024-10-31"])),
        (
            pd.date_range("2023-09-30", periods=6, freq="ME"),
            pd.date_range("2024-03-29", periods=2, freq="BME") + pd.to_timedelta([2, 0], "D"),
        ),
        (
            pd.date_range("2020-01-01", periods=8, freq="QS-JAN"),
            pd.date_range("2022-01-01", periods=4, freq="QS-APR"),
        ),
        (pd.bdate_range("2024-01-01", periods=8), pd.bdate_range("2024-01-11", periods=2)),
        (DAYS.tz_localize("UTC"), pd.date_range("2024-01-21", periods=2, tz="UTC")),
        (
            DAYS.tz_localize("UTC"),
            pd.date_range("2024-01-21", periods=2, tz="UTC").tz_convert("Asia/Tokyo"),
        ),
        (pd.RangeIndex(0, 50, 10), pd.Index([50])),
        (
            pd.period_range("2024-01", periods=5, freq="M"),
            pd.period_range("2024-06", periods=1, freq="M"),
        ),
    ],
)
def test_rows_on_the_grid_follow_whatever_their_own_frequency(fitted, following):
    reader, seen = reader_and_rows(of(fitted))
    later = reader.read_following(seen, of(following))
    whole = seen.followed_by(later)
    assert len(whole) == len(fitted) + len(following)
    assert whole.timeline.labels()[-1] == following[-1]
    elsewhere = reader.read(of(following))
    assert elsewhere.timeline.following(1)[0] == whole.timeline.following(1)[0]


@pytest.mark.parametrize(
    "index",
    [
        DAYS + pd.Timedelta("21D"),
        DAYS + pd.Timedelta("19D"),
        DAYS + pd.Timedelta("20D 1h"),
        (DAYS + pd.Timedelta("20D"))[::-1],
        (DAYS + pd.Timedelta("20D"))[[0, 1, 3]],
        DAYS.tz_localize("UTC") + pd.Timedelta("20D"),
        pd.RangeIndex(20, 40),
        pd.period_range("2024-01-22", periods=20, freq="D"),
        pd.period_range("2024-01-21", periods=20, freq="W"),
        pd.period_range("2024-01-21", periods=20, freq="h"),
    ],
)
def test_other_rows_do_not_follow(index):
    reader, seen = reader_and_rows(frame())
    with pytest.raises((ValueError, TypeError), match=r"follow|X must|time zone"):
        reader.read_following(seen, of(index))


def test_arrays_follow_and_have_the_calendar_of_the_rows_that_do():
    reader, seen = reader_and_rows(frame()["a"], calendar="day_of_week")
    later = reader.read_following(seen, np.ones(3))
    labeled = reader.read_following(seen, of(DAYS[-3:] + pd.Timedelta("3D"))["a"])
    assert_array_equal(later.columns().covariates, labeled.columns().covariates)


def test_calendar_is_that_of_the_time_zone_of_fit():
    hours = pd.date_range("2024-01-01", periods=48, freq="h", tz="Asia/Tokyo")
    reader, seen = reader_and_rows(of(hours), calendar=["hour"])
    later = pd.date_range("2024-01-03", periods=4, freq="h", tz="Asia/Tokyo")
    rows = [reader.read_following(seen, of(index)) for index in (later, later.tz_convert("UTC"))]
    assert_array_equal(*(r.columns().covariates for r in rows))
    asked = [
        reader.requested(pd.DataFrame(index=i), seen)[1] for i in (later, later.tz_convert("UTC"))
    ]
    assert_array_equal(*asked)


def test_history_has_the_steps_of_fit():
    reader, _ = reader_and_rows(frame())
    other = of(pd.date_range("1999-12-30", periods=5, freq="D"))
    rows = reader.read_history(other, 3)
    assert rows.timeline.following(1)[0] == pd.Timestamp("2000-01-04")
    with pytest.raises(
        ValueError, match="history must have context_length_=6 rows at least, got 5"
    ):
        reader.read_history(other, 6)
    with pytest.raises(ValueError, match="index of X must be at the steps of fit, D, got"):
        reader.read_history(of(pd.date_range("1999-12-31", periods=5, freq="ME")), 3)


# --- rows that are requested ---------------------------------------------------------------------

AHEAD = DAYS[:3] + pd.Timedelta("22D")


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame(index=AHEAD),
        AHEAD,
        AHEAD.tolist(),
        [stamp.to_pydatetime() for stamp in AHEAD],
        AHEAD.date.tolist(),
        tuple(AHEAD),
        AHEAD.to_numpy(),
        list(AHEAD.to_numpy()),
        AHEAD.strftime("%Y-%m-%d").tolist(),
        np.array(AHEAD.strftime("%Y-%m-%d"), dtype="U"),
        pd.Series(0.0, AHEAD),
        pd.Series(AHEAD),
        pd.Series(AHEAD.strftime("%Y-%m-%d")),
        pd.Series(AHEAD.date, index=list("abc")[: len(AHEAD)]),
        pd.DataFrame({"when": AHEAD}),
        pd.DataFrame({"when": AHEAD.strftime("%Y-%m-%d")}),
        AHEAD.to_numpy()[:, np.newaxis],
        pd.DataFrame(index=pd.Index(AHEAD.date)),
        pd.DataFrame(index=AHEAD.astype(object)),
        AHEAD.to_period("D"),
        AHEAD.to_period("D").tolist(),
        pd.Series(AHEAD.to_period("D")),
        pd.DataFrame(index=AHEAD.to_period("D")),
    ],
    ids=lambda X: type(X).__name__,
)
def test_dates_are_requested_in_any_form(X):
    reader, seen = reader_and_rows(frame(), calendar=["day_of_week"])
    start, covariates = reader.requested(X, seen)
    assert start == 22
    expected = reader.requested(pd.DataFrame(index=AHEAD), seen)[1]
    assert_array_equal(covariates, expected)
    assert len(reader.ahead(seen, start, covariates)) == 5  # with the gap


@pytest.mark.parametrize(
    "X",
    [
        pd.period_range("2024-09", periods=2, freq="M"),
        pd.Series(pd.period_range("2024-09", periods=2, freq="M")),
        ["2024-09", "2024-10"],
        pd.date_range("2024-09-30", periods=2, freq="ME"),
        ["2024-09-03", "2024-10-31"],
        [date(2024, 9, 3), date(2024, 10, 31)],
        pd.date_range("2024-09-01", periods=2, freq="MS", tz="Europe/Berlin"),
        pd.DataFrame(index=pd.date_range("2024-09-30", periods=2, freq="ME")),
    ],
)
def test_periods_are_requested_in_any_form(X):
    months = pd.period_range("2024-01", periods=6, freq="M")
    reader, seen = reader_and_rows(of(months))
    assert reader.requested(X, seen)[0] == 8


@pytest.mark.parametrize("X", [np.zeros(4), np.zeros((4, 0)), [0, 0, 0, 0], np.zeros((4, 2))])
def test_arrays_request_the_rows_that_follow(X):
    reader, seen = reader_and_rows(frame())
    start, covariates = reader.requested(X, seen)
    assert (start, len(covariates)) == (20, 4)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (["2031-01-01", "x"], TypeError, "X must hold the dates of the rows to forecast"),
        (["x", "y"], TypeError, "X must hold the dates"),
        ([pd.Timestamp("2024-01-21"), 3], TypeError, "got 3 among dates"),
        ([pd.Timestamp("2024-01-21"), None], TypeError, "got None among dates"),
        ([pd.NaT, pd.NaT], ValueError, "no missing label"),
        (["2024-01-21", "2024-01-23"], ValueError, "must have no hole"),
        (["2024-01-21 12:00"], ValueError, "must continue that of fit"),
        (pd.Index([20, 21]), TypeError, "of the kind it had in fit"),
        (pd.Index(["a", "b"]), TypeError, "of the kind it had in fit"),
        ([], ValueError, "got 0 rows"),
        (pd.Series([pd.Timestamp("2024-01-21"), "x"]), TypeError, "X must hold the dates"),
        (pd.Series(["x", "y"]), TypeError, "X must hold the dates"),
        (pd.Series([1.0, 2.0]), TypeError, "of the kind it had in fit"),
    ],
)
def test_bad_dates_are_refused(X, error, message):
    reader, seen = reader_and_rows(frame())
    with pytest.raises(error, match=message):
        reader.requested(X, seen)


def test_text_and_days_are_those_of_the_time_zone_of_fit():
    hours = pd.date_range("2024-10-26", periods=20, freq="h", tz="Europe/Berlin")
    reader, seen = reader_and_rows(of(hours))
    for X in (["2024-10-26 20:00"], hours[:1].shift(20).strftime("%Y-%m-%d %H:%M %z").tolist()):
        assert reader.requested(X, seen)[0] == 20
    assert reader.requested([date(2024, 10, 27)], seen)[0] == 24
    two = ["2024-10-27 02:00+02:00", "2024-10-27 02:00+01:00"]
    assert reader.requested(two, seen)[0] == 26
    with pytest.raises(
        TypeError, match=r"occurs twice or not at all in Europe/Berlin.*offset from UTC"
    ):
        reader.requested(["2024-10-27 02:00"], seen)
    with pytest.raises(TypeError, match="must have a time zone if that of fit has one"):
        reader.requested([pd.Timestamp("2024-10-26 20:00")], seen)


def test_dates_are_refused_after_a_fit_without():
    reader, seen = reader_and_rows(np.ones(9))
    for X in (AHEAD, AHEAD.tolist(), ["2024-01-01"]):
        with pytest.raises(ValueError, match="must come without an index"):
            reader.requested(X, seen)


def test_dates_alone_are_not_enough_where_there_are_covariates():
    reader, seen = reader_and_rows(frame(), frame()["a"])
    with pytest.raises(ValueError, match=r"X must have the 2 columns .* got dates alone"):
        reader.requested(AHEAD, seen)
    empty, seen = reader_and_rows(frame()[[]], frame()["a"])
    assert empty.requested(AHEAD, seen)[0] == 22


# --- names ---------------------------------------------------------------------------------------


def test_names_of_index_and_columns_survive():
    data = frame().rename_axis(columns="series")
    reader, rows = reader_and_rows(data)
    labels = rows.timeline.following(3)
    forecast = reader.form.label(np.zeros((3, 2)), labels)
    assert (forecast.index.name, forecast.columns.name) == ("day", "series")
    interval = reader.form.label_interval(np.zeros((3, 2)), np.ones((3, 2, 2)), labels)
    assert interval.columns.names == ["series", None]
    assert interval["b"].columns.tolist() == ["forecast", "lower", "upper"]
    one, rows = reader_and_rows(data["a"])
    assert one.form.label(np.zeros((3, 1)), labels).name == "a"
    assert one.form.label_interval(
        np.zeros((3, 1)), np.ones((3, 1, 2)), labels
    ).columns.tolist() == ["forecast", "lower", "upper"]


def test_tuples_are_names():
    pairs = pd.MultiIndex.from_tuples([("north", "load"), ("south", "load")], names=["at", "what"])
    reader, rows = reader_and_rows(frame().set_axis(pairs, axis=1))
    labels = rows.timeline.following(2)
    assert reader.form.label(np.zeros((2, 2)), labels).columns.equals(pairs)
    interval = reader.form.label_interval(np.zeros((2, 2)), np.ones((2, 2, 2)), labels)
    assert interval.columns.names == ["at", "what", None]
    assert_array_equal(interval["north", "load", "upper"], 1)
    one, rows = reader_and_rows(frame()["a"].rename(("north", "load")))
    assert len(one.form.names) == 1
    assert one.form.label(np.zeros((2, 1)), labels).name == ("north", "load")
    assert one.read(frame()["a"].rename(("north", "load"))).columns().values.shape == (20, 1)
