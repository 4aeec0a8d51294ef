"""The form of X that a reader keeps, and batches of sequences, without a network."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sks4.data import SymbolEncoder
from sks4.estimators._sequences import SequenceReader, count_steps, evaluation_sampler

CUBE = np.arange(24.0).reshape(3, 2, 4)


def fit_read(X, layout="nct"):
    return SequenceReader("S4Classifier", layout).fit_read(X)


@pytest.mark.parametrize(
    ("X", "n_timepoints", "n_features", "n_channels"),
    [
        (CUBE[:, 0], 4, 4, 1),
        (CUBE, None, 2, 2),
        (list(CUBE), None, 2, 2),
        ([CUBE[0], CUBE[1][:, :1]], None, 2, 2),
        (pd.DataFrame(CUBE[:, 0]), 4, 4, 1),
    ],
    ids=["2-D", "3-D", "list", "ragged", "frame"],
)
def test_reader_knows_the_form_of_fit(X, n_timepoints, n_features, n_channels):
    reader, panel = fit_read(X)
    assert reader.n_timepoints == n_timepoints
    assert reader.attributes() == {"n_timepoints_in_": n_timepoints, "n_features_in_": n_features}
    assert panel.n_channels == n_channels
    again = reader.read(X)
    for first, second in zip(panel, again, strict=True):
        assert_array_equal(first, second)


def test_fit_read_leaves_the_reader_alone():
    reader = SequenceReader("S4Classifier", "nct")
    reader.fit_read(CUBE)
    assert reader.features is None
    assert reader.n_timepoints is None


def test_layout_swaps_the_axes_of_arrays():
    _, panel = fit_read(CUBE.transpose(0, 2, 1), "ntc")
    assert_array_equal(np.stack(list(panel)), CUBE)


def test_names_are_those_of_channels_only():
    frames = [pd.DataFrame(x.T, columns=["u", "v"]) for x in CUBE]
    reader, panel = fit_read(frames)
    assert reader.channel_names.tolist() == ["u", "v"]
    assert_array_equal(np.stack(list(panel)), CUBE)
    table = pd.DataFrame(CUBE[:, 0], columns=list("wxyz"))
    reader, _ = fit_read(table)
    assert reader.channel_names is None  # they name time points
    assert reader.attributes()["feature_names_in_"].tolist() == list("wxyz")


@pytest.mark.parametrize(
    ("fitted", "other", "message"),
    [
        (CUBE, CUBE[:, 0], "X must have the form it had in fit, channels and time"),
        (CUBE[:, 0], CUBE, "X must have the form it had in fit, one row"),
        (CUBE, CUBE[:, :1], "X has 1 channels, but S4Classifier is expecting 2 channels"),
        (CUBE[:, 0], CUBE[:, 0, :3], "X has 3 features, but S4Classifier is expecting 4"),
        (CUBE, [x[:1] for x in CUBE], "X has 1 channels, but S4Classifier is expecting 2"),
    ],
)
def test_another_form_is_refused(fitted, other, message):
    reader, _ = fit_read(fitted)
    with pytest.raises(ValueError, match=message):
        reader.read(other)


def test_other_lengths_are_read_where_time_is_free():
    reader, _ = fit_read(CUBE)
    panel = reader.read([CUBE[0], np.hstack([CUBE[1], CUBE[2]])])
    assert panel.lengths.tolist() == [4, 8]


def test_symbols_are_read_as_numbers():
    texts = ["abba", "ab"]
    encoder = SymbolEncoder().fit(texts)
    reader, panel = SequenceReader("S4Generator", "nct", encoder).fit_read(texts)
    assert [x.tolist() for x in panel] == [[[0, 1, 1, 0]], [[0, 1]]]
    assert [x.tolist() for x in reader.read(["ba"])] == [[[1, 0]]]
    with pytest.raises(ValueError, match="got 'c'"):
        reader.read(["abc"])


def test_steps_are_patches_begun():
    _, panel = fit_read([np.ones((1, n)) for n in (1, 4, 5, 8, 9)])
    assert count_steps(panel, 4).tolist() == [1, 1, 2, 2, 3]
    assert count_steps(panel, 1).tolist() == [1, 4, 5, 8, 9]


def test_evaluation_reads_each_sequence_once(monkeypatch):
    monkeypatch.setattr("sks4.estimators._sequences.EVALUATION_TOKENS", 20)
    n_steps = np.array([3, 9, 1, 7, 7, 2])
    batches = list(evaluation_sampler(n_steps, "cpu"))
    assert sorted(np.concatenate(batches).tolist()) == list(range(6))
    assert max(len(batch) * n_steps[batch].max() for batch in batches) <= 20
