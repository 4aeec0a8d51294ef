"""The course of a training."""

import math
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from ._axes import COLORS, GRAY, integer_ticks, label_axes, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def history(estimator: Any, *, ax: "Axes | None" = None) -> "Axes":
    """Plot the training and the validation loss of each epoch.

    Parameters
    ----------
    estimator : fitted estimator of sks4
        A classifier, regressor, forecaster or generator.
    ax : Axes or None, default=None
        Where to draw; None for a new figure.

    Returns
    -------
    Axes
        With one line for each loss. Where training stopped early, a vertical line marks the epoch
        whose weights are in use. If another readout replaced the trained last layer, its held-out
        score is in the title, since the losses are not those of the predictor in use.

    Raises
    ------
    NotFittedError
        If the estimator has not been fitted.
    ValueError
        If nothing was trained.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sks4 import S4Classifier, plot
    >>> y = np.arange(20) % 2
    >>> X = np.sin(np.where(y, 0.5, 0.1)[:, None] * np.arange(30))
    >>> classifier = S4Classifier(d_model=4, n_layers=1, max_epochs=3, random_state=0).fit(X, y)
    >>> plot.history(classifier).get_ylabel()  # doctest: +SKIP
    'loss'
    """
    check_is_fitted(estimator)
    rows = estimator.history_
    if not rows:
        raise ValueError(
            "history_ must have an epoch to be drawn, got none: fit chose to train nothing. Give "
            "it a number of max_epochs."
        )
    ax = new_axes(ax)
    epochs = [row["epoch"] for row in rows]
    names = {"train_loss": "training", "valid_loss": "validation"}
    for color, (column, label) in zip(COLORS, names.items(), strict=False):
        if column in rows[-1]:
            losses = [row.get(column, math.nan) for row in rows]
            marker = "o" if len(rows) == 1 else None
            ax.plot(epochs, losses, color=color, marker=marker, label=label)
    best = estimator.best_epoch_
    if best < len(rows):
        label = f"weights in use: epoch {best}"
        ax.axvline(best, color=GRAY, linestyle="--", linewidth=1, label=label)
    integer_ticks(ax)
    label_axes(ax, "epoch", "loss")
    ax.set_title(_title(estimator))
    ax.legend()
    return ax


def _title(estimator: Any) -> str:
    """Return what the predictor in use is, and its held-out score if there is one."""
    name = type(estimator).__name__
    readout = getattr(estimator, "readout_", "trained")
    if readout == "trained":
        return name
    score = getattr(estimator, "readout_score_", math.nan)
    held_out = "" if math.isnan(score) else f", held-out score {score:.3f}"
    return f"{name}, in use: {readout} readout{held_out}"
