import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from sks4.estimators.forecasting._conformal import (
    AdaptiveLevels,
    ErrorDistribution,
    interpolate_quantiles,
    rank_in_quantiles,
)

SCALES = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])  # (horizon, n_targets)


def errors(n_rows, factor=1.0, seed=0):
    """Return normal errors (n_rows, 3, 2) that grow with the step."""
    return factor * SCALES * np.random.default_rng(seed).normal(size=(n_rows, 3, 2))


def levels_of(values, n_rows=3, n_targets=2):
    return np.broadcast_to(values, (n_rows, n_targets, len(values)))


def test_quantiles_are_those_of_the_errors_at_each_step_and_target():
    distribution = ErrorDistribution(errors(500))
    quantiles = distribution.quantile(np.arange(3), levels_of([0.1, 0.5, 0.9]))
    assert_allclose(
        quantiles / SCALES[..., np.newaxis], levels_of(norm.ppf([0.1, 0.5, 0.9])), atol=0.2
    )


def test_quantile_follows_the_shape_of_the_errors():
    skewed = np.random.default_rng(0).exponential(size=(400, 2, 1))
    lower, upper = ErrorDistribution(skewed).quantile(
        np.zeros(1, int), levels_of([0.05, 0.95], 1, 1)
    )[0, 0]
    assert_allclose([lower, upper], [0.05, 3.0], atol=0.3)


def test_few_errors_widen_the_levels():
    few = np.arange(1.0, 5.0)[:, np.newaxis, np.newaxis]
    quantiles = ErrorDistribution(few).quantile(np.zeros(1, int), levels_of([0.2, 0.8], 1, 1))[0, 0]
    assert_allclose(quantiles, np.quantile(few, [0.5 - 0.3 * 1.25, 0.5 + 0.3 * 1.25]), rtol=1e-6)


def test_unknown_errors_are_left_out():
    partial = errors(200)
    partial[150:, 2] = np.nan
    complete = ErrorDistribution(errors(200)).quantile(np.arange(3), levels_of([0.5, 0.9]))
    quantiles = ErrorDistribution(partial).quantile(np.arange(3), levels_of([0.5, 0.9]))
    assert_allclose(quantiles, complete, rtol=0.2, atol=2)
    assert np.isnan(ErrorDistribution(partial).rank(partial))[150:, 2].all()


def test_distribution_without_errors_is_a_point():
    nothing = ErrorDistribution(np.full((5, 2, 1), np.nan))
    assert_allclose(nothing.quantile(np.arange(2), levels_of([0.1, 0.9], 2, 1)), 0)


def test_ranks_are_uniform_for_errors_of_the_same_kind():
    ranks = ErrorDistribution(errors(500)).rank(errors(300, seed=1))
    assert_allclose(
        np.quantile(ranks, [0.1, 0.5, 0.9], axis=0),
        0.5 + levels_of([-0.4, 0, 0.4]).T[:, :2, :].swapaxes(1, 2),
        atol=0.1,
    )


def test_tied_errors_rank_in_the_middle_of_their_levels():
    distribution = ErrorDistribution(np.repeat([-0.1, 0.3, 0.3, 0.7], 5).reshape(-1, 1, 1))
    ranks = distribution.rank(np.array([-0.2, -0.1, 0.3, 0.5, 0.7, 0.8]).reshape(-1, 1, 1))
    beyond = 0.25 / 2  # of the way from the median to the outermost error
    assert_allclose(ranks[:, 0, 0], [-beyond, 0.125, 0.5, 0.75, 0.875, 1 + beyond], atol=1e-6)


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_errors_that_never_change_are_no_misses(error):
    constant = np.full((50, 2, 1), error)
    ranks = ErrorDistribution(constant).rank(constant)
    levels = AdaptiveLevels(2, 1).observe(ranks).levels(0.9, np.zeros(1, int))[0, 0]
    assert_allclose(levels[0], recursion(np.full(50, 0.5), 0.1) / 2, atol=1e-6)


def test_truth_that_is_several_quantiles_ranks_in_the_middle_of_their_levels():
    known = np.array([0.1, 0.2, 0.5, 0.8, 0.9])
    quantiles = np.array([[2.0] * 5, [1.0, 1, 2, 3, 3], [1.0, 1, 2, 3, 3], [0.0, 1, 2, 2, 3]])
    truth = np.array([2.0, 1.0, 3.0, 2.0])
    middle = [
        norm.cdf((norm.ppf(low) + norm.ppf(high)) / 2)
        for low, high in ((0.1, 0.9), (0.1, 0.2), (0.8, 0.9), (0.5, 0.8))
    ]
    assert_allclose(rank_in_quantiles(truth, quantiles, known), middle)


def test_new_errors_replace_the_oldest():
    before = ErrorDistribution(errors(500))
    distribution = before.observe(errors(500, factor=5.0, seed=1))
    quantile = distribution.quantile(np.arange(3), levels_of([0.9]))
    assert_allclose(quantile[..., 0] / SCALES, 5 * norm.ppf(0.9), rtol=0.1)
    unchanged = before.quantile(np.arange(3), levels_of([0.9]))
    assert_allclose(unchanged[..., 0] / SCALES, norm.ppf(0.9), rtol=0.15)


# --- adaptive levels -----------------------------------------------------------------------------


def recursion(ranks, wanted, delay=0, step=0.005):
    """Run equation 2 of Gibbs and Candès for one sequence of ranks, known `delay` rows later."""
    alphas = [wanted]
    for i, rank in enumerate(ranks):
        lower = min(alphas[max(i - delay, 0)] / 2, 0.5)
        alphas.append(alphas[-1] + step * (wanted - (rank < lower or rank > 1 - lower)))
    return alphas[-1]


def test_levels_split_what_is_not_covered_before_there_is_truth():
    levels = AdaptiveLevels(3, 2).levels(0.9, np.array([0, 2]))
    assert_allclose(levels, levels_of([0.05, 0.95], 2))


def test_levels_follow_the_recursion_of_each_step_and_target():
    ranks = np.random.default_rng(0).uniform(size=(80, 3, 2)) ** 3
    adaptive = AdaptiveLevels(3, 2)
    for part in np.split(ranks, 4):
        adaptive = adaptive.observe(part)
    levels = adaptive.levels(0.8, np.arange(3))
    for step in range(3):
        for target in range(2):
            alpha = recursion(ranks[:, step, target], 0.2, delay=step)
            assert_allclose(levels[step, target], [alpha / 2, 1 - alpha / 2], atol=1e-6)


def test_long_horizons_judge_by_alpha_of_about_the_time_of_the_forecast():
    horizon, spacing = 200, 2  # more than 128 rows, so every other alpha is kept
    ranks = np.random.default_rng(0).uniform(size=(450, horizon, 1)) ** 1.5
    levels = AdaptiveLevels(horizon, 1).observe(ranks).levels(0.8, np.arange(horizon))
    for step in (0, 1, 130, 198, 199):
        alphas = [0.2]
        for i, rank in enumerate(ranks[:, step, 0]):
            lower = min(alphas[max(i - step, 0) // spacing * spacing] / 2, 0.5)
            alphas.append(alphas[-1] + 0.005 * (0.2 - (rank < lower or rank > 1 - lower)))
        assert_allclose(levels[step, 0, 0], alphas[-1] / 2, atol=1e-6)


def test_levels_go_on_below_zero_and_come_back():
    ranks = np.concatenate([np.full(100, 9.0), np.full(100, 0.5)])
    adaptive = AdaptiveLevels(1, 1).observe(ranks[:, np.newaxis, np.newaxis])
    alpha = recursion(ranks, 0.1)
    assert alpha < 0  # 100 misses weigh more than 100 hits at a coverage of 0.9
    levels = adaptive.levels(0.9, np.zeros(1, int))[0, 0]
    assert_allclose(levels, [alpha / 2, 1 - alpha / 2], atol=1e-6)
    adaptive = adaptive.observe(np.full((800, 1, 1), 0.5))
    levels = adaptive.levels(0.9, np.zeros(1, int))[0, 0]
    assert_allclose(levels[0], recursion(np.append(ranks, np.full(800, 0.5)), 0.1) / 2, atol=1e-6)


def test_rank_beyond_all_errors_is_the_inverse_of_the_quantile_there():
    distribution = ErrorDistribution(errors(500))
    levels = np.array([-0.3, -1e-3, 1.01, 2.0])
    quantiles = distribution.quantile(np.arange(3), levels_of(levels))
    assert (np.diff(quantiles, axis=-1) > 0).all()
    ranks = distribution.rank(np.moveaxis(quantiles, -1, 0))
    assert_allclose(np.moveaxis(ranks, 0, -1), levels_of(levels), atol=1e-5)
    outermost = distribution.quantile(np.arange(3), levels_of([0.0, 0.5, 1.0]))
    twice = distribution.quantile(np.arange(3), levels_of([-0.5, 0.5, 1.5]))
    middle = outermost[..., 1:2]
    assert_allclose(twice - middle, 2 * (outermost - middle), atol=1e-6)


def test_intervals_keep_their_coverage_where_errors_grow_without_end():
    distribution, adaptive = ErrorDistribution(errors(300)), AdaptiveLevels(3, 2)
    growing = errors(1500) * np.exp(np.arange(1500) / 100)[:, np.newaxis, np.newaxis]
    held = []
    for row in growing[:, np.newaxis]:
        levels = adaptive.levels(0.95, np.arange(3))
        lower, upper = np.moveaxis(distribution.quantile(np.arange(3), levels), -1, 0)
        held.append((row[0] >= lower) & (row[0] <= upper))
        adaptive = adaptive.observe(distribution.rank(row))
        distribution = distribution.observe(row)
    assert abs(np.mean(held[500:]) - 0.95) < 0.02


def test_size_does_not_grow_with_the_rows_observed():
    adaptive = AdaptiveLevels(3, 2)
    sizes = [len(pickle.dumps(adaptive))]
    for part in np.split(np.random.default_rng(0).uniform(size=(300, 3, 2)) ** 2, 3):
        adaptive = adaptive.observe(part)
        sizes.append(len(pickle.dumps(adaptive)))
    assert max(sizes[1:]) <= sizes[1] + 20


@pytest.mark.parametrize("seed", range(3))
def test_intervals_of_all_coverages_are_nested(seed):
    # half of the rows surprise: each coverage by itself would fall below a smaller one
    ranks = np.random.default_rng(seed).choice([0.02, 0.03, 0.05, 0.97, 1.2], (400, 2, 1))
    adaptive, coverages = AdaptiveLevels(2, 1), np.linspace(0.02, 0.998, 60)
    for part in np.split(ranks, 40):
        adaptive = adaptive.observe(part)
        levels = np.stack([adaptive.levels(coverage, np.arange(2)) for coverage in coverages])
        assert (np.diff(levels[..., 0], axis=0) <= 1e-12).all()
        assert (np.diff(levels[..., 1], axis=0) >= -1e-12).all()


def test_unknown_ranks_change_nothing():
    adaptive = AdaptiveLevels(3, 2).observe(np.full((5, 3, 2), np.nan))
    assert_allclose(adaptive.levels(0.9, np.zeros(1, int)), levels_of([0.05, 0.95], 1))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_adaptive_intervals_soon_cover_what_they_should_after_errors_double(coverage):
    distribution, adaptive = ErrorDistribution(errors(300)), AdaptiveLevels(3, 2)
    later = errors(1400, factor=2.0, seed=1)
    held = static = 0
    fixed = ErrorDistribution(errors(300)).quantile(
        np.arange(3), levels_of([0.5 - coverage / 2, 0.5 + coverage / 2])
    )
    for i, row in enumerate(later[:, np.newaxis]):
        levels = adaptive.levels(coverage, np.arange(3))
        lower, upper = np.moveaxis(distribution.quantile(np.arange(3), levels), -1, 0)
        if i >= 600:
            held += np.mean((row[0] >= lower) & (row[0] <= upper)) / 800
            static += np.mean((row[0] >= fixed[..., 0]) & (row[0] <= fixed[..., 1])) / 800
        adaptive = adaptive.observe(distribution.rank(row))
        distribution = distribution.observe(row)
    assert abs(held - coverage) < 0.03
    assert coverage - static > 0.1  # without adaptation they are far too narrow


# --- learned quantiles ---------------------------------------------------------------------------

KNOWN = np.array([0.1, 0.5, 0.9])


def test_interpolated_quantiles_of_a_normal_distribution_are_exact():
    quantiles = np.stack([norm.ppf(KNOWN, 3, 2), norm.ppf(KNOWN, -1, 0.5)])
    levels = np.array([0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
    found = interpolate_quantiles(quantiles, KNOWN, np.stack([levels, levels]))
    assert_allclose(found, np.stack([norm.ppf(levels, 3, 2), norm.ppf(levels, -1, 0.5)]))


def test_rank_is_the_inverse_of_interpolation():
    quantiles = np.tile([1.0, 2.0, 5.0], (6, 1))
    levels = np.array([-0.2, 0.02, 0.1, 0.5, 0.97, 1.001])
    truth = interpolate_quantiles(quantiles, KNOWN, levels[:, np.newaxis])[:, 0]
    assert_allclose(rank_in_quantiles(truth, quantiles, KNOWN), levels, atol=1e-9)


def test_rank_is_defined_where_quantiles_coincide_and_unknown_without_truth():
    quantiles = np.ones((4, 3))
    ranks = rank_in_quantiles(np.array([0.0, 1.0, 2.0, np.nan]), quantiles, KNOWN)
    assert ranks[0] < 0.01
    assert 0.1 <= ranks[1] <= 0.9
    assert ranks[2] > 0.99
    assert np.isnan(ranks[3])


def test_errors_beyond_all_measure_have_a_level():
    distribution = ErrorDistribution(errors(300))
    ranks = distribution.rank(
        np.array([-1e120, 1e120])[:, np.newaxis, np.newaxis] * np.ones((3, 2))
    )
    assert (ranks[0] < -1).all()
    assert (ranks[1] > 2).all()
    assert np.isfinite(ranks).all()
