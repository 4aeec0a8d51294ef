"""Scaling of channels, and what replaces missing values."""

import numpy as np

from sks4._validation import check_choice
from sks4.data._gaps import GapFiller, GapState
from sks4.data._panel import Panel
from sks4.data._running import RunningMoments, RunningScaler

_AT_ONCE = 2**18
"""Values of sequences that are described at once, so that the copies stay small."""

_MOST_PIECES, _VALUES_OF_PIECES, _SHORTEST = 128, 2**17, 64
"""Numbers of sequences, and of their values, at most, that fillings are learned from; and number of
time points that are read of each at least."""

_PIECES_AT_ONCE = 2**12
"""Values of them that are read at once."""

_LONGEST_GAP = 0.5
"""Longest gap that is learned, as a share of a typical piece, which has pairs so far apart."""


class Standardizer:
    """Shift and scale each channel, computed in float64 and in one pass over the data.

    Only real, observed steps count: padding and missing values are left out. A constant
    channel has the geometric mean of the other scales, or 1 if all are constant.

    Parameters
    ----------
    mode : {"global", "series"} or None, default="global"
        "global": by mean and standard deviation of the channel in the training data.
        "series": each sequence by its own. None: values stay as they are.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_channels,), float64
        Mean and standard deviation of the training data; not computed for "series".
    fill_ : ndarray of shape (n_channels,), float64
        What stands for a value before the first observed one, in scaled units: the mean of the
        training data (for "series", that of the sequence itself), thus zero where values are
        scaled.
    """

    def __init__(self, mode: str | None = "global") -> None:
        self.mode = check_choice("standardize", mode, ("global", "series", None))

    def fit(self, panel: Panel) -> "Standardizer":
        """Compute the statistics of each channel, holding one block of the panel at a time."""
        self.fill_ = np.zeros(panel.n_channels)
        if self.mode == "series":
            return self
        count, mean, squares = np.zeros((3, panel.n_channels))
        for block in panel.blocks():
            block_count, block_mean, block_squares = _moments(block)
            delta = block_mean - mean
            share = block_count / np.maximum(count + block_count, 1)
            # Chan, Golub and LeVeque 1983, eq. 2.1: merge two samples without cancellation
            with np.errstate(over="ignore", invalid="ignore"):  # refused by _scale
                squares += block_squares + delta**2 * count * share
            mean += delta * share
            count += block_count
        deviation = _deviation(count, mean, squares)
        varies = deviation > 0
        unit = np.exp(np.log(deviation[varies]).mean()) if varies.any() else 1.0
        self.mean_, self.scale_ = mean, np.where(varies, deviation, unit)
        if self.mode is None:
            self.fill_ = mean
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scale sequences; NaN stays NaN.

        Parameters
        ----------
        values : ndarray of shape (..., n_channels, n_timepoints)
            One sequence or a batch, NaN where a value is missing and in the padding.

        Returns
        -------
        ndarray of the same shape
            In float64, so that large offsets are gone before anything is rounded to float32;
            `values` itself if `mode` is None.
        """
        with np.errstate(over="ignore"):  # infinite, where data is absurdly far from that of fit
            return self.scaled(values)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return what `transform` returns; numpy may warn of an overflow."""
        if self.mode is None:
            return values
        if self.mode == "series":
            count, mean, squares = _moments(values)
            scale = _scale(count, mean, squares)
        else:
            mean, scale = self.mean_, self.scale_
        scaled = np.subtract(values, mean[..., np.newaxis], dtype=np.float64)
        scaled /= scale[..., np.newaxis]
        return scaled

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Undo `transform`, for arrays of shape (..., n_channels, n_timepoints).

        Raises
        ------
        ValueError
            If `mode` is "series": the statistics belong to the sequences and are not kept.
        """
        if self.mode == "series":
            raise ValueError(
                "standardize='series' cannot be undone, since the scale of each sequence is not "
                "kept. Use standardize='global' or None."
            )
        if self.mode is None:
            return values
        return values * self.scale_[:, np.newaxis] + self.mean_[:, np.newaxis]


def level_and_spread(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every sequence in every channel.

    Parameters
    ----------
    panel : Panel
        Sequences. A channel without an observed value counts as constant zero.

    Returns
    -------
    level, spread : ndarray of shape (n_samples, n_channels), float64
        In the unit of the values.
    """
    level, spread = np.empty((2, len(panel), panel.n_channels))
    at_once = max(1, _AT_ONCE // (panel.n_channels * int(panel.lengths.max())))
    for start in range(0, len(panel), at_once):
        rows = np.arange(start, min(start + at_once, len(panel)))
        level[rows], spread[rows] = _level_and_spread(panel.gather(rows))
    return level, spread


class LevelAndScale:
    """Level and logarithm of the scale of each sequence, standardized over the training data.

    They are what standardizing each sequence by itself takes away from it.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (2 * n_channels,), float64
        Mean and standard deviation of the levels, followed by those of the logarithms.
    least_ : ndarray of shape (n_channels,), float64
        What stands for smaller spreads, as those of constant sequences: a thousandth of the root
        mean square of the training data.
    """

    def fit(self, panel: Panel) -> "LevelAndScale":
        """Learn what is usual from the training data."""
        level, spread = level_and_spread(panel)
        _check_finite(spread)
        self.least_ = 1e-3 * np.sqrt(np.mean(spread**2, axis=0))
        self.least_[self.least_ == 0] = 1.0
        traits = self._traits(level, spread)
        self.mean_, self.scale_ = traits.mean(axis=0), traits.std(axis=0)
        magnitude = np.where(self.mean_ == 0, 1.0, np.abs(self.mean_))
        self.scale_ = np.where(self.scale_ <= 1e-9 * magnitude, magnitude, self.scale_)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the levels and scales of sequences.

        Parameters
        ----------
        values : ndarray of shape (batch, n_channels, n_timepoints)
            Raw values, NaN where missing and in the padding.

        Returns
        -------
        ndarray of shape (batch, 2 * n_channels), float64
            Standardized levels, then logarithms of scales.
        """
        return (self._traits(*_level_and_spread(values)) - self.mean_) / self.scale_

    def _traits(self, level: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return np.concatenate([level, np.log(np.maximum(spread, self.least_))], axis=-1)


class SequenceEncoder:
    """Turn raw sequences into what the network reads: scaled, filled, and with masks.

    Parameters
    ----------
    standardize : str or None, default="global"
        "global" and "series": see `Standardizer`. "running": each time point by mean and standard
        deviation of the sequence up to it (`RunningScaler`). "split": as "series", and level and
        scale of the sequence, which are constant over its time points, are two more inputs for each
        channel (`LevelAndScale`). "running_split": as "running", and mean and deviation up to each
        time point are two more inputs.
    missing : {"mask", "ffill", "error"}, default="mask"
        What happens to missing values (NaN before the end of a sequence). "ffill": the last
        observed value of the channel stands for them, and `Standardizer.fill_` before the first
        one. "mask": forecasts from the last values stand for them (`GapFiller`), and if the
        training data has missing values, each channel gets a second one that is 1 where the value
        is missing and 0 elsewhere. "error": refuse them.

    Attributes
    ----------
    standardizer_ : Standardizer
        The fitted scaling.
    running_scaler_ : RunningScaler or None
        What scales after it with "running" and "running_split".
    filler_ : GapFiller
        What stands for missing values, after the scaling.
    has_mask_ : bool
        Whether mask channels follow the data channels.
    level_and_scale_ : LevelAndScale or None
        The fitted scaling of what follows these with "split".
    n_inputs_ : int
        Number of channels that the network reads.
    """

    def __init__(self, standardize: str | None = "global", missing: str = "mask") -> None:
        self.standardize = check_choice(
            "standardize",
            standardize,
            ("global", "running", "running_split", "series", "split", None),
        )
        self.missing = check_choice("missing", missing, ("mask", "ffill", "error"))

    def fit(self, panel: Panel) -> "SequenceEncoder":
        """Learn the scaling, and whether masks are needed, from the training data."""
        self.check(panel)
        is_split = self.standardize == "split"
        is_running = self.standardize in ("running", "running_split")
        mode = "series" if is_split else "global" if is_running else self.standardize
        self.standardizer_ = Standardizer(mode).fit(panel)
        self.running_scaler_ = self._running_scaler(panel) if is_running else None
        self.has_mask_ = self.missing == "mask" and panel.has_missing
        is_learned = self.missing == "mask"
        self.filler_ = self._filler(panel) if is_learned else GapFiller(self.standardizer_.fill_)
        self.level_and_scale_ = LevelAndScale().fit(panel) if is_split else None
        n_traits = 2 * (is_split or self.has_running_traits)
        self.n_inputs_ = panel.n_channels * (1 + self.has_mask_ + n_traits)
        return self

    @property
    def is_mask(self) -> np.ndarray:
        """Which inputs of the network are masks, (n_inputs_,), bool."""
        n_channels = len(self.standardizer_.fill_)
        index = np.arange(self.n_inputs_) // n_channels
        return (index == 1) & self.has_mask_

    @property
    def has_running_traits(self) -> bool:
        """Whether level and spread up to each time point are inputs."""
        return self.standardize == "running_split"

    def _filler(self, panel: Panel) -> GapFiller:
        """Return what has learned from the beginnings of some sequences how they continue."""
        n_pieces = min(_MOST_PIECES, max(1, _VALUES_OF_PIECES // (_SHORTEST * panel.n_channels)))
        rows = np.unique(np.linspace(0, len(panel) - 1, n_pieces).astype(np.int64))
        length = max(_SHORTEST, _VALUES_OF_PIECES // (len(rows) * panel.n_channels))
        lengths = np.minimum(panel.lengths[rows], length)
        at_once = max(1, _PIECES_AT_ONCE // (panel.n_channels * int(lengths.max())))
        pieces = (
            self._scaled_piece([panel[row][:, :length] for row in rows[k : k + at_once].tolist()])
            for k in range(0, len(rows), at_once)
        )
        longest = max(1, int(_LONGEST_GAP * np.median(lengths)))
        return GapFiller(self.standardizer_.fill_).fit(pieces, longest)

    def _scaled_piece(self, sequences: list[np.ndarray]) -> np.ndarray:
        """Return scaled sequences, (n_sequences, n_channels, longest), NaN as padding."""
        shape = len(sequences), len(sequences[0]), max(x.shape[1] for x in sequences)
        values = np.full(shape, np.nan)
        for target, x in zip(values, sequences, strict=True):
            target[:, : x.shape[1]] = x
        scaled = self.standardizer_.transform(values)
        if self.running_scaler_ is None:
            return scaled
        return self.running_scaler_.scale(scaled, RunningMoments.of_nothing(*shape[:2])).values

    def _running_scaler(self, panel: Panel) -> RunningScaler:
        level, spread = level_and_spread(panel)
        level = (level - self.standardizer_.mean_) / self.standardizer_.scale_
        return RunningScaler().fit(panel.lengths, level, spread / self.standardizer_.scale_)

    def check(self, panel: Panel) -> None:
        """Raise ValueError if missing values are refused and the panel has some."""
        if self.missing == "error" and panel.has_missing:
            raise ValueError(
                f"X must have no missing values with missing='error', got NaN in "
                f"{panel.missing.sum()} of {len(panel)} sequences, the first one X"
                f"[{panel.missing.argmax()}]. Pass missing='mask' or 'ffill'."
            )

    def transform(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        dtype: str = "float32",
        *,
        rate: float = 1.0,
    ) -> np.ndarray:
        """Encode a batch of sequences.

        Parameters
        ----------
        values : ndarray of shape (batch, n_channels, n_timepoints)
            Raw values, NaN where missing and in the padding.
        lengths : ndarray of shape (batch,), int64
            Time points of each sequence.
        dtype : {"float32", "float64"}, default="float32"
            Type of the result.
        rate : float, default=1.0
            Sampling interval of these sequences over that of the training data.

        Returns
        -------
        ndarray of shape (batch, n_timepoints, n_inputs_)
            Contiguous; zero in the padding, and no NaN.

        Raises
        ------
        ValueError
            If a scaled value is beyond the range of `dtype`.
        """
        n_samples, n_channels, n_timepoints = values.shape
        encoded = np.zeros((n_samples, n_timepoints, self.n_inputs_), dtype)
        channels = encoded.transpose(0, 2, 1)  # (batch, n_inputs_, n_timepoints), a view
        is_padding = np.arange(n_timepoints) >= lengths[:, np.newaxis]  # (batch, n_timepoints)
        scaled = self.standardizer_.transform(values)
        if self.running_scaler_ is not None:
            nothing = RunningMoments.of_nothing(n_samples, n_channels)
            scaled, level, log_spread, after = self.running_scaler_.scale(scaled, nothing, rate)
            _check_finite(after.squares)
            if self.has_running_traits:
                channels[:, -2 * n_channels : -n_channels] = level
                channels[:, -n_channels:] = log_spread
        # NaN in the padding is zeroed below; only missing values are worth the cost of filling.
        absent = np.isnan(scaled) & ~is_padding[:, np.newaxis]
        if absent.any():
            scaled, _ = self.filler_.fill(
                scaled.astype(np.float64), GapState.of_nothing(n_samples, n_channels), rate
            )
            if self.has_mask_:
                channels[:, n_channels : 2 * n_channels] = absent
        if self.level_and_scale_ is not None:
            traits = self.level_and_scale_.transform(values)
            channels[:, -2 * n_channels :] = traits[..., np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            channels[:, :n_channels] = scaled
        encoded[is_padding] = 0
        if not np.isfinite(encoded).all():
            raise ValueError(
                f"X must be within the range of {dtype} after scaling (standardize="
                f"{self.standardize!r}), got values up to {np.nanmax(np.abs(scaled)):.3g}. "
                "Scale X, or pass standardize='global' or dtype='float64'."
            )
        return encoded


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean and sum of squared deviations of what is not NaN, along the last axis.

    Deviations from the first value are averaged, not the values, so a large offset costs no
    precision and a constant has squares of exactly 0.
    """
    observed = ~np.isnan(values)
    count = observed.sum(axis=-1)
    first = np.take_along_axis(values, observed.argmax(axis=-1)[..., np.newaxis], axis=-1)
    first = np.nan_to_num(first.astype(np.float64))  # 0 where nothing was observed
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by _scale
        deviations = np.subtract(values, first, dtype=np.float64)
        deviations[~observed] = 0
        shift = deviations.sum(axis=-1) / np.maximum(count, 1)
        deviations -= shift[..., np.newaxis]
        deviations[~observed] = 0
        squares = np.einsum("...t,...t->...", deviations, deviations)
        if (is_zero := squares == 0).any():  # of a constant, or lost: refused by _scale
            squares = np.where(is_zero & deviations.any(axis=-1), np.nan, squares)
    return count, first[..., 0] + shift, squares


def _level_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of what is not NaN, along the last axis."""
    count, mean, squares = _moments(values)
    return mean, np.sqrt(squares / np.maximum(count, 1))


def _deviation(count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the standard deviation, 0 where it is nothing but rounding of the mean."""
    _check_finite(squares)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    rounding = 8 * np.finfo(np.float64).eps * np.abs(mean)  # a few units in the last place
    return np.where(deviation <= rounding, 0.0, deviation)


def _scale(count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the standard deviation, or 1 for a constant."""
    deviation = _deviation(count, mean, squares)
    return np.where(deviation == 0, 1.0, deviation)


def _check_finite(squares: np.ndarray) -> None:
    """Raise ValueError if a sum of squares has overflowed."""
    if not np.isfinite(squares).all():
        raise ValueError(
            "X must be within 1e150 in magnitude, and vary by more than 1e-150, to be "
            "standardized: its variance is beyond float64. Scale X before, or pass "
            "standardize=None."
        )
