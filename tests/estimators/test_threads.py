"""Fits with the same integer seed are identical in threads, and change nothing of the process."""

from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 2, "batch_size": 8}


def waves():
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = np.sin(np.where(y, 1.0, 0.3)[:, np.newaxis] * np.arange(20)) + rng.normal(0, 0.1, (24, 20))
    return X[:, np.newaxis], y


def classify(**options):
    return S4Classifier(**TINY | options).fit(*waves()).predict_proba(waves()[0])


def regress(**options):
    X, y = waves()
    return S4Regressor(**TINY | options).fit(X, X[:, 0, 3] + y).predict(X)


def generate(**options):
    generator = S4Generator(**TINY | {"distribution": "mixture"} | options)
    return generator.fit(waves()[0]).score_samples(waves()[0])


def forecast(**options):
    sizes = {"horizon": 4, "context_length": 12, "patch_size": 4}
    forecaster = S4Forecaster(**TINY | sizes | options).fit(waves()[0][:5].ravel())
    # so short a series is forecast by its base, so the weights count
    weights = forecaster.net_.module_.state_dict().values()
    return np.concatenate([forecaster.forecast(), *(w.numpy().ravel() for w in weights)])


RUNS = {
    "classifier by ridge": lambda seed: classify(random_state=seed, readout="ridge"),
    "classifier with mixup": lambda seed: classify(random_state=seed, readout="trained", mixup=0.4),
    "regressor": lambda seed: regress(random_state=seed, dropout=0.5),
    "regressor in float64": lambda seed: regress(random_state=seed, dtype="float64"),
    "generator": lambda seed: generate(random_state=seed),
    "forecaster": lambda seed: forecast(random_state=seed),
}


def state_of_the_process():
    limits = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global one is meant
    return limits, torch.get_num_threads(), torch.get_rng_state().numpy().tobytes(), numpy_state


@pytest.mark.parametrize("name", RUNS)
def test_fits_in_threads_equal_serial_ones(name):
    seeds = [0, 1, 2] * 3
    expected = [RUNS[name](seed) for seed in seeds[:3]] * 3
    assert not np.array_equal(expected[0], expected[1])
    before = state_of_the_process()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(RUNS[name], seeds))
    assert state_of_the_process() == before
    for each, other in zip(found, expected, strict=True):
        assert_array_equal(each, other)


@pytest.mark.parametrize("name", RUNS)
def test_fit_does_not_depend_on_the_default_dtype(name):
    expected, before = RUNS[name](0), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = RUNS[name](0)
    finally:
        torch.set_default_dtype(before)
    assert_array_equal(found, expected)


def test_grid_search_in_threads_equals_the_serial_one():
    X, y = waves()
    search = GridSearchCV(
        S4Classifier(**TINY, random_state=0),
        {"lr": [0.01, 0.1], "dropout": [0.0, 0.5]},
        cv=2,
        scoring="neg_log_loss",
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    before = state_of_the_process()
    with joblib.parallel_config("threading", n_jobs=4):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    assert_array_equal(found, expected)
    assert state_of_the_process() == before


def test_labels_are_those_of_the_fit_that_predicts(monkeypatch):
    X, y = waves()
    classifier = S4Classifier(**TINY, random_state=0).fit(X, y)
    expected = classifier.predict(X)
    other = S4Classifier(**TINY, random_state=0).fit(X, y + 10)
    scores = S4Classifier._scores

    def fitted_again_meanwhile(self, *args):
        result = scores(self, *args)
        self.__dict__ = vars(other)  # as at the end of a fit in another thread
        return result

    monkeypatch.setattr(S4Classifier, "_scores", fitted_again_meanwhile)
    assert_array_equal(classifier.predict(X), expected)
