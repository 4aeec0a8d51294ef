"""Streaming: what a sample costs, by size, and beside predicting on the whole window each time.

Run from the repository's root::

    python -m benchmarks.bench_streaming                  # some ten minutes on one core
    python -m benchmarks.bench_streaming --only window

Steps: ``push`` of one sample to a stream, alone and with a prediction, and to ``ModelStepper``, by
size of the model and number of streams, by compiled code and by torch, beside ``S4Model.advance``
by one sample (which checks, and makes a new state, at every call) and beside the dense form of the
recurrence in the place of the one by parts; into ``results/streaming_step.csv``. Window: one push
and one prediction, beside ``predict_proba`` on all that has been pushed; into
``results/streaming_window.csv``. Soak: millions of pushes in single precision, compared with double
precision; into ``results/streaming_soak.csv``. Times are microseconds of one thread.
"""

import argparse
import copy
import pickle
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from sks4 import S4Classifier, _native, ssm
from sks4.nn import ModelStepper, S4Layer, S4Model

from ._common import RESULTS, time_interleaved, write_rows

SEED = 0
N_CHANNELS = 3
# in each timed run: so short that few are interrupted, and the median is not; summaries count
# every 16 steps, so it must be a multiple of that
N_STEPS = 32
MICRO = 1e6


@dataclass(frozen=True)
class Size:
    """A model and how many streams it reads; in the estimator's words."""

    d_model: int = 64
    d_state: int = 64
    n_layers: int = 4
    ssm: str = "s4"
    n_streams: int = 1
    readout: str = "trained"


DEFAULT = Size()
SIZES = (
    DEFAULT,
    *(replace(DEFAULT, d_model=d_model) for d_model in (16, 128, 256)),
    *(replace(DEFAULT, d_state=d_state) for d_state in (4, 16, 256)),
    *(replace(DEFAULT, n_layers=n_layers) for n_layers in (1, 8)),
    *(replace(DEFAULT, n_streams=n_streams) for n_streams in (8, 64)),
    replace(DEFAULT, ssm="s4d"),
    replace(DEFAULT, ssm="s4d", n_streams=64),
    replace(DEFAULT, readout="ridge"),
    replace(DEFAULT, readout="ridge", n_streams=64),
)
N_PUSHES = 10_000_000
WINDOWS = (64, 256, 1_024, 4_096, 16_384)


def fitted(size: Size) -> S4Classifier:
    """Return a classifier that has seen one small batch: the time does not depend on weights."""
    options = {name: value for name, value in asdict(size).items() if name != "n_streams"}
    X = np.random.default_rng(SEED).normal(size=(4, N_CHANNELS, 16))
    return S4Classifier(**options, max_epochs=1, random_state=SEED).fit(X, [0, 1, 0, 1])


def repeated(step: Callable[[], Any]) -> Callable[[], None]:
    """Return several steps as one function."""

    def run() -> None:
        for _ in range(N_STEPS):
            step()

    return run


@contextmanager
def torch_path() -> Iterator[None]:
    """Let what is made within be without compiled code."""
    core, _native._core = _native._core, None
    try:
        yield
    finally:
        _native._core = core


def pushing(classifier: S4Classifier, size: Size) -> dict[str, Callable[[], Any]]:
    """Return pushes of one sample: to a stream, also with a prediction, and to a stepper."""
    stream = classifier.stream(n_streams=size.n_streams)
    sample = np.zeros((size.n_streams, N_CHANNELS))
    sample = sample if size.n_streams > 1 else sample[0]
    other = classifier.stream(n_streams=size.n_streams)
    stepper = copy.deepcopy(stream._stepper)
    u = torch.zeros(size.n_streams, 1, N_CHANNELS)
    return {
        "push": lambda: stream.push(sample),
        "push_predict": lambda: other.push(sample).predict_proba(),
        "stepper": lambda: stepper.push(u),
    }


def advancing(model: S4Model, size: Size) -> Callable[[], Any]:
    """Return steps by the form of the model that is not prepared."""
    u = torch.zeros(size.n_streams, 1, N_CHANNELS)
    state = None

    @torch.inference_mode()
    def step() -> None:
        nonlocal state
        _, state = model.advance(u, state)

    return step


def dense_stepping(model: S4Model, size: Size) -> Callable[[], Any]:
    """Return the systems of all layers by dense matrices: one product for each, nothing else."""
    layers = [module for module in model.modules() if isinstance(module, S4Layer)]
    operands = []
    for layer in layers:
        shape = (layer.d_model, size.n_streams, 1 + layer.d_state)
        operator = dense_operator(layer.step_operator())
        operands.append((torch.zeros(shape), operator, torch.empty(shape)))

    @torch.inference_mode()
    def step() -> None:
        for x, operator, out in operands:
            torch.bmm(x, operator, out=out)

    return step


def dense_operator(one: ssm.StepOperator) -> torch.Tensor:
    """Return ``[u | x] -> [y | x]`` for row vectors, ``(H, 1 + N, 1 + N)``."""
    H, N = one.B_bar.shape
    u = torch.cat([torch.ones(1, H), torch.zeros(N, H)])
    x = torch.cat([torch.zeros(1, H, N), torch.eye(N)[:, None].expand(N, H, N)])
    y, moved = ssm.step(u, x, one)  # where each unit vector goes
    return torch.cat([y[..., None], moved], -1).transpose(0, 1).contiguous()


def step_case(size: Size, repeats: int) -> dict[str, Any]:
    """Return medians of microseconds for one size."""
    classifier = fitted(size)
    model = classifier.net_.module_.requires_grad_(False).eval()
    pushes = pushing(classifier, size)
    with torch_path():
        pushes |= {f"torch_{name}": step for name, step in pushing(classifier, size).items()}
    steps = pushes | {
        "advance": advancing(model, size),
        "dense_systems_only": dense_stepping(model, size),
    }
    functions = {name: repeated(step) for name, step in steps.items()}
    medians = {
        f"{name}_us": MICRO * statistics.median(seconds) / N_STEPS
        for name, seconds in time_interleaved(
            functions, repeats=repeats, warmup=2, clock=time.process_time
        ).items()
    }
    ratios = {
        f"{name}_ratio": medians[f"torch_{name}_us"] / medians[f"{name}_us"]
        for name in ("push", "push_predict", "stepper")
    }
    return {**asdict(size), **medians, **ratios, "repeats": repeats}


def window_case(n_timepoints: int, repeats: int) -> dict[str, Any]:
    """Return medians of microseconds of a new prediction after so many samples."""
    classifier = fitted(DEFAULT)
    window = np.random.default_rng(SEED).normal(size=(N_CHANNELS, n_timepoints))
    stream = classifier.stream().push(window)
    sample = window[:, 0]
    functions = {
        "stream": lambda: stream.push(sample).predict_proba(),
        "predict": lambda: classifier.predict_proba(window[np.newaxis]),
    }
    seconds = time_interleaved(functions, repeats=repeats, warmup=2)
    medians = {name: MICRO * statistics.median(times) for name, times in seconds.items()}
    return {
        **{name: value for name, value in asdict(DEFAULT).items() if name != "n_streams"},
        "n_timepoints": n_timepoints,
        "stream_us": medians["stream"],
        "predict_us": medians["predict"],
        "ratio": medians["predict"] / medians["stream"],
        "repeats": repeats,
    }


def soak_cases(n_pushes: int) -> Iterator[dict[str, Any]]:
    """Return, after each power of ten of pushes, how far single precision is from double.

    The systems are slow, and the input has a level, so that each step moves the state by little.
    """
    torch.manual_seed(SEED)
    sizes = {"d_model": 16, "n_layers": 2, "d_state": 16}
    model = S4Model(1, 2, **sizes, dt_min=1e-4, dt_max=1e-2).requires_grad_(False).eval()
    steppers = [ModelStepper(model), ModelStepper(copy.deepcopy(model).double())]
    generator, done, reported = torch.Generator().manual_seed(SEED), 0, 1_000
    while done < n_pushes:
        u = 1 + torch.randn(1, 1_000, 1, generator=generator)
        with torch.inference_mode():  # views are made faster
            for stepper, piece in zip(steppers, (u, u.double()), strict=True):
                for sample in piece.split(1, 1):
                    stepper.push(sample)
        done += u.shape[1]
        if done == reported:
            reported *= 10
            yield {**sizes, "n_pushes": done, **_drift(*steppers)}


def _drift(single: ModelStepper, double: ModelStepper) -> dict[str, Any]:
    """Return the largest deviations, relative to the largest number."""
    pairs = list(zip(single.state.layers, double.state.layers, strict=True))
    pairs.append((single.output(), double.output()))
    *states, output = (float((x - y).abs().max() / y.abs().max()) for x, y in pairs)
    return {
        "state_deviation": max(states),
        "output_deviation": output,
        "state_bytes": len(pickle.dumps(single.state)),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Run all parts, or the one that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["steps", "window", "soak"], help="default: all")
    parser.add_argument(
        "--repeats", type=int, default=101, help="timed runs (default: %(default)s)"
    )
    parser.add_argument(
        "--pushes", type=int, default=N_PUSHES, help="of the soak (default: %(default)s)"
    )
    options = parser.parse_args()
    for size in SIZES if options.only in (None, "steps") else ():
        row = step_case(size, options.repeats)
        key = (*asdict(size), "threads", "gpu")
        write_rows(RESULTS / "streaming_step.csv", [row], key=key, seed=SEED)
        print(
            f"{size}: "
            + ", ".join(f"{name} {x:.1f}" for name, x in row.items() if name[-2:] in ("us", "io")),
            flush=True,
        )
    for n_timepoints in WINDOWS if options.only in (None, "window") else ():
        row = window_case(n_timepoints, options.repeats)
        key = ("n_timepoints", "threads", "gpu")
        write_rows(RESULTS / "streaming_window.csv", [row], key=key, seed=SEED)
        print(
            f"after {n_timepoints}: stream {row['stream_us']:.0f}, predict "
            f"{row['predict_us']:.0f} us, ratio {row['ratio']:.0f}",
            flush=True,
        )
    for row in soak_cases(options.pushes) if options.only in (None, "soak") else ():
        key = ("n_pushes", "threads", "gpu")
        write_rows(RESULTS / "streaming_soak.csv", [row], key=key, seed=SEED)
        print(row, flush=True)


if __name__ == "__main__":
    main()
