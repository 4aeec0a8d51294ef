"""Densities integrate to one, samples follow them, and the loss is their mean."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sks4.training import (
    CategoricalLikelihood,
    GaussianLikelihood,
    LogisticMixtureLikelihood,
    weighted_mean,
)

REAL = pytest.mark.parametrize(
    "likelihood", [GaussianLikelihood(), LogisticMixtureLikelihood(1), LogisticMixtureLikelihood(4)]
)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def generator():
    return torch.Generator().manual_seed(0)


def softplus(x):
    return math.log1p(math.exp(x)) + 1e-3


@REAL
def test_density_integrates_to_one(likelihood):
    output = draw(1, likelihood.n_outputs(2)).expand(20001, -1)
    x = torch.linspace(-60, 60, 20001, dtype=torch.float64)
    density = likelihood.log_prob(output, x[:, None].expand(-1, 2)).exp()
    integral = torch.trapezoid(density, x, dim=0)
    torch.testing.assert_close(integral, torch.ones(2, dtype=torch.float64), rtol=1e-6, atol=0)


def test_gaussian_is_that_of_scipy():
    output, x = draw(5, 4), draw(5, 2, seed=1)
    expected = [
        [stats.norm.logpdf(x[i, c], output[i, c], softplus(output[i, 2 + c])) for c in range(2)]
        for i in range(5)
    ]
    got = GaussianLikelihood().log_prob(output, x)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_mixture_is_that_of_scipy():
    likelihood = LogisticMixtureLikelihood(2)
    output, x = draw(5, 6), draw(5, 1, seed=1)
    expected = []
    for row, value in zip(output.tolist(), x[:, 0].tolist(), strict=True):
        weights = torch.tensor(row[:2]).softmax(0).tolist()
        means = row[2] - 0.5, row[3] + 0.5  # they start apart
        scales = map(softplus, row[4:])
        parts = zip(weights, means, scales, strict=True)
        expected.append([math.log(sum(w * stats.logistic.pdf(value, m, s) for w, m, s in parts))])
    got = likelihood.log_prob(output, x)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0)


@REAL
@pytest.mark.parametrize("value", [1e4, -1e4])
def test_log_density_far_away_is_right_in_single_precision(likelihood, value):
    losses, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        output = torch.zeros(1, likelihood.n_outputs(1), dtype=dtype, requires_grad=True)
        x = torch.full((1, 1), value, dtype=dtype)
        loss = likelihood(output, x, torch.ones(1, 1, dtype=dtype))
        loss.backward()
        losses.append(loss.detach().double())
        gradients.append(output.grad.double())
    assert losses[1] > 100  # far away
    torch.testing.assert_close(*losses, rtol=1e-5, atol=0)
    # shares of components come from differences of logarithms near 1e4, with four digits left
    torch.testing.assert_close(*gradients, rtol=0.2, atol=1e-3)
    assert gradients[1].any()


@REAL
def test_density_of_a_constant_is_bounded(likelihood):
    output = torch.full((1, likelihood.n_outputs(1)), -1e3)
    output[:, : likelihood.n_outputs(1) * 2 // 3] = 0
    assert likelihood.log_prob(output, torch.zeros(1, 1)) < math.log(1 / 1e-3)


def distribution(likelihood, output, temperature):
    """Return the distribution function of the first channel, by integration."""
    x = torch.linspace(-80, 80, 40001, dtype=torch.float64)
    log_density = likelihood.log_prob(output.expand(len(x), -1), x[:, None])[:, 0]
    total = torch.cumulative_trapezoid((log_density / temperature).exp(), x)
    return lambda values: np.interp(values, x[1:].numpy(), (total / total[-1]).numpy())


@pytest.mark.parametrize(
    ("likelihood", "temperature"),
    [
        (GaussianLikelihood(), 1.0),
        (GaussianLikelihood(), 0.3),
        (LogisticMixtureLikelihood(3), 1.0),
    ],
)
def test_samples_follow_the_density(likelihood, temperature):
    output = draw(1, likelihood.n_outputs(1), seed=3)
    many = output.expand(5000, -1)
    x = likelihood.sample(many, temperature=temperature, generator=generator())[:, 0].numpy()
    # the null hypothesis is true: a p-value below 1e-3 would be a chance of one in a thousand
    assert stats.kstest(x, distribution(likelihood, output, temperature)).pvalue > 1e-3


def test_colder_mixture_keeps_to_its_heaviest_component():
    likelihood = LogisticMixtureLikelihood(2)
    output = torch.tensor([[1.0, 0.0, -10.0, 10.0, 0.0, 0.0]]).expand(1000, -1)
    shares = [
        (likelihood.sample(output, temperature=t, generator=generator()) < 0).double().mean().item()
        for t in (1.0, 0.25)
    ]
    assert shares == pytest.approx(
        [torch.tensor([t]).sigmoid().item() for t in (1.0, 4.0)], abs=0.05
    )


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (1.0, 9)])
def test_symbols_come_as_often_as_they_should(temperature, top_k):
    scores = draw(5)
    kept = scores.topk(min(top_k or 5, 5)).indices
    expected = torch.zeros(5, dtype=torch.float64)
    expected[kept] = (scores[kept] / temperature).softmax(0)
    drawn = CategoricalLikelihood().sample(
        scores.expand(20000, -1), temperature=temperature, top_k=top_k, generator=generator()
    )
    shares = drawn.bincount(minlength=5) / len(drawn)
    # four standard deviations of a share of 20,000
    torch.testing.assert_close(shares.double(), expected, rtol=0, atol=4 * 0.5 / 20000**0.5)


def test_most_probable_symbol_is_certain_with_top_1():
    scores = draw(50, 7)
    assert torch.equal(CategoricalLikelihood().sample(scores, top_k=1), scores.argmax(-1))


def test_symbols_of_equal_scores_are_not_more_than_top_k():
    drawn = CategoricalLikelihood().sample(torch.zeros(200, 6), top_k=2, generator=generator())
    assert len(drawn.unique()) == 2


def test_probabilities_of_all_symbols_sum_to_one():
    output = draw(1, 1, 6).expand(1, 6, 6)
    total = CategoricalLikelihood().log_prob(output, torch.arange(6)[None]).exp().sum()
    assert total.item() == pytest.approx(1)


def test_loss_is_the_weighted_mean_and_weight_zero_counts_nothing():
    likelihood, output, x = GaussianLikelihood(), draw(3, 5, 4), draw(3, 5, 2, seed=1)
    weight = (draw(3, 5, 2, seed=2) > 0).double()
    expected = weighted_mean(-likelihood.log_prob(output, x), weight)
    assert likelihood(output, torch.where(weight > 0, x, 1e3), weight) == pytest.approx(
        expected.item()
    )
    scores, symbols = draw(3, 5, 4), torch.randint(4, (3, 5), generator=generator())
    loss = CategoricalLikelihood()(scores, symbols, weight[..., 0])
    per_step = -scores.log_softmax(-1).gather(-1, symbols[..., None])[..., 0]
    assert loss.item() == pytest.approx(weighted_mean(per_step, weight[..., 0]).item())


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-44])
def test_symbols_are_the_likeliest_at_the_lowest_temperatures(temperature):
    scores = torch.tensor([[3.0, 8.0, 5.0], [-7.0, -9.0, -2.0]]).repeat(20, 1)
    symbols = CategoricalLikelihood().sample(scores, temperature=temperature, generator=generator())
    assert symbols.tolist() == [1, 2] * 20


def test_mixture_does_not_depend_on_the_default_dtype():
    likelihood = LogisticMixtureLikelihood(3)
    output, x = draw(5, 9), draw(5, 1, seed=1)
    expected = likelihood.log_prob(output, x)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = likelihood.log_prob(output, x)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)
