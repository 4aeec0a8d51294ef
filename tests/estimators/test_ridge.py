"""Ridge regression against the normal equations, and against leaving samples out one by one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge, RidgeCV
from threadpoolctl import threadpool_info

from sks4.estimators._ridge import ridge_regression

SHAPES = [(2, 1), (2, 5), (3, 2), (7, 7), (8, 7), (7, 8), (20, 4), (6, 40)]


def data(n_samples, n_features, n_targets=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 1, (n_samples, n_features))
    Y = X[:, :1] + rng.normal(0, 0.5, (n_samples, n_targets))
    return X, Y, rng.uniform(0.2, 3, n_samples)


def slow_ridge(X, Y, weights, penalty):
    """Solve the normal equations, with the intercept as a feature that is not penalized."""
    A = np.column_stack([X, np.ones(len(X))])
    ridge = np.diag([penalty] * X.shape[1] + [0.0])
    W = np.linalg.solve(A.T @ (weights[:, None] * A) + ridge, A.T @ (weights[:, None] * Y))
    return W[:-1].T, W[-1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", [1e-3, 0.5, 100.0])
def test_regression_solves_the_normal_equations(shape, penalty):
    X, Y, weights = data(*shape)
    fit = ridge_regression(X, Y, weights, np.array([penalty]))
    weight, bias = slow_ridge(X, Y, weights / weights.mean(), penalty)
    assert fit.penalty == penalty
    assert_allclose(fit.weight, weight, rtol=1e-8, atol=1e-10)
    assert_allclose(fit.bias, bias, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", [1e-3, 0.5, 100.0])
def test_predictions_left_out_are_those_of_fits_without_the_sample(shape, penalty):
    X, Y, weights = data(*shape)
    fit = ridge_regression(X, Y, weights, np.array([penalty]))
    unit = weights / weights.mean()
    for i in range(len(X)):
        others = np.arange(len(X)) != i
        weight, bias = slow_ridge(X[others], Y[others], unit[others], penalty)
        assert_allclose(fit.left_out[i], X[i] @ weight.T + bias, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
def test_penalty_is_that_of_scikit_learn(shape):
    X, Y, _ = data(*shape)
    penalties = np.geomspace(1e-3, 1e3, 13)
    fit = ridge_regression(X, Y, np.ones(len(X)), penalties)
    expected = RidgeCV(penalties, scoring="neg_mean_squared_error").fit(X, Y)
    assert fit.penalty == pytest.approx(expected.alpha_)
    assert_allclose(fit.weight, expected.coef_, rtol=1e-7, atol=1e-9)
    assert penalties[0] < fit.penalty < penalties[-1]


@pytest.mark.parametrize("shape", [(20, 4), (6, 40)])
def test_penalty_has_the_least_error_of_the_samples_left_out(shape):
    X, Y, weights = data(*shape)
    penalties = np.geomspace(1e-2, 1e3, 9)
    fits = [ridge_regression(X, Y, weights, np.array([penalty])) for penalty in penalties]
    errors = [np.average((fit.left_out - Y) ** 2, axis=0, weights=weights).mean() for fit in fits]
    assert ridge_regression(X, Y, weights, penalties).penalty == penalties[np.argmin(errors)]


@pytest.mark.parametrize("shape", [(20, 4), (6, 40)])
@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e300])
def test_unit_of_the_weights_does_not_matter(shape, unit):
    X, Y, weights = data(*shape)
    penalties = np.geomspace(1e-2, 1e2, 5)
    first, second = (ridge_regression(X, Y, w, penalties) for w in (weights, unit * weights))
    assert first.penalty == second.penalty
    assert_allclose(second.weight, first.weight, rtol=1e-9)
    assert_allclose(second.left_out, first.left_out, rtol=1e-9)


@pytest.mark.parametrize("shape", [(20, 4), (6, 40)])
def test_weight_of_two_is_a_sample_twice(shape):
    X, Y, _ = data(*shape)
    weights = np.where(np.arange(len(X)) == 1, 2.0, 1.0)
    rows = np.repeat(np.arange(len(X)), weights.astype(int))
    fit = ridge_regression(X, Y, weights, np.array([1.0]))
    # the penalty is in units of the mean weight
    twice = Ridge(weights.mean()).fit(X[rows], Y[rows])
    assert_allclose(fit.weight, twice.coef_, rtol=1e-8)


@pytest.mark.parametrize("shape", [(20, 4), (6, 40)])
def test_features_that_are_constant_or_equal_are_no_problem(shape):
    X, Y, weights = data(*shape)
    X[:, 1], X[:, 3] = 7.0, X[:, 2]
    fit = ridge_regression(X, Y, weights, np.array([0.1]))
    assert_allclose(fit.weight[:, 1], 0, atol=1e-12)
    assert_allclose(fit.weight[:, 2], fit.weight[:, 3], rtol=1e-6)
    weight, bias = slow_ridge(X, Y, weights / weights.mean(), 0.1)
    assert_allclose(X @ fit.weight.T + fit.bias, X @ weight.T + bias, rtol=1e-8)


@pytest.mark.parametrize("shape", [(20, 4), (6, 40)])
def test_sample_of_hardly_any_weight_has_no_effect(shape):
    X, Y, weights = data(*shape)
    weights[2] = 1e-12
    fit = ridge_regression(X, Y, weights, np.array([1.0]))
    others = np.arange(len(X)) != 2
    without = ridge_regression(
        X[others], Y[others], weights[others], np.array([others.sum() / len(X)])
    )
    assert_allclose(fit.weight, without.weight, rtol=1e-8)
    # the root of its weight, 1e-6, is what its prediction is divided by
    assert_allclose(fit.left_out[2], X[2] @ without.weight.T + without.bias, rtol=1e-6)


def test_operands_are_not_changed():
    X, Y, weights = data(6, 9)
    copies = X.copy(), Y.copy(), weights.copy()
    ridge_regression(X, Y, weights, np.array([1.0]))
    for operand, copy in zip((X, Y, weights), copies, strict=True):
        assert_array_equal(operand, copy)


def limits():
    return [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]


def test_regression_in_threads_repeats_and_leaves_the_limits_of_the_process():
    problems = [data(30, n_features, seed=n_features) for n_features in (10, 60, 200) * 8]
    penalties = np.geomspace(1e-2, 1e2, 5)

    def solve(problem):
        return ridge_regression(*problem, penalties)

    expected = [solve(problem) for problem in problems]
    before = limits(), torch.get_num_threads()
    with ThreadPoolExecutor(8) as pool:
        for fit, other in zip(pool.map(solve, problems), expected, strict=True):
            assert_array_equal(fit.weight, other.weight)
            assert_array_equal(fit.left_out, other.left_out)
    assert (limits(), torch.get_num_threads()) == before
