"""A model of the next step: the likelihood of what came, in parallel, and draws, by recurrence."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from sks4.data import Codec
from sks4.estimators._auto import MAX_TOKENS
from sks4.nn import CompiledDraws, S4Model, S4Stepper, can_draw
from sks4.training import (
    Batches,
    CategoricalLikelihood,
    GaussianLikelihood,
    Likelihood,
    LogisticMixtureLikelihood,
    S4Net,
)

_KINDS = {
    CategoricalLikelihood: "categorical",
    GaussianLikelihood: "gaussian",
    LogisticMixtureLikelihood: "mixture",
}
"""Distributions that compiled code can draw from."""

_BLOCK = 4096
"""Values for which random numbers are made at once."""


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
        `temperature` and `top_k` of :meth:`Likelihood.sample`.

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
    output = model.head.linear(features[:, -1])
    kind = _KINDS.get(type(likelihood))
    draws: CompiledDraws | _TorchDraws
    if kind is not None and can_draw(model):
        starts = likelihood.starts(output) if kind == "mixture" else None
        draws = CompiledDraws(model, kind, state.layers, output, starts=starts, **options)
    else:
        draws = _TorchDraws(model, likelihood, codec, state.layers, output, options)
    # random numbers of whole blocks, so that a longer sequence begins with the shorter one
    n_block = max(1, _BLOCK // math.prod(given.shape[2:], start=len(given)))
    pieces, n_missing = [given], length - given.shape[1]
    while n_missing > 0:
        noise = likelihood.noise(n_block, output, generator)
        drawn = draws.draw([x[:n_missing] for x in noise])
        pieces.append(drawn.transpose(0, 1).cpu().numpy())
        n_missing -= len(drawn)
    return np.concatenate(pieces, axis=1)


class _TorchDraws:
    """Draws by operations of torch; :class:`CompiledDraws` are faster."""

    def __init__(
        self,
        model: S4Model,
        likelihood: Likelihood,
        codec: Codec,
        states: tuple[Tensor, ...],
        output: Tensor,
        options: dict[str, Any],
    ) -> None:
        self._linear, self._likelihood, self._codec = model.head.linear, likelihood, codec
        self._output, self._options = output, options
        self._last: Tensor | None = None
        self._stepper = S4Stepper(model.backbone, len(output))
        self._stepper.state = states

    def draw(self, noise: Sequence[Tensor]) -> Tensor:
        """Return as many values as there is noise, ``(n, batch, ...)``."""
        drawn: list[Tensor] = []
        for numbers in zip(*noise, strict=True):
            if self._last is not None:
                self._output = self._linear(self._stepper.step(self._codec.feed(self._last)))
            self._last = self._likelihood.draw(self._output, *numbers, **self._options)
            drawn.append(self._last)
        return torch.stack(drawn)


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed, without a draw from numpy's global generator."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
