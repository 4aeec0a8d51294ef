"""What all estimators of whole sequences share: sequences in, in every form, and their batches."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, validate_data

from sks4.data import BucketBatchSampler, Panel, SequenceEncoder, as_panel
from sks4.estimators._auto import EVALUATION_TOKENS, MAX_TOKENS, resolve_device
from sks4.estimators._old_base import S4Estimator


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceS4(S4Estimator):
    """Base of the estimators that read whole sequences."""

    bandlimit: float | None = None
    layout: str = "nct"

    _parameter_constraints: ClassVar[dict[str, list]] = S4Estimator._parameter_constraints | {
        "bandlimit": [Interval(Real, 0, None, closed="neither"), None],
        "layout": [StrOptions({"nct", "ntc"})],
    }
    _model_parameters: ClassVar[tuple[str, ...]] = (*S4Estimator._model_parameters, "bandlimit")
    _data_parameters: ClassVar[tuple[str, ...]] = (*S4Estimator._data_parameters, "layout")

    # ------------------------------------------------------------------ checks

    def _check_sequences(self, X: Any, *, reset: bool) -> Panel:
        """Check sequences, also against those of fit."""
        is_table = isinstance(X, pd.DataFrame) and X.columns.nlevels == 1
        if is_table:  # before the values: where names are wrong, missing values may follow from it
            self._check_features(X, reset=reset)
        panel = self._panel(X)
        if reset:
            self.n_timepoints_in_ = panel.n_timepoints
        else:
            self._check_same_form(panel)
        if not is_table:
            header = np.empty((1, panel.n_features))
            names = panel.feature_names
            self._check_features(
                header if names is None else pd.DataFrame(header, columns=names), reset=reset
            )
        return panel

    def _check_features(self, table: Any, *, reset: bool) -> None:
        """Let scikit-learn check the number of features and their names, in its words."""
        validate_data(self, table, reset=reset, skip_check_array=True)

    def _check_same_form(self, panel: Panel) -> None:
        """Raise if X has other axes than in fit, or other channels."""
        name = type(self).__name__
        if (panel.n_timepoints is None) != (self.n_timepoints_in_ is None):
            forms = {
                True: "one row for each sequence",
                False: "channels and time for each sequence",
            }
            fitted = forms[self.n_timepoints_in_ is not None]
            given = forms[panel.n_timepoints is not None]
            raise ValueError(
                f"X must have the form it had in fit, {fitted}, got {given}. A 2-D array X becomes "
                "3-D by X[:, np.newaxis]; fitted in that form, sequences of any length go in."
            )
        if panel.n_timepoints is None and panel.n_channels != self.n_features_in_:
            raise ValueError(
                f"X has {panel.n_channels} channels, but {name} is expecting "
                f"{self.n_features_in_} channels as in fit."
            )

    def _panel(self, X: Any) -> Panel:
        """Return sequences of any form as a panel, in the layout of fit once there was one."""
        is_fitted = self.__sklearn_is_fitted__()
        return as_panel(X, layout=self._built_with_["layout"] if is_fitted else self.layout)

    # ------------------------------------------------------------------ data for the net

    def _set_up_encoder(self, panel: Panel, standardize: str | None) -> None:
        """Learn the scaling, and choose what is "auto", from the training sequences."""
        self.encoder_ = SequenceEncoder(standardize, self.missing).fit(panel)
        self._resolve_auto(self._steps(panel))

    def _steps(self, panel: Panel) -> np.ndarray:
        """Return the number of steps that the state space makes for each sequence."""
        return -(-panel.lengths // self._step_length())

    def _step_length(self) -> int:
        """Return the number of time points that make one step of the state space."""
        return self.patch_size

    def _training_sampler(self, panel: Panel) -> BucketBatchSampler:
        """Return shuffled batches; only an "auto" batch size is cut down for long sequences."""
        return BucketBatchSampler(
            self._steps(panel),
            self.batch_size_,
            max_tokens=MAX_TOKENS if self.batch_size == "auto" else None,
            seed=self._rng_,
        )

    def _evaluation_sampler(self, panel: Panel) -> BucketBatchSampler:
        """Return batches to evaluate: what fits the cache of a CPU, or the memory of a GPU."""
        # a fitted net stays where it is, even if it was read where its device does not exist
        device = self.net_.device if self.__sklearn_is_fitted__() else resolve_device(self.device)
        max_tokens = EVALUATION_TOKENS if torch.device(device).type == "cpu" else MAX_TOKENS
        return BucketBatchSampler(
            self._steps(panel), len(panel), max_tokens=max_tokens, shuffle=False
        )

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags


def check_weights(sample_weight: Any, n_samples: int) -> np.ndarray:
    """Return the weights of the samples in float64, ones if there are none."""
    if sample_weight is None:
        return np.ones(n_samples)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weights.shape}.")
    if weights.min() < 0 or weights.sum() == 0:
        raise ValueError(
            "sample_weight must hold no negative weight and have a sum above zero, got the minimum "
            f"{weights.min()} and the sum {weights.sum()}."
        )
    return weights
