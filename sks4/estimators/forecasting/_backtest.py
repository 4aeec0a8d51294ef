"""The table of a backtest, made of whole columns."""

from typing import Any

import numpy as np
import pandas as pd


def backtest_origins(
    n_rows: int, context_length: int, horizon: int, stride: int, *, advice: str
) -> np.ndarray:
    """Return the origins of a backtest, each with a context before it and a horizon from it on.

    Parameters
    ----------
    n_rows : int
        Number of rows of the series.
    context_length, horizon, stride : int
        Rows before an origin, from it on, and from one origin to the next.
    advice : str
        What to do if there are too few rows, the end of the error.

    Returns
    -------
    ndarray of shape (n_origins,), int
        Positions, ascending.

    Raises
    ------
    ValueError
        If there is none.
    """
    origins = np.arange(context_length, n_rows - horizon + 1, stride)
    if len(origins) == 0:
        raise ValueError(
            f"A backtest needs context_length_ + horizon = {context_length} + {horizon} rows at "
            f"least, got {n_rows}. {advice}"
        )
    return origins


def backtest_frame(
    origins: pd.Index,
    targets: pd.Index,
    truth: np.ndarray,
    forecast: np.ndarray,
    quantiles: dict[float, np.ndarray],
) -> pd.DataFrame:
    """Return one row for each origin, step and target, in this order.

    Parameters
    ----------
    origins : Index of n_origins labels
        Label of the last row known.
    targets : Index of n_targets labels
        Names of the targets.
    truth, forecast : ndarray of shape (n_origins, n_steps, n_targets)
        Truths, NaN where missing, and forecasts.
    quantiles : dict of float to ndarray of the same shape
        Forecast quantiles by level.

    Returns
    -------
    DataFrame
        Columns origin, step (from 1), target (categorical), truth, forecast, and the levels.
    """
    n_origins, n_steps, n_targets = forecast.shape
    codes = np.tile(np.arange(n_targets), n_origins * n_steps)
    steps = np.tile(np.repeat(np.arange(1, n_steps + 1), n_targets), n_origins)
    columns: dict[str | float, Any] = {
        "origin": origins.repeat(n_steps * n_targets),
        "step": steps,
        # names of several levels are tuples here
        "target": pd.Categorical.from_codes(codes, categories=targets.to_flat_index()),
        "truth": truth.ravel(),
        "forecast": forecast.ravel(),
    }
    columns |= {level: values.ravel() for level, values in quantiles.items()}
    return pd.DataFrame(columns, copy=False)
