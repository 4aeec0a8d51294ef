"""Classification of whole sequences."""

from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from sks4._compat import Interval, StrOptions
from sks4._validation import check_weights
from sks4.data import as_targets, as_weights
from sks4.estimators._auto import resolve_readout
from sks4.estimators._evidence import blocks_of
from sks4.estimators._filters import FilterSummaries, Select
from sks4.estimators._readout import LeftOut, calibrated, class_targets, fit_readout
from sks4.estimators._streaming import ClassifierStream
from sks4.estimators._supervised import (
    FitReadout,
    FoundReadout,
    LabeledSequences,
    SupervisedEstimator,
    Task,
    check_target_given,
)
from sks4.estimators._targets import ClassEncoder, check_class_weight
from sks4.training import CrossEntropy, Mixup, S4Net


@dataclass(kw_only=True, eq=False, repr=False)
class S4Classifier(ClassifierMixin, SupervisedEstimator):
    """Classify sequences with a structured state space model.

    Sequences are scaled, projected to `d_model` features, passed through S4 blocks, pooled over
    time, and scored by a linear layer. The cost is linear in the length of the sequences.

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
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss: numbers by label, or "balanced" for the inverse of its
        frequency. None: all equal.
    label_smoothing : float, default=0.0
        Share of the target probability that is spread evenly over all classes, in [0, 1), in the
        loss and in the probabilities of the ridge regression.
    mixup : float, default=0.0
        Train on averages of two sequences of a batch and of their classes, with a share drawn from
        the beta distribution with this parameter, twice; 0 for the sequences themselves.
    readout : {"auto", "trained", "ridge"}, default="auto"
        Where the last layer comes from: "trained" with the rest, on the features pooled as
        `pooling` says; or "ridge", a ridge regression on a summary of random filters, and of the
        features of all blocks if these are trained, with penalty and probabilities by leaving out
        each sequence in turn. With "ridge", ``max_epochs="auto"`` and no early stopping, the
        blocks are not trained. "auto": "ridge" for two sequences or more, unless another
        `pooling` is given. With ``max_epochs="auto"`` and no early stopping or validation data,
        held-out sequences then decide whether the blocks are trained. `partial_fit` goes back to
        "trained".

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    net_ : S4Net
        The trained net of skorch; ``net_.module_`` is the model.
    history_ : TrainingHistory
        List of a dict for each epoch, with losses and times.
    n_epochs_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch of the weights that are kept, from 1; the last one without early stopping.
    n_parameters_ : int
        Number of parameters of the model, with those of random filters.
    readout_ : {"trained", "ridge"}
        Where the last layer comes from.
    readout_score_ : float
        Accuracy of the ridge readout for sequences that were held out in blocks of neighbors
        within each class, or in groups; for validation data if there were any; if blocks were
        trained by decision of "auto", that of the shorter training that decided. NaN if nothing
        was held out.
    readout_log_loss_ : float
        Their log loss, likewise.
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
    S4Regressor : The same for numbers instead of classes.

    References
    ----------
    Gu, Goel and Ré 2022 (Efficiently Modeling Long Sequences with Structured State Spaces,
    arXiv:2111.00396).

    Examples
    --------
    Slow and fast waves of different lengths:

    >>> import numpy as np
    >>> from sks4 import S4Classifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.array(["slow", "fast"] * 10)
    >>> X = [
    ...     np.sin((0.1 if label == "slow" else 0.5) * np.arange(rng.integers(40, 60)))
    ...     for label in y
    ... ]
    >>> classifier = S4Classifier(d_model=8, n_layers=1, d_state=8, max_epochs=20, random_state=0)
    >>> classifier.fit(X, y).score(X, y)
    1.0
    >>> classifier.predict([np.sin(0.1 * np.arange(200))])
    array(['slow'], dtype='<U4')
    """

    class_weight: dict | str | None = None
    label_smoothing: float = 0.0
    mixup: float = 0.0
    readout: str = "auto"

    _parameter_constraints: ClassVar[dict[str, list]] = (
        SupervisedEstimator._parameter_constraints
        | {
            "class_weight": [dict, StrOptions({"balanced"}), None],
            "label_smoothing": [Interval(Real, 0, 1, closed="left")],
            "mixup": [Interval(Real, 0, None, closed="left")],
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
        y : array-like of shape (n_samples,)
            Class labels.
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
            `readout_score_`, and to decide whether blocks are trained. None: each sample by
            itself for the penalty, otherwise blocks of neighbors.

        Returns
        -------
        self : S4Classifier
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
        targets = ClassEncoder.of(y, self.class_weight)
        if resumed is not None:
            targets = ClassEncoder(self.classes_, self.class_weight)
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

    def partial_fit(
        self, X: Any, y: Any, *, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train for one more epoch, at constant learning rates.

        The first call fixes the scaling, and whatever else depends on the data.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,) or None, default=None
            All labels that will ever occur. Required in the first call.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight of each sample in the loss, in any unit.

        Returns
        -------
        self : S4Classifier
            The estimator, trained for one epoch more.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not valid, or a label is not in `classes`.
        """
        check_target_given(self, y)
        self._check_parameters()
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight must not be 'balanced' for partial_fit, which never sees all labels. "
                "Pass a dict, for example from sklearn.utils.class_weight.compute_class_weight."
            )
        resumed = self._trained_to_resume()
        if resumed is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        given = self.classes_ if classes is None else np.unique(as_targets(classes, "classes"))
        known = given if resumed is None else self.classes_
        if not np.array_equal(given, known):
            raise ValueError(f"classes must be those of the first call, {known}, got {classes}.")
        task = self._task(ClassEncoder(known, self.class_weight), fits_readout=False)
        return self._partial_fit(task, resumed, X, y, sample_weight)

    def predict(self, X: Any, *, sampling_rate: float | None = None) -> np.ndarray:
        """Return the most probable class of each sequence.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels.
        """
        check_is_fitted(self)
        classes = self.classes_  # of this fit, also if another thread fits again
        return classes[self._scores(X, sampling_rate).argmax(axis=1)]

    def predict_proba(self, X: Any, *, sampling_rate: float | None = None) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Probabilities, in the order of `classes_`.
        """
        return softmax(self._scores(X, sampling_rate), axis=1)

    def predict_log_proba(self, X: Any, *, sampling_rate: float | None = None) -> np.ndarray:
        """Return the natural logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Log-probabilities, in the order of `classes_`.
        """
        return log_softmax(self._scores(X, sampling_rate), axis=1)

    def decision_function(self, X: Any, *, sampling_rate: float | None = None) -> np.ndarray:
        """Return the scores of the classes, from which the probabilities follow.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes), float64
            With two classes, the log-odds of the second one; otherwise one score for each class.
        """
        scores = self._scores(X, sampling_rate)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def score(
        self, X: Any, y: Any, *, sample_weight: Any = None, sampling_rate: float | None = None
    ) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : array-like, list of arrays, list of frames, or DataFrame
            Sequences in any form that `fit` takes.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean.
        sampling_rate : float or None, default=None
            Sampling rate of X in Hz; None for that of `fit`.

        Returns
        -------
        float
            Share of the sequences that are classified correctly, in [0, 1].
        """
        predicted = self.predict(X, sampling_rate=sampling_rate)
        weights = check_weights(as_weights(sample_weight), len(predicted))
        return float(accuracy_score(as_targets(y), predicted, sample_weight=weights))

    def stream(self, n_streams: int = 1, sampling_rate: float | None = None) -> ClassifierStream:
        """Return an object that reads sequences sample by sample, in constant memory.

        Parameters
        ----------
        n_streams : int, default=1
            Number of sequences side by side.
        sampling_rate : float or None, default=None
            Their sampling rate in Hz; None for that of `fit`.

        Returns
        -------
        ClassifierStream
            With ``push(sample)``, ``predict()``, ``predict_proba()``, ``predict_log_proba()``,
            ``reset()`` and ``copy()``. At any time it predicts what `predict` does for everything
            pushed.

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, the model needs whole sequences (bidirectional, or
            scaled by their own statistics), or the sampling rate is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from sks4 import S4Classifier
        >>> X, y = np.random.default_rng(0).normal(size=(20, 2, 30)), np.arange(20) % 2
        >>> classifier = S4Classifier(d_model=8, n_layers=1, d_state=8, max_epochs=1)
        >>> stream = classifier.fit(X, y).stream()
        >>> probability = stream.push(X[0, :, 0]).push(X[0, :, 1:]).predict_proba()
        >>> np.allclose(probability, classifier.predict_proba(X[:1]), atol=1e-5)
        True
        """
        check_is_fitted(self)
        return ClassifierStream(
            self._predictor_, n_streams, sampling_rate=sampling_rate, classes=self.classes_
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_class_weight(self.class_weight)

    def _task(self, targets: ClassEncoder, *, fits_readout: bool) -> Task:
        """Return what is asked of the training."""
        is_usual = self.pooling == "mean"

        def plan_readout(samples: LabeledSequences) -> FitReadout | None:
            if resolve_readout(self.readout, len(samples.panel), is_usual=is_usual) == "trained":
                return None
            return partial(self._fit_readout, samples, targets.n_outputs)

        mixup = Mixup(self.mixup, targets.n_outputs) if self.mixup else None
        return Task(
            targets=targets,
            criterion=CrossEntropy(self.label_smoothing),
            net_options={"batch_transform": mixup},
            no_readout={"readout_score_": np.nan, "readout_log_loss_": np.nan},
            plan_readout=plan_readout if fits_readout else lambda samples: None,
            decides=fits_readout and is_usual and self.readout == "auto",
            score=lambda encoder, samples, outputs: _accuracy(samples, outputs),
            losses=lambda encoder, samples, outputs: _losses(samples, outputs),
            judge=self._judge,
        )

    def _fit_readout(
        self,
        samples: LabeledSequences,
        n_classes: int,
        net: S4Net,
        select: Select,
        filters: FilterSummaries,
        *,
        reads_blocks: bool,
    ) -> FoundReadout:
        """Find the last layer by regression, and judge it where its features are not trained."""
        targets, weights = samples.targets, samples.weights
        readout, left_out = fit_readout(
            net,
            select,
            filters,
            class_targets(targets, n_classes),
            weights,
            reads_blocks=reads_blocks,
            groups=samples.groups,
            blocks=blocks_of(targets, len(targets), samples.groups),
        )
        readout, left_out = calibrated(readout, left_out, targets, weights, self.label_smoothing)
        attributes = {"readout_score_": np.nan, "readout_log_loss_": np.nan}
        if not reads_blocks:
            attributes = _diagnostics(samples.take(left_out.rows), left_out.blocked)
        return FoundReadout(readout, attributes, left_out)

    def _judge(
        self,
        found: FoundReadout,
        encoder: ClassEncoder,
        samples: LabeledSequences,
        outputs: np.ndarray,
    ) -> FoundReadout:
        """Calibrate a readout of trained blocks by the held-out samples of a trial.

        To leave one sample out is optimistic where the features have seen it.
        """
        given = LeftOut(np.arange(len(outputs)), outputs, outputs)
        readout, left_out = calibrated(
            found.readout, given, samples.targets, samples.weights, self.label_smoothing
        )
        return replace(found, readout=readout, attributes=_diagnostics(samples, left_out.blocked))

    def _scores(self, X: Any, sampling_rate: float | None) -> np.ndarray:
        """Return the scores of the classes, (n_samples, n_classes)."""
        check_is_fitted(self)
        return self._predictor_.outputs(X, sampling_rate)

    @property
    def readout_(self) -> str:
        """Where the last layer comes from, "trained" or "ridge"."""
        check_is_fitted(self)
        return "trained" if self._predictor_.readout is None else "ridge"

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = True
        return tags


def _diagnostics(samples: LabeledSequences, outputs: np.ndarray) -> dict[str, Any]:
    """Return fitted attributes about outputs for held-out samples."""
    score, log_loss = _accuracy(samples, outputs), _log_loss(samples, outputs)
    return {"readout_score_": score, "readout_log_loss_": log_loss}


def _accuracy(samples: LabeledSequences, outputs: np.ndarray) -> float:
    """Return the weighted share of samples whose class has the largest output."""
    is_right = outputs.argmax(axis=1) == samples.targets
    return float(np.average(is_right, weights=samples.weights))


def _log_loss(samples: LabeledSequences, outputs: np.ndarray) -> float:
    """Return the weighted log loss of outputs that are log-odds."""
    return float(np.average(_losses(samples, outputs), weights=samples.weights))


def _losses(samples: LabeledSequences, outputs: np.ndarray) -> np.ndarray:
    """Return the log loss of each sample, (n_samples,)."""
    return -log_softmax(outputs, axis=1)[np.arange(len(outputs)), samples.targets]
