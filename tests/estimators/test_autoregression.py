"""Likelihoods and draws of a model of the next step, against the model step by step."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sks4 import S4Generator
from sks4.estimators import _autoregression
from sks4.estimators._autoregression import draw, log_likelihoods, seed_of

TINY = {"d_model": 4, "n_layers": 1, "d_state": 4, "max_epochs": 1, "random_state": 0}
SYMBOLS = np.array([[0, 1, 2, 1, 0, 2], [2, 2, 0, 1, 1, 0], [1, 0, 0, 2, 2, 1]])


@pytest.fixture(scope="module")
def of_symbols():
    return S4Generator(**TINY, dtype="float64").fit(list(SYMBOLS))._predictor_


@pytest.fixture(scope="module")
def of_values():
    X = 5 + 3 * np.random.default_rng(0).normal(size=(4, 2, 6))
    return S4Generator(distribution="gaussian", **TINY, dtype="float64").fit(X)._predictor_, X


def likelihoods(predictor, X):
    batches = predictor.batches(predictor.reader.read(X))
    return log_likelihoods(predictor.net, predictor.codec, batches)


def test_likelihood_is_the_product_of_those_of_the_steps(of_symbols):
    totals, counts = likelihoods(of_symbols, list(SYMBOLS))
    model = of_symbols.net.module_.eval()
    with torch.inference_mode():
        for sequence, total in zip(SYMBOLS, totals, strict=True):
            expected = 0.0
            for t, symbol in enumerate(sequence):
                before = of_symbols.codec.precede(sequence[np.newaxis, :t])
                scores = model(before)[0, -1]
                expected += torch.log_softmax(scores, -1)[symbol].item()
            assert total == pytest.approx(expected, rel=1e-9)
    assert_array_equal(counts, [6, 6, 6])


def test_likelihoods_are_in_the_order_of_the_sequences(of_symbols):
    ragged = [SYMBOLS[0], SYMBOLS[1, :2], SYMBOLS[2, :4]]
    totals, counts = likelihoods(of_symbols, ragged)
    assert_array_equal(counts, [6, 2, 4])
    for sequence, total in zip(ragged, totals, strict=True):
        assert likelihoods(of_symbols, [sequence])[0][0] == pytest.approx(total, rel=1e-9)


def test_likelihood_of_values_is_in_their_unit(of_values):
    predictor, X = of_values
    totals, counts = likelihoods(predictor, X)
    model, codec = predictor.net.module_.eval(), predictor.codec
    scale = codec.encoder.standardizer_.scale_
    dataset = codec.dataset(predictor.reader.read(X), None, "float64")
    inputs, targets = dataset.__getitems__(list(range(4)))
    with torch.inference_mode():
        scaled = predictor.net.criterion_.log_prob(model(inputs["u"]), targets["y"])
    expected = scaled.reshape(4, 6, -1).numpy() - np.log(scale)
    assert_allclose(totals, expected.sum((1, 2)), rtol=1e-9)
    assert_array_equal(counts, [12] * 4)


def test_missing_values_count_nowhere(of_values):
    predictor, X = of_values
    gaps = X.copy()
    gaps[1, 0, 2:4] = np.nan
    assert_array_equal(likelihoods(predictor, gaps)[1], [12, 10, 12, 12])


@pytest.mark.parametrize("size", [1, 5, 7])
def test_long_sequences_in_pieces_have_the_same_likelihood(of_symbols, monkeypatch, size):
    expected, _ = likelihoods(of_symbols, list(SYMBOLS))
    monkeypatch.setattr(_autoregression, "MAX_TOKENS", size)
    assert_allclose(likelihoods(of_symbols, list(SYMBOLS))[0], expected, rtol=1e-9)


@pytest.mark.parametrize("n_given", [0, 1, 3])
def test_most_probable_symbols_follow_what_is_given(of_symbols, n_given):
    given = SYMBOLS[:, :n_given]
    found = draw(of_symbols.net, of_symbols.codec, given, 6, 0, temperature=1.0, top_k=1)
    assert_array_equal(found[:, :n_given], given)
    model = of_symbols.net.module_.eval()
    with torch.inference_mode():
        for t in range(n_given, 6):
            scores = model(of_symbols.codec.precede(found[:, :t]))[:, -1]
            assert_array_equal(found[:, t], scores.argmax(-1))


def test_draws_depend_on_the_seed_alone(of_symbols):
    def drawn(seed):
        nothing = of_symbols.codec.nothing(8)
        return draw(of_symbols.net, of_symbols.codec, nothing, 9, seed, temperature=1.0, top_k=None)

    assert drawn(3).shape == (8, 9)
    assert_array_equal(drawn(3), drawn(3))
    assert (drawn(3) != drawn(4)).any()


def test_seed_of_a_state_is_drawn_from_it():
    assert seed_of(5) == seed_of(5) != seed_of(6)
    state = np.random.RandomState(0)
    assert seed_of(state) != seed_of(state)
    assert seed_of(None) != seed_of(None)
