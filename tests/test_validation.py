"""Checks that all parts share."""

import numpy as np
import pandas as pd
import pytest

from sks4._validation import unmasked


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
