"""Streams against predict on everything pushed."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sks4 import S4Classifier, S4Regressor, _native
from sks4.nn import ModelStepper
from sks4.nn._heads import Pooling
from sks4.nn._summary import Summary

N, C, T = 12, 2, 25
# what the interface promises in float32
# a summary turns rounding within 0.02 of a limit into changes 50 times as large
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
# scaled values far from each other, as at the first steps of a sequence, round more
LOOSE = {"rtol": 1e-3, "atol": 1e-4}
SMALL = {"d_model": 4, "n_layers": 2, "d_state": 4, "max_epochs": 1, "random_state": 0}


def data(share=0.0, seed=0):
    """Return sequences (N, C, T), some with missing values, and three classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 2, size=(N, C, T)) + np.arange(N)[:, None, None] % 3
    X[rng.random(X.shape) < share] = np.nan
    X[np.broadcast_to(rng.random((N, 1, T)) < share, X.shape)] = np.nan
    X[:, 0, 0] = 1.0
    return X, np.array(["a", "b", "c"])[np.arange(N) % 3]


def classifier(share=0.0, **options):
    return S4Classifier(**SMALL | options).fit(*data(share))


CLASSIFIER = classifier()


@pytest.mark.parametrize(
    ("pooling", "norm", "patch_size"),
    list(itertools.product(["mean", "last", "max"], ["layer", "batch", None], [1, 4])),
)
def test_stream_predicts_like_the_estimator_after_each_sample(pooling, norm, patch_size):
    estimator = classifier(pooling=pooling, norm=norm, patch_size=patch_size)
    X, _ = data(seed=1)
    stream = estimator.stream(n_streams=N)
    for t in range(10):
        assert stream.push(X[..., t]) is stream
        seen = X[..., : t + 1]
        assert_allclose(stream.predict_proba(), estimator.predict_proba(seen), **TOLERANCE)
        assert_array_equal(stream.predict(), estimator.predict(seen))


@settings(max_examples=25)
@given(
    pieces=st.lists(st.sampled_from([1, 1, 2, 5]), min_size=1, max_size=5),
    seed=st.integers(0, 50),
    share=st.sampled_from([0.1, 0.5]),
    missing=st.sampled_from(["mask", "ffill"]),
    patch_size=st.sampled_from([1, 3]),
    pooling=st.sampled_from(["mean", "last", "max"]),
)
def test_streams_with_gaps_predict_like_the_estimator(
    pieces, seed, share, missing, patch_size, pooling
):
    estimator = gappy(missing, patch_size, pooling)
    X, _ = data(share, seed)
    stream, seen = estimator.stream(n_streams=N), 0
    for size in pieces:
        stream.push(X[..., seen : seen + size])
        seen += size
        expected = estimator.predict_proba(X[..., :seen])
        assert_allclose(stream.predict_proba(), expected, **TOLERANCE)
        assert_array_equal(stream.lengths + stream.waiting, np.full(N, seen))


def gappy(missing, patch_size, pooling, cache={}):  # noqa: B006, fitted once
    key = missing, patch_size, pooling
    if key not in cache:
        cache[key] = classifier(0.3, missing=missing, patch_size=patch_size, pooling=pooling)
    return cache[key]


def test_trailing_gap_waits_until_a_value_comes():
    estimator, (X, _) = gappy("mask", 1, "mean"), data(seed=2)
    stream = estimator.stream().push(X[0, :, :5])
    before = stream.predict_proba()
    stream.push(np.full(C, np.nan)).push(np.full((C, 3), np.nan))
    assert_array_equal(stream.predict_proba(), before)
    assert (stream.lengths.tolist(), stream.waiting.tolist()) == ([5], [4])
    stream.push(X[0, :, 9])
    assert (stream.lengths.tolist(), stream.waiting.tolist()) == ([10], [0])
    X[:, :, 5:9] = np.nan
    assert_allclose(stream.predict_proba(), estimator.predict_proba(X[:1, :, :10]), **TOLERANCE)


@pytest.mark.parametrize("patch_size", [1, 4])
def test_pickled_stream_goes_on_where_it_was(patch_size):
    estimator, (X, _) = classifier(patch_size=patch_size), data(seed=3)
    X[0, :, 5:7] = np.nan  # waits when it is pickled
    stream = estimator.stream(n_streams=N).push(X[..., :7])
    resumed = pickle.loads(pickle.dumps(stream))
    stream.push(100 * X)
    assert_allclose(resumed.predict_proba(), estimator.predict_proba(X[..., :7]), **TOLERANCE)
    resumed.push(X[..., 7:])
    assert_allclose(resumed.predict_proba(), estimator.predict_proba(X), **TOLERANCE)


def test_copied_stream_is_independent():
    X, _ = data(seed=3)
    X[0, :, 5:7] = np.nan
    stream = CLASSIFIER.stream(n_streams=N).push(X[..., :7])
    other = stream.copy()
    stream.push(100 * X[..., 7:])
    assert_allclose(other.predict_proba(), CLASSIFIER.predict_proba(X[..., :7]), **TOLERANCE)
    other.push(X[..., 7:])
    assert_allclose(other.predict_proba(), CLASSIFIER.predict_proba(X), **TOLERANCE)


def test_reset_stream_begins_anew():
    X, _ = data(seed=4)
    gone = np.full((N, C, 2), np.nan)
    stream = CLASSIFIER.stream(n_streams=N).push(5 * X).push(gone).reset()
    assert stream.lengths.tolist() == [0] * N
    stream.push(X)
    assert_allclose(stream.predict_proba(), CLASSIFIER.predict_proba(X), **TOLERANCE)


@pytest.mark.parametrize("sampling_rate", [50, 200])
@pytest.mark.parametrize("ssm", ["s4", "s4d"])
def test_stream_at_another_sampling_rate_predicts_like_the_estimator(ssm, sampling_rate):
    (X, y), options = data(), SMALL | {"ssm": ssm}
    estimator = S4Classifier(**options).fit(X, y, sampling_rate=100)
    stream = estimator.stream(N, sampling_rate=sampling_rate).push(X)
    got, expected = stream.predict_proba(), estimator.predict_proba(X, sampling_rate=sampling_rate)
    assert_allclose(got, expected, **TOLERANCE)
    assert np.abs(got - estimator.predict_proba(X)).max() > 1e-4


@pytest.mark.parametrize("n_targets", [None, 2])
def test_stream_of_a_regressor_predicts_in_the_unit_of_the_targets(n_targets):
    X, _ = data()
    y = 100 + np.arange(N) if n_targets is None else np.arange(2.0 * N).reshape(N, 2)
    regressor = S4Regressor(**SMALL).fit(X, y)
    stream = regressor.stream(n_streams=N).push(X)
    assert_allclose(stream.predict(), regressor.predict(X), rtol=1e-5, atol=1e-5)


def test_stream_of_probabilities_has_their_logarithm():
    stream = CLASSIFIER.stream().push(data()[0][0])
    assert_allclose(stream.predict_log_proba(), np.log(stream.predict_proba()))
    assert_allclose(stream.predict_proba(), CLASSIFIER.predict_proba(data()[0][:1]), **TOLERANCE)


def test_stream_of_a_model_fitted_on_a_table_has_one_channel_and_any_length():
    X = data()[0][:, 0]
    estimator = S4Classifier(**SMALL).fit(X, np.arange(N) % 2)
    stream = estimator.stream()
    for value in X[0, :10]:
        stream.push([value])
    row = np.where(np.arange(T) < 10, X[:1], np.nan)
    assert_allclose(stream.predict_proba(), estimator.predict_proba(row), **TOLERANCE)


def test_stream_follows_the_layout_and_frames_have_time_in_rows():
    X, y = data()
    estimator = S4Classifier(**SMALL, layout="ntc").fit(X.transpose(0, 2, 1), y)
    expected = CLASSIFIER.predict_proba(X)
    several = estimator.stream(n_streams=N).push(X.transpose(0, 2, 1))
    assert_allclose(several.predict_proba(), expected, **TOLERANCE)
    for stream, piece in ((CLASSIFIER.stream(), X[0]), (estimator.stream(), X[0].T)):
        stream.push(piece[:, :0] if stream.layout == "nct" else piece[:0])  # nothing
        assert_allclose(stream.push(piece).predict_proba(), expected[:1], **TOLERANCE)
        frame = pd.DataFrame(X[0].T)
        assert_allclose(stream.reset().push(frame).predict_proba(), expected[:1], **TOLERANCE)


@pytest.mark.parametrize(
    "convert", [list, np.float32, torch.from_numpy, lambda x: x.astype(object)]
)
def test_sample_may_be_anything_like_an_array(convert):
    sample = data()[0][0, :, 0]
    expected = CLASSIFIER.stream().push(sample).predict_proba()
    got = CLASSIFIER.stream().push(convert(sample)).predict_proba()
    assert_allclose(got, expected, rtol=1e-4)


def test_long_push_equals_single_ones():
    long = np.random.default_rng(0).normal(3, 2, (C, 300))
    stream = CLASSIFIER.stream()
    for t in range(300):
        stream.push(long[:, t])
    assert_allclose(stream.predict_proba(), CLASSIFIER.predict_proba(long[None]), **TOLERANCE)
    at_once = CLASSIFIER.stream().push(long[:, :3]).push(long[:, 3:])
    assert_allclose(at_once.predict_proba(), stream.predict_proba(), **TOLERANCE)


def test_stream_keeps_its_weights_while_the_estimator_is_trained_on():
    X, y = data()
    estimator = classifier()
    expected = estimator.predict_proba(X[:1])
    stream = estimator.stream().push(X[0, :, :3])
    estimator.partial_fit(X, y, classes=["a", "b", "c"])
    assert_allclose(stream.push(X[0, :, 3:]).predict_proba(), expected, **TOLERANCE)
    assert np.abs(estimator.predict_proba(X[:1]) - expected).max() > 1e-4


def test_streaming_leaves_the_estimator_as_it_was():
    before = pickle.dumps(CLASSIFIER)
    CLASSIFIER.stream().push(data()[0][0]).predict()
    assert pickle.dumps(CLASSIFIER) == before


def test_stream_takes_constant_memory():
    stream, sizes = CLASSIFIER.stream(), set()
    for _ in range(3):
        stream.push(np.random.default_rng(0).normal(size=(C, 500)))
        sizes.add(len(pickle.dumps(stream)))
    assert max(sizes) - min(sizes) < 50  # numbers of steps


# -- what a caller may get wrong


def test_unfitted_estimator_has_no_stream():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        S4Classifier().stream()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bidirectional": True}, "bidirectional=True cannot be streamed, since every output"),
        ({"standardize": "series"}, "standardize='series' cannot be streamed, since it scales"),
        ({"standardize": "split"}, "standardize='split' cannot be streamed, since it scales"),
    ],
)
def test_what_needs_the_whole_sequence_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        classifier(**options).stream()


@pytest.mark.parametrize("standardize", ["series", "split"])
def test_refusal_advises_a_scaling_that_streams(standardize):
    with pytest.raises(ValueError, match="Fit with standardize='running"):
        classifier(standardize=standardize).stream()


@pytest.mark.parametrize(
    ("n_streams", "shape", "message"),
    [
        (1, (3,), r"shape \(2,\), or \(2, n_timepoints\) for several at once, got \(3,\)"),
        (1, (3, 5), r"got \(3, 5\). There are 2 channels as in fit"),
        (1, (), r"got \(\)"),
        (1, (1, 2, 5), r"got \(1, 2, 5\)"),
        (4, (2,), r"\(4, 2\), or \(4, 2, n_timepoints\) for several at once, got \(2,\)"),
        (4, (3, 2), r"got \(3, 2\). .* n_streams=4"),
    ],
)
def test_sample_of_the_wrong_shape_is_refused(n_streams, shape, message):
    with pytest.raises(ValueError, match=message):
        CLASSIFIER.stream(n_streams=n_streams).push(np.zeros(shape))


def test_sample_in_the_wrong_layout_is_refused():
    estimator = S4Classifier(**SMALL, layout="ntc").fit(data()[0].transpose(0, 2, 1), data()[1])
    with pytest.raises(ValueError, match=r"shape \(2,\), or \(n_timepoints, 2\).*, got \(2, 5\)"):
        estimator.stream().push(np.zeros((2, 5)))


def test_sample_of_text_is_refused():
    with pytest.raises(TypeError, match="A sample must hold real numbers, got dtype <U1"):
        CLASSIFIER.stream().push(["a", "b"])


def test_prediction_before_the_first_value_is_refused():
    stream = CLASSIFIER.stream(n_streams=2).push(np.array([[1.0, 1.0], [np.nan, np.nan]]))
    with pytest.raises(ValueError, match="got none yet in stream 1"):
        stream.predict()
    with pytest.raises(ValueError, match="got none yet in stream 0"):
        CLASSIFIER.stream().predict_proba()


def test_sampling_rate_of_a_stream_must_be_known_and_positive():
    with pytest.raises(ValueError, match="sampling_rate must be given to fit as well, got 100"):
        CLASSIFIER.stream(sampling_rate=100)
    estimator = S4Classifier(**SMALL).fit(*data(), sampling_rate=100)
    with pytest.raises(ValueError, match="sampling_rate must be finite and above zero, got 0"):
        estimator.stream(sampling_rate=0)
    patched = S4Classifier(**SMALL, patch_size=2).fit(*data(), sampling_rate=100)
    with pytest.raises(ValueError, match="sampling_rate must be that of fit"):
        patched.stream(sampling_rate=50)


@pytest.mark.parametrize(("n_streams", "error"), [(0, ValueError), (1.5, TypeError)])
def test_number_of_streams_is_checked(n_streams, error):
    with pytest.raises(error, match="n_streams must be"):
        CLASSIFIER.stream(n_streams)


def test_output_that_is_not_finite_is_refused():
    estimator = classifier()
    with torch.no_grad():
        estimator._predictor_.readout.linear.bias.fill_(torch.inf)
    with pytest.raises(ValueError, match="must give finite outputs"):
        estimator.stream().push(np.ones(C)).predict()


def named_frames(names="uv"):
    X, y = data()
    return [pd.DataFrame(x.T, columns=list(names)) for x in X], y


def test_stream_refuses_swapped_names_of_channels_as_predict_does():
    frames, y = named_frames()
    estimator = S4Classifier(**SMALL).fit(frames, y)
    swapped = frames[0][["v", "u"]]
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        estimator.predict([swapped])
    stream = estimator.stream()
    for sample in (swapped, swapped.iloc[0]):
        with pytest.raises(ValueError, match="same order as they were in fit") as error:
            stream.push(sample)
        assert str(error.value) == str(refusal.value)
    with pytest.raises(ValueError, match="names should match"):
        estimator.stream(n_streams=2).push([frames[0], swapped])


def test_stream_takes_samples_with_the_names_of_fit_and_samples_without():
    frames, y = named_frames()
    estimator = S4Classifier(**SMALL).fit(frames, y)
    expected = estimator.predict_proba(frames[:2])
    stream = estimator.stream()
    for _, row in frames[0].iterrows():
        stream.push(row)
    both = estimator.stream(n_streams=2).push(frames[:2])
    plain = estimator.stream(n_streams=2).push([x.to_numpy().T for x in frames[:2]])
    assert_allclose(stream.predict_proba(), expected[:1], **TOLERANCE)
    assert_allclose(both.predict_proba(), expected, **TOLERANCE)
    assert_allclose(plain.predict_proba(), expected, **TOLERANCE)


def test_stream_takes_any_name_where_names_in_fit_were_time_points():
    X, y = data()
    frame = pd.DataFrame(X[:, 0], columns=[f"t{k}" for k in range(T)])
    estimator = S4Classifier(**SMALL).fit(frame, y)
    stream = estimator.stream().push(pd.DataFrame({"u": X[0, 0]}))
    assert_allclose(stream.predict_proba(), estimator.predict_proba(frame[:1]), **TOLERANCE)


def test_stream_reads_masked_values_as_missing():
    X, _ = data(seed=1)
    masked = np.ma.array(X, mask=np.random.default_rng(0).random(X.shape) < 0.3)
    expected = CLASSIFIER.stream(n_streams=N).push(masked.filled(np.nan)).predict_proba()
    assert_array_equal(CLASSIFIER.stream(n_streams=N).push(masked).predict_proba(), expected)


def interrupted(*args):
    raise KeyboardInterrupt


def interrupt_steps(patch):
    """Let steps and scans be interrupted, where they can be."""
    patch.setattr(_native, "step", interrupted)
    for kind in (Pooling, Summary):  # the last thing that a step by torch or a scan does
        patch.setattr(kind, "update", interrupted)


@pytest.mark.parametrize("n_pushed", [1, 5, 80])
@pytest.mark.parametrize("part", ["steps", "outputs"])
@pytest.mark.parametrize(("readout", "patch_size"), [("trained", 1), ("ridge", 1), ("trained", 3)])
def test_interrupted_push_changes_nothing(path, monkeypatch, readout, part, n_pushed, patch_size):
    X = np.random.default_rng(0).normal(size=(12, 2, 90))
    fitted = S4Classifier(**SMALL, readout=readout, patch_size=patch_size)
    stream = fitted.fit(X, np.arange(12) % 2).stream(2).push(X[:2, :, :8])
    expected, piece = stream.copy(), X[2:4, :, :n_pushed].copy()
    piece[0, :, n_pushed // 2 :] = np.nan  # one stream waits, so its outputs are kept

    with monkeypatch.context() as patch:
        if part == "steps":
            interrupt_steps(patch)
        else:
            patch.setattr(ModelStepper, "output", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stream.push(piece)
    assert_array_equal(stream.lengths, expected.lengths)
    assert_array_equal(stream.predict_proba(), expected.predict_proba())
    assert_array_equal(stream.push(piece).predict_proba(), expected.push(piece).predict_proba())


@pytest.mark.parametrize("patch_size", [1, 3])
def test_push_interrupted_after_its_step_has_been_read(monkeypatch, patch_size):
    if not _native.is_available():
        pytest.skip("no compiled code")
    estimator, (X, _) = classifier(patch_size=patch_size), data(seed=3)
    stream = estimator.stream(N).push(X[..., :5])
    step = _native.step

    def late(*args):
        step(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_native, "step", late)
        with pytest.raises(KeyboardInterrupt):
            stream.push(X[..., 5:10])
    assert_array_equal(stream.lengths, 10)
    assert_allclose(stream.predict_proba(), estimator.predict_proba(X[..., :10]), **TOLERANCE)


def test_interrupted_prediction_of_an_open_patch_changes_nothing(path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(12, 2, 90))
    regressor = S4Regressor(**SMALL, patch_size=4).fit(X, np.arange(12.0))
    stream = regressor.stream().push(X[0, :, :10])
    expected = stream.copy()

    with monkeypatch.context() as patch:
        interrupt_steps(patch)
        with pytest.raises(KeyboardInterrupt):
            stream.predict()
    assert_array_equal(stream.predict(), expected.predict())
    assert_array_equal(stream.push(X[1]).predict(), expected.push(X[1]).predict())


@pytest.mark.parametrize("standardize", ["global", "running", "running_split", None])
def test_stream_does_not_keep_the_array_that_was_pushed(standardize):
    estimator, (X, _) = classifier(0.3, standardize=standardize), data(seed=2)
    X[0, 0, 3] = np.nan  # filled with the value before
    buffer, stream = np.empty(C), estimator.stream()
    for t in range(8):
        buffer[:] = X[0, :, t]
        stream.push(buffer)
    assert_allclose(stream.predict_proba(), estimator.predict_proba(X[:1, :, :8]), **TOLERANCE)


# -- running scaling


def uneven(share=0.0, seed=0):
    """Return sequences whose levels and scales differ by orders of magnitude."""
    X, y = data(share, seed)
    rng = np.random.default_rng(seed)
    return 100 * rng.normal(size=(N, C, 1)) + np.exp(3 * rng.normal(size=(N, C, 1))) * X, y


RUNNING = [
    {},
    {"patch_size": 4},
    {"dtype": "float64", "pooling": "last"},
    {"readout": "ridge", "max_epochs": 1},
    {"missing": "ffill", "pooling": "max"},
]


@pytest.mark.parametrize("options", RUNNING, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_running_scaling_is_the_same_in_streams(options, share):
    estimator = S4Classifier(**SMALL | {"standardize": "running"} | options).fit(*uneven(share))
    X, _ = uneven(share, seed=3)
    stream = estimator.stream(n_streams=N)
    for t in range(8):
        stream.push(X[..., t])
        assert_allclose(stream.predict_proba(), estimator.predict_proba(X[..., : t + 1]), **LOOSE)
    stream = pickle.loads(pickle.dumps(stream)).copy().push(X[..., 8:])
    assert_allclose(stream.predict_proba(), estimator.predict_proba(X), **LOOSE)
    assert_allclose(stream.reset().push(X).predict_proba(), estimator.predict_proba(X), **LOOSE)


@pytest.mark.parametrize("sampling_rate", [50, 100, 400])
def test_running_scaling_follows_the_sampling_rate_of_a_stream(sampling_rate):
    X, y = uneven()
    options = {"standardize": "running", "ssm": "s4d", "readout": "trained"}
    estimator = S4Classifier(**SMALL | options).fit(X, y, sampling_rate=100)
    stream = estimator.stream(N, sampling_rate=sampling_rate).push(X[..., :9]).reset()
    for piece in np.array_split(X, 4, axis=2):
        stream.push(piece)
    expected = estimator.predict_proba(X, sampling_rate=sampling_rate)
    assert_allclose(stream.predict_proba(), expected, **TOLERANCE)


def test_running_scaling_stays_when_training_resumes():
    X, y = uneven()
    options = {"standardize": "running", "warm_start": True, "readout": "trained"}
    estimator = S4Classifier(**SMALL | options).fit(X, y)
    encoder, before = estimator.encoder_, estimator.predict_proba(X)
    for resume in (estimator.fit, estimator.partial_fit):
        resume(X[:9] + 50, y[:9])
        assert estimator.encoder_ is encoder
    after = estimator.predict_proba(X)
    assert np.abs(after - before).max() > 1e-4
    assert_allclose(estimator.stream(N).push(X).predict_proba(), after, **TOLERANCE)


def test_running_scaling_ignores_weights_and_clones_alike():
    X, y = uneven()
    weights = np.random.default_rng(0).uniform(0.1, 3, N)
    estimator = S4Classifier(**SMALL, standardize="running")
    a = estimator.fit(X, y).encoder_
    b = clone(estimator).fit(X, y, sample_weight=weights).encoder_
    for encoded in (a, b):
        u = encoded.transform(X, np.full(N, T))
    assert_array_equal(u, a.transform(X, np.full(N, T)))
    assert_array_equal(clone(estimator).fit(X, y).predict_proba(X), estimator.predict_proba(X))


def test_running_scaling_tells_sequences_apart_whose_scale_is_chance():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = np.sin(np.where(y, 0.9, 0.5)[:, None] * np.arange(60) + rng.uniform(0, 6, (80, 1)))
    X = (100 * rng.normal(size=(80, 1)) + np.exp(3 * rng.normal(size=(80, 1))) * X)[:, None]
    small = SMALL | {"d_model": 8, "d_state": 16, "max_epochs": 30, "readout": "trained"}
    scores = {
        scaling: S4Classifier(**small, standardize=scaling)
        .fit(X[:40], y[:40])
        .score(X[40:], y[40:])
        for scaling in ("auto", "global")
    }
    assert scores["auto"] >= 0.9 > 0.8 > scores["global"]


# -- defaults


def level_and_scale(rng, y, level, scale):
    """Return noise (24, 2, 40) with a level and a scale for each sequence."""
    noise = rng.normal(size=(len(y), 2, 40))
    return level[:, None, None] + np.exp(scale)[:, None, None] * noise


def kinds_of_data():
    """Return sequences of many kinds, and two classes."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    by_chance, nothing = 2 * rng.normal(size=24), np.zeros(24)
    plain = level_and_scale(rng, y, y + 0.0, nothing)
    gaps = plain.copy()
    gaps[:, 1, 5:9] = np.nan
    ragged = [x[:, : 12 + i] for i, x in enumerate(level_and_scale(rng, y, by_chance, by_chance))]
    long = np.repeat(level_and_scale(rng, y, y + 0.0, by_chance), 70, axis=2)[:8]
    kinds = {
        "alike": plain,
        "level by chance": level_and_scale(rng, y, by_chance, nothing),
        "scale by chance": level_and_scale(rng, y, nothing, by_chance),
        "scale tells and hides": level_and_scale(rng, y, nothing, 4.0 * y),
        "level tells and hides": level_and_scale(rng, y, 9.0 * y, nothing),
        "some constant": np.where(y[:, None, None], plain, 3.0),
        "gaps": gaps,
        "ragged": ragged,
        "short": plain[..., :4],
        "large": 1e8 + level_and_scale(rng, y, by_chance, by_chance),
        "long": long,
    }
    return {name: (X, y[: len(X)]) for name, X in kinds.items()}


KINDS = kinds_of_data()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [S4Classifier, S4Regressor])
@pytest.mark.parametrize("trains", [False, True], ids=["filters", "blocks"])
def test_defaults_can_be_streamed(model, kind, trains, monkeypatch):
    monkeypatch.setattr("sks4.estimators._auto._FILTERS", 64)
    X, y = KINDS[kind]
    estimator = model(random_state=0, **({"max_epochs": 1} if trains else {})).fit(X, y)
    stream = estimator.stream()
    for x in X[:2]:
        stream.reset()
        for piece in np.array_split(x, [1, 2, 9], axis=1):
            stream.push(piece)
        if model is S4Classifier:
            expected, got = estimator.predict_proba([x]), stream.predict_proba()
        else:
            expected, got = estimator.predict([x]), stream.predict()
        assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
