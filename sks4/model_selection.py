"""Cross-validation over many series."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from sks4._validation import check_integer

__all__ = ["PanelTimeSeriesSplit"]


class PanelTimeSeriesSplit(BaseCrossValidator):
    """Split rows of many series by time: train on what came before, test on what follows.

    Like :class:`sklearn.model_selection.TimeSeriesSplit`, for a Series or frame with two levels of
    row labels, (series, time). All series are cut at the same times, whatever their lengths, so
    nothing of the future of one series is known in the training part of another. Rows of a series
    without any row in the training part are left out of the test part.

    Parameters
    ----------
    n_splits : int, default=5
        Number of splits.
    test_size : int or None, default=None
        Number of times in each test part, such as the horizon; None: as many as in
        `TimeSeriesSplit`, the number of times over ``n_splits + 1``.
    gap : int, default=0
        Number of times between the training part and the test part.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sks4.model_selection import PanelTimeSeriesSplit
    >>> index = pd.MultiIndex.from_product([["a", "b"], range(6)], names=["store", "day"])
    >>> sales = pd.Series(np.arange(12.0), index)
    >>> for train, test in PanelTimeSeriesSplit(n_splits=2, test_size=2).split(sales):
    ...     print(train, test)
    [0 1 6 7] [2 3 8 9]
    [0 1 2 3 6 7 8 9] [ 4  5 10 11]
    """

    def __init__(self, n_splits: int = 5, *, test_size: int | None = None, gap: int = 0) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.gap = gap

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits; the arguments are ignored."""
        return check_integer("n_splits", self.n_splits)

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the positions of the rows of each training and test part.

        Parameters
        ----------
        X : Series or DataFrame
            Row labels are (series, time).
        y, groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of int
            Positions of rows.

        Raises
        ------
        TypeError
            If X has no such labels.
        ValueError
            If a parameter is not valid, or there are too few times.
        """
        index = X.index if isinstance(X, (pd.Series, pd.DataFrame)) else X
        if not isinstance(index, pd.MultiIndex) or index.nlevels != 2:
            raise TypeError(
                "X must be a Series or a frame with row labels (series, time), got "
                f"{type(X).__name__}. Set them with X.set_index([series, time])."
            )
        n_splits = self.get_n_splits()
        gap = check_integer("gap", self.gap, minimum=0)
        codes, times = pd.factorize(index.get_level_values(1), sort=True)
        size = len(times) // (n_splits + 1)
        if self.test_size is not None:
            size = check_integer("test_size", self.test_size)
        first = len(times) - n_splits * size
        if size < 1 or first - gap < 1:
            raise ValueError(
                f"There must be more than n_splits * test_size + gap = {n_splits} * {max(size, 1)} "
                f"+ {gap} times, got {len(times)}. Pass fewer splits, or smaller parts."
            )
        series = pd.factorize(index.get_level_values(0))[0]
        for start in range(first, len(times), size):
            train = codes < start - gap
            is_known = np.isin(series, series[train])
            test = (codes >= start) & (codes < start + size) & is_known
            yield np.flatnonzero(train), np.flatnonzero(test)
