"""What the parameters that are "auto" become, from the lengths of the training sequences.

Where nothing else is said, lengths are those that the state space sees: numbers of patches, in
``patch_size`` time points each.
"""

import math
import warnings

import numpy as np
import torch

from sks4.exceptions import MemoryLengthWarning

# One step costs about 10 kB of activations at the default size of the model, so a batch stays well
# below 1 GB; the matrix products gain nothing from larger ones.
MAX_TOKENS = 2**16

# A cosine schedule needs about so many optimizer steps to come to rest on small data ...
_OPTIMIZER_STEPS = 1000
# ... and on large data more passes than these gain little for the time they take.
_TOTAL_TOKENS = 10**8
_EPOCHS = (8, 300)

# On smaller data, a tenth of the training data is worth more than the best of the last epochs.
_MIN_SAMPLES_TO_HOLD_OUT = 5000

# Longer sequences are read in patches: what the time for training buys in passes over the data is
# then worth more than single samples. A patch of 16 samples still fits into 64 features.
_MANY_STEPS = 2048
_LARGEST_PATCH = 16

# A memory shorter than the sequences by this factor is more likely a mistake than a choice.
_SHORT_MEMORY = 10


def typical_length(lengths: np.ndarray) -> float:
    """Return the length that all but the longest twentieth of the sequences stay below."""
    return float(np.quantile(lengths, 0.95))


def resolve_patch_size(lengths: np.ndarray, patch_size: int | str, *, may_change_rate: bool) -> int:
    """Return the number of time points that make one step of the state space.

    Parameters
    ----------
    lengths : ndarray of shape (n_samples,), int
        Time points of each training sequence.
    patch_size : int or "auto"
        As given to the estimator. "auto": 1 up to 2,048 time points, and for longer sequences the
        smallest power of two that brings them below, up to 16.
    may_change_rate : bool
        Whether predictions at another sampling rate shall be possible, which patches rule out.

    Returns
    -------
    int
        The patch size.
    """
    if patch_size != "auto":
        return int(patch_size)
    if may_change_rate:
        return 1
    doublings = math.ceil(math.log2(max(1, typical_length(lengths) / _MANY_STEPS)))
    return min(2**doublings, _LARGEST_PATCH)


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
