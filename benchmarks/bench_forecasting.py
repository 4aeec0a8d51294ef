"""Accuracy, time and coverage of S4Forecaster and of other forecasters, on ETTh1 and ETTh2.

Run from the repository's root::

    python -m benchmarks.bench_forecasting                      # everything
    python -m benchmarks.bench_forecasting --parts accuracy --methods s4 nlinear --horizons 96

Protocol: rows 0 to 8639 are for training, 8640 to 11519 for validation, 11520 to 14399 for the
test. Series are standardized by the training rows. Every window of the test rows, at stride 1,
counts, with its context before it. Errors are those of standardized values, averaged over windows,
steps and series. `s4` has nothing but the defaults of S4Forecaster and the horizon.

Parts: `accuracy` (all seven series), `univariate` (the series OT alone), `coverage` (intervals on
the test rows, as calibrated on the validation rows and as they adapt through `update`). What is
already in the tables, from the same code, is not run again; ``--force`` runs it again. Set
OMP_NUM_THREADS to choose the number of threads.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import sks4
from sks4 import S4Forecaster

from ._common import RESULTS, add_data_option, data_file, read_table, write_rows, write_summary
from .peers.forecasting import (
    DLinear,
    Forecaster,
    LagBoosting,
    LagRidge,
    LinearNetwork,
    NLinear,
    SeasonalNaive,
)

DATASETS = ("ETTh1", "ETTh2")
TRAIN, VALID, TEST = slice(0, 8640), slice(8640, 11520), slice(11520, 14400)
HORIZONS = (96, 192, 336, 720)
UNIVARIATE_HORIZONS = (24, 48, 168, 336, 720)
SEEDS = (0, 1, 2)
COVERAGES = (0.8, 0.95)

TABLES = {
    "accuracy": RESULTS / "forecasting.csv",
    "univariate": RESULTS / "forecasting_univariate.csv",
    "coverage": RESULTS / "forecasting_coverage.csv",
}
SUMMARY = RESULTS / "forecasting_summary.csv"
UNIVARIATE_SUMMARY = RESULTS / "forecasting_univariate_summary.csv"
KEY = ("method", "dataset", "horizon", "seed")
COVERAGE_KEY = ("dataset", "horizon", "form", "coverage", "seed")

# Test MSE as published: the better one of PatchTST/64 (Nie et al. 2023) and NLinear (Zeng et al.
# 2023) at each horizon; Informer (Zhou et al. 2021) for the series OT.
PUBLISHED = {
    "ETTh1": dict(zip(HORIZONS, (0.370, 0.408, 0.422, 0.440), strict=True)),
    "ETTh2": dict(zip(HORIZONS, (0.274, 0.341, 0.329, 0.379), strict=True)),
}
INFORMER = {
    "ETTh1": dict(zip(UNIVARIATE_HORIZONS, (0.098, 0.158, 0.183, 0.222, 0.269), strict=True)),
    "ETTh2": dict(zip(UNIVARIATE_HORIZONS, (0.093, 0.155, 0.232, 0.263, 0.277), strict=True)),
}

# The published evaluations left out the windows that do not fill a last batch, which is of 128
# windows for PatchTST (github.com/yuqinie98/PatchTST, issue 7). Here all windows count;
# `mse_whole_batches` is without those windows, for comparison.
PUBLISHED_BATCH = 128

# Windows forecast at once by the peers: 8,192 windows of 720 values are 47 MB.
N_AT_ONCE = 8192

# ---------------------------------------------------------------------- methods

METHODS: dict[str, Callable[[int, int], Forecaster]] = {
    "seasonal_naive": lambda horizon, seed: SeasonalNaive(horizon),
    "nlinear": lambda horizon, seed: LinearNetwork(NLinear, horizon, random_state=seed),
    "dlinear": lambda horizon, seed: LinearNetwork(DLinear, horizon, random_state=seed),
    "ridge": lambda horizon, seed: LagRidge(horizon),
    "boosting": lambda horizon, seed: LagBoosting(horizon, random_state=seed),
}
ALL_METHODS = ("s4", *METHODS)
ONE_SEED = ("seasonal_naive", "ridge", "boosting")  # the first two have no random numbers

# It forecasts one step of the horizon at a time, which takes minutes at longer ones.
BOOSTING_HORIZONS = (96,)


def fingerprint(method: str) -> str:
    """Return a hash of the code that the results of a method come from."""
    package, peers = Path(sks4.__file__).parent, Path(__file__).parent / "peers"
    files = [] if method == "s4" else [peers / "forecasting.py"]
    if method == "s4":
        files += package.rglob("*.py")
    elif method in ("nlinear", "dlinear"):
        files += [file for used in ("data", "training") for file in (package / used).rglob("*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


# ---------------------------------------------------------------------- one case


@dataclass(frozen=True)
class Case:
    """A method, on a data set, for a horizon, with a seed."""

    part: str
    method: str
    dataset: str
    horizon: int
    seed: int

    def key(self) -> dict[str, str]:
        """Return what must be as it was for a result to be kept."""
        values = {name: str(getattr(self, name)) for name in ("dataset", "horizon", "seed")}
        code = {"code": fingerprint(self.method), "threads": str(torch.get_num_threads())}
        return values | code | ({} if self.part == "coverage" else {"method": self.method})


def load_series(folder: Path, dataset: str) -> pd.DataFrame:
    """Return the rows of a data set up to the last one of the test."""
    path = data_file(folder, f"{dataset}.csv")
    frame = pd.read_csv(path, index_col="date", parse_dates=True, nrows=TEST.stop)
    return frame.asfreq("h")


def run_accuracy(case: Case, series: pd.DataFrame) -> dict[str, Any]:
    """Fit, forecast every window of the test, and return errors and times."""
    if case.part == "univariate":
        series = series[["OT"]]
    if case.method == "s4":
        return run_s4(case, series)
    values = series.to_numpy()
    train = values[TRAIN]
    values = (values - train.mean(0)) / train.std(0)
    model = METHODS[case.method](case.horizon, case.seed)
    start = time.process_time()
    model.fit(values[TRAIN], values[VALID])
    fitted = time.process_time()
    errors = errors_of_peer(model, values[TEST.start - model.context_length :])
    done = time.process_time()
    return {**errors, "fit_seconds": fitted - start, "predict_seconds": done - fitted}


def run_s4(case: Case, series: pd.DataFrame) -> dict[str, Any]:
    """Do the same with S4Forecaster."""
    model = S4Forecaster(horizon=case.horizon, random_state=case.seed)
    start = time.process_time()
    model.fit(series.iloc[TRAIN], X_val=series.iloc[VALID])
    fitted = time.process_time()
    table = model.backtest(series.iloc[TEST.start - model.context_length_ :])
    done = time.process_time()
    scale = series.iloc[TRAIN].std(ddof=0).to_numpy()[table["target"].cat.codes]
    error = (table["truth"].to_numpy() - table["forecast"].to_numpy()) / scale
    error = error.reshape(-1, case.horizon * series.shape[1])
    assert len(error) == TEST.stop - TEST.start - case.horizon + 1, "every window counts"
    return {
        **mean_errors(np.square(error).mean(1), np.abs(error).mean(1)),
        "fit_seconds": fitted - start,
        "predict_seconds": done - fitted,
        "n_parameters": model.n_parameters_,
        "n_epochs": model.n_epochs_,
        "best_epoch": model.best_epoch_,
    }


def errors_of_peer(model: Forecaster, rows: np.ndarray) -> dict[str, float]:
    """Return the mean errors over all windows of some rows."""
    length = model.context_length + model.horizon
    windows = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0)
    n_windows, n_series, _ = windows.shape
    windows = windows.reshape(-1, length)  # (n_windows * n_series, context_length + horizon)
    squared, absolute = np.empty((2, len(windows)))
    for start in range(0, len(windows), N_AT_ONCE):
        part = slice(start, start + N_AT_ONCE)
        contexts, truth = np.split(windows[part], [model.context_length], axis=1)
        error = model.forecast(contexts) - truth
        squared[part], absolute[part] = np.square(error).mean(1), np.abs(error).mean(1)
    by_window = (errors.reshape(n_windows, n_series).mean(1) for errors in (squared, absolute))
    return mean_errors(*by_window)


def mean_errors(squared: np.ndarray, absolute: np.ndarray) -> dict[str, float]:
    """Return means of the errors of windows, each of shape (n_windows,), in order of time."""
    whole = len(squared) // PUBLISHED_BATCH * PUBLISHED_BATCH
    return {
        "mse": float(squared.mean()),
        "mae": float(absolute.mean()),
        "mse_whole_batches": float(squared[:whole].mean()) if whole else float("nan"),
    }


def run_coverage(case: Case, series: pd.DataFrame, stride: int = 12) -> list[dict[str, Any]]:
    """Return the coverage of intervals on the test rows, as they are and as they adapt.

    An interval for all rows of the horizon is formed at every origin, `stride` rows after the last
    one. "static": by the quantiles of the backtest, calibrated on the validation rows alone.
    "adaptive": by `predict_interval`, which learns from the rows that `update` has brought.
    """
    levels = sorted({level for c in COVERAGES for level in ((1 - c) / 2, (1 + c) / 2)})
    model = S4Forecaster(horizon=case.horizon, quantiles=levels, random_state=case.seed)
    model.fit(series.iloc[TRAIN], X_val=series.iloc[VALID])
    table = model.backtest(series.iloc[TEST.start - model.context_length_ :], stride=stride)
    scale = series.iloc[TRAIN].std(ddof=0).to_numpy()
    static = {}
    for n_outer, coverage in enumerate(sorted(COVERAGES, reverse=True)):
        lower, upper = table[levels[n_outer]], table[levels[-1 - n_outer]]
        width = (upper - lower).to_numpy() / scale[table["target"].cat.codes]
        static[coverage] = table["truth"].between(lower, upper).mean(), width.mean()
    adaptive = adaptive_coverage(model, series, scale, stride)
    return [
        {"form": form, "coverage": coverage, "covered": float(covered), "width": float(width)}
        for form, found in (("static", static), ("adaptive", adaptive))
        for coverage, (covered, width) in found.items()
    ]


def adaptive_coverage(
    model: S4Forecaster, series: pd.DataFrame, scale: np.ndarray, stride: int
) -> dict[float, tuple[float, float]]:
    """Return coverage and mean standardized width of intervals that adapt, for each coverage."""
    model.update(series.iloc[VALID])
    found: dict[float, list[tuple[float, float]]] = {coverage: [] for coverage in COVERAGES}
    for origin in range(TEST.start, TEST.stop - model.horizon + 1, stride):
        future = series.iloc[origin : origin + model.horizon]
        truth = future.to_numpy()
        for coverage in COVERAGES:
            lower, upper = np.moveaxis(model.predict_interval(future, coverage), -1, 0)
            inside = (lower <= truth) & (truth <= upper)
            found[coverage].append((inside.mean(), ((upper - lower) / scale).mean()))
        model.update(series.iloc[origin : origin + stride])
    return {coverage: tuple(np.mean(values, axis=0)) for coverage, values in found.items()}


# ---------------------------------------------------------------------- all cases


def is_known(case: Case) -> bool:
    """Tell whether the table has a result of this very case."""
    wanted = case.key()
    return any(
        all(row.get(name) == value for name, value in wanted.items())
        for row in read_table(TABLES[case.part])
    )


def run(case: Case, folder: Path) -> None:
    """Run a case and put its result into the table."""
    series = load_series(folder, case.dataset)
    same = {"dataset": case.dataset, "horizon": case.horizon, "code": fingerprint(case.method)}
    if case.part == "coverage":
        rows = [same | row for row in run_coverage(case, series)]
        write_rows(TABLES[case.part], rows, key=COVERAGE_KEY, seed=case.seed)
        outcome = ", ".join(f"{r['form']} {r['coverage']}: {r['covered']:.3f}" for r in rows)
    else:
        found = run_accuracy(case, series)
        row = {"method": case.method, **same, **found}
        write_rows(TABLES[case.part], [row], key=KEY, seed=case.seed)
        outcome = f"MSE {found['mse']:.4f}, MAE {found['mae']:.4f}, {found['fit_seconds']:.0f} s"
    about = f"{case.part} {case.method} {case.dataset} {case.horizon} seed {case.seed}"
    print(f"{about:48}{outcome}", flush=True)


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases asked for, one seed after the other."""
    for part in options.parts:
        horizons = {"accuracy": HORIZONS, "univariate": UNIVARIATE_HORIZONS, "coverage": (96,)}
        methods = options.methods if part == "accuracy" else ("s4",)
        for seed in options.seeds:
            for dataset in options.datasets:
                for horizon in options.horizons or horizons[part]:
                    for method in methods:
                        case = Case(part, method, dataset, horizon, seed)
                        if has_case(case):
                            yield case


def has_case(case: Case) -> bool:
    """Tell whether a method is run for a horizon and a seed."""
    has_one_seed = case.part == "coverage" or case.method in ONE_SEED
    if has_one_seed and case.seed != SEEDS[0]:
        return False
    return case.method != "boosting" or case.horizon in BOOSTING_HORIZONS


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--parts", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--methods", nargs="+", choices=ALL_METHODS, default=list(ALL_METHODS))
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--horizons", nargs="+", type=int, help="default: those of each part")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--force", action="store_true", help="run what is known already, too")
    return parser.parse_args()


def main() -> None:
    """Run the cases that are not known yet, and write and print the summary."""
    options = parse_arguments()
    for case in cases(options):
        if options.force or not is_known(case):
            run(case, options.data_dir)
    summary = summarize(read_table(TABLES["accuracy"]), PUBLISHED)
    univariate = summarize(read_table(TABLES["univariate"]), INFORMER)
    for line in univariate:
        del line["s4 mse of whole batches"]  # Informer's batches were others
    for path, rows in ((SUMMARY, summary), (UNIVARIATE_SUMMARY, univariate)):
        if rows:
            write_summary(path, rows)
            print(path.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------- summary


def summarize(
    rows: list[dict[str, str]], published: dict[str, dict[int, float]]
) -> list[dict[str, str]]:
    """Return a row for each data set and horizon: errors and seconds, means over the seeds."""
    summary = []
    for dataset, by_horizon in published.items():
        for horizon, mse in by_horizon.items():
            same = {"dataset": dataset, "horizon": str(horizon)}
            line = same | {"published": f"{mse:.3f}"}
            for method in ALL_METHODS:
                found = [r for r in rows if same.items() <= r.items() and r["method"] == method]
                for column in ("mse", "mae"):
                    line[f"{method} {column}"] = _mean(found, column, 3)
                if method == "s4":
                    line["s4 over published"] = (
                        f"{float(line['s4 mse']) / mse - 1:+.1%}" if found else ""
                    )
                    line["s4 mse of whole batches"] = _mean(found, "mse_whole_batches", 3)
                    line["s4 fit seconds"] = _mean(found, "fit_seconds", 0)
                    line["s4 predict seconds"] = _mean(found, "predict_seconds", 1)
            summary.append(line)
    used = [name for name in summary[0] if any(line[name] for line in summary)]
    known = [line for line in summary if any(line[name] for name in used[3:])]
    return [{name: line[name] for name in used} for line in known]


def _mean(rows: list[dict[str, str]], column: str, digits: int) -> str:
    """Return the mean of a column as text, empty without rows."""
    values = [float(row[column]) for row in rows]
    return f"{statistics.fmean(values):.{digits}f}" if values else ""


if __name__ == "__main__":
    main()
