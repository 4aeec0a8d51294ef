import sys

import numpy as np
import pytest
from sklearn.metrics import r2_score

from benchmarks import bench_regression as bench
from benchmarks._common import Split
from benchmarks._regression_sets import SYNTHETIC_SETS, exchangeable, load, windows
from benchmarks.peers import regressors


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Tables of their own, cases in this process, and a tiny data set."""
    names = {"TABLE": "a", "SUMMARY": "b", "COVERAGE": "c", "COVERAGE_SUMMARY": "d"}
    for name, file in names.items():
        monkeypatch.setattr(bench, name, tmp_path / f"{file}.csv")
    monkeypatch.setattr(bench, "in_fresh_process", lambda function, *values: function(*values))
    monkeypatch.setattr(bench, "load", lambda name, seed: tiny(seed))


def tiny(seed):
    """Return levels in noise, half of them to train on."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=48)
    X = list(y[:, None] + 0.1 * rng.normal(size=(48, 20)))
    return Split(X[:24], y[:24], X[24:], y[24:])


def run_main(monkeypatch, *options):
    arguments = ["bench", "--datasets", "frequency", "--seeds", "0", "--splits", "2", *options]
    monkeypatch.setattr(sys, "argv", arguments)
    bench.main()


def test_benchmark_writes_rows_and_keeps_them(monkeypatch, tables, capsys):
    options = ("--methods", "s4", "mean", "ridge")
    run_main(monkeypatch, *options)
    by_method = {row["method"]: row for row in bench.read_table(bench.TABLE)}
    assert float(by_method["s4"]["r2"]) > 0.9
    assert float(by_method["ridge"]["r2"]) > 0.9
    assert float(by_method["mean"]["r2"]) < 0.1
    assert float(by_method["s4"]["fit_cpu_seconds"]) > 0
    assert by_method["s4"]["n_epochs"] == "0"
    (line,) = bench.read_table(bench.SUMMARY)
    assert (line["dataset"], line["s4 seeds"]) == ("frequency", "1")
    rows = bench.read_table(bench.COVERAGE)
    assert sorted({row["coverage"] for row in rows}) == ["0.5", "0.8", "0.9", "0.95"]
    assert len(rows) == 2 * 4
    assert all(0 <= float(row["covered"]) <= 1 for row in rows)
    first, mean = bench.read_table(bench.COVERAGE_SUMMARY)
    assert (first["dataset"], mean["dataset"], mean["splits"]) == ("frequency", "all", "2")

    capsys.readouterr()
    run_main(monkeypatch, *options)
    printed = capsys.readouterr().out
    assert "seed 0" not in printed
    assert "split 0" not in printed


def test_benchmark_runs_again_when_told_or_after_a_failure(monkeypatch, tables, capsys):
    def killed(function, *values):
        raise bench.CaseFailedError("the process ended with exit code -9")

    options = ("--methods", "mean", "--only", "errors")
    with monkeypatch.context() as patch:
        patch.setattr(bench, "in_fresh_process", killed)
        run_main(patch, *options)
    (row,) = bench.read_table(bench.TABLE)
    assert (row["failure"], row.get("r2", "")) == ("the process ended with exit code -9", "")
    run_main(monkeypatch, *options)
    run_main(monkeypatch, *options, "--force")
    (row,) = bench.read_table(bench.TABLE)
    assert not row.get("failure")
    assert row["r2"]
    assert not bench.COVERAGE.exists()


def test_errors_are_means_over_the_targets():
    rng = np.random.default_rng(0)
    y_train, y_test, predicted = rng.normal(size=(3, 30, 2)) * [1, 100]
    found = bench.errors(Split([], y_train, [], y_test), predicted)
    rmse = np.sqrt(((y_test - predicted) ** 2).mean(0))
    assert found["rmse"] == pytest.approx(rmse.mean())
    assert found["relative_rmse"] == pytest.approx((rmse / y_train.std(0)).mean())
    assert found["r2"] == pytest.approx(r2_score(y_test, predicted))


def test_summary_has_means_over_the_seeds_and_over_all_sets():
    def row(dataset, seed, error):
        measured = {"relative_rmse": error, "r2": 1 - error, "fit_cpu_seconds": 2, "fit_peak_mb": 9}
        about = {"method": "s4", "dataset": dataset, "seed": seed}
        return {name: str(value) for name, value in (about | measured).items()}

    first, second = bench.SETS[:2]
    rows = [row(first, 0, 0.1), row(first, 1, 0.3), row(second, 0, 0.8)]
    lines = bench.summarize(rows)
    assert [line["s4 relative rmse"] for line in lines] == ["0.200", "0.800"]
    assert [line["s4 seeds"] for line in lines] == ["2", "1"]
    rows += [row(name, 0, 0.4) for name in bench.SETS[2:]]
    last = bench.summarize(rows)[-1]
    assert last["dataset"] == f"all {len(bench.SETS)}"
    assert last["s4 relative rmse"] == "0.400"  # the geometric mean of .2, .8 and many of .4
    assert last["s4 seeds"] == "1"
    assert bench.summarize([]) == bench.summarize_coverage([]) == []


def test_windows_of_test_and_training_have_nothing_in_common():
    values = np.arange(100.0)[:, None]
    split = windows(values, 10, 4, lambda rows: rows[:, 0].max())
    assert split.X_train[0].shape == (1, 10)
    assert all(y == x.max() + 4 for x, y in zip(split.X_train, split.y_train, strict=True))
    assert max(split.y_train) < min(x.min() for x in split.X_test)
    assert max(split.y_test) == 99
    assert split.X_train[0].min() == 0


@pytest.mark.parametrize("name", SYNTHETIC_SETS)
def test_synthetic_sets_follow_the_seed(name):
    first, same, other = (load(name, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.X_test, same.X_test)
    np.testing.assert_array_equal(first.y_train, same.y_train)
    assert not np.array_equal(first.y_train, other.y_train)
    mixed = exchangeable(first, 0)
    assert len(mixed.X_train) == len(first.X_train)
    sums = [np.sort(np.sum([*s.X_train, *s.X_test], axis=(1, 2))) for s in (first, mixed)]
    np.testing.assert_array_equal(*sums)
    assert not np.array_equal(mixed.y_train, first.y_train)


@pytest.mark.parametrize("name", ["mean", "ridge", "boosting", "minirocket"])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_peers_predict_in_the_axes_of_the_targets(name, n_targets):
    if name in bench.OF_AEON:
        pytest.importorskip("aeon", reason="aeon is in the extra benchmark")
    split = tiny(0)
    y = split.y_train if n_targets is None else np.stack([split.y_train, -split.y_train], 1)
    model = getattr(regressors, name)(0).fit(split.X_train, y)
    predicted = model.predict(split.X_test)
    assert predicted.shape == (24,) if n_targets is None else (24, 2)
    if name == "ridge":
        truth = split.y_test if n_targets is None else np.stack([split.y_test, -split.y_test], 1)
        assert r2_score(truth, predicted) > 0.9
