"""What a generating model reads and writes, and how users see it."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import SequenceEncoder, SymbolCodec, SymbolEncoder, ValueCodec, as_panel

TEXTS = ["abcab", "ca"]
VALUES = np.random.default_rng(0).normal([[50.0], [-3.0]], [[10.0], [0.1]], size=(4, 2, 6))


@pytest.fixture
def symbols():
    return SymbolCodec(SymbolEncoder().fit(TEXTS), has_missing=False)


def values(standardize="global", share=0.0):
    X = VALUES.copy()
    X[..., 1:-1][np.random.default_rng(1).random((4, 2, 4)) < share] = np.nan
    return ValueCodec(SequenceEncoder(standardize).fit(as_panel(X)))


# --- symbols -------------------------------------------------------------------------------------


def test_symbols_have_one_input_each_and_one_for_the_start(symbols):
    assert (symbols.size, symbols.n_inputs) == (3, 4)
    assert SymbolCodec(symbols.encoder, has_missing=True).n_inputs == 5
    assert symbols.log_density_unit() == 0


def test_symbols_are_read_one_step_late(symbols):
    panel = symbols.encoder.transform(TEXTS)
    inputs, targets = symbols.dataset(panel, None, "float64")[0]
    assert targets["y"].flatten().tolist() == [0, 1, 2, 0, 1]
    assert inputs["u"].flatten().tolist() == [3, 0, 1, 2, 0]
    written = np.array([[0, 1, 2], [2, 2, 0]])
    assert symbols.precede(written).tolist() == [[3, 0, 1, 2], [3, 2, 2, 0]]
    assert symbols.precede(symbols.nothing(2)).tolist() == [[3], [3]]


def test_symbols_that_are_written_are_those_of_the_user(symbols):
    written = symbols.prompt("cab", 2)
    assert written.tolist() == [[2, 0, 1]] * 2
    assert symbols.prompt(["cab", "bbb"], 2).tolist() == [[2, 0, 1], [1, 1, 1]]
    assert symbols.decode(written).tolist() == [["c", "a", "b"]] * 2
    with pytest.raises(ValueError, match=r"with n_samples=3, got \(2, 1\)"):
        symbols.prompt(["a", "b"], 3)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("standardize", ["global", None])
def test_values_that_are_written_are_in_the_unit_of_the_user(standardize):
    codec = values(standardize)
    written = codec.prompt(VALUES, 4)
    assert written.shape == (4, 6, 2)
    assert_allclose(codec.decode(written), VALUES)
    one = codec.prompt(VALUES[0], 3)
    assert_allclose(codec.decode(one), [VALUES[0]] * 3)
    if standardize:
        assert_allclose(written.mean(axis=(0, 1)), 0, atol=1e-12)
        assert_allclose(written.std(axis=(0, 1)), 1)


def test_density_is_that_in_the_unit_of_the_user():
    # p(x) = p(z) / scale, so log p(x) = log p(z) - log(scale)
    expected = np.log(VALUES.std(axis=(0, 2)))
    assert_allclose(values().log_density_unit(), expected)
    assert not values(None).log_density_unit().any()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_inputs_are_what_a_model_is_trained_to_read(share):
    codec = values(share=share)
    assert codec.n_inputs == 2 * (1 + (share > 0)) + 1
    inputs, _ = codec.dataset(as_panel(VALUES), None, "float64")[0]
    written = codec.prompt(VALUES[:1], 1)
    assert_allclose(codec.precede(written)[:, :-1], inputs["u"])
    fed = codec.feed(torch.tensor(written[:, 2]))
    assert_allclose(fed, codec.precede(written)[:, 3])
    assert_allclose(codec.precede(codec.nothing(1)), inputs["u"][:, :1])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (np.zeros((3, 5)), r"prompt must have shape \(2, n_timepoints\) or \(4, 2, n"),
        (np.zeros(5), r"got \(5,\)"),
        (np.zeros((3, 2, 5)), r"got \(3, 2, 5\)"),
        (np.full((2, 1), np.nan), "prompt must hold finite numbers only"),
    ],
)
def test_bad_prompt_of_values_is_refused(prompt, message):
    with pytest.raises(ValueError, match=message):
        values().prompt(prompt, 4)


def test_prompt_of_one_channel_needs_no_axis():
    codec = ValueCodec(SequenceEncoder(None).fit(as_panel(VALUES[:, :1])))
    assert_array_equal(codec.prompt([1.0, 2.0], 2), [[[1.0], [2.0]]] * 2)
