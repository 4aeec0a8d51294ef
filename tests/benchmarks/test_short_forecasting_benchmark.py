import csv
import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks import _series as series
from benchmarks import bench_forecasting_short as bench
from benchmarks.peers import statistical

DAYS = pd.date_range("2024-01-01", periods=84, freq="D")
WEEKS = pd.Series(np.tile([0.0, 0, 0, 0, 0, 5, 5], 12) + 0.1 * np.arange(84), DAYS)
NEXT_WEEK = np.array([0.0, 0, 0, 0, 0, 5, 5]) + 0.1 * np.arange(84, 91)


@pytest.mark.parametrize(
    ("period", "expected"), [(None, [3, 3, 3, 3]), (2, [3, 3, 3, 3]), (3, [4, 3, 3, 4])]
)
def test_naive_repeats_the_last_season_or_value(period, expected):
    train = pd.Series([1.0, 4, 3, np.nan])
    np.testing.assert_array_equal(statistical.naive(train, 4, period), expected)


@pytest.mark.parametrize(
    ("method", "library"),
    [
        ("ets", "statsmodels"),
        ("auto_ets", "statsforecast"),
        ("auto_theta", "statsforecast"),
        ("boosting", "mlforecast"),
    ],
)
def test_peer_forecasts_trend_and_season(method, library):
    pytest.importorskip(library)
    forecast = bench.PEERS[method](WEEKS.mask(WEEKS.index == DAYS[30]), 7, 7)
    assert forecast.shape == (7,)
    assert np.abs(forecast - NEXT_WEEK).mean() < 0.8


def test_statsforecast_gets_no_season_that_it_does_not_know():
    assert [statistical._season(period) for period in (None, 7, 24, 52)] == [1, 7, 24, 1]


# ------------------------------------------------------------------ series


def cases_here():
    """Return the cases whose data is installed."""
    has_statsforecast = importlib.util.find_spec("statsforecast") is not None
    return [case for case in series.all_cases() if has_statsforecast or "Air" not in case.name]


def test_folds_are_followed_by_their_truths():
    for case in cases_here():
        folds = list(case.folds())
        assert len(folds) == series.N_FOLDS
        for fold in folds:
            assert case.n_rows / 2 < len(fold.train) <= case.n_rows
            assert fold.truth.shape == (case.horizon,)
            assert fold.train.notna().any()
            assert fold.train.index.freq is not None
            assert np.isfinite(fold.truth).any()
            assert fold.period is None or fold.period < case.n_rows / 2


def test_folds_of_a_real_series_end_at_its_end_and_go_back():
    (case,) = [case for case in series.all_cases() if case.name == "Nile"]
    values = series.by_year("nile", "volume", "1871").to_numpy()
    first, second, *_ = case.folds()
    np.testing.assert_array_equal(first.truth, values[-10:])
    np.testing.assert_array_equal(second.truth, values[-12:-2])
    np.testing.assert_array_equal(second.train, values[-92:-12])


def test_one_reading_is_wrong_or_the_level_shifts():
    cases = {case.name: case for case in series.all_cases() if case.n_rows == 400}
    spikes, shifts = cases["days, week, one x100"], cases["days, week, shift of 1000"]
    clean = list(cases["days, week"].folds())
    for usual, fold in zip(clean, spikes.folds(), strict=True):
        (changed,) = np.flatnonzero(usual.train.to_numpy() != fold.train.to_numpy())
        assert fold.train.iloc[changed] == 100 * usual.train.iloc[changed]
        np.testing.assert_array_equal(usual.truth, fold.truth)
    for usual, fold in zip(clean, shifts.folds(), strict=True):
        change = (fold.train - usual.train).round(6)
        assert set(change) == {0, 1000}
        assert change.is_monotonic_increasing
        np.testing.assert_allclose(fold.truth, usual.truth + 1000)


# ------------------------------------------------------------------ the program


def small_case(name, clean=None):
    def folds():
        for shift in range(2):
            yield series.Fold(WEEKS + shift, NEXT_WEEK + shift + 1, 7)

    return series.Case(name, 84, 7, folds, clean)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two small cases, tables of their own and a small forecaster."""
    monkeypatch.setattr(bench, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(bench, "SUMMARY", tmp_path / "summary.csv")
    cases = [small_case("plain"), small_case("dirty", "plain")]
    monkeypatch.setattr(bench, "all_cases", lambda: cases)
    original = bench.S4Forecaster

    def forecaster(**parameters):
        assert set(parameters) == {"horizon", "random_state"}  # nothing but defaults
        return original(d_model=4, n_layers=1, d_state=4, max_epochs=1, **parameters)

    monkeypatch.setattr(bench, "S4Forecaster", forecaster)
    return tmp_path


def run_main(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    bench.main()


def test_rows_are_written_and_not_run_again(monkeypatch, folder, capsys):
    options = ["--methods", "s4", "naive", "--seeds", "0", "1", "--cases", "plain"]
    run_main(monkeypatch, *options)
    rows = bench.read_table(bench.TABLE)
    assert len(rows) == 2 * (2 + 1)  # folds, seeds of s4 and naive once
    assert {row["seed"] for row in rows if row["method"] == "naive"} == {"0"}
    naive = [float(row["mae"]) for row in rows if row["method"] == "naive"]
    np.testing.assert_allclose(naive, 1.7)  # the shift by 1, and a week of the trend
    for row in rows:
        if row["method"] == "s4":
            assert float(row["base_mae"]) > 0
            assert row["base"] != "none"
            assert row["plain_base"] == "seasonal_drift"  # the series itself
            np.testing.assert_allclose(float(row["plain_base_mae"]), 1.0, rtol=1e-6)  # its shift
    capsys.readouterr()
    run_main(monkeypatch, *options)
    assert bench.read_table(bench.TABLE) == rows
    assert "seed" not in capsys.readouterr().out


def test_other_code_is_run_again(monkeypatch, folder):
    run_main(monkeypatch, "--methods", "naive", "--seeds", "0")
    monkeypatch.setattr(bench, "fingerprint", lambda method: "other")
    run_main(monkeypatch, "--methods", "naive", "--seeds", "0", "--cases", "dirty")
    rows = bench.read_table(bench.TABLE)
    assert [(row["case"], row["code"] == "other") for row in rows] == [
        ("plain", False),
        ("plain", False),
        ("dirty", True),
        ("dirty", True),
    ]


def test_summary_has_ratios_of_means(monkeypatch, folder):
    errors = {("plain", "s4"): [1.0, 2.0], ("plain", "naive"): [2.0, 4.0], ("dirty", "s4"): [3.0]}
    rows = [
        {
            "case": case,
            "n_rows": "84",
            "method": method,
            "mae": str(mae),
            "base_mae": "1.0",
            "plain_base_mae": "2.0",
            "cpu_seconds": "0.5",
        }
        for (case, method), maes in errors.items()
        for mae in maes
    ]
    plain, dirty = bench.summarize(rows, bench.all_cases())
    assert plain["s4 / naive"] == "0.50"
    assert plain["ets / naive"] == plain["s4 / ets"] == dirty["s4 / naive"] == ""
    assert plain["s4 / its base"] == "1.50"
    assert plain["s4 / plain base"] == "0.75"
    assert plain["s4 CPU s"] == "0.50"
    assert dirty["s4 / s4 when clean"] == "2.00"


def test_summary_is_a_table(monkeypatch, folder):
    run_main(monkeypatch, "--methods", "naive", "--seeds", "0")
    with bench.SUMMARY.open() as file:
        lines = list(csv.DictReader(file))
    assert [line["case"] for line in lines] == ["plain", "dirty"]


def test_missing_truths_are_no_errors():
    assert bench.mean_absolute_error(np.array([1.0, 2]), np.array([3.0, np.nan])) == 2.0
