"""The compiled code: finding, checking and calling the optional extension module.

The module takes addresses and sizes, so one binary serves every version of Python and torch.
``SKS4_NATIVE=0`` in the environment turns it off, ``SKS4_NATIVE=require`` makes it an error that it
cannot be used; both count when this package is imported.
"""

import hashlib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_SOURCES = Path(__file__).parent / "src"

N_CALLS = {"forward": 0, "backward": 0, "block": 0, "step": 0, "draw": 0}
"""How often each pass, steps by a plan and draws ran compiled in this process, for tests."""


def _source_hash() -> str | None:
    """Return the hash of the sources beside this file, None if there are none."""
    files = sorted([*_SOURCES.glob("*.c"), *_SOURCES.glob("*.h")])
    if not files:
        return None
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _load(wanted: str) -> tuple[ModuleType | None, str]:
    """Return the module, or None and the reason."""
    if wanted not in ("0", "1", "require"):
        return None, f"SKS4_NATIVE must be 0, 1 or require, got {wanted!r}"
    if wanted == "0":
        return None, "turned off by SKS4_NATIVE=0"
    try:
        module = importlib.import_module("sks4._native._core")
    except ImportError as error:
        return None, f"not compiled, or it cannot be loaded ({error})"
    expected = _source_hash()
    if expected is not None and expected != module.SOURCE_HASH:
        return None, "compiled from other sources than those installed; install sks4 again"
    return module, f"{module.used()} instructions"


_wanted = os.environ.get("SKS4_NATIVE", "1")
_core, _reason = _load(_wanted)
if _core is None and _wanted != "0" and _wanted != "1":
    raise ImportError(f"The compiled code is required by SKS4_NATIVE, but {_reason}.")

BLOCK: int = 128 if _core is None else _core.BLOCK
"""Samples between the states that the forward pass keeps for the backward pass."""

RECENT: int = 0 if _core is None else _core.RECENT
"""Steps after which a summary counts them."""


def is_available() -> bool:
    """Return whether the compiled module is in use."""
    return _core is not None


def status() -> str:
    """Return in a few words whether the compiled module is in use, and why."""
    return ("compiled, " if is_available() else "torch: ") + _reason


def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets of this processor that were compiled for, the best first."""
    return () if _core is None else _core.instruction_sets()


def used_instruction_set() -> str:
    """Return the instruction set in use."""
    return _require().used()


def use_instruction_set(name: str) -> None:
    """Use one of :func:`instruction_sets` from now on, in all threads."""
    _require().use(name)


def lanes(*, double: bool) -> int:
    """Return how many features are computed at once, in single or double precision."""
    return _require().lanes(double)


def started_threads() -> int:
    """Return how many threads the compiled code has started; they wait until there is work."""
    return _require().started_threads()


def forward(numbers: Sequence[int]) -> None:
    """Run the recurrence; the order of the numbers is that of ``module.c``."""
    _call("forward", numbers)


def backward(numbers: Sequence[int]) -> None:
    """Run the adjoint of the recurrence; the order of the numbers is that of ``module.c``."""
    _call("backward", numbers)


def block(numbers: Sequence[float]) -> None:
    """Run an element-wise part of a block; the order of the numbers is that of ``module.c``."""
    _call("block", numbers)


def step(plan: int, address: int, n_steps: int, stride: int) -> None:
    """Take patches by a plan, whose layout is that of ``step.h``."""
    N_CALLS["step"] += 1
    _require().step(plan, address, n_steps, stride)


def draw(plan: int, noise: int, second: int, drawn: int, n_draws: int) -> None:
    """Draw values of all streams of a plan, with addresses of random numbers and of the result."""
    N_CALLS["draw"] += 1
    _require().draw(plan, noise, second, drawn, n_draws)


def refresh(plan: int) -> None:
    """Follow states of a plan that have been changed."""
    _require().refresh(plan)


def flush(plan: int) -> None:
    """Count in the summary of a plan what has not been counted yet."""
    _require().flush(plan)


def read(plan: int) -> None:
    """Write the outputs of a plan for all steps so far."""
    _require().read(plan)


def _call(name: str, numbers: Sequence[float]) -> None:
    getattr(_require(), name)(*numbers)
    N_CALLS[name] += 1


def _require() -> Any:
    if _core is None:
        raise RuntimeError(f"There is no compiled code: {_reason}.")
    return _core
