"""The progress of a fit, and the notice that a fit will be long.

The display depends on time; no result does.
"""

import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from skorch.callbacks import Callback, PrintLog
from torch import Tensor
from tqdm.std import tqdm  # type: ignore[import-untyped]

from sks4._validation import check_choice
from sks4.training._callers import is_in_worker_process, is_one_of_many
from sks4.training._epoch_values import EpochValues

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_FRAMES = 0.1  # as tqdm itself

# A fit of more seconds than this is announced, ...
_LONG_FIT = 20.0
# ... once the steps after the first one, which prepares much, are so many and have taken so long.
# The longest is left out: the machine may have been busy with something else.
_STEPS_TO_MEASURE = 3
_SECONDS_TO_MEASURE = 4.0

_logger = logging.getLogger("sks4")


class Display(Protocol):
    """Shows how much of a stage of a fit is over."""

    def update(self, share: float, describe: Callable[[], str]) -> None:
        """Show that a share from 0 to 1 is over; `describe` is called only if something is shown.

        It returns the position and, after the first comma, the values so far.
        """

    def close(self, describe: Callable[[], str] | None = None) -> None:
        """End; without a description, the stage has not been finished."""


class Bar:
    """A bar of tqdm: in a notebook a widget, elsewhere a line that is overwritten.

    Parameters
    ----------
    stream : file
        Where to write, a terminal.
    """

    _FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = -math.inf
        # Over the share and not over steps, so that the time left is right where max_time ends the
        # run; smoothing=0 takes the mean speed.
        self._bar = _auto_tqdm()(
            total=1.0,
            bar_format=self._FORMAT,
            smoothing=0,
            file=stream,
            **_shape(stream),
        )

    def update(self, share: float, describe: Callable[[], str]) -> None:
        """Redraw the bar if it is due."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_FRAMES
            self._draw(share, describe())

    def close(self, describe: Callable[[], str] | None = None) -> None:
        """Draw the bar a last time and close it."""
        if describe is not None:
            self._draw(1.0, describe())
        self._bar.close()

    def _draw(self, share: float, text: str) -> None:
        position, _, values = text.partition(", ")
        self._bar.n = share
        self._bar.ncols = _shape(self._stream)["ncols"]  # it may have been changed
        self._bar.set_description_str(position, refresh=False)
        self._bar.set_postfix_str(values, refresh=False)
        self._bar.refresh()


class Lines:
    """A plain line every ten seconds, and one at the end if there was any.

    Parameters
    ----------
    name : str
        What is fitted.
    stream : file
        Where to write.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream = name, stream
        self._start = time.monotonic()
        self._next = self._start + _SECONDS_BETWEEN_LINES
        self._n_lines = 0

    def update(self, share: float, describe: Callable[[], str]) -> None:
        """Write a line if it is due."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            elapsed = now - self._start
            left = f", left {_as_clock(elapsed * (1 - share) / share)}" if share > 0 else ""
            self._write(f"{describe()}, elapsed {_as_clock(elapsed)}{left}")

    def close(self, describe: Callable[[], str] | None = None) -> None:
        """Write the total time if a line has been written."""
        if describe is not None and self._n_lines:
            elapsed = time.monotonic() - self._start
            self._write(f"{describe()}, finished after {_as_clock(elapsed)}")

    def _write(self, text: str) -> None:
        """Write; a stream that is gone must not end a fit."""
        self._n_lines += 1
        try:
            print(f"{self._name}: {text}", file=self._stream, flush=True)
        except (OSError, ValueError):
            self._next = math.inf


class Notice:
    """A warning in the log, once in a process, that a fit will be long.

    The time is extrapolated from the first steps. Fits of workers, searches and cross-validations
    are not announced.
    """

    is_given = False  # in this process

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._first: tuple[float, float] | None = None  # time and share after the first step
        self._n_measured, self._longest = 0, 0.0  # of the steps after it
        self._is_over = Notice.is_given

    def update(self, share: float, describe: Callable[[], str]) -> None:
        """Give the notice if the whole is expected to be long."""
        if self._is_over:
            return
        now = time.monotonic()
        expected = self._expected(now, share)
        self._last = now
        if expected > _LONG_FIT:
            self._is_over = True
            self._give(expected)

    def _expected(self, now: float, share: float) -> float:
        """Return the time that the whole is expected to take; 0 while too little is known."""
        spent = now - self._start
        if self._first is None:
            self._first = now, share
        else:
            self._n_measured += 1
            self._longest = max(self._longest, now - self._last)
        if spent > _LONG_FIT:  # it is long already
            return spent / share if share > 0 else spent
        begin, done = self._first
        n = self._n_measured
        if n < _STEPS_TO_MEASURE or now - begin < _SECONDS_TO_MEASURE or share <= done:
            return 0.0
        n_left = (1 - share) / (share - done) * n
        return spent + n_left * (now - begin - self._longest) / (n - 1)

    def close(self, describe: Callable[[], str] | None = None) -> None:
        """Do nothing."""

    @staticmethod
    def _give(seconds: float) -> None:
        if is_one_of_many():
            return
        Notice.is_given = True
        _logger.warning(
            "This fit is expected to take up to %s. Pass verbose=1 to see its progress, and "
            "max_time to limit it; a smaller model or a larger patch_size is faster. This is "
            "reported once.",
            _in_words(seconds),
        )


class Progress(Callback):
    """Show the progress of a fit: of its training, and of the reading that follows.

    Parameters
    ----------
    verbose : {0, 1, 2}, default=0
        0: a notice in the log if the fit will be long. 1: a bar on stderr if that is a terminal or
        belongs to a notebook; otherwise, and in worker processes, a line every ten seconds. 2: such
        a line on stdout, in any case.
    name : str, default="fit"
        What is fitted.
    stage : str, default=""
        Printed before the number of the epoch, if there are several trainings.
    """

    def __init__(self, verbose: int = 0, name: str = "fit", stage: str = "") -> None:
        self.verbose = verbose
        self.name = name
        self.stage = stage

    def initialize(self) -> "Progress":
        """Begin without a display."""
        self.display_: Display | None = None
        return self

    # ------------------------------------------------------------------ training

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Open the display of a run that has a budget."""
        self.n_epochs_before_ = len(net.history)
        self.finished_: dict[str, float] = {}  # values of the last epoch
        self.running_ = EpochValues()
        self.display_ = None if net.budget_ is None else self._open()

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Begin the values of an epoch; its score is that of validation data if there is some."""
        self.running_ = EpochValues()
        self.scores_training_ = dataset_valid is None

    def on_batch_end(
        self,
        net: Any,
        batch: Any = None,
        training: bool | None = None,
        *,
        loss: Tensor | None = None,
        y_pred: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        """Advance to what is spent of the budget."""
        if self.display_ is None:
            return
        if self.verbose and batch is not None:
            if training:
                self.running_.add_loss(loss, batch[1]["weight"])
            if training == self.scores_training_:
                self.running_.add_score(net.criterion_, y_pred, batch[1])
        if training:
            self.display_.update(net.budget_.spent, lambda: self._describe(net))

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Keep the values of the epoch."""
        row = net.history[-1]
        losses = {"loss": row.get("train_loss"), "valid": row.get("valid_loss")}
        self.finished_ = {name: loss for name, loss in losses.items() if loss is not None}
        self.finished_ |= self.running_.score()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Close the display, so that nothing open stays in the net."""
        if self.display_ is None:
            return
        display, self.display_ = self.display_, None
        n_epochs = len(net.history) - self.n_epochs_before_
        is_finished = n_epochs == net.max_epochs or net.stop_reason_ is not None
        display.close((lambda: self._describe(net)) if is_finished else None)
        self.finished_, self.running_ = {}, EpochValues()

    def _describe(self, net: Any) -> str:
        """Return the number of the epoch, and the values of the last one that is finished."""
        planned = self.n_epochs_before_ + net.max_epochs
        values = self.finished_ or self.running_.loss() | self.running_.score()
        shown = [f"{self.stage}epoch {len(net.history)}/{planned}"]
        return ", ".join(shown + [f"{name}={value:.4g}" for name, value in values.items()])

    # ------------------------------------------------------------------ reading

    @contextmanager
    def reading(self, n_rows: int) -> Iterator[Callable[[int], None]]:
        """Show how many rows are read; yields a function that takes the number just read."""
        display = self._open()
        n_read = 0

        def describe() -> str:
            return f"readout, {min(n_read, n_rows)}/{n_rows} sequences"

        def advance(n_new: int) -> None:
            nonlocal n_read
            n_read += n_new
            if display is not None:
                display.update(min(1.0, n_read / n_rows), describe)

        try:
            yield advance
        except BaseException:
            if display is not None:
                display.close()
            raise
        if display is not None:
            display.close(describe)

    def _open(self) -> Display | None:
        if self.verbose == 0:
            return None if Notice.is_given else Notice()
        stream = sys.stderr if self.verbose == 1 else sys.stdout
        if stream is None:  # a program without a console
            return None
        if self.verbose == 1 and has_bars(stream):
            return Bar(stream)
        return Lines(self.name, stream)


@contextmanager
def reading(net: Any, n_rows: int) -> Iterator[Callable[[int], None]]:
    """Show the reading of rows by a net that has a :class:`Progress` among its callbacks.

    Parameters
    ----------
    net : S4Net
        An initialized net.
    n_rows : int
        Number of rows to read, as far as is known; for none, nothing is shown.

    Yields
    ------
    callable
        To be called with each number of rows that has been read.
    """
    found = [callback for _, callback in net.callbacks_ if isinstance(callback, Progress)]
    if not found or n_rows == 0:
        yield lambda n_new: None
        return
    with found[0].reading(n_rows) as advance:
        yield advance


def has_bars(stream: Any) -> bool:
    """Return whether a stream can show a bar: a terminal, or any one in a notebook.

    Bars of several worker processes would overwrite each other, so these have none.
    """
    if is_in_worker_process():
        return False
    try:
        if stream.isatty():
            return True
    except (AttributeError, ValueError):  # none, or one that is closed or cannot be asked
        return False
    is_kernel = "ipykernel" in sys.modules  # else nothing must be imported to find out
    return is_kernel and any(c.__module__ == "tqdm.notebook" for c in _auto_tqdm().__mro__)


def _shape(stream: Any) -> dict[str, int | None]:
    """Return the columns and rows of a terminal that tqdm may use; None for a notebook.

    A terminal that reports no size, in which tqdm would show nothing, counts as one of 80 x 24.
    """
    if not stream.isatty():
        return {"ncols": None, "nrows": None}
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # not a real terminal
        columns, lines = 0, 0
    return {"ncols": (columns or 80) - 1, "nrows": (lines or 24) - 1}


def _auto_tqdm() -> type[tqdm]:
    """Return tqdm's bar for this console; imported late, as it may advise about a notebook."""
    from tqdm.auto import tqdm as auto_tqdm  # type: ignore[import-untyped]

    return auto_tqdm


def display_callbacks(verbose: int, name: str = "fit") -> list[tuple[str, Callback]]:
    """Return the callbacks that show the progress of a fit.

    Parameters
    ----------
    verbose : {0, 1, 2}
        As in :class:`Progress`; with 2, each epoch prints a line on stdout besides.
    name : str, default="fit"
        What is fitted.

    Returns
    -------
    list of (str, Callback)
        Named callbacks for the net; they belong after all that write to the history.
    """
    check_choice("verbose", verbose, (0, 1, 2))
    callbacks: list[tuple[str, Callback]] = [("progress", Progress(verbose, name))]
    if verbose == 2:
        callbacks.append(("print_log", PrintLog(sink=_print_row)))
    return callbacks


def _print_row(text: str) -> None:
    """Print a row of skorch's table, to a file without the colors that mark the best values."""
    if not has_bars(sys.stdout):
        text = re.sub("\x1b\\[[0-9;]*m", "", text)
    print(text, flush=True)


def _as_clock(seconds: float) -> str:
    """Return minutes and seconds, with hours if there are some."""
    return tqdm.format_interval(round(seconds))


def _in_words(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
