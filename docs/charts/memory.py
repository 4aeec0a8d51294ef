"""Memory of layers by length of the sequences."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "layer_memory.csv")
models = {
    "s4_layer": ("S4 layer", "#0072B2", "o-"),
    "textbook_s4_layer": ("textbook S4 layer", "#56B4E9", "o--"),
    "s4_block": ("S4 block", "#000000", "s-"),
    "lstm_layer": ("LSTM", "#CC79A7", "v:"),
    "transformer_layer": ("transformer", "#E69F00", "^-."),
}
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for model, (label, color, line) in models.items():
    rows = table[table["model"] == model].sort_values("length")
    ax.plot(rows["length"], rows["peak_mib"], line, color=color, label=label)
lengths = sorted(table["length"].unique())
ax.set(xscale="log", yscale="log", xlabel="length", ylabel="peak memory (MiB)")
ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
ax.minorticks_off()
ax.legend(fontsize="small")
