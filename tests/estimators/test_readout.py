"""The last layer found by regression, against scikit-learn's on data left out, and its place."""

import math
import pickle

import numpy as np
import pytest
import sklearn
import torch
from scipy.special import log_softmax
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, cross_val_score

from sks4 import S4Classifier, S4Regressor
from sks4.estimators._auto import resolve_n_filters, resolve_readout
from sks4.estimators._filters import _inputs_of_filters, _recall_of, _some_steps, _summary_of
from sks4.estimators._readout import LeftOut, Readout, calibrated, class_targets
from sks4.estimators._regression import _Errors
from sks4.estimators._ridge import fit_ridge
from sks4.nn import FilterBank, Summary

SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4, "max_epochs": 3, "random_state": 0}


@pytest.fixture
def waves():
    """Slow and fast waves of random length, and their names."""
    rng = np.random.default_rng(0)
    y = np.array(["slow", "fast", "none"])[np.arange(24) % 3]
    step = {"slow": 0.1, "fast": 0.5, "none": 0.0}
    return [np.sin(step[name] * np.arange(rng.integers(40, 60))) for name in y], y


def test_outputs_are_the_best_log_probabilities_of_samples_left_out():
    """Fitted to noisy classes, against a search over factors."""
    rng = np.random.default_rng(0)
    targets, weights = np.arange(30) % 3, rng.uniform(0.5, 2, 30)
    outputs = class_targets(targets, 3) + rng.normal(size=(30, 3))
    rows = np.arange(1, 30)
    linear = torch.nn.Linear(2, 3)
    readout = Readout(FilterBank(1), Summary(torch.zeros(1, 1), torch.ones(1)), linear, False)
    blocked = rng.normal(size=(29, 3))
    given = LeftOut(rows, outputs[rows], blocked)
    found, left_out = calibrated(readout, given, targets, weights, 0.0)
    likely = np.where(class_targets(targets[rows], 3) > 0, 30 / 31, 0.5 / 31)
    losses = {
        factor: -np.average(
            (likely * log_softmax(factor * outputs[rows], 1)).sum(1), weights=weights[rows]
        )
        for factor in np.geomspace(0.1, 100, 4001)
    }
    factor = min(losses, key=losses.get)
    np.testing.assert_allclose(left_out.outputs, factor * outputs[rows], rtol=1e-2)
    np.testing.assert_allclose(left_out.blocked, factor * blocked, rtol=1e-2)
    torch.testing.assert_close(found.linear.weight, factor * linear.weight, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(found.linear.bias, factor * linear.bias, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("lengths", [None, [100, 3, 1, 64]])
def test_limits_are_taken_from_real_steps_all_over_a_sequence(lengths):
    x = torch.arange(100.0)[:, None].expand(4, 100, 2)
    real = None if lengths is None else torch.tensor(lengths)
    steps = _some_steps(x, real)
    assert steps.shape == (4, 32, 2)
    for row, length in zip(steps[..., 0], lengths or [100] * 4, strict=True):
        found = row.unique()
        assert found.min() >= 0
        assert found.max() < length
        gaps = torch.cat([found, torch.tensor([length])]).diff(prepend=torch.tensor([0]))
        assert gaps.max() <= 1 + 0.06 * length


def test_limits_are_zero_and_quantiles():
    steps = np.random.default_rng(0).exponential([1.0, 100.0, 0.0], (8000, 3)) - 1
    steps[:, 2] = 7  # constant
    summary = _summary_of(steps, torch.zeros(1).double())
    shares = summary(torch.as_tensor(steps)[None])[0, : 9 * 3].reshape(9, 3) ** 2 - 1e-4
    expected = 1 - (torch.arange(8) + 0.5) / 8
    torch.testing.assert_close(shares[1:, 0], expected.double(), atol=0.015, rtol=0)
    torch.testing.assert_close(shares[1:, 1], shares[1:, 0], atol=0.003, rtol=0)
    assert shares[0].tolist() == pytest.approx([math.exp(-1), math.exp(-0.01), 1], abs=0.03)
    np.testing.assert_allclose(summary.unit[:2], 0.02 * steps.std(axis=0)[:2])
    assert summary.unit[2] > 1e-5  # not amplified


def test_filters_follow_random_state(waves):
    X, y = waves
    outputs = [
        S4Classifier(**SMALL | {"random_state": seed}).fit(X, y)._predictor_.readout.bank.layer.C
        for seed in (0, 0, 1)
    ]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("readout", "n_samples", "is_usual", "expected"),
    [
        ("auto", 1, True, "trained"),
        ("auto", 2, True, "ridge"),
        ("auto", 10**6, True, "ridge"),
        ("auto", 999, False, "trained"),
        ("ridge", 5000, False, "ridge"),
        ("trained", 10, True, "trained"),
    ],
)
def test_last_layer_is_a_ridge_unless_something_rules_it_out(
    readout, n_samples, is_usual, expected
):
    assert resolve_readout(readout, n_samples, is_usual=is_usual) == expected


@pytest.mark.parametrize(
    ("n_samples", "n_steps", "expected"),
    [
        (2, 100, 1024),
        (2048, 10**5, 1024),
        (2100, 10**5, 1008),
        (8192, 10**6, 512),
        (10**6, 10**6, 64),
        (100, 2 * 10**6, 496),
        (100, 10**9, 64),
    ],
)
def test_filters_are_fewer_for_many_samples_and_steps(n_samples, n_steps, expected):
    assert resolve_n_filters(n_samples, n_steps) == expected


def test_number_of_filters_has_no_cliff():
    numbers = np.array(
        [[resolve_n_filters(n, n * t) for n in range(900, 6000, 7)] for t in (50, 900)]
    )
    assert np.abs(np.diff(numbers)).max() <= 16


def test_defaults_train_no_block(waves):
    X, y = waves
    classifier = S4Classifier(random_state=0).fit(X, y)
    assert classifier.readout_ == "ridge"
    assert (classifier.n_epochs_, classifier.max_epochs_, len(classifier.history_)) == (0, 0, 0)
    readout = classifier._predictor_.readout
    assert not readout.reads_blocks
    assert classifier.n_parameters_ == sum(
        p.numel() for part in (readout.bank, readout.linear) for p in part.parameters()
    )
    assert classifier.score(X, y) == 1
    stream = pickle.loads(pickle.dumps(classifier)).stream()
    for x in (X[0][:7], X[0][7:8], X[0][8:]):
        stream.push(x[np.newaxis])
    np.testing.assert_allclose(
        stream.predict_proba(), classifier.predict_proba(X[:1]), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("options", [{"max_epochs": 2}, {"early_stopping": True}])
def test_what_asks_for_training_trains(waves, options):
    X, y = waves
    sizes = {"d_model": 4, "n_layers": 1, "d_state": 4, "patience": 1, "batch_size": 12}
    classifier = S4Classifier(**sizes | options).fit(X, y)
    assert classifier.n_epochs_ > 0
    assert classifier._predictor_.readout.reads_blocks
    nothing_held_out = "early_stopping" not in options
    assert np.isnan(classifier.readout_score_) == nothing_held_out


def test_validation_data_judge_and_calibrate_the_readout():
    """Trained features have seen the training data, so these say little about new ones."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40, 30)), np.arange(40) % 2  # nothing to tell
    X_val, y_val = rng.normal(size=(60, 30)), np.arange(60) % 2
    usual = S4Classifier(**SMALL).fit(X, y)
    judged = S4Classifier(**SMALL, early_stopping=False).fit(X, y, X_val=X_val, y_val=y_val)
    assert judged.readout_score_ == judged.score(X_val, y_val)
    proba = judged.predict_proba(X_val)
    assert judged.readout_log_loss_ == pytest.approx(log_loss(y_val, proba), abs=1e-5)
    assert proba.max() < usual.predict_proba(X_val).max()


def test_weights_of_classes_count_in_the_judgement():
    rng = np.random.default_rng(1)
    y, y_val = np.arange(20) % 2, np.arange(30) % 3 // 2
    X, X_val = (rng.normal(labels[:, None], 1, (len(labels), 30)) for labels in (y, 0 * y_val))
    classifier = S4Classifier(**SMALL, class_weight={0: 1.0, 1: 3.0})
    classifier.fit(X, y, X_val=X_val, y_val=y_val)
    score = classifier.score(X_val, y_val, sample_weight=np.where(y_val == 1, 3.0, 1.0))
    assert classifier.readout_score_ == pytest.approx(score)
    assert score != pytest.approx(classifier.score(X_val, y_val))


def test_scores_are_those_of_samples_left_out(waves):
    X, y = waves
    classifier = S4Classifier(random_state=0).fit(X, y)
    assert classifier.readout_score_ > 0.9
    assert 0 < classifier.readout_log_loss_ < 0.5
    noise = np.random.default_rng(1).normal(size=(60, 1, 30))
    classifier.fit(noise, np.arange(60) % 2)
    assert classifier.score(noise, np.arange(60) % 2) == 1
    assert 0.25 < classifier.readout_score_ < 0.75
    assert 0.5 < classifier.readout_log_loss_ < 1
    classifier.partial_fit(noise, np.arange(60) % 2)
    assert np.isnan([classifier.readout_score_, classifier.readout_log_loss_]).all()


def test_groups_are_left_out_together():
    """Copies with a little noise tell each other, unless they are one group."""
    rng = np.random.default_rng(0)
    y = np.arange(20) % 2
    X = np.repeat(rng.normal(size=(20, 1, 30)), 3, axis=0) + 0.01 * rng.normal(size=(60, 1, 30))
    y, groups = np.repeat(y, 3), np.repeat([f"speaker {i}" for i in range(20)], 3)
    order = rng.permutation(60)
    X, y, groups = X[order], y[order], groups[order]
    alone = S4Classifier(random_state=0).fit(X, y)
    together = S4Classifier(random_state=0).fit(X, y, groups=groups)
    assert alone.readout_score_ > 0.9
    assert together.readout_score_ < 0.8
    assert together.predict_proba(X).max(1).mean() < alone.predict_proba(X).max(1).mean()


def test_neighbors_in_a_file_are_left_out_together_to_judge():
    """Copies with a little noise, in order: each tells the next."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(20, 1, 30)), 3, axis=0) + 0.01 * rng.normal(size=(60, 1, 30))
    classifier = S4Classifier(random_state=0).fit(X, np.repeat(np.arange(20) % 2, 3))
    assert classifier.readout_score_ < 0.8


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a"] * 24, "groups must hold two different ones at least, got only 'a'"),
        ([0, 1], "groups must have one entry for each of 24 samples, got 2"),
    ],
)
def test_groups_must_be_groups(waves, groups, message):
    X, y = waves
    with pytest.raises(ValueError, match=message):
        S4Classifier(random_state=0).fit(X, y, groups=groups)


def test_groups_are_routed():
    rng = np.random.default_rng(0)
    X, y, groups = rng.normal(size=(24, 1, 20)), np.arange(24) % 2, np.arange(24) // 4
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = S4Classifier(random_state=0).set_fit_request(groups=True)
        scores = cross_val_score(classifier, X, y, cv=GroupKFold(2), params={"groups": groups})
    assert scores.shape == (2,)


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
    assert abs(shares[1].mean() - 0.5) < 0.08


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
    regress, calls = fit_ridge, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) <= n_interrupts:
            raise KeyboardInterrupt
        return regress(*arguments, **options)

    monkeypatch.setattr("sks4.estimators._readout.fit_ridge", interrupted)
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
    n_features = SMALL["d_model"] * SMALL["n_layers"] + 1024
    weight = classifier._predictor_.readout.linear.weight
    assert weight.shape == (3, (4 * 9 + 2) * n_features)


@pytest.fixture
def slopes():
    """Noisy lines, with the slope and its square as targets of very different units."""
    rng = np.random.default_rng(0)
    slope = rng.normal(size=60)
    X = slope[:, None] * np.arange(30) / 10 + 0.3 * rng.normal(size=(60, 30))
    return X, np.stack([1e3 * slope + 5, 1e-3 * slope**2], axis=1)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_regressor_reads_the_summary_too(slopes, n_targets):
    X, Y = slopes
    y = Y[:, 0] if n_targets == 1 else Y
    regressor = S4Regressor(random_state=0).fit(X[:40], y[:40])
    assert (regressor.readout_, regressor.n_epochs_) == ("ridge", 0)
    assert regressor.predict(X).shape == y.shape
    assert regressor.score(X[40:], y[40:]) > 0.5
    assert regressor.readout_score_ == pytest.approx(regressor.score(X[40:], y[40:]), abs=0.4)
    stream = regressor.stream()
    stream.push(X[:1])
    np.testing.assert_allclose(stream.predict(), regressor.predict(X[:1]), rtol=1e-3, atol=1e-3)


def test_intervals_hold_the_targets(slopes):
    X, Y = slopes
    regressor = S4Regressor(random_state=0).fit(X[:40], Y[:40])
    interval = regressor.predict_interval(X[40:], coverage=0.8)
    assert interval.shape == (20, 2, 2)
    assert interval.mean(-1) == pytest.approx(regressor.predict(X[40:]))
    inside = (interval[..., 0] <= Y[40:]) & (Y[40:] <= interval[..., 1])
    assert 0.6 < inside.mean() < 0.97
    wider = regressor.predict_interval(X[40:], coverage=0.95)
    assert (np.diff(wider) > np.diff(interval)).all()
    assert np.isinf(regressor.predict_interval(X[:1], coverage=0.99)).all()  # 40 are too few
    single = S4Regressor(random_state=0).fit(X[:40], Y[:40, 0])
    assert single.predict_interval(X[40:]).shape == (20, 2)


def test_intervals_from_validation_data(slopes):
    X, Y = slopes
    regressor = S4Regressor(**SMALL).fit(X[:30], Y[:30], X_val=X[30:], y_val=Y[30:])
    assert regressor.readout_score_ == pytest.approx(regressor.score(X[30:], Y[30:]))
    interval = regressor.predict_interval(X[30:], coverage=0.8)
    inside = (interval[..., 0] <= Y[30:]) & (Y[30:] <= interval[..., 1])
    assert inside.mean() == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("options", [{"readout": "trained"}, {"loss": "huber"}, {"max_epochs": 1}])
def test_intervals_need_what_was_held_out(slopes, options):
    X, Y = slopes
    options = {"max_epochs": 1, "d_model": 4, "n_layers": 1, "d_state": 4} | options
    regressor = S4Regressor(**options).fit(X, Y[:, 0])
    assert np.isnan(regressor.readout_score_)
    with pytest.raises(ValueError, match="predict_interval must have errors of sequences"):
        regressor.predict_interval(X)


@pytest.mark.parametrize(
    ("coverage", "error", "message"),
    [
        (0, ValueError, "coverage must be finite and above zero"),
        (1, ValueError, "coverage must be above 0 and below 1"),
        (-0.5, ValueError, "coverage must be finite and above zero"),
        (90, ValueError, "coverage must be above 0 and below 1, got 90"),
        (math.nan, ValueError, "coverage must be finite and above zero"),
        ("0.9", TypeError, "coverage must be a number, got '0.9' of type str"),
        ([0.5, 0.9], TypeError, "coverage must be a number"),
        (None, TypeError, "coverage must be a number"),
    ],
)
def test_coverage_must_be_a_probability(slopes, coverage, error, message):
    X, Y = slopes
    regressor = S4Regressor(random_state=0).fit(X[:12], Y[:12, 0])
    with pytest.raises(error, match=message):
        regressor.predict_interval(X, coverage)


@pytest.mark.parametrize("n_errors", [1, 9, 10, 99])
def test_width_is_the_quantile_with_one_more_sample(n_errors):
    rng = np.random.default_rng(n_errors)
    errors = _Errors(rng.exponential(size=(n_errors, 2)), np.ones(n_errors))
    for coverage in np.linspace(0.01, 0.99, 99):
        rank = math.ceil(round(coverage * (n_errors + 1), 9))
        rising = np.vstack([np.sort(errors.sizes, axis=0), [np.inf, np.inf]])
        np.testing.assert_array_equal(errors.quantile(coverage), rising[min(rank - 1, n_errors)])


def test_errors_of_more_weight_count_more():
    sizes = np.array([[3.0], [1.0], [2.0]])
    weighted = _Errors(sizes, np.array([0.25, 2.5, 0.25]))
    assert weighted.quantile(0.6).tolist() == [1.0]  # 2.4 of 4
    assert weighted.quantile(0.65).tolist() == [2.0]
    assert weighted.quantile(0.8).tolist() == [np.inf]
    assert _Errors(sizes, np.ones(3)).quantile(0.6).tolist() == [3.0]


def test_copies_and_weights_give_the_same_intervals(slopes):
    X, Y = slopes
    repeats = 1 + np.arange(40) % 3
    # copies stand beside each other, so the blocks are the same
    copied = S4Regressor(random_state=0).fit(
        np.repeat(X[:40], repeats, axis=0), np.repeat(Y[:40], repeats, axis=0)
    )
    weighted = S4Regressor(random_state=0).fit(X[:40], Y[:40], sample_weight=repeats)
    np.testing.assert_allclose(
        copied.predict_interval(X[40:]), weighted.predict_interval(X[40:]), rtol=1e-3
    )


def test_coverage_is_kept_where_sequences_are_exchangeable():
    """Levels in noise with heavy tails, ten draws of 40 sequences to train on."""
    rng, levels, inside = np.random.default_rng(0), np.array([0.5, 0.8, 0.9]), []
    for _ in range(10):
        Y = rng.normal(size=(140, 2))
        X = Y[..., None] + rng.normal(size=(140, 2, 12))
        Y = (Y + 0.3 * rng.standard_t(3, size=Y.shape)) * [1, 1e-6]
        regressor = S4Regressor(random_state=0).fit(X[:40], Y[:40])
        for level in levels:
            low, high = np.moveaxis(regressor.predict_interval(X[40:], level), -1, 0)
            inside.append(((low <= Y[40:]) & (Y[40:] <= high)).mean())
    np.testing.assert_allclose(np.reshape(inside, (10, 3)).mean(0), levels, atol=0.04)


def test_intervals_of_windows_are_those_of_windows_without_neighbors():
    """Successive windows of a walk nearly agree in what follows them."""
    walk = np.random.default_rng(0).normal(size=600).cumsum()
    X = np.lib.stride_tricks.sliding_window_view(walk[:-20], 20)
    y = walk[39:] - X[:, -1]
    regressor = S4Regressor(random_state=0).fit(X[:280], y[:280])
    low, high = regressor.predict_interval(X[320:], coverage=0.8).T
    assert ((low <= y[320:]) & (y[320:] <= high)).mean() > 0.7


def level(X):
    return X[:, 0].mean(-1)


def last_value(X):
    return X[:, 1, -1]


def last_difference(X):
    return X[:, 1, -1] - X[:, 0, -1]


def recent_sum(X):
    return 1e6 + X[:, 0, -(X.shape[-1] // 8 + 1) :].sum(-1)


@pytest.mark.parametrize(
    ("truth", "n_timepoints"),
    [(level, 1), (level, 40), (level, 250), (last_value, 40), (last_difference, 40)]
    + [(recent_sum, 40)],
)
def test_values_may_follow_the_level_and_the_end_of_a_sequence(truth, n_timepoints):
    """Which no summary of filters can tell that do not respond to constants."""
    rng = np.random.default_rng(0)
    walks = 0.3 * rng.normal(size=(100, 2, n_timepoints)).cumsum(-1)
    X = walks + rng.normal(size=(100, 2, 1))
    y = truth(X)
    regressor = S4Regressor(random_state=0).fit(X[:60], y[:60])
    assert regressor.score(X[60:], y[60:]) > 0.97
    stream = regressor.stream(n_streams=4)
    stream.push(X[60:64])
    np.testing.assert_allclose(
        stream.predict(), regressor.predict(X[60:64]), rtol=1e-3, atol=1e-3 * y.std()
    )


def test_values_beyond_those_of_training_are_predicted():
    """Windows of a series with a trend, tested after the end of the training."""
    t = np.arange(240.0)
    series = 300 + 0.1 * t + 2 * np.sin(t / 4)
    X = np.lib.stride_tricks.sliding_window_view(series[:-5], 24)
    y = series[28:]
    regressor = S4Regressor(random_state=0).fit(X[:120], y[:120])
    assert y[150:].min() > y[:120].max()
    assert np.abs(regressor.predict(X[150:]) - y[150:]).max() < 0.5


def test_what_is_recalled_is_continuous_in_the_sampling_rate():
    """Random walks, at twice the rate of the training."""
    rng = np.random.default_rng(0)
    fine = np.repeat(rng.normal(size=(80, 100)).cumsum(1), 2, axis=1)
    coarse = fine[:, np.newaxis, ::2]
    regressor = S4Regressor(random_state=0).fit(coarse, fine[:, -1], sampling_rate=10)
    predicted = regressor.predict(fine[:, np.newaxis], sampling_rate=20)
    assert np.corrcoef(predicted, fine[:, -1])[0, 1] > 0.999


def test_filters_recalled_have_forgotten_the_first_step():
    bank = FilterBank(1, 64, generator=torch.Generator().manual_seed(0))
    dt = bank.layer.log_dt.exp()
    recalled = [_recall_of(bank, dt_min).filters for dt_min in (2.0, 0.25, 0.1, 1e-6)]
    assert (dt[recalled[0]] >= 0.5).all()
    torch.testing.assert_close(recalled[2], (dt >= 0.1).nonzero()[:, 0])
    assert [len(filters) for filters in recalled] == sorted(len(filters) for filters in recalled)
    assert 0 < len(recalled[0]) < len(recalled[1]) < len(recalled[3]) == 64


def test_classes_are_told_by_the_summary_alone(waves):
    X, y = waves
    assert S4Classifier(**SMALL, readout="ridge").fit(X, y)._predictor_.readout.recall is None


@pytest.mark.parametrize("n_filters", [64, 160, 1024])
def test_some_groups_of_filters_read_masks_alone(n_filters):
    is_mask = np.array([False, False, True, True])
    reads = _inputs_of_filters(is_mask, 12, n_filters)
    assert reads.shape == (12, n_filters)
    by_input = reads.unflatten(0, (3, 4))
    of_masks = by_input[0, 2]
    assert torch.equal(by_input[:, 2:], of_masks.expand(3, 2, -1))
    assert torch.equal(by_input[:, :2], ~of_masks.expand(3, 2, -1))
    assert 1 / 32 < of_masks.double().mean() <= 1 / 8
    groups = of_masks.unflatten(0, (-1, Summary.GROUP))
    assert torch.equal(groups.any(1), groups.all(1))
    assert _inputs_of_filters(np.zeros(2, bool), 6, n_filters) is None


@pytest.mark.parametrize("kind", ["values", "gaps"])
def test_classes_are_told_by_values_with_gaps_and_by_gaps(kind, monkeypatch):
    monkeypatch.setattr("sks4.estimators._auto._FILTERS", 128)
    rng, y = np.random.default_rng(0), np.arange(120) % 2
    frequency = 0.3 + 0.15 * y if kind == "values" else np.full(120, 0.3)
    share = 0.2 if kind == "values" else 0.1 + 0.2 * y[:, None, None]
    phases = rng.uniform(0, 6, (120, 1))
    X = np.sin(frequency[:, None] * np.arange(60) + phases)[:, None]
    X += 0.3 * rng.normal(size=X.shape)
    X[rng.random(X.shape) < share] = np.nan
    X[..., 0] = 0.0
    classifier = S4Classifier(random_state=0).fit(X[:60], y[:60])
    assert classifier.score(X[60:], y[60:]) > 0.85
