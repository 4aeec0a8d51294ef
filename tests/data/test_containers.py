"""Every form of X becomes the same panel, without a copy, or is refused with a clear message."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from sks4.data import SymbolEncoder, as_panel
from sks4.exceptions import DataShapeWarning

quick = settings(deadline=None, max_examples=40)

shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 7))
dtypes = st.sampled_from(["f4", "f8", "f2", "i1", "i4", "u2", "i8"])


@st.composite
def numeric_arrays(draw):
    """Draw an array of shape (n_samples, n_channels, n_timepoints) of any numeric type."""
    return draw(hnp.arrays(draw(dtypes), draw(shapes), elements=st.integers(0, 100)))


def two_level_frame(values):
    n_samples, n_channels, n_timepoints = values.shape
    columns = pd.MultiIndex.from_product(
        [[f"c{k}" for k in range(n_channels)], range(n_timepoints)]
    )
    return pd.DataFrame(values.reshape(n_samples, -1), columns=columns)


def nested_frame(values, wrap):
    columns = {f"c{k}": [wrap(row[k]) for row in values] for k in range(values.shape[1])}
    return pd.DataFrame(columns)


FORMS = {
    "array": lambda v: v,
    "nested list": lambda v: v.tolist(),
    "tensor": lambda v: torch.from_numpy(v.astype("f8")),
    "list": list,
    "tuple": tuple,
    "object array": lambda v: pd.Series(list(v)).to_numpy(),
    "series of arrays": lambda v: pd.Series(list(v)),
    "list of tensors": lambda v: [torch.from_numpy(x.astype("f8")) for x in v],
    "list of object arrays": lambda v: [x.astype(object) for x in v],
    "list of frames": lambda v: [
        pd.DataFrame(x.T, columns=[f"c{k}" for k in range(len(x))]) for x in v
    ],
    "frame of arrays": lambda v: nested_frame(v, np.asarray),
    "frame of series": lambda v: nested_frame(v, pd.Series),
    "frame of lists": lambda v: nested_frame(v, list),
    "two-level frame": two_level_frame,
}


@pytest.mark.parametrize("form", FORMS)
@quick
@given(values=numeric_arrays())
def test_panel_holds_the_same_sequences_in_every_form(form, values):
    panel = as_panel(FORMS[form](values))
    assert (len(panel), panel.n_channels) == values.shape[:2]
    assert panel.form == (
        "3d" if form in {"array", "nested list", "tensor", "two-level frame"} else "ragged"
    )
    assert panel.lengths.dtype == np.int64
    np.testing.assert_array_equal(panel.lengths, values.shape[2])
    np.testing.assert_array_equal(np.stack(list(panel)), values)
    assert not panel.has_missing
    if "frame" in form:
        assert panel.feature_names.tolist() == [f"c{k}" for k in range(values.shape[1])]


@quick
@given(values=numeric_arrays())
def test_panel_reads_time_before_channels_when_layout_is_ntc(values):
    swapped = values.transpose(0, 2, 1)
    for X in (swapped, list(swapped)):
        np.testing.assert_array_equal(np.stack(list(as_panel(X, layout="ntc"))), values)


@quick
@given(values=numeric_arrays())
def test_panel_of_2d_data_has_one_channel_and_fixed_width(values):
    table = values[:, 0]
    frame = pd.DataFrame(table, columns=[f"t{k}" for k in range(table.shape[1])])
    for X in (table, table.tolist(), frame, frame.astype("Float64"), frame.astype(object)):
        panel = as_panel(X)
        assert (panel.form, panel.n_channels) == ("2d", 1)
        assert panel.n_timepoints == panel.n_features == table.shape[1]
        np.testing.assert_array_equal(np.stack(list(panel))[:, 0], table)
    assert as_panel(frame).feature_names.tolist() == list(frame.columns)
    assert as_panel(frame.set_axis(range(table.shape[1]), axis=1)).feature_names is None


def test_panel_takes_one_dimensional_sequences_as_one_channel():
    panel = as_panel([np.arange(3.0), np.arange(5)])
    assert panel.n_features == panel.n_channels == 1
    assert panel.n_timepoints is None
    assert panel.lengths.tolist() == [3, 5]


def test_panel_is_ragged_when_all_listed_sequences_are_equally_long():
    assert as_panel([np.zeros((2, 4)), np.zeros((2, 4))]).form == "ragged"


@pytest.mark.parametrize("layout", ["nct", "ntc"])
def test_panel_shares_the_memory_of_arrays(layout):
    dense = np.zeros((3, 5, 5), dtype=np.float32)
    listed = [np.zeros((5, 5)), np.zeros((5, 5))]
    assert all(np.shares_memory(sequence, dense) for sequence in as_panel(dense, layout=layout))
    for sequence, own in zip(as_panel(listed, layout=layout), listed, strict=True):
        assert np.shares_memory(sequence, own)
    subset = as_panel(dense, layout=layout).take(np.array([2, 0]))
    assert np.shares_memory(subset[0], dense[2])


def test_panel_reorders_two_level_columns_by_channel():
    frame = pd.DataFrame(
        [[1, 2, 3, 4]], columns=pd.MultiIndex.from_tuples([("b", 0), ("a", 0), ("b", 1), ("a", 1)])
    )
    panel = as_panel(frame)
    assert panel.feature_names.tolist() == ["b", "a"]
    np.testing.assert_array_equal(panel[0], [[1, 3], [2, 4]])


@st.composite
def arrays_with_nan(draw):
    values = draw(hnp.arrays("f8", draw(shapes), elements=st.just(1.0)))
    absent = draw(hnp.arrays(bool, values.shape))
    absent[:, 0, 0] = False  # every sequence has a value
    values[absent] = np.nan
    return values


@quick
@given(values=arrays_with_nan())
def test_panel_tells_padding_from_missing_values(values):
    for X in (values, list(values)):
        panel = as_panel(X)
        for i, sequence in enumerate(values):
            real = [t for t in range(sequence.shape[1]) if not np.isnan(sequence[:, t]).all()]
            assert panel.lengths[i] == real[-1] + 1
            assert panel.missing[i] == np.isnan(sequence[:, : real[-1] + 1]).any()
        assert panel.has_missing == panel.missing.any()


def test_panel_of_a_subset_knows_only_its_own_missing_values():
    X = np.ones((2, 1, 3))
    X[0, 0, 1] = np.nan
    panel = as_panel(X)
    assert panel.has_missing
    assert not panel.take(np.array([1])).has_missing


def test_panel_accepts_finite_values_whose_sum_overflows():
    panel = as_panel(np.full((2, 1, 4), 3e38, dtype=np.float32))
    assert panel.lengths.tolist() == [4, 4]


def test_blocks_are_bounded_and_hold_every_real_step(monkeypatch):
    monkeypatch.setattr("sks4.data._panel._BLOCK_SIZE", 8)
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, length)) for length in (1, 13, 3, 4)]
    blocks = list(as_panel(X).blocks())
    assert all(block.size <= 8 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks, 1), np.concatenate(X, 1))


@pytest.mark.parametrize("as_list", [False, True])
def test_infinity_is_located(monkeypatch, as_list):
    monkeypatch.setattr("sks4.data._panel._BLOCK_SIZE", 20)  # sample 2 is in a later block
    X = np.zeros((4, 2, 5))
    X[2, 1, 3] = -np.inf
    with pytest.raises(ValueError, match=r"contains infinity: X\[2\], channel 1, time point 3"):
        as_panel(list(X) if as_list else X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros(4), ValueError, "Reshape your data"),
        (np.zeros((0, 4)), ValueError, r"0 sample\(s\)"),
        (np.zeros((3, 0)), ValueError, r"0 feature\(s\)"),
        (np.zeros((0, 2, 4)), ValueError, r"0 sample\(s\)"),
        (np.zeros((3, 2, 0)), ValueError, r"2 channel\(s\) and 0 time point\(s\) for X"),
        (np.zeros((3, 0, 2)), ValueError, r"0 channel\(s\) and 2 time point\(s\) for X"),
        (np.zeros((2, 2, 2, 2)), ValueError, r"got \(2, 2, 2, 2\)"),
        (np.zeros((2, 2), complex), ValueError, "Complex data not supported"),
        ([np.zeros((2, 2), complex)], ValueError, "Complex data not supported"),
        (np.array([["a", "b"]]), ValueError, "not compatible with arrays of bytes/strings"),
        (np.array([["a", 1.0]], object), ValueError, "could not convert string to float"),
        (np.array([[{}, 1.0]], object), TypeError, "argument must be .* string.* number"),
        ([np.array(["a", "b"])], ValueError, r"X\[0\] must hold numbers only, got dtype <U1"),
        ([np.zeros(2), np.array([{}])], TypeError, r"X\[1\] must hold numbers only: float"),
        (sparse.csr_array((2, 2)), TypeError, "[Ss]parse"),
        ([[1, 2], [1]], ValueError, "as a list of arrays"),
        ([np.zeros(2), np.zeros(0)], ValueError, r"0 time point\(s\) for X\[1\]"),
        ([np.zeros((0, 2))], ValueError, r"0 channel\(s\) and 2 time point\(s\) for X\[0\]"),
        ([np.zeros((1, 1, 1))], ValueError, r"got \(1, 1, 1\) for X\[0\]"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], ValueError, r"2 in X\[0\] and 3 in X\[1\]"),
        (np.full((2, 1, 3), np.nan), ValueError, r"got X\[0\] in which all values are NaN"),
        ([np.zeros(1), np.full(2, np.nan)], ValueError, r"got X\[1\] in which all values are NaN"),
    ],
)
def test_as_panel_refuses_what_is_no_set_of_sequences(X, error, message):
    with pytest.raises(error, match=message):
        as_panel(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"id": ["a"], "x": [1.0]}), ValueError, r"\['id'\].*from_long"),
        (pd.DataFrame({"id": ["a", 1], "x": [1.0, 2]}), ValueError, r"\['id'\].*from_long"),
        (pd.DataFrame({"t": pd.to_datetime(["2020"]), "x": [1]}), ValueError, "from_long"),
        (pd.DataFrame({"t": pd.Categorical(["u"]), "x": [1]}), ValueError, "from_long"),
        (
            pd.DataFrame({"t": pd.Series([pd.Timestamp("2020")], dtype=object)}),
            ValueError,
            "from_long",
        ),
        (pd.DataFrame(), ValueError, r"0 sample\(s\)"),
        ([pd.DataFrame({"a": [1]}), np.zeros((1, 1))], TypeError, r"ndarray in X\[1\]"),
        ([pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})], ValueError, r"\['b'\] in X\[1\]"),
        ([pd.DataFrame({"a": ["u"]})], ValueError, r"X\[0\] must hold numbers only"),
        ([pd.DataFrame({"a": []})], ValueError, r"0 time point\(s\) for X\[0\]"),
        (
            pd.DataFrame({"a": [[1, 2], [1]], "b": [[1, 2], [1, 2]]}),
            ValueError,
            r"shapes \[\(1,\), \(2,\)\] in X.iloc\[1\]",
        ),
        (pd.DataFrame({"a": [[1, 2]], "b": [1]}), ValueError, r"shapes \[\(\), \(2,\)\]"),
        (two_level_frame(np.zeros((1, 2, 2))).iloc[:, :3], ValueError, "2 channels and 2 time"),
    ],
)
def test_as_panel_refuses_frames_that_hold_no_sequences(X, error, message):
    with pytest.raises(error, match=message):
        as_panel(X)


def test_as_panel_suggests_the_nearest_layout():
    with pytest.raises(ValueError, match="Did you mean 'ntc'"):
        as_panel(np.zeros((1, 1, 1)), layout="ntcc")


@pytest.mark.parametrize("wrap", [np.asarray, list])
def test_as_panel_warns_when_time_and_channels_look_swapped(wrap):
    X = np.zeros((2, 50, 3))
    with pytest.warns(DataShapeWarning, match="50 channels and at most 3 time points"):
        as_panel(wrap(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_panel(wrap(X), layout="ntc")
        as_panel(wrap(np.zeros((2, 6, 3))))


@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize("wrap", [lambda x: x, list, lambda x: nested_frame(x, np.ma.asarray)])
def test_masked_values_are_missing(dtype, wrap):
    values = np.arange(24).reshape(2, 2, 6).astype(dtype)
    masked = np.ma.array(values, mask=False)
    masked[0, 1, 2] = masked[1, :, 5] = np.ma.masked
    panel = as_panel(wrap(masked))
    assert panel.lengths.tolist() == [6, 5]
    assert panel.missing.tolist() == [True, False]
    assert np.isnan(panel[0][1, 2])


def test_two_level_times_that_do_not_increase_are_refused():
    frame = two_level_frame(np.arange(12.0).reshape(2, 2, 3))
    shuffled = frame.loc[:, [(c, t) for c in ("c0", "c1") for t in (2, 0, 1)]]
    with pytest.raises(
        ValueError, match=r"increase from left to right, got \[2, 0, 1\].*sort_index"
    ):
        as_panel(shuffled)
    panel = as_panel(shuffled.sort_index(axis=1))
    assert np.array_equal(panel.sequences, as_panel(frame).sequences)


def test_two_level_times_that_are_text_keep_their_order():
    columns = pd.MultiIndex.from_product([["u", "v"], [f"t{k}" for k in range(11)]])
    values = np.arange(44.0).reshape(2, 2, 11)
    frame = pd.DataFrame(values.reshape(2, 22), columns=columns)
    assert np.array_equal(as_panel(frame).sequences, values)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (None, "got None"),
        (3.0, "got 3.0"),
        (np.array(3.0), r"got array\(3.\)"),
        (np.float64(3), r"got np.float64\(3.0\)"),
        ("abc", r"got an object of type str. Pass several texts as a list; a single one is \[X\]"),
        ({"u": [1.0]}, r"type dict. Pass its sequences as list\(X.values\(\)\)"),
        ({1.0, 2.0}, r"type set. Pass its items as list\(X\)"),
        ((row for row in [[1.0]]), r"type generator. Pass its items as list\(X\)"),
    ],
)
def test_other_forms_are_named_with_those_that_are_taken(X, message):
    for read in (as_panel, SymbolEncoder().fit):
        with pytest.raises(TypeError, match=r"X must be an array \(n_samples.* " + message):
            read(X)


@pytest.mark.parametrize("X", [[], ()])
def test_empty_list_is_named(X):
    for read in (as_panel, SymbolEncoder().fit):
        with pytest.raises(ValueError, match="at least one sequence, got an empty"):
            read(X)


def test_long_table_of_numbers_is_pointed_to_from_long():
    table = pd.DataFrame({"id": np.repeat([3, 7], 4), "t": [*range(4)] * 2, "x": np.arange(8.0)})
    with pytest.warns(DataShapeWarning, match="'id' repeats while 't' increases.*from_long"):
        as_panel(table)


@pytest.mark.parametrize("seed", range(3))
def test_frame_with_a_row_for_each_sequence_looks_not_like_a_long_table(seed):
    values = np.random.default_rng(seed).integers(0, 3, size=(40, 6)).astype(float)
    frame = pd.DataFrame(values, columns=list("abcdef"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(as_panel(frame)) == 40
        assert len(as_panel(frame.sort_values("a"))) == 40


@pytest.mark.parametrize("dtype", ["datetime64[D]", "timedelta64[s]"])
def test_arrays_of_times_are_refused(dtype):
    with pytest.raises(ValueError, match="X must hold numbers only, got dtype"):
        as_panel(np.zeros((2, 3), dtype))
