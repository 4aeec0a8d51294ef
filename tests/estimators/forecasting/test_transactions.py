"""A call that raises changes nothing; an interrupt after a finished epoch keeps its result."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback

from sks4.exceptions import TrainingDivergedError


@pytest.fixture
def series():
    """Return 60 hours of two targets."""
    values = np.random.default_rng(0).normal(size=(60, 2)).cumsum(axis=0)
    return pd.DataFrame(values, pd.date_range("2024-01-01", periods=60, freq="h"), list("ab"))


@pytest.fixture
def fitted(make_forecaster, series):
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "warm_start": True}
    return make_forecaster(**parameters).fit(series[:50])


def snapshot(forecaster, n_rows=6):
    """Return what users see of a forecaster: forecasts, intervals, history, rows."""
    X = np.empty((n_rows, 0))
    return {
        "forecast": forecaster.forecast(n_rows).to_numpy(),
        "index": forecaster.forecast(n_rows).index.to_numpy(),
        "interval": forecaster.predict_interval(X, 0.8),
        "quantiles": forecaster.predict_quantiles(X, [0.2, 0.9]),
        "losses": forecaster.history_[:, "train_loss"],
        "epochs": (forecaster.n_epochs_, forecaster.best_epoch_, len(forecaster.history_)),
        "attributes": sorted(vars(forecaster)),
        "context": forecaster.context_length_,
    }


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert_array_equal(value, after[name], err_msg=name)


class Raises(Callback):
    """Raise an error at the beginning of an epoch of a run, at a batch, or at the end."""

    def __init__(self, error, epoch=0, at="epoch_begin"):
        self.error, self.epoch, self.at = error, epoch, at

    def on_train_begin(self, net, **kwargs):
        self.count_ = 0

    def on_epoch_begin(self, net, **kwargs):
        self._maybe_raise("epoch_begin")

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self._maybe_raise("batch_end")

    def on_epoch_end(self, net, **kwargs):
        self._maybe_raise("epoch_end")
        self.count_ += 1

    def _maybe_raise(self, place):
        if place == self.at and self.count_ == self.epoch:
            raise self.error


class Poisons(Callback):
    def on_batch_end(self, net, **kwargs):
        next(net.module_.parameters()).data.fill_(np.nan)


FAULTS = {
    "infinite": lambda rows: rows.replace(rows.iloc[-1, 0], np.inf),
    "text": lambda rows: rows.assign(b="x"),
    "huge": lambda rows: rows.mask(rows == rows.iloc[-1, 0], 1e200),
    "columns": lambda rows: rows[["b", "a"]],
    "one axis": lambda rows: rows["a"],
    "unsorted": lambda rows: rows[::-1],
    "hole": lambda rows: rows.drop(rows.index[4]),
    "late": lambda rows: rows.shift(3, freq="h"),
    "other steps": lambda rows: rows.set_axis(pd.date_range("2024-01-03 02:00", periods=10)),
    "none": lambda rows: None,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["update", "partial_fit", "fit"])
def test_bad_rows_change_nothing(fitted, series, method, fault):
    if method == "fit" and fault in ("late", "other steps"):
        return  # a fit starts again from rows of any time
    before = snapshot(fitted)
    rows = FAULTS[fault](series if method == "fit" else series[50:])
    with pytest.raises((ValueError, TypeError)):
        getattr(fitted, method)(rows)
    assert_same(before, snapshot(fitted))


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
@pytest.mark.parametrize(
    "weight", [-np.ones(10), np.ones(9), np.full(10, np.nan), np.zeros(10), np.full(10, np.inf)]
)
def test_bad_weights_change_nothing(fitted, series, method, weight):
    before = snapshot(fitted)
    with pytest.raises(ValueError, match=r"sample_weight|rows at least"):
        getattr(fitted, method)(series[50:], sample_weight=weight)
    assert_same(before, snapshot(fitted))


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
@pytest.mark.parametrize("place", ["epoch_begin", "batch_end", "epoch_end"])
def test_failing_callback_changes_nothing(fitted, series, method, place):
    before = snapshot(fitted)
    fitted.net_callbacks = [Raises(RuntimeError("broken"), epoch=0, at=place)]
    rows = series[50:] if method == "partial_fit" else series
    with pytest.raises(RuntimeError, match="broken"):
        getattr(fitted, method)(rows)
    fitted.net_callbacks = None
    assert_same(before, snapshot(fitted))


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_divergence_changes_nothing(fitted, series, method):
    before = snapshot(fitted)
    fitted.set_params(net_callbacks=[Poisons()], batch_size=2)
    if method == "partial_fit":
        fitted._setup_ = replace(fitted._setup_, batch_size=2)
    rows = series[50:] if method == "partial_fit" else series
    with pytest.raises(TrainingDivergedError, match="Try a smaller lr"):
        getattr(fitted.set_params(warm_start=False), method)(rows)
    fitted.set_params(net_callbacks=None)
    assert_same(before, snapshot(fitted))


def test_failed_first_fit_leaves_the_estimator_unfitted(make_forecaster, series):
    parameters = make_forecaster().get_params()
    for method, rows in [("fit", series[:5]), ("partial_fit", series[::-1]), ("fit", None)]:
        forecaster = make_forecaster()
        with pytest.raises((ValueError, TypeError)):
            getattr(forecaster, method)(rows)
        assert set(vars(forecaster)) == set(parameters)
    forecaster = make_forecaster(net_callbacks=[Raises(RuntimeError("broken"), epoch=1)])
    with pytest.raises(RuntimeError, match="broken"):
        forecaster.fit(series)
    assert set(vars(forecaster)) == set(parameters)


def test_failed_fit_without_warm_start_keeps_the_earlier_one(make_forecaster, series):
    forecaster = make_forecaster().fit(series)
    expected = forecaster.forecast()
    for wrong in (series[:5], series.assign(a="typo"), series.to_numpy().astype(str)):
        with pytest.raises((ValueError, TypeError)):
            forecaster.fit(wrong)
        pd.testing.assert_frame_equal(forecaster.forecast(), expected)


def test_bad_validation_rows_change_nothing(fitted, series):
    before = snapshot(fitted)
    for X_val in (series[52:], series[50:] * np.nan, series[["b", "a"]][50:]):
        with pytest.raises(ValueError, match=r"follow|observed target|match those|columns of fit"):
            fitted.fit(series[:50], X_val=X_val)
        assert_same(before, snapshot(fitted))


def test_interrupt_after_an_epoch_keeps_what_it_learned(make_forecaster, series):
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "max_epochs": 9}
    interrupted = make_forecaster(
        net_callbacks=[Raises(KeyboardInterrupt(), epoch=3)], lr_schedule=None, **parameters
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(series)
    short = make_forecaster(lr_schedule=None, **parameters | {"max_epochs": 3}).fit(series)
    assert_same(snapshot(short), snapshot(interrupted))  # intervals too: they are calibrated


@pytest.mark.parametrize("place", ["epoch_begin", "batch_end"])
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_interrupt_before_the_end_of_an_epoch_changes_nothing(fitted, series, method, place):
    before = snapshot(fitted)
    fitted.net_callbacks = [Raises(KeyboardInterrupt(), epoch=0, at=place)]
    rows = series[50:] if method == "partial_fit" else series
    with pytest.raises(KeyboardInterrupt):
        getattr(fitted, method)(rows)
    fitted.net_callbacks = None
    assert_same(before, snapshot(fitted))


@pytest.mark.parametrize("n_interrupts", [0, 1])
def test_interrupt_of_the_calibration_keeps_what_was_learned(
    make_forecaster, series, monkeypatch, n_interrupts
):
    from sks4.estimators.forecasting._predictor import WindowPredictor

    parameters = {"early_stopping": True, "validation_fraction": 0.3}
    expected = make_forecaster(**parameters).fit(series)
    forecaster, interrupts = make_forecaster(**parameters), [KeyboardInterrupt] * n_interrupts
    backtest = WindowPredictor.backtest

    def interrupted(self, *args):
        if interrupts:
            raise interrupts.pop()
        return backtest(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(WindowPredictor, "backtest", interrupted)
        if n_interrupts:
            with pytest.raises(KeyboardInterrupt):
                forecaster.fit(series)
        else:
            forecaster.fit(series)
    assert_same(snapshot(expected), snapshot(forecaster))


def test_second_interrupt_changes_nothing(fitted, series, monkeypatch):
    from sks4.estimators.forecasting._predictor import WindowPredictor

    before = snapshot(fitted)
    fitted.net_callbacks = [Raises(KeyboardInterrupt("first"), epoch=1)]

    def interrupted(*args):
        raise KeyboardInterrupt("second")

    with monkeypatch.context() as patch:
        patch.setattr(WindowPredictor, "backtest", interrupted)
        with pytest.raises(KeyboardInterrupt, match="second"):
            fitted.fit(series)
    fitted.net_callbacks = None
    assert_same(before, snapshot(fitted))


def test_interrupted_update_changes_nothing(fitted, series, monkeypatch):
    from sks4.estimators.forecasting._conformal import AdaptiveLevels

    before = snapshot(fitted)

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AdaptiveLevels, "_observe_row", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted.update(series[50:])
    assert_same(before, snapshot(fitted))
    fitted.update(series[50:])
    assert fitted.forecast(1).index[0] == series.index[-1] + pd.Timedelta("1h")


def test_update_that_cannot_be_forecast_changes_nothing(make_forecaster, series):
    forecaster = make_forecaster(missing="error", early_stopping=True, validation_fraction=0.3)
    forecaster.fit(series[:50])
    before = snapshot(forecaster)
    with pytest.raises(ValueError, match="no missing values with missing='error'"):
        forecaster.update(series[50:].mask(series[50:] > 0))
    assert_same(before, snapshot(forecaster))


def test_fitted_objects_are_not_shared_with_those_of_later_calls(fitted, series):
    stored = pickle.dumps(fitted)
    parts = fitted._predictor_, fitted._intervals_, fitted._seen_
    contents = [pickle.dumps(part) for part in parts[1:]]
    weights = [p.detach().clone() for p in parts[0].net.module_.parameters()]
    fitted.update(series[50:55]).partial_fit(series[55:])
    assert [pickle.dumps(part) for part in parts[1:]] == contents
    after = parts[0].net.module_.parameters()
    assert all((a == b).all() for a, b in zip(weights, after, strict=True))
    again = pickle.loads(stored).update(series[50:55]).partial_fit(series[55:])
    assert_same(snapshot(again), snapshot(fitted))
