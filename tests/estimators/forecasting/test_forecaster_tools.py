"""The forecaster inside scikit-learn's tools, on weekly carbon dioxide at Mauna Loa."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import Callback

from sks4 import S4Forecaster, S4Regressor
from sks4.exceptions import TrainingDivergedError

SPLIT = TimeSeriesSplit(n_splits=3, test_size=8)


@pytest.fixture(scope="session")
def covariates(weekly):
    """Return the time of the year as two columns, which are known ahead."""
    angle = 2 * np.pi * weekly.index.day_of_year / 365.25
    return pd.DataFrame({"sine": np.sin(angle), "cosine": np.cos(angle)}, index=weekly.index)


@pytest.fixture(scope="session")
def filled(weekly):
    """Return the series without gaps, for scorers that take no missing truth."""
    return weekly.interpolate()


@pytest.fixture(params=["frames", "arrays"])
def data(request, covariates, filled):
    if request.param == "frames":
        return covariates, filled
    return covariates.to_numpy(), filled.to_numpy()


def manual_errors(forecaster, X, y, split):
    """Return the mean absolute error of each fold, by fits without any tool."""
    rows = [np.asarray(a) for a in (X, y)]
    return [
        mean_absolute_error(
            rows[1][test],
            clone(forecaster).fit(rows[0][train], rows[1][train]).predict(rows[0][test]),
        )
        for train, test in split.split(rows[0])
    ]


def test_cross_validation_equals_fits_by_hand(make_forecaster, data):
    scores = cross_val_score(
        make_forecaster(), *data, cv=SPLIT, scoring="neg_mean_absolute_error", error_score="raise"
    )
    assert_allclose(-scores, manual_errors(make_forecaster(), *data, SPLIT), rtol=1e-9)


def test_cross_validation_of_a_series_alone(make_forecaster, weekly):
    scores = cross_val_score(make_forecaster(), weekly, cv=SPLIT, error_score="raise")
    expected = [
        make_forecaster().fit(weekly.iloc[train]).score(weekly.iloc[test])
        for train, test in SPLIT.split(weekly)
    ]
    assert_array_equal(scores, expected)


def test_gap_is_forecast_through_with_an_index(make_forecaster, covariates, filled):
    gap = TimeSeriesSplit(n_splits=2, test_size=6, gap=5)
    forecaster = make_forecaster()
    scores = cross_val_score(
        forecaster, covariates[[]], filled, cv=gap, scoring="neg_mean_absolute_error"
    )
    for score, (train, test) in zip(scores, gap.split(filled), strict=True):
        ahead = clone(forecaster).fit(filled.iloc[train]).forecast(11)
        assert ahead.index[5:].equals(filled.index[test])
        assert -score == pytest.approx(mean_absolute_error(filled.iloc[test], ahead[5:]))


def test_grid_search_picks_and_refits_on_all_rows(make_forecaster, data):
    grid = {"context_length": [8, 16], "loss": ["absolute_error", "squared_error"]}
    search = GridSearchCV(
        make_forecaster(), grid, cv=SPLIT, scoring="neg_mean_absolute_error", error_score="raise"
    ).fit(*data)
    assert len(search.cv_results_["params"]) == 4
    best = make_forecaster(**search.best_params_).fit(*data)
    future = (
        data[0][-1:] if isinstance(data[0], np.ndarray) else data[0][-1:].shift(1, freq="W-SAT")
    )
    assert_array_equal(search.predict(future), best.predict(future))


def test_transformed_target_equals_transforming_by_hand(make_forecaster, covariates, filled):
    regressor = TransformedTargetRegressor(make_forecaster(), func=np.log, inverse_func=np.exp)
    train, test = slice(None, -8), slice(-8, None)
    predicted = regressor.fit(covariates[train], filled[train]).predict(covariates[test])
    by_hand = make_forecaster().fit(covariates[train], np.log(filled[train]))
    assert_allclose(predicted, np.exp(by_hand.predict(covariates[test])))
    scores = cross_val_score(regressor, covariates, filled, cv=SPLIT, error_score="raise")
    for score, (rows, held) in zip(scores, SPLIT.split(filled), strict=True):
        fitted = make_forecaster().fit(covariates.iloc[rows], np.log(filled.iloc[rows]))
        by_hand = np.exp(fitted.predict(covariates.iloc[held]))
        assert score == pytest.approx(r2_score(filled.iloc[held], by_hand))


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_pipeline_scales_the_covariates(make_forecaster, covariates, filled, output):
    pipeline = Pipeline(
        [("scale", StandardScaler().set_output(transform=output)), ("model", make_forecaster())]
    )
    scores = cross_val_score(
        pipeline, covariates, filled, cv=SPLIT, scoring="neg_mean_absolute_error"
    )
    scaled = [
        pipeline["scale"].fit(covariates.iloc[train]).transform(covariates)
        for train, _ in SPLIT.split(filled)
    ]
    for score, X, (train, test) in zip(scores, scaled, SPLIT.split(filled), strict=True):
        X = X if isinstance(X, np.ndarray) else X.to_numpy()
        model = make_forecaster().fit(X[train], filled.to_numpy()[train])
        expected = mean_absolute_error(filled.iloc[test], model.predict(X[test]))
        assert -score == pytest.approx(expected)


def test_array_parameters_work_in_the_tools(make_forecaster, filled):
    arrays = {"quantiles": np.array([0.1, 0.9]), "calendar": np.array(["month", "quarter"])}
    lists = {name: array.tolist() for name, array in arrays.items()}
    as_arrays = clone(make_forecaster(**arrays, early_stopping=True, warm_start=True))
    as_lists = make_forecaster(**lists, early_stopping=True, warm_start=True)
    for _ in range(2):  # the second fit compares them with those of the first
        expected = as_lists.fit(filled).backtest(filled[-30:])
        pd.testing.assert_frame_equal(as_arrays.fit(filled).backtest(filled[-30:]), expected)
    with pytest.raises(ValueError, match="calendar must stay as in the first fit"):
        as_arrays.set_params(calendar=np.array(["month", "day"])).fit(filled)
    grid = {"calendar": [["month"], lists["calendar"]], "quantiles": [None, [0.2, 0.8]]}
    of_arrays = grid | {"calendar": list(map(np.array, grid["calendar"]))}
    scores = [
        GridSearchCV(make_forecaster(), options, cv=SPLIT, error_score="raise")
        .fit(filled)
        .cv_results_["mean_test_score"]
        for options in (grid, of_arrays)
    ]
    assert_array_equal(*scores)
    assert scores[0][0] != scores[0][-1]  # the calendar reaches the model


def test_scores_of_training_rows_need_an_index_and_a_context(make_forecaster, covariates, filled):
    class AfterContext:
        """Training scores on the rows that have a context: a scorer, not an adapter."""

        def __call__(self, estimator, X, y):
            start = estimator.context_length_ if len(X) > 50 else 0
            return -mean_absolute_error(y[start:], estimator.predict(X[start:]))

    result = cross_validate(
        make_forecaster(),
        covariates,
        filled,
        cv=SPLIT,
        scoring=AfterContext(),
        return_train_score=True,
        error_score="raise",
    )
    for score, (rows, _) in zip(result["train_score"], SPLIT.split(filled), strict=True):
        fitted = make_forecaster().fit(covariates.iloc[rows], filled.iloc[rows])
        later = rows[12:]
        predicted = fitted.predict(covariates.iloc[later])
        assert score == pytest.approx(-mean_absolute_error(filled.iloc[later], predicted))


def test_shuffled_folds_are_refused_with_an_index(make_forecaster, covariates, filled):
    with pytest.raises(ValueError, match="The index of X must"):
        cross_val_score(make_forecaster(), covariates, filled, cv=3, error_score="raise")


def test_clone_and_parameters(make_forecaster, filled):
    forecaster = make_forecaster(calendar=["month"], quantiles=[0.1, 0.9]).fit(filled)
    copy = clone(forecaster)
    assert copy.get_params() == forecaster.get_params()
    assert "layout" not in copy.get_params()
    assert_array_equal(copy.fit(filled).forecast(), forecaster.forecast())
    assert "calendar=['month']" in repr(forecaster)
    assert "S4Forecaster" in forecaster._repr_html_()


def test_pickled_forecaster_goes_on(make_forecaster, weekly):
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "batch_size": 64}
    forecaster = make_forecaster(**parameters).fit(weekly[:-10])
    copy = pickle.loads(pickle.dumps(forecaster))
    for fitted in (forecaster, copy):
        fitted.update(weekly[-10:-5]).partial_fit(weekly[-5:])
    pd.testing.assert_series_equal(copy.forecast(9), forecaster.forecast(9))
    X = forecaster.forecast(9)
    assert_array_equal(copy.predict_interval(X), forecaster.predict_interval(X))


# --- training, as in the other estimators --------------------------------------------------------


def test_equal_seeds_give_equal_forecasts_and_others_do_not(make_forecaster, filled):
    first, second, third = (
        make_forecaster(random_state=seed).fit(filled).forecast() for seed in (3, 3, 4)
    )
    assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_warm_start_goes_on_and_refuses_another_model(make_forecaster, filled):
    forecaster = make_forecaster(warm_start=True).fit(filled[:-5])
    net = forecaster.net_.module_
    forecaster.fit(filled)
    assert forecaster.n_epochs_ == 4
    assert forecaster.net_.module_ is not net  # a fit that raises must leave the old one
    assert forecaster.history_[:, "epoch"] == [1, 2, 3, 4]
    assert forecaster.forecast(1).index[0] == filled.index[-1] + pd.Timedelta("7D")
    with pytest.raises(ValueError, match="horizon, calendar must stay as in the first fit"):
        forecaster.set_params(horizon=3, calendar=["month"]).fit(filled)


def test_failed_warm_start_leaves_what_was_fitted(make_forecaster, filled):
    forecaster = make_forecaster(warm_start=True).fit(filled)
    expected = forecaster.forecast()
    for wrong in (filled[:5], filled[::-1], filled.to_numpy()[:, np.newaxis]):
        with pytest.raises(ValueError, match=r"rows at least|sorted by time|must have shape"):
            forecaster.fit(wrong)
        pd.testing.assert_series_equal(forecaster.forecast(), expected)


def test_max_time_ends_training(make_forecaster, filled):
    forecaster = make_forecaster(max_epochs=10**6, max_time=0.3).fit(filled)
    assert forecaster.net_.stop_reason_ == "max_time"


def test_patience_ends_training_and_the_best_weights_are_kept(make_forecaster, filled):
    forecaster = make_forecaster(early_stopping=True, max_epochs=200, patience=2, lr=0.1)
    forecaster.fit(filled)
    assert forecaster.n_epochs_ == forecaster.best_epoch_ + 2 < 200


def test_interrupt_after_an_epoch_leaves_a_usable_forecaster(make_forecaster, filled):
    class StopsAt(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    parameters = {"lr_schedule": None}  # which would depend on the number of epochs
    forecaster = make_forecaster(max_epochs=5, net_callbacks=[StopsAt()], **parameters)
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(filled)
    assert forecaster.n_epochs_ == 2
    expected = make_forecaster(max_epochs=2, **parameters).fit(filled).forecast()
    assert_allclose(forecaster.forecast(), expected, rtol=1e-9)


def test_diverging_loss_leaves_nothing(make_forecaster, filled):
    class Poisons(Callback):
        def on_epoch_end(self, net, **kwargs):
            next(net.module_.parameters()).data.fill_(np.nan)

    forecaster = make_forecaster(net_callbacks=[Poisons()])
    with pytest.raises(TrainingDivergedError, match=r"epoch 2, batch 1\. Try a smaller lr"):
        forecaster.fit(filled)
    assert not [name for name in vars(forecaster) if name.endswith("_")]


def test_default_forecaster_fits_a_real_series(filled):
    forecaster = S4Forecaster(horizon=8, max_epochs=1, random_state=0).fit(filled)
    assert forecaster.forecast().between(300, 340).all()


# --- the regressor in reduction tools ------------------------------------------------------------


def test_regressor_on_windows_is_a_direct_multi_step_forecaster():
    time, rng = np.arange(156), np.random.default_rng(0)
    values = 300 + 0.05 * time + 3 * np.sin(2 * np.pi * time / 26) + 0.3 * rng.normal(size=156)
    windows = np.lib.stride_tricks.sliding_window_view(values, 12 + 4)
    X, Y = windows[:, :12], windows[:, 12:]  # (n_windows, context), (n_windows, horizon)
    difference = FunctionTransformer(lambda X: X - X[:, -1:])
    model = make_pipeline(difference, S4Regressor(standardize="global", random_state=0))
    model.fit(X[:-40], Y[:-40] - X[:-40, -1:])
    predicted = X[-40:, -1:] + model.predict(X[-40:])
    assert predicted.shape == (40, 4)
    naive = mean_absolute_error(Y[-40:], np.repeat(X[-40:, -1:], 4, axis=1))
    assert mean_absolute_error(Y[-40:], predicted) < naive / 2
