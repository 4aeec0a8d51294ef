import numpy as np
import pytest

from benchmarks import bench_judging as bench
from benchmarks._common import Split
from sks4.estimators import _auto, _evidence


def test_time_before_the_decision_is_a_part_of_the_fit(monkeypatch):
    monkeypatch.setattr(_auto, "_FILTERS", 64)
    rng = np.random.default_rng(0)
    X, y = list(rng.normal(size=(40, 12))), np.arange(40) % 2
    split, tiny = Split(X[:30], y[:30], X[30:], y[30:]), {"d_model": 4, "n_layers": 1}
    without = bench.judge(split, 0, **tiny)
    monkeypatch.setattr(_evidence, "_FEWEST_MISSED", 1)
    monkeypatch.setattr(_auto, "_OPTIMIZER_STEPS", 40)
    found = bench.judge(split, 0, **tiny)
    assert without["judging_share"] < 0.1 < found["judging_share"] < 1
    share = found["judging_cpu_seconds"] / found["fit_cpu_seconds"]
    assert found["judging_share"] == pytest.approx(share)
    assert 0 <= found["accuracy"] <= 1
