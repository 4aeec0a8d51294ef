"""Validation data set aside from training data."""

import warnings

import numpy as np
from sklearn.model_selection import train_test_split

from sks4.exceptions import ValidationSplitWarning


def split_rows(
    n_samples: int, fraction: float, seed: int, *, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Set a random part of the samples aside.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    fraction : float
        Share of them to set aside.
    seed : int
        Seed of the split.
    classes : ndarray of shape (n_samples,) or None, default=None
        Classes, which both parts have in the same shares.

    Returns
    -------
    train : ndarray of int
        Positions of the training samples, in order.
    valid : ndarray of int or None
        Positions of the validation samples, in order; None if there can be none.

    Warns
    -----
    ValidationSplitWarning
        If there are too few samples, in all or of a class.
    """
    rows = np.arange(n_samples)
    try:
        train, valid = train_test_split(
            rows, test_size=fraction, random_state=seed, stratify=classes
        )
    except ValueError as error:
        warnings.warn(
            "No validation data could be set aside, so training neither validates nor stops "
            f"early: {error} Pass X_val and y_val, or early_stopping=False.",
            ValidationSplitWarning,
            stacklevel=2,
        )
        return rows, None
    return np.sort(train), np.sort(valid)
