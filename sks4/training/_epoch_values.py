"""Mean loss and score of an epoch, from its batches."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from sks4.training._losses import CrossEntropy


class EpochValues:
    """Mean loss and score of the batches of an epoch so far.

    It computes with NumPy, which takes a few microseconds for the outputs of a batch.
    """

    def __init__(self) -> None:
        self._loss = self._weight = 0.0
        self._hits = np.zeros(2)  # weight of the correct samples, and of all
        self._moments: np.ndarray | None = None  # of targets and errors, (4, n_targets)

    def add_loss(self, loss: Tensor | None, weight: Tensor) -> None:
        """Add the mean loss of a batch."""
        if loss is not None:
            total = float(_array(weight).sum(dtype=np.float64))
            self._loss += total * loss.item()
            self._weight += total

    def add_score(self, criterion: Any, output: Tensor | None, targets: Mapping[str, Any]) -> None:
        """Add the outputs of a batch to accuracy, or to R², if one of them fits the targets."""
        if output is None:
            return
        y, weight, outputs = map(_array, (targets["y"], targets["weight"], output))
        if y.dtype.kind != "f" and y.ndim == 1:
            self._hits += weight[outputs.argmax(1) == y].sum(), weight.sum()
        elif y.ndim > 1 and y.shape == outputs.shape and not isinstance(criterion, CrossEntropy):
            moments = _moments(y, outputs, weight)
            self._moments = moments if self._moments is None else self._moments + moments

    def loss(self) -> dict[str, float]:
        """Return the loss, if there is one."""
        return {"loss": self._loss / self._weight} if self._weight > 0 else {}

    def score(self) -> dict[str, float]:
        """Return accuracy, or R² averaged over the targets, if there is one."""
        value = math.nan
        correct, total = self._hits.tolist()
        if total > 0:
            value = correct / total
        elif self._moments is not None:
            weight, first, second, errors = self._moments
            with np.errstate(divide="ignore", invalid="ignore"):  # constant targets have no score
                value = float((1 - errors / (second - first**2 / weight)).mean())
        return {"score": value} if math.isfinite(value) else {}


def _moments(y: np.ndarray, output: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return weighted sums of 1, y, y² and squared errors, ``(..., n_targets) -> (4, n_targets)``.

    In double precision, as a variance is their difference.
    """
    y, output, weight = (
        a.reshape(-1, a.shape[-1] if a.ndim > 1 else 1).astype(np.float64)
        for a in (y, output, weight)
    )
    counts = weight > 0
    y = np.where(counts, y, 0.0)  # missing targets may be NaN
    errors = np.where(counts, y - output, 0.0)
    weight = np.broadcast_to(weight, y.shape)
    return np.stack([(weight * m).sum(0) for m in (1.0, y, y * y, errors**2)])


def _array(tensor: Tensor) -> np.ndarray:
    """Return an array of the values, without a copy where that is possible."""
    return tensor.detach().cpu().numpy()
