r"""A discrete system over one chunk of samples, in real numbers.

Over a chunk of ``b`` samples, a system with state ``x`` (N,) is one matrix. Writing ``U`` for the
chunk's samples and row vectors throughout,

.. math::

    [\,Y \mid x_{next}\,] = [\,U \mid x\,]
    \begin{pmatrix} \mathrm{Toeplitz}(K) & (\bar A^{b-1-j} \bar B)_j^T \\
                    (C \bar A^{j+1})_j^T & (\bar A^b)^T \end{pmatrix},

and its blocks are the chunk operator.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._dplr import add_blocks
from ._parts import cast, concatenate, grow, multiply

CHUNK_LENGTH = 128
"""Samples a chunk: from here on the product runs at the machine's full rate, and the work a sample,
``2 N + b + N^2 / b`` multiplications, is near its minimum for the usual state sizes."""

_CHUNK_BY_SAMPLES = ((4_096, 32), (65_536, 64))
"""Below so many samples in a batch, the operator of a longer chunk costs more than it saves."""

IN_ORDER = 2
"""Sequences from which a CPU is faster visiting the chunks in order than combining pairs, which
doubles the work; a GPU, on which launches cost more than flops, always combines pairs."""

_GROUP = 32
"""Features computed together on a CPU: their operators (64 KB each in float32 at N = 64) and what a
batched product makes of them stay in the cache."""

_TABLE = 16
"""Samples for which an operator is formed from tables of powers, and doubled from there."""

_BAND = 16
"""Rows of a Toeplitz matrix that are formed at once."""


class ChunkOperator(NamedTuple):
    """A discrete system over one chunk of ``b`` samples, for row vectors.

    Attributes
    ----------
    matrix : Tensor of shape (H, b + N, b + N)
        From samples and state to outputs and next state.
    chunk_length : int
        Number of samples ``b`` of a chunk.
    powers : tuple of Tensors of shape (H, N, N)
        ``A_bar^(2^k) - I`` for ``2^k < b``, which move a state by part of a chunk; empty if the
        operator was formed without.
    """

    matrix: Tensor
    chunk_length: int
    powers: tuple[Tensor, ...]

    @property
    def output(self) -> Tensor:
        """From samples and state to outputs, a view of shape ``(H, b + N, b)``."""
        return self.matrix[..., : self.chunk_length]

    @property
    def enter(self) -> Tensor:
        """From samples to the next state: ``A_bar^j B_bar``, j descending, ``(H, b, N)``."""
        return self.matrix[:, : self.chunk_length, self.chunk_length :]

    @property
    def move(self) -> Tensor:
        """From the state to the next: ``A_bar^b``, ``(H, N, N)``."""
        return self.matrix[:, self.chunk_length :, self.chunk_length :]


def wide(x: Tensor) -> Tensor:
    """Return `x` in double precision where the device has it."""
    return x if x.device.type == "mps" else x.double()


def fit_chunk(length: int, chunk_length: int = CHUNK_LENGTH) -> int:
    """Return a chunk length, a power of two, that is no longer than the input needs."""
    return min(chunk_length, 1 << max(length - 1, 0).bit_length())


def economic_chunk(batch: int, length: int) -> int:
    """Return the chunk length for an operator that is formed for one batch alone."""
    work = batch * length * (2 if batch < IN_ORDER else 1)
    longest = (b for samples, b in _CHUNK_BY_SAMPLES if work < samples)
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
    X, Y = B_bar[:, None], (C + (C[:, None] @ E)[:, 0])[..., None]
    matrix, *powers = _Doubling.apply(E, X, Y, C, D, b, with_powers)
    return ChunkOperator(matrix, b, tuple(powers))


class _Doubling(torch.autograd.Function):
    """From ``s`` samples to ``b``: ``A_bar^s - I, X, Y, C, D -> matrix, powers``.

    ``X (H, s, N)`` has the rows ``A_bar^j B_bar``, j descending, and ``Y (H, N, s)`` the columns
    ``C A_bar^(j + 1)``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        E: Tensor,
        X: Tensor,
        Y: Tensor,
        C: Tensor,
        D: Tensor,
        b: int,
        with_powers: bool,
    ) -> tuple[Tensor, ...]:
        H, N = C.shape
        M = E.new_empty(H, b + N, b + N)
        kept = []
        for h in groups(E):
            X_h, Y_h, powers = _double(E[h].mT.contiguous(), X[h], Y[h].mT, b)
            K = (X_h @ C[h, :, None])[..., 0].flip(1)
            K[:, 0] += D[h]
            _fill_toeplitz(K, M[h, :b, :b])
            M[h, b:, :b], M[h, :b, b:], M[h, b:, b:] = Y_h, X_h, powers.pop()
            kept.append(powers)
        M[:, b:, b:].diagonal(0, -2, -1).add_(1)
        ctx.save_for_backward(C, M, *(power for group in kept for power in group))
        ctx.first, ctx.n_powers = X.shape[1], len(kept[0])
        ctx.set_materialize_grads(False)
        levels = zip(*kept, strict=True)
        return M, *(torch.cat(level) for level in levels if with_powers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        C, M, *powers = ctx.saved_tensors
        (H, N), s, n_powers = C.shape, ctx.first, ctx.n_powers
        b = M.shape[-1] - N
        gM = torch.zeros_like(M) if grads[0] is None else grads[0]
        gE, gX, gY = C.new_empty(H, N, N), C.new_empty(H, s, N), C.new_empty(H, N, s)
        gC, gD = torch.empty_like(C), C.new_empty(H)
        for i, h in enumerate(groups(C)):
            X = M[h, :b, b:]
            gK = _diagonal_sums(gM[h, :b, :b])
            gC[h], gD[h] = (gK.flip(1)[:, None] @ X)[:, 0], gK[:, 0]
            gP, gX[h], gY[h] = _halve(
                X,
                M[h, b:, :b],
                powers[i * n_powers : (i + 1) * n_powers],
                (
                    torch.baddbmm(gM[h, :b, b:], gK.flip(1)[..., None], C[h, None]),
                    gM[h, b:, :b],
                    gM[h, b:, b:],
                ),
                [None if grad is None else grad[h] for grad in grads[1:]],
            )
            gE[h] = gP.mT
        return gE, gX, gY, gC, gD, None, None


def _double(power: Tensor, X: Tensor, Y: Tensor, b: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return ``X (H, b, N), Y (H, N, b)`` and the powers on the way, ``power`` the first of them.

    All are of row vectors: `power` is ``A_bar^s - I`` transposed, and ``Y (H, s, N)`` has rows.
    """
    powers = [power]
    while X.shape[1] < b:
        X = torch.cat([torch.baddbmm(X, X, power), X], 1)
        Y = torch.cat([Y, torch.baddbmm(Y, Y, power.mT)], 1)
        power = torch.baddbmm(power, power, power, beta=2)
        powers.append(power)
    return X, Y.mT, powers


def _halve(
    X: Tensor,
    Y: Tensor,
    powers: list[Tensor],
    grads: tuple[Tensor, Tensor, Tensor],
    g_powers: list[Tensor | None],
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the gradients of ``X``, ``Y`` and the last power back to their beginnings."""
    gX, gY, gP = grads
    N = X.shape[-1]
    first = X.shape[1] >> len(powers)
    for k in reversed(range(len(powers))):
        s, transposed = first << k, powers[k].mT
        gX2, gX1 = gX[:, :s], gX[:, s:]
        gY1, gY2 = gY[..., :s], gY[..., s:]
        right = torch.bmm(torch.cat([gP, gX2], 1), transposed)
        left = torch.bmm(transposed, torch.cat([gP, gY2], 2))
        gP = torch.add(left[..., :N], gP, alpha=2).add_(right[:, :N])
        gP.baddbmm_(X[:, -s:].mT, gX2).baddbmm_(gY2, Y[..., :s].mT)
        gX = gX1 + gX2 + right[:, N:]
        gY = gY1 + gY2 + left[..., N:]
        if g_powers and (g_power := g_powers[k]) is not None:
            gP += g_power
    return gP, gX, gY


def dplr_operator(
    a_bar: tuple[Tensor, Tensor],
    q: Tensor,
    r: Tensor,
    B_bar: Tensor,
    C: Tensor,
    D: Tensor,
    b: int,
    *,
    with_powers: bool = True,
) -> ChunkOperator:
    r"""Form the chunk operator of ``A_bar = blocks(a_bar) - q r^T`` from tables of powers.

    With :math:`A = \Lambda + p r^T`, for row and column vectors alike

    .. math::

        A^j = \Lambda^j + \sum_{i<j} A^i p \, r^T \Lambda^{j-1-i}
            = \Lambda^j + \sum_{i<j} \Lambda^{j-1-i} p \, r^T A^i,

    so everything in the operator is a table of powers of the diagonal, times triangular Toeplitz
    matrices: the :math:`A^i p` solve a triangular system, and the others are products with them.
    For short chunks this is less work than squaring the matrix, and no error is squared; longer
    ones are doubled from there.

    Parameters
    ----------
    a_bar : pair of Tensors of shape (H, N/2)
        Real and imaginary part of the diagonal, in double precision for the best result: the powers
        are formed in it.
    q, r : Tensor of shape (H, N)
        Part of rank one.
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
    s = min(b, _TABLE)
    table, last = _power_table(a_bar, s)
    powers, first = cast(table, C), cast(a_bar, C)
    transposed, step = (powers[0], -powers[1]), (first[0][..., None], -first[1][..., None])
    V = _table(powers, _halves(B_bar))  # Lambda^j B in columns, (H, N, s)
    W = _table(powers, _halves(-q))  # Lambda^j p
    R = _table(transposed, _halves(r))  # r^T Lambda^j
    Z = _table(transposed, multiply(step, _halves(C)))  # C Lambda^(j + 1)
    P = torch.linalg.solve_triangular(  # A^j p
        _Toeplitz.apply(_behind(1.0, -_row(r, W)[:, :-1])),
        W,
        upper=True,
        left=False,
        unitriangular=True,
    )
    X = torch.baddbmm(V, P, _Toeplitz.apply(_behind(0.0, _row(r, V)[:, :-1])))  # A^j B
    Y = torch.baddbmm(Z, R, _Toeplitz.apply(_row(C, P)))
    E = add_blocks(P @ R.flip(2).mT, *cast((last[0] - 1, last[1]), C))
    matrix, *larger = _Doubling.apply(E, X.flip(2).mT, Y, C, D, b, with_powers)
    if not with_powers:
        return ChunkOperator(matrix, b, ())
    smaller: list[Tensor] = []
    while (n := 1 << len(smaller)) < s:
        parts = cast((table[0][..., n] - 1, -table[1][..., n]), C)
        smaller.append(add_blocks(R[..., :n].flip(2) @ P[..., :n].mT, *parts))
    return ChunkOperator(matrix, b, (*smaller, *larger))


def _power_table(
    a: tuple[Tensor, Tensor], b: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return ``a^j`` for ``j < b``, ``(H, N/2, b)``, and ``a^b``, ``(H, N/2)``."""
    power = a[0][..., None], a[1][..., None]
    table = torch.ones_like(power[0]), torch.zeros_like(power[1])
    while table[0].shape[-1] < b:
        table = concatenate(table, multiply(table, power))
        power = multiply(power, power)
    return table, (power[0][..., 0], power[1][..., 0])


def _table(powers: tuple[Tensor, Tensor], vector: tuple[Tensor, Tensor]) -> Tensor:
    """Return powers (H, N/2, b) of a diagonal times a vector (H, N/2, 1), in real form."""
    return torch.cat(multiply(powers, vector), 1)


def _row(x: Tensor, table: Tensor) -> Tensor:
    """Return the products of a vector ``(H, N)`` with the columns of ``(H, N, b)``."""
    return (x[:, None] @ table)[:, 0]


def _behind(first: float, rest: Tensor) -> Tensor:
    """Put a number before each row."""
    return torch.nn.functional.pad(rest, (1, 0), value=first)


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
        table = concatenate(table, grow(table, power))
        square = multiply(power, power)
        power = 2 * power[0] + square[0], 2 * power[1] + square[1]
    next_re, next_im = cast(grow(table, (e[0][..., None], e[1][..., None])), B_bar)  # a^(j+1)
    X = _table(cast(table, B_bar), _halves(B_bar)).flip(2).mT  # (H, b, N)
    # a covector meets the transposed blocks, the conjugate
    Y = _table((next_re, -next_im), _halves(C))  # (H, N, b)
    K = (X @ C[..., None])[..., 0].flip(1)
    K = torch.cat([K[:, :1] + D[:, None], K[:, 1:]], 1)
    eye = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
    move = _dense_power(power, B_bar) + eye
    top, bottom = torch.cat([_Toeplitz.apply(K), X], 2), torch.cat([Y, move], 2)
    return ChunkOperator(torch.cat([top, bottom], 1), b, tuple(powers))


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split ``x (H, N)`` in real form into two columns ``(H, N/2, 1)``."""
    first, second = x[..., None].chunk(2, 1)
    return first, second


def _dense_power(power: tuple[Tensor, Tensor], like: Tensor) -> Tensor:
    """Return the transposed blocks of a diagonal ``(H, N/2, 1)`` as ``(H, N, N)``."""
    zero = like.new_zeros(*like.shape, like.shape[-1])
    real, imag = cast(power, like)
    return add_blocks(zero, real[..., 0], -imag[..., 0])


class _Toeplitz(torch.autograd.Function):
    """The differentiable form of :func:`_fill_toeplitz`, ``K (H, b) -> (H, b, b)``."""

    @staticmethod
    def forward(ctx: Any, K: Tensor) -> Tensor:
        local = K.new_empty(*K.shape, K.shape[-1])
        for h in groups(K):
            _fill_toeplitz(K[h], local[h])
        return local

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _diagonal_sums(grad)


def _fill_toeplitz(K: Tensor, local: Tensor) -> None:
    """Write the upper triangular Toeplitz matrix ``[i, j] = K[j - i]`` into ``local (H, b, b)``."""
    b = K.shape[-1]
    g = min(b, _BAND)
    # g rows of the matrix, which shifted by g, 2 g, ... give the others
    rows = torch.nn.functional.pad(K, (g, 0)).unfold(1, b, 1)[:, 1 : g + 1].flip(1)
    for i in range(0, b, g):
        local[:, i : i + g, :i] = 0
        local[:, i : i + g, i:] = rows[:, :, : b - i]


def _diagonal_sums(G: Tensor) -> Tensor:
    """Return the sums along the diagonals on and above the main one, ``(H, b, b) -> (H, b)``."""
    H, b, _ = G.shape
    g = min(b, _BAND)
    # bands of g rows, shifted onto each other; followed by zeros, for the skewed reading below
    rows = G.new_zeros(H, g, b + g)
    for i in range(0, b, g):
        rows[:, :, : b - i] += G[:, i : i + g, i:]
    # read with a row stride of one more, each diagonal is a column
    return rows.as_strided((H, g, b), (g * (b + g), b + g + 1, 1)).sum(1)


def groups(x: Tensor, size: int = _GROUP) -> Iterator[slice]:
    """Cut the features ``x (H, ...)``, which are independent, into groups that fit in the cache."""
    H = len(x)
    size = H if x.is_cuda else size
    for start in range(0, H, size):
        yield slice(start, min(start + size, H))
