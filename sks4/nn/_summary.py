"""Statistics of features over a sequence: how often, how long and when they exceed limits."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ._heads import PoolState, Reduction
from ._lengths import real_steps

_FEATURES, _STEPS = 2**13, 64
"""Features of all sequences, and steps, that are summarized at once, few enough to stay in the
cache."""

_SHORTEST_RUN = 0.01
"""Share of a sequence that is added to runs before the logarithm, so short ones are alike."""

_SMALL = 1e-4
"""Added to shares before the square root, whose slope is infinite at zero."""


class _Counts(NamedTuple):
    """State of :class:`Summary`, for L limits of each of F features.

    Attributes
    ----------
    above, pairs, moments : Tensor of shape (batch, L, F)
        Number of steps above each limit; of pairs of successive ones; sum of the times of the
        steps above.
    last, run, longest : Tensor of shape (batch, L, F)
        Whether the last step was above; length of the run it ends; length of the longest run.
    largest, smallest : Tensor of shape (batch, F)
        Number of steps at which a feature is the largest, or the smallest, of its group.
    """

    above: Tensor
    pairs: Tensor
    moments: Tensor
    last: Tensor
    run: Tensor
    longest: Tensor
    largest: Tensor
    smallest: Tensor


class Summary(Reduction):
    """Summarize each feature over a sequence in a fixed number of values.

    Of each feature and limit: the share of steps above the limit (as a square root), the longest
    run above it relative to the sequence (as a logarithm), the number of upward crossings
    per step (as a square root), and when it is exceeded: the covariance of being above with time
    relative to the sequence. Of each feature, shares of the steps at which it is the largest and
    the smallest of its group of `GROUP` neighbors (as square roots).

    A step counts in part up to 0.02 above a limit, in units of the feature's scale, so that the
    summary is continuous in the features and rounding has little effect. Limits at quantiles are
    those of MiniRocket (Dempster et al. 2021, arXiv:2012.08791), longest runs and times those of
    MultiRocket (Tan et al. 2022, arXiv:2102.00457), and competing features those of Hydra
    (Dempster et al. 2023, arXiv:2203.13652).

    Parameters
    ----------
    limits : Tensor of shape (n_limits, n_features)
        Limits of each feature.
    scale : Tensor of shape (n_features,)
        Unit of each feature.
    """

    WIDTH = 0.02
    GROUP = 8

    is_sum = True

    def __init__(self, limits: Tensor, scale: Tensor) -> None:
        super().__init__()
        # a step counts in part over one unit from where it starts to count
        self.unit: Tensor
        self.start: Tensor
        self.register_buffer("unit", self.WIDTH * scale)
        self.register_buffer("start", limits / self.unit)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.unit)

    @property
    def n_outputs(self) -> int:
        """Number of values in a summary."""
        return 4 * self.start.numel() + 2 * self.n_features

    @property
    def n_timings(self) -> int:
        """Number of values about when limits are exceeded, which are the last ones."""
        return self.start.numel()

    def output_features(self) -> Tensor:
        """Return the index of the feature that each output describes, ``(n_outputs,)``."""
        features = torch.arange(self.n_features)
        n_limits = len(self.start)
        return features.repeat(3 * n_limits + 2 + n_limits)

    def beside(self, other: "Summary") -> "Summary":
        """Return the summary of the features of both, those of `other` last."""
        return _with(torch.cat([self.start, other.start], 1), torch.cat([self.unit, other.unit]))

    def of(self, features: slice) -> "Summary":
        """Return the summary of some of the features."""
        return _with(self.start[:, features], self.unit[features])

    def forward(self, x: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        """Map ``x (batch, length, n_features)`` to ``(batch, n_outputs)``."""
        if lengths is None:
            return self._describe(self._count(x, None, None, 0), x.shape[1], rate)
        counts = self._count(x, real_steps(x, lengths), None, 0)
        return self._describe(counts, lengths.to(x.dtype), rate)

    def update(self, x: Tensor, state: PoolState | None) -> PoolState | None:
        """Add the features of new steps ``x (batch, length, n_features)``, possibly none."""
        if x.shape[1] == 0:
            return state
        if state is None:
            state = PoolState(x.new_zeros(len(x), 0), 0)
        before = self._unpack(state.value) if state.n_steps else None
        counts = self._count(x.to(state.value.dtype), None, before, state.n_steps)
        value = torch.cat([part.flatten(1) for part in counts], 1)
        return PoolState(value, state.n_steps + x.shape[1])

    def result(self, state: PoolState, rate: float = 1.0) -> Tensor:
        """Return the summary of all steps so far, ``(batch, n_outputs)``."""
        return self._describe(self._unpack(state.value), state.n_steps, rate)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"n_features={self.n_features}, n_limits={len(self.start)}"

    def _unpack(self, value: Tensor) -> _Counts:
        """Return the parts of ``value (batch, n)``, as views."""
        n_limited, n_features = self.start.numel(), self.n_features
        *limited, largest, smallest = value.split([n_limited] * 6 + [n_features] * 2, 1)
        shape = self.start.shape
        return _Counts._make([*(part.unflatten(1, shape) for part in limited), largest, smallest])

    def _count(
        self, x: Tensor, real: Tensor | None, before: _Counts | None, n_before: int
    ) -> _Counts:
        """Count over all steps, a few sequences at a time."""
        if before is None:
            limited = x.new_zeros(len(x), *self.start.shape)
            group = x.new_zeros(len(x), self.n_features)
            before = _Counts._make([*[limited] * 6, group, group])
        parts, n_rows = [], max(1, round(_FEATURES / self.n_features))
        for first in range(0, len(x), n_rows):
            rows = slice(first, first + n_rows)
            counts = _Counts(*(part[rows] for part in before))
            for k in range(0, x.shape[1], _STEPS):
                steps = slice(k, k + _STEPS)
                is_real = None if real is None else real[rows, steps]
                counts = self._count_piece(x[rows, steps], is_real, counts, n_before + k)
            parts.append(counts)
        return _Counts(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _count_piece(
        self, x: Tensor, real: Tensor | None, counts: _Counts, n_before: int
    ) -> _Counts:
        """Count over few steps of few sequences; time is that of the middle of a step."""
        z = x / self.unit
        if real is not None:
            z = torch.where(real[..., None], z, -torch.inf)
        above, pairs, moments = (part.clone() for part in counts[:3])
        last, run, longest = counts[3:6]
        for t, step in enumerate(z.unbind(1)):
            on = (step[:, None] - self.start).clamp_(0, 1)  # (rows, L, F)
            above.add_(on)
            moments.add_(on, alpha=n_before + t + 0.5)
            pairs.addcmul_(on, last)
            run = torch.addcmul(on, on, run)  # (run + 1) * on
            longest = torch.maximum(longest, run)
            last = on
        largest = counts.largest + self._wins(z, real)
        smallest = counts.smallest + self._wins(-z, real)
        return _Counts(above, pairs, moments, last, run, longest, largest, smallest)

    def _wins(self, z: Tensor, real: Tensor | None) -> Tensor:
        """Return at how many steps each feature is the largest of its group, ``(rows, F)``.

        A step counts in part where the largest is close to zero, and not at all where it is zero.
        """
        missing = -self.n_features % self.GROUP
        groups = functional.pad(z, (0, missing), value=-torch.inf).unflatten(2, (-1, self.GROUP))
        largest = groups.amax(3, keepdim=True)
        strength = largest.abs().clamp(max=1)
        if real is not None:
            strength = torch.where(real[..., None, None], strength, 0)
        wins = torch.where(groups == largest, strength, 0).sum(1)
        return wins.flatten(1)[:, : self.n_features]

    def _describe(self, counts: _Counts, n_steps: int | Tensor, rate: float) -> Tensor:
        """Return the summary from counts, independent of length and rate."""
        n = n_steps[:, None] if isinstance(n_steps, Tensor) else n_steps
        above, pairs, moments, longest = (
            part.flatten(1) / n
            for part in (counts.above, counts.pairs, counts.moments, counts.longest)
        )
        wins = torch.cat([counts.largest, counts.smallest], 1) / n
        return torch.cat(
            [
                _root(above),
                (longest + _SHORTEST_RUN).log(),
                _root((above - pairs) / rate),
                _root(wins),
                moments / n - above / 2,
            ],
            1,
        )


def _with(start: Tensor, unit: Tensor) -> Summary:
    """Return a summary with these buffers, to the last digit."""
    summary = Summary(start, unit)
    summary.load_state_dict({"start": start, "unit": unit})
    return summary


def _root(share: Tensor) -> Tensor:
    return (share.clamp(min=0) + _SMALL).sqrt()
