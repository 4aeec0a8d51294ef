"""Number and names of features, checked as scikit-learn checks them, without an estimator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data


@dataclass(frozen=True, eq=False)
class Features:
    """The features of the data in fit.

    Attributes
    ----------
    n_features : int
        Their number.
    names : ndarray of shape (n_features,) or None
        Their names, if all are strings.
    """

    n_features: int
    names: np.ndarray | None

    def attributes(self) -> dict[str, Any]:
        """Return them as the fitted attributes of an estimator."""
        named = {} if self.names is None else {"feature_names_in_": self.names}
        return {"n_features_in_": self.n_features} | named


def read_features(estimator_name: str, table: Any, known: Features | None) -> Features:
    """Return the features of a table, and compare them with those of fit.

    Parameters
    ----------
    estimator_name : str
        Name of the estimator, for the errors.
    table : array-like or DataFrame of shape (n_samples, n_features)
        The data. Only its number of columns and their names are read.
    known : Features or None
        The features of fit, which must be the same; None: this is fit.

    Returns
    -------
    Features
        The features.

    Raises
    ------
    ValueError
        If number or names differ from those in fit.

    Warns
    -----
    UserWarning
        If only one of the two has names.
    """
    # scikit-learn writes to the estimator that it checks for, and names its class
    checked = type(estimator_name, (BaseEstimator,), {})()
    if known is not None:
        vars(checked).update(known.attributes())
    validate_data(checked, table, reset=known is None, skip_check_array=True)
    return Features(checked.n_features_in_, getattr(checked, "feature_names_in_", None))
