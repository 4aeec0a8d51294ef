"""Scores of forecasts that scikit-learn does not have, of one series or of many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sks4._validation import check_integer
from sks4.data import SeriesContainer, holds_many_series

__all__ = ["mean_absolute_scaled_error", "weighted_quantile_loss"]


def mean_absolute_scaled_error(
    y_true: Any, y_pred: Any, *, y_train: Any, seasonality: int = 1
) -> float:
    """Return the mean absolute error over that of the naive forecast in the training rows.

    The naive forecast of a row is the value one season before. Of many series, the mean over the
    series, each with its own scale.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,) or (n_rows, n_targets), or many of them
        Truths, NaN where missing, and forecasts. Many series come as a dict, a list of Series or
        frames, or with row labels (series, time).
    y_train : array-like of shape (n_train,) or (n_train, n_targets), or many of them
        The rows before, which set the scale, NaN where missing.
    seasonality : int, default=1
        Rows of a season; 1: the value one row before.

    Returns
    -------
    float
        Below 1 where forecasts are better than the naive one was; averaged over the targets.

    Raises
    ------
    ValueError
        If shapes or series differ, `y_train` has no two values a season apart, or is constant.

    References
    ----------
    Hyndman and Koehler 2006 (Another look at measures of forecast accuracy, International Journal
    of Forecasting 22).

    Examples
    --------
    >>> from sks4.metrics import mean_absolute_scaled_error
    >>> mean_absolute_scaled_error([5, 8], [6, 6], y_train=[1, 2, 4, 3])
    1.125
    """
    check_integer("seasonality", seasonality)
    parts = _by_series({"y_true": y_true, "y_pred": y_pred, "y_train": y_train})
    errors = []
    for key, (true, predicted, train) in parts.items():
        _check_same_shape(true, predicted, key)
        if train.shape[1] != true.shape[1]:
            raise ValueError(f"y_train{key} must have {true.shape[1]} targets.")
        changes = np.abs(train[seasonality:] - train[:-seasonality])
        if np.isnan(changes).all(axis=0).any():
            raise ValueError(
                f"y_train{key} must have two values that are seasonality={seasonality} rows apart, "
                f"got {len(train)} rows. Pass more rows, or a smaller seasonality."
            )
        scale = np.nanmean(changes, axis=0)
        if (scale == 0).any():
            raise ValueError(
                f"y_train{key} must vary from season to season, which gives the scale, got equal "
                "values. Leave this series out."
            )
        errors.append(_mean_known(np.abs(true - predicted) / scale, key))
    return float(np.mean(errors))


def weighted_quantile_loss(y_true: Any, y_quantiles: Any, *, quantiles: Sequence[float]) -> float:
    """Return the quantile loss of all forecasts over the sum of all absolute truths.

    Twice the pinball loss is summed over all rows, targets and series, divided by the sum of the
    absolute truths, and averaged over the levels. For the median alone it is the sum of the
    absolute errors over that of the absolute truths.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,) or (n_rows, n_targets), or many of them
        Truths, NaN where missing. Many series come as a dict, a list of Series or frames, or with
        row labels (series, time).
    y_quantiles : array-like of shape (n_rows, n_quantiles) or (n_rows, n_targets, n_quantiles)
        Forecast quantiles, as of `S4Forecaster.predict_quantiles`; of many series in the container
        of `y_true`.
    quantiles : sequence of float
        Their levels.

    Returns
    -------
    float
        The loss, 0 for perfect forecasts.

    Raises
    ------
    ValueError
        If shapes or series differ, a level is not between 0 and 1, or all truths are zero.

    References
    ----------
    Salinas et al. 2020 (DeepAR, International Journal of Forecasting 36), the quantile loss there.

    Examples
    --------
    >>> from sks4.metrics import weighted_quantile_loss
    >>> loss = weighted_quantile_loss([4, 6], [[3, 5], [6, 6]], quantiles=[0.1, 0.9])
    >>> round(loss, 3)
    0.02
    """
    levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
    if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"quantiles must be levels above 0 and below 1, got {quantiles!r}.")
    loss = total = 0.0
    parts = _by_series({"y_true": y_true, "y_quantiles": y_quantiles})
    for key, (true, forecast) in parts.items():
        if forecast.shape[-1] % len(levels):
            raise ValueError(
                f"y_quantiles{key} must have {len(levels)} quantiles in the last axis, got the "
                f"shape {forecast.shape}."
            )
        forecast = forecast.reshape(len(forecast), -1, len(levels))
        _check_same_shape(true, forecast[..., 0], key)
        error = true[..., np.newaxis] - forecast
        pinball = np.maximum(levels * error, (levels - 1) * error)
        loss += 2 * np.nansum(pinball) / len(levels)
        total += np.nansum(np.abs(true))
    if total == 0:
        raise ValueError("y_true must have a value that is not zero, got only zeros or NaN.")
    return float(loss / total)


def _by_series(data: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """Return arrays (n_rows, ...) of each series, by what an error adds to a name."""
    first, *others = data.items()
    if not holds_many_series(first[1]):
        return {"": [_array(name, part) for name, part in data.items()]}
    container = SeriesContainer.of(first[1])
    by_name = {}
    for name, part in data.items():
        items = container.split(part, name=name)
        by_name[name] = {
            key: _array(f"{name} of series {key!r}", item)
            for key, (item, _) in zip(items.ids, items.items, strict=True)
        }
    for name, _ in others:
        unknown = by_name[first[0]].keys() ^ by_name[name].keys()
        if unknown:
            raise ValueError(
                f"{name} must hold the series of {first[0]}, got a difference in "
                f"{sorted(map(repr, unknown))[0]}."
            )
    return {
        f" of series {key!r}": [by_name[name][key] for name in data] for key in by_name[first[0]]
    }


def _array(name: str, data: Any) -> np.ndarray:
    """Return numbers as float64 of shape (n_rows, n_targets, ...)."""
    values = data.to_numpy() if isinstance(data, (pd.Series, pd.DataFrame)) else data
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0:
        raise ValueError(f"{name} must have an axis of rows, got a number.")
    return array[:, np.newaxis] if array.ndim == 1 else array


def _check_same_shape(true: np.ndarray, predicted: np.ndarray, key: str) -> None:
    if true.shape != predicted.shape:
        raise ValueError(
            f"Truths and forecasts{key} must have one shape, got {true.shape} and "
            f"{predicted.shape}."
        )


def _mean_known(errors: np.ndarray, key: str) -> float:
    if np.isnan(errors).all():
        raise ValueError(f"y_true{key} must have a value, got only NaN.")
    return float(np.nanmean(errors))
