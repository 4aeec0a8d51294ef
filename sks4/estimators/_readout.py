"""The last layer found by ridge regression on summaries of many features.

The gradient is a poor judge of the last layer where there are few sequences: it follows the
features while they move, from their mean alone. With the features at rest, a regression on
summaries of filters that are not trained, and of all blocks if these are, is solved exactly, and
judged on sequences that are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import softmax
from torch import Tensor, nn

from sks4.data import SequenceDataset
from sks4.estimators._auto import resolve_n_filters, typical_length
from sks4.estimators._ridge import PENALTIES, PENALTIES_OF_VALUES, fit_ridge
from sks4.nn import AllFeatures, FilterBank, Recall, S4Backbone, S4Model, Summary, SummaryModel
from sks4.training import Batches, S4Net, reading

_SHARPNESS = (0.1, 100.0)
"""Bounds of the factor that makes log-probabilities of regression scores."""

_QUANTILES = (np.arange(8) + 0.5) / 8
"""Quantiles of a feature that its steps are compared with, and with zero besides: to be above zero
does not depend on the unit of a sequence."""

_STEPS, _SEQUENCES = 32, 128
"""Numbers of steps of a sequence, and of sequences, that the quantiles are taken of."""

_TRUST_IN_FILTERS = 2.0
"""Features that are not trained are not fitted to the targets either, so they deserve a lower
penalty. Chosen on halves of the training sets, see docs/benchmarks.rst."""

_SLOW = 0.01
"""Least step of the filters. To know the level of longer sequences takes a smaller one."""

_FAST = 0.5
"""Filters with this step or a larger one are recalled even if sequences are very short."""

_GOLDEN = (5**0.5 - 1) / 2

Select = Callable[[np.ndarray], Batches]


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
        read = _read_backbone(backbone, reads_blocks=self.reads_blocks)
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
    """

    rows: np.ndarray
    outputs: np.ndarray
    blocked: np.ndarray


class _Reading(nn.Module):
    """A function of all features of a batch."""

    def __init__(self, features: AllFeatures, read: Callable[..., Tensor]) -> None:
        super().__init__()
        self.features, self.read = features, read

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map sequences to ``(batch, ...)``."""
        return self.read(*self.features(u, lengths, rate), rate)


def fit_readout(
    net: S4Net,
    select: Select,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    reads_blocks: bool,
    of_values: bool = False,
    groups: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
) -> tuple[Readout, LeftOut]:
    """Find the last layer by ridge regression on the features of a net, which is not changed.

    Parameters
    ----------
    net : S4Net
        With an :class:`S4Model` that has a pooled head.
    select : callable
        Returns batches of some training sequences, ``(n_rows,) -> Batches``. The sequences are
        different from each other.
    targets : ndarray of shape (n_samples, n_outputs), float64
        Targets.
    weights : ndarray of shape (n_samples,), float64
        Weights, above zero.
    reads_blocks : bool
        Whether to read the blocks of the net, or the bank alone.
    of_values : bool, default=False
        Whether the targets are values and not classes. Values may follow the level of a sequence
        or its end, so what the filters recall of these is read as well; and it is chosen by samples
        left out in blocks how, since successive sequences are often pieces of a series.
    groups : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a group are left out together.
    blocks : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a block are left out together to judge the result.
    """
    trained = cast(S4Model, net.module_).backbone
    like = trained.projection.weight.detach()
    sequences = cast(SequenceDataset, select(np.arange(len(targets))).dataset)
    lengths = -(-sequences.panel.lengths // trained.patch_size)
    forgetting = 2 / typical_length(lengths)  # modes of a filter decay to 1/e in 2/dt steps
    bank = FilterBank(
        trained.patch_width,
        resolve_n_filters(len(targets), int(lengths.sum())),
        dt_min=min(forgetting, _SLOW) if of_values else _SLOW,
        generator=torch.Generator().manual_seed(net.seed),
        dtype=like.dtype,
    ).to(like.device)
    features = AllFeatures(_read_backbone(trained, reads_blocks=reads_blocks), bank)
    recall = _recall_of(bank, forgetting) if of_values else None
    some = np.unique(np.linspace(0, len(targets) - 1, _SEQUENCES).astype(np.int64))
    with reading(net, len(some) + len(targets)) as on_batch:
        steps = _read(net, select, on_batch, _Reading(features, _some_steps), some)
        pool = _summary_of(steps.reshape(-1, features.n_features).astype(np.float64), like)
        trust = _trust(features)[pool.output_features().numpy()]
        n_each: tuple[int, ...] = (pool.n_outputs - pool.n_timings, pool.n_timings)
        if recall is not None:  # together it counts as much as all the rest
            n_each = *n_each, recall.n_outputs
            even = np.sqrt(np.sum(trust**2) / recall.n_outputs)
            trust = np.append(trust, np.full(recall.n_outputs, even))
        describe = SummaryModel(features, pool, nn.Identity(), recall)
        fit = fit_ridge(
            partial(_read, net, select, on_batch, describe),
            targets,
            weights,
            n_each=n_each,
            penalties=PENALTIES_OF_VALUES if of_values else PENALTIES,
            groups=groups,
            blocks=blocks,
            # nothing is held out of features that were trained on all sequences
            choose_by="blocked" if of_values and not reads_blocks else "left_out",
            trust=trust,
        )
    readout = Readout(
        bank=bank,
        pool=pool,
        linear=_linear(like.new_tensor(fit.weight), like.new_tensor(fit.bias)),
        reads_blocks=reads_blocks,
        recall=recall,
    )
    return readout, LeftOut(fit.rows, fit.left_out, fit.blocked)


def _read_backbone(backbone: S4Backbone, *, reads_blocks: bool) -> S4Backbone:
    """Return the backbone, or one without blocks that makes the same patches."""
    if reads_blocks:
        return backbone
    like = backbone.projection.weight
    # the projection of a backbone without blocks is not read, so nothing is drawn
    generator = torch.Generator()
    empty = S4Backbone(
        backbone.n_inputs,
        1,
        0,
        patch_size=backbone.patch_size,
        embedding=backbone.embedding,
        norm=None,
        generator=generator,
        dtype=like.dtype,
    )
    empty.spectrum = backbone.spectrum
    return empty.to(like.device)


def _recall_of(bank: FilterBank, dt_min: float) -> Recall:
    """Return what is recalled by filters of this step or a larger one.

    Slower ones know little but the first step of a sequence.
    """
    layer = bank.layer
    filters = (layer.log_dt.exp() >= min(dt_min, _FAST)).nonzero()[:, 0]
    return Recall(filters, layer.d_state)


def _trust(features: AllFeatures) -> np.ndarray:
    """Return the trust in each feature, relative to those that are trained."""
    trust = np.ones(features.n_features)
    trust[len(trust) - features.bank.n_filters :] = _TRUST_IN_FILTERS
    return trust / trust.min()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear map with these weights, which are not trained."""
    # without memory there are no initial weights, which would be drawn at random
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear.requires_grad_(False)


def _read(
    net: S4Net,
    select: Select,
    on_batch: Callable[[int], None],
    module: nn.Module,
    rows: np.ndarray,
) -> np.ndarray:
    """Return the outputs of a module for some sequences."""
    batches = select(rows)
    return net.predict_dataset(
        batches.dataset, batches.batch_sampler, module=module, on_batch=on_batch
    )


def _some_steps(x: Tensor, lengths: Tensor | None, rate: float = 1.0) -> Tensor:
    """Return features at steps that are spread over each sequence, ``(batch, n_steps, d)``.

    Multiples of the golden ratio, modulo 1, are spread evenly without a period of their own.
    """
    steps = torch.arange(1, _STEPS + 1, dtype=torch.float64, device=x.device)
    shares = steps * _GOLDEN % 1
    if lengths is None:
        lengths = torch.full((len(x),), x.shape[1], device=x.device)
    positions = (shares * lengths[:, None]).long().clamp_(max=lengths[:, None] - 1)
    return x[torch.arange(len(x), device=x.device)[:, None], positions]


def _summary_of(steps: np.ndarray, like: Tensor) -> Summary:
    """Return the summary with limits at zero and at quantiles of features ``(n_steps, d)``."""
    variance, square = steps.var(axis=0), np.mean(steps**2, axis=0)
    # near-constant features must not be amplified to the size of the rest
    scale = np.sqrt(np.maximum(variance, 1e-6 * (1 + square)))
    limits = np.quantile(steps, _QUANTILES, axis=0)
    limits = np.vstack([np.zeros_like(scale), limits])
    return Summary(like.new_tensor(limits), like.new_tensor(scale))


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
    rows, outputs, blocked = left_out
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
