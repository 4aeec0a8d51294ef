"""Time of a fit of each classifier on each data set."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "classification_summary.csv", index_col="dataset")
methods = {
    "s4": ("S4Classifier", "#0072B2", "o"),
    "minirocket": ("MiniRocket", "#E69F00", "s"),
    "multirocket_hydra": ("MultiRocket-Hydra", "#56B4E9", "D"),
    "quant": ("QUANT", "#CC79A7", "v"),
    "inception": ("InceptionTime-style network", "#009E73", "^"),
}
figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for method, (label, color, marker) in methods.items():
    seconds = table[f"{method} fit cpu seconds"]
    ax.plot(seconds, table.index, marker, color=color, label=label, ls="none")
ax.invert_yaxis()
ax.grid(axis="y", color="0.9")
ax.set(xlabel="processor time of one fit (s)", xscale="log")
figure.legend(loc="outside lower center", ncols=3, fontsize="small")
