"""What is chosen before the forecaster trains, from rows and parameters alone."""

from itertools import chain

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sks4.data import Columns, SeriesEncoder, Timeline, TimeRows
from sks4.estimators.forecasting import _training as training
from sks4.estimators.forecasting._predictor import Windows
from sks4.exceptions import ValidationSplitWarning


def windows(values, context_length=6, horizon=3):
    encoder = SeriesEncoder().fit(values, np.empty((len(values), 0)))
    return Windows(encoder, context_length, horizon, 2, None, "float64")


def columns(values, weights=None):
    """Return rows without covariates."""
    weights = np.ones(len(values)) if weights is None else weights
    return Columns(values, np.empty((len(values), 0)), weights)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize(
    ("n_rows", "fraction", "early_stopping", "expected"),
    [
        (100, 0.1, False, 100),
        (100, 0.1, True, 87),  # the horizon and ten rows
        (100, 0.3, True, 70),
        (100, 0.3, "auto", 70),
        (40, 0.1, "auto", 27),
        (34, 0.1, "auto", 34),  # would be half of what is left to train on
    ],
)
def test_last_rows_are_set_aside_where_there_are_enough(n_rows, fraction, early_stopping, expected):
    arguments = (np.ones((n_rows, 1)), 3, 6, fraction, early_stopping)
    assert training.n_rows_to_train_on(*arguments) == expected


def test_rows_without_a_target_are_not_set_aside(values):
    values[25:] = np.nan
    assert training.n_rows_to_train_on(values, 3, 6, 0.1, "auto") == 40
    with pytest.warns(ValidationSplitWarning, match="13 rows with an observed target"):
        assert training.n_rows_to_train_on(values, 3, 6, 0.1, True) == 40


@pytest.mark.parametrize(
    ("n_rows", "longest", "period", "expected"),
    [(60, 50, 4, 30), (60, 10, 4, 10), (60, 58, 12, 36), (24, 24, 1, 20), (5000, 4900, 24, 512)],
)
def test_context_is_half_of_the_rows_or_three_seasons(n_rows, longest, period, expected):
    assert training.resolve_context_length("auto", n_rows, longest, period) == expected
    assert training.resolve_context_length(7, n_rows, longest, period) == 7


@pytest.mark.parametrize(
    ("context_length", "period", "expected"), [(60, 12, 12), (30, 12, 3), (504, 168, 24), (5, 1, 1)]
)
def test_patch_is_a_season_of_which_there_are_three(context_length, period, expected):
    assert training.resolve_patch_size("auto", context_length, period) == expected
    assert training.resolve_patch_size(7, context_length, period) == 7


def test_context_is_whole_patches_where_it_has_one():
    assert training.in_whole_patches(512, 24) == 504
    assert training.in_whole_patches(5, 24) == 5


def test_least_share_rises_with_the_number_of_windows():
    shares = [training.least_share(n) for n in (-3, 0, 1000, 1500, 2000, 10**6)]
    assert shares == [0, 0, 0, 0.5, 1, 1]


def test_windows_to_train_on_end_in_the_training_rows(values):
    origins = training.training_origins(windows(values), columns(values), 30)
    assert_array_equal(origins, np.arange(6, 28))
    with pytest.raises(ValueError, match=r"= 6 \+ 3 rows .* got n_samples=8 \(32 more for val"):
        training.training_origins(windows(values), columns(values), 8)


@pytest.mark.parametrize("n_new", [1, 2, 3, 4, 12])
def test_latest_windows_are_those_that_end_in_new_rows(values, n_new):
    rows = TimeRows((columns(values),), Timeline(None, 40))
    latest, origins = training.latest_windows(windows(values), rows, n_new)
    first = 40 - len(latest)
    ends = origins + first + 3
    assert_array_equal(ends, np.arange(41 - n_new, 41))
    assert_array_equal(latest.values[1:], values[first + 1 :])
    assert len(latest) <= 6 + 3 + n_new


def test_batch_and_epochs_follow_the_data():
    assert training.resolve_batch_size("auto", 1000, 20) == 64
    assert training.resolve_batch_size("auto", 200, 20) == 20
    assert training.resolve_batch_size("auto", 20, 20) == 8
    assert training.resolve_batch_size("auto", 1000, 2**14) == 4
    assert training.resolve_batch_size(5, 1000, 2**14) == 5
    assert training.resolve_n_epochs("auto", 64, 64) == 100
    assert training.resolve_n_epochs("auto", 640, 64) == 35
    assert training.resolve_n_epochs("auto", 10**6, 64) == 3
    assert training.resolve_n_epochs(7, 10**6, 64) == 7


def test_training_batches_hold_each_window_once(values):
    setup = training.Setup(windows(values), 5, (0.01, 0.1), 1, None)
    series = setup.windows.encode(columns(values))
    weights = np.arange(40.0)
    origins = training.training_origins(setup.windows, columns(values), 40)
    rng = np.random.default_rng(0)
    batches = training.training_batches(setup, series, weights, origins, rng)
    order = [list(batch) for batch in batches.batch_sampler]
    assert sorted(chain.from_iterable(order)) == list(range(len(origins)))
    assert max(map(len, order)) == 5
    _, targets = batches.dataset[order[0]]
    expected = weights[origins[order[0]][:, np.newaxis] + np.arange(3)]
    assert_array_equal(targets["weight"][..., 0], expected)


def test_rows_without_weight_or_target_are_refused(values):
    form, is_late = windows(values), np.arange(40) >= 25
    message = "observed target with a weight above zero, got none after the first 6"
    with pytest.raises(ValueError, match=message):
        training.training_origins(form, columns(values, is_late.astype(float)), 25)
    with pytest.raises(ValueError, match=message):
        training.training_origins(form, columns(np.where(is_late[:, None], values, np.nan)), 25)


def test_rows_without_target_make_no_latest_windows(values):
    values[30:] = np.nan
    rows = TimeRows((columns(values),), Timeline(None, 40))
    _, origins = training.latest_windows(windows(values), rows, 4)
    assert len(origins) == 0
    _, origins = training.latest_windows(windows(values), rows, 9)
    assert len(origins) == 9


def test_validation_windows_begin_after_the_training_rows(values):
    form = windows(values)
    series = form.encode(columns(values))
    batches = training.validation_batches(form, series, np.ones(40), 30)
    inputs, targets = batches.dataset[list(range(10))]
    assert_array_equal(inputs["context"][0], series.values[24:30])
    assert_array_equal(targets["weight"][-1, :, 0], [1, 0, 0])
    assert training.validation_batches(form, series, np.ones(40), 40) is None


def test_calibration_origins_are_few_and_spread():
    assert_array_equal(training.calibration_origins(30, 40), np.arange(30, 40))
    many = training.calibration_origins(1000, 9000)
    assert len(many) == 500
    assert (many[0], many[-1]) == (1000, 8999)
