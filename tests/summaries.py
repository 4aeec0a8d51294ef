"""Models that read a summary of many features, with random weights."""

import torch

from sks4.nn import AllFeatures, FilterBank, S4Backbone, Summary, SummaryModel


def summary_model(backbone: S4Backbone, n_outputs: int) -> SummaryModel:
    """Return a model on a summary of the features of `backbone`, in its precision."""
    like = next(backbone.parameters())
    bank = FilterBank(backbone.n_inputs * backbone.patch_size, n_filters=5, d_state=4).to(like)
    features = AllFeatures(backbone, bank)
    n_features, n_limits = features.n_features, 3
    generator = torch.Generator().manual_seed(2)
    limits = torch.randn(n_limits, n_features, generator=generator).to(like)
    scale = 10 * torch.rand(n_features, generator=generator).to(like) + 5  # not too sharp
    pool = Summary(limits, scale)
    n_summaries = pool.n_outputs
    linear = torch.nn.Linear(n_summaries, n_outputs).to(like)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(n_outputs, n_summaries, generator=generator))
        linear.bias.copy_(linear.weight[:, 0])
    return SummaryModel(features, pool, linear).requires_grad_(False)
