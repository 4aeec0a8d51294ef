"""Labels of pandas survive as plain values."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from sks4.data._labels import index_from_state, index_state

HOLIDAYS = pd.tseries.offsets.CustomBusinessDay(holidays=["2024-01-02"])
INDEXES = {
    "none": None,
    "range": pd.RangeIndex(2, 10, 3, name="row"),
    "integers": pd.Index([1, 5, 9]),
    "text": pd.Index(["b", "a"], name="target"),
    "mixed": pd.Index(["b", 1, None], dtype=object),
    "dates": pd.date_range("2024-01-01", periods=3, freq="MS", name="month"),
    "one date": pd.date_range("2024-01-01", periods=1, freq="D"),
    "dates without frequency": pd.DatetimeIndex(["2024-01-01", "2024-03-01", "2024-03-02"]),
    "dates with a zone": pd.date_range("2024-03-30", periods=5, freq="h", tz="Europe/Berlin"),
    "dates with an offset": pd.date_range("2024-03-30", periods=5, freq="h", tz="+02:00"),
    "dates in seconds": pd.date_range("2024-03-30", periods=5, freq="h", unit="s"),
    "business days": pd.date_range("2024-01-01", periods=3, freq=HOLIDAYS),
    "the 15th": pd.date_range("2024-01-15", periods=3, freq=pd.DateOffset(months=1)),
    "periods": pd.period_range("2024-01", periods=3, freq="Q-NOV", name="quarter"),
    "levels": pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None]),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_labels_come_back_as_they_were(kind):
    index = INDEXES[kind]
    found = index_from_state(pickle.loads(pickle.dumps(index_state(index))))
    if index is None:
        assert found is None
    else:
        pd.testing.assert_index_equal(found, index, exact=True)
        assert getattr(found, "freq", None) == getattr(index, "freq", None)


@pytest.mark.parametrize("kind", sorted(set(INDEXES) - {"business days", "the 15th"}))
def test_state_is_plain(kind):
    def plain(value):
        return value.astype(np.int64).tolist()  # arrays

    state = index_state(INDEXES[kind])
    text = json.dumps(state, default=plain)  # raises if there is any other object
    assert (json.loads(text) or {}).keys() == (state or {}).keys()
