"""Fitted estimators that read sequences sample by sample."""

import copy
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

from sks4._validation import check_integer
from sks4.data import StreamEncoder, as_sample, as_targets, check_numbers
from sks4.estimators._features import read_features
from sks4.estimators._predictor import SequencePredictor
from sks4.estimators._targets import ValueEncoder
from sks4.nn import ModelStepper


class SequenceStream:
    """Sequences that a fitted model reads as they come, in constant memory.

    Made by ``stream()`` of an estimator. At any time, the prediction equals that of the estimator
    on everything pushed so far. Samples at which all channels are NaN wait until a value follows,
    which makes them missing values; until then they are the padding after the sequence, and
    change no prediction.

    A stream has a copy of the weights, so that it does not change when the estimator is trained
    on; it can be pickled and continues where it was.

    Parameters
    ----------
    predictor : SequencePredictor
        Result of a fit. The stream takes a copy of its model.
    n_streams : int, default=1
        Number of sequences side by side. A sample is pushed to all at the same time; a stream that
        has none gets NaN.
    sampling_rate : float or None, default=None
        Sampling rate of the streams in Hz; None for that of `fit`.

    Attributes
    ----------
    layout : {"nct", "ntc"}
        Order of the axes of pushed arrays, that of fit.
    feature_names_in_ : ndarray of shape (n_channels,) or None
        Names of the channels, which samples that have names must have in the same order.
    lengths : ndarray of shape (n_streams,), int
        Time points that the prediction of each stream rests on.
    waiting : ndarray of shape (n_streams,), int
        Time points after them at which all channels were NaN.

    Raises
    ------
    ValueError
        If the model or the encoder needs whole sequences, or `rate` is not valid.
    """

    def __init__(
        self,
        predictor: SequencePredictor,
        n_streams: int = 1,
        *,
        sampling_rate: float | None = None,
    ) -> None:
        check_integer("n_streams", n_streams)
        predictor.check_streamable()
        self.n_streams = n_streams
        self._reader = predictor.reader
        self._device = predictor.net.device
        rate = predictor.rate(sampling_rate)
        self._encoder = StreamEncoder(predictor.encoder, n_streams, predictor.dtype, rate)
        frozen = copy.deepcopy(predictor.model).requires_grad_(False).eval()
        self._stepper = ModelStepper(frozen, n_streams, rate)
        # outputs at its last value, of each stream that waits
        self._outputs_before: dict[int, torch.Tensor] = {}

    @property
    def layout(self) -> str:
        """Order of the axes of pushed arrays, that of fit."""
        return self._reader.layout

    @property
    def feature_names_in_(self) -> np.ndarray | None:
        """Names of the channels in fit, None if there were none."""
        return self._reader.channel_names

    @property
    def lengths(self) -> np.ndarray:
        """Time points that the prediction of each stream rests on, shape (n_streams,)."""
        return self._encoder.lengths.copy()

    @property
    def waiting(self) -> np.ndarray:
        """Time points at the end of each stream at which all channels were NaN (n_streams,)."""
        return self._encoder.n_pushed - self._encoder.lengths

    def push(self, sample: Any) -> Self:
        """Read the next sample, or several. A call that raises changes nothing.

        Parameters
        ----------
        sample : array-like of shape (n_channels,) or (n_channels, n_timepoints)
            Raw values, NaN where missing. With several streams there is a leading axis,
            ``(n_streams, n_channels)`` or ``(n_streams, n_channels, n_timepoints)``. With
            ``layout="ntc"`` time comes before the channels, as it does in a DataFrame, and in a
            list of one for each of several streams. If the model was fitted with names of the
            channels, those of a DataFrame, or of a Series with one sample, must be the same.

        Returns
        -------
        self : stream
            The stream.

        Raises
        ------
        ValueError
            If the shape or the names do not fit, or a value is infinite, or is missing and must
            not be.
        TypeError
            If the values are not real numbers.
        """
        values = self._values(sample)
        if values.shape[2]:
            encoder = self._encoder.copy()
            u = torch.from_numpy(encoder.encode(values))
            self._advance(u if self._device == "cpu" else u.to(self._device), encoder)
        return self

    def _values(self, sample: Any) -> np.ndarray:
        """Return what was pushed as float64 of shape (n_streams, n_channels, n_timepoints)."""
        shape = self.n_streams, self._encoder.n_channels
        expected = shape if self.n_streams > 1 else shape[1:]
        is_exact = type(sample) is np.ndarray and sample.dtype == np.float64
        if is_exact and sample.shape == expected:  # nothing to convert
            return sample.reshape(*shape, 1)
        sample = as_sample(sample)
        self._check_names(sample)
        return check_sample(sample, *shape, self.layout)

    def _advance(self, u: torch.Tensor, encoder: StreamEncoder) -> None:
        """Continue by the inputs (n_streams, n_timepoints, n_inputs) that an encoder has made.

        The outputs of streams that end before the last of them are kept.
        """
        first = n_before = self._encoder.n_pushed
        stepper = self._stepper
        kept, ends = self._outputs_before, []
        if kept or encoder.has_gaps:
            kept = {row: y for row, y in kept.items() if encoder.lengths[row] <= first}
            inside = (encoder.lengths >= max(first, 1)) & (encoder.lengths < encoder.n_pushed)
            ends = [int(end) for end in np.unique(encoder.lengths[inside])]
        before = self._encoder, self._outputs_before
        state = stepper.state if ends and ends[-1] > first else None
        try:
            for end in ends:
                if end > first:
                    piece, u = u.split([end - first, u.shape[1] - end + first], 1)
                    stepper.push(piece)
                    first = end
                rows = [int(r) for r in np.flatnonzero(encoder.lengths == end) if r not in kept]
                if rows:
                    output = stepper.output()
                    kept |= {row: output[row].clone() for row in rows}
            self._encoder, self._outputs_before = encoder, kept
            stepper.push(u)
        except BaseException:  # also an interrupt
            if state is not None:
                stepper.state = state
            if stepper.n_samples == n_before:
                self._encoder, self._outputs_before = before
            raise

    def reset(self) -> Self:
        """Go back to the beginning of all streams."""
        before = self._encoder
        self._encoder = StreamEncoder(before.encoder, self.n_streams, before.dtype, before.rate)
        self._stepper.reset()
        self._outputs_before = {}
        return self

    def copy(self) -> Self:
        """Return an independent stream that has read the same; the weights are shared."""
        other = copy.copy(self)
        other._encoder = self._encoder.copy()
        other._stepper = copy.deepcopy(self._stepper)
        other._outputs_before = dict(self._outputs_before)
        return other

    def _outputs(self) -> np.ndarray:
        """Return the outputs of the model for everything pushed, (n_streams, ...), float64."""
        encoder = self._encoder
        if encoder.n_pushed == 0 or (encoder.has_gaps and encoder.lengths.min() == 0):
            raise ValueError(
                "Every stream must have got a value before a prediction, got none yet in stream "
                f"{encoder.lengths.argmin()}. Push a sample first."
            )
        outputs = self._stepper.output().cpu().numpy().astype(np.float64)
        for stream, before in self._outputs_before.items():
            outputs[stream] = before.cpu().numpy()
        if not np.isfinite(outputs).all():
            raise ValueError(
                "The model must give finite outputs, got others. The pushed values are likely far "
                "outside the range of the training data."
            )
        return outputs

    def _check_names(self, sample: Any) -> None:
        """Let scikit-learn compare the names of the channels, where there are some, with fit's."""
        if isinstance(sample, (list, tuple)):
            for one in sample:
                if isinstance(one, pd.DataFrame):
                    self._check_names(one)
        if self.feature_names_in_ is None or not isinstance(sample, (pd.DataFrame, pd.Series)):
            return
        names = sample.columns if isinstance(sample, pd.DataFrame) else sample.index
        is_one_sample = isinstance(sample, pd.DataFrame) or self.n_streams == 1
        if is_one_sample and all(isinstance(name, str) for name in names):
            header = pd.DataFrame(columns=names)
            read_features(type(self).__name__, header, self._reader.features)


def _stacked(frames: Any) -> np.ndarray:
    """Return frames of equal lengths as one array (n_streams, n_timepoints, n_channels)."""
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) > 1:
        raise ValueError(
            "The DataFrames of one sample must have the same shape, one for each stream, got the "
            f"shapes {sorted(shapes)}. Pass NaN for a stream that has no value."
        )
    return np.stack([np.asarray(frame) for frame in frames])


def _real_numbers(sample: Any) -> np.ndarray:
    """Return a sample in float64, NaN where it is missing."""
    array = as_targets(sample, "A sample")
    if array.dtype.kind not in "biufO":
        raise TypeError(f"A sample must hold real numbers, got dtype {array.dtype}.")
    check_numbers(array, "A sample")
    return array.astype(np.float64, copy=False)


class ClassifierStream(SequenceStream):
    """A stream of a classifier; see :class:`SequenceStream` for what it has in common.

    Parameters
    ----------
    *args, **kwargs
        As of :class:`SequenceStream`.
    classes : ndarray of shape (n_classes,)
        Labels.
    """

    def __init__(self, *args: Any, classes: np.ndarray, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.classes_ = classes

    def predict(self) -> np.ndarray:
        """Return the most probable class of each stream so far, shape (n_streams,)."""
        return self.classes_[self._outputs().argmax(axis=1)]

    def predict_proba(self) -> np.ndarray:
        """Return the probabilities so far, shape (n_streams, n_classes), float64."""
        outputs = self._outputs()
        weights = np.exp(outputs - np.maximum.reduce(outputs, axis=1, keepdims=True))
        return weights / np.add.reduce(weights, axis=1, keepdims=True)

    def predict_log_proba(self) -> np.ndarray:
        """Return their natural logarithms, shape (n_streams, n_classes), float64."""
        return log_softmax(self._outputs(), axis=1)


class RegressorStream(SequenceStream):
    """A stream of a regressor; see :class:`SequenceStream` for what it has in common.

    Parameters
    ----------
    *args, **kwargs
        As of :class:`SequenceStream`.
    targets : ValueEncoder
        Scaling and axes of the targets.
    """

    def __init__(self, *args: Any, targets: ValueEncoder, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._targets = targets

    def predict(self) -> np.ndarray:
        """Return the targets so far, shape (n_streams,) or (n_streams, n_targets), float64."""
        return self._targets.decode(self._outputs())


def check_sample(sample: Any, n_streams: int, n_channels: int, layout: str = "nct") -> np.ndarray:
    """Return what was pushed as float64 of shape (n_streams, n_channels, n_timepoints)."""
    time_first = layout == "ntc" or isinstance(sample, pd.DataFrame)
    if isinstance(sample, (list, tuple)) and any(isinstance(x, pd.DataFrame) for x in sample):
        sample, time_first = _stacked(sample), True
    array = _real_numbers(sample)
    leading = () if n_streams == 1 else (n_streams,)
    n_axes = len(leading)
    if array.ndim == n_axes + 2 and time_first:
        array = array.swapaxes(-1, -2)
    if array.ndim - n_axes not in (1, 2) or array.shape[: n_axes + 1] != leading + (n_channels,):
        one = ", ".join(map(str, leading + (n_channels,)))
        several = leading + (n_channels, "n_timepoints")
        if layout == "ntc":
            several = leading + ("n_timepoints", n_channels)
        raise ValueError(
            f"A sample must have shape ({one}{'' if leading else ','}), or "
            f"({', '.join(map(str, several))}) for several at once, got {np.shape(sample)}. There "
            f"are {n_channels} channels as in fit, and n_streams={n_streams}."
        )
    return array.reshape(n_streams, n_channels, -1 if array.ndim > n_axes + 1 else 1)
