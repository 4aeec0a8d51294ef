"""The tools of scikit-learn around the estimators, on 3-D and ragged input."""

import json
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import loguniform
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - enables the search
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer


@pytest.fixture(params=["3-D", "ragged"])
def data(request, waves, ragged_waves):
    return waves if request.param == "3-D" else ragged_waves


def halve(X):
    """Leave out every second time point."""
    return [x[:, ::2] for x in X]


# --- selection and validation --------------------------------------------------------------------


def test_cross_validation_works(make_estimator, data):
    X, y = data
    assert cross_val_score(make_estimator(), X, y, cv=3).shape == (3,)
    scores = cross_validate(make_estimator(), X, y, cv=2, return_train_score=True)
    assert np.isfinite(scores["train_score"]).all()
    assert cross_val_predict(make_estimator(), X, y, cv=2).shape == (24,)


def test_learning_curve_works(make_classifier, data):
    X, y = data
    sizes, *_ = learning_curve(make_classifier(), X, y, cv=2, train_sizes=[0.5, 1.0])
    assert sizes.tolist() == [6, 12]


def test_split_works(make_estimator, data):
    X_train, X_test, y_train, y_test = train_test_split(*data, random_state=0)
    assert np.isfinite(make_estimator().fit(X_train, y_train).score(X_test, y_test))


def test_grid_search_in_a_pipeline_with_groups(make_classifier, ragged_waves):
    X, y = ragged_waves
    pipeline = Pipeline([("halve", FunctionTransformer(halve)), ("model", make_classifier())])
    grid = {"model__d_model": [2, 4], "model__lr": [0.01, 0.03]}
    search = GridSearchCV(pipeline, grid, cv=GroupKFold(3)).fit(X, y, groups=np.arange(24) // 4)
    assert len(search.cv_results_["params"]) == 4
    assert search.predict(X).shape == (24,)


def test_grid_search_in_parallel_equals_serial(make_classifier, waves):
    X, y = waves
    grid = {"d_model": [2, 4]}
    searches = [
        GridSearchCV(make_classifier(), grid, cv=2, n_jobs=n_jobs, scoring="neg_log_loss")
        for n_jobs in (1, 2)
    ]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers
    try:
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            results = [search.fit(X, y).cv_results_["mean_test_score"] for search in searches]
    finally:
        torch.set_num_threads(n_threads)
    assert_array_equal(*results)


def test_randomized_search_works(make_estimator, data):
    search = RandomizedSearchCV(
        make_estimator(), {"lr": loguniform(1e-3, 1e-1)}, n_iter=2, cv=2, random_state=0
    )
    assert search.fit(*data).best_params_["lr"] > 0


def test_halving_search_with_epochs_as_resource(make_classifier, data):
    search = HalvingGridSearchCV(
        make_classifier(),
        {"d_model": [2, 4, 6]},
        resource="max_epochs",
        min_resources=1,
        max_resources=3,
        cv=2,
        random_state=0,
    ).fit(*data)
    assert search.n_resources_ == [1, 3]
    assert search.best_estimator_.n_epochs_ == 3


def test_interrupt_inside_a_search_ends_the_search(make_classifier, waves, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sks4.training.S4Net.run_single_epoch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(make_classifier(), {"d_model": [2, 4]}, cv=2, error_score=0.0).fit(*waves)


# --- ensembles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_works(make_classifier, data, method):
    calibrated = CalibratedClassifierCV(make_classifier(), method=method, cv=2).fit(*data)
    assert_allclose(calibrated.predict_proba(data[0]).sum(axis=1), 1)


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting_works(make_classifier, data, voting):
    estimators = [(f"seed {seed}", make_classifier(random_state=seed)) for seed in range(2)]
    assert VotingClassifier(estimators, voting=voting).fit(*data).predict(data[0]).shape == (24,)


def test_stacking_works(make_classifier, make_regressor, data):
    classifiers = [(f"seed {seed}", make_classifier(random_state=seed)) for seed in range(2)]
    stacked = StackingClassifier(classifiers, LogisticRegression(), cv=2).fit(*data)
    assert stacked.predict(data[0]).shape == (24,)
    regressors = [(f"seed {seed}", make_regressor(random_state=seed)) for seed in range(2)]
    assert np.isfinite(StackingRegressor(regressors, Ridge(), cv=2).fit(*data).score(*data))


# --- metadata ------------------------------------------------------------------------------------


def test_metadata_is_routed_through_a_search(make_classifier, waves):
    X, y = waves
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = (
            make_classifier()
            .set_fit_request(sample_weight=True, sampling_rate=True)
            .set_predict_request(sampling_rate=True)
            .set_score_request(sample_weight=True, sampling_rate=True)
        )
        search = GridSearchCV(classifier, {"d_model": [4]}, cv=2)
        search.fit(X, y, sample_weight=np.ones(24), sampling_rate=100.0)
        best = search.best_estimator_
        assert best.sampling_rate_ == 100
        slower = X[:, :, ::2]
        routed = Pipeline([("model", best)]).predict(slower, sampling_rate=50.0)
        assert_array_equal(routed, best.predict(slower, sampling_rate=50.0))


def test_weights_reach_a_scorer_that_asks_for_them(make_classifier, waves):
    X, y = waves
    y = np.where(np.arange(24) % 5, y, 1 - y)  # some cannot be told
    scores = []
    with sklearn.config_context(enable_metadata_routing=True):
        for asks in (False, True):
            result = cross_validate(
                make_classifier().set_fit_request(sample_weight=True),
                X,
                y,
                cv=2,
                scoring=make_scorer(accuracy_score).set_score_request(sample_weight=asks),
                params={"sample_weight": np.linspace(0, 1, 24)},
            )
            scores.append(result["test_score"])
    assert not np.allclose(*scores)


# --- display and storage -------------------------------------------------------------------------


def test_display_shows_the_parameters_that_differ(make_estimator, waves):
    estimator = make_estimator(d_model=6, batch_size="auto").fit(*waves)
    assert "d_model=6" in repr(estimator)
    html = estimator._repr_html_()
    assert type(estimator).__name__ in html
    assert "d_model" in html


def test_fitted_estimator_predicts_the_same_in_a_fresh_process(make_classifier, waves, tmp_path):
    X, y = waves
    classifier = make_classifier().fit(X, y)
    joblib.dump((classifier, X), tmp_path / "joblib")
    (tmp_path / "pickle").write_bytes(pickle.dumps((classifier, X)))
    script = (
        "import joblib, json, pickle, sys\n"
        "for load in (joblib.load, lambda file: pickle.load(open(file, 'rb'))):\n"
        "    classifier, X = load(sys.argv.pop(1))\n"
        "    print(json.dumps(classifier.predict_proba(X).tolist()))\n"
    )
    files = [str(tmp_path / "joblib"), str(tmp_path / "pickle")]
    command = [sys.executable, "-c", script, *files]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    expected = classifier.predict_proba(X)
    for line in printed.splitlines():
        assert_allclose(json.loads(line), expected, rtol=1e-9)
    assert len(printed.splitlines()) == 2


def test_unpickled_estimator_goes_on_training(make_classifier, waves):
    X, y = waves
    classifier = make_classifier().partial_fit(X, y, classes=[0, 1])
    copy = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(
        copy.partial_fit(X, y).predict_proba(X), classifier.partial_fit(X, y).predict_proba(X)
    )


def test_predictions_of_frames_are_arrays_also_with_pandas_output(make_estimator, waves):
    X, y = waves
    with sklearn.config_context(transform_output="pandas"):
        predicted = make_estimator().fit(pd.DataFrame(X[:, 0]), y).predict(pd.DataFrame(X[:, 0]))
    assert isinstance(predicted, np.ndarray)
