"""Stretch: train on sequences that are a little faster or slower than they were recorded."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sks4.training._batch import Batch, BatchTransform


@dataclass(frozen=True)
class Stretch:
    """Resample each sequence of a batch in time by a factor of its own.

    A sound played faster has a higher pitch and a faster tempo, like that of another speaker.
    Values between two samples are interpolated linearly; the sampling rate that the model is given
    stays the same.

    Parameters
    ----------
    limit : float
        At least 1. Lengths are multiplied by factors between ``1 / limit`` and `limit`, whose
        logarithms are drawn uniformly.
    then : callable or None, default=None
        Another transform, of the resampled batch.

    References
    ----------
    Ko et al. 2015 (Audio Augmentation for Speech Recognition, Interspeech).
    """

    limit: float
    then: BatchTransform | None = None

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the resampled batch.

        Parameters
        ----------
        batch : tuple of dict
            Inputs, with "u" of shape (batch, length, n_inputs) and perhaps "lengths"; targets.
        generator : torch.Generator
            Source of random numbers.

        Returns
        -------
        tuple of dict
            The same, with other "u" and "lengths"; each sequence has one sample at least.
        """
        inputs, targets = batch
        u = inputs["u"]
        lengths = inputs.get("lengths", torch.full((len(u),), u.shape[1]))
        draws = 2 * torch.rand(len(u), generator=generator, dtype=torch.float64) - 1
        wanted = lengths * torch.exp(math.log(self.limit) * draws)
        stretched = wanted.round().long().clamp(min=1)
        changed = inputs | {"u": _resample(u, lengths, stretched), "lengths": stretched}, targets
        return changed if self.then is None else self.then(changed, generator)


def _resample(u: Tensor, lengths: Tensor, new_lengths: Tensor) -> Tensor:
    """Return sequences ``u (batch, length, n_inputs)`` with new lengths.

    The first and the last sample of each stay the ends, and the last one is the padding.
    """
    ends = (lengths - 1)[:, None]
    steps = ends.double() / (new_lengths - 1).clamp(min=1)[:, None]
    # (batch, new_length)
    positions = torch.minimum(torch.arange(int(new_lengths.max())) * steps, ends.double())
    before = positions.long()
    after = torch.minimum(before + 1, ends)
    share = (positions - before)[..., None].to(u.dtype)
    rows = torch.arange(len(u))[:, None]
    return torch.lerp(u[rows, before], u[rows, after], share)
