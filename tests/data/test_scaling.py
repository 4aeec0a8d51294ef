"""Scaling and missing values against plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sks4.data import SequenceEncoder, Standardizer, as_panel, fill_forward

quick = settings(deadline=None, max_examples=40)

# Rounding of means and deviations of some ten values near one.
TOLERANCE = 1e-12


@st.composite
def ragged_sequences(draw):
    """Draw sequences of different lengths, some with missing values."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n_channels = draw(st.integers(1, 3))
    X = [rng.normal(3, 2, (n_channels, n)) for n in draw(st.lists(st.integers(1, 9), min_size=1))]
    for sequence in X:
        sequence[:, :-1][rng.uniform(size=(n_channels, sequence.shape[1] - 1)) < 0.2] = np.nan
    return X


def padded(X):
    longest = max(x.shape[1] for x in X)
    return np.stack(
        [np.pad(x, ((0, 0), (0, longest - x.shape[1])), constant_values=np.nan) for x in X]
    )


@quick
@given(X=ragged_sequences(), block_size=st.sampled_from([3, 10, 1000]))
def test_global_statistics_equal_those_of_all_observed_steps(X, block_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sks4.data._panel._BLOCK_SIZE", block_size)
        fitted = [Standardizer("global").fit(as_panel(form)) for form in (X, padded(X))]
    steps = np.concatenate(X, axis=1)
    deviation = np.nanstd(steps, axis=1)
    varies = deviation > 0
    unit = np.exp(np.log(deviation[varies]).mean()) if varies.any() else 1
    for standardizer in fitted:
        np.testing.assert_allclose(
            standardizer.mean_, np.nanmean(steps, axis=1), rtol=TOLERANCE, atol=TOLERANCE
        )
        np.testing.assert_allclose(
            standardizer.scale_, np.where(varies, deviation, unit), rtol=TOLERANCE
        )


@quick
@given(X=ragged_sequences())
def test_series_scaling_uses_each_sequence_alone(X):
    scaled = Standardizer("series").fit(as_panel(X)).transform(padded(X))
    for sequence, own in zip(X, scaled, strict=True):
        mean = np.nanmean(sequence, axis=1, keepdims=True)
        deviation = np.nanstd(sequence, axis=1, keepdims=True)
        expected = (sequence - mean) / np.where(deviation > TOLERANCE, deviation, 1)
        np.testing.assert_allclose(own[:, : sequence.shape[1]], expected, atol=TOLERANCE)


@quick
@given(X=ragged_sequences(), mode=st.sampled_from(["global", None]))
def test_inverse_transform_undoes_transform(X, mode):
    standardizer = Standardizer(mode).fit(as_panel(X))
    for sequence in X:
        back = standardizer.inverse_transform(standardizer.transform(sequence))
        np.testing.assert_allclose(back, sequence, rtol=TOLERANCE, atol=TOLERANCE)


def test_inverse_transform_refuses_series_scaling():
    standardizer = Standardizer("series").fit(as_panel(np.zeros((1, 1, 3))))
    with pytest.raises(ValueError, match="cannot be undone"):
        standardizer.inverse_transform(np.zeros((1, 3)))


@pytest.mark.parametrize("mode", ["global", "series"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 / 3, -1e-300])
def test_constant_channel_becomes_zero(mode, value):
    X = np.full((3, 1, 7), value)
    standardizer = Standardizer(mode).fit(as_panel(X))
    np.testing.assert_array_equal(standardizer.transform(X), 0)
    if mode == "global":
        assert standardizer.scale_ == 1


@pytest.mark.parametrize("mode", ["global", "series"])
def test_large_offset_keeps_the_precision_of_the_data(mode):
    # 1e8 with steps of 1.5e-8 in float64: a signal of size one keeps eight digits.
    signal = np.random.default_rng(0).normal(size=(4, 1, 50))
    plain = SequenceEncoder(mode).fit(as_panel(signal))
    moved = SequenceEncoder(mode).fit(as_panel(signal + 1e8))
    lengths = np.full(4, 50)
    np.testing.assert_allclose(
        moved.transform(signal + 1e8, lengths), plain.transform(signal, lengths), atol=1e-6
    )


def test_channel_that_is_never_observed_becomes_zero():
    X = np.ones((2, 2, 3))
    X[:, 1] = np.nan
    for mode in ("global", "series", "split", None):
        encoded = SequenceEncoder(mode, "ffill").fit(as_panel(X)).transform(X, np.array([3, 3]))
        np.testing.assert_array_equal(encoded[..., 1], 0)


def test_integers_and_bytes_are_scaled_like_floats():
    X = np.random.default_rng(0).integers(0, 255, (3, 2, 6)).astype(np.uint8)
    lengths = np.full(3, 6)
    encoded = [
        SequenceEncoder().fit(as_panel(x)).transform(x, lengths) for x in (X, X.astype(float))
    ]
    np.testing.assert_array_equal(*encoded)


@pytest.mark.parametrize("missing", ["mask", "ffill"])
def test_split_adds_level_and_scale_to_the_standardized_sequence(missing):
    rng = np.random.default_rng(0)
    level, scale = rng.normal(size=(2, 40, 2, 1))
    X = list(level + np.exp(scale) * rng.normal(size=(40, 2, 50)))
    X[3] = X[3][:, :30]
    X[5][0, 4:9] = np.nan
    panel, rows = as_panel(X), np.arange(40)
    series, split = (SequenceEncoder(m, missing).fit(panel) for m in ("series", "split"))
    assert split.n_inputs_ == series.n_inputs_ + 4
    values, lengths = panel.gather(rows), panel.lengths
    encoded = split.transform(values, lengths, "float64")
    np.testing.assert_array_equal(encoded[..., :-4], series.transform(values, lengths, "float64"))
    traits = encoded[:, 0, -4:]  # the same at all time points but for the padding
    for i, length in enumerate(lengths):
        np.testing.assert_array_equal(encoded[i, :length, -4:], np.tile(traits[i], (length, 1)))
        np.testing.assert_array_equal(encoded[i, length:], 0)
    own = np.array([np.hstack([np.nanmean(x, 1), np.log(np.nanstd(x, 1))]) for x in X])
    np.testing.assert_allclose(traits, (own - own.mean(0)) / own.std(0), atol=1e-12)


def test_split_gives_a_constant_sequence_a_small_scale_and_knows_what_is_usual():
    X = np.random.default_rng(0).normal(size=(20, 1, 50))
    X[0] = 3.0
    encoder = SequenceEncoder("split").fit(as_panel(X))
    later = encoder.transform(np.full((1, 1, 5), 3.0), np.array([5]))
    assert later[0, 0, 2] == encoder.transform(X[:1], np.array([50]))[0, 0, 2] < -3
    constant = SequenceEncoder("split").fit(as_panel(np.ones((4, 1, 5))))
    np.testing.assert_array_equal(constant.transform(np.ones((1, 1, 5)), np.array([5])), 0)


def test_standardizer_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match=r"standardize must be one of .* Did you mean 'global'"):
        Standardizer("globl")


# --- missing values ----------------------------------------------------------------------------


@quick
@given(X=ragged_sequences())
def test_fill_forward_repeats_the_last_observed_value(X):
    for sequence in X:
        filled = fill_forward(sequence, np.isnan(sequence), np.full(len(sequence), -5.0))
        for channel, own in zip(sequence, filled, strict=True):
            last = -5.0
            for value, got in zip(channel, own, strict=True):
                last = last if np.isnan(value) else value
                assert got == last


def test_leading_missing_values_take_the_training_mean_in_every_scaling():
    X = np.array([[[np.nan, 1.0, 3.0]]])
    lengths = np.array([3])
    for mode, expected in {"global": [0, -1, 1], "series": [0, -1, 1], None: [2, 1, 3]}.items():
        encoded = SequenceEncoder(mode, "ffill").fit(as_panel(X)).transform(X, lengths)
        np.testing.assert_allclose(encoded[0, :, 0], expected, atol=1e-6)


def test_mask_channels_mark_missing_values_but_not_padding():
    X = np.array([[[1.0, np.nan, 3.0, np.nan], [2.0, 2.0, np.nan, np.nan]]])
    encoder = SequenceEncoder(None, "mask").fit(as_panel(X))
    assert encoder.has_mask_
    assert encoder.n_inputs_ == 4
    encoded = encoder.transform(X, np.array([3]), "float64")
    np.testing.assert_array_equal(
        encoded[0].T, [[1, 1, 3, 0], [2, 2, 2, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    )


def test_mask_channels_are_left_out_when_the_training_data_is_complete():
    complete = np.array([[[1.0, 2.0, np.nan]]])  # NaN at the end is padding
    encoder = SequenceEncoder(None, "mask").fit(as_panel(complete))
    assert encoder.n_inputs_ == 1
    later = np.array([[[np.nan, 2.0, np.nan, 4.0]]])
    np.testing.assert_array_equal(encoder.transform(later, np.array([4]))[0, :, 0], [1.5, 2, 2, 4])


def test_mask_channels_stay_when_later_data_is_complete():
    encoder = SequenceEncoder(None).fit(as_panel(np.array([[[1.0, np.nan, 3.0]]])))
    encoded = encoder.transform(np.ones((1, 1, 3)), np.array([3]))
    np.testing.assert_array_equal(encoded[0].T, [[1, 1, 1], [0, 0, 0]])


def test_missing_values_are_refused_when_asked():
    X = np.ones((3, 1, 4))
    X[1:, 0, 2] = np.nan
    with pytest.raises(ValueError, match=r"NaN in 2 of 3 sequences, the first one X\[1\]"):
        SequenceEncoder(missing="error").fit(as_panel(X))
    X[1:, 0, 2:] = np.nan  # padding only
    SequenceEncoder(missing="error").fit(as_panel(X))


def test_encoder_refuses_an_unknown_treatment_of_missing_values():
    with pytest.raises(ValueError, match="missing must be one of"):
        SequenceEncoder(missing="drop")


def test_encoder_leaves_its_input_as_it_was():
    X = np.array([[[1.0, np.nan, 3.0, np.nan]]])
    kept = X.copy()
    for mode in ("global", "series", None):
        SequenceEncoder(mode).fit(as_panel(X)).transform(X, np.array([3]), "float64")
    np.testing.assert_array_equal(X, kept)


@pytest.mark.parametrize(("dtype", "value"), [("float32", 1e39), ("float64", 1e305)])
def test_encoder_refuses_what_its_type_cannot_hold(dtype, value):
    encoder = SequenceEncoder().fit(as_panel(np.array([[[0.0, 1e-4]]])))
    with pytest.raises(ValueError, match=f"X must be within the range of {dtype} after scaling"):
        encoder.transform(np.array([[[0.0, value]]]), np.array([2]), dtype)


@pytest.mark.parametrize("mode", ["global", "series", "split"])
def test_values_whose_variance_overflows_are_refused(mode):
    X = np.array([[[1e308, -1e308]]])
    with pytest.raises(ValueError, match="X must be within 1e150 in magnitude"):
        SequenceEncoder(mode).fit(as_panel(X)).transform(X, np.array([2]))


@pytest.mark.parametrize("standardize", ["global", "running_split", "split", None])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_inputs_that_are_masks_are_named(standardize, share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 2, 9))
    X[..., 1:-1][rng.random((4, 2, 7)) < share] = np.nan
    encoder = SequenceEncoder(standardize).fit(as_panel(X))
    encoded = encoder.transform(X, np.full(4, 9))
    assert len(encoder.is_mask) == encoded.shape[2]
    masks = encoded[..., encoder.is_mask].transpose(0, 2, 1)
    np.testing.assert_array_equal(masks, np.isnan(X) if share else np.empty((4, 0, 9)))
