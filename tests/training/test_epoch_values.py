"""Loss and score of an epoch from its batches, against scikit-learn on all rows at once."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score

from sks4.training import AbsoluteError, CrossEntropy, SquaredError
from sks4.training._epoch_values import EpochValues


def scored(criterion, outputs, y, weight, size=5):
    """Return the score over batches of `size` rows."""
    values = EpochValues()
    parts = zip(outputs.split(size), y.split(size), weight.split(size), strict=True)
    for output, target, w in parts:
        values.add_score(criterion, output.requires_grad_(), {"y": target, "weight": w})
    return values.score()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_loss_is_the_weighted_mean_of_the_batches():
    values = EpochValues()
    assert values.loss() == {}
    values.add_loss(torch.tensor(1.0, requires_grad=True), torch.tensor([1.0, 1.0]))
    values.add_loss(torch.tensor(4.0), torch.tensor([0.5, 0.5]))
    assert values.loss() == {"loss": pytest.approx(2.0)}


def test_score_of_class_indices_is_the_weighted_accuracy(generator):
    outputs, weight = torch.randn(12, 3, generator=generator), torch.rand(12, generator=generator)
    y = torch.randint(3, (12,), generator=generator)
    expected = accuracy_score(y, outputs.argmax(1), sample_weight=weight)
    score = scored(CrossEntropy(), outputs, y, weight)
    assert score == {"score": pytest.approx(expected, rel=1e-6)}


@pytest.mark.parametrize("n_targets", [1, 3])
def test_score_of_values_is_r_squared(generator, n_targets):
    outputs = torch.randn(12, n_targets, generator=generator) + 100
    y = outputs + 0.5 * torch.randn(12, n_targets, generator=generator)
    weight = torch.rand(12, generator=generator)
    expected = r2_score(y.double(), outputs.double(), sample_weight=weight.double())
    score = scored(SquaredError(), outputs, y, weight)
    assert score == {"score": pytest.approx(expected, rel=1e-6)}


def test_score_of_windows_leaves_out_what_has_no_weight(generator):
    outputs = torch.randn(12, 4, 2, generator=generator)
    y = outputs + torch.randn(12, 4, 2, generator=generator)
    weight = (torch.rand(12, 4, 2, generator=generator) > 0.3).float()
    expected = np.mean(
        [r2_score(*(a[..., k][weight[..., k] > 0] for a in (y, outputs))) for k in range(2)]
    )
    y = torch.where(weight > 0, y, torch.nan)
    score = scored(AbsoluteError(), outputs, y, weight)
    assert score == {"score": pytest.approx(expected, rel=1e-6)}


@pytest.mark.parametrize(
    ("criterion", "outputs", "y"),
    [
        (SquaredError(), torch.zeros(4, 2, 3), torch.zeros(4, 2)),  # several quantiles
        (CrossEntropy(), torch.zeros(4, 3), torch.full((4, 3), 1 / 3)),  # probabilities
        (CrossEntropy(), torch.zeros(4, 7, 3), torch.zeros(4, 7, dtype=torch.int64)),  # steps
        (SquaredError(), torch.zeros(4, 1), torch.ones(4, 1)),  # constant targets
    ],
)
def test_there_is_no_score_where_none_is_defined(criterion, outputs, y):
    assert scored(criterion, outputs, y, torch.ones(4)) == {}
    assert EpochValues().score() == {}
