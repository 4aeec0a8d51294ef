"""The S4 layer: one system in several views, with lengths, rates, directions and states."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from oracles import RULES, error_per_system
from sks4 import _native
from sks4.nn import S4Layer

H, N = 3, 6
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}  # of the float64 kernels
RATES = [0.5, 1.0, 2.0]
COMPILED = pytest.mark.skipif(not _native.is_available(), reason="no compiled code")
ON_BOTH_PATHS = pytest.mark.usefixtures("path")
EVERY_RULE = pytest.mark.parametrize(("kind", "init", "rule"), RULES)


def make(kind="s4", init="legs", rule="auto", **options):
    torch.manual_seed(0)
    return S4Layer(H, N, kind, init, discretization=rule, **options).double().requires_grad_(False)


def noise(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def by_convolution(u, K):
    return torch.from_numpy(oracles.convolution(u.mT.numpy(), K.numpy())).mT


@ON_BOTH_PATHS
@EVERY_RULE
@pytest.mark.parametrize("rate", RATES)
def test_layer_equals_its_steps_and_the_convolution_with_its_kernel(kind, init, rule, rate):
    layer, u = make(kind, init, rule), noise(2, 300, H)
    y, state = layer(u, rate=rate)
    expected = by_convolution(u, layer.kernel(300, rate)) + layer.D * u
    torch.testing.assert_close(y, expected, **TOLERANCE)
    stepped, outputs = None, []
    for t in range(300):
        y_t, stepped = layer.step(u[:, t], stepped, rate)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs, 1), y, **TOLERANCE)
    torch.testing.assert_close(stepped, state, **TOLERANCE)


@ON_BOTH_PATHS
@EVERY_RULE
def test_layer_at_a_rate_is_the_layer_with_scaled_steps(kind, init, rule):
    layer, u = make(kind, init, rule), noise(2, 50, H)
    scaled = copy.deepcopy(layer)
    scaled.log_dt += math.log(2)
    torch.testing.assert_close(layer(u, rate=2.0), scaled(u), **TOLERANCE)
    torch.testing.assert_close(layer.kernel(50, rate=2.0), scaled.kernel(50), **TOLERANCE)


@ON_BOTH_PATHS
@pytest.mark.parametrize("init", ["legs", "lin", "inv"])
def test_zoh_layer_at_half_the_interval_gives_the_same_output_for_a_held_input(init):
    layer, u = make("s4d", init, "zoh"), noise(1, 40, H)
    held = u.repeat_interleave(2, 1)
    y, state = layer(u)
    finer, finer_state = layer(held, rate=0.5)
    torch.testing.assert_close(finer[:, 1::2], y, **TOLERANCE)
    torch.testing.assert_close(finer_state, state, **TOLERANCE)


@COMPILED
@pytest.mark.parametrize("bidirectional", [False, True])
@EVERY_RULE
def test_recurrence_algorithm_equals_the_scan(kind, init, rule, bidirectional):
    layer = make(kind, init, rule, bidirectional=bidirectional, algorithm="scan")
    other = make(kind, init, rule, bidirectional=bidirectional, algorithm="recurrence")
    u, lengths = noise(2, 70, H), torch.tensor([70, 41])
    for rate in RATES:
        (y, state), (recurred, last) = (x(u, lengths=lengths, rate=rate) for x in (layer, other))
        for i, length in enumerate(lengths):
            torch.testing.assert_close(recurred[i, :length], y[i, :length], **TOLERANCE)
        if not bidirectional:
            torch.testing.assert_close(last, state, **TOLERANCE)


@COMPILED
def test_state_is_handed_over_between_algorithms():
    layers = [make(algorithm=name) for name in ("recurrence", "scan", "recurrence")]
    u, state, outputs = noise(2, 230, H), None, []
    for layer, piece in zip(layers, u.split([100, 70, 60], 1), strict=True):
        y, state = layer(piece, state)
        outputs.append(y)
    expected = layers[0](u)
    torch.testing.assert_close((torch.cat(outputs, 1), state), expected, **TOLERANCE)


@pytest.mark.parametrize("bidirectional", [False, True])
@EVERY_RULE
def test_convolution_algorithm_equals_the_scan(kind, init, rule, bidirectional):
    layer = make(kind, init, rule, bidirectional=bidirectional, algorithm="scan")
    other = make(kind, init, rule, bidirectional=bidirectional, algorithm="convolution")
    u, lengths = noise(2, 70, H), torch.tensor([70, 41])
    for rate in RATES:
        y, _ = layer(u, lengths=lengths, rate=rate, return_state=False)
        convolved, _ = other(u, lengths=lengths, rate=rate, return_state=False)
        for i, length in enumerate(lengths):
            torch.testing.assert_close(convolved[i, :length], y[i, :length], **TOLERANCE)


def test_convolution_algorithm_scans_when_a_state_is_given_or_wanted():
    layer, other = make(algorithm="scan"), make(algorithm="convolution")
    u = noise(2, 40, H)
    _, state = layer(u)
    for arguments in ({}, {"state": state, "return_state": False}):
        torch.testing.assert_close(layer(u, **arguments), other(u, **arguments), rtol=0, atol=0)


@ON_BOTH_PATHS
def test_bidirectional_layer_adds_the_second_kernel_over_the_reversed_sequence():
    layer, u = make(bidirectional=True), noise(2, 60, H)
    K = layer.kernel(60)
    expected = by_convolution(u, K[0]) + layer.D * u + by_convolution(u.flip(1), K[1]).flip(1)
    y, state = layer(u)
    assert state is None
    torch.testing.assert_close(y, expected, **TOLERANCE)


@pytest.mark.parametrize("algorithm", ["recurrence", "scan", "convolution"])
@pytest.mark.parametrize("bidirectional", [False, True])
@EVERY_RULE
def test_layer_treats_each_sequence_as_if_it_were_alone(kind, init, rule, bidirectional, algorithm):
    layer = make(kind, init, rule, bidirectional=bidirectional, algorithm=algorithm)
    lengths = torch.tensor([150, 128, 127, 1, 5])
    u = noise(5, 150, H)
    for row, length in zip(u, lengths, strict=True):
        row[length:] = 100  # an FFT rounds relative to the largest value
    y, states = layer(u, lengths=lengths)
    for i, length in enumerate(lengths):
        alone, state = layer(u[i : i + 1, :length])
        torch.testing.assert_close(y[i : i + 1, :length], alone, **TOLERANCE)
        if not bidirectional:
            torch.testing.assert_close(states[i : i + 1], state, **TOLERANCE)


@ON_BOTH_PATHS
@given(
    pieces=st.lists(st.integers(1, 150), min_size=1, max_size=5),
    rule=st.sampled_from(RULES),
    rate=st.sampled_from(RATES),
)
def test_layer_over_pieces_of_any_size_equals_one_pass(pieces, rule, rate):
    layer, u = make(*rule), noise(2, sum(pieces), H)
    outputs, state = [], None
    for piece in u.split(pieces, 1):
        y, state = layer(piece, state, rate=rate)
        outputs.append(y)
    torch.testing.assert_close((torch.cat(outputs, 1), state), layer(u, rate=rate), **TOLERANCE)


@EVERY_RULE
@pytest.mark.parametrize("training", [False, True])  # which choose different chunk lengths
@pytest.mark.parametrize("algorithm", ["recurrence", "scan"])
def test_layer_in_single_precision_is_close_to_double(kind, init, rule, training, algorithm):
    torch.manual_seed(0)
    layer = S4Layer(4, 64, kind, init, discretization=rule, algorithm=algorithm)
    layer.requires_grad_(False)
    layer.log_dt.copy_(torch.tensor([0.001, 0.01, 0.03, 0.1]).log())
    layer.D.zero_()
    layer.train(training)
    length = 16384
    u = torch.zeros(1, length, 4)
    u[:, 0] = 1
    truth = copy.deepcopy(layer).double().kernel(length)
    assert truth.dtype == torch.float64
    y, _ = layer(u, return_state=False)
    assert y.dtype == torch.float32
    assert error_per_system(y[0].mT, truth) < (2e-5 if init == "legt" else 1e-5)  # of rank two
    assert error_per_system(layer.kernel(length), truth) < 2e-5


@pytest.mark.parametrize("bidirectional", [False, True])
@EVERY_RULE
def test_layer_gradient_matches_finite_differences(kind, init, rule, bidirectional):
    torch.manual_seed(0)
    layer = S4Layer(1, 4, kind, init, bidirectional=bidirectional, discretization=rule).double()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    used = [
        (n, p.detach().clone().requires_grad_()) for n, p in zip(names, parameters, strict=True)
    ]
    u = noise(2, 5, 1).requires_grad_()
    for algorithm in ("recurrence", "scan", "convolution"):
        layer.algorithm = algorithm

        def run(u, *values):
            state = dict(zip(names, values, strict=True))
            y, _ = torch.func.functional_call(
                layer, state, (u,), {"lengths": torch.tensor([5, 2]), "return_state": False}
            )
            return y[0], y[1, :2]

        assert torch.autograd.gradcheck(run, (u, *[p for _, p in used]), atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
@EVERY_RULE
def test_layer_changes_none_of_its_parameters_and_buffers(kind, init, rule, training):
    for algorithm in ("recurrence", "scan", "convolution"):
        layer = make(kind, init, rule, algorithm=algorithm).train(training)
        before = copy.deepcopy(layer.state_dict())
        u = noise(2, 40, H)
        _, state = layer(u, rate=0.5)
        layer(u, return_state=False)
        layer.step(u[:, 0], state)
        layer.kernel(1000)
        after = layer.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


@EVERY_RULE
def test_layer_starts_from_the_system_of_its_names(kind, init, rule):
    layer = make(kind, init, rule)
    Lambda, P, B, _ = oracles.random_system(kind, init, N, H)
    C = torch.view_as_complex(layer.C[0])
    Lambda = torch.complex(Lambda.real.clamp(max=-1e-4), Lambda.imag)
    dt = layer.log_dt.exp()
    truth = oracles.kernel(*oracles.discrete_system(kind, rule, (Lambda, P, B, C), dt), 30)
    # the parameters were first drawn in single precision
    assert error_per_system(layer.kernel(30), truth) < 1e-5


def test_layer_draws_its_steps_log_uniformly_from_the_range():
    torch.manual_seed(0)
    log_dt = S4Layer(4000, 2, dt_min=1e-4, dt_max=1e-1).log_dt.detach()
    low, high = math.log(1e-4), math.log(1e-1)
    assert low - 1e-6 <= log_dt.min()
    assert log_dt.max() <= high + 1e-6
    deciles = torch.quantile(log_dt, torch.arange(1, 10) / 10)
    expected = low + (high - low) * torch.arange(1, 10) / 10
    np.testing.assert_allclose(deciles, expected, atol=0.15)  # four standard errors


@ON_BOTH_PATHS
def test_layer_output_depends_on_no_later_input():
    layer, u = make(), noise(1, 200, H)
    changed = u.clone()
    changed[:, 130:] += 1
    torch.testing.assert_close(layer(u)[0][:, :130], layer(changed)[0][:, :130], rtol=0, atol=0)


# -- what a caller may get wrong


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"d_model": 0}, ValueError, "d_model must be at least 1, got 0"),
        ({"d_model": 2.0}, TypeError, "d_model must be an integer"),
        ({"d_state": 7}, ValueError, "d_state must be even, because states form conjugate pairs"),
        ({"d_state": 0}, ValueError, "d_state must be at least 2"),
        ({"ssm": "s4dd"}, ValueError, r"ssm must be one of 's4', 's4d', .* Did you mean 's4d'\?"),
        ({"init": "lin"}, ValueError, "init of ssm=\"s4\" must be one of 'legs', 'legt', 'fout'"),
        ({"ssm": "s4d", "init": "fout"}, ValueError, 'init of ssm="s4d" must be one of'),
        ({"discretization": "zoh"}, ValueError, 'discretization of ssm="s4" must be one of'),
        ({"discretization": "bilinar"}, ValueError, "Did you mean 'bilinear'"),
        (
            {"algorithm": "fft"},
            ValueError,
            "algorithm must be one of 'auto', 'recurrence', 'scan', 'convolution'",
        ),
        ({"dt_min": 0.0}, ValueError, "dt_min must be finite and above zero, got 0.0"),
        ({"dt_max": math.inf}, ValueError, "dt_max must be finite and above zero, got inf"),
        ({"dt_min": math.nan}, ValueError, "dt_min must be finite and above zero, got nan"),
        ({"dt_min": "auto"}, TypeError, "dt_min must be a number, got 'auto'"),
        ({"dt_min": 0.2}, ValueError, "dt_min must not exceed dt_max, got 0.2 and 0.1"),
    ],
)
def test_layer_refuses_parameters_that_are_not_valid(options, error, message):
    with pytest.raises(error, match=message):
        S4Layer(**{"d_model": 2, "d_state": 4} | options)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_layer_refuses_a_rate_that_is_not_positive_and_finite(rate):
    layer, u = make(), noise(2, 9, H)
    for call in (
        lambda: layer(u, rate=rate),
        lambda: layer.step(u[:, 0], rate=rate),
        lambda: layer.kernel(9, rate=rate),
    ):
        with pytest.raises(ValueError, match="rate must be finite and above zero, got"):
            call()


@pytest.mark.parametrize("shape", [(2, 9), (2, 9, H + 1), (2, 0, H), (9, H, 2, 2)])
def test_layer_refuses_input_of_the_wrong_shape(shape):
    with pytest.raises(
        ValueError, match=r"u must have shape \(batch, length, 3\) and at least one"
    ):
        make()(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 9, H), (2, H + 1), (H,)])
def test_layer_step_refuses_input_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"u must have shape \(batch"):
        make().step(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, H, N + 2), (3, H, N), (H, N)])
def test_layer_refuses_a_state_of_the_wrong_size(shape):
    layer, u, state = make(), noise(2, 9, H), torch.zeros(shape)
    for call in (lambda: layer(u, state), lambda: layer.step(u[:, 0], state)):
        with pytest.raises(ValueError, match=r"state must have shape .* = \(2, 3, 6\), got"):
            call()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([9, 10], "lengths must be between 1 and 9, got values from 9 to 10"),
        ([0, 9], "lengths must be between 1 and 9, got values from 0 to 9"),
        ([9], r"lengths must be integers of shape \(2,\), got torch.int64 of shape \(1,\)"),
        ([9.0, 9.0], r"lengths must be integers of shape \(2,\), got torch.float32"),
    ],
)
def test_layer_refuses_lengths_that_do_not_fit(lengths, message):
    with pytest.raises(ValueError, match=message):
        make()(noise(2, 9, H), lengths=torch.tensor(lengths))


def test_bidirectional_layer_refuses_a_state_and_steps():
    layer, u = make(bidirectional=True), noise(2, 9, H)
    message = "A bidirectional layer has no state"
    with pytest.raises(ValueError, match=message):
        layer(u, torch.zeros(2, H, N))
    with pytest.raises(ValueError, match=message):
        layer.step(u[:, 0])


def test_layer_kernel_refuses_a_length_below_one():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        make().kernel(0)


# -- the limit of the band


@ON_BOTH_PATHS
@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layer_leaves_out_the_modes_above_its_bandlimit(rate, bidirectional):
    torch.manual_seed(0)
    options = {"d_state": 16, "ssm": "s4d", "init": "lin", "bidirectional": bidirectional}
    layer = S4Layer(3, **options, dt_min=0.05, dt_max=0.2, bandlimit=0.8).double()
    other = S4Layer(3, **options).double()
    other.load_state_dict(layer.state_dict())
    cycles = rate * layer.log_dt.exp()[:, None] * layer.frequency.abs() / (2 * math.pi)
    outside = cycles > 0.8 * 0.5  # half the sampling rate is half a cycle a sample
    assert 0 < outside.sum() < outside.numel()
    with torch.no_grad():
        other.C[:, outside] = 0
    u = noise(2, 40, 3)
    torch.testing.assert_close(layer(u, rate=rate)[0], other(u, rate=rate)[0])
    torch.testing.assert_close(layer.kernel(40, rate), other.kernel(40, rate))
    if not bidirectional:
        torch.testing.assert_close(layer.step(u[:, 0], rate=rate), other.step(u[:, 0], rate=rate))


@ON_BOTH_PATHS
def test_limit_without_effect_changes_nothing():
    torch.manual_seed(0)
    layer = S4Layer(3, d_state=8, ssm="s4d", dt_max=1e-2, bandlimit=1.0)
    u = noise(2, 40, 3).float()
    limited = layer(u)[0]
    layer.bandlimit = None
    assert torch.equal(limited, layer(u)[0])


@pytest.mark.parametrize(
    "options", [{"ssm": "s4"}, {"ssm": "s4d", "discretization": "bilinear"}], ids=str
)
def test_bandlimit_of_the_bilinear_rule_is_refused(options):
    with pytest.raises(ValueError, match="bandlimit must be None with the bilinear rule"):
        S4Layer(3, **options, bandlimit=1.0)


def test_bandlimit_must_be_positive():
    with pytest.raises(ValueError, match="bandlimit must be finite and above zero, got 0"):
        S4Layer(3, ssm="s4d", bandlimit=0)
