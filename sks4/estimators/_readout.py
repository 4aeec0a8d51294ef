"""The last layer of a classifier of few sequences: ridge regression on summaries of the features.

The gradient is a poor judge of the last layer where there are few sequences: it follows the
features while they move, from their mean alone. With the features at rest, the regression on
summaries of all blocks is solved exactly, and its penalty is chosen by leaving out each sequence
in turn, which costs nothing more (generalized cross-validation).
"""

from collections.abc import Callable
from typing import ClassVar, cast

import numpy as np
import sklearn
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from sks4.nn import PooledHead, Pooling, S4Model, Summary, SummaryHead
from sks4.training import Batches, S4Net

_PENALTIES = np.geomspace(2**-18, 2**-4, 15)
"""Penalties, as shares of the squared norm of a typical sample. Of a class with one or two members,
none or half is left when one is left out, which would always ask for a larger penalty."""

_SHARPNESS = (0.1, 100.0)
"""Bounds of the factor that makes log-probabilities of regression scores."""

_LEAST_SPREAD = 1e-3
"""Summaries that vary by less, in units of the steps' standard deviation, are not blown up."""


class _EveryBlock(nn.Module):
    """A function of the features of all blocks, in the place of a head."""

    every_block: ClassVar[bool] = True

    def __init__(self, read: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.read = read

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d)`` to ``(batch, n)``."""
        return self.read(x, lengths)


def install_readout(
    net: S4Net,
    batches: Batches,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    n_classes: int,
    label_smoothing: float,
) -> None:
    """Put a head found by ridge regression in the place of the one that was trained.

    Parameters
    ----------
    net : S4Net
        Trained, with an :class:`S4Model` that has a pooled head.
    batches : Batches
        Training sequences, different from each other, each of them in one batch.
    targets, weights, n_classes, label_smoothing
        See :func:`ridge_readout`.
    """
    model = cast(S4Model, net.module_)
    trained = cast(PooledHead, model.head)
    like = trained.linear.weight.detach()
    try:
        moments = _read(net, _moments, batches)
        center, square = np.average(moments, axis=0, weights=weights).reshape(2, -1)
        # what hardly varies shall not be blown up to the size of the rest
        deviation = np.sqrt(np.maximum(square - center**2, 1e-6 * (1 + square)))
        pool = Summary(like.new_tensor(center), like.new_tensor(deviation))
        weight, bias = ridge_readout(
            _read(net, pool, batches),
            targets,
            weights,
            n_classes=n_classes,
            label_smoothing=label_smoothing,
        )
    finally:
        model.head = trained
    model.head = SummaryHead(trained, pool, like.new_tensor(weight), like.new_tensor(bias))


def _read(
    net: S4Net, read: Callable[[Tensor, Tensor | None], Tensor], batches: Batches
) -> np.ndarray:
    """Return in float64 a function of the features of all blocks and the lengths."""
    net.module_.head = _EveryBlock(read)
    return net.predict_dataset(batches.dataset, batches.batch_sampler).astype(np.float64)


def _moments(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return means over time of features ``(batch, length, d)`` and of their squares."""
    return Pooling("mean")(torch.cat([x, x * x], -1), lengths)


def ridge_readout(
    summaries: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    n_classes: int,
    label_smoothing: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the last layer of a classifier, by ridge regression on indicators of the classes.

    The scores are multiplied by the one number that makes them the best log-probabilities of
    sequences that were left out in turn.

    Parameters
    ----------
    summaries : ndarray of shape (n_samples, n_summaries), float64
        What describes each sequence; two samples at least.
    targets : ndarray of shape (n_samples,), int
        Class indices.
    weights : ndarray of shape (n_samples,), float64
        What each counts, above zero.
    n_classes : int
        Number of classes.
    label_smoothing : float, default=0.0
        Share of the target probability that goes evenly to all classes.

    Returns
    -------
    weight : ndarray of shape (n_classes, n_summaries)
        Weights.
    bias : ndarray of shape (n_classes,)
        What is added.
    """
    weights = weights / weights.mean()  # the penalty shall not depend on their unit
    indicators = 2.0 * (targets[:, None] == np.arange(n_classes)) - 1
    # with a scorer, the predictions of samples left out are kept, not their errors
    penalties = summaries.shape[1] * _PENALTIES
    ridge = RidgeCV(penalties, scoring="neg_mean_squared_error", store_cv_results=True)
    mean = np.average(summaries, axis=0, weights=weights)
    variance = np.average((summaries - mean) ** 2, axis=0, weights=weights)
    spread = np.maximum(np.sqrt(variance), _LEAST_SPREAD)
    with (
        sklearn.config_context(enable_metadata_routing=False),  # weights go where they always do
        threadpool_limits(torch.get_num_threads(), user_api="blas"),  # threads are those of torch
    ):
        ridge.fit((summaries - mean) / spread, indicators, sample_weight=weights)
    left_out = ridge.cv_results_.reshape(*indicators.shape, -1)
    left_out = left_out[..., np.flatnonzero(ridge.alpha_ == penalties)[0]]
    sharpness = _sharpness(left_out, _hedged(targets, n_classes, label_smoothing), weights)
    weight = ridge.coef_.reshape(n_classes, -1) / spread
    bias = np.reshape(ridge.intercept_, n_classes) - weight @ mean
    return np.ascontiguousarray(sharpness * weight), sharpness * bias


def _hedged(targets: np.ndarray, n_classes: int, label_smoothing: float) -> np.ndarray:
    """Return target probabilities (n_samples, n_classes) that are never quite sure.

    After n samples, were they all told rightly, the next one is with probability (n + 1) / (n + 2)
    by the rule of succession; Platt 1999 (Probabilistic outputs for support vector machines)
    hedges each class so.
    """
    n_samples, n_others = len(targets), max(1, n_classes - 1)
    is_own = targets[:, None] == np.arange(n_classes)
    hedged = np.where(is_own, n_samples + 1, 1 / n_others) / (n_samples + 2)
    return (1 - label_smoothing) * hedged + label_smoothing / n_classes


def _sharpness(scores: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    """Return the factor of the scores with the least log loss (Guo et al. 2017, section 4.2)."""

    def log_loss(log_factor: float) -> float:
        log_probabilities = log_softmax(np.exp(log_factor) * scores, axis=1)
        return -float(np.average((probabilities * log_probabilities).sum(1), weights=weights))

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log(_SHARPNESS)).x))
