"""The errors of a backtest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from sks4._validation import check_choice

from ._axes import integer_ticks, label_axes, line_format, new_axes
from ._display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _root_mean_square(errors: pd.Series) -> float:
    return float(np.sqrt((errors**2).mean()))


def _mean_absolute(errors: pd.Series) -> float:
    return float(errors.abs().mean())


def _mean(errors: pd.Series) -> float:
    return float(errors.mean())


_METRICS = {
    "absolute_error": (_mean_absolute, "mean absolute error"),
    "root_squared_error": (_root_mean_square, "root mean squared error"),
    "bias": (_mean, "mean of forecast minus truth"),
}


@dataclass
class BacktestDisplay(Display):
    """Errors of a backtest by step of the horizon.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`, as scikit-learn's displays.

    Parameters
    ----------
    errors : DataFrame
        Mean error by step (rows) and target (columns).
    metric : str
        What the errors are.

    Attributes
    ----------
    ax_ : Axes
        Where it was drawn.
    figure_ : Figure
        Figure of these axes.
    """

    errors: pd.DataFrame
    metric: str = "absolute_error"

    @classmethod
    def from_estimator(
        cls,
        forecaster: Any,
        X: Any,
        y: Any = None,
        *,
        horizon: int | None = None,
        stride: int = 1,
        metric: str = "absolute_error",
        unit: str | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Run a backtest, and plot.

        Parameters
        ----------
        forecaster : fitted S4Forecaster
            What forecasts.
        X, y : array-like
            Rows in the form of ``fit``, as in ``forecaster.backtest``.
        horizon : int or None, default=None
            Number of steps from each origin; None: the horizon of the model.
        stride : int, default=1
            Number of rows from one origin to the next.
        metric : {"absolute_error", "root_squared_error", "bias"}, default="absolute_error"
            Mean absolute error, root of the mean squared error, or mean of forecast minus truth.
        unit : str or None, default=None
            Unit of the series.
        ax : Axes or None, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        BacktestDisplay
            Drawn: its `ax_` has one line for each target.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As in ``forecaster.backtest``, and if the metric is not known.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_choice("metric", metric, _METRICS)
        table = forecaster.backtest(X, y, horizon=horizon, stride=stride)
        return cls.from_predictions(table, metric=metric, unit=unit, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        table: pd.DataFrame,
        *,
        metric: str = "absolute_error",
        unit: str | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Plot a backtest that was made before.

        Parameters
        ----------
        table : DataFrame
            Result of ``forecaster.backtest``: columns "step", "target", "truth" and "forecast".
        metric : {"absolute_error", "root_squared_error", "bias"}, default="absolute_error"
            As in :meth:`from_estimator`.
        unit : str or None, default=None
            Unit of the series.
        ax : Axes or None, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        BacktestDisplay
            Drawn: its `ax_` has one line for each target.

        Raises
        ------
        ValueError
            If a column is missing, or the metric is not known.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_choice("metric", metric, _METRICS)
        missing = {"step", "target", "truth", "forecast"} - set(table.columns)
        if missing:
            raise ValueError(
                f"table must have the columns of S4Forecaster.backtest, {sorted(missing)} "
                "are missing."
            )
        reduce, _ = _METRICS[metric]
        difference = (table["forecast"] - table["truth"]).astype(np.float64)
        groups = difference.groupby([table["step"], table["target"]], observed=True, sort=True)
        return cls(groups.agg(reduce).unstack("target"), metric).plot(unit=unit, ax=ax)

    def plot(self, *, unit: str | None = None, ax: "Axes | None" = None) -> Self:
        """Draw.

        Parameters
        ----------
        unit : str or None, default=None
            Unit of the series.
        ax : Axes or None, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        BacktestDisplay
            Drawn: its `ax_` has one line for each target.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        ax = new_axes(ax)
        marker = "o" if len(self.errors) == 1 else None
        for i, (target, errors) in enumerate(self.errors.items()):
            values = errors.to_numpy()
            ax.plot(errors.index, values, marker=marker, label=str(target), **line_format(i))
        if self.metric == "bias":
            ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        else:
            ax.set_ylim(bottom=0)
        integer_ticks(ax)
        label_axes(ax, "step of the horizon", _METRICS[self.metric][1], unit)
        if self.errors.shape[1] > 1:
            ax.legend(title="target")
        return self._drawn_in(ax)


def backtest(
    table: pd.DataFrame,
    *,
    metric: str = "absolute_error",
    unit: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot the mean error of a backtest by step of the horizon.

    Parameters
    ----------
    table : DataFrame
        Result of ``forecaster.backtest``. Missing truths count nowhere.
    metric : {"absolute_error", "root_squared_error", "bias"}, default="absolute_error"
        Mean absolute error, root of the mean squared error, or mean of forecast minus truth.
    unit : str or None, default=None
        Unit of the series.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With one line for each target.

    Raises
    ------
    ValueError
        If a column is missing, or the metric is not known.
    MissingDependencyError
        If matplotlib is not installed.

    See Also
    --------
    BacktestDisplay : The same from an estimator.

    Examples
    --------
    >>> import pandas as pd
    >>> from sks4 import plot
    >>> table = pd.DataFrame(
    ...     {"step": [1, 2], "target": ["load"] * 2, "truth": [3.0, 4], "forecast": [3.5, 5]}
    ... )
    >>> ax = plot.backtest(table, unit="kW")  # doctest: +SKIP
    """
    return BacktestDisplay.from_predictions(table, metric=metric, unit=unit, ax=ax).ax_
