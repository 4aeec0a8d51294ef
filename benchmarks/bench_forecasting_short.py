"""Forecasts of short and dirty series by `S4Forecaster` and others, all with their defaults.

Five series or origins of every kind; three seeds of `S4Forecaster`. The others have no random
numbers, or are not told to use them. Cases that are known are not run again, so a run can be
interrupted. CPU seconds are those of fit and forecast.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import sks4
from benchmarks._common import RESULTS, read_table, write_rows, write_summary
from benchmarks._series import Case, Fold, all_cases
from benchmarks.peers import statistical
from sks4 import S4Forecaster
from sks4.estimators.forecasting._base_forecasts import BaseForecast, judge_smoothers
from sks4.estimators.forecasting._training import scaled_targets

SEEDS = (0, 1, 2)
TABLE, SUMMARY = RESULTS / "forecasting_short.csv", RESULTS / "forecasting_short_summary.csv"
KEY = ("case", "n_rows", "fold", "method", "seed")

PEERS: dict[str, Callable[..., np.ndarray]] = {
    name: getattr(statistical, name)
    for name in ("naive", "ets", "auto_ets", "auto_theta", "boosting")
}
METHODS = ("s4", *PEERS)


def fingerprint(method: str) -> str:
    """Return a hash of the code that the results of a method come from."""
    here = Path(__file__).parent
    package = Path(sks4.__file__).parent
    files = package.rglob("*.py") if method == "s4" else [here / "peers" / "statistical.py"]
    code = [file.read_bytes() for file in sorted([*files, here / "_series.py"])]
    return hashlib.sha256(b"".join(code)).hexdigest()[:12]


def mean_absolute_error(forecast: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean absolute error over the truths that are known."""
    return float(np.nanmean(np.abs(forecast - truth)))


def run_s4(fold: Fold, seed: int) -> dict[str, Any]:
    """Return errors of the forecast and of bases alone, CPU seconds, and what was chosen."""
    horizon, start = len(fold.truth), time.process_time()
    model = S4Forecaster(horizon=horizon, random_state=seed).fit(fold.train)
    forecast = model.forecast().to_numpy()
    found = {"cpu_seconds": time.process_time() - start}
    found["mae"] = mean_absolute_error(forecast, fold.truth)
    found |= {"base": model.base_ or "none", "correction": model.base_correction_}
    if model.base_ is None:
        return found
    plain = plain_base(model)
    found["plain_base"] = plain.name
    fitted = model._predictor_
    for column, base in (("base_mae", fitted.base.base), ("plain_base_mae", plain)):
        model._predictor_ = replace(fitted, base=fitted.base.alone(base), share=0.0)
        found[column] = mean_absolute_error(model.forecast().to_numpy(), fold.truth)
    return found


def plain_base(model: S4Forecaster) -> BaseForecast:
    """Return the naive forecast or the straight line that the choice of the base prefers."""
    windows = model._predictor_.windows
    known = scaled_targets(windows, model._seen_.columns())
    sizes = windows.horizon, windows.context_length
    return judge_smoothers([known], model._setup_.periods, *sizes).plain


def run(case: Case, number: int, fold: Fold, method: str, seed: int) -> dict[str, Any]:
    """Return the row of a method on a fold."""
    about = {"case": case.name, "n_rows": case.n_rows, "horizon": case.horizon, "fold": number}
    about |= {"method": method, "code": fingerprint(method)}
    if method == "s4":
        return about | run_s4(fold, seed)
    start = time.process_time()
    forecast = PEERS[method](fold.train, case.horizon, fold.period)
    seconds = time.process_time() - start
    return about | {"mae": mean_absolute_error(forecast, fold.truth), "cpu_seconds": seconds}


def summarize(rows: list[dict[str, str]], cases: list[Case]) -> Iterator[dict[str, str]]:
    """Yield a line for each case: errors over that of the naive forecast, and CPU seconds."""
    for case in cases:
        line = {"case": case.name, "rows": str(case.n_rows), "horizon": str(case.horizon)}
        errors = {name: _mean(rows, case, name, "mae") for name in METHODS}
        for name in METHODS:
            if name != "naive":
                line[f"{name} / naive"] = _ratio(errors[name], errors["naive"])
        line["s4 / ets"] = _ratio(errors["s4"], errors["ets"])
        line["s4 / its base"] = _ratio(errors["s4"], _mean(rows, case, "s4", "base_mae"))
        plain = _mean(rows, case, "s4", "plain_base_mae")
        line["s4 / plain base"] = _ratio(errors["s4"], plain)
        if case.clean is not None:
            clean = next(c for c in cases if (c.name, c.n_rows) == (case.clean, case.n_rows))
            line["s4 / s4 when clean"] = _ratio(errors["s4"], _mean(rows, clean, "s4", "mae"))
        line |= {
            f"{name} CPU s": f"{_mean(rows, case, name, 'cpu_seconds'):.2f}" for name in METHODS
        }
        yield line


def _mean(rows: list[dict[str, str]], case: Case, method: str, column: str) -> float:
    """Return the mean of a column over folds and seeds, NaN if there are none."""
    wanted = {"case": case.name, "n_rows": str(case.n_rows), "method": method}
    found = [float(row[column]) for row in rows if wanted.items() <= row.items() if row.get(column)]
    return statistics.fmean(found) if found else float("nan")


def _ratio(error: float, other: float) -> str:
    return f"{error / other:.2f}" if np.isfinite(error / other) else ""


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cases", nargs="+", help="parts of their names; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    return parser.parse_args()


def main() -> None:
    """Run the cases that are not known yet, and write and print the summary."""
    options = parse_arguments()
    cases = all_cases()
    for seed in options.seeds:
        for case in cases:
            if options.cases and not any(part in case.name for part in options.cases):
                continue
            for method in options.methods:
                if method == "s4" or seed == SEEDS[0]:
                    run_missing(case, method, seed)
    summary = list(summarize(read_table(TABLE), cases))
    columns = dict.fromkeys(name for line in summary for name in line)
    write_summary(SUMMARY, [{name: line.get(name, "") for name in columns} for line in summary])
    print(SUMMARY.read_text(encoding="utf-8"))


def run_missing(case: Case, method: str, seed: int) -> None:
    """Run the folds of a case that the table does not have from this very code."""
    same = {"case": case.name, "n_rows": str(case.n_rows), "method": method, "seed": str(seed)}
    same |= {"code": fingerprint(method)}
    known = {row["fold"] for row in read_table(TABLE) if same.items() <= row.items()}
    for number, fold in enumerate(case.folds()):
        if str(number) not in known:
            row = run(case, number, fold, method, seed)
            write_rows(TABLE, [row], key=KEY, seed=seed)
            about = f"{case.name} {case.n_rows} fold {number} {method} seed {seed}"
            print(f"{about:60}{row['mae']:.4g} {row['cpu_seconds']:.2f} s", flush=True)


if __name__ == "__main__":
    main()
