"""What the parameters that are "auto" become, from the lengths of the training sequences.

Where nothing else is said, lengths are those that the state space sees: numbers of patches, in
``patch_size`` time points each.
"""

import math
import warnings

import numpy as np
import pandas as pd
import torch

from sks4.data import Panel, level_and_spread
from sks4.exceptions import MemoryLengthWarning
from sks4.nn import PatchSpectrum

# One step costs about 10 kB of activations at the default size of the model, so a batch stays well
# below 1 GB; the matrix products gain nothing from larger ones.
MAX_TOKENS = 2**16
# Without gradients, and on a CPU, smaller batches are as fast, since more of them stays in the
# cache, and take a third of the memory or less.
EVALUATION_TOKENS = 2**14

# A cosine schedule needs about so many optimizer steps to come to rest on small data ...
_OPTIMIZER_STEPS = 1000
# ... and on large data more passes than these gain little for the time they take.
_TOTAL_TOKENS = 10**8
_EPOCHS = (8, 300)

# On smaller data, a tenth of the training data is worth more than the best of the last epochs.
_MIN_SAMPLES_TO_HOLD_OUT = 5000

# More filters gain nothing, see docs/benchmarks.rst; with more samples, fewer are as good, and the
# regression takes the square of their number in memory.
_FILTERS, _FEWEST_FILTERS = 1024, 64
_SAMPLES_FOR_ALL_FILTERS = 2048
# A step of a filter takes some 30 ns of one core, with its summary; so many take half a
# minute.
_STEPS_OF_FILTERS = 10**9

# Longer sequences are read in patches: what the time for training buys in passes over the data is
# then worth more than single samples. A patch of 16 samples still fits into 64 features.
_MANY_STEPS = 2048
_LARGEST_PATCH = 16
# Of spectra, there are so many in a sequence or more, each of so many samples.
_SPECTRA = 32
_SAMPLES_OF_SPECTRUM = 16, 256

# Where level and scale of the sequences explain less of the targets than this share, they are taken
# for chance, such as the distance to a microphone ...
_TELLING = 0.05
# ... if they differ by more than this share of a standard deviation, and by more than levels of
# short sequences differ by chance; else all is the same.
_VARYING = 0.25
_CHANCE = 2.0
# Else a unit for all hides the shape of sequences that vary by less than this share of it, ...
_HIDDEN = 0.3
# ... if they are so many.
_SHARE_HIDDEN = 0.1
# Values to predict are compared in so many groups of equal size.
_TARGET_GROUPS = 10

# A memory shorter than the sequences by this factor is more likely a mistake than a choice.
_SHORT_MEMORY = 10


def typical_length(lengths: np.ndarray) -> float:
    """Return the length that all but the longest twentieth of the sequences stay below."""
    return float(np.quantile(lengths, 0.95))


def candidate_embeddings(
    lengths: np.ndarray, embedding: str, patch_size: int | str, *, may_change_rate: bool
) -> tuple[str, ...]:
    """Return the embeddings of patches to choose from.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,), int
        Time points of each training sequence.
    embedding : {"values", "spectrum", "auto"}
        As given to the estimator. "auto": where sequences are so long that they are read in
        patches, both; otherwise "values".
    patch_size : int or "auto"
        As given to the estimator. A number rules out that "auto" becomes "spectrum".
    may_change_rate : bool
        Whether predictions at another sampling rate must be possible.

    Returns
    -------
    tuple of {"values", "spectrum"}
        The first one stands where nothing is held out to choose by.
    """
    if embedding != "auto":
        return (embedding,)
    is_patched = resolve_patch_size(lengths, patch_size, may_change_rate=may_change_rate) > 1
    return ("values", "spectrum") if is_patched and patch_size == "auto" else ("values",)


def resolve_patch_size(
    lengths: np.ndarray,
    patch_size: int | str,
    *,
    embedding: str = "values",
    may_change_rate: bool,
) -> int:
    """Return the number of time points that make one step of the state space.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,), int
        Time points of each training sequence.
    patch_size : int or "auto"
        As given to the estimator. "auto" with values: 1 up to 2,048 time points, and for longer
        sequences the smallest power of two that brings them below, up to 16. With spectra: the
        largest power of two of which 32 fit into a sequence, from 16 to 256.
    embedding : {"values", "spectrum"}, default="values"
        What the steps read of a patch.
    may_change_rate : bool
        Whether predictions at another sampling rate must be possible, which patches rule out.

    Returns
    -------
    int
        The patch size.

    Raises
    ------
    ValueError
        If spectra are to be of fewer than 4 time points.
    """
    if embedding == "spectrum":
        return _samples_of_spectrum(lengths, patch_size)
    if patch_size != "auto":
        return int(patch_size)
    if may_change_rate:
        return 1
    doublings = math.ceil(math.log2(max(1, typical_length(lengths) / _MANY_STEPS)))
    return min(2**doublings, _LARGEST_PATCH)


def _samples_of_spectrum(lengths: np.ndarray, patch_size: int | str) -> int:
    """Return the number of time points of a spectrum."""
    fewest, most = _SAMPLES_OF_SPECTRUM
    if patch_size == "auto":
        doublings = math.floor(math.log2(max(1, typical_length(lengths) / _SPECTRA)))
        return min(max(fewest, 2**doublings), most)
    if int(patch_size) < PatchSpectrum.FEWEST_SAMPLES:
        raise ValueError(
            f"patch_size must be at least {PatchSpectrum.FEWEST_SAMPLES} with "
            f"embedding='spectrum', got {patch_size}. Pass 'auto' or a larger patch_size."
        )
    return int(patch_size)


def resolve_standardize(panel: Panel, targets: np.ndarray, standardize: str | None) -> str | None:
    """Return how sequences are scaled.

    Parameters
    ----------
    panel : Panel
        The training sequences.
    targets : ndarray of shape (n_samples,), int64, or (n_samples, n_targets), float64
        Class indices, or values.
    standardize : {"global", "running", "running_split", "series", "split", "auto"} or None
        As given to the estimator. "auto" becomes what can be streamed. Where the levels or the
        scales of the sequences differ: "running" if the share of their variance between the
        targets' classes (for values, between tenths of them) is below 0.05 in each channel, so that
        they are taken for chance; "running_split" if it is not, and a tenth of the sequences would
        vary little in the unit of all, for classes; values may follow the level itself. "global" in
        all other cases.

    Returns
    -------
    {"global", "running", "running_split", "series", "split"} or None
        The scaling.
    """
    if standardize != "auto":
        return standardize
    level, spread = level_and_spread(panel)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows cannot be scaled at all
        unit = np.sqrt(np.mean(spread**2 + (level - level.mean(0)) ** 2, axis=0))
    if not 0 < unit.min() <= unit.max() < np.inf:
        return "global"
    # a constant sequence is as good as one of small scale
    traits = np.hstack([level / unit, np.log(np.maximum(spread / unit, 1e-3))])
    by_chance = _CHANCE / math.sqrt(typical_length(panel.lengths))
    varies = (traits.std(axis=0) > math.hypot(_VARYING, by_chance)).any()
    if not varies:
        return "global"
    tells = any((_share_between(traits, c) > _TELLING).any() for c in _target_classes(targets))
    if not tells:
        return "running"
    is_classes = targets.ndim == 1
    hides = (np.quantile(spread / unit, _SHARE_HIDDEN, axis=0) < _HIDDEN).any()
    return "running_split" if is_classes and hides else "global"


def _target_classes(targets: np.ndarray) -> list[np.ndarray]:
    """Return the classes of the samples, for each target."""
    if targets.ndim == 1:
        return [targets]
    tenths = [pd.qcut(y, _TARGET_GROUPS, labels=False, duplicates="drop") for y in targets.T]
    return [np.nan_to_num(classes) for classes in tenths]  # a constant has no tenths


def _share_between(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the share of variance between classes, ``(n_samples, n) -> (n,)``; 0 of none."""
    within = values - pd.DataFrame(values).groupby(classes).transform("mean").to_numpy()
    total = values.var(axis=0)
    return 1 - np.divide(within.var(axis=0), total, where=total > 0, out=np.ones_like(total))


def resolve_dt_range(
    lengths: np.ndarray, dt_min: float | str, dt_max: float | str
) -> tuple[float, float]:
    """Return the range of the steps of the state space.

    A feature remembers about ``1/dt`` steps, so the range follows the lengths: from one sequence
    to a hundredth of it.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,), int
        Length of each training sequence, in patches.
    dt_min, dt_max : float or "auto"
        As given to the estimator.

    Returns
    -------
    dt_min, dt_max : float
        The range.

    Warns
    -----
    MemoryLengthWarning
        If a given `dt_min` makes the longest memory much shorter than the sequences.
    """
    length = typical_length(lengths)
    low = min(max(1 / length, 1e-4), 1e-2)
    high = 100 * low
    if dt_min == "auto":
        return (low, high) if dt_max == "auto" else (min(low, float(dt_max)), float(dt_max))
    low = float(dt_min)
    if length * low > _SHORT_MEMORY:
        warnings.warn(
            f"With dt_min={low:g} the model remembers about {1 / low:.0f} steps, but the sequences "
            f"have {length:.0f}. Pass a smaller dt_min, or leave it at 'auto'.",
            MemoryLengthWarning,
            stacklevel=2,
        )
    return low, (max(low, high) if dt_max == "auto" else float(dt_max))


def resolve_batch_size(lengths: np.ndarray) -> int:
    """Return a batch size that makes some 32 batches or more, from 8 to 64, within memory."""
    wanted = 2 ** math.floor(math.log2(max(1, len(lengths) / 32)))
    fitting = MAX_TOKENS // math.ceil(typical_length(lengths))
    return max(1, min(max(8, wanted), 64, fitting))


def resolve_max_epochs(lengths: np.ndarray, n_batches: int) -> int:
    """Return enough epochs for the schedule on small data, and a bearable time on large data."""
    low, high = _EPOCHS
    enough = math.ceil(_OPTIMIZER_STEPS / n_batches)
    bearable = _TOTAL_TOKENS // int(lengths.sum())
    return min(max(low, min(enough, bearable)), high)


def resolve_early_stopping(
    early_stopping: bool | str, n_samples: int, *, has_validation_data: bool
) -> bool:
    """Tell whether training watches a validation loss; "auto" does on large data."""
    if early_stopping == "auto":
        return has_validation_data or n_samples >= _MIN_SAMPLES_TO_HOLD_OUT
    return bool(early_stopping)


def resolve_readout(readout: str, n_samples: int, *, is_usual: bool) -> str:
    """Return where the last layer comes from.

    Parameters
    ----------
    readout : {"auto", "trained", "ridge"}
        As given to the estimator. "auto": "ridge" if nothing rules it out.
    n_samples : int
        Number of different training sequences that count.
    is_usual : bool
        Whether pooling and loss are those that the regression stands for, the mean and, for
        values, the squared error.

    Returns
    -------
    {"trained", "ridge"}
        The readout.

    Raises
    ------
    ValueError
        If a single sequence is left for the regression.
    """
    if readout == "auto":
        return "ridge" if n_samples >= 2 and is_usual else "trained"
    if readout == "ridge" and n_samples < 2:
        raise ValueError(
            "readout='ridge' must have two different sequences at least, of a weight above "
            f"zero, got {n_samples}. Pass readout='trained'."
        )
    return readout


def resolve_n_filters(n_samples: int, n_steps: int) -> int:
    """Return the number of random filters, a multiple of 16.

    Parameters
    ----------
    n_samples : int
        Number of different training sequences. With more than 2,048, fewer filters are as good:
        their number falls with the square root, so the Gram matrix of the summaries stays below
        1 GB.
    n_steps : int
        Number of steps of all sequences. There are at most ``1e9 / n_steps`` filters.

    Returns
    -------
    int
        From 64 to 1,024.
    """
    by_samples = _FILTERS * min(1.0, math.sqrt(_SAMPLES_FOR_ALL_FILTERS / max(1, n_samples)))
    wanted = min(by_samples, _STEPS_OF_FILTERS / max(1, n_steps))
    return max(_FEWEST_FILTERS, round(wanted / 16) * 16)


def resolve_device(device: str) -> str:
    """Return the device to compute on.

    Parameters
    ----------
    device : str
        "auto", or the name of a device as torch writes it.

    Returns
    -------
    str
        The device; for "auto" the first NVIDIA GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    available = available_devices()
    try:
        wanted = torch.device(device)
    except RuntimeError:  # not a device of any machine
        wanted = None
    if wanted is None or not {wanted.type, f"{wanted.type}:{wanted.index or 0}"} & {*available}:
        raise ValueError(
            f"device must be 'auto' or a device of this machine, {', '.join(map(repr, available))},"
            f" got {device!r}. Pass 'auto' to use a GPU only where there is one."
        )
    return device


def available_devices() -> list[str]:
    """Return the devices of this machine, those with a number for each GPU."""
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    return ["cpu", *(f"{kind}:{i}" for kind, count in counts.items() for i in range(count))]
