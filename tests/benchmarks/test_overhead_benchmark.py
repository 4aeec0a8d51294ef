import numpy as np
import pytest
import torch

from benchmarks import bench_overhead as bench

TINY = bench.Size(n_samples=20, length=8, batch_size=6, max_epochs=2)


def test_loop_and_estimator_train_the_same_model():
    X, y = TINY.data()
    model = bench.bare_loop(TINY, X, y)
    net = bench.estimator(TINY).fit(X, y).net_
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (model, net.module_)]
    assert shapes[0] == shapes[1]
    steps = {int(state["step"]) for state in net.optimizer_.state.values()}
    assert steps == {len(list(bench.batches(TINY, None)))} == {8}


def test_batches_hold_each_row_once_an_epoch():
    found = np.concatenate(list(bench.batches(TINY, None)))
    np.testing.assert_array_equal(np.sort(found), np.repeat(np.arange(20), 2))
    assert len(list(bench.batches(TINY, 3))) == 3


def test_loop_changes_all_weights():
    X, y = TINY.data()
    model = bench.bare_loop(TINY, X, y)
    torch.manual_seed(bench.SEED)
    fresh = bench.S4Model(1, bench.N_CLASSES, **bench.MODEL)
    pairs = zip(model.parameters(), fresh.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs if a.numel())


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_moments_are_those_of_numpy(dtype):
    X, _ = bench.Size(n_samples=5, length=7, batch_size=1, dtype=dtype).data()
    assert X.dtype == dtype
    assert bench.moments(X) == pytest.approx((X.mean(), X.std()), rel=1e-6)


def test_time_case_reports_the_ratio_of_medians():
    row = bench.time_case(TINY, repeats=1)
    assert row["ratio"] == row["estimator_seconds"] / row["loop_seconds"]


def test_busy_case_compares_threads_and_leaves_their_number():
    before = torch.get_num_threads()
    row = bench.busy_case(TINY, repeats=1)
    assert row["ratio"] == row["two_threads_seconds"] / row["one_thread_seconds"]
    assert torch.get_num_threads() == before
