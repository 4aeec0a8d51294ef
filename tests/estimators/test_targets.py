"""Targets between the user's unit and that of the loss, without a network."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from sks4.estimators._targets import ClassEncoder, ValueEncoder, check_class_weight, fit_scaler

ONES = np.ones(6)
LABELS = np.array(["b", "a", "c", "b", "b", "a"])
INDICES = np.array([1, 0, 2, 1, 1, 0])


# --- classes -------------------------------------------------------------------------------------


def test_classes_become_positions_in_sorted_order():
    encoder = ClassEncoder.of(LABELS, None)
    assert encoder.classes.tolist() == ["a", "b", "c"]
    assert encoder.n_outputs == 3
    read = encoder.read(LABELS)
    assert_array_equal(read, INDICES)
    assert read.dtype == np.int64
    assert_array_equal(encoder.encode(read), INDICES)
    assert_array_equal(encoder.strata(read), INDICES)
    assert_array_equal(encoder.attributes()["classes_"], encoder.classes)


def test_a_later_class_is_refused_with_its_name():
    with pytest.raises(ValueError, match=r"previously unseen labels.*d"):
        ClassEncoder.of(LABELS, None).read(["a", "d"])


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 1.0, "b": 5.0, "c": 0.0}])
def test_weights_of_classes_are_those_of_scikit_learn_with_a_mean_of_one(class_weight):
    weights = np.arange(1.0, 7.0)
    encoder = ClassEncoder.of(LABELS, class_weight).learn(INDICES, weights)
    found = encoder.weigh(INDICES, weights)
    expected = compute_class_weight(class_weight, classes=encoder.classes, y=LABELS)[INDICES]
    assert_allclose(found, weights * expected * weights.sum() / (weights * expected).sum())


def test_unit_of_class_weights_has_no_effect():
    found = [
        ClassEncoder.of(LABELS, {"a": a, "b": 2 * a, "c": 3 * a}).learn(INDICES, ONES).class_weights
        for a in (1.0, 1e300, 1e-300)
    ]
    assert_allclose(found[1:], [found[0], found[0]])


def test_weights_that_leave_nothing_are_refused():
    encoder = ClassEncoder.of(LABELS, {"a": 0.0, "b": 0.0, "c": 1.0})
    with pytest.raises(ValueError, match="must leave a training sample with a weight above zero"):
        encoder.learn(INDICES, (INDICES != 2).astype(float))


def test_learning_changes_no_encoder():
    encoder = ClassEncoder.of(LABELS, "balanced")
    encoder.learn(INDICES, ONES)
    assert encoder.class_weights is None
    values = ValueEncoder.of(np.arange(3.0))
    values.learn(np.arange(3.0)[:, np.newaxis], np.ones(3))
    assert values.scaler is None


@pytest.mark.parametrize(
    ("class_weight", "error", "message"),
    [
        ({0: -1.0}, ValueError, "finite weights of at least 0, got -1.0 for class 0"),
        ({0: np.nan}, ValueError, "finite weights of at least 0, got nan for class 0"),
        ({"a": np.inf}, ValueError, "got inf for class 'a'"),
        ({0: "1"}, TypeError, "must hold numbers, got '1' for class 0"),
        ({0: True}, TypeError, "must hold numbers, got True"),
        ({0: None}, TypeError, "must hold numbers, got None"),
        ({0: 0.0, 1: 0}, ValueError, "a weight above zero, got only zeros"),
    ],
)
def test_bad_class_weight_is_refused(class_weight, error, message):
    with pytest.raises(error, match=message):
        check_class_weight(class_weight)


@pytest.mark.parametrize("class_weight", [None, "balanced", {}, {0: 1, 1: 0}, {0: np.float32(2)}])
def test_good_class_weight_is_accepted(class_weight):
    check_class_weight(class_weight)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [None, 1, 3])
def test_values_are_standardized_and_come_back_with_their_axes(n_targets):
    rng = np.random.default_rng(0)
    y = rng.normal(5, 100, size=20 if n_targets is None else (20, n_targets))
    weights = rng.uniform(0.1, 3, 20)
    encoder = ValueEncoder.of(y)
    targets = encoder.read(y)
    assert targets.shape == (20, encoder.n_outputs) == (20, n_targets or 1)
    learned = encoder.learn(targets, weights)
    scaled = learned.encode(targets)
    assert_allclose(np.average(scaled, axis=0, weights=weights), 0, atol=1e-12)
    assert_allclose(np.average(scaled**2, axis=0, weights=weights), 1)
    assert_allclose(learned.decode(scaled), y)
    assert learned.decode(scaled).shape == y.shape
    assert learned.attributes()["n_targets_in_"] == n_targets


def test_scaling_is_learned_once():
    encoder = ValueEncoder.of(np.zeros(3)).learn(np.array([[0.0], [2.0]]), np.ones(2))
    again = encoder.learn(np.array([[100.0], [300.0]]), np.ones(2))
    assert_allclose(again.encode(np.array([[3.0]])), 2)


def test_names_and_axes_must_be_those_of_fit():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    encoder = ValueEncoder.of(frame)
    assert_array_equal(encoder.read(frame), frame)
    with pytest.raises(ValueError, match=r"y must have shape \(n_samples, 2\) as in fit, got \(n"):
        encoder.read([1.0, 2.0])
    with pytest.raises(ValueError, match="b"):
        encoder.read(frame.rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match=r"must be within 1e\+300 in magnitude.* got 2e\+300"):
        ValueEncoder.of([2e300, 0.0])


@pytest.mark.parametrize("unit", [1.0, 2.0**900, 2.0**-900, 1e-12])
def test_scaler_is_that_of_scikit_learn_in_any_unit(unit):
    rng = np.random.default_rng(0)
    targets = rng.normal(3, 2, size=(30, 2))
    weights = rng.uniform(size=30)
    expected = StandardScaler().fit(targets, None, weights)
    scaler = fit_scaler(targets * unit, weights)
    assert_allclose(scaler.mean_, expected.mean_ * unit, rtol=1e-12)
    assert_allclose(scaler.scale_, expected.scale_ * unit, rtol=1e-12)


def test_constant_targets_come_back():
    targets = np.array([[7.0, 0.0, 1e-200, -3e200]] * 5)
    scaler = fit_scaler(targets, np.ones(5))
    assert_allclose(scaler.transform(targets), 0, atol=1e-15)
    assert_allclose(scaler.inverse_transform(np.zeros((1, 4))), targets[:1], rtol=1e-15)
    assert (scaler.scale_ > 0).all()
