"""Running scaling against means and deviations of every prefix."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import SequenceDataset, SequenceEncoder, StreamEncoder, as_panel
from sks4.data._running import RunningMoments, RunningScaler

# rounding of sums of some hundred values near one
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def nothing(values):
    return RunningMoments.of_nothing(*values.shape[:2])


def fitted(*spreads, length=100):
    """Return a scaler of one channel for sequences with these standard deviations."""
    spread = np.array(spreads)[:, np.newaxis]
    return RunningScaler().fit(np.full(len(spread), length), np.zeros_like(spread), spread)


def scale(values, scaler=None, rate=1.0):
    """Return whole sequences (n_sequences, n_channels, n_timepoints), scaled."""
    return (scaler or fitted(0.5, 1.0, 2.0)).scale(values, nothing(values), rate).values


def scaled_by_prefixes(sequence, scaler, rate):
    """Return one channel, each value scaled by a plain formula on the values up to it."""
    prior, (variance,) = scaler.prior_length_, scaler.prior_variance_
    scaled = np.full(len(sequence), np.nan)
    for t in np.flatnonzero(~np.isnan(sequence)):
        seen = sequence[: t + 1][~np.isnan(sequence[: t + 1])]
        squares = prior * variance + rate * len(seen) * seen.var()
        scaled[t] = (sequence[t] - seen.mean()) / np.sqrt(squares / (prior + rate * len(seen)))
    return scaled


@given(
    seed=st.integers(0, 100),
    n_timepoints=st.integers(1, 30),
    share=st.sampled_from([0.0, 0.3, 0.9]),
    rate=st.sampled_from([1.0, 0.5, 3.0]),
)
def test_values_are_scaled_by_those_up_to_them(seed, n_timepoints, share, rate):
    rng = np.random.default_rng(seed)
    values = rng.normal(1, 3, size=(2, 2, n_timepoints))
    values[rng.random(values.shape) < share] = np.nan
    scaler = fitted(0.5, 1.0, 2.0)
    expected = [[scaled_by_prefixes(x, scaler, rate) for x in sequence] for sequence in values]
    assert_allclose(scale(values, scaler, rate), expected, **TOLERANCE)


@given(
    pieces=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    share=st.sampled_from([0.0, 0.3]),
    rate=st.sampled_from([1.0, 2.0]),
    standardize=st.sampled_from(["running", "running_split"]),
)
def test_stream_in_pieces_is_encoded_like_the_whole(pieces, share, rate, standardize):
    rng = np.random.default_rng(sum(pieces))
    X = rng.normal(1e8, 3, size=(3, 2, sum(pieces)))
    X[rng.random(X.shape) < share] = np.nan
    X[:, :, 0] = 1e8
    encoder = SequenceEncoder(standardize).fit(as_panel(X))
    whole = encoder.transform(X, as_panel(X).lengths, "float64", rate=rate)
    stream = StreamEncoder(encoder, 3, "float64", rate)
    parts = [stream.encode(x) for x in np.split(X, np.cumsum(pieces)[:-1], axis=-1)]
    real = np.arange(X.shape[2]) < stream.lengths[:, np.newaxis]
    assert_allclose(np.concatenate(parts, axis=1)[real], whole[real], **TOLERANCE)


def test_level_and_logarithm_of_the_spread_are_inputs_in_units_of_the_training_data():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 5, size=(30, 2, 1)) + np.exp(rng.normal(size=(30, 2, 1))) * rng.normal(
        size=(30, 2, 2000)
    )
    encoder = SequenceEncoder("running_split").fit(as_panel(X))
    assert encoder.n_inputs_ == 3 * 2
    encoded = encoder.transform(X, np.full(30, 2000), "float64")
    _, level, log_spread = np.split(encoded[:, -1], 3, axis=-1)  # (n_samples, n_channels)
    own_level, own_spread = X.mean(2), np.log(X.std(2))
    low = np.quantile(own_spread, 0.1, axis=0)
    kept = np.maximum(own_spread, low)  # smaller ones do not widen the unit
    usual = own_spread > low
    spread_in_units, level_in_units = (
        (a - b.mean(0)) / b.std(0) for a, b in ((own_spread, kept), (own_level, own_level))
    )
    assert_allclose(level, level_in_units, atol=1e-9)
    assert_allclose(log_spread[usual], spread_in_units[usual], atol=0.05)


def test_later_values_change_nothing_before_them():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 2, 40))
    changed = values.copy()
    changed[..., 25:] = 1e6
    assert_array_equal(scale(changed)[..., :25], scale(values)[..., :25])


@pytest.mark.parametrize("spread", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("level", [0.0, 1e3])
def test_sequence_ends_in_its_own_unit(level, spread):
    values = np.random.default_rng(0).normal(level, spread, size=(1, 1, 2000))
    scaled = scale(values, fitted(1e-4, 1.0, 1e4))
    own = (values - values.mean()) / values.std()
    assert_allclose(scaled[0, 0, -100:], own[0, 0, -100:], atol=0.1)


def test_first_values_are_not_large():
    rng = np.random.default_rng(0)
    scaled = scale(rng.normal(1e3, 1e3, size=(50, 1, 100)))
    assert_array_equal(scaled[..., 0], 0)
    assert np.abs(scaled).max() < 5  # as of normal values


@pytest.mark.parametrize("level", [1e8, -1e12])
def test_distant_level_costs_no_precision(level):
    signal = np.round(np.random.default_rng(0).normal(size=(1, 1, 2000)) * 64) / 64  # exact there
    shifted, plain = (nothing(x).after(x) for x in (signal + level, signal))
    assert_allclose(shifted.squares, plain.squares, **TOLERANCE)
    assert_allclose(shifted.total, plain.total, **TOLERANCE)


@pytest.mark.parametrize("value", [0.0, -3.0, 0.1, 1e8 / 3])
@pytest.mark.parametrize("spreads", [(0.5, 1.0), (0.0, 0.0)])
def test_constant_sequence_becomes_zero(value, spreads):
    values = np.full((1, 1, 1000), value)
    result = fitted(*spreads).scale(values, nothing(values))
    assert_array_equal(result.values, 0)
    assert np.isfinite(result.log_spread).all()


def test_millions_of_single_values_add_no_rounding():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 1, size=(1, 1, 2**20))
    whole = nothing(values).after(values).last()
    x = values[0, 0]
    assert_allclose(whole.squares, ((x - x.mean()) ** 2).sum(), rtol=1e-11)
    assert_allclose(whole.total, (x - x[0]).sum(), rtol=1e-11, atol=1e-6)
    piecewise = nothing(values)
    for piece in np.split(values[..., :1000], 1000, axis=-1):
        piecewise = piecewise.after(piece).last()
    direct = nothing(values).after(values[..., :1000]).last()
    for name, array in vars(piecewise).items():
        assert_allclose(array, getattr(direct, name), rtol=1e-13, err_msg=name)


def test_other_rate_is_scaled_alike():
    time = np.arange(4000) / 400
    waves = np.sin(2 * np.pi * 0.7 * time)[None, None] * 5 + 20
    encoder = SequenceEncoder("running").fit(as_panel(waves))
    full = encoder.transform(waves, np.array([4000]), "float64")
    half = encoder.transform(waves[..., ::2], np.array([2000]), "float64", rate=2.0)
    assert_allclose(half, full[:, ::2], atol=0.01)
    untold = encoder.transform(waves[..., ::2], np.array([2000]), "float64")
    assert np.abs(untold - full[:, ::2]).max() > 0.1


def test_dataset_passes_its_rate():
    waves = np.random.default_rng(0).normal(5, 2, size=(2, 1, 50))
    encoder = SequenceEncoder("running").fit(as_panel(waves + 3))
    dataset = SequenceDataset(as_panel(waves), encoder, rate=3.0, dtype="float64")
    u = dataset[1][0]["u"].numpy()
    lengths = np.array([50])
    assert_array_equal(u, encoder.transform(waves[1:], lengths, "float64", rate=3.0))
    assert np.abs(u - encoder.transform(waves[1:], lengths, "float64")).max() > 0.01


def test_padding_and_batches_change_nothing():
    rng = np.random.default_rng(0)
    X = [rng.normal(5, 2, size=(2, n)) for n in (30, 7, 1)]
    panel = as_panel(X)
    encoder = SequenceEncoder("running").fit(panel)
    together = encoder.transform(panel.gather(np.arange(3)), panel.lengths)
    for x, encoded in zip(X, together, strict=True):
        n = x.shape[1]
        assert_array_equal(encoded[:n], encoder.transform(x[np.newaxis], np.array([n]))[0])
        assert_array_equal(encoded[n:], 0)


def test_missing_values_do_not_count():
    rng = np.random.default_rng(0)
    dense = rng.normal(4, 2, size=(1, 1, 20))
    sparse = np.full((1, 1, 60), np.nan)
    sparse[..., ::3] = dense
    assert_array_equal(scale(sparse)[..., ::3], scale(dense))
    encoder = SequenceEncoder("running", "ffill").fit(as_panel(sparse))
    encoded = encoder.transform(sparse, np.array([58]), "float64")[0, :58]
    assert_array_equal(encoded[1::3], encoded[:-1:3])


def test_leading_missing_value_tells_nothing_of_later_ones():
    values = np.array([[[np.nan, np.nan, 3.0, 4.0]]])
    encoder = SequenceEncoder("running", "ffill").fit(as_panel(values))
    other = encoder.transform(values * 7, np.array([4]))
    assert_array_equal(encoder.transform(values, np.array([4]))[:, :2], other[:, :2])


def test_prior_follows_the_lengths_of_training():
    rng = np.random.default_rng(0)
    short, long = ([rng.normal(size=(1, n)) for n in lengths] for lengths in ((8, 12), (80, 120)))
    scalers = [SequenceEncoder("running").fit(as_panel(X)).running_scaler_ for X in (short, long)]
    assert scalers[1].prior_length_ == pytest.approx(10 * scalers[0].prior_length_)


def test_pickled_encoder_and_stream_continue():
    X = np.random.default_rng(0).normal(4, 2, size=(2, 1, 30))
    encoder = SequenceEncoder("running").fit(as_panel(X))
    stream = StreamEncoder(encoder, 2, "float64")
    stream.encode(X[..., :10])
    again, copied = pickle.loads(pickle.dumps(stream)), stream.copy()
    stream.encode(X + 100)
    for other in (again, copied):
        whole = encoder.transform(X, np.array([30, 30]), "float64")
        assert_allclose(other.encode(X[..., 10:]), whole[:, 10:], **TOLERANCE)


# -- what a caller may get wrong


def test_values_whose_squares_overflow_are_refused():
    encoder = SequenceEncoder("running").fit(as_panel(np.array([[[0.0, 1.0, 2.0]]])))
    with pytest.raises(ValueError, match="X must be within 1e150 in magnitude"):
        encoder.transform(np.array([[[1.0, 1e200]]]), np.array([2]), "float64")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.inf, "must not hold infinity, got it in stream 0"),
        (1e200, "must be within 1e150 in magn"),
    ],
)
def test_refused_value_leaves_the_stream_as_it_was(value, message):
    encoder = SequenceEncoder("running").fit(as_panel(np.array([[[0.0, 1.0, 2.0]]])))
    stream = StreamEncoder(encoder, 1, "float64")
    stream.encode(np.ones((1, 1, 3)))
    before = stream.copy()
    with pytest.raises(ValueError, match=message):
        stream.encode(np.array([[[1.0, value]]]))
    later = np.full((1, 1, 2), 5.0)
    assert_array_equal(stream.encode(later), before.encode(later))
