"""
Comparison with MiniRocket
==========================

Measured accuracy and training time on eight sets of the UCR archive and on spoken digits, read from the table
that ``python -m benchmarks.bench_classification`` writes. Nothing is trained on this page.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

TABLE = Path("benchmarks", "results", "classification_summary.csv")
root = next(p for p in Path.cwd().resolve().parents if (p / TABLE).exists())
table = pd.read_csv(root / TABLE, index_col="dataset")

columns = [
    "s4 accuracy",
    "minirocket accuracy",
    "s4 fit seconds",
    "minirocket fit seconds",
]
print(table[columns].to_string())

# %%
# Each point is a data set. Above the line sks4 is more accurate, below it MiniRocket.

figure, ax = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
ax.plot([0.2, 1], [0.2, 1], color="0.7", lw=1)
ax.scatter(table["minirocket accuracy"], table["s4 accuracy"], color="#0072B2")
far = (table["s4 accuracy"] - table["minirocket accuracy"]).abs() > 0.03
for name, row in table[far].iterrows():
    point = row["minirocket accuracy"], row["s4 accuracy"]
    ax.annotate(name, point, xytext=(4, 3), textcoords="offset points", fontsize=7)
ax.set(xlabel="MiniRocket", ylabel="S4Classifier", title="accuracy")
plt.show()

# %%
# MiniRocket is far faster on small data: it is the first thing to try there. Times below one second are drawn
# as one.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
positions = range(len(table))
ax.barh(positions, table["s4 fit seconds"], 0.4, color="#0072B2", label="S4Classifier")
ax.barh(
    [p + 0.4 for p in positions],
    table["minirocket fit seconds"].clip(1),
    0.4,
    color="#E69F00",
    label="MiniRocket",
)
ax.set_yticks([p + 0.2 for p in positions], table.index, fontsize=8)
ax.set(xscale="log", xlim=(0.5, 2000), xlabel="training (s, one thread)", title="time")
ax.legend(fontsize=8)
plt.show()
