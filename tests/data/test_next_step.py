"""Inputs and targets that are the same sequence, one step apart."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import (
    NextSymbolDataset,
    NextValueDataset,
    SequenceEncoder,
    SymbolEncoder,
    as_panel,
)

NAN = np.nan


def values(*, missing="mask", **options):
    X = [np.array([[1.0, 3.0, 5.0], [2.0, NAN, 2.5]]), np.array([[4.0], [0.0]])]
    panel = as_panel(X)
    encoder = SequenceEncoder(None, missing).fit(panel)
    return NextValueDataset(panel, encoder, **options)


def test_input_of_values_is_what_came_before_with_a_mark_of_the_start():
    inputs, targets = values(missing="ffill").__getitems__([0, 1])
    assert_array_equal(inputs["u"][0], [[0, 0, 1], [1, 2, 0], [3, 2, 0]])
    assert_array_equal(inputs["u"][1, 0], [0, 0, 1])
    assert_array_equal(targets["y"][0], [[1, 2], [3, 2], [5, 2.5]])
    assert inputs["lengths"].tolist() == [3, 1]


def test_missing_values_are_marked_for_the_step_after():
    inputs, _ = values()[0]
    assert_array_equal(inputs["u"][0, :, 2:], [[0, 0, 1], [0, 0, 0], [0, 1, 0]])


def test_weights_are_those_of_the_sequence_where_there_is_a_value():
    _, targets = values(sample_weight=np.array([2.0, 3.0])).__getitems__([0, 1])
    assert_array_equal(targets["weight"][0], [[2, 2], [2, 0], [2, 2]])
    assert_array_equal(targets["weight"][1], [[3, 3], [0, 0], [0, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_have_the_type_asked_for(dtype):
    inputs, targets = values(dtype=dtype)[1]
    tensors = inputs["u"], targets["y"], targets["weight"]
    assert {str(x.dtype) for x in tensors} == {f"torch.{dtype}"}


def test_values_are_scaled():
    X = np.random.default_rng(0).normal(5, 3, (4, 1, 6))
    encoder = SequenceEncoder("global").fit(as_panel(X))
    inputs, targets = NextValueDataset(as_panel(X), encoder, dtype="float64")[2]
    scaled = (X[2, 0] - X.mean()) / X.std()
    assert_allclose(targets["y"][0, :, 0], scaled)
    assert_allclose(inputs["u"][0, 1:, 0], scaled[:-1])


def test_missing_values_are_refused_if_the_encoder_does():
    encoder = SequenceEncoder(None, "error").fit(as_panel(np.ones((1, 1, 3))))
    with pytest.raises(ValueError, match="must have no missing values"):
        NextValueDataset(as_panel([np.array([1.0, NAN, 2.0])]), encoder)


def symbols(has_missing):
    X = np.array([[7, NAN, 8, NAN], [NAN, 9, 9, 7]])
    panel = SymbolEncoder().fit(X).transform(X)
    return NextSymbolDataset(panel, 3, has_missing).__getitems__([0, 1])


@pytest.mark.parametrize(
    ("has_missing", "expected"),
    [(True, [[3, 0, 4, 1], [3, 4, 2, 2]]), (False, [[3, 0, 0, 1], [3, 3, 2, 2]])],
)
def test_input_of_symbols_is_what_came_before(has_missing, expected):
    inputs, targets = symbols(has_missing)
    assert inputs["u"][0, :3].tolist() == expected[0][:3]  # the rest is padding
    assert inputs["u"][1].tolist() == expected[1]
    assert_array_equal(targets["weight"], [[1, 0, 1, 0], [0, 1, 1, 1]])
    y = np.where(targets["weight"] > 0, targets["y"], -1)
    assert_array_equal(y, [[0, -1, 1, -1], [-1, 2, 2, 0]])
    assert inputs["lengths"].tolist() == [3, 4]


def test_whole_batch_has_no_lengths():
    panel = SymbolEncoder().fit(["ab"]).transform(["ab", "ba"])
    inputs, _ = NextSymbolDataset(panel, 2, has_missing=False).__getitems__([0, 1])
    assert list(inputs) == ["u"]
    assert inputs["u"].tolist() == [[2, 0], [2, 1]]
