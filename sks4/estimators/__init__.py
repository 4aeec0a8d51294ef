"""The estimators: where data, model and training meet under the contract of scikit-learn."""

from sks4.estimators._classification import S4Classifier
from sks4.estimators._generation import S4Generator
from sks4.estimators._regression import S4Regressor
from sks4.estimators._streaming import ClassifierStream, RegressorStream, SequenceStream
from sks4.estimators.forecasting import ForecasterStream, S4Forecaster

__all__ = [
    "ClassifierStream",
    "ForecasterStream",
    "RegressorStream",
    "S4Classifier",
    "S4Forecaster",
    "S4Generator",
    "S4Regressor",
    "SequenceStream",
]
