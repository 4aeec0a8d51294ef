"""Forecasts beside the truth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from sks4._validation import check_choice

from ._axes import COLORS, GRAY, label_axes, new_axes
from ._display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINT, _ENDS = "forecast", ["lower", "upper"]


@dataclass
class ForecastDisplay(Display):
    """A forecast, with what was known before and what came true.

    Make it with :meth:`from_estimator` or :meth:`from_predictions`, as scikit-learn's displays.

    Parameters
    ----------
    point : Series
        Forecast of each row.
    interval : DataFrame or None
        Columns "lower" and "upper".
    history, truth : Series or None
        Rows before the forecast, and what was observed of the rows forecast.
    coverage : float or None
        Share of the truths that the interval should contain.

    Attributes
    ----------
    ax_ : Axes
        Where it was drawn.
    figure_ : Figure
        Figure of these axes.
    """

    point: pd.Series
    interval: pd.DataFrame | None = None
    history: pd.Series | None = None
    truth: pd.Series | None = None
    coverage: float | None = None

    @classmethod
    def from_estimator(
        cls,
        forecaster: Any,
        horizon: int | None = None,
        *,
        history: Any = None,
        truth: Any = None,
        X_future: Any = None,
        coverage: float | None = 0.9,
        target: Any = None,
        n_before: int | None = None,
        unit: str | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Forecast with an estimator, and plot.

        Parameters
        ----------
        forecaster : fitted S4Forecaster
            What forecasts.
        horizon : int or None, default=None
            Number of rows to forecast, as in ``forecaster.forecast``.
        history : Series, DataFrame, array-like or None, default=None
            Rows before the forecast, to be drawn. The forecast itself follows the rows that the
            forecaster has seen.
        truth : Series, DataFrame, array-like or None, default=None
            What was observed of the rows forecast, as far as it is known.
        X_future : array-like or None, default=None
            What is known ahead of the rows to forecast, where ``fit`` got such columns.
        coverage : float or None, default=0.9
            Share of the truths that the intervals should contain; None: no intervals.
        target : label or None, default=None
            Which of several targets to plot; None: the first.
        n_before : int or None, default=None
            Rows of `history` to draw; None: three times as many as are forecast.
        unit : str or None, default=None
            Unit of the series.
        ax : Axes or None, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        ForecastDisplay
            Drawn: its `ax_` has the history, the forecast, its interval and the truth.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As in ``forecaster.forecast``, and as in :meth:`from_predictions`.
        MissingDependencyError
            If matplotlib is not installed.
        """
        predictions = forecaster.forecast(horizon, X_future=X_future, coverage=coverage)
        return cls.from_predictions(
            predictions,
            history=history,
            truth=truth,
            coverage=coverage,
            target=target,
            n_before=n_before,
            unit=unit,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        predictions: Any,
        *,
        history: Any = None,
        truth: Any = None,
        coverage: float | None = None,
        target: Any = None,
        n_before: int | None = None,
        unit: str | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Plot a forecast that was made before.

        Parameters
        ----------
        predictions : Series, DataFrame or array-like
            Result of ``forecaster.forecast``, with or without `coverage`.
        history, truth : Series, DataFrame, array-like or None, default=None
            Rows before the forecast, and what was observed of the rows forecast. Without an index,
            the rows of the history are numbered from 0, and those of the forecast follow.
        coverage : float or None, default=None
            Coverage of the intervals, for the legend.
        target : label or None, default=None
            Which of several targets to plot; None: the first.
        n_before : int or None, default=None
            Rows of `history` to draw; None: three times as many as are forecast.
        unit : str or None, default=None
            Unit of the series.
        ax : Axes or None, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        ForecastDisplay
            Drawn: its `ax_` has the history, the forecast, its interval and the truth.

        Raises
        ------
        ValueError
            If there is no such target, or no row, or if it is of many series.
        MissingDependencyError
            If matplotlib is not installed.
        """
        _check_one_series(predictions)
        frame = _as_frame(predictions)
        if set(_ENDS) <= set(frame.columns.get_level_values(-1)):
            target = frame.columns[0][0] if frame.columns.nlevels > 1 and target is None else target
            frame = _of_target(frame, target) if frame.columns.nlevels > 1 else frame
            point, interval = frame[_POINT], frame[_ENDS]
        else:
            point, interval = _column(frame, target), None
        past = None if history is None else _column(_as_frame(history), target)
        if past is not None and not hasattr(predictions, "index"):
            point = point.set_axis(point.index + len(past))
        future = None if truth is None else _column(_as_frame(truth), target)
        if future is not None and not hasattr(truth, "index"):
            future = future[: len(point)].set_axis(point.index[: len(future)])
        display = cls(point, interval, past, future, coverage)
        return display.plot(n_before=n_before, unit=unit, ax=ax)

    def plot(
        self,
        *,
        n_before: int | None = None,
        unit: str | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        n_before : int or None, default=None
            Rows of the history to draw; None: three times as many as are forecast.
        unit : str or None, default=None
            Unit of the series.
        ax : Axes or None, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        ForecastDisplay
            Drawn: its `ax_` has the history, the forecast, its interval and the truth.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        ax = new_axes(ax)
        if self.history is not None:
            n_rows = 3 * len(self.point) if n_before is None else n_before
            past = self.history.iloc[max(len(self.history) - n_rows, 0) :]
            ax.plot(_positions(past), past.to_numpy(), color=GRAY, label="history")
        if self.truth is not None:
            truth = self.truth
            ax.plot(_positions(truth), truth.to_numpy(), color="black", lw=1, label="observed")
        ax.plot(_positions(self.point), self.point.to_numpy(), color=COLORS[0], label="forecast")
        if self.interval is not None:
            lower, upper = (self.interval[end].to_numpy() for end in _ENDS)
            label = "interval" if self.coverage is None else f"{self.coverage:.0%} interval"
            style: dict[str, Any] = {"color": COLORS[0], "alpha": 0.22, "linewidth": 0}
            ax.fill_between(_positions(self.point), lower, upper, label=label, **style)
        dated = isinstance(self.point.index, pd.DatetimeIndex | pd.PeriodIndex)
        label_axes(ax, "date" if dated else "row", _name(self.history, self.point), unit)
        ax.legend(loc="upper left")
        return self._drawn_in(ax)


def forecast(
    predictions: Any,
    *,
    history: Any = None,
    truth: Any = None,
    coverage: float | None = None,
    target: Any = None,
    n_before: int | None = None,
    unit: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot a forecast with its intervals.

    Parameters
    ----------
    predictions : Series, DataFrame or array-like
        Result of ``forecaster.forecast``, with or without `coverage`.
    history, truth : Series, DataFrame, array-like or None, default=None
        Rows before the forecast, and what was observed of the rows forecast.
    coverage : float or None, default=None
        Coverage of the intervals, for the legend.
    target : label or None, default=None
        Which of several targets to plot; None: the first.
    n_before : int or None, default=None
        Rows of the history to draw; None: three times as many as are forecast.
    unit : str or None, default=None
        Unit of the series.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With the history, the forecast, its interval and the truth.

    Raises
    ------
    ValueError
        If there is no such target, or no row.
    MissingDependencyError
        If matplotlib is not installed.

    See Also
    --------
    ForecastDisplay : The same from an estimator.

    Examples
    --------
    >>> import pandas as pd
    >>> from sks4 import plot
    >>> days = pd.date_range("2026-01-01", periods=3)
    >>> predictions = pd.DataFrame(
    ...     {"forecast": [1.0, 2, 3], "lower": [0.0, 1, 2], "upper": [2.0, 3, 4]}, index=days
    ... )
    >>> plot.forecast(predictions, coverage=0.9, unit="kW").get_ylabel()  # doctest: +SKIP
    'value (kW)'
    """
    display = ForecastDisplay.from_predictions(
        predictions,
        history=history,
        truth=truth,
        coverage=coverage,
        target=target,
        n_before=n_before,
        unit=unit,
        ax=ax,
    )
    return display.ax_


def _check_one_series(predictions: Any) -> None:
    """Raise ValueError if a forecast is that of many series."""
    is_listed = isinstance(predictions, list) and any(hasattr(p, "columns") for p in predictions)
    is_labeled = getattr(getattr(predictions, "index", None), "nlevels", 1) > 1
    if isinstance(predictions, dict) or is_listed or is_labeled:
        raise ValueError(
            "A forecast must be of one series to be plotted, got one of many. Pass that of one to "
            "ForecastDisplay.from_predictions."
        )


def _as_frame(rows: Any) -> pd.DataFrame:
    """Return rows with one column for each target."""
    frame = rows if isinstance(rows, pd.DataFrame) else None
    if isinstance(rows, pd.Series):
        frame = rows.to_frame()
    if frame is None:
        frame = pd.DataFrame(np.asarray(rows))
    if frame.empty:
        raise ValueError(f"Rows to plot must not be empty, got shape {frame.shape}.")
    return frame


def _of_target(frame: pd.DataFrame, target: Any) -> pd.DataFrame:
    """Return the columns below one target."""
    check_choice("target", target, frame.columns.get_level_values(0).unique())
    return frame[target]


def _column(frame: pd.DataFrame, target: Any) -> pd.Series:
    """Return one target; the only column whatever it is called."""
    if target is None or frame.shape[1] == 1:
        return frame.iloc[:, 0]
    check_choice("target", target, frame.columns)
    return frame[target]


def _positions(rows: pd.Series) -> Any:
    """Return the index in a form that matplotlib draws: periods at their start."""
    index = rows.index
    return (index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index).to_numpy()


def _name(*series: pd.Series | None) -> str:
    """Return the name of the series, or "value"."""
    names = [one.name for one in series if one is not None]
    return next((str(n) for n in names if isinstance(n, str) and n != _POINT), "value")
