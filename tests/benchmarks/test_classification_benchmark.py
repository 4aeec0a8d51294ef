import sys

import numpy as np
import pytest

from benchmarks import bench_classification as bench


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """One tiny data set, and a table of its own."""
    y = np.arange(12) % 2
    X = np.sin((0.4 + y[:, None]) * np.arange(40)).astype(np.float32)
    np.savez(tmp_path / "ucr_Worms.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    monkeypatch.setattr(bench, "TABLE", tmp_path / "classification.csv")
    monkeypatch.setattr(bench, "SUMMARY", tmp_path / "summary.csv")
    monkeypatch.setattr(bench, "in_fresh_process", lambda function, *values: function(*values))
    return tmp_path


def run_main(monkeypatch, folder, *options):
    arguments = ["--data-dir", str(folder), "--datasets", "Worms", "--seeds", "0"]
    arguments += ["--methods", "lstm", "--time-limit", "1", *options]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    bench.main()


def test_benchmark_writes_a_row_and_keeps_it(monkeypatch, folder, capsys):
    run_main(monkeypatch, folder)
    (row,) = bench.read_table(bench.TABLE)
    assert (row["method"], row["dataset"], row["seed"]) == ("lstm", "Worms", "0")
    assert 0 <= float(row["accuracy"]) <= 1
    assert float(row["fit_seconds"]) > 0
    assert int(row["n_epochs"]) >= 1
    assert row["stop_reason"] in ("max_time", "all epochs")
    assert f"Worms,{float(row['accuracy']):.3f}," in capsys.readouterr().out
    (line,) = bench.read_table(bench.SUMMARY)
    assert (line["dataset"], line["lstm seeds"]) == ("Worms", "1")

    run_main(monkeypatch, folder)
    assert bench.read_table(bench.TABLE) == [row]
    assert "seed 0" not in capsys.readouterr().out  # nothing was run


@pytest.mark.parametrize("options", [["--force"], ["--time-limit", "0.5"]])
def test_benchmark_runs_again_when_told_or_changed(monkeypatch, folder, capsys, options):
    run_main(monkeypatch, folder)
    run_main(monkeypatch, folder, *options)
    assert capsys.readouterr().out.count("seed 0") == 2
    assert len(bench.read_table(bench.TABLE)) == 1


def test_benchmark_records_a_failure_and_tries_again(monkeypatch, folder, capsys):
    def killed(function, *values):
        raise bench.CaseFailedError("the process ended with exit code -9")

    with monkeypatch.context() as patch:
        patch.setattr(bench, "in_fresh_process", killed)
        run_main(patch, folder)
    (row,) = bench.read_table(bench.TABLE)
    assert (row["accuracy"], row["failure"]) == ("", "the process ended with exit code -9")
    run_main(monkeypatch, folder)
    (row,) = bench.read_table(bench.TABLE)
    assert row["accuracy"]


def test_benchmark_ends_with_one_line_when_data_is_missing(monkeypatch, folder):
    with pytest.raises(SystemExit, match=r"fsdd\.npz is missing: pass its folder as --data-dir"):
        run_main(monkeypatch, folder, "--datasets", "digits")
    assert not bench.TABLE.exists()


def test_fingerprint_is_of_the_method():
    prints = {method: bench.code_of(method) for method in bench.METHODS}
    assert len({prints[method] for method in bench.OF_AEON}) == 1
    of_s4 = {name for name in prints if name.startswith("s4")}
    assert len({prints[method] for method in of_s4}) == 1
    n_alike = len(of_s4) + len(bench.OF_AEON) - 2
    assert len(set(prints.values())) == len(prints) - n_alike


def test_calibration_error_is_that_of_guo():
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.65, 0.35]])
    is_right = np.array([True, False, True, False])
    expected = (2 * abs(0.9 - 0.5) + 2 * abs(0.625 - 0.5)) / 4
    assert bench.calibration_error(probabilities, is_right) == pytest.approx(expected)
    assert bench.calibration_error(np.eye(2), np.array([True, True])) == 0


def test_s4_has_nothing_but_its_defaults():
    model = bench.s4(seed=7, time_limit=1.0)
    assert model.get_params() == type(model)(random_state=7).get_params()


def test_summary_is_of_means_over_seeds_and_the_mean_of_all_sets_only_if_none_is_missing():
    def row(dataset, seed, accuracy):
        measured = {"accuracy": str(accuracy), "fit_seconds": "2"}
        return {"method": "s4", "dataset": dataset, "seed": str(seed)} | measured

    rows = [row(name, seed, 0.1 * seed) for name in bench.UCR_SETS for seed in (1, 2, 3)]
    *lines, first, mean = bench.summarize(rows)
    assert [line["s4 accuracy"] for line in lines] == ["0.200"] * len(bench.UCR_SETS)
    expected = {
        "s4 accuracy": "0.200",
        "s4 fit seconds": "2",
        "s4 fit cpu seconds": "2.0",
        "s4 seeds": "3",
    }
    assert first == {"dataset": "mean of the UCR sets"} | expected
    assert mean == {"dataset": "mean of 28 UCR sets"} | expected
    last = bench.summarize(rows[:-3])[-1]
    assert last["dataset"] == "mean of the UCR sets"
    assert bench.summarize(rows[3:])[-1]["dataset"] == bench.UCR_SETS[-1]
    assert bench.summarize([]) == []
