"""The S4 layer: independent state space systems, one a feature."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sks4 import ssm as ops
from sks4._compat import n_changes_of
from sks4._validation import check_choice, check_integer, check_positive

from ._cache import OperatorCache
from ._initial import normal, uniform
from ._lengths import check_lengths
from ._systems import Systems

ALGORITHMS = ("auto", "recurrence", "scan", "convolution")

_SHORT = 128
"""Samples up to which the convolution is faster than the scan, see benchmarks/bench_layer.py."""


class S4Layer(nn.Module):
    r"""One single-input single-output state space system per feature.

    While training, the operators are formed from the parameters at every call. In evaluation,
    without gradients for the parameters, they are kept until a parameter, the rate or the chunk
    length changes.

    Parameters
    ----------
    d_model : int
        Number of features H.
    d_state : int, default=64
        Number of real state variables N of each system, even.
    ssm : {"s4", "s4d"}, default="s4"
        Diagonal plus low-rank, or diagonal.
    init : str, default="legs"
        ``"legs"``, ``"legt"`` or ``"fout"`` for s4; ``"legs"``, ``"lin"`` or ``"inv"`` for s4d.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range of the steps, drawn log-uniformly; a feature remembers about ``1/dt`` samples.
    bidirectional : bool, default=False
        Add the output of the same system, with an output vector of its own, over the reversed
        sequence.
    discretization : {"auto", "bilinear", "zoh"}, default="auto"
        ``"auto"`` is bilinear for s4, which has no other rule, and zero-order hold for s4d.
    bandlimit : float or None, default=None
        Modes whose frequency is above this share of half the present sampling rate give no output;
        1 leaves out those that would alias. Only for the zero-order hold: modes of the bilinear
        rule never alias.
    algorithm : {"auto", "recurrence", "scan", "convolution"}, default="auto"
        How a whole sequence is computed; the result is the same to rounding. The recurrence is
        compiled code for CPUs (see :func:`sks4.show_versions` for whether it is installed); where
        it cannot work, the scan runs. The convolution (generating function or Vandermonde kernel,
        and FFT) neither takes nor gives a state: where one is passed or wanted, the scan runs.
        ``"auto"`` is the fastest in ``benchmarks/bench_layer.py``: the recurrence where it can
        work, except for large batches of few features, and while training s4 on large batches;
        otherwise the convolution for sequences of at most 128 samples while the operators change
        from call to call, and the scan for all others.
    generator : torch.Generator or None, default=None
        Source of the initial weights; None for torch's global one.
    dtype : torch.dtype or None, default=None
        Dtype of the weights; None for the default one.

    Raises
    ------
    TypeError, ValueError
        If a size, a name, a pair of names or the range of steps is not valid.

    References
    ----------
    Gu, Goel, Ré 2022 (arXiv:2111.00396); Gu et al. 2022, S4D (arXiv:2206.11893); Nguyen et al.
    2022, S4ND (arXiv:2210.06583), for the limit of the band.

    Examples
    --------
    >>> import torch
    >>> from sks4 import nn
    >>> layer = nn.S4Layer(4, d_state=8)
    >>> y, state = layer(torch.randn(2, 100, 4))
    >>> y.shape, state.shape
    (torch.Size([2, 100, 4]), torch.Size([2, 4, 8]))
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        ssm: str = "s4",
        init: str = "legs",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
        *,
        discretization: str = "auto",
        bandlimit: float | None = None,
        algorithm: str = "auto",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.d_model = check_integer("d_model", d_model)
        self.d_state = ops.check_state_size(d_state, "d_state")
        self.bidirectional = bool(bidirectional)
        Lambda, P, B = ops.initial_system(ssm, init, d_state)
        self.ssm, self.init = ssm, init
        self.discretization = _check_rule(ssm, discretization)
        self.bandlimit = _check_bandlimit(bandlimit, self.discretization)
        self.algorithm = check_choice("algorithm", algorithm, ALGORITHMS)
        dt_range = _check_range(dt_min, dt_max)
        draw: dict[str, Any] = {"generator": generator, "dtype": dtype}
        self.log_dt = nn.Parameter(uniform((d_model,), *map(math.log, dt_range), **draw))
        # The trained real part is -exp(.), so it starts at least a little below zero.
        self.log_decay = nn.Parameter(_copies((-Lambda.real).clamp(min=1e-4).log(), d_model, dtype))
        self.frequency = nn.Parameter(_copies(Lambda.imag, d_model, dtype))
        self.P = nn.Parameter(_copies(torch.view_as_real(P.resolve_conj()), d_model, dtype))
        self.B = nn.Parameter(_copies(torch.view_as_real(B.resolve_conj()), d_model, dtype))
        # complex standard normal: variance 1/2 in each part
        shape = (2 if bidirectional else 1, d_model, d_state // 2, 2)
        self.C = nn.Parameter(normal(shape, std=math.sqrt(0.5), **draw))
        self.D = nn.Parameter(normal((d_model,), **draw))
        self._cache = OperatorCache()

    def forward(
        self,
        u: Tensor,
        state: Tensor | None = None,
        lengths: Tensor | None = None,
        rate: float = 1.0,
        *,
        return_state: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the systems over a batch of sequences.

        Parameters
        ----------
        u : Tensor of shape (batch, length, d_model)
            Input.
        state : Tensor of shape (batch, d_model, d_state), optional
            State before the first sample, in real form; zero if omitted.
        lengths : LongTensor of shape (batch,), optional
            Number of real samples of each sequence; all of them if omitted.
        rate : float, default=1.0
            Sampling interval now over the one in training.
        return_state : bool, default=True
            Whether the final state is wanted; training is a little faster without.

        Returns
        -------
        y : Tensor of shape (batch, length, d_model)
            Output; after the end of a sequence it has no meaning.
        state : Tensor of shape (batch, d_model, d_state) or None
            State after each sequence's own last sample; None if bidirectional or not wanted.

        Raises
        ------
        ValueError
            If a shape, a length or the rate is not valid, or a state meets a bidirectional layer.
        """
        self._check_input(u, state, lengths)
        rate = check_positive("rate", rate)
        if return_state and not self.bidirectional and u.shape[1] == 1:
            y, state = self._step(u[:, 0], state, rate)
            return y[:, None], state
        with torch.autocast(u.device.type, enabled=False):
            y, last = self._runner()(u.to(self._dtype), state, lengths, rate, return_state)
        return y.to(u.dtype), last

    def step(
        self, u: Tensor, state: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Move the systems by one sample.

        Parameters
        ----------
        u : Tensor of shape (batch, d_model)
            Input.
        state : Tensor of shape (batch, d_model, d_state), optional
            State before the sample; zero if omitted.
        rate : float, default=1.0
            Sampling interval now over the one in training.

        Returns
        -------
        y : Tensor of shape (batch, d_model)
            Output.
        state : Tensor of shape (batch, d_model, d_state)
            State after the sample.

        Raises
        ------
        ValueError
            If a shape or the rate is not valid, or the layer is bidirectional.
        """
        if u.dim() != 2:
            raise ValueError(f"u must have shape (batch, {self.d_model}), got {tuple(u.shape)}.")
        self.check_has_state()
        self._check_input(u[:, None], state, None)
        return self._step(u, state, check_positive("rate", rate))

    def _step(self, u: Tensor, state: Tensor | None, rate: float) -> tuple[Tensor, Tensor]:
        if state is None:
            state = torch.zeros(*u.shape, self.d_state, dtype=self._dtype, device=u.device)
        with torch.autocast(u.device.type, enabled=False):
            y, state = ops.step(u.to(self._dtype), state, self.step_operator(rate))
        return y.to(u.dtype), state

    def step_operator(self, rate: float = 1.0) -> ops.StepOperator:
        """Return the systems over one sample, kept in evaluation like all operators.

        Parameters
        ----------
        rate : float, default=1.0
            Sampling interval now over the one in training.

        Returns
        -------
        StepOperator
            In the layer's dtype.
        """
        return self._keep(
            ("step", rate),
            lambda: self._systems().step_operators(rate, self._dtype)[0],
        )

    def exact_step_operator(self, rate: float = 1.0) -> ops.StepOperator:
        """Return the systems over one sample in double precision; see :meth:`step_operator`."""
        return self._exact_operators(rate)[0]

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """Return the convolution kernel, without the feedthrough `D`.

        Parameters
        ----------
        length : int
            Number of entries.
        rate : float, default=1.0
            Sampling interval now over the one in training.

        Returns
        -------
        Tensor of shape (d_model, length)
            Kernel; ``(2, d_model, length)`` if bidirectional, the second one runs back in time.
        """
        kernels = self._systems().kernels(length, check_positive("rate", rate))
        return kernels if self.bidirectional else kernels[0]

    def ssm_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of `A`, `B` and `dt`, which are trained at a rate of their own."""
        return [self.log_dt, self.log_decay, self.frequency, self.P, self.B]

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return (
            f"{self.d_model}, d_state={self.d_state}, ssm={self.ssm!r}, init={self.init!r}, "
            f"bidirectional={self.bidirectional}"
        )

    # -- how a sequence is computed

    def _runner(self) -> Callable[..., tuple[Tensor, Tensor | None]]:
        """Return :meth:`_run`, left as it is in a model that is compiled.

        Compiled it would be slower: nearly all of it are matrix products with their own backward
        pass, and unrolling the loop over the chunks takes minutes.
        """
        # not as a decorator, which would load the compiler with this module
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(self._run)
        return self._run

    def _run(
        self,
        u: Tensor,
        state: Tensor | None,
        lengths: Tensor | None,
        rate: float,
        return_state: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute all directions of a valid input in the layer's own dtype."""
        return_state = return_state and not self.bidirectional
        if self._recurs(u, state, lengths):
            outputs, last = self._recur(u, state, lengths, rate)
        elif state is None and not return_state and self._convolves(u.shape[1]):
            outputs, last = self._convolve(u, lengths, rate), None
        else:
            outputs, last = self._scan(u, state, lengths, rate, return_state)
        return sum(outputs[1:], outputs[0]), last if return_state else None

    def _recurs(self, u: Tensor, state: Tensor | None, lengths: Tensor | None) -> bool:
        """Return whether compiled code computes a sequence."""
        if self.algorithm not in ("auto", "recurrence"):
            return False
        if not ops.can_run(u, state, lengths, *self.parameters()):
            return False
        if self.algorithm == "recurrence":
            return True
        trains = torch.is_grad_enabled() and self.D.requires_grad
        return ops.recurrence_pays(u, self.d_state, self.P.shape[1], trains=trains)

    def _recur(
        self, u: Tensor, state: Tensor | None, lengths: Tensor | None, rate: float
    ) -> tuple[list[Tensor], Tensor]:
        """Return the output of each direction, and the state after the first."""
        operators = self._exact_operators(rate)
        y, last = ops.recurrence(u, operators[0], state, lengths)
        back = [ops.recurrence(u, o, None, lengths, reverse=True)[0] for o in operators[1:]]
        return [y, *back], last

    def _convolve(self, u: Tensor, lengths: Tensor | None, rate: float) -> list[Tensor]:
        """Return the output of each direction."""
        length = u.shape[1]
        kernels = self._keep(
            ("kernel", length, rate), lambda: self._systems().kernels(length, rate)
        )
        outputs = [ops.fft_conv(u.mT, kernels[0]).mT + self.D * u]
        if self.bidirectional:
            back = ops.fft_conv(ops.reverse_sequences(u, lengths).mT, kernels[1]).mT
            outputs.append(ops.reverse_sequences(back, lengths))
        return outputs

    def _scan(
        self,
        u: Tensor,
        state: Tensor | None,
        lengths: Tensor | None,
        rate: float,
        return_state: bool,
    ) -> tuple[list[Tensor], Tensor | None]:
        """Return the output of each direction, and the state after the first if it is wanted."""
        keeps = self._keeps_operators()
        b = ops.fit_chunk(u.shape[1]) if keeps else ops.economic_chunk(*u.shape[:2])
        operators = self._keep(
            ("scan", b, rate),  # kept once, for passes with and without a final state
            lambda: self._systems().chunk_operators(b, rate, with_powers=keeps or return_state),
        )
        y, last = ops.scan(u, operators[0], state=state, lengths=lengths, return_state=return_state)
        outputs = [y]
        if self.bidirectional:
            reversed_u = ops.reverse_sequences(u, lengths)
            back, _ = ops.scan(reversed_u, operators[1], return_state=False)
            outputs.append(ops.reverse_sequences(back, lengths))
        return outputs, last

    def _convolves(self, length: int) -> bool:
        """Return whether a sequence is convolved, if no state is involved."""
        if self.algorithm != "auto":
            return self.algorithm == "convolution"
        # exported, there is no complex number
        formed_anew = not (self._keeps_operators() or torch.compiler.is_compiling())
        return formed_anew and length <= _SHORT

    # -- parameters to operators

    def _exact_operators(self, rate: float) -> list[ops.StepOperator]:
        """Return the systems over one sample in double precision, of each direction."""
        return self._keep(
            ("recurrence", rate), lambda: self._systems().step_operators(rate, torch.float64)
        )

    @property
    def _dtype(self) -> torch.dtype:
        """Dtype of the computation: single precision unless the parameters are double."""
        return torch.promote_types(self.D.dtype, torch.float32)

    def _systems(self) -> Systems:
        """Return the parameters as they are now."""
        return Systems(
            *(self.log_dt, self.log_decay, self.frequency, self.P, self.B, self.C, self.D),
            low_rank=self.ssm == "s4",
            discretization=self.discretization,
            bandlimit=self.bandlimit,
        )

    def _keeps_operators(self) -> bool:
        """Return whether operators outlive a call: in evaluation, parameters without gradients."""
        if self.training or torch.compiler.is_compiling():
            return False
        parameters = list(self.parameters())
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            return False
        return not any(p.is_inference() for p in parameters)  # which have no version to compare

    def _keep(self, key: tuple[Any, ...], build: Callable[[], Any]) -> Any:
        """Return ``build()``, kept in evaluation until a parameter changes."""
        if not self._keeps_operators():
            return build()
        now = tuple((p.data_ptr(), n_changes_of(p), p.dtype) for p in self.parameters())

        def build_plain() -> Any:
            # as plain tensors, which may later meet an input that requires gradients
            with torch.inference_mode(False), torch.no_grad():
                return build()

        return self._cache.get(key, now, build_plain)

    # -- checks

    def check_has_state(self) -> None:
        """Raise if the layer has no state to take or give."""
        if self.bidirectional:
            raise ValueError(
                "A bidirectional layer has no state, because its output depends on the whole "
                "sequence. Use bidirectional=False to step, stream or hand a state on."
            )

    def _check_input(self, u: Tensor, state: Tensor | None, lengths: Tensor | None) -> None:
        """Raise if the operands of a pass do not fit."""
        if u.dim() != 3 or u.shape[2] != self.d_model or u.shape[1] == 0:
            raise ValueError(
                f"u must have shape (batch, length, {self.d_model}) and at least one sample, "
                f"got {tuple(u.shape)}."
            )
        if state is not None:
            self.check_has_state()
            ops.check_state(state, (u.shape[0], self.d_model, self.d_state))
        if lengths is not None:
            check_lengths(lengths, u)


def _copies(x: Tensor, d_model: int, dtype: torch.dtype | None) -> Tensor:
    """Return one copy of `x` a feature, in `dtype` or the default one."""
    return x.to(torch.get_default_dtype() if dtype is None else dtype).repeat(
        d_model, *[1] * x.dim()
    )


def _check_rule(ssm: str, discretization: str) -> str:
    """Return the discretization rule of a system."""
    check_choice("discretization", discretization, ("auto", *ops.DISCRETIZATIONS))
    if ssm == "s4":
        return check_choice(
            'discretization of ssm="s4"',
            "bilinear" if discretization == "auto" else discretization,
            ("bilinear",),
        )
    return "zoh" if discretization == "auto" else discretization


def _check_bandlimit(bandlimit: float | None, discretization: str) -> float | None:
    """Return the limit of the band if there can be one."""
    if bandlimit is None:
        return None
    if discretization == "bilinear":
        raise ValueError(
            f"bandlimit must be None with the bilinear rule, whose modes never alias, got "
            f'{bandlimit}. Use ssm="s4d", which is discretized by zero-order hold.'
        )
    return check_positive("bandlimit", bandlimit)


def _check_range(dt_min: float, dt_max: float) -> tuple[float, float]:
    """Return the range of steps if it is one."""
    low, high = check_positive("dt_min", dt_min), check_positive("dt_max", dt_max)
    if low > high:
        raise ValueError(f"dt_min must not exceed dt_max, got {low} and {high}.")
    return low, high
