"""Containers of every library become the same data, or are refused in a true sentence."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_array_equal

from containers import (
    COLUMNS,
    HAVE_NAMES,
    NAMES,
    SEQUENCES,
    VECTORS,
    labeled_rows,
    objects,
    polars_frames,
    tensor,
)
from sks4.data import SymbolEncoder, as_panel, as_targets, check_numbers, plain_data
from sks4.data._inputs import refuse_text_and_dates
from sks4.exceptions import DataShapeWarning, NotNumericError

# Quarters, which every floating type of torch holds exactly.
CUBE = np.random.default_rng(0).integers(-8, 8, size=(6, 2, 7)) / 4


@pytest.mark.parametrize("container", SEQUENCES)
def test_container_of_sequences_becomes_the_same_panel(container):
    panel = as_panel(SEQUENCES[container](CUBE))
    assert_array_equal(np.stack(list(panel)), CUBE)
    assert panel.n_timepoints is None
    names = panel.feature_names
    assert (names.tolist() == NAMES) if container in HAVE_NAMES else names is None


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0, 4.0]]])
@pytest.mark.parametrize("container", VECTORS)
def test_container_of_vectors_becomes_the_same_panel(container, rows):
    panel = as_panel(VECTORS[container](rows))
    assert (panel.form, panel.n_channels) == ("ragged", 1)
    assert [sequence[0].tolist() for sequence in panel] == rows


@pytest.mark.parametrize("container", COLUMNS)
def test_container_of_numbers_becomes_the_same_array(container):
    values = np.array([0.5, -2.0, 3.25])
    found = as_targets(COLUMNS[container](values))
    assert isinstance(found, np.ndarray)
    assert_array_equal(found.astype(float), values)


@pytest.mark.parametrize("convert", [pl.DataFrame, lambda d: pl.DataFrame(d).to_arrow()])
def test_columns_of_other_libraries_keep_their_kind(convert):
    frame = plain_data(
        convert(
            {
                "count": [2**60 + 1, None],
                "flag": [True, None],
                "value": [1.5, None],
                "day": [dt.date(2020, 1, 2), None],
                "instant": [dt.datetime(2020, 1, 2, tzinfo=dt.UTC)] * 2,
                "span": [dt.timedelta(hours=1)] * 2,
                "text": ["x", None],
            }
        )
    )
    assert frame["count"][0] == 2**60 + 1
    assert frame["count"].isna().tolist() == frame["flag"].isna().tolist() == [False, True]
    assert frame["value"].dtype == np.float64
    assert frame["day"][0] == pd.Timestamp("2020-01-02")
    assert frame["instant"][0] == pd.Timestamp("2020-01-02", tz="UTC")
    assert frame["span"][0] == pd.Timedelta(hours=1)
    assert frame["text"][0] == "x"


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (polars_frames(CUBE)[0].cast({"a": pl.String}), ValueError, r"\['a'\].*from_long"),
        ([pl.DataFrame({"a": [dt.date(2020, 1, 1)]})], ValueError, r"X\[0\].*datetime64"),
        ([pl.DataFrame({"a": [dt.date(2020, 1, 1)], "b": 1.0})], TypeError, r"X\[0\].*Timestamp"),
        (pl.DataFrame({"day": [dt.date(2020, 1, 1)], "b": 1.0}), ValueError, r"\['day'\]"),
        (np.array([[np.datetime64("2020"), 1.0]], object), TypeError, "datetime64"),
        ([polars_frames(CUBE)[0], CUBE[0]], TypeError, r"ndarray in X\[1\]"),
        ([CUBE[0], polars_frames(CUBE)[0]], TypeError, r"ndarray in X\[0\]"),
        (
            [polars_frames(CUBE)[0], polars_frames(CUBE)[0].select("b", "a")],
            ValueError,
            r"same columns in the same order, got .*\['b', 'a'\] in X\[1\]",
        ),
        ([{"target": [1.0]}], TypeError, r"got X\[0\] of type dict"),
        ([CUBE[0], None], TypeError, r"got X\[1\] of type NoneType"),
        ([CUBE[0].tolist(), CUBE[0]][::-1] + [[[1], [2, 3]]], ValueError, r"lengths in X\[2\]"),
        (pd.Series([[[1.0], [1.0, 2.0]]]), ValueError, "different lengths in item 0"),
        (objects([[1.0], [1.0, [2.0]]]), ValueError, "different lengths in item 1"),
        (torch.eye(3).to_sparse(), TypeError, r"Sparse tensors .*to_dense"),
        (np.zeros(3), ValueError, r"got \(3,\).*one channel is X\[np.newaxis\]"),
        (torch.zeros(3), ValueError, r"one channel is X\[np.newaxis\]"),
        ([1.0, 2.0], ValueError, r"one channel is \[X\]"),
        (pd.Series([1.0, 2.0]), ValueError, r"X.to_numpy\(\)\[np.newaxis\]"),
        (pl.Series([1.0, 2.0]), ValueError, r"X.to_numpy\(\)\[np.newaxis\]"),
        (pa.array([1.0, 2.0]), ValueError, r"X.to_numpy\(\)\[np.newaxis\]"),
    ],
)
def test_what_holds_no_sequences_is_refused_in_a_true_sentence(X, error, message):
    with pytest.raises(error, match=message):
        as_panel(X)


# --- row labels (instance, time) -----------------------------------------------------------------


def test_instances_keep_the_order_in_which_they_appear():
    X = labeled_rows(CUBE, ["T1", "T2", "T11", "T3", "b", "a"])
    assert_array_equal(np.stack(list(as_panel(X))), CUBE)
    shuffled = X.sample(frac=1, random_state=0)
    first = shuffled.index.get_level_values(0).unique()
    rows = [["T1", "T2", "T11", "T3", "b", "a"].index(name) for name in first]
    assert_array_equal(np.stack(list(as_panel(shuffled))), CUBE[rows])


def test_instances_that_were_sliced_away_are_none():
    X = labeled_rows(CUBE).loc[[4, 1]]  # the levels of the index still hold all instances
    assert_array_equal(np.stack(list(as_panel(X))), CUBE[[4, 1]])


def test_instances_may_begin_at_different_times_and_have_one_column():
    dates = pd.date_range("2024-01-01", periods=9)
    index = pd.MultiIndex.from_arrays([[0] * 4 + [1] * 5, dates])
    panel = as_panel(pd.Series(np.arange(9.0), index=index))
    assert panel.lengths.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.set_index(np.zeros(42), append=True), "must have two.*got 3"),
        (lambda X: pd.concat([X, X.iloc[:1]]), "a time only once, got time=0 several times"),
        (lambda X: X.set_axis(X.index.set_levels(list("jihgfed"), level=1)), "got text such as"),
        (
            lambda X: (
                X.reset_index()
                .astype({"time": float})
                .replace({"time": {3.0: np.nan}})
                .set_index(["instance", "time"])
            ),
            "no missing values, got 6",
        ),
    ],
)
def test_row_labels_that_are_no_instance_and_time_name_from_long(change, message):
    with pytest.raises(ValueError, match=message + r".*from_long\(X.reset_index\(\), id="):
        as_panel(change(labeled_rows(CUBE)))


def test_row_labels_of_sequences_in_cells_or_columns_are_only_labels():
    labels = pd.MultiIndex.from_product([["x", "y"], range(3)])
    for container in ("cells of arrays", "frame with two levels of columns"):
        X = SEQUENCES[container](CUBE).set_axis(labels)
        assert_array_equal(np.stack(list(as_panel(X))), CUBE)


# --- long tables ---------------------------------------------------------------------------------


def long_table(n_ids=5, length=8):
    rng = np.random.default_rng(0)
    table = {"id": np.repeat(np.arange(n_ids), length), "t": np.tile(np.arange(length), n_ids)}
    return pd.DataFrame(table | {"x": rng.normal(size=n_ids * length)})


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table,
        lambda table: table[["x", "id", "t"]],
        lambda table: table[["t", "x", "id"]],
        lambda table: table.sort_values("t"),
        lambda table: table.sample(frac=1, random_state=0),
        lambda table: table.sample(frac=0.8, random_state=0).sort_values(["id", "t"]),
        pl.DataFrame,
        lambda table: pa.table(table.to_dict("list")),
    ],
)
def test_long_table_of_numbers_is_warned_of(change):
    with pytest.warns(
        DataShapeWarning, match="'(id|t)' repeats while '(t|id)' increases.*from_long"
    ):
        as_panel(change(long_table()))


def test_recording_with_one_row_for_each_time_is_warned_of():
    values = np.random.default_rng(0).normal(size=(200, 3))
    with pytest.warns(DataShapeWarning, match="200 rows and no more than 3 columns.*from_long"):
        as_panel(pd.DataFrame(values, columns=["x", "y", "z"]))


@pytest.mark.parametrize(
    "names", [[f"t{k}" for k in range(4)], ["day 1", "day 3", "day 7", "day 9"]]
)
def test_rows_of_numbered_time_points_are_not_warned_of(names):
    values = np.random.default_rng(0).normal(size=(200, 4))
    assert len(as_panel(pd.DataFrame(values, columns=names))) == 200


# --- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ({0: 1}, TypeError, "got a dict, in which entries have no position"),
        ({0, 1}, TypeError, "got a set"),
        ((x for x in [0, 1]), TypeError, "got a generator"),
        ([[0, 1], [0]], ValueError, "rows of different lengths"),
        ([0, "a"], ValueError, "values of one kind, got int and str"),
    ],
)
def test_targets_without_position_or_kind_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        as_targets(y)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(["u", None, "v"], dtype="string"),
        pd.Series(["u", None, "v"], dtype="category"),
        pl.Series(["u", None, "v"]),
        pa.array(["u", None, "v"]),
        ["u", None, "v"],
        np.ma.array(["u", "w", "v"], mask=[0, 1, 0]),
        pd.Series([2, None, 3], dtype="Int64"),
        pl.Series([2, None, 3]),
    ],
)
def test_missing_targets_are_nan(y):
    found = as_targets(y)
    assert pd.isna(found).tolist() == [False, True, False]
    assert found[0] in ("u", 2)


def test_text_of_numpys_own_type_is_text():
    text = np.array(["u", "long text"], dtype=np.dtypes.StringDType())
    assert as_targets(text).tolist() == ["u", "long text"]
    with pytest.raises(NotNumericError, match="y must hold numbers, got 'u' of type str: could"):
        check_numbers(as_targets(text), "y")
    assert SymbolEncoder().fit([text, text[:1]]).symbols_.tolist() == ["long text", "u"]


def test_large_integers_keep_their_value():
    large = [2**63 + 1, 5]
    for y in (large, pl.Series(large, dtype=pl.UInt64), np.array(large, "u8")):
        assert as_targets(y).tolist() == large


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(pd.to_datetime(["2020", "2021"])),
        pd.Series(pd.to_datetime(["2020", "2021"]).tz_localize("UTC")),
        [dt.date(2020, 1, 1), dt.date(2021, 1, 1)],
        pl.Series([dt.datetime(2020, 1, 1)]),
        np.array([np.timedelta64(1, "s"), 2.0], dtype=object),
        pd.Series(pd.period_range("2020", periods=2, freq="D")),
    ],
)
def test_dates_are_no_numbers(y):
    with pytest.raises(NotNumericError, match="y must hold numbers, got"):
        check_numbers(as_targets(y), "y")


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["1", "2"]),
        pd.Series([1.0, "2"], dtype=object),
        pd.Series(["1", None], dtype="string"),
        pd.Series(["1", "2"], dtype="category"),
        np.array(["1", "2"]),
        np.array([b"1", b"2"]),
        np.array(["1", "2"], dtype=np.dtypes.StringDType()),
        np.array([dt.time(1), 2.0], dtype=object),
        np.array(["2020"], dtype="datetime64[D]"),
        np.zeros(2, dtype=[("a", float)]),
    ],
    ids=str,
)
def test_text_and_dates_have_one_error_for_targets_and_columns(column):
    for check in (refuse_text_and_dates, check_numbers):
        with pytest.raises(NotNumericError, match=r"^a must hold numbers, got"):
            check(np.asarray(column) if check is check_numbers else column, "a")
    assert issubclass(NotNumericError, TypeError)
    assert issubclass(NotNumericError, ValueError)


@pytest.mark.parametrize(
    "column", [pd.Series([1, None], dtype="Int64"), np.array([Decimal(1), None, 2.5, True], object)]
)
def test_numbers_of_all_kinds_are_no_text(column):
    assert refuse_text_and_dates(column, "a") is None  # nothing is raised


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_are_views_of_other_numbers_are_read():
    values = torch.tensor([1 + 2j, 3 - 1j]).conj().imag
    assert as_targets(values).tolist() == [-2.0, 1.0]
    assert as_targets(torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)).tolist() == [
        1,
        1,
    ]
    assert tensor([1.0], requires_grad=True).requires_grad


def test_import_reads_no_library_of_frames():
    code = (
        "import sys, pandas; before = set(sys.modules); import sks4; "
        "print(sorted({'polars', 'pyarrow'} & (set(sys.modules) - before)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
