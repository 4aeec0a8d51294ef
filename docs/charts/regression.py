"""Error of each regressor on each data set."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "regression_summary.csv", index_col="dataset")
table = table[~table.index.str.startswith("all ")]
methods = {
    "s4": ("S4Regressor", "#0072B2", "o"),
    "ridge": ("ridge on the values", "#D55E00", "P"),
    "boosting": ("boosted trees", "#009E73", "^"),
    "minirocket": ("MiniRocket", "#E69F00", "s"),
    "multirocket_hydra": ("MultiRocket-Hydra", "#CC79A7", "D"),
    "mean": ("mean of the targets", "0.5", "|"),
}
figure, ax = plt.subplots(figsize=(7, 4.8), layout="constrained")
for method, (label, color, marker) in methods.items():
    error = table[f"{method} relative rmse"]
    ax.plot(error, table.index, marker, color=color, label=label, ls="none")
ax.invert_yaxis()
ax.grid(axis="y", color="0.9")
ax.set(xlabel="error on the test set (standard deviations of the training targets)", xscale="log")
figure.legend(loc="outside lower center", ncols=3, fontsize="small")
