"""Between sequences as users have them and what a generating model reads and writes."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sks4.data._inputs import as_targets, channels_first, check_numbers
from sks4.data._next_step import (
    NextSymbolDataset,
    NextValueDataset,
    shift_symbols,
    shift_values,
)
from sks4.data._panel import Panel
from sks4.data._scaling import SequenceEncoder
from sks4.data._symbols import SymbolEncoder


class Codec(ABC):
    """What differs between symbols and real values.

    Attributes
    ----------
    inputs : {"symbols", "values"}
        What the model reads.
    n_inputs : int
        Number of its inputs.
    size : int
        Number of symbols, or of channels.
    """

    inputs: ClassVar[str]
    n_inputs: int
    size: int

    @abstractmethod
    def dataset(self, panel: Panel, weights: np.ndarray | None, dtype: str) -> Any:
        """Return the sequences as batches of inputs and targets."""

    @abstractmethod
    def log_density_unit(self) -> Tensor:
        """Return what is subtracted from log-densities in the unit of the model, (size,) or ()."""

    @abstractmethod
    def nothing(self, n_samples: int) -> np.ndarray:
        """Return the prompt of sequences that begin with nothing, (n_samples, 0, ...)."""

    @abstractmethod
    def prompt(self, prompt: Any, n_samples: int) -> np.ndarray:
        """Return a prompt as the model writes it, (n_samples, length, ...)."""

    @abstractmethod
    def precede(self, written: np.ndarray) -> Tensor:
        """Return the inputs at each step of ``(n_samples, length, ...)``, and of the next one."""

    @abstractmethod
    def feed(self, drawn: Tensor) -> Tensor:
        """Return the input after ``drawn (n_samples, ...)``."""

    @abstractmethod
    def decode(self, written: np.ndarray) -> np.ndarray:
        """Return ``(n_samples, length, ...)`` as the user has sequences."""


class SymbolCodec(Codec):
    """Symbols as numbers, with an input for the start and, where needed, for a missing one."""

    inputs = "symbols"

    def __init__(self, encoder: SymbolEncoder, *, has_missing: bool) -> None:
        self.encoder = encoder
        self.has_missing = has_missing
        self.size = len(encoder.symbols_)
        self.n_inputs = self.size + 1 + has_missing

    def dataset(self, panel: Panel, weights: np.ndarray | None, dtype: str) -> NextSymbolDataset:
        """Return the sequences as batches of inputs and targets."""
        options: dict[str, Any] = {"sample_weight": weights, "dtype": dtype}
        return NextSymbolDataset(panel, self.size, self.has_missing, **options)

    def log_density_unit(self) -> Tensor:
        """Return 0: probabilities have no unit."""
        return torch.zeros(())

    def nothing(self, n_samples: int) -> np.ndarray:
        """Return no symbols."""
        return np.zeros((n_samples, 0), np.int64)

    def prompt(self, prompt: Any, n_samples: int) -> np.ndarray:
        """Return a prompt as numbers of symbols, (n_samples, length)."""
        numbers = self.encoder.encode_prompt(prompt)
        if numbers.ndim not in (1, 2) or (numbers.ndim == 2 and len(numbers) != n_samples):
            raise ValueError(
                "prompt must have shape (n_timepoints,) or (n_samples, n_timepoints) with n_samples"
                f"={n_samples}, got {numbers.shape}."
            )
        return np.broadcast_to(numbers, (n_samples, numbers.shape[-1]))

    def precede(self, written: np.ndarray) -> Tensor:
        """Return the start and what has been written, (n_samples, length + 1)."""
        return torch.from_numpy(
            shift_symbols(np.pad(written.astype(np.int64), ((0, 0), (0, 1))), self.size)
        )

    def feed(self, drawn: Tensor) -> Tensor:
        """Return the symbol itself."""
        return drawn

    def decode(self, written: np.ndarray) -> np.ndarray:
        """Return symbols (n_samples, length)."""
        return self.encoder.symbols_[written]


class ValueCodec(Codec):
    """Real values, scaled, with a mark of the start and, where needed, of missing values."""

    inputs = "values"

    def __init__(self, encoder: SequenceEncoder) -> None:
        self.encoder = encoder
        self.size = len(encoder.standardizer_.fill_)
        self.n_inputs = encoder.n_inputs_ + 1

    def dataset(self, panel: Panel, weights: np.ndarray | None, dtype: str) -> NextValueDataset:
        """Return the sequences as batches of inputs and targets."""
        return NextValueDataset(panel, self.encoder, sample_weight=weights, dtype=dtype)

    def log_density_unit(self) -> Tensor:
        """Return the logarithms of the channels' scales: ``p(x) = p(z) / scale``."""
        if self.encoder.standardize is None:
            return torch.zeros(self.size)
        return torch.from_numpy(np.log(self.encoder.standardizer_.scale_))

    def nothing(self, n_samples: int) -> np.ndarray:
        """Return no values."""
        return np.zeros((n_samples, 0, self.size))

    def prompt(self, prompt: Any, n_samples: int) -> np.ndarray:
        """Return a prompt in the unit of the model, (n_samples, length, n_channels)."""
        given = check_numbers(as_targets(channels_first(prompt), "prompt"), "prompt")
        values = np.asarray(given, dtype=np.float64)
        if values.ndim == 1 and self.size == 1:
            values = values[np.newaxis]
        if values.shape[-2:-1] != (self.size,) or values.shape[:-2] not in ((), (n_samples,)):
            raise ValueError(
                f"prompt must have shape ({self.size}, n_timepoints) or ({n_samples}, {self.size}, "
                f"n_timepoints), got {np.shape(prompt)}."
            )
        if not np.isfinite(values).all():
            raise ValueError("prompt must hold finite numbers only, got NaN or infinity.")
        scaled = self.encoder.standardizer_.transform(values)
        scaled = np.broadcast_to(scaled, (n_samples, *values.shape[-2:]))
        return scaled.transpose(0, 2, 1)

    def precede(self, written: np.ndarray) -> Tensor:
        """Return the mark of the start and what has been written, (n_samples, length + 1, ...)."""
        batch, length, n_channels = written.shape
        encoded = np.zeros((batch, length + 1, self.n_inputs - 1), written.dtype)
        encoded[:, :-1, :n_channels] = written
        return torch.from_numpy(shift_values(encoded))

    def feed(self, drawn: Tensor) -> Tensor:
        """Return values with marks of neither the start nor a missing value."""
        return torch.nn.functional.pad(drawn, (0, self.n_inputs - self.size))

    def decode(self, written: np.ndarray) -> np.ndarray:
        """Return values in the unit of the data, (n_samples, n_channels, length)."""
        values = written.astype(np.float64).transpose(0, 2, 1)
        return self.encoder.standardizer_.inverse_transform(values)
