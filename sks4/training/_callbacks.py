"""What happens around the epochs: mean losses, early stopping and averaged weights."""

import ctypes
import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch.callbacks import Callback, PassthroughScoring
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sks4.training._snapshot import copied

# Trimming takes milliseconds, and the pages that are wanted again are mapped again.
_SECONDS_BETWEEN_TRIMS = 5.0

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


class WeightedEpochLoss(PassthroughScoring):
    """Average the losses of the batches, each of them a weighted mean, over the whole epoch."""

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Read the best loss so far from the history, which may come from another net."""
        losses = [row[self.name] for row in net.history if self.name in row]
        self.best_score_ = min(losses, default=math.inf)

    def get_avg_score(self, history: Any) -> float:
        """Return the mean of the batch losses, weighted by the weights in each batch."""
        part = "train" if self.on_train else "valid"
        rows = history[-1, "batches", :, (f"{part}_weight", f"{part}_loss")]
        weights, losses = map(np.array, zip(*rows, strict=True))
        if not weights.max() > 0:
            name = "training" if self.on_train else "validation"
            raise ValueError(
                f"sample_weight must have a sum above zero in the {name} data, got {weights.sum()}."
            )
        return float(np.average(losses, weights=weights / weights.max()))


class ReturnMemory(Callback):
    """Return free memory to the system every few seconds.

    Batches of many lengths need blocks of many sizes, and glibc keeps what it cannot use for the
    next one, so a process grows to several times its need. Other allocators return memory
    themselves.
    """

    def initialize(self) -> "ReturnMemory":
        """Wait as long at first, so that short trainings keep their memory at hand."""
        self.next_ = time.monotonic() + _SECONDS_BETWEEN_TRIMS
        return self

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Trim the heap if it is time."""
        now = time.monotonic()
        if _trim is not None and now >= self.next_:
            _trim(0)
            self.next_ = now + _SECONDS_BETWEEN_TRIMS


class _Best(NamedTuple):
    epoch: int
    score: float
    state: dict[str, Tensor]


class EarlyStopping(Callback):
    """Keep the best weights in memory, stop when they no longer improve, and put them back.

    The best are those with the smallest loss of the validation data. They are put back whenever
    training ends: after the last epoch, when the time is up, after an interrupt and after an error.
    Without validation data there is no best epoch and this callback does nothing.

    Parameters
    ----------
    patience : int, default=10
        Epochs without improvement after which training stops.

    Attributes
    ----------
    best_epoch_ : int or None
        Number of the best epoch in the history, from 1; ``None`` before the first validation.
    best_score_ : float or None
        Its validation loss.
    """

    def __init__(self, patience: int = 10) -> None:
        self.patience = patience

    def initialize(self) -> "EarlyStopping":
        """Forget the best epoch."""
        self.best_epoch_: int | None = None
        self.best_score_: float | None = None
        # The best one last; before it the one that it replaces, as long as its epoch can still
        # be interrupted before all callbacks have seen its end.
        self.kept_: list[_Best] = []
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start again: epochs of earlier runs are not compared."""
        self.initialize()
        self.last_improvement_ = len(net.history)

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Drop what a finished epoch has replaced."""
        del self.kept_[:-1]

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Keep the weights if they are the best; otherwise stop if patience is exhausted."""
        if dataset_valid is None:
            return
        epoch, score = len(net.history), float(net.history[-1]["valid_loss"])
        if self._is_improvement(score):
            self.kept_.append(_Best(epoch, score, copied(net.module_.state_dict())))
            self.last_improvement_ = epoch
            self._describe_best()
        elif epoch - self.last_improvement_ >= self.patience:
            net.stop_training("early_stopping")

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Put the best weights of a finished epoch back, and keep no second copy of them."""
        self.kept_ = [best for best in self.kept_ if best.epoch <= len(net.history)]
        self._describe_best()
        if self.kept_:
            net.module_.load_state_dict(self.kept_[-1].state)
            self.kept_ = []

    def _describe_best(self) -> None:
        best = self.kept_[-1] if self.kept_ else None
        self.best_epoch_ = None if best is None else best.epoch
        self.best_score_ = None if best is None else best.score

    def _is_improvement(self, score: float) -> bool:
        # a NaN is never the best
        return score < self.kept_[-1].score if self.kept_ else not math.isnan(score)


class FirstLook(Callback):
    """Stop after a few epochs if the rest of them is hopeless.

    Parameters
    ----------
    n_epochs : int
        Number of epochs in the history after which to look.
    is_hopeless : callable
        Tells it of a net.
    """

    def __init__(self, n_epochs: int, is_hopeless: Callable[[Any], bool]) -> None:
        self.n_epochs = n_epochs
        self.is_hopeless = is_hopeless

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Look if it is time."""
        if len(net.history) == self.n_epochs and self.is_hopeless(net):
            net.stop_training("hopeless")


class WeightAverage(Callback):
    """Validate and predict with the exponential moving average of the weights.

    The optimizer continues with the weights themselves. The average also covers buffers of floating
    numbers, such as the running statistics of batch norm. Put this callback before
    :class:`EarlyStopping`, which then keeps and restores averages.

    Parameters
    ----------
    decay : float, default=0.999
        Weight of the past at each step, from 0 to 1. Over the first steps it is smaller,
        ``(1 + step) / (10 + step)``, to forget the initial weights quickly.

    References
    ----------
    Polyak and Juditsky 1992 (Acceleration of stochastic approximation by averaging).
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay

    def initialize(self) -> "WeightAverage":
        """Begin without weights."""
        self.live_: list[Tensor] = []
        self.average_: list[Tensor] = []
        self.raw_: list[Tensor] | None = None  # the weights, while the average is in their place
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start the average at the present weights."""
        state = net.module_.state_dict().values()
        self.live_ = [value for value in state if value.is_floating_point() or value.is_complex()]
        self.average_ = [value.clone() for value in self.live_]
        self.raw_ = None
        self.steps_ = 0

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Train the weights, validate the average."""
        if training:
            self._show_weights()
        else:
            self._show_average()

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Take one training step into the average."""
        if training:
            self.steps_ += 1
            decay = min(self.decay, (1 + self.steps_) / (10 + self.steps_))
            get_ema_multi_avg_fn(decay)(self.average_, self.live_, None)

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Show the average to the callbacks that follow, also without validation data."""
        self._show_average()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Drop the weights: the module has the average of the end of the last finished epoch."""
        self.initialize()

    def _show_average(self) -> None:
        if self.raw_ is None:
            self.raw_ = [value.clone() for value in self.live_]
            _copy(self.average_, into=self.live_)

    def _show_weights(self) -> None:
        if self.raw_ is not None:
            _copy(self.raw_, into=self.live_)
            self.raw_ = None


def _copy(values: list[Tensor], *, into: list[Tensor]) -> None:
    """Copy in place, which keeps the parameters and which autograd notices."""
    with torch.no_grad():
        for destination, value in zip(into, values, strict=True):
            destination.copy_(value)
