"""The only file that uses private names of scikit-learn, skorch and torch.

Their makers may change them in any release, so each is named here once, with what it is for.
"""

# Constraints of parameters, and their check, in scikit-learn's words.
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)

__all__ = [
    "Interval",
    "Options",
    "StrOptions",
    "validate_parameter_constraints",
]
