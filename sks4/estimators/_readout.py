"""The last layer of a classifier of few sequences: ridge regression on summaries of the features.

The gradient is a poor judge of the last layer where there are few sequences: it follows the
features while they move, from their mean alone. With the features at rest, the regression on
summaries of all blocks, and of filters that are not trained, is solved exactly, and its penalty is
chosen by leaving out each sequence in turn, which costs nothing more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor, nn

from sks4.estimators._ridge import ridge_regression
from sks4.nn import AllFeatures, FilterBank, S4Backbone, S4Model, Summary, SummaryModel
from sks4.training import Batches, S4Net

_PENALTIES = np.geomspace(2**-18, 2**-4, 15)
"""Penalties, as shares of the number of summaries. Of a class with one or two members, none or half
is left when one is left out, which would always ask for a larger penalty."""

_SHARPNESS = (0.1, 100.0)
"""Bounds of the factor that makes log-probabilities of regression scores."""

_LEAST_SPREAD = 1e-3
"""Summaries that vary by less, as shares or in units of a feature's scale, are not blown up."""

_N_LIMITS = 8
"""Number of quantiles of a feature above which its steps are counted."""

_STEPS, _ALL_STEPS = 32, 2**14
"""Number of steps of each sequence, and of all, that the quantiles are taken of."""

_TRUST_IN_FILTERS = 2.0
"""Features that are not trained are not fitted to the targets either, so they deserve a lower
penalty. Chosen on halves of the training sets, see docs/benchmarks.rst."""

_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class Readout:
    """A last layer found by regression, and what it reads beside the blocks.

    Attributes
    ----------
    bank : FilterBank
        Filters of the input.
    pool : Summary
        Summary of the features of all blocks and of the bank.
    linear : nn.Linear
        Map from the summaries to the outputs.
    """

    bank: FilterBank
    pool: Summary
    linear: nn.Linear

    def __getstate__(self) -> dict[str, Any]:
        """Return the weights as arrays, which any format of files can hold."""
        return {
            name: {key: value.numpy(force=True) for key, value in part.state_dict().items()}
            for name, part in vars(self).items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the parts, on the CPU."""
        weights = {
            name: {key: torch.tensor(array) for key, array in arrays.items()}
            for name, arrays in state.items()
        }
        mix = weights["bank"]["mix"]
        bank = FilterBank(*mix.shape, generator=torch.Generator(), dtype=mix.dtype)
        bank.load_state_dict(weights["bank"])
        pool = Summary(weights["pool"]["start"], weights["pool"]["unit"])  # of these shapes
        pool.load_state_dict(weights["pool"])
        vars(self).update(bank=bank, pool=pool, linear=_linear(**weights["linear"]))

    def model(self, backbone: S4Backbone) -> SummaryModel:
        """Return the model on a trained backbone, where that is."""
        device = backbone.projection.weight.device
        features = AllFeatures(backbone, self.bank.to(device))
        return SummaryModel(features, self.pool.to(device), self.linear.to(device))

    @property
    def n_parameters(self) -> int:
        """Number of parameters beside those of the backbone."""
        return sum(p.numel() for part in (self.bank, self.linear) for p in part.parameters())


class _Reading(nn.Module):
    """A function of all features of a batch."""

    def __init__(
        self, features: AllFeatures, read: Callable[[Tensor, Tensor | None], Tensor]
    ) -> None:
        super().__init__()
        self.features, self.read = features, read

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map sequences to ``(batch, ...)``."""
        return self.read(*self.features(u, lengths, rate))


def fit_readout(
    net: S4Net,
    batches: Batches,
    *,
    targets: np.ndarray,
    weights: np.ndarray,
    n_classes: int,
    label_smoothing: float,
) -> Readout:
    """Find the last layer by ridge regression on the features of a trained net, left unchanged.

    Parameters
    ----------
    net : S4Net
        Trained, with an :class:`S4Model` that has a pooled head.
    batches : Batches
        Training sequences, different from each other, each of them in one batch.
    targets, weights, n_classes, label_smoothing
        See :func:`ridge_readout`.
    """
    backbone = cast(S4Model, net.module_).backbone
    like = backbone.projection.weight.detach()
    bank = FilterBank(
        backbone.n_inputs * backbone.patch_size,
        generator=torch.Generator().manual_seed(net.seed),
        dtype=like.dtype,
    ).to(like.device)
    features = AllFeatures(backbone, bank)
    n_steps = min(_STEPS, max(1, _ALL_STEPS // len(targets)))
    steps = _read(net, batches, _Reading(features, partial(_some_steps, n_steps=n_steps)))
    pool = _summary_of(steps.reshape(-1, features.n_features), like)
    summaries = _read(net, batches, _Reading(features, pool))
    trust = np.ones(features.n_features)
    trust[-bank.n_filters :] = _TRUST_IN_FILTERS
    weight, bias = ridge_readout(
        summaries,
        targets,
        weights,
        n_classes=n_classes,
        label_smoothing=label_smoothing,
        trust=np.tile(trust, summaries.shape[1] // features.n_features),
    )
    return Readout(bank, pool, _linear(like.new_tensor(weight), like.new_tensor(bias)))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear map with these weights, which are not trained."""
    # without memory there are no initial weights, which would be drawn at random
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear.requires_grad_(False)


def _read(net: S4Net, batches: Batches, module: nn.Module) -> np.ndarray:
    """Return the outputs of a module for all sequences in float64."""
    outputs = net.predict_dataset(batches.dataset, batches.batch_sampler, module=module)
    return outputs.astype(np.float64)


def _some_steps(x: Tensor, lengths: Tensor | None, *, n_steps: int) -> Tensor:
    """Return features at steps that are spread over each sequence, ``(batch, n_steps, d)``.

    Multiples of the golden ratio, modulo 1, are spread evenly without a period of their own.
    """
    steps = torch.arange(1, n_steps + 1, dtype=torch.float64, device=x.device)
    shares = steps * _GOLDEN % 1
    if lengths is None:
        lengths = torch.full((len(x),), x.shape[1], device=x.device)
    positions = (shares * lengths[:, None]).long().clamp_(max=lengths[:, None] - 1)
    return x[torch.arange(len(x), device=x.device)[:, None], positions]


def _summary_of(steps: np.ndarray, like: Tensor) -> Summary:
    """Return the summary with limits at quantiles of features ``(n_steps, d)``."""
    shares = (np.arange(_N_LIMITS) + 0.5) / _N_LIMITS
    variance, square = steps.var(axis=0), np.mean(steps**2, axis=0)
    # what hardly varies shall not be blown up to the size of the rest
    scale = np.sqrt(np.maximum(variance, 1e-6 * (1 + square)))
    limits = np.quantile(steps, shares, axis=0)
    return Summary(like.new_tensor(limits), like.new_tensor(scale))


def ridge_readout(
    summaries: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    n_classes: int,
    label_smoothing: float = 0.0,
    trust: np.ndarray | float = 1.0,
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
    trust : ndarray of shape (n_summaries,) or float, default=1.0
        Factor of each standardized summary; its weight is penalized less, by the square of it.

    Returns
    -------
    weight : ndarray of shape (n_classes, n_summaries)
        Weights.
    bias : ndarray of shape (n_classes,)
        What is added.
    """
    indicators = 2.0 * (targets[:, None] == np.arange(n_classes)) - 1
    # without weights: a sequence that hardly counts must not lie far outside of the scale
    mean = summaries.mean(axis=0)
    unit = np.maximum(summaries.std(axis=0), _LEAST_SPREAD) / trust
    penalties = summaries.shape[1] * _PENALTIES
    fit = ridge_regression((summaries - mean) / unit, indicators, weights, penalties)
    sharpness = _sharpness(fit.left_out, _hedged(targets, n_classes, label_smoothing), weights)
    weight = fit.weight / unit
    bias = fit.bias - weight @ mean
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
