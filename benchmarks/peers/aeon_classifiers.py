"""Classifiers of aeon, for sequences of different lengths.

References
----------
Dempster, Schmidt and Webb 2021 (MiniRocket, arXiv:2012.08791). Dempster, Schmidt and Webb 2023
(Hydra, arXiv:2203.13652), whose combination with MultiRocket (Tan et al. 2022, arXiv:2102.00457) is
MultiRocket-Hydra. Dempster, Schmidt and Webb 2024 (QUANT, arXiv:2308.00928).
"""

import importlib.util
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

# They need one length for all, and their memory grows with it: about 95 % of the spoken digits are
# shorter than this.
MAX_LENGTH = 6_000


def is_available() -> bool:
    """Tell whether aeon is installed."""
    return importlib.util.find_spec("aeon") is not None


class AeonClassifier(ClassifierMixin, BaseEstimator):
    """Bring sequences to one length and give them to aeon; shorter ones repeat their last value.

    Parameters
    ----------
    name : {"minirocket", "multirocket_hydra", "quant"}
        The classifier.
    standardize : {"series", None}, default=None
        Whether each sequence is standardized on its own. It helps with recordings of speakers that
        training has not seen, and costs accuracy where the scale tells classes apart.
    n_jobs : int, default=1
        Threads; QUANT has one.
    random_state : int, default=0
        Seed.
    """

    def __init__(
        self, name: str, *, standardize: str | None = None, n_jobs: int = 1, random_state: int = 0
    ) -> None:
        self.name = name
        self.standardize = standardize
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Sequence[np.ndarray], y: np.ndarray) -> Self:
        """Train on sequences ``(n_timepoints,)`` or ``(n_channels, n_timepoints)``."""
        self.length_ = min(MAX_LENGTH, max(np.shape(x)[-1] for x in X))
        self.classifier_ = self._new().fit(self._equal_lengths(X), y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the class of each sequence."""
        return self.classifier_.predict(self._equal_lengths(X))

    def predict_proba(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the probability of each class; ridge classifiers have none but zero and one."""
        return self.classifier_.predict_proba(self._equal_lengths(X))

    def _new(self) -> Any:
        from aeon.classification.convolution_based import (
            MiniRocketClassifier,
            MultiRocketHydraClassifier,
        )
        from aeon.classification.interval_based import QUANTClassifier

        if self.name == "quant":
            return QUANTClassifier(random_state=self.random_state)
        rockets = {
            "minirocket": MiniRocketClassifier,
            "multirocket_hydra": MultiRocketHydraClassifier,
        }
        return rockets[self.name](n_jobs=self.n_jobs, random_state=self.random_state)

    def _equal_lengths(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the sequences, cut or padded: ``(n_samples, n_channels, length_)``, float32."""
        n_channels = len(np.atleast_2d(X[0]))
        equal = np.empty((len(X), n_channels, self.length_), np.float32)
        for row, sequence in zip(equal, X, strict=True):
            values = _filled(np.atleast_2d(sequence)[:, : self.length_].astype(np.float32))
            if self.standardize == "series":
                spread = np.maximum(values.std(axis=1, keepdims=True), 1e-8)
                values = (values - values.mean(axis=1, keepdims=True)) / spread
            n_steps = values.shape[1]
            row[:, :n_steps], row[:, n_steps:] = values, values[:, -1:]
        return equal


def _filled(values: np.ndarray) -> np.ndarray:
    """Return values ``(n_channels, n_timepoints)`` with NaN filled by the last value before."""
    known = ~np.isnan(values)
    known[:, 0] = True
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), 0), axis=1)
    return np.nan_to_num(np.take_along_axis(values, last, axis=1))
