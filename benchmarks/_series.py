"""Series that newcomers begin with: short, real ones, and synthetic ones with seeds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels import datasets

# Folds of every case.
N_FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """A series, what follows it, and its season in rows or None."""

    train: pd.Series
    truth: np.ndarray
    period: int | None


@dataclass(frozen=True)
class Case:
    """Folds of one kind of series.

    Attributes
    ----------
    name : str
        What the series are.
    n_rows, horizon : int
        Rows to learn from, and to forecast.
    folds : callable
        Returns the folds.
    clean : str or None
        Case without the spike or the shift.
    """

    name: str
    n_rows: int
    horizon: int
    folds: Callable[[], Iterator[Fold]]
    clean: str | None = None


# ---------------------------------------------------------------------- synthetic series


def months(n_rows: int, seed: int) -> pd.Series:
    """Return months with trend, season and noise."""
    rng, t = np.random.default_rng(seed), np.arange(n_rows)
    season = 10 * np.sin(2 * np.pi * t / 12 + rng.uniform(0, 6))
    return _dated(100 + 0.5 * t + season + rng.normal(size=n_rows), "MS")


def days(n_rows: int, seed: int) -> pd.Series:
    """Return days with a week and noise."""
    rng, t = np.random.default_rng(seed), np.arange(n_rows)
    return _dated(20 + 5 * np.sin(2 * np.pi * t / 7) + rng.normal(size=n_rows), "D")


def days_with_trend(n_rows: int, seed: int) -> pd.Series:
    """Return days with trend, a week of any shape and noise."""
    rng, t = np.random.default_rng(seed), np.arange(n_rows)
    week = rng.normal(size=7)
    week = 3 * (week - week.mean()) / week.std()
    return _dated(50 + 0.05 * t + week[t % 7] + rng.normal(size=n_rows), "D")


def hours(n_rows: int, seed: int) -> pd.Series:
    """Return hours with a day, a week and noise."""
    rng, t = np.random.default_rng(seed), np.arange(n_rows)
    day, week = 10 * np.sin(2 * np.pi * t / 24), 5 * np.sin(2 * np.pi * t / 168)
    return _dated(100 + day + week + rng.normal(size=n_rows), "h")


def random_walk(n_rows: int, seed: int) -> pd.Series:
    """Return days of a random walk."""
    return _dated(100 + np.random.default_rng(seed).normal(size=n_rows).cumsum(), "D")


def _dated(values: np.ndarray, freq: str, start: str = "2000-01-01") -> pd.Series:
    return pd.Series(values, pd.date_range(start, periods=len(values), freq=freq), dtype=float)


def _synthetic(
    name: str,
    make: Callable[[int, int], pd.Series],
    n_rows: int,
    horizon: int,
    period: int | None,
) -> Case:
    def folds() -> Iterator[Fold]:
        for seed in range(N_FOLDS):
            series = make(n_rows + horizon, seed)
            yield Fold(series.iloc[:n_rows], series.iloc[n_rows:].to_numpy(), period)

    return Case(name, n_rows, horizon, folds)


# Rows before the end at which a reading is wrong, and at which the level shifts.
_SPIKES, _SHIFTS = (200, 350, 20, 7, 100), (200, 300, 20, 10, 100)


def _with_spike(clean: Case) -> Case:
    """Return the case with one reading 100 times too large in each series."""

    def folds() -> Iterator[Fold]:
        for fold, n_back in zip(clean.folds(), _SPIKES, strict=True):
            train = fold.train.copy()
            train.iloc[-n_back] *= 100
            yield Fold(train, fold.truth, fold.period)

    return Case(f"{clean.name}, one x100", clean.n_rows, clean.horizon, folds, clean.name)


def _with_shift(clean: Case) -> Case:
    """Return the case with 1,000 more from some row on."""

    def folds() -> Iterator[Fold]:
        for fold, n_back in zip(clean.folds(), _SHIFTS, strict=True):
            train = fold.train.copy()
            train.iloc[-n_back:] += 1000
            yield Fold(train, fold.truth + 1000, fold.period)

    return Case(f"{clean.name}, shift of 1000", clean.n_rows, clean.horizon, folds, clean.name)


# ---------------------------------------------------------------------- real series


def air_passengers() -> pd.Series:
    """Return the passengers of airlines by month, 1949 to 1960."""
    from statsforecast.utils import AirPassengers

    return _dated(AirPassengers, "MS", "1949-01-01")


def co2_by_month() -> pd.Series:
    """Return carbon dioxide at Mauna Loa, the mean of each month."""
    return co2_by_week().resample("MS").mean().interpolate()


def co2_by_week() -> pd.Series:
    """Return carbon dioxide at Mauna Loa, with weeks without a measurement."""
    return datasets.co2.load_pandas().data["co2"]


def el_nino() -> pd.Series:
    """Return temperatures of the sea by month."""
    table = datasets.elnino.load_pandas().data.drop(columns="YEAR")
    return _dated(table.to_numpy(float).ravel(), "MS", "1950-01-01")


def by_year(name: str, column: str, start: str) -> pd.Series:
    """Return a series by year of statsmodels."""
    values = getattr(datasets, name).load_pandas().data[column]
    return pd.Series(values.to_numpy(float), pd.period_range(start, periods=len(values), freq="Y"))


def macro(column: str) -> pd.Series:
    """Return a series of the economy by quarter, seasonally adjusted."""
    values = datasets.macrodata.load_pandas().data[column]
    return _dated(values.to_numpy(float), "QS", "1959-01-01")


def _real(
    name: str,
    load: Callable[[], pd.Series],
    n_rows: int,
    horizon: int,
    period: int | None,
    step: int,
) -> Case:
    """Return a case whose folds end `step` rows apart, the last one at the end of the series."""

    def folds() -> Iterator[Fold]:
        series = load()
        for fold in range(N_FOLDS):
            end = len(series) - horizon - fold * step
            train, truth = series.iloc[max(0, end - n_rows) : end], series.iloc[end : end + horizon]
            yield Fold(train, truth.to_numpy(), period)

    return Case(name, n_rows, horizon, folds)


# ---------------------------------------------------------------------- all


def all_cases() -> list[Case]:
    """Return every case."""
    clean = _synthetic("days, week", days, 400, 14, 7)
    economy = ("realgdp", "unemp", "infl", "cpi", "realinv")
    return [
        _real("AirPassengers", air_passengers, 132, 12, 12, 3),
        _real("CO2 by month", co2_by_month, 120, 24, 12, 37),
        *(_synthetic("months, trend and season", months, n, 12, 12) for n in (54, 58, 60, 72)),
        *(_synthetic("days, week", days, n, 14, 7) for n in (60, 100, 150)),
        clean,
        _with_spike(clean),
        _with_shift(clean),
        _synthetic("days, trend and week", days_with_trend, 702, 28, 7),
        _synthetic("hours, two seasons", hours, 2112, 48, 24),
        _synthetic("random walk", random_walk, 80, 14, None),
        _real("CO2 by week", co2_by_week, 1500, 52, 52, 40),
        _real("sunspots", lambda: by_year("sunspots", "SUNACTIVITY", "1700"), 250, 11, None, 9),
        _real("El Nino", el_nino, 600, 12, 12, 23),
        _real("Nile", lambda: by_year("nile", "volume", "1871"), 80, 10, None, 2),
        *(_real(f"macrodata {c}", lambda c=c: macro(c), 160, 8, None, 8) for c in economy),
    ]
