"""Time of a fit over that of a bare loop."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "overhead_time.csv")
labels = [f"{n:,} x {length:,}" for n, length in zip(table.n_samples, table.length, strict=True)]
figure, ax = plt.subplots(figsize=(7, 1 + 0.45 * len(table)), layout="constrained")
ax.plot(table["ratio"], labels, "o", color="#0072B2")
ax.axvline(1, color="0.6", lw=1)
ax.invert_yaxis()
ax.set(xlabel="time of fit over that of a bare loop", ylabel="sequences x length")
