"""How fit trains: validation, weights, seeds, going on, interrupts, and what is passed on."""

import pickle
import random
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sks4 import S4Classifier
from sks4.exceptions import TrainingDivergedError, ValidationSplitWarning
from sks4.training import Mixup, Stretch


def weights(estimator):
    """Return all weights of a fitted estimator in one array."""
    return torch.nn.utils.parameters_to_vector(estimator.net_.module_.parameters()).detach().numpy()


class StopsAt(Callback):
    """Raise an exception at the beginning of an epoch, counted from 1."""

    def __init__(self, epoch, exception=KeyboardInterrupt):
        self.epoch = epoch
        self.exception = exception

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.exception


class PoisonsAt(Callback):
    """Put a NaN into the weights at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.nan)


# --- validation and stopping ---------------------------------------------------------------------


def test_training_watches_given_validation_data(make_estimator, waves):
    X, y = waves
    estimator = make_estimator(max_epochs=3).fit(X[:16], y[:16], X_val=X[16:], y_val=y[16:])
    losses = estimator.history_[:, "valid_loss"]
    assert estimator.best_epoch_ == 1 + int(np.argmin(losses))
    assert estimator.n_epochs_ == 3


def test_patience_ends_training_and_the_best_weights_are_kept(make_classifier, waves):
    X, y = waves
    # With wrong labels to validate on, one of the first epochs is the best one.
    stopped = make_classifier(max_epochs=30, patience=2, lr=0.05, readout="trained")
    stopped.fit(X, y, X_val=X, y_val=1 - y)
    assert stopped.n_epochs_ == stopped.best_epoch_ + 2 < 30
    assert stopped.net_.stop_reason_ == "early_stopping"
    stops = StopsAt(stopped.best_epoch_ + 1)
    interrupted = make_classifier(max_epochs=30, lr=0.05, net_callbacks=[stops])
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, y)
    assert_array_equal(weights(stopped), weights(interrupted))


def test_validation_data_only_shows_the_loss_without_early_stopping(make_classifier, waves):
    X, y = waves
    classifier = make_classifier(max_epochs=4, patience=1, lr=0.05, early_stopping=False)
    classifier.fit(X, y, X_val=X, y_val=1 - y)
    assert classifier.best_epoch_ == len(classifier.history_[:, "valid_loss"]) == 4


def test_part_of_the_data_is_set_aside_when_asked(make_classifier, waves):
    X, y = waves
    classifier = make_classifier(early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert sum(classifier.history_[0, "batches", :, "train_batch_size"]) == 18
    assert classifier.history_[0, "batches", :, "valid_batch_size"] == [6]


def test_small_data_is_used_whole_by_default(make_estimator, waves):
    estimator = make_estimator().fit(*waves)
    assert sum(estimator.history_[0, "batches", :, "train_batch_size"]) == 24
    assert "valid_loss" not in estimator.history_[0]
    assert estimator.best_epoch_ == estimator.n_epochs_ == 2


def test_rare_class_is_learned_without_validation_and_said_once(make_classifier, waves):
    X, y = waves
    labels = np.where(np.arange(24) == 5, "rare", np.array(["a", "b"])[y])
    with pytest.warns(ValidationSplitWarning, match="too few") as record:
        classifier = make_classifier(early_stopping=True).fit(X, labels)
    assert len(record) == 1
    assert classifier.classes_.tolist() == ["a", "b", "rare"]
    assert "valid_loss" not in classifier.history_[0]


def test_validation_data_must_be_complete(make_estimator, waves):
    X, y = waves
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        make_estimator().fit(X, y, X_val=X)


def test_validation_label_must_be_known(make_classifier, waves):
    X, y = waves
    with pytest.raises(ValueError, match="previously unseen labels"):
        make_classifier().fit(X, y, X_val=X, y_val=y + 1)


def test_no_data_stays_in_the_estimator(make_estimator, waves):
    X, y = waves
    large = np.tile(X, (1, 1, 1500))  # far larger than the weights
    estimator = make_estimator(max_epochs=1).fit(large, y, X_val=large, y_val=y)
    assert len(pickle.dumps(estimator)) < large.nbytes / 2


def test_max_time_ends_training(make_estimator, waves):
    estimator = make_estimator(max_epochs=10**6, max_time=0.3).fit(*waves)
    assert estimator.net_.stop_reason_ == "max_time"
    assert 0 < estimator.n_epochs_ < 10**4
    assert sum(estimator.history_[:, "dur"]) < 2


# --- weights of samples --------------------------------------------------------------------------


def test_sample_of_weight_zero_counts_nothing(make_estimator, waves):
    X, y = waves
    wrong = np.where(np.arange(24) < 8, 1 - y, y)
    weight = (np.arange(24) >= 8).astype(float)
    parameters = {"batch_size": 24, "standardize": None, "dropout": 0.0}
    weighted = make_estimator(**parameters).fit(X, wrong, sample_weight=weight)
    fewer = make_estimator(**parameters).fit(X[8:], y[8:])
    assert_allclose(weights(weighted), weights(fewer), rtol=1e-6)


def test_weights_count_in_the_validation_loss(make_classifier, waves):
    X, y = waves
    classifier = make_classifier(early_stopping=True, validation_fraction=0.25, class_weight={1: 3})
    classifier.fit(X, y, sample_weight=np.full(24, 10.0))
    # Six samples, three of each class.
    assert classifier.history_[0, "batches", :, "valid_weight"] == [
        pytest.approx(6)
    ]  # the classes weigh 1/2 and 3/2


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(24), "sum above zero"),
        (np.full(24, -1.0), "no negative weight"),
        (np.ones(23), r"shape \(24,\), got \(23,\)"),
        (np.ones((24, 1)), r"shape \(24,\), got \(24, 1\)"),
        (np.full(24, np.nan), "contains NaN"),
    ],
)
def test_bad_weights_are_refused(make_estimator, waves, weight, message):
    with pytest.raises(ValueError, match=f"sample_weight.*{message}"):
        make_estimator().fit(*waves, sample_weight=weight)


# --- seeds ---------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_weights_and_others_do_not(make_estimator, waves):
    first, second, third = (make_estimator(random_state=seed).fit(*waves) for seed in (3, 3, 4))
    assert_array_equal(weights(first), weights(second))
    assert not np.array_equal(weights(first), weights(third))


def test_random_state_instance_moves_on(make_classifier, waves):
    generator = np.random.RandomState(0)
    classifier = make_classifier(random_state=generator)
    first = weights(classifier.fit(*waves))
    assert not np.array_equal(weights(classifier.fit(*waves)), first)
    again = make_classifier(random_state=np.random.RandomState(0))
    assert_array_equal(weights(again.fit(*waves)), first)


def test_without_seed_fits_differ(make_classifier, waves):
    classifier = make_classifier(random_state=None)
    assert not np.array_equal(weights(classifier.fit(*waves)), weights(classifier.fit(*waves)))


@pytest.mark.parametrize("random_state", [0, None])
def test_global_generators_and_thread_counts_are_left_alone(make_estimator, waves, random_state):
    def state():
        return (
            random.getstate(),
            str(np.random.get_state()),  # noqa: NPY002 - the global one is meant
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
        )

    before = state()
    make_estimator(random_state=random_state, early_stopping=True).fit(*waves).predict(waves[0])
    assert state() == before


# --- going on ------------------------------------------------------------------------------------


def test_warm_start_goes_on(make_estimator, waves):
    # another pooling than the mean, so that all weights are trained
    estimator = make_estimator(warm_start=True, pooling="max").fit(*waves)
    first, net = weights(estimator), estimator.net_
    estimator.set_params(max_epochs=3, lr=1e-9, ssm_lr=0, weight_decay=0).fit(*waves)
    assert estimator.n_epochs_ == 2 + 3
    assert estimator.net_.module_ is not net.module_  # it was trained on a copy
    assert_allclose(weights(estimator), first, atol=1e-6)
    estimator.set_params(warm_start=False).fit(*waves)
    assert estimator.n_epochs_ == 3


def test_warm_start_refuses_another_model(make_estimator, waves):
    estimator = make_estimator(warm_start=True).fit(*waves)
    with pytest.raises(ValueError, match="d_model, standardize must stay as in the first fit"):
        estimator.set_params(d_model=8, standardize=None).fit(*waves)


def test_warm_start_refuses_other_classes(make_classifier, waves):
    X, y = waves
    classifier = make_classifier(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="previously unseen labels"):
        classifier.fit(X, y + 1)


def test_partial_fit_trains_one_epoch_at_constant_rate(make_classifier, waves):
    X, y = waves
    classifier = make_classifier(lr=0.02)
    for n_epochs in (1, 2, 3):
        classifier.partial_fit(X, y, classes=[0, 1])
        assert classifier.n_epochs_ == n_epochs
        assert {group["lr"] for group in classifier.net_.optimizer_.param_groups} == {0.02, 0.001}


def test_partial_fit_keeps_the_first_scaling(make_estimator, waves):
    X, y = waves
    first = make_estimator()
    second = make_estimator()
    for estimator in (first, second):
        classes = {"classes": [0, 1]} if hasattr(estimator, "predict_proba") else {}
        estimator.partial_fit(X, y, **classes)
    second.partial_fit(100 * X, y)
    assert_array_equal(second.encoder_.standardizer_.scale_, first.encoder_.standardizer_.scale_)


def test_partial_fit_learns(make_classifier, waves):
    X, y = waves
    classifier = make_classifier(d_model=8, lr=0.03)
    for _ in range(20):
        classifier.partial_fit(X, y, classes=[0, 1])
    assert classifier.score(X, y) == 1


def test_partial_fit_goes_on_after_fit(make_estimator, waves):
    estimator = make_estimator().fit(*waves).partial_fit(*waves)
    assert estimator.n_epochs_ == 3


def test_partial_fit_needs_the_classes_first(make_classifier, waves):
    X, y = waves
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make_classifier().partial_fit(X, y)
    classifier = make_classifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"classes must be those of the first call, \[0 1\]"):
        classifier.partial_fit(X, y, classes=[0, 1, 2])


def test_partial_fit_refuses_an_unseen_label(make_classifier, waves):
    X, y = waves
    classifier = make_classifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"previously unseen labels: .*2"):
        classifier.partial_fit(X, y + 1)


def test_partial_fit_refuses_balanced_classes(make_classifier, waves):
    with pytest.raises(ValueError, match="class_weight must not be 'balanced' for partial_fit"):
        make_classifier(class_weight="balanced").partial_fit(*waves, classes=[0, 1])


# --- interrupts and failures ---------------------------------------------------------------------


def test_interrupt_after_an_epoch_leaves_a_usable_estimator(make_estimator, waves):
    parameters = {"lr_schedule": None}  # which would depend on the number of epochs
    estimator = make_estimator(max_epochs=5, net_callbacks=[StopsAt(3)], **parameters)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*waves)
    assert estimator.n_epochs_ == 2
    expected = make_estimator(max_epochs=2, **parameters).fit(*waves)
    method = "predict_proba" if is_classifier(estimator) else "predict"
    found = getattr(estimator, method)(waves[0])
    assert_allclose(found, getattr(expected, method)(waves[0]), rtol=1e-9)


def test_interrupt_in_the_first_epoch_leaves_nothing(make_estimator, waves):
    estimator = make_estimator(net_callbacks=[StopsAt(1)])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*waves)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        estimator.predict(waves[0])


def test_diverging_loss_says_where_and_what_to_try(make_estimator, waves):
    estimator = make_estimator(max_epochs=5, net_callbacks=[PoisonsAt(2)])
    with pytest.raises(TrainingDivergedError, match=r"epoch 3, batch 1\. Try a smaller lr"):
        estimator.fit(*waves)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        estimator.predict(waves[0])


# --- what is passed on ---------------------------------------------------------------------------


def test_callbacks_are_cloned_and_see_the_training(make_estimator, waves):
    class Counts(Callback):
        def initialize(self):
            self.n_batches_ = 0
            return self

        def on_batch_end(self, net, training=None, **kwargs):
            self.n_batches_ += training

    callback = Counts()
    estimator = make_estimator(net_callbacks=[("counts", callback)]).fit(*waves)
    assert dict(estimator.net_.callbacks_)["counts"].n_batches_ == 2 * 3
    assert not hasattr(callback, "n_batches_")
    clone(estimator).fit(*waves)


def test_net_params_reach_the_net(make_estimator, waves):
    params = {"optimizer": torch.optim.Adam, "optimizer__betas": (0.8, 0.9)}
    estimator = make_estimator(net_params=params).fit(*waves)
    assert type(estimator.net_.optimizer_) is torch.optim.Adam
    assert estimator.net_.optimizer_.defaults["betas"] == (0.8, 0.9)


@pytest.mark.parametrize("name", ["lr", "callbacks", "module", "train_split"])
def test_net_params_must_not_take_what_the_estimator_sets(make_estimator, waves, name):
    with pytest.raises(ValueError, match=rf"net_params must not hold \['{name}'\]"):
        make_estimator(net_params={name: None}).fit(*waves)


def test_schedule_brings_the_rate_to_zero_and_none_keeps_it(make_estimator, waves):
    rates = [
        max(group["lr"] for group in net.optimizer_.param_groups)
        for net in (
            make_estimator(max_epochs=20, lr_schedule=schedule).fit(*waves).net_
            for schedule in ("cosine", None)
        )
    ]
    assert rates[0] < 1e-5
    assert rates[1] == 0.01


def test_parameters_of_the_model_reach_the_model(make_estimator, waves):
    parameters = {"ssm": "s4d", "init": "lin", "norm": "batch", "prenorm": False}
    parameters |= {"pooling": "max", "bidirectional": True, "patch_size": 3, "dropout": 0.3}
    model = make_estimator(**parameters).fit(*waves).net_.module_
    block = model.backbone.blocks[0]
    assert (block.layer.ssm, block.layer.init, block.prenorm) == ("s4d", "lin", False)
    assert (model.head.pool.pooling, block.layer.bidirectional) == ("max", True)
    assert (model.backbone.patch_size, block.dropout.p) == (3, 0.3)
    assert isinstance(block.norm, torch.nn.BatchNorm1d)


def test_given_range_of_steps_reaches_the_model(make_estimator, waves):
    estimator = make_estimator(dt_min=0.02, dt_max=0.03, ssm_lr=0, d_model=16).fit(*waves)
    dt = estimator.net_.module_.backbone.blocks[0].layer.log_dt.detach().exp()
    assert estimator.dt_range_ == (0.02, 0.03)
    assert 0.0199 < dt.min() < dt.max() < 0.0301


def test_what_auto_chose_is_an_attribute(make_estimator, waves):
    estimator = make_estimator(
        batch_size="auto", max_epochs="auto", max_time=0.1, readout="trained"
    )
    estimator.fit(*waves)
    assert estimator.dt_range_ == (0.01, 1.0)
    assert estimator.batch_size_ == 8
    assert estimator.max_epochs_ == 300


def test_parameters_are_counted(make_estimator, waves):
    estimator = make_estimator().fit(*waves)
    model = estimator._predictor_.model
    assert estimator.n_parameters_ == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_model_computes_in_the_dtype_and_predicts_float64(make_regressor, waves, dtype):
    regressor = make_regressor(dtype=dtype).fit(*waves)
    assert weights(regressor).dtype == dtype
    assert regressor.predict(waves[0]).dtype == np.float64


def test_compiled_model_predicts_the_same(make_classifier, waves):
    X, y = waves
    parameters = {"max_epochs": 1, "net_params": {"compile__backend": "eager"}}
    plain = make_classifier(max_epochs=1).fit(X, y)
    # The compiler itself warns of what torch deprecated in torch.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = make_classifier(compile=True, **parameters).fit(X, y)
        assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), rtol=1e-6)


@pytest.mark.gpu
def test_fit_on_a_gpu_predicts_close_to_the_cpu(waves):
    X, y = waves
    on_gpu = S4Classifier(device="cuda", max_epochs=20, d_model=8, random_state=0).fit(X, y)
    assert on_gpu.score(X, y) > 0.9


# --- stretched sequences -------------------------------------------------------------------------


def test_stretch_changes_training_and_nothing_else(make_estimator, waves):
    plain, same, other = (
        make_estimator(max_epochs=2, **options).fit(*waves)
        for options in ({}, {"stretch": 1}, {"stretch": 1.5})
    )
    assert_array_equal(weights(plain), weights(same))
    assert not np.allclose(weights(plain), weights(other))
    assert plain.net_.batch_transform is None
    assert plain.get_params()["stretch"] == 1
    assert_array_equal(other.predict(waves[0]), other.predict(waves[0]))


def test_stretch_is_repeatable_and_may_change_between_runs(make_estimator, waves):
    first, second = (
        make_estimator(max_epochs=2, stretch=1.2, warm_start=True).fit(*waves) for _ in range(2)
    )
    assert_array_equal(weights(first), weights(second))
    first.set_params(stretch=1.0).fit(*waves)
    second.fit(*waves)
    assert first.n_epochs_ == second.n_epochs_ == 4
    assert not np.allclose(weights(first), weights(second))


def test_stretched_patches_of_ragged_sequences_with_gaps_train(make_estimator, waves):
    X = [x[..., : 5 + 2 * i].copy() for i, x in enumerate(waves[0])]
    X[3][..., 2] = np.nan
    estimator = make_estimator(max_epochs=1, stretch=2.0, patch_size=3).fit(X, waves[1])
    assert np.isfinite(weights(estimator)).all()


def test_partial_fit_stretches(make_classifier, waves):
    X, y = waves
    plain, other = (
        make_classifier(stretch=stretch).partial_fit(X, y, classes=np.unique(y))
        for stretch in (1.0, 1.5)
    )
    assert not np.allclose(weights(plain), weights(other))


def test_stretch_comes_before_mixup(make_classifier, waves):
    classifier = make_classifier(max_epochs=1, stretch=1.2, mixup=0.4).fit(*waves)
    assert classifier.net_.batch_transform == Stretch(1.2, then=Mixup(0.4, 2))


@pytest.mark.parametrize("stretch", [0.99, 0, "auto", None])
def test_stretch_must_be_at_least_one(make_estimator, waves, stretch):
    with pytest.raises(ValueError, match="stretch"):
        make_estimator(stretch=stretch).fit(*waves)
