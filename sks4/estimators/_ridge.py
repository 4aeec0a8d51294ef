"""Ridge regression on many features of few samples, judged on samples that are left out.

What decides - the penalty, and how much each kind of features counts - is chosen by leaving out
each sample, or each group of samples, in closed form. All of it is found from a Gram matrix: of
the samples if there are fewer of them than features, otherwise of the features. It computes with
torch, with as many threads as torch uses, and changes no limit of the process.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PENALTIES = np.geomspace(2**-18, 2**-4, 15)
"""Penalties, as shares of the number of features. Of a class with one or two members, none or half
is left when one is left out, which would always ask for a larger penalty."""

PENALTIES_OF_VALUES = np.concatenate([PENALTIES, np.geomspace(2**-3, 2**10, 14), [np.inf]])
"""Of values every sample tells something, and little where the noise is large; with an infinite
penalty, nothing but the mean is left."""

SHARES = (0.0, 0.25, 1.0, 4.0)
"""What each feature of the second kind may count, in units of one of the first kind."""

SHARES_WITH_THIRD = ((1.0, 0.0), (1.0, 1.0), (1.0, 10.0), (0.0, 1.0))
"""What each feature of the first and of the third kind may count."""

_LEAST_SPREAD = 1e-3
"""Features that vary by less are not amplified to the size of the others."""

_LEAST_GAIN = 1e-4
"""A smaller penalty, or another share, must lessen the error by this part of it. Where the error is
flat, rounding would choose otherwise."""

_MOST_TO_CHOOSE = 2048
"""Samples that the penalty is chosen with; the time for it grows with their third power."""

_MOST_WITH_GAP = 1024
"""The same where neighbors are left out as well, so that each block takes a regression."""

_COLUMNS, _ROWS = 2**12, 2**10
"""Columns, or rows, that are scaled at once."""

Read = Callable[[np.ndarray], np.ndarray]
Predict = Callable[[Tensor, float], Tensor]

_EPSILON = torch.finfo(torch.float64).eps


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
        Samples that were left out in turn: all, or 2,048 that are spread over them; with a gap,
        1,024.
    left_out : ndarray of shape (n_chosen, n_outputs), float64
        Prediction for each of them by the regression without it, or without its group.
    blocked : ndarray of shape (n_chosen, n_outputs), float64
        Prediction for each of them by the regression without its block; `left_out` without blocks.
    penalty : ndarray of shape (n_outputs,), float64
        The penalty of each output.
    shares : tuple of float
        What the features of each kind count.
    """

    weight: np.ndarray
    bias: np.ndarray
    rows: np.ndarray
    left_out: np.ndarray
    blocked: np.ndarray
    penalty: np.ndarray
    shares: tuple[float, ...]


def fit_ridge(
    read: Read,
    Y: np.ndarray,
    weights: np.ndarray,
    *,
    n_each: tuple[int, ...] | None = None,
    penalties: np.ndarray = PENALTIES,
    groups: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
    gap: int = 0,
    choose_by: str = "left_out",
    each_output: bool = False,
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
    n_each : tuple of int or None, default=None
        Numbers of features of up to three kinds, which count as suits best: `SHARES` and
        `SHARES_WITH_THIRD`. None: all are of one kind.
    penalties : ndarray of shape (n_penalties,), default=PENALTIES
        Penalties to choose from, as shares of the number of features, rising.
    groups : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a group are left out together. None: each by itself.
    blocks : ndarray of shape (n_samples,), int, or None, default=None
        Samples of a block are left out together to judge the result.
    gap : int, default=0
        With groups, or blocks, the samples are left out that have so many others or fewer between
        them and one of these, in the order of the samples.
    choose_by : {"left_out", "blocked"}, default="left_out"
        What penalty and shares are chosen by: predictions of samples left out by themselves or with
        their groups, or with their blocks.
    each_output : bool, default=False
        Whether each output has a penalty of its own.
    trust : ndarray of shape (n_features,) or float, default=1.0
        Factor of each standardized feature: its weight is penalized less, by the square of it.

    Returns
    -------
    RidgeFit
        The regression.
    """
    n_chosen = min(_MOST_WITH_GAP, _MOST_TO_CHOOSE) if gap else _MOST_TO_CHOOSE
    rows = np.unique(np.linspace(0, len(Y) - 1, n_chosen).astype(np.int64))
    y, weight = (torch.from_numpy(np.array(a, np.float64)) for a in (Y, weights))
    weight /= weight.mean()  # the penalty must not depend on their unit
    X = torch.from_numpy(np.asarray(read(rows)))
    scaling = _Scaling.of(X, trust)
    sizes = (X.shape[1],) if n_each is None else n_each
    together = None if groups is None else _parts(groups[rows], rows, gap)
    in_blocks = together if blocks is None else _parts(blocks[rows], rows, gap)
    judge = _Judge(
        y[rows],
        weight[rows],
        penalties=X.shape[1] * penalties,
        parts=in_blocks if choose_by == "blocked" else together,
        each_output=each_output,
    )
    choice = _choose(X, scaling, sizes, judge)
    scaling = scaling.with_shares(choice.shares, sizes)
    gram = choice.products.gram
    if len(rows) < len(y) <= X.shape[1]:
        X = _all_rows(read, X, rows, len(y))
        gram = _gram(X, scaling, 0, X.shape[1])
    if len(X) == len(y):
        slopes, bias = _solve_samples(X, gram, scaling, y, weight, choice.penalty)
    else:
        slopes, bias = _solve_features(read, scaling, y, weight, choice.penalty)
    W = (slopes * scaling.factor[:, None]).T.contiguous()
    bias = bias - W @ scaling.mean
    left_out, blocked = (choice.left_out(y[rows], each).numpy() for each in (together, in_blocks))
    return RidgeFit(
        weight=W.numpy(),
        bias=bias.numpy(),
        rows=rows,
        left_out=left_out,
        blocked=blocked,
        penalty=choice.penalty.numpy(),
        shares=choice.shares,
    )


class _Scaling(NamedTuple):
    """Mean and factor of each feature, (n_features,) float64."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, X: Tensor, trust: np.ndarray | float) -> "_Scaling":
        """Return the scaling that standardizes features, times `trust`."""
        # without weights: a sample that hardly counts must not lie far outside of the scale
        moments = [
            torch.var_mean(X[:, k : k + _COLUMNS].double(), 0, correction=0)
            for k in range(0, X.shape[1], _COLUMNS)
        ]
        variance, mean = (torch.cat(part) for part in zip(*moments, strict=True))
        factor = torch.as_tensor(trust) / variance.sqrt().clamp(min=_LEAST_SPREAD)
        return cls(mean, factor)

    def apply(self, X: Tensor, columns: slice = slice(None)) -> Tensor:
        """Return scaled columns in the dtype of `X`."""
        mean, factor = self.mean[columns].to(X.dtype), self.factor[columns].to(X.dtype)
        return (X[:, columns] - mean).mul_(factor)

    def with_shares(self, shares: tuple[float, ...], sizes: tuple[int, ...]) -> "_Scaling":
        """Return the scaling with what features of each kind count."""
        each = torch.tensor(shares, dtype=torch.float64).repeat_interleave(torch.tensor(sizes))
        return self._replace(factor=self.factor * each.sqrt())


class _Part(NamedTuple):
    """Samples that are left out together, and what is known then; None: all others."""

    rows: np.ndarray
    known: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Judge:
    """What penalties and shares are judged by; see :func:`fit_ridge`."""

    y: Tensor
    weight: Tensor
    penalties: np.ndarray
    parts: list[_Part] | None
    each_output: bool

    def best_penalty(self, products: "_Products") -> tuple[Tensor, Tensor]:
        """Return the least error of each output, and its penalty."""
        predict = products.leaving_out(self.parts)
        least = torch.full_like(self.y[0], torch.inf)
        chosen = torch.full_like(least, torch.inf)
        for penalty in self.penalties[::-1].tolist():
            error = self.weight @ (predict(self.y, penalty) - self.y).square()
            if not self.each_output:
                error = error.mean().expand_as(error)
            is_better = error < (1 - _LEAST_GAIN) * least
            least = torch.where(is_better, error, least)
            chosen = torch.where(is_better, penalty, chosen)
        return least, chosen


class _Choice(NamedTuple):
    """What is best for samples that are left out, and what is predicted for these."""

    error: float
    penalty: Tensor  # (n_outputs,)
    shares: tuple[float, ...]
    products: "_Products"

    def left_out(self, y: Tensor, parts: list[_Part] | None) -> Tensor:
        """Return predictions for samples by a regression without them."""
        found, predict = torch.empty_like(y), self.products.leaving_out(parts)
        for penalty, of_it in _each_penalty(self.penalty):
            found[:, of_it] = predict(y[:, of_it], penalty)
        return found


def _each_penalty(penalties: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Yield each penalty, and which outputs have it."""
    for penalty in penalties.unique().tolist():
        yield penalty, penalties == penalty


def _choose(X: Tensor, scaling: _Scaling, sizes: tuple[int, ...], judge: _Judge) -> _Choice:
    """Return the penalty and the shares with the least squared error of samples left out.

    What features of the second kind count is chosen last, beside the best of the others.
    """
    ends = np.cumsum(sizes).tolist()
    grams = [_gram(X, scaling, end - size, end) for end, size in zip(ends, sizes, strict=True)]
    best = None
    for first, *third in SHARES_WITH_THIRD if len(sizes) > 2 else ((1.0,),):
        best = _better(grams, judge, (first, 0.0, *third)[: len(sizes)], best)
    assert best is not None
    first, _, *third = (*best.shares, 0.0)[: max(2, len(sizes))]
    if len(sizes) > 1 and first:
        for share in SHARES[1:]:
            best = _better(grams, judge, (first, share, *third), best)
    return best


def _better(
    grams: list[Tensor], judge: _Judge, shares: tuple[float, ...], best: _Choice | None
) -> _Choice:
    """Return what is better than the best so far with these shares, or that."""
    gram = torch.zeros_like(grams[0])
    for share, each in zip(shares, grams, strict=True):
        gram += share * each
    products = _Products(gram, judge.weight)
    errors, penalty = judge.best_penalty(products)
    error = float(errors.mean())
    if best is None or error < (1 - _LEAST_GAIN) * best.error:
        return _Choice(error, penalty, shares, products)
    return best


class _Products:
    """Products of samples, and regressions on some of them that predict the others."""

    def __init__(self, gram: Tensor, weight: Tensor) -> None:
        self.gram, self.weight = gram, weight

    @cached_property
    def spectrum(self) -> "_Spectrum":
        """That of all samples."""
        return _Spectrum.of(self.gram, self.weight)

    def leaving_out(self, parts: list[_Part] | None) -> Predict:
        """Return what predicts samples that are left out, each by itself or in parts."""
        if parts is None or parts[0].known is None:
            return partial(self.spectrum.left_out, parts=parts)
        each = [(rows, self._from_known(rows, known)) for rows, known in parts if known is not None]

        def predict(y: Tensor, penalty: float) -> Tensor:
            found = torch.empty_like(y)
            for rows, predict_part in each:
                found[rows] = predict_part(y, penalty)
            return found

        return predict

    def _from_known(self, rows: np.ndarray, known: np.ndarray) -> Predict:
        """Return what predicts some samples by a regression on others."""
        weight = self.weight[known]
        share = weight / weight.sum()
        inner, cross = self.gram[known][:, known], self.gram[rows][:, known]
        spectrum, mean = _Spectrum.of(inner, weight), inner @ share
        cross = cross - (cross @ share)[:, None] - mean + mean @ share
        basis = (cross * spectrum.root) @ spectrum.vectors

        def predict(y: Tensor, penalty: float) -> Tensor:
            center = share @ y[known]
            target = spectrum.vectors.T @ (spectrum.root[:, None] * (y[known] - center))
            return center + basis @ (target / (spectrum.values + penalty)[:, None])

        return predict


class _Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of the Gram matrix of weighted samples."""

    values: Tensor  # (n,)
    vectors: Tensor  # (n, n)
    root: Tensor  # square roots of the weights (n,)

    @classmethod
    def of(cls, gram: Tensor, weight: Tensor) -> "_Spectrum":
        """Return the spectrum of samples minus their weighted mean."""
        root = weight.sqrt()
        values, vectors = torch.linalg.eigh(root[:, None] * _centered(gram, weight) * root)
        return cls(values.clamp(min=0), vectors, root)

    def left_out(self, y: Tensor, penalty: float, parts: list[_Part] | None) -> Tensor:
        """Return predictions for samples by a regression with intercept without them.

        With the hat matrix ``H``, the error of a group that is left out is ``(I - H_gg)^-1 r_g``,
        where ``r`` are the errors with it (Cook and Weisberg 1982, Residuals and Influence).
        """
        rest = 1 / (1 + self.values / penalty)
        constant = self.root / self.root.norm()
        target = self.root[:, None] * y
        error = self.vectors @ (rest[:, None] * (self.vectors.T @ target))
        error -= torch.outer(constant, constant @ target)
        if parts is None:
            freedom = self.vectors.square() @ rest - constant.square()
            error /= freedom.clamp(min=_EPSILON)[:, None]
        for rows, _ in parts or ():
            freedom = (self.vectors[rows] * rest) @ self.vectors[rows].T
            freedom -= torch.outer(constant[rows], constant[rows])
            freedom.diagonal().add_(_EPSILON)
            error[rows] = torch.linalg.solve(freedom, error[rows])
        return y - error / self.root[:, None]


def _centered(gram: Tensor, weight: Tensor) -> Tensor:
    """Return the Gram matrix of samples minus their weighted mean."""
    mean = gram @ weight / weight.sum()
    return gram - mean - mean[:, None] + mean @ weight / weight.sum()


def _gram(X: Tensor, scaling: _Scaling, start: int, stop: int) -> Tensor:
    """Return products of samples over some of the columns, (n_samples, n_samples) float64."""
    gram = torch.zeros(len(X), len(X), dtype=torch.float64)
    for column in range(start, stop, _COLUMNS):
        scaled = scaling.apply(X, slice(column, min(column + _COLUMNS, stop)))
        gram += scaled @ scaled.T
    return gram


def _parts(groups: np.ndarray, positions: np.ndarray, gap: int) -> list[_Part]:
    """Return the samples of each group, and those that are not close to them.

    `positions` are those of the samples among all, rising.
    """
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    if gap == 0:
        return [_Part(rows, None) for rows in members]
    parts = []
    for rows in members:
        own = np.concatenate([[-np.inf], positions[rows], [np.inf]])
        after = np.searchsorted(own, positions)
        distance = np.minimum(own[after] - positions, positions - own[after - 1])
        parts.append(_Part(rows, np.flatnonzero(distance > gap)))
    return parts


def _all_rows(read: Read, X: Tensor, rows: np.ndarray, n_samples: int) -> Tensor:
    """Return the features of all samples, of which some are known."""
    everything = X.new_empty(n_samples, X.shape[1])
    everything[rows] = X
    others = np.setdiff1d(np.arange(n_samples), rows)
    for k in range(0, len(others), _ROWS):
        part = others[k : k + _ROWS]
        everything[part] = torch.from_numpy(np.asarray(read(part)))
    return everything


def _solve_samples(
    X: Tensor, gram: Tensor, scaling: _Scaling, y: Tensor, weight: Tensor, penalties: Tensor
) -> tuple[Tensor, Tensor]:
    """Return slopes of scaled features and intercepts, from products of samples."""
    root, target = weight.sqrt()[:, None], weight @ y / weight.sum()
    system = root * _centered(gram, weight) * root.T
    dual = root * _solve_each(system, root * (y - target), penalties)
    dual -= torch.outer(weight, dual.sum(0) / weight.sum())  # of samples minus their mean
    slopes = y.new_empty(X.shape[1], y.shape[1])
    for column in range(0, X.shape[1], _COLUMNS):
        columns = slice(column, column + _COLUMNS)
        slopes[columns] = (scaling.apply(X, columns).T @ dual.to(X.dtype)).double()
    return slopes, target - weight @ (gram @ dual) / weight.sum()


def _solve_features(
    read: Read, scaling: _Scaling, y: Tensor, weight: Tensor, penalties: Tensor
) -> tuple[Tensor, Tensor]:
    """Return slopes of scaled features and intercepts, from products of features."""
    n_features = len(scaling.mean)
    products = y.new_zeros(n_features, n_features)
    with_targets, sums = y.new_zeros(n_features, y.shape[1]), y.new_zeros(n_features)
    for k in range(0, len(y), _ROWS):
        part = np.arange(k, min(k + _ROWS, len(y)))
        scaled = scaling.apply(torch.from_numpy(np.asarray(read(part))))
        weighted = scaled * weight[part, None].to(scaled.dtype)
        products += scaled.T @ weighted
        with_targets += weighted.T.double() @ y[part]
        sums += weighted.sum(0, dtype=torch.float64)
    total, target = weight.sum(), weight @ y / weight.sum()
    products -= torch.outer(sums, sums / total)
    slopes = _solve_each(products, with_targets - torch.outer(sums, target), penalties)
    return slopes, target - sums @ slopes / total


def _solve_each(system: Tensor, y: Tensor, penalties: Tensor) -> Tensor:
    """Solve a system with the penalty of each column of y on its diagonal, which is changed.

    The solution for an infinite one is zero.
    """
    solution, diagonal = torch.zeros_like(y), system.diagonal().clone()
    for penalty, of_it in _each_penalty(penalties):
        if np.isfinite(penalty):
            system.diagonal().copy_(diagonal + penalty)
            solution[:, of_it] = _solve(system, y[:, of_it], penalty)
    return solution


def _solve(system: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Solve a symmetric system, whose eigenvalues are the penalty at least but for rounding."""
    factor, failure = torch.linalg.cholesky_ex(system)
    if not failure:
        return torch.cholesky_solve(y, factor)
    # the features have single precision, which may round more than a small penalty
    values, vectors = torch.linalg.eigh(system)
    return vectors @ (vectors.T @ y / values.clamp(min=penalty)[:, None])
