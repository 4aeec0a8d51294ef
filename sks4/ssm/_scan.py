"""The chunked scan: a discrete linear system run over a sequence in linear time, in real numbers.

The states that enter the chunks come first, one chunk after the other; then all outputs are
batched products with the blocks of the chunk operator. The backward pass has the same shape, run in
reverse.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._operators import CHUNK_LENGTH, ChunkOperator, dense_operator, fit_chunk, groups

_IN_ORDER = 4
"""Batch size from which a CPU is faster visiting the chunks in order than combining pairs; a GPU,
on which launches cost more than flops, always combines pairs."""

_FEW_CHUNKS = 8
"""Chunks that are visited in order where pairs have been combined to so few."""


def _to_tiles(u: Tensor, tiles: Tensor) -> None:
    """Copy ``u (batch, length, H)`` into ``tiles (batch, chunks, H, b)``, zeros behind the end."""
    b = tiles.shape[-1]
    whole, rest = divmod(u.shape[1], b)
    tiles[:, :whole].copy_(u[:, : whole * b].unflatten(1, (whole, b)).mT)
    if rest:
        tiles[:, whole, :, :rest].copy_(u[:, whole * b :].mT)
        tiles[:, whole, :, rest:].zero_()


def _from_tiles(tiles: Tensor, u: Tensor) -> None:
    """Copy the first samples of ``tiles (batch, chunks, H, b)`` into ``u (batch, length, H)``."""
    b = tiles.shape[-1]
    whole, rest = divmod(u.shape[1], b)
    u[:, : whole * b].unflatten(1, (whole, b)).copy_(tiles[:, :whole].mT)
    if rest:
        u[:, whole * b :].copy_(tiles[:, whole, :, :rest].mT)


def _per_feature(tiles: Tensor) -> Tensor:
    """View ``(batch, chunks, H, n)`` as one matrix a feature, ``(H, batch chunks, n)``."""
    return tiles.flatten(0, 1).transpose(0, 1)


def _entering_states(
    S: Tensor, x: Tensor, T: Tensor, out: Tensor, *, backward: bool = False
) -> Tensor:
    """Solve ``x_(c+1) = x_c T + S_c`` over the chunks, in order or from the last to the first.

    Parameters
    ----------
    S : Tensor of shape (H, batch, chunks, N)
        What each chunk adds.
    x : Tensor of shape (H, batch, N)
        State before the first chunk visited.
    T : Tensor of shape (H, N, N)
        Transition of one chunk, for row vectors.
    out : Tensor of shape (H, batch, chunks, N)
        Takes the state that enters each chunk.
    backward : bool, default=False
        Visit the chunks from the last to the first.

    Returns
    -------
    Tensor of shape (H, batch, N)
        State after the last chunk visited.
    """
    if S.is_cuda or S.shape[1] < _IN_ORDER:
        X, x = _states_by_pairs(S, x, T, backward=backward)
        out.copy_(X)
        return x
    return _states_in_order(S, x, T, out, backward=backward)


def _states_in_order(S: Tensor, x: Tensor, T: Tensor, out: Tensor, *, backward: bool) -> Tensor:
    """Visit one chunk after the other."""
    chunks = range(S.shape[2])
    for c in reversed(chunks) if backward else chunks:
        out[:, :, c] = x
        x = torch.baddbmm(S[:, :, c], x, T)
    return x


def _states_by_pairs(S: Tensor, x: Tensor, T: Tensor, *, backward: bool) -> tuple[Tensor, Tensor]:
    """Combine chunks to pairs and recurse: logarithmic depth, twice the work."""
    _, batch, chunks, _ = S.shape
    if chunks <= _FEW_CHUNKS:
        X = torch.empty_like(S, memory_format=torch.contiguous_format)
        return X, _states_in_order(S, x, T, X, backward=backward)
    if chunks % 2:  # the odd one out is the last visited
        odd, rest = (0, S[:, :, 1:]) if backward else (chunks - 1, S[:, :, :-1])
        X, x = _states_by_pairs(rest, x, T, backward=backward)
        return (
            torch.cat([x[:, :, None], X] if backward else [X, x[:, :, None]], 2),
            torch.baddbmm(S[:, :, odd], x, T),
        )
    first, second = (S[:, :, 1::2], S[:, :, ::2]) if backward else (S[:, :, ::2], S[:, :, 1::2])
    first, second = first.flatten(1, 2), second.flatten(1, 2)  # (H, batch chunks/2, N)
    pairs = torch.baddbmm(second, first, T).unflatten(1, (batch, chunks // 2))
    X, x = _states_by_pairs(pairs, x, T @ T, backward=backward)
    between = torch.baddbmm(first, X.flatten(1, 2), T).unflatten(1, (batch, chunks // 2))
    return torch.stack([between, X] if backward else [X, between], 3).flatten(2, 3), x


class _Scan(torch.autograd.Function):
    """``u (batch, length, H), x (H, batch, N), blocks, stop (batch,) -> y, state entering stop``.

    Keeps the input and the states that enter the chunks, side by side and ``(b + N)/b`` times the
    input's size together, and nothing else. With `stop`, the second output is the state that enters
    chunk ``stop`` of each sequence.
    """

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        x: Tensor,
        output: Tensor,
        enter: Tensor,
        move: Tensor,
        stop: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        batch, length, _ = u.shape
        _, width, b = output.shape
        chunks = -(-length // b)
        y, states, kept = torch.empty_like(u), torch.empty_like(x), []
        for h in groups(output):
            UX = u.new_empty(batch, chunks, h.stop - h.start, width)
            U, X = UX[..., :b], UX[..., b:].permute(2, 0, 1, 3)
            _to_tiles(u[..., h], U)
            S = torch.bmm(_per_feature(U), enter[h]).unflatten(1, (batch, chunks))
            last = _entering_states(S, x[h], move[h], X)
            Y = u.new_empty(U.shape)
            torch.bmm(_per_feature(UX), output[h], out=_per_feature(Y))
            _from_tiles(Y, y[..., h])
            if stop is not None:
                states[h] = _state_at(X, last, stop)
            kept.append(UX)
        ctx.save_for_backward(output, enter, move, stop, *kept)
        ctx.length = length
        ctx.set_materialize_grads(False)
        return y, None if stop is None else states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor | None, g_stop: Tensor | None) -> tuple[Tensor | None, ...]:
        output, enter, move, stop, *kept = ctx.saved_tensors
        b, (batch, chunks, _, _) = output.shape[-1], kept[0].shape
        H, N, _ = move.shape
        if gy is None:
            gy = move.new_zeros(batch, ctx.length, H)
        gu, gx = torch.empty_like(gy), move.new_empty(H, batch, N)
        g_output, g_enter, g_move = map(torch.empty_like, (output, enter, move))
        for h, UX in zip(groups(output), kept, strict=True):
            U, X = _per_feature(UX[..., :b]), _per_feature(UX[..., b:])
            gY = UX.new_empty(UX[..., :b].shape)
            _to_tiles(gy[..., h], gY)
            gY_h = _per_feature(gY)
            G = torch.bmm(gY_h, output[h, b:].mT).unflatten(1, (batch, chunks))
            g_last = torch.zeros_like(gx[h])
            if g_stop is not None:
                _add_at(G, g_last, stop, g_stop[h])
            gS = torch.empty_like(G)
            gx[h] = _entering_states(G, g_last, move[h].mT, gS, backward=True)
            gS_h = gS.flatten(1, 2)
            torch.bmm(_per_feature(UX).mT, gY_h, out=g_output[h])
            torch.bmm(U.mT, gS_h, out=g_enter[h])
            torch.bmm(X.mT, gS_h, out=g_move[h])
            gU = torch.bmm(gY_h, output[h, :b].mT).baddbmm_(gS_h, enter[h].mT)
            gY_h.copy_(gU)
            _from_tiles(gY, gu[..., h])
        return gu, gx, g_output, g_enter, g_move, None


def _state_at(X: Tensor, last: Tensor, stop: Tensor) -> Tensor:
    """Return for each sequence the state that enters chunk ``stop``, ``(H, batch, N)``."""
    index = torch.arange(len(stop), device=stop.device)
    inside = X[:, index, stop.clamp(max=X.shape[2] - 1)]
    return torch.where((stop < X.shape[2])[:, None], inside, last)


def _add_at(G: Tensor, g_last: Tensor, stop: Tensor, g_stop: Tensor) -> None:
    """Add the gradient of :func:`_state_at` to that of the entering states, in place."""
    inside = stop < G.shape[2]
    index = torch.arange(len(stop), device=stop.device)
    zero = torch.zeros((), dtype=G.dtype, device=G.device)
    masked = torch.where(inside[:, None], g_stop, zero)
    G[:, index, stop.clamp(max=G.shape[2] - 1)] += masked
    g_last += g_stop - masked


def scan(
    u: Tensor,
    operator: ChunkOperator,
    *,
    state: Tensor | None = None,
    lengths: Tensor | None = None,
    return_state: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Run a system, given by its chunk operator, over a batch of sequences.

    Parameters
    ----------
    u : Tensor of shape (batch, length, H)
        Input.
    operator : ChunkOperator
        The system over one chunk.
    state : Tensor of shape (batch, H, N), optional
        State before the first sample; zero if omitted.
    lengths : LongTensor of shape (batch,), optional
        Number of real samples of each sequence; all of them if omitted.
    return_state : bool, default=True
        Whether the final state is wanted.

    Returns
    -------
    y : Tensor of shape (batch, length, H)
        Output; behind a sequence's own end, it depends on what pads the input.
    state : Tensor of shape (batch, H, N) or None
        State after each sequence's own last sample.
    """
    batch, length, H = u.shape
    *blocks, _ = operator
    b, N = operator.enter.shape[1:]
    x = u.new_zeros(H, batch, N) if state is None else state.transpose(0, 1)
    if not return_state:
        return _Scan.apply(u, x, *blocks, None)[0], None
    if lengths is None:
        lengths = torch.full((batch,), length, device=u.device)
    y, entering = _Scan.apply(u, x, *blocks, lengths // b)
    return y, _finish(u, entering, operator, lengths).transpose(0, 1)


def _finish(u: Tensor, x: Tensor, operator: ChunkOperator, lengths: Tensor) -> Tensor:
    """Move the states ``x (H, batch, N)`` from the start of each sequence's last chunk to its end.

    The rest of ``t < b`` samples moves the state by ``A_bar^t``, a product of the powers in the
    binary form of ``t``, and adds the response to these samples, which are shifted to the end of a
    chunk.
    """
    b = operator.chunk_length
    rest = lengths % b
    if not bool(rest.any()):
        return x
    if not operator.powers:
        raise ValueError(
            "A state after part of a chunk needs the powers of A_bar, which this operator was "
            "formed without. Form it with with_powers=True."
        )
    for k, power in enumerate(operator.powers):
        moved = torch.baddbmm(x, x, power)
        x = torch.where(((rest >> k) & 1).bool()[:, None], moved, x)
    offset = torch.arange(b, device=u.device) - b
    index = lengths[:, None] + offset  # (batch, b), the last b samples
    inside = offset >= -rest[:, None]
    tail = u.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, u.shape[2]))
    tail = torch.where(inside[..., None], tail, 0.0).permute(2, 0, 1)  # (H, batch, b)
    return torch.baddbmm(x, tail, operator.enter)


def chunked_scan(
    u: Tensor,
    A_bar: Tensor,
    B_bar: Tensor,
    C: Tensor,
    state: Tensor | None = None,
    *,
    chunk_length: int = CHUNK_LENGTH,
) -> tuple[Tensor, Tensor]:
    r"""Run ``x <- A_bar x + B_bar u, y = C x`` over sequences of any length, chunk by chunk.

    Linear in time; the backward pass is its own and keeps only the input and one state a chunk.
    Feeding a sequence in pieces, handing the state on, gives the result of one pass.

    Parameters
    ----------
    u : Tensor of shape (batch, H, length)
        Input.
    A_bar : Tensor of shape (H, N, N)
        Real state matrix with powers that do not grow; the bilinear rule gives a contraction.
    B_bar, C : Tensor of shape (H, N)
        Real input and output vector.
    state : Tensor of shape (batch, H, N), optional
        State before the first sample; zero if omitted.
    chunk_length : int, default=128
        Samples a chunk, a power of two.

    Returns
    -------
    y : Tensor of shape (batch, H, length)
        Output.
    state : Tensor of shape (batch, H, N)
        State after the last sample.

    Raises
    ------
    ValueError
        If shapes do not fit or `chunk_length` is no power of two.

    Examples
    --------
    >>> import torch
    >>> from sks4 import ssm
    >>> A_bar, B_bar, C = torch.full((1, 1, 1), 0.5), torch.ones(1, 1), torch.ones(1, 1)
    >>> y, state = ssm.chunked_scan(torch.tensor([[[1.0, 0.0, 0.0]]]), A_bar, B_bar, C)
    >>> y
    tensor([[[1.0000, 0.5000, 0.2500]]])
    """
    _check_scan(u, A_bar, B_bar, C, state, chunk_length)
    b = fit_chunk(u.shape[2], chunk_length)
    eye = torch.eye(A_bar.shape[-1], dtype=A_bar.dtype, device=A_bar.device)
    operator = dense_operator(A_bar - eye, B_bar, C, torch.zeros_like(C[:, 0]), b)
    y, state = scan(u.transpose(1, 2), operator, state=state)
    assert state is not None  # asked for
    return y.transpose(1, 2), state


def _check_scan(
    u: Tensor, A_bar: Tensor, B_bar: Tensor, C: Tensor, state: Tensor | None, chunk_length: int
) -> None:
    """Raise if the operands of a scan do not fit together."""
    if u.dim() != 3 or u.shape[2] == 0:
        raise ValueError(
            f"u must have shape (batch, H, length) and at least one sample, got {tuple(u.shape)}."
        )
    batch, H, _ = u.shape
    N = A_bar.shape[-1]
    if A_bar.shape != (H, N, N):
        raise ValueError(f"A_bar must have shape ({H}, N, N), got {tuple(A_bar.shape)}.")
    for name, vector in (("B_bar", B_bar), ("C", C)):
        if vector.shape != (H, N):
            raise ValueError(f"{name} must have shape ({H}, {N}), got {tuple(vector.shape)}.")
    if state is not None:
        check_state(state, (batch, H, N))
    if chunk_length < 1 or chunk_length & (chunk_length - 1):
        raise ValueError(f"chunk_length must be a power of two, got {chunk_length}.")


def check_state(state: Tensor, shape: tuple[int, int, int]) -> None:
    """Raise if a state does not have the given ``(batch, H, N)``."""
    if state.shape != shape:
        raise ValueError(
            f"state must have shape (batch, H, N) = {shape}, got {tuple(state.shape)}. Pass the "
            "state that an earlier call on the same batch returned, or None to start from zero."
        )
