"""Time that S4Classifier takes to decide whether a network is worth its training.

Run from the repository's root::

    python -m benchmarks.bench_judging
    python -m benchmarks.bench_judging --datasets SmallKitchenAppliances sensors

Data sets: those of the UCR archive with 80 missed training sequences or more, which get a trial;
two that get none; and synthetic sensors, where the trial wins. Results go to
``results/judging.csv``. What is in there already, from the same code and number of threads, is not
run again. Set OMP_NUM_THREADS to choose the number of threads.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from sks4 import S4Classifier
from sks4.estimators._supervised import SupervisedEstimator

from ._common import (
    RESULTS,
    UCR_SETS,
    Split,
    add_data_option,
    fingerprint,
    in_fresh_process,
    is_known,
    load_sensors,
    load_ucr,
    package_code,
    write_rows,
)

TABLE = RESULTS / "judging.csv"
SETS = ("SmallKitchenAppliances", "ScreenType", "LargeKitchenAppliances", "Haptics", "sensors")


class Stopwatch:
    """Adds up the time of the processor in calls of a function."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its calls timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.process_time() - start

        return timed


def judge(split: Split, seed: int, **changes: Any) -> dict[str, Any]:
    """Return what a fit takes, and its part before it is decided whether to train."""
    model, deciding = S4Classifier(random_state=seed, **changes), Stopwatch()
    decide = deciding.around(SupervisedEstimator._winning_trial)
    start = time.process_time()
    with mock.patch.object(SupervisedEstimator, "_winning_trial", decide):
        model.fit(split.X_train, split.y_train)
    seconds = time.process_time() - start
    return {
        "fit_cpu_seconds": seconds,
        "judging_cpu_seconds": deciding.seconds,
        "judging_share": deciding.seconds / seconds,
        "accuracy": float(np.mean(model.predict(split.X_test) == split.y_test)),
        "n_epochs": model.n_epochs_,
    }


def run_case(dataset: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return the measurements of a data set; called in a process of its own."""
    split = load_sensors(folder) if dataset == "sensors" else load_ucr(folder, dataset)
    S4Classifier(max_epochs=1).fit([x[..., :50] for x in split.X_train[:4]], [0, 1, 0, 1])
    return judge(split, seed)


def main() -> None:
    """Run the data sets that are not known yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    choices = (*UCR_SETS, "sensors")
    parser.add_argument("--datasets", nargs="+", choices=choices, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    code = fingerprint(package_code())
    for dataset in options.datasets:
        for seed in options.seeds:
            if is_known(TABLE, dataset=dataset, seed=seed, code=code):
                continue
            found = in_fresh_process(run_case, dataset, seed, options.data_dir)
            row = {"dataset": dataset, "code": code} | found
            write_rows(TABLE, [row], key=("dataset", "seed"), seed=seed)
            print(dataset, *(f"{name}={value:.3g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
