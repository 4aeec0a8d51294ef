"""The last layer of a classifier of few sequences: ridge regression on summaries of the features.

The gradient is a poor judge of the last layer where there are few sequences: it follows the
features while they move, from their mean alone. With the features at rest, the regression on
summaries of all blocks is solved exactly, and its penalty is chosen by leaving out each sequence
in turn, which costs nothing more (generalized cross-validation).
"""

from typing import ClassVar, cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from sks4.data import SequenceDataset
from sks4.nn import PooledHead, Pooling, S4Model, Summary, SummaryHead
from sks4.training import BatchSampler, S4Net

_PENALTIES = np.logspace(-3, 5, 17)
_SHARPNESS = (0.1, 100.0)
"""Bounds of the factor that makes log-probabilities of regression scores."""

_LEAST_SPREAD = 1e-3
"""Summaries that vary by less, in units of the steps' standard deviation, are not blown up."""


class _Moments(nn.Module):
    """Means over time of the features of all blocks and of their squares."""

    every_block: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pooling("mean")

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d)`` to ``(batch, 2 * d)``."""
        return self.pool(torch.cat([x, x * x], -1), lengths)


class _SummaryOnly(nn.Module):
    """A summary in the place of a head."""

    every_block: ClassVar[bool] = True

    def __init__(self, pool: Summary) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``x (batch, length, d)`` to ``(batch, 6 * d)``."""
        return self.pool(x, lengths)


def install_readout(
    net: S4Net,
    dataset: SequenceDataset,
    batch_sampler: BatchSampler,
    targets: np.ndarray,
    weights: np.ndarray,
    n_classes: int,
) -> None:
    """Put a head found by ridge regression in the place of the one that was trained.

    Parameters
    ----------
    net : S4Net
        Trained, with an :class:`S4Model` that has a pooled head.
    dataset : SequenceDataset
        Training sequences.
    batch_sampler : BatchSampler
        Batches of all of them, once.
    targets : ndarray of shape (n_samples,), int
        Class indices.
    weights : ndarray of shape (n_samples,), float64
        What each counts; those of no weight have no effect.
    n_classes : int
        Number of classes.
    """
    model = cast(S4Model, net.module_)
    trained = cast(PooledHead, model.head)
    like = trained.linear.weight.detach()
    model.head = _Moments()  # type: ignore[assignment]
    try:
        counted = weights > 0
        moments = net.predict_dataset(dataset, batch_sampler)[counted].astype(np.float64)
        center, square = np.average(moments, axis=0, weights=weights[counted]).reshape(2, -1)
        # what hardly varies shall not be blown up to the size of the rest
        deviation = np.sqrt(np.maximum(square - center**2, 1e-6 * (1 + square)))
        pool = Summary(like.new_tensor(center), like.new_tensor(deviation))
        model.head = _SummaryOnly(pool)  # type: ignore[assignment]
        summaries = net.predict_dataset(dataset, batch_sampler)[counted].astype(np.float64)
        weight, bias = ridge_readout(summaries, targets[counted], weights[counted], n_classes)
    except BaseException:
        model.head = trained
        raise
    model.head = SummaryHead(trained, pool, like.new_tensor(weight), like.new_tensor(bias))


def ridge_readout(
    summaries: np.ndarray, targets: np.ndarray, weights: np.ndarray, n_classes: int
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

    Returns
    -------
    weight : ndarray of shape (n_classes, n_summaries)
        Weights.
    bias : ndarray of shape (n_classes,)
        What is added.
    """
    weights = weights / weights.mean()  # the penalty shall not depend on their unit
    scaler = StandardScaler().fit(summaries, sample_weight=weights)
    spread = np.maximum(scaler.scale_, _LEAST_SPREAD)
    indicators = 2.0 * (targets[:, None] == np.arange(n_classes)) - 1
    # with a scorer, the predictions of samples left out are kept, not their errors
    ridge = RidgeCV(_PENALTIES, scoring="neg_mean_squared_error", store_cv_results=True)
    ridge.fit((summaries - scaler.mean_) / spread, indicators, sample_weight=weights)
    left_out = ridge.cv_results_.reshape(*indicators.shape, -1)
    left_out = left_out[..., np.flatnonzero(ridge.alpha_ == _PENALTIES)[0]]
    sharpness = _sharpness(left_out, targets, weights)
    weight = ridge.coef_.reshape(n_classes, -1) / spread
    bias = np.reshape(ridge.intercept_, n_classes) - weight @ scaler.mean_
    return sharpness * weight, sharpness * bias


def _sharpness(scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """Return the factor of the scores with the least log loss (Guo et al. 2017, section 4.2)."""
    rows = np.arange(len(scores))

    def log_loss(log_factor: float) -> float:
        log_probabilities = log_softmax(np.exp(log_factor) * scores, axis=1)
        return -float(np.average(log_probabilities[rows, targets], weights=weights))

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log(_SHARPNESS)).x))
