"""Encoding piece by piece against encoding the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sks4.data import SequenceEncoder, StreamEncoder, as_panel

N_STREAMS, N_CHANNELS, N_TIMEPOINTS = 3, 2, 24


def sequences(seed, share):
    """Return streams with missing values, and with time points that have none at all."""
    rng = np.random.default_rng(seed)
    X = rng.normal(5, 3, size=(N_STREAMS, N_CHANNELS, N_TIMEPOINTS))
    X[rng.random(X.shape) < share] = np.nan
    X[np.broadcast_to(rng.random((N_STREAMS, 1, N_TIMEPOINTS)) < share, X.shape)] = np.nan
    X[:, 0, 0] = 1.0  # something to predict from
    return X


def fitted(standardize="global", missing="mask", share=0.3):
    return SequenceEncoder(standardize, missing).fit(as_panel(sequences(9, share)))


@given(
    pieces=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    seed=st.integers(0, 20),
    standardize=st.sampled_from(["global", None]),
    missing=st.sampled_from(["mask", "ffill"]),
    share=st.sampled_from([0.0, 0.3]),
)
def test_pieces_are_encoded_like_the_whole(pieces, seed, standardize, missing, share):
    encoder, X = fitted(standardize, missing, share), sequences(seed, 0.4)
    stream, encoded, n = StreamEncoder(encoder, N_STREAMS, "float64"), [], 0
    for size in pieces:
        encoded.append(stream.encode(X[..., n : n + size]))
        n += size
        panel = as_panel(X[..., :n])
        assert_array_equal(stream.lengths, panel.lengths)
        assert stream.n_pushed == n
        whole = encoder.transform(X[..., :n], panel.lengths, "float64")
        real = np.arange(n) < panel.lengths[:, np.newaxis]
        assert_array_equal(np.concatenate(encoded, axis=1)[real], whole[real])


def test_stream_without_a_value_has_no_length():
    stream = StreamEncoder(fitted(), 2, "float32")
    stream.encode(np.full((2, N_CHANNELS, 3), np.nan))
    assert stream.lengths.tolist() == [0, 0]


def test_copy_of_a_stream_is_independent():
    stream = StreamEncoder(fitted(missing="ffill"), 1, "float64")
    first = np.array([[[1.0], [2.0]]])
    expected = stream.encode(first)
    other = stream.copy()
    stream.encode(100 * first)
    assert_array_equal(other.encode(np.full((1, 2, 1), np.nan)), expected)
    assert other.n_pushed == 2
    assert other.lengths.tolist() == [1]


def test_scaling_by_the_own_statistics_is_refused():
    with pytest.raises(ValueError, match="standardize='series' cannot be streamed, since it"):
        StreamEncoder(fitted("series"), 1, "float32")


def check_refused(stream, values, message):
    """Check that a push is refused and leaves the stream as it was."""
    before = stream.copy()
    with pytest.raises(ValueError, match=message):
        stream.encode(np.asarray(values, dtype=np.float64))
    assert (stream.n_pushed, stream.lengths.tolist()) == (before.n_pushed, before.lengths.tolist())
    gap = np.full((1, 2, 1), np.nan)
    assert_array_equal(stream.encode(gap), before.encode(gap))


def test_infinity_is_located():
    stream = StreamEncoder(fitted(), 1, "float32")
    stream.encode(np.ones((1, 2, 4)))
    message = "infinity, got it in stream 0, channel 1, time point 5"
    check_refused(stream, [[[1, 1], [1, -np.inf]]], message)


def test_value_beyond_the_range_is_refused():
    check_refused(StreamEncoder(fitted(), 1, "float32"), [[[1e60], [1]]], "range of float32")


@pytest.mark.parametrize(
    "values", [[[1, 1], [np.nan, 1]], [[1, np.nan, 1], [1, np.nan, 1]], [[1], [np.nan]]]
)
def test_missing_value_is_refused_if_fit_says_so(values):
    stream = StreamEncoder(fitted(missing="error", share=0.0), 1, "float32")
    check_refused(stream, [values], "must have no missing values with missing='error', got NaN in")


def test_value_after_a_gap_is_refused_if_fit_says_so():
    stream = StreamEncoder(fitted(missing="error", share=0.0), 1, "float32")
    stream.encode(np.ones((1, 2, 1)))
    stream.encode(np.full((1, 2, 1), np.nan))  # may be padding
    check_refused(stream, np.ones((1, 2, 1)), "must have no missing values with missing='error'")
