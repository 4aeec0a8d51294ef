"""The loop: weights, seeds, interrupts, time, storage, prediction."""

import copy
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import skorch.callbacks
import torch
from skorch.callbacks import Callback, EpochScoring

from sks4.exceptions import TrainingDivergedError
from sks4.training import Batches, CrossEntropy, EarlyStopping, LearningRateSchedule, WeightAverage


class At(Callback):
    """Call `action` once, at the given event and epoch."""

    def __init__(self, event, epoch, action):
        self.event, self.epoch, self.action = event, epoch, action

    def _happen(self, event, net, training=None):
        if event == self.event and len(net.history) == self.epoch and training is not False:
            self.action(net)

    def on_batch_end(self, net, training=None, **kwargs):
        self._happen("batch", net, training)

    def on_epoch_end(self, net, **kwargs):
        self._happen("epoch", net)


def interrupt(net):
    raise KeyboardInterrupt("by the user")


def state_of(net):
    return {name: value.clone() for name, value in net.module_.state_dict().items()}


def assert_same_state(state, other):
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name]), name


def predict(net, batches):
    return net.predict_dataset(batches.dataset, batches.batch_sampler)


# ---------------------------------------------------------------- training


def test_fit_reduces_loss(make_net, make_batches):
    net = make_net(dropout=0.0, max_epochs=40).fit(make_batches(), valid=make_batches(seed=1))
    assert net.history[-1, "valid_loss"] < 0.2 * net.history[0, "valid_loss"]
    assert len(net.history) == 40
    assert net.stop_reason_ is None


def shift(batch, generator):
    """Return a batch with noise on the inputs, and without its first row."""
    inputs, targets = batch
    noise = 0.1 * torch.randn(inputs["u"].shape, generator=generator)
    inputs = inputs | {"u": (inputs["u"] + noise)[1:]}
    return inputs, {name: value[1:] for name, value in targets.items()}


@pytest.mark.usefixtures("generators_untouched")
def test_batch_transform_draws_from_the_stream_of_the_net_and_only_in_training(
    make_net, make_batches
):
    nets = [
        make_net(batch_transform=transform, seed=seed, dropout=0.0).fit(
            make_batches(), valid=make_batches(seed=1)
        )
        for transform, seed in ((shift, 0), (shift, 0), (shift, 1), (None, 0))
    ]
    states = [state_of(net) for net in nets]
    assert_same_state(states[0], states[1])
    for other in states[2:]:
        assert not torch.equal(states[0]["weight"], other["weight"])
    valid = nets[0].history[-1, "valid_loss"]
    outputs = predict(nets[0], make_batches(seed=1))
    truth = make_batches(seed=1).dataset.y.numpy()
    assert valid == pytest.approx(np.mean((outputs - truth) ** 2), rel=1e-5)


def test_callbacks_and_history_see_the_transformed_batch(make_net, make_batches):
    sizes = []

    class Sizes(Callback):
        def on_batch_end(self, net, batch=None, training=None, y_pred=None, **kwargs):
            sizes.append((training, len(batch[1]["y"]), len(y_pred)))

    net = make_net(batch_transform=shift, max_epochs=1, callbacks=[Sizes()])
    net.fit(make_batches(8), valid=make_batches(4))
    assert sizes == [(True, 3, 3), (True, 3, 3), (False, 4, 4)]
    assert net.history[0, "batches", :2, "train_weight"] == [3.0, 3.0]


def test_epoch_scoring_of_skorch_works_on_transformed_batches(make_net, make_batches):
    seen = []

    def size(net, X, y):
        seen.append(len(y))
        return 0.0

    scoring = EpochScoring(size, name="score", on_train=True, target_extractor=_y_of)
    make_net(batch_transform=shift, max_epochs=1, callbacks=[scoring]).fit(make_batches(8))
    assert seen == [6]


def test_fit_equals_bare_loop(make_net, make_batches):
    batches = make_batches(dtype=torch.float64)
    net = make_net(dropout=0.0, dtype=torch.float64, weight_decay=0.1)
    module = copy.deepcopy(net.module)
    net.fit(batches)

    optimizer = torch.optim.AdamW(module.parameter_groups(0.05, 0.01, 0.1))
    for _ in range(3):
        for rows in batches.batch_sampler:
            inputs, targets = batches.dataset.__getitems__(rows)
            optimizer.zero_grad()
            ((module(inputs["u"]) - targets["y"]) ** 2).mean().backward()
            optimizer.step()
    torch.testing.assert_close(net.module_.state_dict(), module.state_dict(), rtol=1e-12, atol=0)


def test_fit_with_weight_two_equals_rows_twice(make_net, make_batches):
    weight = torch.ones(4, dtype=torch.float64)
    weight[1] = 2.0
    options = {"n_rows": 4, "dtype": torch.float64}
    doubled = make_batches(**options, weight=weight)
    repeated = Batches(make_batches(**options).dataset, [[0, 1, 1, 2, 3]])
    nets = [
        make_net(dropout=0.0, dtype=torch.float64).fit(batches, valid=batches)
        for batches in (doubled, repeated)
    ]
    for name in ("train_loss", "valid_loss"):
        assert nets[0].history[:, name] == pytest.approx(nets[1].history[:, name], rel=1e-12)
    np.testing.assert_allclose(predict(nets[0], doubled), predict(nets[1], doubled), rtol=1e-12)


def test_epoch_losses_do_not_depend_on_the_batches_of_weighted_rows(make_net, make_batches):
    weight = torch.linspace(0.0, 3.0, 10, dtype=torch.float64)
    losses = []
    for size in (3, 10):
        batches = make_batches(10, size=size, weight=weight, dtype=torch.float64)
        net = make_net(dropout=0.0, dtype=torch.float64, lr=1e-30, ssm_lr=1e-30, max_epochs=1)
        net.fit(batches, valid=batches)
        losses += [net.history[0, "train_loss"], net.history[0, "valid_loss"]]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-12)


@pytest.mark.parametrize("unit", [1e-37, 1e-12, 3.0, 1e12, 5e37])
def test_training_does_not_depend_on_the_unit_of_the_weights(make_net, make_batches, unit):
    weight = torch.linspace(0.5, 3.0, 12)
    nets = [make_net().fit(make_batches(weight=weight * factor)) for factor in (1.0, unit)]
    for name, value in state_of(nets[0]).items():
        torch.testing.assert_close(state_of(nets[1])[name], value, rtol=1e-4, atol=1e-6)
    losses = [net.history[:, "train_loss"] for net in nets]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_smallest_weights_train(make_net, make_batches):
    net = make_net(max_epochs=20, dropout=0.0).fit(make_batches(weight=torch.full((12,), 1e-42)))
    assert net.history[-1, "train_loss"] < 0.5 * net.history[0, "train_loss"]


def test_epoch_loss_ignores_batch_of_weight_zero(make_net, make_batches):
    weight = torch.cat([torch.ones(4), torch.zeros(4)])
    net = make_net(dropout=0.0, lr=1e-30, ssm_lr=1e-30, max_epochs=1)
    net.fit(make_batches(8, weight=weight))
    expected = net.history[0, "batches", 0, "train_loss"]
    assert net.history[0, "train_loss"] == expected > 0


@pytest.mark.parametrize("part", ["training", "validation"])
def test_fit_refuses_weights_that_are_all_zero(make_net, make_batches, part):
    zero, one = make_batches(4, weight=torch.zeros(4)), make_batches(4)
    train, valid = (zero, one) if part == "training" else (one, zero)
    with pytest.raises(ValueError, match=f"sum above zero in the {part} data, got 0.0"):
        make_net().fit(train, valid=valid)


def test_fit_passes_optimizer_options_through(make_net, make_batches):
    net = make_net(optimizer=torch.optim.SGD, optimizer__momentum=0.5).fit(make_batches())
    assert isinstance(net.optimizer_, torch.optim.SGD)
    assert [group["momentum"] for group in net.optimizer_.param_groups] == [0.5, 0.5]


def test_fit_refuses_optimizer_options_that_groups_hold(make_net, make_batches):
    with pytest.raises(ValueError, match=r"got \['lr'\]. Set lr, ssm_lr and weight_decay"):
        make_net(optimizer__lr=0.1).fit(make_batches())


def test_fit_refuses_misspelled_option(make_net, make_batches):
    with pytest.raises(ValueError, match="iterator_train__num_workers"):
        make_net(iterator_train_num_workers=0).fit(make_batches())


def test_fit_refuses_callback_that_stops_by_interrupt(make_net, make_batches):
    net = make_net(callbacks=[skorch.callbacks.EarlyStopping()])
    with pytest.raises(ValueError, match="must not hold skorch's EarlyStopping"):
        net.fit(make_batches())


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_gradient_clip_bounds_the_norm(make_net, make_batches, clip):
    norms = []

    class NormLog(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            squares = [parameter.grad.square().sum() for _, parameter in named_parameters]
            norms.append(sum(squares).sqrt().item())

    make_net(gradient_clip=clip, callbacks=[NormLog()]).fit(make_batches())
    if clip is None:
        assert max(norms) > 1e-2
    else:
        assert max(norms) == pytest.approx(clip, rel=1e-3)


def test_epoch_scoring_of_skorch_sees_targets_and_outputs(make_net, make_batches):
    def negative_error(net, X, y):
        return -float(np.mean((net.predict(X) - y) ** 2))

    scoring = EpochScoring(
        negative_error,
        name="score",
        lower_is_better=False,
        target_extractor=lambda targets: targets["y"].numpy(),
    )
    net = make_net(callbacks=[scoring]).fit(make_batches(), valid=make_batches(seed=1))
    assert net.history[:, "score"] == pytest.approx(
        [-loss for loss in net.history[:, "valid_loss"]], rel=1e-5
    )


# ---------------------------------------------------------------- random numbers


def test_two_fits_are_identical(make_net, make_batches):
    torch.manual_seed(1)
    first = make_net(seed=7).fit(make_batches(shuffle_seed=3))
    torch.manual_seed(2)
    second = make_net(seed=7).fit(make_batches(shuffle_seed=3))
    assert_same_state(state_of(first), state_of(second))


def test_other_seed_gives_other_dropout(make_net, make_batches):
    first, second = (make_net(seed=seed).fit(make_batches()) for seed in (7, 8))
    assert not torch.equal(first.module_.weight, second.module_.weight)


def test_fits_in_threads_are_identical(make_net, make_batches):
    def fit(seed):
        net = make_net(seed=seed, batch_transform=shift)
        return state_of(net.fit(make_batches(shuffle_seed=3), valid=make_batches(seed=1)))

    seeds = [0, 1, 2, 3] * 4
    expected = [fit(seed) for seed in seeds[:4]] * 4
    before = torch.get_rng_state()
    with ThreadPoolExecutor(8) as pool:
        for state, other in zip(pool.map(fit, seeds), expected, strict=True):
            assert_same_state(state, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_of_the_loader_draw_from_the_stream_of_the_net(make_net, make_batches):
    seeds = []

    class Seeds(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seeds.append(net.generator_.get_state())

    for torch_seed in (1, 2):
        torch.manual_seed(torch_seed)
        make_net(dropout=0.0, max_epochs=2, callbacks=[Seeds()]).fit(make_batches())
    assert not torch.equal(seeds[0], seeds[1])  # a loader draws a seed for its workers
    assert torch.equal(seeds[1], seeds[3])


@pytest.mark.usefixtures("generators_untouched")
def test_fit_and_predict_leave_global_generators_and_threads(make_net, make_batches):
    threads = torch.get_num_threads()
    batches = make_batches()
    predict(make_net().fit(batches, valid=batches).partial_fit(batches), batches)
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("generators_untouched")
def test_fit_leaves_global_generators_when_interrupted(make_net, make_batches):
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        make_net(callbacks=[At("batch", 2, interrupt)]).fit(make_batches())


def test_partial_fit_goes_on_with_the_stream_of_dropout(make_net, make_batches):
    whole = make_net(max_epochs=3).fit(make_batches())
    parts = make_net()
    for _ in range(3):
        parts.partial_fit(make_batches())
    assert_same_state(state_of(whole), state_of(parts))
    assert len(parts.history) == 3


def test_warm_start_goes_on_with_optimizer_and_history(make_net, make_batches):
    whole = make_net(max_epochs=4).fit(make_batches())
    parts = make_net(max_epochs=2, warm_start=True).fit(make_batches()).fit(make_batches())
    assert_same_state(state_of(whole), state_of(parts))
    assert parts.history[:, "epoch"] == [1, 2, 3, 4]


# ---------------------------------------------------------------- ends before the last epoch


def moment_of(net):
    """Return copies of weights, optimizer, random numbers and history."""
    return {
        "module": state_of(net),
        "optimizer": copy.deepcopy(net.optimizer_.state_dict()),
        "generator": net.generator_.get_state(),
        "history": [
            {name: value for name, value in copy.deepcopy(row).items() if name != "dur"}
            for row in net.history
        ],
    }


def assert_same_moment(moment, other, *, rates=True):
    assert_same_state(moment["module"], other["module"])
    assert torch.equal(moment["generator"], other["generator"])
    assert moment["history"] == other["history"]
    states = [each["optimizer"]["state"] for each in (moment, other)]
    assert states[0].keys() == states[1].keys()
    for name, state in states[0].items():
        assert_same_state(state, states[1][name])
    if rates:
        groups = [each["optimizer"]["param_groups"] for each in (moment, other)]
        assert groups[0] == groups[1]


class Recorder(Callback):
    """Keep what the net is at the end of each epoch; it must be the last callback."""

    def on_train_begin(self, net, **kwargs):
        self.start, self.ends = moment_of(net), []

    def on_epoch_end(self, net, **kwargs):
        self.ends.append(moment_of(net))


class BrokenError(RuntimeError):
    pass


def fail(net):
    raise BrokenError("in a callback")


def spoil(net):
    with torch.no_grad():
        net.module_.weight.fill_(float("nan"))


ENDS = {
    "interrupt in a batch": (At("batch", 3, interrupt), KeyboardInterrupt, "by the user"),
    "interrupt at the end of an epoch": (At("epoch", 3, interrupt), KeyboardInterrupt, "by the"),
    "error in a batch": (At("batch", 3, fail), BrokenError, "in a callback"),
    "error at the end of an epoch": (At("epoch", 3, fail), BrokenError, "in a callback"),
    "spoiled weights": (At("batch", 3, spoil), TrainingDivergedError, "must"),
}


@pytest.mark.parametrize("has_valid", [True, False])
@pytest.mark.parametrize("end", ENDS)
def test_failure_leaves_the_last_finished_epoch(make_net, make_batches, end, has_valid):
    action, error, message = ENDS[end]
    recorder = Recorder()
    net = make_net(callbacks=[LearningRateSchedule(), recorder, copy.copy(action)], max_epochs=5)
    with pytest.raises(error, match=message):
        net.fit(make_batches(), valid=make_batches(seed=1) if has_valid else None)
    assert len(net.history) == 2
    assert_same_moment(moment_of(net), recorder.ends[1])
    assert np.isfinite(predict(net, make_batches())).all()


@pytest.mark.parametrize("end", ENDS)
def test_failure_in_the_first_epoch_leaves_the_net_as_it_was(make_net, make_batches, end):
    action, error, message = ENDS[end]
    action = copy.copy(action)
    action.epoch = 1
    net = make_net(callbacks=[WeightAverage(), EarlyStopping(), action], warm_start=True)
    net.initialize()
    before = moment_of(net)
    with pytest.raises(error, match=message):
        net.fit(make_batches(), valid=make_batches(seed=1))
    assert_same_moment(moment_of(net), before)


@pytest.mark.parametrize("end", ENDS)
def test_failure_of_continued_training_leaves_the_net_as_it_was(make_net, make_batches, end):
    action, error, message = ENDS[end]
    net = make_net(callbacks=[WeightAverage(), copy.copy(action)], max_epochs=2)
    net.fit(make_batches())
    before = moment_of(net)
    with pytest.raises(error, match=message):
        net.partial_fit(make_batches())
    assert_same_moment(moment_of(net), before)


def test_training_continues_after_an_interrupt_as_if_there_was_none(make_net, make_batches):
    whole = make_net(max_epochs=4).fit(make_batches())
    net = make_net(max_epochs=4, callbacks=[At("batch", 3, interrupt)])
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches())
    net.callbacks_.pop()
    net.partial_fit(make_batches()).partial_fit(make_batches())
    assert_same_state(state_of(net), state_of(whole))


def test_interrupt_leaves_the_best_weights_of_finished_epochs(make_net, make_batches):
    recorder = Recorder()
    callbacks = [EarlyStopping(), recorder, At("batch", 4, interrupt)]
    net = make_net(callbacks=callbacks, max_epochs=9, lr=1.0)
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches(), valid=make_batches(seed=1))
    losses = net.history[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1 == 2  # the last epoch is not the best one
    assert dict(net.callbacks_)["EarlyStopping"].best_epoch_ == best + 1
    assert_same_state(state_of(net), recorder.ends[best]["module"])


def test_best_epoch_is_a_finished_one_when_the_interrupt_comes_with_it(make_net, make_batches):
    recorder, stopping = Recorder(), EarlyStopping()
    # the second epoch is better, but a callback after the early stopping is interrupted
    net = make_net(callbacks=[stopping, recorder, At("epoch", 2, interrupt)], dropout=0.0)
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches(), valid=make_batches(seed=1))
    assert (
        recorder.ends[1]["history"][1]["valid_loss"] < recorder.ends[0]["history"][0]["valid_loss"]
    )
    assert len(net.history) == stopping.best_epoch_ == 1
    assert stopping.best_score_ == net.history[0, "valid_loss"]
    assert_same_moment(moment_of(net), recorder.ends[0])


def test_interrupt_leaves_the_averaged_weights_of_the_last_finished_epoch(make_net, make_batches):
    recorder = Recorder()
    net = make_net(callbacks=[WeightAverage(), recorder, At("batch", 2, interrupt)])
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches())
    assert_same_moment(moment_of(net), recorder.ends[0])


class Ends(Callback):
    """Count the ends of training, and fail there if told so."""

    def __init__(self, error=None):
        self.error, self.count = error, 0

    def on_train_end(self, net, **kwargs):
        self.count += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [BrokenError("at the end"), KeyboardInterrupt("at the end")])
def test_error_at_the_end_is_raised_when_all_callbacks_have_seen_the_end(
    make_net, make_batches, error
):
    average, last, recorder = WeightAverage(), Ends(), Recorder()
    net = make_net(callbacks=[recorder, Ends(error), average, last])
    with pytest.raises(type(error), match="at the end"):
        net.fit(make_batches())
    assert last.count == 1
    assert average.live_ == []
    assert len(net.history) == 3
    assert_same_moment(moment_of(net) | {"module": {}}, recorder.ends[2] | {"module": {}})


def test_first_error_is_the_one_that_is_raised(make_net, make_batches):
    net = make_net(callbacks=[At("batch", 1, interrupt), Ends(BrokenError("at the end"))])
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches())


def test_error_when_training_begins_does_not_hide_behind_other_callbacks(make_net, make_batches):
    class Begin(Callback):
        def on_train_begin(self, net, **kwargs):
            raise BrokenError("at the beginning")

    net = make_net(callbacks=[Begin(), WeightAverage(), EarlyStopping()])
    with pytest.raises(BrokenError, match="at the beginning"):
        net.fit(make_batches(), valid=make_batches(seed=1))


def test_second_interrupt_leaves_no_history(make_net, make_batches, monkeypatch):
    net = make_net(callbacks=[At("batch", 2, interrupt)]).initialize()

    def interrupt_again(*args, **kwargs):
        raise KeyboardInterrupt("again")

    monkeypatch.setattr(net.module_, "load_state_dict", interrupt_again)
    with pytest.raises(KeyboardInterrupt, match="again"):
        net.set_params(warm_start=True).fit(make_batches())
    assert len(net.history) == 0


def test_modules_keep_no_generator_after_training(make_net, make_batches):
    for callbacks in ([], [At("batch", 1, fail)]):
        net = make_net(callbacks=callbacks)
        with suppress(BrokenError):
            net.fit(make_batches())
        assert net.module_.dropout.generator is None


def test_stop_training_ends_after_the_present_epoch(make_net, make_batches):
    net = make_net(callbacks=[At("batch", 2, lambda net: net.stop_training("enough"))])
    net.fit(make_batches(), valid=make_batches(seed=1))
    assert net.stop_reason_ == "enough"
    assert net.history[:, "train_batch_count"] == [3, 1]
    assert len(net.history[:, "valid_loss"]) == 2
    net.callbacks_.pop()
    assert net.partial_fit(make_batches()).stop_reason_ is None


def test_max_time_ends_a_long_epoch_early_and_validates(make_net, make_batches):
    slow = At("batch", 1, lambda net: time.sleep(0.02))
    net = make_net(max_time=0.05, callbacks=[slow, LearningRateSchedule(), EarlyStopping()])
    start = time.monotonic()
    net.fit(make_batches(400, size=1), valid=make_batches(seed=1))
    assert time.monotonic() - start < 4.0  # 400 batches would take 8 seconds
    assert net.stop_reason_ == "max_time"
    assert len(net.history) == 1
    assert 1 <= net.history[0, "train_batch_count"] < 400
    assert np.isfinite(net.history[0, "valid_loss"])
    assert net.budget_ is None


def test_max_time_stops_after_a_long_validation(make_net, make_batches):
    slow = At("epoch", 1, lambda net: time.sleep(0.4))
    net = make_net(max_time=0.3, callbacks=[slow]).fit(make_batches())
    assert (len(net.history), net.stop_reason_) == (1, "max_time")


def test_diverged_loss_says_where_and_what_to_try(make_net, make_batches):
    batches = make_batches()
    batches.dataset.y[5] = float("inf")  # in the second batch
    with pytest.raises(
        TrainingDivergedError, match=r"got inf in epoch 1, batch 2\. Try a smaller lr"
    ):
        make_net().fit(batches)


def test_diverged_loss_restores_the_last_best_weights(make_net, make_batches):
    batches = make_batches()

    def spoil_targets(net):
        batches.dataset.y[5] = float("nan")

    net = make_net(callbacks=[EarlyStopping(), At("epoch", 2, spoil_targets)])
    with pytest.raises(TrainingDivergedError, match="got nan in epoch 3, batch 2"):
        net.fit(batches, valid=make_batches(seed=1))
    assert len(net.history) == 2
    expected = make_net(callbacks=[EarlyStopping()], max_epochs=2)
    expected.fit(make_batches(), valid=make_batches(seed=1))
    np.testing.assert_array_equal(predict(net, make_batches()), predict(expected, make_batches()))


def test_diverged_weights_are_found_at_the_end_of_an_epoch(make_net, make_batches):
    class Last(Callback):
        def on_batch_end(self, net, training=None, **kwargs):
            if training and len(net.history[-1]["batches"]) == 3:
                spoil(net)

    net = make_net(callbacks=[Last()])
    message = "All weights must be finite. Training diverged in epoch 1. Try a smaller lr"
    with pytest.raises(TrainingDivergedError, match=message):
        net.fit(make_batches(), valid=make_batches(seed=1))
    assert net.module_.weight.isfinite().all()


def test_diverged_weights_explain_an_error_of_the_module(make_net, make_batches):
    net = make_net(callbacks=[At("batch", 1, spoil)]).initialize()

    def refuse(module, inputs):
        if module.weight.isnan().any():
            raise ValueError("dt must be finite")

    net.module_.register_forward_pre_hook(refuse)
    with pytest.raises(TrainingDivergedError, match="Training diverged in epoch 1") as info:
        net.set_params(warm_start=True).fit(make_batches())
    assert "dt must be finite" in str(info.value.__cause__)


def test_rate_that_overflows_is_a_divergence(make_net, make_batches):
    net = make_net(lr=1e38)
    with pytest.raises(TrainingDivergedError, match=r"overflows\. Try a smaller lr"):
        net.fit(make_batches())
    assert net.module_.weight.isfinite().all()


def test_error_of_a_module_with_good_weights_stays_what_it_is(make_net, make_batches):
    with pytest.raises(BrokenError, match="in a callback"):
        make_net(callbacks=[At("batch", 1, fail)]).fit(make_batches())


# ---------------------------------------------------------------- prediction


def test_predict_dataset_returns_rows_in_order_of_the_data(make_net, make_batches):
    net, batches = make_net().fit(make_batches()), make_batches(10, seed=1)
    expected = predict(net, batches)
    assert expected.shape == (10, 1)
    shuffled = [[9, 0, 4], [3], [8, 7, 1, 2], [6, 5]]
    np.testing.assert_allclose(net.predict_dataset(batches.dataset, shuffled), expected, rtol=1e-6)
    module = net.module_.eval()
    with torch.no_grad():
        np.testing.assert_allclose(expected, module(batches.dataset.u).numpy(), rtol=1e-6)


def test_predict_dataset_runs_the_module_in_inference_mode(make_net, make_batches):
    net, seen = make_net().fit(make_batches()), []
    net.module_.register_forward_hook(
        lambda module, *_: seen.append((module.training, torch.is_inference_mode_enabled()))
    )
    predict(net, make_batches(4))
    assert seen == [(False, True)]


@pytest.mark.parametrize("rows", [[[0, 1], [1]], [[0], [1]], [[0, 1, 2, 3]], []])
def test_predict_dataset_refuses_sampler_that_is_no_permutation(make_net, make_batches, rows):
    net, batches = make_net().fit(make_batches()), make_batches(3)
    with pytest.raises(ValueError, match="must yield each of the 3 rows once"):
        net.predict_dataset(batches.dataset, rows)


@pytest.mark.parametrize("compiled", [False, True])
def test_predict_dataset_returns_what_the_module_returns(make_net, make_batches, compiled):
    options = {"compile": True, "compile__backend": "eager"} if compiled else {}
    net = make_net(criterion=CrossEntropy(), **options).initialize()
    batches = make_batches()
    with torch.no_grad():
        expected = net.module_.eval()(batches.dataset.u).numpy()
    np.testing.assert_allclose(predict(net, batches), expected, rtol=1e-6)


def test_net_takes_no_nonlinearity(make_net):
    with pytest.raises(TypeError, match="predict_nonlinearity"):
        make_net(predict_nonlinearity=torch.sigmoid)


def test_predict_dataset_refuses_net_without_training(make_net, make_batches):
    with pytest.raises(Exception, match="not initialized"):
        predict(make_net(), make_batches())


# ---------------------------------------------------------------- storage


def copies(net):
    return {"pickle": pickle.loads(pickle.dumps(net)), "deepcopy": copy.deepcopy(net)}


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copied_net_predicts_the_same_and_trains_on_the_same(make_net, make_batches, way):
    batches = make_batches()
    callbacks = [LearningRateSchedule(), WeightAverage(), EarlyStopping()]
    net = make_net(callbacks=callbacks, max_time=60.0).fit(batches, valid=make_batches(seed=1))
    other = copies(net)[way]
    np.testing.assert_array_equal(predict(other, batches), predict(net, batches))
    assert other.history == net.history
    assert other.module is other.module_
    assert other.module_ is not net.module_
    for each in (net, other):
        each.partial_fit(batches)
    assert_same_state(state_of(other), state_of(net))


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copied_net_trains_when_it_was_not_initialized(make_net, make_batches, way):
    net = make_net()
    other = copies(net)[way]
    assert_same_state(state_of(other.fit(make_batches())), state_of(net.fit(make_batches())))


def test_copied_optimizer_refers_to_the_copied_weights(make_net, make_batches):
    net = make_net().fit(make_batches())
    for other in copies(net).values():
        own = {id(parameter) for parameter in other.module_.parameters()}
        referred = {id(p) for group in other.optimizer_.param_groups for p in group["params"]}
        assert referred == own == {id(p) for p in other.optimizer_.state}
        assert not own & {id(parameter) for parameter in net.module_.parameters()}


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_training_a_copy_changes_nothing_of_the_original(make_net, make_batches, way):
    callbacks = [LearningRateSchedule(), WeightAverage(), EarlyStopping()]
    net = make_net(callbacks=callbacks).fit(make_batches(), valid=make_batches(seed=1))
    before = moment_of(net)
    other = copies(net)[way].partial_fit(make_batches())
    assert len(other.history) == len(net.history) + 1
    assert_same_moment(moment_of(net), before)


class CopyOnce(Callback):
    """Copy the net in the middle of an epoch; copies of this do nothing."""

    def __init__(self, found, way):
        self.found, self.way = found, way

    def on_batch_end(self, net, training=None, **kwargs):
        if self.found is not None and not self.found:
            self.found.append(copies(net)[self.way])

    def __getstate__(self):
        return self.__dict__ | {"found": None}


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_net_can_be_copied_while_it_trains(make_net, make_batches, way):
    found = []
    net = make_net(callbacks=[CopyOnce(found, way)]).fit(make_batches())
    assert_same_state(state_of(net), state_of(make_net().fit(make_batches())))
    assert found[0].module_.dropout.generator is None
    weight = found[0].module_.weight.detach().clone()
    assert not torch.equal(found[0].partial_fit(make_batches()).module_.weight, weight)


def test_pickle_holds_no_generator_and_no_tensor_of_the_stream(make_net, make_batches):
    state = make_net().fit(make_batches()).__getstate__()
    assert isinstance(state["generator_"], bytes)
    kinds = {type(value) for value in state.values()}
    assert not kinds & {torch.Generator, torch.Tensor}


def continued(make_net, net, **options):
    other = make_net(module=copy.deepcopy(net.module_), **options)
    return other.initialize().continue_from(net)


def test_net_continues_from_another_as_that_would(make_net, make_batches):
    net = make_net(lr=0.05).fit(make_batches())
    other = continued(make_net, net)
    assert_same_moment(moment_of(other), moment_of(net))
    for each in (net, other):
        each.partial_fit(make_batches())
    assert_same_moment(moment_of(other), moment_of(net))


def test_net_that_continues_leaves_the_other_as_it_was(make_net, make_batches):
    net = make_net().fit(make_batches())
    before = moment_of(net)
    other = continued(make_net, net, lr=0.5).partial_fit(make_batches())
    assert_same_moment(moment_of(net), before)
    assert other.optimizer_.param_groups[0]["lr"] == 0.5
    assert len(other.history) == 4


def test_net_refuses_to_continue_on_the_same_module(make_net, make_batches):
    net = make_net().fit(make_batches())
    other = make_net(module=net.module_).initialize()
    with pytest.raises(ValueError, match="must not continue from one with the same module"):
        other.continue_from(net)


def test_compiled_net_continues_from_another(make_net, make_batches):
    options = {"compile": True, "compile__backend": "eager"}
    net = make_net(**options).fit(make_batches())
    other = continued(make_net, net, **options)
    assert other.module_._compiled_call_impl is not None
    for each in (net, other):
        each.partial_fit(make_batches())
    assert_same_state(state_of(other), state_of(net))


def test_pickle_holds_no_data(make_net, make_batches):
    sizes = []
    for n_rows in (8, 20_000):
        train, valid = make_batches(n_rows, size=n_rows), make_batches(n_rows, size=n_rows, seed=1)
        scoring = EpochScoring(_zero, name="score", target_extractor=_y_of)
        callbacks = [scoring, EarlyStopping(), WeightAverage()]
        net = make_net(callbacks=callbacks).fit(train, valid=valid)
        sizes.append(len(pickle.dumps(net)))
    assert abs(sizes[1] - sizes[0]) < 200  # numbers in the history differ in length


def _zero(net, X, y):
    return 0.0


def _y_of(targets):
    return targets["y"].numpy()


def test_pickle_holds_the_module_once(make_net, make_batches):
    sizes = []
    for n_parameters in (10, 100_010):
        net = make_net(optimizer=torch.optim.SGD)
        net.module.extra = torch.nn.Parameter(torch.zeros(n_parameters), requires_grad=False)
        sizes.append(len(pickle.dumps(net.fit(make_batches()))))
    assert sizes[1] - sizes[0] == pytest.approx(4 * 100_000, rel=0.01)


def test_compile_is_not_pickled(make_net, make_batches):
    batches = make_batches()
    net = make_net(compile=True, compile__backend="eager", dropout=0.0).fit(batches)
    assert net.module_._compiled_call_impl is not None
    other = pickle.loads(pickle.dumps(net))
    assert type(other.module_) is type(net.module_)
    np.testing.assert_allclose(predict(other, batches), predict(net, batches), rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mixed_precision", [True, False])
def test_fit_on_cuda_repeats_and_agrees_with_cpu(make_net, make_batches, mixed_precision):
    batches = make_batches()
    before = torch.cuda.get_rng_state()
    options = {"device": "cuda", "mixed_precision": mixed_precision}
    nets = [make_net(**options).fit(batches, valid=batches) for _ in range(2)]
    assert_same_state(state_of(nets[0]), state_of(nets[1]))
    assert torch.equal(torch.cuda.get_rng_state(), before)
    on_gpu = predict(make_net(dropout=0.0, **options).fit(batches), batches)
    on_cpu = predict(make_net(dropout=0.0).fit(batches), batches)
    assert on_gpu.dtype == np.float32
    tolerance = 0.05 if mixed_precision else 1e-4  # bfloat16 has 8 bits
    np.testing.assert_allclose(on_gpu, on_cpu, atol=tolerance)
