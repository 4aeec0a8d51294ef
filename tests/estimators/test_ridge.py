"""The regression against scikit-learn's on samples that are left out one by one."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from sks4.estimators import _ridge
from sks4.estimators._ridge import (
    PENALTIES,
    PENALTIES_OF_VALUES,
    SHARES,
    SHARES_WITH_THIRD,
    fit_ridge,
)


def problem(n_samples, n_features, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * 10.0 ** rng.integers(-2, 3, n_features) + 5
    Y = np.stack([X[:, 0] / X[:, 0].std(), X[:, -1] / X[:, -1].std()], 1)
    Y += 0.3 * rng.normal(size=Y.shape)
    return X, Y, rng.uniform(0.5, 2, n_samples)


def standardized(X, factor=1.0):
    return factor * (X - X.mean(0)) / X.std(0)


def slow_left_out(Z, Y, weights, penalty, groups):
    """Return predictions of each group by a regression on all others."""
    found, w = np.empty_like(Y), weights / weights.mean()
    for group in np.unique(groups):
        out = groups == group
        ridge = Ridge(penalty).fit(Z[~out], Y[~out], sample_weight=w[~out])
        found[out] = ridge.predict(Z[out])
    return found


def candidates(n_kinds):
    """Return the shares that are compared first, and the function of the best that gives more."""
    if n_kinds == 1:
        return [(1.0,)], lambda best: []
    if n_kinds == 2:
        return [(1.0, 0.0)], lambda best: [(1.0, share) for share in SHARES[1:]]
    start = [(first, 0.0, third) for first, third in SHARES_WITH_THIRD]
    return start, lambda best: [(1.0, s, best[2]) for s in SHARES[1:] if best[0]]


@pytest.mark.parametrize(("n_samples", "n_features"), [(30, 8), (20, 45), (4, 3)])
@pytest.mark.parametrize("n_groups", [None, 3])
@pytest.mark.parametrize("n_kinds", [1, 2, 3])
def test_choice_is_the_best_for_samples_left_out(n_samples, n_features, n_groups, n_kinds):
    X, Y, weights = problem(n_samples, n_features)
    n_each = (n_features - n_kinds + 1, *[1] * (n_kinds - 1))
    groups = None if n_groups is None else np.arange(n_samples) % n_groups
    fit = fit_ridge(lambda rows: X[rows], Y, weights, n_each=n_each, groups=groups)
    each = np.arange(n_samples) if groups is None else groups
    found = {}

    def judge(shares):
        factor = np.sqrt(np.repeat(shares, n_each))
        for penalty in n_features * PENALTIES:
            left_out = slow_left_out(standardized(X, factor), Y, weights, penalty, each)
            error = np.average(((left_out - Y) ** 2).mean(1), weights=weights)
            found[shares, float(f"{penalty:.9g}")] = error, left_out, factor

    start, then = candidates(n_kinds)
    for shares in start:
        judge(shares)
    # where the error is flat, the choice may differ by rounding
    best = (fit.shares[0], *[0.0] * (n_kinds > 1), *fit.shares[2:])
    assert best in start
    for shares in then(best):
        judge(shares)
    error, left_out, factor = found[fit.shares, float(f"{fit.penalty[0]:.9g}")]
    # where the error is flat, the larger penalty is taken
    assert error <= min(error for error, *_ in found.values()) / (1 - _ridge._LEAST_GAIN)
    np.testing.assert_allclose(fit.left_out, left_out, rtol=1e-5, atol=1e-5)
    Z = standardized(X, factor)
    ridge = Ridge(fit.penalty).fit(Z, Y, sample_weight=weights / weights.mean())
    np.testing.assert_allclose(X @ fit.weight.T + fit.bias, ridge.predict(Z), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("choose_by", ["left_out", "blocked"])
def test_choice_is_by_blocks_if_wanted(choose_by):
    X, Y, weights = problem(30, 8)
    blocks = np.arange(30) // 10
    fit = fit_ridge(lambda rows: X[rows], Y, weights, blocks=blocks, choose_by=choose_by)
    Z, errors = standardized(X), {}
    for penalty in 8 * PENALTIES:
        for name, each in (("left_out", np.arange(30)), ("blocked", blocks)):
            left_out = slow_left_out(Z, Y, weights, penalty, each)
            errors[name, penalty] = np.average(((left_out - Y) ** 2).mean(1), weights=weights)
            if penalty == fit.penalty[0]:
                np.testing.assert_allclose(getattr(fit, name), left_out, rtol=1e-5, atol=1e-5)
    least = min(error for (name, _), error in errors.items() if name == choose_by)
    assert errors[choose_by, fit.penalty[0]] <= least / (1 - _ridge._LEAST_GAIN)


def test_the_first_kind_may_count_nothing():
    """Where the targets are linear in the third kind, and the first one is noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 33))
    Y = X[:, -3:] @ rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=(40, 1))
    fit = fit_ridge(lambda rows: X[rows], Y, np.ones(40), n_each=(20, 10, 3))
    assert fit.shares == (0.0, 0.0, 1.0)
    np.testing.assert_array_equal(fit.weight[:, :30], 0)
    assert np.abs(X @ fit.weight.T + fit.bias - Y).mean() < 0.3


def test_values_in_noise_are_shrunk_more_than_classes():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 40)), rng.normal(size=(30, 1))
    fits = [
        fit_ridge(lambda rows: X[rows], Y, np.ones(30), penalties=penalties)
        for penalties in (PENALTIES, PENALTIES_OF_VALUES)
    ]
    assert fits[0].penalty == 40 * PENALTIES[-1]
    assert fits[1].penalty > 10 * fits[0].penalty


@pytest.mark.parametrize("n_samples", [30, 90])  # fewer than features, and more than are chosen of
def test_nothing_but_the_mean_is_left_of_what_cannot_be_told(monkeypatch, n_samples):
    """Targets whose blocks differ, which features do not tell."""
    monkeypatch.setattr(_ridge, "_MOST_TO_CHOOSE", 60)
    rng = np.random.default_rng(0)
    blocks = np.arange(n_samples) * 3 // n_samples
    X = np.eye(3)[blocks] @ rng.normal(size=(3, 40)) + 0.1 * rng.normal(size=(n_samples, 40))
    Y, weights = rng.normal(size=(3, 1))[blocks], rng.uniform(0.5, 2, n_samples)
    fit = fit_ridge(
        lambda rows: X[rows],
        Y,
        weights,
        penalties=PENALTIES_OF_VALUES,
        blocks=blocks,
        choose_by="blocked",
    )
    assert np.isinf(fit.penalty)
    np.testing.assert_array_equal(fit.weight, 0)
    assert fit.bias == pytest.approx(np.average(Y[:, 0], weights=weights))
    w = weights[fit.rows]
    for block in range(3):
        out = blocks[fit.rows] == block
        mean = np.average(Y[fit.rows][~out, 0], weights=w[~out])
        np.testing.assert_allclose(fit.blocked[out], mean)


@pytest.mark.parametrize("n_features", [8, 90])
def test_each_output_may_have_a_penalty_of_its_own(n_features):
    X, Y, weights = problem(40, n_features)
    Y[:, 1] = np.random.default_rng(1).normal(size=40)
    n_each, options = (n_features - 1, 1), {"penalties": PENALTIES_OF_VALUES}
    fit = fit_ridge(lambda rows: X[rows], Y, weights, n_each=n_each, each_output=True, **options)
    assert fit.penalty[1] > 10 * fit.penalty[0]
    Z = standardized(X, np.sqrt(np.repeat(fit.shares, n_each)))
    w = weights / weights.mean()
    alphas = np.minimum(fit.penalty, 1e12)
    expected = Ridge(alphas).fit(Z, Y, sample_weight=w).predict(Z)
    np.testing.assert_allclose(X @ fit.weight.T + fit.bias, expected, rtol=1e-6, atol=1e-6)
    for t, alpha in enumerate(alphas):
        found = slow_left_out(Z, Y[:, [t]], weights, alpha, np.arange(40))
        np.testing.assert_allclose(fit.left_out[:, [t]], found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("most_to_choose", [1024, 20])
def test_close_samples_are_left_out_with_a_block(monkeypatch, most_to_choose):
    """Against regressions without a block and four samples on both sides of it."""
    monkeypatch.setattr(_ridge, "_MOST_WITH_GAP", most_to_choose)
    X, Y, weights = problem(40, 6)
    blocks = np.arange(40) // 10
    fit = fit_ridge(lambda rows: X[rows], Y, weights, blocks=blocks, gap=4)
    rows, w = fit.rows, (weights / weights.mean())[fit.rows]
    Z = (X - X[rows].mean(0)) / X[rows].std(0)
    for block in range(4):
        first, last = rows[blocks[rows] == block][[0, -1]]
        known = rows[(rows < first - 4) | (rows > last + 4)]
        out = rows[blocks[rows] == block]
        ridge = Ridge(fit.penalty).fit(Z[known], Y[known], sample_weight=w[np.isin(rows, known)])
        found = fit.blocked[np.isin(rows, out)]
        np.testing.assert_allclose(found, ridge.predict(Z[out]), rtol=1e-5, atol=1e-5)
    assert not np.allclose(fit.left_out, fit.blocked)


@pytest.mark.parametrize("n_features", [8, 90])
def test_many_samples_are_read_in_parts(monkeypatch, n_features):
    """With fewer samples than features, and with more of them than are read at once."""
    monkeypatch.setattr(_ridge, "_MOST_TO_CHOOSE", 40)
    monkeypatch.setattr(_ridge, "_ROWS", 16)
    monkeypatch.setattr(_ridge, "_COLUMNS", 7)
    X, Y, weights = problem(75, n_features)
    sizes = []

    def read(rows):
        sizes.append(len(rows))
        return X[rows]

    fit = fit_ridge(read, Y, weights, n_each=(n_features - 2, 2))
    assert max(sizes) == 40
    assert len(fit.rows) == 40
    mean, unit = X[fit.rows].mean(0), X[fit.rows].std(0)
    factor = np.where(np.arange(n_features) < n_features - 2, 1, np.sqrt(fit.shares[1]))
    Z = factor * (X - mean) / unit
    expected = Ridge(fit.penalty).fit(Z, Y, sample_weight=weights / weights.mean()).predict(Z)
    np.testing.assert_allclose(X @ fit.weight.T + fit.bias, expected, rtol=1e-6, atol=1e-6)


def test_trust_scales_the_standardized_features():
    X, Y, weights = problem(20, 6)
    trust = np.geomspace(0.2, 5, 6)
    fit = fit_ridge(lambda rows: X[rows], Y, weights, trust=trust)
    Z = standardized(X, trust)
    expected = Ridge(fit.penalty).fit(Z, Y, sample_weight=weights / weights.mean()).predict(Z)
    np.testing.assert_allclose(X @ fit.weight.T + fit.bias, expected, rtol=1e-6, atol=1e-6)


def test_the_unit_of_the_weights_has_no_effect():
    X, Y, weights = problem(20, 6)
    fits = [fit_ridge(lambda rows: X[rows], Y, unit * weights) for unit in (1.0, 1e3)]
    np.testing.assert_allclose(fits[0].weight, fits[1].weight, rtol=1e-6)


def test_constant_features_are_not_amplified():
    X, Y, weights = problem(30, 6)
    X[:, 3] = 1 + 1e-9 * np.random.default_rng(1).normal(size=30)
    fit = fit_ridge(lambda rows: X[rows], Y, weights)
    assert np.abs(fit.weight[:, 3]).max() * 1e-6 < 1e-3


def test_single_precision_keeps_to_double():
    X, Y, weights = problem(60, 400)
    X = standardized(X)
    double = fit_ridge(lambda rows: X[rows], Y, weights)
    single = fit_ridge(lambda rows: X[rows].astype(np.float32), Y, weights)
    np.testing.assert_allclose(single.left_out, double.left_out, atol=1e-3)
    np.testing.assert_allclose(X @ single.weight.T, X @ double.weight.T, atol=1e-3)


def test_what_rounds_more_than_a_small_penalty_is_solved_all_the_same():
    """Products in single precision of features of very different size."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    large, lost = axes[:, :1], axes[:, 1:2]
    gram = torch.tensor(1e6 * large @ large.T - 0.3 * lost @ lost.T)
    penalty = 0.1
    solved = _ridge._solve(gram + penalty * torch.eye(6), torch.tensor(axes[:, :3]), penalty)
    expected = np.hstack([large / (1e6 + penalty), axes[:, 1:3] / penalty])
    np.testing.assert_allclose(solved.numpy(), expected, atol=1e-6)


def test_features_of_many_samples_are_read_once_for_all_penalties(monkeypatch):
    monkeypatch.setattr(_ridge, "_MOST_TO_CHOOSE", 40)
    X, Y, weights = problem(75, 8)
    Y[:, 1] = np.random.default_rng(1).normal(size=75)
    n_read = []

    def read(rows):
        n_read.append(len(rows))
        return X[rows]

    fit = fit_ridge(read, Y, weights, penalties=PENALTIES_OF_VALUES, each_output=True)
    assert n_read == [40, 75]
    assert len(set(fit.penalty)) == 2
    Z = (X - X[fit.rows].mean(0)) / X[fit.rows].std(0)
    alphas = np.minimum(fit.penalty, 1e12)
    expected = Ridge(alphas).fit(Z, Y, sample_weight=weights / weights.mean()).predict(Z)
    np.testing.assert_allclose(X @ fit.weight.T + fit.bias, expected, rtol=1e-6, atol=1e-6)
