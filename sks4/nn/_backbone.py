"""The S4 backbone: patches, input projection and a stack of blocks, with lengths and states."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sks4._validation import check_choice, check_integer

from . import _initial
from ._block import NoNorm, S4Block, make_norm
from ._lengths import check_lengths, real_steps
from ._spectrum import PatchSpectrum

INPUTS = ("values", "symbols")
EMBEDDINGS = ("values", "spectrum")


class BackboneState(NamedTuple):
    """State of a backbone after the samples so far.

    Attributes
    ----------
    layers : tuple of Tensors of shape (batch, d_model, d_state)
        State of each block's layer after the last whole patch; none before the first one.
    pending : Tensor of shape (batch, fewer than patch_size, n_inputs)
        Samples that do not yet make a patch.
    """

    layers: tuple[Tensor | None, ...]
    pending: Tensor


class S4Backbone(nn.Module):
    """Project patches of the input to features and pass them through S4 blocks.

    Parameters
    ----------
    n_inputs : int
        Number of input channels.
    d_model : int, default=64
        Number of features.
    n_layers : int, default=4
        Number of blocks. With 0, `every_block` returns no features.
    patch_size : int, default=1
        Number of samples that make one step of the blocks; the last patch is filled with zeros.
    dropout, norm, prenorm
        See :class:`S4Block`; with `prenorm`, the first block has no norm and the last output one.
    inputs : {"values", "symbols"}, default="values"
        Real values ``(batch, length, n_inputs)``, or numbers below `n_inputs` of symbols,
        ``(batch, length)``, each with its own features.
    embedding : {"values", "spectrum"}, default="values"
        What is projected to the features: the values of a patch, or its :class:`PatchSpectrum`.
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.
    **layer : dict
        Parameters of :class:`S4Layer`.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> backbone = nn.S4Backbone(3, d_model=8, n_layers=2, d_state=4, patch_size=10)
    >>> x, _ = backbone(torch.randn(2, 95, 3))
    >>> x.shape
    torch.Size([2, 10, 8])
    """

    def __init__(
        self,
        n_inputs: int,
        d_model: int = 64,
        n_layers: int = 4,
        *,
        patch_size: int = 1,
        dropout: float = 0.0,
        norm: str | None = "layer",
        prenorm: bool = True,
        inputs: str = "values",
        embedding: str = "values",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        **layer: Any,
    ) -> None:
        super().__init__()
        self.inputs = check_choice("inputs", inputs, INPUTS)
        self.embedding = check_choice("embedding", embedding, EMBEDDINGS)
        self.n_inputs = check_integer("n_inputs", n_inputs)
        self.patch_size = check_integer("patch_size", patch_size)
        d_model = check_integer("d_model", d_model)
        n_layers = check_integer("n_layers", n_layers, minimum=0)
        self.d_model = d_model
        draw: dict[str, Any] = {"generator": generator, "dtype": dtype}
        self.projection: nn.Linear | nn.Embedding
        self.spectrum = None
        if embedding == "spectrum":
            self.spectrum = PatchSpectrum(n_inputs, patch_size, dtype=dtype)
        if inputs == "symbols":
            if patch_size > 1:
                raise ValueError(f"patch_size must be 1 for symbols, got {patch_size}.")
            self.projection = _initial.embedding(n_inputs, d_model, **draw)
        else:
            self.projection = _initial.linear(self.patch_width, d_model, **draw)
        # A few channels, projected, span as many directions: normalizing over the features would
        # turn one channel into a saturating function of itself. So the first block, whose input
        # is scaled with the data, takes it as it is.
        norms = [None if prenorm and i == 0 else norm for i in range(n_layers)]
        self.blocks = nn.ModuleList(
            S4Block(d_model, dropout=dropout, norm=name, prenorm=prenorm, **layer, **draw)
            for name in norms
        )
        self.norm = make_norm(norm, d_model, dtype) if prenorm else NoNorm()

    @property
    def patch_width(self) -> int:
        """Number of values that describe a patch."""
        if self.spectrum is None:
            return self.n_inputs * self.patch_size
        return self.spectrum.n_features

    @property
    def bidirectional(self) -> bool:
        """Whether the blocks also read the sequence backwards."""
        return any(cast(S4Block, block).layer.bidirectional for block in self.blocks)

    def forward(
        self,
        u: Tensor,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        *,
        every_block: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Map whole sequences to features.

        Parameters
        ----------
        u : Tensor of shape (batch, length, n_inputs)
            Input; what follows the end of a sequence has no effect.
        lengths : LongTensor of shape (batch,), optional
            Number of real samples of each sequence; all of them if omitted.
        rate : float, default=1.0
            Sampling interval now over the one in training.
        every_block : bool, default=False
            Return the features of all blocks side by side, ``n_layers * d_model``; otherwise those
            of the last one.

        Returns
        -------
        x : Tensor of shape (batch, ceil(length / patch_size), d_model)
            Features.
        lengths : LongTensor of shape (batch,) or None
            Number of real steps of `x`.
        """
        self._check_input(u)
        self.check_rate(rate)
        patches = self.patches(u, lengths)
        if lengths is not None:
            lengths = -(-lengths // self.patch_size)
        x, _ = self._blocks(
            patches, None, lengths, rate, return_state=False, every_block=every_block
        )
        return x, lengths

    def advance(
        self,
        u: Tensor,
        state: BackboneState | None = None,
        rate: float = 1.0,
        *,
        every_block: bool = False,
    ) -> tuple[Tensor, BackboneState]:
        """Continue sequences of which a part has been seen.

        Parameters
        ----------
        u : Tensor of shape (batch, length, n_inputs)
            The next samples, any number.
        state : BackboneState, optional
            From the call before; a new sequence starts if omitted.
        rate : float, default=1.0
            Sampling interval now over the one in training.
        every_block : bool, default=False
            As for :meth:`forward`.

        Returns
        -------
        x : Tensor of shape (batch, n_new_patches, d_model)
            Features of the patches that have become whole.
        state : BackboneState
            For the next call.
        """
        self._check_input(u)
        self.check_rate(rate)
        self.check_has_state()
        if state is None:
            state = BackboneState((), u[:, :0])
        u = torch.cat([state.pending, u], 1)
        whole = u.shape[1] // self.patch_size * self.patch_size
        pending = u[:, whole:]
        if whole == 0:
            n_features = self.d_model * (len(self.blocks) if every_block else 1)
            empty = u.new_empty(u.shape[0], 0, n_features)
            return empty, BackboneState(state.layers, pending)
        x, states = self._blocks(
            self.patches(u[:, :whole]),
            state.layers,
            None,
            rate,
            return_state=True,
            every_block=every_block,
        )
        return x, BackboneState(states, pending)

    def finish(self, state: BackboneState, rate: float = 1.0) -> Tensor:
        """Return the features of the pending samples, at least one.

        They are padded with zeros to a patch, ``(batch, 1, d_model)``; the state is not changed.
        """
        filled = self.fill(state.pending)
        return self.advance(filled, state._replace(pending=filled[:, :0]), rate)[0]

    def fill(self, pending: Tensor) -> Tensor:
        """Return samples ``(batch, length, n_inputs)`` padded with zeros to whole patches."""
        return functional.pad(pending, (0, 0, 0, -pending.shape[1] % self.patch_size))

    def patches(self, u: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what is projected of the patches of sequences, which are zero after their end.

        Parameters
        ----------
        u : Tensor of shape (batch, length, n_inputs), or (batch, length) of symbols
            Samples.
        lengths : LongTensor of shape (batch,), optional
            Number of real samples of each sequence; all of them if omitted.

        Returns
        -------
        Tensor of shape (batch, n_patches, patch_width)
            What is projected of each patch; symbols as they are.
        """
        if lengths is not None:
            check_lengths(lengths, u)
            real = real_steps(u, lengths)
            u = torch.where(real if u.dim() == 2 else real[..., None], u, 0)
        if self.patch_size == 1:
            return u
        return self.describe(self.fill(u).unflatten(1, (-1, self.patch_size)).flatten(2))

    def describe(self, patches: Tensor) -> Tensor:
        """Return what is projected of patches ``(..., patch_size * n_inputs)``."""
        return patches if self.spectrum is None else self.spectrum(patches)

    def _blocks(
        self,
        patches: Tensor,
        states: tuple[Tensor | None, ...] | None,
        lengths: Tensor | None,
        rate: float,
        *,
        return_state: bool,
        every_block: bool,
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Pass patches through the projection, the blocks and the last norm."""
        x = self.projection(patches)
        features: list[Tensor] = []
        new_states: list[Tensor | None] = []
        for block, state in zip(self.blocks, states or (None,) * len(self.blocks), strict=True):
            x, new_state = block(x, state, lengths, rate, return_state=return_state)
            new_states.append(new_state)
            if every_block:
                features.append(x)
        x = self.norm(x, lengths)
        if every_block:
            features[-1:] = [x] if self.blocks else [x[..., :0]]
            x = torch.cat(features, -1)
        return x, tuple(new_states)

    def _check_input(self, u: Tensor) -> None:
        """Raise if the input does not fit."""
        if self.inputs == "symbols":
            if u.dim() != 2 or u.shape[1] == 0 or u.is_floating_point():
                raise ValueError(
                    "u must hold numbers of symbols, integers of shape (batch, length) with at "
                    f"least one sample, got {u.dtype} of shape {tuple(u.shape)}."
                )
            return
        if u.dim() != 3 or u.shape[2] != self.n_inputs or u.shape[1] == 0:
            raise ValueError(
                f"u must have shape (batch, length, {self.n_inputs}) and at least one sample, "
                f"got {tuple(u.shape)}."
            )

    def check_has_state(self) -> None:
        """Raise if the blocks are bidirectional, and so have no state."""
        for block in self.blocks:
            cast(S4Block, block).layer.check_has_state()

    def check_rate(self, rate: float) -> None:
        """Raise if the rate differs from that of training while samples form patches."""
        if self.patch_size > 1 and rate != 1:
            raise ValueError(
                f"rate must be 1 with patch_size > 1, got rate={rate} and patch_size="
                f"{self.patch_size}. Train with patch_size=1 to change the sampling rate."
            )
