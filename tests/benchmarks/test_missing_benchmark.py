import sys

import numpy as np
import pytest

from benchmarks import bench_missing as bench
from benchmarks._common import read_table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Waves of two frequencies in the form of a UCR set."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = np.sin((0.2 + 0.3 * y)[:, None] * np.arange(40) + rng.uniform(0, 6, (24, 1)))
    X = X.astype(np.float32)
    np.savez(tmp_path / "ucr_Waves.npz", X_train=X, y_train=y, X_test=X[:10], y_test=y[:10])
    monkeypatch.setattr(bench, "TABLE", tmp_path / "missing.csv")
    monkeypatch.setattr(bench, "SUMMARY", tmp_path / "missing_summary.csv")
    monkeypatch.setattr("sks4.estimators._auto._FILTERS", 64)
    return tmp_path


def test_benchmark_writes_the_accuracy_for_each_kind_of_gaps(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "--data-dir", str(folder), "--datasets", "Waves"])
    bench.main()
    rows = read_table(bench.TABLE)
    assert len(rows) == 2 * 7
    assert {row["missing"] for row in rows} == {"mask", "ffill"}
    complete = [row["accuracy"] for row in rows if row["gaps"] == "none"]
    assert complete[0] == complete[1]  # nothing is filled
    summary = read_table(bench.SUMMARY)
    shares = ["10 %", "20 %", "30 %"]
    expected = [("none", "0 %"), *((gaps, share) for gaps in bench.GAPS for share in shares)]
    assert [(row["gaps"], row["share"]) for row in summary] == expected
    assert {row["sets"] for row in summary} == {"1"}


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("gaps", ["points", "one gap"])
def test_the_share_of_values_is_removed(gaps, share):
    X = [np.ones(100, np.float32)] * 50
    absent = np.isnan(bench.with_gaps(X, gaps, share))
    assert abs(absent.mean() - share) < 0.02
    assert not absent[:, [0, -1]].any()
    n_gaps = (np.diff(absent.astype(int)) == 1).sum(axis=1)
    assert (n_gaps == 1).all() if gaps == "one gap" else n_gaps.mean() > 5
