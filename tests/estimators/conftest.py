"""Small data that can be learned, and estimators small enough for a fraction of a second."""

import numpy as np
import pytest
from statsmodels.datasets import co2

from sks4 import S4Classifier, S4Forecaster, S4Regressor

TINY = {
    "d_model": 4,
    "n_layers": 1,
    "d_state": 4,
    "max_epochs": 2,
    "batch_size": 8,
    "dtype": "float64",
    "random_state": 0,
}


@pytest.fixture
def make_classifier():
    return lambda **parameters: S4Classifier(**(TINY | parameters))


@pytest.fixture
def make_regressor():
    return lambda **parameters: S4Regressor(**(TINY | parameters))


@pytest.fixture(params=[S4Classifier, S4Regressor], ids=lambda cls: cls.__name__)
def make_estimator(request):
    return lambda **parameters: request.param(**(TINY | parameters))


@pytest.fixture
def waves():
    """Return 24 noisy waves (24, 1, 20) and whether each is a fast one, as 0 or 1."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = np.sin(np.where(y, 1.0, 0.3)[:, np.newaxis] * np.arange(20)) + rng.normal(0, 0.1, (24, 20))
    return X[:, np.newaxis], y


@pytest.fixture
def ragged_waves(waves):
    """Return the same waves with 8 to 20 time points."""
    X, y = waves
    return [x[:, : 20 - i % 13] for i, x in enumerate(X)], y


@pytest.fixture
def make_forecaster():
    parameters = {"horizon": 4, "context_length": 12, "patch_size": 4}
    parameters |= {"batch_size": 32, "early_stopping": False}
    return lambda **others: S4Forecaster(**(TINY | parameters | others))


@pytest.fixture(scope="session")
def weekly():
    """Return three years of carbon dioxide at Mauna Loa by week, in ppm, with gaps as NaN."""
    return co2.load_pandas().data["co2"]["1963":"1965"]
