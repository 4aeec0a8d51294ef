"""Forecasts of series: rows are time."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from sks4._validation import check_weights
from sks4.estimators._forecasting_ahead import AheadS4


@dataclass(kw_only=True, eq=False, repr=False)
class S4Forecaster(RegressorMixin, AheadS4):
    """Forecast series with a structured state space model; rows are time.

    Windows of the past are freed from their own level and scale, read by S4 blocks and a linear
    map, and continued over the whole horizon at once. Every window of the series is a training
    sample.

    Parameters
    ----------
    horizon : int, default=24
        Number of rows that the model forecasts at once. More rows are forecast by rolling on.
    context_length : int or "auto", default="auto"
        Number of past rows that a forecast reads. "auto": 512, or a third of the rows if that is
        less, in whole patches.
    loss : {"squared_error", "absolute_error", "huber", "quantile"}, default="absolute_error"
        Loss, over targets scaled to standard deviation 1. "absolute_error" forecasts the median,
        "squared_error" the mean, "quantile" several quantiles, the median being the forecast.
    quantiles : sequence of float or None, default=None
        Rising levels of the quantiles: those learned with ``loss="quantile"``, and those that
        `predict_quantiles` and `backtest` give. None: 0.025, 0.1, 0.25, 0.5, 0.75, 0.9 and 0.975,
        and none in the backtest with another loss.
    channels : {"independent", "mixed"}, default="independent"
        Whether each of several targets is forecast from its own past, with the same weights for
        all, or all from the past of all.
    calendar : sequence of str or None, default=None
        Features of the index to use as covariates: "minute", "hour", "day_of_week", "day",
        "day_of_year", "month", "quarter".
    d_model : int, default=16
        Width of the model: number of features, each with a state space of its own.
    n_layers : int, default=2
        Number of S4 blocks, one after the other.
    d_state : int, default=16
        Number of state variables of each state space, even.
    ssm : {"s4", "s4d"}, default="s4d"
        State matrix: diagonal plus low-rank, or diagonal.
    init : {"legs", "legt", "fout", "lin", "inv"}, default="legs"
        Initial state matrix: "legs", "legt" or "fout" for s4; "legs", "lin" or "inv" for s4d.
    dt_min, dt_max : float or "auto", default=0.01, 0.1
        Range of the initial steps of the state spaces, in patches. A feature remembers about
        ``1/dt`` of them. "auto": ``dt_min`` is about 1 over the length of the context, and
        ``dt_max`` 100 times as large.
    bidirectional : bool, default=False
        Whether every block also reads the context backwards.
    patch_size : int, default=24
        Number of rows that make one step of the model.
    pooling : {"all", "mean", "last", "max"}, default="all"
        What the head reads: the features of all steps, or those of one pooled step.
    dropout : float, default=0.3
        Probability that a feature is left out of a training step, from 0 up to but not 1.
    norm : {"layer", "batch"} or None, default="layer"
        Normalization within the blocks: over the features of a step, or of each feature over the
        real steps of the batch (in prediction: running statistics).
    prenorm : bool, default=True
        Whether blocks normalize their input, or else their output.
    max_epochs : int or "auto", default="auto"
        Number of passes over the training windows. "auto": enough for about 350 optimizer
        steps, from 3 to 100.
    batch_size : int or "auto", default="auto"
        Windows in a training batch. "auto": 64, fewer of many series.
    lr : float, default=0.002
        Learning rate at the peak of the schedule.
    ssm_lr : float, default=0.002
        Learning rate of the state matrices and their steps.
    weight_decay : float, default=0.01
        Weight decay of AdamW, for the matrices outside of the state spaces.
    lr_schedule : {"cosine"} or None, default="cosine"
        Factor of the learning rates: a short rise, then half a cosine down to zero over the whole
        run, or over `max_time` where that is shorter. None: constant.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient of all parameters; None for no limit.
    validation_fraction : float, default=0.1
        Share of the rows, the last ones, to set aside as validation data if none is given;
        `horizon` and ten rows at least.
    early_stopping : bool or "auto", default="auto"
        Whether training watches the loss on validation data, stops when it no longer improves, and
        ends with the best weights. Intervals are calibrated on this data, too. "auto": if there
        is enough data to set some aside. False: nothing is set aside.
    patience : int, default=20
        Epochs without improvement after which training stops early.
    max_time : float or None, default=None
        Seconds after which training ends, as planned by the schedule; None for no limit.
    standardize : {"window", "global"} or None, default="window"
        Scale targets and covariates to mean 0 and standard deviation 1 over all training rows, and
        with "window" also each window by its own level and scale. None: values stay as they are.
    missing : {"mask", "ffill", "error"}, default="mask"
        What happens to NaN in the targets: filled by the last value before it, and with "mask"
        left out of level and scale of a window; or an error. What is missing is never a target.
    device : str, default="auto"
        Where to compute, in the words of torch, such as "cpu" or "cuda:1". "auto": the GPU if
        there is one.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model computes.
    compile : bool, default=False
        Whether to compile the model with ``torch.compile``.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, dropout, batches and the validation split. With an int, two
        fits are identical on a CPU at equal numbers of threads. None: another one in each fit.
        Global generators are neither used nor changed, unless passed.
    verbose : {0, 1, 2}, default=0
        1: a progress bar, if stderr is a terminal. 2: a line for each epoch.
    net_callbacks : list or None, default=None
        Callbacks of skorch, as instances, classes or pairs of a name and one of them. Each fit
        works on clones.
    net_params : dict or None, default=None
        Anything else that skorch's net takes, such as ``{"optimizer__betas": (0.9, 0.95)}``.
    warm_start : bool, default=False
        Whether fit goes on from the weights, the optimizer and the scaling of the last fit.

    Attributes
    ----------
    context_length_ : int
        Number of past rows that a forecast reads.
    net_ : S4Net
        The trained net of skorch; ``net_.module_`` is the model.
    history_ : History
        What skorch recorded of each epoch.
    n_epochs_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch of the weights that are kept, from 1; the last one without early stopping.
    n_parameters_ : int
        Number of parameters of the model.
    dt_range_ : tuple of float
        Range of the initial steps.
    batch_size_ : int
        Windows in a batch.
    max_epochs_ : int
        Epochs planned by the last call of fit.
    encoder_ : SeriesEncoder
        Scaling of the targets and the covariates, and treatment of missing values.
    n_features_in_ : int
        Number of columns of X in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if all are strings.

    See Also
    --------
    S4Regressor : For sequences with a value each.

    References
    ----------
    Gu, Goel and Ré 2022 (Efficiently Modeling Long Sequences with Structured State Spaces,
    arXiv:2111.00396); Kim et al. 2022 (Reversible Instance Normalization, ICLR), the scaling of
    windows.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sks4 import S4Forecaster
    >>> index = pd.date_range("2024-01-01", periods=400, freq="h")
    >>> series = pd.Series(np.sin(np.arange(400) * 2 * np.pi / 24), index, name="tide")
    >>> small = {"d_model": 8, "n_layers": 1, "max_epochs": 10, "lr": 0.01, "random_state": 0}
    >>> forecaster = S4Forecaster(horizon=12, **small).fit(series)
    >>> forecast = forecaster.forecast()
    >>> forecast.index[0], len(forecast)
    (Timestamp('2024-01-17 16:00:00'), 12)
    >>> bool((abs(forecast - np.sin(np.arange(400, 412) * 2 * np.pi / 24)) < 0.1).all())
    True
    """

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Train on rows of time, the last of which are those that forecasts follow.

        Each call begins anew, unless ``warm_start=True``: where it raises an error after the
        parameters were checked, as over the data, what an earlier fit had learned is gone.

        Parameters
        ----------
        X : array-like of shape (n_timepoints,), (n_timepoints, n_targets) or, with y, \
(n_timepoints, n_features)
            Without `y`, the series to forecast. With `y`, what is known ahead of each row, perhaps
            no columns; NaN where missing. An index of dates, periods or integers must be regular.
        y : array-like of shape (n_timepoints,) or (n_timepoints, n_targets), or None, default=None
            The series to forecast, NaN where a value is missing.
        X_val, y_val : like X and y, or None, default=None
            Rows that follow those of X, as validation data. Without them the last block of X may
            be set aside; see `early_stopping`. Forecasts follow the last row of X in any case.
        sample_weight : array-like of shape (n_timepoints,) or None, default=None
            What each row counts in the loss when it is forecast.

        Returns
        -------
        self : S4Forecaster
            The fitted forecaster.

        Raises
        ------
        ValueError, TypeError
            If a parameter, the data or its index is not valid, or there are too few rows.
        TrainingDivergedError
            If the loss becomes NaN or infinite.
        KeyboardInterrupt
            If the user interrupts. The estimator can predict if an epoch was finished.

        Warns
        -----
        ValidationSplitWarning
            If ``early_stopping=True`` and there are too few rows to set some aside.
        """
        return self._fit(X, y, X_val, y_val, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Append rows to those seen, and train one epoch on the windows that end in them.

        The first call trains on all windows, and fixes the scaling and whatever else depends on
        the data. The learning rates are constant, and there is no validation.

        Parameters
        ----------
        X, y : array-like
            Rows that follow those seen so far, in the form of `fit`.
        sample_weight : array-like of shape (n_timepoints,) or None, default=None
            What each row counts in the loss.

        Returns
        -------
        self : S4Forecaster
            The forecaster, trained for one epoch more.

        Raises
        ------
        ValueError, TypeError
            If a parameter, the data or its index is not valid.
        """
        return self._partial_fit(X, y, sample_weight)

    def update(self, X: Any, y: Any = None) -> Self:
        """Append what has been observed, without training.

        Forecasts follow the new rows, and intervals learn from how well the forecasts of these rows
        have covered them. Each call is one step of that adaptation for its rows together, so
        frequent calls adapt best.

        Parameters
        ----------
        X, y : array-like
            Rows that follow those seen so far, in the form of `fit`.

        Returns
        -------
        self : S4Forecaster
            The forecaster.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If the rows do not follow those seen, or their form is not that of `fit`.
        """
        check_is_fitted(self)
        self._update(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return one forecast for each row of X.

        Rows of an array always follow the last row seen. Rows with an index are aligned by it: rows
        that were seen are forecast one step ahead, each from the context before it; rows to come
        from all that was seen, also across a gap, in which covariates stay as they were.

        Parameters
        ----------
        X : array-like of shape (n_rows,) or (n_rows, n_features)
            What is known ahead of the rows to forecast. Where `fit` got a series alone, only the
            length and the index are read.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets), float64
            Forecasts; the median where quantiles are learned.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If the index has a hole, is not the continuation of that of `fit`, or begins within the
            first context; if features differ from those of `fit`; or a forecast is not finite.
        """
        check_is_fitted(self)
        return self._form_.arrange(self._point(self._forecasts(X).outputs))

    def score(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> float:
        """Return the coefficient of determination of the forecasts of X.

        Parameters
        ----------
        X : array-like
            Rows to forecast, as in `predict`; without `y`, they also are the truth.
        y : array-like of shape (n_rows,) or (n_rows, n_targets), or None, default=None
            The truth, in the form of `fit`, and with the index of X if both have one. Rows in which
            a value is missing are left out.
        sample_weight : array-like of shape (n_rows,) or None, default=None
            Weights of the rows in the mean.

        Returns
        -------
        float
            1 minus the squared error over that of the mean of the truth, averaged over the targets.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            As in `predict`, and if the truth does not have the columns of `fit`, or is of other
            rows than the forecasts: nothing is realigned.
        """
        check_is_fitted(self)
        truth = self._truth(X, y)
        predicted = self.predict(X)
        known = ~np.isnan(truth.reshape(len(truth), -1)).any(axis=1)
        weights = check_weights(sample_weight, len(truth))
        return float(r2_score(truth[known], predicted[known], sample_weight=weights[known]))

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False  # a series alone is enough
        tags.target_tags.multi_output = True
        tags.input_tags.allow_nan = True
        return tags
