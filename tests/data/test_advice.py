"""What errors say of data that does not fit, by the container; the advice is followed."""

import numpy as np
import pandas as pd
import pytest
import torch

from sks4.data import (
    advice_on_length,
    as_panel,
    check_one_target_each,
    check_requested_rows,
    check_same_names,
    other_form_message,
)
from sks4.data._advice import refuse_one_axis, with_channel_axis

ROWS = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("X", "code"),
    [
        (ROWS, "X[:, np.newaxis]"),
        (torch.from_numpy(ROWS), "X[:, np.newaxis]"),
        (pd.DataFrame(ROWS), "X.to_numpy()[:, np.newaxis]"),
        (ROWS.tolist(), "np.asarray(X)[:, np.newaxis]"),
    ],
)
def test_code_for_an_axis_of_channels_works(X, code):
    assert with_channel_axis(X, "nct") == code
    assert np.shape(eval(code, {"X": X, "np": np})) == (3, 1, 4)
    by_time = with_channel_axis(X, "ntc")
    assert np.shape(eval(by_time, {"X": X, "np": np})) == (3, 4, 1)


# ---------------------------------------------------------------- one axis


@pytest.mark.parametrize(
    ("X", "one", "with_channels"),
    [
        (np.arange(4.0), "X[np.newaxis]", "[X]"),
        (pd.Series(np.arange(4.0)), "X.to_numpy()[np.newaxis]", "[X]"),
        ([1.0, 2, None], "[X]", "[np.asarray(X)]"),
    ],
)
def test_one_axis_is_refused_with_two_ways_out(X, one, with_channels):
    with pytest.raises(ValueError, match=r"X must have shape \(n_samples") as caught:
        refuse_one_axis(X, X)
    message = str(caught.value)
    assert f"got ({len(X)},)" in message
    assert f"one sequence of one channel is {one}; " in message
    assert f"with an axis of channels, {with_channels}." in message
    for code in (one, with_channels):
        assert len(eval(code, {"X": X, "np": np})) == 1


@pytest.mark.parametrize(
    "X", [ROWS, pd.DataFrame(ROWS), [ROWS, ROWS], [[1.0], [2.0, 3.0]], [pd.Series([1.0])]]
)
def test_several_sequences_are_let_through(X):
    assert refuse_one_axis(X, X) is None


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, object()], r"got X\[1\] of type object"),
        (["a", "b"], "X must hold numbers, got 'a'"),
        ([pd.Timestamp("2024")], "X must hold numbers, got Timestamp"),
    ],
)
def test_one_axis_of_other_things_is_no_sequence(X, message):
    with pytest.raises(TypeError, match=message):
        refuse_one_axis(X, X)


# ---------------------------------------------------------------- form and length


def raise_inside(table, n_timepoints, layout="nct"):
    with advice_on_length(table, n_timepoints, layout):
        raise ValueError("as it was.")


def test_error_of_another_length_has_advice():
    with pytest.raises(ValueError, match=r"as it was\.\nSequences as rows") as caught:
        raise_inside(ROWS, 5)
    assert "the length of fit, 5." in str(caught.value)
    assert with_channel_axis(ROWS, "nct") in str(caught.value)
    assert str(caught.value.__cause__) == "as it was."
    with pytest.raises(ValueError, match=r"X\[:, :, np\.newaxis\]"):
        raise_inside(ROWS, 5, "ntc")


@pytest.mark.parametrize("n_timepoints", [4, None])
def test_error_of_the_same_length_stays_as_it_was(n_timepoints):
    with pytest.raises(ValueError, match=r"^as it was\.$"):
        raise_inside(ROWS, n_timepoints)


def test_rows_are_wanted_where_fit_had_rows():
    message = other_form_message(ROWS[:, np.newaxis], 4, 1, "nct")
    assert "in fit, one row for each sequence, got channels and time" in message
    assert "length 4 become rows by np.stack" in message


@pytest.mark.parametrize(
    ("X", "layout", "n_channels", "advice"),
    [
        (ROWS, "nct", 2, "If each row of X is a sequence of one channel, pass X[:, np.newaxis]."),
        (ROWS, "nct", 3, "If X is one sequence, pass X[np.newaxis]. If each"),
        (ROWS, "ntc", 3, "If each row of X is a sequence of one channel, pass X[:, :, np.newaxis]"),
        (ROWS, "ntc", 4, "If X is one sequence, pass X[np.newaxis]. If each"),
        (pd.DataFrame(ROWS), "nct", 2, "If the rows of X are time, it is one sequence: pass [X]."),
    ],
)
def test_channels_are_wanted_where_fit_had_channels(X, layout, n_channels, advice):
    message = other_form_message(X, None, n_channels, layout)
    assert "in fit, channels and time for each sequence, got one row" in message
    assert "shape (3, 4)" in message
    assert advice in message
    assert f"There must be {n_channels} channel(s)." in message
    is_one = "one sequence, pass X[np" in message
    assert is_one == (isinstance(X, np.ndarray) and "If X is one" in advice)


# ---------------------------------------------------------------- targets, rows, names


def test_each_sequence_needs_one_target():
    panel = as_panel(ROWS)
    assert check_one_target_each(ROWS, panel, np.zeros(3)) is None
    with pytest.raises(ValueError, match=r"\[3, 2\]\. y must have one entry for each of the 3"):
        check_one_target_each(ROWS, panel, np.zeros(2))


@pytest.mark.parametrize(
    ("X", "one"),
    [(ROWS, "X[np.newaxis]"), (ROWS.tolist(), "np.asarray(X)[np.newaxis]")],
)
def test_single_target_is_that_of_one_sequence_perhaps(X, one):
    with pytest.raises(ValueError, match="inconsistent numbers") as caught:
        check_one_target_each(X, as_panel(X), np.zeros(1))
    assert str(caught.value).endswith(f"If X is one sequence, pass {one}.")
    with pytest.raises(ValueError, match="inconsistent numbers") as caught:
        check_one_target_each(ROWS[:, np.newaxis], as_panel(ROWS[:, np.newaxis]), np.zeros(1))
    assert "one sequence" not in str(caught.value)


def test_target_for_each_row_of_a_long_table_goes_to_from_long():
    index = pd.MultiIndex.from_product([range(3), range(4)])
    X = pd.DataFrame({"a": ROWS.ravel()}, index)
    with pytest.raises(ValueError, match=r"X\.reset_index\(\).*target=\.\.\."):
        check_one_target_each(X, as_panel(ROWS), np.zeros(12))
    with pytest.raises(ValueError, match=r"sequences of X\.$"):
        check_one_target_each(X, as_panel(ROWS), np.zeros(11))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (5, r"got 5\. .* call forecast\(5\)\.$"),
        (5.0, r"call forecast\(5\)\.$"),
        (2.5, r"call forecast\(n\)\.$"),
        ("2024-01-01", r"For a single date, pass a list: \[X\]\."),
        (pd.Timestamp("2024"), r"For a single date, pass a list: \[X\]\."),
        ({"a": [1]}, "in which entries have no position"),
        (iter([1]), "in which entries have no position"),
    ],
)
def test_rows_to_forecast_must_be_rows(X, message):
    with pytest.raises(TypeError, match=message):
        check_requested_rows(X)


def test_rows_to_forecast_are_let_through():
    for X in (ROWS, [1, 2], pd.Series([1.0]), pd.date_range("2024", periods=2)):
        assert check_requested_rows(X) is None


def test_names_are_compared_in_their_order_where_both_have_some():
    names, others = np.array(["a", "b"], object), np.array(["b", "a"], object)
    for fitted, given in ((names, names.copy()), (None, names), (names, None), (None, None)):
        assert check_same_names("y", fitted, given) is None
    with pytest.raises(ValueError, match=r"y must have .* \['a', 'b'\], got \['b', 'a'\]"):
        check_same_names("y", names, others)
