"""Intervals around forecasts, made of errors and ranks, without a network."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4.estimators.forecasting._intervals import (
    Intervals,
    by_time_of_truth,
    check_levels,
    rows_at_once,
)
from sks4.estimators.forecasting._predictor import Forecasts

HORIZON, N_TARGETS = 3, 2
LEVELS = np.array([0.1, 0.5, 0.9])
COVERAGES = (0.3, 0.5, 0.8, 0.9, 0.95, 0.97)


def drawn(n_origins, factor=1.0, seed=0):
    """Return forecasts of zero, and normal truths that vary more at later steps."""
    rng = np.random.default_rng(seed)
    truths = factor * rng.normal(size=(n_origins, HORIZON, N_TARGETS))
    return np.zeros((n_origins, HORIZON, N_TARGETS, 1)), truths * np.arange(1, 4)[:, np.newaxis]


def learned(outputs):
    """Return forecasts of three quantiles around others."""
    return outputs + np.array([-1.28, 0.0, 1.28]) * np.arange(1, 4)[:, np.newaxis, np.newaxis]


@pytest.fixture(params=["errors", "learned"])
def intervals(request):
    """Return intervals, and what makes forecasts of them."""
    if request.param == "errors":
        start = Intervals.start(None, HORIZON, N_TARGETS)
        return start.calibrate(*drawn(300)), lambda outputs: outputs
    return Intervals.start(LEVELS, HORIZON, N_TARGETS), learned


def ahead(make, n_rows=HORIZON):
    outputs = make(np.zeros((1, HORIZON, N_TARGETS, 1)))[0]
    steps = np.arange(n_rows)
    return Forecasts(outputs[np.minimum(steps, HORIZON - 1)], steps)


def test_intervals_contain_their_share_of_normal_truths(intervals):
    intervals, make = intervals
    _, truths = drawn(2000, seed=1)
    for coverage in (0.5, 0.8, 0.9):
        lower, upper = np.moveaxis(intervals.interval(ahead(make), coverage), -1, 0)
        assert_allclose(np.mean((truths >= lower) & (truths <= upper)), coverage, atol=0.05)


def test_ends_of_an_interval_are_quantiles(intervals):
    intervals, make = intervals
    ends = intervals.quantiles(ahead(make), [0.1, 0.9])
    assert_allclose(intervals.interval(ahead(make), 0.8), ends, rtol=1e-6)


def test_steps_beyond_the_horizon_have_the_width_of_the_last(intervals):
    intervals, make = intervals
    widths = np.diff(intervals.interval(ahead(make, 6), 0.8))[..., 0]
    assert_allclose(widths[3:], np.broadcast_to(widths[2], (3, 2)), rtol=1e-6)


@pytest.mark.parametrize("n_new", [1, 2, 5])
def test_intervals_are_nested_after_every_update(intervals, n_new):
    intervals, make = intervals
    rng = np.random.default_rng(3)
    n_crossings = 0
    for i in range(40):
        factor = rng.choice([0.0, 0.2, 3.0])
        outputs, truths = drawn(n_new + HORIZON - 1, factor, seed=i)
        intervals = intervals.observe(make(outputs), truths, n_new)
        ends = [intervals.interval(ahead(make), coverage) for coverage in COVERAGES]
        for narrow, wide in pairwise(ends):
            n_crossings += np.sum(wide[..., 0] > narrow[..., 0])
            n_crossings += np.sum(wide[..., 1] < narrow[..., 1])
    assert n_crossings == 0


def test_intervals_widen_with_the_errors_and_the_earlier_ones_do_not(intervals):
    before, make = intervals
    after = before
    for i in range(30):
        outputs, truths = drawn(5 + HORIZON - 1, 8.0, seed=i)
        after = after.observe(make(outputs), truths, 5)
    widths = [np.diff(x.interval(ahead(make), 0.8)) for x in (before, after, before)]
    assert (widths[1] > 1.5 * widths[0]).all()
    assert_array_equal(widths[0], widths[2])


def test_unknown_truths_and_forecasts_change_no_level(intervals):
    intervals, make = intervals
    outputs, truths = drawn(6)
    known = intervals.interval(ahead(make), 0.9)
    for o, t in ((make(outputs), np.full_like(truths, np.nan)), (make(outputs) * np.nan, truths)):
        observed = intervals.observe(o, t, 4)
        assert_allclose(observed.adaptive.levels(0.9, np.arange(3)), [[[0.05, 0.95]] * 2] * 3)
        if intervals.calibration is None:
            assert_array_equal(observed.interval(ahead(make), 0.9), known)


def test_truths_meet_the_forecast_made_for_them_by_the_step():
    n_seen, n_new, n_origins = 10, 4, 6  # origins 8 ... 13, before the rows of that number
    origins = np.arange(n_seen + n_new - n_origins, n_seen + n_new)
    rows = origins[:, np.newaxis] + np.arange(HORIZON)
    outputs = (100 * origins[:, np.newaxis] + np.arange(HORIZON))[..., np.newaxis, np.newaxis]
    truths = np.where(rows < n_seen + n_new, rows, np.nan)[..., np.newaxis]
    outputs, truths = by_time_of_truth(outputs.astype(float), truths, n_new)
    for i in range(n_new):
        for step in range(HORIZON):
            origin = n_seen + i - step
            if origin >= origins[0]:
                assert truths[i, step, 0] == n_seen + i
                assert outputs[i, step, 0, 0] == 100 * origin + step
            else:
                assert np.isnan(truths[i, step, 0])


def test_quantiles_of_origins_are_named_by_level():
    outputs, _ = drawn(4)
    of_learned = Intervals.start(LEVELS, HORIZON, N_TARGETS).of_origins(learned(outputs), None)
    assert list(of_learned) == [0.1, 0.5, 0.9]
    assert_array_equal(of_learned[0.9], learned(outputs)[..., 2])
    calibrated = Intervals.start(None, HORIZON, N_TARGETS).calibrate(*drawn(300))
    assert calibrated.of_origins(outputs, None) == {}
    quantiles = calibrated.of_origins(outputs, [0.1, 0.9])
    expected = calibrated.quantiles(Forecasts(outputs[0], np.arange(HORIZON)), [0.1, 0.9])
    assert_allclose(quantiles[0.1][2], expected[..., 0])


def test_without_errors_there_are_no_intervals():
    empty = Intervals.start(None, HORIZON, N_TARGETS)
    assert empty.observe(*drawn(5), 5) is empty
    with pytest.raises(ValueError, match="need validation data, or loss='quantile', got neither"):
        empty.interval(ahead(lambda outputs: outputs), 0.9)
    single = Intervals.start(np.array([0.9]), HORIZON, N_TARGETS)
    with pytest.raises(ValueError, match=r"only quantile is the one that was learned, 0\.9"):
        single.interval(ahead(lambda outputs: outputs), 0.9)


@pytest.mark.parametrize(
    ("levels", "error", "message"),
    [
        ([0.5, 0.5], ValueError, "must rise"),
        ([0.0, 0.5], ValueError, "above 0 and below 1"),
        ([np.nan], ValueError, "above 0 and below 1"),
        ([[0.1, 0.2]], ValueError, "above 0 and below 1"),
        ("median", TypeError, "number or a sequence"),
    ],
)
def test_bad_levels_are_refused(levels, error, message):
    with pytest.raises(error, match=message):
        check_levels(levels)


def test_levels_become_a_list():
    assert check_levels(0.5) == [0.5]
    assert check_levels(np.array([0.1, 0.9])) == [0.1, 0.9]


@pytest.mark.parametrize("many", [False, True])
def test_many_rows_are_observed_in_pieces_as_by_several_updates(make_forecaster, monkeypatch, many):
    from sks4.estimators.forecasting import _forecaster, _panel_forecaster

    wave = np.sin(np.arange(260) / 3) + np.random.default_rng(0).normal(0, 0.2, 260)

    def data(start, stop):
        return (
            {"a": wave[start:stop], "b": 3 * wave[start + 7 : stop]} if many else wave[start:stop]
        )

    def fit():
        return make_forecaster(early_stopping="auto", max_epochs=1).fit(data(0, 80))

    pieces = fit()
    for stop in (110, 160, 210, 260):
        later = {"a": wave[stop - 50 : stop], "b": 3 * wave[stop - 50 : stop]}
        first = {"a": wave[80:110], "b": 3 * wave[80:110]}
        later = first if stop == 110 else later
        pieces.update(later if many else later["a"])
    for module in (_forecaster, _panel_forecaster):
        monkeypatch.setattr(module, "rows_at_once", lambda horizon, n_columns: 50)
    later = {"a": wave[80:], "b": 3 * wave[80:]}
    at_once = fit().update(later if many else later["a"])
    for coverage in (0.5, 0.9):
        expected, found = (f.forecast(coverage=coverage) for f in (pieces, at_once))
        for key in expected if many else [slice(None)]:
            assert_allclose(found[key], expected[key], rtol=1e-6)


def test_rows_at_once_bound_the_forecasts_and_hold_a_horizon():
    assert rows_at_once(24, 1) * 24 <= 500_000
    assert rows_at_once(24, 10) * 240 <= 500_000
    assert rows_at_once(10_000, 100) == 10_000
