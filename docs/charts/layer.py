"""Time of layers by length of the sequences."""

from pathlib import Path

import pandas as pd
from layer_chart import draw_by_length

results = Path("..", "..", "benchmarks", "results")
table = pd.read_csv(results / "layer_time.csv").query("mode == 'forward_backward'")
draw_by_length(table, "milliseconds", "forward and backward (ms)")
