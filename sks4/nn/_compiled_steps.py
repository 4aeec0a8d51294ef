"""Models prepared for compiled steps: their numbers in the layout of ``step.h``."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sks4 import _native
from sks4 import ssm as ops

from ._backbone import S4Backbone
from ._bank import FilterBank
from ._block import NoNorm, RealStepBatchNorm, S4Block, StepNorm
from ._heads import PooledHead, Pooling
from ._layer import S4Layer
from ._model import S4Model
from ._summary import Summary
from ._summary_model import SummaryModel

_GROUP_BYTES = 64
_MAX_RANK = 2
_NO_NORM, _LAYER_NORM, _AFFINE_NORM = range(3)
_POOLS = {"mean": 1, "last": 2, "max": 3}
_SUMMARY = 4


def can_step(model: nn.Module) -> bool:
    """Return whether compiled code can take the steps of a model with one output a sequence."""
    if type(model) not in (S4Model, SummaryModel):
        return False
    model = cast(S4Model | SummaryModel, model)
    if isinstance(model, S4Model) and type(model.head) is not PooledHead:
        return False
    if isinstance(model, SummaryModel) and model.backbone.inputs == "symbols":
        return False
    linear = model.linear if isinstance(model, SummaryModel) else model.head.linear
    has_head = type(model.pool) in (Pooling, Summary) and type(linear) is nn.Linear
    return has_head and can_plan(model)


def can_plan(model: nn.Module) -> bool:
    """Return whether numbers of a model are such that compiled code can compute with them."""
    if not _native.is_available():
        return False
    tensors = list(model.state_dict().values())
    dtypes = {x.dtype for x in tensors if x.is_floating_point()}
    layers = [module for module in model.modules() if isinstance(module, S4Layer)]
    return (
        len(dtypes) == 1
        and dtypes <= {torch.float32, torch.float64}
        and all(x.device.type == "cpu" for x in tensors)
        and all(layer.ssm == "s4d" or layer.P.shape[1] <= _MAX_RANK for layer in layers)
    )


class Plan:
    """A backbone in the layout of ``step.h``, and the memory of its states.

    Parameters
    ----------
    backbone : S4Backbone
        Of real numbers or symbols, not bidirectional.
    bank : FilterBank or None
        Filters beside it, with which the features of all blocks count.
    batch : int
        Number of sequences side by side.
    rate : float
        Sampling interval now over the one in training.

    Attributes
    ----------
    dtype : torch.dtype
        Type of the computation.
    features : Tensor of shape (batch, n_features)
        Result of the last step.
    """

    def __init__(
        self, backbone: S4Backbone, bank: FilterBank | None, batch: int, rate: float
    ) -> None:
        self.batch, self.dtype = batch, backbone.projection.weight.dtype
        self._rate = rate
        self._lanes = _GROUP_BYTES // self.dtype.itemsize
        self._kept: list[Tensor | np.ndarray] = []  # alive as long as the plan has the address
        self.is_symbols = backbone.inputs == "symbols"
        self.n_inputs = backbone.patch_width
        blocks = cast(list[S4Block], list(backbone.blocks))
        H, H_p = backbone.d_model, self.padded(backbone.d_model)
        F = 0 if bank is None else bank.n_filters
        self._systems: list[_Systems] = []
        records = np.array([x for block in blocks for x in self._block(block)], dtype=np.int64)
        self._kept.append(records)
        self._numbers = [self.dtype == torch.float64, batch, self.is_symbols, self.n_inputs]
        self._numbers += [H, H_p, len(blocks), bool(blocks) and blocks[0].prenorm, bank is not None]
        self._numbers += [*self._projection(backbone.projection), records.ctypes.data]
        self._numbers += [*self._norm(backbone.norm), F, self.padded(F), *self._bank(bank)]
        n_features = H if bank is None else H * len(blocks) + F
        self.features = torch.zeros(batch, n_features, dtype=self.dtype)
        self._numbers += [n_features, self.keep(self.features)]
        self._work = torch.zeros(batch * (5 * H_p + 2 * self.padded(F)), dtype=self.dtype)

    def _finish(self, pool: list[int], head: list[int]) -> None:
        """Add pooling and head, and fix the address."""
        numbers = [*self._numbers, *pool, *head, 0, self.keep(self._work)]
        self._plan = np.array(numbers, dtype=np.int64)
        self.address = self._plan.ctypes.data

    @property
    def states(self) -> tuple[Tensor, ...]:
        """Copies of the states of the layers and of the bank, each ``(batch, H, N)``."""
        return tuple(systems.parts(0) for systems in self._systems)

    @property
    def lost(self) -> tuple[Tensor, ...]:
        """Copies of what rounding has taken from the states, as they are; none in float64."""
        has_lost = self.dtype == torch.float32
        return tuple(systems.parts(2) for systems in self._systems) if has_lost else ()

    def load(self, states: Iterable[Tensor], lost: Iterable[Tensor] = ()) -> None:
        """Set the states, and what rounding has taken from them."""
        for systems, state, rest in zip_longest(self._systems, states, lost):
            systems.state.copy_(systems.state_of(state, rest))
        _native.refresh(self.address)

    # -- numbers of the plan, in the order of their structures

    def keep(self, array: Tensor) -> int:
        """Return the address of an array, which stays alive."""
        array = array.contiguous()
        self._kept.append(array)
        return array.data_ptr()

    def padded(self, n: int) -> int:
        return -(-n // self._lanes) * self._lanes

    def columns(self, matrix: Tensor) -> int:
        """Return the address of a copy whose last axis fills whole groups."""
        n = matrix.shape[-1]
        return self.keep(functional.pad(matrix.to(self.dtype), (0, self.padded(n) - n)).clone())

    def _new_systems(self, layer: S4Layer) -> list[int]:
        operator = layer.exact_step_operator(self._rate)
        systems = _Systems(operator, self.batch, self.dtype)
        self._systems.append(systems)
        n_groups = len(systems.parameters)
        addresses = [self.keep(systems.parameters), self.keep(systems.state)]
        return [n_groups, systems.n_modes, systems.rank, *addresses]

    def _projection(self, projection: nn.Linear | nn.Embedding) -> list[int]:
        if isinstance(projection, nn.Embedding):
            return [self.columns(projection.weight), 0]
        return [self.columns(projection.weight.T), self.columns(projection.bias)]

    def _bank(self, bank: FilterBank | None) -> list[int]:
        if bank is None:
            return [0] * 7
        mix, record = self.columns(bank.mix), self._new_systems(bank.layer)
        steady = self._systems[-1].state_of(bank.steady[None])
        return [mix, self.keep(steady), *record]

    def _norm(self, norm: nn.Module) -> list[int]:
        if isinstance(norm, NoNorm):
            return [_NO_NORM, 0, 0, 0]
        norm = cast(StepNorm | RealStepBatchNorm, norm)
        weight: Tensor = norm.weight
        bias: Tensor = norm.bias
        kind = _LAYER_NORM
        if isinstance(norm, RealStepBatchNorm):
            kind = _AFFINE_NORM
            weight = weight * torch.rsqrt(cast(Tensor, norm.running_var) + norm.eps)
            bias = bias - cast(Tensor, norm.running_mean) * weight
        eps = self.keep(torch.tensor(norm.eps, dtype=torch.float64))
        return [kind, self.columns(weight), self.columns(bias), eps]

    def _block(self, block: S4Block) -> list[int]:
        halves = block.gate.weight.unflatten(0, (2, -1)).permute(2, 0, 1)  # (H, 2, H)
        bias = block.gate.bias.unflatten(0, (2, -1))
        systems = self._new_systems(block.layer)
        return [*systems, *self._norm(block.norm), self.columns(halves), self.columns(bias)]


class CompiledSteps(Plan):
    """The steps of a model in one call each, beside ``_TorchSteps``, which has the same methods.

    A call is atomic: an interrupt comes before or after it.

    Parameters
    ----------
    model : S4Model or SummaryModel
        One of which :func:`can_step` is true.
    batch : int
        Number of sequences side by side.
    rate : float
        Sampling interval now over the one in training.
    """

    is_atomic = True

    @torch.inference_mode()
    def __init__(self, model: S4Model | SummaryModel, batch: int, rate: float) -> None:
        bank = model.features.bank if isinstance(model, SummaryModel) else None
        super().__init__(model.backbone, bank, batch, rate)
        head = model.linear if isinstance(model, SummaryModel) else model.head.linear
        linear = cast(nn.Linear, head)
        weight = linear.weight.detach()
        self._recall = model.recall if isinstance(model, SummaryModel) else None
        if self._recall is not None:  # compiled code reads what is pooled
            n_pooled = weight.shape[1] - self._recall.n_outputs
            weight, self._recall_weight = weight.tensor_split([n_pooled], 1)
        self._finish(self._pool(model.pool), self._head(weight, linear.bias.detach()))

    @property
    def n_steps(self) -> int:
        """Number of patches taken."""
        return int(self._plan[-2])

    @n_steps.setter
    def n_steps(self, n_steps: int) -> None:
        self._plan[-2] = n_steps

    def step(self, patches: Tensor) -> None:
        """Move by whole patches ``(batch, n, patch_width)``, or symbols (batch, n)."""
        if self.is_symbols:
            patches = patches.long()
        elif patches.dtype != self.dtype:
            patches = patches.to(self.dtype)
        patches = patches.contiguous()
        n = patches.shape[1]
        stride = n if self.is_symbols else n * self.n_inputs
        _native.step(self.address, patches.data_ptr(), n, stride)

    def output(self) -> Tensor:
        """Return the outputs of the head for what has been pooled, ``(batch, n_outputs)``."""
        _native.read(self.address)
        if self._recall is None:
            return self._outputs.clone()
        return torch.addmm(self._outputs, self._recall(self.bank_state), self._recall_weight.T)

    @property
    def bank_state(self) -> Tensor:
        """A copy of the state of the bank, ``(batch, n_filters, d_state)``."""
        return self._systems[-1].parts(0)

    @property
    def pooled(self) -> Tensor:
        """What the reduction remembers of all steps, ``(batch, n)``."""
        _native.flush(self.address)
        return self._pooled

    @pooled.setter
    def pooled(self, pooled: Tensor) -> None:
        _native.flush(self.address)
        self._pooled.copy_(pooled)

    def memory(self) -> tuple[list[Tensor], int]:
        """Return a copy of all that changes with a step."""
        return [x.clone() for x in self._tensors()], self.n_steps

    def restore(self, memory: tuple[list[Tensor], int]) -> None:
        """Go back to what :meth:`memory` returned."""
        for x, before in zip(self._tensors(), memory[0], strict=True):
            x.copy_(before)
        self.n_steps = memory[1]

    def _tensors(self) -> list[Tensor]:
        return [self.pooled, *(systems.state for systems in self._systems)]

    @torch.inference_mode()
    def reset(self) -> None:
        """Go back to the beginning of all sequences."""
        for systems in self._systems:
            systems.state.zero_()
        self.pooled.zero_()
        self.n_steps = 0

    def _pool(self, pool: nn.Module) -> list[int]:
        rate_at = self.keep(torch.tensor(self._rate, dtype=torch.float64))
        n_features = self.features.shape[1]
        if isinstance(pool, Summary):
            shape = self.batch, 6 * pool.start.numel() + 2 * n_features
            self._pooled = torch.zeros(shape, dtype=torch.float64)
            recent = torch.zeros(_native.RECENT, *self.features.shape, dtype=self.dtype)
            start, unit = (self.keep(x.double()) for x in (pool.start, pool.unit))
            numbers = [_SUMMARY, self.keep(self._pooled), len(pool.start), start, unit, rate_at]
            return [*numbers, self.keep(recent), 0]
        pooling = cast(Pooling, pool).pooling
        dtype = torch.float64 if pooling == "mean" else self.dtype
        self._pooled = torch.zeros(self.batch, n_features, dtype=dtype)
        return [_POOLS[pooling], self.keep(self._pooled), 0, 0, 0, rate_at, 0, 0]

    def _head(self, weight: Tensor, bias: Tensor) -> list[int]:
        n_outputs, n_read = weight.shape
        read = torch.zeros(self.batch, n_read, dtype=self.dtype)
        self._outputs = torch.zeros(self.batch, n_outputs, dtype=self.dtype)
        weights = [self.keep(x) for x in (weight, bias)]
        return [n_read, self.keep(read), n_outputs, *weights, self.keep(self._outputs)]


class _Systems:
    """The systems of one layer in groups of features, and their state; see ``step.h``."""

    def __init__(self, operator: ops.StepOperator, batch: int, dtype: torch.dtype) -> None:
        H, self.rank, N = operator.q.shape
        self.n_features, self.n_modes = H, N // 2
        self.lanes = _GROUP_BYTES // dtype.itemsize
        is_single = dtype == torch.float32
        self.n_parts = 4 if is_single else 2
        fields = [*operator.e]
        for vector in (operator.B_bar, operator.C):
            fields += vector.chunk(2, -1)
        if is_single and self.rank == 0:
            fields += [e - e.to(dtype).double() for e in operator.e]
        for q, r in zip(operator.q.unbind(1), operator.r.unbind(1), strict=True):
            fields += [*q.chunk(2, -1), *r.chunk(2, -1)]
        modes = torch.stack(fields, -1).flatten(1)  # (H, N/2 * fields)
        rows = torch.cat([operator.D[:, None], modes], 1).to(dtype)
        self.parameters = self._grouped(rows)  # (groups, fields, lanes)
        size = self.rank + self.n_modes * self.n_parts
        self.state = torch.zeros(len(self.parameters), batch, size, self.lanes, dtype=dtype)

    def _grouped(self, rows: Tensor) -> Tensor:
        """Return ``rows (..., H, n)`` as ``(groups, ..., n, lanes)``, filled with zeros."""
        missing = -self.n_features % self.lanes
        groups = functional.pad(rows, (0, 0, 0, missing)).unflatten(-2, (-1, self.lanes)).mT
        return groups.movedim(-3, 0).contiguous()

    def state_of(self, state: Tensor, lost: Tensor | None = None) -> Tensor:
        """Return a state in real form, ``(batch, H, N)``, and what it has lost, in groups."""
        given = [state] if lost is None or self.n_parts == 2 else [state, lost]
        parts = [x.to(self.state.dtype).unflatten(-1, (2, -1)).mT for x in given]
        modes = torch.cat(parts, -1)  # (batch, H, N/2, 2 or 4)
        modes = functional.pad(modes, (0, self.n_parts - modes.shape[-1])).flatten(2)
        return self._grouped(functional.pad(modes, (self.rank, 0)))

    def parts(self, first: int) -> Tensor:
        """Return a copy of two parts of the state in real form, ``(batch, H, N)``."""
        modes = self.state[:, :, self.rank :].unflatten(2, (-1, self.n_parts))
        modes = modes[:, :, :, first : first + 2]
        features = modes.permute(1, 0, 4, 3, 2).flatten(1, 2)  # (batch, H and more, 2, N/2)
        return features[:, : self.n_features].flatten(2).clone()
