"""Forecasting: rows of time in, forecasts of the rows that follow out."""

from sks4.estimators.forecasting._forecaster import S4Forecaster
from sks4.estimators.forecasting._stream import ForecasterStream

__all__ = ["ForecasterStream", "S4Forecaster"]
