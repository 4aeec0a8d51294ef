"""Losses with a weight for every sample: ``sum(w_i * l_i) / sum(w_i)``.

Every loss is called as ``loss(output, target, weight)``. A weight of 2 is the same as a row that
is there twice, so class weights need no code here: they are factors of the sample weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Average `loss` with `weight`, and plainly over the axes that `weight` does not have.

    Parameters
    ----------
    loss : Tensor of shape (batch, ...)
        Elementwise loss.
    weight : Tensor of shape (batch,) or of the leading axes of `loss`
        Weights of at least zero.

    Returns
    -------
    Tensor of shape ()
        The weighted mean; 0 if all weights are 0, where a mean does not exist.
    """
    trailing = tuple(range(weight.ndim, loss.ndim))
    if trailing:
        loss = loss.mean(dim=trailing)  # the shape of weight
    # As shares of the largest one: the sum of large weights overflows, and the reciprocal of a sum
    # of small ones.
    largest = weight.amax()
    weight = (weight / torch.where(largest > 0, largest, 1.0)).to(loss.dtype)
    return (weight * loss).sum() / torch.where(largest > 0, weight.sum(), 1.0)


def _check_same_shape(output: Tensor, target: Tensor) -> None:
    """Refuse shapes that torch would broadcast: (batch, 1) and (batch,) make (batch, batch)."""
    if output.shape != target.shape:
        raise ValueError(
            f"target must have the shape of output, {tuple(output.shape)}, "
            f"got {tuple(target.shape)}."
        )


class CrossEntropy(nn.Module):
    """Weighted negative log-likelihood of the classes, in nats.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of the target probability, from 0 to 1, spread evenly over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of the scores `output` (batch, ..., n_classes).

        `target` holds class indices, int64 of shape (batch, ...), or the probabilities of all
        classes, of the shape of `output`; `weight` has the shape (batch,) or (batch, ...).
        """
        shape = output.shape[:-1]
        loss = functional.cross_entropy(
            output.flatten(0, -2),  # (batch * ..., n_classes)
            target.flatten(0, len(shape) - 1),  # (batch * ...,) or (batch * ..., n_classes)
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return weighted_mean(loss.view(shape), weight)


class SquaredError(nn.Module):
    """Weighted mean of the squared error, over samples and targets."""

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of `output` (batch, ...) for `target` (batch, ...)."""
        _check_same_shape(output, target)
        return weighted_mean(functional.mse_loss(output, target, reduction="none"), weight)


class AbsoluteError(nn.Module):
    """Weighted mean of the absolute error, over samples and targets."""

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of `output` (batch, ...) for `target` (batch, ...)."""
        _check_same_shape(output, target)
        return weighted_mean(functional.l1_loss(output, target, reduction="none"), weight)


class Huber(nn.Module):
    """Weighted mean of the Huber loss: half the square up to `delta`, linear beyond.

    Parameters
    ----------
    delta : float, default=1.0
        Error at which the loss becomes linear, in the unit of the targets.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of `output` (batch, ...) for `target` (batch, ...)."""
        _check_same_shape(output, target)
        loss = functional.huber_loss(output, target, reduction="none", delta=self.delta)
        return weighted_mean(loss, weight)


class Quantile(nn.Module):
    """Weighted mean of the pinball loss, over samples, targets and quantiles.

    Parameters
    ----------
    quantiles : float or sequence of float, default=0.5
        Level or levels above 0 and below 1. One number leaves the outputs the shape of the targets;
        a sequence, even of one, gives them a last axis over the levels.
    """

    def __init__(self, quantiles: float | Sequence[float] = 0.5) -> None:
        super().__init__()
        self.quantiles = quantiles

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of `output` (batch, ..., n_quantiles) for `target` (batch, ...)."""
        if isinstance(self.quantiles, Sequence):
            levels, outputs = list(self.quantiles), output.unbind(dim=-1)
        else:
            levels, outputs = [self.quantiles], (output,)
        losses = [
            self._pinball(output, target, level)
            for output, level in zip(outputs, levels, strict=True)
        ]
        return weighted_mean(torch.stack(losses, dim=-1), weight)  # from (batch, ..., n_quantiles)

    @staticmethod
    def _pinball(output: Tensor, target: Tensor, level: float) -> Tensor:
        _check_same_shape(output, target)
        error = target - output
        return torch.maximum(level * error, (level - 1) * error)


REGRESSION_LOSSES: dict[str, type[nn.Module]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
}
"""Losses of one output for each target, by the name that estimators give them."""


def regression_loss(name: str, quantiles: float | Sequence[float] = 0.5) -> nn.Module:
    """Return the loss of a name in `REGRESSION_LOSSES`, or the pinball loss for "quantile"."""
    return Quantile(quantiles) if name == "quantile" else REGRESSION_LOSSES[name]()
