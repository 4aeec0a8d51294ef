"""Features of the calendar, from an index of dates or periods."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import SplineTransformer

# First value, and how many there are before it starts again.
CYCLES = {
    "minute": (0, 60),
    "hour": (0, 24),
    "day_of_week": (0, 7),
    "day": (1, 31),
    "day_of_year": (1, 366),
    "month": (1, 12),
    "quarter": (1, 4),
}

# As many as there are days or quarters where these are few; else enough for the shape of a day.
_MAX_SPLINES = 12


class CalendarFeatures:
    """Smooth periodic features of the hour, the day of the week and the like.

    Each is encoded by periodic splines, so that the end of a cycle is near its beginning.

    Parameters
    ----------
    names : sequence of str
        Keys of `CYCLES`.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=30, freq="h")
    >>> CalendarFeatures(["hour", "day_of_week"]).transform(index).shape
    (30, 19)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [str(name) for name in names]
        cycles = {name: CYCLES[name] for name in self.names}
        splines = [
            (name, _periodic_splines(first, length), [name])
            for name, (first, length) in cycles.items()
        ]
        any_time = pd.DataFrame({name: [float(first)] * 2 for name, (first, _) in cycles.items()})
        self._encoder = ColumnTransformer(splines).fit(any_time)

    def transform(self, index: pd.Index | None) -> np.ndarray:
        """Return the features of each label.

        Parameters
        ----------
        index : DatetimeIndex, PeriodIndex or None
            Labels of the rows.

        Returns
        -------
        ndarray of shape (n_labels, n_features), float64
            Values from 0 to 1.

        Raises
        ------
        TypeError
            If the labels are neither dates nor periods.
        """
        if not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
            raise TypeError(
                f"calendar={self.names} needs a DatetimeIndex or a PeriodIndex, got rows without. "
                "Pass a Series or a DataFrame with such an index, or calendar=None."
            )
        fields = pd.DataFrame({name: getattr(index, name).astype(float) for name in self.names})
        return self._encoder.transform(fields)


def _periodic_splines(first: int, length: int) -> SplineTransformer:
    """Return splines over one cycle, whose ends meet."""
    n_splines = min(length, _MAX_SPLINES)
    knots = np.linspace(first, first + length, n_splines + 1)[:, np.newaxis]
    degree = min(3, n_splines - 1)
    return SplineTransformer(knots=knots, degree=degree, extrapolation="periodic")
