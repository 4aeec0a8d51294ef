"""Time and memory of the S4 layer and block, beside a textbook S4 layer, LSTM and transformer.

Run from the repository's root::

    python -m benchmarks.bench_layer                  # everything, about half an hour on two cores
    python -m benchmarks.bench_layer time --lengths 1024 4096

Every case has ``batch * length`` = 32,768 at ``d_model`` 128 and ``d_state`` 64 in float32, unless
it says otherwise. ``forward_backward`` includes the gradient of the input. Times are medians of
runs in turns within one process; memory is the peak beyond imports, parameters and input, in a
process of its own.

Tables in ``benchmarks/results``:

- ``layer_time.csv``: seconds a pass, and the ratio to the S4 layer (or block) in the same run.
- ``layer_memory.csv``: peak memory of forward + backward.
- ``layer_scaling.csv``: cost of an element from 1,024 to 1,048,576 steps; memory of inference in
  pieces.
- ``layer_limit.csv``: the scan, given its operators, against batched matrix products of its shapes.
- ``layer_algorithms.csv``: nanoseconds an element of the compiled recurrence and of what
  ``algorithm="auto"`` runs without it, for many sizes.
- ``layer_step.csv``: milliseconds of a training step of four blocks, on both paths.
- ``layer_peak.csv``: the recurrence, given its operators, against the peak of multiply-adds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sks4 import _native, ssm
from sks4.nn import S4Block, S4Layer, S4Model

from ._common import (
    RESULTS,
    CaseFailedError,
    in_fresh_process,
    measure,
    time_interleaved,
    write_rows,
)
from .peers.textbook_s4 import TextbookS4

D_MODEL, D_STATE, ELEMENTS = 128, 64, 32_768
LENGTHS = (256, 1_024, 4_096, 16_384, 32_768)
SEED = 0


class Recurrent(nn.LSTM):
    """An LSTM layer that returns its output alone."""

    def forward(self, u: Tensor) -> Tensor:
        """Map ``u (batch, length, d_model)`` to the same shape."""
        return super().forward(u)[0]


class Layer(S4Layer):
    """An S4 layer as training uses it, without a final state."""

    def forward(self, u: Tensor) -> Tensor:
        """Map ``u (batch, length, d_model)`` to the same shape."""
        return super().forward(u, return_state=False)[0]


class Block(S4Block):
    """An S4 block as training uses it, without a final state."""

    def forward(self, u: Tensor) -> Tensor:
        """Map ``u (batch, length, d_model)`` to the same shape."""
        return super().forward(u, return_state=False)[0]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "s4_layer": lambda: Layer(D_MODEL, D_STATE),
    "s4d_layer": lambda: Layer(D_MODEL, D_STATE, "s4d"),
    "s4_layer_convolution": lambda: Layer(D_MODEL, D_STATE, algorithm="convolution"),
    "s4d_layer_convolution": lambda: Layer(D_MODEL, D_STATE, "s4d", algorithm="convolution"),
    "textbook_s4_layer": lambda: TextbookS4(D_MODEL, D_STATE),
    "s4_block": lambda: Block(D_MODEL, d_state=D_STATE),
    "lstm_layer": lambda: Recurrent(D_MODEL, D_MODEL, batch_first=True),
    "transformer_layer": lambda: nn.TransformerEncoderLayer(
        D_MODEL, 4, 4 * D_MODEL, dropout=0.0, batch_first=True
    ),
}


def case(model: str, batch: int, length: int, mode: str) -> Callable[[], Any]:
    """Return a function that runs one pass of a model."""
    torch.manual_seed(SEED)
    module = MODELS[model]()
    u = torch.randn(batch, length, D_MODEL, requires_grad=mode == "forward_backward")
    gradient = torch.randn_like(u)
    targets = [u, *(p for p in module.parameters() if p.numel())]

    def forward() -> None:
        with torch.no_grad():
            module(u)

    def forward_backward() -> None:
        torch.autograd.grad(module(u), targets, gradient)

    def pieces() -> None:
        state = None
        with torch.inference_mode():
            for piece in u.split(16_384, 1):
                _, state = S4Layer.forward(module, piece, state)

    if mode == "pieces":
        module.eval()
    return {"forward": forward, "forward_backward": forward_backward, "pieces": pieces}[mode]


def bench_time(lengths: list[int], repeats: int) -> None:
    """Time every model at every length, in turns."""
    for length in lengths:
        for mode in ("forward", "forward_backward"):
            functions = {m: case(m, ELEMENTS // length, length, mode) for m in MODELS}
            seconds = time_interleaved(functions, repeats=repeats)
            medians = {m: statistics.median(s) for m, s in seconds.items()}
            rows = []
            for model, median in medians.items():
                ours = "s4_layer" if "layer" in model and "s4" in model else "s4_block"
                rows.append(
                    {
                        "model": model,
                        "mode": mode,
                        "batch": ELEMENTS // length,
                        "length": length,
                        "milliseconds": 1e3 * median,
                        "fastest": 1e3 * min(seconds[model]),
                        "slowest": 1e3 * max(seconds[model]),
                        "times_s4": median / medians[ours],
                        "compared_with": ours,
                    }
                )
                print(
                    f"{length:>7} {mode:<17} {model:<22} {1e3 * median:9.1f} ms "
                    f"{median / medians[ours]:7.2f} x {ours}",
                    flush=True,
                )
            write_rows(RESULTS / "layer_time.csv", rows, key=("model", "mode", "length"), seed=SEED)


def bench_memory(lengths: list[int]) -> None:
    """Measure the peak memory of forward + backward of every model, each in its own process."""
    for length in lengths:
        for model in MODELS:
            row = {"model": model, "batch": ELEMENTS // length, "length": length}
            try:
                row["peak_mib"] = in_fresh_process(_peak, model, length) / 2**20
                print(f"{length:>7} {model:<22} {row['peak_mib']:9.1f} MiB", flush=True)
            except CaseFailedError as error:
                row["note"] = str(error)
                print(f"{length:>7} {model:<22} {error}", flush=True)
            write_rows(RESULTS / "layer_memory.csv", [row], key=("model", "length"), seed=SEED)


def _peak(model: str, length: int) -> int:
    return measure(case(model, ELEMENTS // length, length, "forward_backward")).peak_bytes


def bench_scaling() -> None:
    """Measure what an element costs from 1,024 to 1,048,576 steps, one sequence at a time."""
    for mode in ("forward_backward", "pieces"):
        for length in (1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576):
            batch = max(1, ELEMENTS // length)
            seconds, peak = in_fresh_process(_scaling, batch, length, mode)
            row = {
                "mode": mode,
                "batch": batch,
                "length": length,
                "nanoseconds_per_element": 1e9 * seconds / (batch * length * D_MODEL),
                "peak_mib": peak / 2**20,
            }
            print(row, flush=True)
            write_rows(RESULTS / "layer_scaling.csv", [row], key=("mode", "length"), seed=SEED)


def _scaling(batch: int, length: int, mode: str) -> tuple[float, int]:
    run = case("s4_layer", batch, length, mode)
    peak = measure(run).peak_bytes
    return statistics.median(time_interleaved({"s4": run}, repeats=5)["s4"]), peak


# batch, length, H, N
SIZES = (
    (8, 720, 64, 64),
    (8, 720, 64, 16),
    (16, 720, 64, 64),
    (32, 1_024, 128, 64),
    (32, 1_024, 128, 16),
    (2, 16_384, 128, 64),
    (8, 64, 64, 64),
    (1, 1, 64, 64),
    (1, 32, 4, 64),
    (8, 100, 3, 64),
    (8, 720, 7, 64),
    (8, 720, 9, 64),
    (1, 720, 1, 64),
    (64, 1_024, 1, 64),
    (64, 1_024, 9, 64),
    (32, 720, 256, 8),
)


def bench_algorithms(repeats: int) -> None:
    """Time the recurrence, what runs without it, and what "auto" chooses, in turns."""
    for kind in ("s4", "s4d"):
        for batch, length, H, N in SIZES:
            layers = {name: S4Layer(H, N, kind, algorithm="auto") for name in ("torch", "auto")}
            layers["recurrence"] = S4Layer(H, N, kind, algorithm="recurrence")
            for mode in ("evaluation", "forward_backward"):
                u = torch.randn(batch, length, H)
                functions = {
                    name: partial(_with_path, name, partial(_pass_of, layer, u, mode))
                    for name, layer in layers.items()
                }
                seconds = time_interleaved(functions, repeats=repeats, clock=_clock())
                nanoseconds = {
                    name: 1e9 * statistics.median(s) / u.numel() for name, s in seconds.items()
                }
                fastest = {name: min(s) for name, s in seconds.items()}
                row: dict[str, Any] = {"ssm": kind, "batch": batch, "length": length, "d_model": H}
                row |= {"d_state": N, "mode": mode}
                row |= {f"{name}_ns": value for name, value in nanoseconds.items()}
                row["torch_over_recurrence"] = fastest["torch"] / fastest["recurrence"]
                row["torch_over_auto"] = fastest["torch"] / fastest["auto"]
                print(row, flush=True)
                key = ("ssm", "batch", "length", "d_model", "d_state", "mode", "cpu", "threads")
                write_rows(RESULTS / "layer_algorithms.csv", [row], key=key, seed=SEED)


def bench_step(repeats: int) -> None:
    """Time a training step of a model of four blocks with and without compiled code, in turns."""
    for batch, N in ((8, 64), (16, 64), (8, 16)):
        torch.manual_seed(SEED)
        model = S4Model(1, 3, d_model=64, n_layers=4, d_state=N)
        optimizer = torch.optim.AdamW(model.parameters())
        u, target = torch.randn(batch, 720, 1), torch.randint(3, (batch,))
        step = partial(_step, model, optimizer, u, target)
        functions = {name: partial(_with_path, name, step) for name in ("torch", "auto")}
        seconds = time_interleaved(functions, repeats=repeats, clock=_clock())
        medians = {name: statistics.median(s) for name, s in seconds.items()}
        row = {"batch": batch, "length": 720, "d_model": 64, "n_layers": 4, "d_state": N}
        row |= {f"{name}_milliseconds": 1e3 * median for name, median in medians.items()}
        row["torch_over_auto"] = medians["torch"] / medians["auto"]
        print(row, flush=True)
        key = ("batch", "length", "d_state", "cpu", "threads")
        write_rows(RESULTS / "layer_step.csv", [row], key=key, seed=SEED)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, u: Tensor, target: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(u), target).backward()
    optimizer.step()


def _clock() -> Callable[[], float]:
    """Return a clock that other processes do not move, where a single thread computes."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _pass_of(layer: S4Layer, u: Tensor, mode: str) -> None:
    if mode == "evaluation":
        with torch.inference_mode():
            layer.eval()(u, return_state=False)
    else:
        parameters = [p for p in layer.train().parameters() if p.numel()]
        y, _ = layer(u.requires_grad_(), return_state=False)
        torch.autograd.grad(y, [u, *parameters], torch.ones_like(y))


def _with_path(path: str, function: Callable[[], Any]) -> None:
    """Call a function, without compiled code if the path is that of torch."""
    compiled = _native._core
    _native._core = None if path == "torch" else compiled
    try:
        function()
    finally:
        _native._core = compiled


def bench_peak(repeats: int) -> None:
    """Compare the recurrence, given its operators, with the peak of multiply-adds.

    A mode and sample takes 12 of them forward (8 of a diagonal system) and 30 backward (22);
    forming the states again, in the backward pass, is not counted. The peak is that of a product
    of matrices that stay in the cache.
    """
    A = torch.randn(512, 512)
    for kind, forward_work, backward_work in (("s4", 12, 30), ("s4d", 8, 22)):
        operator = S4Layer(64, 64, kind)._systems().step_operators(1.0, torch.float64)[0]
        leaves = [z.detach().requires_grad_() for z in (*operator.e, *operator[1:])]
        u = torch.randn(8, 720, 64, requires_grad=True)
        operator = ssm.StepOperator((leaves[0], leaves[1]), *leaves[2:])
        y, _ = ssm.recurrence(u, operator)
        targets = [u, *(z for z in leaves if z.numel())]
        gradient = torch.randn_like(y)
        functions: dict[str, Callable[[], Any]] = {
            "forward": partial(ssm.recurrence, u, operator),
            "backward": partial(torch.autograd.grad, y, targets, gradient, retain_graph=True),
            "product": partial(torch.mm, A, A),
        }
        best = {
            name: min(seconds)
            for name, seconds in time_interleaved(
                functions, repeats=repeats, clock=_clock()
            ).items()
        }
        peak = 512**3 / best["product"]
        modes = u.numel() * 32
        row = {
            "ssm": kind,
            "peak_gfma": peak / 1e9,
            "forward_share": modes * forward_work / best["forward"] / peak,
            "backward_share": modes * backward_work / best["backward"] / peak,
        }
        print(row, flush=True)
        key = ("ssm", "cpu", "threads")
        write_rows(RESULTS / "layer_peak.csv", [row], key=key, seed=SEED)


def bench_limit(lengths: list[int], repeats: int) -> None:
    """Compare the scan, given its operators, with the rate of batched products of its shapes.

    The work is ``2 (2 N + b + N^2 / b)`` flops an element and pass, and three passes for forward
    and backward together.
    """
    b, N = ssm.CHUNK_LENGTH, D_STATE
    rows = ELEMENTS // b
    flops = 3 * 2 * (2 * N + b + N * N / b) * ELEMENTS * D_MODEL
    U, UX = torch.randn(D_MODEL, rows, b), torch.randn(D_MODEL, rows, b + N)
    M = torch.randn(D_MODEL, b + N, b + N)
    products: dict[str, tuple[Callable[[], Any], int]] = {
        "samples to states": (lambda: torch.bmm(U, M[:, :b, b:]), b * N),
        "samples and states to outputs": (lambda: torch.bmm(UX, M[..., :b]), (b + N) * b),
        "gradient of the operator": (lambda: torch.bmm(UX.mT, UX), (b + N) ** 2),
    }
    for length in lengths:
        torch.manual_seed(SEED)
        with torch.no_grad():
            systems = Layer(D_MODEL, D_STATE)._systems()
            operator = systems.chunk_operators(b, 1.0, with_powers=False)[0]
        matrix = operator.matrix.detach().requires_grad_()
        operator = ssm.ChunkOperator(matrix, b, ())
        u = torch.randn(ELEMENTS // length, length, D_MODEL, requires_grad=True)
        scan = partial(_scan, u, operator, torch.randn_like(u))
        timed = {"scan": scan} | {name: run for name, (run, _) in products.items()}
        runs = time_interleaved(timed, repeats=repeats)
        seconds = {name: statistics.median(values) for name, values in runs.items()}
        work = {name: 2 * D_MODEL * rows * size for name, (_, size) in products.items()}
        rate = sum(work.values()) / sum(seconds[name] for name in work)
        row = {
            "length": length,
            "scan_milliseconds": 1e3 * seconds["scan"],
            "scan_gflops": flops / seconds["scan"] / 1e9,
            "product_gflops": rate / 1e9,
            "share_of_limit": flops / seconds["scan"] / rate,
        }
        print(row, flush=True)
        write_rows(RESULTS / "layer_limit.csv", [row], key=("length",), seed=SEED)


def _scan(u: Tensor, operator: ssm.ChunkOperator, gradient: Tensor) -> None:
    y, _ = ssm.scan(u, operator, return_state=False)
    torch.autograd.grad(y, (u, operator.matrix), gradient)


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts",
        nargs="*",
        default=[],
        help="time, memory, scaling, limit, algorithms, step, peak (all)",
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    parts = options.parts or ["limit", "time", "memory", "scaling", "algorithms", "step", "peak"]
    if "limit" in parts:
        bench_limit(options.lengths, options.repeats)
    if "time" in parts:
        bench_time(options.lengths, options.repeats)
    if "memory" in parts:
        bench_memory(options.lengths)
    if "scaling" in parts:
        bench_scaling()
    if "algorithms" in parts:
        bench_algorithms(options.repeats)
    if "step" in parts:
        bench_step(options.repeats)
    if "peak" in parts:
        bench_peak(options.repeats)


if __name__ == "__main__":
    main()
