"""aeon's MiniRocket, for sequences of different lengths.

References
----------
Dempster, Schmidt and Webb 2021 (MiniRocket, arXiv:2012.08791).
"""

import importlib.util
from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

# MiniRocket needs one length for all, and its memory grows with it: about 95 % of the spoken
# digits are shorter than this.
MAX_LENGTH = 6_000


def is_available() -> bool:
    """Tell whether aeon is installed."""
    return importlib.util.find_spec("aeon") is not None


class MiniRocket(ClassifierMixin, BaseEstimator):
    """Bring sequences to one length and give them to aeon; shorter ones end in zeros.

    Parameters
    ----------
    standardize : {"series", None}, default=None
        Whether each sequence is standardized on its own. It helps with recordings of speakers that
        training has not seen, and costs accuracy where the scale tells classes apart.
    n_jobs : int, default=1
        Threads.
    random_state : int, default=0
        Seed.
    """

    def __init__(
        self, *, standardize: str | None = None, n_jobs: int = 1, random_state: int = 0
    ) -> None:
        self.standardize = standardize
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Sequence[np.ndarray], y: np.ndarray) -> Self:
        """Train on sequences of one channel, each at its own length."""
        from aeon.classification.convolution_based import MiniRocketClassifier

        self.length_ = min(MAX_LENGTH, max(map(len, X)))
        self.classifier_ = MiniRocketClassifier(n_jobs=self.n_jobs, random_state=self.random_state)
        self.classifier_.fit(self._equal_lengths(X), y)
        return self

    def predict(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the class of each sequence."""
        return self.classifier_.predict(self._equal_lengths(X))

    def _equal_lengths(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the sequences, cut or padded: ``(n_samples, 1, length_)``, float32."""
        equal = np.zeros((len(X), 1, self.length_), np.float32)
        for row, sequence in zip(equal[:, 0], X, strict=True):
            values = sequence[: self.length_].astype(np.float32)
            if self.standardize == "series":
                values = (values - values.mean()) / max(values.std(), 1e-8)
            row[: len(values)] = values
        return equal
