"""scikit-learn compatible estimators around the S4 structured state space model."""

import importlib
from typing import Any

from sks4 import metrics, model_selection, nn, ssm
from sks4._show_versions import show_versions
from sks4._version import __version__
from sks4.data import from_long, to_long
from sks4.estimators import S4Classifier, S4Forecaster, S4Generator, S4Regressor

__all__ = [
    "S4Classifier",
    "S4Forecaster",
    "S4Generator",
    "S4Regressor",
    "__version__",
    "from_long",
    "metrics",
    "model_selection",
    "nn",
    "plot",
    "show_versions",
    "ssm",
    "to_long",
]


def __getattr__(name: str) -> Any:
    """Import :mod:`sks4.plot` on first use: nothing else of sks4 needs it."""
    if name == "plot":
        return importlib.import_module("sks4.plot")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
