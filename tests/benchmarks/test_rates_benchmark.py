import sys

import numpy as np
import pytest

from benchmarks import bench_rates as bench
from benchmarks._common import read_table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Sounds of two frequencies in the form of the spoken digits."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    sounds = [1000 * np.sin((0.2 + 0.3 * label) * np.arange(rng.integers(60, 90))) for label in y]
    offsets = np.cumsum([0, *map(len, sounds)])
    values = np.concatenate(sounds).astype(np.int16)
    np.savez(
        tmp_path / "fsdd.npz",
        values=values,
        offsets=offsets,
        y=y,
        take=np.arange(24) // 2,
        speaker=np.array(["theo"] * 24),
    )
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    return tmp_path


def test_benchmark_writes_the_accuracy_at_each_rate(folder, monkeypatch):
    arguments = [
        "--data-dir",
        str(folder),
        "--max-epochs",
        "1",
        "--d-model",
        "4",
        "--n-layers",
        "1",
    ]
    arguments += ["--methods", "s4d zoh, bandlimit=1", "inception"]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    bench.main()
    rows = read_table(folder / "rates.csv")
    found = [(row["method"], row["sampling_rate"], row["told"]) for row in rows]
    s4 = "s4d zoh, bandlimit=1"
    assert found == [
        (s4, "8000", "False"),
        *((s4, rate, told) for rate in ("4000", "16000") for told in ("False", "True")),
        *(("inception", rate, "False") for rate in ("8000", "4000", "16000")),
    ]
    assert {row["n_train"] for row in rows} == {"14"}
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)


@pytest.mark.parametrize(("rate", "length"), [(4_000, 40), (16_000, 160), (8_000, 80)])
def test_resampled_sound_is_the_sound_at_other_times(rate, length):
    def sound(n, rate):
        return np.sin(0.2 * np.arange(n) * 8_000 / rate)

    (x,) = bench.resampled([sound(80, 8_000)], rate)
    assert len(x) == length
    inside = slice(length // 4, -length // 4)  # the filter rings at the ends
    np.testing.assert_allclose(x[inside], sound(length, rate)[inside], atol=0.02)
