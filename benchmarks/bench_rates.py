"""Spoken digits at other sampling rates than the one of training, without training again.

Run from the repository's root, with the folder of ``fsdd.npz`` in ``--data-dir``::

    python -m benchmarks.bench_rates                       # hours: 9.3 million samples an epoch
    python -m benchmarks.bench_rates --n-train 600 --n-test 300 --max-time 300 --d-model 32 \
        --n-layers 2 --d-state 32                          # half an hour on one core

Classifiers are trained on raw recordings at 8 kHz, and tested on other recordings at 8 kHz, and
resampled (with an anti-alias filter) to 4 and 16 kHz. The state space models are told the sampling
rate; beside, what they do when they are not. A convolutional network has no such knob. Into
``results/rates.csv``.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.signal import resample_poly
from sklearn.metrics import accuracy_score

from sks4 import S4Classifier

from ._common import RESULTS, Split, add_data_option, load_spoken_digits, measure, write_rows
from .peers._classifier import NetworkClassifier
from .peers.inception_time import InceptionNet

SEED = 0
RATE = 8_000
RATES = (8_000, 4_000, 16_000)


def s4(options: argparse.Namespace, **parameters: Any) -> S4Classifier:
    sizes = {name: getattr(options, name) for name in ("d_model", "n_layers", "d_state")}
    return S4Classifier(
        **{name: size for name, size in sizes.items() if size is not None},
        **parameters,
        max_epochs=options.max_epochs or "auto",
        max_time=options.max_time,
        early_stopping=False,
        readout="trained",  # what a regression adds does not depend on the rule
        random_state=SEED,
    )


def inception(options: argparse.Namespace) -> NetworkClassifier:
    n_epochs = options.max_epochs or 100
    return NetworkClassifier(
        InceptionNet, max_epochs=n_epochs, max_time=options.max_time, random_state=SEED
    )


# A limit of 0.5 at 8 kHz leaves modes up to 2 kHz: all that is left of the sound at 4 kHz.
METHODS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "s4 bilinear": s4,
    "s4d zoh": lambda options: s4(options, ssm="s4d"),
    "s4d zoh, bandlimit=1": lambda options: s4(options, ssm="s4d", bandlimit=1.0),
    "s4d zoh, bandlimit=0.5": lambda options: s4(options, ssm="s4d", bandlimit=0.5),
    "inception": inception,
}


def resampled(X: list[np.ndarray], rate: int) -> list[np.ndarray]:
    """Return recordings at another sampling rate, as if they had been made at it."""
    if rate == RATE:
        return X
    divisor = int(np.gcd(rate, RATE))
    return [resample_poly(x.astype(np.float64), rate // divisor, RATE // divisor) for x in X]


def chosen(split: Split, options: argparse.Namespace) -> Split:
    """Return a random part of the recordings, of the first so many digits."""
    rng = np.random.default_rng(SEED)
    parts: list[Any] = []
    for X, y, n in (
        (split.X_train, split.y_train, options.n_train),
        (split.X_test, split.y_test, options.n_test),
    ):
        rows = np.flatnonzero(y < options.n_digits)
        rows = rng.permutation(rows)[:n]
        parts += [[X[i] for i in rows], y[rows]]
    return Split(*parts)


def evaluations(model: Any, split: Split) -> Iterator[dict[str, Any]]:
    """Yield the accuracy at each sampling rate, told and not told."""
    for rate in RATES:
        X = resampled(split.X_test, rate)
        told = [False, True] if isinstance(model, S4Classifier) and rate != RATE else [False]
        for is_told in told:
            arguments = {"sampling_rate": rate} if is_told else {}
            accuracy = accuracy_score(split.y_test, model.predict(X, **arguments))
            yield {"sampling_rate": rate, "told": is_told, "accuracy": float(accuracy)}


def method_rows(name: str, split: Split, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train one method and return its rows."""
    model = METHODS[name](options)
    rate = {"sampling_rate": RATE} if isinstance(model, S4Classifier) else {}
    fit = measure(lambda: model.fit(split.X_train, split.y_train, **rate))
    about = {
        "method": name,
        "n_train": len(split.X_train),
        "n_test": len(split.X_test),
        "n_digits": options.n_digits,
        "d_model": getattr(model, "d_model", ""),
        "n_layers": getattr(model, "n_layers", ""),
        "n_epochs": len(model.net_.history),
        "fit_seconds": fit.seconds,
    }
    return [about | row for row in evaluations(model, split)]


def main() -> None:
    """Train and test the methods that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--n-train", type=int, help="recordings to train on (default: all)")
    parser.add_argument("--n-test", type=int, help="recordings to test on (default: all)")
    parser.add_argument("--n-digits", type=int, default=10, help="use the digits below this one")
    parser.add_argument("--max-epochs", type=int, help="default: that of the estimator")
    parser.add_argument("--max-time", type=float, help="seconds of training (default: no limit)")
    for name in ("d-model", "n-layers", "d-state"):
        parser.add_argument(f"--{name}", type=int, help="default: that of the estimator")
    options = parser.parse_args()
    split = chosen(load_spoken_digits(options.data_dir, "official"), options)
    key = ("method", "n_train", "n_digits", "d_model", "n_layers", "sampling_rate", "told")
    for name in options.methods:
        rows = method_rows(name, split, options)
        write_rows(RESULTS / "rates.csv", rows, key=key, seed=SEED)
        for row in rows:
            told = ", told" if row["told"] else ""
            print(f"{name} at {row['sampling_rate']} Hz{told}: {row['accuracy']:.3f}", flush=True)


if __name__ == "__main__":
    main()
