"""Plots of estimators and of what they compute, with matplotlib.

Every function draws into one ``Axes`` and returns it. Without `ax`, a new figure is made with
:func:`matplotlib.pyplot.subplots`. Matplotlib is imported by the first plot, not by this module;
the extra ``plot`` installs it. Colors are those of Okabe and Ito, which are distinct to readers
with any kind of color vision.
"""

from ._backtest import BacktestDisplay, backtest
from ._forecast import ForecastDisplay, forecast
from ._layer import eigenvalues, kernels
from ._sequence import saliency, stream
from ._training import history

__all__ = [
    "BacktestDisplay",
    "ForecastDisplay",
    "backtest",
    "eigenvalues",
    "forecast",
    "history",
    "kernels",
    "saliency",
    "stream",
]
