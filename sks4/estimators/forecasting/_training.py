"""What a run of training of the forecaster is made of: pure functions of rows and parameters."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sks4.data import Columns, EncodedSeries, TimeRows
from sks4.estimators._auto import MAX_TOKENS
from sks4.estimators.forecasting._predictor import Windows
from sks4.exceptions import ValidationSplitWarning
from sks4.training import AbsoluteError, Batches, Huber, Quantile, SquaredError

LOSSES = {"squared_error": SquaredError, "absolute_error": AbsoluteError, "huber": Huber}

# Longer contexts gained nothing on hourly data with daily and weekly cycles.
_LONGEST_CONTEXT = 512

# Validation rows beyond the horizon, so that every step has several origins.
_MIN_ORIGINS = 10

# More validation origins than these say little more, since their horizons overlap.
_MAX_ORIGINS = 500

# Windows overlap, so few passes are enough where there are many of them.
_OPTIMIZER_STEPS = 350
_EPOCHS = (3, 100)
_BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Setup:
    """What the first fit chooses from the training rows.

    Attributes
    ----------
    windows : Windows
        Form of the windows.
    batch_size : int
        Windows in a batch.
    dt_range : tuple of float
        Range of the initial steps of the state spaces.
    """

    windows: Windows
    batch_size: int
    dt_range: tuple[float, float]

    def attributes(self) -> dict[str, Any]:
        """Return it as fitted attributes of an estimator."""
        return {"_setup_": self, "batch_size_": self.batch_size, "dt_range_": self.dt_range}


def build_loss(loss: str, levels: np.ndarray | None) -> torch.nn.Module:
    """Return the loss of that name, of quantiles if there are levels."""
    return LOSSES[loss]() if levels is None else Quantile(levels.tolist())


# ------------------------------------------------------------------ rows


def n_rows_to_train_on(
    values: np.ndarray,
    horizon: int,
    context_length: int | str,
    validation_fraction: float,
    early_stopping: bool | str,
) -> int:
    """Return how many rows to train on; those after them are set aside for validation.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_targets)
        Targets of all rows, NaN where missing.
    horizon : int
        Rows that a forecast makes at once.
    context_length : int or "auto"
        Rows that it reads.
    validation_fraction : float
        Share of the rows to set aside, `horizon` and ten rows at least.
    early_stopping : bool or "auto"
        Whether to set rows aside; "auto": if there are enough.

    Warns
    -----
    ValidationSplitWarning
        If rows should be set aside and there are too few.
    """
    n_rows = len(values)
    if not early_stopping:
        return n_rows
    is_wanted = early_stopping != "auto"
    n_valid = max(math.ceil(validation_fraction * n_rows), horizon + _MIN_ORIGINS)
    n_train = n_rows - n_valid
    shortest = horizon + (1 if context_length == "auto" else int(context_length))
    n_spare = n_train - shortest - (0 if is_wanted else n_valid)
    if n_spare >= 0 and not np.isnan(values[n_train:]).all():
        return n_train
    if is_wanted:
        warnings.warn(
            f"No validation block could be set aside: it needs {n_valid} rows with an observed "
            f"target, which leaves {max(n_train, 0)} of {n_rows} to train on. Pass more "
            "rows, or X_val.",
            ValidationSplitWarning,
            stacklevel=4,
        )
    return n_rows


def resolve_context_length(
    context_length: int | str, n_rows: int, horizon: int, patch_size: int
) -> int:
    """Return the context given; for "auto", whole patches that leave two thirds of the rows."""
    if context_length != "auto":
        return int(context_length)
    length = min(_LONGEST_CONTEXT, (n_rows - horizon) // 3)
    return max(1, length // patch_size * patch_size if length > patch_size else length)


def training_origins(windows: Windows, n_train: int, n_valid: int) -> np.ndarray:
    """Return the origins of the windows that lie in the first rows.

    Raises
    ------
    ValueError
        If there are none.
    """
    context_length, horizon = windows.context_length, windows.horizon
    n_windows = n_train - context_length - horizon + 1
    if n_windows < 1:
        aside = f" ({n_valid} more for validation)" if n_valid else ""
        raise ValueError(
            f"The series must have context_length + horizon = {context_length} + {horizon} rows at "
            f"least to train on, got n_samples={n_train}{aside}. Pass more rows, or smaller "
            "context_length and horizon."
        )
    return context_length + np.arange(n_windows)


def latest_windows(windows: Windows, seen: TimeRows, n_new: int) -> tuple[Columns, np.ndarray]:
    """Return the last rows, and the origins among them of windows that end in the new ones."""
    first = max(windows.context_length, len(seen) - n_new + 1 - windows.horizon)
    columns = seen.latest(len(seen) - first + windows.context_length)
    origins = np.arange(first, len(seen) + 1 - windows.horizon)
    return columns, origins - (len(seen) - len(columns))


def calibration_origins(n_train: int, n_rows: int) -> np.ndarray:
    """Return the origins whose errors calibrate intervals, evenly spread over the last rows."""
    n_origins = min(_MAX_ORIGINS, n_rows - n_train)
    return np.linspace(n_train, n_rows - 1, n_origins).round().astype(int)


# ------------------------------------------------------------------ batches


def resolve_batch_size(batch_size: int | str, n_steps: int) -> int:
    """Return the batch size given; for "auto", as many windows as fit into memory, at most 64."""
    if batch_size != "auto":
        return int(batch_size)
    return max(1, min(_BATCH_SIZE, MAX_TOKENS // n_steps))


def resolve_n_epochs(max_epochs: int | str, n_windows: int, batch_size: int) -> int:
    """Return the number of epochs given; for "auto", enough for some 350 optimizer steps."""
    if max_epochs != "auto":
        return int(max_epochs)
    low, high = _EPOCHS
    return min(max(low, math.ceil(_OPTIMIZER_STEPS / math.ceil(n_windows / batch_size))), high)


def training_batches(
    setup: Setup,
    series: EncodedSeries,
    weights: np.ndarray,
    origins: np.ndarray,
    rng: np.random.Generator,
) -> Batches:
    """Return shuffled batches of windows.

    Parameters
    ----------
    setup : Setup
        Form of the windows, and how many make a batch.
    series : EncodedSeries
        The rows.
    weights : ndarray of shape (n_timepoints,), float64
        Weight of each row as a target.
    origins : ndarray of shape (n_windows,), int
        Number of rows before each origin, in order.
    rng : numpy.random.Generator
        Draws the order of the windows.

    Raises
    ------
    ValueError
        If no target in them has a weight.
    """
    windows = setup.windows
    rows = slice(origins[0], origins[-1] + windows.horizon)
    if not weights[rows][series.observed[rows].any(1).numpy()].any():
        raise ValueError(
            "The rows to train on must have an observed target with a weight above zero, got none. "
            "Pass other rows or weights."
        )
    dataset = windows.around(series, origins, row_weight=weights)
    return Batches(dataset, windows.shuffled(len(origins), setup.batch_size, rng))


def validation_batches(
    windows: Windows, series: EncodedSeries, weights: np.ndarray, n_train: int
) -> Batches | None:
    """Return batches of the windows whose horizons begin after the training rows, if any."""
    if n_train == len(series):
        return None
    origins = np.arange(n_train, len(series))
    dataset = windows.around(series, origins, row_weight=weights)
    return Batches(dataset, windows.in_order(len(origins)))
