import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score

from sks4 import S4Regressor


@pytest.fixture
def ramps():
    """Return 40 noisy ramps (40, 12) and their slopes in another unit."""
    rng = np.random.default_rng(0)
    slopes = rng.uniform(-1, 1, 40)
    X = slopes[:, np.newaxis] * np.arange(12) + rng.normal(0, 0.1, (40, 12))
    return X, 5000 + 300 * slopes


STRONG = {"d_model": 8, "max_epochs": 30, "lr": 0.03, "batch_size": 8}


def test_regressor_learns_in_the_unit_of_the_targets(make_regressor, ramps):
    X, y = ramps
    regressor = make_regressor(**STRONG).fit(X[:30], y[:30])
    assert regressor.score(X[30:], y[30:]) > 0.9


def test_unit_of_the_targets_makes_no_difference(make_regressor, ramps):
    X, y = ramps
    expected = make_regressor().fit(X, y).predict(X)
    assert_allclose(make_regressor().fit(X, 1e6 * y).predict(X), 1e6 * expected, rtol=1e-6)


def test_several_targets_are_learned(make_regressor, ramps):
    X, y = ramps
    Y = np.column_stack([y, -y / 1000, np.full(40, 7.0)])
    regressor = make_regressor(**STRONG).fit(X, Y)
    predicted = regressor.predict(X)
    assert predicted.shape == (40, 3)
    assert_allclose(regressor.score(X, Y), r2_score(Y, predicted))
    assert r2_score(Y[:, :2], predicted[:, :2], multioutput="raw_values").min() > 0.9
    assert_allclose(predicted[:, 2], 7, atol=0.2)


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_prediction_has_the_axes_of_the_targets(make_regressor, ramps, shape):
    X, y = ramps
    expected = make_regressor().fit(X, y).predict(X).reshape(shape)
    assert_array_equal(make_regressor().fit(X, y.reshape(shape)).predict(X), expected, strict=True)


@pytest.mark.parametrize("kind", [pd.Series, list, np.float32])
def test_targets_may_be_of_any_kind(make_regressor, ramps, kind):
    X, y = ramps
    expected = make_regressor().fit(X, y).predict(X)
    converted = y.astype(kind) if kind is np.float32 else kind(y)
    assert_allclose(make_regressor().fit(X, converted).predict(X), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(40) == 3, np.nan, 1.0), "Input y contains NaN"),
        (np.where(np.arange(40) == 3, np.inf, 1.0), "Input y contains infinity"),
        (["text"] * 40, "could not convert string to float"),
        (np.zeros((40, 2, 2)), "Found array with dim 3"),
        (np.zeros(39), "inconsistent numbers of samples"),
    ],
)
def test_bad_targets_are_refused(make_regressor, ramps, y, message):
    with pytest.raises(ValueError, match=message):
        make_regressor().fit(ramps[0], y)


def test_validation_targets_must_have_the_same_axes(make_regressor, ramps):
    X, y = ramps
    with pytest.raises(ValueError, match=r"y must have shape \(n_samples,\) as in fit, got \(n_sa"):
        make_regressor().fit(X, y, X_val=X, y_val=np.column_stack([y, y]))


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_every_loss_learns(make_regressor, ramps, loss):
    assert make_regressor(loss=loss, **STRONG).fit(*ramps).score(*ramps) > 0.8


@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_quantile_leaves_its_share_below(quantile):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.exponential(size=300)
    parameters = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 20, "batch_size": 32}
    regressor = S4Regressor(loss="quantile", quantile=quantile, random_state=0, **parameters)
    below = (y <= regressor.fit(X, y).predict(X)).mean()
    assert below == pytest.approx(quantile, abs=0.06)


def test_absolute_error_ignores_outliers(make_regressor, ramps):
    X, y = ramps
    spoiled = np.where(np.arange(40) % 8 == 0, 10**5, y)
    errors = [
        np.median(np.abs(make_regressor(loss=loss, **STRONG).fit(X, spoiled).predict(X) - y))
        for loss in ("absolute_error", "squared_error")
    ]
    assert errors[0] < 0.2 * errors[1]


def test_constant_target_is_predicted(make_regressor, ramps):
    X, _ = ramps
    assert_allclose(make_regressor(**STRONG).fit(X, np.full(40, 3.0)).predict(X), 3, atol=0.2)


def test_score_counts_weights(make_regressor, ramps):
    X, y = ramps
    regressor = make_regressor().fit(X, y)
    weights = np.linspace(0, 1, 40)
    expected = r2_score(y, regressor.predict(X), sample_weight=weights)
    assert regressor.score(X, y, sample_weight=weights) == pytest.approx(expected)


def test_targets_whose_sums_overflow_are_refused(make_regressor, ramps):
    X, y = ramps
    with pytest.raises(ValueError, match=r"y must be within 1e\+300 .* got 3.9e\+301"):
        make_regressor().fit(X, np.arange(40) * 1e300)
    expected = make_regressor().fit(X, y).predict(X) * 1e290
    np.testing.assert_allclose(make_regressor().fit(X, y * 1e290).predict(X), expected)
