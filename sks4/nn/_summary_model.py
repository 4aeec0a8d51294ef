"""A model that is linear in a summary of many features: all blocks and a filter bank."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ._backbone import BackboneState, S4Backbone
from ._bank import FilterBank
from ._heads import PoolState, Reduction


class FeatureState(NamedTuple):
    """State of :class:`AllFeatures` after the samples seen so far.

    Attributes
    ----------
    backbone : BackboneState
        States of the layers and pending samples.
    bank : Tensor of shape (batch, n_filters, d_state) or None
        State of the filters; None before the first whole patch.
    """

    backbone: BackboneState
    bank: Tensor | None


class SummaryState(NamedTuple):
    """State of a :class:`SummaryModel` after the samples seen so far."""

    features: FeatureState
    pooled: PoolState | None


class AllFeatures(nn.Module):
    """Features of all blocks of a backbone, and the outputs of a filter bank, side by side.

    Parameters
    ----------
    backbone : S4Backbone
        Reads values.
    bank : FilterBank
        Reads the same patches.
    """

    def __init__(self, backbone: S4Backbone, bank: FilterBank) -> None:
        super().__init__()
        self.backbone = backbone
        self.bank = bank

    @property
    def n_features(self) -> int:
        """Number of features, ``n_layers * d_model + n_filters``."""
        return self.backbone.d_model * len(self.backbone.blocks) + self.bank.n_filters

    def forward(
        self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        """Map whole sequences to features; see :meth:`S4Backbone.forward`.

        Returns
        -------
        x : Tensor of shape (batch, n_patches, n_features)
            Features.
        lengths : LongTensor of shape (batch,) or None
            Number of real steps of `x`.
        """
        return self._forward(u, lengths, rate, return_state=False)[:2]

    def with_state(
        self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the same, and the last state of the filters ``(batch, n_filters, d_state)``."""
        x, steps, state = self._forward(u, lengths, rate, return_state=True)
        assert state is not None
        return x, steps, state

    def _forward(
        self, u: Tensor, lengths: Tensor | None, rate: float, *, return_state: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, steps = self.backbone(u, lengths, rate, every_block=True)
        patches = self.backbone.patches(u, lengths)
        y, state = self.bank(patches, None, steps, rate, return_state=return_state)
        return torch.cat([x, y], -1), steps, state

    def advance(
        self, u: Tensor, state: FeatureState | None = None, rate: float = 1.0
    ) -> tuple[Tensor, FeatureState]:
        """Continue sequences of which a part has been seen; see :meth:`S4Backbone.advance`."""
        before = None if state is None else state.backbone
        x, after = self.backbone.advance(u, before, rate, every_block=True)
        filters = None if state is None else state.bank
        if x.shape[1] == 0:
            return u.new_empty(len(u), 0, self.n_features), FeatureState(after, filters)
        samples = u if before is None else torch.cat([before.pending, u], 1)
        whole = samples[:, : x.shape[1] * self.backbone.patch_size]
        y, filters = self.bank(self.backbone.patches(whole), filters, rate=rate)
        return torch.cat([x, y], -1), FeatureState(after, filters)

    def finish(self, state: FeatureState, rate: float = 1.0) -> tuple[Tensor, FeatureState]:
        """Continue by the pending samples, padded with zeros to a patch."""
        filled = self.backbone.fill(state.backbone.pending)
        empty = state.backbone._replace(pending=filled[:, :0])
        return self.advance(filled, state._replace(backbone=empty), rate)


class Recall(nn.Module):
    """What some filters of a bank remember at the end of a sequence.

    Their states are linear in the sequence, with more weight on its end. They know its level and
    its last values, which a :class:`Summary` of the filters' outputs does not.

    Parameters
    ----------
    filters : LongTensor of shape (n,)
        The filters.
    d_state : int
        Number of state variables of each filter.
    """

    def __init__(self, filters: Tensor, d_state: int) -> None:
        super().__init__()
        self.d_state = d_state
        self.filters: Tensor
        self.register_buffer("filters", filters)

    @property
    def n_outputs(self) -> int:
        """Number of values."""
        return len(self.filters) * self.d_state

    def forward(self, state: Tensor) -> Tensor:
        """Map states of the bank ``(batch, n_filters, d_state)`` to ``(batch, n_outputs)``."""
        return state[:, self.filters].flatten(1)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{len(self.filters)} filters, d_state={self.d_state}"


class SummaryModel(nn.Module):
    """Scores that are linear in a summary of all features.

    The weights of the linear map are not found by the gradient, but by a regression on the
    summaries of the training sequences.

    Parameters
    ----------
    features : AllFeatures
        Features of every step.
    pool : Reduction
        Summary of the features over time, such as :class:`Summary`.
    linear : nn.Linear or nn.Identity
        Map from the summaries, and what is recalled, to the outputs; nothing, to see these.
    recall : Recall or None, default=None
        What is read beside the summary.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> backbone = nn.S4Backbone(1, d_model=8, n_layers=2, d_state=4)
    >>> features = nn.AllFeatures(backbone, nn.FilterBank(1, n_filters=4))
    >>> n = features.n_features
    >>> pool = nn.Summary(limits=torch.zeros(1, n), scale=torch.ones(n))
    >>> model = nn.SummaryModel(features, pool, torch.nn.Linear(pool.n_outputs, 3))
    >>> model(torch.randn(5, 100, 1)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        features: AllFeatures,
        pool: Reduction,
        linear: nn.Linear | nn.Identity,
        recall: Recall | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.pool = pool
        self.linear = linear
        self.recall = recall

    @property
    def backbone(self) -> S4Backbone:
        """The backbone."""
        return self.features.backbone

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map whole sequences to outputs ``(batch, n_outputs)``; see :meth:`S4Model.forward`."""
        return self.linear(self.describe(u, lengths, rate))

    def describe(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map whole sequences to the summary, and what is recalled, ``(batch, n)``."""
        if self.recall is None:
            return self.pool(*self.features(u, lengths, rate), rate)
        x, steps, state = self.features.with_state(u, lengths, rate)
        return self.beside(self.pool(x, steps, rate), state)

    def beside(self, pooled: Tensor, state: Tensor | None) -> Tensor:
        """Return summaries ``(batch, n)`` and what is recalled of states of the bank."""
        if self.recall is None:
            return pooled
        assert state is not None
        return torch.cat([pooled, self.recall(state).to(pooled.dtype)], 1)

    def read(self, described: Tensor) -> Tensor:
        """Map what :meth:`describe` returns to the outputs."""
        return self.linear(described)

    def advance(
        self, u: Tensor, state: SummaryState | None = None, rate: float = 1.0
    ) -> tuple[Tensor, SummaryState]:
        """Continue sequences of which a part has been seen; see :meth:`S4Model.advance`."""
        x, after = self.features.advance(u, state.features if state else None, rate)
        pooled = self.pool.update(x, state.pooled if state else None)
        complete, last = pooled, after
        if after.backbone.pending.shape[1]:
            x, last = self.features.finish(after, rate)
            complete = self.pool.update(x, pooled)
        assert complete is not None  # at least one sample has been seen
        described = self.beside(self.pool.result(complete, rate), last.bank)
        return self.read(described), SummaryState(after, pooled)
