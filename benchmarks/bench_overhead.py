"""What S4Classifier costs beyond the same training in a bare torch loop.

Run from the repository's root::

    python -m benchmarks.bench_overhead            # a few minutes on two cores
    python -m benchmarks.bench_overhead --only memory

Time: processor time on one thread of the same model, data, batch size and number of epochs, by
``S4Classifier.fit`` and by a loop of torch that does nothing else, in turns in one process; into
``results/overhead_time.csv``.
Memory: the peak beyond the data that both are given, each in a process of its own, while data much
larger than the model is read; into ``results/overhead_memory.csv``. The loop scales each batch as
it reads it, so it holds the data once, and whatever the estimator needs more would be a copy.

Busy: a fit on one thread and on two, beside another process that keeps one of two cores busy; into
``results/overhead_busy.csv``.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from sks4 import S4Classifier
from sks4.nn import S4Model
from sks4.training import warmup_cosine

from ._common import RESULTS, median_ratio, peak_memory, time_interleaved, write_rows

SEED = 0
N_CLASSES = 10
MEGABYTE = 1e6

# What both are given; everything else has the default of the estimator.
MODEL = {"n_layers": 2, "d_state": 16, "dropout": 0.1, "dt_min": 1e-3, "dt_max": 1e-1}
RATES = {"lr": 1e-2, "ssm_lr": 1e-3, "weight_decay": 0.05}
GRADIENT_CLIP = 1.0


@dataclass(frozen=True)
class Size:
    """The shape of the data, and how it is trained on."""

    n_samples: int
    length: int
    batch_size: int
    max_epochs: int = 1
    dtype: str = "float32"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random sequences and labels: what they are does not matter for the time."""
        rng = np.random.default_rng(SEED)
        X = np.empty((self.n_samples, 1, self.length), self.dtype)
        for row in X:
            row[:] = 100 * rng.standard_normal((1, self.length), np.float32)
        return X, np.arange(self.n_samples) % N_CLASSES


# From scikit-learn's digits as sequences of pixels to the length of a spoken digit.
TIME_SIZES = (
    Size(n_samples=1_800, length=64, batch_size=32),
    Size(n_samples=384, length=720, batch_size=16),
    Size(n_samples=64, length=4_096, batch_size=8),
)
MEMORY_SIZES = tuple(
    Size(n_samples=n, length=4_096, batch_size=4, dtype=dtype)
    for n, dtype in ((16_384, "int16"), (8_192, "float32"), (8_192, "float64"))
)
BUSY_SIZES = (
    Size(n_samples=150, length=50, batch_size=8, max_epochs=4),
    Size(n_samples=384, length=720, batch_size=16),
)
MEMORY_STEPS = 10  # the peak is reached in the first one
MEMORY_SECONDS = 20.0


def estimator(size: Size, max_time: float | None = None) -> S4Classifier:
    """Return the estimator; with no validation data, as the loop has none."""
    return S4Classifier(
        **MODEL,
        **RATES,
        gradient_clip=GRADIENT_CLIP,
        batch_size=size.batch_size,
        max_epochs=size.max_epochs,
        max_time=max_time,
        early_stopping=False,
        patch_size=1,  # as the loop's model
        readout="trained",  # as the loop's head
        random_state=SEED,
    )


def bare_loop(size: Size, X: np.ndarray, y: np.ndarray, max_steps: int | None = None) -> S4Model:
    """Train the same model, with the same optimizer and schedule, and nothing around it."""
    torch.manual_seed(SEED)
    model = S4Model(1, N_CLASSES, **MODEL)
    optimizer = torch.optim.AdamW(model.parameter_groups(**RATES))
    n_steps = size.max_epochs * -(-size.n_samples // size.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine((step + 0.5) / n_steps)
    )
    labels = torch.from_numpy(y)
    mean, scale = moments(X)
    for rows in batches(size, max_steps):
        u = (torch.from_numpy(X[rows]).float() - mean) / scale
        loss = F.cross_entropy(model(u.transpose(1, 2)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        optimizer.step()
        schedule.step()
    return model


def moments(X: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation, without a copy of the data in another type."""
    mean = statistics.fmean(float(row.mean(dtype=np.float64)) for row in X)
    squares = statistics.fmean(float(np.square(row - mean).mean()) for row in X)
    return mean, squares**0.5


def batches(size: Size, max_steps: int | None) -> Iterator[np.ndarray]:
    """Yield the rows of each batch of all epochs, at most `max_steps` of them."""
    rng = np.random.default_rng(SEED)
    n_steps = 0
    for _ in range(size.max_epochs):
        order = rng.permutation(size.n_samples)
        for start in range(0, size.n_samples, size.batch_size):
            if n_steps == max_steps:
                return
            yield order[start : start + size.batch_size]
            n_steps += 1


# ---------------------------------------------------------------------- time


def time_case(size: Size, repeats: int) -> dict[str, Any]:
    """Return medians of seconds, and the ratio, for one size."""
    X, y = size.data()
    functions: dict[str, Callable[[], Any]] = {
        "estimator": lambda: estimator(size).fit(X, y),
        "loop": lambda: bare_loop(size, X, y),
    }
    seconds = time_interleaved(functions, repeats=repeats, clock=time.process_time)
    return {
        **asdict(size),
        "estimator_seconds": statistics.median(seconds["estimator"]),
        "loop_seconds": statistics.median(seconds["loop"]),
        "ratio": median_ratio(seconds, "estimator", "loop"),
        "repeats": repeats,
    }


# ---------------------------------------------------------------------- memory


def prepare(kind: str, size: Size) -> Callable[[], Any]:
    """Return one run on large data, ended after a few steps; called in a process of its own."""
    X, y = size.data()
    first = Size(n_samples=8, length=size.length, batch_size=4, dtype=size.dtype)
    if kind == "estimator":
        estimator(first).fit(X[:8], y[:8])  # makes the imports of the first use
        return lambda: estimator(size, max_time=MEMORY_SECONDS).fit(X, y)
    bare_loop(first, X[:8], y[:8])
    return partial(bare_loop, size, X, y, MEMORY_STEPS)


def memory_case(size: Size) -> dict[str, Any]:
    """Return peaks beyond the data, and the data itself, for one size, in megabytes."""
    data = size.n_samples * size.length * np.dtype(size.dtype).itemsize
    estimator_peak, loop_peak = (peak_memory(prepare, k, size) for k in ("estimator", "loop"))
    return {
        **asdict(size),
        "data_mb": data / MEGABYTE,
        "estimator_peak_mb": estimator_peak / MEGABYTE,
        "loop_peak_mb": loop_peak / MEGABYTE,
    }


# ---------------------------------------------------------------------- busy


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep a core busy by another process."""
    process = multiprocessing.get_context("spawn").Process(target=_turn, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _turn() -> None:
    """Compute for ever."""
    while True:
        sum(range(1_000_000))


def busy_case(size: Size, repeats: int) -> dict[str, Any]:
    """Return medians of seconds of a fit on one thread and on two, beside a busy process."""
    X, y = size.data()
    functions = {n: partial(_fit_on, n, size, X, y) for n in ("1", "2")}
    before = torch.get_num_threads()
    try:
        with busy_process():
            seconds = time_interleaved(functions, repeats=repeats)
    finally:
        torch.set_num_threads(before)
    return {
        **asdict(size),
        "one_thread_seconds": statistics.median(seconds["1"]),
        "two_threads_seconds": statistics.median(seconds["2"]),
        "ratio": median_ratio(seconds, "2", "1"),
        "repeats": repeats,
    }


def _fit_on(threads: str, size: Size, X: np.ndarray, y: np.ndarray) -> None:
    torch.set_num_threads(int(threads))
    estimator(size).fit(X, y)


# ---------------------------------------------------------------------- all


def main() -> None:
    """Run all parts, or the one that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["time", "memory", "busy"], help="default: all")
    parser.add_argument("--repeats", type=int, default=7, help="timed runs (default: %(default)s)")
    options = parser.parse_args()
    key = ("n_samples", "length", "dtype")
    parts = [options.only] if options.only else ["time", "memory", "busy"]
    for size in TIME_SIZES if "time" in parts else ():
        row = time_case(size, options.repeats)
        write_rows(RESULTS / "overhead_time.csv", [row], key=key, seed=SEED)
        print(f"{size.n_samples} x {size.length}: {row['ratio']:.3f} times the loop", flush=True)
    for size in MEMORY_SIZES if "memory" in parts else ():
        row = memory_case(size)
        write_rows(RESULTS / "overhead_memory.csv", [row], key=key, seed=SEED)
        print(
            f"{row['data_mb']:.0f} MB of {size.dtype}: estimator {row['estimator_peak_mb']:.0f} MB "
            f"beyond them, loop {row['loop_peak_mb']:.0f} MB",
            flush=True,
        )
    for size in BUSY_SIZES if "busy" in parts else ():
        row = busy_case(size, options.repeats)
        write_rows(RESULTS / "overhead_busy.csv", [row], key=key, seed=SEED)
        print(f"{size.n_samples} x {size.length}: {row['ratio']:.2f} times one thread", flush=True)


if __name__ == "__main__":
    main()
