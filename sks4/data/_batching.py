"""Batches of sequences: which ones go together, and how they become tensors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from sks4._validation import check_integer, check_positive
from sks4.data._panel import Panel
from sks4.data._scaling import SequenceEncoder

# A pool is large enough that its batches hold sequences of nearly one length, and small enough
# that what shares a batch differs from epoch to epoch.
_POOL_BATCHES = 50

# Lengths are compared after a random change of up to this share, so that small data, which fit
# in one pool, still mix.
_LENGTH_NOISE = 0.05

Batch = tuple[dict[str, Any], dict[str, torch.Tensor]]


class SequenceDataset(Dataset[Batch]):
    """Sequences as whole batches for a torch DataLoader with an identity `collate_fn`.

    A batch is ``(inputs, targets)``. `inputs` holds "u", shape (batch, length, n_inputs), zero
    in the padding; "lengths", int64 of shape (batch,), only if some sequence is padded; and
    "rate". `targets` holds "y", one entry for each sequence, and "weight", shape (batch,).

    Parameters
    ----------
    panel : Panel
        The sequences; nothing is copied before a batch is asked for.
    encoder : SequenceEncoder
        Fitted on the training data.
    y : array-like of shape (n_samples,) or (n_samples, n_targets), or None, default=None
        Targets: integers stay int64, anything else takes `dtype`. None: zeros.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights; None: ones.
    rate : float, default=1.0
        Sampling interval of these sequences divided by that of the training data.
    dtype : {"float32", "float64"}, default="float32"
        Type of the inputs, the weights and the targets that are no integers.

    Raises
    ------
    ValueError
        If the numbers of sequences, targets and weights differ, the panel has missing values
        that the encoder refuses, or `rate` is not a positive number.
    """

    def __init__(
        self,
        panel: Panel,
        encoder: SequenceEncoder,
        *,
        y: Any = None,
        sample_weight: Any = None,
        rate: float = 1.0,
        dtype: str = "float32",
    ) -> None:
        encoder.check(panel)
        self.panel = panel
        self.encoder = encoder
        self.rate = check_positive("rate", rate)
        self.dtype = dtype
        self.y = self._per_sample("y", np.zeros(len(panel)) if y is None else y)
        weight = np.ones(len(panel)) if sample_weight is None else sample_weight
        self.weight = self._per_sample("sample_weight", np.asarray(weight, dtype))

    def _per_sample(self, name: str, values: Any) -> torch.Tensor:
        """Return a tensor with one entry for each sequence."""
        array = np.asarray(values)
        if array.shape[:1] != (len(self.panel),):
            raise ValueError(
                f"{name} must have one entry for each of the {len(self.panel)} sequences, got "
                f"shape {array.shape}."
            )
        # A copy, since torch warns about the read-only arrays that frames hand out.
        return torch.from_numpy(array.astype("int64" if array.dtype.kind in "iu" else self.dtype))

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.panel)

    def __getitem__(self, index: int) -> Batch:
        """Return one sequence as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a batch; the DataLoader calls this with what its batch sampler yields."""
        rows = np.asarray(indices)
        lengths = self.panel.lengths[rows]
        values = self.panel.gather(rows)
        u = self.encoder.transform(values, lengths, self.dtype, rate=self.rate)
        inputs: dict[str, Any] = {"u": torch.from_numpy(u), "rate": self.rate}
        if lengths.min() < u.shape[1]:
            inputs["lengths"] = torch.from_numpy(lengths)
        return inputs, {"y": self.y[rows], "weight": self.weight[rows]}


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of sequences with similar lengths, so that little is padded.

    Every sequence comes once in an epoch. With `shuffle`, sequences are shuffled, sorted by
    approximate length within pools of 50 batches, cut into batches, and the batches shuffled:
    a new order each epoch, the same for the same seed. Without, the longest come first.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,), int
        Time points of each sequence.
    batch_size : int
        Largest number of sequences in a batch.
    max_tokens : int or None, default=None
        Largest number of time points in a batch, padding included; a longer sequence is alone
        in its batch. None: no limit.
    shuffle : bool, default=True
        Whether the order is random.
    seed : int or numpy.random.Generator, default=0
        Seed of the sampler's own generator, or the generator itself; the global ones are not
        touched.

    Examples
    --------
    >>> import numpy as np
    >>> list(BucketBatchSampler(np.array([3, 9, 4, 9]), batch_size=2, shuffle=False))
    [[1, 3], [2, 0]]
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        *,
        max_tokens: int | None = None,
        shuffle: bool = True,
        seed: int | np.random.Generator = 0,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = check_integer("batch_size", batch_size)
        self.max_tokens = None if max_tokens is None else check_integer("max_tokens", max_tokens)
        self.shuffle = shuffle
        self._rng = np.random.default_rng(seed)
        self._next_batches: list[np.ndarray] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the batches of one epoch, each a list of positions."""
        batches, self._next_batches = self._plan(), None
        return (batch.tolist() for batch in batches)

    def __len__(self) -> int:
        """Return the number of batches in the next epoch; it varies only with `max_tokens`."""
        return len(self._plan())

    def _plan(self) -> list[np.ndarray]:
        """Return the batches of the next epoch, drawn once and kept until they are used."""
        if self._next_batches is None:
            self._next_batches = (
                self._shuffled_batches() if self.shuffle else self._cut(self._sorted_order())
            )
        return self._next_batches

    def _sorted_order(self) -> np.ndarray:
        """Return the positions by falling length: the most memory is needed at the start."""
        return np.argsort(-self.lengths, kind="stable")

    def _shuffled_batches(self) -> list[np.ndarray]:
        """Draw the batches of one epoch."""
        order = self._rng.permutation(len(self.lengths))
        noise = self._rng.uniform(1 - _LENGTH_NOISE, 1 + _LENGTH_NOISE, len(order))
        key = self.lengths * noise
        pool_size = _POOL_BATCHES * self.batch_size
        batches = []
        for start in range(0, len(order), pool_size):
            pool = order[start : start + pool_size]
            batches += self._cut(pool[np.argsort(key[pool], kind="stable")])
        return [batches[i] for i in self._rng.permutation(len(batches))]

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        """Cut an order into batches as large as `batch_size` and `max_tokens` allow."""
        limit = np.inf if self.max_tokens is None else self.max_tokens
        batches, start, longest = [], 0, 0
        for stop, length in enumerate(self.lengths[order].tolist()):
            longest = max(longest, length)
            n_samples = stop - start
            if n_samples == self.batch_size or (n_samples and (n_samples + 1) * longest > limit):
                batches.append(order[start:stop])
                start, longest = stop, length
        return [*batches, order[start:]]


class DrawnBatchSampler(Sampler[list[int]]):
    """Batches of rows drawn anew in each epoch, of data too large for whole passes.

    Parameters
    ----------
    n_rows : int
        Number of rows to draw from.
    n_drawn : int
        Number of rows of an epoch, without repetition.
    batch_size : int
        Largest number of rows in a batch.
    rng : numpy.random.Generator
        Draws them.

    Examples
    --------
    >>> import numpy as np
    >>> sampler = DrawnBatchSampler(1000, 5, 2, np.random.default_rng(0))
    >>> [len(batch) for batch in sampler], len(sampler)
    ([2, 2, 1], 3)
    """

    def __init__(
        self, n_rows: int, n_drawn: int, batch_size: int, rng: np.random.Generator
    ) -> None:
        self.n_rows = check_integer("n_rows", n_rows)
        self.n_drawn = min(check_integer("n_drawn", n_drawn), n_rows)
        self.batch_size = check_integer("batch_size", batch_size)
        self._rng = rng

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the batches of one epoch, each a list of positions."""
        drawn = self._rng.choice(self.n_rows, self.n_drawn, replace=False)
        return (
            drawn[start : start + self.batch_size].tolist()
            for start in range(0, self.n_drawn, self.batch_size)
        )

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-self.n_drawn // self.batch_size)
