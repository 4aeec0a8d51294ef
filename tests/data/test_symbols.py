"""Symbols in every form, numbered."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from sks4.data import SymbolEncoder


def panels(X, fitted_on=None, layout="nct"):
    encoder = SymbolEncoder(layout).fit(X if fitted_on is None else fitted_on)
    return encoder, encoder.transform(X)


def rows(panel):
    return [sequence[0].tolist() for sequence in panel]


TABLE = [["b", "a", "a"], ["a", "c", "b"]]
NUMBERS = [[1, 0, 0], [0, 2, 1]]


@pytest.mark.parametrize(
    "X",
    [
        TABLE,
        np.array(TABLE),
        np.array(TABLE, dtype=object),
        np.array(TABLE, dtype="S1"),
        np.array(TABLE)[:, np.newaxis],
        pd.DataFrame(TABLE),
        [np.array(row) for row in TABLE],
        [pd.Series(row) for row in TABLE],
        [pd.DataFrame({"letter": row}) for row in TABLE],
        pd.DataFrame({"letters": [np.array(row) for row in TABLE]}),
        ["baa", "acb"],
        ("baa", "acb"),
        np.array(["baa", "acb"]),
        pd.Series(["baa", "acb"]),
        [b"baa", b"acb"],
    ],
    ids=lambda X: type(X).__name__,
)
def test_symbols_of_every_form_become_numbers(X):
    encoder, panel = panels(X)
    assert rows(panel) == NUMBERS
    symbols = encoder.symbols_.tolist()
    assert symbols in (["a", "b", "c"], [b"a", b"b", b"c"], [97, 98, 99])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float32, object])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_integers_of_any_type_are_symbols(dtype, as_tensor):
    X = np.array([[7, 3, 7], [3, 100, 3]]).astype(dtype)
    if as_tensor and dtype is not object:
        X = torch.from_numpy(X)
    encoder, panel = panels(X)
    assert encoder.symbols_.tolist() == [3, 7, 100]
    assert encoder.symbols_.dtype.kind in "iu"
    assert rows(panel) == [[1, 0, 1], [0, 2, 0]]


def test_booleans_are_symbols():
    encoder, panel = panels(np.array([[True, False]]))
    assert encoder.symbols_.tolist() == [False, True]
    assert rows(panel) == [[1, 0]]


def test_words_are_symbols():
    encoder, panel = panels([np.array(["to", "be", "or"]), np.array(["not", "to", "be"])])
    assert encoder.symbols_.tolist() == ["be", "not", "or", "to"]
    assert rows(panel) == [[3, 0, 2], [1, 3, 0]]


def test_sequences_may_have_different_lengths():
    encoder, panel = panels(["ab", "b", "aab"])
    assert panel.lengths.tolist() == [2, 1, 3]
    assert encoder.transform([np.array(["b"])]).form == "ragged"


def test_layout_is_followed():
    X = np.array(TABLE)[..., np.newaxis]
    assert rows(panels(X, layout="ntc")[1]) == NUMBERS


def test_numbers_take_no_more_memory_than_bytes():
    _, panel = panels(np.zeros((3, 5), np.uint8))
    assert panel.sequences.dtype == np.uint8


@pytest.mark.parametrize(
    "X",
    [
        np.array([[4, np.nan, 2, np.nan], [2, 2, 2, 2]]),
        np.array([["b", None, "a", None], ["a"] * 4], dtype=object),
        pd.DataFrame([["b", None, "a", np.nan], ["a"] * 4]),
    ],
    ids=lambda X: type(X).__name__,
)
def test_missing_symbols_and_padding_are_nan(X):
    encoder, panel = panels(X)
    assert len(encoder.symbols_) == 2
    assert panel.lengths.tolist() == [3, 4]
    assert panel.missing.tolist() == [True, False]
    assert_array_equal(panel[0], [[1, np.nan, 0]])


@pytest.mark.parametrize(
    ("prompt", "numbers"),
    [
        ("ab", [0, 1]),
        (["ab", "cc"], [[0, 1], [2, 2]]),
        (np.array(["a", "b"]), [0, 1]),
        (np.array([["a", "b"]]), [[0, 1]]),
    ],
)
def test_prompt_is_one_sequence_or_several(prompt, numbers):
    assert SymbolEncoder().fit(["abc"]).encode_prompt(prompt).tolist() == numbers
    assert SymbolEncoder().fit([b"abc"]).encode_prompt(b"ab").tolist() == [0, 1]


# -- what a caller may get wrong


@pytest.mark.parametrize(
    ("X", "symbol"),
    [
        (["abz"], "'z'"),
        (np.array([[1, 2]]), "1"),
        ([b"ab"], "97"),
        (np.array([["a", "yy"]]), "'yy'"),
    ],
)
def test_unknown_symbol_is_named(X, symbol):
    message = rf"X must hold the 3 symbols of fit only \('a', 'b', 'c'\), got {symbol}"
    with pytest.raises(ValueError, match=message):
        SymbolEncoder().fit(["abc"]).transform(X)


def test_list_of_many_symbols_is_cut_short():
    with pytest.raises(
        ValueError, match=r"100 symbols of fit only \(0, 1, .* 7, \.\.\.\), got 100"
    ):
        SymbolEncoder().fit(np.arange(100)[np.newaxis]).transform([[100]])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0.5, 1.0]], "got the value 0.5. For real values, pass distribution='gaussian'"),
        ([[np.inf, 1.0]], "got the value inf"),
        (np.array([["a", 1]], dtype=object), "must be of one kind, got int and str"),
        ([np.array(["a"]), np.array([1])], "must be of one kind, got integers and text"),
        ([[np.nan, np.nan]], "must be of one kind, got none"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "got dtype datetime64"),
        ([[1, 2], [3]], "Nested lists must have equal lengths"),
    ],
)
def test_what_is_no_symbol_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        SymbolEncoder().fit(X)


def test_several_channels_are_refused():
    X = np.zeros((3, 2, 5), int)
    with pytest.raises(ValueError, match="must have one channel, got 2"):
        SymbolEncoder().fit(X).transform(X)


def test_list_of_texts_must_hold_nothing_else():
    with pytest.raises(TypeError, match="must hold str or bytes only, got int"):
        SymbolEncoder().fit(["abc", 3])


@pytest.mark.parametrize("prompt", [np.array(["a", None], dtype=object), [["a"], [None]]])
def test_prompt_with_a_missing_symbol_is_refused(prompt):
    with pytest.raises(ValueError, match="must have no missing symbols"):
        SymbolEncoder().fit(["abc"]).encode_prompt(prompt)


def test_masked_symbols_are_missing():
    masked = np.ma.array([["b", "a", "a"], ["a", "c", "b"]], mask=[[0, 1, 0], [0, 0, 1]])
    for X in (masked, list(masked)):
        encoder, panel = panels(X)
        assert encoder.symbols_.tolist() == ["a", "b", "c"]
        assert panel.missing.tolist() == [True, False]
        assert panel.lengths.tolist() == [3, 2]
    with pytest.raises(ValueError, match="prompt must have no missing symbols"):
        encoder.encode_prompt(masked[0])


@pytest.mark.parametrize("X", [[["a", 1], ["b", 2]], [["a", b"b"]], [[1.5, "a"]]])
def test_lists_that_mix_text_with_others_are_refused_as_object_arrays_are(X):
    with pytest.raises(ValueError) as expected:  # noqa: PT011
        SymbolEncoder().fit(np.array(X, dtype=object))
    with pytest.raises(ValueError, match="must be of one kind") as error:
        SymbolEncoder().fit(X)
    assert str(error.value) == str(expected.value)


def test_unknown_symbol_in_a_prompt_is_blamed_on_the_prompt():
    encoder = SymbolEncoder().fit(["ab"])
    with pytest.raises(ValueError, match=r"^prompt must hold the 2 symbols .* got 'z'"):
        encoder.encode_prompt("az")
    with pytest.raises(ValueError, match=r"^X must hold"):
        encoder.transform(["az"])


def test_objects_that_are_no_symbols_are_named():
    with pytest.raises(TypeError, match="integers, text or bytes, got objects of type slice"):
        SymbolEncoder().fit([[slice(1), slice(2)]])


def test_frame_without_rows_and_columns_is_refused():
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        SymbolEncoder().fit(pd.DataFrame())
