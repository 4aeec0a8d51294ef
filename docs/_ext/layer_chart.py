"""What the charts of layers by length have in common."""

import matplotlib.pyplot as plt
import pandas as pd

_MODELS = {
    "s4_layer": ("S4 layer", "#0072B2", "o-"),
    "textbook_s4_layer": ("textbook S4 layer", "#56B4E9", "o--"),
    "s4_block": ("S4 block", "#000000", "s-"),
    "lstm_layer": ("LSTM", "#CC79A7", "v:"),
    "transformer_layer": ("transformer", "#E69F00", "^-."),
}


def draw_by_length(table: pd.DataFrame, column: str, label: str) -> None:
    """Draw a column of a table by the length of the sequences, a line for each model."""
    _, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for model, (name, color, line) in _MODELS.items():
        rows = table[table["model"] == model].sort_values("length")
        ax.plot(rows["length"], rows[column], line, color=color, label=name)
    lengths = sorted(table["length"].unique())
    ax.set(xscale="log", yscale="log", xlabel="length", ylabel=label)
    ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
    ax.minorticks_off()
    ax.legend(fontsize="small")
