import pytest
import torch

from benchmarks import bench_streaming as bench
from sks4 import ssm

TINY = bench.Size(d_model=4, d_state=6, n_layers=1, n_streams=2)


@pytest.mark.parametrize("kind", ["s4", "s4d"])
def test_dense_operator_moves_like_a_step(kind):
    torch.manual_seed(0)
    one = bench.S4Layer(4, d_state=6, ssm=kind).eval().requires_grad_(False).step_operator()
    u, x = torch.randn(2, 4), torch.randn(2, 4, 6)
    moved = torch.cat([u[..., None], x], -1).transpose(0, 1) @ bench.dense_operator(one)
    y, state = ssm.step(u, x, one)
    torch.testing.assert_close(moved[..., 0].mT, y)
    torch.testing.assert_close(moved[..., 1:].transpose(0, 1), state)


def test_step_case_reports_all_forms():
    row = bench.step_case(TINY, repeats=1)
    assert min(row["push_us"], row["advance_us"], row["dense_systems_only_us"]) > 0


def test_window_case_reports_the_ratio_of_medians():
    row = bench.window_case(40, repeats=1)
    assert row["ratio"] == pytest.approx(row["predict_us"] / row["stream_us"])
