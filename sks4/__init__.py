"""scikit-learn compatible estimators around the S4 structured state space model."""

from sks4 import nn, ssm
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
    "nn",
    "show_versions",
    "ssm",
    "to_long",
]
