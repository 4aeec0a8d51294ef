"""Each loss against a loop over samples in float64, against scikit-learn, and its weights."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    mean_squared_error,
)

from sks4.training import (
    AbsoluteError,
    CrossEntropy,
    Huber,
    Quantile,
    SquaredError,
    weighted_mean,
)

ROUNDING = 1e-12  # relative; sums of a few dozen float64 numbers
LEVELS = (0.1, 0.5, 0.9)


def rows(n_rows=7, n_outputs=3, seed=0):
    generator = np.random.default_rng(seed)
    output = generator.normal(size=(n_rows, n_outputs))
    target = generator.normal(scale=3, size=(n_rows, n_outputs))
    weight = generator.uniform(0.1, 2.0, size=n_rows)
    return output, target, weight


def tensors(*arrays):
    return tuple(torch.as_tensor(array) for array in arrays)


def huber_of(error, delta):
    return 0.5 * error**2 if abs(error) <= delta else delta * (abs(error) - 0.5 * delta)


def pinball_of(error, level):
    return level * error if error >= 0 else (level - 1) * error


REGRESSION = {
    "squared": (SquaredError(), lambda error: error**2),
    "absolute": (AbsoluteError(), abs),
    "huber": (Huber(delta=1.5), lambda error: huber_of(error, 1.5)),
    "quantile": (Quantile(0.2), lambda error: pinball_of(error, 0.2)),
}


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_regression_loss_equals_loop(name, n_outputs):
    loss, of_error = REGRESSION[name]
    output, target, weight = rows(n_outputs=n_outputs)
    per_row = [
        np.mean([of_error(t - o) for o, t in zip(out, tgt, strict=True)])
        for out, tgt in zip(output, target, strict=True)
    ]
    expected = sum(w * value for w, value in zip(weight, per_row, strict=True)) / sum(weight)
    assert loss(*tensors(output, target, weight)).item() == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize(
    ("loss", "metric"),
    [
        (SquaredError(), mean_squared_error),
        (AbsoluteError(), mean_absolute_error),
        (Quantile(0.3), lambda *a, **k: mean_pinball_loss(*a, alpha=0.3, **k)),
    ],
    ids=["squared", "absolute", "quantile"],
)
def test_regression_loss_equals_scikit_learn(loss, metric):
    output, target, weight = rows()
    expected = metric(target, output, sample_weight=weight)
    assert loss(*tensors(output, target, weight)).item() == pytest.approx(expected, rel=ROUNDING)


def test_quantile_averages_levels_over_last_axis():
    generator = np.random.default_rng(1)
    output = generator.normal(size=(5, 2, len(LEVELS)))
    target = generator.normal(size=(5, 2))
    weight = generator.uniform(0.1, 2.0, size=5)
    expected = np.mean(
        [
            mean_pinball_loss(target, output[:, :, k], alpha=level, sample_weight=weight)
            for k, level in enumerate(LEVELS)
        ]
    )
    result = Quantile(LEVELS)(*tensors(output, target, weight)).item()
    assert result == pytest.approx(expected, rel=ROUNDING)


def test_quantile_refuses_output_with_other_number_of_levels():
    with pytest.raises(ValueError, match="zip"):
        Quantile(LEVELS)(torch.zeros(4, 1, 2), torch.zeros(4, 1), torch.ones(4))


def test_cross_entropy_equals_scikit_learn():
    output, _, weight = rows(n_outputs=4)
    classes = np.array([0, 1, 2, 3, 0, 1, 1])
    probabilities = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
    expected = log_loss(classes, probabilities, sample_weight=weight)
    result = CrossEntropy()(*tensors(output, classes, weight)).item()
    assert result == pytest.approx(expected, rel=ROUNDING)


def test_cross_entropy_smoothing_equals_loop():
    smoothing = 0.2
    output, _, weight = rows(n_outputs=4)
    classes = np.array([0, 1, 2, 3, 0, 1, 1])
    total = 0.0
    for scores, label, w in zip(output, classes, weight, strict=True):
        log_p = scores - np.log(np.exp(scores).sum())
        wanted = np.full(4, smoothing / 4)
        wanted[label] += 1 - smoothing
        total += w * -(wanted * log_p).sum()
    result = CrossEntropy(label_smoothing=smoothing)(*tensors(output, classes, weight)).item()
    assert result == pytest.approx(total / weight.sum(), rel=ROUNDING)


def test_cross_entropy_takes_steps_with_a_weight_each():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    classes = torch.randint(3, (2, 5), generator=generator)
    weight = torch.rand(2, 5, generator=generator, dtype=torch.float64)
    flat = CrossEntropy()(output.view(10, 3), classes.view(10), weight.view(10))
    torch.testing.assert_close(CrossEntropy()(output, classes, weight), flat)


ALL_LOSSES = {name: loss for name, (loss, _) in REGRESSION.items()} | {
    "cross_entropy": CrossEntropy(label_smoothing=0.1)
}


def operands(name):
    output, target, _ = rows(n_rows=3)
    if name == "cross_entropy":
        target = np.array([2, 0, 1])
    return tensors(output, target)


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_loss_with_weight_two_equals_row_twice(name):
    output, target = operands(name)
    doubled = ALL_LOSSES[name](output, target, torch.tensor([1.0, 2.0, 1.0]))
    twice = torch.tensor([0, 1, 1, 2])
    repeated = ALL_LOSSES[name](output[twice], target[twice], torch.ones(4))
    torch.testing.assert_close(doubled, repeated)


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_loss_ignores_row_of_weight_zero(name):
    output, target = operands(name)
    without = ALL_LOSSES[name](output[:2], target[:2], torch.ones(2))
    torch.testing.assert_close(
        ALL_LOSSES[name](output, target, torch.tensor([1.0, 1.0, 0.0])), without
    )


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_loss_and_gradient_are_zero_when_all_weights_are(name):
    output, target = operands(name)
    output.requires_grad_()
    loss = ALL_LOSSES[name](output, target, torch.zeros(3))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(output.grad, torch.zeros_like(output))


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_loss_refuses_shapes_that_would_broadcast(name):
    with pytest.raises(ValueError, match=r"target must have the shape of output, \(4, 1\), got"):
        ALL_LOSSES[name](torch.zeros(4, 1), torch.zeros(4), torch.ones(4))


def test_weighted_mean_averages_axes_without_weights():
    loss = torch.arange(12.0).view(2, 2, 3)
    result = weighted_mean(loss, torch.tensor([1.0, 3.0]))
    assert result.item() == pytest.approx((2.5 + 3 * 8.5) / 4)


# ---------------------------------------------------------------- unit of the weights


LOSSES = {name: loss for name, (loss, _) in REGRESSION.items()}
UNITS = [1e-42, 1e-38, 1e-30, 1e-12, 1e12, 1e37, 1e38]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", [*LOSSES, "cross entropy"])
def test_loss_and_gradient_do_not_depend_on_the_unit_of_the_weights(name, unit):
    output, target, _ = tensors(*rows())
    weight = torch.tensor([1.0, 2.0, 0.0, 0.5, 1.5, 3.0, 1.0])
    loss = CrossEntropy() if name == "cross entropy" else LOSSES[name]
    target = torch.arange(7) % 3 if name == "cross entropy" else target.float()
    values, gradients = [], []
    for factor in (1.0, unit):
        leaf = output.float().requires_grad_()
        value = loss(leaf, target, weight * factor)
        value.backward()
        values.append(value.detach())
        gradients.append(leaf.grad)
    # single precision has eight bits left for weights of 1e-42
    tolerance = {"rtol": 1e-2 if unit < 1e-38 else 1e-5, "atol": 0}
    torch.testing.assert_close(values[1], values[0], **tolerance)
    torch.testing.assert_close(gradients[1], gradients[0], **tolerance)


@pytest.mark.parametrize("unit", [1e-300, 1e-42, 1e300])
def test_weighted_mean_over_steps_does_not_depend_on_the_unit(unit):
    loss = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5, 2)))
    weight = torch.from_numpy(np.random.default_rng(1).uniform(size=(4, 5)))
    torch.testing.assert_close(weighted_mean(loss, unit * weight), weighted_mean(loss, weight))


def test_weighted_mean_of_no_weight_is_zero_with_zero_gradients():
    loss = torch.ones(3, requires_grad=True)
    weighted_mean(loss, torch.zeros(3)).backward()
    assert torch.equal(loss.grad, torch.zeros(3))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_indicators_is_that_of_indices(smoothing):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 5, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (4, 5), generator=generator)
    weight = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    loss = CrossEntropy(smoothing)
    indicators = torch.nn.functional.one_hot(target, 3).double()
    torch.testing.assert_close(loss(scores, indicators, weight), loss(scores, target, weight))
