"""Ridge regression whose penalty is chosen by leaving out each sample in turn.

It computes with torch in double precision, with as many threads as torch uses, and changes no limit
of the process. So it can run in several threads at a time.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regression with the penalty that predicts best.

    Attributes
    ----------
    weight : ndarray of shape (n_targets, n_features)
        Coefficients.
    bias : ndarray of shape (n_targets,)
        Intercepts.
    penalty : float
        The penalty.
    left_out : ndarray of shape (n_samples, n_targets)
        Prediction for each sample by the regression on all others, with this penalty.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    left_out: np.ndarray


def ridge_regression(
    X: np.ndarray, Y: np.ndarray, weights: np.ndarray, penalties: np.ndarray
) -> RidgeFit:
    r"""Minimize :math:`\sum_i w_i |y_i - W x_i - b|^2 + \alpha |W|^2`, with weights of mean one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features; two samples at least.
    Y : ndarray of shape (n_samples, n_targets)
        Targets.
    weights : ndarray of shape (n_samples,)
        Weight of each sample, above zero, in any unit.
    penalties : ndarray of shape (n_penalties,)
        Penalties :math:`\alpha` above zero. The one with the least weighted squared error of the
        samples left out is taken; among equal ones, the first.

    Returns
    -------
    RidgeFit
        Coefficients, and predictions of the samples left out.

    References
    ----------
    Rifkin and Lippert 2007 (Notes on regularized least squares, MIT-CSAIL-TR-2007-025), section 4:
    the error without a sample is its error with it, divided by one minus its leverage.
    """
    x, y, weight = (torch.from_numpy(np.array(a, np.float64)) for a in (X, Y, weights))
    weight /= weight.mean()
    means = (weight @ x) / len(x), (weight @ y) / len(x)
    root = weight.sqrt()[:, None]
    x, y = root * (x - means[0]), root * (y - means[1])
    basis = _Basis(x, root)
    coordinates = basis.vectors.T @ y
    outside = y - basis.vectors @ coordinates
    best = None
    for penalty in penalties.tolist():
        shrinkage = penalty / (basis.squares + penalty)
        residual = outside + basis.vectors @ (shrinkage[:, None] * coordinates)
        error = residual / basis.freedom(shrinkage)[:, None]
        score = float(error.square().mean())
        if best is None or score < best[0]:
            best = score, penalty, error
    assert best is not None  # there is a penalty
    _, penalty, error = best
    W = (x.T @ (basis.vectors @ (coordinates / (basis.squares + penalty)[:, None]))).T
    left_out = torch.from_numpy(np.array(Y, np.float64)) - error / root
    return RidgeFit(W.numpy(), (means[1] - W @ means[0]).numpy(), penalty, left_out.numpy())


class _Basis:
    """Left singular vectors of weighted, centered features, and squares of the singular values.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features)
        Rows without their weighted mean, times the roots of the weights.
    root : Tensor of shape (n_samples, 1)
        The roots.

    Attributes
    ----------
    vectors : Tensor of shape (n_samples, rank)
        Singular vectors, orthogonal to `root`.
    squares : Tensor of shape (rank,)
        Squares of the singular values.
    """

    def __init__(self, x: Tensor, root: Tensor) -> None:
        n_samples, n_features = x.shape
        self._intercept = (root / root.norm())[:, 0]  # the singular vector of a constant feature
        if n_samples <= n_features:
            # by the matrix of inner products, in a basis orthogonal to the intercept
            rotated = _reflect(x, self._intercept)[1:]
            self.squares, vectors = torch.linalg.eigh(rotated @ rotated.T)
            padded = torch.cat([vectors.new_zeros(1, n_samples - 1), vectors])
            self.vectors = _reflect(padded, self._intercept)
            self._outside = torch.zeros(n_samples, dtype=x.dtype)
        else:
            squares, right = torch.linalg.eigh(x.T @ x)
            # others are rounding errors
            kept = squares > squares[-1] * n_samples * torch.finfo(x.dtype).eps
            self.squares = squares[kept]
            self.vectors = x @ (right[:, kept] / self.squares.sqrt())
            within = self._intercept.square() + self.vectors.square().sum(1)
            self._outside = (1 - within).clamp(min=0)
        self.squares = self.squares.clamp(min=0)

    def freedom(self, shrinkage: Tensor) -> Tensor:
        """Return one minus the leverage of each sample, (n_samples,)."""
        freedom = self._outside + self.vectors.square() @ shrinkage
        return freedom.clamp(min=torch.finfo(freedom.dtype).eps)


def _reflect(x: Tensor, unit: Tensor) -> Tensor:
    """Reflect the columns of `x` so that the unit vector, which is positive, goes to minus e_1."""
    normal = unit.clone()
    normal[0] += 1
    return x - torch.outer(normal, (2 / normal.square().sum()) * (normal @ x))
