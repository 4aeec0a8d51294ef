import warnings

import numpy as np
import pytest
import torch

from sks4 import S4Regressor
from sks4.data import as_panel
from sks4.estimators._auto import (
    MAX_TOKENS,
    candidate_embeddings,
    resolve_batch_size,
    resolve_device,
    resolve_dt_range,
    resolve_early_stopping,
    resolve_max_epochs,
    resolve_patch_size,
    resolve_standardize,
)
from sks4.exceptions import MemoryLengthWarning


def equal_lengths(n_samples, length):
    return np.full(n_samples, length)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, (1e-2, 1)), (64, (1e-2, 1)), (1000, (1e-3, 0.1)), (10**6, (1e-4, 1e-2))],
)
def test_dt_range_follows_the_length(length, expected):
    assert resolve_dt_range(equal_lengths(3, length), "auto", "auto") == pytest.approx(expected)


def test_dt_range_does_not_follow_a_few_long_sequences():
    lengths = np.append(equal_lengths(99, 1000), 50_000)
    assert resolve_dt_range(lengths, "auto", "auto") == pytest.approx((1e-3, 0.1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1e-3, 0.2), (1e-3, 0.2)),
        (("auto", 0.2), (1e-3, 0.2)),
        (("auto", 1e-5), (1e-5, 1e-5)),
        ((0.01, "auto"), (0.01, 0.1)),
        ((0.009, "auto"), (0.009, 0.1)),
    ],
)
def test_dt_range_keeps_what_is_given_and_stays_a_range(given, expected):
    assert resolve_dt_range(equal_lengths(3, 1000), *given) == pytest.approx(expected)


def test_short_memory_is_warned_of():
    with pytest.warns(MemoryLengthWarning, match="remembers about 10 steps, but the sequences"):
        assert resolve_dt_range(equal_lengths(3, 1000), 0.1, "auto") == (0.1, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_dt_range(equal_lengths(3, 1000), 0.01, "auto")


@pytest.mark.parametrize(
    ("n_samples", "length", "expected"),
    [(1, 10, 8), (100, 64, 8), (1000, 64, 16), (10**5, 64, 64), (10**5, MAX_TOKENS // 5, 5)],
)
def test_batch_size_follows_number_and_length(n_samples, length, expected):
    assert resolve_batch_size(equal_lengths(n_samples, length)) == expected


def test_sequence_beyond_the_memory_of_a_batch_is_alone():
    assert resolve_batch_size(equal_lengths(100, 10 * MAX_TOKENS)) == 1


@pytest.mark.parametrize(
    ("n_samples", "length", "n_batches", "expected"),
    [
        (100, 64, 13, 77),  # a thousand steps of the optimizer
        (3, 10, 1, 300),  # ... but no more epochs than this
        (3000, 3000, 1000, 8),
        (1000, 10**4, 16, 10),  # as much as is bearable
        (10**6, 1000, 10**5, 8),
    ],
)
def test_max_epochs_follow_the_size_of_the_data(n_samples, length, n_batches, expected):
    assert resolve_max_epochs(equal_lengths(n_samples, length), n_batches) == expected


@pytest.mark.parametrize(
    ("given", "length", "may_change_rate", "expected"),
    [
        ("auto", 1, False, 1),
        ("auto", 2048, False, 1),
        ("auto", 2049, False, 2),
        ("auto", 5300, False, 4),
        ("auto", 10**6, False, 16),  # as much as fits into the features
        ("auto", 5300, True, 1),
        (3, 10, False, 3),
        (3, 5300, True, 3),
    ],
)
def test_patch_size_follows_long_sequences(given, length, may_change_rate, expected):
    lengths = equal_lengths(20, length)
    assert resolve_patch_size(lengths, given, may_change_rate=may_change_rate) == expected


NOISE = np.random.default_rng(0).standard_normal((200, 2, 120))
CLASSES = np.arange(200) % 4
CHANCE = np.random.default_rng(1).standard_normal((200, 2, 1))


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        pytest.param(NOISE, "global", id="all alike"),
        pytest.param(NOISE * np.exp(CHANCE / 8), "global", id="nearly alike"),
        pytest.param(NOISE * np.exp(CHANCE), "running", id="scale by chance"),
        pytest.param(NOISE + CHANCE, "running", id="level by chance"),
        pytest.param(NOISE * (1 + CLASSES)[:, None, None], "global", id="scale tells"),
        pytest.param(
            np.exp(CHANCE / 3) * (NOISE + [[0], [0.4]] * (CLASSES == 2)[:, None, None]),
            "global",
            id="level of one channel tells",
        ),
        pytest.param(
            NOISE * np.exp(2.0 * CLASSES)[:, None, None],
            "running_split",
            id="scale tells and hides",
        ),
        pytest.param(
            NOISE + 9.0 * CLASSES[:, None, None], "running_split", id="level tells and hides"
        ),
        pytest.param(NOISE[..., :10], "global", id="levels of short sequences differ by chance"),
        pytest.param((NOISE * np.exp(CHANCE))[..., :60], "running", id="short"),
        pytest.param((NOISE * np.exp(CHANCE / 3))[:20], "global", id="too few to tell"),
        pytest.param(np.zeros_like(NOISE), "global", id="constant"),
        pytest.param(NOISE * 1e160, "global", id="too large to scale"),
        pytest.param(
            np.where(NOISE < 0, np.nan, NOISE * np.exp(CHANCE)), "running", id="missing values"
        ),
    ],
)
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_scaling_is_running_where_level_and_scale_do_not_tell_or_hide(X, expected, kind):
    classes = CLASSES[: len(X)]
    targets = classes if kind == "classes" else classes[:, None].astype(float)
    if kind == "values" and expected == "running_split":
        expected = "global"  # values may follow the level
    panel = as_panel(X)
    assert resolve_standardize(panel, targets, "auto") == expected
    assert resolve_standardize(panel, targets, "global") == "global"
    assert resolve_standardize(panel, targets, None) is None


def test_scaling_looks_at_every_target():
    X, unrelated = as_panel(NOISE * np.exp(CHANCE / 3)), CLASSES.astype(float)
    assert resolve_standardize(X, unrelated[:, None], "auto") == "running"
    targets = np.stack([unrelated, CHANCE[:, 1, 0]], 1)
    assert resolve_standardize(X, targets, "auto") == "global"


@pytest.mark.parametrize(
    ("given", "n_samples", "has_validation_data", "expected"),
    [
        ("auto", 4999, False, False),
        ("auto", 5000, False, True),
        ("auto", 10, True, True),
        (True, 10, False, True),
        (False, 10**6, True, False),
    ],
)
def test_early_stopping_follows_the_data_where_it_is_auto(
    given, n_samples, has_validation_data, expected
):
    stops = resolve_early_stopping(given, n_samples, has_validation_data=has_validation_data)
    assert stops is expected


def test_auto_device_is_the_gpu_if_there_is_one():
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_device_that_is_there_is_kept_as_it_was_written(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cpu", "cuda", "cuda:1"):
        assert resolve_device(device) == device
    with pytest.raises(ValueError, match=r"'cpu', 'cuda:0', 'cuda:1', got 'cuda:2'"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "gpu", "meta", ""])
def test_device_that_is_not_there_is_refused_before_training(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"a device of this machine, 'cpu'.* got {device!r}"):
        S4Regressor(device=device).fit([[0.0, 1.0]], [0.0])


@pytest.mark.parametrize(
    ("length", "expected"), [(10, 16), (1000, 16), (4095, 64), (4096, 128), (10**6, 256)]
)
def test_spectra_are_of_a_thirty_second_of_the_length(length, expected):
    lengths = equal_lengths(3, length)
    options = {"embedding": "spectrum", "may_change_rate": False}
    assert resolve_patch_size(lengths, "auto", **options) == expected
    assert resolve_patch_size(lengths, 10, **options) == 10
    with pytest.raises(ValueError, match=r"at least 4 with embedding='spectrum', got 3\. Pass"):
        resolve_patch_size(lengths, 3, **options)


def test_spectra_are_a_candidate_where_sequences_are_long():
    def candidates(length, embedding="auto", patch_size="auto", *, may_change_rate=False):
        lengths = equal_lengths(3, length)
        return candidate_embeddings(lengths, embedding, patch_size, may_change_rate=may_change_rate)

    assert candidates(2048) == ("values",)
    assert candidates(2049) == ("values", "spectrum")
    assert candidates(2049, patch_size=16) == ("values",)
    assert candidates(2049, may_change_rate=True) == ("values",)
    assert candidates(10, embedding="spectrum") == ("spectrum",)
    assert candidates(10**6, embedding="values") == ("values",)
