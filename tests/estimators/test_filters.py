"""Summaries of filters: made once for a fit, and the same as those that are made again."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from sks4 import S4Classifier, S4Regressor
from sks4.data import SequenceDataset
from sks4.estimators import _auto, _evidence, _filters
from sks4.estimators._filters import SequenceDescriber, learn_block_summary, summarize_filters
from sks4.estimators._supervised import SupervisedEstimator
from sks4.nn import FilterBank
from sks4.training import Batches

TINY = {"d_model": 8, "n_layers": 1, "d_state": 4, "random_state": 0}
N = 30


@pytest.fixture(autouse=True)
def few_filters(monkeypatch):
    monkeypatch.setattr(_auto, "_FILTERS", 64)


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=rng.integers(9, 25)).astype(np.float32) for _ in range(N)]
    return X, np.arange(N) % 2


@pytest.fixture
def any_miss_deserves_a_trial(monkeypatch):
    monkeypatch.setattr(_evidence, "_FEWEST_MISSED", 1)
    monkeypatch.setattr(_auto, "_OPTIMIZER_STEPS", 16)


@pytest.fixture
def rows_of_filters(monkeypatch):
    """Numbers of the sequences in each batch that filters read."""
    read = []
    real = FilterBank.forward

    def forward(self, u, *arguments, **options):
        read.append(len(u))
        return real(self, u, *arguments, **options)

    monkeypatch.setattr(FilterBank, "forward", forward)
    return read


def net_and_select(noise, d_model):
    """Return a net, and a function that returns batches of seven sequences at most."""
    X, y = noise
    fitted = S4Classifier(**TINY | {"d_model": d_model, "max_epochs": 1}).fit(X, y)
    panel = fitted._predictor_.reader.read(X)

    def select(rows):
        batches = [list(range(k, min(k + 7, len(rows)))) for k in range(0, len(rows), 7)]
        return Batches(SequenceDataset(panel.take(rows), fitted.encoder_), batches)

    return fitted.net_, select


@pytest.mark.parametrize("d_model", [8, 5])  # of whole groups of competing features, and not
@pytest.mark.parametrize("recalls", [False, True])
@pytest.mark.parametrize("reads_blocks", [False, True])
def test_descriptions_are_those_of_the_model(noise, monkeypatch, d_model, recalls, reads_blocks):
    net, select = net_and_select(noise, d_model)
    kept = summarize_filters(net, select, N, recalls=recalls)
    monkeypatch.setattr(_filters, "_MOST_KEPT", 0)
    not_kept = summarize_filters(net, select, N, recalls=recalls)
    assert kept.kept is not None
    assert not_kept.kept is None
    pool = kept.pool
    if reads_blocks:
        pool = learn_block_summary(net, select, N, lambda n_rows: None).beside(pool)
    rows = np.array([4, 9, 12, 28])
    found, again = (
        SequenceDescriber(net, lambda r: select(rows[r]), filters.take(rows), pool)(np.arange(4))
        for filters in (kept, not_kept)
    )
    n_recalled = 0 if kept.recall is None else kept.recall.n_outputs
    assert found.shape == (4, pool.n_outputs + n_recalled)
    np.testing.assert_allclose(found, again, atol=1e-5)


@pytest.fixture
def trials_win(any_miss_deserves_a_trial, monkeypatch):
    real = SupervisedEstimator._trial

    def winning(self, task, plain, rest, held_out, known, max_time):
        real(self, task, plain, rest, held_out, known, max_time)
        targets = plain.distinct.targets[held_out]
        return np.eye(2)[targets] if targets.ndim == 1 else plain.setting.targets.encode(targets)

    monkeypatch.setattr(SupervisedEstimator, "_trial", winning)


@pytest.mark.parametrize("estimator", [S4Classifier(**TINY), S4Regressor(**TINY)])
def test_filters_read_each_sequence_once_in_a_fit_with_trial_and_training(
    noise, trials_win, monkeypatch, rows_of_filters, estimator
):
    monkeypatch.setattr(_filters, "_SEQUENCES", 5)  # that limits are taken of
    fitted = clone(estimator).fit(*noise)
    assert fitted._predictor_.readout.reads_blocks
    assert sum(rows_of_filters) == 5 + N


SPECTRA = {"embedding": "spectrum", "patch_size": 4}


@pytest.mark.parametrize(
    "estimator", [S4Classifier(**TINY), S4Classifier(**TINY, **SPECTRA), S4Regressor(**TINY)]
)
def test_what_is_not_kept_is_made_again(noise, trials_win, monkeypatch, estimator):
    X = noise[0]
    kept = clone(estimator).fit(*noise)
    monkeypatch.setattr(_filters, "_MOST_KEPT", 0)
    again = clone(estimator).fit(*noise)
    assert again._predictor_.readout.reads_blocks
    np.testing.assert_allclose(kept.predict(X), again.predict(X), atol=1e-4)


def test_summaries_do_not_stay_in_the_estimator(noise):
    X, y = noise
    small, large = (len(pickle.dumps(S4Classifier(**TINY).fit(X[:n], y[:n]))) for n in (4, N))
    assert large == pytest.approx(small, rel=0.01)
