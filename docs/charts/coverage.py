"""Share of the truths inside of intervals, beside what was asked for."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "forecasting_coverage.csv")
figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
labels = []
for i, ((dataset, coverage), rows) in enumerate(table.groupby(["dataset", "coverage"])):
    labels.append(f"{dataset}, {coverage:.0%}")
    ax.plot(
        [coverage, coverage], [i - 0.3, i + 0.3], color="0.5", label="asked for" if i == 0 else None
    )
    for form, color, marker in (("static", "#D55E00", "s"), ("adaptive", "#0072B2", "o")):
        covered = rows.loc[rows["form"] == form, "covered"]
        label = form if i == 0 else None
        ax.plot(covered, [i] * len(covered), marker, color=color, label=label)
ax.set_yticks(range(len(labels)), labels)
ax.set(xlabel="share of truths inside")
ax.legend(fontsize="small")
