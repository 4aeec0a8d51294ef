"""The stream repeats, goes on, and leaves the global generators as they were."""

import pytest
import torch

from sks4.training import RandomStream


def test_random_stream_repeats_with_the_seed():
    with RandomStream(3).installed():
        first = torch.rand(4)
    with RandomStream(3).installed():
        assert torch.equal(torch.rand(4), first)
    with RandomStream(4).installed():
        assert not torch.equal(torch.rand(4), first)


def test_random_stream_goes_on_where_it_stopped():
    with RandomStream(3).installed():
        expected = torch.rand(8)
    stream = RandomStream(3)
    with stream.installed():
        first = torch.rand(4)
    torch.rand(5)  # what others draw in between does not matter
    with stream.installed():
        assert torch.equal(torch.cat([first, torch.rand(4)]), expected)


def draw_and_fail():
    with RandomStream(0).installed():
        torch.rand(3)
        raise RuntimeError("from inside")


@pytest.mark.usefixtures("generators_untouched")
def test_random_stream_leaves_global_generators_when_an_error_is_raised():
    with pytest.raises(RuntimeError, match="from inside"):
        draw_and_fail()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_stream_covers_the_cuda_generator():
    before = torch.cuda.get_rng_state()
    stream = RandomStream(1)
    with stream.installed("cuda"):
        first = torch.rand(4, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    with stream.installed("cuda"):
        assert not torch.equal(torch.rand(4, device="cuda"), first)
    with RandomStream(1).installed("cuda"):
        assert torch.equal(torch.rand(4, device="cuda"), first)
