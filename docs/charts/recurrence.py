"""Time of a layer with the compiled recurrence and without."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "layer_algorithms.csv")
table = table.query(
    "mode == 'forward_backward' and ssm == 's4' and d_state == 64 and d_model == 64"
)
labels = [f"{batch} x {length:,}" for batch, length in zip(table.batch, table.length, strict=True)]
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.plot(labels, table["torch_ns"], "s--", color="#E69F00", label="torch")
ax.plot(labels, table["auto_ns"], "o-", color="#0072B2", label="auto")
ax.tick_params(axis="x", rotation=45)
ax.set(xlabel="batch x length", ylabel="ns per element", yscale="log")
ax.legend(fontsize="small")
