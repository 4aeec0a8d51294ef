"""Whether a network is worth its training: what held-out samples tell about both.

Samples that follow each other in a file often resemble each other: recordings of a speaker, pieces
of a recording. Where each is left out by itself, its neighbors give it away. So the samples are
held out in blocks of neighbors, or by groups where these are given.
"""

import numpy as np

N_BLOCKS = 5

_FEWEST_MISSED = 80
"""A network learns from the samples that the regression on filters misses, and needs about so many
of them. With fewer, a trial costs more than it tells."""

TRIAL = 0.25
"""Share of the epochs of a training that a trial takes: on four of five blocks, a fifth of the cost
of the training."""

_BEYOND_CHANCE = 3.0
"""Successive samples resemble each other if their targets differ less than random ones do by so
many standard errors."""

FIRST_LOOK = 0.2
"""Share of the epochs of a trial after which it ends if it is hopeless."""


def blocks_of(classes: np.ndarray | None, n_samples: int, groups: np.ndarray | None) -> np.ndarray:
    """Return the block of each sample, (n_samples,) int64, at most five.

    Parameters
    ----------
    classes : ndarray of shape (n_samples,), int, or None
        Classes, each of which is divided evenly.
    n_samples : int
        Number of samples.
    groups : ndarray of shape (n_samples,), int64, or None
        Groups that must not be divided, if given.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Blocks of neighbors within each class, or of groups.
    """
    if groups is not None:
        _, indices = np.unique(groups, return_inverse=True)
        return indices * N_BLOCKS // max(N_BLOCKS, indices.max() + 1)
    if classes is None:
        return np.arange(n_samples) * N_BLOCKS // max(N_BLOCKS, n_samples)
    blocks = np.empty(n_samples, np.int64)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        blocks[rows] = np.arange(len(rows)) * N_BLOCKS // max(N_BLOCKS, len(rows))
    return blocks


def reach_of(targets: np.ndarray) -> int:
    """Return how many samples farther on the targets still resemble each other.

    Windows of a series share values with the next ones, and their targets hardly differ. What is
    known of one tells the other, which is not what a prediction of new sequences is about. So
    samples this close to a block are left out with it (Burman, Chow and Nolan 1994, A
    cross-validatory method for dependent data, section 2).

    Parameters
    ----------
    targets : ndarray of shape (n_samples, n_targets), float64
        Values, in the order of the samples.

    Returns
    -------
    int
        The first lag at which the correlation may be chance, at most the size of a block. Zero if
        successive targets differ as random ones do (von Neumann's ratio).
    """
    n_samples = len(targets)
    centered = targets - targets.mean(axis=0)
    power = np.sum(centered**2, axis=0)
    steps = np.sum(np.diff(centered, axis=0) ** 2, axis=0)
    resembles = steps < (2 - 2 * _BEYOND_CHANCE / np.sqrt(n_samples)) * power
    spectrum = np.abs(np.fft.rfft(centered[:, resembles], 2 * n_samples, axis=0)) ** 2
    products = np.fft.irfft(spectrum, axis=0)[: max(1, n_samples // N_BLOCKS)]
    is_chance = products < 2 / np.sqrt(n_samples) * power[resembles]
    reaches = np.where(is_chance.any(axis=0), is_chance.argmax(axis=0), len(products))
    return int(reaches.max(initial=0))


def apart_from(is_held_out: np.ndarray, gap: int) -> np.ndarray:
    """Return the rows that are more than `gap` samples away from all that are held out.

    Parameters
    ----------
    is_held_out : ndarray of shape (n_samples,), bool
        Which samples are held out.
    gap : int
        Number of samples on both sides that are left out as well.
    """
    n_held_out = np.cumsum(np.pad(is_held_out, (gap + 1, gap)), dtype=np.int64)
    return np.flatnonzero(n_held_out[2 * gap + 1 :] == n_held_out[: len(is_held_out)])


def deserves_trial(missed: float, n_samples: int) -> bool:
    """Tell whether the regression misses so much that a network may do better.

    Parameters
    ----------
    missed : float
        Share that is missed of samples left out in blocks: of the classes, or of the variance.
    n_samples : int
        Number of different samples.
    """
    return missed * n_samples >= _FEWEST_MISSED


def trial_epochs(max_epochs: int) -> int:
    """Return the number of epochs of a trial."""
    return max(1, round(TRIAL * max_epochs))


def first_look(n_epochs: int) -> int:
    """Return the epoch of a trial after which it ends if it is hopeless."""
    return max(1, round(FIRST_LOOK * n_epochs))


def excess_of(losses: np.ndarray, known: np.ndarray, weights: np.ndarray, gap: int = 0) -> float:
    """Return how far losses are above those without training, in standard errors.

    Parameters
    ----------
    losses, known : ndarray of shape (n_samples,), float64
        Losses of held-out samples with training, and without.
    weights : ndarray of shape (n_samples,), float64
        Weights of the samples.
    gap : int, default=0
        So many samples farther on they still resemble each other; together they tell as much as
        one.

    Returns
    -------
    float
        Mean difference over its standard error.
    """
    difference, share = losses - known, weights / weights.sum()
    mean = share @ difference
    error = np.sqrt((gap + 1) * np.sum((share * (difference - mean)) ** 2))
    return float(mean / max(error, np.finfo(np.float64).tiny))


def is_hopeless(losses: np.ndarray, known: np.ndarray, weights: np.ndarray) -> bool:
    """Tell whether losses are larger than those without training, and not by chance.

    Losses tell it sooner than scores, which count what is right and so change in steps. See
    :func:`excess_of`.
    """
    return excess_of(losses, known, weights) > 1
