"""What a run of training of the forecaster is made of: pure functions of rows and parameters."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sks4.data import Columns, EncodedSeries, Timeline, TimeRows, find_period, periods_of_step
from sks4.estimators._auto import MAX_TOKENS
from sks4.estimators.forecasting._combined_forecast import choose_combined
from sks4.estimators.forecasting._predictor import WindowPredictor, Windows
from sks4.exceptions import ValidationSplitWarning
from sks4.training import Batches, Quantile, regression_loss

# Longer contexts gained nothing on hourly data with daily and weekly cycles.
_LONGEST_CONTEXT = 512

# A context is half of the series, or so many seasons if that is more ...
_SEASONS_IN_CONTEXT = 3
# ... or rows, if there are so many.
_SHORTEST_CONTEXT = 20

# A patch is a season of these lengths. Otherwise as many rows as in the second, or fewer so that a
# context has ten patches.
_PATCH_SIZES = (4, 32)
_USUAL_PATCH_SIZE = 24
_MIN_PATCHES = 10

# With fewer windows, those whose contexts begin before the first row are trained on, too.
FEW_WINDOWS = 1000

# Validation rows beyond the horizon, so that every step has several origins.
MIN_ORIGINS = 10

# More validation origins than these say little more, since their horizons overlap.
_MAX_ORIGINS = 500

# Windows overlap, so few passes are enough where there are many of them.
OPTIMIZER_STEPS = 350
EPOCHS = (3, 100)
_BATCH_SIZES = (8, 64)
_MIN_BATCHES = 10

# Windows overlap, so the gain of the network over the base is judged by blocks of rows as long as
# the horizon; fewer blocks than these tell nothing.
MIN_BLOCKS = 3
# Forecasts of a year say little about the next, so that the network alone does best where there is
# much to learn from: with at most so many windows to train on, held-out windows decide alone; with
# twice as many, they do not; the least share of the network rises in between.
_WINDOWS_TO_TRUST = 1000

# Error of a perfect forecast, in standard deviations of the series.
_ROUNDING = 1e-6

# The shares of the correction to choose from.
SHARES = np.linspace(0, 1, 11)


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
    patch_size : int
        Rows that make one step of the state spaces.
    periods : tuple of int or None
        Seasons that a base forecast may have; None: the network makes its forecasts alone.
    period : int
        Rows of the season that the network's first forecast repeats; 1: the last value.
    gap_period : int
        Rows of the season that the network reads in a gap before the origin; 1: the last value.
    n_static, n_known : int
        Numbers of static features, and of series that have an embedding.
    """

    windows: Windows
    batch_size: int
    dt_range: tuple[float, float]
    patch_size: int
    periods: tuple[int, ...] | None
    period: int = 1
    gap_period: int = 1
    n_static: int = 0
    n_known: int = 0

    def attributes(self) -> dict[str, Any]:
        """Return it as fitted attributes of an estimator."""
        return {
            "_setup_": self,
            "batch_size_": self.batch_size,
            "dt_range_": self.dt_range,
            "patch_size_": self.patch_size,
        }


def build_loss(loss: str, levels: np.ndarray | None) -> torch.nn.Module:
    """Return the loss of that name, of quantiles if there are levels."""
    return regression_loss(loss) if levels is None else Quantile(levels.tolist())


# ------------------------------------------------------------------ rows


def n_rows_to_train_on(
    values: np.ndarray,
    horizon: int,
    context_length: int | str,
    validation_fraction: float,
    early_stopping: bool | str,
    *,
    min_origins: int = MIN_ORIGINS,
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
        Share of the rows to set aside, `horizon` and `min_origins` rows at least.
    early_stopping : bool or "auto"
        Whether to set rows aside; "auto": if there are enough.
    min_origins : int, default=10
        Rows to set aside beyond the horizon.

    Warns
    -----
    ValidationSplitWarning
        If rows should be set aside and there are too few.
    """
    n_rows = len(values)
    if not early_stopping:
        return n_rows
    is_wanted = early_stopping != "auto"
    n_valid = max(math.ceil(validation_fraction * n_rows), horizon + min_origins)
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


def shown_period(rows: Columns) -> int | None:
    """Return the season that rows with a weight show, in rows; None if they show none."""
    return find_period(np.where(rows.weights[:, np.newaxis] > 0, rows.values, np.nan))


def likely_periods(shown: int | None, timeline: Timeline) -> tuple[int, ...]:
    """Return seasons that rows may have, in rows: those of their steps, and what they show."""
    usual = periods_of_step(timeline.offset)
    return tuple(usual) if shown is None or shown in usual else (*usual, shown)


def resolve_context_length(
    context_length: int | str, n_rows: int, longest: int, period: int
) -> int:
    """Return the context given; for "auto", half of the rows, or three seasons, at most 512.

    Parameters
    ----------
    context_length : int or "auto"
        As given to the estimator.
    n_rows : int
        Rows that forecasts follow.
    longest : int
        Longest context for which there are windows to train on and, after them, to validate on.
    period : int
        Rows of a season.
    """
    if context_length != "auto":
        return int(context_length)
    wanted = max(n_rows // 2, _SEASONS_IN_CONTEXT * period, _SHORTEST_CONTEXT)
    return max(1, min(wanted, _LONGEST_CONTEXT, longest))


def resolve_patch_size(patch_size: int | str, context_length: int, period: int) -> int:
    """Return the patch given; for "auto", a season, or else 24 rows or a tenth of the context."""
    if patch_size != "auto":
        return int(patch_size)
    low, high = _PATCH_SIZES
    if low <= period <= high and _SEASONS_IN_CONTEXT * period <= context_length:
        return period
    return max(1, min(_USUAL_PATCH_SIZE, context_length // _MIN_PATCHES))


def in_whole_patches(context_length: int, patch_size: int) -> int:
    """Return the longest context of whole patches, or a shorter one as it is."""
    return context_length // patch_size * patch_size or context_length


def training_origins(
    windows: Windows, columns: Columns, n_train: int, *, may_be_short: bool = False
) -> np.ndarray:
    """Return the origins of the windows that lie in the first rows.

    Where they are few, contexts `may_be_short`: half of one before the first origin is enough.

    Raises
    ------
    ValueError
        If there are none, or no target in them has a weight.
    """
    context_length, horizon = windows.context_length, windows.horizon
    first = context_length
    if may_be_short and n_train - context_length - horizon < FEW_WINDOWS:
        first = -(-context_length // 2)
    if n_train < first + horizon:
        n_valid = len(columns) - n_train
        aside = f" ({n_valid} more for validation)" if n_valid else ""
        raise ValueError(
            f"The series must have context_length + horizon = {context_length} + {horizon} rows at "
            f"least to train on, got n_samples={n_train}{aside}. Pass more rows, or smaller "
            "context_length and horizon."
        )
    origins = np.arange(first, n_train - horizon + 1)
    if not has_target(columns, origins, horizon):
        raise ValueError(
            "The rows to train on must have an observed target with a weight above zero, got none "
            f"after the first {first}. Pass other rows or weights."
        )
    return origins


def latest_windows(windows: Windows, seen: TimeRows, n_new: int) -> tuple[Columns, np.ndarray]:
    """Return the last rows, and the origins among them of windows that end in the new ones.

    There are none if the new rows are too few, or if no target in the windows has a weight.
    """
    first = max(windows.context_length, len(seen) - n_new + 1 - windows.horizon)
    columns = seen.latest(len(seen) - first + windows.context_length)
    origins = np.arange(first, len(seen) + 1 - windows.horizon) - (len(seen) - len(columns))
    return columns, origins if has_target(columns, origins, windows.horizon) else origins[:0]


def has_target(columns: Columns, origins: np.ndarray, horizon: int) -> bool:
    """Return whether a target of the windows at consecutive origins counts."""
    if len(origins) == 0:
        return False
    rows = columns[origins[0] : origins[-1] + horizon]
    return bool((~np.isnan(rows.values) & (rows.weights > 0)[:, np.newaxis]).any())


def calibration_origins(n_train: int, n_rows: int) -> np.ndarray:
    """Return the origins whose errors calibrate intervals, evenly spread over the last rows."""
    n_origins = min(_MAX_ORIGINS, n_rows - n_train)
    return np.linspace(n_train, n_rows - 1, n_origins).round().astype(int)


# ------------------------------------------------------------------ batches


def resolve_batch_size(
    batch_size: int | str, n_windows: int, n_steps: int, n_series: int = 1
) -> int:
    """Return the batch size given; for "auto", 64, twice as many from several series.

    Fewer for ten batches or to fit in memory.
    """
    if batch_size != "auto":
        return int(batch_size)
    low, high = _BATCH_SIZES
    high *= min(n_series, 2)
    return max(1, min(high, max(low, n_windows // _MIN_BATCHES), MAX_TOKENS // n_steps))


def resolve_n_epochs(
    max_epochs: int | str, n_windows: int, batch_size: int, *, counts: bool = True
) -> int:
    """Return the number of epochs given; for "auto", enough for some 350 optimizer steps.

    None for a network that `counts` for nothing in the forecasts.
    """
    if max_epochs == "auto" and not counts:
        return 0
    if max_epochs != "auto":
        return int(max_epochs)
    low, high = EPOCHS
    return min(max(low, math.ceil(OPTIMIZER_STEPS / math.ceil(n_windows / batch_size))), high)


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
    """
    windows = setup.windows
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


# ------------------------------------------------------------------ the base forecast


def least_share(n_windows: int) -> float:
    """Return the least share of the network, from 0 to 1, for a number of training windows."""
    return min(max(n_windows / _WINDOWS_TO_TRUST - 1.0, 0.0), 1.0)


def may_count(
    setup: Setup, n_train: Sequence[int], n_rows: Sequence[int], *, is_trusted: bool
) -> bool:
    """Return whether the network may have a share in the forecasts, which validation rows decide.

    Parameters
    ----------
    setup : Setup
        Form of the windows.
    n_train, n_rows : sequence of int
        Rows to train on, and all rows, of each series.
    is_trusted : bool
        Whether the network forecasts alone if there are no rows of validation, or the base.
    """
    if setup.periods is None:
        return True
    n_valid = np.subtract(n_rows, n_train)
    if not n_valid.any():
        return is_trusted
    windows = setup.windows
    of_one = n_train[0] - windows.context_length - windows.horizon + 1
    if len(n_train) == 1 and least_share(of_one) > 0:
        return True
    n_blocks = np.maximum(n_valid // windows.horizon, n_valid > 0)
    return bool(n_blocks.sum() >= MIN_BLOCKS)


def scaled_targets(windows: Windows, columns: Columns) -> np.ndarray:
    """Return the targets that a base forecast reads, (n_timepoints, n_targets), NaN if missing."""
    series = windows.encode(columns)
    return torch.where(series.observed, series.values, torch.nan).double().numpy()


def correct_base(
    predictor: WindowPredictor,
    periods: tuple[int, ...],
    columns: Columns,
    n_train: int,
    n_seen: int,
    *,
    is_trusted: bool,
) -> WindowPredictor:
    """Return a predictor that corrects a base forecast by as much as held-out windows confirm.

    Parameters
    ----------
    predictor : WindowPredictor
        The network alone.
    periods : tuple of int
        Seasons that the base may have.
    columns : Columns
        All rows, those of validation last.
    n_train, n_seen : int
        How many of them the network was trained on, and forecasts follow.
    is_trusted : bool
        Whether the network forecasts alone if there are no rows of validation, or the base.

    Returns
    -------
    WindowPredictor
        The network, the base chosen from the rows seen, and the share of the correction.
    """
    windows = predictor.windows
    known = scaled_targets(windows, columns)
    sizes = windows.horizon, windows.context_length
    base = choose_combined([known[:n_seen]], periods, *sizes)
    if n_train == len(columns):
        return replace(predictor, base=base, share=float(is_trusted))
    before = replace(predictor, base=choose_combined([known[:n_train]], periods, *sizes), share=0.0)
    origins = calibration_origins(n_train, len(columns))
    corrected, truths = predictor.backtest(columns, origins, windows.horizon)
    uncorrected, _ = before.backtest(columns, origins, windows.horizon)
    scaler = windows.encoder.target_scaler_
    assert scaler is not None  # there is a base only of scaled targets
    unit = scaler.scale_
    forecasts = uncorrected[..., 0] / unit, corrected[..., 0] / unit
    share = share_of_one(windows, *forecasts, truths / unit, origins, n_train)
    return replace(predictor, base=base, share=share)


def share_of_one(
    windows: Windows,
    base: np.ndarray,
    network: np.ndarray,
    truths: np.ndarray,
    origins: np.ndarray,
    n_train: int,
) -> float:
    """Return the share of the network in one series, `n_train` rows of which it has seen."""
    least = least_share(n_train - windows.context_length - windows.horizon + 1)
    return max(best_share(base, network, truths, origins - n_train), least)


def best_share(
    base: np.ndarray, network: np.ndarray, truths: np.ndarray, origins: np.ndarray
) -> float:
    """Return the share of the way from base to network that held-out rows confirm.

    It is the share with the smallest error, times ``max(0, 1 - (standard error / gain)**2)``:
    nothing of the network is taken unless the error falls by more than its standard error, over
    blocks of rows that are as long as the horizon. A block counts once, whatever number of windows
    forecasts it.

    Parameters
    ----------
    base, network, truths : ndarray of shape (n_origins, horizon, n_targets), float64
        Forecasts, and truths that are NaN where missing, scaled.
    origins : ndarray of shape (n_origins,), int
        Number of held-out rows before each forecast, rising.

    Returns
    -------
    float
        From 0 to 1; 0 with fewer than three blocks. Errors of each target are in the unit of the
        errors of its base.

    References
    ----------
    Efron and Morris 1973 (Stein's Estimation Rule and Its Competitors, JASA 68), the factor.
    """
    errors = _errors_by_block(truths - base, network - base, origins)
    if len(errors) < MIN_BLOCKS:
        return 0.0
    best = int(errors.mean(axis=0).argmin())
    gains = errors[:, 0] - errors[:, best]
    gain, variance = gains.mean(), gains.var(ddof=1) / len(gains)
    return float(SHARES[best] * max(0.0, 1 - variance / gain**2)) if gain > 0 else 0.0


def _errors_by_block(error: np.ndarray, change: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Return mean errors (n_blocks, n_shares) of blocks of held-out rows with a known truth.

    `error` is that of the base, and `change` the way to the network, (n_origins, horizon,
    n_targets).
    """
    horizon = error.shape[1]
    n_blocks = max((int(origins[-1]) + 1) // horizon, 1)
    rows = origins[:, np.newaxis, np.newaxis] + np.arange(horizon)[:, np.newaxis]
    blocks = np.broadcast_to(np.minimum(rows // horizon, n_blocks - 1), error.shape)
    is_known = ~np.isnan(error)
    unit = np.abs(error).sum(axis=(0, 1), where=is_known)
    unit = unit / np.maximum(is_known.sum(axis=(0, 1)), 1)
    unit = np.where(unit > _ROUNDING, unit, 1.0)
    counts = np.bincount(blocks[is_known], minlength=n_blocks)
    sums = [
        np.bincount(blocks[is_known], deviations[is_known], n_blocks)
        for deviations in (np.abs(error - share * change) / unit for share in SHARES)
    ]
    return np.stack(sums, axis=1)[counts > 0] / counts[counts > 0, np.newaxis]
