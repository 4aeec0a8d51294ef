"""The checks of scikit-learn, as they are, and the like of them for 3-D and ragged input."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    parametrize_with_checks,
)

from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor

# Small, and strong enough for the checks that ask for a good score; without dropout, and with a
# batch that holds all samples of the check that compares weights with repeated rows. In float64,
# because a batch of another size rounds otherwise in float32.
CHECKED = {
    "d_model": 8,
    "n_layers": 1,
    "d_state": 8,
    "patch_size": 10,
    "max_epochs": 20,
    "batch_size": 32,
    "lr": 0.03,
    "dropout": 0.0,
    "dtype": "float64",
    "standardize": None,
}
FORECASTER = S4Forecaster(
    **(CHECKED | {"patch_size": 2, "horizon": 2, "context_length": 3, "early_stopping": False})
)
GENERATED = {name: value for name, value in CHECKED.items() if name != "patch_size"}
ESTIMATORS = [
    S4Classifier(**CHECKED),
    S4Regressor(**CHECKED),
    S4Generator(distribution="gaussian", **GENERATED | {"max_epochs": 2}),
    S4Generator(**GENERATED | {"max_epochs": 2}),
]
FRACTIONS = "X holds fractions, and the symbols of a categorical distribution are none"
EXPECTED_FAILURES = {
    "check_positive_only_tag_during_fit": FRACTIONS,
    "check_sample_weight_equivalence_on_dense_data": FRACTIONS,
}
TINY = CHECKED | {"max_epochs": 1, "patch_size": 1, "standardize": "global", "random_state": 0}


def expected_failures(estimator):
    is_categorical = getattr(estimator, "distribution", None) == "categorical"
    return EXPECTED_FAILURES if is_categorical else {}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_estimator_passes_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "check", [check_param_validation, check_dataframe_column_names_consistency]
)
def test_estimator_passes_check_for_scikit_learns_own(estimator, check):
    check(type(estimator).__name__, estimator)


# --- rows that are time ------------------------------------------------------------------------

# Checks that take the rows of X for independent samples, and why a forecaster cannot pass them.
ROWS_ARE_TIME = {
    "check_methods_sample_order_invariance": "the order of rows is time, so it matters",
    "check_methods_subset_invariance": (
        "rows of an array follow the last row of fit, so the forecast of a row depends on how many "
        "come before it"
    ),
    "check_sample_weight_equivalence_on_dense_data": (
        "leaving a row out, or repeating it, moves all that come after it in time"
    ),
    "check_regressor_data_not_an_array": (
        "a frame is aligned by its index and asks for forecasts of the rows of fit, of which the "
        "first have no context; the same rows as an array follow those of fit"
    ),
    "check_estimators_empty_data_messages": (
        "X may have no columns: then nothing but the series itself is known"
    ),
}


@parametrize_with_checks([FORECASTER], expected_failed_checks=lambda _: ROWS_ARE_TIME)
def test_forecaster_passes_check_of_scikit_learn(estimator, check):
    check(estimator)


def test_forecaster_passes_check_for_scikit_learns_own():
    check_param_validation("S4Forecaster", FORECASTER)


# --- 3-D and ragged input ----------------------------------------------------------------------


def cube(n_samples=12, n_timepoints=9):
    """Return samples of two channels (n_samples, 2, n_timepoints)."""
    return np.random.default_rng(0).normal(size=(n_samples, 2, n_timepoints))


def frames(n_samples=12):
    """Return frames with rows as time, the columns named."""
    return [
        pd.DataFrame(x.T[: 4 + i % 5], columns=["north", "east"])
        for i, x in enumerate(cube(n_samples))
    ]


def ragged():
    """Return sequences of two channels with 4 to 8 time points."""
    return [x[:, : 4 + i % 5] for i, x in enumerate(cube())]


def as_objects(sequences):
    """Return a 1-D object array of the sequences."""
    array = np.empty(len(sequences), dtype=object)
    array[:] = sequences
    return array


FORMS = {
    "3-D array": cube(),
    "ragged list": ragged(),
    "ragged object array": as_objects(ragged()),
    "list of frames": frames(),
}


@pytest.fixture(params=[S4Classifier, S4Regressor], ids=lambda cls: cls.__name__)
def estimator(request):
    return request.param(**TINY)


@pytest.fixture(name="X", params=FORMS, ids=str)
def sequences(request):
    return FORMS[request.param]


@pytest.fixture
def y(estimator):
    values = np.arange(12)
    return np.array(["a", "b", "c"])[values % 3] if is_classifier(estimator) else values / 3


def outputs(estimator, X):
    """Return what the estimator predicts for X, as numbers."""
    return estimator.predict_proba(X) if is_classifier(estimator) else estimator.predict(X)


def pick(X, rows):
    """Return some samples in the form of X."""
    return [X[i] for i in rows] if isinstance(X, list) else X[rows]


def test_fit_returns_the_estimator_and_no_parameter_changes(estimator, X, y):
    before = estimator.get_params()
    assert estimator.fit(X, y) is estimator
    assert estimator.get_params() == before
    metric = accuracy_score if is_classifier(estimator) else r2_score
    assert estimator.score(X, y) == pytest.approx(metric(y, estimator.predict(X)))


def test_fit_leaves_the_data_alone(estimator, X, y):
    before = pickle.dumps((X, y))
    estimator.fit(X, y).predict(X)
    assert pickle.dumps((X, y)) == before


def test_fit_twice_and_fit_of_a_clone_give_the_same(estimator, X, y):
    first = outputs(estimator.fit(X, y), X)
    assert_array_equal(outputs(estimator.fit(X, y), X), first)
    assert_array_equal(outputs(clone(estimator).fit(X, y), X), first)


def test_prediction_does_not_depend_on_order_or_company(estimator, X, y):
    expected = outputs(estimator.fit(X, y), X)
    rows = np.random.default_rng(0).permutation(12)
    assert_allclose(outputs(estimator, pick(X, rows)), expected[rows], rtol=1e-9)
    alone = [outputs(estimator, pick(X, [i])) for i in range(12)]
    assert_allclose(np.concatenate(alone), expected, rtol=1e-9)


def test_pickled_estimator_predicts_the_same(estimator, X, y):
    expected = outputs(estimator.fit(X, y), X)
    assert_array_equal(outputs(pickle.loads(pickle.dumps(estimator)), X), expected)


def test_pipeline_gives_the_same_as_the_estimator(estimator, X, y):
    pipeline = make_pipeline(FunctionTransformer(), clone(estimator)).fit(X, y)
    assert_array_equal(pipeline.predict(X), estimator.fit(X, y).predict(X))
    assert pipeline.score(X, y) == estimator.score(X, y)


def test_unfitted_estimator_refuses_to_predict(estimator, X):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        estimator.predict(X)


def test_features_are_the_channels(estimator, X, y):
    estimator.fit(X, y)
    assert estimator.n_features_in_ == 2
    names = getattr(estimator, "feature_names_in_", None)
    has_names = isinstance(X[0], pd.DataFrame)
    assert (names.tolist() == ["north", "east"]) if has_names else names is None


def test_other_number_of_channels_is_refused(estimator, X, y):
    with pytest.raises(ValueError, match=r"X has 3 channels, but S4\w+ is expecting 2 channels"):
        estimator.fit(X, y).predict(np.zeros((1, 3, 9)))


def test_other_channel_names_are_refused(estimator, y):
    estimator.fit(frames(), y)
    renamed = [frame.rename(columns={"east": "west"}) for frame in frames()]
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        estimator.predict(renamed)


def test_other_number_of_timepoints_is_welcome(estimator, X, y):
    doubled = [
        pd.concat([x, x]) if isinstance(x, pd.DataFrame) else np.hstack([x, x]) for x in X[:3]
    ]
    if not is_classifier(estimator):  # noise is told nothing but the mean
        y = np.array([np.mean(x) for x in X])
    together = outputs(estimator.fit(X, y), doubled)
    assert_allclose(together, [outputs(estimator, [x])[0] for x in doubled], rtol=1e-9)
    assert not np.allclose(together, outputs(estimator, pick(X, range(3))), rtol=1e-3)


def test_other_number_of_axes_is_refused(estimator, X, y):
    with pytest.raises(ValueError, match="X must have the form it had in fit, channels and time"):
        estimator.fit(X, y).predict(np.zeros((2, 9)))
    with pytest.raises(ValueError, match="X must have the form it had in fit, one row"):
        estimator.fit(np.zeros((12, 9)), y).predict(X)


def test_numbers_of_samples_must_agree(estimator, X, y):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.fit(X, y[:-1])


def test_missing_target_is_named(estimator, X):
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        estimator.fit(X, None)


def test_infinite_value_is_located(estimator, y):
    X = cube()
    X[3, 1, 2] = np.inf
    with pytest.raises(ValueError, match=r"contains infinity: X\[3\], channel 1, time point 2"):
        estimator.fit(X, y)
