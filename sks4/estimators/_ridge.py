"""Ridge regression on many features of few samples, judged on samples that are left out.

What decides - the penalty, and how much a second group of features counts - is chosen by leaving
out each sample, or each group of samples, in closed form. All of it is found from a Gram matrix: of
the samples if there are fewer of them than features, otherwise of the features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, eigh
from threadpoolctl import threadpool_limits

PENALTIES = np.geomspace(2**-18, 2**-4, 15)
"""Penalties, as shares of the number of features. Of a class with one or two members, none or half
is left when one is left out, which would always ask for a larger penalty."""

SHARES = (0.0, 0.25, 1.0, 4.0)
"""What each feature of the second group may count, in units of one of the first group."""

_LEAST_SPREAD = 1e-3
"""Features that vary by less are not amplified to the size of the others."""

_MOST_TO_CHOOSE = 2048
"""Samples that the penalty is chosen with; the time for it grows with their third power."""

_COLUMNS, _ROWS = 2**12, 2**10
"""Columns, or rows, that are scaled at once."""

Read = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge regression with several outputs.

    Attributes
    ----------
    weight : ndarray of shape (n_outputs, n_features), float64
        Weights of the features.
    bias : ndarray of shape (n_outputs,), float64
        Intercepts.
    rows : ndarray of shape (n_chosen,), int64
        Samples that were left out in turn: all, or 2,048 that are spread over them.
    left_out : ndarray of shape (n_chosen, n_outputs), float64
        Prediction for each of them by the regression without it, or without its group.
    penalty, share : float
        The penalty, and what the features of the second group count.
    """

    weight: np.ndarray
    bias: np.ndarray
    rows: np.ndarray
    left_out: np.ndarray
    penalty: float
    share: float


def fit_ridge(
    read: Read,
    Y: np.ndarray,
    weights: np.ndarray,
    *,
    n_second: int = 0,
    groups: np.ndarray | None = None,
    trust: np.ndarray | float = 1.0,
) -> RidgeFit:
    """Fit a ridge regression whose penalty is the best for samples that are left out.

    Parameters
    ----------
    read : callable
        Returns the features of some samples, ``(n_rows,) -> (n_rows, n_features)``. It may be
        called several times.
    Y : ndarray of shape (n_samples, n_outputs), float64
        Targets; two samples at least.
    weights : ndarray of shape (n_samples,), float64
        Weights of the samples, above zero, in any unit.
    n_second : int, default=0
        Number of features at the end that form a second group, which counts as suits best.
    groups : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a group are left out together. None: each by itself.
    trust : ndarray of shape (n_features,) or float, default=1.0
        Factor of each standardized feature: its weight is penalized less, by the square of it.

    Returns
    -------
    RidgeFit
        The regression.
    """
    weights = weights / weights.mean()  # the penalty must not depend on their unit
    rows = np.unique(np.linspace(0, len(Y) - 1, _MOST_TO_CHOOSE).astype(np.int64))
    with threadpool_limits(torch.get_num_threads(), user_api="blas"):
        X = read(rows)
        scaling = _scaling(X, trust, n_second)
        members = None if groups is None else _members(groups[rows])
        choice = _choose(X, scaling, Y[rows], weights[rows], members)
        scaling = scaling.with_share(choice.share)
        if len(rows) < len(Y) <= X.shape[1]:
            X = _all_rows(read, X, rows, len(Y))
        if len(X) == len(Y):
            slopes, bias = _solve_samples(X, scaling, Y, weights, choice.penalty)
        else:
            slopes, bias = _solve_features(read, scaling, Y, weights, choice.penalty)
    weight = (slopes * scaling.factor[:, None]).T
    bias = bias - weight @ scaling.mean
    return RidgeFit(weight, bias, rows, choice.left_out, choice.penalty, choice.share)


class _Scaling(NamedTuple):
    """Mean and factor of each feature, (n_features,) float64; the last ones are the second group."""

    mean: np.ndarray
    factor: np.ndarray
    n_second: int

    def apply(self, X: np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """Return scaled columns in the dtype of `X`."""
        scaled: np.ndarray = X[:, columns] - self.mean[columns].astype(X.dtype)
        scaled *= self.factor[columns].astype(X.dtype)
        return scaled

    def with_share(self, share: float) -> "_Scaling":
        """Return the scaling with what features of the second group count."""
        factor = self.factor.copy()
        factor[len(factor) - self.n_second :] *= np.sqrt(share)
        return self._replace(factor=factor)


class _Choice(NamedTuple):
    """What is best for samples that are left out, and what is predicted for these."""

    penalty: float
    share: float
    left_out: np.ndarray  # (n_samples, n_outputs)


def _scaling(X: np.ndarray, trust: np.ndarray | float, n_second: int) -> _Scaling:
    # without weights: a sample that hardly counts must not lie far outside of the scale
    mean = X.mean(axis=0, dtype=np.float64)
    factor = trust / np.maximum(X.std(axis=0, dtype=np.float64), _LEAST_SPREAD)
    return _Scaling(mean, factor, n_second)


def _choose(
    X: np.ndarray,
    scaling: _Scaling,
    Y: np.ndarray,
    weights: np.ndarray,
    members: list[np.ndarray] | None,
) -> _Choice:
    """Return the penalty and share with the least squared error of samples left out."""
    first = X.shape[1] - scaling.n_second
    gram = _gram(X, scaling, 0, first)
    second = _gram(X, scaling, first, X.shape[1])
    best, least = None, np.inf
    for share in SHARES if scaling.n_second else (0.0,):
        spectrum = _spectrum(gram + share * second, weights)
        for penalty in X.shape[1] * PENALTIES:
            left_out = spectrum.left_out(Y, penalty, members)
            error = np.average(np.square(left_out - Y).mean(axis=1), weights=weights)
            if best is None or error < least:
                best, least = _Choice(float(penalty), share, left_out), error
    assert best is not None
    return best


class _Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of the Gram matrix of weighted samples."""

    values: np.ndarray  # (n,)
    vectors: np.ndarray  # (n, n)
    root: np.ndarray  # square roots of the weights (n,)

    def left_out(
        self, Y: np.ndarray, penalty: float, members: list[np.ndarray] | None
    ) -> np.ndarray:
        """Return predictions for samples by a regression with intercept without them.

        With the hat matrix ``H``, the error of a group that is left out is ``(I - H_gg)^-1 r_g``,
        where ``r`` are the errors with it (Cook and Weisberg 1982, Residuals and Influence).
        """
        shrink = self.values / (self.values + penalty)
        constant = self.root / np.linalg.norm(self.root)
        target = self.root[:, None] * Y
        error = target - self.vectors @ (shrink[:, None] * (self.vectors.T @ target))
        error -= np.outer(constant, constant @ target)
        if members is None:
            leverage = self.vectors**2 @ shrink + constant**2
            error /= np.maximum(1 - leverage, 1e-9)[:, None]
        for rows in members or ():
            hat = (self.vectors[rows] * shrink) @ self.vectors[rows].T
            hat += np.outer(constant[rows], constant[rows])
            error[rows] = np.linalg.solve((1 + 1e-9) * np.eye(len(rows)) - hat, error[rows])
        return Y - error / self.root[:, None]


def _spectrum(gram: np.ndarray, weights: np.ndarray) -> _Spectrum:
    root = np.sqrt(weights)
    values, vectors = eigh(root[:, None] * _centered(gram, weights) * root)
    return _Spectrum(np.maximum(values, 0), vectors, root)


def _centered(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the Gram matrix of samples minus their weighted mean."""
    mean = gram @ weights / weights.sum()
    return gram - mean - mean[:, None] + mean @ weights / weights.sum()


def _gram(X: np.ndarray, scaling: _Scaling, start: int, stop: int) -> np.ndarray:
    """Return products of samples over some of the columns, (n_samples, n_samples) float64."""
    gram = np.zeros((len(X), len(X)))
    for column in range(start, stop, _COLUMNS):
        scaled = scaling.apply(X, slice(column, min(column + _COLUMNS, stop)))
        gram += scaled @ scaled.T
    return gram


def _members(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _all_rows(read: Read, X: np.ndarray, rows: np.ndarray, n_samples: int) -> np.ndarray:
    """Return the features of all samples, of which some are known."""
    everything = np.empty((n_samples, X.shape[1]), X.dtype)
    everything[rows] = X
    others = np.setdiff1d(np.arange(n_samples), rows)
    for k in range(0, len(others), _ROWS):
        part = others[k : k + _ROWS]
        everything[part] = read(part)
    return everything


def _solve_samples(
    X: np.ndarray, scaling: _Scaling, Y: np.ndarray, weights: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes of scaled features and intercepts, from products of samples."""
    gram = _gram(X, scaling, 0, X.shape[1])
    root, target = np.sqrt(weights), np.average(Y, axis=0, weights=weights)
    system = root[:, None] * _centered(gram, weights) * root
    system[np.diag_indices_from(system)] += penalty
    dual = root[:, None] * cho_solve(cho_factor(system), root[:, None] * (Y - target))
    dual -= np.outer(weights, dual.sum(axis=0) / weights.sum())  # of samples minus their mean
    slopes = np.empty((X.shape[1], Y.shape[1]))
    for column in range(0, X.shape[1], _COLUMNS):
        columns = slice(column, column + _COLUMNS)
        slopes[columns] = scaling.apply(X, columns).T @ dual.astype(X.dtype)
    means = weights @ (gram @ dual) / weights.sum()
    return slopes, target - means


def _solve_features(
    read: Read, scaling: _Scaling, Y: np.ndarray, weights: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes of scaled features and intercepts, from products of features."""
    n_features = len(scaling.mean)
    products = np.zeros((n_features, n_features))
    with_targets, sums = np.zeros((n_features, Y.shape[1])), np.zeros(n_features)
    for k in range(0, len(Y), _ROWS):
        part = np.arange(k, min(k + _ROWS, len(Y)))
        scaled = scaling.apply(read(part))
        weighted = scaled * weights[part, None].astype(scaled.dtype)
        products += scaled.T @ weighted
        with_targets += weighted.T @ Y[part]
        sums += weighted.sum(axis=0, dtype=np.float64)
    total, target = weights.sum(), np.average(Y, axis=0, weights=weights)
    products -= np.outer(sums, sums / total)
    products[np.diag_indices_from(products)] += penalty
    slopes = cho_solve(cho_factor(products), with_targets - np.outer(sums, target))
    return slopes, target - sums @ slopes / total
