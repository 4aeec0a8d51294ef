"""What was recorded of each epoch of a training."""

from numbers import Real
from typing import Any

import pandas as pd
from skorch.history import History


class TrainingHistory(History):
    """List of one dict for each epoch, with the columns of skorch's history.

    Besides the indices of a list it takes tuples of up to four: epochs, columns of epochs, batches,
    and columns of batches. Its representation is one line, however many epochs and batches it has.

    Examples
    --------
    >>> from sks4.training import TrainingHistory
    >>> history = TrainingHistory()
    >>> for epoch, loss in [(1, 0.5), (2, 0.25)]:
    ...     history.new_epoch()
    ...     history.record("epoch", epoch)
    ...     history.record("train_loss", loss)
    >>> history
    <TrainingHistory of 2 epochs: train_loss 0.5 to 0.25>
    >>> history[:, "train_loss"]
    [0.5, 0.25]
    >>> history.to_frame()
           train_loss
    epoch
    1            0.50
    2            0.25
    """

    def __repr__(self) -> str:
        """Return the number of epochs, and the first and the last losses and scores."""
        n_epochs = len(self)
        head = f"<{type(self).__name__} of {n_epochs} epoch{'s' * (n_epochs != 1)}"
        courses = [self._course(name) for name in self._columns() if _is_shown(name)]
        return f"{head}: {', '.join(courses)}>" if courses else f"{head}>"

    __str__ = __repr__

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each epoch.

        Returns
        -------
        DataFrame of shape (n_epochs, n_columns)
            Numbers and flags that were recorded of each epoch, NaN where one was not, indexed by
            the number of the epoch. What was recorded of single batches is left out.
        """
        names = self._columns()
        rows = [{name: row.get(name) for name in names} for row in self.to_list()]
        numbers = [row.get("epoch", i) for i, row in enumerate(self.to_list(), start=1)]
        return pd.DataFrame(rows, index=pd.Index(numbers, name="epoch"), columns=names)

    def _columns(self) -> list[str]:
        """Return the columns of epochs that hold numbers, in the order they were recorded in."""
        found: dict[str, None] = {}
        for row in self.to_list():
            found |= {name: None for name, value in row.items() if isinstance(value, Real)}
        return [name for name in found if name != "epoch"]

    def _course(self, name: str) -> str:
        """Return the first and the last value of a column."""
        values: list[Any] = [row[name] for row in self.to_list() if name in row]
        first, last = f"{float(values[0]):.4g}", f"{float(values[-1]):.4g}"
        return f"{name} {last}" if len(values) == 1 else f"{name} {first} to {last}"


def _is_shown(name: str) -> bool:
    """Return whether a column is a loss or a score."""
    return name.endswith(("_loss", "_score", "_acc"))
