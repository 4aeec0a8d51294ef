"""Pickles carry the version and the layout of what they hold."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor
from sks4._version import __version__
from sks4.exceptions import SavedModelError, SavedModelWarning

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}
X = np.random.default_rng(0).normal(size=(12, 1, 20))
SERIES = np.sin(np.arange(60))
CASES = {
    "classifier": (S4Classifier(**TINY), (X, np.arange(12) % 2), lambda e: e.predict_proba(X)),
    "regressor": (S4Regressor(**TINY), (X, np.arange(12.0)), lambda e: e.predict(X)),
    "generator": (
        S4Generator(**TINY, distribution="gaussian"),
        (X,),
        lambda e: e.score_samples(X),
    ),
    "forecaster": (S4Forecaster(**TINY, horizon=3), (SERIES,), lambda e: e.forecast()),
}


@pytest.fixture(params=CASES, ids=str)
def case(request):
    estimator, data, output = CASES[request.param]
    return clone(estimator).fit(*data), output


def with_state(estimator, **changes):
    """Return a pickle whose state has been changed; None leaves an entry out."""
    state = {
        name: value
        for name, value in (estimator.__getstate__() | changes).items()
        if value is not None
    }
    return pickle.dumps((type(estimator), state))


def load(pickled):
    cls, state = pickle.loads(pickled)
    estimator = cls.__new__(cls)
    estimator.__setstate__(state)
    return estimator


def test_pickle_predicts_the_same(case):
    estimator, output = case
    np.testing.assert_array_equal(output(pickle.loads(pickle.dumps(estimator))), output(estimator))


def test_pickle_of_another_version_warns(case):
    estimator, output = case
    assert estimator.__getstate__()["_sks4_version"] == __version__
    with pytest.warns(SavedModelWarning, match=r"saved by sks4 0\.9\.9 and is loaded by"):
        old = load(with_state(estimator, _sks4_version="0.9.9"))
    np.testing.assert_array_equal(output(old), output(estimator))
    assert not [name for name in vars(old) if name.startswith("_sks4")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_sks4_layout": 99, "_sks4_version": "9.0"}, r"saved by sks4 9\.0 .* \(layout 99"),
        ({"_sks4_layout": None, "_sks4_version": None}, r"saved by sks4 0\.1 .* \(layout 1"),
    ],
)
def test_pickle_of_another_layout_is_refused_with_advice(case, changes, message):
    estimator, _ = case
    with pytest.raises(SavedModelError, match=message + ".*Load it with sks4 .*, or fit it again"):
        load(with_state(estimator, **changes))
