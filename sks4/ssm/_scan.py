"""The chunked scan: a discrete linear system run over a sequence in linear time, in real numbers.

For whole sequences, sequences in pieces, and sample by sample.
"""

import torch
from torch import Tensor

from ._operators import CHUNK_LENGTH, ChunkOperator, dense_operator, fit_chunk
from ._scan_function import Scan


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
        Output; after the end of a sequence it depends on what pads the input.
    state : Tensor of shape (batch, H, N) or None
        State after each sequence's own last sample.
    """
    batch, length, H = u.shape
    b, N = operator.enter.shape[1:]
    x = u.new_zeros(H, batch, N) if state is None else state.transpose(0, 1)
    if not return_state:
        return Scan.apply(u, x, operator.matrix, None)[0], None
    if lengths is None:
        lengths = torch.full((batch,), length, device=u.device)
    lengths = lengths.long()  # small integers are no indices, and bytes are masks
    y, entering = Scan.apply(u, x, operator.matrix, lengths // b)
    return y, _finish(u, entering, operator, lengths).transpose(0, 1)


def _finish(u: Tensor, x: Tensor, operator: ChunkOperator, lengths: Tensor) -> Tensor:
    """Move the states ``x (H, batch, N)`` from the start of each sequence's last chunk to its end.

    The rest of ``t < b`` samples moves the state by ``A_bar^t``, a product of the powers in the
    binary form of ``t``, and adds the response to these samples, which are shifted to the end of a
    chunk.
    """
    b = operator.chunk_length
    rest = lengths % b
    if not rest.is_meta and not bool(rest.any()):
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
