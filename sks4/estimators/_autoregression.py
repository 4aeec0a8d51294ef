"""A model of the next step: the likelihood of what came, in parallel, and draws, by recurrence."""

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from sks4.data import Codec
from sks4.estimators._auto import MAX_TOKENS
from sks4.nn import S4Stepper
from sks4.training import Batches, S4Net


@torch.inference_mode()
def log_likelihoods(net: S4Net, codec: Codec, batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model thinks of sequences.

    Parameters
    ----------
    net : S4Net
        Trained on data sets of `codec`.
    codec : Codec
        What the model reads.
    batches : Batches
        The sequences, with the weight 1 for each value that counts.

    Returns
    -------
    totals : ndarray of shape (n_samples,), float64
        Log-likelihood of each sequence, in nats and in the unit of the data.
    counts : ndarray of shape (n_samples,), float64
        Number of its values that count.
    """
    n_samples = len(batches.dataset)  # type: ignore[arg-type]
    totals, counts = np.zeros(n_samples), np.zeros(n_samples)
    loader = net.get_iterator(batches)
    for rows, (inputs, targets) in zip(batches.batch_sampler, loader, strict=True):
        values = _log_probs(net, inputs["u"], targets["y"]) - codec.log_density_unit()
        counts_too = targets["weight"] > 0
        totals[rows] = torch.where(counts_too, values, 0).flatten(1).sum(1).numpy()
        counts[rows] = counts_too.flatten(1).sum(1).numpy()
    return totals, counts


def _log_probs(net: S4Net, u: Tensor, y: Tensor) -> Tensor:
    """Return the log-likelihood of each target in float64, in the unit of the model.

    Long sequences go in pieces, so that memory is bounded.
    """
    model, likelihood = net.module_.eval(), net.criterion_
    device = next(model.parameters()).device
    size = max(1, MAX_TOKENS // len(u))
    state, pieces = None, []
    for piece, target in zip(u.split(size, 1), y.split(size, 1), strict=True):
        output, state = model.advance(piece.to(device), state)
        pieces.append(likelihood.log_prob(output, target.to(device)).cpu().double())
    return torch.cat(pieces, 1)


@torch.inference_mode()
def draw(
    net: S4Net, codec: Codec, given: np.ndarray, length: int, seed: int, **options: Any
) -> np.ndarray:
    """Continue sequences, all side by side.

    Parameters
    ----------
    net : S4Net
        Trained on data sets of `codec`.
    codec : Codec
        What the model reads and writes.
    given : ndarray of shape (n_samples, n_given, ...)
        What they begin with, possibly nothing, as the model writes it.
    length : int
        Time points of each in the end, more than are given.
    seed : int
        Seed of the draws.
    **options
        Temperature and `top_k` of :meth:`Likelihood.sample`.

    Returns
    -------
    ndarray of shape (n_samples, length, ...)
        As the model writes it.
    """
    model, likelihood = net.module_.eval(), net.criterion_
    parameter = next(model.parameters())
    generator = torch.Generator(parameter.device).manual_seed(seed)
    u = codec.precede(given).to(parameter.device)
    features, state = model.backbone.advance(u.to(parameter.dtype) if u.is_floating_point() else u)
    stepper = S4Stepper(model.backbone, len(given))
    stepper.state = state.layers
    x, drawn = features[:, -1], []
    while True:
        drawn.append(likelihood.sample(model.head.linear(x), generator=generator, **options))
        if given.shape[1] + len(drawn) == length:
            return np.concatenate([given, torch.stack(drawn, 1).cpu().numpy()], axis=1)
        x = stepper.step(codec.feed(drawn[-1]))


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed, without a draw from numpy's global generator."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
