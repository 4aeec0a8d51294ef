"""What is drawn, read back from the axes."""

import copy
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_hex
from sklearn.exceptions import NotFittedError

import sks4
from sks4 import S4Classifier, S4Forecaster, S4Generator, nn, plot
from sks4.plot import _axes

matplotlib.use("agg")

WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
import sks4
sks4.plot.stream([0.5, 0.6])
"""


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


# ---------------------------------------------------------------- the module


def test_plot_is_an_attribute_of_the_package_that_is_imported_on_use():
    code = (
        "import sys, sks4; assert 'sks4.plot' not in sys.modules; sks4.plot.stream;"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_attribute_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'plots'"):
        _ = sks4.plots


def test_missing_matplotlib_is_reported_with_the_extra_that_installs_it():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_MATPLOTLIB], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "MissingDependencyError: sks4.plot needs matplotlib. Install it with pip" in run.stderr


def test_no_axes_given_makes_one_new_figure():
    before = pyplot.get_fignums()
    ax = plot.stream([0.2, 0.4])
    assert len(pyplot.get_fignums()) == len(before) + 1
    pyplot.close(ax.figure)


@pytest.mark.parametrize("wrong", [np.array([1]), "axes", [None]])
def test_axes_of_another_type_are_refused(wrong):
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes or None, got"):
        plot.stream([0.5], ax=wrong)


def test_lines_differ_in_color_or_style():
    formats = {tuple(_axes.line_format(i).values()) for i in range(28)}
    assert len(formats) == 28


def test_colors_differ_for_every_kind_of_color_vision():
    """Simulated by the matrices of Machado et al. 2009, for full deficiency."""
    simulations = {
        "normal": np.eye(3),
        "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    colors = np.array([matplotlib.colors.to_rgb(color) for color in _axes.COLORS[:4]])
    for matrix in simulations.values():
        seen = colors @ np.transpose(matrix)
        distances = np.linalg.norm(seen[:, None] - seen, axis=-1)
        assert distances[~np.eye(4, dtype=bool)].min() > 0.12  # of a range of 1 in each primary


# ---------------------------------------------------------------- history


def test_history_draws_both_losses(classifier, ax):
    assert plot.history(classifier, ax=ax) is ax
    assert legend_of(ax)[:2] == ["training", "validation"]
    drawn = line(ax, "validation")
    np.testing.assert_array_equal(drawn.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(drawn.get_ydata(), classifier.history_[:, "valid_loss"])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("epoch", "loss", "S4Classifier")


def test_history_marks_the_epoch_in_use_when_it_is_not_the_last(classifier, ax):
    stopped = copy.copy(classifier)
    stopped.best_epoch_ = 2
    plot.history(stopped, ax=ax)
    assert "weights in use: epoch 2" in legend_of(ax)


def test_history_names_the_readout_in_use(ax):
    y = np.arange(12) % 2
    X = np.sin((0.1 + 0.4 * y)[:, None] * np.arange(20))
    model = S4Classifier(max_epochs=1, d_model=4, n_layers=1, d_state=4, random_state=0).fit(X, y)
    assert model.readout_ == "ridge"
    assert plot.history(model, ax=ax).get_title().startswith("S4Classifier, in use: ridge readout")
    assert len(ax.lines) == 1  # no validation data


def test_history_of_a_generator_and_a_forecaster(forecaster, ax):
    model = S4Generator(d_model=4, n_layers=1, d_state=4, max_epochs=2).fit(["abab"] * 4)
    assert len(plot.history(model, ax=ax).lines[0].get_xdata()) == 2
    assert plot.history(forecaster, ax=ax) is ax


def test_history_needs_an_epoch(ax):
    untrained = S4Forecaster(horizon=12, d_model=4, n_layers=1).fit(np.arange(100.0))
    with pytest.raises(ValueError, match="history_ must have an epoch to be drawn, got none"):
        plot.history(untrained, ax=ax)


def test_history_needs_a_fitted_estimator(ax):
    with pytest.raises(NotFittedError):
        plot.history(S4Classifier(), ax=ax)


# ---------------------------------------------------------------- forecasts


def test_forecast_of_a_frame_with_intervals(forecaster, series, ax):
    predictions = forecaster.forecast(5, coverage=0.8)["price"]
    plot.forecast(
        predictions,
        history=series["price"][:160],
        truth=series["price"][160:165],
        coverage=0.8,
        unit="EUR",
        ax=ax,
    )
    assert legend_of(ax) == ["history", "observed", "forecast", "80% interval"]
    assert len(line(ax, "history").get_xdata()) == 15  # three times what is forecast
    np.testing.assert_array_equal(line(ax, "forecast").get_ydata(), predictions["forecast"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("date", "price (EUR)")


@pytest.mark.parametrize("target", ["load", "price"])
def test_forecast_display_from_estimator_draws_one_of_several_targets(
    forecaster, series, target, ax
):
    display = plot.ForecastDisplay.from_estimator(
        forecaster, 6, history=series[:160], truth=series[160:], target=target, ax=ax
    )
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    expected = forecaster.forecast(6)[target]
    np.testing.assert_allclose(line(ax, "forecast").get_ydata(), expected)
    assert ax.get_ylabel() == target


def test_forecast_display_plots_again(forecaster, ax):
    display = plot.ForecastDisplay.from_estimator(forecaster, coverage=None, ax=ax)
    other = ax.figure.add_subplot()
    assert display.plot(ax=other).ax_ is other
    assert len(other.lines) == len(ax.lines) == 1


def test_forecast_of_arrays_follows_their_history(ax):
    plot.forecast(np.ones(4), history=np.zeros(10), truth=np.ones(2), n_before=3, ax=ax)
    assert line(ax, "history").get_xdata().tolist() == [7, 8, 9]
    assert line(ax, "forecast").get_xdata().tolist() == [10, 11, 12, 13]
    assert line(ax, "observed").get_xdata().tolist() == [10, 11]
    assert ax.get_xlabel() == "row"


def test_forecast_with_periods_is_drawn_by_date(ax):
    months = pd.period_range("2026-01", periods=3, freq="M")
    plot.forecast(pd.Series([1.0, 2, 3], index=months), ax=ax)
    assert line(ax, "forecast").get_xdata()[0] == np.datetime64("2026-01-01")


@pytest.mark.parametrize("coverage", [None, 0.9])
def test_forecast_of_an_unknown_target_is_refused(forecaster, coverage, ax):
    with pytest.raises(ValueError, match=r"target must be one of .*Did you mean 'price'"):
        plot.forecast(forecaster.forecast(3, coverage=coverage), target="prise", ax=ax)


def test_forecast_of_no_rows_is_refused(ax):
    with pytest.raises(ValueError, match="must not be empty"):
        plot.forecast([], ax=ax)


# ---------------------------------------------------------------- backtests


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "step": [1, 2, 1, 2],
            "target": pd.Categorical(["a", "a", "a", "a"], categories=["a", "unused"]),
            "truth": [1.0, 2.0, 3.0, np.nan],
            "forecast": [2.0, 5.0, 1.0, 7.0],
        }
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("absolute_error", [1.5, 3.0]),
        ("root_squared_error", [np.sqrt(2.5), 3.0]),
        ("bias", [-0.5, 3.0]),
    ],
)
def test_backtest_draws_the_error_of_each_step_without_missing_truths(table, metric, expected, ax):
    plot.backtest(table, metric=metric, unit="kW", ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    assert ax.lines[0].get_xdata().tolist() == [1, 2]
    assert ax.get_ylabel().endswith("(kW)")
    assert ax.get_legend() is None


def test_backtest_display_from_estimator_has_a_line_for_each_target(forecaster, series, ax):
    display = plot.BacktestDisplay.from_estimator(forecaster, series, stride=4, ax=ax)
    assert display.errors.shape == (8, 2)
    assert legend_of(ax) == ["load", "price"]


def test_backtest_of_another_table_is_refused(table, ax):
    with pytest.raises(ValueError, match=r"\['truth'\] are missing"):
        plot.backtest(table.drop(columns="truth"), ax=ax)


def test_backtest_with_an_unknown_metric_is_refused_before_it_runs(ax):
    with pytest.raises(ValueError, match="metric must be one of"):
        plot.BacktestDisplay.from_estimator(None, None, metric="mape", ax=ax)


# ---------------------------------------------------------------- layers


@pytest.fixture
def layer():
    return nn.S4Layer(8, d_state=6, generator=torch.Generator().manual_seed(0))


def test_kernels_are_those_of_the_layer(layer, ax):
    plot.kernels(layer, 40, features=[3, 1], ax=ax)
    kernel = layer.kernel(40).detach().double().numpy()
    drawn = ax.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, kernel[3] / np.abs(kernel[3]).max())
    assert legend_of(ax) == ["3", "1"]
    assert ax.get_xlabel() == "samples after the impulse"


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"ssm": "s4d"}, {"init": "legt"}])
def test_kernels_and_eigenvalues_of_every_kind_of_layer(options, ax):
    layer = nn.S4Layer(3, d_state=4, **options)
    assert len(plot.kernels(layer, 10, ax=ax).lines) == 3 + 1  # and the zero line
    other = ax.figure.add_subplot()
    if not layer.bidirectional:
        assert len(plot.eigenvalues(layer, ax=other).lines) == 3


def test_default_features_go_from_the_shortest_to_the_longest_memory(layer, ax):
    shown = [int(label) for label in legend_of(plot.kernels(layer, ax=ax))]
    steps = layer.log_dt.detach()[shown]
    assert len(shown) == 6
    assert bool((steps.diff() < 0).all())


def test_eigenvalues_of_a_diagonal_layer_are_those_of_its_parameters(ax):
    layer = nn.S4Layer(2, d_state=6, ssm="s4d", init="lin", dt_min=0.01, dt_max=0.02).double()
    plot.eigenvalues(layer, features=[1], sampling_rate=50, ax=ax)
    dt = layer.log_dt.exp()[1].item()
    time_constants = 1 / (layer.log_decay.exp()[1] * dt * 50)
    frequencies = layer.frequency[1] * dt * 50 / (2 * torch.pi)
    points = sorted(zip(*ax.lines[0].get_data(), strict=True), key=lambda point: point[1])
    # the mode of frequency 0 is a conjugate pair of two real eigenvalues
    expected = list(zip(time_constants.tolist(), frequencies.tolist(), strict=True))
    np.testing.assert_allclose(points[-2:], expected[-2:], rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time constant (s)", "frequency (Hz)")


def test_drawing_a_layer_leaves_it_as_it_was(layer, ax):
    layer.train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    plot.eigenvalues(layer, ax=ax)
    plot.kernels(layer, ax=ax)
    assert layer.training
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("function", [plot.kernels, plot.eigenvalues])
def test_layer_plots_refuse_what_is_not_a_layer_and_features_it_lacks(function, layer, ax):
    with pytest.raises(TypeError, match="layer must be an S4Layer, got Linear"):
        function(torch.nn.Linear(2, 2), ax=ax)
    with pytest.raises(ValueError, match="from 0 to d_model - 1 = 7"):
        function(layer, features=[8], ax=ax)
    with pytest.raises(ValueError, match="sampling_rate must be finite"):
        function(layer, sampling_rate=0, ax=ax)


# ---------------------------------------------------------------- sequences


def test_stream_has_a_line_for_each_class(ax):
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 20)
    plot.stream(probabilities, classes=["a", "b", "c"], sampling_rate=10, threshold=0.9, ax=ax)
    assert legend_of(ax) == ["a", "b", "c", "threshold"]
    np.testing.assert_array_equal(line(ax, "b").get_ydata(), probabilities[:, 1])
    assert line(ax, "b").get_xdata()[1] == 0.1
    assert ax.get_xlabel() == "time (s)"


def test_stream_of_one_class_with_dates_and_missing_values(ax):
    dates = pd.date_range("2026-01-01", periods=3, freq="h")
    plot.stream([np.nan, 0.5, 1.0], times=dates, ax=ax)
    assert ax.lines[0].get_xdata()[0] == np.datetime64("2026-01-01")
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a"]}, "classes must have 2 entries, got 1"),
        ({"times": [1, 2]}, r"times must have shape \(3,\)"),
        ({"times": [1, 2, 3], "sampling_rate": 2}, "must not be given together"),
        ({"sampling_rate": -1}, "sampling_rate must be finite and above zero"),
    ],
)
def test_stream_refuses_what_does_not_fit(options, message, ax):
    with pytest.raises(ValueError, match=message):
        plot.stream(np.full((3, 2), 0.5), ax=ax, **options)


def test_stream_refuses_what_is_no_probability(ax):
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\], got values from -2"):
        plot.stream([[-2.0, 0.5]], ax=ax)


@pytest.mark.parametrize("shape", [(2, 30), (30,)])
def test_saliency_has_a_row_for_each_channel(shape, ax):
    X = np.random.default_rng(0).normal(size=(2, 30))
    plot.saliency(X, np.ones(shape), channels=["x", "y"], sampling_rate=10, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y"]
    assert len(ax.lines) == 2
    assert ax.figure.axes[1].get_ylabel() == "importance"


def test_saliency_that_is_signed_is_white_at_zero(ax):
    plot.saliency(np.arange(3.0), [-1.0, 0.0, 3.0], ax=ax)
    mesh = ax.collections[0]
    assert mesh.get_clim() == (-3, 3)
    assert to_hex(mesh.get_cmap()(0.5)) > "#f0f0f0"


def test_saliency_refuses_other_shapes_and_missing_weights(ax):
    with pytest.raises(ValueError, match=r"weights must have shape \(1, 5\) or \(5,\), got \(4,\)"):
        plot.saliency(np.ones(5), np.ones(4), ax=ax)
    with pytest.raises(ValueError, match="weights contains NaN"):
        plot.saliency(np.ones(2), [1, np.nan], ax=ax)


@pytest.mark.parametrize(
    ("sequence", "drawn"),
    [
        (np.full(4, 2.0), np.full(4, 0.5)),
        (np.full(4, np.nan), np.full(4, np.nan)),
        ([1, np.nan, 2, 3], [0.9, np.nan, 0.5, 0.1]),
    ],
)
def test_saliency_of_constant_and_missing_values(sequence, drawn, ax):
    (line,) = plot.saliency(sequence, np.ones(4), ax=ax).lines
    np.testing.assert_allclose(line.get_ydata(), drawn)
