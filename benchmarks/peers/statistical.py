"""Forecasters of one series that a newcomer would try: ``forecast(train, horizon, period)``.

`train` is a pandas Series, NaN where missing, and `period` its season in rows, or None. All are
used with their defaults; missing values are filled by interpolation for those that refuse them.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

# Lags of gradient boosting: so many seasons, or so many rows without a season.
_SEASONS_OF_LAGS, _LAGS = 2, 12

# statsforecast's AutoETS knows no longer seasons, and the states of statsmodels' are slow.
_LONGEST_SEASON = 24


def naive(train: pd.Series, horizon: int, period: int | None) -> np.ndarray:
    """Repeat the last season, or the last value where there is none."""
    season = train.ffill().to_numpy()[-(period or 1) :]
    return np.tile(season, -(-horizon // len(season)))[:horizon]


def ets(train: pd.Series, horizon: int, period: int | None) -> np.ndarray:
    """Forecast by additive exponential smoothing; AICc says whether trend is part, and damped."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    season: dict[str, Any] = {"seasonal": "add", "seasonal_periods": period} if period else {}
    trends: tuple[dict[str, Any], ...] = (
        {},
        {"trend": "add"},
        {"trend": "add", "damped_trend": True},
    )
    values = train.interpolate().to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optimizers that have not converged
        fits = [ETSModel(values, error="add", **trend, **season).fit(disp=0) for trend in trends]
    return np.asarray(min(fits, key=lambda fit: fit.aicc).forecast(horizon))


def auto_ets(train: pd.Series, horizon: int, period: int | None) -> np.ndarray:
    """Forecast by statsforecast's AutoETS."""
    from statsforecast.models import AutoETS

    return _statsforecast(AutoETS(season_length=_season(period)), train, horizon)


def auto_theta(train: pd.Series, horizon: int, period: int | None) -> np.ndarray:
    """Forecast by statsforecast's AutoTheta."""
    from statsforecast.models import AutoTheta

    return _statsforecast(AutoTheta(season_length=_season(period)), train, horizon)


def _season(period: int | None) -> int:
    return period if period is not None and period <= _LONGEST_SEASON else 1


def _statsforecast(model: Any, train: pd.Series, horizon: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.forecast(train.interpolate().to_numpy(), horizon)["mean"]


def boosting(train: pd.Series, horizon: int, period: int | None) -> np.ndarray:
    """Forecast by mlforecast: boosted trees on lags of differences, rolled on step by step."""
    from mlforecast import MLForecast
    from mlforecast.target_transforms import Differences

    values = train.interpolate().to_numpy()
    n_lags = min(_SEASONS_OF_LAGS * period if period else _LAGS, len(values) // 3)
    model = MLForecast(
        models=[HistGradientBoostingRegressor(random_state=0)],
        freq=1,
        lags=list(range(1, n_lags + 1)),
        target_transforms=[Differences([1])],
    )
    rows = {"unique_id": "series", "ds": np.arange(len(values)), "y": values}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecast = model.fit(pd.DataFrame(rows)).predict(horizon)
    return forecast["HistGradientBoostingRegressor"].to_numpy()
