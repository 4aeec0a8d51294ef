"""Values over the time of one sequence: predictions of a stream, and saliency."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array

from sks4._validation import check_positive

from ._axes import GRAY, label_axes, line_format, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stream(
    probabilities: Any,
    *,
    classes: Sequence[Any] | None = None,
    times: Any = None,
    sampling_rate: float | None = None,
    threshold: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot the probabilities of a stream over time.

    Parameters
    ----------
    probabilities : array-like of shape (n_timepoints, n_classes) or (n_timepoints,)
        Result of ``stream.predict_proba()`` after each sample, or its column of one class.
    classes : sequence of n_classes labels or None, default=None
        Names in the legend, such as ``classifier.classes_``.
    times : array-like of shape (n_timepoints,) or None, default=None
        Numbers or dates; None: computed from `sampling_rate`, or the number of the sample.
    sampling_rate : float or None, default=None
        Samples per second, for a time axis in seconds.
    threshold : float or None, default=None
        Probability at which to draw a horizontal line.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With one line for each class.

    Raises
    ------
    TypeError, ValueError
        If the probabilities have another shape or are outside of [0, 1], numbers of times or
        classes differ from theirs, or both `times` and `sampling_rate` are given.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sks4 import plot
    >>> ax = plot.stream(np.linspace(0, 1, 50), sampling_rate=10)  # doctest: +SKIP
    """
    values = np.asarray(probabilities, dtype=np.float64)
    values = values[:, np.newaxis] if values.ndim == 1 else values
    values = check_array(values, ensure_all_finite="allow-nan", input_name="probabilities")
    if np.nanmin(values) < 0 or np.nanmax(values) > 1:
        raise ValueError(
            "probabilities must be in [0, 1], got values from "
            f"{np.nanmin(values):g} to {np.nanmax(values):g}. Pass those of predict_proba."
        )
    names = _names(classes, values.shape[1], "classes")
    times, label = _time_axis(times, sampling_rate, len(values))
    ax = new_axes(ax)
    for i, column in enumerate(values.T):
        ax.plot(times, column, label=names and names[i], **line_format(i))
    if threshold is not None:
        ax.axhline(threshold, color=GRAY, linestyle="--", linewidth=1, label="threshold")
    ax.set_ylim(-0.03, 1.03)
    label_axes(ax, label, "probability")
    if names or threshold is not None:
        ax.legend()
    return ax


def saliency(
    sequence: Any,
    weights: Any,
    *,
    channels: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot a sequence over colors that show the importance of each of its values.

    Parameters
    ----------
    sequence : array-like of shape (n_channels, n_timepoints) or (n_timepoints,)
        Values. Each channel has a row of its own, scaled to its range.
    weights : array-like of the same shape, or (n_timepoints,)
        Importance of each value, or of each time point. Signed weights are colored from purple
        (negative) over white to orange.
    channels : sequence of n_channels str or None, default=None
        Names of the channels.
    sampling_rate : float or None, default=None
        Samples per second, for a time axis in seconds; None: in samples.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With one line for each channel and a color bar.

    Raises
    ------
    TypeError, ValueError
        If shapes do not match, or a weight is NaN or infinite.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sks4 import plot
    >>> wave = np.sin(np.arange(100) * 0.2)
    >>> ax = plot.saliency(wave, np.abs(wave))  # doctest: +SKIP
    """
    X = check_array(np.atleast_2d(sequence), ensure_all_finite="allow-nan", input_name="sequence")
    W = check_array(np.atleast_2d(weights), input_name="weights")
    if W.shape not in {X.shape, (1, X.shape[1])}:
        raise ValueError(
            f"weights must have shape {X.shape} or ({X.shape[1]},), got {np.shape(weights)}."
        )
    names = _names(channels, len(X), "channels")
    times, label = _time_axis(None, sampling_rate, X.shape[1])
    ax = new_axes(ax)
    W = np.broadcast_to(W, X.shape)
    _color_rows(ax, times, W)
    for row, values in enumerate(X):
        ax.plot(times, row + _to_unit(values), color="black", linewidth=1)
    ax.set_ylim(len(X), 0)
    ax.set_yticks(np.arange(len(X)) + 0.5, names or [str(i) for i in range(len(X))])
    label_axes(ax, label, "channel")
    return ax


def _color_rows(ax: "Axes", times: np.ndarray, weights: np.ndarray) -> None:
    """Color a row of cells for each channel, symmetrically around 0 if a weight is negative."""
    step = times[1] - times[0] if len(times) > 1 else 1.0
    edges = np.append(times - step / 2, times[-1] + step / 2)
    limit = np.abs(weights).max() or 1.0
    signed = weights.min() < 0
    mesh = ax.pcolormesh(
        edges,
        np.arange(len(weights) + 1),
        weights,
        cmap="PuOr_r" if signed else "Oranges",
        vmin=-limit if signed else 0,
        vmax=limit,
        alpha=0.7,
        linewidth=0,
        rasterized=True,
    )
    ax.figure.colorbar(mesh, ax=ax, label="importance")


def _to_unit(values: np.ndarray) -> np.ndarray:
    """Return values mapped to [0.1, 0.9], upside down for an axis that points downwards."""
    known = values[~np.isnan(values)]
    if len(known) == 0 or known.max() == known.min():
        return values * 0 + 0.5
    return 0.9 - 0.8 * (values - known.min()) / (known.max() - known.min())


def _names(names: Sequence[Any] | None, expected: int, parameter: str) -> list[str] | None:
    """Return the names as strings if there are as many as expected."""
    if names is None:
        return None
    if len(names) != expected:
        raise ValueError(f"{parameter} must have {expected} entries, got {len(names)}.")
    return [str(name) for name in names]


def _time_axis(times: Any, sampling_rate: float | None, length: int) -> tuple[np.ndarray, str]:
    """Return the time of each sample and the label of its axis."""
    if times is not None and sampling_rate is not None:
        raise ValueError("times and sampling_rate must not be given together.")
    if sampling_rate is not None:
        return np.arange(length) / check_positive("sampling_rate", sampling_rate), "time (s)"
    if times is None:
        return np.arange(length), "sample"
    times = np.asarray(times)
    if times.shape != (length,):
        raise ValueError(f"times must have shape ({length},), got {times.shape}.")
    return times, "time"
