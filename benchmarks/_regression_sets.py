"""Sequences with values to predict: sets of aeon, windows of series, and synthetic ones."""

from collections.abc import Callable

import numpy as np
from sklearn.model_selection import train_test_split

from ._common import Split

_TEST_SHARE = 0.3
_N_TRAIN, _N_TEST = 200, 200

Target = Callable[[np.ndarray], np.ndarray]

# ---------------------------------------------------------------------- sets that aeon ships


def of_aeon(name: str) -> Split:
    """Load a set of the archive of extrinsic regression (Tan et al. 2021, arXiv:2006.10996)."""
    from aeon import datasets

    load = getattr(datasets, f"load_{name}")
    (X_train, y_train), (X_test, y_test) = (load(split=part) for part in ("train", "test"))
    return Split(list(X_train), y_train, list(X_test), y_test)


# ---------------------------------------------------------------------- windows of a series


def windows(values: np.ndarray, length: int, ahead: int, target: Target) -> Split:
    """Cut a series into windows and what follows each of them.

    The windows that are tested come after those of the training, and have no value in common with
    them or with their targets.

    Parameters
    ----------
    values : ndarray of shape (n_timepoints, n_channels)
        The series.
    length, ahead : int
        Rows of a window, and rows after it that its target is about.
    target : callable
        Returns what is to be predicted from the rows after a window, ``(ahead, n_channels)``: a
        number, or ``(n_targets,)``.
    """
    starts = np.arange(len(values) - length - ahead + 1)
    X = [values[start : start + length].T for start in starts]
    y = np.array([target(values[start + length : start + length + ahead]) for start in starts])
    first = round(len(values) * (1 - _TEST_SHARE))  # row of the series, the first to be tested
    train, test = starts[starts + length + ahead <= first], starts[starts >= first]
    return Split([X[i] for i in train], y[train], [X[i] for i in test], y[test])


def last(rows: np.ndarray) -> np.ndarray:
    """Return the last value of the first channel."""
    return rows[-1, 0]


def last_of_all(rows: np.ndarray) -> np.ndarray:
    """Return the last value of each channel."""
    return rows[-1]


def mean_and_range(rows: np.ndarray) -> np.ndarray:
    """Return mean and range of the first channel."""
    return np.array([rows[:, 0].mean(), np.ptp(rows[:, 0])])


def largest(rows: np.ndarray) -> np.ndarray:
    """Return the largest value of the first channel."""
    return rows[:, 0].max()


def range_of(rows: np.ndarray) -> np.ndarray:
    """Return the range of the first channel."""
    return np.ptp(rows[:, 0])


def table(name: str, columns: list[str]) -> np.ndarray:
    """Return columns of a table of statsmodels, (n_rows, n_columns)."""
    from statsmodels import datasets

    data = getattr(datasets, name).load_pandas().data
    return data[columns].interpolate().to_numpy(float)


def el_nino() -> np.ndarray:
    """Return temperatures of the sea by month, (n_months, 1)."""
    from statsmodels import datasets

    return datasets.elnino.load_pandas().data.iloc[:, 1:].to_numpy(float).reshape(-1, 1)


# ---------------------------------------------------------------------- synthetic sequences


def frequency(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return oscillations of any phase and size in noise, and their frequencies."""
    y = rng.uniform(0.02, 0.2, n)
    phase, size = rng.uniform(0, 2 * np.pi, (n, 1)), rng.uniform(0.5, 2, (n, 1))
    X = size * np.sin(2 * np.pi * y[:, None] * np.arange(150) + phase)
    return (X + rng.normal(size=X.shape) * 0.5)[:, None], y


def delay(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two noisy channels, the second one late, and by how many steps."""
    y = rng.uniform(0, 20, n)
    period, phase = rng.uniform(30, 60, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    t = np.arange(150)
    both = [np.sin(2 * np.pi * (t - late) / period + phase) for late in (0, y[:, None])]
    X = np.stack(both, axis=1)
    return X + rng.normal(size=X.shape) * 0.3, y


def damping(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy responses to a blow at a random time, and their frequency and decay."""
    rate, decay = rng.uniform(0.05, 0.2, (n, 1)), rng.uniform(0.02, 0.1, (n, 1))
    since = np.arange(200) - rng.integers(0, 80, (n, 1))
    ringing = np.exp(-decay * since) * np.sin(2 * np.pi * rate * since)
    X = np.where(since >= 0, ringing, 0) + rng.normal(size=since.shape) * 0.1
    return X[:, None], np.hstack([rate, decay])


def slope(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random walks with a drift, and what they are at the end of it without noise."""
    y = rng.normal(size=n)
    level = rng.normal(size=(n, 1)) * 2
    X = level + y[:, None] * np.linspace(0, 1, 100) + rng.normal(size=(n, 100)) * 0.7
    return X[:, None], y


def size(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise whose size varies around that of the sequence, and this size."""
    y = rng.uniform(0.5, 2, n)
    wave = 1 + 0.5 * np.sin(0.1 * np.arange(120) + rng.uniform(0, 2 * np.pi, (n, 1)))
    return (y[:, None] * wave * rng.normal(size=(n, 120)))[:, None], y


def synthetic(make: Callable, seed: int) -> Split:
    """Return sequences of a kind, half of them to train on."""
    rng = np.random.default_rng(seed)
    X, y = make(rng, _N_TRAIN + _N_TEST)
    X = X.astype(np.float32)
    return Split(list(X[:_N_TRAIN]), y[:_N_TRAIN], list(X[_N_TRAIN:]), y[_N_TRAIN:])


# ---------------------------------------------------------------------- all

_OF_AEON = {"Covid3Month": "covid_3month", "CardanoSentiment": "cardano_sentiment"}
_WINDOWS: dict[str, Callable[[], Split]] = {
    "co2, in 26 weeks": lambda: windows(table("co2", ["co2"]), 104, 26, last),
    "co2, range of a year": lambda: windows(table("co2", ["co2"]), 104, 52, range_of),
    "sunspots, in 1 year": lambda: windows(table("sunspots", ["SUNACTIVITY"]), 33, 1, last),
    "sunspots, next maximum": lambda: windows(table("sunspots", ["SUNACTIVITY"]), 33, 11, largest),
    "elnino, in 6 months": lambda: windows(el_nino(), 36, 6, last),
    "elnino, mean and range": lambda: windows(el_nino(), 36, 12, mean_and_range),
    "nile, next year": lambda: windows(table("nile", ["volume"]), 15, 1, last),
    "macrodata, unemployment": lambda: windows(
        table("macrodata", ["unemp", "infl", "tbilrate"]), 16, 4, last
    ),
    "macrodata, three rates": lambda: windows(
        table("macrodata", ["unemp", "infl", "tbilrate"]), 16, 2, last_of_all
    ),
}
_SYNTHETIC = {
    "frequency": frequency,
    "delay": delay,
    "frequency and damping": damping,
    "drift": slope,
    "size of noise": size,
}
REAL_SETS = (*_OF_AEON, *_WINDOWS)
SYNTHETIC_SETS = tuple(_SYNTHETIC)


def load(name: str, seed: int) -> Split:
    """Return a set; synthetic ones are others for each seed."""
    if name in _OF_AEON:
        return of_aeon(_OF_AEON[name])
    if name in _WINDOWS:
        return _WINDOWS[name]()
    return synthetic(_SYNTHETIC[name], seed)


def exchangeable(split: Split, seed: int) -> Split:
    """Return the same sequences in another, random division of the same sizes."""
    X = [*split.X_train, *split.X_test]
    y = np.concatenate([split.y_train, split.y_test])
    parts = train_test_split(np.arange(len(y)), train_size=len(split.y_train), random_state=seed)
    train, test = parts
    return Split([X[i] for i in train], y[train], [X[i] for i in test], y[test])
