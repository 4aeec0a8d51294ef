"""The only file that uses private names of scikit-learn, skorch and torch.

Their makers may change them in any release, so each is named here once, with what it is for.
"""

from typing import Any

# Constraints of parameters, and their check, in scikit-learn's words.
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)

# Number of rows of any array-like.
from sklearn.utils.validation import _num_samples as n_samples_of
from skorch import NeuralNet
from torch import Tensor

__all__ = [
    "Interval",
    "Options",
    "SkorchNet",
    "StrOptions",
    "n_changes_of",
    "n_samples_of",
    "validate_parameter_constraints",
]


def n_changes_of(tensor: Tensor) -> int:
    """Return how often the values of a tensor were changed in place."""
    return tensor._version


class SkorchNet(NeuralNet):
    """Net of skorch whose default callbacks are those of a public method."""

    def default_callbacks(self) -> list[tuple[str, Any]]:
        """Return the callbacks that come before the user's, with their names."""
        return []

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return self.default_callbacks()
