"""The last layer found by ridge regression on summaries of many features.

The gradient is a poor judge of the last layer where there are few sequences: it follows the
features while they move, from their mean alone. With the features at rest, a regression on
summaries of filters that are not trained, and of all blocks if these are, is solved exactly, and
judged on sequences that are left out.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import softmax
from torch import Tensor, nn

from sks4.estimators._filters import (
    FilterSummaries,
    Select,
    SequenceDescriber,
    learn_block_summary,
    n_to_learn,
    read_backbone,
)
from sks4.estimators._ridge import PENALTIES, PENALTIES_OF_VALUES, fit_ridge
from sks4.nn import AllFeatures, FilterBank, Recall, S4Backbone, Summary, SummaryModel
from sks4.training import S4Net, reading

_SHARPNESS = (0.1, 100.0)
"""Bounds of the factor that makes log-probabilities of regression scores."""

_TRUST_IN_FILTERS = 2.0
"""Features that are not trained are not fitted to the targets either, so they deserve a lower
penalty. Chosen on halves of the training sets, see docs/benchmarks.rst."""


@dataclass(frozen=True, eq=False)
class Readout:
    """A last layer found by regression, and what it reads.

    Attributes
    ----------
    bank : FilterBank
        Filters of the input.
    pool : Summary
        Summary of the features.
    linear : nn.Linear
        Map from the summaries, and what is recalled, to the outputs.
    reads_blocks : bool
        Whether the features are those of all blocks and of the bank, or of the bank alone.
    recall : Recall or None
        What is read beside the summary.
    """

    bank: FilterBank
    pool: Summary
    linear: nn.Linear
    reads_blocks: bool
    recall: Recall | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the weights as arrays, which any format of files can hold."""
        parts = {"bank": self.bank, "pool": self.pool, "linear": self.linear}
        if self.recall is not None:
            parts["recall"] = self.recall
        weights = {
            name: {key: value.numpy(force=True) for key, value in part.state_dict().items()}
            for name, part in parts.items()
        }
        return weights | {"reads_blocks": self.reads_blocks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the parts, on the CPU."""
        weights = {
            name: {key: torch.tensor(array) for key, array in state[name].items()}
            for name in ("bank", "pool", "linear", "recall")
            if name in state
        }
        mix = weights["bank"]["mix"]
        bank = FilterBank(*mix.shape, generator=torch.Generator(), dtype=mix.dtype)
        bank.load_state_dict(weights["bank"])
        pool = Summary(weights["pool"]["start"], weights["pool"]["unit"])  # of these shapes
        pool.load_state_dict(weights["pool"])
        linear, recall = _linear(**weights["linear"]), None
        if "recall" in weights:
            recall = Recall(weights["recall"]["filters"], bank.layer.d_state)
        vars(self).update(
            bank=bank,
            pool=pool,
            linear=linear,
            reads_blocks=bool(state["reads_blocks"]),
            recall=recall,
        )

    def model(self, backbone: S4Backbone) -> SummaryModel:
        """Return the model on a backbone, where that is."""
        device = backbone.projection.weight.device
        read = read_backbone(backbone, reads_blocks=self.reads_blocks)
        features = AllFeatures(read, self.bank.to(device))
        recall = None if self.recall is None else self.recall.to(device)
        return SummaryModel(features, self.pool.to(device), self.linear.to(device), recall)

    def n_parameters(self, backbone: S4Backbone) -> int:
        """Return the number of parameters of the model on a backbone."""
        parts = [self.bank, self.linear, *([backbone] if self.reads_blocks else [])]
        return sum(p.numel() for part in parts for p in part.parameters())

    def scaled(self, factor: float) -> "Readout":
        """Return a readout whose outputs are multiplied by a factor."""
        return replace(self, linear=_linear(factor * self.linear.weight, factor * self.linear.bias))


class LeftOut(NamedTuple):
    """What is predicted for samples by a readout that was fitted without them.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,), int64
        The samples.
    outputs : ndarray of shape (n_rows, n_outputs), float64
        The outputs for them, each left out by itself or with its group.
    blocked : ndarray of shape (n_rows, n_outputs), float64
        The outputs for them, left out in blocks.
    gap : int
        Samples this close to a group or a block were left out with it.
    """

    rows: np.ndarray
    outputs: np.ndarray
    blocked: np.ndarray
    gap: int = 0


def fit_readout(
    net: S4Net,
    select: Select,
    filters: FilterSummaries,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    reads_blocks: bool,
    of_values: bool = False,
    groups: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
    gap: int = 0,
) -> tuple[Readout, LeftOut]:
    """Find the last layer by ridge regression on the features of a net, which is not changed.

    Parameters
    ----------
    net : S4Net
        With an :class:`S4Model` that has a pooled head.
    select : callable
        Returns batches of some training sequences, ``(n_rows,) -> Batches``. The sequences are
        different from each other.
    filters : FilterSummaries
        Filters that are read as well, and what is known of the same sequences.
    targets : ndarray of shape (n_samples, n_outputs), float64
        Targets.
    weights : ndarray of shape (n_samples,), float64
        Weights, above zero.
    reads_blocks : bool
        Whether to read the blocks of the net, or the filters alone.
    of_values : bool, default=False
        Whether the targets are values and not classes. Values may follow the level of a sequence
        or its end, so what the filters recall of these is read as well; and it is chosen by samples
        left out in blocks how, since successive sequences are often pieces of a series.
    groups : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a group are left out together.
    blocks : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a block are left out together to judge the result.
    gap : int, default=0
        Samples this close to a group or a block are left out with it.
    """
    pool, n_read = filters.pool, 0 if filters.kept is not None else len(targets)
    if reads_blocks:
        n_read = n_to_learn(len(targets)) + len(targets)
    with reading(net, n_read) as on_batch:
        if reads_blocks:
            pool = learn_block_summary(net, select, len(targets), on_batch).beside(pool)
        trust = _trust(pool.n_features, filters.bank.n_filters)[pool.output_features().numpy()]
        n_each: tuple[int, ...] = (pool.n_outputs - pool.n_timings, pool.n_timings)
        if filters.recall is not None:  # together it counts as much as all the rest
            n_each = *n_each, filters.recall.n_outputs
            even = np.sqrt(np.sum(trust**2) / filters.recall.n_outputs)
            trust = np.append(trust, np.full(filters.recall.n_outputs, even))
        fit = fit_ridge(
            SequenceDescriber(net, select, filters, pool, on_batch),
            targets,
            weights,
            n_each=n_each,
            penalties=PENALTIES_OF_VALUES if of_values else PENALTIES,
            groups=groups,
            blocks=blocks,
            gap=gap,
            # nothing is held out of features that were trained on all sequences, so that blocks
            # tell no more than single ones, unless these resemble each other
            choose_by="blocked" if of_values and (gap or not reads_blocks) else "left_out",
            each_output=of_values,
            trust=trust,
        )
    like = pool.unit
    readout = Readout(
        bank=filters.bank,
        pool=pool,
        linear=_linear(like.new_tensor(fit.weight), like.new_tensor(fit.bias)),
        reads_blocks=reads_blocks,
        recall=filters.recall,
    )
    return readout, LeftOut(fit.rows, fit.left_out, fit.blocked, gap)


def readout_outputs(
    net: S4Net, select: Select, filters: FilterSummaries, readout: Readout
) -> np.ndarray:
    """Return the outputs of a readout for the sequences of `filters`, (n_samples, n_outputs)."""
    describe = SequenceDescriber(net, select, filters, readout.pool)
    described = torch.from_numpy(describe(np.arange(len(filters.rows))))
    with torch.inference_mode():
        return readout.linear(described.to(readout.linear.weight.device)).numpy(force=True)


def _trust(n_features: int, n_filters: int) -> np.ndarray:
    """Return the trust in each feature, relative to those that are trained."""
    trust = np.ones(n_features)
    trust[n_features - n_filters :] = _TRUST_IN_FILTERS
    return trust / trust.min()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear map with these weights, which are not trained."""
    # without memory there are no initial weights, which would be drawn at random
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear.requires_grad_(False)


# ---------------------------------------------------------------------- classes


def class_targets(targets: np.ndarray, n_classes: int) -> np.ndarray:
    """Return what the regression is to predict for class indices, (n_samples, n_classes)."""
    return 2.0 * (targets[:, None] == np.arange(n_classes)) - 1


def calibrated(
    readout: Readout,
    left_out: LeftOut,
    targets: np.ndarray,
    weights: np.ndarray,
    label_smoothing: float,
) -> tuple[Readout, LeftOut]:
    """Return a readout whose outputs are the best log-probabilities of left-out sequences.

    Parameters
    ----------
    readout, left_out
        Fitted to :func:`class_targets`.
    targets : ndarray of shape (n_samples,), int
        Class indices.
    weights : ndarray of shape (n_samples,), float64
        Weights.
    label_smoothing : float
        Share of the target probability that is divided evenly among all classes.
    """
    rows, outputs, blocked, _ = left_out
    hedged = _hedged(targets[rows], outputs.shape[1], label_smoothing)
    factor = _sharpness(outputs, hedged, weights[rows])
    return readout.scaled(factor), LeftOut(rows, factor * outputs, factor * blocked)


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
    """Return the factor of the scores with the least log loss (Guo et al. 2017, section 4.2).

    The loss is convex in the factor. The root of its derivative is found to more digits than its
    minimum, which is flat.
    """

    def slope(log_factor: float) -> float:
        z = np.exp(log_factor) * scores
        excess = softmax(z, axis=1) - probabilities
        return float(np.average((excess * z).sum(axis=1), weights=weights))

    low, high = np.log(_SHARPNESS)
    if slope(low) >= 0:
        return float(np.exp(low))
    if slope(high) <= 0:
        return float(np.exp(high))
    return float(np.exp(brentq(slope, low, high, xtol=1e-13)))
