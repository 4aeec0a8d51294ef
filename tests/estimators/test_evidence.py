"""Whether blocks are trained is decided by samples that are held out."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone

from sks4 import S4Classifier, S4Regressor
from sks4.estimators import _auto, _evidence, _supervised
from sks4.estimators._evidence import (
    apart_from,
    blocks_of,
    deserves_trial,
    excess_of,
    first_look,
    is_hopeless,
    reach_of,
    trial_epochs,
)
from sks4.estimators._readout import LeftOut
from sks4.estimators._supervised import SupervisedEstimator
from sks4.training import S4Net

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "random_state": 0}


@pytest.fixture
def noise():
    """Short sequences that tell nothing."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 12)), np.arange(40) % 2


@pytest.fixture
def any_miss_deserves_a_trial(monkeypatch):
    monkeypatch.setattr(_evidence, "_FEWEST_MISSED", 1)
    monkeypatch.setattr(_auto, "_OPTIMIZER_STEPS", 40)


def answer(monkeypatch, outputs_of):
    """Let a trial return given outputs for what it is to tell."""

    def trial(self, task, plain, rest, held_out, known, max_time):
        return outputs_of(plain.distinct.take(held_out))

    monkeypatch.setattr(SupervisedEstimator, "_trial", trial)


def test_blocks_are_neighbors_within_each_class():
    classes = np.arange(23) % 2
    blocks = blocks_of(classes, 23, None)
    for label in (0, 1):
        own = blocks[classes == label]
        assert (np.diff(own) >= 0).all()
        assert np.ptp(np.bincount(own, minlength=5)) <= 1


@pytest.mark.parametrize("n_samples", [2, 3, 5, 6, 101])
def test_there_are_at_least_two_blocks_and_at_most_five(n_samples):
    blocks = blocks_of(None, n_samples, None)
    assert (np.diff(blocks) >= 0).all()
    assert len(np.unique(blocks)) == min(5, n_samples)


@pytest.mark.parametrize("n_groups", [2, 5, 12])
def test_groups_are_not_divided(n_groups):
    groups = np.random.default_rng(0).integers(0, n_groups, 60) * 3
    blocks = blocks_of(np.arange(60) % 3, 60, groups)
    assert all(len(np.unique(blocks[groups == g])) == 1 for g in groups)
    assert len(np.unique(blocks)) == min(5, n_groups)


def test_a_trial_needs_enough_that_is_missed_and_is_short():
    assert deserves_trial(0.5, 160)
    assert not deserves_trial(0.5, 158)
    assert [trial_epochs(n) for n in (1, 8, 300)] == [1, 2, 75]


@pytest.mark.parametrize("n_targets", [1, 2])
def test_targets_in_random_order_reach_no_neighbor(n_targets):
    rng = np.random.default_rng(0)
    for n_samples in (1, 2, 4, 5, 20, 200):
        assert reach_of(rng.normal(size=(n_samples, n_targets))) == 0
    assert reach_of(np.ones((50, n_targets))) == 0


@pytest.mark.parametrize("width", [4, 10])
def test_targets_that_share_values_reach_as_far_as_these(width):
    """Moving sums, beside a target that tells nothing."""
    rng = np.random.default_rng(0)
    moving = np.convolve(rng.normal(size=600), np.ones(width), "valid")
    targets = np.stack([rng.normal(size=len(moving)), moving], axis=1)
    for values in (targets, 1e6 + 1e3 * targets, targets[::-1]):
        assert width - 2 <= reach_of(values) <= width
    assert reach_of(np.random.default_rng(1).permutation(targets)) == 0


def test_targets_with_a_trend_reach_no_farther_than_a_block():
    assert reach_of(np.arange(100.0)[:, np.newaxis]) == 20


@pytest.mark.parametrize("gap", [0, 1, 3, 30])
def test_rows_apart_are_farther_away_than_the_gap(gap):
    held_out = np.array([0, 9, 10, 11])
    expected = [i for i in range(20) if np.abs(held_out - i).min() > gap]
    assert apart_from(np.isin(np.arange(20), held_out), gap).tolist() == expected


def test_a_trial_knows_no_sample_close_to_those_that_it_is_judged_by(
    monkeypatch, any_miss_deserves_a_trial
):
    """As the regression that it is compared with."""
    rng, rests = np.random.default_rng(0), []
    y = np.convolve(rng.normal(size=67), np.ones(8), "valid")

    def trial(self, task, plain, rest, held_out, known, max_time):
        rests.append((rest, held_out, plain.found.left_out.gap))

    monkeypatch.setattr(SupervisedEstimator, "_trial", trial)
    S4Regressor(**TINY).fit(rng.normal(size=(60, 12)), y)
    ((rest, held_out, gap),) = rests
    assert gap > 3
    assert np.abs(rest[:, None] - held_out).min() == gap + 1
    S4Regressor(**TINY).fit(rng.normal(size=(60, 12)), y, groups=np.arange(60) // 10)
    assert rests[1][2] == 0  # what the groups say


def test_the_first_look_is_early():
    assert [first_look(n) for n in (1, 2, 7, 10, 75)] == [1, 1, 1, 2, 15]


def test_hopeless_is_worse_by_more_than_chance():
    rng = np.random.default_rng(0)
    known, weights = rng.exponential(size=100), rng.uniform(0.5, 2, 100)
    noise = rng.normal(size=100)
    noise -= np.average(noise, weights=weights)
    error = np.sqrt(
        np.average(noise**2, weights=weights) / (weights.sum() ** 2 / (weights**2).sum())
    )
    for excess, expected in ((-1, False), (0, False), (0.7, False), (1.5, True)):
        losses = known + noise + excess * error
        assert is_hopeless(losses, known, weights) == expected
        assert is_hopeless(losses, known, 10 * weights) == expected
    assert is_hopeless(np.array([2.0]), np.array([1.0]), np.ones(1))


def test_samples_that_resemble_each_other_tell_as_much_as_one():
    rng = np.random.default_rng(0)
    losses, known = rng.exponential(size=(2, 200))
    once = excess_of(losses, known, np.ones(200))
    again = excess_of(losses.repeat(4), known.repeat(4), np.ones(800), gap=3)
    assert again == pytest.approx(once)


@pytest.mark.parametrize(("share", "wins"), [(0.1, True), (0.97, False)])
def test_where_neighbors_resemble_each_other_a_trial_wins_beyond_chance(
    monkeypatch, any_miss_deserves_a_trial, share, wins
):
    """With this share of the squared errors of the filters, all in one half of the block."""
    rng = np.random.default_rng(0)
    y = np.convolve(rng.normal(size=87), np.ones(8), "valid")

    def trial(self, task, plain, rest, held_out, known, max_time):
        truth = plain.setting.targets.encode(plain.distinct.targets[held_out])
        error = known - truth
        later = np.arange(len(error)) >= len(error) // 2
        size = np.sqrt(share * np.sum(error**2) / np.sum(error[later] ** 2))
        return truth + np.where(later[:, np.newaxis], size * error, 0)

    monkeypatch.setattr(SupervisedEstimator, "_trial", trial)
    assert (S4Regressor(**TINY).fit(rng.normal(size=(80, 12)), y).n_epochs_ > 0) == wins


@pytest.mark.parametrize("estimator", [S4Classifier(**TINY), S4Regressor(**TINY)])
@pytest.mark.parametrize("hopeless", [True, False])
def test_a_hopeless_trial_ends_early_and_loses(
    noise, monkeypatch, any_miss_deserves_a_trial, estimator, hopeless
):
    """However well it would tell the held-out block."""
    epochs, scores = [], iter(range(0, -9, -1))
    real = S4Net.fit

    def fit(self, *arguments, **options):
        fitted = real(self, *arguments, **options)
        epochs.append(len(fitted.history))
        return fitted

    monkeypatch.setattr(S4Net, "fit", fit)
    monkeypatch.setattr("sks4.estimators._supervised.is_hopeless", lambda *losses: hopeless)
    monkeypatch.setattr("sks4.estimators._supervised.first_look", lambda n_epochs: 1)
    for name, module in (("_accuracy", "_classification"), ("r_squared", "_regression")):
        # the trial is judged before the filters are judged on its block
        monkeypatch.setattr(f"sks4.estimators.{module}.{name}", lambda *given: next(scores))
    fitted = clone(estimator).fit(*noise)
    whole = fitted.max_epochs_ if fitted.n_epochs_ else None
    assert fitted._predictor_.readout.reads_blocks != hopeless
    assert epochs[0] == 1 if hopeless else epochs == [trial_epochs(whole), whole]


def test_few_misses_train_nothing(noise, monkeypatch):
    answer(monkeypatch, lambda test: pytest.fail("no trial was due"))
    assert S4Classifier(**TINY).fit(*noise).n_epochs_ == 0


@pytest.mark.parametrize("wins", [True, False])
def test_the_trial_decides(noise, monkeypatch, any_miss_deserves_a_trial, wins):
    sign = 1 if wins else -1
    answer(monkeypatch, lambda test: sign * np.eye(2)[test.targets])
    classifier = S4Classifier(**TINY).fit(*noise)
    assert classifier.readout_ == "ridge"
    assert classifier._predictor_.readout.reads_blocks == wins
    assert (classifier.n_epochs_ > 0) == wins
    assert classifier.n_epochs_ == classifier.max_epochs_


def test_what_the_trial_missed_makes_probabilities_of_trained_blocks_less_sure(
    noise, monkeypatch, any_miss_deserves_a_trial
):
    def mostly_right(test):
        outputs = 10.0 * np.eye(2)[test.targets]
        outputs[0] = outputs[0, ::-1]
        return outputs

    answer(monkeypatch, mostly_right)
    classifier = S4Classifier(**TINY).fit(*noise)
    assert classifier.readout_score_ == pytest.approx(7 / 8)
    assert 0.2 < classifier.readout_log_loss_ < 0.5  # unscaled: 1.25
    by_itself = S4Classifier(**TINY, max_epochs=classifier.max_epochs_).fit(*noise)
    X = noise[0]
    assert (
        np.abs(classifier.decision_function(X)).max()
        < np.abs(by_itself.decision_function(X)).max() / 5
    )


def test_intervals_of_trained_blocks_have_the_errors_of_the_trial(
    monkeypatch, any_miss_deserves_a_trial
):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 12)), 1e3 * rng.normal(size=60)
    answer(monkeypatch, lambda test: (test.targets + 7 - y.mean()) / y.std())
    regressor = S4Regressor(**TINY).fit(X, y)
    assert regressor.n_epochs_ > 0
    assert regressor.readout_score_ > 0.999
    low, high = regressor.predict_interval(X, coverage=0.8).T
    np.testing.assert_allclose(high - low, 14, rtol=1e-6)


@pytest.mark.parametrize("wins", [True, False])
def test_the_trial_decides_for_values_in_any_unit(monkeypatch, any_miss_deserves_a_trial, wins):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 12)), 1e6 + 1e3 * rng.normal(size=40)

    def outputs(test):
        return (test.targets - y.mean()) / y.std() if wins else np.full_like(test.targets, 9.0)

    answer(monkeypatch, outputs)
    assert (S4Regressor(**TINY).fit(X, y).n_epochs_ > 0) == wins


@pytest.mark.parametrize(
    "options",
    [{"readout": "ridge"}, {"max_epochs": 1}, {"early_stopping": True}, {"pooling": "max"}],
)
def test_what_is_given_is_not_decided(noise, monkeypatch, any_miss_deserves_a_trial, options):
    decided = []
    answer(monkeypatch, decided.append)
    X, y = noise
    limit = {} if "max_epochs" in options else {"max_time": 0.05}
    S4Classifier(**TINY | limit | options).fit(X, y)
    S4Classifier(**TINY | limit, max_epochs=1).fit(X, y, X_val=X, y_val=y)
    assert decided == []


def test_training_by_decision_is_continued(noise, monkeypatch, any_miss_deserves_a_trial):
    answer(monkeypatch, lambda test: np.eye(2)[test.targets])
    classifier = S4Classifier(**TINY, warm_start=True).fit(*noise)
    n_epochs = classifier.n_epochs_
    assert classifier.fit(*noise).n_epochs_ == 2 * n_epochs > 0
    assert classifier._predictor_.readout.reads_blocks


@pytest.mark.parametrize("early_stopping", [False, "auto"])
def test_validation_data_asks_for_training(noise, monkeypatch, early_stopping):
    monkeypatch.setattr(_auto, "_OPTIMIZER_STEPS", 40)
    X, y = noise
    classifier = S4Classifier(**TINY, early_stopping=early_stopping)
    classifier.fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:])
    assert len(classifier.history_[:, "valid_loss"]) == classifier.n_epochs_ > 0


@pytest.mark.parametrize("estimator", [S4Classifier(**TINY), S4Regressor(**TINY)])
@pytest.mark.parametrize("n_groups", [None, 4])
def test_trials_are_real_quiet_and_repeatable(
    noise, any_miss_deserves_a_trial, capsys, estimator, n_groups
):
    X, y = noise
    seen = []
    real = SupervisedEstimator._trial

    def watched(self, task, plain, rest, held_out, known, max_time):
        outputs = real(self, task, plain, rest, held_out, known, max_time)
        seen.append((len(rest), len(held_out), outputs))
        return outputs

    groups = None if n_groups is None else np.arange(40) % n_groups
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedEstimator, "_trial", watched)
        first, second = (clone(estimator).fit(X, y, groups=groups) for _ in range(2))
    (n_rest, n_test, outputs), (_, _, again) = seen
    assert n_rest + n_test == 40
    assert n_test == (8 if n_groups is None else 10)
    assert len(outputs) == n_test
    np.testing.assert_array_equal(outputs, again)
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    assert capsys.readouterr() == ("", "")


def test_classes_without_weight_take_part_in_a_trial(noise, any_miss_deserves_a_trial):
    X, y = noise
    classifier = S4Classifier(**TINY, class_weight={0: 1, 1: 0}, max_time=0.1)
    assert (classifier.fit(X, y).predict(X) == 0).all()


def test_an_interrupt_in_a_trial_keeps_the_regression(
    noise, monkeypatch, any_miss_deserves_a_trial
):
    def interrupted(test):
        raise KeyboardInterrupt

    answer(monkeypatch, interrupted)
    classifier = S4Classifier(**TINY)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*noise)
    assert classifier.readout_ == "ridge"
    assert classifier.predict(noise[0]).shape == (40,)


def test_max_time_limits_trial_and_training_together(noise, monkeypatch, any_miss_deserves_a_trial):
    limits = []
    real = SupervisedEstimator._trial

    def trial(self, task, plain, rest, held_out, known, max_time):
        limits.append(max_time)
        real(self, task, plain, rest, held_out, known, max_time)
        return np.eye(2)[plain.distinct.targets[held_out]]

    monkeypatch.setattr(SupervisedEstimator, "_trial", trial)
    classifier = S4Classifier(**TINY, max_time=100.0).fit(*noise)
    assert 0 < limits[0] < 100
    assert 0 < classifier.net_.max_time < limits[0]
    assert S4Classifier(**TINY, max_time=1e-9).fit(*noise).net_.stop_reason_ == "max_time"


@pytest.fixture
def short_is_long(monkeypatch):
    """Sequences of 100 time points are so long that they are read in patches."""
    monkeypatch.setattr(_auto, "_MANY_STEPS", 64)
    monkeypatch.setattr(_auto, "_SAMPLES_OF_SPECTRUM", (8, 256))


@pytest.mark.parametrize("spectra_win", [True, False])
@pytest.mark.parametrize("make_estimator", [S4Classifier, S4Regressor])
def test_held_out_blocks_choose_the_embedding(
    monkeypatch, short_is_long, make_estimator, spectra_win
):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2, 100)), np.arange(20) % 2
    compared = []

    def answer(task, other, result):
        compared.append((result.setting.sizes.embedding, other.setting.sizes.embedding))
        return spectra_win

    monkeypatch.setattr(_supervised, "_tells_better", answer)
    found = make_estimator(**TINY).fit(X, y)
    assert compared == [("values", "spectrum")]
    assert found.embedding_ == ("spectrum" if spectra_win else "values")
    assert found.patch_size_ == (8 if spectra_win else 2)
    same = make_estimator(**TINY, embedding=found.embedding_).fit(X, y)
    np.testing.assert_array_equal(found.predict(X), same.predict(X))


def result_of(outputs, gap=0):
    """Return what `_tells_better` reads of a run."""
    samples = SimpleNamespace(weights=np.ones(len(outputs)))
    left_out = LeftOut(np.arange(len(outputs)), outputs, outputs, gap)
    return SimpleNamespace(
        found=SimpleNamespace(left_out=left_out),
        distinct=SimpleNamespace(take=lambda rows: samples),
        setting=SimpleNamespace(targets=None),
    )


def test_one_regression_is_better_if_it_scores_higher_beyond_chance():
    task = SimpleNamespace(
        score=lambda targets, samples, outputs: -outputs.mean(),
        losses=lambda targets, samples, outputs: outputs,
    )
    rng = np.random.default_rng(0)
    known = rng.normal(size=100)
    other = known - 0.4 + rng.normal(size=100)  # four standard errors
    assert other.mean() < known.mean() - 0.3
    better = _supervised._tells_better
    assert better(task, result_of(other), result_of(known))
    assert not better(task, result_of(known), result_of(other))
    assert not better(task, result_of(known), result_of(known))
    # with ten that tell as much as one, the same difference is chance
    assert not better(task, result_of(other, 9), result_of(known, 9))


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_read_by_its_values(short_is_long, seed):
    X, y = np.random.default_rng(seed).normal(size=(30, 1, 100)), np.arange(30) % 2
    assert S4Classifier(**TINY).fit(X, y).embedding_ == "values"


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 1},
        {"patch_size": 2},
        {"max_time": 1e-6},
        {"readout": "trained", "max_epochs": 1},
    ],
)
def test_without_held_out_blocks_values_are_read(short_is_long, options):
    X, y = np.random.default_rng(0).normal(size=(20, 1, 100)), np.arange(20) % 2
    assert S4Classifier(**TINY, **options).fit(X, y).embedding_ == "values"
    assert S4Classifier(**TINY).fit(X, y, sampling_rate=10).embedding_ == "values"


def test_a_trained_network_keeps_the_chosen_embedding(
    monkeypatch, short_is_long, any_miss_deserves_a_trial
):
    answer(monkeypatch, lambda test: np.eye(2)[test.targets])
    monkeypatch.setattr(_supervised, "_tells_better", lambda *results: True)
    X, y = np.random.default_rng(0).normal(size=(20, 1, 100)), np.arange(20) % 2
    classifier = S4Classifier(**TINY).fit(X, y)
    assert classifier.n_epochs_ > 0
    assert classifier.embedding_ == classifier.net_.module_.backbone.embedding == "spectrum"
    stream = classifier.stream().push(X[0])
    np.testing.assert_allclose(
        stream.predict_proba(), classifier.predict_proba(X[:1]), rtol=1e-4, atol=1e-5
    )
    assert classifier.partial_fit(X, y).embedding_ == "spectrum"
