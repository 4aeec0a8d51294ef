"""What all estimators of whole sequences share: the form of X, its batches, and two parameters."""

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch

from sks4._compat import Interval, StrOptions
from sks4.data import (
    BucketBatchSampler,
    Panel,
    SymbolEncoder,
    advice_on_length,
    as_panel,
    as_sequences,
    other_form_message,
)
from sks4.estimators._auto import EVALUATION_TOKENS, MAX_TOKENS
from sks4.estimators._base import S4Estimator
from sks4.estimators._features import Features, read_features


@dataclass(frozen=True, eq=False)
class SequenceReader:
    """The form of X as it was in fit, in which later sequences must come as well.

    Attributes
    ----------
    estimator_name : str
        Name of the estimator, for the errors.
    layout : {"nct", "ntc"}
        Order of the axes in arrays.
    symbols : SymbolEncoder or None
        Numbers of the symbols; None for sequences of real values.
    n_timepoints : int or None
        Width of 2-D data; None for the forms in which the number of time points is free.
    features : Features or None
        Number and names of the features; None before fit.
    """

    estimator_name: str
    layout: str
    symbols: SymbolEncoder | None = None
    n_timepoints: int | None = None
    features: Features | None = None

    def fit_read(self, X: Any) -> tuple[Self, Panel]:
        """Return a reader with the form of X, and its sequences."""
        X = as_sequences(X)
        features = self._read_columns(X, None)
        panel = self._panel(X)
        if features is None:
            features = self._read_channels(panel, None)
        return replace(self, n_timepoints=panel.n_timepoints, features=features), panel

    def read(self, X: Any) -> Panel:
        """Return sequences that have the form of fit.

        Raises
        ------
        ValueError, TypeError
            If X is no set of sequences, or has another form, other channels or other names.
        """
        assert self.features is not None
        X = as_sequences(X)
        columns = self._read_columns(X, self.features)
        panel = self._panel(X)
        self._check_same_form(panel, X)
        if columns is None:
            self._read_channels(panel, self.features)
        return panel

    @property
    def channel_names(self) -> np.ndarray | None:
        """Names of the channels; None if there are none, or if they are those of time points."""
        if self.features is None or self.n_timepoints is not None:
            return None
        return self.features.names

    def attributes(self) -> dict[str, Any]:
        """Return the form as fitted attributes of an estimator."""
        assert self.features is not None
        return {"n_timepoints_in_": self.n_timepoints} | self.features.attributes()

    def _panel(self, X: Any) -> Panel:
        if self.symbols is not None:
            return self.symbols.transform(X)
        return as_panel(X, layout=self.layout)

    def _read_columns(self, X: Any, known: Features | None) -> Features | None:
        """Check the columns of a table before its values: wrong names may explain missing ones."""
        if isinstance(X, pd.DataFrame) and X.columns.nlevels == 1:
            with advice_on_length(X, self.n_timepoints, self.layout):
                return read_features(self.estimator_name, X, known)
        return None

    def _read_channels(self, panel: Panel, known: Features | None) -> Features:
        header: Any = np.empty((1, panel.n_features))
        if panel.feature_names is not None:
            header = pd.DataFrame(header, columns=panel.feature_names)
        with advice_on_length(header, self.n_timepoints, self.layout):
            return read_features(self.estimator_name, header, known)

    def _check_same_form(self, panel: Panel, X: Any) -> None:
        """Raise if X has other axes than in fit, or other channels."""
        assert self.features is not None
        if (panel.n_timepoints is None) != (self.n_timepoints is None):
            n_channels = self.features.n_features
            raise ValueError(other_form_message(X, self.n_timepoints, n_channels, self.layout))
        if panel.n_timepoints is None and panel.n_channels != self.features.n_features:
            raise ValueError(
                f"X has {panel.n_channels} channels, but {self.estimator_name} is expecting "
                f"{self.features.n_features} channels as in fit."
            )


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceEstimator(S4Estimator):
    """Base of the estimators that read whole sequences."""

    bandlimit: float | None = None
    layout: str = "nct"

    _parameter_constraints: ClassVar[dict[str, list]] = S4Estimator._parameter_constraints | {
        "bandlimit": [Interval(Real, 0, None, closed="neither"), None],
        "layout": [StrOptions({"nct", "ntc"})],
    }
    _model_parameters: ClassVar[tuple[str, ...]] = (*S4Estimator._model_parameters, "bandlimit")
    _fixed_parameters: ClassVar[tuple[str, ...]] = (*S4Estimator._fixed_parameters, "layout")

    def _training_sampler(
        self, n_steps: np.ndarray, batch_size: int, rng: np.random.Generator
    ) -> BucketBatchSampler:
        """Return shuffled batches; only an "auto" batch size is cut down for long sequences."""
        max_tokens = MAX_TOKENS if self.batch_size == "auto" else None
        return BucketBatchSampler(n_steps, batch_size, max_tokens=max_tokens, seed=rng)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags


def count_steps(panel: Panel, patch_size: int) -> np.ndarray:
    """Return the number of steps of the state space for each sequence, (n_samples,)."""
    return -(-panel.lengths // patch_size)


def evaluation_sampler(n_steps: np.ndarray, device: Any) -> BucketBatchSampler:
    """Return batches to evaluate that fit the cache of a CPU, or the memory of a GPU."""
    max_tokens = EVALUATION_TOKENS if torch.device(device).type == "cpu" else MAX_TOKENS
    return BucketBatchSampler(n_steps, len(n_steps), max_tokens=max_tokens, shuffle=False)
