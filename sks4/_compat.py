"""Private names of other libraries that this package relies on, all in one place."""

from typing import Any

from skorch import NeuralNet


class SkorchNet(NeuralNet):
    """Net of skorch whose default callbacks are those of a public method."""

    def default_callbacks(self) -> list[tuple[str, Any]]:
        """Return the callbacks that come before the user's, with their names."""
        return []

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return self.default_callbacks()
