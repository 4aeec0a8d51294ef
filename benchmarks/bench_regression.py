"""Errors, time and memory of S4Regressor and of other regressors, and coverage of its intervals.

Run from the repository's root::

    python -m benchmarks.bench_regression                             # everything
    python -m benchmarks.bench_regression --datasets frequency --methods s4 ridge
    python -m benchmarks.bench_regression --only coverage

Every case has a process of its own. What is already in ``results/regression.csv`` or
``results/regression_coverage.csv``, from the same code and number of threads, is not run again;
``--force`` runs it again. The tables are printed at the end. Set OMP_NUM_THREADS to choose the
number of threads of all methods.

Methods: `s4` has nothing but its defaults; `mean` predicts the mean of the training targets;
`ridge` and `boosting` (scikit-learn's HistGradientBoostingRegressor) read all values as a row;
`minirocket` and `multirocket_hydra` are those of aeon. Data sets: the two that aeon ships, in their
default split; windows of series of statsmodels, tested after the end of the training; synthetic
sequences, others for each seed. Where neither data nor method depends on the seed, there is one.

Coverage is measured where training and test are exchangeable: all sequences of a set are divided at
random, for each split anew.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import r2_score

from sks4 import S4Regressor

from ._common import (
    RESULTS,
    CaseFailedError,
    Split,
    fingerprint,
    in_fresh_process,
    is_known,
    measure_model,
    package_code,
    read_table,
    write_rows,
    write_summary,
)
from ._regression_sets import REAL_SETS, SYNTHETIC_SETS, exchangeable, load
from .peers import regressors
from .peers.aeon_classifiers import is_available

TABLE = RESULTS / "regression.csv"
SUMMARY = RESULTS / "regression_summary.csv"
COVERAGE = RESULTS / "regression_coverage.csv"
COVERAGE_SUMMARY = RESULTS / "regression_coverage_summary.csv"
KEY = ("method", "dataset", "seed")
SETS = (*REAL_SETS, *SYNTHETIC_SETS)
SEEDS = (0, 1, 2)
N_SPLITS = 10
LEVELS = (0.5, 0.8, 0.9, 0.95)

# ---------------------------------------------------------------------- methods


def s4(seed: int) -> S4Regressor:
    """Return the regressor of sks4, with nothing but its defaults."""
    return S4Regressor(random_state=seed)


METHODS: dict[str, Callable[[int], Any]] = {
    "s4": s4,
    "mean": regressors.mean,
    "ridge": regressors.ridge,
    "boosting": regressors.boosting,
    "minirocket": regressors.minirocket,
    "multirocket_hydra": regressors.multirocket_hydra,
}
OF_AEON = ("minirocket", "multirocket_hydra")
WITHOUT_SEED = ("mean", "ridge", "boosting")


def code_of(method: str) -> str:
    """Return a hash of the code that the results of a method come from."""
    here = Path(__file__).parent
    files = package_code() if method == "s4" else [here / "peers" / "regressors.py"]
    return fingerprint([here / "_regression_sets.py", *files])


# ---------------------------------------------------------------------- errors


@dataclass(frozen=True)
class Case:
    """One row of a table: a method, on a data set, with a seed."""

    method: str
    dataset: str
    seed: int


def run_case(case: Case) -> dict[str, Any]:
    """Train and predict, and return the measurements; called in a process of its own."""
    split = load(case.dataset, case.seed)
    model = METHODS[case.method](case.seed)
    warm_up(model, split)
    predicted, costs = measure_model(model, split)
    trained = {"n_epochs": model.n_epochs_} if isinstance(model, S4Regressor) else {}
    return {
        "n_train": len(split.y_train),
        "n_test": len(split.y_test),
        **errors(split, predicted),
        **costs,
        **trained,
    }


def errors(split: Split, predicted: np.ndarray) -> dict[str, float]:
    """Return errors of predictions, means over the targets.

    The relative one is in units of the standard deviation of the training targets.
    """
    by_target = np.sqrt(np.mean((split.y_test - predicted) ** 2, axis=0))
    return {
        "rmse": float(np.mean(by_target)),
        "relative_rmse": float(np.mean(by_target / split.y_train.std(axis=0))),
        "r2": float(r2_score(split.y_test, predicted)),
    }


def warm_up(model: Any, split: Split) -> None:
    """Train a copy on few sequences: what is imported or compiled on first use shall not count."""
    clone(model).fit(split.X_train[:12], split.y_train[:12]).predict(split.X_test[:2])


# ---------------------------------------------------------------------- coverage


def run_coverage(dataset: str, seeds: list[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the rows of some splits; called in a process of its own."""
    return {seed: coverage_of(dataset, seed) for seed in seeds}


def coverage_of(dataset: str, seed: int) -> list[dict[str, Any]]:
    """Return for each level the share of test targets inside of intervals, and their width.

    The width is in units of the standard deviation of the training targets.
    """
    split = exchangeable(load(dataset, seed), seed)
    model = s4(seed).fit(split.X_train, split.y_train)
    truth, unit = split.y_test, split.y_train.std(axis=0)
    rows = []
    for level in LEVELS:
        low, high = np.moveaxis(model.predict_interval(split.X_test, coverage=level), -1, 0)
        inside = (low <= truth) & (truth <= high)
        rows.append(
            {
                "dataset": dataset,
                "coverage": level,
                "covered": float(inside.mean()),
                "width": float(np.mean((high - low) / unit)),
                "n_train": len(split.y_train),
                "n_test": len(truth),
                "n_epochs": model.n_epochs_,
            }
        )
    return rows


# ---------------------------------------------------------------------- all cases


def run(case: Case) -> None:
    """Run a case and put its result, or what went wrong, into the table."""
    try:
        found = in_fresh_process(run_case, case)
        outcome = f"R2 {found['r2']:.3f}, {found['fit_cpu_seconds']:.1f} s"
    except CaseFailedError as error:
        outcome = str(error)
        found = {"failure": outcome}
    row = {"method": case.method, "dataset": case.dataset, "code": code_of(case.method)}
    write_rows(TABLE, [row | found], key=KEY, seed=case.seed)
    print(f"{case.method:20}{case.dataset:26}seed {case.seed}  {outcome}", flush=True)


def run_errors(options: argparse.Namespace) -> None:
    """Run the cases of the errors that are not known yet."""
    for dataset in options.datasets:
        for seed in options.seeds:
            for method in options.methods:
                if seed != options.seeds[0] and dataset in REAL_SETS and method in WITHOUT_SEED:
                    continue
                about = {"method": method, "dataset": dataset, "seed": seed}
                if options.force or not is_known(TABLE, **about, code=code_of(method)):
                    run(Case(method, dataset, seed))


def run_coverages(options: argparse.Namespace) -> None:
    """Run the cases of the coverage that are not known yet."""
    code = code_of("s4")
    for dataset in options.datasets:
        wanted = [
            seed
            for seed in range(options.splits)
            if options.force or not is_known(COVERAGE, dataset=dataset, seed=seed, code=code)
        ]
        if not wanted:
            continue
        for seed, found in in_fresh_process(run_coverage, dataset, wanted).items():
            rows = [row | {"code": code} for row in found]
            write_rows(COVERAGE, rows, key=("dataset", "seed", "coverage"), seed=seed)
            print(f"{dataset:26}split {seed}  {[row['covered'] for row in rows]}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--datasets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--splits", type=int, default=N_SPLITS, help="of the coverage")
    parser.add_argument("--only", choices=("errors", "coverage"))
    parser.add_argument("--force", action="store_true", help="run what is known already, too")
    return parser.parse_args()


def main() -> None:
    """Run the cases that are not known yet, and print the tables."""
    options = parse_arguments()
    if not is_available():
        options.methods = [m for m in options.methods if m not in OF_AEON]
        print("The regressors of aeon are left out: it is not installed (make benchmark-env).")
    if options.only != "coverage":
        run_errors(options)
    if options.only != "errors":
        run_coverages(options)
    for path, summary in (
        (SUMMARY, summarize(read_table(TABLE))),
        (COVERAGE_SUMMARY, summarize_coverage(read_table(COVERAGE))),
    ):
        if summary:
            write_summary(path, summary)
            print(path.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------- summaries


def summarize(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a row for each data set, with means over the seeds, and one for the mean of all.

    The last row is there only if every method has every set. Of the relative errors it has the
    geometric mean.
    """
    known = [row for row in rows if row.get("r2")]
    used = [m for m in METHODS if any(row["method"] == m for row in known)]
    columns = {"relative_rmse": 3, "r2": 3, "fit_cpu_seconds": 1, "fit_peak_mb": 0}
    lines, complete = [], True
    for dataset in SETS:
        line = {"dataset": dataset}
        for method in used:
            cases = [r for r in known if (r["method"], r["dataset"]) == (method, dataset)]
            complete &= bool(cases)
            line[f"{method} seeds"] = str(len(cases) or "")
            for column, digits in columns.items():
                values = [float(row[column]) for row in cases]
                name = f"{method} {column.replace('_', ' ')}"
                line[name] = f"{fmean(values):.{digits}f}" if values else ""
        lines.append(line)
    lines = [line for line in lines if any(line[f"{method} seeds"] for method in used)]
    if lines and complete:
        lines.append({"dataset": f"all {len(lines)}"} | _means(lines))
    return lines


def _means(lines: list[dict[str, str]]) -> dict[str, str]:
    """Return means of the columns of a summary, geometric ones of relative errors."""
    means = {}
    for name in list(lines[0])[1:]:
        values = np.array([float(line[name]) for line in lines])
        if name.endswith("relative rmse"):
            means[name] = f"{np.exp(np.log(values).mean()):.3f}"
        elif name.endswith("seeds"):
            means[name] = str(int(values.min()))
        else:
            means[name] = f"{values.mean():.{1 if 'seconds' in name else 3}f}"
    return means


def summarize_coverage(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return a row for each data set, and one for all: the mean share inside, at each level."""
    lines = []
    for dataset in (*SETS, "all"):
        cases = [row for row in rows if dataset in (row["dataset"], "all")]
        if not cases:
            continue
        line = {"dataset": dataset, "splits": str(len(cases) // len(LEVELS))}
        for level in LEVELS:
            shares = [float(r["covered"]) for r in cases if float(r["coverage"]) == level]
            line[f"{level:g}"] = f"{fmean(shares):.3f}"
            if dataset != "all":
                error = np.std(shares, ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else np.nan
                line[f"{level:g} error"] = f"{error:.3f}"
            else:
                line[f"{level:g} error"] = ""
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
