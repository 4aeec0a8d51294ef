"""Summaries against loops over the steps of each sequence."""

import math

import pytest
import torch

from sks4.nn import FilterBank, Summary, _summary

LIMITS = torch.tensor([[-0.2, 0.0, 0.3, 0, 0], [0.5, -0.1, 0.31, 1, -1]]).double()
SCALE = torch.tensor([50.0, 1.0, 2.0, 0.1, 1.0]).double()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def summarized(x, limits, scale, rate=1.0):
    """Return the summary of one sequence ``(length, d)``, feature by feature, step by step."""
    n_steps, n_features = x.shape
    shares, runs, rises, timings, largest, smallest = [], [], [], [], [], []
    for limit in limits:
        for f in range(n_features):
            above = [min(max((v - limit[f]) / (0.02 * scale[f]), 0), 1) for v in x[:, f].tolist()]
            run, longest, pairs, last, moment = 0.0, 0.0, 0.0, 0.0, 0.0
            for t, on in enumerate(above):
                run = (run + 1) * on
                longest, pairs = max(longest, run), pairs + on * last
                moment += on * ((t + 0.5) / n_steps - 0.5)
                last = on
            shares.append(sum(above) / n_steps)
            runs.append(math.log(longest / n_steps + 0.01))
            rises.append((sum(above) - pairs) / n_steps / rate)
            timings.append(moment / n_steps)
    for f in range(n_features):
        group = slice(f // 8 * 8, f // 8 * 8 + 8)
        for sign, shares_won in ((1, largest), (-1, smallest)):
            z = sign * x[:, group] / scale[group]
            strength = (z.amax(1).abs() / 0.02).clamp(max=1)
            shares_won.append(float((strength * (z.argmax(1) == f - group.start)).mean()))
    roots = [[math.sqrt(v + 1e-4) for v in part] for part in (shares, rises, largest + smallest)]
    return torch.tensor([*roots[0], *runs, *roots[1], *roots[2], *timings]).double()


@pytest.fixture
def pool():
    return Summary(LIMITS, SCALE)


@pytest.mark.parametrize("garbage", [1e6, float("inf"), float("-inf"), float("nan")])
def test_summary_describes_the_real_steps_alone(pool, garbage):
    x, lengths = noise(4, 9, 5), torch.tensor([9, 4, 1, 8])
    expected = [summarized(row[:n], LIMITS, SCALE) for row, n in zip(x, lengths, strict=True)]
    for row, n in zip(x, lengths, strict=True):
        row[n:] = garbage
    torch.testing.assert_close(pool(x, lengths), torch.stack(expected))


def test_summary_of_more_than_is_summarized_at_once(monkeypatch):
    n_features = 17  # two groups, and one feature
    monkeypatch.setattr(_summary, "_FEATURES", 8 * n_features)
    limits, scale = noise(3, n_features), noise(n_features).abs() + 0.5
    x, lengths = noise(11, 150, n_features), torch.tensor([150, 64, 65, 7, 1, 128] + [150] * 5)
    expected = [summarized(row[:n], limits, scale) for row, n in zip(x, lengths, strict=True)]
    torch.testing.assert_close(Summary(limits, scale)(x, lengths), torch.stack(expected))


@pytest.mark.parametrize("pieces", [[1, 0, 5, 2, 4], [12], [1] * 12])
def test_summary_in_pieces_equals_summary_at_once(pool, pieces):
    x, state = noise(4, 12, 5), None
    for piece in x.split(pieces, 1):
        state = pool.update(piece, state)
    torch.testing.assert_close(pool.result(state, 0.5), pool(x, rate=0.5))


def test_update_leaves_earlier_states_as_they_are(pool):
    x = noise(2, 12, 5)
    state = pool.update(x[:, :5], None)
    before = state.value.clone()
    pool.update(x[:, 5:], state)
    assert torch.equal(state.value, before)


def test_summary_keeps_to_the_sampling_rate():
    pool, x = Summary(LIMITS, SCALE / 1e4), noise(2, 40, 5).cumsum(1) / 5  # hardly a partial step
    twice = x.repeat_interleave(2, 1)
    torch.testing.assert_close(pool(twice, rate=0.5), pool(x), rtol=0, atol=1e-3)


def test_summary_is_continuous_at_limits_and_zero(pool):
    """Values at a limit, and features that are all zero, must not jump by rounding."""
    for x in (LIMITS[:1].expand(1, 50, 5), torch.zeros(1, 50, 5).double()):
        torch.testing.assert_close(pool(x + 1e-10), pool(x), rtol=0, atol=1e-4)


def test_summary_has_finite_gradients(pool):
    x = torch.cat([noise(1, 20, 5), torch.zeros(1, 20, 5)]).double().requires_grad_()
    pool(x).sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any()


def test_outputs_are_named_by_their_features(pool):
    x = noise(1, 30, 5)
    changed = x.clone()
    changed[..., 2] += 3
    affected = (pool(changed) != pool(x))[0]
    limited = torch.arange(pool.n_outputs) < 3 * LIMITS.numel()
    assert pool.output_features().shape == affected.shape
    assert set(pool.output_features()[affected & limited].tolist()) == {2}
    assert affected[-pool.n_timings :].any()


def test_steps_in_single_precision_keep_to_the_truth():
    torch.manual_seed(0)
    bank, u = FilterBank(1, 16), noise(1, 5000, 1).cumsum(1) / 30
    y = bank.double()(u)[0]
    pool = Summary(torch.quantile(y[0], torch.tensor([0.2, 0.8]).double(), 0), y[0].std(0))
    expected = pool(y)
    single = pool.float()(bank.float()(u.float())[0])
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=2e-3)


def test_features_side_by_side_are_summarized_as_each_by_itself():
    """Where whole groups of competing features stay together."""
    left, right = noise(3, 20, 16), noise(3, 20, 5)
    one = Summary(noise(2, 16), noise(16).abs())
    other = Summary(noise(2, 5) / 3, noise(5).abs())
    both = one.beside(other)
    found, is_left = both(torch.cat([left, right], 2)), both.output_features() < 16
    torch.testing.assert_close(found[:, is_left], one(left), rtol=0, atol=0)
    torch.testing.assert_close(found[:, ~is_left], other(right), rtol=0, atol=0)
    for part, expected in ((both.of(slice(16)), one), (both.of(slice(16, None)), other)):
        assert part.n_features == expected.n_features
        torch.testing.assert_close(part.start, expected.start, rtol=0, atol=0)
        torch.testing.assert_close(part.unit, expected.unit, rtol=0, atol=0)
