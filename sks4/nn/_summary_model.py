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
        x, steps = self.backbone(u, lengths, rate, every_block=True)
        y, _ = self.bank(self.backbone.patches(u, lengths), None, steps, rate, return_state=False)
        return torch.cat([x, y], -1), steps

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

    def finish(self, state: FeatureState, rate: float = 1.0) -> Tensor:
        """Return the features of the pending samples, padded with zeros to a patch."""
        filled = self.backbone.fill(state.backbone.pending)
        empty = state.backbone._replace(pending=filled[:, :0])
        return self.advance(filled, state._replace(backbone=empty), rate)[0]


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
    linear : nn.Linear
        Map from the summaries to the outputs.

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

    def __init__(self, features: AllFeatures, pool: Reduction, linear: nn.Linear) -> None:
        super().__init__()
        self.features = features
        self.pool = pool
        self.linear = linear

    @property
    def backbone(self) -> S4Backbone:
        """The backbone."""
        return self.features.backbone

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map whole sequences to outputs ``(batch, n_outputs)``; see :meth:`S4Model.forward`."""
        return self.read(self.pool(*self.features(u, lengths, rate), rate))

    def read(self, pooled: Tensor) -> Tensor:
        """Map summaries ``(batch, n)`` to the outputs."""
        return self.linear(pooled)

    def advance(
        self, u: Tensor, state: SummaryState | None = None, rate: float = 1.0
    ) -> tuple[Tensor, SummaryState]:
        """Continue sequences of which a part has been seen; see :meth:`S4Model.advance`."""
        x, after = self.features.advance(u, state.features if state else None, rate)
        pooled = self.pool.update(x, state.pooled if state else None)
        complete = pooled
        if after.backbone.pending.shape[1]:
            complete = self.pool.update(self.features.finish(after, rate), pooled)
        assert complete is not None  # at least one sample has been seen
        return self.read(self.pool.result(complete, rate)), SummaryState(after, pooled)
