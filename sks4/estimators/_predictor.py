"""What a fit of labeled sequences results in: from sequences in the form of fit to outputs."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from sks4._validation import check_positive
from sks4.data import SequenceDataset, SequenceEncoder
from sks4.estimators._readout import Readout
from sks4.estimators._sequences import SequenceReader, count_steps, evaluation_sampler
from sks4.nn import S4Model, SummaryModel
from sks4.training import S4Net


@dataclass(frozen=True, eq=False)
class SequencePredictor:
    """A frozen result of fit, complete in itself: no parameter of an estimator is read.

    Attributes
    ----------
    net : S4Net
        The trained net.
    reader : SequenceReader
        The form of X.
    encoder : SequenceEncoder
        Scaling of the channels, and treatment of missing values.
    patch_size : int
        Time points in one step of the model.
    dtype : {"float32", "float64"}
        Type in which the model computes.
    sampling_rate : float or None
        Sampling rate of the training data in Hz, if given.
    readout : Readout or None
        Last layer found by regression; None for the trained one.
    """

    net: S4Net
    reader: SequenceReader
    encoder: SequenceEncoder
    patch_size: int
    dtype: str
    sampling_rate: float | None
    readout: Readout | None = None

    @property
    def model(self) -> S4Model | SummaryModel:
        """The model that predicts."""
        trained = cast(S4Model, self.net.module_)
        return trained if self.readout is None else self.readout.model(trained.backbone)

    def rate(self, sampling_rate: float | None) -> float:
        """Return the sampling interval of some data over the one in fit.

        Raises
        ------
        ValueError, TypeError
            If the rate is no positive number, was not given to fit, or differs with patches.
        """
        if sampling_rate is None:
            return 1.0
        check_positive("sampling_rate", sampling_rate)
        if self.sampling_rate is None:
            raise ValueError(
                f"sampling_rate must be given to fit as well, got {sampling_rate} only now. "
                "Fit with the sampling rate of the training data."
            )
        rate = self.sampling_rate / sampling_rate
        if rate != 1 and self.patch_size > 1:
            raise ValueError(
                f"sampling_rate must be that of fit, {self.sampling_rate:g}, with patch_size > 1, "
                f"got {sampling_rate:g}. Fit with patch_size=1, or resample the sequences."
            )
        return rate

    def outputs(self, X: Any, sampling_rate: float | None) -> np.ndarray:
        """Return the outputs of the model, (n_samples, n_outputs) in float64.

        Raises
        ------
        ValueError, TypeError
            If X does not have the form of fit, or an output is not finite.
        """
        panel = self.reader.read(X)
        rate = self.rate(sampling_rate)
        dataset = SequenceDataset(panel, self.encoder, rate=rate, dtype=self.dtype)
        sampler = evaluation_sampler(count_steps(panel, self.patch_size), self.net.device)
        outputs = self.net.predict_dataset(dataset, sampler, module=self.model)
        if not np.isfinite(outputs).all():
            row = int(np.argmin(np.isfinite(outputs).all(axis=1)))
            raise ValueError(
                f"The model must give finite outputs, got {outputs[row]} for X[{row}]. Its values "
                "are likely far outside the range of the training data."
            )
        return outputs.astype(np.float64)

    def check_streamable(self) -> None:
        """Raise ValueError if every output depends on the whole sequence."""
        if self.net.module_.backbone.bidirectional:
            raise ValueError(
                "bidirectional=True cannot be streamed, since every output depends on the whole "
                "sequence; fit with bidirectional=False."
            )
