"""Scores of a grid search on speakers that training has not heard."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "grid_search.csv")
labels = [f"{d} features, lr {lr:g}" for d, lr in zip(table.d_model, table.lr, strict=True)]
figure, ax = plt.subplots(figsize=(7, 1 + 0.4 * len(table)), layout="constrained")
ax.plot(table["unseen_speakers"], labels, "o", color="#0072B2", label="unheard speakers")
ax.plot(table["held_out_takes"], labels, "s", color="#E69F00", label="known speakers")
ax.invert_yaxis()
ax.set(xlabel="accuracy", xlim=(0, 1))
ax.legend(fontsize="small")
