"""scikit-learn compatible estimators around the S4 structured state space model."""

from sks4 import nn, ssm

__all__ = ["nn", "ssm"]

__version__ = "0.1.0"
