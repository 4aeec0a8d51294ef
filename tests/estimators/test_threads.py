"""Fits and predictions in threads are those of one thread."""

from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor

TINY = {"d_model": 4, "n_layers": 2, "d_state": 4, "batch_size": 8, "dropout": 0.3}
TINY |= {"max_epochs": 3, "random_state": 0}
X = np.random.default_rng(0).normal(size=(24, 1, 30))
LABELS, VALUES = np.arange(24) % 3, np.linspace(-1, 1, 24)
SERIES = np.sin(np.arange(120) * 0.5)

ESTIMATORS = {
    "classifier": (S4Classifier(**TINY, mixup=0.2), (X, LABELS), "predict_proba"),
    "regressor": (S4Regressor(**TINY), (X, VALUES), "predict"),
    "generator": (S4Generator(**TINY, distribution="mixture"), (X,), "score_samples"),
}


def blas_threads():
    return [(info["filepath"], info["num_threads"]) for info in threadpool_info()]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fits_in_threads_equal_those_one_after_the_other(name):
    estimator, data, output = ESTIMATORS[name]

    def fitted(seed):
        one = clone(estimator).set_params(random_state=seed).fit(*data)
        return getattr(one, output)(X)

    expected = [fitted(seed) for seed in range(4)]
    state, blas = torch.get_rng_state(), blas_threads()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fitted, [0, 1, 2, 3] * 2))
    for i, one in enumerate(found):
        np.testing.assert_array_equal(one, expected[i % 4])
    assert torch.equal(state, torch.get_rng_state())
    assert blas_threads() == blas


def test_forecasters_fitted_in_threads_equal_those_one_after_the_other():
    def forecast(seed):
        small = TINY | {"random_state": seed, "horizon": 4, "context_length": 16, "patch_size": 4}
        return S4Forecaster(**small).fit(SERIES).forecast()

    expected = [forecast(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(forecast, range(4))), expected)


def test_search_in_threads_equals_the_serial_one():
    search = GridSearchCV(S4Classifier(**TINY), {"lr": [0.01, 0.1], "d_state": [4, 8]}, cv=2)
    serial = clone(search).fit(X, LABELS).cv_results_
    with joblib.parallel_config("threading", n_jobs=4):
        threaded = search.fit(X, LABELS).cv_results_
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(threaded[name], serial[name])


def test_weights_do_not_depend_on_the_default_dtype():
    expected = S4Regressor(**TINY).fit(X, VALUES).predict(X)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = S4Regressor(**TINY).fit(X, VALUES).predict(X)
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("ssm", ["s4", "s4d"])
def test_predictions_at_many_rates_in_threads_are_right(ssm):
    regressor = S4Regressor(**TINY | {"ssm": ssm}).fit(X, VALUES, sampling_rate=100)
    rates = [100, 50, 200, 25, 80, 120, 60, 150]
    expected = [regressor.predict(X, sampling_rate=rate) for rate in rates]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda rate: regressor.predict(X, sampling_rate=rate), rates * 6))
    for i, one in enumerate(found):
        np.testing.assert_array_equal(one, expected[i % len(rates)])
