"""Sequences drawn by compiled code: distribution, draw and step, value after value."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sks4 import _native

from ._compiled_steps import Plan, can_plan
from ._heads import StepHead
from ._model import S4Model

_KINDS = ("categorical", "gaussian", "mixture")


def can_draw(model: nn.Module) -> bool:
    """Return whether compiled code can take the steps of a model with an output at each step."""
    return type(model) is S4Model and type(model.head) is StepHead and can_plan(model)


class CompiledDraws(Plan):
    """Continue sequences by draws from the distribution that the model gives, in one call for many.

    Parameters
    ----------
    model : S4Model
        One of which :func:`can_draw` is true. Inputs that are real values begin with those drawn
        before, and the rest is zero.
    kind : {"categorical", "gaussian", "mixture"}
        Distribution whose parameters the model gives.
    states : sequence of Tensors of shape (batch, d_model, d_state)
        States of the blocks after what the sequences begin with.
    outputs : Tensor of shape (batch, n_outputs)
        Output of the model after it.
    temperature : float
        Exponent ``1 / temperature`` of the distribution.
    top_k : int or None
        Number of most probable symbols to draw from; None for all.
    starts : Tensor of shape (n_components,) or None
        What is added to the means of the components of a mixture.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: S4Model,
        kind: str,
        states: Sequence[Tensor],
        outputs: Tensor,
        *,
        temperature: float,
        top_k: int | None = None,
        starts: Tensor | None = None,
    ) -> None:
        batch, n_outputs = outputs.shape
        super().__init__(model.backbone, None, batch, 1.0)
        self._finish([0] * 8, [0] * 6)
        self.load(states)
        n_components = 0 if starts is None else len(starts)
        self._size = n_outputs // {"categorical": 1, "gaussian": 2}.get(kind, 3 * n_components)
        is_symbols = kind == "categorical"
        shape = () if is_symbols else (self._size,)
        self._drawn_shape = (batch, *shape)
        self._drawn_dtype = torch.int64 if is_symbols else self.dtype
        input_shape = (batch,) if self.is_symbols else (batch, self.n_inputs)
        linear, n_padded = model.head.linear, self.padded(n_outputs)
        work = torch.zeros(3 * n_padded, dtype=torch.float64)
        numbers = [self.address, _KINDS.index(kind), self._size, n_components, top_k or 0]
        numbers += [self.keep(torch.tensor(temperature, dtype=torch.float64)), n_padded]
        numbers += [self.columns(linear.weight.T), self.columns(linear.bias)]
        numbers += [self.columns(outputs), 0 if starts is None else self.columns(starts)]
        numbers += [self.keep(torch.zeros(input_shape, dtype=self._drawn_dtype)), self.keep(work)]
        self._draws = np.array([*numbers, True], dtype=np.int64)

    def draw(self, noise: Iterable[Tensor]) -> Tensor:
        """Return as many values as there is noise, ``(n, batch)`` symbols or ``(n, batch, size)``.

        Parameters
        ----------
        noise : one or two Tensors of shape (n, batch, ...)
            Random numbers as the likelihood makes them.
        """
        arrays = [x.contiguous() for x in noise]
        drawn = torch.empty(len(arrays[0]), *self._drawn_shape, dtype=self._drawn_dtype)
        first, second = arrays[0].data_ptr(), arrays[-1].data_ptr()
        _native.draw(self._draws.ctypes.data, first, second, drawn.data_ptr(), len(drawn))
        return drawn
