"""What a run of training over many series is made of: pure functions of rows and parameters."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sks4.data import Columns, DrawnBatchSampler, EncodedSeries, nan_median
from sks4.estimators.forecasting import _training as training
from sks4.estimators.forecasting._combined_forecast import CombinedForecast, choose_combined
from sks4.estimators.forecasting._intervals import Intervals
from sks4.estimators.forecasting._panel import OneSeries
from sks4.estimators.forecasting._predictor import WindowPredictor, Windows
from sks4.estimators.forecasting._training import SHARES
from sks4.training import Batches, S4Net

# Series that a base forecast is judged on, and in which seasons are looked for.
_MAX_SAMPLED = 32

# Optimizer steps grow with the root of the number of series, up to this factor: series share much
# of what there is to learn.
_MOST_STEPS = 8.5

# Epochs of a run, in which windows are drawn anew.
_N_EPOCHS = 10

# A context is so many seasons, or as many times eight rows: series learn from each other what none
# shows alone.
_SEASONS_IN_CONTEXT, _FEW_ROWS = 8, 8

# Windows that validate, and those of each series from which its share and its errors are judged.
_MAX_VALIDATION, _MAX_ORIGINS, _FEWEST_ORIGINS = 2000, 500, 4

# A series counts as much as all others together, in its share and its errors, with so many windows
# that do not overlap.
_SHRINKAGE = 4.0

_ROUNDING = 1e-6


def sampled(n_series: int) -> np.ndarray:
    """Return the numbers of a few series, evenly spread."""
    return np.unique(np.linspace(0, n_series - 1, min(n_series, _MAX_SAMPLED)).round().astype(int))


def likely_periods(
    series: Sequence[OneSeries], blocks: Sequence[Columns]
) -> tuple[tuple[int, ...], int | None]:
    """Return seasons that the series may have: those of their steps, and what half of them show.

    Also the one that most of these series show, None if they show none.
    """
    few = sampled(len(series)).tolist()
    shown = [training.shown_period(blocks[i]) for i in few]
    likely = [
        training.likely_periods(period, series[i].rows.timeline)
        for i, period in zip(few, shown, strict=True)
    ]
    counts = Counter(period for periods in likely for period in periods)
    (most_shown, _), *_ = Counter(shown).most_common()
    return tuple(period for period, n in counts.items() if n >= len(few) / 2), most_shown


def resolve_context_length(
    context_length: int | str, lengths: Sequence[int], longest: int, period: int
) -> int:
    """Return the context given; for "auto" that of one series, or less for several of them."""
    n_rows = int(np.median(lengths))
    of_one = training.resolve_context_length(context_length, n_rows, longest, period)
    if context_length != "auto" or len(lengths) == 1:
        return of_one
    return min(of_one, max(_SEASONS_IN_CONTEXT * max(period, _FEW_ROWS), 1))


def n_optimizer_steps(n_series: int) -> int:
    """Return the number of optimizer steps for some series."""
    return math.ceil(training.OPTIMIZER_STEPS * min(math.sqrt(n_series), _MOST_STEPS))


def n_drawn(n_windows: int, n_series: int, batch_size: int) -> int:
    """Return the number of windows of an epoch: all of one series, a part of many."""
    if n_series == 1:
        return n_windows
    return min(n_windows, n_optimizer_steps(n_series) * batch_size // _N_EPOCHS)


def resolve_n_epochs(
    max_epochs: int | str, n_windows: int, n_series: int, batch_size: int, *, counts: bool = True
) -> int:
    """Return the number of epochs given; for "auto", enough for the steps of so many series.

    None for a network that `counts` for nothing in the forecasts.
    """
    if max_epochs != "auto" or n_series == 1 or not counts:
        return training.resolve_n_epochs(max_epochs, n_windows, batch_size, counts=counts)
    n_batches = math.ceil(n_drawn(n_windows, n_series, batch_size) / batch_size)
    low, high = training.EPOCHS
    return min(max(low, round(n_optimizer_steps(n_series) / n_batches)), high)


def unknown(one: OneSeries) -> OneSeries:
    """Return a series without what is known of it alone."""
    static = None if one.static is None else np.zeros_like(one.static)
    return replace(one, static=static, identity=None if one.identity is None else 0)


# ------------------------------------------------------------------ windows


def training_origins(
    windows: Windows,
    blocks: Sequence[Columns],
    n_train: Sequence[int],
    *,
    may_be_short: bool,
) -> list[np.ndarray]:
    """Return the origins of the windows that lie in the first rows of each series, perhaps none.

    Raises
    ------
    ValueError
        If there are none at all, or no target in them has a weight.
    """
    if len(blocks) == 1:
        return [
            training.training_origins(windows, blocks[0], n_train[0], may_be_short=may_be_short)
        ]
    context_length, horizon = windows.context_length, windows.horizon
    first = context_length
    n_full = sum(max(n - context_length - horizon, 0) for n in n_train)
    if may_be_short and n_full < training.FEW_WINDOWS:
        first = -(-context_length // 2)
    origins = []
    for rows, n_rows in zip(blocks, n_train, strict=True):
        begin = first
        if may_be_short and n_rows < first + horizon:  # the later half of a short series
            begin = max(1, (n_rows - horizon) // 2)
        some = np.arange(begin, n_rows - horizon + 1)
        origins.append(some if training.has_target(rows, some, horizon) else some[:0])
    if not any(map(len, origins)):
        raise ValueError(
            f"A series must have context_length + horizon = {context_length} + {horizon} rows with "
            f"an observed target of weight above zero to train on, got {max(n_train)} rows in the "
            "longest. Pass more rows, or smaller context_length and horizon."
        )
    return origins


def starts_of(blocks: Sequence[Columns]) -> np.ndarray:
    """Return the first row of each series, one after the other."""
    return np.concatenate([[0], np.cumsum([len(rows) for rows in blocks])[:-1]]).astype(int)


def joined_origins(starts: np.ndarray, origins: Sequence[np.ndarray]) -> np.ndarray:
    """Return origins within each series as origins in all of them, one after the other."""
    parts = [start + some for start, some in zip(starts, origins, strict=True)]
    return np.concatenate(parts).astype(int)


# ------------------------------------------------------------------ base, shares, intervals


def base_of(
    series: Sequence[OneSeries],
    blocks: Sequence[Columns],
    n_rows: Sequence[int],
    periods: tuple[int, ...],
    windows: Windows,
) -> CombinedForecast:
    """Return the base forecast with the smallest error in the first rows of a few series."""
    known = []
    for i in sampled(len(series)).tolist():
        encoded = series[i].encode(blocks[i][: n_rows[i]], windows.dtype)
        values = torch.where(encoded.observed, encoded.values, torch.nan)
        known.append(values.double().numpy())
    return choose_combined(known, periods, windows.horizon, windows.context_length)


def calibration_origins(n_train: int, n_rows: int, horizon: int, n_series: int) -> np.ndarray:
    """Return the origins in a series, evenly spread over its last rows, from which errors count."""
    if n_series == 1:
        return training.calibration_origins(n_train, n_rows)
    if n_rows == n_train:
        return np.empty(0, dtype=int)
    last = max(n_train, n_rows - -(-horizon // 2))  # so that half of the horizon is known
    n_origins = min(max(_MAX_ORIGINS // n_series, _FEWEST_ORIGINS), last - n_train + 1)
    return np.linspace(n_train, last, n_origins).round().astype(int)


def held_out_truths(joined: EncodedSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Return scaled truths (n_origins, horizon, n_targets), NaN where there are none."""
    after = torch.from_numpy(origins)
    stops = joined.bounds()[1][joined.series_of(after)][:, None]
    rows = after[:, None] + torch.arange(horizon)
    inside = rows.minimum(stops - 1)
    is_known = joined.observed[inside] & (rows == inside)[..., None]
    return torch.where(is_known, joined.values[inside], torch.nan).double().numpy()


def choose_shares(
    base: np.ndarray,
    network: np.ndarray,
    truths: np.ndarray,
    number: np.ndarray,
    after: np.ndarray,
    n_series: int,
) -> tuple[np.ndarray, float]:
    """Return how far to go from base to network in each series, and in a new one.

    Each share is the one with the smallest error, that of the series and that of all of them
    together, times ``max(0, 1 - (standard error / gain)**2)``, as in `training.best_share`: the
    gain is that of all series, and its standard error that over their blocks of held-out rows.

    Parameters
    ----------
    base, network, truths : ndarray of shape (n_origins, horizon, n_targets)
        Scaled forecasts, and truths that are NaN where missing.
    number : ndarray of shape (n_origins,), int
        The series of each origin.
    after : ndarray of shape (n_origins,), int
        Number of held-out rows of the series before each origin.
    n_series : int
        Number of series.

    Returns
    -------
    shares : ndarray of shape (n_series,)
        Shares of the network, from 0 to 1.
    common : float
        The share of a new series.
    """
    errors, series = _errors_by_block(truths - base, network - base, number, after, n_series)
    if len(errors) < training.MIN_BLOCKS:
        return np.zeros(n_series), 0.0
    counts = np.bincount(series, minlength=n_series)
    sums = np.stack([np.bincount(series, column, n_series) for column in errors.T], axis=1)
    own = sums / np.maximum(counts, 1)[:, np.newaxis]  # (n_series, n_shares)
    together = own[counts > 0].mean(axis=0)
    best = int(together.argmin())
    gains = errors[:, 0] - errors[:, best]
    gain, variance = gains.mean(), gains.var(ddof=1) / len(gains)
    confirmed = max(0.0, 1 - variance / gain**2) if gain > 0 else 0.0
    weight = (counts / (counts + _SHRINKAGE))[:, np.newaxis]
    chosen = (weight * own + (1 - weight) * together).argmin(axis=1)
    return SHARES[chosen] * confirmed, float(SHARES[best] * confirmed)


def _errors_by_block(
    error: np.ndarray, change: np.ndarray, number: np.ndarray, after: np.ndarray, n_series: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean errors (n_blocks, n_shares) of blocks of a horizon, and the series of each block.

    `error` is that of the base, and `change` the way to the network, (n_origins, horizon,
    n_targets). Errors are in the unit of those of the base in the same series.
    """
    horizon = error.shape[1]
    n_blocks = np.ones(n_series, dtype=int)
    np.maximum.at(n_blocks, number, (after + 1) // horizon)
    rows = after[:, np.newaxis] + np.arange(horizon)
    first = np.cumsum(n_blocks) - n_blocks
    block = first[number][:, np.newaxis] + np.minimum(rows // horizon, n_blocks[number, None] - 1)
    block = np.broadcast_to(block[..., np.newaxis], error.shape)
    is_known = ~np.isnan(error)
    size = np.where(is_known, np.abs(error), 0.0).sum(axis=1)  # (n_origins, n_targets)
    sizes, counts = (
        np.stack([np.bincount(number, column, n_series) for column in columns.T], axis=1)
        for columns in (size, is_known.sum(axis=1))
    )
    unit = sizes / np.maximum(counts, 1)
    unit = np.where(unit > _ROUNDING, unit, 1.0)[number][:, np.newaxis]
    total = int(n_blocks.sum())
    known_in = np.bincount(block[is_known], minlength=total)
    sums = [
        np.bincount(block[is_known], (np.abs(error - share * change) / unit)[is_known], total)
        for share in SHARES
    ]
    has_some = known_in > 0
    errors = np.stack(sums, axis=1)[has_some] / known_in[has_some, np.newaxis]
    return errors, np.repeat(np.arange(n_series), n_blocks)[has_some]


def sizes_of_errors(errors: np.ndarray, number: np.ndarray, n_series: int) -> np.ndarray:
    """Return the usual error of each series and target, (n_series + 1, n_targets).

    Each is drawn to the median of all, which is the last one, of a new series.
    """
    is_known = ~np.isnan(errors)
    counts, sums = (
        np.stack([np.bincount(number, column, n_series) for column in columns.sum(axis=1).T])
        for columns in (is_known, np.where(is_known, np.abs(errors), 0.0))
    )
    own = sums / np.maximum(counts, 1)  # (n_targets, n_series)
    usual = nan_median(np.where(counts > 0, own, np.nan))[:, np.newaxis]
    usual = np.where(usual > _ROUNDING, usual, 1.0)
    n_apart = counts / errors.shape[1]
    shrunk = (n_apart * own + _SHRINKAGE * usual) / (n_apart + _SHRINKAGE)
    return np.concatenate([shrunk, usual], axis=1).T


@dataclass(frozen=True, eq=False)
class Fitted:
    """What forecasts many series.

    Attributes
    ----------
    known : dict of OneSeries
        The series seen, by name.
    usual : OneSeries
        A series whose form, share and errors are those of a new one.
    predictor : WindowPredictor
        The net and the base, in the scale of each series.
    intervals : Intervals
        Errors of all series, each in the scale of the series over its usual error.
    """

    known: dict[Hashable, OneSeries]
    usual: OneSeries
    predictor: WindowPredictor
    intervals: Intervals


@dataclass(frozen=True, eq=False)
class Judged:
    """How far series go from the base to the network, and the errors that remain.

    Attributes
    ----------
    predictor : WindowPredictor
        The network, the base, and the share of a new series.
    shares : ndarray of shape (n_series,)
        Share of the network's correction in each series.
    errors : ndarray of shape (n_origins, horizon, n_targets) or None
        Scaled errors on rows that were set aside, NaN where there is no truth; None without any.
    number : ndarray of shape (n_origins,), int
        The series of each origin.
    """

    predictor: WindowPredictor
    shares: np.ndarray
    errors: np.ndarray | None
    number: np.ndarray


def judge(
    predictor: WindowPredictor,
    periods: tuple[int, ...] | None,
    series: Sequence[OneSeries],
    blocks: Sequence[Columns],
    n_train: Sequence[int],
    joined: EncodedSeries,
    *,
    is_trusted: bool,
) -> Judged:
    """Correct a base forecast by as much as the rows that were set aside confirm.

    Parameters
    ----------
    predictor : WindowPredictor
        The network alone.
    periods : tuple of int or None
        Seasons that the base may have; None: there is no base.
    series, blocks : sequence
        The series, and all their rows.
    n_train : sequence of int
        How many of them the network was trained on.
    joined : EncodedSeries
        All rows, one series after the other.
    is_trusted : bool
        Whether the network forecasts alone if there are no rows to judge it by, or the base.
    """
    windows, n_series = predictor.windows, len(series)
    parts = [
        calibration_origins(n, len(rows), windows.horizon, n_series)
        for n, rows in zip(n_train, blocks, strict=True)
    ]
    origins = joined_origins(starts_of(blocks), parts)
    number = np.repeat(np.arange(n_series), [len(part) for part in parts])
    n_seen = [len(one.rows) for one in series]
    shares = np.ones(n_series)
    if periods is not None:
        base = base_of(series, blocks, n_seen, periods, windows)
        predictor = replace(predictor, base=base, share=float(is_trusted))
        shares = np.full(n_series, float(is_trusted))
    if len(origins) == 0:
        return Judged(predictor, shares, None, number)
    network = predictor.roll_out(joined, origins, windows.horizon, share=np.ones(len(origins)))
    truths = held_out_truths(joined, origins, windows.horizon)
    outputs = network
    if periods is not None:
        before = base_of(series, blocks, n_train, periods, windows)
        none = np.zeros(len(origins))
        uncorrected, of_base = (
            replace(predictor, base=some).roll_out(joined, origins, windows.horizon, share=none)
            for some in (before, base)
        )
        forecasts = uncorrected[..., 0], network[..., 0], truths
        if n_series == 1:  # one stretch of time may be like no other
            common = training.share_of_one(windows, *forecasts, origins, n_train[0])
            shares = np.array([common])
        else:
            after = np.concatenate([part - n for part, n in zip(parts, n_train, strict=True)])
            shares, common = choose_shares(*forecasts, number, after, n_series)
        predictor = replace(predictor, share=common)
        outputs = of_base + shares[number][:, None, None, None] * (network - of_base)
    return Judged(predictor, shares, truths - outputs[..., 0], number)


# ------------------------------------------------------------------ the run


@dataclass(frozen=True, eq=False)
class Plan:
    """A run of training over many series, in an order that depends on their rows alone.

    Attributes
    ----------
    setup : Setup
        Form of the windows and of the network.
    keys : list
        Names of the series.
    series : list of OneSeries
        The series, with their scale.
    blocks : list of Columns
        All rows of each series, those of validation last.
    n_train : list of int
        How many of them are trained on.
    joined : EncodedSeries
        All rows, one series after the other.
    weights : ndarray of shape (n_timepoints,)
        Weight of each row as a target.
    origins : ndarray of shape (n_windows,), int
        Origins of the windows to train on.
    """

    setup: training.Setup
    keys: list[Hashable]
    series: list[OneSeries]
    blocks: list[Columns]
    n_train: list[int]
    joined: EncodedSeries
    weights: np.ndarray
    origins: np.ndarray

    def may_count(self, *, is_trusted: bool) -> bool:
        """Return whether the network may have a share in the forecasts of any series."""
        n_rows = [len(rows) for rows in self.blocks]
        return training.may_count(self.setup, self.n_train, n_rows, is_trusted=is_trusted)

    def start(self, net: S4Net) -> Fitted:
        """Return what forecasts the series by the network alone, before it is judged."""
        windows = self.setup.windows
        intervals = Intervals.start(windows.levels, windows.horizon, windows.encoder.n_targets_)
        known = dict(zip(self.keys, self.series, strict=True))
        usual = unknown(self.series[-1])
        return Fitted(known, usual, WindowPredictor(net, windows), intervals)

    def training_batches(self, rng: np.random.Generator) -> Batches:
        """Return batches of windows: all of those of one series, or drawn from those of many."""
        setup, origins = self.setup, self.origins
        if len(self.series) == 1:
            return training.training_batches(setup, self.joined, self.weights, origins, rng)
        dataset = setup.windows.around(self.joined, origins, row_weight=self.weights)
        n_rows = n_drawn(len(origins), len(self.series), setup.batch_size)
        return Batches(dataset, DrawnBatchSampler(len(origins), n_rows, setup.batch_size, rng))

    def validation_batches(self) -> Batches | None:
        """Return batches of windows whose horizons begin after the training rows, if any."""
        windows = self.setup.windows
        rows = [np.arange(n, len(b)) for n, b in zip(self.n_train, self.blocks, strict=True)]
        origins = joined_origins(starts_of(self.blocks), rows)
        if len(origins) == 0:
            return None
        if len(self.series) > 1 and len(origins) > _MAX_VALIDATION:
            origins = origins[np.linspace(0, len(origins) - 1, _MAX_VALIDATION).astype(int)]
        dataset = windows.around(self.joined, origins, row_weight=self.weights)
        return Batches(dataset, windows.in_order(len(origins)))

    def judged(self, net: S4Net, *, is_trusted: bool) -> Fitted:
        """Return what forecasts the series, judged by the rows that were set aside."""
        setup, series = self.setup, self.series
        windows = setup.windows
        judged = judge(
            WindowPredictor(net, windows),
            setup.periods,
            series,
            self.blocks,
            self.n_train,
            self.joined,
            is_trusted=is_trusted,
        )
        n_targets = windows.encoder.n_targets_
        intervals = Intervals.start(windows.levels, windows.horizon, n_targets)
        units = np.ones((len(series) + 1, n_targets))
        if judged.errors is not None and windows.levels is None:
            units = sizes_of_errors(judged.errors, judged.number, len(series))
            scaled = judged.errors / units[judged.number][:, np.newaxis]
            intervals = intervals.calibrate(np.zeros((*scaled.shape, 1)), scaled)
        known = {
            key: replace(one, share=float(share), unit=unit)
            for key, one, share, unit in zip(
                self.keys, series, judged.shares, units[:-1], strict=True
            )
        }
        usual = replace(unknown(series[-1]), share=judged.predictor.share, unit=units[-1])
        return Fitted(known, usual, judged.predictor, intervals)
