"""What the classifier and the regressor share: sequences with a target each, in and out."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sks4._validation import check_positive
from sks4.data import Panel, SequenceDataset, check_one_target_each
from sks4.estimators._auto import (
    resolve_early_stopping,
    resolve_patch_size,
    resolve_standardize,
)
from sks4.estimators._sequences import SequenceS4, check_weights
from sks4.estimators._split import split_rows
from sks4.nn import S4Model
from sks4.training import Batches, S4Net


@dataclass(frozen=True, eq=False)
class LabeledSequences:
    """Sequences, what the network shall make of them, and what each counts in the loss.

    Attributes
    ----------
    panel : Panel
        The sequences.
    targets : ndarray of shape (n_samples,), int64, or (n_samples, n_targets), float64
        Class indices, or values.
    weights : ndarray of shape (n_samples,), float64
        Sample weights.
    """

    panel: Panel
    targets: np.ndarray
    weights: np.ndarray

    def take(self, rows: np.ndarray) -> "LabeledSequences":
        """Return some of the samples."""
        return LabeledSequences(self.panel.take(rows), self.targets[rows], self.weights[rows])

    def distinct(self) -> "LabeledSequences":
        """Return the samples that count, equal ones as a single one with all their weight.

        So a sample that is left out has no copy among the others.
        """
        rows: list[int] = []
        weights: list[float] = []
        known: dict[tuple[bytes, bytes], int] = {}
        for row in np.flatnonzero(self.weights).tolist():
            values = np.ascontiguousarray(self.panel[row])
            key = hashlib.blake2b(values.tobytes()).digest(), self.targets[row].tobytes()
            if key in known:
                weights[known[key]] += self.weights[row]
            else:
                known[key] = len(rows)
                rows.append(row)
                weights.append(float(self.weights[row]))
        taken = self.take(np.array(rows, dtype=np.int64))
        return replace(taken, weights=np.array(weights))


@dataclass(kw_only=True, eq=False, repr=False)
class SupervisedS4(SequenceS4):
    """Base of the estimators that learn one target for each sequence."""

    patch_size: int | str = "auto"  # type: ignore[assignment]
    standardize: str | None = "auto"

    _parameter_constraints: ClassVar[dict[str, list]] = SequenceS4._parameter_constraints | {
        "patch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "standardize": [StrOptions({"auto", "global", "series", "split"}), None],
    }
    _announced: ClassVar[tuple[str, ...]] = (
        *SequenceS4._announced,
        *("patch_size_", "standardize_"),
    )

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight: Any = None,
        sampling_rate: float | None = None,
    ) -> Self:
        """Train on labeled sequences.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            The sequences: ``(n_samples, n_timepoints)``, ``(n_samples, n_channels, n_timepoints)``,
            a list of arrays ``(n_channels, n_timepoints_i)`` or ``(n_timepoints_i,)``, a list of
            frames with rows as time, a frame with a sequence in each cell, or one with columns
            (channel, time).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets: class labels, or one or several values (regressor only).
        X_val, y_val : like X and y, or None, default=None
            Validation data. Without them, a part of X may be set aside; see `early_stopping`.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            What each sample counts in the loss, in training and in a validation part of X.
        sampling_rate : float or None, default=None
            Sampling rate of the sequences, in Hz. Needed only if predictions will be made at
            another one.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, the data, or their shapes are not valid.
        TrainingDivergedError
            If the loss becomes NaN or infinite.
        KeyboardInterrupt
            If the user interrupts. The estimator can predict if an epoch was finished.

        Warns
        -----
        ValidationSplitWarning
            If validation data was to be set aside and could not be.
        MemoryLengthWarning
            If the given `dt_min` lets the model forget the sequences before they end.
        DataShapeWarning
            If time and channels look swapped.
        """
        self._check_parameters(goes_on=self.warm_start)
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        if not goes_on:
            self._forget()
        samples = self._labeled(X, y, sample_weight, reset=not goes_on)
        rate = self._training_rate(sampling_rate, reset=not goes_on)
        if not goes_on:
            self._seed()
        self._learn_targets(samples, reset=not goes_on)
        samples, valid, stops_early = self._validation_data(samples, X_val, y_val)
        if not goes_on:
            self._set_up(samples)
        batches = self._training_batches(samples, rate)
        self._resolve_max_epochs(self._steps(samples.panel), len(batches.batch_sampler))
        net = self._net(early_stopping=stops_early)
        self._announce(len(samples.panel))
        with self._keeping(net):
            net.fit(batches, valid=None if valid is None else self._batches(valid, rate))
            self._complete(net, samples, rate)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Train for one epoch; the first call fixes the scaling and what is "auto"."""
        is_first = not self.__sklearn_is_fitted__()
        samples = self._labeled(X, y, sample_weight, reset=is_first)
        if is_first:
            self._training_rate(None, reset=True)
            self._seed()
            self._set_up(samples)
        self._learn_targets(samples, reset=is_first)
        net = self._net()
        with self._keeping(net):
            net.partial_fit(self._training_batches(samples, 1.0))
        return self

    # ------------------------------------------------------------------ what differs

    @abstractmethod
    def _check_targets(self, y: Any, *, reset: bool) -> np.ndarray:
        """Return the targets as arrays of numbers; with `reset`, learn their form."""

    @abstractmethod
    def _learn_targets(self, samples: LabeledSequences, *, reset: bool) -> None:
        """Learn from the training targets what the loss needs; with `reset`, all of it."""

    @abstractmethod
    def _n_outputs(self) -> int:
        """Return the number of outputs of the model."""

    @abstractmethod
    def _loss_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets as the loss takes them."""

    def _loss_weights(self, samples: LabeledSequences) -> np.ndarray:
        """Return the weights as the loss takes them."""
        return samples.weights

    def _complete(self, net: S4Net, samples: LabeledSequences, rate: float) -> None:
        """Do what remains after the training of a whole run, on its samples."""

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes whose shares a random split keeps."""
        return None

    # ------------------------------------------------------------------ checks

    def _labeled(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> LabeledSequences:
        """Check training or validation data."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        panel = self._check_sequences(X, reset=reset)
        targets = self._check_targets(y, reset=reset)
        check_one_target_each(X, panel, targets)
        return LabeledSequences(panel, targets, check_weights(sample_weight, len(panel)))

    def _training_rate(self, sampling_rate: float | None, *, reset: bool) -> float:
        """Return the rate of the training data, which with `reset` defines the unit."""
        if not reset:
            return self._rate(sampling_rate)
        self.sampling_rate_ = (
            None if sampling_rate is None else check_positive("sampling_rate", sampling_rate)
        )
        return 1.0

    def _rate(self, sampling_rate: float | None) -> float:
        """Return the sampling interval of some data over the one in fit."""
        if sampling_rate is None:
            return 1.0
        check_positive("sampling_rate", sampling_rate)
        if self.sampling_rate_ is None:
            raise ValueError(
                f"sampling_rate must be given to fit as well, got {sampling_rate} only now. "
                "Fit with the sampling rate of the training data."
            )
        rate = self.sampling_rate_ / sampling_rate
        if rate != 1 and self.patch_size_ > 1:
            raise ValueError(
                f"sampling_rate must be that of fit, {self.sampling_rate_:g}, with patch_size > 1, "
                f"got {sampling_rate:g}. Fit with patch_size=1, or resample the sequences."
            )
        return rate

    # ------------------------------------------------------------------ data for the net

    def _validation_data(
        self, samples: LabeledSequences, X_val: Any, y_val: Any
    ) -> tuple[LabeledSequences, LabeledSequences | None, bool]:
        """Return training data, validation data, and whether training stops early."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, got only one of them.")
        valid = None if X_val is None else self._labeled(X_val, y_val, None, reset=False)
        stops_early = resolve_early_stopping(
            self.early_stopping, len(samples.panel), has_validation_data=valid is not None
        )
        if stops_early and valid is None:
            train_rows, valid_rows = split_rows(
                len(samples.panel),
                self.validation_fraction,
                int(self._rng_.integers(2**31)),
                classes=self._strata(samples.targets),
            )
            if valid_rows is None:
                return samples, None, False
            samples, valid = samples.take(train_rows), samples.take(valid_rows)
        return samples, valid, stops_early

    def _set_up(self, samples: LabeledSequences) -> None:
        """Learn the scaling, and choose what is "auto", from the training sequences."""
        panel = samples.panel
        self.patch_size_ = resolve_patch_size(
            panel.lengths, self.patch_size, may_change_rate=self.sampling_rate_ is not None
        )
        self.standardize_ = resolve_standardize(panel, samples.targets, self.standardize)
        self._set_up_encoder(panel, self.standardize_)

    def _step_length(self) -> int:
        return self.patch_size_

    def _net(self, *, early_stopping: bool = False) -> S4Net:
        """Return a net to train: the one there is, going on, or a new one."""
        if self.__sklearn_is_fitted__():
            return self._continued_net(self.net_, early_stopping=early_stopping)
        model = self._build_model(
            S4Model,
            n_inputs=self.encoder_.n_inputs_,
            n_outputs=self._n_outputs(),
            patch_size=self.patch_size_,
        )
        return self._build_net(model, early_stopping=early_stopping)

    def _dataset(self, samples: LabeledSequences, rate: float) -> SequenceDataset:
        return SequenceDataset(
            samples.panel,
            self.encoder_,
            y=self._loss_targets(samples.targets),
            sample_weight=self._loss_weights(samples),
            rate=rate,
            dtype=self.dtype,
        )

    def _training_batches(self, samples: LabeledSequences, rate: float) -> Batches:
        sampler = self._training_sampler(samples.panel)
        return Batches(self._dataset(samples, rate), sampler)

    def _batches(self, samples: LabeledSequences, rate: float) -> Batches:
        """Return batches to evaluate."""
        return Batches(self._dataset(samples, rate), self._evaluation_sampler(samples.panel))

    # ------------------------------------------------------------------ prediction

    def _outputs(self, X: Any, sampling_rate: float | None) -> np.ndarray:
        """Return the outputs of the model, (n_samples, n_outputs) in float64."""
        check_is_fitted(self)
        panel = self._check_sequences(X, reset=False)
        dataset = SequenceDataset(
            panel, self.encoder_, rate=self._rate(sampling_rate), dtype=self._built_with_["dtype"]
        )
        outputs = self.net_.predict_dataset(dataset, self._evaluation_sampler(panel))
        if not np.isfinite(outputs).all():
            row = int(np.argmin(np.isfinite(outputs).all(axis=1)))
            raise ValueError(
                f"The model must give finite outputs, got {outputs[row]} for X[{row}]. Its values "
                "are likely far outside the range of the training data."
            )
        return outputs.astype(np.float64)

    def _stream_parts(self, sampling_rate: float | None) -> dict[str, Any]:
        """Return what a stream is made of."""
        check_is_fitted(self)
        if self._built_with_["bidirectional"]:
            raise ValueError(
                "bidirectional=True cannot be streamed, since every output depends on the whole "
                "sequence; fit with bidirectional=False."
            )
        # those of 2-D data are names of time points
        names = getattr(self, "feature_names_in_", None) if self.n_timepoints_in_ is None else None
        return {
            "feature_names": names,
            "model": self.net_.module_,
            "encoder": self.encoder_,
            "rate": self._rate(sampling_rate),
            "layout": self._built_with_["layout"],
        }
