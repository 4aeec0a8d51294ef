"""What a state space layer has learned: its kernels and its eigenvalues."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sks4._validation import check_integer, check_positive
from sks4.nn import S4Layer

from ._axes import label_axes, line_format, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 6  # lines that can be told apart at a glance


def kernels(
    layer: S4Layer,
    length: int = 256,
    *,
    features: Sequence[int] | None = None,
    sampling_rate: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot the convolution kernels of a layer, its responses to one impulse.

    Parameters
    ----------
    layer : S4Layer
        Such as ``estimator.net_.module_.backbone.blocks[0].layer``.
    length : int, default=256
        Number of samples after the impulse.
    features : sequence of int or None, default=None
        Which features to draw; None: six, from the shortest to the longest memory.
    sampling_rate : float or None, default=None
        Samples per second, for a time axis in seconds; None: in samples.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With one line for each feature, divided by its largest absolute value. Of a bidirectional
        layer, the direction forward in time is drawn.

    Raises
    ------
    TypeError, ValueError
        If `layer` is not an S4Layer, or `length`, `features` or `sampling_rate` is not valid.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sks4 import nn, plot
    >>> plot.kernels(nn.S4Layer(8), features=[0, 1]).get_xlabel()  # doctest: +SKIP
    'samples after the impulse'
    """
    _check_layer(layer)
    length = check_integer("length", length)
    chosen = _features(layer, features)
    times, unit = _times(length, sampling_rate)
    ax = new_axes(ax)
    with torch.no_grad():
        kernel = layer.kernel(length)
    values = (kernel[0] if layer.bidirectional else kernel).double().cpu().numpy()
    for i, feature in enumerate(chosen):
        scale = np.abs(values[feature]).max() or 1.0
        ax.plot(times, values[feature] / scale, label=f"{feature}", **line_format(i))
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    label_axes(ax, f"{unit} after the impulse", "kernel over its maximum")
    ax.legend(title="feature", loc="right")
    return ax


def eigenvalues(
    layer: S4Layer,
    *,
    features: Sequence[int] | None = None,
    sampling_rate: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    r"""Plot how fast the modes of a layer decay and oscillate.

    Each eigenvalue :math:`z` of the discrete state matrix is a mode with the time constant
    :math:`-1/\log|z|` and the frequency :math:`\arg(z) / 2\pi`. One of each conjugate pair is
    drawn.

    Parameters
    ----------
    layer : S4Layer
        Such as ``estimator.net_.module_.backbone.blocks[0].layer``.
    features : sequence of int or None, default=None
        Which features to draw; None: six, from the shortest to the longest memory.
    sampling_rate : float or None, default=None
        Samples per second, for seconds and hertz; None: samples and cycles per sample.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With one set of points for each feature; the time constant on a logarithmic axis.

    Raises
    ------
    TypeError, ValueError
        If `layer` is not an S4Layer, or `features` or `sampling_rate` is not valid.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from sks4 import nn, plot
    >>> plot.eigenvalues(nn.S4Layer(8), sampling_rate=100).get_ylabel()  # doctest: +SKIP
    'frequency (Hz)'
    """
    _check_layer(layer)
    chosen = _features(layer, features)
    rate = 1.0 if sampling_rate is None else check_positive("sampling_rate", sampling_rate)
    ax = new_axes(ax)
    modes = _discrete_eigenvalues(layer)[chosen]
    for i, (feature, z) in enumerate(zip(chosen, modes, strict=True)):
        z = z[z.imag >= 0]
        time_constant = -1 / np.log(np.abs(z)) / rate
        frequency = np.angle(z) / (2 * np.pi) * rate
        style: dict[str, Any] = {"color": line_format(i)["color"], "marker": "osD^vP"[i % 6]}
        ax.plot(time_constant, frequency, linestyle="none", ms=4, label=f"{feature}", **style)
    ax.set_xscale("log")
    units = ("samples", "cycles per sample") if sampling_rate is None else ("s", "Hz")
    label_axes(ax, f"time constant ({units[0]})", "frequency", units[1])
    ax.legend(title="feature")
    return ax


def _check_layer(layer: Any) -> None:
    """Raise TypeError if `layer` is not a state space layer."""
    if not isinstance(layer, S4Layer):
        raise TypeError(
            f"layer must be an S4Layer, got {type(layer).__name__}. That of a fitted estimator is "
            "estimator.net_.module_.backbone.blocks[0].layer."
        )


def _features(layer: S4Layer, features: Sequence[int] | None) -> list[int]:
    """Return the features to draw, by default in the order of their steps, longest step first."""
    if features is None:
        order = layer.log_dt.detach().argsort(descending=True).tolist()
        shown = np.linspace(0, layer.d_model - 1, min(_SHOWN, layer.d_model)).round().astype(int)
        return [order[i] for i in shown]
    chosen = [check_integer("each of features", feature, minimum=0) for feature in features]
    if not chosen or max(chosen) >= layer.d_model:
        raise ValueError(
            f"features must hold numbers from 0 to d_model - 1 = {layer.d_model - 1}, "
            f"got {list(features)}."
        )
    return chosen


def _times(length: int, sampling_rate: float | None) -> tuple[np.ndarray, str]:
    """Return the time of each sample, and its unit."""
    if sampling_rate is None:
        return np.arange(length), "samples"
    return np.arange(length) / check_positive("sampling_rate", sampling_rate), "seconds"


def _discrete_eigenvalues(layer: S4Layer) -> np.ndarray:
    """Return the eigenvalues of one step without input, ``(d_model, d_state)`` complex."""
    double = copy.deepcopy(layer).cpu().double().eval()  # slow modes are within 1e-7 of 1
    N, H = layer.d_state, layer.d_model
    basis = torch.eye(N, dtype=torch.float64)[:, None].expand(N, H, N)  # a batch of unit states
    with torch.no_grad():
        _, moved = double.step(torch.zeros(N, H, dtype=torch.float64), basis)
    return torch.linalg.eigvals(moved.permute(1, 2, 0)).numpy()  # columns of A_bar
