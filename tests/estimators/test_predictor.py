"""Outputs of whole sequences, with a rule in place of a trained net."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sks4.data import SequenceEncoder
from sks4.estimators._predictor import SequencePredictor
from sks4.estimators._sequences import SequenceReader


class Mean:
    """Stands in for a net: the mean over the real steps of a sequence, and the rate it is read at.

    A model without steps that are real would not tell padding from zeros.
    """

    device = "cpu"
    module_ = SimpleNamespace(backbone=SimpleNamespace(bidirectional=False))

    def predict_dataset(self, dataset, batch_sampler, module=None):
        assert module is self.module_
        outputs = np.full((len(dataset), 2), np.nan, dtype=np.float32)
        for rows in batch_sampler:
            inputs, _ = dataset.__getitems__(rows)
            u = inputs["u"].numpy()
            lengths = inputs.get("lengths", np.full(len(rows), u.shape[1]))
            for row, x, length in zip(rows, u, lengths, strict=True):
                outputs[row] = x[:length].mean(), inputs["rate"]
        return outputs


def predictor(X, *, patch_size=1, sampling_rate=None):
    reader, panel = SequenceReader("S4Regressor", "nct").fit_read(X)
    encoder = SequenceEncoder(None).fit(panel)
    return SequencePredictor(Mean(), reader, encoder, patch_size, "float64", sampling_rate)


SEQUENCES = [np.arange(1.0, n + 1)[np.newaxis] for n in (3, 10, 1, 7, 10, 2)]


def test_outputs_are_in_the_order_of_the_sequences():
    outputs = predictor(SEQUENCES).outputs(SEQUENCES, None)
    assert outputs.dtype == np.float64
    assert_allclose(outputs[:, 0], [x.mean() for x in SEQUENCES])
    assert_allclose(outputs[:, 1], 1)
    assert_allclose(predictor(SEQUENCES).outputs(SEQUENCES[::-1], None), outputs[::-1])


@pytest.mark.parametrize(("rate", "interval"), [(100.0, 1.0), (50.0, 2.0), (400, 0.25)])
def test_rate_is_the_interval_over_that_of_fit(rate, interval):
    model = predictor(SEQUENCES, sampling_rate=100.0)
    assert model.rate(rate) == interval
    assert model.rate(None) == 1
    assert_allclose(model.outputs(SEQUENCES, rate)[:, 1], interval)


def test_rate_is_refused_where_it_means_nothing():
    with pytest.raises(ValueError, match="must be given to fit as well, got 50 only now"):
        predictor(SEQUENCES).rate(50)
    model = predictor(SEQUENCES, patch_size=2, sampling_rate=100.0)
    assert model.rate(100) == 1
    with pytest.raises(ValueError, match="that of fit, 100, with patch_size > 1, got 50"):
        model.rate(50)
    with pytest.raises(TypeError, match="sampling_rate must be a number, got '50'"):
        model.rate("50")


def test_output_that_is_not_finite_names_the_sequence():
    X = [*SEQUENCES, np.full((1, 2), 1e39)]  # beyond float32
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"must give finite outputs, got \[inf +1\.?\] for X\[6\]"),
    ):
        predictor(SEQUENCES).outputs(X, None)


def test_only_models_of_one_direction_are_streamed(monkeypatch):
    model = predictor(SEQUENCES)
    model.check_streamable()
    monkeypatch.setattr(Mean.module_.backbone, "bidirectional", True)
    with pytest.raises(ValueError, match="bidirectional=True cannot be streamed"):
        model.check_streamable()
