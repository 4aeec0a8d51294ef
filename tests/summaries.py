"""Models whose head reads a summary of many features, with weights of no meaning."""

import torch

from sks4.nn import FilterBank, S4Model, Summary, SummaryHead


def give_summary(model: S4Model) -> S4Model:
    """Put a head on a summary in the place of the pooled head of `model`, and return it."""
    backbone, like = model.backbone, model.head.linear.weight
    bank = FilterBank(backbone.n_inputs * backbone.patch_size, n_filters=5, d_state=4).to(like)
    n_features, n_limits = backbone.n_features(bank), 3
    generator = torch.Generator().manual_seed(2)
    limits = torch.randn(n_limits, n_features, generator=generator).to(like)
    scale = 10 * torch.rand(n_features, generator=generator).to(like) + 5  # not too sharp
    n_outputs, n_summaries = model.head.linear.out_features, (n_limits + 1) * n_features
    weight = torch.randn(n_outputs, n_summaries, generator=generator).to(like)
    head = SummaryHead(model.head, bank, Summary(limits, scale), weight, weight[:, 0])
    model.head = head.requires_grad_(False)
    return model
