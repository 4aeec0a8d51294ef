"""A bank of filters that are drawn, not trained: more views of the input than training finds."""

from typing import Any

import torch
from torch import Tensor, nn

from sks4._validation import check_integer

from ._initial import normal
from ._layer import S4Layer


class FilterBank(nn.Module):
    r"""Diagonal state space systems with random outputs, on random combinations of the inputs.

    Their feedthrough is such that a constant input gives nothing in the end,
    :math:`D = C A^{-1} B`, at any sampling rate, since the zero-order hold is exact for constants.
    What is left are changes over :math:`1/dt` steps and less. Without a gradient to follow, there
    can be many: they are for a regression on a :class:`Summary` of their outputs, as are the
    random convolutions of Rocket (Dempster et al. 2020, arXiv:1910.13051), whose kernels have
    mean zero, too.

    Parameters
    ----------
    n_inputs : int
        Number of inputs.
    n_filters : int, default=256
        Number of filters.
    d_state : int, default=8
        Number of real state variables of each filter, even.
    dt_min, dt_max : float, default=1e-2, 1.0
        Range of the steps of the filters, drawn log-uniformly.
    generator : torch.Generator or None, default=None
        Source of the filters; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the filters; None for the default one.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> bank = nn.FilterBank(2, n_filters=5)
    >>> y, _ = bank(torch.ones(1, 5000, 2))
    >>> y.shape, bool(y[:, -1].abs().max() < 1e-4)
    (torch.Size([1, 5000, 5]), True)
    """

    def __init__(
        self,
        n_inputs: int,
        n_filters: int = 256,
        d_state: int = 8,
        *,
        dt_min: float = 1e-2,
        dt_max: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.n_filters = check_integer("n_filters", n_filters)
        draw: dict[str, Any] = {"generator": generator, "dtype": dtype}
        mix = normal((check_integer("n_inputs", n_inputs), n_filters), **draw)
        self.mix: Tensor
        self.register_buffer("mix", mix / mix.norm(dim=0))
        self.layer = S4Layer(n_filters, d_state, ssm="s4d", dt_min=dt_min, dt_max=dt_max, **draw)
        with torch.no_grad():
            self.layer.D.copy_(-_response_to_constant(self.layer))
        self.requires_grad_(False)

    def forward(
        self,
        u: Tensor,
        state: Tensor | None = None,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        *,
        return_state: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Map ``u (batch, length, n_inputs)`` to ``(batch, length, n_filters)``.

        See :meth:`S4Layer.forward`.
        """
        with torch.autocast(u.device.type, enabled=False):  # as in the layer
            mixed = u.to(self.mix.dtype) @ self.mix
        return self.layer(mixed, state, lengths, rate, return_state=return_state)


def _response_to_constant(layer: S4Layer) -> Tensor:
    """Return what diagonal systems give in the end for an input of one, without ``D``, (H,)."""
    operator = layer.step_operator()
    minus_e = -torch.complex(*operator.e)
    state = torch.complex(*operator.B_bar.chunk(2, -1)) / minus_e
    return (operator.C * torch.cat([state.real, state.imag], -1)).sum(-1)
