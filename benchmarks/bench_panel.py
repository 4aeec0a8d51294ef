"""Forecasts of many series by one model: accuracy on M4 hourly, and time and memory of 10,000.

``accuracy``: the 414 series of M4 hourly, 48 hours ahead, `S4Forecaster(horizon=48)` with its
defaults, three seeds, beside the last day again. MASE has a season of 24; the quantile loss is over
the levels 0.1 to 0.9. ``size``: simulated daily series of 500 rows, each run in a process of its
own; memory is that beyond the data of the caller.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._common import (
    RESULTS,
    add_data_option,
    data_file,
    in_fresh_process,
    measure,
    write_rows,
)
from sks4 import S4Forecaster
from sks4.metrics import mean_absolute_scaled_error, weighted_quantile_loss

PARTS = ("accuracy", "size")
SEEDS = (0, 1, 2)
HORIZON, SEASON = 48, 24
LEVELS = [round(0.1 * k, 1) for k in range(1, 10)]
SIZES = (1_000, 10_000)
N_ROWS = 500


def read_m4(path: Path) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """Return the training rows and the test rows of each series."""
    data = np.load(path)
    offsets, values = data["offsets"], data["values"].astype(np.float64)
    train, test = {}, {}
    for number, truth in enumerate(data["test"].astype(np.float64)):
        rows = values[offsets[number] : offsets[number + 1]]
        train[f"H{number + 1}"] = pd.Series(rows)
        labels = np.arange(len(rows), len(rows) + HORIZON)
        test[f"H{number + 1}"] = pd.Series(truth, labels)
    return train, test


def without_last_rows(train: dict[str, pd.Series]) -> tuple[dict[str, pd.Series], ...]:
    """Return the training rows, less the last ones, and these: data to develop on."""
    return (
        {key: rows[:-HORIZON] for key, rows in train.items()},
        {key: rows[-HORIZON:] for key, rows in train.items()},
    )


def scores(
    train: dict[str, pd.Series],
    test: dict[str, pd.Series],
    forecast: dict[str, np.ndarray],
    quantiles: dict[str, np.ndarray],
) -> dict[str, float]:
    """Return the two scores of forecasts of all series."""
    options = {"y_train": train, "seasonality": SEASON}
    return {
        "mase": mean_absolute_scaled_error(test, forecast, **options),
        "quantile_loss": weighted_quantile_loss(test, quantiles, quantiles=LEVELS),
    }


def run_s4(train: dict[str, pd.Series], test: dict[str, pd.Series], seed: int) -> dict[str, Any]:
    """Return scores and CPU seconds of the forecaster."""
    start = time.process_time()
    forecaster = S4Forecaster(horizon=HORIZON, random_state=seed).fit(train)
    fitted = time.process_time()
    forecast = forecaster.forecast()
    seconds = {"fit_cpu_s": fitted - start, "forecast_cpu_s": time.process_time() - fitted}
    quantiles = forecaster.predict_quantiles(test, LEVELS)
    chosen = {"base": forecaster.base_, "correction": forecaster.base_correction_}
    return scores(train, test, forecast, quantiles) | seconds | chosen


def run_seasonal_naive(train: dict[str, pd.Series], test: dict[str, pd.Series]) -> dict[str, Any]:
    """Return scores of the last day again, with quantiles of its errors a day ahead."""
    forecast, quantiles = {}, {}
    for key, rows in train.items():
        values = rows.to_numpy()
        forecast[key] = np.resize(values[-SEASON:], HORIZON)
        errors = np.quantile(values[SEASON:] - values[:-SEASON], LEVELS)
        quantiles[key] = forecast[key][:, np.newaxis] + errors
    return scores(train, test, forecast, quantiles)


def run_accuracy(path: Path, seeds: list[int], *, is_development: bool) -> None:
    """Write and print the scores on M4 hourly."""
    train, test = read_m4(path)
    part = "test"
    if is_development:
        (train, test), part = without_last_rows(train), "end of training rows"
    runs = [("seasonal_naive", 0), *(("s4", seed) for seed in seeds)]
    for method, seed in runs:
        found = run_s4(train, test, seed) if method == "s4" else run_seasonal_naive(train, test)
        row = {"part": part, "method": method, "n_series": len(train), "horizon": HORIZON} | found
        write_rows(RESULTS / "panel.csv", [row], key=("part", "method", "seed"), seed=seed)
        print(part, method, seed, {name: row[name] for name in found}, flush=True)


def simulated(n_series: int) -> dict[int, pd.Series]:
    """Return daily series with a weekly season, in other units."""
    rng = np.random.default_rng(0)
    days, index = np.arange(N_ROWS), pd.date_range("2024-01-01", periods=N_ROWS, freq="D")
    phase = rng.uniform(0, 2 * np.pi, (n_series, 1))
    values = 3 + np.sin(2 * np.pi * days / 7 + phase) + rng.normal(0, 0.3, (n_series, N_ROWS))
    values *= rng.lognormal(0, 1, (n_series, 1))
    return {number: pd.Series(rows, index) for number, rows in enumerate(values)}


def measure_size(n_series: int) -> dict[str, float]:
    """Return seconds and memory of a fit to simulated series and of their forecasts."""
    panel = simulated(n_series)
    few = {number: panel[number] for number in range(8)}
    S4Forecaster(horizon=28, max_epochs=1, random_state=0).fit(few).forecast()  # loads all code
    times = [time.process_time()]

    def run() -> S4Forecaster:
        forecaster = S4Forecaster(horizon=28, random_state=0).fit(panel)
        times.append(time.process_time())
        forecaster.forecast()
        times.append(time.process_time())
        return forecaster

    peak = measure(run).peak_bytes
    fit, forecast = np.diff(times).tolist()
    return {
        "n_rows": N_ROWS,
        "data_mib": n_series * N_ROWS * 8 / 2**20,
        "peak_mib": peak / 2**20,
        "fit_cpu_s": fit,
        "forecast_cpu_s": forecast,
        "fit_cpu_s_per_1000": 1000 * fit / n_series,
        "forecast_cpu_s_per_1000": 1000 * forecast / n_series,
    }


def run_size(sizes: list[int]) -> None:
    """Write and print time and memory by the number of series."""
    for n_series in sizes:
        row = {"n_series": n_series} | in_fresh_process(measure_size, n_series)
        write_rows(RESULTS / "panel_size.csv", [row], key=("n_series",), seed=0)
        print(row, flush=True)


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--development", action="store_true", help="hold out training rows")
    options = parser.parse_args()
    if "accuracy" in options.parts:
        path = data_file(options.data_dir, "m4_hourly.npz")
        run_accuracy(path, options.seeds, is_development=options.development)
    if "size" in options.parts:
        run_size(options.sizes)


if __name__ == "__main__":
    main()
