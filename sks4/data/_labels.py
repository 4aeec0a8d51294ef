"""Row and column labels of pandas as plain values, for files that may hold nothing else."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset


def index_state(index: pd.Index | None) -> dict[str, Any] | None:
    """Return labels as a dict of arrays, lists, numbers and text.

    Parameters
    ----------
    index : Index or None
        Labels of any kind.

    Returns
    -------
    dict or None
        What `index_from_state` takes. An offset with settings of its own, such as business days
        with holidays, stays an object.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=3, freq="h", tz="Europe/Berlin")
    >>> index_from_state(index_state(index)).equals(index)
    True
    """
    if index is None:
        return None
    if isinstance(index, pd.MultiIndex):
        levels = [index_state(level) for level in index.levels]
        codes = [np.asarray(code) for code in index.codes]
        return {"kind": "levels", "levels": levels, "codes": codes, "names": list(index.names)}
    state: dict[str, Any] = {"kind": "labels", "name": index.name}
    if isinstance(index, pd.RangeIndex):
        return state | {"kind": "range", "range": [index.start, index.stop, index.step]}
    if isinstance(index, pd.PeriodIndex):
        return state | {"kind": "periods", "ordinals": index.asi8, "freq": index.freqstr}
    if isinstance(index, pd.DatetimeIndex):
        zone = None if index.tz is None else str(index.tz)
        freq = None if index.freq is None else offset_state(index.freq)
        values = index.asi8.view(f"M8[{index.unit}]")
        return state | {"kind": "dates", "values": values, "zone": zone, "freq": freq}
    return state | {"values": index.tolist(), "dtype": str(index.dtype)}


def index_from_state(state: dict[str, Any] | None) -> pd.Index | None:
    """Return the labels that `index_state` has taken apart."""
    if state is None:
        return None
    if state["kind"] == "levels":
        levels = [index_from_state(level) for level in state["levels"]]
        return pd.MultiIndex(levels, state["codes"], names=state["names"])
    name = state["name"]
    if state["kind"] == "range":
        return pd.RangeIndex(*state["range"], name=name)
    if state["kind"] == "periods":
        return pd.PeriodIndex.from_ordinals(state["ordinals"], freq=state["freq"], name=name)
    if state["kind"] == "dates":
        index = pd.DatetimeIndex(state["values"], name=name)
        if state["zone"] is not None:
            index = index.tz_localize("UTC").tz_convert(state["zone"])
        index.freq = offset_from_state(state["freq"])
        return index
    return pd.Index(state["values"], dtype=state["dtype"], name=name)


def offset_state(offset: Any) -> Any:
    """Return the name of an offset of pandas if it says all, anything else as it is."""
    if not isinstance(offset, BaseOffset):
        return offset
    try:
        is_named = to_offset(offset.freqstr) == offset
    except ValueError:  # such as DateOffset(months=1)
        return offset
    return offset.freqstr if is_named else offset


def offset_from_state(state: Any) -> Any:
    """Return the offset of a name, anything else as it is."""
    return to_offset(state) if isinstance(state, str) else state
