"""Sequences as input and as target of each other: from what came to what comes next."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from sks4.data._gaps import fill_forward
from sks4.data._panel import Panel
from sks4.data._scaling import SequenceEncoder

Batch = tuple[dict[str, Any], dict[str, torch.Tensor]]


class NextStepDataset(ABC, Dataset[Batch]):
    """Batches whose input at each step is what came before it, and whose target is the step.

    A batch is ``(inputs, targets)``. `inputs` holds "u" and, if some sequence is padded,
    "lengths". `targets` holds "y" and "weight", which is the weight of the sequence at observed
    values and zero at missing ones and in the padding.

    Parameters
    ----------
    panel : Panel
        The sequences.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the sequences; None: ones.
    dtype : {"float32", "float64"}, default="float32"
        Type of values and weights.
    """

    def __init__(
        self, panel: Panel, *, sample_weight: np.ndarray | None = None, dtype: str = "float32"
    ) -> None:
        self.panel = panel
        self.weight = np.ones(len(panel)) if sample_weight is None else sample_weight
        self.dtype = dtype

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.panel)

    def __getitem__(self, index: int) -> Batch:
        """Return one sequence as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a batch; the DataLoader calls this with what its batch sampler yields."""
        rows = np.asarray(indices)
        lengths, values = self.panel.lengths[rows], self.panel.gather(rows)
        real = np.arange(values.shape[2]) < lengths[:, np.newaxis]  # (batch, length)
        observed = ~np.isnan(values) & real[:, np.newaxis]  # (batch, n_channels, length)
        u, y = self._encode(values, lengths, observed)
        weight = observed.transpose(0, 2, 1) * self.weight[rows, np.newaxis, np.newaxis]
        inputs: dict[str, Any] = {"u": torch.from_numpy(u)}
        if lengths.min() < values.shape[2]:
            inputs["lengths"] = torch.from_numpy(lengths)
        weight = weight.reshape(y.shape).astype(self.dtype)
        return inputs, {"y": torch.from_numpy(y), "weight": torch.from_numpy(weight)}

    @abstractmethod
    def _encode(
        self, values: np.ndarray, lengths: np.ndarray, observed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs (batch, length, ...) and targets of values (batch, n_channels, length)."""


class NextValueDataset(NextStepDataset):
    """Real values: "u" (batch, length, n_inputs) and "y" (batch, length, n_channels), scaled.

    The last input channel is 1 at the first step, before which nothing came, and else 0.

    Parameters
    ----------
    panel, sample_weight, dtype
        See :class:`NextStepDataset`.
    encoder : SequenceEncoder
        Fitted on the training data.
    """

    def __init__(self, panel: Panel, encoder: SequenceEncoder, **options: Any) -> None:
        super().__init__(panel, **options)
        encoder.check(panel)
        self.encoder = encoder

    def _encode(
        self, values: np.ndarray, lengths: np.ndarray, observed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        encoded = self.encoder.transform(values, lengths, self.dtype)
        return shift_values(encoded), np.ascontiguousarray(encoded[..., : values.shape[1]])


class NextSymbolDataset(NextStepDataset):
    """Symbols: "u" and "y" (batch, length), int64.

    Inputs are numbers of symbols, one more for the start, and with `has_missing` another one for a
    missing symbol; without, the symbol before stands for it.

    Parameters
    ----------
    panel : Panel
        Numbers of symbols.
    n_symbols : int
        Number of symbols.
    has_missing : bool
        Whether missing symbols have an input of their own.
    sample_weight, dtype
        See :class:`NextStepDataset`.
    """

    def __init__(self, panel: Panel, n_symbols: int, has_missing: bool, **options: Any) -> None:
        super().__init__(panel, **options)
        self.n_symbols = n_symbols
        self.has_missing = has_missing

    def _encode(
        self, values: np.ndarray, lengths: np.ndarray, observed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        symbols = np.where(observed, values, 0).astype(np.int64)[:, 0]  # (batch, length)
        filled = symbols
        if not observed.all():
            if self.has_missing:
                filled = np.where(observed[:, 0], symbols, self.n_symbols + 1)
            else:
                start = np.array([self.n_symbols])
                filled = fill_forward(symbols[:, np.newaxis], ~observed, start)[:, 0]
        return shift_symbols(filled, self.n_symbols), symbols


def shift_values(encoded: np.ndarray) -> np.ndarray:
    """Return what precedes each step of ``(batch, length, n)``, with a mark of the first one."""
    batch, length, n_inputs = encoded.shape
    u = np.zeros((batch, length, n_inputs + 1), encoded.dtype)
    u[:, 1:, :-1] = encoded[:, :-1]
    u[:, 0, -1] = 1
    return u


def shift_symbols(symbols: np.ndarray, start: int) -> np.ndarray:
    """Return the symbol that precedes each of ``(batch, length)``, `start` before the first."""
    u = np.empty_like(symbols)
    u[:, 0] = start
    u[:, 1:] = symbols[:, :-1]
    return u
