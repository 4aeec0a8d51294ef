"""A call that raises changes nothing; an interrupt after an epoch keeps what there is."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sks4 import S4Classifier, S4Generator, S4Regressor
from sks4.exceptions import TrainingDivergedError

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "batch_size": 8, "dtype": "float64"}
TINY |= {"max_epochs": 2, "random_state": 0}
N_SAMPLES = 24


def sequences(seed=0):
    return np.random.default_rng(seed).normal(size=(N_SAMPLES, 2, 15))


LABELS = np.arange(N_SAMPLES) % 3
VALUES = np.linspace(-1, 1, N_SAMPLES)
SYMBOLS = np.random.default_rng(0).integers(3, size=(N_SAMPLES, 12))

# estimator, training data, and what it predicts
CASES = {
    "classifier": (S4Classifier(**TINY), (sequences(), LABELS), "predict_proba"),
    "trained classifier": (
        S4Classifier(**TINY, readout="trained"),
        (sequences(), LABELS),
        "predict_proba",
    ),
    "regressor": (S4Regressor(**TINY), (sequences(), VALUES), "predict"),
    "gaussian generator": (
        S4Generator(**TINY, distribution="gaussian"),
        (sequences(), None),
        "score_samples",
    ),
    "symbol generator": (S4Generator(**TINY), (SYMBOLS, None), "score_samples"),
}


class Raises(Callback):
    """Raise an exception, or each of several, at an event of an epoch, counted from 1."""

    def __init__(self, exception, epoch=1, event="on_epoch_end"):
        self.exception, self.epoch, self.event = exception, epoch, event

    def notify(self, event, net):
        if event == self.event and len(net.history) >= self.epoch:
            raise self.exception

    def on_epoch_begin(self, net, **kwargs):
        self.notify("on_epoch_begin", net)

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.notify("on_batch_end", net)

    def on_epoch_end(self, net, **kwargs):
        self.notify("on_epoch_end", net)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    estimator, data, output = CASES[request.param]
    return clone(estimator), data, output


def snapshot(estimator, X, output):
    """Return all that a user can see of a fitted estimator, as plain values."""
    net = estimator.net_
    optimizer = net.optimizer_.state_dict()
    tensors = {
        f"optimizer {i} {name}": np.asarray(value)
        for i, state in optimizer["state"].items()
        for name, value in state.items()
    }
    tensors |= {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}
    plain = {
        name: copy.deepcopy(value)
        for name, value in vars(estimator).items()
        if name.endswith("_") and isinstance(value, (int, float, str, tuple, np.ndarray))
    }
    outputs = getattr(estimator, output)(X)
    return plain | tensors | {"outputs": outputs, "history": copy.deepcopy(list(net.history))}


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name, value in before.items():
        if name == "history":
            assert after[name] == value
        else:
            np.testing.assert_array_equal(after[name], value, err_msg=name)


def broken(X):
    """Return X with a value far outside of the range that can be computed with, in a late row."""
    X = np.array(X, dtype=np.float64)
    X[-3, ..., 5] = np.inf
    return X


def faults(estimator, X, y):
    """Yield what is wrong, parameters and arguments of calls that must raise."""
    yield "infinite value", {}, (broken(X), y), {}
    yield "no sequences", {}, (X[:0], None if y is None else y[:0]), {}
    yield "short weights", {}, (X, y), {"sample_weight": np.ones(3)}
    yield "negative weight", {}, (X, y), {"sample_weight": -np.ones(N_SAMPLES)}
    yield "wrong parameter", {"lr": -1.0}, (X, y), {}
    yield "typo in net_params", {"net_params": {"lr": 1.0}}, (X, y), {}
    yield "callback", {"net_callbacks": [Raises(RuntimeError("callback"))]}, (X, y), {}
    late = Raises(RuntimeError("callback"), event="on_batch_end")
    yield "callback in a batch", {"net_callbacks": [late]}, (X, y), {}
    early = Raises(KeyboardInterrupt, event="on_batch_end")
    yield "interrupt in the first epoch", {"net_callbacks": [early]}, (X, y), {}
    yield "divergence", {"ssm_lr": 1e3, "lr": 1e9, "gradient_clip": None}, (X, y), {}
    if y is not None:
        yield "no targets", {}, (X, None), {}
        yield "NaN in y", {}, (X, np.where(np.arange(N_SAMPLES) == 20, np.nan, y)), {}
        yield "short y", {}, (X, y[:-1]), {}


ERRORS = (ValueError, TypeError, RuntimeError, KeyboardInterrupt, TrainingDivergedError)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "warm start"])
def test_call_that_raises_leaves_a_fitted_estimator_as_it_was(case, method):
    estimator, (X, y), output = case
    estimator.fit(X, y)
    before = snapshot(estimator, X, output)
    for fault, parameters, arguments, options in faults(estimator, X, y):
        if fault == "divergence" and method == "partial_fit":
            parameters = parameters | {"lr": 1e200}
        old = {name: getattr(estimator, name) for name in parameters}
        estimator.set_params(**parameters, warm_start=method == "warm start")
        call = estimator.partial_fit if method == "partial_fit" else estimator.fit
        with pytest.raises(ERRORS):
            call(*arguments, **options)
        estimator.set_params(**old, warm_start=False)
        assert_same(before, snapshot(estimator, X, output))


def test_first_fit_that_raises_leaves_the_estimator_unfitted(case):
    estimator, (X, y), output = case
    for _, parameters, arguments, options in faults(estimator, X, y):
        broken_one = clone(estimator).set_params(**parameters)
        with pytest.raises(ERRORS):
            broken_one.fit(*arguments, **options)
        assert not [name for name in vars(broken_one) if name.endswith("_")]
        with pytest.raises(NotFittedError):
            getattr(broken_one, output)(X)


def test_failed_regression_keeps_nothing(monkeypatch):
    def fails(*arguments, **options):
        raise np.linalg.LinAlgError("singular")

    X = sequences()
    classifier = S4Classifier(**TINY).fit(X, LABELS)
    before = snapshot(classifier, X, "predict_proba")
    monkeypatch.setattr("sks4.estimators._readout.fit_ridge", fails)
    with pytest.raises(np.linalg.LinAlgError):
        classifier.fit(sequences(1), LABELS)
    assert_same(before, snapshot(classifier, X, "predict_proba"))


def test_other_labels_in_partial_fit_change_nothing():
    X = sequences()
    classifier = S4Classifier(**TINY).fit(X, LABELS)
    before = snapshot(classifier, X, "predict_proba")
    with pytest.raises(ValueError, match="previously unseen labels"):
        classifier.partial_fit(X, LABELS + 1)
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        classifier.partial_fit(X, LABELS, classes=[0, 1])
    assert_same(before, snapshot(classifier, X, "predict_proba"))


def test_value_beyond_the_dtype_changes_nothing():
    X = sequences().astype(np.float64)
    classifier = S4Classifier(**TINY | {"dtype": "float32"}).fit(X, LABELS)
    before = snapshot(classifier, X, "predict_proba")
    far = X.copy()
    far[20, 0, 3] = 1e45
    with pytest.raises((ValueError, ArithmeticError)):
        classifier.partial_fit(far, LABELS)
    assert_same(before, snapshot(classifier, X, "predict_proba"))
    assert classifier.readout_ == "ridge"


@pytest.mark.parametrize("epoch", [2, 3])
def test_interrupt_after_an_epoch_keeps_the_finished_ones(case, epoch):
    estimator, (X, y), output = case
    stops = Raises(KeyboardInterrupt, epoch, "on_batch_end")
    interrupted = clone(estimator).set_params(max_epochs=5, lr_schedule=None)
    expected = clone(interrupted).set_params(max_epochs=epoch - 1).fit(X, y)
    with pytest.raises(KeyboardInterrupt):
        interrupted.set_params(net_callbacks=[stops]).fit(X, y)
    assert interrupted.n_epochs_ == len(interrupted.history_) == epoch - 1
    np.testing.assert_array_equal(getattr(interrupted, output)(X), getattr(expected, output)(X))


def test_interrupted_classifier_has_its_ridge_readout():
    X = sequences()
    classifier = S4Classifier(**TINY | {"max_epochs": 9})
    classifier.set_params(net_callbacks=[Raises(KeyboardInterrupt, 2, "on_epoch_begin")])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(X, LABELS)
    assert classifier.readout_ == "ridge"
    assert classifier.n_epochs_ == 1


@pytest.mark.parametrize("method", ["partial_fit", "warm start"])
def test_resumed_training_leaves_copies_alone(case, method):
    estimator, (X, y), output = case
    estimator.fit(X, y)
    other = copy.copy(estimator)
    before = snapshot(other, X, output)
    estimator.set_params(warm_start=True)
    (estimator.partial_fit if method == "partial_fit" else estimator.fit)(X, y)
    assert estimator.n_epochs_ > other.n_epochs_
    assert_same(before, snapshot(other, X, output))


def test_resumed_training_continues_from_a_pickle_as_without(case):
    estimator, (X, y), output = case
    estimator.set_params(dropout=0.5, warm_start=True).fit(X, y)
    other = pickle.loads(pickle.dumps(estimator))
    for one in (estimator, other):
        one.fit(X, y)
    np.testing.assert_array_equal(getattr(estimator, output)(X), getattr(other, output)(X))


@pytest.mark.parametrize("weight", [1e-320, 1e-42, 1.0, 1e38, 1e300])
def test_unit_of_weights_has_no_effect(case, weight):
    estimator, (X, y), output = case
    estimator.set_params(dtype="float32")
    expected = clone(estimator).fit(X, y, sample_weight=np.ones(N_SAMPLES))
    found = estimator.fit(X, y, sample_weight=np.full(N_SAMPLES, weight))
    np.testing.assert_array_equal(getattr(found, output)(X), getattr(expected, output)(X))


def test_weights_that_become_nan_are_a_divergence():
    X = sequences()
    with pytest.raises(TrainingDivergedError, match="ssm_lr"):
        S4Classifier(**TINY | {"ssm_lr": 1e3, "gradient_clip": None}).fit(X, LABELS)


def test_torch_global_generator_is_left_alone(case):
    estimator, (X, y), _ = case
    torch.manual_seed(3)
    before = torch.get_rng_state()
    estimator.fit(X, y).partial_fit(X, y)
    assert torch.equal(before, torch.get_rng_state())
