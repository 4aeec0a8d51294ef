"""Accuracy, time and memory of S4Classifier and of other classifiers, on real sequences.

Run from the repository's root::

    python -m benchmarks.bench_classification                        # everything: hours
    python -m benchmarks.bench_classification --datasets digits --methods s4 minirocket

Every case has a process of its own. What is already in ``results/classification.csv``, from the
same code, time limit and number of threads, is not run again, so an interrupted benchmark goes on
where it was; ``--force`` runs it again. The table is printed at the end. Set OMP_NUM_THREADS to
choose the number of threads of all methods.

Methods: `s4` has nothing but its defaults, `s4_trained` has a trained last layer, and
`s4_one_epoch` a regression on features that have hardly been trained. `minirocket`,
`multirocket_hydra` and `quant` are those of aeon. The networks `inception` and `lstm` run only if
named; they end after ``--time-limit`` seconds, with the learning rate down to zero by
then; `stop_reason` in the table tells where it was the limit that ended training. Data sets: the
UCR sets in their default split; synthetic sensors; the spoken digits in their official split and
with one speaker held out, raw samples.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss

from sks4 import S4Classifier

from ._common import (
    DIGITS_SPLITS,
    FIRST_UCR_SETS,
    RESULTS,
    UCR_SETS,
    CaseFailedError,
    Split,
    add_data_option,
    data_file,
    fingerprint,
    in_fresh_process,
    is_known,
    load_sensors,
    load_spoken_digits,
    load_ucr,
    measure_model,
    package_code,
    read_table,
    write_rows,
    write_summary,
)
from .peers import aeon_classifiers
from .peers._classifier import NetworkClassifier
from .peers.aeon_classifiers import AeonClassifier
from .peers.inception_time import InceptionNet
from .peers.lstm import LSTMNet

TABLE = RESULTS / "classification.csv"
SUMMARY = RESULTS / "classification_summary.csv"
KEY = ("method", "dataset", "seed")
DIGITS = tuple(f"digits_{split}" for split in DIGITS_SPLITS)

# ---------------------------------------------------------------------- methods


def s4(seed: int, time_limit: float, **changes: Any) -> S4Classifier:
    """Return the classifier of sks4, with nothing but its defaults, or with a few changes."""
    return S4Classifier(random_state=seed, **changes)


def of_aeon(seed: int, time_limit: float, name: str, **changes: Any) -> AeonClassifier:
    """Return a classifier of aeon."""
    n_jobs = torch.get_num_threads()
    return AeonClassifier(name, n_jobs=n_jobs, random_state=seed, **changes)


def inception(seed: int, time_limit: float) -> NetworkClassifier:
    """Return a convolutional network."""
    return NetworkClassifier(InceptionNet, max_time=time_limit, random_state=seed)


def lstm(seed: int, time_limit: float) -> NetworkClassifier:
    """Return a recurrent network: larger batches, since its time is that of the steps in turn."""
    return NetworkClassifier(
        LSTMNet, batch_size=32, gradient_clip=1.0, max_time=time_limit, random_state=seed
    )


METHODS: dict[str, Callable[[int, float], Any]] = {
    "s4": s4,
    "s4_trained": partial(s4, readout="trained"),
    "s4_one_epoch": partial(s4, readout="ridge", max_epochs=1),
    "minirocket": partial(of_aeon, name="minirocket"),
    "minirocket_standardized": partial(of_aeon, name="minirocket", standardize="series"),
    "multirocket_hydra": partial(of_aeon, name="multirocket_hydra"),
    "quant": partial(of_aeon, name="quant"),
    "inception": inception,
    "lstm": lstm,
}


OF_AEON = ("minirocket", "minirocket_standardized", "multirocket_hydra", "quant")
QUICK = ("s4", "minirocket", "multirocket_hydra", "quant")
HAVE_PROBABILITIES = ("s4", "s4_trained", "s4_one_epoch", "quant")


def code_of(method: str) -> str:
    """Return a hash of the code that the results of a method come from."""
    peers = Path(__file__).parent / "peers"
    if method.startswith("s4"):
        return fingerprint(package_code())
    if method in OF_AEON:
        return fingerprint([peers / "aeon_classifiers.py"])
    name = {"inception": "inception_time.py", "lstm": "lstm.py"}[method]
    files = package_code("data", "training")
    return fingerprint([peers / "_classifier.py", peers / name, *files])


# ---------------------------------------------------------------------- one case


@dataclass(frozen=True)
class Case:
    """One row of the table: a method, on a data set, with a seed."""

    method: str
    dataset: str
    seed: int
    time_limit: float

    def configuration(self) -> dict[str, Any]:
        """Return what must be as it was for a result to be kept."""
        return {"time_limit": f"{self.time_limit:g}", "code": code_of(self.method)}

    @property
    def file_name(self) -> str:
        """Name of the file that holds the data."""
        if self.dataset in DIGITS:
            return "fsdd.npz"
        return "sensors.npz" if self.dataset == "sensors" else f"ucr_{self.dataset}.npz"

    def load(self, folder: Path) -> Split:
        """Return the data."""
        if self.dataset in DIGITS:
            return load_spoken_digits(folder, self.dataset.removeprefix("digits_"))
        if self.dataset == "sensors":
            return load_sensors(folder)
        return load_ucr(folder, self.dataset)


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    """Train and predict, and return the measurements; called in a process of its own."""
    split = case.load(folder)
    model = METHODS[case.method](case.seed, case.time_limit)
    warm_up(model, split)
    if case.method in HAVE_PROBABILITIES:
        probabilities, costs = measure_model(model, split, "predict_proba")
        labels = model.classes_[probabilities.argmax(axis=1)]
        scores = {"log_loss": log_loss(split.y_test, probabilities, labels=model.classes_)}
        scores["calibration_error"] = calibration_error(probabilities, labels == split.y_test)
    else:
        (labels, costs), scores = measure_model(model, split), {}
    return {
        "accuracy": float(np.mean(labels == split.y_test)),
        **scores,
        **costs,
        **about_training(model),
    }


def calibration_error(probabilities: np.ndarray, is_right: np.ndarray, n_bins: int = 10) -> float:
    """Return the expected calibration error (Guo et al. 2017, section 2), bins of equal width.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes)
        Predicted probabilities.
    is_right : ndarray of shape (n_samples,), bool
        Whether the most probable class is the true one.
    n_bins : int, default=10
        Number of bins.
    """
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    excess = np.bincount(bins, confidence - is_right, minlength=n_bins)
    return float(np.abs(excess).sum() / len(confidence))


def warm_up(model: Any, split: Split) -> None:
    """Train a copy for a moment: what is imported or compiled on first use shall not count."""
    tiny = clone(model)
    if "max_epochs" in tiny.get_params():
        tiny.set_params(max_epochs=1)
    X = [sequence[..., :100] for sequence in split.X_train[:4]]
    tiny.fit(X, np.array([0, 1, 0, 1])).predict(X)


def about_training(model: Any) -> dict[str, Any]:
    """Return the size of a network and how its training ended; others have neither."""
    net = getattr(model, "net_", None)
    if net is None:
        return {}
    return {
        "n_parameters": sum(parameter.numel() for parameter in net.module_.parameters()),
        "n_epochs": len(net.history),
        "stop_reason": net.stop_reason_ or "all epochs",
    }


# ---------------------------------------------------------------------- all cases


def run(case: Case, folder: Path) -> None:
    """Run a case and put its result, or what went wrong, into the table."""
    data_file(folder, case.file_name)  # missing data is no result
    try:
        found = in_fresh_process(run_case, case, folder)
        outcome = f"accuracy {found['accuracy']:.3f}, {found['fit_seconds']:.0f} s"
    except CaseFailedError as error:
        outcome = str(error)
        found = {"accuracy": "", "failure": outcome}
    row = {"method": case.method, "dataset": case.dataset, **case.configuration(), **found}
    write_rows(TABLE, [row], key=KEY, seed=case.seed)
    print(f"{case.method:24}{case.dataset:24}seed {case.seed}  {outcome}", flush=True)


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases asked for, the quick methods of each data set first."""
    groups = {"ucr": UCR_SETS, "first": FIRST_UCR_SETS, "digits": DIGITS}
    for name in options.datasets:
        for dataset in groups.get(name, (name,)):
            # Training on the digits is long and their test sets are large: one seed is enough.
            seeds = (0,) if dataset in DIGITS else (0, 1, 2)
            for seed in options.seeds or seeds:
                for method in options.methods:
                    yield Case(method, dataset, seed, options.time_limit)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    datasets = ("ucr", "first", "sensors", "digits", *UCR_SETS, *DIGITS)
    everything = ["ucr", "sensors", "digits"]
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(QUICK))
    parser.add_argument("--datasets", nargs="+", choices=datasets, default=everything)
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2, the digits 0")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=1200.0,
        help="seconds of training of inception and lstm (default: %(default)g)",
    )
    parser.add_argument("--force", action="store_true", help="run what is known already, too")
    return parser.parse_args()


def main() -> None:
    """Run the cases that are not known yet, and print the table."""
    options = parse_arguments()
    if not aeon_classifiers.is_available():
        options.methods = [m for m in options.methods if m not in OF_AEON]
        print("The classifiers of aeon are left out: it is not installed (make benchmark-env).")
    for case in cases(options):
        about = {"method": case.method, "dataset": case.dataset, "seed": case.seed}
        if options.force or not is_known(TABLE, **about, **case.configuration()):
            run(case, options.data_dir)
    summary = summarize(read_table(TABLE))
    if summary:
        write_summary(SUMMARY, summary)
        print(SUMMARY.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------- summary


def summarize(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a row for each data set, one for the mean of the first eight, and one for all.

    Of each method: accuracy, seconds of training, and seconds of the processor, means over the
    seeds, and their number. Empty where a data set is missing.
    """
    single = (*UCR_SETS, "sensors", *DIGITS)
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in single}
    groups["mean of the UCR sets"] = FIRST_UCR_SETS
    groups[f"mean of {len(UCR_SETS)} UCR sets"] = UCR_SETS
    summary = []
    for name, datasets in groups.items():
        line = {"dataset": name}
        for method in METHODS:
            seeds = min(len(_values(rows, "accuracy", method, d)) for d in datasets)
            for column, digits in (("accuracy", 3), ("fit_seconds", 0), ("fit_cpu_seconds", 1)):
                means = [_values(rows, column, method, d) for d in datasets]
                text = f"{fmean(map(fmean, means)):.{digits}f}" if seeds else ""
                line[f"{method} {column.replace('_', ' ')}"] = text
            line[f"{method} seeds"] = str(seeds or "")
        summary.append(line)
    used = [name for name in summary[0] if any(line[name] for line in summary)]
    known = [line for line in summary if any(line[name] for name in used[1:])]
    return [{name: line[name] for name in used} for line in known]


def _values(rows: list[dict[str, str]], column: str, method: str, dataset: str) -> list[float]:
    """Return what a method has on a data set, for each seed.

    Older rows have no time of the processor; they were measured on one thread of an idle machine.
    """
    return [
        float(row.get(column) or row["fit_seconds"])
        for row in rows
        if (row["method"], row["dataset"]) == (method, dataset) and row.get("accuracy")
    ]


if __name__ == "__main__":
    main()
