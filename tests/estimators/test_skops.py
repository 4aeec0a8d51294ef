"""Fitted estimators can be written and read with skops, with the list of types in the docs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io

import sks4
from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor

TRUSTED = Path(sks4.__file__).parents[1] / "docs" / "user_guide" / "skops_trusted.txt"
TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}
SERIES = TINY | {"horizon": 4, "context_length": 8, "patch_size": 2}
X = np.random.default_rng(0).normal(size=(12, 2, 7))
Y = np.arange(12) % 2
WAVE = np.sin(np.arange(100.0))
DATES = pd.date_range("2024-01-01", periods=100, freq="h", tz="Europe/Berlin")
FRAMES = [pd.DataFrame(x.T, columns=["a", "b"]) for x in X]
NAMED = pd.DataFrame({"u": WAVE, "v": -WAVE}, DATES.tz_localize(None))


def seasonal():
    series = pd.Series(WAVE, DATES, name="wave")
    return (
        S4Forecaster(calendar=["hour"], **SERIES)
        .fit(series)
        .update(pd.Series(WAVE[:8], pd.date_range(DATES[-1], periods=9, freq="h")[1:], name="wave"))
    )


# what makes a fitted estimator, and what it says
CASES = {
    "ridge": (lambda: S4Classifier(**TINY).fit(FRAMES, Y), lambda e: e.predict_proba(FRAMES)),
    "trained": (
        lambda: S4Classifier(readout="trained", early_stopping=True, **TINY).fit(X, Y),
        lambda e: e.predict_proba(X),
    ),
    "labels": (
        lambda: S4Classifier(mixup=0.2, class_weight="balanced", **TINY).fit(
            X, np.where(Y, "up", "down")
        ),
        lambda e: e.predict(X),
    ),
    "values": (lambda: S4Regressor(**TINY).fit(X, Y), lambda e: e.predict(X)),
    "targets": (
        lambda: S4Regressor(**TINY).fit(X, pd.DataFrame({"u": Y, "v": -Y})),
        lambda e: e.predict(X),
    ),
    "gaussian": (
        lambda: S4Generator(distribution="gaussian", **TINY).fit(X),
        lambda e: e.sample(2, random_state=0),
    ),
    "mixture": (
        lambda: S4Generator(distribution="mixture", **TINY).fit(X),
        lambda e: e.score_samples(X),
    ),
    "symbols": (
        lambda: S4Generator(**TINY).fit(["abba", "ab"]),
        lambda e: e.score_samples(["ab"]),
    ),
    "rows": (lambda: S4Forecaster(**SERIES).fit(WAVE), lambda e: e.predict_interval(WAVE[:4])),
    "dates": (seasonal, lambda e: e.forecast()),
    "quantiles": (
        lambda: S4Forecaster(loss="quantile", **SERIES).fit(NAMED),
        lambda e: e.forecast(),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def saved(request):
    """Return a fitted estimator, its file, and the function that asks it."""
    make, ask = CASES[request.param]
    estimator = make()
    return estimator, skops.io.dumps(estimator), ask


def test_every_type_in_a_file_is_in_the_list_of_the_docs(saved):
    trusted = TRUSTED.read_text().split()
    assert set(skops.io.get_untrusted_types(data=saved[1])) <= set(trusted)
    assert trusted == sorted(set(trusted))


def test_what_was_read_says_the_same(saved):
    estimator, data, ask = saved
    found = skops.io.loads(data, trusted=TRUSTED.read_text().split())
    expected, answer = ask(estimator), ask(found)
    if isinstance(expected, (pd.Series, pd.DataFrame)):
        assert answer.equals(expected)
        assert answer.index.equals(expected.index)
    else:
        np.testing.assert_array_equal(answer, expected)


def test_training_resumes_after_reading():
    estimator = S4Regressor(**TINY).fit(X, Y)
    data = skops.io.dumps(estimator)
    found = skops.io.loads(data, trusted=TRUSTED.read_text().split())
    expected = estimator.partial_fit(X, Y).predict(X)
    np.testing.assert_allclose(found.partial_fit(X, Y).predict(X), expected, rtol=1e-5)
