"""Units of inputs and targets do not matter, within the range of the dtype."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sks4 import S4Classifier, S4Generator, S4Regressor

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "batch_size": 8, "dtype": "float64"}
TINY |= {"max_epochs": 2, "random_state": 0}

# Powers of two only change exponents; other units also round.
factors = st.one_of(
    st.integers(-150, 150).map(lambda exponent: 10.0**exponent),
    st.integers(-300, 300).map(lambda exponent: 2.0**exponent),
)
offsets = st.floats(-100, 100)  # in units of the standard deviation


def waves(with_constants=False):
    """Return sequences (24, 2, 15), the second channel constant if asked for."""
    X = np.random.default_rng(0).normal(size=(24, 2, 15))
    if with_constants:
        X[:, 1] = 3.25
    return X


VALUES = np.random.default_rng(1).normal(size=(24, 2))


@settings(max_examples=6, deadline=None)
@given(factors, offsets, st.booleans(), st.booleans())
def test_unit_of_the_targets_does_not_matter(factor, offset, constant, several):
    X, y = waves(), VALUES.copy()
    if constant:
        y[:, 1] = 0.5
    y = y if several else y[:, int(constant)]
    a, b = factor, offset * factor
    expected = a * S4Regressor(**TINY).fit(X, y).predict(X) + b
    found = S4Regressor(**TINY).fit(X, a * y + b).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * factor)


@settings(max_examples=6, deadline=None)
@given(
    factors,
    offsets,
    st.booleans(),
    st.sampled_from(["global", "running", "running_split", "series", "split", "auto"]),
)
def test_unit_of_the_inputs_does_not_matter(factor, offset, constant, standardize):
    X, labels = waves(constant), np.arange(24) % 2
    other = factor * X + offset * factor
    classifier = S4Classifier(**TINY, standardize=standardize, readout="trained")
    expected = classifier.fit(X, labels).predict_proba(X)
    np.testing.assert_allclose(
        classifier.fit(other, labels).predict_proba(other), expected, rtol=1e-5, atol=1e-7
    )


@settings(max_examples=6, deadline=None)
@given(factors, offsets, st.booleans())
def test_likelihoods_change_by_the_unit_alone(factor, offset, constant):
    X = waves(constant)[:, : 1 + constant]
    generator = S4Generator(**TINY, distribution="gaussian")
    expected = generator.fit(X).score_samples(X) - X[0].size * np.log(factor)
    other = factor * X + offset * factor
    np.testing.assert_allclose(generator.fit(other).score_samples(other), expected, rtol=1e-5)


@pytest.mark.parametrize("weight", [1e12, 1e-12])
def test_inverse_variance_weights_do_not_hide_small_differences(weight):
    rng = np.random.default_rng(0)
    z = rng.normal(size=24)
    X = np.sin(np.arange(30) * (0.3 + 0.1 * z[:, np.newaxis]))
    regressor = S4Regressor(**TINY | {"max_epochs": 60, "d_model": 8})
    y, weights = 1.33 + 1e-3 * z, np.full(24, weight)
    assert regressor.fit(X, y, sample_weight=weights).score(X, y) > 0.9


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200, 1e299])
def test_score_does_not_depend_on_the_unit(unit):
    X, y = waves(), VALUES[:, 0]
    expected = S4Regressor(**TINY).fit(X, y).score(X, y)
    assert S4Regressor(**TINY).fit(X, y * unit).score(X, y * unit) == pytest.approx(expected)


@pytest.mark.parametrize("unit", [1e-320, 1e-300, 1e300, 1e308])
@pytest.mark.parametrize("make", [S4Regressor, S4Classifier])
def test_score_does_not_depend_on_the_unit_of_the_weights(make, unit):
    X, y = waves(), np.arange(24) % 2
    estimator = make(**TINY).fit(X, y)
    expected = estimator.score(X, y, sample_weight=np.ones(24))
    assert estimator.score(X, y, sample_weight=np.full(24, unit)) == pytest.approx(expected)
