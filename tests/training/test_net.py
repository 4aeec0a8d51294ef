"""The loop: weights, seeds, interrupts, time, storage, prediction."""

import copy
import pickle
import time

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


def test_mixed_batch_has_the_loss_of_mixed_targets(make_net):
    n = 6
    u, weight = torch.randn(n, 5, 2), torch.rand(n) + 0.5
    weight[2] = 0  # is left out
    lengths = torch.tensor([5, 3, 5, 1, 2, 4])
    batch = {"u": u, "rate": 1.0, "lengths": lengths}, {"y": torch.arange(n), "weight": weight}
    net = make_net(criterion=CrossEntropy(), mixup=0.4).initialize()
    inputs, targets = net._mixed(batch)
    rows, other = targets["y"].chunk(2)
    scores = torch.randn(len(rows), n)
    assert rows.tolist() == sorted(other.tolist()) == [0, 1, 3, 4, 5]
    share = targets["weight"][: len(rows)] / weight[rows]
    torch.testing.assert_close(
        inputs["u"], share[:, None, None] * u[rows] + (1 - share)[:, None, None] * u[other]
    )
    assert (inputs["lengths"] == torch.maximum(lengths[rows], lengths[other])).all()
    assert inputs["rate"] == 1.0
    both = share * weight[rows], (1 - share) * weight[other]
    losses = [-scores.log_softmax(1)[range(len(rows)), y] for y in (rows, other)]
    expected = sum((w * loss).sum() for w, loss in zip(both, losses, strict=True))
    expected = expected / torch.cat(both).sum()
    torch.testing.assert_close(net.get_loss(scores, targets), expected)
    nothing = batch[0], batch[1] | {"weight": torch.zeros(n)}
    assert net._mixed(nothing) is nothing


@pytest.mark.usefixtures("generators_untouched")
def test_mixup_is_drawn_from_the_stream_of_the_net_and_only_in_training(make_net, make_batches):
    nets = [
        make_net(mixup=mixup, seed=seed).fit(make_batches(), valid=make_batches(seed=1))
        for mixup, seed in ((0.4, 0), (0.4, 0), (0.4, 1), (0.0, 0))
    ]
    states = [state_of(net) for net in nets]
    assert_same_state(states[0], states[1])
    for other in states[2:]:
        assert not torch.equal(states[0]["weight"], other["weight"])
    valid = nets[0].history[-1, "valid_loss"]
    outputs = predict(nets[0], make_batches(seed=1))
    truth = make_batches(seed=1).dataset.y.numpy()
    assert valid == pytest.approx(np.mean((outputs - truth) ** 2), rel=1e-5)


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


def test_interrupt_restores_best_weights_and_is_raised(make_net, make_batches):
    states = []
    callbacks = [
        EarlyStopping(),
        At("epoch", 1, lambda net: states.append(state_of(net))),
        At("batch", 2, interrupt),
    ]
    net = make_net(callbacks=callbacks)
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches(), valid=make_batches(seed=1))
    assert len(net.history) == 1
    assert_same_state(state_of(net), states[0])
    assert np.isfinite(predict(net, make_batches())).all()
    net.callbacks_.pop()
    assert len(net.partial_fit(make_batches()).history) == 2


def test_interrupt_in_first_epoch_leaves_no_epoch(make_net, make_batches):
    net = make_net(callbacks=[EarlyStopping(), At("batch", 1, interrupt)])
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches(), valid=make_batches(seed=1))
    assert len(net.history) == 0


def test_interrupt_leaves_the_averaged_weights(make_net, make_batches):
    average = WeightAverage()
    averages = []

    def copy_average(net):
        averages.append([value.clone() for value in average.average_])

    net = make_net(callbacks=[average, At("batch", 2, copy_average), At("batch", 2, interrupt)])
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        net.fit(make_batches())
    torch.testing.assert_close(list(state_of(net).values()), averages[0])


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

    def spoil(net):
        batches.dataset.y[5] = float("nan")

    net = make_net(callbacks=[EarlyStopping(), At("epoch", 2, spoil)])
    with pytest.raises(TrainingDivergedError, match="got nan in epoch 3, batch 2"):
        net.fit(batches, valid=make_batches(seed=1))
    assert len(net.history) == 2
    assert np.isfinite(predict(net, make_batches())).all()


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


def test_predict_dataset_applies_only_the_given_nonlinearity(make_net, make_batches):
    batches = make_batches()
    plain = make_net().fit(batches)
    squashed = make_net(predict_nonlinearity=torch.sigmoid).fit(batches)
    assert_same_state(state_of(plain), state_of(squashed))
    expected = 1 / (1 + np.exp(-predict(plain, batches)))
    np.testing.assert_allclose(predict(squashed, batches), expected, rtol=1e-5)


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
