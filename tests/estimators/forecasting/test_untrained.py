"""A network that cannot count for anything in the forecasts is not trained."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4 import S4Forecaster

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "random_state": 0}


def make(**options):
    return S4Forecaster(**(TINY | {"horizon": 12} | options))


def months(n_rows, seed=0):
    t = np.arange(n_rows)
    noise = np.random.default_rng(seed).normal(size=n_rows)
    return 100 + 0.5 * t + 10 * np.sin(2 * np.pi * t / 12) + noise


@pytest.fixture(scope="module")
def untrained():
    return make().fit(months(100))


def test_nothing_is_trained_where_held_out_rows_are_too_few(untrained):
    assert untrained.base_correction_ == 0
    assert (untrained.n_epochs_, untrained.best_epoch_, untrained.max_epochs_) == (0, 0, 0)
    assert len(untrained.history_) == 0
    assert repr(untrained.history_) == "<TrainingHistory of 0 epochs>"


def test_forecasts_and_intervals_are_those_of_a_trained_one(untrained):
    trained = make(max_epochs=2).fit(months(100))
    assert trained.n_epochs_ == 2
    for one, other in zip(
        (untrained.forecast(30), untrained.forecast(coverage=0.9)),
        (trained.forecast(30), trained.forecast(coverage=0.9)),
        strict=True,
    ):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("n_rows", "options"),
    [
        (100, {"horizon": 4}),  # three blocks of a horizon are held out
        (400, {"horizon": 12}),
        (100, {"loss": "quantile"}),
        (100, {"standardize": "global"}),
        (100, {"early_stopping": False}),
        (100, {"max_epochs": 1}),
    ],
)
def test_a_network_that_may_count_or_must_be_trained_is(n_rows, options):
    assert make(max_time=0.05, **options).fit(months(n_rows)).n_epochs_ > 0


def test_enough_validation_rows_given_are_enough():
    series = months(140)
    forecaster = make(max_time=0.05)
    assert forecaster.fit(series[:100], X_val=series[100:135]).n_epochs_ == 0
    assert forecaster.fit(series[:100], X_val=series[100:]).n_epochs_ > 0


def test_an_untrained_one_is_updated_streamed_and_pickled(untrained):
    later = pickle.loads(pickle.dumps(untrained)).update(months(110)[100:])
    expected = later.forecast(history=months(110))
    assert_allclose(later.forecast(), expected)
    stream = untrained.stream().push(months(110)[np.newaxis])
    assert_allclose(stream.forecast(), expected)
    assert later.backtest(months(110))["forecast"].notna().all()


def test_partial_fit_trains_an_untrained_one(untrained):
    later = pickle.loads(pickle.dumps(untrained)).partial_fit(months(110)[100:])
    assert (later.n_epochs_, later.base_correction_) == (1, 0)
    assert_allclose(later.forecast(), later.forecast(history=months(110)))


def test_a_warm_start_trains_once_there_are_rows_to_judge_by():
    forecaster = make(warm_start=True, max_time=0.05).fit(months(100))
    assert forecaster.n_epochs_ == 0
    assert forecaster.fit(months(100)).n_epochs_ == 0
    forecaster.fit(months(500))
    assert forecaster.n_epochs_ > 0
    assert np.isfinite(forecaster.forecast()).all()


def test_many_series_without_rows_to_judge_by_train_nothing():
    series = {name: months(22, seed) for seed, name in enumerate("abc")}
    forecaster = make(horizon=8).fit(series)
    assert (forecaster.n_epochs_, forecaster.base_correction_) == (0, 0)
    assert set(forecaster.forecast()) == set("abc")
    longer = {name: months(80, seed) for seed, name in enumerate("abc")}
    assert make(horizon=8, max_time=0.05).fit(longer).n_epochs_ > 0
