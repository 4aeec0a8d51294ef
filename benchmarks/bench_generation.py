"""Generation: symbols a second beside a transformer, and likelihoods of text and of images.

Run from the repository's root::

    python -m benchmarks.bench_generation speed           # ten minutes on one core
    python -m benchmarks.bench_generation text            # bounded by --max-time
    python -m benchmarks.bench_generation images          # scikit-learn's digits
    python -m benchmarks.bench_generation images --data mnist --picture mnist.png

``speed``: one more symbol after a context of so many, by compiled code, by ``S4Stepper`` and by a
transformer of the same depth and number of parameters with a cache of keys and values, in turns;
into ``results/generation_speed.csv``. ``text``: bits a byte of English text that Python ships,
held-out files, beside the compressors of the standard library; into
``results/generation_text.csv``.
``images``: bits a pixel of images as sequences of pixels, row by row, and a picture of samples and
completions; into ``results/generation_images.csv``.
"""

import argparse
import bz2
import lzma
import math
import pydoc_data.topics
import statistics
import sysconfig
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from sks4 import S4Generator
from sks4.nn import CompiledDraws, S4Model, S4Stepper
from sks4.training import CategoricalLikelihood

from ._common import (
    RESULTS,
    add_data_option,
    data_file,
    n_cores,
    time_interleaved,
    write_rows,
)
from .peers.transformer_generator import HEAD_WIDTH, TransformerGenerator

SEED = 0

# ---------------------------------------------------------------------- speed

N_SYMBOLS = 256
N_LAYERS = 4
N_STEPS = 16  # symbols generated in each timed run
CONTEXTS = (256, 1_024, 4_096, 16_384)


def s4_model(d_model: int) -> S4Model:
    """Return a model of symbols with fresh weights: the time does not depend on them."""
    torch.manual_seed(SEED)
    options = {"d_model": d_model, "n_layers": N_LAYERS, "head": "step", "inputs": "symbols"}
    return S4Model(N_SYMBOLS, N_SYMBOLS, **options).requires_grad_(False).eval()


def transformer(n_wanted: int, max_length: int) -> TransformerGenerator:
    """Return a transformer of the same depth, as near as its heads allow in parameters.

    A layer has about ``12 d^2``: four matrices of the attention, and twice ``d x 4 d``.
    """
    torch.manual_seed(SEED)
    a, b = 12 * N_LAYERS, 2 * N_SYMBOLS
    width = (-b + math.sqrt(b**2 + 4 * a * n_wanted)) / (2 * a)
    d_model = HEAD_WIDTH * max(1, round(width / HEAD_WIDTH))
    model = TransformerGenerator(N_SYMBOLS, d_model, N_LAYERS, 4 * d_model, max_length)
    return model.requires_grad_(False).eval()


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def torch_steps(model: S4Model, batch: int) -> Callable[[], None]:
    """Return the generation of some symbols; the context is in the state, whatever its length."""
    stepper, draw = S4Stepper(model.backbone, batch), CategoricalLikelihood().sample
    generator = torch.Generator().manual_seed(SEED)

    @torch.inference_mode()
    def generate() -> None:
        u = torch.zeros(batch, dtype=torch.int64)
        for _ in range(N_STEPS):
            u = draw(model.head.linear(stepper.step(u)), generator=generator)

    return generate


@torch.inference_mode()
def compiled_steps(model: S4Model, batch: int) -> Callable[[], None]:
    """Return the same by compiled code, in one call; random numbers included."""
    features, state = model.backbone.advance(torch.zeros(batch, 1, dtype=torch.int64))
    output, noise = model.head.linear(features[:, -1]), CategoricalLikelihood().noise
    draws = CompiledDraws(model, "categorical", state.layers, output, temperature=1.0)
    generator = torch.Generator().manual_seed(SEED)
    return lambda: draws.draw(noise(N_STEPS, output, generator))


def transformer_steps(model: TransformerGenerator, batch: int, context: int) -> Callable[[], None]:
    """Return the generation of the last symbols of a context; what is cached does not matter."""
    model.allocate(batch)
    draw = CategoricalLikelihood().sample
    generator = torch.Generator().manual_seed(SEED)

    @torch.inference_mode()
    def generate() -> None:
        u = torch.zeros(batch, dtype=torch.int64)
        for position in range(context - N_STEPS, context):
            u = draw(model.step(u, position), generator=generator)

    return generate


def speed_case(d_model: int, batch: int, context: int, repeats: int) -> dict[str, Any]:
    """Return symbols a second of both after one length of context."""
    s4 = s4_model(d_model)
    other = transformer(n_parameters(s4), context)
    functions = {
        "s4": compiled_steps(s4, batch),
        "s4_torch": torch_steps(s4, batch),
        "transformer": transformer_steps(other, batch, context),
    }
    seconds = {
        name: statistics.median(times) / N_STEPS
        for name, times in time_interleaved(
            functions, repeats=repeats, warmup=2, clock=time.process_time
        ).items()
    }
    return {
        "d_model": d_model,
        "n_layers": N_LAYERS,
        "batch": batch,
        "context": context,
        "s4_parameters": n_parameters(s4),
        "transformer_d_model": other.head.in_features,
        "transformer_parameters": n_parameters(other),
        **{f"{name}_per_second": batch / one for name, one in seconds.items()},
        "ratio": seconds["transformer"] / seconds["s4"],
        "torch_ratio": seconds["transformer"] / seconds["s4_torch"],
        "repeats": repeats,
    }


def run_speed(options: argparse.Namespace) -> None:
    for d_model in options.d_model:
        for batch in options.batch:
            for context in options.contexts:
                row = speed_case(d_model, batch, context, options.repeats)
                key = ("d_model", "batch", "context", "threads", "gpu")
                write_rows(RESULTS / "generation_speed.csv", [row], key=key, seed=SEED)
                print(
                    f"d_model={d_model}, batch={batch}, context={context}: S4 "
                    f"{row['s4_per_second']:.0f}, by torch {row['s4_torch_per_second']:.0f}, "
                    f"transformer {row['transformer_per_second']:.0f} symbols a second, ratios "
                    f"{row['ratio']:.1f} and {row['torch_ratio']:.1f}",
                    flush=True,
                )


# ---------------------------------------------------------------------- text

PIECE = 512  # bytes of a training sequence
PARAGRAPH = b"\n\n"


def documents() -> dict[str, bytes]:
    """Return English text that comes with Python: its license, and its language reference."""
    texts = {
        f"topic {name}": text.encode() for name, text in sorted(pydoc_data.topics.topics.items())
    }
    license_file = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    if license_file.is_file():
        texts["license"] = license_file.read_bytes()
    return texts


def text_split() -> tuple[list[bytes], list[bytes]]:
    """Return the documents to train on, and every tenth, which is held out.

    Documents quote each other, so paragraphs that are held out are taken from the others.
    """
    texts = list(dict.fromkeys(documents().values()))
    test = texts[::10]
    held_out = {paragraph for text in test for paragraph in text.split(PARAGRAPH)}
    train = [
        PARAGRAPH.join(part for part in text.split(PARAGRAPH) if part not in held_out)
        for i, text in enumerate(texts)
        if i % 10
    ]
    return train, test


def pieces(texts: list[bytes], size: int) -> list[bytes]:
    """Cut documents into sequences of equal length; the rest of a document is left out."""
    return [t[i : i + size] for t in texts for i in range(0, len(t) - size + 1, size)]


def compressed_bits(train: list[bytes], test: list[bytes]) -> dict[str, float]:
    """Return bits a held-out byte of compressors that have read the training text before."""
    before, both = b"".join(train), b"".join(train + test)
    n_bytes = len(both) - len(before)
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "zlib": lambda text: zlib.compress(text, 9),
        "bz2": bz2.compress,
        "lzma": lambda text: lzma.compress(text, preset=9),
    }
    return {
        name: 8 * (len(compress(both)) - len(compress(before))) / n_bytes
        for name, compress in compressors.items()
    }


def run_text(options: argparse.Namespace) -> None:
    train, test = text_split()
    sequences = pieces(train, PIECE)
    generator = S4Generator(
        d_model=options.width,
        max_epochs=options.max_epochs,
        max_time=options.max_time,
        early_stopping=False,
        random_state=SEED,
        verbose=2,
    )
    seen = set(b"".join(train))
    test = [bytes(b for b in text if b in seen) for text in test]
    start = time.perf_counter()
    generator.fit(sequences)
    row = {
        "d_model": options.width,
        "n_parameters": generator.n_parameters_,
        "train_bytes": len(sequences) * PIECE,
        "test_bytes": sum(map(len, test)),
        "seconds": time.perf_counter() - start,
        "n_epochs": generator.n_epochs_,
        "train_bits_per_byte": generator.bits_per_dim(sequences[::20]),
        "bits_per_byte": generator.bits_per_dim(test),
        **{f"{name}_bits_per_byte": bits for name, bits in compressed_bits(train, test).items()},
    }
    write_rows(RESULTS / "generation_text.csv", [row], key=("d_model",), seed=SEED)
    print(row)
    sampled = generator.sample(length=400, prompt=b"The ", temperature=0.7, random_state=SEED)
    print(bytes(sampled[0].tolist()).decode(errors="replace"))


# ---------------------------------------------------------------------- images

MNIST_SIZE = 28


@dataclass(frozen=True)
class Images:
    """Images as sequences of pixels (n, size ** 2), numbers below `levels`."""

    train: np.ndarray
    test: np.ndarray
    size: int
    levels: int


def load_digits_images() -> Images:
    """Return the digits of scikit-learn, the last 297 of them held out."""
    X = load_digits().data.astype(np.uint8)
    return Images(X[:1500], X[1500:], size=8, levels=17)


def load_mnist(folder: Path, size: int, levels: int) -> Images:
    """Return MNIST; smaller than 28 x 28, means of blocks of pixels, without the border."""
    with np.load(data_file(folder, "mnist.npz")) as data:
        parts = [_reduced(data[name], size) for name in ("X_train", "X_test")]
    train, test = (x.reshape(len(x), -1) // (256 // levels) for x in parts)
    return Images(train, test, size, levels)


def _reduced(images: np.ndarray, size: int) -> np.ndarray:
    """Return uint8 images ``(n, size, size)``."""
    factor = MNIST_SIZE // size
    border = (MNIST_SIZE - factor * size) // 2
    inside = slice(border, border + factor * size)
    images = images.reshape(-1, MNIST_SIZE, MNIST_SIZE)[:, inside, inside]
    blocks = images.reshape(-1, size, factor, size, factor)
    return blocks.mean(axis=(2, 4)).astype(np.uint8)


def run_images(options: argparse.Namespace) -> None:
    images = (
        load_mnist(options.data_dir, options.size, options.levels)
        if options.data == "mnist"
        else load_digits_images()
    )
    generator = S4Generator(
        d_model=options.width,
        max_epochs=options.max_epochs,
        max_time=options.max_time,
        early_stopping=False,
        random_state=SEED,
        verbose=2,
    )
    rng = np.random.default_rng(SEED)  # files may be sorted by class
    train = images.train[rng.permutation(len(images.train))[: options.n_train]]
    test = images.test[rng.permutation(len(images.test))[: options.n_test]]
    start = time.perf_counter()
    generator.fit(train[:, np.newaxis])  # (n, 1, pixels): of any length when they are scored
    row = {
        "data": options.data,
        "size": images.size,
        "levels": images.levels,
        "d_model": options.width,
        "n_parameters": generator.n_parameters_,
        "n_train": len(train),
        "n_test": len(test),
        "n_epochs": generator.n_epochs_,
        "seconds": time.perf_counter() - start,
        "train_bits_per_dim": generator.bits_per_dim(train[:500, np.newaxis]),
        "bits_per_dim": generator.bits_per_dim(test[:, np.newaxis]),
        "independent_bits_per_dim": independent_bits(train, test, images.levels),
    }
    key = ("data", "size", "levels", "d_model")
    write_rows(RESULTS / "generation_images.csv", [row], key=key, seed=SEED)
    print(row, flush=True)
    if options.picture is not None:
        draw_images(generator, test, images, options.picture)


def independent_bits(train: np.ndarray, test: np.ndarray, levels: int) -> float:
    """Return bits a pixel of a model that knows how often each place has each grey value."""
    counts = np.ones((train.shape[1], levels))
    for level in range(levels):
        counts[:, level] += (train == level).sum(axis=0)
    log_probability = np.log2(counts / counts.sum(axis=1, keepdims=True))
    return float(-log_probability[np.arange(train.shape[1]), test].mean())


def draw_images(generator: S4Generator, test: np.ndarray, images: Images, path: Path) -> None:
    """Write a picture: two rows of samples, then upper halves, their completions, the truth."""
    import matplotlib.image

    n, n_pixels = 12, images.size**2
    samples = generator.sample(2 * n, random_state=SEED)
    given = test[:n, : n_pixels // 2]
    completed = generator.sample(n, prompt=given, random_state=SEED)
    shown = np.zeros((n, n_pixels))
    shown[:, : given.shape[1]] = given
    rows = [samples[:n], samples[n:], shown, completed, test[:n]]
    tiles = [[np.pad(x.reshape(images.size, -1), 1) for x in row] for row in rows]
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
    zoom = -(-MNIST_SIZE // images.size) * 2
    matplotlib.image.imsave(path, np.kron(sheet, np.ones((zoom, zoom))), cmap="gray")


# ---------------------------------------------------------------------- all


def main() -> None:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True)
    speed = parts.add_parser("speed")
    speed.set_defaults(run=run_speed)
    speed.add_argument("--repeats", type=int, default=15)
    speed.add_argument("--d-model", type=int, nargs="+", default=[64, 256])
    speed.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    speed.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS)
    text = parts.add_parser("text")
    text.set_defaults(run=run_text)
    images = parts.add_parser("images")
    images.set_defaults(run=run_images)
    add_data_option(images)
    images.add_argument("--data", choices=["digits", "mnist"], default="digits")
    images.add_argument("--size", type=int, default=MNIST_SIZE, help="pixels a side of MNIST")
    images.add_argument("--levels", type=int, default=256, help="grey values of MNIST")
    images.add_argument("--n-train", type=int, default=60_000)
    images.add_argument("--n-test", type=int, default=1_000)
    images.add_argument("--picture", type=Path, help="PNG file to write")
    for part in (text, images):
        part.add_argument("--width", type=int, default=64)
        part.add_argument("--max-epochs", type=int, default=20)
        part.add_argument("--max-time", type=float, default=1_200, help="seconds of training")
    options = parser.parse_args()
    print(f"{n_cores()} cores, {torch.get_num_threads()} threads", flush=True)
    options.run(options)


if __name__ == "__main__":
    main()
