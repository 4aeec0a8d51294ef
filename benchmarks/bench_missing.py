"""Accuracy on sequences with missing values after a training without any.

Run from the repository's root, with the folder of the UCR sets in ``--data-dir``::

    python -m benchmarks.bench_missing                     # three minutes on one core

Classifiers are trained on complete sequences, with each way of filling gaps. Then 10, 20 and 30 %
of the values of the test sequences are removed: at random points, or in one gap of this length at
a random place. First and last values stay. The readout is that of filters alone. Into
``results/missing.csv``, and means over the sets into ``results/missing_summary.csv``.
"""

import argparse
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

import numpy as np

from sks4 import S4Classifier

from ._common import (
    RESULTS,
    Split,
    add_data_option,
    load_ucr,
    measure,
    read_table,
    write_rows,
    write_summary,
)

SEED = 0
DATASETS = (
    *("Adiac", "ArrowHead", "CricketX", "ECG200", "FaceFour", "ItalyPowerDemand", "MoteStrain"),
    *("OSULeaf", "SwedishLeaf", "WordSynonyms"),
)
WAYS = ("mask", "ffill")
SHARES = (0.1, 0.2, 0.3)
TABLE, SUMMARY = RESULTS / "missing.csv", RESULTS / "missing_summary.csv"


def points(length: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return random time points between the first and the last, (n,)."""
    return 1 + np.flatnonzero(rng.random(length - 2) < share)


def one_gap(length: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return successive time points between the first and the last, (n,)."""
    n = min(round(share * length), length - 2)
    return rng.integers(1, length - n) + np.arange(n)


GAPS: dict[str, Callable[[int, float, np.random.Generator], np.ndarray]] = {
    "points": points,
    "one gap": one_gap,
}


def with_gaps(X: list[np.ndarray], gaps: str, share: float) -> list[np.ndarray]:
    """Return copies of sequences with NaN where a value is removed."""
    rng = np.random.default_rng(SEED)
    copies = [x.astype(np.float64) for x in X]
    for x in copies:
        x[GAPS[gaps](len(x), share, rng)] = np.nan
    return copies


def evaluations(model: S4Classifier, split: Split) -> Iterator[dict[str, Any]]:
    """Yield the accuracy on complete sequences, and on those with gaps of each kind."""
    cases = [("none", 0.0), *((gaps, share) for gaps in GAPS for share in SHARES)]
    for gaps, share in cases:
        X = with_gaps(split.X_test, gaps, share) if share else split.X_test
        yield {"gaps": gaps, "share": share, "accuracy": model.score(X, split.y_test)}


def dataset_rows(name: str, split: Split, way: str) -> list[dict[str, Any]]:
    """Train with one way of filling gaps and return its rows."""
    model = S4Classifier(missing=way, readout="ridge", random_state=SEED)
    fit = measure(lambda: model.fit(split.X_train, split.y_train))
    about = {"dataset": name, "missing": way, "fit_cpu_seconds": fit.cpu_seconds}
    return [about | row for row in evaluations(model, split)]


def summarize(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the mean accuracy over the sets for each kind of gaps, a column for each way."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        ways = found.setdefault((row["gaps"], row["share"]), {way: [] for way in WAYS})
        ways[row["missing"]].append(float(row["accuracy"]))
    order = ["none", *GAPS]
    return [
        {"gaps": gaps, "share": f"{100 * float(share):.0f} %"}
        | {way: f"{fmean(values):.3f}" if values else "" for way, values in ways.items()}
        | {"sets": str(max(map(len, ways.values())))}
        for (gaps, share), ways in sorted(
            found.items(), key=lambda item: (order.index(item[0][0]), float(item[0][1]))
        )
    ]


def main() -> None:
    """Train and test on the sets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    options = parser.parse_args()
    key = ("dataset", "missing", "gaps", "share")
    for name in options.datasets:
        split = load_ucr(options.data_dir, name)
        for way in WAYS:
            rows = dataset_rows(name, split, way)
            write_rows(TABLE, rows, key=key, seed=SEED)
            accuracies = " ".join(f"{row['accuracy']:.3f}" for row in rows)
            print(f"{name} {way}: {accuracies}", flush=True)
    write_summary(SUMMARY, summarize(read_table(TABLE)))
    print(SUMMARY.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
