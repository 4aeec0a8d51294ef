"""Budget and learning rates."""

import math

import pytest

from sks4.training import Budget, LearningRateSchedule, warmup_cosine


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_budget_is_spent_by_steps_when_there_is_no_time_limit():
    budget = Budget(4)
    assert (budget.spent, budget.progress) == (0.0, 0.125)
    for _ in range(3):
        budget.step()
    assert (budget.spent, budget.progress) == (0.75, 0.875)
    assert not budget.time_is_up


def test_budget_is_spent_by_time_when_time_is_shorter():
    clock = Clock()
    budget = Budget(1000, 10.0, clock=clock)
    budget.step()
    clock.now += 6.0
    assert budget.spent == pytest.approx(0.6)
    assert not budget.time_is_up
    clock.now += 4.0
    assert budget.time_is_up
    assert budget.progress == 1.0


def test_budget_never_exceeds_one_when_there_are_more_steps_than_planned():
    budget = Budget(2)
    for _ in range(5):
        budget.step()
    assert (budget.spent, budget.progress) == (1.0, 1.0)


def test_warmup_cosine_rises_in_a_line_and_falls_along_a_cosine():
    assert [warmup_cosine(p) for p in (0.0, 0.0125, 0.025, 0.05)] == pytest.approx(
        [0.0, 0.25, 0.5, 1.0]
    )
    for share in (0.0, 0.3, 0.5, 1.0):
        expected = (1 + math.cos(math.pi * share)) / 2
        assert warmup_cosine(0.05 + 0.95 * share) == pytest.approx(expected, abs=1e-12)


def record_rates(log):
    from skorch.callbacks import Callback

    class Recorder(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            log.append([group["lr"] for group in net.optimizer_.param_groups])

    return Recorder()


def test_schedule_scales_every_group_by_its_own_rate(make_net, make_batches):
    rates = []
    callbacks = [LearningRateSchedule(), record_rates(rates)]
    make_net(max_epochs=10, lr=0.05, ssm_lr=0.01, callbacks=callbacks).fit(make_batches())
    assert len(rates) == 30
    factors = [warmup_cosine((step + 0.5) / 30) for step in range(30)]
    assert [row[0] for row in rates] == pytest.approx([0.05 * factor for factor in factors])
    assert [row[1] for row in rates] == pytest.approx([0.01 * factor for factor in factors])
    assert 0 < rates[0][0] < 0.05
    assert 0 < rates[-1][0] < 0.001


def test_rates_are_constant_without_schedule(make_net, make_batches):
    rates = []
    make_net(callbacks=[record_rates(rates)]).fit(make_batches())
    assert rates == [[0.05, 0.01]] * 9


def test_partial_fit_keeps_constant_rates_after_a_schedule(make_net, make_batches):
    rates = []
    net = make_net(callbacks=[LearningRateSchedule(), record_rates(rates)]).fit(make_batches())
    rates.clear()
    net.partial_fit(make_batches())
    assert rates == [[0.05, 0.01]] * 3


def test_schedule_starts_again_when_warm_started(make_net, make_batches):
    rates = []
    callbacks = [LearningRateSchedule(), record_rates(rates)]
    net = make_net(callbacks=callbacks, warm_start=True).fit(make_batches())
    first = list(rates)
    rates.clear()
    net.fit(make_batches())
    assert rates == first


def test_new_rates_are_used_when_warm_started(make_net, make_batches):
    rates = []
    net = make_net(callbacks=[record_rates(rates)], warm_start=True).fit(make_batches())
    rates.clear()
    net.set_params(lr=0.5).fit(make_batches())
    assert rates == [[0.5, 0.01]] * 9
