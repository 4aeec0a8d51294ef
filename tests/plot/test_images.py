"""Plots of fixed data look as in ``images``, which ``python tests/plot/test_images.py`` remakes.

Text is left out, since fonts are drawn differently by different versions of matplotlib.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from matplotlib.testing.decorators import remove_ticks_and_titles

from sks4 import nn, plot

IMAGES = Path(__file__).parent / "images"
TOLERANCE = 8  # root mean square of gray values; a missing line is about 20


def draw_forecast(ax):
    time = np.arange(40)
    wave = np.sin(time * 0.3)
    ends = {"lower": wave[30:] - 0.3, "upper": wave[30:] + 0.3}
    predictions = pd.DataFrame({"forecast": wave[30:], **ends}, index=time[30:])
    history = pd.Series(wave[:30])
    truth = pd.Series(wave[30:] + 0.1, index=time[30:])
    plot.forecast(predictions, history=history, truth=truth, coverage=0.9, ax=ax)


def draw_backtest(ax):
    steps = np.repeat(np.arange(1, 11), 2)
    table = pd.DataFrame({"step": steps, "target": ["a", "b"] * 10, "truth": 0.0})
    plot.backtest(table.assign(forecast=steps**0.5 * np.tile([1, -2], 10)), ax=ax)


def layer():
    made = nn.S4Layer(2, d_state=8, ssm="s4d", init="lin", dtype=torch.float64)
    with torch.no_grad():
        made.log_dt.copy_(torch.tensor([-3.0, -4.0]))
        made.C.fill_(1.0)
    return made


def draw_kernels(ax):
    plot.kernels(layer(), 100, ax=ax)


def draw_eigenvalues(ax):
    plot.eigenvalues(layer(), ax=ax)


def draw_stream(ax):
    rising = 1 / (1 + np.exp(-np.arange(-5, 5, 0.1)))
    plot.stream(np.column_stack([1 - rising, rising]), classes=["no", "yes"], threshold=0.9, ax=ax)


def draw_saliency(ax):
    time = np.arange(100)
    X = np.array([np.sin(time * 0.1), np.sin(time * 0.3)])
    plot.saliency(X, np.array([np.cos(time * 0.1), -np.ones(100)]), ax=ax)


DRAW = {name.removeprefix("draw_"): f for name, f in globals().items() if name.startswith("draw_")}


def save(name, path):
    with mpl.rc_context(mpl.rcParamsDefault):
        figure = Figure(figsize=(4, 3), dpi=50)
        ax = figure.subplots()
        DRAW[name](ax)
        if legend := ax.get_legend():
            legend.remove()
        remove_ticks_and_titles(figure)
        for axes in figure.axes:
            axes.set(xlabel="", ylabel="")
        figure.savefig(path)


@pytest.mark.parametrize("name", DRAW)
def test_plot_looks_as_before(name, tmp_path):
    actual = tmp_path / f"{name}.png"
    save(name, actual)
    assert compare_images(IMAGES / f"{name}.png", actual, tol=TOLERANCE) is None


def test_comparison_notices_another_plot(tmp_path):
    actual = tmp_path / "kernels.png"
    save("kernels", actual)
    assert compare_images(IMAGES / "stream.png", actual, tol=TOLERANCE) is not None


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name in DRAW:
        save(name, IMAGES / f"{name}.png")
