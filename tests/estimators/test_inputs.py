"""What goes into fit and predict: every form, bad values, missing ones, sampling rates."""

import copy

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import is_classifier

import sks4
from sks4 import S4Classifier, S4Generator, S4Regressor
from sks4.exceptions import DataShapeWarning, MemoryLengthWarning

# Sums over padded and unpadded batches are the same to some units in the last place.
ROUNDING = 1e-9

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "dtype": "float64"}
TINY |= {"batch_size": 8, "random_state": 0}


def forms_of_one_panel():
    """Return the same six sequences (2 channels, 7 time points) in every form, with their names."""
    cube = np.random.default_rng(0).normal(size=(6, 2, 7))
    frames = [pd.DataFrame(x.T, columns=["a", "b"]) for x in cube]
    nested = pd.DataFrame({name: list(cube[:, i]) for i, name in enumerate("ab")})
    columns = pd.MultiIndex.from_product([["a", "b"], range(7)])
    return {
        "3-D": cube,
        "list": list(cube),
        "tuple": tuple(cube),
        "frames": frames,
        "nested": nested,
        "two levels": pd.DataFrame(cube.reshape(6, 14), columns=columns),
        "float32": cube.astype(np.float32),
    }


FORMS = forms_of_one_panel()
TARGETS = np.arange(6) % 2


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_data_gives_the_same_model(make_estimator, form):
    expected = make_estimator().fit(FORMS["3-D"], TARGETS).score(FORMS["3-D"], TARGETS)
    estimator = make_estimator().fit(FORMS[form], TARGETS)
    assert estimator.score(FORMS[form], TARGETS) == pytest.approx(expected, rel=1e-5)
    assert estimator.n_features_in_ == 2
    assert estimator.n_timepoints_in_ is None


def test_time_may_come_before_the_channels(make_estimator):
    cube = FORMS["3-D"]
    expected = make_estimator().fit(cube, TARGETS).predict(cube)
    estimator = make_estimator(layout="ntc").fit(cube.transpose(0, 2, 1), TARGETS)
    assert_array_equal(estimator.predict(cube.transpose(0, 2, 1)), expected)


def test_layout_set_after_fit_waits_for_the_next_fit(make_estimator):
    cube = FORMS["3-D"]
    estimator = make_estimator().fit(cube, TARGETS)
    expected = estimator.predict(cube)
    estimator.set_params(layout="ntc")
    assert_array_equal(estimator.predict(cube), expected)
    assert estimator.stream(n_streams=6).layout == "nct"
    with pytest.raises(ValueError, match="layout must stay as in the first fit"):
        estimator.partial_fit(cube, TARGETS)
    estimator.fit(cube.transpose(0, 2, 1), TARGETS)
    assert_array_equal(estimator.predict(cube.transpose(0, 2, 1)), expected)


def test_long_table_goes_in_through_from_long(make_estimator):
    table = sks4.to_long(FORMS["frames"], TARGETS)
    X, y, _ = sks4.from_long(table, id="id", time="time", values=["a", "b"], target="target")
    assert_array_equal(y, TARGETS)
    assert make_estimator().fit(X, y).feature_names_in_.tolist() == ["a", "b"]
    table["id"] = table["id"].map("sequence {}".format)
    with pytest.raises(ValueError, match=r"X, y, ids = sks4\.from_long"):
        make_estimator().fit(table, y)


def test_columns_of_a_table_are_remembered(make_estimator):
    X = pd.DataFrame(FORMS["3-D"][:, 0], columns=list("abcdefg"))
    estimator = make_estimator().fit(X, TARGETS)
    assert estimator.feature_names_in_.tolist() == list("abcdefg")
    assert (estimator.n_features_in_, estimator.n_timepoints_in_) == (7, 7)
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        estimator.predict(X[list("gfedcba")])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.predict(X.to_numpy())


def test_read_only_memory_map_is_read(make_estimator, tmp_path):
    np.save(tmp_path / "X.npy", FORMS["3-D"])
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = make_estimator().fit(FORMS["3-D"], TARGETS).predict(FORMS["3-D"])
    assert_array_equal(make_estimator().fit(X, TARGETS).predict(X), expected)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_sequences_shorter_than_a_patch_are_valid(make_estimator, length):
    X = FORMS["3-D"][:, :, :length]
    estimator = make_estimator(patch_size=4).fit(X, TARGETS)
    output = estimator.predict_proba if is_classifier(estimator) else estimator.predict
    with_longer = [*X, FORMS["3-D"][0]]
    assert_allclose(output(with_longer)[:6], output(X), rtol=1e-9, atol=1e-10)
    assert len(np.unique(output(X).round(9), axis=0)) == 6  # each sequence is read


def test_level_of_a_constant_channel_has_no_effect(make_estimator):
    X, predicted = FORMS["3-D"].copy(), []
    for level in (0.0, 3.0, -1e6):
        X[:, 1] = level
        estimator = make_estimator().fit(X, TARGETS)
        output = estimator.predict_proba if is_classifier(estimator) else estimator.predict
        predicted.append(output(X))
    assert_allclose(predicted[1:], predicted[:1] * 2, rtol=1e-9)


# --- property-based ------------------------------------------------------------------------------


@st.composite
def panels(draw):
    """Draw sequences of one to three channels in some form, with their number."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n_samples, n_channels = draw(st.integers(2, 9)), draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(["float64", "float32", "int16", "uint8", "bool"]))
    lengths = draw(st.lists(st.integers(1, 12), min_size=n_samples, max_size=n_samples))
    form = draw(st.sampled_from(["2d", "3d", "ragged"]))
    scale = 10.0 ** draw(st.integers(-3, 2))

    def values(*shape):
        return np.abs(rng.normal(0, scale, shape)).astype(dtype)

    if form == "2d":
        return values(n_samples, lengths[0])
    if form == "3d":
        return values(n_samples, n_channels, lengths[0])
    return [values(n_channels, length) for length in lengths]


@pytest.mark.filterwarnings("ignore:X has .* channels and at most:sks4.exceptions.DataShapeWarning")
@given(X=panels(), classifies=st.booleans(), data=st.data())
def test_any_form_trains_and_prediction_ignores_batch_order_and_padding(X, classifies, data):
    y = np.arange(len(X)) % 2
    if classifies:
        predict = S4Classifier(**TINY).fit(X, y).predict_proba
    else:
        predict = S4Regressor(**TINY).fit(X, y).predict
    expected = predict(X)
    assert expected.shape[0] == len(X)
    assert np.isfinite(expected).all()
    rows = data.draw(st.lists(st.integers(0, len(X) - 1), min_size=1, max_size=12))
    some = [X[i] for i in rows] if isinstance(X, list) else X[rows]
    assert_allclose(predict(some), expected[rows], rtol=ROUNDING, atol=ROUNDING)


def test_prediction_ignores_nan_that_is_padding(make_classifier, ragged_waves):
    X, y = ragged_waves
    padded = np.full((24, 1, 25), np.nan)
    for row, x in zip(padded, X, strict=True):
        row[:, : x.shape[1]] = x
    classifier = make_classifier().fit(X, y)
    expected = classifier.predict_proba(X)
    assert_allclose(classifier.predict_proba(padded), expected, rtol=ROUNDING)
    assert_allclose(make_classifier().fit(padded, y).predict_proba(X), expected, rtol=ROUNDING)


def test_prediction_does_not_depend_on_the_size_of_batches(make_classifier, waves, monkeypatch):
    X, y = waves
    classifier = make_classifier(patch_size=3, norm="batch", pooling="max").fit(X, y)
    expected = classifier.predict_proba(X)
    monkeypatch.setattr("sks4.estimators._sequences.EVALUATION_TOKENS", 20)
    assert_allclose(classifier.predict_proba(X), expected, rtol=ROUNDING)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros(6), ValueError, "Expected 2D array, got 1D array"),
        (np.zeros((6, 2, 3, 4)), ValueError, "X must have shape"),
        (np.zeros((6, 2, 0)), ValueError, "at least one channel and one time point"),
        (np.zeros((0, 2, 5)), ValueError, "Found array with 0 sample"),
        ([np.zeros((2, 5))] * 5 + [np.zeros((2, 0))], ValueError, r"0 time point\(s\) for X\[5\]"),
        ([np.zeros((2, 5))] * 5 + [np.zeros((3, 5))], ValueError, "same number of channels, got 2"),
        (np.full((6, 1, 5), np.inf), ValueError, r"infinity: X\[0\], channel 0"),
        (np.full((6, 1, 5), np.nan), ValueError, r"got X\[0\] in which all values are NaN"),
        (np.full((6, 5), "text"), ValueError, "not compatible with arrays of bytes/strings"),
        (np.zeros((6, 5), dtype=complex), ValueError, "Complex data not supported"),
        (scipy.sparse.eye_array(6), TypeError, "Sparse data was passed"),
        ([[1, 2], [1, 2, 3]] * 3, ValueError, "Nested lists of numbers must have equal lengths"),
    ],
)
def test_bad_sequences_are_refused(make_estimator, X, error, message):
    with pytest.raises(error, match=message):
        make_estimator().fit(X, TARGETS)


def test_swapped_axes_are_warned_of(make_estimator):
    with pytest.warns(DataShapeWarning, match="time and channels look swapped"):
        make_estimator().fit(np.random.default_rng(0).normal(size=(6, 40, 2)), TARGETS)


def test_memory_shorter_than_the_data_is_warned_of(make_estimator):
    X = np.random.default_rng(0).normal(size=(6, 500))
    with pytest.warns(MemoryLengthWarning, match="Pass a smaller dt_min"):
        make_estimator(dt_min=0.1).fit(X, TARGETS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"d_model": 0}, "The 'd_model' parameter of S4"),
        ({"max_epochs": "many"}, "The 'max_epochs' parameter of S4"),
        ({"dropout": 1.0}, "The 'dropout' parameter of S4"),
        ({"verbose": 3}, "The 'verbose' parameter of S4"),
        ({"d_state": 5}, "d_state must be even, .* got 5"),
        ({"ssm": "s4d", "init": "legt"}, "init of ssm=\"s4d\" must be one of .* got 'legt'"),
        ({"dt_min": 0.2, "dt_max": 0.1}, "dt_min must not exceed dt_max"),
    ],
)
def test_bad_parameters_are_refused_in_fit(make_estimator, parameters, message):
    with pytest.raises(ValueError, match=message):
        make_estimator(**parameters).fit(FORMS["3-D"], TARGETS)


def test_prediction_that_is_not_finite_is_refused(make_estimator):
    parameters = {"dtype": "float32", "norm": None, "standardize": None, "patch_size": 7}
    estimator = make_estimator(d_model=32, **parameters)
    X = FORMS["3-D"].copy()
    estimator.fit(X, TARGETS)
    X[4] = 3e38
    with pytest.raises(ValueError, match=r"finite outputs, got .* for X\[4\]"):
        estimator.predict(X)


# --- missing values ------------------------------------------------------------------------------


def holes(X):
    """Return X with a tenth of the values missing, never the last one of a sequence."""
    X = X.copy()
    X[..., :-1][np.random.default_rng(0).uniform(size=X[..., :-1].shape) < 0.1] = np.nan
    return X


@pytest.mark.parametrize(("missing", "n_inputs"), [("mask", 4), ("ffill", 2)])
def test_missing_values_are_filled_or_marked(make_estimator, missing, n_inputs):
    X = holes(FORMS["3-D"])
    estimator = make_estimator(missing=missing).fit(X, TARGETS)
    assert estimator.net_.module_.backbone.n_inputs == n_inputs
    output = estimator.predict_proba if is_classifier(estimator) else estimator.predict
    X[..., 0] = FORMS["3-D"][..., 0]  # there is a value before every missing one
    filled = np.array([pd.DataFrame(x.T).ffill().to_numpy().T for x in X])
    assert np.isnan(X).any()
    same = np.allclose(output(X), output(filled), rtol=1e-9)
    assert same is (missing == "ffill")


def test_missing_values_are_refused_when_asked(make_estimator):
    X = FORMS["3-D"]
    with pytest.raises(ValueError, match="no missing values with missing='error'"):
        make_estimator(missing="error").fit(holes(X), TARGETS)
    with pytest.raises(ValueError, match="no missing values with missing='error'"):
        make_estimator(missing="error").fit(X, TARGETS).predict(holes(X))


# --- sampling rates ------------------------------------------------------------------------------


def test_sampling_rate_of_fit_is_assumed(make_estimator, waves):
    X, y = waves
    estimator = make_estimator().fit(X, y, sampling_rate=100)
    assert estimator.sampling_rate_ == 100
    assert_array_equal(estimator.predict(X, sampling_rate=100), estimator.predict(X))


# maxima, and filters that alias, keep less to the continuous time than the mean of a state space
@pytest.mark.parametrize(("readout", "error"), [("trained", 0.1), ("ridge", 0.3)])
def test_other_sampling_rate_predicts_close_to_the_one_of_fit(readout, error):
    time = np.arange(400) / 400
    y = np.arange(20) % 2
    phases = np.random.default_rng(0).uniform(0, 6, 20)
    frequency = np.where(y, 5, 2)
    X = np.sin(2 * np.pi * frequency[:, np.newaxis] * time + phases[:, np.newaxis])[:, np.newaxis]
    parameters = {"d_model": 8, "n_layers": 1, "d_state": 8, "max_epochs": 10, "random_state": 0}
    classifier = S4Classifier(**parameters, readout=readout).fit(X, y, sampling_rate=400)
    slower = X[:, :, ::2]
    expected = classifier.predict_log_proba(X)
    right = classifier.predict_log_proba(slower, sampling_rate=200)
    wrong = classifier.predict_log_proba(slower)
    assert np.abs(right - expected).max() < error * np.abs(wrong - expected).max()
    assert classifier.score(slower, y, sampling_rate=200) == classifier.score(X, y)
    for method in (classifier.predict_proba, classifier.decision_function):
        assert not np.array_equal(method(slower, sampling_rate=200), method(slower))


def test_sampling_rate_only_at_prediction_is_refused(make_estimator, waves):
    X, y = waves
    with pytest.raises(ValueError, match="sampling_rate must be given to fit as well"):
        make_estimator().fit(X, y).predict(X, sampling_rate=100)


def test_other_sampling_rate_is_refused_with_patches(make_estimator, waves):
    X, y = waves
    estimator = make_estimator(patch_size=2).fit(X, y, sampling_rate=100)
    estimator.predict(X, sampling_rate=100)
    with pytest.raises(ValueError, match=r"that of fit, 100, with patch_size > 1, got 50\. Fit"):
        estimator.predict(X, sampling_rate=50)


def test_long_sequences_are_read_in_patches_unless_a_rate_is_given(make_estimator):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 1, 3000)), np.arange(6) % 2
    assert make_estimator(max_epochs=1).fit(X, y).patch_size_ == 2
    told = make_estimator(max_epochs=1).fit(X, y, sampling_rate=100)
    assert told.patch_size_ == 1
    single = make_estimator(max_epochs=1, patch_size=1).fit(X, y, sampling_rate=100)
    slower = X[..., ::2]
    assert_array_equal(
        told.predict(slower, sampling_rate=50), single.predict(slower, sampling_rate=50)
    )


@pytest.mark.parametrize("rate", [0, -1, np.inf, np.nan])
def test_bad_sampling_rate_is_refused(make_estimator, waves, rate):
    with pytest.raises(ValueError, match="sampling_rate must be finite and above zero"):
        make_estimator().fit(*waves, sampling_rate=rate)


def test_training_goes_on_at_another_sampling_rate(make_estimator, waves):
    X, y = waves
    estimator = make_estimator(warm_start=True).fit(X, y, sampling_rate=100)
    estimator.fit(X[:, :, ::2], y, sampling_rate=50)
    assert estimator.sampling_rate_ == 100


def test_bandlimit_reaches_the_layers_and_the_stream(waves):
    X, y = waves
    fast = {"ssm": "s4d", "init": "lin", "d_state": 16, "dt_min": 0.1, "dt_max": 1.0}
    classifier = S4Classifier(**TINY | fast, bandlimit=0.5).fit(X, y, sampling_rate=100)
    assert classifier.net_.module_.backbone.blocks[0].layer.bandlimit == 0.5
    expected = classifier.predict_proba(X, sampling_rate=50)
    stream = classifier.stream(n_streams=len(X), sampling_rate=50).push(X)
    assert_allclose(stream.predict_proba(), expected, rtol=1e-5)
    unlimited = copy.deepcopy(classifier)
    unlimited.net_.module_.backbone.blocks[0].layer.bandlimit = None
    assert np.abs(unlimited.predict_proba(X, sampling_rate=50) - expected).max() > 1e-6


def test_bandlimit_of_a_bilinear_model_is_refused(waves):
    with pytest.raises(ValueError, match="bandlimit must be None with the bilinear rule"):
        S4Classifier(bandlimit=1.0).fit(*waves)


def test_masked_targets_are_refused_as_missing(make_estimator):
    masked = np.ma.array(TARGETS, mask=[1, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="y contains NaN"):
        make_estimator().fit(FORMS["3-D"], masked)


def test_masked_prompt_is_refused_as_missing():
    cube = FORMS["3-D"]
    generator = S4Generator(**TINY, distribution="gaussian").fit(cube)
    prompt = np.ma.array(cube[0], mask=False)
    prompt[0, 1] = np.ma.masked
    with pytest.raises(ValueError, match="prompt must hold finite numbers only, got NaN"):
        generator.sample(length=9, prompt=prompt)
