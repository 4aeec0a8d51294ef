"""Forecasts in place of missing values, against their formula, value by value."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sks4.data import GapFiller, GapState, SequenceEncoder, StreamEncoder, as_panel


def waves(n=12, n_channels=1, n_timepoints=120, seed=0):
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 6, (n, n_channels, 1))
    return np.sin(0.2 * np.arange(n_timepoints) + phases)


def with_gaps(X, share, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def fitted(X, longest=30):
    return GapFiller(X.mean(axis=(0, 2))).fit([X], longest)


def fill(filler, X, rate=1.0):
    return filler.fill(X, GapState.of_nothing(len(X), X.shape[1]), rate)[0]


@pytest.mark.parametrize("rate", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_values_are_forecast_from_the_last_value_and_its_slope(n_channels, rate):
    rng = np.random.default_rng(0)
    filler = fitted(rng.normal(size=(20, n_channels, 60)).cumsum(axis=2))
    X = with_gaps(waves(4, n_channels, 40), 0.5)
    filled = fill(filler, X, rate)
    for x, own in zip(X, filled, strict=True):
        for c in range(n_channels):
            observed = []
            low, high = filler.range_[:, c]
            for t in range(40):
                if not np.isnan(x[c, t]):
                    observed.append(t)
                    assert own[c, t] == x[c, t]
                    continue
                value, slope, mean = filler.initial[c], 0.0, filler.initial[c]
                a = b = 0.0
                if observed:
                    mean = x[c, observed].mean()
                    value, steps = x[c, observed[-1]], rate * (t - observed[-1])
                    a, b = (np.interp(steps, filler.horizons_, k[c]) for k in filler.coefs_)
                if len(observed) > 1:
                    slope = (value - x[c, observed[-2]]) / (rate * (observed[-1] - observed[-2]))
                expected = value + a * (value - mean) + b * slope
                expected = np.clip(expected, min(low, value), max(high, value))
                assert_allclose(own[c, t], expected, rtol=1e-12)


def test_coefficients_are_those_of_least_squares():
    X = np.random.default_rng(0).normal(size=(30, 2, 50)).cumsum(axis=2)
    filler = fitted(X, 20)
    for column in (1, 5, len(filler.horizons_) - 1):
        h = int(filler.horizons_[column])
        for c in range(2):
            now, later = X[:, c, 1:-h], X[:, c, 1 + h :]
            means = X[:, c].cumsum(axis=1) / np.arange(1, 51)
            parts = [now - means[:, 1:-h], now - X[:, c, : now.shape[1]]]
            design = np.stack([part.ravel() for part in parts], axis=1)
            expected = np.linalg.lstsq(design, (later - now).ravel(), rcond=None)[0]
            assert_allclose(filler.coefs_[:, c, column], expected, rtol=1e-3, atol=1e-3)
    assert_array_equal(filler.horizons_[[0, 1, -1]], [0, 1, 20])
    assert_array_equal(filler.coefs_[..., 0], 0)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_waves_go_on_noise_returns_to_its_mean_and_walks_stay(share):
    rng = np.random.default_rng(0)
    noise = 5 + rng.normal(size=(12, 1, 120))
    errors = {}
    for name, X in {"waves": waves(), "noise": noise, "walks": noise.cumsum(axis=2)}.items():
        gappy = with_gaps(X[..., :-1], share)
        gappy[..., :2] = X[..., :2]
        hold = fill(GapFiller(X.mean(axis=(0, 2))), gappy)
        absent = np.isnan(gappy)
        squares = [
            np.square(filled - X[..., :-1])[absent].mean()
            for filled in (fill(fitted(X), gappy), hold)
        ]
        errors[name] = squares[0] / squares[1]
    assert errors["waves"] < 0.2
    assert errors["noise"] < 0.6
    assert errors["walks"] < 1.05


@pytest.mark.parametrize("name", ["waves", "noise"])
def test_level_of_a_sequence_has_no_effect(name):
    X = waves() if name == "waves" else np.random.default_rng(0).normal(size=(12, 1, 120))
    filler, gappy = fitted(X), with_gaps(X, 0.3)
    gappy[..., 0] = X[..., 0]
    filler.range_ *= np.inf
    assert_allclose(fill(filler, gappy + 1000), fill(filler, gappy) + 1000, atol=1e-9)


def test_without_fit_the_last_value_is_repeated():
    filled = fill(GapFiller(np.array([7.0])), np.array([[[np.nan, 1, np.nan, 3, np.nan, np.nan]]]))
    assert_array_equal(filled, [[[7, 1, 1, 3, 3, 3]]])


def test_gaps_and_lengths_of_the_training_sequences_do_not_count():
    X = waves(40, 2)
    gappy = with_gaps(X, 0.3)
    padded = np.pad(gappy, ((0, 0), (0, 0), (0, 50)), constant_values=np.nan)
    expected, filler = fitted(X).coefs_, GapFiller(X.mean(axis=(0, 2)))
    assert_allclose(filler.fit([padded[:7], padded[7:]], 30).coefs_, expected, atol=0.3)
    assert_array_equal(filler.range_, [np.nanmin(gappy, (0, 2)), np.nanmax(gappy, (0, 2))])


@pytest.mark.parametrize(
    "X", [np.ones((3, 1, 20)), np.ones((2, 1, 1)), np.full((2, 1, 9), np.nan), np.ones((1, 1, 2))]
)
def test_of_constants_and_short_sequences_the_last_value_stays(X):
    filler = GapFiller(np.zeros(1)).fit([X], 5)
    filled = fill(filler, np.array([[[np.nan, 0.5, np.nan, 2.0, np.nan]]]))
    assert_array_equal(filled, [[[0, 0.5, 0.5, 2, 2]]])


def test_no_forecast_leaves_the_range_of_training_and_last_value():
    filler = fitted(waves())
    spike = waves(1)[..., :40].copy()
    spike[..., 20] = 50.0
    spike[..., 21:] = np.nan
    filled = fill(filler, spike)
    assert filled.max() == 50.0
    assert filled.min() >= filler.range_[0, 0]


@pytest.mark.parametrize("standardize", ["global", "running", "running_split", "series", None])
def test_filled_values_follow_from_those_before(standardize):
    X = np.random.default_rng(1).normal(size=(6, 2, 50)).cumsum(axis=2)
    encoder, lengths = SequenceEncoder(standardize).fit(as_panel(X)), np.full(6, 50)
    gappy = with_gaps(X, 0.4)
    gappy[..., 0] = X[..., 0]
    if standardize == "series":  # what is scaled by the whole sequence may not be compared
        plain = SequenceEncoder(standardize, "ffill").fit(as_panel(X)).transform(gappy, lengths)
        filled = encoder.transform(gappy, lengths)
        is_gap = np.isnan(gappy).transpose(0, 2, 1)
        assert_array_equal(filled[~is_gap], plain[~is_gap])
        assert (filled[is_gap] != plain[is_gap]).any()
        return
    whole = encoder.transform(gappy, lengths, "float64")
    for end in (1, 20, 49):
        part = encoder.transform(gappy[..., :end], np.full(6, end), "float64")
        assert_allclose(part, whole[:, :end], atol=1e-12)
    for rate in (1.0, 0.5):
        stream = StreamEncoder(encoder, 6, "float64", rate)
        pieces = [stream.encode(piece) for piece in np.split(gappy, [1, 2, 13, 14, 40], axis=2)]
        expected = encoder.transform(gappy, lengths, "float64", rate=rate)
        assert_allclose(np.concatenate(pieces, axis=1), expected, atol=1e-12)


def test_refused_pieces_change_no_state():
    X = waves(2)
    stream = StreamEncoder(SequenceEncoder(None).fit(as_panel(X)), 2, "float32")
    stream.encode(X[..., :5])
    other = stream.copy()
    with pytest.raises(ValueError, match="within the range of float32"):
        stream.encode(np.full((2, 1, 1), 1e60))
    gap = np.full((2, 1, 3), np.nan)
    assert_array_equal(stream.encode(gap), other.encode(gap))


def test_a_few_beginnings_are_read_of_long_and_many_sequences():
    rng = np.random.default_rng(0)
    beginnings = rng.normal(size=(300, 1, 1200)).cumsum(axis=2)
    tails = np.concatenate([beginnings, 1e3 * rng.normal(size=(300, 1, 50))], axis=2)
    first, second = (SequenceEncoder(None).fit(as_panel(X)).filler_ for X in (beginnings, tails))
    assert_array_equal(first.horizons_, second.horizons_)
    assert_allclose(first.coefs_[1], second.coefs_[1], atol=0.2)
