"""Filters that are drawn, not trained: views of one system, constants, and other rates."""

import pytest
import torch

from sks4.nn import FilterBank


@pytest.fixture
def bank():
    torch.manual_seed(0)
    return FilterBank(3, n_filters=6).double()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).double()


def test_filters_are_convolutions_of_a_mix_of_the_inputs(bank):
    u = noise(1, 40, 3)
    kernel = bank.layer.kernel(40)
    kernel[:, 0] += bank.layer.D
    mixed = ((u - u[:, :1]) @ bank.mix)[0].T  # as if the first sample had been there forever
    expected = [
        sum(kernel[:, j] * mixed[:, t - j] for j in range(t + 1)) for t in range(u.shape[1])
    ]
    torch.testing.assert_close(bank(u)[0][0], torch.stack(expected), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(bank.mix.norm(dim=0), torch.ones(6).double())


@pytest.mark.parametrize("rate", [1.0, 0.5, 3.0])
def test_constants_give_nothing(bank, rate):
    u = torch.tensor([1.0, -2.0, 5.0]).double().expand(1, 10000, 3)
    y, _ = bank(u, rate=rate)
    assert y.abs().max() < 1e-4  # the weights were drawn in single precision


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_ramps_give_a_constant_and_nothing_in_the_second_half(rate):
    torch.manual_seed(0)
    bank = FilterBank(1, n_filters=40, dt_min=0.01, dt_max=0.02).double()
    u = rate * torch.arange(6000.0).double()[None, :, None]
    y, _ = bank(u, rate=rate)
    torch.testing.assert_close(y[:, -1], y[:, -500], rtol=1e-5, atol=1e-3)
    slow, none = y[0, -1].split(20)
    # what is left is due to the hold, which makes a ramp of steps
    assert none.abs().max() < slow.abs().median() / 10


def test_neighbors_are_alike_in_time(bank):
    first, second = bank.layer.log_dt.split(3)
    assert (first.diff() >= 0).all()
    assert (second.diff() >= 0).all()
    assert first[0] != first[-1]


def test_samples_that_are_held_twice_as_long_give_the_same_at_half_the_rate(bank):
    u = noise(1, 30, 3)
    twice, _ = bank(u.repeat_interleave(2, 1), rate=0.5)
    torch.testing.assert_close(twice[:, 1::2], bank(u)[0])


def test_filters_go_on_from_a_state(bank):
    u = noise(2, 30, 3)
    state, outputs = None, []
    for piece in u.split([1, 10, 1, 18], 1):
        y, state = bank(piece, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), bank(u)[0])


def test_filters_are_not_trained(bank):
    assert not any(p.requires_grad for p in bank.parameters())
    u = noise(1, 5, 3).requires_grad_()
    bank(u)[0].sum().backward()
    assert u.grad.abs().max() > 0


def test_filters_are_as_exact_under_autocast(bank):
    u = 300 + noise(1, 50, 3).float()
    bank = bank.float()
    expected, _ = bank(u)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bank(u)[0], expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FilterBank(0), "n_inputs must be at least 1, got 0"),
        (lambda: FilterBank(1, n_filters=0), "n_filters must be at least 1, got 0"),
        (lambda: FilterBank(1, d_state=2), "d_state must be at least 4, got 2"),
    ],
)
def test_sizes_must_be_one_at_least(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_filters_read_the_inputs_they_are_given():
    def bank(n_inputs, reads=None):
        generator = torch.Generator().manual_seed(0)
        return FilterBank(n_inputs, 16, reads=reads, generator=generator)

    u = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(1))
    some = torch.tensor([True, False, True, True, False])
    y, _ = bank(5, some[:, None].expand(5, 16))(u)
    torch.testing.assert_close(y, bank(3)(u[..., some])[0])  # as without the others
    reads = some[:, None] == (torch.arange(16) < 12)
    split = bank(5, reads)
    assert torch.equal(split.mix != 0, reads)
    torch.testing.assert_close(split.mix.norm(dim=0), torch.ones(16))


@pytest.mark.parametrize("reads", [torch.ones(3, 2), torch.tensor([[1, 0, 1], [0, 0, 1]])])
def test_each_filter_must_read_an_input(reads):
    with pytest.raises(ValueError, match=r"reads must have shape .* = \(2, 3\) and an input"):
        FilterBank(2, 3, reads=reads.bool())
