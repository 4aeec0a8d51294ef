"""A grid search over raw recordings of different lengths, with grouped cross-validation.

Run from the repository's root::

    python -m benchmarks.bench_grid_search

A part of the spoken digits, as a list of int16 arrays, goes through a scikit-learn pipeline: each
recording is brought to a peak of one, then classified by ``S4Classifier``. ``GridSearchCV`` over
`d_model` and `lr` validates on speakers that training has not heard (``GroupKFold``), in two
processes. Every candidate is a row of ``results/grid_search.csv``; so is the best one, fitted on
all searched recordings and scored on others.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sks4 import S4Classifier

from ._common import RESULTS, add_data_option, data_file, n_cores, write_rows

TABLE = RESULTS / "grid_search.csv"
SEED = 0
TAKES = 4  # recordings of each digit by each speaker in the search, and as many held out
GRID = {"classify__d_model": [32, 64], "classify__lr": [0.004, 0.01]}


def peak_to_one(X: list[np.ndarray]) -> list[np.ndarray]:
    """Scale each recording to a largest magnitude of one."""
    return [x / max(np.abs(x.astype(np.float32)).max(), 1) for x in X]


def load(folder: Path, first_take: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return recordings, digits and speakers of some takes."""
    with np.load(data_file(folder, "fsdd.npz")) as data:
        X = np.split(data["values"], data["offsets"][1:-1])
        rows = np.flatnonzero((data["take"] - first_take) % 50 < TAKES)
        return [X[i] for i in rows], data["y"][rows], data["speaker"][rows]


def search() -> GridSearchCV:
    """Return the search over whole pipelines, one process for each core."""
    classifier = S4Classifier(patch_size=4, n_layers=3, max_epochs=20, random_state=SEED)
    pipeline = Pipeline([("peak", FunctionTransformer(peak_to_one)), ("classify", classifier)])
    return GridSearchCV(pipeline, GRID, cv=GroupKFold(3), n_jobs=n_cores(), error_score="raise")


def main() -> None:
    """Search, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    folder = parser.parse_args().data_dir
    X, y, speakers = load(folder, first_take=5)
    start = time.perf_counter()
    found = search().fit(X, y, groups=speakers)
    seconds = time.perf_counter() - start
    results = found.cv_results_
    rows = [
        {
            "d_model": parameters["classify__d_model"],
            "lr": parameters["classify__lr"],
            "n_recordings": len(X),
            "unseen_speakers": results["mean_test_score"][i],
            "unseen_speakers_std": results["std_test_score"][i],
            "fit_seconds": results["mean_fit_time"][i],
            "is_best": i == found.best_index_,
        }
        for i, parameters in enumerate(results["params"])
    ]
    X_test, y_test, _ = load(folder, first_take=0)
    rows[found.best_index_] |= {
        "held_out_takes": found.score(X_test, y_test),
        "search_seconds": seconds,
    }
    for row in rows:
        print(row, flush=True)
    write_rows(TABLE, rows, key=("d_model", "lr"), seed=SEED)


if __name__ == "__main__":
    main()
