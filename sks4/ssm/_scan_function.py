"""The autograd function of the chunked scan: a pass over chunks of samples, forward and backward.

The states that enter the chunks come first, one chunk after the other; then all outputs are
batched products with the chunk operator. The backward pass has the same shape, run in reverse.

Samples and states of a segment share one memory, with a row for each chunk of each sequence::

    row         feature 0              feature 1
    c       [ b samples | N states ][ b samples | N states ] ... [ padding ]
    c + 1   [ b samples | N states ][ b samples | N states ] ... [ padding ]
                              ^
                              what chunk c adds to the state is computed to here, where
                              the state that enters chunk c + 1 will stand

so that a slice ``(rows, b + N)`` of one feature is a matrix which one product with the chunk
operator turns into outputs.

=============  =====================================================================
``H, N``       number of features, and of state variables of each
``b``          samples of a chunk
``c``          number of a chunk in its sequence
``g, h``       number of features that are computed together, and which they are
``u, y``       input and output ``(batch, length, H)``
``x``          state ``(H, batch, N)``
``U, X, Y``    samples, entering states and outputs of the chunks, by feature
``S``          what each chunk adds to the state
``T``          transition ``A_bar^b`` of a chunk, for row vectors
``G``          gradients of outputs and of what is added to the states
``g...``       before a name: the gradient of a loss with respect to it
=============  =====================================================================
"""

import itertools
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

_COLUMNS = 64
"""Samples that are turned into tiles at once: what is read then stays in the innermost cache."""

_FEW_CHUNKS = 8
"""Chunks that are visited in order where pairs have been combined to so few."""


class _Segment(NamedTuple):
    """The chunks ``first <= c < last`` of every sequence, which are computed at once."""

    first: int
    last: int
    b: int

    def load(self, u: Tensor, tiles: Tensor) -> None:
        """Copy ``u (batch, length, g)`` into ``tiles (batch, chunks, g, b)``, padded with zeros."""
        chunks, rest = self._samples(u)
        whole, t = chunks.shape[1], rest.shape[2]
        for part in range(0, self.b, _COLUMNS):
            columns = slice(part, part + _COLUMNS)
            tiles[:, :whole, :, columns].copy_(chunks[..., columns])
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


class _Tiles:
    """Samples and states of the chunks of a segment, feature by feature, views of one memory.

    Memory has a row for each chunk, and one more. What a chunk adds to the state is computed to
    where the state that comes of it will stand, in the row of the next chunk; for the last chunk of
    a sequence that is the first row of another one, or the additional row, until the states are
    run.

    Parameters
    ----------
    memory : Tensor of shape (batch * chunks + 1, width)
        Where the tiles are; not all of a row is used.
    batch, g, N : int
        Numbers of sequences, features and state variables.
    b : int
        Samples of a chunk.
    backward : bool, default=False
        Whether time runs backward, so that the next chunk is the one before.

    Attributes
    ----------
    memory : Tensor of shape (batch * chunks + 1, width)
        As given.
    matrices : Tensor of shape (g, batch * chunks, b + N)
        Samples and state that enter a chunk, for each feature.
    next_states : Tensor of shape (g, batch * chunks, N)
        The states in the rows of the next chunks.
    samples : Tensor of shape (batch, chunks, g, b)
        Samples of each chunk.
    entering, added : Tensor of shape (g, batch, chunks, N)
        States that enter the chunks, and those in the rows of the next ones.
    """

    def __init__(
        self, memory: Tensor, batch: int, g: int, N: int, b: int, *, backward: bool = False
    ) -> None:
        rows = memory[:, : g * (b + N)].unflatten(1, (g, b + N))
        own, behind = (rows[1:], rows[:-1]) if backward else (rows[:-1], rows[1:])
        self.matrices, self.next_states = own.transpose(0, 1), behind.transpose(0, 1)[..., b:]
        self.memory = memory
        self.samples = own[..., :b].unflatten(0, (batch, -1))
        self.entering = self.matrices[..., b:].unflatten(1, (batch, -1))
        self.added = self.next_states.unflatten(1, (batch, -1))

    @classmethod
    def of(
        cls, s: _Segment, u: Tensor, N: int, name: str | None, *, backward: bool = False
    ) -> "_Tiles":
        """Return tiles for a segment of ``u (batch, length, g)``.

        With a name, the next tiles of this name take the same memory.
        """
        batch, _, g = u.shape
        # rows that start a power of two apart share few lines of the cache
        shape = (batch * (s.last - s.first) + 1, g * (s.b + N) + _PAD)
        memory = u.new_empty(shape) if name is None else workspace(name, shape, u)
        return cls(memory, batch, g, N, s.b, backward=backward)


def _run_states(tiles: _Tiles, x: Tensor, T: Tensor, *, backward: bool = False) -> Tensor:
    """Solve ``x_(c+1) = x_c T + S_c`` over the chunks, in order or from the last to the first.

    Parameters
    ----------
    tiles : _Tiles
        Holds what each chunk adds, `S`, and takes the state that enters each of them.
    x : Tensor of shape (H, batch, N)
        State before the first chunk visited.
    T : Tensor of shape (H, N, N)
        Transition of one chunk, for row vectors.
    backward : bool, default=False
        Visit the chunks from the last to the first.

    Returns
    -------
    Tensor of shape (H, batch, N)
        State after the last chunk visited.
    """
    last = torch.empty_like(x)
    for h in groups(T):  # so few that their transitions stay in the cache
        S, X = tiles.added[h], tiles.entering[h]
        if S.is_cuda or S.shape[1] < IN_ORDER:
            X[:], last[h] = _states_by_pairs(S, x[h], _without_tiny(T[h]), backward=backward)
        else:
            last[h] = _states_in_order(S, x[h], T[h], X, backward=backward)
    return last


def _states_in_order(S: Tensor, x: Tensor, T: Tensor, out: Tensor, *, backward: bool) -> Tensor:
    """Visit one chunk after the other.

    `S` of a chunk may stand in `out` of the next, and that of the last chunk anywhere in `out`.
    """
    chunks = range(S.shape[2])
    *others, end = reversed(chunks) if backward else chunks
    last = S[:, :, end].clone()
    for c in others:
        out[:, :, c] = x
        x = torch.baddbmm(S[:, :, c], x, T)
    out[:, :, end] = x
    return last.baddbmm_(x, T)


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
    X, x = _states_by_pairs(pairs, x, _without_tiny(T @ T), backward=backward)
    between = torch.baddbmm(first, X.flatten(1, 2), T).unflatten(1, (batch, chunks // 2))
    return torch.stack([between, X] if backward else [X, between], 3).flatten(2, 3), x


def _without_tiny(T: Tensor) -> Tensor:
    """Put zeros for what a contraction has left of its fast modes.

    The squares of these numbers would not be normal ones, and processors compute ten times slower
    with such.
    """
    return torch.nn.functional.hardshrink(T, torch.finfo(T.dtype).tiny ** 0.5)


class Scan(torch.autograd.Function):
    """``u (batch, length, H), x (H, batch, N), matrix, stop (batch,) -> y, state entering stop``.

    Keeps the tiles, samples and the states that enter the chunks, ``1 + N/b`` times the input's
    size together, and the operator. With `stop`, the second output is the state that enters chunk
    ``stop`` of each sequence.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, x: Tensor, matrix: Tensor, stop: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        N, keeps = x.shape[2], any(ctx.needs_input_grad)
        segments = _segments(u, matrix.shape[-1] - N)
        y, states = torch.empty_like(u), torch.zeros_like(x)
        kept = []
        for h in groups(matrix, _WIDE):
            last = x[h]
            for s in segments:
                tiles = _Tiles.of(s, u[..., h], N, None if keeps else "inputs")
                last = _run(s, u[..., h], last, matrix[h], tiles, y[..., h])
                if keeps:
                    kept.append(tiles.memory)
                if stop is not None:
                    inside, place = s.find(stop)
                    states[h] += torch.where(inside, tiles.entering[:, *place], 0)
            if stop is not None:
                states[h] += torch.where((stop == segments[-1].last)[:, None], last, 0)
        ctx.save_for_backward(matrix, stop, *kept)
        ctx.shape, ctx.N = u.shape, N
        ctx.set_materialize_grads(False)
        return y, None if stop is None else states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor | None, g_stop: Tensor | None) -> tuple[Tensor | None, ...]:
        matrix, stop, *kept = ctx.saved_tensors
        (batch, _, H), N = ctx.shape, ctx.N
        gy = matrix.new_zeros(ctx.shape) if gy is None else gy
        gu, gx, g_matrix = torch.empty_like(gy), gy.new_zeros(H, batch, N), torch.empty_like(matrix)
        segments = _segments(gy, matrix.shape[-1] - N)
        if g_stop is not None:
            gx += torch.where((stop == segments[-1].last)[:, None], g_stop, 0)
        memory = iter(kept)
        for h in groups(matrix, _WIDE):
            for s, of_forward in reversed([*zip(segments, memory, strict=False)]):
                at_stop = None if g_stop is None else (stop, g_stop[h])
                G, gx[h] = _run_back(s, gy[..., h], gx[h], matrix[h], at_stop)
                UX = _Tiles(of_forward, batch, len(matrix[h]), N, s.b)
                # the gradients of all blocks of the operator are one product
                g_matrix[h].baddbmm_(UX.matrices.mT, G.matrices, beta=0 if s is segments[-1] else 1)
                gU = _Tiles.of(s, gy[..., h], 0, "inputs")
                torch.bmm(G.matrices, matrix[h, :-N].mT, out=gU.matrices)
                s.store(gU.samples, gu[..., h])
        return gu, gx, g_matrix, None


def _run(s: _Segment, u: Tensor, x: Tensor, matrix: Tensor, tiles: _Tiles, y: Tensor) -> Tensor:
    """Compute a segment of ``u (batch, length, g)`` into `tiles` and `y`; return the last state."""
    N = x.shape[2]
    b = matrix.shape[-1] - N
    s.load(u, tiles.samples)
    torch.bmm(tiles.matrices[..., :b], matrix[:, :b, b:], out=tiles.next_states)
    x = _run_states(tiles, x, matrix[:, b:, b:])
    Y = _Tiles.of(s, u, 0, "outputs")
    torch.bmm(tiles.matrices, matrix[..., :b], out=Y.matrices)
    s.store(Y.samples, y)
    return x


def _run_back(
    s: _Segment, gy: Tensor, gx: Tensor, matrix: Tensor, at_stop: tuple[Tensor, Tensor] | None
) -> tuple[_Tiles, Tensor]:
    """Take the gradient of a segment's outputs and of the state after it to its states.

    Returns the gradients of outputs and of what the chunks add to the state, and that of the state
    before.
    """
    N = gx.shape[2]
    b = matrix.shape[-1] - N
    tiles = _Tiles.of(s, gy, N, "outputs", backward=True)
    s.load(gy, tiles.samples)
    torch.bmm(tiles.matrices[..., :b], matrix[:, b:, :b].mT, out=tiles.next_states)
    if at_stop is not None:
        inside, place = s.find(at_stop[0])
        tiles.added[:, *place] += torch.where(inside, at_stop[1], 0)
    gx = _run_states(tiles, gx, matrix[:, b:, b:].mT, backward=True)
    return tiles, gx
