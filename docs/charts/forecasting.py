"""Errors of forecasts by horizon, over those that are published."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "forecasting_summary.csv")
methods = {
    "s4": ("S4Forecaster", "#0072B2", "o-"),
    "nlinear": ("NLinear", "#009E73", "^--"),
    "dlinear": ("DLinear", "#CC79A7", "v:"),
    "ridge": ("ridge on lags", "#E69F00", "s-."),
}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, (name, rows) in zip(axes, table.groupby("dataset"), strict=True):
    for method, (label, color, line) in methods.items():
        ratio = rows[f"{method} mse"] / rows["published"]
        ax.plot(range(len(rows)), ratio, line, color=color, label=label)
    ax.axhline(1, color="0.6", lw=1)
    ax.set_xticks(range(len(rows)), rows["horizon"])
    ax.set(title=name, xlabel="horizon (hours)")
axes[0].set_ylabel("squared error over published")
axes[0].legend(fontsize="small")
