"""The same data in the containers of many libraries, for tests of what goes in and how."""

import array
import re
from collections import UserList, deque

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch

NAMES = ["a", "b"]


def label(value):
    """Return the name of a test's parameter: the same in each process, so without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def frames(cube):
    """Return a frame for each sequence of (n, 2, n_timepoints): rows are time."""
    return [pd.DataFrame(x.T, columns=NAMES) for x in cube]


def polars_frames(cube):
    return [pl.DataFrame(dict(zip(NAMES, x, strict=True))) for x in cube]


def labeled_rows(cube, instances=None):
    """Return one frame with row labels (instance, time)."""
    instances = range(len(cube)) if instances is None else instances
    return pd.concat(dict(zip(instances, frames(cube), strict=True)), names=["instance", "time"])


def nested(cube, wrap):
    """Return a frame with a sequence in each cell."""
    return pd.DataFrame({name: [wrap(x[k]) for x in cube] for k, name in enumerate(NAMES)})


def objects(items):
    """Return a 1-D array of objects."""
    vector = np.empty(len(items), dtype=object)
    vector[:] = items
    return vector


def tensor(values, dtype=torch.float64, *, requires_grad=False):
    return torch.tensor(np.asarray(values)).to(dtype).requires_grad_(requires_grad)


class OtherArray:
    """An array of a library that numpy can read."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)

    def __len__(self):
        return len(self.values)


TWO_LEVELS = pd.MultiIndex.from_product([NAMES, range(7)])

# Sequences of two channels and equal length: every form of fit with an axis of channels.
SEQUENCES = {
    "array": lambda c: c,
    "nested list": lambda c: c.tolist(),
    "list of arrays": list,
    "tuple of arrays": tuple,
    "deque of arrays": deque,
    "UserList of arrays": UserList,
    "list of lists of arrays": lambda c: [list(x) for x in c],
    "list of other arrays": lambda c: [OtherArray(x) for x in c],
    "other array": OtherArray,
    "memoryview": memoryview,
    "object array of arrays": lambda c: objects(list(c)),
    "object array of nested lists": lambda c: objects(c.tolist()),
    "Series of arrays": lambda c: pd.Series(list(c)),
    "Series of nested lists": lambda c: pd.Series(c.tolist()),
    "Series of lists of deques": lambda c: pd.Series([[deque(a) for a in x] for x in c]),
    "list of lists of columns of polars": lambda c: [[pl.Series(a) for a in x] for x in c],
    "tensor": tensor,
    "tensor with gradient": lambda c: tensor(c, requires_grad=True),
    "tensor in bfloat16": lambda c: tensor(c, torch.bfloat16),
    "tensor in float16": lambda c: tensor(c, torch.float16),
    "tensor in float8": lambda c: tensor(c, torch.float8_e4m3fn),
    "list of tensors": lambda c: [tensor(x, torch.bfloat16, requires_grad=True) for x in c],
    "Series of tensors": lambda c: pd.Series([tensor(x, requires_grad=True) for x in c]),
    "list of frames": frames,
    "frames of arrow types": lambda c: [f.astype("double[pyarrow]") for f in frames(c)],
    "frames of nullable types": lambda c: [f.astype("Float64") for f in frames(c)],
    "frames of polars": polars_frames,
    "lazy frames of polars": lambda c: [f.lazy() for f in polars_frames(c)],
    "tables of pyarrow": lambda c: [f.to_arrow() for f in polars_frames(c)],
    "batches of pyarrow": lambda c: [f.to_arrow().to_batches()[0] for f in polars_frames(c)],
    "frames of narwhals": lambda c: [nw.from_native(f) for f in polars_frames(c)],
    "object array of frames": lambda c: objects(frames(c)),
    "frame with two levels of columns": lambda c: pd.DataFrame(
        c.reshape(len(c), 14), columns=TWO_LEVELS
    ),
    "frame with row labels (instance, time)": labeled_rows,
    "row labels out of order": lambda c: labeled_rows(c, [f"T{i}" for i in (1, 2, 11, 3, 4, 10)]),
    "cells of arrays": lambda c: nested(c, np.asarray),
    "cells of Series": lambda c: nested(c, pd.Series),
    "cells of lists": lambda c: nested(c, list),
    "cells of deques": lambda c: nested(c, deque),
    "cells of tensors": lambda c: nested(c, lambda a: tensor(a, torch.bfloat16)),
    "cells of columns of polars": lambda c: nested(c, pl.Series),
    "object array of cells": lambda c: nested(c, np.asarray).to_numpy(),
    "cells of lists of arrow types": lambda c: nested(c, list).astype(
        pd.ArrowDtype(pa.list_(pa.float64()))
    ),
    "frame of polars with lists": lambda c: pl.DataFrame(nested(c, list).to_dict("list")),
    "table of pyarrow with lists": lambda c: pa.table(nested(c, list).to_dict("list")),
    "frame of polars with arrays": lambda c: pl.DataFrame({"a": c[:, 0], "b": c[:, 1]}),
}
HAVE_NAMES = {name for name in SEQUENCES if "frame" in name or "cells" in name or "pyarrow" in name}
HAVE_NAMES |= {"row labels out of order"}
HAVE_NAMES -= {"object array of cells"}

# One-dimensional sequences, which may have different lengths.
VECTORS = {
    "list of arrays": lambda rows: [np.array(x) for x in rows],
    "list of deques": lambda rows: [deque(x) for x in rows],
    "list of array.array": lambda rows: [array.array("d", x) for x in rows],
    "list of Series": lambda rows: [pd.Series(x) for x in rows],
    "list of tensors": lambda rows: [tensor(x, torch.bfloat16, requires_grad=True) for x in rows],
    "list of columns of polars": lambda rows: [pl.Series(x) for x in rows],
    "list of arrays of pyarrow": lambda rows: [pa.array(x) for x in rows],
    "list of chunked arrays": lambda rows: [pa.chunked_array([x[:1], x[1:]]) for x in rows],
    "list of other arrays": lambda rows: [OtherArray(x) for x in rows],
    "object array of lists": objects,
    "object array of deques": lambda rows: objects([deque(x) for x in rows]),
    "Series of lists": pd.Series,
    "Series of tuples": lambda rows: pd.Series([tuple(x) for x in rows]),
    "Series of lists of arrow types": lambda rows: pd.Series(
        rows, dtype=pd.ArrowDtype(pa.list_(pa.float64()))
    ),
    "Series of columns of polars": lambda rows: pd.Series([pl.Series(x) for x in rows]),
    "column of lists of polars": pl.Series,
    "array of lists of pyarrow": pa.array,
    "nested tensor": lambda rows: torch.nested.nested_tensor(
        [torch.tensor(x) for x in rows], layout=torch.jagged
    ),
}

# One number for each sample, or row of time.
COLUMNS = {
    "array": np.asarray,
    "list": lambda v: np.asarray(v).tolist(),
    "tuple": lambda v: tuple(np.asarray(v).tolist()),
    "deque": lambda v: deque(np.asarray(v).tolist()),
    "array.array": lambda v: array.array("d", v),
    "object array": lambda v: np.asarray(v, dtype=object),
    "other array": OtherArray,
    "list of numpy's numbers": list,
    "list of arrays without axes": lambda v: [np.asarray(x) for x in v],
    "list of tensors without axes": lambda v: [tensor(x, requires_grad=True) for x in v],
    "list of scalars of pyarrow": lambda v: list(pa.array(v)),
    "tensor": tensor,
    "tensor with gradient": lambda v: tensor(v, requires_grad=True),
    "tensor in bfloat16": lambda v: tensor(v, torch.bfloat16, requires_grad=True),
    "Series": pd.Series,
    "Series of any index": lambda v: pd.Series(v, index=range(len(v), 0, -1)),
    "nullable Series": lambda v: pd.Series(v, dtype="Float64"),
    "Series of arrow type": lambda v: pd.Series(v, dtype="double[pyarrow]"),
    "Series of objects": lambda v: pd.Series(v, dtype=object),
    "Index": pd.Index,
    "column of polars": pl.Series,
    "array of pyarrow": pa.array,
    "chunked array of pyarrow": lambda v: pa.chunked_array([v[:1], v[1:]]),
    "column of narwhals": lambda v: nw.from_native(pl.Series(v), series_only=True),
}
