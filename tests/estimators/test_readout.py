"""The last layer found by regression, against scikit-learn's on data left out, and its place."""

import pickle

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss

from sks4 import S4Classifier
from sks4.estimators._auto import resolve_readout
from sks4.estimators._readout import _PENALTIES, _some_steps, _summary_of, ridge_readout

SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4, "max_epochs": 3, "random_state": 0}


@pytest.fixture
def summaries():
    """Summaries of 30 sequences of three classes, their classes and weights."""
    rng = np.random.default_rng(0)
    targets = np.arange(30) % 3
    X = rng.normal(size=(30, 8)) * 10.0 ** rng.integers(-2, 3, 8) + 5
    X[:, 0] += 0.02 * targets
    return X, targets, rng.uniform(0.5, 2, 30)


@pytest.fixture
def waves():
    """Slow and fast waves of random length, and their names."""
    rng = np.random.default_rng(0)
    y = np.array(["slow", "fast", "none"])[np.arange(24) % 3]
    step = {"slow": 0.1, "fast": 0.5, "none": 0.0}
    return [np.sin(step[name] * np.arange(rng.integers(40, 60))) for name in y], y


def left_out(X, targets, weights, penalty, trust):
    """Return scores of each sample by the regression on all others, with the scaling of all."""
    Z = trust * (X - X.mean(axis=0)) / X.std(axis=0)
    Y = 2.0 * (targets[:, None] == np.arange(3)) - 1
    keep = ~np.eye(len(Z), dtype=bool)
    w = weights / weights.mean()
    return np.array(
        [
            Ridge(penalty).fit(Z[k], Y[k], sample_weight=w[k]).predict(Z[i : i + 1])[0]
            for i, k in enumerate(keep)
        ]
    )


@pytest.mark.parametrize("trust", [1.0, np.geomspace(0.2, 5, 8)])
def test_penalty_and_sharpness_are_the_best_for_samples_left_out(summaries, trust):
    X, targets, weights = summaries
    weight, bias = ridge_readout(X, targets, weights, n_classes=3, trust=trust)
    Y = 2.0 * (targets[:, None] == np.arange(3)) - 1
    scores = {p: left_out(X, targets, weights, p, trust) for p in 8 * _PENALTIES}
    errors = {p: np.average(((s - Y) ** 2).mean(1), weights=weights) for p, s in scores.items()}
    best = min(errors, key=errors.get)
    factors = np.geomspace(0.1, 100, 4001)
    likely = np.where(Y > 0, 31 / 32, 1 / 64)  # were all right, the next of 32 may be wrong
    losses = [
        -np.average((likely * log_softmax(f * scores[best], 1)).sum(1), weights=weights)
        for f in factors
    ]
    factor = factors[np.argmin(losses)]
    Z = trust * (X - X.mean(axis=0)) / X.std(axis=0)
    expected = factor * Ridge(best).fit(Z, Y, sample_weight=weights / weights.mean()).predict(Z)
    np.testing.assert_allclose(X @ weight.T + bias, expected, rtol=1e-2)


def test_the_unit_of_the_weights_has_no_effect(summaries):
    X, targets, weights = summaries
    expected = ridge_readout(X, targets, weights, n_classes=3)
    for found, wanted in zip(
        ridge_readout(X, targets, 1e3 * weights, n_classes=3), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_constant_summaries_are_not_blown_up(summaries):
    X, targets, weights = summaries
    X[:, 3] = 1 + 1e-9 * np.random.default_rng(1).normal(size=30)
    weight, _ = ridge_readout(X, targets, weights, n_classes=3)
    assert np.abs(weight[:, 3]).max() * 1e-6 < 1e-3


@pytest.mark.parametrize("lengths", [None, [100, 3, 1, 64]])
def test_limits_are_taken_from_real_steps_all_over_a_sequence(lengths):
    x = torch.arange(100.0)[:, None].expand(4, 100, 2)
    real = None if lengths is None else torch.tensor(lengths)
    steps = _some_steps(x, real, n_steps=32)
    assert steps.shape == (4, 32, 2)
    for row, length in zip(steps[..., 0], lengths or [100] * 4, strict=True):
        found = row.unique()
        assert found.min() >= 0
        assert found.max() < length
        gaps = torch.cat([found, torch.tensor([length])]).diff(prepend=torch.tensor([0]))
        assert gaps.max() <= 1 + 0.06 * length


def test_limits_are_quantiles():
    steps = np.random.default_rng(0).exponential([1.0, 100.0, 0.0], (8000, 3))
    steps[:, 2] = 7  # constant
    summary = _summary_of(steps, torch.zeros(1).double())
    shares = summary(torch.as_tensor(steps)[None])[0, :-3].reshape(8, 3)
    expected = 1 - (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(shares[:, 0], expected.double(), atol=0.003, rtol=0)
    torch.testing.assert_close(shares[:, 1], shares[:, 0], atol=0.003, rtol=0)
    np.testing.assert_allclose(summary.unit[:2], 0.01 * steps.std(axis=0)[:2])
    assert summary.unit[2] > 1e-5  # not blown up


def test_filters_follow_random_state(waves):
    X, y = waves
    outputs = [
        S4Classifier(**SMALL | {"random_state": seed}).fit(X, y)._predictor_.readout.bank.layer.C
        for seed in (0, 0, 1)
    ]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("readout", "n_samples", "pooling", "expected"),
    [
        ("auto", 1, "mean", "trained"),
        ("auto", 2, "mean", "ridge"),
        ("auto", 999, "mean", "ridge"),
        ("auto", 1000, "mean", "trained"),
        ("auto", 999, "last", "trained"),
        ("ridge", 5000, "max", "ridge"),
        ("trained", 10, "mean", "trained"),
    ],
)
def test_small_data_has_the_ridge(readout, n_samples, pooling, expected):
    assert resolve_readout(readout, n_samples, pooling) == expected


def test_one_sequence_is_too_few_for_a_regression_and_for_training(monkeypatch):
    X = np.random.default_rng(0).normal(size=(3, 1, 20))
    trained = []
    monkeypatch.setattr("sks4.training.S4Net.fit", lambda *_, **__: trained.append(1))
    with pytest.raises(
        ValueError, match=r"two different sequences at least, of a weight above zero, got"
    ):
        S4Classifier(**SMALL, readout="ridge").fit(X, [0, 1, 0], sample_weight=[0, 1, 0])
    assert not trained


def test_predictions_are_those_of_the_module(waves):
    X, y = waves
    classifier = S4Classifier(**SMALL, dtype="float64").fit(X, y)
    assert classifier.readout_ == "ridge"
    # one by one, without padding
    alone = np.vstack([classifier.decision_function([x]) for x in X])
    np.testing.assert_allclose(classifier.decision_function(X), alone, rtol=1e-9, atol=1e-9)


def test_probabilities_are_those_of_sequences_left_out(waves):
    """On the training data, which the regression has seen, they may not be overconfident."""
    X, y = waves
    rng = np.random.default_rng(1)
    noise = [rng.normal(size=50) for _ in range(24)]
    classifier = S4Classifier(**SMALL).fit(noise, y)  # nothing to learn
    assert log_loss(y, classifier.predict_proba([rng.normal(size=50) for _ in y])) < 1.5
    classifier = S4Classifier(**SMALL).fit(X, y)
    assert classifier.score(X, y) == 1
    assert classifier.predict_proba(X).max(axis=1).mean() > 0.9


def test_class_weights_count_in_the_regression():
    X, y = np.random.default_rng(0).normal(size=(2, 80, 1, 20)), np.arange(80) % 4 == 0
    parameters = SMALL | {"max_epochs": 1, "readout": "ridge"}
    shares = [
        S4Classifier(**parameters, class_weight=weight).fit(X[0], y).predict_proba(X[1])[:, 1]
        for weight in (None, "balanced")
    ]
    assert shares[0].mean() < 0.45
    assert abs(shares[1].mean() - 0.5) < 0.05


def test_label_smoothing_counts_in_the_probabilities(waves):
    X, y = waves
    classifier = S4Classifier(**SMALL, readout="ridge", label_smoothing=0.5).fit(X, y)
    assert classifier.score(X, y) == 1
    assert abs(classifier.predict_proba(X).max(axis=1).mean() - (0.5 + 0.5 / 3)) < 0.05


def test_both_readouts_train_the_same_network(waves):
    X, y = waves
    ridge = S4Classifier(**SMALL, readout="ridge").fit(X, y)
    trained = S4Classifier(**SMALL, readout="trained").fit(X, y)
    assert trained.readout_ == "trained"
    weights = [c.net_.module_.head.linear.weight for c in (ridge, trained)]
    torch.testing.assert_close(*weights)
    assert ridge.history_[:, "train_loss"] == trained.history_[:, "train_loss"]


def test_training_goes_on_with_the_head_it_had(waves):
    X, y = waves
    ridge = S4Classifier(**SMALL, readout="ridge", warm_start=True).fit(X, y).fit(X, y)
    trained = S4Classifier(**SMALL, readout="trained", warm_start=True).fit(X, y).fit(X, y)
    assert ridge.history_[:, "train_loss"] == trained.history_[:, "train_loss"]
    assert ridge.readout_ == "ridge"
    for classifier in (ridge, trained):
        classifier.partial_fit(X, y)
        assert classifier.readout_ == "trained"
    np.testing.assert_array_equal(ridge.predict_proba(X), trained.predict_proba(X))


def test_sequences_without_weight_have_no_effect(waves):
    X, y = waves
    classifier = S4Classifier(**SMALL, dtype="float64", readout="ridge", standardize=None)
    weights = np.ones(24)
    weights[:3] = 0
    fitted = classifier.fit(X, y, sample_weight=weights)
    before = fitted.decision_function(X)
    others = [100 * X[0], X[1][::-1], X[2] + 5, *X[3:]]
    classifier.fit(others, y, sample_weight=weights)
    np.testing.assert_allclose(classifier.decision_function(X), before, rtol=1e-6, atol=1e-6)


def test_copies_are_one_sequence_with_all_their_weight(waves):
    X, y = waves
    parameters = SMALL | {"dtype": "float64", "readout": "ridge", "lr": 1e-9, "standardize": None}
    copies = [0, 0, 0, *range(1, 24), 7]
    repeated = S4Classifier(**parameters).fit([X[i] for i in copies], y[copies])
    weighted = S4Classifier(**parameters).fit(X, y, sample_weight=np.bincount(copies))
    np.testing.assert_allclose(
        repeated.decision_function(X), weighted.decision_function(X), rtol=1e-3
    )


@pytest.mark.parametrize("n_interrupts", [1, 2])
def test_an_interrupted_regression_is_repeated_once(waves, monkeypatch, n_interrupts):
    X, y = waves
    regress, calls = ridge_readout, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) <= n_interrupts:
            raise KeyboardInterrupt
        return regress(*arguments, **options)

    monkeypatch.setattr("sks4.estimators._readout.ridge_readout", interrupted)
    classifier = S4Classifier(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, y)
    assert len(calls) == 2
    if n_interrupts == 2:  # a second interrupt changes nothing
        with pytest.raises(NotFittedError):
            classifier.predict(X)
        return
    assert classifier.readout_ == "ridge"
    expected = S4Classifier(**SMALL).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("options", [{}, {"prenorm": False}, {"patch_size": 4}, {"n_layers": 1}])
def test_streams_and_pickles_read_the_summary(waves, options):
    X, y = waves
    classifier = S4Classifier(**SMALL | options, readout="ridge", standardize="global").fit(X, y)
    stream = pickle.loads(pickle.dumps(classifier)).stream()
    for x in (X[0][:7], X[0][7:8], X[0][8:]):
        stream.push(x[np.newaxis])
    np.testing.assert_allclose(
        stream.predict_proba(), classifier.predict_proba(X[:1]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"norm": "batch"}, {"ssm": "s4d"}])
def test_all_models_have_summaries(waves, options):
    X, y = waves
    classifier = S4Classifier(**SMALL, **options).fit(X, y)
    assert np.isfinite(classifier.decision_function(X)).all()
    n_summaries = 9 * (SMALL["d_model"] * SMALL["n_layers"] + 256)
    assert classifier._predictor_.readout.linear.weight.shape == (3, n_summaries)
