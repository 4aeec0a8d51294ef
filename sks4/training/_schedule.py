"""How much of a training run is spent, and which learning rate that calls for."""

import math
import time
from collections.abc import Callable
from typing import Any

from skorch.callbacks import Callback


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

        So a schedule that begins and ends with zero wastes neither the first nor the last step.
        """
        return self._spent(self._steps + 0.5)

    def _spent(self, steps: float) -> float:
        return min(1.0, max(steps / self.n_steps, self._share_of_time()))

    def _share_of_time(self) -> float:
        if self.max_time is None:
            return 0.0
        return (self._clock() - self._start) / self.max_time


def warmup_cosine(progress: float, *, warmup: float = 0.05) -> float:
    """Return the factor of the learning rate: a line from 0 to 1, then a cosine back to 0.

    Parameters
    ----------
    progress : float
        Share of the run that is over, from 0 to 1.
    warmup : float, default=0.05
        Share of the run, at least 0 and below 1, in which the factor rises.

    Returns
    -------
    float
        A factor from 0 to 1.

    References
    ----------
    Loshchilov and Hutter 2017 (SGDR, arXiv:1608.03983), equation 5, without restarts.

    Examples
    --------
    >>> [round(warmup_cosine(p, warmup=0.2), 3) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


class LearningRateSchedule(Callback):
    """Multiply the learning rate of every parameter group by a factor, anew for every step.

    The factor follows the budget of the run. Where `max_time` will end it before `max_epochs` do,
    the rate still comes down to zero. Training outside of a budget (``partial_fit``) keeps the
    constant rate.

    Parameters
    ----------
    factor : callable, default=warmup_cosine
        Maps the share of the run that is over, from 0 to 1, to the factor.
    """

    def __init__(self, factor: Callable[[float], float] = warmup_cosine) -> None:
        self.factor = factor

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Set the rates for the coming step."""
        if not training or net.budget_ is None:
            return
        factor = self.factor(net.budget_.progress)
        for group in net.optimizer_.param_groups:
            group["lr"] = group["initial_lr"] * factor
