"""Models prepared to continue step by step: operators fixed once, states updated in place.

:meth:`S4Model.advance` is the same mathematics in the form that trains and exports: it checks its
operands, and makes a new state, at every call. Here a step is only about ten tensor
operations a block, on memory that is there.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from sks4 import ssm as ops
from sks4._validation import check_integer, check_positive

from ._backbone import BackboneState, S4Backbone
from ._bank import FilterBank
from ._block import NoNorm, RealStepBatchNorm, S4Block
from ._compiled_steps import CompiledSteps, can_step
from ._heads import PooledHead, PoolState
from ._model import S4Model
from ._summary_model import FeatureState, SummaryModel

_SCAN_FROM = 64
"""Patches at once from which the scan is faster than steps, see benchmarks/bench_streaming.py."""

_AT_ONCE = 4096
"""Patches that the scan takes at once, so that memory does not grow with what is pushed."""

_HALF = math.sqrt(0.5)


class _Systems:
    """The systems of one layer, whose state moves in place.

    The output is multiplied by `factor`. The state is kept as complex numbers, for which the
    diagonal is one operation; everything else works on the same memory as real numbers. What is
    read from a state, ``C x`` now and ``r x`` at the next step, is read by one product.
    """

    def __init__(self, operator: ops.StepOperator, batch: int, factor: float = 1.0) -> None:
        self.e = torch.complex(*operator.e)  # (H, N/2)
        self.minus_q = [-_interleaved(q) for q in operator.q.unbind(1)]  # rank times (H, N)
        self.B = _interleaved(operator.B_bar)
        self.D = operator.D * factor
        rows = torch.cat([operator.C[:, None] * factor, operator.r], 1)
        self.readout = _interleaved(rows)  # (H, 1 + rank, N)
        self.z = self.e.new_zeros(batch, *self.e.shape)
        self.x = torch.view_as_real(self.z).flatten(-2)  # (batch, H, N), the same memory
        self.read = self.D.new_zeros(len(self.D), rows.shape[1], batch)
        y, *coupling = self.read.permute(1, 2, 0)  # each (batch, H)
        self.y, self.coupling = y, [r_x[..., None] for r_x in coupling]

    def step(self, u: Tensor) -> Tensor:
        """Move by one sample ``u (batch, H)``; the result is overwritten by the next call."""
        self.z.addcmul_(self.e, self.z)
        for minus_q, coupling in zip(self.minus_q, self.coupling, strict=True):
            self.x.addcmul_(minus_q, coupling)
        self.x.addcmul_(self.B, u[..., None])
        self._read()
        return self.y.addcmul_(self.D, u)

    def reset(self) -> None:
        """Go back to the state zero."""
        self.z.zero_()
        self.read.zero_()

    def _read(self) -> None:
        torch.bmm(self.readout, self.x.permute(1, 2, 0), out=self.read)

    def memory(self) -> tuple[Tensor, Tensor]:
        """Return what changes with a step."""
        return self.z, self.read

    @property
    def state(self) -> Tensor:
        """A copy of the state in the real form of the layers, ``(batch, H, N)``."""
        halves = torch.view_as_real(self.z).mT
        return halves.clone(memory_format=torch.contiguous_format).flatten(-2)

    @state.setter
    def state(self, state: Tensor) -> None:
        torch.view_as_real(self.z).copy_(state.unflatten(-1, (2, -1)).mT)
        self._read()


class _Block:
    """One block in evaluation, for a single step.

    With ``w = y / sqrt(2)``, ``gelu(y) = (w + w erf(w)) / sqrt(2)``. The first factor is part of
    the systems' output, the second of the gate's weights, so two operations are left.
    """

    def __init__(self, block: S4Block, batch: int, rate: float) -> None:
        operator = block.layer.step_operator(rate)
        dtype = operator.D.dtype
        self.systems = _Systems(operator, batch, _HALF)
        self.norm, self.prenorm = _prepared_norm(block.norm, dtype), block.prenorm
        self.weight = (block.gate.weight.to(dtype) * _HALF).T.contiguous()  # (H, 2 H)
        self.bias = block.gate.bias.to(dtype, copy=True)
        self.active = self.bias.new_empty(batch, len(self.bias) // 2)
        self.gated = self.bias.new_empty(batch, len(self.bias))
        self.value, self.gate = self.gated.chunk(2, -1)

    def step(self, x: Tensor) -> Tensor:
        """Change ``x (batch, H)`` to the output of the block."""
        w = self.systems.step(self.norm(x) if self.prenorm else x)
        torch.addcmul(w, w, torch.erf(w, out=self.active), out=self.active)
        torch.addmm(self.bias, self.active, self.weight, out=self.gated)
        x.addcmul_(self.value, self.gate.sigmoid_())
        return x if self.prenorm else self.norm(x)


class _Bank:
    """A filter bank, for a single step."""

    def __init__(self, bank: FilterBank, batch: int, rate: float) -> None:
        self.systems = _Systems(bank.layer.step_operator(rate), batch)
        self.mix = bank.mix.to(self.systems.D.dtype, copy=True)
        self.steady = bank.steady.to(self.systems.D.dtype, copy=True)

    def step(self, patch: Tensor, *, is_first: bool) -> Tensor:
        """Return the outputs of the filters; overwritten by the next call."""
        mixed = patch @ self.mix
        if is_first:
            self.systems.state = mixed[..., None] * self.steady
        return self.systems.step(mixed)


class S4Stepper:
    """A backbone that continues patch by patch.

    It has its own copies of the discretized weights: what is trained later does not change it.

    Parameters
    ----------
    backbone : S4Backbone
        Trained, not bidirectional. Dropout has no effect, and batch norms use their running
        statistics, whatever mode it is in.
    batch : int, default=1
        Number of sequences side by side.
    rate : float, default=1.0
        Sampling interval now over the one in training.
    every_block : bool, default=False
        Return the features of all blocks side by side; otherwise those of the last one.

    Raises
    ------
    ValueError
        If the backbone is bidirectional, or the rate is not valid.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> backbone = nn.S4Backbone(3, d_model=8, n_layers=2, d_state=4).eval()
    >>> stepper = nn.S4Stepper(backbone, batch=2)
    >>> u = torch.randn(2, 20, 3)
    >>> steps = [stepper.step(u[:, t]).clone() for t in range(20)]
    >>> torch.allclose(torch.stack(steps, 1), backbone(u)[0], atol=1e-5)
    True
    """

    @torch.inference_mode()
    def __init__(
        self,
        backbone: S4Backbone,
        batch: int = 1,
        rate: float = 1.0,
        *,
        every_block: bool = False,
    ) -> None:
        check_integer("batch", batch)
        check_positive("rate", rate)
        backbone.check_rate(rate)
        blocks = cast(list[S4Block], list(backbone.blocks))
        backbone.check_has_state()
        self._blocks = [_Block(block, batch, rate) for block in blocks]
        projection = backbone.projection
        dtype = self._blocks[0].bias.dtype if blocks else projection.weight.dtype
        weight = projection.weight.to(dtype, copy=True)
        self._bias: Tensor | None = None
        if isinstance(projection, nn.Linear):
            weight = weight.T.contiguous()
            self._bias = projection.bias.to(dtype, copy=True)
        self._weight = weight  # (inputs, H)
        self._norm = _prepared_norm(backbone.norm, dtype)
        self._x = weight.new_empty(batch, backbone.d_model)
        self._every_block = every_block
        self._systems = [block.systems for block in self._blocks]
        self._features = weight.new_empty(batch, backbone.d_model * len(blocks))
        self._parts = self._features.split(backbone.d_model, 1) if blocks else ()

    @torch.inference_mode()
    def step(self, patch: Tensor) -> Tensor:
        """Go on by one patch.

        Parameters
        ----------
        patch : Tensor of shape (batch, patch_width) or (batch,)
            What :meth:`S4Backbone.describe` returns of its samples, one after the other; or numbers
            of symbols.

        Returns
        -------
        Tensor of shape (batch, d_model) or (batch, n_layers * d_model)
            Features; the memory may be used again by the next call.
        """
        if self._bias is None:
            x = torch.index_select(self._weight, 0, patch, out=self._x)
        else:
            x = torch.addmm(self._bias, patch, self._weight, out=self._x)
        for block, part in zip(self._blocks, self._parts, strict=True):
            x = block.step(x)
            if self._every_block:
                part.copy_(x)
        x = self._norm(x)
        if not self._every_block:
            return x
        if self._parts:
            self._parts[-1].copy_(x)
        return self._features

    @property
    @torch.inference_mode()
    def state(self) -> tuple[Tensor, ...]:
        """Copies of the states of the layers, each ``(batch, H, N)``."""
        return tuple(systems.state for systems in self._systems)

    @state.setter
    @torch.inference_mode()
    def state(self, states: tuple[Tensor, ...]) -> None:
        for systems, state in zip(self._systems, states, strict=True):
            systems.state = state

    @torch.inference_mode()
    def reset(self) -> None:
        """Go back to the beginning of all sequences."""
        for systems in self._systems:
            systems.reset()


class StepperState(NamedTuple):
    """What a :class:`ModelStepper` remembers.

    Attributes
    ----------
    layers : tuple of Tensors of shape (batch, d_model, d_state)
        States of the blocks, and of a filter bank if there is one, after the last whole patch.
    patch : Tensor of shape (batch, patch_size, n_inputs)
        The patch that is being filled, zero after `n_pending`.
    n_pending : int
        Number of samples in it.
    pooled : Tensor of shape (batch, n)
        What the pooling remembers of the whole patches, such as a sum for the mean.
    n_steps : int
        Number of whole patches.
    lost : tuple of Tensors of shape (batch, d_model, d_state)
        What rounding has taken from each of `layers`, which compiled steps in single precision
        carry; none otherwise.
    """

    layers: tuple[Tensor, ...]
    patch: Tensor
    n_pending: int
    pooled: Tensor
    n_steps: int
    lost: tuple[Tensor, ...] = ()


class ModelStepper:
    """A model with one output for each sequence that takes samples as they come.

    At any time, the output is that of the model on everything seen so far. Long pieces are
    scanned, single samples stepped.

    Parameters
    ----------
    model : S4Model or SummaryModel
        Trained, in evaluation mode, not bidirectional. It is used for long pieces, so it must not
        be trained on.
    batch : int, default=1
        Number of sequences side by side.
    rate : float, default=1.0
        Sampling interval now over the one in training.

    Raises
    ------
    TypeError, ValueError
        If the model has a step head or is bidirectional, or the rate is not valid.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> model = nn.S4Model(1, 10, d_model=8, n_layers=2, d_state=4, patch_size=4).eval()
    >>> stepper = nn.ModelStepper(model, batch=3)
    >>> u = torch.randn(3, 27, 1)
    >>> for t in range(27):
    ...     stepper.push(u[:, t : t + 1])
    >>> torch.allclose(stepper.output(), model(u), atol=1e-5)
    True
    """

    def __init__(self, model: S4Model | SummaryModel, batch: int = 1, rate: float = 1.0) -> None:
        check_integer("batch", batch)
        check_positive("rate", rate)
        if isinstance(model, S4Model) and not isinstance(model.head, PooledHead):
            raise TypeError(
                "model must have a pooled head, got a step head. Use S4Stepper on its backbone."
            )
        self.model, self.rate, self._batch = model, rate, batch
        self._backbone = model.backbone
        self._backbone.check_rate(rate)
        self._backbone.check_has_state()
        self._reduction = model.pool
        steps = CompiledSteps if can_step(model) else _TorchSteps
        self._steps: CompiledSteps | _TorchSteps = steps(model, batch, rate)
        shape = self._backbone.patch_size, self._backbone.n_inputs
        self._no_patch = self._steps.features.new_zeros(batch, *shape)
        self._pending = self._no_patch[:, :0]  # samples that do not yet make a patch

    @property
    def n_samples(self) -> int:
        """Number of samples taken."""
        return self._steps.n_steps * self._backbone.patch_size + self._pending.shape[1]

    def push(self, u: Tensor) -> None:
        """Continue by samples ``u (batch, length, n_inputs)``, any number of them.

        Symbols have the shape ``(batch, length)``. A call that raises changes nothing.

        Raises
        ------
        ValueError
            If the shape does not fit, or a number is not that of a symbol.
        """
        self._check_input(u)
        is_short = self._backbone.patch_size == 1 and u.shape[1] < _SCAN_FROM
        if is_short and self._steps.is_atomic:
            self._steps.step(u)
        else:
            self._push(u)

    @torch.inference_mode()
    def _push(self, u: Tensor) -> None:
        """Continue by any number of samples, or go back to what was before."""
        size, pending = self._backbone.patch_size, self._pending
        if size > 1:
            u = torch.cat([pending, u.to(pending.dtype)], 1)
        n_whole = u.shape[1] // size
        whole, rest = u.split([n_whole * size, u.shape[1] - n_whole * size], 1)
        is_scan = n_whole >= _SCAN_FROM
        n_before = self._steps.n_steps
        before = self._steps.memory() if is_scan or not self._steps.is_atomic else None
        try:
            if size > 1:
                self._pending = rest.clone()
            if is_scan:
                for piece in whole.split(_AT_ONCE * size, 1):
                    self._scan(piece)
            elif n_whole:
                self._steps.step(self._patches(whole))
        except BaseException:  # also an interrupt, which would leave some layers ahead of others
            if before is not None:
                self._steps.restore(before)
            if self._steps.n_steps == n_before:
                self._pending = pending
            raise

    def _patches(self, u: Tensor) -> Tensor:
        """Return whole patches, ``(batch, n, patch_width)``; symbols as they are."""
        if u.dim() == 2:
            return u
        return self._backbone.describe(u.unflatten(1, (-1, self._backbone.patch_size)).flatten(2))

    def _check_input(self, u: Tensor) -> None:
        """Raise if the input does not fit; there may be no sample in it."""
        batch, n_inputs = self._batch, self._backbone.n_inputs
        if self._backbone.inputs == "symbols":
            if u.dim() != 2 or len(u) != batch or u.is_floating_point():
                raise ValueError(
                    f"u must hold numbers of symbols, integers of shape ({batch}, length), got "
                    f"{u.dtype} of shape {tuple(u.shape)}."
                )
            if u.numel() and not (u.min() >= 0 and u.max() < n_inputs):
                raise ValueError(
                    f"The symbols in u must be in [0, {n_inputs}), got {u.min()} to {u.max()}."
                )
            return
        shape = u.shape
        if len(shape) != 3 or shape[0] != batch or shape[2] != n_inputs:
            raise ValueError(
                f"u must have shape ({batch}, length, {n_inputs}), got {tuple(u.shape)}."
            )

    @torch.inference_mode()
    def features(self) -> Tensor:
        """Return what the head reads of everything seen, at least a sample, as a copy.

        A patch that is not whole is filled with zeros, and evaluated on a copy of the state.
        """
        with self._finished():
            return _described(self.model, self._steps, self.rate).clone()

    @torch.inference_mode()
    def read(self, features: Tensor) -> Tensor:
        """Return the output of the model for what :meth:`features` returns, ``(batch, n)``."""
        return self.model.read(features.to(self._no_patch.dtype))

    def output(self) -> Tensor:
        """Return the output of the model for everything seen, at least a sample."""
        if self._steps.is_atomic and not self._pending.shape[1]:
            return self._steps.output()
        with torch.inference_mode(), self._finished():
            return self._steps.output()

    def reset(self) -> None:
        """Go back to the beginning of all sequences."""
        self._steps.reset()
        self._pending = self._no_patch[:, :0]

    @property
    def state(self) -> StepperState:
        """A copy of all that is remembered."""
        steps, pending = self._steps, self._pending
        patch = self._no_patch.clone()
        patch[:, : pending.shape[1]] = pending
        return StepperState(
            layers=steps.states,
            patch=patch,
            n_pending=pending.shape[1],
            pooled=steps.pooled.clone(),
            n_steps=steps.n_steps,
            lost=steps.lost,
        )

    @state.setter
    @torch.inference_mode()
    def state(self, state: StepperState) -> None:
        steps = self._steps
        self._check_state(state)
        steps.load(state.layers, state.lost)
        steps.n_steps = state.n_steps
        steps.pooled = state.pooled.to(steps.pooled, copy=True)
        self._pending = state.patch[:, : state.n_pending].to(self._no_patch, copy=True)

    def _check_state(self, state: StepperState) -> None:
        """Raise ValueError if the state is that of a model or batch of other sizes."""
        steps = self._steps
        layers = [x.shape for x in steps.states]
        expected = [*layers, self._no_patch.shape, steps.pooled.shape]
        got = [*(x.shape for x in state.layers), state.patch.shape, state.pooled.shape]
        if expected != got or [x.shape for x in state.lost] not in ([], layers):
            raise ValueError(
                "The state must be of a stepper on the same model with the same batch, got the "
                f"shapes {[tuple(x) for x in got]} in place of {[tuple(x) for x in expected]}."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return an independent stepper on the same model."""
        return self.__class__._resume(self.model, self.rate, self.state)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the model and the state; the prepared operators are formed again."""
        return self.__class__._resume, (self.model, self.rate, self.state)

    @classmethod
    def _resume(cls, model: S4Model | SummaryModel, rate: float, state: StepperState) -> Self:
        stepper = cls(model, len(state.patch), rate)
        stepper.state = state
        return stepper

    @contextmanager
    def _finished(self) -> Iterator[None]:
        """Take the step of the open patch, if there is one, and take it back."""
        if not self._pending.shape[1]:
            yield
            return
        patch = self._no_patch.clone()
        patch[:, : self._pending.shape[1]] = self._pending
        before = self._steps.memory()
        try:
            self._steps.step(self._patches(patch))
            yield
        finally:
            self._steps.restore(before)

    def _scan(self, u: Tensor) -> None:
        """Move by many whole patches."""
        steps = self._steps
        states = steps.states
        if isinstance(self.model, SummaryModel):
            before = BackboneState(states[:-1], u[:, :0])
            filters = states[-1] if steps.n_steps else None
            x, (after, filters_after) = self.model.features.advance(
                u, FeatureState(before, filters), self.rate
            )
            steps.load((*cast(tuple[Tensor, ...], after.layers), cast(Tensor, filters_after)))
        else:
            x, after = self._backbone.advance(u, BackboneState(states, u[:, :0]), self.rate)
            steps.load(cast(tuple[Tensor, ...], after.layers))
        pooled = self._reduction.update(x, PoolState(steps.pooled, steps.n_steps))
        steps.pooled, steps.n_steps = cast(PoolState, pooled)


class _TorchSteps:
    """The steps of a model by operations of torch; :class:`CompiledSteps` are faster.

    Attributes
    ----------
    pooled : Tensor of shape (batch, n)
        What the reduction remembers.
    n_steps : int
        Number of patches taken.
    features : Tensor of shape (batch, n_features)
        Result of the last step.
    """

    is_atomic = False
    lost: tuple[Tensor, ...] = ()

    @torch.inference_mode()
    def __init__(self, model: S4Model | SummaryModel, batch: int, rate: float) -> None:
        self._model, self._rate = model, rate
        self._bank: _Bank | None = None
        if isinstance(model, SummaryModel):
            self._bank = _Bank(model.features.bank, batch, rate)
            n_features = model.features.n_features
        else:
            n_features = model.backbone.d_model
        self._stepper = S4Stepper(model.backbone, batch, rate, every_block=self._bank is not None)
        self._reduction = model.pool
        self.features = self._stepper._x.new_zeros(batch, n_features)
        state = self._reduction.update(self.features[:, None], None)
        pooled = cast(PoolState, state).value
        # a sum over millions of steps needs more digits than each of them
        self.pooled = torch.zeros_like(ops.wide(pooled) if self._reduction.is_sum else pooled)
        self.n_steps = 0

    def step(self, patches: Tensor) -> None:
        """Move by whole patches ``(batch, n, patch_width)``, or symbols (batch, n)."""
        for patch in patches.unbind(1):
            x = self._stepper.step(patch)
            if self._bank is not None:
                x = torch.cat([x, self._bank.step(patch, is_first=self.n_steps == 0)], 1)
            before = PoolState(self.pooled, self.n_steps)
            after = cast(PoolState, self._reduction.update(x[:, None], before))
            self.pooled, self.n_steps = after

    def output(self) -> Tensor:
        """Return the outputs of the head for what has been pooled, ``(batch, n_outputs)``."""
        described = _described(self._model, self, self._rate)
        return self._model.read(described.to(self.features.dtype))

    @property
    def states(self) -> tuple[Tensor, ...]:
        """Copies of the states of the layers and of the bank, each ``(batch, H, N)``."""
        return tuple(systems.state for systems in self._systems)

    @property
    def bank_state(self) -> Tensor:
        """The state of the bank, ``(batch, n_filters, d_state)``."""
        assert self._bank is not None
        return self._bank.systems.state

    def load(self, states: Iterable[Tensor], lost: Iterable[Tensor] = ()) -> None:
        """Set the states; what they have lost by rounding cannot be used here."""
        for systems, state in zip(self._systems, states, strict=True):
            systems.state = state

    def memory(self) -> tuple[list[Tensor], int]:
        """Return all that changes with a step; what is pooled is replaced, never changed."""
        return [self.pooled, *(x.clone() for x in self._tensors())], self.n_steps

    def restore(self, memory: tuple[list[Tensor], int]) -> None:
        """Go back to what :meth:`memory` returned."""
        (self.pooled, *tensors), self.n_steps = memory
        for x, before in zip(self._tensors(), tensors, strict=True):
            x.copy_(before)

    def _tensors(self) -> list[Tensor]:
        return [x for systems in self._systems for x in systems.memory()]

    @property
    def _systems(self) -> list[_Systems]:
        filters = [] if self._bank is None else [self._bank.systems]
        return [*self._stepper._systems, *filters]

    @torch.inference_mode()
    def reset(self) -> None:
        """Go back to the beginning of all sequences."""
        self._stepper.reset()
        if self._bank is not None:
            self._bank.systems.reset()
        self.pooled = torch.zeros_like(self.pooled)
        self.n_steps = 0


def _described(
    model: S4Model | SummaryModel, steps: CompiledSteps | _TorchSteps, rate: float
) -> Tensor:
    """Return what the head of a model reads after some steps, ``(batch, n)``."""
    pooled = model.pool.result(PoolState(steps.pooled, steps.n_steps), rate)
    if isinstance(model, S4Model) or model.recall is None:
        return pooled
    return model.beside(pooled, steps.bank_state)


def _interleaved(vector: Tensor) -> Tensor:
    """Reorder a vector in real form, from parts in halves ``(..., N)`` to parts side by side."""
    return vector.unflatten(-1, (2, -1)).mT.flatten(-2).contiguous()


def _prepared_norm(norm: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return a normalization in evaluation as one operation on ``(batch, d_model)``."""
    if isinstance(norm, NoNorm):
        return lambda x: x
    weight, bias = (cast(Tensor, p).detach().to(dtype, copy=True) for p in (norm.weight, norm.bias))
    if isinstance(norm, RealStepBatchNorm):
        mean, variance = (cast(Tensor, x).to(dtype) for x in (norm.running_mean, norm.running_var))
        scale = weight * torch.rsqrt(variance + norm.eps)
        shift = bias - mean * scale
        return lambda x: torch.addcmul(shift, x, scale)
    shape, eps = weight.shape, cast(nn.LayerNorm, norm).eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
