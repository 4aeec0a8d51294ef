"""Regression on whole sequences."""

from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sks4._compat import Interval, StrOptions
from sks4._validation import check_positive, check_weights
from sks4.data import as_weights, check_same_names, column_names
from sks4.estimators._auto import resolve_readout
from sks4.estimators._evidence import blocks_of, reach_of
from sks4.estimators._filters import FilterSummaries, Select
from sks4.estimators._readout import fit_readout
from sks4.estimators._streaming import RegressorStream
from sks4.estimators._supervised import (
    FitReadout,
    FoundReadout,
    LabeledSequences,
    SupervisedEstimator,
    Task,
    check_target_given,
)
from sks4.estimators._targets import ValueEncoder, as_float64, r_squared
from sks4.training import REGRESSION_LOSSES, S4Net, regression_loss

_N_BLOCKS_OF_ERRORS = 10
"""Errors of a regression on nine tenths of the samples are hardly larger than those on all."""


@dataclass(frozen=True, eq=False)
class _Errors:
    """Errors for sequences that were left out.

    Attributes
    ----------
    sizes : ndarray of shape (n_samples, n_targets), float64
        Absolute errors in the unit of y.
    weights : ndarray of shape (n_samples,), float64
        Weights of the samples, with a mean of 1.
    """

    sizes: np.ndarray
    weights: np.ndarray

    def quantile(self, coverage: float) -> np.ndarray:
        """Return sizes that the error of one more sample stays below, (n_targets,).

        It may be the largest of all, so it counts as infinite itself, with a weight of 1
        (Tibshirani et al. 2019, arXiv:1904.06019, section 2).
        """
        wanted = coverage * (self.weights.sum() + 1)
        order = np.argsort(self.sizes, axis=0)
        shares = np.cumsum(self.weights[order], axis=0)  # (n_samples, n_targets)
        # sums of equal weights must not fall below a whole number by rounding
        ranks = np.sum(shares < wanted * (1 - 1e-12), axis=0)
        rising = np.take_along_axis(self.sizes, order, axis=0)
        rising = np.vstack([rising, np.full(rising.shape[1], np.inf)])
        return rising[ranks, np.arange(rising.shape[1])]


@dataclass(kw_only=True, eq=False, repr=False)
class S4Regressor(RegressorMixin, SupervisedEstimator):
    """Predict one or several numbers for each sequence with a structured state space model.

    Sequences are scaled, projected to `d_model` features, passed through S4 blocks, pooled over
    time, and mapped to the targets by a linear layer. The targets are scaled to mean 0 and standard
    deviation 1 for training, and back in prediction.

    Parameters
    ----------
    d_model : int, default=64
        Width of the model: number of features, each with a state space of its own.
    n_layers : int, default=2
        Number of S4 blocks, one after the other.
    d_state : int, default=16
        Number of state variables of each state space, even.
    ssm : {"s4", "s4d"}, default="s4"
        State matrix: diagonal plus low-rank, or diagonal.
    init : {"legs", "legt", "fout", "lin", "inv"}, default="legs"
        Initial state matrix: "legs", "legt" or "fout" for s4; "legs", "lin" or "inv" for s4d.
    dt_min, dt_max : float or "auto", default="auto"
        Range of the initial steps of the state spaces. A feature remembers about ``1/dt`` steps,
        so "auto" follows the lengths: ``dt_min`` is about 1 over the length, and ``dt_max`` 100
        times as large.
    bandlimit : float or None, default=None
        With ``ssm="s4d"``: modes with a frequency above this share of half the sampling rate give
        no output; with 1, those that would alias. For predictions at lower sampling rates.
    bidirectional : bool, default=False
        Whether every block also reads the sequence backwards.
    embedding : {"auto", "values", "spectrum"}, default="auto"
        What a step of the model reads of a patch: its values, or its mean and the logarithmic
        powers of its frequency bands, for each channel. Spectra suit long sequences of
        oscillations, such as sound, where strength tells and phase does not; they rule out other
        sampling rates. "auto": "values" up to 2,048 time points, or if a sampling rate is given to
        `fit`; for longer sequences "spectrum" if the regression on filters then predicts held-out
        sequences better, where these decide on the training.
    patch_size : int or "auto", default="auto"
        Number of time points that make one step of the model. Larger is faster by about that
        factor, and rules out other sampling rates. "auto": 1 up to 2,048 time points or if a
        sampling rate is given to `fit`; for longer sequences 2 to 16. With spectra 16 to 256, a
        thirty-second of the length or less.
    pooling : {"mean", "last", "max"}, default="mean"
        How the features of all steps become those of the sequence.
    dropout : float, default=0.1
        Probability with which a feature is dropped in a training step, in [0, 1).
    norm : {"layer", "batch"} or None, default="layer"
        Normalization within the blocks: over the features of a step, or of each feature over the
        real steps of the batch (in prediction: running statistics).
    prenorm : bool, default=True
        Whether blocks normalize their input, except for the first one; otherwise their output.
    max_epochs : int or "auto", default="auto"
        Number of passes over the training data. "auto": enough for about 1,000 optimizer steps,
        fewer on data of many million time points.
    batch_size : int or "auto", default="auto"
        Sequences in a training batch. "auto": 8 to 64 by the number of sequences, fewer where
        they are so long that a batch would have more than 65,536 steps.
    lr : float, default=0.01
        Learning rate at the peak of the schedule.
    ssm_lr : float, default=0.001
        Learning rate of the state matrices and their steps.
    weight_decay : float, default=0.05
        Weight decay of AdamW, for the matrices outside of the state spaces.
    lr_schedule : {"cosine"} or None, default="cosine"
        Factor of the learning rates: a short rise, then half a cosine down to zero over the whole
        run, or over `max_time` where that is shorter. None: constant.
    stretch : float, default=1.0
        Train on sequences that are resampled in time, each by a factor of its own that is drawn
        from ``1 / stretch`` to `stretch` in every batch; 1 for the sequences themselves. It suits
        sequences to come that are faster, slower or of another pitch, such as words of other
        speakers, and harms where frequencies tell. Not for the regression of a ridge readout.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient of all parameters; None for no limit.
    validation_fraction : float, default=0.1
        Share of the training data to set aside if training stops early and no validation data is
        given; of each class for the classifier.
    early_stopping : bool or "auto", default="auto"
        Whether training monitors the loss on validation data, stops when it no longer improves, and
        keeps the best weights. "auto": if validation data is given.
    patience : int, default=20
        Epochs without improvement after which training stops early.
    max_time : float or None, default=None
        Seconds after which training ends, as planned by the schedule; None for no limit.
    standardize : str or None, default="auto"
        Scale each channel to mean 0 and standard deviation 1. "global": over all training data;
        "running": each time point by its sequence up to it; "series": each sequence by itself.
        "running_split" and "split": as these two, and level and scale are inputs of their own.
        Sequences that are scaled as a whole, with "series" and "split", cannot be streamed. "auto":
        where level and scale differ, "running" if they explain almost nothing of the targets, such
        as the loudness of a recording (below 5 % of their variance in any channel), and for classes
        "running_split" if they do, but differ so much that one unit hides the shape of some
        sequences; otherwise "global". None: values are not scaled.
    missing : {"mask", "ffill", "error"}, default="mask"
        What happens to NaN before the end of a sequence. "mask": filled by a forecast from the
        values before it, learned in fit; if there are such gaps in fit, they are also marked in an
        additional channel. "ffill": filled by the last value before it. "error": refused.
    layout : {"nct", "ntc"}, default="nct"
        Order of the axes in arrays: samples, channels, time, or samples, time, channels. It is
        fixed in fit.
    device : str, default="auto"
        Device to compute on, as named by torch, such as "cpu" or "cuda:1". "auto": the GPU if
        there is one.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model computes.
    compile : bool, default=False
        Whether to compile the model with ``torch.compile``.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, dropout, batches, the validation split and random filters. With
        an int, two fits are identical on a CPU at equal numbers of threads. None: another one in
        each fit. The global random state is left untouched.
    verbose : {0, 1, 2}, default=0
        Progress of `fit`. 1: a bar with loss, score and time left, in a terminal or notebook;
        elsewhere a line on stderr every ten seconds. 2: a line on stdout for each epoch, and for
        every ten seconds in between. 0: nothing, except that the logger "sks4" warns of the first
        fit of a process that is expected to take more than 20 seconds, outside of searches.
    net_callbacks : list or None, default=None
        Callbacks of skorch, as instances, classes or pairs of a name and one of them. Each fit
        works on clones.
    net_params : dict or None, default=None
        Anything else that skorch's net takes, such as ``{"optimizer__betas": (0.9, 0.95)}``.
    warm_start : bool, default=False
        Whether fit resumes from the weights, the optimizer and the scaling of the last fit.
    loss : {"squared_error", "absolute_error", "huber", "quantile"}, default="squared_error"
        Loss, over targets scaled to standard deviation 1: "huber" is the squared error up to one
        standard deviation and linear beyond; "quantile" is the pinball loss.
    quantile : float, default=0.5
        Quantile to predict with ``loss="quantile"``, between 0 and 1.
    readout : {"auto", "trained", "ridge"}, default="auto"
        Where the last layer comes from: "trained" with the rest, on the features pooled as
        `pooling` says; or "ridge", a ridge regression on a summary of random filters and on their
        last states, and on a summary of all blocks if these are trained. With "ridge",
        ``max_epochs="auto"`` and no early stopping, the blocks are not trained. "auto": "ridge" for
        two sequences or more, unless another `pooling` or `loss` is given. With
        ``max_epochs="auto"`` and no early stopping or validation data, held-out sequences then
        decide whether the blocks are trained. `partial_fit` goes back to "trained".

    Attributes
    ----------
    readout_ : {"trained", "ridge"}
        Where the last layer comes from.
    readout_score_ : float
        R² of the ridge readout for sequences that were held out in blocks of neighbors, or in
        groups, mean over the targets; for validation data if there were any; if blocks were trained
        by decision of "auto", that of the shorter training that decided. NaN if nothing was held
        out.
    n_targets_in_ : int or None
        Number of columns of y; None if y has one axis.
    target_scaler_ : StandardScaler
        Scaling of the targets.
    net_ : S4Net
        The trained net of skorch; ``net_.module_`` is the model.
    history_ : TrainingHistory
        List of a dict for each epoch, with losses and times.
    n_epochs_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch of the weights that are kept, from 1; the last one without early stopping.
    n_parameters_ : int
        Number of parameters of the model.
    embedding_ : {"values", "spectrum"}
        What a step reads of a patch.
    patch_size_ : int
        Number of time points that make one step of the model.
    standardize_ : {"global", "running", "running_split", "series", "split"} or None
        How the sequences are scaled.
    dt_range_ : tuple of float
        Range of the initial steps.
    batch_size_ : int
        Sequences in a batch.
    max_epochs_ : int
        Epochs planned by the last call of fit.
    encoder_ : SequenceEncoder
        Scaling of the channels, and treatment of missing values.
    sampling_rate_ : float or None
        Sampling rate of the training data in Hz, if given.
    n_timepoints_in_ : int or None
        Width of 2-D training data, which prediction requires as well; None for the other forms,
        in which the number of time points is free.
    n_features_in_ : int
        Number of columns of 2-D training data; otherwise of channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if all are strings.

    See Also
    --------
    S4Classifier : The same for classes instead of numbers.

    References
    ----------
    Gu, Goel and Ré 2022 (Efficiently Modeling Long Sequences with Structured State Spaces,
    arXiv:2111.00396).

    Examples
    --------
    The frequency of a wave:

    >>> import numpy as np
    >>> from sks4 import S4Regressor
    >>> y = np.linspace(0.1, 0.6, 40)
    >>> X = np.sin(y[:, np.newaxis] * np.arange(50))
    >>> regressor = S4Regressor(d_model=8, n_layers=1, d_state=8, max_epochs=40, random_state=0)
    >>> regressor.fit(X, y).score(X, y) > 0.9
    True
    >>> regressor.predict(X[:3]).shape
    (3,)
    """

    loss: str = "squared_error"
    quantile: float = 0.5
    readout: str = "auto"

    _parameter_constraints: ClassVar[dict[str, list]] = (
        SupervisedEstimator._parameter_constraints
        | {
            "loss": [StrOptions({*REGRESSION_LOSSES, "quantile"})],
            "quantile": [Interval(Real, 0, 1, closed="neither")],
            "readout": [StrOptions({"auto", "trained", "ridge"})],
        }
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
        groups: Any = None,
    ) -> Self:
        """Train on labeled sequences.

        A call that raises leaves the estimator as it was.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            The sequences: ``(n_samples, n_timepoints)``, ``(n_samples, n_channels, n_timepoints)``,
            a list of arrays ``(n_channels, n_timepoints_i)`` or ``(n_timepoints_i,)``, a list of
            frames with rows as time, a frame with a sequence in each cell, or one with columns
            (channel, time).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets, one or several values for each sequence.
        X_val, y_val : like X and y, or None, default=None
            Validation data. Without them, a part of X may be set aside; see `early_stopping`.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples, in any unit, in training and in the validation part of X.
        sampling_rate : float or None, default=None
            Sampling rate of the sequences, in Hz. Needed only if predictions will be made at
            another one.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups of samples that resemble each other, such as recordings of a speaker, which are
            held out as a whole: to choose the penalty of the ridge readout, for
            `readout_score_` and `predict_interval`, and to decide whether blocks are trained. None:
            blocks of neighbors, with the samples around whose targets resemble theirs.

        Returns
        -------
        self : S4Regressor
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, the data, or their shapes are not valid.
        TrainingDivergedError
            If the loss or a weight of the model becomes NaN or infinite.
        KeyboardInterrupt
            If the user interrupts. After a finished epoch, the result so far is kept.

        Warns
        -----
        ValidationSplitWarning
            If validation data was to be set aside and could not be.
        MemoryLengthWarning
            If the given `dt_min` lets the model forget the sequences before they end.
        DataShapeWarning
            If time and channels look swapped.
        """
        check_target_given(self, y)
        self._check_parameters()
        resumed = self._trained_to_resume() if self.warm_start else None
        targets = ValueEncoder.of(y) if resumed is None else self._targets_
        return self._fit(
            self._task(targets, fits_readout=True),
            resumed,
            X,
            y,
            X_val=X_val,
            y_val=y_val,
            sample_weight=sample_weight,
            sampling_rate=sampling_rate,
            groups=groups,
        )

    def partial_fit(self, X: Any, y: Any, *, sample_weight: Any = None) -> Self:
        """Train for one more epoch, at constant learning rates.

        The first call fixes the scaling of X and y, and whatever else depends on the data.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight of each sample in the loss, in any unit.

        Returns
        -------
        self : S4Regressor
            The estimator, trained for one epoch more.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not valid.
        """
        check_target_given(self, y)
        self._check_parameters()
        resumed = self._trained_to_resume()
        targets = ValueEncoder.of(y) if resumed is None else self._targets_
        task = self._task(targets, fits_readout=False)
        return self._partial_fit(task, resumed, X, y, sample_weight)

    def predict(self, X: Any, *, sampling_rate: float | None = None) -> np.ndarray:
        """Return the predicted targets of each sequence.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets), float64
            In the unit and with the axes of y in `fit`.
        """
        check_is_fitted(self)
        return self._targets_.decode(self._predictor_.outputs(X, sampling_rate))

    def score(
        self, X: Any, y: Any, *, sample_weight: Any = None, sampling_rate: float | None = None
    ) -> float:
        """Return the coefficient of determination.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            True targets.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean.
        sampling_rate : float or None, default=None
            Sampling rate of X in Hz; None for that of `fit`.

        Returns
        -------
        float
            1 minus the squared error over that of the mean of y, averaged over the targets.
        """
        predicted = self.predict(X, sampling_rate=sampling_rate)
        check_same_names("y", self._targets_.names, column_names(y))
        weights = check_weights(as_weights(sample_weight), len(predicted))
        return r_squared(as_float64(y, "y"), predicted, weights)

    def stream(self, n_streams: int = 1, sampling_rate: float | None = None) -> RegressorStream:
        """Return an object that reads sequences sample by sample, in constant memory.

        Parameters
        ----------
        n_streams : int, default=1
            Number of sequences side by side.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        RegressorStream
            With ``push(sample)``, ``predict()``, ``reset()`` and ``copy()``. At any time it
            predicts what `predict` does for everything pushed.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, the model needs whole sequences (bidirectional, or
            scaled by their own statistics), or the sampling rate is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from sks4 import S4Regressor
        >>> X, y = np.random.default_rng(0).normal(size=(20, 2, 30)), np.arange(20)
        >>> regressor = S4Regressor(d_model=8, n_layers=1, d_state=8, max_epochs=1)
        >>> stream = regressor.fit(X, y).stream(n_streams=20)
        >>> prediction = stream.push(X[..., :10]).push(X[..., 10:]).predict()
        >>> np.allclose(prediction, regressor.predict(X), rtol=1e-3)
        True
        """
        check_is_fitted(self)
        return RegressorStream(
            self._predictor_, n_streams, sampling_rate=sampling_rate, targets=self._targets_
        )

    def predict_interval(
        self, X: Any, coverage: float = 0.9, *, sampling_rate: float | None = None
    ) -> np.ndarray:
        """Return intervals that hold each target with a given probability.

        They are symmetric about the prediction. Their width is the quantile of the errors for
        training sequences that were left out, each target by itself: in ten blocks of neighbors
        with what resembles these, or group by group (Barber et al. 2021, Predictive inference with
        the jackknife+, arXiv:1905.02928, sections 1.1 and 3). Where the weights of the samples
        differ, so do those of their errors. The probability holds for sequences that resemble those
        of the training.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        coverage : float, default=0.9
            Probability, between 0 and 1.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_targets, 2), float64
            Lower and upper ends, in the unit of y. Infinite if there were too few training
            sequences for this coverage.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            If the estimator is not fitted, nothing was held out, or the coverage is not valid.
        """
        check_is_fitted(self)
        if check_positive("coverage", coverage) >= 1:
            raise ValueError(f"coverage must be above 0 and below 1, got {coverage}.")
        if self._errors_ is None:
            raise ValueError(
                "predict_interval must have errors of sequences that were held out, and there are "
                "none. Fit with readout='ridge' and max_epochs='auto', or pass X_val and y_val."
            )
        width = self._errors_.quantile(float(coverage))
        center = self.predict(X, sampling_rate=sampling_rate)
        if center.ndim == 1:
            width = width[0]
        return np.stack([center - width, center + width], axis=-1)

    @property
    def readout_(self) -> str:
        """Where the last layer comes from, "trained" or "ridge"."""
        check_is_fitted(self)
        return "trained" if self._predictor_.readout is None else "ridge"

    def _task(self, targets: ValueEncoder, *, fits_readout: bool) -> Task:
        """Return what is asked of the training."""
        is_usual = self.pooling == "mean" and self.loss == "squared_error"

        def plan_readout(samples: LabeledSequences) -> FitReadout | None:
            if resolve_readout(self.readout, len(samples.panel), is_usual=is_usual) == "trained":
                return None
            encoder = targets.learn(samples.targets, samples.weights)
            return partial(self._fit_readout, samples, encoder)

        return Task(
            targets=targets,
            criterion=regression_loss(self.loss, self.quantile),
            no_readout={"readout_score_": np.nan, "_errors_": None},
            plan_readout=plan_readout if fits_readout else lambda samples: None,
            decides=fits_readout and is_usual and self.readout == "auto",
            score=_r_squared,
            losses=_squared_errors,
            judge=_judged,
            recalls=True,
        )

    def _fit_readout(
        self,
        samples: LabeledSequences,
        encoder: ValueEncoder,
        net: S4Net,
        select: Select,
        filters: FilterSummaries,
        *,
        reads_blocks: bool,
    ) -> FoundReadout:
        """Find the last layer by regression, and judge it where its features are not trained."""
        n_samples, groups = len(samples.panel), samples.groups
        targets = encoder.encode(samples.targets)
        if groups is None and not reads_blocks:
            groups = _blocks_of_errors(n_samples)
        readout, left_out = fit_readout(
            net,
            select,
            filters,
            targets,
            samples.weights,
            reads_blocks=reads_blocks,
            of_values=True,
            groups=groups,
            blocks=blocks_of(None, n_samples, samples.groups),
            gap=reach_of(targets) if samples.groups is None else 0,
        )
        attributes: dict[str, Any] = {"readout_score_": np.nan, "_errors_": None}
        if not reads_blocks:
            judged = samples.take(left_out.rows)
            attributes = {
                "readout_score_": _r_squared(encoder, judged, left_out.blocked),
                "_errors_": _errors(encoder, judged, left_out.outputs),
            }
        return FoundReadout(readout, attributes, left_out)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _judged(
    found: FoundReadout, encoder: ValueEncoder, samples: LabeledSequences, outputs: np.ndarray
) -> FoundReadout:
    """Return a readout of trained blocks with the errors of a trial for held-out samples."""
    attributes = {
        "readout_score_": _r_squared(encoder, samples, outputs),
        "_errors_": _errors(encoder, samples, outputs),
    }
    return replace(found, attributes=attributes)


def _r_squared(encoder: ValueEncoder, samples: LabeledSequences, outputs: np.ndarray) -> float:
    """Return R² of outputs of a model."""
    return r_squared(samples.targets, _values(encoder, samples, outputs), samples.weights)


def _squared_errors(
    encoder: ValueEncoder, samples: LabeledSequences, outputs: np.ndarray
) -> np.ndarray:
    """Return the squared error of each sample, a mean over the standardized targets."""
    return np.mean((encoder.encode(samples.targets) - outputs) ** 2, axis=1)


def _errors(encoder: ValueEncoder, samples: LabeledSequences, outputs: np.ndarray) -> _Errors:
    """Return the errors of outputs of a model."""
    sizes = np.abs(samples.targets - _values(encoder, samples, outputs))
    return _Errors(sizes, samples.weights / samples.weights.mean())


def _blocks_of_errors(n_samples: int) -> np.ndarray:
    """Return the block of neighbors of each sample that is left out, (n_samples,) int64.

    The errors for successive windows of a series are far too small if their neighbors are known.
    """
    return np.arange(n_samples) * _N_BLOCKS_OF_ERRORS // max(_N_BLOCKS_OF_ERRORS, n_samples)


def _values(encoder: ValueEncoder, samples: LabeledSequences, outputs: np.ndarray) -> np.ndarray:
    """Return outputs of a model in the unit of y, (n_samples, n_targets)."""
    return np.reshape(encoder.decode(outputs), samples.targets.shape)
