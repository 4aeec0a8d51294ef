"""What the benchmarks share: data, the record of the environment, tables, timer, memory."""

import argparse
import contextlib
import csv
import ctypes
import gc
import hashlib
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

import sks4

MEGABYTE = 1e6
ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

FIRST_UCR_SETS = (
    *("ACSF1", "EOGHorizontalSignal", "PigAirwayPressure", "Haptics", "Worms"),
    *("LargeKitchenAppliances", "ScreenType", "PLAID"),
)
UCR_SETS = (
    *FIRST_UCR_SETS,
    *("Adiac", "ArrowHead", "Beef", "Car", "CricketX", "DistalPhalanxOutlineCorrect", "ECG200"),
    *("FaceFour", "FiftyWords", "GestureMidAirD1", "Herring", "ItalyPowerDemand", "Lightning2"),
    *("MoteStrain", "OSULeaf", "PigCVP", "ShapesAll", "SmallKitchenAppliances", "SwedishLeaf"),
    "WordSynonyms",
)
DIGITS_SPLITS = ("official", "theo")

# ---------------------------------------------------------------------- data


@dataclass(frozen=True)
class Split:
    """A data set, divided into what is trained on and what is held out.

    Attributes
    ----------
    X_train, X_test : list of ndarray of shape (n_timepoints,) or (n_channels, n_timepoints)
        Raw sequences, float32 or int16, each at its own length.
    y_train, y_test : ndarray of shape (n_samples,), int or str
        Class labels.
    """

    X_train: list[np.ndarray]
    y_train: np.ndarray
    X_test: list[np.ndarray]
    y_test: np.ndarray


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-dir`` to the options of a benchmark."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("SKS4_DATA", ROOT.parent / "shared" / "data")),
        help="folder of the data sets (default: $SKS4_DATA, then ../shared/data)",
    )


def data_file(folder: Path, name: str) -> Path:
    """Return the path of a data file; end the benchmark with one line if it is missing."""
    path = folder / name
    if not path.is_file():
        raise SystemExit(f"{path} is missing: pass its folder as --data-dir or set SKS4_DATA.")
    return path


def load_ucr(folder: Path, name: str) -> Split:
    """Load a set of the UCR archive in its default split, without the NaN that pad it."""
    with np.load(data_file(folder, f"ucr_{name}.npz")) as data:
        return Split(
            _without_padding(data["X_train"]),
            data["y_train"],
            _without_padding(data["X_test"]),
            data["y_test"],
        )


def _without_padding(X: np.ndarray) -> list[np.ndarray]:
    lengths = [int(np.flatnonzero(~np.isnan(row))[-1]) + 1 for row in X]
    return [row[:length] for row, length in zip(X, lengths, strict=True)]


def load_sensors(folder: Path) -> Split:
    """Load the synthetic set of noisy sensors: three channels, four kinds of faults."""
    with np.load(data_file(folder, "sensors.npz")) as data:
        return Split(list(data["X_train"]), data["y_train"], list(data["X_test"]), data["y_test"])


def load_spoken_digits(folder: Path, split: str) -> Split:
    """Load the Free Spoken Digit Dataset, raw samples at 8 kHz.

    Parameters
    ----------
    folder : Path
        The data folder.
    split : str
        "official" holds out the recordings with ``take < 5``, the name of a speaker all of theirs.

    Returns
    -------
    Split
        Sequences in int16.
    """
    with np.load(data_file(folder, "fsdd.npz")) as data:
        X = np.split(data["values"], data["offsets"][1:-1])
        y = data["y"]
        held_out = data["take"] < 5 if split == "official" else data["speaker"] == split
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    return Split([X[i] for i in train], y[train], [X[i] for i in test], y[test])


# ---------------------------------------------------------------------- record and tables


def environment(seed: int) -> dict[str, Any]:
    """Return the columns that every row of every table has: what ran, where and when."""
    return {
        "seed": seed,
        "sks4": sks4.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sklearn": sklearn.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu_name(),
        "cores": n_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _commit() -> str:
    """Return the commit, with "-dirty" if a file differs from it, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # no git, or an unpacked archive
    return done.stdout.strip()


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table as text; none if it does not exist yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], seed: int
) -> None:
    """Put rows into a table, in place of those that agree with them in the columns of `key`.

    Parameters
    ----------
    path : Path
        A file below ``benchmarks/results``; replaced as a whole, so an interrupt loses nothing.
    rows : sequence of dict
        Columns and values; the columns of :func:`environment` are added.
    key : sequence of str
        Columns that say which case a row is about.
    seed : int
        The seed of these rows.
    """
    added = [
        {name: _as_text(value) for name, value in (dict(row) | environment(seed)).items()}
        for row in rows
    ]
    replaced = {tuple(row[name] for name in key) for row in added}
    kept = [row for row in read_table(path) if tuple(row.get(n, "") for n in key) not in replaced]
    columns = list(dict.fromkeys(name for row in [*added, *kept] for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + added)
    draft.replace(path)


def write_summary(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table of its own, as a whole."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def fingerprint(files: Iterable[Path]) -> str:
    """Return a hash of the code that a result comes from."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


def package_code(*parts: str) -> list[Path]:
    """Return the source files of sks4, or of some of its folders."""
    package = Path(sks4.__file__).parent
    return [file for part in parts or ("",) for file in (package / part).rglob("*.py")]


def is_known(table: Path, **wanted: Any) -> bool:
    """Tell whether a table has a result with these values, of so many threads."""
    wanted |= {"threads": torch.get_num_threads()}
    return any(
        not row.get("failure") and all(row[name] == str(value) for name, value in wanted.items())
        for row in read_table(table)
    )


def _as_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------------- time


def time_interleaved(
    functions: Mapping[str, Callable[[], Any]],
    *,
    repeats: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions in turns, A B A B, so that what disturbs the machine meets all of them.

    Parameters
    ----------
    functions : dict of str to callable
        What is timed; results are dropped.
    repeats : int, default=7
        Timed runs of each.
    warmup : int, default=1
        Runs of each before, not timed.
    clock : callable, default=time.perf_counter
        Clock in seconds. That of the process, ``time.process_time``, counts what all its threads
        compute and waits for nobody else; it is for one thread.

    Returns
    -------
    dict of str to list of float
        Seconds of each run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            elapsed = _seconds(function, clock)
            if turn >= warmup:
                seconds[name].append(elapsed)
    return seconds


def median_ratio(seconds: Mapping[str, Sequence[float]], name: str, base: str) -> float:
    """Return the median time of `name` over the median time of `base`."""
    return statistics.median(seconds[name]) / statistics.median(seconds[base])


def _seconds(function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    _synchronize()
    start = clock()
    function()
    _synchronize()
    return clock() - start


def _synchronize() -> None:
    """Wait for the GPU, which works on while Python goes on."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ---------------------------------------------------------------------- memory


@dataclass(frozen=True)
class Measurement:
    """What one call returned, took and needed.

    Attributes
    ----------
    value : Any
        The result of the call.
    seconds : float
        Time.
    cpu_seconds : float
        Time of the processor, of all threads.
    peak_bytes : int
        Largest resident memory during the call, beyond that before it.
    """

    value: Any
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(function: Callable[[], Any]) -> Measurement:
    """Call a function and measure its time and its peak memory.

    The peak is exact where the kernel can reset it (Linux). Elsewhere it is a lower bound: the
    rise of the largest memory that the process has had, so measure the largest case first.
    """
    gc.collect()
    _return_free_memory()
    peak = _peak_since_reset if _reset_peak() else _peak_ever
    before = peak()
    _synchronize()
    start, cpu_start = time.perf_counter(), time.process_time()
    value = function()
    _synchronize()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return Measurement(value, seconds, cpu_seconds, peak() - before)


def measure_model(
    model: Any, split: Split, method: str = "predict"
) -> tuple[np.ndarray, dict[str, float]]:
    """Train a model and predict, and return the predictions and what both took.

    Parameters
    ----------
    model : estimator
        Trained in place.
    split : Split
        The data.
    method : str, default="predict"
        Name of the method that predicts.

    Returns
    -------
    predictions : ndarray
        Those for the test data.
    costs : dict
        Seconds, CPU seconds and peak memory of both, as columns of a table.
    """
    fit = measure(lambda: model.fit(split.X_train, split.y_train))
    predict = measure(lambda: getattr(model, method)(split.X_test))
    costs = {}
    for name, measured in (("fit", fit), ("predict", predict)):
        costs[f"{name}_seconds"] = measured.seconds
        costs[f"{name}_cpu_seconds"] = measured.cpu_seconds
        costs[f"{name}_peak_mb"] = measured.peak_bytes / MEGABYTE
    return predict.value, costs


def peak_memory(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> int:
    """Return the peak memory of a function in a fresh process, in bytes.

    Parameters
    ----------
    prepare : callable
        Defined at the top of a module. ``prepare(*arguments)`` makes the imports and inputs, which
        do not count, and returns the function without arguments that is measured.
    *arguments
        Passed to `prepare`; they must pickle.
    """
    return in_fresh_process(_prepared_peak, prepare, *arguments)


def _prepared_peak(prepare: Callable[..., Callable[[], Any]], *arguments: Any) -> int:
    return measure(prepare(*arguments)).peak_bytes


class CaseFailedError(RuntimeError):
    """A case ended with an error, or its process was killed."""


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)``, run in a new interpreter.

    Raises
    ------
    CaseFailedError
        If the function raises, or its process is killed, for example for memory.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, function, arguments))
    process.start()
    sender.close()  # so that the receiver sees the end if the process dies
    try:
        failure, value = receiver.recv()
    except EOFError:
        process.join()
        failure, value = f"the process ended with exit code {process.exitcode}", None
    finally:
        process.kill()
        process.join()
    if failure:
        raise CaseFailedError(failure)
    return value


def _send_result(sender: Connection, function: Callable[..., Any], arguments: tuple) -> None:
    try:
        message = (None, function(*arguments))
    except Exception as error:
        traceback.print_exc()
        message = (f"{type(error).__name__}: {error}", None)
    sender.send(message)
    sender.close()


def _reset_peak() -> bool:
    """Reset the peak of this process to its present memory, where the kernel can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak_since_reset() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _peak_ever() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _return_free_memory() -> None:
    """Give free memory back to the system, else it would be used without being seen."""
    with contextlib.suppress(AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
