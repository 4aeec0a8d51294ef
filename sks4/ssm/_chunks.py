"""A scan over chunks of samples, and its backward pass.

The states that enter the chunks come first, one chunk after the other; then all outputs are
batched products with the chunk operator. The backward pass has the same shape, run in reverse.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._memory import workspace
from ._operators import IN_ORDER, groups

_SEGMENT = 32_768
"""Samples of a batch, about, that a CPU computes at once: however long the sequences are, what is
needed between input and output is memory of the size that was just given back."""

_PAD = 16
"""Numbers between the rows of tiles: rows a power of two apart share few lines of the cache."""

_WIDE = 128
"""Features of a segment that a CPU computes at once; copies of fewer are slower."""

_FEW_CHUNKS = 8
"""Chunks that are visited in order where pairs have been combined to so few."""


class _Segment(NamedTuple):
    """The chunks ``first <= c < last`` of every sequence, which are computed at once."""

    first: int
    last: int
    b: int

    def load(self, u: Tensor, tiles: Tensor) -> None:
        """Copy ``u (batch, length, g)`` into ``tiles (batch, chunks, g, b)``, zeros behind it."""
        chunks, rest = self._samples(u)
        whole, t = chunks.shape[1], rest.shape[2]
        tiles[:, :whole].copy_(chunks)
        if t:
            tiles[:, whole, :, :t].copy_(rest)
            tiles[:, whole, :, t:].zero_()

    def store(self, tiles: Tensor, u: Tensor) -> None:
        """Copy ``tiles (batch, chunks, g, b)`` into ``u (batch, length, g)``."""
        chunks, rest = self._samples(u)
        whole, t = chunks.shape[1], rest.shape[2]
        chunks.copy_(tiles[:, :whole])
        if t:
            rest.copy_(tiles[:, whole, :, :t])

    def _samples(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """View whole chunks as ``(batch, chunks, g, b)``, and what is left as ``(batch, g, t)``."""
        u = u[:, self.first * self.b : self.last * self.b]
        whole, t = divmod(u.shape[1], self.b)
        chunks, rest = u.split((whole * self.b, t), 1)
        return chunks.unflatten(1, (whole, self.b)).mT, rest.mT

    def find(self, stop: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return which sequences stop in this segment, ``(batch, 1)``, and an index to where."""
        inside = (self.first <= stop) & (stop < self.last)
        chunk = (stop - self.first).clamp(0, self.last - self.first - 1)
        return inside[:, None], (torch.arange(len(stop), device=stop.device), chunk)


def _segments(u: Tensor, b: int) -> list[_Segment]:
    """Cut the sequences ``u (batch, length, H)`` into segments of about the same size."""
    chunks = -(-u.shape[1] // b)
    pieces = 1 if u.is_cuda else max(1, min(chunks, u.shape[0] * u.shape[1] // _SEGMENT))
    ends = [chunks * i // pieces for i in range(pieces + 1)]
    return [_Segment(*pair, b) for pair in itertools.pairwise(ends)]


def _tiles(name: str, shape: Sequence[int], like: Tensor) -> Tensor:
    """Return memory for tiles whose rows do not all start at the same place of the cache."""
    *tiles, g, width = shape
    rows = workspace(name, (*tiles, g * width + _PAD), like)
    return rows[..., : g * width].unflatten(-1, (g, width))


def _per_feature(tiles: Tensor) -> Tensor:
    """View ``(batch, chunks, g, n)`` as one matrix a feature, ``(g, batch chunks, n)``."""
    return tiles.view(-1, *tiles.shape[2:]).transpose(0, 1)


def _states(tiles: Tensor, b: int) -> Tensor:
    """View what stands beside the samples in ``(batch, chunks, g, b + N)`` feature by feature."""
    return tiles[..., b:].permute(2, 0, 1, 3)  # (g, batch, chunks, N)


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
    last = torch.empty_like(x)
    for h in groups(T):  # so few that their transitions stay in the cache
        if S.is_cuda or S.shape[1] < IN_ORDER:
            out[h], last[h] = _states_by_pairs(S[h], x[h], T[h], backward=backward)
        else:
            last[h] = _states_in_order(S[h], x[h], T[h], out[h], backward=backward)
    return last


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


class Scan(torch.autograd.Function):
    """``u (batch, length, H), x (H, batch, N), matrix, stop (batch,) -> y, state entering stop``.

    Keeps the input and the states that enter the chunks, ``1 + N/b`` times the input's size
    together, and the operator. With `stop`, the second output is the state that enters chunk
    ``stop`` of each sequence.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, x: Tensor, matrix: Tensor, stop: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        (H, batch, N), keeps = x.shape, any(ctx.needs_input_grad)
        b = matrix.shape[-1] - N
        segments = _segments(u, b)
        y, states = torch.empty_like(u), torch.zeros_like(x)
        kept = u.new_empty(batch, segments[-1].last if keeps else 0, H, N)
        for h in groups(matrix, _WIDE):
            last = x[h]
            for s in segments:
                UX, last = _run(s, u[..., h], last, matrix[h], y[..., h])
                if keeps:
                    kept[:, s.first : s.last, h] = UX[..., b:]
                if stop is not None:
                    inside, place = s.find(stop)
                    states[h] += torch.where(inside, _states(UX, b)[:, *place], 0)
            if stop is not None:
                states[h] += torch.where((stop == segments[-1].last)[:, None], last, 0)
        ctx.save_for_backward(u, matrix, kept, stop)
        ctx.set_materialize_grads(False)
        return y, None if stop is None else states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor | None, g_stop: Tensor | None) -> tuple[Tensor | None, ...]:
        u, matrix, kept, stop = ctx.saved_tensors
        batch, _, H, N = kept.shape
        segments = _segments(u, matrix.shape[-1] - N)
        gy = torch.zeros_like(u) if gy is None else gy
        gu, gx, g_matrix = torch.empty_like(u), u.new_zeros(H, batch, N), torch.empty_like(matrix)
        if g_stop is not None:
            gx += torch.where((stop == segments[-1].last)[:, None], g_stop, 0)
        for h in groups(matrix, _WIDE):
            for s in reversed(segments):
                at_stop = None if g_stop is None else (stop, g_stop[h])
                G, gx[h] = _run_back(s, gy[..., h], gx[h], matrix[h], at_stop)
                UX = _tiles("inputs", G.shape, u)
                s.load(u[..., h], UX[..., :-N])
                UX[..., -N:] = kept[:, s.first : s.last, h]
                # the gradients of all blocks of the operator are one product
                g_matrix[h].baddbmm_(
                    _per_feature(UX).mT, _per_feature(G), beta=0 if s is segments[-1] else 1
                )
                gU = UX[..., :-N]  # which is not needed any more
                torch.bmm(_per_feature(G), matrix[h, :-N].mT, out=_per_feature(gU))
                s.store(gU, gu[..., h])
        return gu, gx, g_matrix, None


def _run(s: _Segment, u: Tensor, x: Tensor, matrix: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Compute a segment of ``u (batch, length, g)`` into `y`.

    Returns samples and entering states ``(batch, chunks, g, b + N)``, and the state behind.
    """
    (g, batch, N), width = x.shape, matrix.shape[-1]
    b, tiles = width - N, (batch, s.last - s.first)
    UX = _tiles("inputs", (*tiles, g, width), u)
    Y = _tiles("outputs", (*tiles, g, b), u)
    S = workspace("states", (g, *tiles, N), u)
    s.load(u, UX[..., :b])
    torch.bmm(_per_feature(UX[..., :b]), matrix[:, :b, b:], out=S.flatten(1, 2))
    x = _entering_states(S, x, matrix[:, b:, b:], _states(UX, b))
    torch.bmm(_per_feature(UX), matrix[..., :b], out=_per_feature(Y))
    s.store(Y, y)
    return UX, x


def _run_back(
    s: _Segment, gy: Tensor, gx: Tensor, matrix: Tensor, at_stop: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Take the gradient of a segment's outputs and of the state behind it to its states.

    Returns the gradients of outputs and of what the chunks add to the state, ``(batch, chunks, g,
    b + N)``, and that of the state before.
    """
    (g, batch, N), width = gx.shape, matrix.shape[-1]
    b, tiles = width - N, (batch, s.last - s.first)
    G = _tiles("outputs", (*tiles, g, width), gy)
    gX = workspace("states", (g, *tiles, N), gy)
    s.load(gy, G[..., :b])
    torch.bmm(_per_feature(G[..., :b]), matrix[:, b:, :b].mT, out=gX.flatten(1, 2))
    if at_stop is not None:
        inside, place = s.find(at_stop[0])
        gX[:, *place] += torch.where(inside, at_stop[1], 0)
    gx = _entering_states(gX, gx, matrix[:, b:, b:].mT, _states(G, b), backward=True)
    return G, gx
