"""Forecasts of the rows that follow: those seen, another history, or every origin of a backtest."""

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from sks4._validation import check_integer
from sks4.estimators._backtest import backtest_frame
from sks4.estimators._forecasting_errors import CalibratedS4, Forecasts
from sks4.estimators._forecasting_stream import ForecasterStream
from sks4.estimators._observations import Observations, check_covariates, check_each_observed
from sks4.estimators._timeline import time_index


@dataclass(kw_only=True, eq=False, repr=False)
class AheadS4(CalibratedS4):
    """Base of the forecaster: forecasts without rows that ask for them."""

    def forecast(
        self, horizon: int | None = None, *, history: Any = None, X_future: Any = None
    ) -> Any:
        """Return forecasts of the rows that follow.

        Parameters
        ----------
        horizon : int or None, default=None
            Number of rows. Beyond the horizon of the model, it rolls on over its own forecasts.
            None: that horizon, or the number of rows of `X_future`.
        history : array-like, tuple (X, y) or None, default=None
            Other rows that the forecasts follow, in the form of `fit`, `context_length_` at
            least; None: those seen.
        X_future : array-like of shape (horizon, n_features) or None, default=None
            What is known ahead of the rows to forecast, where `fit` got such columns.

        Returns
        -------
        ndarray, Series or DataFrame of shape (horizon,) or (horizon, n_targets)
            Forecasts, with the labels of their rows if the targets came with an index.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If `horizon` is not a positive integer, there is too little history, or `X_future` is
            missing, or does not have `horizon` rows that follow the last one known.
        """
        check_is_fitted(self)
        rows = self._seen_ if history is None else self._history(history)
        if horizon is None:
            horizon = self._horizon_ if X_future is None else _num_samples(X_future)
        n_steps = check_integer("horizon", horizon)
        covariates = self._future_covariates(rows, X_future, n_steps)
        series = self._encode(rows, np.concatenate([rows.covariates, covariates]))
        outputs = self._roll_out(series, np.array([len(rows)]), n_steps)[0]
        labels = None if rows.timeline.index is None else rows.timeline.following(n_steps)
        return self._form_.label(self._point(outputs), labels)

    def backtest(
        self, X: Any, y: Any = None, *, horizon: int | None = None, stride: int = 1
    ) -> pd.DataFrame:
        """Forecast from every origin in some rows, and return forecasts beside the truth.

        The first origin follows the first `context_length_` rows of what is passed; what was seen
        in `fit` is not used.

        Parameters
        ----------
        X, y : array-like
            Rows in the form of `fit`.
        horizon : int or None, default=None
            Number of steps from each origin; None: the horizon of the model.
        stride : int, default=1
            Number of rows from one origin to the next.

        Returns
        -------
        DataFrame
            Columns "origin" (label of the last known row), "step" (from 1), "target", "truth" (NaN
            if missing), "forecast" and, with ``loss="quantile"`` or `quantiles` given, one for each
            level, named by the number. With another loss than "quantile", the level 0.5 is the
            forecast plus the median of its errors on the validation rows, not the forecast itself.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If the rows are not of the form of `fit`, or too few for one origin.
        """
        check_is_fitted(self)
        rows = self._rows(X, y)
        n_steps = check_integer("horizon", self._horizon_ if horizon is None else horizon)
        stride = check_integer("stride", stride)
        origins = np.arange(self.context_length_, len(rows) - n_steps + 1, stride)
        if len(origins) == 0:
            raise ValueError(
                f"A backtest needs context_length_ + horizon = {self.context_length_} + {n_steps} "
                f"rows at least, got {len(rows)}. Pass also the rows before the first origin."
            )
        check_each_observed(rows.values, self._form_.names, "passed")
        outputs = self._roll_out(self._encode(rows), origins, n_steps)
        truth = np.lib.stride_tricks.sliding_window_view(rows.values, n_steps, axis=0)[origins]
        return backtest_frame(
            rows.timeline.labels()[origins - 1],
            self._form_.names,
            truth.swapaxes(1, 2),  # (n_origins, n_steps, n_targets)
            self._point(outputs),
            self._backtest_quantiles(outputs),
        )

    def stream(self, n_streams: int = 1) -> ForecasterStream:
        """Return an object that reads series row by row, in constant memory.

        Parameters
        ----------
        n_streams : int, default=1
            Number of series side by side, each with all targets.

        Returns
        -------
        ForecasterStream
            With ``push(sample)``, ``forecast()``, ``reset()`` and ``copy()``. It has read nothing
            yet. At any time it forecasts what `forecast` does with everything pushed as `history`.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError
            If `fit` got covariates or a calendar, or `n_streams` is not positive.

        Examples
        --------
        >>> import numpy as np
        >>> from sks4 import S4Forecaster
        >>> wave = np.sin(np.arange(100) * 0.3)
        >>> small = {"d_model": 4, "n_layers": 1, "max_epochs": 1, "random_state": 0}
        >>> forecaster = S4Forecaster(horizon=6, context_length=24, **small).fit(wave)
        >>> stream = forecaster.stream().push(wave[np.newaxis, :60])
        >>> np.allclose(stream.forecast(), forecaster.forecast(history=wave[:60]), atol=1e-5)
        True
        """
        check_is_fitted(self)
        return ForecasterStream(self, n_streams)

    def _without_rows(self) -> Self:
        """Return a copy with weights of its own, and without what grows with the rows seen."""
        other = copy.copy(self)
        other.net_ = copy.deepcopy(self.net_)
        for name in ("_seen_", "_calibration_", "_adaptive_"):
            delattr(other, name)
        return other

    def _history(self, history: Any) -> Observations:
        """Check rows that forecasts shall follow."""
        is_pair = isinstance(history, tuple) and len(history) == 2
        if not self._is_series_only_ and not is_pair:
            raise ValueError(
                "history must be a tuple (X, y), since fit got X and y, got "
                f"{type(history).__name__}."
            )
        rows = self._rows(*history) if is_pair else self._rows(history, None)
        if len(rows) < self.context_length_:
            raise ValueError(
                f"history must have context_length_={self.context_length_} rows at least, got "
                f"{len(rows)}."
            )
        check_each_observed(rows.values, self._form_.names, "of history")
        return rows

    def _future_covariates(self, rows: Observations, X_future: Any, n_steps: int) -> np.ndarray:
        """Check the covariates of the rows that follow, and add those of the calendar."""
        given = np.empty((n_steps, 0))
        labels = None if rows.timeline.index is None else rows.timeline.following(n_steps)
        if self._is_series_only_ and X_future is not None:
            raise ValueError("X_future must be None, since fit got a series alone, got some.")
        if not self._is_series_only_ and (X_future is not None or self.n_features_in_):
            if X_future is None:
                raise ValueError(
                    f"X_future must have {n_steps} rows and {self.n_features_in_} columns, as X in "
                    "fit, got None."
                )
            validate_data(self, X_future, reset=False, skip_check_array=True)
            given = check_covariates(X_future)
            index = time_index(X_future)
            first = len(rows) if index is None else rows.timeline.positions(index, "X_future")[0]
            if len(given) != n_steps or first != len(rows):
                after = "" if labels is None else f" from {labels[0]} on"
                raise ValueError(
                    f"X_future must have the {n_steps} rows{after} that follow the last one known, "
                    f"got {len(given)} rows{'' if index is None else f' from {index[0]} on'}."
                )
        return self._with_calendar(given, labels)

    def _backtest_quantiles(self, outputs: np.ndarray) -> dict[float, np.ndarray]:
        """Return the quantiles of a backtest by level, each (n_origins, n_steps, n_targets)."""
        if self._learned_levels_ is not None:
            learned = self._learned_levels_.tolist()
            return {level: outputs[..., i] for i, level in enumerate(learned)}
        if self.quantiles is None:
            return {}
        levels = self._levels()
        steps = np.minimum(np.arange(outputs.shape[1]), self._horizon_ - 1)
        shape = (len(steps), outputs.shape[2], len(levels))
        zero = Forecasts(np.zeros(shape[:2] + (1,)), steps)
        errors = self._quantiles(zero, np.broadcast_to(levels, shape))
        return {level: outputs[..., 0] + errors[..., i] for i, level in enumerate(levels)}
