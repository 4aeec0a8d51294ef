"""Checks that all parts share."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from sks4._validation import (
    check_choice,
    check_integer,
    check_positive,
    check_weights,
    is_number,
    unmasked,
)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5, 2.5], "float32"),
        ([1, 2], "float64"),
        ([True, False], "float64"),
        (["a", "b"], "object"),
        ([b"a", b"b"], "object"),
        ([1j, 2], "complex128"),
    ],
)
def test_unmasked_marks_what_is_masked_as_missing(values, dtype):
    array = np.array(values, dtype="float32" if dtype == "float32" else None)
    result = unmasked(np.ma.array(array, mask=[True, False]))
    assert type(result) is np.ndarray
    assert result.dtype == dtype
    assert pd.isna(result).tolist() == [True, False]
    assert result[1] == array[1]


def test_unmasked_shares_memory_where_nothing_is_masked():
    array = np.arange(3)
    assert np.shares_memory(unmasked(np.ma.array(array)), array)
    assert unmasked(array) is array


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1.0, 1e-300, 3e307, 1e12, 5e-324])
def test_weights_have_a_mean_of_one_in_any_unit(unit):
    weights = np.array([1.0, 2.0, 0.0, 5.0])
    assert_allclose(check_weights(weights * unit, 4), [0.5, 1.0, 0.0, 2.5])


def test_weights_that_are_given_stay_as_they_are():
    weights = np.array([1.0, 3.0])
    check_weights(weights, 2)
    assert weights.tolist() == [1.0, 3.0]


def test_no_weights_are_ones():
    assert check_weights(None, 3).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], r"w must have shape \(3,\), got \(2,\)"),
        (np.ones((3, 1)), r"w must have shape \(3,\), got \(3, 1\)"),
        ([1.0, -1.0, 2.0], r"w must hold no negative weight .* got the minimum -1\.0"),
        ([0.0, 0.0, 0.0], r"w must .* have a sum above zero, .* the sum 0\.0"),
        ([1.0, np.nan, 1.0], "Input w contains NaN"),
        ([1.0, np.inf, 1.0], "Input w contains infinity"),
        (np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]), "Input w contains NaN"),
    ],
)
def test_bad_weights_are_refused_by_name(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 3, "w")


# --- numbers and choices -------------------------------------------------------------------------


def test_choice_suggests_the_nearest():
    assert check_choice("norm", "layer", ["layer", "batch"]) == "layer"
    with pytest.raises(ValueError, match=r"norm must be one of .* got 'bach'\. Did you mean 'batc"):
        check_choice("norm", "bach", ["layer", "batch"])


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_integer_is_an_integer(value):
    assert check_integer("n", np.int32(2)) == 2
    with pytest.raises(TypeError, match="n must be an integer, got"):
        check_integer("n", value)
    with pytest.raises(ValueError, match="n must be at least 3, got 2"):
        check_integer("n", 2, minimum=3)


@pytest.mark.parametrize("value", [0, -1.0, np.inf, np.nan])
def test_positive_number_is_finite_and_above_zero(value):
    assert check_positive("rate", np.float32(0.5)) == 0.5
    with pytest.raises(ValueError, match="rate must be finite and above zero, got"):
        check_positive("rate", value)
    with pytest.raises(TypeError, match="rate must be a number, got True"):
        check_positive("rate", True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (1.5j, True), (None, True), (np.array(3), True), ([3], False), ("3", False)],
)
def test_single_numbers_are_told(value, expected):
    assert is_number(value) is expected
