"""Memory for what a pass computes on the way, kept for the next pass."""

import math
import mmap
import sys
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_MOST = 64 * 2**20
"""Bytes up to which a buffer is kept."""


class _Buffers(threading.local):
    """The buffers of a thread, by name."""

    def __init__(self) -> None:
        self.named: dict[str, mmap.mmap] = {}


_buffers = _Buffers()


def workspace(name: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return uninitialized memory, the same for the same name, as a tensor.

    Fresh pages are expensive: the operating system clears and maps them one by one, at every pass.
    So on Linux, at most two buffers of 64 MB are kept for each thread, in large pages if there are
    any. Elsewhere memory is new.

    Parameters
    ----------
    name : str
        What it is for. The next call with this name, in the same thread, overwrites it.
    shape : sequence of int
        Shape of the tensor.
    like : Tensor
        Tensor of the same dtype and device. Only on a CPU is memory kept.

    Returns
    -------
    Tensor
        The memory.
    """
    size = math.prod(shape) * like.element_size()
    # a subclass stands for a tensor without memory, while a model is exported
    keeps = 0 < size <= _MOST and like.is_cpu and type(like) is Tensor
    if sys.platform != "linux" or not keeps:
        return like.new_empty(shape)
    buffer = _buffers.named.get(name)
    if buffer is None or len(buffer) < size:
        # private: a forked process writes to its own
        buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        buffer.madvise(mmap.MADV_HUGEPAGE)
        _buffers.named[name] = buffer
    return torch.frombuffer(buffer, dtype=like.dtype, count=math.prod(shape)).view(*shape)
