"""The compiled recurrence: a discrete system in its parts, run sample by sample."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sks4 import _native

from ._dplr import add_blocks
from ._lengths import check_lengths, reverse_sequences
from ._operators import (
    IN_ORDER,
    ChunkOperator,
    dense_operator,
    diagonal_operator,
    dplr_operator,
    fit_chunk,
)
from ._scan import check_state, scan
from ._step import StepOperator

# measured in benchmarks/results/layer_algorithms.csv
_LITTLE_WORK = 12_000
"""Samples times numbers computed for one that is needed, up to which the recurrence is faster."""

_MOST_WASTE = 1.25
"""Numbers computed for one that is needed, up to which it is faster for more samples."""

_MUCH_WORK = 20_000
"""Samples from which products of matrices train systems with a low-rank part faster."""

_LEAST_WORK = 4_000_000
"""Multiplications that occupy a thread for about as long as it takes to wake it, ten times over."""


def recurrence(
    u: Tensor,
    operator: StepOperator,
    state: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run a system over a batch of sequences, sample by sample, in compiled code.

    The dtype of the computation is that of `u`. An operator in double precision makes a computation
    in single precision exact over long sequences: the state at the start of each block of samples
    is kept in double precision, and what is computed in single precision is the change from there.

    Where there is no compiled code for the operands (other devices and dtypes, transforms of
    functions, tensors without memory) or none is installed, the chunked scan runs instead; the
    results are equal to rounding.

    Parameters
    ----------
    u : Tensor of shape (batch, length, H)
        Input.
    operator : StepOperator
        The system over one sample, from :func:`step_operator`.
    state : Tensor of shape (batch, H, N), optional
        State before the first sample; zero if omitted.
    lengths : LongTensor of shape (batch,), optional
        Number of real samples of each sequence; all of them if omitted.
    reverse : bool, default=False
        Run from the last sample of each sequence to its first.

    Returns
    -------
    y : Tensor of shape (batch, length, H)
        Output; after the end of a sequence, it means nothing.
    state : Tensor of shape (batch, H, N)
        State after each sequence's own last sample.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a length is not between 1 and the length of `u`.

    Examples
    --------
    >>> import torch
    >>> from sks4 import ssm
    >>> half, zero = torch.full((1, 1), -0.5), torch.zeros(1, 1)
    >>> one, none = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 0, 2)
    >>> operator = ssm.StepOperator((half, zero), none, none, one, one, torch.zeros(1))
    >>> y, state = ssm.recurrence(torch.tensor([[[1.0], [0.0], [0.0]]]), operator)
    >>> y[0, :, 0], state
    (tensor([1.0000, 0.5000, 0.2500]), tensor([[[0.2500, 0.0000]]]))
    """
    _check(u, operator, state, lengths)
    if state is not None:
        state = state.to(u.dtype)
    if not can_run(u, state, lengths, *operator.e, *operator[1:]):
        return _by_scan(u, operator, state, lengths, reverse)
    (e_re, e_im), *others = operator
    parts = [x.double() for x in (e_re, e_im, *others)]
    keeps = torch.is_grad_enabled() and any(
        x.requires_grad for x in (u, state, *parts) if x is not None
    )
    y, last, _ = _forward(u, *parts, state, lengths, reverse, keeps)
    return y, last


def can_run(*operands: Tensor | None) -> bool:
    """Return whether compiled code can work on the memory of all operands, the input first."""
    if not _native.is_available() or torch.compiler.is_compiling():
        return False
    u = operands[0]
    if u is None or u.dtype not in (torch.float32, torch.float64):
        return False
    return all(x is None or _has_memory(x) for x in operands)


def recurrence_pays(u: Tensor, N: int, rank: int, *, trains: bool) -> bool:
    """Return whether the recurrence is at least as fast as the scan, see ``benchmarks``.

    It computes as many features at once as a vector has numbers, so few features waste most of
    them. The scan's products of matrices are at their best in large batches of several sequences,
    for the usual state sizes.

    Parameters
    ----------
    u : Tensor of shape (batch, length, H)
        Input.
    N, rank : int
        State size and rank of the low-rank part.
    trains : bool
        Whether gradients of the operators follow.

    Returns
    -------
    bool
        Whether to use it.
    """
    batch, length, H = u.shape
    lanes = _native.lanes(double=u.dtype == torch.float64)
    waste = -(-H // lanes) * lanes / H
    if batch * length * waste <= _LITTLE_WORK:
        return True
    if waste > _MOST_WASTE:
        return False
    products_are_faster = trains and rank > 0 and batch > IN_ORDER and 32 < N < 256
    return not products_are_faster or batch * length <= _MUCH_WORK


def _has_memory(x: Tensor) -> bool:
    """Return whether a tensor is dense and in main memory, without lazy conjugation or tangents."""
    if x.device.type != "cpu" or x.layout != torch.strided:
        return False
    if type(x) is not Tensor and type(x) is not torch.nn.Parameter:
        return False
    if x.is_conj() or x.is_neg() or torch.autograd.forward_ad.unpack_dual(x).tangent is not None:
        return False
    try:
        x.data_ptr()
    except RuntimeError:  # within a transform of functions, such as vmap
        return False
    return True


# -- the operator of torch


@torch.library.custom_op("sks4::recurrence", mutates_args=(), device_types="cpu")
def _forward(
    u: Tensor,
    e_re: Tensor,
    e_im: Tensor,
    q: Tensor,
    r: Tensor,
    B_bar: Tensor,
    C: Tensor,
    D: Tensor,
    state: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
    keeps: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return output, final state and, for the backward pass, the states before each block."""
    batch, length, H = u.shape
    N = C.shape[1]
    y = torch.empty(u.shape, dtype=u.dtype)
    last = u.new_empty(batch, H, N)
    blocks = -(-length // _native.BLOCK) if keeps else 0
    kept = u.new_empty(batch, blocks, N, H)
    alive, numbers = _common(u, (e_re, e_im, q, r, B_bar, C, D), lengths, reverse, kept)
    if state is not None:
        state = state.contiguous()
    _native.forward([*numbers, *_signal(y), _address(state), last.data_ptr()])
    del alive
    return y, last, kept


@torch.library.custom_op("sks4::recurrence_backward", mutates_args=(), device_types="cpu")
def _backward(
    gy: Tensor,
    g_last: Tensor | None,
    u: Tensor,
    e_re: Tensor,
    e_im: Tensor,
    q: Tensor,
    r: Tensor,
    B_bar: Tensor,
    C: Tensor,
    D: Tensor,
    lengths: Tensor | None,
    reverse: bool,
    kept: Tensor,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the gradients of the input, the initial state and the parts of the system."""
    parts = (e_re, e_im, q, r, B_bar, C, D)
    gu = torch.empty(u.shape, dtype=u.dtype)
    g_state = u.new_empty(u.shape[0], *C.shape)
    g_parts = [torch.empty(x.shape, dtype=x.dtype) for x in parts]
    alive, numbers = _common(u, parts, lengths, reverse, kept)
    if g_last is not None:
        g_last = g_last.contiguous()
    addresses = [_address(g_last), g_state.data_ptr(), *map(_address, g_parts)]
    _native.backward([*numbers, *_signal(gy), *_signal(gu), *addresses])
    del alive
    return gu, g_state, g_parts


def _common(
    u: Tensor, parts: Sequence[Tensor], lengths: Tensor | None, reverse: bool, kept: Tensor
) -> tuple[Any, list[int]]:
    """Return what must stay alive during a call, and the numbers that both passes begin with."""
    batch, length, H = u.shape
    _, _, q, _, _, C, _ = parts
    parts = [x.contiguous() for x in parts]
    if lengths is not None:
        lengths = lengths.long().contiguous()
    sizes = [batch, length, H, C.shape[1] // 2, q.shape[1], int(reverse), _address(lengths)]
    numbers = [
        _threads(u, C.shape[1]),
        int(u.dtype == torch.float64),
        *sizes,
        *map(_address, parts),
        *_signal(u),
        kept.data_ptr(),
    ]
    return (parts, lengths), numbers


def _threads(u: Tensor, N: int) -> int:
    """Return how many threads are worth waking: as many as torch has, fewer for little work."""
    return max(1, min(torch.get_num_threads(), u.numel() * N * 6 // _LEAST_WORK))


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _signal(x: Tensor) -> tuple[int, int, int, int]:
    """Return address and strides."""
    return x.data_ptr(), *x.stride()  # type: ignore[return-value]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, state, lengths, reverse, _ = inputs
    ctx.save_for_backward(*tensors, lengths, output[2])
    ctx.reverse, ctx.has_state = reverse, state is not None
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, gy: Tensor | None, g_last: Tensor | None, _: Any
) -> tuple[Tensor | None, ...]:
    *tensors, lengths, kept = ctx.saved_tensors
    gy = torch.zeros_like(tensors[0]) if gy is None else gy
    gu, g_state, g_parts = _backward(gy, g_last, *tensors, lengths, ctx.reverse, kept)
    return gu, *g_parts, g_state if ctx.has_state else None, None, None, None


_forward.register_autograd(_differentiate, setup_context=_setup)


# -- without compiled code


def _by_scan(
    u: Tensor,
    operator: StepOperator,
    state: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """Compute the same by the chunked scan."""
    if reverse:
        u = reverse_sequences(u, lengths)
    chunks = _chunk_operator(operator, u.dtype, fit_chunk(u.shape[1]))
    y, last = scan(u, chunks, state=state, lengths=lengths)
    assert last is not None  # asked for
    return (reverse_sequences(y, lengths) if reverse else y), last


def _chunk_operator(operator: StepOperator, dtype: torch.dtype, b: int) -> ChunkOperator:
    """Return the system over `b` samples."""
    e, q, r, *_ = operator
    rank = q.shape[1]
    q, r, B_bar, C, D = (x.to(dtype) for x in operator[1:])
    if rank == 0:
        return diagonal_operator(e, B_bar, C, D, b)
    if rank == 1:
        return dplr_operator((e[0] + 1, e[1]), q[:, 0], r[:, 0], B_bar, C, D, b)
    E = add_blocks(-(q.mT @ r), e[0].to(dtype), e[1].to(dtype))
    return dense_operator(E, B_bar, C, D, b)


# -- checks


def _check(u: Tensor, operator: StepOperator, state: Tensor | None, lengths: Tensor | None) -> None:
    """Raise if the operands of a recurrence do not fit together."""
    if u.dim() != 3 or u.shape[1] == 0:
        raise ValueError(
            f"u must have shape (batch, length, H) and at least one sample, got {tuple(u.shape)}."
        )
    batch, _, H = u.shape
    if operator.C.dim() != 2 or operator.C.shape[0] != H:
        raise ValueError(f"C must have shape ({H}, N), got {tuple(operator.C.shape)}.")
    N, rank = operator.C.shape[1], operator.q.shape[1]
    expected = {"B_bar": (H, N), "D": (H,), "q": (H, rank, N), "r": (H, rank, N)}
    found = {name: getattr(operator, name) for name in expected}
    for i, part in enumerate(operator.e):
        expected[f"e[{i}]"], found[f"e[{i}]"] = (H, N // 2), part
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(found[name].shape)}.")
    if state is not None:
        check_state(state, (batch, H, N))
    if lengths is not None:
        check_lengths(lengths, u)
