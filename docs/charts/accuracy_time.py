"""Mean accuracy of each classifier against the processor time of a fit."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "classification_summary.csv", index_col="dataset")
mean = table.loc["mean of 28 UCR sets"]
methods = {
    "s4": ("S4Classifier", "#0072B2", "o"),
    "minirocket": ("MiniRocket", "#E69F00", "s"),
    "multirocket_hydra": ("MultiRocket-Hydra", "#D55E00", "P"),
    "quant": ("QUANT", "#009E73", "^"),
}
figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for method, (label, color, marker) in methods.items():
    seconds, accuracy = mean[f"{method} fit cpu seconds"], mean[f"{method} accuracy"]
    ax.plot(seconds, accuracy, marker, color=color, markersize=9, label=label, ls="none")
ax.grid(color="0.9")
ax.set(xlabel="processor time of one fit (s)", ylabel="accuracy on the test set", xscale="log")
figure.legend(loc="outside lower center", ncols=4, fontsize="small")
