"""Labeled sequences, and what the training of classifiers and regressors is given."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import log_loss

from sks4 import S4Classifier, S4Regressor
from sks4.data import as_panel
from sks4.estimators._supervised import LabeledSequences, _check_groups, check_target_given


def labeled(X, targets, weights=None, groups=None):
    X = np.asarray(X, dtype=float)
    weights = np.ones(len(X)) if weights is None else np.array(weights, float)
    return LabeledSequences(as_panel(X[:, np.newaxis]), np.array(targets), weights, groups)


def test_some_of_the_samples_are_taken_with_all_they_have():
    samples = labeled([[1, 2], [3, 4], [5, 6]], [0, 1, 2], [1, 2, 3], np.array([7, 8, 9]))
    taken = samples.take(np.array([2, 0]))
    assert_array_equal(np.stack(list(taken.panel))[:, 0], [[5, 6], [1, 2]])
    assert_array_equal(taken.targets, [2, 0])
    assert_array_equal(taken.weights, [3, 1])
    assert_array_equal(taken.groups, [9, 7])
    assert labeled([[1.0, 2]], [0]).take(np.array([0])).groups is None


def test_equal_samples_become_one_with_all_their_weight():
    X = [[1, 2], [3, 4], [1, 2], [1, 2], [3, 4]]
    found = labeled(X, [0, 1, 0, 1, 1], [1, 2, 4, 8, 16]).distinct()
    assert_array_equal(np.stack(list(found.panel))[:, 0], [[1, 2], [3, 4], [1, 2]])
    assert_array_equal(found.targets, [0, 1, 1])
    assert_array_equal(found.weights, [1 + 4, 2 + 16, 8])


def test_samples_without_weight_are_left_out_of_the_distinct_ones():
    found = labeled([[1, 2], [3, 4], [1, 2]], [0, 1, 0], [0, 2, 3]).distinct()
    assert_array_equal(found.targets, [1, 0])
    assert_array_equal(found.weights, [2, 3])


def test_samples_with_several_targets_are_equal_if_all_are():
    found = labeled([[1, 2]] * 3, [[0.0, 1], [0, 2], [0, 1]]).distinct()
    assert_array_equal(found.targets, [[0, 1], [0, 2]])
    assert_array_equal(found.weights, [2, 1])


def test_sequences_of_other_channels_are_not_equal():
    panel = as_panel([np.zeros((2, 3)), np.zeros((2, 3)), np.ones((2, 3))])
    found = LabeledSequences(panel, np.zeros(3, int), np.ones(3)).distinct()
    assert_array_equal(found.weights, [2, 1])


def test_groups_become_numbers():
    found = _check_groups(["b", "a", "b"], 3)
    assert_array_equal(found, [1, 0, 1])
    assert found.dtype == np.int64
    assert _check_groups(None, 3) is None


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2], "one entry for each of 3 samples, got 2"),
        (["u"] * 3, "two different ones at least, got only 'u'"),
        ([[1, 2], [1, 3], [2, 2]], "1d array"),
    ],
)
def test_groups_that_hold_nothing_out_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        _check_groups(groups, 3)


def test_target_must_be_given():
    with pytest.raises(ValueError, match="S4Classifier requires y to be passed"):
        check_target_given(S4Classifier(), None)
    assert check_target_given(S4Classifier(), 0) is None


def test_batch_size_may_change_between_runs_and_what_is_auto_stays(make_estimator, waves):
    X, y = waves[0][:8], waves[1][:8]
    estimator = make_estimator(batch_size="auto", max_epochs=1, warm_start=True).fit(X, y)
    fitted = estimator.patch_size_, estimator.standardize_, estimator.dt_range_
    longer = np.tile(X, 6)  # of which the smallest step would be another one
    estimator.set_params(batch_size=5).fit(longer, y)
    assert (estimator.patch_size_, estimator.standardize_, estimator.dt_range_) == fitted
    assert estimator.batch_size_ == 5
    assert estimator.set_params(batch_size="auto").fit(X, y).batch_size_ == 5


def test_validation_data_must_be_given_with_their_targets(make_estimator, waves):
    X, y = waves
    for parts in ({"X_val": X}, {"y_val": y}):
        with pytest.raises(ValueError, match="X_val and y_val must be given together"):
            make_estimator().fit(X, y, **parts)


# -- gaps that fit has not seen


def noisy_waves(n_samples, seed):
    """Return noisy waves of two frequencies (n_samples, 1, 60)."""
    rng, y = np.random.default_rng(seed), np.arange(n_samples) % 2
    phases = rng.uniform(0, 6, (n_samples, 1))
    X = np.sin(np.where(y, 0.5, 0.35)[:, None] * np.arange(60) + phases)
    return (X + 0.2 * rng.normal(size=X.shape))[:, None], y


def with_gaps(X, share):
    return np.where(np.random.default_rng(0).random(X.shape) < share, np.nan, X)


def test_gaps_after_a_fit_without_any_cost_less_than_with_the_last_value(monkeypatch):
    monkeypatch.setattr("sks4.estimators._auto._FILTERS", 128)
    (X, y), (X_test, y_test) = noisy_waves(100, 0), noisy_waves(300, 1)
    losses = {}
    for missing in ("mask", "ffill"):
        classifier = S4Classifier(missing=missing, random_state=0).fit(X, y)
        assert classifier.encoder_.n_inputs_ == 1
        losses[missing] = [
            log_loss(y_test, classifier.predict_proba(with_gaps(X_test, share)))
            for share in (0.0, 0.4)
        ]
    assert losses["mask"][0] == losses["ffill"][0]
    assert losses["mask"][1] < 0.8 * losses["ffill"][1]


@pytest.mark.parametrize("standardize", ["global", "running"])
@pytest.mark.parametrize("model", [S4Classifier, S4Regressor])
def test_streams_fill_gaps_like_the_estimator(model, standardize, monkeypatch):
    monkeypatch.setattr("sks4.estimators._auto._FILTERS", 64)
    X, y = noisy_waves(24, 0)
    X = np.concatenate([X, X[..., ::-1]], axis=1)
    estimator = model(standardize=standardize, random_state=0).fit(X, y)
    gappy = with_gaps(X, 0.3)
    gappy[:, 1, 20:40] = np.nan
    gappy[0, 0, 0] = gappy[1, 1, :] = np.nan
    stream = estimator.stream(len(X))
    for piece in np.split(gappy, [1, 2, 21, 22, 39, 41], axis=2):
        stream.push(piece)
    np.testing.assert_allclose(stream.predict(), estimator.predict(gappy), rtol=1e-3, atol=1e-4)
