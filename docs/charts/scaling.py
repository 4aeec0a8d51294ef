"""Time for each element by length of the sequences."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "layer_scaling.csv")
colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for color, (mode, rows) in zip(colors, table.groupby("mode"), strict=False):
    rows = rows.sort_values("length")
    label = str(mode).replace("_", " ")
    ax.plot(rows["length"], rows["nanoseconds_per_element"], "o-", color=color, label=label)
ax.set(xscale="log", xlabel="length", ylabel="ns per element", ylim=(0, None))
ax.legend(fontsize="small")
