"""The state of a training at one moment."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sks4._compat import SkorchNet


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Weights, optimizer, random numbers and history of a net at one moment.

    Attributes
    ----------
    module, optimizer : dict
        Copies of the states.
    generator : Tensor
        State of the generator.
    epochs : tuple of dict
        Rows of the history. They are shared: the rows of finished epochs do not change.
    """

    module: dict[str, Tensor]
    optimizer: dict[str, Any]
    generator: Tensor
    epochs: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, net: SkorchNet) -> "Snapshot":
        """Return the snapshot of an initialized net."""
        return cls(
            copied(net.module_.state_dict()),
            copied(net.optimizer_.state_dict()),
            net.generator_.get_state(),
            tuple(net.history),
        )

    def restore(self, net: SkorchNet) -> None:
        """Bring a net with a module and an optimizer of the same form to this moment.

        The history is empty until all else is in place, so that a net never has finished epochs
        that do not belong to its weights, also if this is interrupted.
        """
        net.history.clear()
        net.module_.load_state_dict(self.module)
        net.optimizer_.load_state_dict(copied(self.optimizer))  # which would share the tensors
        net.generator_.set_state(self.generator)
        net.history.extend(self.epochs)


def copied(state: Any) -> Any:
    """Return a state of nested dicts and lists with copies of all tensors; the rest is shared."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copied(value) for value in state]
    return state


def generator_from(state: bytes) -> torch.Generator:
    """Return a generator of the CPU that continues from a stored state."""
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator
