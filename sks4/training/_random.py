"""Random numbers that belong to one model and not to the process."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def _global_generators(device: torch.device) -> dict[str, torch.Generator]:
    """Return torch's global generators that work on `device` draws from, by device type."""
    generators = {"cpu": torch.default_generator}
    if device.type == "cuda":
        torch.cuda.init()  # the generators exist from here on
        index = torch.cuda.current_device() if device.index is None else device.index
        generators["cuda"] = torch.cuda.default_generators[index]
    return generators


class RandomStream:
    """A stream of random numbers that borrows torch's global generators.

    Layers such as dropout draw from the global generators only. Inside :meth:`installed` these are
    seeded, or go on where the stream stopped; outside they are as they were found. This covers the
    generators of the CPU and of CUDA devices. Those of NumPy and of Python are never touched.

    Parameters
    ----------
    seed : int
        Seed from 0 to ``2**63 - 1``.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._states: dict[str, Tensor] = {}

    @contextmanager
    def installed(self, device: str | torch.device = "cpu") -> Iterator[None]:
        """Let the global generators of the CPU and of `device` continue this stream."""
        generators = _global_generators(torch.device(device))
        found = {name: generator.get_state() for name, generator in generators.items()}
        try:
            for name, generator in generators.items():
                if name in self._states:
                    generator.set_state(self._states[name])
                else:
                    generator.manual_seed(self.seed)
            yield
        finally:
            for name, generator in generators.items():
                self._states[name] = generator.get_state()
                generator.set_state(found[name])
