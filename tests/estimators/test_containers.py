"""Every container, every estimator: what happens in fit, predict, score and streams."""

import datetime as dt
from collections import deque

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from containers import (
    COLUMNS,
    HAVE_NAMES,
    NAMES,
    SEQUENCES,
    VECTORS,
    frames,
    label,
    labeled_rows,
    polars_frames,
    tensor,
)
from sks4 import S4Classifier, S4Forecaster, S4Generator, S4Regressor
from sks4.data import SymbolEncoder, as_panel, to_long

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}
SERIES = TINY | {"horizon": 3, "context_length": 6, "patch_size": 2, "early_stopping": False}

# Quarters, which every floating type of torch holds exactly.
CUBE = np.random.default_rng(0).integers(-8, 8, size=(6, 2, 7)) / 4
Y = np.arange(6) % 2
WEIGHTS = np.array([1.0, 2.0, 1.0, 0.5, 1.0, 1.0])
ROWS = np.random.default_rng(1).integers(-8, 8, size=(40, 2)) / 4

MAKE = {
    "classifier": lambda: S4Classifier(**TINY, readout="trained"),
    "regressor": lambda: S4Regressor(**TINY),
    "generator": lambda: S4Generator(**TINY, distribution="gaussian"),
}


def outputs(estimator, X):
    """Return what an estimator says of each sequence."""
    for method in ("predict_proba", "score_samples", "predict"):
        if hasattr(estimator, method):
            return getattr(estimator, method)(X)
    raise AssertionError(f"{estimator} has no output")


@pytest.fixture(scope="module", params=MAKE)
def fitted(request):
    """Return a function that makes an estimator, and one fitted on the array."""
    make = MAKE[request.param]
    return make, make().fit(CUBE, Y)


# --- sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("container", SEQUENCES)
def test_fit_predict_and_score_are_those_of_the_array(fitted, container):
    make, reference = fitted
    X, named = SEQUENCES[container](CUBE), container in HAVE_NAMES
    estimator = make().fit(X, Y)
    assert (estimator.n_features_in_, estimator.n_timepoints_in_) == (2, None)
    names = getattr(estimator, "feature_names_in_", None)
    assert (names.tolist() == NAMES) if named else names is None
    assert_allclose(outputs(estimator, X), outputs(reference, CUBE), rtol=1e-5)
    assert estimator.score(X, Y) == pytest.approx(reference.score(CUBE, Y), rel=1e-5)


@pytest.mark.parametrize("container", VECTORS)
def test_vectors_of_any_length_are_those_of_arrays(fitted, container):
    make, _ = fitted
    rows = [[1.0, 2.0, -1.5], [3.0, 0.5], [0.25], [1.0, 1.0], [2.0, 2.5, 3.0], [0.0, -1.0]]
    arrays = [np.array(row) for row in rows]
    X = VECTORS[container](rows)
    estimator = make().fit(X, Y)
    expected = outputs(make().fit(arrays, Y), arrays)
    assert_allclose(outputs(estimator, X), expected, rtol=1e-5)


REORDERED = {
    "frames": lambda: [frame[["b", "a"]] for frame in frames(CUBE)],
    "frames of polars": lambda: [frame.select("b", "a") for frame in polars_frames(CUBE)],
    "tables of pyarrow": lambda: [f.to_arrow().select(["b", "a"]) for f in polars_frames(CUBE)],
    "row labels": lambda: labeled_rows(CUBE)[["b", "a"]],
    "cells": lambda: SEQUENCES["frame of polars with lists"](CUBE).select("b", "a"),
}


@pytest.mark.parametrize("container", REORDERED)
def test_reordered_channels_are_refused(fitted, container):
    estimator = fitted[0]().fit(frames(CUBE), Y)
    with pytest.raises(ValueError, match="in the same order as they were in fit"):
        outputs(estimator, REORDERED[container]())


@pytest.mark.parametrize("make_frame", [pl.DataFrame, pa.table])
def test_table_of_another_library_has_one_row_for_each_sequence(fitted, make_frame):
    make, _ = fitted
    table = {f"t{k}": CUBE[:, 0, k] for k in range(7)}
    estimator = make().fit(make_frame(table), Y)
    expected = make().fit(pd.DataFrame(table), Y)
    assert_array_equal(
        outputs(estimator, make_frame(table)), outputs(expected, pd.DataFrame(table))
    )
    assert estimator.n_timepoints_in_ == 7
    assert estimator.feature_names_in_.tolist() == list(table)
    with pytest.raises(ValueError, match="in the same order as they were in fit"):
        outputs(estimator, make_frame(dict(reversed(table.items()))))


@pytest.mark.parametrize("container", ["frames of polars", "tables of pyarrow"])
def test_long_table_of_frames_of_another_library_has_their_rows_as_time(container):
    table = to_long(SEQUENCES[container](CUBE))
    pd.testing.assert_frame_equal(table, to_long(frames(CUBE)))


# --- symbols -------------------------------------------------------------------------------------

SYMBOLS = [[1, 2, 3], [3, 1], [2, 2, 1, 1]]


@pytest.mark.parametrize("container", VECTORS)
def test_symbols_are_those_of_arrays(container):
    X = VECTORS[container]([[float(v) for v in row] for row in SYMBOLS])
    generator = S4Generator(**TINY).fit(X)
    assert generator.symbols_.tolist() == [1, 2, 3]
    arrays = [np.array(row) for row in SYMBOLS]
    expected = S4Generator(**TINY).fit(arrays).score_samples(arrays)
    assert_allclose(generator.score_samples(X), expected, rtol=1e-5)


@pytest.mark.parametrize("convert", [list, pd.Series, pl.Series, pa.array, deque])
def test_texts_are_sequences_of_characters(convert):
    generator = S4Generator(**TINY).fit(convert(["abba", "ab"]))
    assert generator.symbols_.tolist() == ["a", "b"]
    numbers = S4Generator(**TINY).fit([np.array([0, 1, 1, 0]), np.array([0, 1])])
    expected = numbers.score_samples([np.array([0, 1])])
    assert_allclose(generator.score_samples(convert(["ab"])), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "X",
    [
        [np.array([2**63 + 1], "u8"), np.array([5])],
        [[2**63 + 1, 5]],
        pl.Series([[2**63 + 1], [5]], dtype=pl.List(pl.UInt64)),
        [pd.Series([2**63 + 1, None], dtype="UInt64"), pd.Series([5])],
        pd.DataFrame({"a": np.array([2**63 + 1], "u8"), "b": np.array([5], "i8")}),
        pa.table({"a": pa.array([2**63 + 1, 5], pa.uint64())}),
    ],
    ids=label,
)
def test_large_symbols_of_mixed_types_keep_their_values(X):
    generator = S4Generator(**TINY).fit(X)
    assert generator.symbols_.tolist() == [5, 2**63 + 1]
    small = [row[0].astype(int) for row in SymbolEncoder().fit(X).transform(X)]
    expected = S4Generator(**TINY).fit(small).score_samples(small)
    assert_allclose(generator.score_samples(X), expected, rtol=1e-9)
    with pytest.raises(ValueError, match=f"got {2**63}. Fit with data"):
        generator.score([np.array([2**63], "u8")])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[2**70, 1]], f"got {2**70}. Number them"),
        ([np.array([2**63], "u8"), np.array([-5])], f"got {2**63} together with -5"),
        (np.array([[1e30, 1.0]]), "type of 64 bits, got 10000000000000000"),
        ([["a", 1]], "one kind, got int and str"),
    ],
)
def test_symbols_that_have_no_common_type_are_named(X, message):
    with pytest.raises(ValueError, match=message):
        S4Generator(**TINY).fit(X)


@pytest.mark.parametrize("X", [[[2**53 + 1, np.nan]], [[2**53 + 1, None]], [[2**53 + 1, 2.0]]])
def test_integers_beside_floats_are_not_rounded(X):
    assert 2**53 + 1 in S4Generator(**TINY).fit(X).symbols_.tolist()


# --- targets and weights -------------------------------------------------------------------------


@pytest.mark.parametrize("container", COLUMNS)
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_targets_and_weights_are_those_of_the_array(kind, container):
    convert = COLUMNS[container]
    y, weights = convert(Y.astype(float)), convert(WEIGHTS)
    expected = MAKE[kind]().fit(CUBE, Y.astype(float), sample_weight=WEIGHTS)
    estimator = MAKE[kind]().fit(CUBE, y, sample_weight=weights)
    assert_allclose(outputs(estimator, CUBE), outputs(expected, CUBE), rtol=1e-5)
    score = expected.score(CUBE, Y.astype(float), sample_weight=WEIGHTS)
    assert estimator.score(CUBE, y, sample_weight=weights) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("convert", [list, pd.Series, pl.Series, pa.array, deque])
def test_labels_that_are_text_come_back(convert):
    labels = ["up", "down"] * 3
    classifier = MAKE["classifier"]().fit(CUBE, convert(labels))
    assert classifier.classes_.tolist() == ["down", "up"]
    assert set(classifier.predict(CUBE)) <= {"down", "up"}
    assert 0 <= classifier.score(CUBE, convert(labels)) <= 1
    classes = convert(["up", "down"])
    MAKE["classifier"]().partial_fit(CUBE, convert(labels), classes=classes)


DATES = [
    pd.date_range("2024-01-01", periods=6),
    pd.Series(pd.date_range("2024-01-01", periods=6, tz="UTC")),
    pl.Series([dt.date(2024, 1, k) for k in range(1, 7)]),
    [dt.datetime(2024, 1, k) for k in range(1, 7)],
    np.arange(6).astype("timedelta64[h]"),
]


@pytest.mark.parametrize("dates", DATES, ids=lambda d: type(d).__name__)
def test_dates_are_no_values_but_may_be_labels(dates):
    regressor = MAKE["regressor"]()
    with pytest.raises(TypeError, match=r"y must hold numbers, got .*pd.Timedelta\('1D'\)"):
        regressor.fit(CUBE, dates)
    with pytest.raises(TypeError, match="y must hold numbers"):
        regressor.fit(CUBE, Y).score(CUBE, dates)
    with pytest.raises(TypeError, match="sample_weight must hold numbers"):
        regressor.fit(CUBE, Y, sample_weight=dates)


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_of_targets_must_stay_in_order(convert):
    y = {"u": np.arange(6.0), "v": np.arange(6.0) ** 2}
    swapped = convert(dict(reversed(y.items())))
    regressor = MAKE["regressor"]().fit(CUBE, convert(y))
    assert regressor.score(CUBE, convert(y)) == regressor.score(
        CUBE, np.column_stack([*y.values()])
    )
    for call in (regressor.score, regressor.partial_fit):
        with pytest.raises(ValueError, match=r"fit in their order, \['u', 'v'\], got \['v', 'u'\]"):
            call(CUBE, swapped)


# --- streams -------------------------------------------------------------------------------------

PIECES = {
    "array": lambda x: x,
    "nested list": lambda x: x.tolist(),
    "tensor": lambda x: tensor(x, torch.bfloat16, requires_grad=True),
    "list of columns of polars": lambda x: [pl.Series(a) for a in x],
    "list of deques": lambda x: [deque(a) for a in x],
    "frame": lambda x: frames([x])[0],
    "frame of polars": lambda x: polars_frames([x])[0],
    "table of pyarrow": lambda x: polars_frames([x])[0].to_arrow(),
    "frame of arrow types": lambda x: frames([x])[0].astype("double[pyarrow]"),
}
SAMPLES = {
    "array": lambda v: v,
    "list of tensors": lambda v: [tensor(a) for a in v],
    "tensor": lambda v: tensor(v, torch.bfloat16, requires_grad=True),
    "deque": deque,
    "column of polars": pl.Series,
    "array of pyarrow": pa.array,
    "Series with names": lambda v: pd.Series(v, index=NAMES),
    "frame of polars": lambda v: pl.DataFrame({"a": v[:1], "b": v[1:]}),
}


def stream_of(kind, n_streams=1):
    if kind == "forecaster":
        estimator = S4Forecaster(**SERIES).fit(pl.DataFrame(dict(zip(NAMES, ROWS.T, strict=True))))
        return estimator.stream(n_streams), lambda stream: stream.forecast()
    stream = MAKE[kind]().fit(frames(CUBE), Y).stream(n_streams)
    return (
        stream,
        lambda stream: stream.predict_proba() if kind == "classifier" else stream.predict(),
    )


@pytest.fixture(scope="module", params=["classifier", "regressor", "forecaster"])
def streaming(request):
    """Return a stream, one of six, and the function that reads them."""
    one, read = stream_of(request.param)
    six, _ = stream_of(request.param, 6)
    return one, six, read


@pytest.mark.parametrize("piece", PIECES)
def test_pushed_piece_is_that_of_the_array(streaming, piece):
    stream, _, read = streaming
    expected = read(stream.reset().push(CUBE[0]))
    assert_array_equal(read(stream.reset().push(PIECES[piece](CUBE[0]))), expected)


@pytest.mark.parametrize("sample", SAMPLES)
def test_pushed_sample_is_that_of_the_array(streaming, sample):
    stream, _, read = streaming
    stream.reset().push(CUBE[0])
    expected = read(stream.copy().push(np.array([1.0, -2.0])))
    assert_array_equal(read(stream.push(SAMPLES[sample](np.array([1.0, -2.0])))), expected)


@pytest.mark.parametrize(
    "container",
    [
        "list of tensors",
        "frames of polars",
        "tables of pyarrow",
        "tensor in bfloat16",
        "frame with row labels (instance, time)",
        "list of lists of columns of polars",
    ],
)
def test_piece_for_several_streams_is_that_of_the_array(streaming, container):
    _, six, read = streaming
    expected = read(six.reset().push(CUBE))
    assert_array_equal(read(six.reset().push(SEQUENCES[container](CUBE))), expected)


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (polars_frames(CUBE)[0].select("b", "a"), ValueError, "order|columns of fit"),
        (pl.DataFrame({"a": [dt.date(2024, 1, 1)], "b": [1.0]}), TypeError, "must hold numbers"),
        (np.array(["2024", "2025"], "M8[Y]"), TypeError, "must hold real numbers"),
        (["1", "2"], TypeError, "must hold real numbers, got dtype <U1"),
        ({"a": 1.0, "b": 2.0}, TypeError, "got a dict, in which entries have no position"),
        (None, TypeError, "got None"),
        ("ab", TypeError, "got 'ab'"),
        (1.0, ValueError, r"must have shape \(2,\)"),
        (sparse.csr_array(np.ones((2, 1))), TypeError, r"must be dense, got .*sample.toarray\(\)"),
        ([np.zeros(2), np.zeros(3)], ValueError, "rows of different lengths"),
    ],
    ids=label,
)
def test_bad_sample_is_refused(streaming, sample, error, message):
    stream, _, read = streaming
    expected = read(stream.reset().push(CUBE[0]))
    with pytest.raises(error, match=message):
        stream.push(sample)
    assert_array_equal(read(stream), expected)


# --- series --------------------------------------------------------------------------------------

TABLES = {
    "array": lambda rows: rows,
    "nested list": lambda rows: rows.tolist(),
    "deque of rows": lambda rows: deque(rows),
    "tensor": lambda rows: tensor(rows, torch.bfloat16, requires_grad=True),
    "frame of polars": lambda rows: pl.DataFrame(dict(zip(NAMES, rows.T, strict=True))),
    "table of pyarrow": lambda rows: pa.table(dict(zip(NAMES, rows.T, strict=True))),
}


@pytest.mark.parametrize("table", TABLES)
def test_series_is_that_of_the_array(table):
    expected = S4Forecaster(**SERIES).fit(ROWS)
    forecaster = S4Forecaster(**SERIES).fit(TABLES[table](ROWS))
    assert_allclose(forecaster.forecast(), expected.forecast(), rtol=1e-5)
    history = TABLES[table](ROWS[:20])
    assert_allclose(
        forecaster.forecast(history=history), expected.forecast(history=ROWS[:20]), rtol=1e-5
    )
    score = forecaster.score(TABLES[table](ROWS[:3]))
    assert score == pytest.approx(expected.score(ROWS[:3]), rel=1e-5)


HAVE_INDEX = {name for name in COLUMNS if "Series" in name}  # which is time


@pytest.mark.parametrize("container", sorted(set(COLUMNS) - HAVE_INDEX))
def test_target_of_a_series_is_that_of_the_array(container):
    target, covariate = ROWS[:, 0], ROWS[:, 1:]
    expected = S4Forecaster(**SERIES).fit(covariate, target, sample_weight=np.ones(40))
    y, weights = COLUMNS[container](target), COLUMNS[container](np.ones(40))
    forecaster = S4Forecaster(**SERIES).fit(
        pl.DataFrame({"x": covariate[:, 0]}), y, sample_weight=weights
    )
    ahead = pl.DataFrame({"x": [1.0, 2.0, 3.0]})
    assert_allclose(forecaster.predict(ahead), expected.predict(ahead.to_numpy()), rtol=1e-5)


@pytest.mark.parametrize("method", ["update", "score", "backtest"])
def test_reordered_columns_of_a_series_are_refused(method):
    table = TABLES["frame of polars"](ROWS)
    forecaster = S4Forecaster(**SERIES).fit(table)
    with pytest.raises(ValueError, match=r"order|columns of fit"):
        getattr(forecaster, method)(table.select("b", "a"))


def test_lazy_rows_are_told_to_be_collected():
    table = TABLES["frame of polars"](ROWS)
    for call in (
        lambda: S4Forecaster(**SERIES).fit(table.lazy()),
        lambda: S4Forecaster(**SERIES).fit(ROWS[:, :1], table.lazy()),
        lambda: S4Forecaster(**SERIES).fit(table.lazy(), ROWS[:, 0]),
    ):
        with pytest.raises(
            TypeError, match=r"must not be lazy, got a LazyFrame\. Collect it first"
        ):
            call()


@pytest.mark.parametrize("n_rows", [3, np.int64(3), None, 3.0])
def test_number_of_rows_is_told_forecast(n_rows):
    forecaster = S4Forecaster(**SERIES).fit(ROWS)
    with pytest.raises(TypeError, match=r"call forecast\(3?\)"):
        forecaster.predict(n_rows)


@pytest.mark.parametrize(
    "X",
    [
        *("3", "2024-02-10", b"ab", pd.Timestamp("2024-02-10"), dt.date(2024, 2, 10), pd.NaT),
        *(pd.Period("2024-02-10", "D"), 2.5, np.nan, np.inf, 1j, {1: 2}, {1}, iter([1])),
    ],
    ids=label,
)
@pytest.mark.parametrize("method", ["predict", "predict_interval", "predict_quantiles"])
def test_single_value_is_no_row_to_forecast(X, method):
    index = pd.date_range("2024-01-01", periods=40)
    forecaster = S4Forecaster(**SERIES).fit(pd.DataFrame(ROWS, index, columns=NAMES))
    with pytest.raises(TypeError, match=r"call forecast\(n\)|in which entries have no position"):
        getattr(forecaster, method)(X)
    assert len(forecaster.predict(["2024-02-10"])) == 1  # as the error advises


def test_labels_of_an_arrow_type_are_dates():
    dates = pd.date_range("2024-01-01", periods=40)
    index = pd.Index(dates, dtype="timestamp[us][pyarrow]")
    forecast = S4Forecaster(**SERIES).fit(pd.DataFrame(ROWS, index, columns=NAMES)).forecast()
    assert forecast.index[0] == pd.Timestamp("2024-02-10")


# --- advice --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "X", "message"),
    [
        ("nct", CUBE[0], r"one sequence, pass X\[np.newaxis\]"),
        ("nct", CUBE[0].tolist(), r"one sequence, pass np.asarray\(X\)\[np.newaxis\]"),
        ("nct", tensor(CUBE[0]), r"one sequence, pass X\[np.newaxis\]"),
        ("ntc", CUBE[0].T, r"one sequence, pass X\[np.newaxis\]"),
        ("nct", CUBE[:, 0], r"sequence of one channel, pass X\[:, np.newaxis\]"),
        ("ntc", CUBE[:, 0], r"sequence of one channel, pass X\[:, :, np.newaxis\]"),
        ("nct", CUBE[0, 0], r"one channel is X\[np.newaxis\]"),
    ],
)
@pytest.mark.parametrize("kind", MAKE)
def test_sample_without_its_axis_is_told_how_to_get_it(kind, layout, X, message):
    cube = CUBE if layout == "nct" else CUBE.transpose(0, 2, 1)
    estimator = MAKE[kind]().set_params(layout=layout).fit(cube, Y)
    with pytest.raises(ValueError, match=message):
        outputs(estimator, X)


@pytest.mark.parametrize("frame", [frames(CUBE)[0], polars_frames(CUBE)[0]])
@pytest.mark.parametrize("kind", MAKE)
def test_single_frame_is_told_the_list(kind, frame):
    estimator = MAKE[kind]().fit(frames(CUBE), Y)
    with pytest.raises(ValueError, match=r"rows of X are time, it is one sequence: pass \[X\]"):
        outputs(estimator, frame)


@pytest.mark.parametrize("convert", [np.asarray, list, pd.Series, tensor])
def test_single_vector_can_be_passed_as_the_error_says(convert):
    X = convert(CUBE[0, 0])
    estimator = MAKE["regressor"]().fit(CUBE[:, :1], Y)
    with pytest.raises(ValueError, match=r"fitted with an axis of channels, \[.*X.*\]"):
        estimator.predict(X)
    as_said = [np.asarray(X)] if convert is list else [X]
    assert_allclose(estimator.predict(as_said), estimator.predict(CUBE[:1, :1]), rtol=1e-5)


@pytest.mark.parametrize("convert", [np.asarray, pd.DataFrame, tensor])
@pytest.mark.parametrize("kind", MAKE)
def test_longer_rows_are_told_how_to_fit_for_any_length(kind, convert):
    estimator = MAKE[kind]().fit(convert(CUBE[:, 0]), Y)
    with pytest.raises(ValueError, match=r"of any length, fit with .*\[:, np.newaxis\]"):
        outputs(estimator, convert(np.zeros((2, 9))))
    with pytest.raises(ValueError, match="sequences of any length"):
        outputs(estimator, CUBE)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (frames(CUBE)[0], [1], r"one sequence, pass \[X\]"),
        (CUBE[0], [1], r"one sequence, pass X\[np.newaxis\]"),
        (labeled_rows(CUBE), np.arange(42) % 2, r"from_long\(X.reset_index\(\), id=.*target=.*\)"),
        (CUBE, [1, 0], r"inconsistent numbers of samples: \[6, 2\]"),
    ],
)
def test_other_number_of_targets_is_told_what_to_do(X, y, message):
    with pytest.raises(ValueError, match=message):
        MAKE["classifier"]().fit(X, y)


def test_frames_are_prompts_with_rows_as_time():
    generator = MAKE["generator"]().fit(polars_frames(CUBE))
    options = {"length": 9, "random_state": 0}
    expected = generator.sample(prompt=CUBE[0], **options)
    assert_array_equal(generator.sample(prompt=polars_frames(CUBE)[0], **options), expected)
    assert_array_equal(generator.sample(prompt=frames(CUBE)[0], **options), expected)
    with pytest.raises(ValueError, match="prompt must have the columns of fit in their order"):
        generator.sample(prompt=polars_frames(CUBE)[0].select("b", "a"), **options)


# --- what numbers are, and what is none ----------------------------------------------------------

TABLE = np.arange(12.0).reshape(2, 6)
GAPS = np.where(TABLE == 4, np.nan, TABLE)


@pytest.mark.parametrize("missing", [None, pd.NA, pd.NaT, np.nan], ids=label)
@pytest.mark.parametrize(
    "convert", [np.asarray, np.ndarray.tolist, pd.DataFrame, lambda o: [list(row) for row in o]]
)
def test_missing_values_among_objects_are_nan_in_every_form(missing, convert):
    objects = np.where(TABLE == 4, missing, TABLE.astype(object))
    assert_array_equal(np.concatenate(list(as_panel(convert(objects)))), GAPS)
    assert_array_equal(as_panel([convert(objects)])[0], as_panel([convert(GAPS)])[0])


@pytest.mark.parametrize("X", [["up", "down"], [b"up"], deque(["up"]), [dt.date(2024, 1, 1)]])
def test_list_that_holds_no_numbers_is_not_told_an_axis(X):
    with pytest.raises((ValueError, TypeError), match="X must hold numbers"):
        as_panel(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[10**400, 1], [1, 2]], ValueError, "X must hold numbers only: int too large"),
        ([[[10**400, 1]]], ValueError, "X must hold numbers only: int too large"),
        (pd.DataFrame({"a": [{1: 2}, {2: 3}]}), TypeError, "X must hold numbers only: .*'dict'"),
        (pd.DataFrame({"a": [iter([1])] * 2}), TypeError, "X must hold numbers only: .*iterator"),
        (pd.DataFrame(TABLE).T.groupby(0), TypeError, r"\[group for _, group in X\]"),
        ({(1, 2), (3, 4)}, TypeError, r"items as list\(X\)"),
        ({1: TABLE}.values(), TypeError, r"items as list\(X\)"),
        (
            pd.DataFrame(TABLE, columns=pd.MultiIndex.from_product([[0], ["a", "b"], range(3)])),
            ValueError,
            "one level of names, or two, .* got 3 levels",
        ),
    ],
    ids=label,
)
def test_what_is_no_table_of_numbers_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        as_panel(X)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_sparse_frames_are_dense_ones(fill):
    frame = pd.DataFrame(TABLE)
    columns = frame.astype(pd.SparseDtype(float, fill))
    assert_array_equal(np.concatenate(list(as_panel(columns))), TABLE)
    assert_array_equal(as_panel([columns])[0], TABLE.T)


@pytest.mark.parametrize(
    "labels",
    [
        [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2025-01-01", tz="UTC")] * 3,
        [dt.date(2024, 1, 1), dt.date(2025, 1, 1)] * 3,
        pd.PeriodIndex(["2024", "2025"] * 3, freq="Y"),
        pd.IntervalIndex.from_breaks(range(7)),
        [2**63 + 1, 5] * 3,
        pl.Series([{"a": 1}, {"a": 2}] * 3),
        np.zeros(6, dtype=[("a", "i4")]),
    ],
    ids=lambda labels: type(labels[0]).__name__,
)
def test_labels_that_cannot_be_are_named_and_the_advice_works(labels):
    classifier = MAKE["classifier"]()
    with pytest.raises(TypeError, match=r"labels that are text.*\[str\(label\) for label in y\]"):
        classifier.fit(CUBE, labels)
    assert set(classifier.fit(CUBE, [str(v) for v in labels]).classes_) == set(map(str, labels))


def test_labels_must_not_be_missing_dates():
    with pytest.raises(ValueError, match="y contains NaT"):
        MAKE["classifier"]().fit(CUBE, pd.to_datetime(["2024", None] * 3))


def test_labels_in_a_text_type_of_numpy_come_back():
    labels = np.array(["up", "down"] * 3, dtype=np.dtypes.StringDType())
    assert MAKE["classifier"]().fit(CUBE, labels).classes_.tolist() == ["down", "up"]


@pytest.mark.parametrize(
    "y",
    [pd.IntervalIndex.from_breaks(range(7)), [object()] * 6, pl.Series([{"a": 1}] * 6)],
    ids=label,
)
def test_targets_and_weights_that_are_no_numbers_are_named(y):
    with pytest.raises(TypeError, match=r"y must hold numbers, got .* of type"):
        MAKE["regressor"]().fit(CUBE, y)
    with pytest.raises(TypeError, match=r"sample_weight must hold numbers, got .* of type"):
        MAKE["regressor"]().fit(CUBE, Y, sample_weight=y)


def test_integers_beyond_float64_are_refused(streaming):
    large, message = [10**400] * 6, "must be within the range of float64"
    with pytest.raises(ValueError, match=f"y {message}"):
        MAKE["regressor"]().fit(CUBE, large)
    with pytest.raises(ValueError, match=f"sample_weight {message}"):
        MAKE["regressor"]().fit(CUBE, Y, sample_weight=large)
    with pytest.raises(ValueError, match=f"A sample {message}"):
        streaming[0].push(large[:2])
    with pytest.raises(ValueError, match=f"X {message}"):
        S4Forecaster(**SERIES).fit(large * 5)
    with pytest.raises(ValueError, match="class_weight must hold finite weights"):
        S4Classifier(**TINY, class_weight={0: large[0], 1: 1}).fit(CUBE, Y)
