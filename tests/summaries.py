"""Models that read a summary of many features, with random weights."""

import torch

from sks4.nn import AllFeatures, FilterBank, Recall, S4Backbone, Summary, SummaryModel


def summary_model(
    backbone: S4Backbone, n_outputs: int, *, recalled: list[int] | None = None
) -> SummaryModel:
    """Return a model on a summary of the features of `backbone`, in its precision.

    It reads the states of some filters as well if their numbers are given.
    """
    like = next(backbone.parameters())
    bank = FilterBank(backbone.patch_width, n_filters=5, d_state=4).to(like)
    features = AllFeatures(backbone, bank)
    n_features, n_limits = features.n_features, 3
    generator = torch.Generator().manual_seed(2)
    limits = torch.randn(n_limits, n_features, generator=generator).to(like)
    scale = 10 * torch.rand(n_features, generator=generator).to(like) + 5  # not too sharp
    pool = Summary(limits, scale)
    recall = None if recalled is None else Recall(torch.tensor(recalled), d_state=4)
    n_read = pool.n_outputs + (0 if recall is None else recall.n_outputs)
    linear = torch.nn.Linear(n_read, n_outputs).to(like)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(n_outputs, n_read, generator=generator))
        linear.bias.copy_(linear.weight[:, 0])
    return SummaryModel(features, pool, linear, recall).requires_grad_(False)
