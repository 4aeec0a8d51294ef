"""Targets of sequences as the loss takes them: indices of classes, or standardized values."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from sks4.data import as_targets, check_numbers, check_same_names, column_names

# Larger targets leave no room in float64 for their sums.
_LARGEST_TARGET = 1e300


class TargetEncoder(Protocol):
    """Between targets as users have them and those of the loss."""

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the model."""

    def read(self, y: Any) -> np.ndarray:
        """Return checked targets as arrays of numbers."""

    def learn(self, targets: np.ndarray, weights: np.ndarray) -> Self:
        """Return an encoder that knows the training targets."""

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets as the loss takes them."""

    def weigh(self, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weights of the samples in the loss."""

    def unweighted(self) -> Self:
        """Return an encoder that leaves the weights of the samples as they are."""

    def strata(self, targets: np.ndarray) -> np.ndarray | None:
        """Return classes whose shares a random split keeps."""

    def attributes(self) -> dict[str, Any]:
        """Return what is known as fitted attributes of an estimator."""


@dataclass(frozen=True, eq=False)
class ClassEncoder:
    """Class labels as indices.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    class_weight : dict, "balanced" or None
        Weights of the classes, as the user gave them.
    class_weights : ndarray of shape (n_classes,), float64, or None
        Weights of the classes; None before the training targets are known.
    """

    classes: np.ndarray
    class_weight: Mapping | str | None = None
    class_weights: np.ndarray | None = None

    @classmethod
    def of(cls, y: Any, class_weight: Mapping | str | None) -> Self:
        """Return the encoder of the classes in `y`."""
        return cls(np.unique(_check_labels(y)), class_weight)

    @property
    def n_outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def read(self, y: Any) -> np.ndarray:
        """Return class indices, (n_samples,) int64.

        Raises
        ------
        ValueError
            If `y` is not one label for each sample, or holds a label that is not in `classes`.
        """
        return LabelEncoder().fit(self.classes).transform(_check_labels(y)).astype(np.int64)

    def learn(self, targets: np.ndarray, weights: np.ndarray) -> Self:
        """Return an encoder with weights of the classes, whose mean over the samples is 1.

        Raises
        ------
        ValueError
            If no sample has a weight above zero.
        """
        class_weights = compute_class_weight(
            self.class_weight, classes=self.classes, y=self.classes[targets]
        )
        class_weights = class_weights / class_weights.max()
        mean = np.average(class_weights[targets], weights=weights)
        if mean == 0:
            raise ValueError(
                "class_weight and sample_weight must leave a training sample with a weight above "
                f"zero, got class_weight={self.class_weight}."
            )
        return replace(self, class_weights=class_weights / mean)

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Return the indices."""
        return targets

    def weigh(self, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weights times those of the classes."""
        assert self.class_weights is not None
        return weights * self.class_weights[targets]

    def unweighted(self) -> Self:
        """Return an encoder without weights of the classes."""
        return replace(self, class_weight=None, class_weights=None)

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return the classes."""
        return targets

    def attributes(self) -> dict[str, Any]:
        """Return the classes as a fitted attribute."""
        return {"classes_": self.classes}


@dataclass(frozen=True, eq=False)
class ValueEncoder:
    """Values, standardized, so that the learning rates need not follow their unit.

    Attributes
    ----------
    n_targets : int or None
        Number of columns of y; None if y has one axis.
    names : ndarray of shape (n_targets,) or None
        Names of the columns of y in fit, if it had some and all are strings.
    scaler : StandardScaler or None
        Scaling of the targets; None before the training targets are known.
    """

    n_targets: int | None
    names: np.ndarray | None = None
    scaler: StandardScaler | None = None

    @classmethod
    def of(cls, y: Any) -> Self:
        """Return the encoder of targets with the axes of `y`."""
        values = _check_values(y)
        return cls(values.shape[1] if values.ndim == 2 else None, column_names(y))

    @property
    def n_outputs(self) -> int:
        """Number of targets."""
        return self.n_targets or 1

    def read(self, y: Any) -> np.ndarray:
        """Return targets, (n_samples, n_targets) float64.

        Raises
        ------
        ValueError
            If `y` is not finite, too large, or has other axes or names than in fit.
        """
        values = _check_values(y)
        n_targets = values.shape[1] if values.ndim == 2 else None
        if n_targets != self.n_targets:
            shapes = [
                "(n_samples,)" if n is None else f"(n_samples, {n})"
                for n in (self.n_targets, n_targets)
            ]
            raise ValueError(f"y must have shape {shapes[0]} as in fit, got {shapes[1]}.")
        check_same_names("y", self.names, column_names(y))
        return values.reshape(len(values), -1)

    def learn(self, targets: np.ndarray, weights: np.ndarray) -> Self:
        """Return an encoder with the scaling of these targets, or the one that it has."""
        if self.scaler is not None:
            return self
        return replace(self, scaler=fit_scaler(targets, weights))

    def encode(self, targets: np.ndarray) -> np.ndarray:
        """Return standardized targets."""
        assert self.scaler is not None
        # scikit-learn may be told to return frames
        return np.asarray(self.scaler.transform(targets))

    def weigh(self, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weights."""
        return weights

    def unweighted(self) -> Self:
        """Return the encoder: targets have no weights."""
        return self

    def strata(self, targets: np.ndarray) -> None:
        """Return None: values have no classes."""

    def attributes(self) -> dict[str, Any]:
        """Return form and scaling of the targets as fitted attributes."""
        return {"n_targets_in_": self.n_targets, "target_scaler_": self.scaler}

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs (n_samples, n_targets) in the unit and with the axes of y."""
        assert self.scaler is not None
        values = self.scaler.inverse_transform(outputs)
        return values[:, 0] if self.n_targets is None else values


def fit_scaler(targets: np.ndarray, weights: np.ndarray) -> StandardScaler:
    """Return the standardization of targets of any unit.

    The moments are computed in a unit near the largest magnitude of each column, a power of two, so
    that no square overflows or is lost. A constant column has that unit as its scale.

    Parameters
    ----------
    targets : ndarray of shape (n_samples, n_targets), float64
        Targets.
    weights : ndarray of shape (n_samples,), float64
        Weights.

    Returns
    -------
    StandardScaler
        Fitted, with the moments in the unit of the targets.
    """
    _, exponent = np.frexp(np.abs(targets).max(axis=0))
    scaler = StandardScaler().fit(np.ldexp(targets, -exponent), None, weights)
    scaler.mean_ = np.ldexp(scaler.mean_, exponent)
    scaler.scale_ = np.ldexp(scaler.scale_, exponent)
    with np.errstate(over="ignore", under="ignore"):
        scaler.var_ = np.ldexp(scaler.var_, 2 * exponent)
    return scaler


def check_class_weight(class_weight: Any) -> None:
    """Raise if `class_weight` holds anything but finite, nonnegative numbers."""
    if not isinstance(class_weight, Mapping):
        return
    for label, weight in class_weight.items():
        is_number = isinstance(weight, (int, float, np.number)) and not isinstance(weight, bool)
        if not is_number:
            raise TypeError(
                f"class_weight must hold numbers, got {weight!r} for class {label!r}. Pass "
                "{label: weight}, 'balanced' or None."
            )
        is_too_large = isinstance(weight, int) and abs(weight) > sys.float_info.max
        if is_too_large or not (np.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"class_weight must hold finite weights of at least 0, got {weight} for class "
                f"{label!r}."
            )
    if class_weight and not any(class_weight.values()):
        raise ValueError("class_weight must hold a weight above zero, got only zeros.")


def _check_labels(y: Any) -> np.ndarray:
    """Return one label for each sample."""
    labels = column_or_1d(as_targets(y), warn=True)
    assert_all_finite(labels, input_name="y")
    if pd.isna(labels).any():
        raise ValueError("Input y contains NaT. Every sample must have a label.")
    _refuse_other_objects(labels)
    check_classification_targets(labels)
    return labels


def _refuse_other_objects(labels: np.ndarray) -> None:
    """Raise TypeError if labels are of a type that numpy cannot sort or scikit-learn not read."""
    if labels.dtype.kind not in "OV":
        return
    wrong = next((label for label in labels.tolist() if not isinstance(label, (str, bytes))), None)
    if wrong is not None:
        raise TypeError(
            "y must hold labels that are text, numbers of at most 64 bits, or dates without a time "
            f"zone in a type of numpy, got {wrong!r} of type {type(wrong).__name__}. Convert them, "
            "for example to text by [str(label) for label in y]."
        )


def as_float64(y: Any, name: str) -> np.ndarray:
    """Return finite numbers in float64, in the axes in which they come.

    Raises
    ------
    TypeError
        If there is a date, text, or another object that is no number.
    ValueError
        If one is missing, infinite, or beyond the range of float64.
    """
    values = check_numbers(as_targets(y, name), name)
    return check_array(values, ensure_2d=False, dtype=np.float64, input_name=name)


def r_squared(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
    """Return the coefficient of determination, in a unit in which no square is out of range.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_samples,) or (n_samples, n_targets), float64
        Targets and their predictions.
    weights : ndarray of shape (n_samples,), float64
        Weights of the samples in the mean.

    Returns
    -------
    float
        Averaged over the targets.
    """
    _, exponent = np.frexp(np.abs(truth).max(axis=0))
    truth, predicted = np.ldexp(truth, -exponent), np.ldexp(predicted, -exponent)
    return float(r2_score(truth, predicted, sample_weight=weights))


def _check_values(y: Any) -> np.ndarray:
    """Return finite targets in float64, one- or two-dimensional."""
    values = as_float64(y, "y")
    largest = np.abs(values).max()
    if largest > _LARGEST_TARGET:
        raise ValueError(
            f"y must be within {_LARGEST_TARGET:g} in magnitude, beyond which sums overflow, got "
            f"{largest:.3g}. Rescale y."
        )
    return values
