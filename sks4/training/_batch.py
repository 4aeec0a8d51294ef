"""Input of the training loop: batches of named tensors, and the order of the rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[dict[str, Any], dict[str, Tensor]]
"""Inputs, the arguments of the module by name; and targets, with "y" and "weight" (batch,)."""

BatchTransform = Callable[[Batch, torch.Generator], Batch]
"""Changes a training batch at random."""


class BatchSampler(Protocol):
    """The row numbers of each batch: a list of lists, or a batch sampler as torch knows it."""

    def __iter__(self) -> Iterator[list[int]]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Batches:
    """A data set and the order in which its rows are batched.

    Parameters
    ----------
    dataset : Dataset
        ``__getitems__(indices)`` returns one whole batch ``(inputs, targets)``: the inputs are the
        arguments of the module by name, the targets ``{"y": Tensor, "weight": Tensor (batch,)}``.
    batch_sampler : BatchSampler
        Iterated once for each epoch, where it may shuffle; its length is the number of batches.
    """

    dataset: Dataset
    batch_sampler: BatchSampler
