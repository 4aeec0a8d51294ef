"""The forecasting model: what a forecast depends on, and how its two paths are trained."""

import numpy as np
import pytest
import torch

from sks4.nn import S4ForecastModel, S4Layer
from sks4.nn._forecast import _filled

N_TARGETS, CONTEXT, HORIZON = 3, 20, 6
CHANNELS = pytest.mark.parametrize("channels", ["independent", "mixed"])
QUANTILES = pytest.mark.parametrize("n_quantiles", [None, 1, 5])
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


def noise(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make(*, train=False, n_targets=N_TARGETS, **options):
    """Return a small model in float64 whose every parameter differs from zero."""
    torch.manual_seed(0)
    sizes = {"d_model": 4, "n_layers": 2, "d_state": 4, "patch_size": 8, "ssm": "s4d"}
    model = S4ForecastModel(n_targets, CONTEXT, HORIZON, **sizes | options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
    return model.train(train)


@QUANTILES
@CHANNELS
def test_forecast_has_an_axis_of_quantiles_only_where_they_are_asked_for(channels, n_quantiles):
    forecast = make(channels=channels, n_quantiles=n_quantiles)(noise(5, CONTEXT, N_TARGETS))
    tail = () if n_quantiles is None else (n_quantiles,)
    assert forecast.shape == (5, HORIZON, N_TARGETS, *tail)


@QUANTILES
@CHANNELS
def test_forecast_of_a_window_moves_with_its_level_and_scale(channels, n_quantiles):
    model, u = make(channels=channels, n_quantiles=n_quantiles), noise(5, CONTEXT, N_TARGETS)
    level, scale = torch.tensor([3.0, -50.0, 0.0]), torch.tensor([2.0, 10.0, 0.1])
    if n_quantiles is None:
        expected = model(u) * scale + level
    else:
        expected = model(u) * scale[:, None] + level[:, None]
    # the smallest scale, which is added to the variance, does not move
    torch.testing.assert_close(model(u * scale + level), expected, rtol=1e-5, atol=1e-5)


def test_forecast_begins_as_the_last_value():
    torch.manual_seed(0)
    model, u = S4ForecastModel(N_TARGETS, CONTEXT, HORIZON, d_model=4), noise(5, CONTEXT, N_TARGETS)
    u = u.float()
    torch.testing.assert_close(model(u), u[:, -1:].expand(-1, HORIZON, -1))


def test_forecast_of_a_constant_window_is_the_constant():
    windows = noise(4, CONTEXT, N_TARGETS)
    windows[1:3, :, 0] = torch.tensor([7.0, 0.0])[:, None]
    observed = torch.ones_like(windows, dtype=torch.bool)
    observed[2, ::3] = False
    windows[2, ::3] = 5.0  # not observed
    forecast = make()(windows, observed=observed)
    assert (forecast[1, :, 0] == 7).all()
    assert (forecast[2, :, 0] == 0).all()
    assert (forecast[0] != windows[0, -1]).all()


@pytest.mark.parametrize("covariates", [0, 2])
@CHANNELS
def test_forecast_depends_on_no_other_window(channels, covariates):
    model = make(channels=channels, n_covariates=covariates)
    u = noise(6, CONTEXT, N_TARGETS)
    x = noise(6, CONTEXT + HORIZON, covariates, seed=2) if covariates else None
    alone = [model(u[i : i + 1], None if x is None else x[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(model(u, x), torch.cat(alone), **TOLERANCE)


@pytest.mark.parametrize(("channels", "others_change"), [("independent", False), ("mixed", True)])
def test_forecast_of_a_series_reads_the_others_only_if_channels_are_mixed(channels, others_change):
    model, u = make(channels=channels), noise(2, CONTEXT, N_TARGETS)
    before = model(u)
    u[:, :, 1] = noise(2, CONTEXT, seed=5)
    change = (model(u) - before).abs().amax((0, 1))
    assert change[1] > 1e-3
    assert (change[[0, 2]] > 1e-3).all() if others_change else (change[[0, 2]] < 1e-12).all()


def test_independent_channels_are_those_of_a_model_of_one_series():
    model, alone = make(), make(n_targets=1)
    alone.load_state_dict(model.state_dict())
    u = noise(4, CONTEXT, N_TARGETS)
    expected = torch.cat([alone(u[..., i : i + 1]) for i in range(N_TARGETS)], -1)
    torch.testing.assert_close(model(u), expected, **TOLERANCE)


@CHANNELS
def test_missing_values_have_no_effect(channels):
    model, u = make(channels=channels), noise(4, CONTEXT, N_TARGETS)
    observed = torch.rand(4, CONTEXT, N_TARGETS, generator=torch.Generator().manual_seed(3)) < 0.6
    observed[0, -5:] = False
    expected = model(u, observed=observed)
    u[~observed] = 1e3
    torch.testing.assert_close(model(u, observed=observed), expected, **TOLERANCE)


@pytest.mark.parametrize("standardize", [True, False])
def test_gaps_are_read_as_straight_lines(standardize):
    u, observed = noise(4, CONTEXT, N_TARGETS), torch.ones(4, CONTEXT, N_TARGETS, dtype=torch.bool)
    observed[1, [3, 4, 5, 9]] = False
    observed[2, 17:, 1] = False
    observed[3, :4, 2] = False
    level = u.new_full((4, 1, N_TARGETS), 7.0)
    filled = _filled(u, observed, level, 1)
    steps = np.arange(CONTEXT)
    for window, target in np.ndindex(4, N_TARGETS):
        known = observed[window, :, target].numpy()
        values = u[window, known, target].numpy()
        expected = np.interp(steps, steps[known], values, left=7.0)
        np.testing.assert_allclose(filled[window, :, target].numpy(), expected)
    line = torch.arange(1.0, CONTEXT + 1, dtype=torch.float64)[None, :, None].expand(1, -1, 3)
    if not standardize:  # so that level and scale are not those of fewer values
        model = make(standardize=False)
        torch.testing.assert_close(model(line, observed=observed[1:2]), model(line), **TOLERANCE)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("step", [5, CONTEXT - 1])
def test_a_spike_is_not_read(standardize, step):
    model, u = make(standardize=standardize), noise(2, CONTEXT, N_TARGETS)
    forecasts = []
    for spike in (1e3, 1e6, -1e9):
        u[0, step, 1] = spike
        forecasts.append(model(u))
    torch.testing.assert_close(forecasts[1], forecasts[0], **TOLERANCE)
    torch.testing.assert_close(forecasts[2], forecasts[0], **TOLERANCE)
    assert forecasts[0].abs().max() < 100


def test_level_is_the_last_observed_value():
    torch.manual_seed(0)
    model = S4ForecastModel(1, 5, 2, d_model=4)
    u = torch.tensor([1.0, 4.0, 2.0, 9.0, 9.0])[None, :, None]
    observed = torch.tensor([True, True, True, False, False])[None, :, None]
    torch.testing.assert_close(model(u, observed=observed), torch.full((1, 2, 1), 2.0))


def test_observing_everything_is_no_mask():
    model, u = make(), noise(4, CONTEXT, N_TARGETS)
    observed = torch.ones(u.shape, dtype=torch.bool)
    torch.testing.assert_close(model(u, observed=observed), model(u), **TOLERANCE)


def test_window_without_an_observed_value_has_a_finite_forecast_and_gradient():
    model, u = make(), noise(2, CONTEXT, N_TARGETS).requires_grad_()
    observed = torch.ones(u.shape, dtype=torch.bool)
    observed[0] = False
    forecast = model(u, observed=observed)
    forecast.sum().backward()
    assert torch.isfinite(forecast).all()
    assert torch.isfinite(u.grad).all()
    torch.testing.assert_close(forecast[1:], model(u[1:], observed=observed[1:]), **TOLERANCE)


def test_covariates_act_on_no_earlier_step():
    model, u = make(n_covariates=2), noise(3, CONTEXT, N_TARGETS)
    x = noise(3, CONTEXT + HORIZON, 2, seed=2)
    before = model(u, x)
    x[:, CONTEXT + 4] += 1
    changed = (model(u, x) - before).abs().amax((0, 2)) > 1e-9
    assert changed.tolist() == [False] * 4 + [True] + [False] * (HORIZON - 5)


def test_effect_of_a_covariate_is_taken_out_of_the_context():
    model, u = make(n_covariates=1), noise(3, CONTEXT, N_TARGETS)
    x = noise(3, CONTEXT + HORIZON, 1, seed=2)
    effect = model.regression(x)
    expected = make(n_covariates=0)
    expected.load_state_dict(model.state_dict(), strict=False)
    expected = expected(u) + effect[:, CONTEXT:]
    torch.testing.assert_close(model(u + effect[:, :CONTEXT], x), expected, **TOLERANCE)


def test_prediction_is_the_mean_of_the_two_paths():
    model, u = make(standardize=False, dropout=0.0), noise(4, CONTEXT, N_TARGETS)
    both = model(u)
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.zero_()
    half_state_space = model(u)
    model = make(standardize=False, dropout=0.0)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    torch.testing.assert_close(both, half_state_space + model(u), **TOLERANCE)


@CHANNELS
def test_each_window_trains_one_path_and_half_of_them_each(channels):
    model = make(train=True, standardize=False, dropout=0.0, channels=channels)
    u = noise(8, CONTEXT, N_TARGETS)
    trained = model(u)
    paths = []
    for other in (model.linear, model.head):
        weight, bias = other.weight.clone(), other.bias.clone()
        with torch.no_grad():
            other.weight.zero_()
            other.bias.zero_()
            paths.append(2 * model.eval()(u))
            other.weight.copy_(weight)
            other.bias.copy_(bias)
    axes = 1 if channels == "independent" else (1, 2)
    of = [((trained - path).abs() < 1e-9).all(axes) for path in paths]
    assert (of[0] ^ of[1]).all()
    assert of[0].sum() == of[1].sum() == of[0].numel() / 2


def test_window_alone_trains_both_paths():
    model = make(train=True, n_targets=1)
    model(noise(1, CONTEXT, 1)).sum().backward()
    assert model.linear.weight.grad.any()
    assert model.head.weight.grad.any()


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_pooled_head_reads_one_step(pooling):
    model = make(pooling=pooling)
    assert model.head.in_features == 4
    assert model(noise(2, CONTEXT, N_TARGETS)).shape == (2, HORIZON, N_TARGETS)


def test_zeros_fill_the_first_patch_and_not_the_last():
    model, longer = make(standardize=False), make(standardize=False)
    longer.context_length = 24  # a whole number of patches
    longer.linear = torch.nn.Linear(24, HORIZON).double()
    for linear in (model.linear, longer.linear):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    u = noise(2, CONTEXT, N_TARGETS)
    filled = torch.cat([torch.zeros(2, 4, N_TARGETS, dtype=u.dtype), u], 1)
    torch.testing.assert_close(model(u), longer(filled), **TOLERANCE)


def test_parameter_groups_hold_every_parameter_once():
    model = make(n_covariates=2)
    groups = model.parameter_groups(1e-2, 1e-3, 0.1)
    parameters = [parameter for group in groups for parameter in group["params"]]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert sum(p.numel() for p in parameters) == sum(p.numel() for p in model.parameters())
    layers = [module for module in model.modules() if isinstance(module, S4Layer)]
    dynamics = {id(p) for group in groups if group["lr"] == 1e-3 for p in group["params"]}
    assert dynamics == {id(p) for layer in layers for p in layer.ssm_parameters() if p.numel()}
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert {id(model.linear.weight), id(model.head.weight)} <= decayed
    assert id(model.linear.bias) not in decayed


@pytest.mark.parametrize("name", ["n_targets", "context_length", "horizon"])
def test_sizes_below_one_are_refused(name):
    sizes = {"n_targets": 1, "context_length": 8, "horizon": 2} | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        S4ForecastModel(**sizes)


@pytest.mark.parametrize(("name", "value"), [("channels", "separate"), ("pooling", "first")])
def test_unknown_choices_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{value}'"):
        S4ForecastModel(1, 8, 2, **{name: value})


@pytest.mark.parametrize("shape", [(2, CONTEXT - 1, N_TARGETS), (2, CONTEXT, 1), (CONTEXT,)])
def test_context_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"context must have shape \(batch, 20, 3\), got"):
        make()(noise(*shape))


@pytest.mark.parametrize(
    ("n_covariates", "shape"),
    [(0, (2, CONTEXT + HORIZON, 1)), (2, None), (2, (2, CONTEXT, 2)), (2, (2, HORIZON, 2))],
)
def test_covariates_of_another_shape_are_refused(n_covariates, shape):
    x = None if shape is None else noise(*shape)
    with pytest.raises(ValueError, match=f"covariates must .*{n_covariates or 'None'}.*, got"):
        make(n_covariates=n_covariates)(noise(2, CONTEXT, N_TARGETS), x)


def test_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"observed must .* \(2, 20, 3\), got .*\(2, 20, 1\)"):
        make()(noise(2, CONTEXT, N_TARGETS), observed=torch.ones(2, CONTEXT, 1, dtype=torch.bool))


def test_forecast_begins_as_the_last_season_that_was_observed():
    torch.manual_seed(0)
    model = S4ForecastModel(N_TARGETS, CONTEXT, HORIZON, d_model=4, period=4).double()
    u = noise(2, CONTEXT, N_TARGETS)
    torch.testing.assert_close(model(u), u[:, [16, 17, 18, 19, 16, 17]])
    observed = torch.ones(2, CONTEXT, N_TARGETS, dtype=torch.bool)
    observed[:, 17] = False
    expected = u[:, [16, 13, 18, 19, 16, 13]]
    torch.testing.assert_close(model(u, observed=observed), expected)
    with pytest.raises(ValueError, match="period must be at most context_length=20, got 21"):
        make(period=21)


@QUANTILES
@CHANNELS
def test_attributes_change_the_forecast_of_their_window_alone(channels, n_quantiles):
    options = {"n_static": 2, "n_known": 4, "n_covariates": 1}
    model = make(channels=channels, n_quantiles=n_quantiles, **options)
    inputs = {"context": noise(3, CONTEXT, N_TARGETS)}
    inputs |= {"covariates": noise(3, CONTEXT + HORIZON, 1), "static": noise(3, 2)}
    inputs |= {"identity": torch.tensor([1, 4, 0])}
    before = model(**inputs)
    changed = model(**inputs | {"static": inputs["static"] + torch.tensor([[0.0], [1], [0]])})
    other = model(**inputs | {"identity": torch.tensor([2, 4, 0])})
    torch.testing.assert_close(changed[[0, 2]], before[[0, 2]])
    assert not torch.isclose(changed[1], before[1]).any()
    torch.testing.assert_close(other[1:], before[1:])
    assert not torch.isclose(other[0], before[0]).any()


def test_unknown_series_is_trained_by_some_of_the_windows():
    model = make(train=True, n_known=3, dropout=0.0)
    identity = torch.ones(200, dtype=torch.int64)
    model(noise(200, CONTEXT, N_TARGETS), identity=identity).sum().backward()
    gradient = model.embedding.weight.grad.abs().sum(dim=1)
    assert (gradient[:2] > 0).all()
    assert (gradient[2:] == 0).all()


def test_attributes_must_be_given_where_the_model_has_some():
    u = noise(2, CONTEXT, N_TARGETS)
    with pytest.raises(ValueError, match=r"static must have shape \(batch, 2\), got None"):
        make(n_static=2)(u)
    with pytest.raises(ValueError, match="identity must be given"):
        make(n_known=2)(u)


def test_gap_at_the_end_is_filled_with_the_season_before():
    season = torch.tensor([1.0, 5.0, 3.0]).repeat(5)[None, :, None]
    observed = torch.ones(1, 15, 1, dtype=torch.bool)
    observed[:, [4, 10, 11, 12, 13, 14]] = False
    filled = _filled(season, observed, season[:, 9:10], 3)[..., 0]
    assert filled[0, 4] == 2.0  # between 1 and 3: not at the end
    expected = season[..., 0].clone()
    expected[0, 4] = 2.0
    assert filled.tolist() == expected.tolist()


def test_gap_at_the_end_follows_the_last_value_as_far_as_values_before_did():
    trend = torch.arange(24, dtype=torch.float64)
    noise_ = torch.tensor([1.0, -1.0, -1.0, 1.0] * 6, dtype=torch.float64)
    observed = torch.ones(1, 24, 1, dtype=torch.bool)
    observed[:, 20:] = False
    steps = torch.stack([trend, noise_])[..., None]
    after = _filled(steps, observed.expand(2, -1, -1), steps[:, 19:20], 8)[:, 20:, 0]
    torch.testing.assert_close(after[0], trend[20:])  # each season differs by as much
    torch.testing.assert_close(after[1], noise_[12:16])


def test_gap_at_the_end_has_finite_gradients_also_where_seasons_are_alike():
    u = torch.ones(1, 12, 1, dtype=torch.float64, requires_grad=True)
    observed = torch.ones(1, 12, 1, dtype=torch.bool)
    observed[:, 9:] = False
    _filled(u, observed, u[:, 8:9], 4).sum().backward()
    assert u.grad is not None
    assert u.grad.isfinite().all()


def test_gap_at_the_end_without_a_whole_season_is_the_last_value():
    u = torch.tensor([7.0, 7.0, 2.0, 3.0, 0.0, 0.0, 0.0])[None, :, None]
    observed = torch.tensor([False, False, True, True, False, False, False])[None, :, None]
    filled = _filled(u, observed, torch.full((1, 1, 1), 3.0), 6)[..., 0]
    assert filled.tolist() == [[3, 3, 2, 3, 3, 3, 3]]


def test_gap_period_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="gap_period must be at most context_length=20, got 21"):
        make(gap_period=21)
