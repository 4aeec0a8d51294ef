import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4 import S4Classifier


@pytest.fixture
def fitted(make_classifier, waves):
    X, y = waves
    return make_classifier(d_model=8, max_epochs=20, lr=0.03).fit(X, y)


def three_classes(waves):
    X, _ = waves
    return X, np.array(["a", "b", "c"])[np.arange(24) % 3]


def test_classifier_learns(fitted, waves):
    assert fitted.score(*waves) == 1


def test_classifier_generalizes_with_its_defaults_but_for_size():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=90)
    time = np.arange(60)
    X = [
        np.sin((0.2 + 0.2 * label) * (time[: rng.integers(30, 60)] + rng.uniform(0, 30)))
        for label in y
    ]
    classifier = S4Classifier(d_model=16, n_layers=2, d_state=16, max_epochs=20, random_state=0)
    assert classifier.fit(X[:60], y[:60]).score(X[60:], y[60:]) > 0.9


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_scores_and_labels_agree(make_classifier, waves, n_classes):
    X, y = waves if n_classes == 2 else three_classes(waves)
    classifier = make_classifier(dtype="float32").fit(X, y)
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (24, n_classes)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-15)
    assert_allclose(classifier.predict_log_proba(X), np.log(probabilities), rtol=1e-12)
    assert_array_equal(classifier.predict(X), classifier.classes_[probabilities.argmax(axis=1)])
    scores = classifier.decision_function(X)
    if n_classes == 2:
        assert_allclose(scores, np.log(probabilities[:, 1] / probabilities[:, 0]), rtol=1e-9)
    else:
        assert_array_equal(scores.argmax(axis=1), probabilities.argmax(axis=1))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array([False, True]),
        np.array([-5, 7]),
        np.array(["no", "yes"], dtype=object),
        np.array([0.0, 1.0]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_of_any_type_come_back(make_classifier, waves, labels):
    X, y = waves
    classifier = make_classifier(d_model=8, max_epochs=20, lr=0.03).fit(X, labels[y])
    assert classifier.classes_.dtype == labels.dtype
    assert_array_equal(classifier.predict(X), labels[y])


def test_labels_in_a_series_come_back(make_classifier, waves):
    X, y = waves
    labels = pd.Series(["no", "yes"])[y].astype("category")
    predicted = make_classifier(d_model=8, max_epochs=20, lr=0.03).fit(X, labels).predict(X)
    assert_array_equal(predicted, labels.to_numpy())


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.linspace(0, 1, 24), "Unknown label type: continuous"),
        (np.where(np.arange(24) == 3, np.nan, 1.0), "Input y contains NaN"),
        (np.zeros((24, 2)), r"y should be a 1d array, got an array of shape \(24, 2\)"),
        (np.zeros(23), "inconsistent numbers of samples"),
    ],
)
def test_bad_labels_are_refused(make_classifier, waves, y, message):
    with pytest.raises(ValueError, match=message):
        make_classifier().fit(waves[0], y)


def test_one_class_is_certain(make_classifier, waves):
    X, _ = waves
    classifier = make_classifier().fit(X, ["only"] * 24)
    assert set(classifier.predict(X)) == {"only"}
    assert_array_equal(classifier.predict_proba(X), np.ones((24, 1)))


def test_class_with_one_member_trains(make_classifier, waves):
    X, y = waves
    labels = np.where(np.arange(24) == 7, 9, y)
    classifier = make_classifier().fit(X, labels)
    assert classifier.classes_.tolist() == [0, 1, 9]
    assert classifier.predict_proba(X)[:, 2].argmax() == 7


@pytest.mark.parametrize("class_weight", [{0: 1, 1: 50}, "balanced"])
def test_class_weights_shift_the_prediction(make_classifier, waves, class_weight):
    X, _ = waves
    y = (np.arange(24) % 4 == 0).astype(int)  # cannot be told from the waves
    parameters = {"max_epochs": 20, "readout": "trained"}
    plain = make_classifier(**parameters).fit(X, y)
    weighted = make_classifier(**parameters, class_weight=class_weight).fit(X, y)
    shift = weighted.predict_proba(X)[:, 1].mean() - plain.predict_proba(X)[:, 1].mean()
    assert shift > 0.1


def test_class_weight_equals_sample_weight(make_classifier, waves):
    X, y = waves
    by_class = make_classifier(class_weight={0: 1.0, 1: 3.0}).fit(X, y)
    by_sample = make_classifier().fit(X, y, sample_weight=np.where(y, 3.0, 1.0))
    assert_array_equal(by_class.predict_proba(X), by_sample.predict_proba(X))


def test_label_smoothing_takes_from_certainty(make_classifier, waves):
    parameters = {"d_model": 8, "max_epochs": 20, "lr": 0.05}
    certainties = [
        make_classifier(label_smoothing=smoothing, **parameters)
        .fit(*waves)
        .predict_proba(waves[0])
        .max(axis=1)
        .mean()
        for smoothing in (0.0, 0.5)
    ]
    assert certainties[0] > 0.95
    assert certainties[1] < 0.85


def test_mixup_takes_from_certainty(make_classifier, waves):
    parameters = {"d_model": 8, "max_epochs": 20, "lr": 0.05, "readout": "trained"}
    mixed = make_classifier(mixup=1.0, **parameters).fit(*waves)
    plain = make_classifier(**parameters).fit(*waves)
    assert mixed.score(*waves) == plain.score(*waves) == 1
    certainty = [c.predict_proba(waves[0]).max(axis=1).mean() for c in (mixed, plain)]
    assert certainty[0] < certainty[1]
    assert mixed.history_[-1]["train_loss"] > plain.history_[-1]["train_loss"]


def test_score_counts_weights(fitted, waves):
    X, y = waves
    wrong = np.where(np.arange(24) < 6, 1 - y, y)
    assert fitted.score(X, wrong) == 0.75
    assert fitted.score(X, wrong, sample_weight=np.arange(24) < 6) == 0
