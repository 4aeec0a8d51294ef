"""Sequences that arrive piece by piece, encoded as whole ones would be."""

import math

import numpy as np

from sks4.data._gaps import GapState
from sks4.data._running import RunningMoments
from sks4.data._scaling import SequenceEncoder

_CAUSAL = {"series": "running", "split": "running_split"}
"""What scales as these do, by the values so far instead of the whole sequence."""


class StreamEncoder:
    """Encode streams piece by piece, with the result of `SequenceEncoder` on all of it.

    Time points at which all channels of a stream are NaN may be the padding after its end, or
    missing values within it: what follows decides. They are encoded as missing, and `lengths`
    says up to where a stream is known to reach.

    Parameters
    ----------
    encoder : SequenceEncoder
        Fitted.
    n_streams : int
        Number of streams side by side, all pushed at the same times.
    dtype : {"float32", "float64"}
        Type of what the network reads.
    rate : float, default=1.0
        Sampling interval of the streams over that of the training data.

    Attributes
    ----------
    n_pushed : int
        Number of time points pushed to each stream.
    lengths : ndarray of shape (n_streams,), int64
        Time points of each stream, without those at its end at which all channels are NaN.
    has_gaps : bool
        Whether there are such time points in any stream.

    Raises
    ------
    ValueError
        If the encoder scales each sequence by its own mean and deviation.

    Examples
    --------
    >>> import numpy as np
    >>> from sks4.data import SequenceEncoder, as_panel
    >>> encoder = SequenceEncoder(None).fit(as_panel(np.zeros((1, 1, 4))))
    >>> stream = StreamEncoder(encoder, 1, "float32")
    >>> u = [stream.encode(np.array([[[x]]]))[0, 0, 0] for x in (1.0, 2.0, np.nan)]
    >>> [float(value) for value in u], stream.lengths.tolist()
    ([1.0, 2.0, 2.0], [2])
    """

    def __init__(
        self, encoder: SequenceEncoder, n_streams: int, dtype: str, rate: float = 1.0
    ) -> None:
        causal = _CAUSAL.get(encoder.standardize)
        if causal is not None:
            raise ValueError(
                f"standardize={encoder.standardize!r} cannot be streamed, since it scales by mean "
                f"and deviation of the whole sequence. Fit with standardize={causal!r}, which "
                "scales by those of the values so far, or with 'global' or None."
            )
        self.encoder = encoder
        self.dtype = dtype
        self.rate = rate
        self.n_channels = len(encoder.standardizer_.fill_)
        self.n_pushed = 0
        self._moments = RunningMoments.of_nothing(n_streams, self.n_channels)
        self._lengths: np.ndarray | None = None  # of all streams, if they differ from `n_pushed`
        self._gaps = GapState.of_nothing(n_streams, self.n_channels)

    def copy(self) -> "StreamEncoder":
        """Return an independent copy over the same fitted encoder."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)  # arrays are replaced by a call, never changed
        return other

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Encode the next time points.

        Parameters
        ----------
        values : ndarray of shape (n_streams, n_channels, n_timepoints), float64
            Raw values, NaN where missing.

        Returns
        -------
        ndarray of shape (n_streams, n_timepoints, n_inputs)
            Contiguous, without NaN.

        Raises
        ------
        ValueError
            If a value is infinite, beyond the range of the dtype after scaling, or missing where
            the encoder refuses that. The streams are then as before.
        """
        n_streams, n_channels, n_timepoints = values.shape
        encoded = np.zeros((n_streams, n_timepoints, self.encoder.n_inputs_), self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled, moments = self._scale(encoded, values)
            encoded[..., :n_channels] = scaled.transpose(0, 2, 1)
            is_regular = math.isfinite(np.add.reduce(encoded, axis=None))  # as all values then are
        absent, lengths = None, None
        if not is_regular:
            absent = self._absent(values)
            lengths = self._lengths_after(absent)
        if self.encoder.missing == "error":
            self._refuse_missing(absent, lengths)
        gaps = self._gaps.after(scaled) if absent is None else self._fill(encoded, scaled, absent)
        self._gaps, self._lengths, self._moments = gaps, lengths, moments
        self.n_pushed += n_timepoints
        return encoded

    @property
    def lengths(self) -> np.ndarray:
        """Time points of each stream without a gap at its end, shape (n_streams,), int64."""
        if self._lengths is None:
            return np.full(len(self._gaps.value), self.n_pushed)
        return self._lengths

    @property
    def has_gaps(self) -> bool:
        """Whether all channels of a stream are NaN at its end."""
        return self._lengths is not None and bool((self._lengths < self.n_pushed).any())

    def _scale(self, encoded: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, RunningMoments]:
        """Return scaled values and the moments after them; write running level and spread."""
        scaled = self.encoder.standardizer_.scaled(values)
        scaler = self.encoder.running_scaler_
        if scaler is None:
            return scaled, self._moments
        scaled, level, log_spread, after = scaler.scale(scaled, self._moments, self.rate)
        if not math.isfinite(np.add.reduce(after.squares, axis=None)):
            self._absent(values)  # refuses infinity
            raise ValueError(
                "A sample must be within 1e150 in magnitude, in units of the training data, with "
                f"standardize={self.encoder.standardize!r}, got values up to "
                f"{np.nanmax(np.abs(values)):.3g}. Scale the data before, or fit with "
                "standardize='global'."
            )
        if self.encoder.has_running_traits:
            encoded[..., -2 * self.n_channels : -self.n_channels] = level.transpose(0, 2, 1)
            encoded[..., -self.n_channels :] = log_spread.transpose(0, 2, 1)
        return scaled, after

    def _fill(self, encoded: np.ndarray, scaled: np.ndarray, absent: np.ndarray) -> GapState:
        """Write values in place of missing ones, and where they were; return what is known."""
        n_channels = scaled.shape[1]
        scaled, gaps = self.encoder.filler_.fill(scaled, self._gaps, self.rate)
        if self.encoder.has_mask_:
            encoded[..., n_channels : 2 * n_channels] = absent.transpose(0, 2, 1)
        with np.errstate(over="ignore"):
            encoded[..., :n_channels] = scaled.transpose(0, 2, 1)
        if not np.isfinite(encoded).all():
            raise ValueError(
                f"A sample must be within the range of {self.dtype} after scaling (standardize="
                f"{self.encoder.standardize!r}), got values up to {np.abs(scaled).max():.3g}. "
                "Scale the data, or fit with standardize='global' or dtype='float64'."
            )
        return gaps

    def _absent(self, values: np.ndarray) -> np.ndarray:
        """Return which values are NaN, and refuse those that are infinite."""
        absent = np.isnan(values)
        if (infinite := np.isinf(values)).any():
            stream, channel, step = np.argwhere(infinite)[0]
            raise ValueError(
                f"A sample must not hold infinity, got it in stream {stream}, channel {channel}, "
                f"time point {self.n_pushed + step}. Replace it, or mark it as missing with NaN."
            )
        return absent

    def _lengths_after(self, absent: np.ndarray) -> np.ndarray:
        """Return the lengths with time points (n_streams, n_channels, n_timepoints) appended."""
        has_value = np.logical_not(absent).any(axis=1)  # (n_streams, n_timepoints)
        last = has_value.shape[1] - has_value[:, ::-1].argmax(axis=1)
        return np.where(has_value.any(axis=1), self.n_pushed + last, self.lengths)

    def _refuse_missing(self, absent: np.ndarray | None, lengths: np.ndarray | None) -> None:
        """Raise if values before the end of a stream are missing."""
        if lengths is None:
            lengths = np.full(len(self._gaps.value), np.iinfo(np.int64).max)
        # those that waited, if a value has come since, and those in the new piece
        is_missing = (self.lengths < self.n_pushed) & (lengths > self.n_pushed)
        if absent is not None:
            before_end = (
                np.arange(self.n_pushed, self.n_pushed + absent.shape[2]) < lengths[:, None]
            )
            is_missing |= (absent.any(axis=1) & before_end).any(axis=1)
        if is_missing.any():
            raise ValueError(
                "A sample must have no missing values with missing='error', got NaN in stream "
                f"{is_missing.argmax()}. Fit with missing='mask' or 'ffill'."
            )
