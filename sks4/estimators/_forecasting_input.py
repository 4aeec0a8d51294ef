"""What the forecaster accepts: rows of time, observed ones and requested ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import _num_samples, check_consistent_length, validate_data

from sks4.estimators._calendar import CYCLES, CalendarFeatures
from sks4.estimators._observations import (
    Observations,
    TargetForm,
    check_covariates,
    check_series,
)
from sks4.estimators._old_base import S4Estimator
from sks4.estimators._sequences import check_weights
from sks4.estimators._timeline import Timeline, time_index


@dataclass(kw_only=True, eq=False, repr=False)
class TimeRowsS4(S4Estimator):
    """Base of the estimators whose rows are time: a series alone, or covariates and targets."""

    calendar: Sequence[str] | None = None

    # ------------------------------------------------------------------ rows with targets

    def _observations(
        self, X: Any, y: Any, sample_weight: Any = None, *, reset: bool
    ) -> Observations:
        """Check observed rows; `reset` learns their form, else they must follow those seen."""
        rows = self._rows(X, y, sample_weight, reset=reset)
        index = rows.timeline.index
        if not reset and index is not None:
            start = self._seen_.timeline.positions(index, self._data_name(X, y))[0]
            if start != len(self._seen_):
                raise ValueError(
                    "The rows must follow those seen so far, from "
                    f"{self._seen_.timeline.following(1)[0]} on, got {index[0]}. Pass every row "
                    "once, and rows without observation as missing values."
                )
        return rows

    def _rows(
        self, X: Any, y: Any, sample_weight: Any = None, *, reset: bool = False
    ) -> Observations:
        """Check rows of any time; without `reset`, their form must be that of fit."""
        if reset:
            self._is_series_only_ = y is None
            self._calendar_ = None if self.calendar is None else CalendarFeatures(self.calendar)
        elif self._is_series_only_ != (y is None):
            wanted = "the series alone" if self._is_series_only_ else "X and y"
            raise ValueError(
                f"Data must come as in fit, as {wanted}, got y={'None' if y is None else 'given'}."
            )
        data = X if y is None else y
        if y is not None:
            covariates = check_covariates(X)
        values = check_series(data, "X" if y is None else "y")
        if values.ndim == 2 or y is not None:
            validate_data(self, X, reset=reset, skip_check_array=True)
        elif reset:
            self.n_features_in_ = 1
        self._check_form(data, values, reset=reset)
        if y is None:
            covariates = np.empty((len(values), 0))
        check_consistent_length(covariates, values)
        timeline = Timeline(_common_index(X, y), len(values), self._data_name(X, y))
        if not reset:
            self._check_same_steps(timeline)
        return Observations(
            values.reshape(len(values), -1).copy(),  # (n_timepoints, n_targets), kept after fit
            self._with_calendar(covariates, timeline.index),
            check_weights(sample_weight, len(values)),
            timeline,
        )

    def _check_form(self, data: Any, values: np.ndarray, *, reset: bool) -> None:
        """Learn the form of the targets, or raise where it differs."""
        form = TargetForm.of(data, values)
        if reset:
            self._form_ = form
        else:
            self._form_.check_same(form, "X" if self._is_series_only_ else "y")

    def _check_same_steps(self, timeline: Timeline) -> None:
        """Raise if labeled rows do not have the steps of those in fit."""
        if timeline.index is None:
            return
        known = self._seen_.timeline if hasattr(self, "_seen_") else timeline
        known.check_same_steps(timeline)

    @staticmethod
    def _data_name(X: Any, y: Any) -> str:
        """Return what an error calls the data that carries the index."""
        return "X" if y is None or time_index(X) is not None else "y"

    # ------------------------------------------------------------------ rows to be forecast

    def _requested(self, X: Any) -> tuple[int, np.ndarray]:
        """Return the number of the first requested row, and the covariates of all of them."""
        index = time_index(X)
        n_rows = _num_samples(X)
        if n_rows == 0:
            raise ValueError("X must have one row at least for each forecast, got 0 rows.")
        if self._is_series_only_:
            covariates = np.empty((n_rows, 0))
        else:
            covariates = check_covariates(X)
            validate_data(self, X, reset=False, skip_check_array=True)
        timeline = self._seen_.timeline
        start = len(timeline)
        if index is not None:
            start = int(timeline.positions(index)[0])
        elif self._calendar_ is not None:
            index = timeline.following(n_rows)
        return start, self._with_calendar(covariates, index)

    def _truth(self, X: Any, y: Any) -> np.ndarray:
        """Return the truth of the rows that X asks for, if it is of the targets and times of fit.

        Returns an array of shape (n_rows,) or (n_rows, n_targets), float64, NaN where missing.
        """
        if y is None and not self._is_series_only_:
            raise ValueError("y must be given, since fit got X and y, got None.")
        data, name = (X, "X") if y is None else (y, "y")
        truth = check_series(data, name)
        self._form_.check_same(TargetForm.of(data, truth), name)
        check_consistent_length(X, truth)
        index = _common_index(X, y)
        if index is not None and time_index(X) is None:  # so X asks for the rows that follow
            timeline = self._seen_.timeline
            if timeline.positions(index, "y")[0] != len(timeline):
                raise ValueError(
                    "y must be of the rows that follow those seen, from "
                    f"{timeline.following(1)[0]} on, since X has no index, got {index[0]}. Give X "
                    "the index of y."
                )
        return truth

    # ------------------------------------------------------------------ the calendar

    def _with_calendar(self, covariates: np.ndarray, index: pd.Index | None) -> np.ndarray:
        """Return the covariates and the features of the calendar side by side."""
        if self._calendar_ is None:
            return covariates.copy()
        return np.column_stack([covariates, self._calendar_.transform(index)])

    def _check_calendar(self) -> None:
        """Raise ValueError if there is a name that is no feature of the calendar."""
        if self.calendar is None:
            return
        names = list(self.calendar)
        if not names or not all(isinstance(name, str) and name in CYCLES for name in names):
            raise ValueError(
                f"calendar must be None or a sequence of names among {list(CYCLES)}, got "
                f"{self.calendar!r}."
            )


def _common_index(X: Any, y: Any) -> pd.Index | None:
    """Return the labels of the rows of X and y, which must agree if both have some."""
    of_X, of_y = time_index(X), time_index(y)
    if of_X is not None and of_y is not None and not of_X.equals(of_y):
        raise ValueError(
            f"X and y must have the same index, got {of_X[0]} to {of_X[-1]} for X and {of_y[0]} to "
            f"{of_y[-1]} for y. Join them by time first, for example with X.join(y), or pass one "
            "of them as an array."
        )
    return of_X if of_X is not None else of_y
