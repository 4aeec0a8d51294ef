"""Mean loss and score of an epoch, from its batches."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sks4.training._losses import CrossEntropy


class EpochValues:
    """Mean loss and score of the batches of an epoch so far."""

    def __init__(self) -> None:
        self._loss = self._weight = 0.0
        self._hits: Tensor | None = None  # correct, and all, by weight
        self._moments: Tensor | None = None  # of targets and errors, (4, n_targets)

    def add_loss(self, loss: Tensor | None, weight: Tensor) -> None:
        """Add the mean loss of a batch."""
        if loss is not None:
            total = float(weight.sum())
            self._loss += total * loss.item()
            self._weight += total

    def add_score(self, criterion: Any, output: Tensor | None, targets: Mapping[str, Any]) -> None:
        """Add the outputs of a batch to accuracy, or to R², if one of them fits the targets."""
        if output is None:
            return
        y, weight = (targets[name].to(output.device) for name in ("y", "weight"))
        output = output.detach()
        if not y.is_floating_point() and y.ndim == 1:
            hits = torch.stack([weight[output.argmax(1) == y].sum(), weight.sum()])
            self._hits = hits if self._hits is None else self._hits + hits
        elif y.ndim > 1 and y.shape == output.shape and not isinstance(criterion, CrossEntropy):
            moments = _moments(y, output, weight)
            self._moments = moments if self._moments is None else self._moments + moments

    def loss(self) -> dict[str, float]:
        """Return the loss, if there is one."""
        return {"loss": self._loss / self._weight} if self._weight > 0 else {}

    def score(self) -> dict[str, float]:
        """Return accuracy, or R² averaged over the targets, if there is one."""
        value = math.nan
        if self._hits is not None:
            correct, total = self._hits.tolist()
            value = correct / total if total > 0 else math.nan
        elif self._moments is not None:
            total, first, second, errors = self._moments.cpu()
            spread = second - first.square() / total
            value = float((1 - errors / spread).mean())
        return {"score": value} if math.isfinite(value) else {}


def _moments(y: Tensor, output: Tensor, weight: Tensor) -> Tensor:
    """Return weighted sums of 1, y, y² and squared errors, ``(..., n_targets) -> (4, n_targets)``.

    In double precision, as a variance is their difference.
    """
    y, output = y.double().flatten(0, -2), output.double().flatten(0, -2)
    weight = weight.double().flatten(0, -2) if weight.ndim > 1 else weight.double()[:, None]
    y = torch.where(weight > 0, y, 0.0)  # missing targets may be NaN
    errors = torch.where(weight > 0, y - output, 0.0)
    return torch.stack([(weight * m).sum(0) for m in (torch.ones_like(y), y, y * y, errors**2)])
