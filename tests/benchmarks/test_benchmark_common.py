import csv
import os
import re

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import _common as common


@pytest.fixture
def data_folder(tmp_path):
    """Two tiny files in the form of the real ones."""
    X = np.array([[1, 2, 3, 4], [5, 6, np.nan, np.nan], [7, np.nan, 9, np.nan]], np.float32)
    y = np.array([0, 1, 0])
    np.savez(tmp_path / "ucr_Tiny.npz", X_train=X, y_train=y, X_test=X[:2], y_test=y[:2])
    np.savez(
        tmp_path / "fsdd.npz",
        values=np.arange(10, dtype=np.int16),
        offsets=np.array([0, 2, 5, 9, 10]),
        y=np.array([3, 1, 4, 1]),
        speaker=np.array(["theo", "jackson", "theo", "lucas"]),
        take=np.array([0, 4, 5, 6]),
    )
    return tmp_path


def as_lists(X):
    return [sequence.tolist() for sequence in X]


def test_load_ucr_drops_only_trailing_nan(data_folder):
    split = common.load_ucr(data_folder, "Tiny")
    assert as_lists(split.X_train[:2]) == [[1, 2, 3, 4], [5, 6]]
    assert len(split.X_train[2]) == 3
    assert np.isnan(split.X_train[2][1])
    assert split.y_test.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("held_out", "test_rows"), [("official", [[0, 1], [2, 3, 4]]), ("theo", [[0, 1], [5, 6, 7, 8]])]
)
def test_load_spoken_digits_holds_out(data_folder, held_out, test_rows):
    split = common.load_spoken_digits(data_folder, held_out)
    assert as_lists(split.X_test) == test_rows
    everything = as_lists(split.X_train) + as_lists(split.X_test)
    assert sorted(everything) == [[0, 1], [2, 3, 4], [5, 6, 7, 8], [9]]
    assert len(split.y_train) == len(split.y_test) == 2
    assert split.X_train[0].dtype == np.int16


def test_data_file_names_the_option_when_missing(tmp_path):
    with pytest.raises(SystemExit, match=r"ucr_No\.npz is missing: pass its folder as --data-dir"):
        common.load_ucr(tmp_path, "No")


def test_environment_names_versions_and_machine():
    record = common.environment(seed=3)
    assert record["seed"] == 3
    assert record["torch"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()
    assert record["cores"] >= 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|unknown", record["commit"])
    assert record["cpu"]


def test_write_rows_replaces_rows_with_the_same_key(tmp_path):
    path = tmp_path / "results" / "table.csv"
    key = ("method", "length")
    first = {"method": "a", "length": 8, "seconds": 1 / 3}
    common.write_rows(path, [first, first | {"length": 16}], key=key, seed=0)
    common.write_rows(path, [first | {"seconds": 2.0, "note": "x, y"}], key=key, seed=1)
    rows = common.read_table(path)
    shown = [(row["length"], row["seconds"], row["note"], row["seed"]) for row in rows]
    assert shown == [("16", "0.333333", "", "0"), ("8", "2", "x, y", "1")]
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]
    with path.open(newline="") as file:
        assert {len(row) for row in csv.reader(file)} == {len(rows[0])}


def test_read_table_is_empty_when_missing(tmp_path):
    assert common.read_table(tmp_path / "none.csv") == []


def test_time_interleaved_takes_turns_and_drops_warmup():
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = common.time_interleaved(functions, repeats=2, warmup=1)
    assert "".join(calls) == "ababab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_median_ratio_ignores_an_outlier():
    seconds = {"a": [2.0, 2.0, 90.0], "b": [1.0, 1.0, 1.0]}
    assert common.median_ratio(seconds, "a", "b") == 2.0


def prepare_block(n_bytes):
    """Hold and free twice as much first: neither may count."""
    np.ones(2 * n_bytes, np.uint8)
    return lambda: int(np.ones(n_bytes, np.uint8)[0])


@pytest.fixture
def exact_memory():
    """Skip where the kernel cannot reset the peak, which is then only a lower bound."""
    if not common._reset_peak():
        pytest.skip("this kernel cannot reset the peak memory of a process")


@pytest.mark.usefixtures("exact_memory")
def test_measure_finds_the_peak_of_memory_freed_again():
    n_bytes = 1 << 26
    found = common.measure(prepare_block(n_bytes))
    assert found.value == 1
    assert found.seconds > 0
    assert found.peak_bytes == pytest.approx(n_bytes, rel=0.1)


def raise_in_child():
    raise ValueError("no such luck")


def test_fresh_process_returns_the_result_or_the_error(capfd):
    assert common.in_fresh_process(pow, 2, 10) == 1024
    with pytest.raises(common.CaseFailedError, match="ValueError: no such luck"):
        common.in_fresh_process(raise_in_child)
    assert "in raise_in_child" in capfd.readouterr().err


def test_fresh_process_reports_the_exit_code_when_killed():
    with pytest.raises(common.CaseFailedError, match="exit code 9"):
        common.in_fresh_process(os._exit, 9)


@pytest.mark.usefixtures("exact_memory")
def test_peak_memory_counts_the_prepared_function_alone():
    n_bytes = 1 << 27
    assert common.peak_memory(prepare_block, n_bytes) == pytest.approx(n_bytes, rel=0.1)


def test_what_is_known_is_of_this_code_and_number_of_threads(tmp_path):
    table = tmp_path / "table.csv"
    common.write_rows(table, [{"method": "a", "code": "1", "failure": ""}], key=("method",), seed=0)
    common.write_rows(
        table, [{"method": "b", "code": "1", "failure": "no"}], key=("method",), seed=0
    )
    assert common.is_known(table, method="a", code="1", seed=0)
    assert not common.is_known(table, method="a", code="2", seed=0)
    assert not common.is_known(table, method="b", code="1", seed=0)  # that failed
    pd.read_csv(table, dtype=str).assign(threads="99").to_csv(table, index=False)
    assert not common.is_known(table, method="a", code="1", seed=0)


def test_fingerprint_is_of_what_is_in_the_files(tmp_path):
    files = [tmp_path / name for name in ("a.py", "b.py")]
    for file in files:
        file.write_text(file.name, encoding="utf-8")
    before = common.fingerprint(files)
    assert before == common.fingerprint(files[::-1])
    files[1].write_text("c", encoding="utf-8")
    assert common.fingerprint(files) != before
    assert set(common.package_code("data")) < set(common.package_code())


def test_a_model_is_measured_in_fit_and_prediction():
    split = common.Split([np.ones(3)] * 2, np.array([0, 1]), [np.zeros(3)] * 4, np.zeros(4))

    class Model:
        def fit(self, X, y):
            self.labels = y

        def predict(self, X):
            return np.full(len(X), self.labels[1])

    predicted, costs = common.measure_model(Model(), split)
    assert predicted.tolist() == [1] * 4
    assert set(costs) == {
        f"{part}_{unit}"
        for part in ("fit", "predict")
        for unit in ("seconds", "cpu_seconds", "peak_mb")
    }
    assert min(costs.values()) >= 0
