"""What random filters tell of the training sequences, which is the same for each readout of a fit.

Filters are not trained. So the regression on them alone, the trial of a network and the regression
after its training read the same summaries, which are made once. Limits and units of the summaries
are learned from all sequences, but not from their targets: those that are held out to judge are
described as they will be when they are new.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from sks4.data import SequenceDataset
from sks4.estimators._auto import resolve_n_filters, typical_length
from sks4.nn import AllFeatures, FilterBank, Recall, S4Backbone, S4Model, Summary, SummaryModel
from sks4.training import Batches, S4Net, reading

_QUANTILES = (np.arange(8) + 0.5) / 8
"""Quantiles of a feature that its steps are compared with, and with zero besides: to be above zero
does not depend on the unit of a sequence."""

_STEPS, _SEQUENCES = 32, 128
"""Numbers of steps of a sequence, and of sequences, that the quantiles are taken of."""

_SLOW = 0.01
"""Least step of the filters. To know the level of longer sequences takes a smaller one."""

_FAST = 0.5
"""Filters with this step or a larger one are recalled even if sequences are very short."""

_GROUPS, _FIRST_OF_MASKS = 16, 7
"""Where there are masks, one in 16 groups of filters reads them. It is the last of eight groups,
which there are at least."""

_GOLDEN = (5**0.5 - 1) / 2

_MOST_KEPT = 2**28
"""Bytes of summaries that are kept. Larger ones are made again where they are read."""

Select = Callable[[np.ndarray], Batches]


@dataclass(frozen=True, eq=False)
class FilterSummaries:
    """Filters, and summaries of their outputs for some sequences.

    Attributes
    ----------
    bank : FilterBank
        The filters.
    pool : Summary
        Summary of their outputs.
    recall : Recall or None
        What is read beside the summary.
    kept : ndarray of shape (n_known, n_outputs) or None
        Summaries, and what is recalled, of all sequences of the fit; None if they are too large.
    rows : ndarray of shape (n_samples,), int64
        Rows in `kept` of the sequences that are meant.
    """

    bank: FilterBank
    pool: Summary
    recall: Recall | None
    kept: np.ndarray | None
    rows: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """Return the same for some of the sequences."""
        return replace(self, rows=self.rows[rows])

    def describe(self, rows: np.ndarray) -> np.ndarray:
        """Return summaries that are kept, (n_rows, n_outputs)."""
        assert self.kept is not None
        wanted = self.rows[rows]
        is_everything = np.array_equal(wanted, np.arange(len(self.kept)))
        return self.kept if is_everything else self.kept[wanted]


class SequenceDescriber:
    """Describes sequences by summaries of the blocks of a net and of filters, or of these alone.

    Parameters
    ----------
    net : S4Net
        With an :class:`S4Model`.
    select : callable
        Returns batches of some of the sequences of `filters`, ``(n_rows,) -> Batches``.
    filters : FilterSummaries
        The filters, and what is known of the sequences.
    pool : Summary
        Summary of the features of the blocks, if these are read, and of the filters.
    on_batch : callable, optional
        Called with each number of sequences that the net has read.
    """

    def __init__(
        self,
        net: S4Net,
        select: Select,
        filters: FilterSummaries,
        pool: Summary,
        on_batch: Callable[[int], None] = lambda n_rows: None,
    ) -> None:
        self._net, self._select, self._on_batch = net, select, on_batch
        self._filters, self._pool = filters, pool
        self._n_of_blocks = pool.n_features - filters.bank.n_filters

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the description of some of the sequences, (n_rows, n_outputs)."""
        # groups of competing features must not have features of both kinds
        if self._filters.kept is None or self._n_of_blocks % Summary.GROUP:
            return self._read(self._everything(), rows)
        of_filters = self._filters.describe(rows)
        if self._n_of_blocks == 0:
            return of_filters
        of_blocks = self._read(self._blocks(), rows)
        is_of_block = self._pool.output_features().numpy() < self._n_of_blocks
        is_of_block = np.append(is_of_block, np.zeros(self._n_recalled, bool))
        described = np.empty((len(rows), len(is_of_block)), of_blocks.dtype)
        described[:, is_of_block], described[:, ~is_of_block] = of_blocks, of_filters
        return described

    @property
    def _n_recalled(self) -> int:
        recall = self._filters.recall
        return 0 if recall is None else recall.n_outputs

    def _everything(self) -> nn.Module:
        backbone = read_backbone(_backbone(self._net), reads_blocks=self._n_of_blocks > 0)
        features = AllFeatures(backbone, self._filters.bank)
        return SummaryModel(features, self._pool, nn.Identity(), self._filters.recall)

    def _blocks(self) -> nn.Module:
        return Reading(_Blocks(_backbone(self._net)), self._pool.of(slice(self._n_of_blocks)))

    def _read(self, module: nn.Module, rows: np.ndarray) -> np.ndarray:
        return read(self._net, self._select, module, rows, self._on_batch)


class Reading(nn.Module):
    """A function of the features of a batch at all steps."""

    def __init__(self, features: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.features, self.function = features, function

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map sequences to ``(batch, ...)``."""
        return self.function(*self.features(u, lengths, rate), rate)


class _Blocks(nn.Module):
    """Features of all blocks of a backbone."""

    def __init__(self, backbone: S4Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        return self.backbone(u, lengths, rate, every_block=True)


def summarize_filters(
    net: S4Net,
    select: Select,
    n_samples: int,
    *,
    recalls: bool,
) -> FilterSummaries:
    """Return random filters, and summaries of sequences by them.

    Parameters
    ----------
    net : S4Net
        With an :class:`S4Model`, of which only the inputs are read, and the seed.
    select : callable
        Returns batches of some training sequences, ``(n_rows,) -> Batches``.
    n_samples : int
        Number of sequences.
    recalls : bool
        Whether to read what the filters recall of the level of a sequence and of its end.
    """
    backbone, rows = _backbone(net), np.arange(n_samples)
    like = backbone.projection.weight.detach()
    sequences = cast(SequenceDataset, select(rows).dataset)
    lengths = -(-sequences.panel.lengths // backbone.patch_size)
    forgetting = 2 / typical_length(lengths)  # modes of a filter decay to 1/e in 2/dt steps
    n_filters = resolve_n_filters(n_samples, int(lengths.sum()))
    bank = FilterBank(
        backbone.patch_width,
        n_filters,
        reads=_inputs_of_filters(sequences.encoder.is_mask, backbone.patch_width, n_filters),
        dt_min=min(forgetting, _SLOW) if recalls else _SLOW,
        generator=torch.Generator().manual_seed(net.seed),
        dtype=like.dtype,
    ).to(like.device)
    features = AllFeatures(read_backbone(backbone, reads_blocks=False), bank)
    recall = _recall_of(bank, forgetting) if recalls else None
    with reading(net, n_to_learn(n_samples) + n_samples) as on_batch:
        pool = learn_summary(net, select, features, n_samples, on_batch)
        kept, n_outputs = None, pool.n_outputs + (0 if recall is None else recall.n_outputs)
        if n_samples * n_outputs * like.element_size() <= _MOST_KEPT:
            describe = SummaryModel(features, pool, nn.Identity(), recall)
            kept = read(net, select, describe, rows, on_batch)
    return FilterSummaries(bank, pool, recall, kept, rows)


def n_to_learn(n_samples: int) -> int:
    """Return the number of sequences that a summary is learned from."""
    return min(n_samples, _SEQUENCES)


def learn_summary(
    net: S4Net,
    select: Select,
    features: AllFeatures | _Blocks,
    n_samples: int,
    on_batch: Callable[[int], None],
) -> Summary:
    """Return the summary of features, with limits from sequences that are spread over all."""
    some = np.linspace(0, n_samples - 1, n_to_learn(n_samples)).astype(np.int64)
    steps = read(net, select, Reading(features, _some_steps), some, on_batch)
    like = _backbone(net).projection.weight.detach()
    return _summary_of(steps.reshape(-1, steps.shape[-1]).astype(np.float64), like)


def learn_block_summary(
    net: S4Net, select: Select, n_samples: int, on_batch: Callable[[int], None]
) -> Summary:
    """Return the summary of the features of all blocks of a net."""
    return learn_summary(net, select, _Blocks(_backbone(net)), n_samples, on_batch)


def read_backbone(backbone: S4Backbone, *, reads_blocks: bool) -> S4Backbone:
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


def read(
    net: S4Net,
    select: Select,
    module: nn.Module,
    rows: np.ndarray,
    on_batch: Callable[[int], None],
) -> np.ndarray:
    """Return the outputs of a module for some sequences."""
    batches = select(rows)
    return net.predict_dataset(
        batches.dataset, batches.batch_sampler, module=module, on_batch=on_batch
    )


def _backbone(net: S4Net) -> S4Backbone:
    return cast(S4Model, net.module_).backbone


def _inputs_of_filters(is_mask: np.ndarray, patch_width: int, n_filters: int) -> Tensor | None:
    """Return which inputs each filter reads, (patch_width, n_filters); None for all.

    The jumps of masks would hide the changes of the values, so some groups of filters read masks
    alone, and the others values alone.
    """
    if not is_mask.any():
        return None
    of_masks = torch.arange(n_filters) // Summary.GROUP % _GROUPS == _FIRST_OF_MASKS
    is_mask = np.tile(is_mask, patch_width // len(is_mask))  # channels are the last axis of a patch
    return torch.from_numpy(is_mask)[:, None] == of_masks


def _recall_of(bank: FilterBank, dt_min: float) -> Recall:
    """Return what is recalled by filters of this step or a larger one.

    Slower ones know little but the first step of a sequence.
    """
    layer = bank.layer
    filters = (layer.log_dt.exp() >= min(dt_min, _FAST)).nonzero()[:, 0]
    return Recall(filters, layer.d_state)


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
