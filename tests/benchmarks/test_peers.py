import numpy as np
import pytest
import torch
from sklearn.base import clone

from benchmarks.peers._classifier import NetworkClassifier
from benchmarks.peers.aeon_classifiers import MAX_LENGTH, AeonClassifier
from benchmarks.peers.inception_time import InceptionNet
from benchmarks.peers.lstm import LSTMNet

NETWORKS = [InceptionNet, LSTMNet]

# float32 sums over different numbers of steps
PADDING_TOLERANCE = 1e-5


@pytest.fixture
def waves():
    """Sines of two frequencies, at any phase, length and scale."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    phases = rng.uniform(0, 6, 24)
    lengths = rng.integers(30, 50, 24)
    waves = [
        np.sin((0.4 + label) * np.arange(length) + phase)
        for label, length, phase in zip(y, lengths, phases, strict=True)
    ]
    return [wave * scale for wave, scale in zip(waves, rng.uniform(1, 9, 24), strict=True)], y


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("length", [1, 50])
def test_network_gives_one_score_a_class(network, length):
    torch.manual_seed(0)
    assert network(3).eval()(torch.randn(2, length, 1)).shape == (2, 3)


@pytest.mark.parametrize("network", NETWORKS)
def test_network_does_not_see_padding(network):
    torch.manual_seed(0)
    model = network(3).eval()
    u = torch.randn(2, 40, 1)
    u[0, 25:] = 0
    with torch.no_grad():
        together = model(u, torch.tensor([25, 40]))
        alone = torch.cat([model(u[:1, :25]), model(u[1:])])
    torch.testing.assert_close(together, alone, rtol=0, atol=PADDING_TOLERANCE)


@pytest.mark.parametrize("network", NETWORKS)
def test_network_learns_frequencies(network, waves):
    X, y = waves
    model = NetworkClassifier(network, max_epochs=15, lr=1e-2)
    assert np.mean(model.fit(X, y + 5).predict(X) == y + 5) > 0.9


def test_training_is_the_same_for_the_same_seed(waves):
    X, y = waves
    models = [NetworkClassifier(LSTMNet, max_epochs=1, random_state=s).fit(X, y) for s in (0, 0, 1)]
    losses = [model.net_.history[-1, "train_loss"] for model in models]
    assert losses[0] == losses[1] != losses[2]


def test_training_ends_at_the_time_limit(waves):
    model = NetworkClassifier(LSTMNet, max_time=1e-6).fit(*waves)
    assert model.net_.stop_reason_ == "max_time"
    assert len(model.net_.history) == 1


def test_sequences_for_aeon_are_cut_padded_and_standardized():
    model = clone(AeonClassifier("minirocket", standardize="series"))
    model.length_ = 4
    X = [np.array([1, 3], np.int16), np.array([5, 5, 5]), np.arange(9.0)]
    equal = model._equal_lengths(X)
    assert equal.dtype == np.float32
    half = 1 / np.sqrt(5)
    expected = [[-1, 1, 1, 1], [0, 0, 0, 0], [-3 * half, -half, half, 3 * half]]
    np.testing.assert_allclose(equal[:, 0], expected, rtol=1e-6)


def test_missing_values_for_aeon_are_those_before_in_each_channel():
    model = AeonClassifier("quant")
    model.length_ = 4
    X = [np.array([[np.nan, 1, np.nan, 2], [3, np.nan, np.nan, 4]])]
    np.testing.assert_array_equal(model._equal_lengths(X)[0], [[0, 1, 1, 2], [3, 3, 3, 4]])


@pytest.mark.parametrize("name", ["minirocket", "multirocket_hydra", "quant"])
def test_aeon_learns_frequencies(waves, name):
    pytest.importorskip("aeon", reason="aeon is in the extra benchmark")
    X, y = waves
    model = AeonClassifier(name).fit([*X, np.zeros(MAX_LENGTH + 1)], np.append(y, 2))
    assert model.length_ == MAX_LENGTH
    assert np.mean(model.predict(X) == y) > 0.9
