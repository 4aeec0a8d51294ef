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
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - enables the search
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    ParameterSampler,
    RandomizedSearchCV,
    check_cv,
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


def pick(X, rows):
    """Return some samples in the form of X."""
    return [X[i] for i in rows] if isinstance(X, list) else X[rows]


def folds(estimator, X, y, cv=2):
    """Return the rows of training and test of each fold, as the tools make them."""
    return list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y))


def test_cross_validation_equals_fits_of_the_folds(make_estimator, data):
    X, y = data
    result = cross_validate(make_estimator(), X, y, cv=2, return_train_score=True)
    assert_array_equal(cross_val_score(make_estimator(), X, y, cv=2), result["test_score"])
    predicted = cross_val_predict(make_estimator(), X, y, cv=2)
    for i, (train, test) in enumerate(folds(make_estimator(), X, y)):
        fitted = make_estimator().fit(pick(X, train), y[train])
        assert_array_equal(predicted[test], fitted.predict(pick(X, test)))
        assert result["train_score"][i] == fitted.score(pick(X, train), y[train])
        assert result["test_score"][i] == fitted.score(pick(X, test), y[test])


def test_learning_curve_works(make_classifier, data):
    X, y = data
    sizes, *_ = learning_curve(make_classifier(), X, y, cv=2, train_sizes=[0.5, 1.0])
    assert sizes.tolist() == [6, 12]


def test_split_equals_picking_the_rows(make_estimator, data):
    X, y = data
    X_train, X_test, y_train, y_test, train, test = train_test_split(
        X, y, np.arange(24), random_state=0
    )
    fitted = make_estimator().fit(pick(X, train), y[train])
    other = make_estimator().fit(X_train, y_train)
    assert_array_equal(other.predict(X_test), fitted.predict(pick(X, test)))
    assert other.score(X_test, y_test) == fitted.score(pick(X, test), y[test])


def test_grid_search_in_a_pipeline_with_groups(make_classifier, ragged_waves):
    X, y = ragged_waves
    pipeline = Pipeline([("halve", FunctionTransformer(halve)), ("model", make_classifier())])
    grid = {"model__d_model": [2, 4], "model__lr": [0.01, 0.03]}
    search = GridSearchCV(pipeline, grid, cv=GroupKFold(3)).fit(X, y, groups=np.arange(24) // 4)
    splits = list(GroupKFold(3).split(X, y, np.arange(24) // 4))
    by_hand = []
    for params in search.cv_results_["params"]:
        fits = [clone(pipeline).set_params(**params).fit(pick(X, a), y[a]) for a, _ in splits]
        scores = [fit.score(pick(X, b), y[b]) for fit, (_, b) in zip(fits, splits, strict=True)]
        by_hand.append(np.mean(scores))
    assert_allclose(search.cv_results_["mean_test_score"], by_hand)
    assert search.best_params_ == search.cv_results_["params"][np.argmax(by_hand)]
    best = clone(pipeline).set_params(**search.best_params_).fit(X, y)
    assert_array_equal(search.predict_proba(X), best.predict_proba(X))


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


def test_randomized_search_chooses_the_best_of_what_it_draws(make_estimator, data):
    draws = {"lr": loguniform(1e-3, 1e-1)}
    options = {"n_iter": 2, "random_state": 0}
    scoring = "neg_log_loss" if is_classifier(make_estimator()) else "r2"  # without ties
    search = RandomizedSearchCV(make_estimator(), draws, cv=2, scoring=scoring, **options)
    search.fit(*data)
    drawn = list(ParameterSampler(draws, **options))
    scores = [
        cross_val_score(make_estimator(**params), *data, cv=2, scoring=scoring).mean()
        for params in drawn
    ]
    assert_allclose(search.cv_results_["mean_test_score"], scores)
    assert search.best_params_ == drawn[np.argmax(scores)]
    best = make_estimator(**search.best_params_).fit(*data)
    assert_array_equal(search.predict(data[0]), best.predict(data[0]))


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
def test_calibration_equals_calibrating_each_fold(make_classifier, data, method):
    X, y = data
    calibrated = CalibratedClassifierCV(make_classifier(), method=method, cv=2).fit(X, y)
    expected = []
    for train, test in folds(make_classifier(), X, y):
        fitted = FrozenEstimator(make_classifier().fit(pick(X, train), y[train]))
        one = CalibratedClassifierCV(fitted, method=method, ensemble=False)
        expected.append(one.fit(pick(X, test), y[test]).predict_proba(X))
    assert_allclose(calibrated.predict_proba(X), np.mean(expected, axis=0))


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting_counts_the_votes_of_all(make_classifier, data, voting):
    X, y = data
    members = [(f"seed {seed}", make_classifier(random_state=seed)) for seed in range(3)]
    predicted = VotingClassifier(members, voting=voting).fit(X, y).predict(X)
    fits = [clone(member).fit(X, y) for _, member in members]
    if voting == "soft":
        expected = np.mean([fit.predict_proba(X) for fit in fits], axis=0).argmax(axis=1)
    else:
        expected = np.sum([fit.predict(X) for fit in fits], axis=0) >= 2
    assert_array_equal(predicted, expected)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_stacking_equals_stacking_by_hand(make_classifier, make_regressor, data, kind):
    X, y = data
    make = make_classifier if kind == "classifier" else make_regressor
    members = [(f"seed {seed}", make(random_state=seed)) for seed in range(2)]
    if kind == "classifier":
        stacked, final = StackingClassifier(members, LogisticRegression(), cv=2), "predict_proba"
    else:
        stacked, final = StackingRegressor(members, Ridge(), cv=2), "predict"
    stacked.fit(X, y)
    outputs = [cross_val_predict(member, X, y, cv=2, method=final) for _, member in members]
    last = [output[:, 1] if kind == "classifier" else output for output in outputs]
    by_hand = clone(stacked.final_estimator).fit(np.column_stack(last), y)
    assert_allclose(stacked.final_estimator_.coef_, by_hand.coef_)
    outputs = [getattr(clone(member).fit(X, y), final)(X) for _, member in members]
    last = [output[:, 1] if kind == "classifier" else output for output in outputs]
    assert_allclose(stacked.predict(X), by_hand.predict(np.column_stack(last)))


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
