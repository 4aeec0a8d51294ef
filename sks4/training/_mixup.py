"""Mixup: train on averages of two sequences and of their labels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sks4.training._batch import Batch


@dataclass(frozen=True)
class Mixup:
    """Average each sequence of a batch with another one of it, and their class indicators too.

    The shares are drawn from a beta distribution with both parameters equal to `strength`. The loss
    is linear in the target probabilities, so that of the averaged indicators is the average of the
    two losses, each with the weight of its sequence. Samples without weight are left out.

    Parameters
    ----------
    strength : float
        Parameter of the beta distribution, above 0: near 0, the shares are near 0 and 1; with 1,
        all shares are equally likely.
    n_classes : int
        Number of classes.

    References
    ----------
    Zhang et al. 2018 (mixup: Beyond Empirical Risk Minimization, arXiv:1710.09412), equation 1.
    """

    strength: float
    n_classes: int

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the mixed batch.

        Parameters
        ----------
        batch : tuple of dict
            Inputs, with "u" of shape (batch, length, n_inputs) and perhaps "lengths"; targets, with
            class indices "y" and "weight", both of shape (batch,).
        generator : torch.Generator
            Source of random numbers.

        Returns
        -------
        tuple of dict
            The same, with target probabilities "y" of shape (n_rows, n_classes), for the rows with
            a weight. A batch without any is returned as it is.
        """
        inputs, targets = batch
        rows = targets["weight"].nonzero()[:, 0]
        if len(rows) == 0:
            return batch
        u = inputs["u"]
        rng = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        shares = torch.from_numpy(rng.beta(self.strength, self.strength, len(rows)))
        pairs = torch.stack([rows, rows[torch.from_numpy(rng.permutation(len(rows)))]])
        by_step = shares.to(u.dtype)[:, None, None]
        mixed = inputs | {"u": by_step * u[pairs[0]] + (1 - by_step) * u[pairs[1]]}
        if "lengths" in inputs:
            mixed["lengths"] = inputs["lengths"][pairs].amax(0)
        return mixed, self._mixed_targets(targets, pairs, torch.stack([shares, 1 - shares]))

    def _mixed_targets(
        self, targets: dict[str, Tensor], pairs: Tensor, shares: Tensor
    ) -> dict[str, Tensor]:
        """Average the class indicators of `pairs` with `shares`, both (2, n_rows)."""
        weights = shares * targets["weight"][pairs].double()
        weight = weights.sum(0)
        indicators = functional.one_hot(targets["y"][pairs], self.n_classes)
        probabilities = ((weights / weight)[..., None] * indicators).sum(0)  # (n_rows, n_classes)
        dtype = targets["weight"].dtype
        return {"y": probabilities.to(dtype), "weight": weight.to(dtype)}
