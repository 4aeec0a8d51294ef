r"""The chunked scan: a discrete linear system run over a sequence in linear time, in real numbers.

Over one chunk of ``b`` samples, a system with state ``x`` (N,) is one matrix. Writing ``U`` for the
chunk's samples and row vectors throughout,

.. math::

    [\,Y \mid x_{next}\,] = [\,U \mid x\,]\; M, \qquad
    M = \begin{pmatrix} \mathrm{Toeplitz}(K) & (\bar A^{b-1-j} \bar B)_j \\
                        ((C \bar A^{j+1})_j)^T & (\bar A^b)^T \end{pmatrix}.

The states that enter the chunks come first, from the right half of `M`; then all outputs are one
batched product with its left half. The backward pass has the same shape, run in reverse.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._dplr import add_blocks

CHUNK_LENGTH = 128
"""Samples a chunk: from here on the product runs at the machine's full rate, and the work a sample,
``2 N + b + N^2 / b`` multiplications, is near its minimum for the usual state sizes."""

_CHUNK_BY_SAMPLES = ((4_096, 32), (65_536, 64))
"""Below so many samples in a batch, the operator of a longer chunk costs more than it saves."""

_GROUP = 32
"""Features computed together on a CPU: their operators (64 KB each in float32 at N = 64) and what a
batched product makes of them stay in the cache."""

_IN_ORDER = 4
"""Batch size from which a CPU is faster visiting the chunks in order than combining pairs; a GPU,
on which launches cost more than flops, always combines pairs."""

_FEW_CHUNKS = 8
"""Chunks that are visited in order where pairs have been combined to so few."""

_BAND = 16
"""Rows of a Toeplitz matrix that are formed at once."""


class ChunkOperator(NamedTuple):
    """A discrete system over one chunk.

    Attributes
    ----------
    M : Tensor of shape (H, b + N, b + N)
        Maps ``[samples | state]`` to ``[outputs | next state]``.
    chunk_length : int
        Number of samples ``b`` of a chunk.
    powers : tuple of Tensors of shape (H, N, N)
        ``(A_bar^(2^k))^T - I`` for ``2^k < b``, which move a state by part of a chunk; empty if the
        operator was formed without.
    """

    M: Tensor
    chunk_length: int
    powers: tuple[Tensor, ...]


def step_operator(E: Tensor, B_bar: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Return the system over one sample, less the identity on the state, ``(H, 1 + N, 1 + N)``.

    Parameters
    ----------
    E : Tensor of shape (H, N, N)
        ``A_bar - I``.
    B_bar, C : Tensor of shape (H, N)
        Input and output vector.
    D : Tensor of shape (H,)
        Feedthrough.

    Returns
    -------
    Tensor of shape (H, 1 + N, 1 + N)
        For :func:`step`.
    """
    K = (B_bar * C).sum(-1, keepdim=True) + D[:, None]
    Y = C[..., None] + E.mT @ C[..., None]
    return _Layout.apply(K, B_bar[:, None], Y, E.mT)


def step(u: Tensor, state: Tensor, operator: Tensor) -> tuple[Tensor, Tensor]:
    """Move a system by one sample: ``x <- A_bar x + B_bar u, y = C x + D u``.

    Parameters
    ----------
    u : Tensor of shape (batch, H)
        Input.
    state : Tensor of shape (batch, H, N)
        State before the sample.
    operator : Tensor of shape (H, 1 + N, 1 + N)
        From :func:`step_operator`.

    Returns
    -------
    y : Tensor of shape (batch, H)
        Output.
    state : Tensor of shape (batch, H, N)
        State after the sample.
    """
    moved = torch.bmm(torch.cat([u[..., None], state], -1).transpose(0, 1), operator)
    return moved[..., 0].mT, state + moved[..., 1:].transpose(0, 1)


def wide(x: Tensor) -> Tensor:
    """Return `x` in double precision where the device has it."""
    return x if x.device.type == "mps" else x.double()


def fit_chunk(length: int, chunk_length: int = CHUNK_LENGTH) -> int:
    """Return a chunk length, a power of two, that is no longer than the input needs."""
    return min(chunk_length, 1 << max(length - 1, 0).bit_length())


def economic_chunk(batch: int, length: int) -> int:
    """Return the chunk length for an operator that is formed for one batch alone."""
    longest = (b for samples, b in _CHUNK_BY_SAMPLES if batch * length < samples)
    return fit_chunk(length, next(longest, CHUNK_LENGTH))


def dense_operator(
    E: Tensor, B_bar: Tensor, C: Tensor, D: Tensor, b: int, *, with_powers: bool = True
) -> ChunkOperator:
    """Form the chunk operator of a dense system by repeated squaring.

    All powers are kept as their difference from the identity, ``(I + E)^2 = I + 2 E + E^2``: for
    small steps this rounds far less than the powers themselves (ten times less for the slowest
    systems).

    Parameters
    ----------
    E : Tensor of shape (H, N, N)
        ``A_bar - I``, where `A_bar` is a contraction.
    B_bar, C : Tensor of shape (H, N)
        Input and output vector.
    D : Tensor of shape (H,)
        Feedthrough.
    b : int
        Chunk length, a power of two.
    with_powers : bool, default=True
        Whether states after part of a chunk will be wanted.

    Returns
    -------
    ChunkOperator
        The system over `b` samples.
    """
    M, *powers = _DenseOperator.apply(E, B_bar, C, D, b, with_powers)
    return ChunkOperator(M, b, tuple(powers))


class _DenseOperator(torch.autograd.Function):
    """``E, B_bar, C, D -> M, powers``, each power the transposed difference from the identity."""

    @staticmethod
    def forward(
        ctx: Any, E: Tensor, B_bar: Tensor, C: Tensor, D: Tensor, b: int, with_powers: bool
    ) -> tuple[Tensor, ...]:
        H, N = B_bar.shape
        M = E.new_empty(H, b + N, b + N)
        kept = [_double(E[h], B_bar[h], C[h], D[h], M[h]) for h in _groups(E)]
        ctx.save_for_backward(C, *(tensor for group in kept for tensor in group))
        ctx.b, ctx.n_groups = b, len(kept)
        ctx.set_materialize_grads(False)
        levels = zip(*(powers[: b.bit_length() - 1] for _, _, *powers in kept), strict=True)
        return M, *(torch.cat(level) for level in levels if with_powers)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gM: Tensor | None, *g_powers: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        C, *saved = ctx.saved_tensors
        size = len(saved) // ctx.n_groups
        if gM is None:
            width = ctx.b + C.shape[1]
            gM = C.new_zeros(len(C), width, width)
        gE = C.new_empty(len(C), C.shape[1], C.shape[1])
        gB, gC, gD = torch.empty_like(C), torch.empty_like(C), torch.empty_like(C[:, 0])
        for i, h in enumerate(_groups(C)):
            X, Y, *powers = saved[i * size : (i + 1) * size]
            partial = [None if g is None else g[h] for g in g_powers]
            gE[h], gB[h], gC[h], gD[h] = _halve(X, Y, powers, C[h], gM[h], partial)
        return gE, gB, gC, gD, None, None


def _double(E: Tensor, B_bar: Tensor, C: Tensor, D: Tensor, M: Tensor) -> list[Tensor]:
    """Write the chunk operator into `M`; return ``X, Y`` and the powers for :func:`_halve`."""
    b = M.shape[-1] - E.shape[-1]
    power = E.mT.clone(memory_format=torch.contiguous_format)
    powers = [power]
    X = B_bar[:, None]  # rows (A^j B)^T, j descending
    Y = torch.baddbmm(C[..., None], power, C[..., None])  # columns (C A^(j+1))^T, j ascending
    while X.shape[1] < b:
        X = torch.cat([torch.baddbmm(X, X, power), X], 1)
        Y = torch.cat([Y, torch.baddbmm(Y, power, Y)], 2)
        power = torch.baddbmm(power, power, power, beta=2)
        powers.append(power)
    K = (X @ C[..., None])[..., 0].flip(1)
    K[:, 0] += D
    _layout(K, X, Y, power, M)
    M[:, b:, b:].diagonal(0, -2, -1).add_(1)
    return [X, Y, *powers[: max(1, len(powers) - 1)]]


def _halve(
    X: Tensor, Y: Tensor, powers: list[Tensor], C: Tensor, gM: Tensor, partial: list[Tensor | None]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of ``E, B_bar, C, D``: :func:`_double` in reverse."""
    b, N = X.shape[1:]
    gK, gX, gY, gP = _split(gM, b)
    gX = torch.baddbmm(gX, gK.flip(1)[..., None], C[:, None])
    gC = (gK.flip(1)[:, None] @ X)[:, 0]
    gY = gY.clone()
    for k in reversed(range(b.bit_length() - 1)):
        s, transposed = 1 << k, powers[k].mT
        gX2, gX1 = gX[:, b - 2 * s : b - s], gX[:, b - s :]
        gY1, gY2 = gY[..., :s], gY[..., s : 2 * s]
        right = torch.bmm(torch.cat([gP, gX2], 1), transposed)
        left = torch.bmm(transposed, torch.cat([gP, gY2], 2))
        gP = torch.add(left[..., :N], gP, alpha=2).add_(right[:, :N])
        gP.baddbmm_(X[:, b - s :].mT, gX2).baddbmm_(gY2, Y[..., :s].mT)
        gX1 += gX2 + right[:, N:]
        gY1 += gY2 + left[..., N:]
        if partial and (g_power := partial[k]) is not None:
            gP += g_power
    first = gY[..., :1]  # of A^T C^T
    gP = torch.baddbmm(gP, first, C[:, None])
    gC = gC + torch.baddbmm(first, powers[0].mT, first)[..., 0]
    return gP.mT, gX[:, -1], gC, gK[:, 0]


def diagonal_operator(
    e: tuple[Tensor, Tensor],
    B_bar: Tensor,
    C: Tensor,
    D: Tensor,
    b: int,
    *,
    with_powers: bool = True,
) -> ChunkOperator:
    """Form the chunk operator of a diagonal system in real form, from a table of powers.

    Parameters
    ----------
    e : pair of Tensors of shape (H, N/2)
        Real and imaginary part of ``a_bar - 1``, in double precision for the best result: the
        powers are formed in it.
    B_bar, C : Tensor of shape (H, N)
        Input and output vector in real form.
    D : Tensor of shape (H,)
        Feedthrough.
    b : int
        Chunk length, a power of two.
    with_powers : bool, default=True
        Whether states after part of a chunk will be wanted.

    Returns
    -------
    ChunkOperator
        The system over `b` samples.
    """
    power = e[0][..., None], e[1][..., None]  # a^s - 1
    table = torch.ones_like(power[0]), torch.zeros_like(power[1])  # a^j for j < s
    powers = []
    while table[0].shape[-1] < b:
        if with_powers:
            powers.append(_dense_power(power, B_bar))
        table = _pairwise_cat(table, _grow(table, power))
        square = _multiply(power, power)
        power = 2 * power[0] + square[0], 2 * power[1] + square[1]
    next_re, next_im = _cast(_grow(table, (e[0][..., None], e[1][..., None])), B_bar)  # a^(j+1)
    X = torch.cat(_multiply(_cast(table, B_bar), _halves(B_bar)), 1).flip(2).mT  # (H, b, N)
    # a covector meets the transposed blocks, the conjugate
    Y = torch.cat(_multiply((next_re, -next_im), _halves(C)), 1)  # (H, N, b)
    K = (X @ C[..., None])[..., 0].flip(1)
    K = torch.cat([K[:, :1] + D[:, None], K[:, 1:]], 1)
    eye = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
    M = _Layout.apply(K, X, Y, _dense_power(power, B_bar) + eye)
    return ChunkOperator(M, b, tuple(powers))


def _grow(a: tuple[Tensor, Tensor], e: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return ``a (1 + e)`` for complex tensors given by their parts."""
    product = _multiply(a, e)
    return a[0] + product[0], a[1] + product[1]


def _pairwise_cat(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Concatenate two complex tensors given by their parts along the last axis."""
    return torch.cat([a[0], b[0]], -1), torch.cat([a[1], b[1]], -1)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split ``x (H, N)`` in real form into two columns ``(H, N/2, 1)``."""
    first, second = x[..., None].chunk(2, 1)
    return first, second


def _multiply(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Multiply two complex tensors given by their parts."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _cast(z: tuple[Tensor, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Give a complex tensor given by its parts the dtype of another."""
    return z[0].to(like.dtype), z[1].to(like.dtype)


def _dense_power(power: tuple[Tensor, Tensor], like: Tensor) -> Tensor:
    """Return the transposed blocks of a diagonal ``(H, N/2, 1)`` as ``(H, N, N)``."""
    zero = like.new_zeros(*like.shape, like.shape[-1])
    real, imag = _cast(power, like)
    return add_blocks(zero, real[..., 0], -imag[..., 0])


class _Layout(torch.autograd.Function):
    """The differentiable form of :func:`_layout`."""

    @staticmethod
    def forward(ctx: Any, K: Tensor, X: Tensor, Y: Tensor, P: Tensor) -> Tensor:
        H, b, N = X.shape
        M = K.new_empty(H, b + N, b + N)
        for h in _groups(K):
            _layout(K[h], X[h], Y[h], P[h], M[h])
        ctx.b = b
        return M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gM: Tensor) -> tuple[Tensor, ...]:
        return _split(gM, ctx.b)


def _layout(K: Tensor, X: Tensor, Y: Tensor, P: Tensor, M: Tensor) -> None:
    """Write ``K (H, b), X (H, b, N), Y (H, N, b), P (H, N, N)`` into ``M (H, b + N, b + N)``."""
    b = K.shape[-1]
    M[:, :b, :b] = 0
    g = min(b, _BAND)
    # g rows of the Toeplitz matrix, which shifted by g, 2 g, ... give the others
    rows = torch.nn.functional.pad(K, (g, 0)).unfold(1, b, 1)[:, 1 : g + 1].flip(1)
    for i in range(0, b, g):
        M[:, i : i + g, i:b] = rows[:, :, : b - i]
    M[:, :b, b:] = X
    M[:, b:, :b] = Y
    M[:, b:, b:] = P


def _split(gM: Tensor, b: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of the four parts of :func:`_layout`."""
    return _diagonal_sums(gM[:, :b, :b]), gM[:, :b, b:], gM[:, b:, :b], gM[:, b:, b:]


def _diagonal_sums(G: Tensor) -> Tensor:
    """Return the sums along the diagonals on and above the main one, ``(H, b, b) -> (H, b)``."""
    H, b, _ = G.shape
    g = min(b, _BAND)
    # bands of g rows, shifted onto each other; behind them zeros, for the skewed reading below
    rows = G.new_zeros(H, g, b + g)
    for i in range(0, b, g):
        rows[:, :, : b - i] += G[:, i : i + g, i:]
    rows[:, :, :g].triu_()
    # read with a row stride of one more, each diagonal is a column
    return rows.as_strided((H, g, b), (g * (b + g), b + g + 1, 1)).sum(1)


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
    """``u (batch, length, H), x (H, batch, N), M, stop (batch,) -> y, state entering chunk stop``.

    Keeps the input and the states that enter the chunks, side by side in tensors of ``(b + N)/b``
    times the input's size together, and nothing else.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, x: Tensor, M: Tensor, b: int, stop: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        batch, length, _ = u.shape
        chunks, width = -(-length // b), M.shape[-1]
        y, states, kept = torch.empty_like(u), torch.empty_like(x), []
        for h in _groups(M):
            UX = u.new_empty(batch, chunks, h.stop - h.start, width)
            Y = torch.empty_like(UX[..., :b], memory_format=torch.contiguous_format)
            U, X = UX[..., :b], UX[..., b:].permute(2, 0, 1, 3)
            _to_tiles(u[..., h], U)
            S = torch.bmm(_per_feature(U), M[h, :b, b:]).unflatten(1, (batch, chunks))
            last = _entering_states(S, x[h], M[h, b:, b:], X)
            torch.bmm(_per_feature(UX), M[h, :, :b], out=_per_feature(Y))
            _from_tiles(Y, y[..., h])
            if stop is not None:
                states[h] = _state_at(X, last, stop)
            kept.append(UX)
        ctx.save_for_backward(M, stop, *kept)
        ctx.b, ctx.length = b, length
        ctx.set_materialize_grads(False)
        return y, None if stop is None else states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor | None, g_stop: Tensor | None) -> tuple[Tensor | None, ...]:
        M, stop, *kept = ctx.saved_tensors
        b, (batch, chunks, _, width) = ctx.b, kept[0].shape
        if gy is None:
            gy = M.new_zeros(batch, chunks * b, M.shape[0])
        gu, gx, gM = (
            torch.empty_like(gy),
            M.new_empty(len(M), batch, width - b),
            torch.empty_like(M),
        )
        for h, UX in zip(_groups(M), kept, strict=True):
            # gradients of the right-hand sides, [outputs | next states]
            gYS, gU = torch.empty_like(UX), torch.empty_like(UX[..., :b])
            gY, gS = gYS[..., :b], gYS[..., b:].permute(2, 0, 1, 3)
            _to_tiles(gy[..., h], gY)
            G = torch.bmm(_per_feature(gY), M[h, b:, :b].mT).unflatten(1, (batch, chunks))
            g_last = G.new_zeros(len(G), batch, width - b)
            if g_stop is not None:
                _add_at(G, g_last, stop, g_stop[h])
            gx[h] = _entering_states(G, g_last, M[h, b:, b:].mT, gS, backward=True)
            torch.bmm(_per_feature(gYS), M[h, :b].mT, out=_per_feature(gU))
            _from_tiles(gU, gu[..., h])
            torch.bmm(_per_feature(UX).mT, _per_feature(gYS), out=gM[h])
        return gu[:, : ctx.length], gx, gM, None, None


def _groups(x: Tensor) -> Iterator[slice]:
    """Cut the features ``x (H, ...)``, which are independent, into groups that fit in the cache."""
    H = len(x)
    size = H if x.is_cuda else _GROUP
    for start in range(0, H, size):
        yield slice(start, min(start + size, H))


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
    M, b = operator.M, operator.chunk_length
    x = u.new_zeros(H, batch, M.shape[-1] - b) if state is None else state.transpose(0, 1)
    if not return_state:
        return _Scan.apply(u, x, M, b, None)[0], None
    if lengths is None:
        lengths = torch.full((batch,), length, device=u.device)
    y, entering = _Scan.apply(u, x, M, b, lengths // b)
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
    return torch.baddbmm(x, tail, operator.M[:, :b, b:])


def chunked_scan(
    u: Tensor,
    A_bar: Tensor,
    B_bar: Tensor,
    C: Tensor,
    *,
    state: Tensor | None = None,
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
