"""What the forecaster reads: rows of time, those to be forecast, and those of the future."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_consistent_length

from sks4._compat import n_samples_of
from sks4._validation import check_weights
from sks4.data import (
    Calendar,
    Columns,
    TargetForm,
    Timeline,
    TimeRows,
    as_weights,
    check_covariates,
    check_each_observed,
    check_requested_rows,
    check_series,
    labels_in,
    time_index,
)
from sks4.estimators._features import Features, read_features

_NAME = "S4Forecaster"


@dataclass(frozen=True, eq=False)
class SeriesReader:
    """The form of the data in fit, which later data must have.

    Attributes
    ----------
    is_series_only : bool
        Whether a series came alone, without covariates.
    form : TargetForm
        The form of the targets.
    features : Features
        The columns of X.
    calendar : Calendar or None
        Features of the index.
    timeline : Timeline
        The labels of the rows in fit.
    """

    is_series_only: bool
    form: TargetForm
    features: Features
    calendar: Calendar | None
    timeline: Timeline

    # ------------------------------------------------------------------ rows with targets

    @classmethod
    def fit(
        cls, X: Any, y: Any, sample_weight: Any, calendar: Calendar | None
    ) -> tuple[Self, TimeRows]:
        """Return a reader for data like these, and the rows.

        Raises
        ------
        ValueError, TypeError
            If the data or its index is not valid.
        """
        values, covariates = _checked(X, y)
        reader = cls(
            y is None,
            TargetForm.of(X if y is None else y, values),
            _features(X, y, values, None),
            calendar,
            Timeline(_common_index(X, y), len(values), _data_name(X, y)),
        )
        return reader, reader._rows(values, covariates, sample_weight, reader.timeline)

    def read(self, X: Any, y: Any = None, sample_weight: Any = None) -> TimeRows:
        """Return rows of any time.

        Raises
        ------
        ValueError, TypeError
            If they do not have the form of fit, or are not at its steps.
        """
        values, covariates = self._checked_like_fit(X, y)
        index = _common_index(X, y)
        timeline = self.timeline.elsewhere(index, len(values), _data_name(X, y))
        return self._rows(values, covariates, sample_weight, timeline)

    def read_following(
        self, seen: TimeRows, X: Any, y: Any = None, sample_weight: Any = None
    ) -> TimeRows:
        """Return rows that follow those seen.

        Raises
        ------
        ValueError, TypeError
            If they do not have the form of fit, or do not follow.
        """
        values, covariates = self._checked_like_fit(X, y)
        index = _common_index(X, y)
        following = seen.timeline.following(len(values))
        if index is not None:
            start = seen.timeline.positions(index, _data_name(X, y))[0]
            if start != len(seen):
                raise ValueError(
                    f"The rows must follow those seen so far, from {following[0]} on, got "
                    f"{index[0]}. Pass every row once, and rows without observation as missing "
                    "values."
                )
        timeline = Timeline(None, len(values))
        if seen.timeline.has_labels:
            timeline = seen.timeline.elsewhere(following, len(values))
        return self._rows(values, covariates, sample_weight, timeline)

    def read_history(self, history: Any, context_length: int) -> TimeRows:
        """Return rows that forecasts should follow instead of those seen.

        Raises
        ------
        ValueError, TypeError
            As in `read`, and if there are too few rows, or a target has no value.
        """
        is_pair = isinstance(history, tuple) and len(history) == 2
        if not self.is_series_only and not is_pair:
            raise ValueError(
                "history must be a tuple (X, y), since fit got X and y, got "
                f"{type(history).__name__}."
            )
        rows = self.read(*history) if is_pair else self.read(history)
        if len(rows) < context_length:
            raise ValueError(
                f"history must have context_length_={context_length} rows at least, got "
                f"{len(rows)}."
            )
        check_each_observed(rows.columns().values, self.form.names, "of history")
        return rows

    def form_of(self, X: Any, y: Any = None) -> TargetForm:
        """Return the form of the targets of other data."""
        data, name = (X, "X") if y is None else (y, "y")
        return TargetForm.of(data, check_series(data, name))

    def _checked_like_fit(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and covariates, or raise if they do not have the form of fit."""
        if self.is_series_only != (y is None):
            wanted = "the series alone" if self.is_series_only else "X and y"
            raise ValueError(
                f"Data must come as in fit, as {wanted}, got y={'None' if y is None else 'given'}."
            )
        values, covariates = _checked(X, y)
        _features(X, y, values, self.features)
        form = TargetForm.of(X if y is None else y, values)
        self.form.check_same(form, "X" if self.is_series_only else "y")
        return values, covariates

    def _rows(
        self, values: np.ndarray, covariates: np.ndarray, sample_weight: Any, timeline: Timeline
    ) -> TimeRows:
        """Return checked columns as rows, with copies of the values."""
        check_consistent_length(covariates, values)
        columns = Columns(
            values.reshape(len(values), -1).copy(),  # (n_timepoints, n_targets)
            self._with_calendar(covariates, timeline.labels() if timeline.has_labels else None),
            check_weights(as_weights(sample_weight), len(values)),
        )
        return TimeRows((columns,), timeline)

    # ------------------------------------------------------------------ rows to be forecast

    def requested(self, X: Any, seen: TimeRows) -> tuple[int, np.ndarray]:
        """Return the number of the first row that X requests, and the covariates of all of them.

        Parameters
        ----------
        X : array-like, DataFrame, or dates
            The rows, or their labels if nothing else is known of them.
        seen : TimeRows
            The rows seen, which those of an array follow.

        Raises
        ------
        ValueError, TypeError
            If the index has a hole, or is not that of fit and its continuation, or the features
            are not those of fit.
        """
        check_requested_rows(X)
        X = self._rows_of_labels(X, seen.timeline)
        index, n_rows = time_index(X), n_samples_of(X)
        if n_rows == 0:
            raise ValueError("X must have one row at least for each forecast, got 0 rows.")
        covariates = np.empty((n_rows, 0))
        if not self.is_series_only:
            covariates = check_covariates(X)
            read_features(_NAME, X, self.features)
        start = len(seen)
        if index is not None:
            start = int(seen.timeline.positions(index)[0])
            index = seen.timeline.comparable(index, "X")
        elif self.calendar is not None:
            index = seen.timeline.following(n_rows)
        return start, self._with_calendar(covariates, index)

    def check_start(self, start: int, seen: TimeRows, context_length: int) -> None:
        """Raise ValueError if the first row requested has no context of rows that were seen."""
        if start >= context_length:
            return
        labels = seen.timeline.labels()  # there are some, since X has an index
        raise ValueError(
            f"X must begin after the first context_length_={context_length} rows of fit, "
            f"from which the first forecast follows, got the index from {labels[start]} on, "
            f"row {start} of fit. Leave these rows out. If X is of rows that follow those of "
            f"fit, its index must go on from {seen.timeline.following(1)[0]}: set it, or pass "
            "X.to_numpy()."
        )

    def ahead(self, seen: TimeRows, start: int, covariates: np.ndarray) -> np.ndarray:
        """Return the covariates of the rows after those seen, up to the last one requested.

        Those of a gap before the first one requested are NaN, but for features of the calendar.
        """
        n_gap = start - len(seen)
        if n_gap <= 0:
            return covariates[-n_gap:]
        n_given = 0 if self.is_series_only else self.features.n_features
        gap = np.full((n_gap, n_given), np.nan)
        labels = seen.timeline.following(n_gap) if self.calendar is not None else None
        return np.concatenate([self._with_calendar(gap, labels), covariates])

    def future(self, X_future: Any, timeline: Timeline, n_steps: int) -> np.ndarray:
        """Return the covariates of the rows that follow a timeline.

        Raises
        ------
        ValueError, TypeError
            If `X_future` is missing, is given without need, or is not of these rows.
        """
        given = np.empty((n_steps, 0))
        labels = timeline.following(n_steps) if timeline.has_labels else None
        if self.is_series_only and X_future is not None:
            raise ValueError("X_future must be None, since fit got a series alone, got some.")
        n_features = 0 if self.is_series_only else self.features.n_features
        if X_future is None and n_features:
            raise ValueError(
                f"X_future must have {n_steps} rows and {n_features} columns, as X in fit, got "
                "None."
            )
        if X_future is not None:
            X_future = self._rows_of_labels(X_future, timeline)
            given = check_covariates(X_future, "X_future")
            read_features(_NAME, X_future, self.features)
            index = time_index(X_future)
            start = len(timeline)
            if index is not None:
                start = timeline.positions(index, "X_future")[0]
            if len(given) != n_steps or start != len(timeline):
                after = "" if labels is None else f" from {labels[0]} on"
                raise ValueError(
                    f"X_future must have the {n_steps} rows{after} that follow the last one known, "
                    f"got {len(given)} rows{'' if index is None else f' from {index[0]} on'}."
                )
        return self._with_calendar(given, labels)

    def truth(self, X: Any, y: Any, seen: TimeRows) -> np.ndarray:
        """Return the truth of the rows that X requests, if it has the targets and times of fit.

        Returns an array of shape (n_rows,) or (n_rows, n_targets), float64, NaN where missing.
        """
        if y is None and not self.is_series_only:
            raise ValueError("y must be given, since fit got X and y, got None.")
        data, name = (X, "X") if y is None else (y, "y")
        truth = check_series(data, name)
        if y is not None:
            X = self._rows_of_labels(X, seen.timeline)
        self.form.check_same(TargetForm.of(data, truth), name)
        check_consistent_length(X, truth)
        index = _common_index(X, y)
        if index is not None and time_index(X) is None:  # so X requests the rows that follow
            timeline = seen.timeline
            if timeline.positions(index, "y")[0] != len(timeline):
                raise ValueError(
                    "y must be of the rows that follow those seen, from "
                    f"{timeline.following(1)[0]} on, since X has no index, got {index[0]}. Give X "
                    "the index of y."
                )
        return truth

    def _rows_of_labels(self, X: Any, timeline: Timeline) -> Any:
        """Return labels without data as a frame without columns, anything else as it is."""
        index = labels_in(X, timeline.first)
        if index is None:
            return X
        if not self.is_series_only and self.features.n_features:
            raise ValueError(
                f"X must have the {self.features.n_features} columns that it had in fit, got dates "
                "alone. Pass a frame with these columns and the dates as its index."
            )
        return pd.DataFrame(index=index)

    def _with_calendar(self, covariates: np.ndarray, index: pd.Index | None) -> np.ndarray:
        """Return the covariates and the features of the calendar side by side."""
        if self.calendar is None:
            return covariates.copy()
        return np.column_stack([covariates, self.calendar.transform(index)])


def _checked(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return targets (n_timepoints,) or (n_timepoints, n_targets), and covariates."""
    if y is None:
        values = check_series(X, "X")
        return values, np.empty((len(values), 0))
    covariates = check_covariates(X)
    return check_series(y, "y"), covariates


def _features(X: Any, y: Any, values: np.ndarray, known: Features | None) -> Features:
    """Return the features of X, or raise if they are not those known."""
    if values.ndim == 1 and y is None:
        return Features(1, None)
    return read_features(_NAME, X, known)


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


def _data_name(X: Any, y: Any) -> str:
    """Return what an error calls the data that carries the index."""
    return "X" if y is None or time_index(X) is not None else "y"
