"""Batches: the same in every form, every sequence once, nothing read from the padding."""

import copy
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset

from sks4.data import (
    BucketBatchSampler,
    DrawnBatchSampler,
    SequenceDataset,
    SequenceEncoder,
    as_panel,
)

quick = settings(deadline=None, max_examples=40)


def dataset_of(X, *, standardize="global", dtype="float64", **options):
    panel = as_panel(X)
    return SequenceDataset(panel, SequenceEncoder(standardize).fit(panel), dtype=dtype, **options)


@st.composite
def sequences(draw):
    """Draw sequences of different lengths whose last time point is observed."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n_channels = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    X = [rng.normal(3, 2, (n_channels, n)) for n in lengths]
    if draw(st.booleans()):
        for sequence in X:
            sequence[:, :-1][rng.uniform(size=(n_channels, sequence.shape[1] - 1)) < 0.2] = np.nan
    return X


def other_forms(X):
    """Return the same sequences as a padded array, in both layouts, and as frames."""
    longest = max(x.shape[1] for x in X)
    dense = np.full((len(X), len(X[0]), longest), np.nan)
    for target, x in zip(dense, X, strict=True):
        target[:, : x.shape[1]] = x
    nested = pd.DataFrame({f"c{k}": [x[k] for x in X] for k in range(len(X[0]))})
    return [dense, nested, [pd.DataFrame(x.T) for x in X], [np.asfortranarray(x) for x in X]]


@quick
@given(X=sequences(), standardize=st.sampled_from(["global", "series", None]))
def test_batches_are_equal_in_every_form(X, standardize):
    expected = dataset_of(X, standardize=standardize).__getitems__(list(range(len(X))))
    for form in other_forms(X):
        batch = dataset_of(form, standardize=standardize).__getitems__(list(range(len(X))))
        assert batch[0].keys() == expected[0].keys()
        torch.testing.assert_close(batch, expected, rtol=0, atol=1e-12)


@quick
@given(X=sequences(), standardize=st.sampled_from(["global", "series", None]))
def test_sequence_does_not_depend_on_what_shares_its_batch(X, standardize):
    dataset = dataset_of(X, standardize=standardize)
    inputs, _ = dataset.__getitems__(list(range(len(X))))
    lengths = [x.shape[1] for x in X]
    assert ("lengths" in inputs) == (min(lengths) < max(lengths))
    for i, length in enumerate(lengths):
        alone = dataset[i][0]
        assert alone["u"].shape[1] == length
        assert "lengths" not in alone
        torch.testing.assert_close(inputs["u"][i, :length], alone["u"][0], rtol=0, atol=1e-12)
        assert not inputs["u"][i, length:].any()


@quick
@given(X=sequences(), garbage=st.sampled_from([np.nan, 1e30]))
def test_padding_is_never_read(X, garbage):
    lengths = np.array([x.shape[1] for x in X])
    encoder = SequenceEncoder().fit(as_panel(X))
    values = np.full((len(X), len(X[0]), lengths.max() + 2), garbage)
    for target, x in zip(values, X, strict=True):
        target[:, : x.shape[1]] = x
    encoded = encoder.transform(values, lengths, "float64")
    for i, (own, length) in enumerate(zip(encoded, lengths, strict=True)):
        np.testing.assert_array_equal(own[length:], 0)
        np.testing.assert_array_equal(
            own[:length], encoder.transform(X[i][np.newaxis], lengths[[i]], "float64")[0]
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_has_the_documented_types_and_shapes(dtype):
    X = [np.ones((2, 3), dtype="i4"), np.zeros((2, 5), dtype="f2")]
    dataset = dataset_of(X, y=[1, 0], sample_weight=[1, 2], rate=2, dtype=dtype)
    inputs, targets = dataset.__getitems__([1, 0])
    assert inputs["u"].shape == (2, 5, 2)
    assert inputs["u"].is_contiguous()
    assert inputs["u"].dtype == targets["weight"].dtype == getattr(torch, dtype)
    assert inputs["lengths"].tolist() == [5, 3]
    assert inputs["lengths"].dtype == targets["y"].dtype == torch.int64
    assert isinstance(inputs["rate"], float)
    assert targets["y"].tolist() == [0, 1]
    assert targets["weight"].tolist() == [2, 1]


def test_targets_default_to_zeros_of_weight_one():
    _, targets = dataset_of(np.zeros((3, 4))).__getitems__([0, 2])
    assert targets["y"].tolist() == [0, 0]
    assert targets["weight"].tolist() == [1, 1]


def test_targets_may_be_many_and_read_only():
    y = np.arange(6.0).reshape(3, 2)
    y.flags.writeable = False
    _, targets = dataset_of(np.zeros((3, 4)), y=y, dtype="float32").__getitems__([2])
    assert targets["y"].tolist() == [[4.0, 5.0]]
    assert targets["y"].dtype == torch.float32


def test_dataset_follows_a_subset_of_the_panel():
    X = [np.full((1, n), float(n)) for n in (1, 2, 3)]
    panel = as_panel(X).take(np.array([2, 0]))
    dataset = SequenceDataset(panel, SequenceEncoder(None).fit(panel), y=[30, 10])
    assert len(dataset) == 2
    assert dataset[0][0]["u"].ravel().tolist() == [3, 3, 3]
    assert Subset(dataset, [1]).__getitems__([0])[1]["y"].tolist() == [10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": [1]}, r"y must have one entry for each of the 2 sequences, got shape \(1,\)"),
        ({"sample_weight": np.ones((3, 1))}, r"sample_weight must have one .* got shape \(3, 1\)"),
        ({"rate": 0}, "rate must be finite and above zero"),
    ],
)
def test_dataset_refuses_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        dataset_of(np.zeros((2, 3)), **options)


def test_dataset_refuses_missing_values_that_the_encoder_refuses():
    encoder = SequenceEncoder(missing="error").fit(as_panel(np.zeros((1, 3))))
    with pytest.raises(ValueError, match="NaN in 1 of 1 sequences"):
        SequenceDataset(as_panel([[0, np.nan, 1]]), encoder)


def test_data_loader_yields_whole_batches():
    X = [np.full((1, n), float(n)) for n in (1, 5, 2, 4, 3)]
    dataset = dataset_of(X, standardize=None, y=[1, 5, 2, 4, 3])
    sampler = BucketBatchSampler(dataset.panel.lengths, 2, seed=1)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=lambda batch: batch)
    seen = []
    for inputs, targets in loader:
        torch.testing.assert_close(inputs["u"].max(dim=1).values[:, 0].long(), targets["y"])
        seen += targets["y"].tolist()
    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_read_only_memory_map_is_never_copied_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("sks4.data._panel._BLOCK_SIZE", 2**12)
    values = np.random.default_rng(0).normal(size=(500, 2, 1000)).astype("float32")  # 4 MB
    values[7, :, 900:] = np.nan
    path = tmp_path / "values.npy"
    np.save(path, values)
    path.chmod(0o444)
    mapped = np.load(path, mmap_mode="r")
    tracemalloc.start()
    dataset = dataset_of(mapped, dtype="float32")
    inputs, _ = dataset.__getitems__([7, 3])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes / 10
    torch.testing.assert_close(inputs, dataset_of(values, dtype="float32").__getitems__([7, 3])[0])
    assert np.shares_memory(dataset.panel.sequences, mapped)


# --- which sequences go together ---------------------------------------------------------------

many_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=80)
batch_sizes = st.integers(1, 9)
token_limits = st.none() | st.integers(1, 150)


@quick
@given(many_lengths, batch_sizes, token_limits, st.booleans())
def test_sampler_yields_every_sequence_once_within_its_limits(
    lengths, batch_size, max_tokens, shuffle
):
    lengths = np.array(lengths)
    sampler = BucketBatchSampler(lengths, batch_size, max_tokens=max_tokens, shuffle=shuffle)
    for _ in range(2):
        expected = len(sampler)
        batches = list(sampler)
        assert len(batches) == expected
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        for batch in batches:
            assert 1 <= len(batch) <= batch_size
            if max_tokens is not None and len(batch) > 1:
                assert len(batch) * lengths[batch].max() <= max_tokens
    if max_tokens is None:
        assert expected == -(-len(lengths) // batch_size)


def test_sampler_pads_to_the_first_sequence_of_a_batch():
    sampler = BucketBatchSampler(np.array([10, 10, 9]), 5, max_tokens=19, shuffle=False)
    assert list(sampler) == [[0], [1], [2]]


def test_sampler_repeats_its_epochs_for_the_same_seed_only():
    lengths = np.random.default_rng(0).integers(1, 50, 100)

    def epochs(seed):
        sampler = BucketBatchSampler(lengths, 8, seed=seed)
        return [list(sampler) for _ in range(3)]

    first = epochs(0)
    assert first == epochs(0)
    assert first != epochs(1)
    assert first[0] != first[1]
    composition = [{frozenset(batch) for batch in epoch} for epoch in first]
    assert composition[0] != composition[1]


def test_sampler_leaves_the_global_generators_alone():
    states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    list(BucketBatchSampler(np.arange(1, 30), 4))
    np.testing.assert_array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[1])


def test_sampler_goes_on_after_pickling_and_copying():
    sampler = BucketBatchSampler(np.arange(1, 30), 4)
    next(iter(sampler))
    clones = [pickle.loads(pickle.dumps(sampler)), copy.deepcopy(sampler)]
    expected = list(sampler)
    assert [list(clone) for clone in clones] == [expected, expected]


def test_sampler_pads_little():
    lengths = np.random.default_rng(0).integers(100, 2000, 3000)
    sampler = BucketBatchSampler(lengths, 16)
    padded = sum(len(batch) * lengths[batch].max() for batch in sampler)
    assert padded < 1.08 * lengths.sum()  # without buckets: 1.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 2, "max_tokens": 0}, "max_tokens must be at least 1"),
    ],
)
def test_sampler_refuses_limits_below_one(options, message):
    with pytest.raises(ValueError, match=message):
        BucketBatchSampler(np.ones(3, dtype=int), **options)


@pytest.mark.parametrize(("n_rows", "n_drawn", "batch_size"), [(100, 7, 3), (5, 9, 2), (8, 8, 8)])
def test_rows_are_drawn_anew_without_repetition(n_rows, n_drawn, batch_size):
    sampler = DrawnBatchSampler(n_rows, n_drawn, batch_size, np.random.default_rng(0))
    epochs = [list(sampler) for _ in range(2)]
    for batches in epochs:
        drawn = [row for batch in batches for row in batch]
        assert len(drawn) == len(set(drawn)) == min(n_drawn, n_rows)
        assert set(drawn) <= set(range(n_rows))
        assert len(batches) == len(sampler)
        assert max(map(len, batches)) <= batch_size
    assert epochs[0] != epochs[1]
