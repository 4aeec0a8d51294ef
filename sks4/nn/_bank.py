"""A bank of random filters, which are not trained."""

from typing import Any

import torch
from torch import Tensor, nn

from sks4._validation import check_integer

from ._initial import normal
from ._layer import S4Layer


class FilterBank(nn.Module):
    r"""Diagonal state space systems with random outputs, on random combinations of the inputs.

    The feedthrough makes the steady-state response to a constant input zero,
    :math:`D = C A^{-1} B`, at any sampling rate, since the zero-order hold is exact for constants.
    The second half of the filters does not respond to ramps either, :math:`C A^{-2} B = 0`, up to
    the steps of the hold. Before its first sample, a sequence is taken to be constant. The
    filters respond to changes over :math:`1/dt` steps and less.

    As they are not trained, there can be many of them. They feed a regression on a
    :class:`Summary` of their outputs, as are the random convolutions of Rocket (Dempster et al.
    2020, arXiv:1910.13051), whose kernels have mean zero, too. Neighbors are alike in `dt`.

    Parameters
    ----------
    n_inputs : int
        Number of inputs.
    n_filters : int, default=1024
        Number of filters.
    d_state : int, default=8
        Number of real state variables of each filter, even; 4 at least, for the ramps.
    reads : Tensor of shape (n_inputs, n_filters), bool, or None, default=None
        Which inputs each filter reads, one at least; None: all.
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
    >>> y, _ = bank(torch.ones(1, 50, 2))
    >>> y.shape, bool(y.abs().max() < 1e-4)
    (torch.Size([1, 50, 5]), True)
    """

    def __init__(
        self,
        n_inputs: int,
        n_filters: int = 1024,
        d_state: int = 8,
        *,
        reads: Tensor | None = None,
        dt_min: float = 1e-2,
        dt_max: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.n_filters = check_integer("n_filters", n_filters)
        draw: dict[str, Any] = {"generator": generator, "dtype": dtype}
        mix = _draw_mix((check_integer("n_inputs", n_inputs), n_filters), reads, draw)
        self.mix: Tensor
        self.register_buffer("mix", mix / mix.norm(dim=0))
        check_integer("d_state", d_state, minimum=4)
        self.layer = S4Layer(n_filters, d_state, ssm="s4d", dt_min=dt_min, dt_max=dt_max, **draw)
        with torch.no_grad():
            for half in self.layer.log_dt.split([n_filters - n_filters // 2, n_filters // 2]):
                half.copy_(half.sort().values)
            _remove_ramps(self.layer, n_filters // 2)
            steady = _steady_state(self.layer)
            C = self.layer.step_operator().C
            self.layer.D.copy_(-(C * steady).sum(-1))
        self.steady: Tensor  # state for a constant input of one, (n_filters, d_state)
        self.register_buffer("steady", steady)
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

        See :meth:`S4Layer.forward`; without a state, a sequence starts from the steady state of its
        first sample.
        """
        with torch.autocast(u.device.type, enabled=False):  # as in the layer
            mixed = u.to(self.mix.dtype) @ self.mix
            if state is None:
                state = mixed[:, 0, :, None] * self.steady
        return self.layer(mixed, state, lengths, rate, return_state=return_state)


def _draw_mix(shape: tuple[int, int], reads: Tensor | None, draw: dict[str, Any]) -> Tensor:
    """Return random weights of the inputs of each filter, (n_inputs, n_filters)."""
    if reads is None:
        return normal(shape, **draw)
    if reads.shape != shape or not reads.any(0).all():
        raise ValueError(
            f"reads must have shape (n_inputs, n_filters) = {shape} and an input for each filter, "
            f"got shape {tuple(reads.shape)}, {int((~reads.any(0)).sum())} filters without one."
        )
    mix = torch.zeros(shape, dtype=draw["dtype"])
    mix[reads] = normal((int(reads.sum()),), **draw)
    return mix


def _steady_state(layer: S4Layer) -> Tensor:
    """Return the steady state of diagonal systems for an input of one, in real form, (H, N).

    It is :math:`-A^{-1} B`, for any step.
    """
    operator = layer.step_operator()
    minus_e = -torch.complex(*operator.e)
    state = torch.complex(*operator.B_bar.chunk(2, -1)) / minus_e
    return torch.cat([state.real, state.imag], -1)


def _remove_ramps(layer: S4Layer, n_last: int) -> None:
    """Project `C` of the last systems so that the response to a ramp is zero.

    For a ramp, the state grows along :math:`A^{-1} B` and lags by :math:`A^{-2} B`.
    """
    Lambda = torch.complex(-layer.log_decay.exp(), layer.frequency)
    lag = torch.view_as_complex(layer.B.detach().contiguous()) / Lambda**2  # (H, N/2)
    direction = torch.view_as_real(lag.conj().resolve_conj()).flatten(1)  # Re(C lag) as a product
    C = layer.C[0].flatten(1)
    share = (C * direction).sum(1) / direction.square().sum(1)
    share[: len(share) - n_last] = 0
    layer.C[0] -= (share[:, None] * direction).unflatten(1, (-1, 2))
