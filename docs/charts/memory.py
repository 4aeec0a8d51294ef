"""Memory of layers by length of the sequences."""

from pathlib import Path

import pandas as pd
from layer_chart import draw_by_length

table = pd.read_csv(Path("..", "..", "benchmarks", "results", "layer_memory.csv"))
draw_by_length(table, "peak_mib", "peak memory (MiB)")
