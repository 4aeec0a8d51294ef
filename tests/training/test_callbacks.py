"""Early stopping and averaged weights, driven by the real loop."""

import copy
import sys

import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sks4.training import (
    EarlyStopping,
    FirstLook,
    S4Net,
    SquaredError,
    WeightAverage,
    _callbacks,
)


class Scores(Callback):
    """Put given scores in place of the validation losses, and remember the weights then."""

    def __init__(self, scores):
        self.scores = scores
        self.states = []

    def on_epoch_end(self, net, **kwargs):
        net.history.record("valid_loss", self.scores[len(net.history) - 1])
        self.states.append(copy.deepcopy(net.module_.state_dict()))


def fit_scores(make_net, make_batches, scores, **options):
    recorder, stopping = Scores(scores), EarlyStopping(**options)
    callbacks = [("scores", recorder), ("early_stopping", stopping)]
    net = make_net(max_epochs=len(scores), callbacks=callbacks)
    net.fit(make_batches(), valid=make_batches(seed=1))
    return net, recorder, stopping


def assert_same_state(state, other):
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name])


def test_early_stopping_restores_best_epoch_and_stops(make_net, make_batches):
    scores = [3.0, 1.0, 2.0, 2.0, 0.0]
    net, recorder, stopping = fit_scores(make_net, make_batches, scores, patience=2)
    assert len(net.history) == 4
    assert (stopping.best_epoch_, stopping.best_score_) == (2, 1.0)
    assert net.stop_reason_ == "early_stopping"
    assert_same_state(net.module_.state_dict(), recorder.states[1])
    assert not torch.equal(recorder.states[1]["weight"], recorder.states[3]["weight"])


def test_early_stopping_improves_on_negative_losses(make_net, make_batches):
    scores = [-100.0, -100.5, -101.0, -101.5]
    net, _, stopping = fit_scores(make_net, make_batches, scores, patience=1)
    assert stopping.best_epoch_ == len(net.history) == 4


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_early_stopping_does_not_depend_on_the_unit_of_the_loss(make_net, make_batches, unit):
    scores = [unit * score for score in (2.0, 1.5, 1.5, 1.6, 1.0)]
    net, _, stopping = fit_scores(make_net, make_batches, scores, patience=2)
    assert stopping.best_epoch_ == 2
    assert len(net.history) == 4


def test_early_stopping_never_takes_nan_for_the_best(make_net, make_batches):
    scores = [float("nan"), 2.0, float("nan")]
    _, _, stopping = fit_scores(make_net, make_batches, scores, patience=5)
    assert stopping.best_epoch_ == 2


def test_early_stopping_stops_when_all_scores_are_nan(make_net, make_batches):
    net, _, stopping = fit_scores(make_net, make_batches, [float("nan")] * 5, patience=2)
    assert len(net.history) == 2
    assert stopping.best_epoch_ is None


def test_early_stopping_does_nothing_without_validation_data(make_net, make_batches):
    stopping = EarlyStopping(patience=1)
    net = make_net(max_epochs=4, callbacks=[stopping]).fit(make_batches())
    assert len(net.history) == 4
    assert stopping.best_epoch_ is None


def test_early_stopping_starts_anew_when_warm_started(make_net, make_batches):
    scores = [0.0, 1.0, 5.0, 4.0]
    recorder, stopping = Scores(scores), EarlyStopping(patience=3)
    net = make_net(max_epochs=2, callbacks=[recorder, stopping], warm_start=True)
    for _ in range(2):
        net.fit(make_batches(), valid=make_batches(seed=1))
    assert (stopping.best_epoch_, stopping.best_score_) == (4, 4.0)


def test_early_stopping_keeps_no_copy_of_the_weights_after_training(make_net, make_batches):
    _, _, stopping = fit_scores(make_net, make_batches, [2.0, 1.0], patience=2)
    assert stopping.kept_ == []


class WeightLog(Callback):
    """Remember the weights after each step and those that validation sees."""

    def __init__(self):
        self.trained, self.validated = [], []

    def on_batch_end(self, net, training=None, **kwargs):
        log = self.trained if training else self.validated
        log.append(net.module_.weight.detach().clone())


def averages_of(start, trained, decay):
    average, averages = start, []
    for step, weight in enumerate(trained, start=1):
        d = min(decay, (1 + step) / (10 + step))
        average = d * average + (1 - d) * weight
        averages.append(average)
    return averages


@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_weight_average_is_validated_and_kept(make_net, make_batches, decay):
    log = WeightLog()
    net = make_net(callbacks=[WeightAverage(decay), log])
    start = net.module.weight.detach().clone()
    net.fit(make_batches(), valid=make_batches(4, seed=1))
    averages = averages_of(start, log.trained, decay)
    torch.testing.assert_close(torch.stack(log.validated), torch.stack(averages[2::3]))
    torch.testing.assert_close(net.module_.weight.detach(), averages[-1])


def test_weight_average_does_not_change_the_training(make_net, make_batches):
    logs = WeightLog(), WeightLog()
    make_net(callbacks=[WeightAverage(), logs[0]]).fit(make_batches(), valid=make_batches(seed=1))
    make_net(callbacks=[logs[1]]).fit(make_batches(), valid=make_batches(seed=1))
    assert torch.equal(torch.stack(logs[0].trained), torch.stack(logs[1].trained))


def test_weight_average_is_what_early_stopping_restores(make_net, make_batches):
    recorder = Scores([2.0, 1.0, 3.0])
    callbacks = [WeightAverage(), recorder, EarlyStopping()]
    net = make_net(callbacks=callbacks).fit(make_batches(), valid=make_batches(seed=1))
    assert_same_state(net.module_.state_dict(), recorder.states[1])


def test_weight_average_is_kept_without_validation_data(make_net, make_batches):
    log = WeightLog()
    net = make_net(callbacks=[WeightAverage(), log])
    start = net.module.weight.detach().clone()
    net.fit(make_batches())
    expected = averages_of(start, log.trained, 0.999)[-1]
    torch.testing.assert_close(net.module_.weight.detach(), expected)


class NormModel(nn.Module):
    """Batch norm alone: its buffers change with every training batch."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.seen = []

    def forward(self, u, rate=1.0):
        output = self.norm(u.mean(dim=1))[:, :1]
        if self.training:
            self.seen.append(self.norm.running_mean.clone())
        return output

    def parameter_groups(self, lr, ssm_lr, weight_decay):
        return [{"params": list(self.parameters()), "lr": lr}]

    def check_weights(self):
        pass


def test_weight_average_covers_running_statistics(make_batches):
    module = NormModel()
    net = S4Net(module, SquaredError(), max_epochs=2, callbacks=[WeightAverage(0.5)])
    net.fit(make_batches(), valid=make_batches(seed=1))
    expected = averages_of(torch.zeros(2), module.seen, 0.5)[-1]
    torch.testing.assert_close(module.norm.running_mean, expected)
    assert module.norm.num_batches_tracked == 6


# ---------------------------------------------------------------- memory


def test_memory_is_given_back_now_and_then(monkeypatch, make_net, make_batches):
    calls = []
    monkeypatch.setattr(_callbacks, "_trim", calls.append)
    make_net(max_epochs=3).fit(make_batches())
    assert calls == []  # nine batches take less than the time between two
    monkeypatch.setattr(_callbacks, "_SECONDS_BETWEEN_TRIMS", 0.0)
    make_net(max_epochs=3).fit(make_batches())
    assert calls == [0] * 9
    monkeypatch.setattr(_callbacks, "_trim", None)  # another allocator
    make_net(max_epochs=3).fit(make_batches())
    assert calls == [0] * 9


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is left alone")
def test_allocator_can_trim():
    assert _callbacks._trim is None or _callbacks._trim(0) in (0, 1)


@pytest.mark.parametrize("hopeless", [True, False])
def test_first_look_ends_what_is_hopeless(make_net, make_batches, hopeless):
    looks = []

    def is_hopeless(net):
        looks.append(len(net.history))
        return hopeless

    look = FirstLook(2, is_hopeless)
    net = make_net(max_epochs=4, callbacks=[("look", look)]).fit(make_batches())
    assert looks == [2]
    assert len(net.history) == (2 if hopeless else 4)
    assert net.stop_reason_ == ("hopeless" if hopeless else None)
