"""Progress of a training run, and the learning rate that follows from it."""

import math
import time
from collections.abc import Callable
from typing import Any

from skorch.callbacks import Callback

# Share of a run in which the learning rate rises.
_WARMUP = 0.05


class Budget:
    """The length of a training run, in steps and perhaps in seconds.

    Parameters
    ----------
    n_steps : int
        Optimizer steps planned.
    max_time : float or None, default=None
        Seconds after which training ends, counted from here; ``None`` sets no limit.
    clock : callable, default=time.monotonic
        Returns the time in seconds.
    """

    def __init__(
        self,
        n_steps: int,
        max_time: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_steps = n_steps
        self.max_time = max_time
        self._clock = clock
        self._start = clock()
        self._steps = 0

    def step(self) -> None:
        """Count one optimizer step."""
        self._steps += 1

    @property
    def time_is_up(self) -> bool:
        """Whether `max_time` has passed."""
        return self._share_of_time() >= 1.0

    @property
    def spent(self) -> float:
        """Share of the run that is over, from 0 to 1, by steps or by time, whichever is more."""
        return self._spent(self._steps)

    @property
    def progress(self) -> float:
        """Share of the run that is over in the middle of the coming step.

        A schedule that begins and ends at zero then has no step at zero.
        """
        return self._spent(self._steps + 0.5)

    def _spent(self, steps: float) -> float:
        return min(1.0, max(steps / self.n_steps, self._share_of_time()))

    def _share_of_time(self) -> float:
        if self.max_time is None:
            return 0.0
        return (self._clock() - self._start) / self.max_time


def warmup_cosine(progress: float) -> float:
    """Return the factor of the learning rate: a line from 0 to 1, then a cosine back to 0.

    Parameters
    ----------
    progress : float
        Share of the run that is over, from 0 to 1. In the first 5%, the factor rises.

    Returns
    -------
    float
        A factor from 0 to 1.

    References
    ----------
    Loshchilov and Hutter 2017 (SGDR, arXiv:1608.03983), equation 5, without restarts.

    Examples
    --------
    >>> [round(warmup_cosine(p), 3) for p in (0.0, 0.025, 0.05, 0.525, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < _WARMUP:
        return progress / _WARMUP
    return 0.5 * (1.0 + math.cos(math.pi * (progress - _WARMUP) / (1.0 - _WARMUP)))


class LearningRateSchedule(Callback):
    """Multiply the learning rate of every parameter group by :func:`warmup_cosine`.

    The factor follows the budget of the run. Where `max_time` will end it before `max_epochs` do,
    the rate still comes down to zero. Training outside of a budget (``partial_fit``) keeps the
    constant rate.
    """

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Set the rates for the coming step."""
        if not training or net.budget_ is None:
            return
        factor = warmup_cosine(net.budget_.progress)
        for group in net.optimizer_.param_groups:
            group["lr"] = group["initial_lr"] * factor
