"""The one form in which sequences travel inside the package, whatever form they came in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

# Values that one temporary copy may hold: 8 MiB in float64, whatever the size of the data.
_BLOCK_SIZE = 2**20

Form = Literal["2d", "3d", "ragged"]


@dataclass(frozen=True, eq=False)
class Panel:
    """Sequences with the same channels, kept as views of the arrays that the user passed.

    Attributes
    ----------
    sequences : ndarray of shape (n_stored, n_channels, n_timepoints) or list of ndarray
        One array, or one array of shape ``(n_channels, n_timepoints_i)`` for each sequence.
        NaN where nothing was observed.
    rows : ndarray of shape (n_samples,), int64
        The position in `sequences` of each sample, so that a subset copies nothing.
    lengths : ndarray of shape (n_samples,), int64
        Time points of each sample, without trailing ones at which all channels are NaN.
    missing : ndarray of shape (n_samples,), bool
        Whether a sample has NaN before its end.
    form : {"2d", "3d", "ragged"}
        The form in which the data came.
    feature_names : ndarray of shape (n_features,) or None
        Column names of 2-D data, channel names of any other, if all of them are strings.
    """

    sequences: np.ndarray | list[np.ndarray]
    rows: np.ndarray
    lengths: np.ndarray
    missing: np.ndarray
    form: Form
    feature_names: np.ndarray | None = None

    @property
    def n_channels(self) -> int:
        """Number of channels, the same in every sequence."""
        return int(self.sequences[0].shape[0])

    @property
    def n_timepoints(self) -> int | None:
        """Width of 2-D data, padding included; None for the forms in which it is free."""
        return int(self.sequences[0].shape[1]) if self.form == "2d" else None

    @property
    def n_features(self) -> int:
        """What scikit-learn calls ``n_features_in_``: columns in 2-D, else channels."""
        return self.n_timepoints or self.n_channels

    @property
    def has_missing(self) -> bool:
        """Whether any sample has NaN before its end."""
        return bool(self.missing.any())

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one sequence without its padding, a view of shape (n_channels, length)."""
        return self.sequences[self.rows[index]][:, : self.lengths[index]]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Iterate over the sequences, views of shape (n_channels, length)."""
        return (self[index] for index in range(len(self)))

    def take(self, indices: np.ndarray) -> "Panel":
        """Return the panel of some of the samples, on the same memory."""
        return Panel(
            self.sequences,
            self.rows[indices],
            self.lengths[indices],
            self.missing[indices],
            self.form,
            self.feature_names,
        )

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy a batch into one array of shape (batch, n_channels, longest), NaN as padding."""
        longest = int(self.lengths[indices].max())
        if isinstance(self.sequences, np.ndarray):
            return self.sequences[self.rows[indices], :, :longest]
        batch = np.full((len(indices), self.n_channels, longest), np.nan)
        for target, index in zip(batch, indices, strict=True):
            target[:, : self.lengths[index]] = self[index]
        return batch

    def blocks(self) -> Iterator[np.ndarray]:
        """Iterate over all time points in float64 copies of bounded size.

        Yields
        ------
        ndarray of shape (n_channels, n_steps), float64
            Steps of one or several sequences, padding left out, NaN where a value is missing.
        """
        limit = max(1, _BLOCK_SIZE // self.n_channels)
        pieces: list[np.ndarray] = []
        n_steps = 0
        for sequence in self:
            for start in range(0, sequence.shape[1], limit):
                piece = sequence[:, start : start + limit]
                if n_steps + piece.shape[1] > limit:
                    yield np.concatenate(pieces, axis=1, dtype=np.float64)
                    pieces, n_steps = [], 0
                pieces.append(piece)
                n_steps += piece.shape[1]
        yield np.concatenate(pieces, axis=1, dtype=np.float64)


def build_panel(
    sequences: np.ndarray | list[np.ndarray], form: Form, feature_names: np.ndarray | None = None
) -> Panel:
    """Find lengths and missing values of checked arrays, and refuse infinite values.

    Parameters
    ----------
    sequences : ndarray of shape (n_samples, n_channels, n_timepoints) or list of ndarray
        Numeric arrays, with at least one sample, channel and time point.
    form : {"2d", "3d", "ragged"}
        The form in which the data came.
    feature_names : ndarray of shape (n_features,) or None
        Names of columns or channels.

    Returns
    -------
    Panel
        Over the same memory; temporary copies hold one sequence or 8 MiB, what is more.

    Raises
    ------
    ValueError
        If a value is infinite, or if a sequence has no value at all.
    """
    n_samples = len(sequences)
    lengths = np.empty(n_samples, dtype=np.int64)
    missing = np.zeros(n_samples, dtype=bool)
    block_size = 1
    if isinstance(sequences, np.ndarray):
        block_size = max(1, _BLOCK_SIZE // sequences[0].size)
    for start in range(0, n_samples, block_size):
        stop = min(start + block_size, n_samples)
        block = (
            sequences[start:stop]
            if isinstance(sequences, np.ndarray)
            else sequences[start][np.newaxis]  # (1, n_channels, n_timepoints)
        )
        lengths[start:stop], missing[start:stop] = _inspect(block, start)
    return Panel(sequences, np.arange(n_samples), lengths, missing, form, feature_names)


def _inspect(block: np.ndarray, start: int) -> tuple[np.ndarray | int, np.ndarray | bool]:
    """Return length and missingness of each sample in (n_samples, n_channels, n_timepoints)."""
    n_timepoints = block.shape[2]
    if block.dtype.kind != "f" or _is_finite(block):
        return n_timepoints, False
    if (infinite := np.isinf(block)).any():
        sample, channel, step = np.argwhere(infinite)[0]
        raise ValueError(
            f"Input X contains infinity: X[{start + sample}], channel {channel}, time point "
            f"{step}. Replace it, or mark it as missing with NaN."
        )
    absent = np.isnan(block)
    is_padding = np.logical_and.accumulate(absent.all(axis=1)[:, ::-1], axis=1)[:, ::-1]
    lengths = n_timepoints - is_padding.sum(axis=1)
    if not lengths.all():
        raise ValueError(
            f"Every sequence must have a value, got X[{start + lengths.argmin()}] in which all "
            "values are NaN. Remove it: there is nothing to learn or predict from."
        )
    return lengths, (absent.any(axis=1) & ~is_padding).any(axis=1)


def _is_finite(block: np.ndarray) -> bool:
    """Tell whether all values are finite; False also where only their sum overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(block.sum()))  # no temporary copy, unlike isfinite(block).all()
