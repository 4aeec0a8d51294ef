import csv
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import bench_forecasting as bench
from benchmarks.peers.forecasting import (
    DLinear,
    LagBoosting,
    LagRidge,
    LinearNetwork,
    NLinear,
    SeasonalNaive,
)

N_ROWS = 400


def waves(n_rows=N_ROWS):
    """Return a daily wave beside a noisy one, (n_rows, 2)."""
    hours = np.arange(n_rows)
    noise = np.random.default_rng(0).normal(size=n_rows)
    wave = np.sin(hours * 2 * np.pi / 24)
    return np.column_stack([wave, 2 * wave + 0.1 * noise])


@pytest.mark.parametrize("horizon", [5, 24, 50])
def test_seasonal_naive_repeats_the_last_day(horizon):
    contexts = np.arange(48.0).reshape(2, 24)
    forecast = SeasonalNaive(horizon).fit(contexts, contexts).forecast(contexts)
    assert forecast.shape == (2, horizon)
    np.testing.assert_array_equal(forecast[1], 24 + np.arange(horizon) % 24)


@pytest.mark.parametrize(
    "model",
    [
        LagRidge(6, 48, alphas=(1e-3, 1e6)),
        LinearNetwork(NLinear, 6, 48, lr=0.005, max_epochs=10),
        LinearNetwork(DLinear, 6, 48, lr=0.005, max_epochs=10),
        LagBoosting(6, n_samples=3000),
    ],
    ids=["ridge", "nlinear", "dlinear", "boosting"],
)
def test_peer_learns_a_wave(model):
    rows = waves()
    model.fit(rows[:280], rows[280:])
    errors = bench.errors_of_peer(model, rows)
    assert errors["mse"] < 0.05 * rows.var()
    assert errors["mae"] < 0.25 * rows.std()


def test_ridge_takes_the_penalty_that_is_best_in_validation():
    rows = waves()
    chosen = [
        LagRidge(6, 48, alphas=alphas).fit(rows[:280], rows[280:]).model_.alpha
        for alphas in ((1e-3, 1e6), (1e6, 1e-3))
    ]
    assert chosen == [1e-3, 1e-3]


@pytest.mark.parametrize("network", [NLinear, DLinear])
def test_linear_network_is_linear_and_begins_with_a_mean(network):
    torch.manual_seed(0)
    model, u = network(30, 4), torch.randn(2, 30, 3)
    with torch.no_grad():
        together = model(u)
        for linear in model.children():
            linear.bias.zero_()
        mean = u.mean(1, keepdim=True).expand(-1, 4, -1)
        torch.testing.assert_close(model(u), mean, rtol=0, atol=1e-5)
        model.double()
        torch.testing.assert_close(model(3 * u.double()), 3 * model(u.double()))
    assert (together - mean).abs().max() < 1  # the bias is small


def test_dlinear_splits_off_the_moving_average():
    model = DLinear(40, 1)
    with torch.no_grad():
        model.seasonal.weight.zero_()
        model.trend.weight.zero_()
        model.trend.weight[0, 20] = 1.0  # the average around step 20
        for linear in model.children():
            linear.bias.zero_()
    u = torch.randn(1, 40, 1)
    torch.testing.assert_close(model(u)[0, 0, 0], u[0, 8:33, 0].mean())


def test_errors_of_peer_are_those_of_every_window(monkeypatch):
    monkeypatch.setattr(bench, "N_AT_ONCE", 7)
    monkeypatch.setattr(bench, "PUBLISHED_BATCH", 25)
    rows, model = waves(90), SeasonalNaive(10)
    squared, absolute = [], []
    for start in range(90 - 24 - 10 + 1):
        error = rows[start : start + 10] - rows[start + 24 : start + 34]
        squared.append(np.square(error).mean())
        absolute.append(np.abs(error).mean())
    errors = bench.errors_of_peer(model, rows)
    assert len(squared) == 57
    np.testing.assert_allclose(errors["mse"], np.mean(squared))
    np.testing.assert_allclose(errors["mae"], np.mean(absolute))
    np.testing.assert_allclose(errors["mse_whole_batches"], np.mean(squared[:50]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """One short data set, with tables of its own and a small forecaster."""
    index = pd.date_range("2020-01-01", periods=N_ROWS, freq="h", name="date")
    pd.DataFrame(waves(), index, ["A", "OT"]).to_csv(tmp_path / "ETTh1.csv")
    for name in ("TRAIN", "VALID", "TEST"):
        monkeypatch.setattr(
            bench,
            name,
            {"TRAIN": slice(0, 250), "VALID": slice(250, 310)}.get(name, slice(310, 400)),
        )
    names = {part: tmp_path / f"{part}.csv" for part in bench.TABLES}
    monkeypatch.setattr(bench, "TABLES", names)
    monkeypatch.setattr(bench, "SUMMARY", tmp_path / "summary.csv")
    monkeypatch.setattr(bench, "UNIVARIATE_SUMMARY", tmp_path / "univariate_summary.csv")
    monkeypatch.setattr(bench, "PUBLISHED", {"ETTh1": {8: 0.5}})
    monkeypatch.setattr(bench, "INFORMER", {"ETTh1": {8: 0.1}})
    small = bench.S4Forecaster

    def forecaster(**parameters):
        return small(context_length=48, max_epochs=2, patch_size=8, **parameters)

    monkeypatch.setattr(bench, "S4Forecaster", forecaster)
    return tmp_path


def run_main(monkeypatch, folder, *options):
    arguments = ["--data-dir", str(folder), "--datasets", "ETTh1", "--horizons", "8", *options]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    bench.main()


def test_benchmark_writes_rows_and_keeps_them(monkeypatch, folder, capsys):
    options = ["--parts", "accuracy", "--methods", "s4", "seasonal_naive", "--seeds", "0", "1"]
    run_main(monkeypatch, folder, *options)
    rows = bench.read_table(bench.TABLES["accuracy"])
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("s4", "0"),
        ("seasonal_naive", "0"),
        ("s4", "1"),
    ]
    assert all(0 < float(row["mse"]) < 10 and float(row["fit_seconds"]) >= 0 for row in rows)
    with bench.SUMMARY.open() as file:
        (line,) = csv.DictReader(file)
    mean = (float(rows[0]["mse"]) + float(rows[2]["mse"])) / 2
    assert line["s4 mse"] == f"{mean:.3f}"
    assert line["s4 over published"].endswith("%")
    capsys.readouterr()
    run_main(monkeypatch, folder, *options)
    assert bench.read_table(bench.TABLES["accuracy"]) == rows
    assert "seed 0" not in capsys.readouterr().out  # nothing was run


def test_accuracy_of_the_forecaster_is_in_standardized_units(monkeypatch, folder):
    run_main(monkeypatch, folder, "--parts", "univariate", "--seeds", "0")
    (row,) = bench.read_table(bench.TABLES["univariate"])
    path = folder / "ETTh1.csv"
    scaled = pd.read_csv(path, index_col="date", parse_dates=True)
    (1000 * scaled + 7).to_csv(path)
    run_main(monkeypatch, folder, "--parts", "univariate", "--seeds", "0", "--force")
    (again,) = bench.read_table(bench.TABLES["univariate"])
    np.testing.assert_allclose(float(again["mse"]), float(row["mse"]), rtol=1e-2)


def test_coverage_has_both_forms(monkeypatch, folder):
    monkeypatch.setattr(bench, "run_coverage", lambda case, series: original(case, series, 8))
    run_main(monkeypatch, folder, "--parts", "coverage")
    rows = bench.read_table(bench.TABLES["coverage"])
    found = {(row["form"], row["coverage"]): row for row in rows}
    assert set(found) == {(f, c) for f in ("static", "adaptive") for c in ("0.8", "0.95")}
    for form in ("static", "adaptive"):
        narrow, wide = found[form, "0.8"], found[form, "0.95"]
        assert 0 < float(narrow["covered"]) <= float(wide["covered"]) <= 1
        assert 0 < float(narrow["width"]) < float(wide["width"])


original = bench.run_coverage


def test_benchmark_ends_with_one_line_when_data_is_missing(monkeypatch, folder):
    with pytest.raises(SystemExit, match=r"ETTh2\.csv is missing: pass its folder as --data-dir"):
        run_main(monkeypatch, folder, "--datasets", "ETTh2", "--methods", "seasonal_naive")


def test_s4_has_nothing_but_its_defaults_and_the_horizon(monkeypatch):
    made = []

    class StoppedError(Exception):
        pass

    def forecaster(**parameters):
        made.append(parameters)
        raise StoppedError

    monkeypatch.setattr(bench, "S4Forecaster", forecaster)
    case = bench.Case("accuracy", "s4", "ETTh1", 96, 1)
    with pytest.raises(StoppedError):
        bench.run_s4(case, None)
    assert made == [{"horizon": 96, "random_state": 1}]
