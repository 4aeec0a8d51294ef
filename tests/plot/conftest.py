"""Axes that no window shows, and tiny fitted estimators."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sks4 import S4Classifier, S4Forecaster

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "random_state": 0}


@pytest.fixture
def ax():
    return Figure(figsize=(6, 4), dpi=60).subplots()


@pytest.fixture(scope="session")
def classifier():
    y = np.arange(24) % 3
    X = np.sin((0.1 + 0.2 * y)[:, None] * np.arange(30))
    options = {"max_epochs": 4, "readout": "trained", **TINY}
    return S4Classifier(**options).fit(X[:18], y[:18], X_val=X[18:], y_val=y[18:])


@pytest.fixture(scope="session")
def series():
    days = pd.date_range("2026-01-01", periods=200)
    load = pd.Series(10 + np.sin(np.arange(200) * 0.3), index=days, name="load")
    return pd.DataFrame({"load": load, "price": 2 * load})


@pytest.fixture(scope="session")
def forecaster(series):
    options = {"horizon": 8, "context_length": 24, "max_epochs": 1, **TINY}
    return S4Forecaster(**options).fit(series[:160])
