"""Seeds, interrupts and the adoption of results, without training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sks4 import S4Classifier
from sks4.estimators._base import (
    Interruption,
    Seeds,
    Trained,
    check_net_params,
    draw_seeds,
    random_numbers,
)

# --- seeds ---------------------------------------------------------------------------------------


def test_seeds_follow_the_random_state():
    assert draw_seeds(7) == draw_seeds(7) == draw_seeds(np.random.RandomState(7))
    assert draw_seeds(7) != draw_seeds(8)
    assert len({draw_seeds(7).model, draw_seeds(7).net, draw_seeds(7).data}) == 3


def test_random_state_moves_on():
    shared = np.random.RandomState(0)
    assert draw_seeds(shared) != draw_seeds(shared)


def test_seeds_without_a_state_differ_and_leave_the_global_ones_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert draw_seeds(None) != draw_seeds(None)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_generator_of_batches_is_new_or_resumed():
    seeds, rng = random_numbers(3, None)
    assert isinstance(seeds, Seeds)
    assert rng.integers(1000) == np.random.default_rng(seeds.data).integers(1000)
    resumed = Trained(None, np.random.default_rng(5), {})
    assert random_numbers(3, resumed)[1] is resumed.rng


# --- interrupts ----------------------------------------------------------------------------------


def net_of(n_epochs):
    return SimpleNamespace(history=[{}] * n_epochs)


def test_interrupt_after_an_epoch_is_held_back_until_the_end():
    net = net_of(3)
    with Interruption(net) as interruption:
        net.history.append({})
        raise KeyboardInterrupt("first")
    with pytest.raises(KeyboardInterrupt, match="first"):
        interruption.raise_again()


def test_interrupt_before_an_epoch_passes_through():
    with pytest.raises(KeyboardInterrupt), Interruption(net_of(3)):
        raise KeyboardInterrupt


def test_error_passes_through_also_after_an_epoch():
    def fail():
        with Interruption(net := net_of(0)):
            net.history.append({})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_nothing_is_raised_again_without_an_interrupt():
    net = net_of(0)
    with Interruption(net) as interruption:
        net.history.append({})
    assert interruption.repeat(lambda: 5) == 5
    interruption.raise_again()


@pytest.mark.parametrize("already", [False, True])
def test_computation_is_repeated_after_the_first_interrupt_only(already):
    net, calls = net_of(0), []

    def compute():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "done"

    with Interruption(net) as interruption:
        net.history.append({})
        if already:
            raise KeyboardInterrupt
    if already:
        with pytest.raises(KeyboardInterrupt):
            interruption.repeat(compute)
        assert len(calls) == 1
        return
    assert interruption.repeat(compute) == "done"
    assert len(calls) == 2
    with pytest.raises(KeyboardInterrupt):
        interruption.raise_again()


# --- adoption ------------------------------------------------------------------------------------


def trained(n_epochs, best=None):
    stopping = {} if best is None else {"early_stopping": SimpleNamespace(best_epoch_=best)}
    net = SimpleNamespace(
        history=[{}] * n_epochs, callbacks_=list(stopping.items()), module_=torch.nn.Linear(3, 2)
    )
    return Trained(net, np.random.default_rng(0), {})


def test_adoption_replaces_all_fitted_attributes_and_no_parameter():
    estimator = S4Classifier(d_model=8)
    parameters = estimator.get_params()
    assert estimator._adopt(trained(5, best=3), {"old_": 1, "_hidden_": 2}) is estimator
    assert (estimator.n_epochs_, estimator.best_epoch_, estimator.n_parameters_) == (5, 3, 8)
    estimator._adopt(trained(2), {"new_": 1})
    assert (estimator.n_epochs_, estimator.best_epoch_) == (2, 2)
    assert estimator.new_ == 1
    assert {"old_", "_hidden_"}.isdisjoint(vars(estimator))
    assert estimator.get_params() == parameters


def test_training_is_resumed_on_a_copy_of_the_generator():
    assert S4Classifier()._trained_to_resume() is None
    estimator = S4Classifier()._adopt(trained(1), {})
    state = estimator._trained_.rng.bit_generator.state
    estimator._trained_to_resume().rng.random()
    assert estimator._trained_.rng.bit_generator.state == state


def test_training_is_not_resumed_with_other_fixed_parameters():
    result = trained(1)
    result.fixed.update(d_model=8, dtype="float32")
    estimator = S4Classifier(d_model=8)._adopt(result, {})
    assert estimator._trained_to_resume().net is result.net
    with pytest.raises(ValueError, match="d_model must stay as in the first fit"):
        estimator.set_params(d_model=16)._trained_to_resume()


def test_net_parameters_of_the_estimator_are_refused():
    check_net_params(None)
    check_net_params({"optimizer": torch.optim.SGD})
    with pytest.raises(ValueError, match=r"must not hold \['lr', 'module'\]: the estimator sets"):
        check_net_params({"module": 1, "lr": 1, "optimizer": torch.optim.SGD})
