"""Memory that is kept for the next pass."""

import sys
import threading

import pytest
import torch

from sks4.ssm import _memory
from sks4.ssm._memory import workspace

LIKE = torch.zeros(1)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is new")


@pytest.fixture(autouse=True)
def no_buffers(monkeypatch):
    monkeypatch.setattr(_memory, "_buffers", _memory._Buffers())


def test_memory_has_the_shape_and_dtype_that_are_wanted():
    for dtype in (torch.float32, torch.float64):
        x = workspace("a", (2, 3, 4), LIKE.to(dtype))
        assert (x.shape, x.dtype) == ((2, 3, 4), dtype)
        x.fill_(1.0)
        assert x.sum() == 24


def test_memory_of_a_name_is_the_same_again():
    first, second = workspace("a", (3, 4), LIKE), workspace("a", (2, 5), LIKE)
    other = workspace("b", (3, 4), LIKE)
    assert first.data_ptr() == second.data_ptr() != other.data_ptr()
    other.zero_()
    first.fill_(7.0)
    assert (second == 7).all()
    assert (other == 0).all()


def test_memory_grows_and_does_not_shrink():
    small = workspace("a", (10,), LIKE).data_ptr()
    large = workspace("a", (5000,), LIKE)
    assert large.data_ptr() == workspace("a", (10,), LIKE).data_ptr()
    assert large.fill_(1.0).sum() == 5000
    assert small != large.data_ptr()


def test_memory_that_is_in_use_lives_on_when_a_larger_one_replaces_it():
    kept = workspace("a", (10,), LIKE).fill_(3.0)
    workspace("a", (100_000,), LIKE).fill_(1.0)
    assert (kept == 3).all()


def test_threads_have_memory_of_their_own():
    found = []
    mine = workspace("a", (4,), LIKE).zero_()
    thread = threading.Thread(target=lambda: found.append(workspace("a", (4,), LIKE).fill_(1.0)))
    thread.start()
    thread.join()
    assert (mine == 0).all()
    assert found[0].data_ptr() != mine.data_ptr()


@pytest.mark.parametrize(
    ("shape", "like"),
    [
        ((0, 4), LIKE),
        ((_memory._MOST // 4 + 1,), LIKE),
        ((4,), torch.zeros(1, device="meta")),
        ((4,), torch.nn.Parameter(torch.zeros(1))),
    ],
    ids=["empty", "large", "another device", "subclass"],
)
def test_other_memory_is_new_each_time(shape, like):
    x = workspace("a", shape, like)
    assert (x.shape, x.device) == (shape, like.device)
    assert _memory._buffers.named == {}


def test_largest_memory_that_is_kept():
    workspace("a", (_memory._MOST // 4,), LIKE)
    assert len(_memory._buffers.named["a"]) == _memory._MOST
