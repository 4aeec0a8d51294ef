"""Regressors of other kinds, for sequences of one length and one or several targets.

References
----------
Dempster, Schmidt and Webb 2021 (MiniRocket, arXiv:2012.08791). Dempster, Schmidt and Webb 2023
(Hydra, arXiv:2203.13652), whose combination with MultiRocket (Tan et al. 2022, arXiv:2102.00457) is
MultiRocket-Hydra.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_PENALTIES = np.logspace(-3, 4, 15)


def mean(seed: int) -> "FromArrays":
    """Return a regressor that predicts the mean of the training targets."""
    return FromArrays(DummyRegressor(), flat=True)


def ridge(seed: int) -> "FromArrays":
    """Return a ridge regression on all values, standardized."""
    return FromArrays(make_pipeline(StandardScaler(), RidgeCV(_PENALTIES)), flat=True)


def boosting(seed: int) -> "FromArrays":
    """Return boosted trees on all values."""
    return FromArrays(HistGradientBoostingRegressor(random_state=seed), flat=True, single=True)


def minirocket(seed: int) -> "FromArrays":
    """Return aeon's MiniRocket."""
    from aeon.regression.convolution_based import MiniRocketRegressor

    return FromArrays(MiniRocketRegressor(random_state=seed), single=True)


def multirocket_hydra(seed: int) -> "FromArrays":
    """Return aeon's MultiRocket-Hydra."""
    from aeon.regression.convolution_based import MultiRocketHydraRegressor

    return FromArrays(MultiRocketHydraRegressor(random_state=seed), single=True)


class FromArrays(RegressorMixin, BaseEstimator):
    """Give sequences as one array to a regressor.

    Parameters
    ----------
    regressor : regressor
        Of scikit-learn or aeon.
    flat : bool, default=False
        Whether it takes all values of a sequence as a row, and not channels and time.
    single : bool, default=False
        Whether it has one target; several are then predicted each by one of its own.
    """

    def __init__(self, regressor: Any, *, flat: bool = False, single: bool = False) -> None:
        self.regressor = regressor
        self.flat = flat
        self.single = single

    def fit(self, X: Sequence[np.ndarray], y: np.ndarray) -> Self:
        """Train on sequences ``(n_timepoints,)`` or ``(n_channels, n_timepoints)``."""
        regressor = clone(self.regressor)
        if self.single and y.ndim == 2 and not self.flat:  # not a table for scikit-learn
            self.regressors_ = [clone(regressor).fit(self._array(X), column) for column in y.T]
            return self
        if self.single and y.ndim == 2:
            regressor = MultiOutputRegressor(regressor)
        self.regressors_ = [regressor.fit(self._array(X), y)]
        return self

    def predict(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the targets, in the axes of fit."""
        predicted = [regressor.predict(self._array(X)) for regressor in self.regressors_]
        return predicted[0] if len(predicted) == 1 else np.stack(predicted, axis=1)

    def _array(self, X: Sequence[np.ndarray]) -> np.ndarray:
        array = np.stack([np.atleast_2d(x) for x in X]).astype(np.float32)
        return array.reshape(len(array), -1) if self.flat else array
