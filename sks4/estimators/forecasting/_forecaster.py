"""The forecaster: rows are time."""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sks4._compat import Interval, StrOptions, n_samples_of
from sks4._validation import check_integer, check_positive, check_weights
from sks4.data import (
    Calendar,
    Columns,
    EncodedSeries,
    SeriesContainer,
    SeriesEncoder,
    SeriesItems,
    Timeline,
    TimeRows,
    as_weights,
    check_calendar,
    check_each_observed,
    container_of,
    holds_many_series,
)
from sks4.estimators._auto import resolve_dt_range
from sks4.estimators._base import Interruption, Run, S4Estimator, Trained, draw_seeds
from sks4.estimators._targets import r_squared
from sks4.estimators.forecasting import _panel_training as panels
from sks4.estimators.forecasting import _training as training
from sks4.estimators.forecasting._backtest import backtest_frame, backtest_origins
from sks4.estimators.forecasting._intervals import (
    DEFAULT_LEVELS,
    Intervals,
    check_levels,
    rows_at_once,
)
from sks4.estimators.forecasting._panel import (
    About,
    OneSeries,
    SeriesRows,
    canonical_order,
    naming,
    read_panel,
    scaled_series,
)
from sks4.estimators.forecasting._panel_forecaster import PanelForecaster
from sks4.estimators.forecasting._predictor import Forecasts, WindowPredictor, Windows
from sks4.estimators.forecasting._reader import SeriesReader
from sks4.estimators.forecasting._stream import ForecasterStream
from sks4.exceptions import ValidationSplitWarning
from sks4.nn import S4ForecastModel
from sks4.training import REGRESSION_LOSSES, WeightAverage

_AVERAGE_DECAY = 0.99


@dataclass(kw_only=True, eq=False, repr=False)
class S4Forecaster(RegressorMixin, S4Estimator):
    """Forecast series with a structured state space model; rows are time.

    Each window of the past is normalized by its own level and scale, read by S4 blocks and by a
    linear map, and continued over the whole horizon at once. Every window of the series is a
    training sample. A short series without covariates has a base forecast, too: a naive forecast or
    an exponential smoothing, whichever has the smallest error from origins within the series; a
    smoothing is averaged with the one under which the series is the most likely. The network
    corrects it by as much as held-out windows confirm.

    One model can forecast many series of different lengths and dates, each in its own scale; see
    the user guide.

    Parameters
    ----------
    horizon : int, default=24
        Number of rows that the model forecasts at once. More rows are forecast by rolling on.
    context_length : int or "auto", default="auto"
        Number of past rows that a forecast reads. "auto": half of the rows, or three seasons if
        that is more, at most 512, in whole patches. Of many series, eight seasons at most.
    loss : {"squared_error", "absolute_error", "huber", "quantile"}, default="absolute_error"
        Loss, over targets scaled to standard deviation 1. "absolute_error" forecasts the median,
        "squared_error" the mean, "quantile" several quantiles, the median being the forecast.
    quantiles : sequence of float or None, default=None
        Rising levels of the quantiles: those learned with ``loss="quantile"``, and those that
        `predict_quantiles` and `backtest` return. None: 0.025, 0.1, 0.25, 0.5, 0.75, 0.9 and 0.975,
        and none in the backtest with another loss.
    channels : {"independent", "mixed"}, default="independent"
        Whether each of several targets is forecast from its own past, with the same weights for
        all, or all from the past of all.
    calendar : str, sequence of str or None, default=None
        Features of the index to use as covariates: "minute", "hour", "day_of_week", "day",
        "day_of_year", "week", "month", "quarter".
    holidays : str, sequence of dates or None, default=None
        Holidays to use as a covariate: the code of a country, such as "DE", or of a part of one,
        such as "DE-BY" (needs ``pip install "sks4[holidays]"``), or dates. Of a date, whether its
        day is a holiday; of a period, the number of holidays in it.
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
    patch_size : int or "auto", default="auto"
        Number of rows that make one step of the model. "auto": a season of 4 to 32 rows, if the
        context has three; otherwise 24, or a tenth of the context if that is less. Seasons are
        those of the frequency of the index, or what the values show.
    pooling : {"all", "mean", "last", "max"}, default="all"
        What the head reads: the features of all steps, or those of one pooled step.
    dropout : float, default=0.3
        Probability with which a feature is dropped in a training step, in [0, 1).
    norm : {"layer", "batch"} or None, default="layer"
        Normalization within the blocks: over the features of a step, or of each feature over the
        real steps of the batch (in prediction: running statistics).
    prenorm : bool, default=True
        Whether blocks normalize their input; otherwise their output.
    max_epochs : int or "auto", default="auto"
        Number of passes over the training windows. "auto": enough for about 350 optimizer
        steps, from 3 to 100; none where too few rows can be held out to let the network count
        (see `base_correction_`), so that the forecast is the base alone. Of many series, a pass is
        a tenth of up to 3000 steps, on windows drawn anew.
    batch_size : int or "auto", default="auto"
        Windows in a training batch. "auto": 64, fewer of many targets, 128 of many series.
    lr : float, default=0.002
        Learning rate at the peak of the schedule.
    ssm_lr : float, default=0.001
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
        at least `horizon` and ten rows.
    early_stopping : bool or "auto", default="auto"
        Whether training monitors the loss on validation data, stops when it no longer improves, and
        keeps the best weights. Intervals are calibrated on this data, too. "auto": if there is
        enough data to set some aside. False: nothing is set aside.
    patience : int, default=20
        Epochs without improvement after which training stops early.
    max_time : float or None, default=None
        Seconds after which training ends, as planned by the schedule; None for no limit.
    standardize : {"window", "global"} or None, default="window"
        Scale targets and covariates to mean 0 and standard deviation 1 over all training rows, and
        with "window" also each window by its own level and scale. What does not vary has no scale:
        a constant window is continued as it is, and with "global" so is a target that is constant
        in the training rows; a covariate that is constant there has no effect. None: values stay
        as they are.
    missing : {"mask", "ffill", "error"}, default="mask"
        What happens to NaN in the targets: filled by the last value before it, and with "mask"
        left out of level and scale of a window, and a gap that ends a window is continued by the
        season that the series shows; or an error. A missing value is never a target. A covariate
        that is missing, or scaled and far beyond those in the training rows, is the last one before
        it.
    device : str, default="auto"
        Device to compute on, as named by torch, such as "cpu" or "cuda:1". "auto": the GPU if
        there is one.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model computes.
    compile : bool, default=False
        Whether to compile the model with ``torch.compile``.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, dropout, batches and the validation split. With an int, two
        fits are identical on a CPU at equal numbers of threads. None: another one in each fit.
        The global random state is left untouched.
    verbose : {0, 1, 2}, default=0
        Progress of `fit`. 1: a bar with loss, score and time left, in a terminal or notebook;
        elsewhere a line on stderr every ten seconds. 2: a line on stdout for each epoch, and for
        every ten seconds in between. 0: nothing, except that the logger "sks4" warns of the first
        fit of a process that is expected to take more than 20 seconds, outside of searches.
    net_callbacks : list or None, default=None
        Callbacks of skorch, as instances, classes or pairs of a name and one of them. Each fit
        works on clones.
    net_params : dict or None, default=None
        Anything else that skorch's net takes, such as ``{"optimizer__betas": (0.9, 0.95)}``.
    warm_start : bool, default=False
        Whether fit resumes from the weights, the optimizer and the scaling of the last fit.
    series_embedding : bool, default=False
        Whether the model learns an embedding of each of many series. New series have one, too,
        which is trained by taking some of the windows for those of new ones.

    Attributes
    ----------
    context_length_ : int
        Number of past rows that a forecast needs, and that the network reads. Where smoothers are
        averaged (`base_weight_`), up to 256 are read if there are so many.
    net_ : S4Net
        The trained net of skorch; ``net_.module_`` is the model.
    history_ : TrainingHistory
        List of a dict for each epoch, with losses and times; empty where nothing was trained.
    n_epochs_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch of the weights that are kept, from 1; the last one without early stopping; 0 where
        nothing was trained.
    n_parameters_ : int
        Number of parameters of the model.
    dt_range_ : tuple of float
        Range of the initial steps.
    patch_size_ : int
        Number of rows that make one step of the model.
    base_ : str or None
        Forecast that the network corrects: "last_value", "drift", "seasonal_naive",
        "seasonal_drift", "smoothing" or "seasonal_smoothing". None if the network forecasts alone:
        with 2000 training windows or more, covariates, ``loss="quantile"`` or another `standardize`
        than "window", and after `partial_fit` without `fit`.
    base_weight_ : float
        Weight of this forecast: 0.5 where it is averaged with smoothers chosen by their likelihood,
        which is where it is a smoothing; otherwise 1. Always 1 after a fit to many series.
    base_correction_ : float
        Share of the network's correction that is added to the base, from 0 to 1: the one with the
        smallest error on the validation rows, less where its gain is hardly above its standard
        error, and 0 below that, or with validation rows of fewer than three horizons; at least 0
        to 1 with 1000 to 2000 training windows. 1 if ``early_stopping=False``. After a fit to many
        series, the share of a new one.
    batch_size_ : int
        Windows in a batch.
    max_epochs_ : int
        Epochs planned by the last call of fit.
    encoder_ : SeriesEncoder or list of SeriesEncoder
        Scaling of the targets and the covariates, and treatment of missing values; one for each of
        many series.
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

    d_model: int = 16
    n_layers: int = 2
    d_state: int = 16
    ssm: str = "s4d"
    dt_min: float | str = 0.01
    dt_max: float | str = 0.1
    bidirectional: bool = False
    patch_size: int | str = "auto"
    pooling: str = "all"
    dropout: float = 0.3
    lr: float = 0.002
    weight_decay: float = 0.01
    standardize: str | None = "window"
    horizon: int = 24
    context_length: int | str = "auto"
    loss: str = "absolute_error"
    quantiles: Sequence[float] | None = None
    channels: str = "independent"
    calendar: str | Sequence[str] | None = None
    holidays: str | Sequence[Any] | None = None
    series_embedding: bool = False

    _parameter_constraints: ClassVar[dict[str, list]] = S4Estimator._parameter_constraints | {
        "bidirectional": ["boolean"],
        "patch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "pooling": [StrOptions({"all", "mean", "last", "max"})],
        "standardize": [StrOptions({"window", "global"}), None],
        "horizon": [Interval(Integral, 1, None, closed="left")],
        "context_length": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "loss": [StrOptions({*REGRESSION_LOSSES, "quantile"})],
        "quantiles": ["array-like", None],
        "channels": [StrOptions({"independent", "mixed"})],
        "calendar": [str, "array-like", None],
        "holidays": [str, "array-like", None],
        "series_embedding": ["boolean"],
    }
    _model_parameters: ClassVar[tuple[str, ...]] = (
        *S4Estimator._model_parameters,
        *("bidirectional", "patch_size", "pooling", "horizon", "channels"),
    )
    _fixed_parameters: ClassVar[tuple[str, ...]] = (
        *S4Estimator._fixed_parameters,
        *("context_length", "loss", "quantiles", "calendar", "holidays", "series_embedding"),
    )

    # ------------------------------------------------------------------ training

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight: Any = None,
        series_id: Any = None,
        time: Any = None,
        target: Any = None,
        static: Any = None,
        series_weight: Any = None,
    ) -> Self:
        """Train on rows of time, the last of which are those that forecasts follow.

        One model is trained on many series, each in its own scale, if they come as a dict, a list
        of Series or frames, a frame with row labels (series, time), or a long table.

        Each call starts again, unless ``warm_start=True``. A call that raises changes nothing: an
        earlier fit stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_timepoints,), (n_timepoints, n_targets) or, with y, \
(n_timepoints, n_features)
            Without `y`, the series to forecast. With `y`, what is known ahead of each row, perhaps
            no columns; NaN where missing. An index of dates, periods or integers must be regular:
            at equal steps, or those of a frequency of pandas.
        y : array-like of shape (n_timepoints,) or (n_timepoints, n_targets), or None, default=None
            The series to forecast, NaN where a value is missing. Of many series, in the container
            of X.
        X_val, y_val : like X and y, or None, default=None
            Rows that follow those of X, as validation data. Without them the last block of X may
            be set aside; see `early_stopping`. Forecasts follow the last row of X in any case.
        sample_weight : array-like of shape (n_timepoints,) or None, default=None
            Weight of each row in the loss when it is forecast, relative to the others: the weights
            are divided by their mean. Targets of rows with weight 0 count as missing. Of many
            series, in the container of X; of a long table, an array.
        series_id, time, target : str or another column name, or None, default=None
            Columns of a long table `X` with the name of the series, the time and what is to be
            forecast; all three. The other columns are what is known ahead of each row.
        static : DataFrame, array-like of shape (n_series, n_static), or None, default=None
            Numbers that are known of each of many series and do not change: a frame with a row for
            each series, labeled by its name (its position in a list), or rows in their order. NaN
            where missing.
        series_weight : dict, Series, array-like of shape (n_series,), or None, default=None
            Weight of each of many series in the loss, by name or in their order, relative to the
            others. A series of weight 0 is forecast all the same.

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
            If the user interrupts. After a finished epoch its result is kept, otherwise nothing
            changes.

        Warns
        -----
        ValidationSplitWarning
            If ``early_stopping=True`` and there are too few rows to set some aside.
        """
        calendar, levels = self._checked_parameters()
        container = container_of(X, series_id, time, target)
        if container is not None:
            items = container.split(X, y)
            later = None if X_val is None else container.split(X_val, y_val, name="X_val")
            panel = read_panel(items, calendar, container.split_weights(sample_weight, items))
            about = About.read(items.ids, static, series_weight)
            return self._fit_many(container, panel, later, about, levels)
        if static is not None or series_weight is not None:
            raise ValueError("static and series_weight must be None for one series, got some.")
        resumed = self._trained_to_resume() if self.warm_start else None
        if resumed is not None and self._many is not None:
            raise ValueError("warm_start must be False after a fit to many series, got True.")
        if resumed is None:
            reader, rows = SeriesReader.fit(X, y, sample_weight, calendar)
        else:
            reader, rows = self._reader_, self._reader_.read(X, y, sample_weight)
        columns, n_train = self._with_validation_rows(reader, rows, X_val, y_val)
        setup = self._setup(reader, columns[:n_train], levels, resumed, rows.timeline)
        windows, n_valid = setup.windows, len(columns) - n_train
        origins = training.training_origins(
            windows, columns, n_train, may_be_short=self._may_be_short
        )
        series = windows.encode(columns)
        counts = training.may_count(
            setup, [n_train], [len(columns)], is_trusted=not self.early_stopping
        )
        max_epochs = training.resolve_n_epochs(
            self.max_epochs, len(origins), setup.batch_size, counts=counts
        )
        stops_early = n_valid > 0 and bool(self.early_stopping)
        trained = self._net_to_train(setup, resumed, max_epochs, early_stopping=stops_early)
        batches = training.training_batches(setup, series, columns.weights, origins, trained.rng)
        valid = training.validation_batches(windows, series, columns.weights, n_train)
        chosen = setup.attributes() | {"max_epochs_": max_epochs}
        self._announce(f"{len(origins)} windows", trained.net, chosen)
        with Interruption(trained.net) as interruption:
            if max_epochs:
                trained.net.fit(batches, valid=valid)
        predictor = WindowPredictor(trained.net, windows)
        periods = setup.periods
        if periods is not None:
            predictor = interruption.repeat(
                lambda: training.correct_base(
                    WindowPredictor(trained.net, windows),
                    periods,
                    columns,
                    n_train,
                    len(rows),
                    is_trusted=not self.early_stopping,
                )
            )
        intervals = Intervals.start(windows.levels, windows.horizon, columns.values.shape[1])
        if n_valid:
            calibration = training.calibration_origins(n_train, len(columns))
            intervals = interruption.repeat(
                lambda: intervals.calibrate(
                    *predictor.backtest(columns, calibration, windows.horizon)
                )
            )
        self._adopt(trained, chosen | _attributes(reader, rows, predictor, intervals))
        interruption.raise_again()
        return self

    def _fit_many(
        self,
        container: SeriesContainer,
        panel: dict[Hashable, SeriesRows],
        later: SeriesItems | None,
        about: About,
        levels: list[float],
    ) -> Self:
        """Train on many series."""
        if self.warm_start and hasattr(self, "net_"):
            raise ValueError("warm_start must be False to fit many series again, got True.")
        plan = self._plan(panel, *self._rows_of_many(panel, later), levels, about)
        setup = plan.setup
        max_epochs = panels.resolve_n_epochs(
            self.max_epochs,
            len(plan.origins),
            len(panel),
            setup.batch_size,
            counts=plan.may_count(is_trusted=not self.early_stopping),
        )
        valid = plan.validation_batches()
        stops_early = valid is not None and bool(self.early_stopping)
        trained = self._net_to_train(setup, None, max_epochs, early_stopping=stops_early)
        batches = plan.training_batches(trained.rng)
        chosen = setup.attributes() | {"max_epochs_": max_epochs}
        self._announce(f"{len(plan.origins)} windows", trained.net, chosen)
        with Interruption(trained.net) as interruption:
            if max_epochs:
                trained.net.fit(batches, valid=valid)
        fitted = interruption.repeat(
            lambda: plan.judged(trained.net, is_trusted=not self.early_stopping)
        )
        forecaster = PanelForecaster.of(container, list(panel), fitted, about.reader)
        self._adopt(trained, chosen | forecaster.attributes())
        interruption.raise_again()
        return self

    def _plan(
        self,
        panel: dict[Hashable, SeriesRows],
        blocks: list[Columns],
        n_train: list[int],
        levels: list[float],
        about: About,
    ) -> panels.Plan:
        """Return what is chosen from the first `n_train` of all rows of many series."""
        order = canonical_order(blocks)
        keys = [list(panel)[i] for i in order]
        read = [panel[key] for key in keys]
        blocks, n_train = [blocks[i] for i in order], [n_train[i] for i in order]
        train = [rows[:n] for rows, n in zip(blocks, n_train, strict=True)]
        series = scaled_series(self._make_encoder(), keys, read, train)
        is_embedded = self.series_embedding and len(series) > 1
        series = [
            replace(one, static=about.static.get(key), identity=i if is_embedded else None)
            for i, (key, one) in enumerate(zip(keys, series, strict=True), start=1)
        ]
        setup, origins = self._setup_of_many(series, train, levels)
        windows = setup.windows
        parts = []
        for key, one, rows in zip(keys, series, blocks, strict=True):
            with naming(key):
                parts.append(one.encode(rows, windows.dtype))
        return panels.Plan(
            setup,
            keys,
            series,
            blocks,
            n_train,
            EncodedSeries.join(parts),
            np.concatenate(
                [about.weight[key] * rows.weights for key, rows in zip(keys, blocks, strict=True)]
            ),
            panels.joined_origins(panels.starts_of(blocks), origins),
        )

    def _rows_of_many(
        self, panel: dict[Hashable, SeriesRows], later: SeriesItems | None
    ) -> tuple[list[Columns], list[int]]:
        """Return all rows of each series, and the numbers of rows to train on."""
        validation = {} if later is None else dict(zip(later.ids, later.items, strict=True))
        unknown = [key for key in validation if key not in panel]
        if unknown:
            raise ValueError(f"X_val must hold series of X, got {unknown[0]!r}.")
        blocks, n_train = [], []
        for key, one in panel.items():
            with naming(key):
                X_val, y_val = validation.get(key, (None, None))
                of_one = self._with_validation_rows(
                    one.reader, one.rows, X_val, y_val, n_series=len(panel), is_given=bool(later)
                )
            blocks.append(of_one[0])
            n_train.append(of_one[1])
        is_all = all(n == len(rows) for n, rows in zip(n_train, blocks, strict=True))
        if len(panel) > 1 and self.early_stopping is True and is_all:
            warnings.warn(
                "No validation block could be set aside: every series is too short. Pass longer "
                "series, or X_val.",
                ValidationSplitWarning,
                stacklevel=4,
            )
        return blocks, n_train

    def _setup_of_many(
        self, series: list[OneSeries], train: list[Columns], levels: list[float]
    ) -> tuple[training.Setup, list[np.ndarray]]:
        """Return what is chosen from the training rows, and the origins in each series."""
        n_train = [len(rows) for rows in train]
        periods, shown = panels.likely_periods(series, train)
        longest = max(n_train) - int(self.horizon)
        if self._may_be_short:
            longest = min(2 * longest, max(n_train))
        period = periods[0] if periods else 1
        lengths = [len(one.rows) for one in series]
        context_length = panels.resolve_context_length(
            self.context_length, lengths, longest, period
        )
        patch_size = training.resolve_patch_size(self.patch_size, context_length, period)
        if self.context_length == "auto":
            context_length = training.in_whole_patches(context_length, patch_size)
        n_windows = sum(max(n - context_length - int(self.horizon) + 1, 0) for n in n_train)
        encoder = SeriesEncoder(standardize=False, missing=self.missing)
        encoder.fit(np.zeros_like(train[0].values[:1]), np.zeros_like(train[0].covariates[:1]))
        setup = self._setup_of(
            encoder, context_length, patch_size, n_windows, levels, periods, len(series)
        )
        origins = panels.training_origins(
            setup.windows, train, n_train, may_be_short=self._may_be_short
        )
        if len(series) > 1 and self.standardize == "window":
            base = panels.base_of(series, train, n_train, periods, setup.windows)
            setup = replace(setup, period=min(base.base.season_length, context_length))
        one = series[0]
        setup = replace(
            setup,
            gap_period=min(shown or 1, context_length),
            n_static=0 if one.static is None else len(one.static),
            n_known=0 if one.identity is None else len(series),
        )
        return setup, origins

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Append rows to those seen, and train one epoch on the windows that end in them.

        The first call trains on all windows, and fixes the scaling and whatever else depends on
        the data. The learning rates are constant, and there is no validation. Rows without a target
        are appended without training. A call that raises changes nothing.

        Parameters
        ----------
        X, y : array-like
            Rows that follow those seen so far, in the form of `fit`.
        sample_weight : array-like of shape (n_timepoints,) or None, default=None
            Weight of each row in the loss; divided by the mean of the weights of this call.

        Returns
        -------
        self : S4Forecaster
            The forecaster, trained for one more epoch.

        Raises
        ------
        ValueError, TypeError
            If a parameter, the data or its index is not valid.
        TrainingDivergedError
            If the loss becomes NaN or infinite.
        """
        calendar, levels = self._checked_parameters()
        resumed = self._trained_to_resume()
        many = self._many if resumed is not None else None
        container = many.container if many is not None else None
        if resumed is None and holds_many_series(X):
            container = SeriesContainer.of(X)
        if container is not None:
            items = container.split(X, y)
            weights = container.split_weights(sample_weight, items)
            if many is not None and resumed is not None:
                return self._fit_later_rows(many, items, weights, resumed)
            return self._fit_first_rows(container, items, weights, calendar, levels)
        if resumed is None:
            reader, seen = SeriesReader.fit(X, y, sample_weight, calendar)
            columns = seen.columns()
            setup = self._setup(reader, columns, levels, None, seen.timeline)
            windows = setup.windows
            origins = training.training_origins(
                windows, columns, len(columns), may_be_short=self._may_be_short
            )
            intervals = Intervals.start(windows.levels, windows.horizon, columns.values.shape[1])
        else:
            reader, setup = self._reader_, self._setup_
            seen, intervals = self._observed(X, y, sample_weight)
            windows, n_new = setup.windows, len(seen) - len(self._seen_)
            columns, origins = training.latest_windows(windows, seen, n_new)
            if len(origins) == 0:
                return self._moved_on(seen, intervals)
        series = windows.encode(columns)
        trained = self._net_to_train(setup, resumed, 1)
        batches = training.training_batches(setup, series, columns.weights, origins, trained.rng)
        with Interruption(trained.net) as interruption:
            trained.net.partial_fit(batches)
        chosen = setup.attributes() | {"max_epochs_": getattr(self, "max_epochs_", 1)}
        predictor = WindowPredictor(trained.net, windows)
        if resumed is not None:
            predictor = replace(self._predictor_, net=trained.net)
        self._adopt(trained, chosen | _attributes(reader, seen, predictor, intervals))
        interruption.raise_again()
        return self

    def _fit_first_rows(
        self,
        container: SeriesContainer,
        items: SeriesItems,
        weights: list[Any] | None,
        calendar: Calendar | None,
        levels: list[float],
    ) -> Self:
        """Train one epoch on all windows of many series."""
        panel = read_panel(items, calendar, weights)
        blocks = [one.rows.columns() for one in panel.values()]
        about = About.read(items.ids, None, None)
        plan = self._plan(panel, blocks, [len(rows) for rows in blocks], levels, about)
        trained = self._net_to_train(plan.setup, None, 1)
        batches = plan.training_batches(trained.rng)
        with Interruption(trained.net) as interruption:
            trained.net.partial_fit(batches)
        forecaster = PanelForecaster.of(container, items.ids, plan.start(trained.net), None)
        self._adopt(trained, plan.setup.attributes() | {"max_epochs_": 1} | forecaster.attributes())
        interruption.raise_again()
        return self

    def _fit_later_rows(
        self,
        many: PanelForecaster,
        items: SeriesItems,
        weights: list[Any] | None,
        resumed: Trained,
    ) -> Self:
        """Append rows to those of many series, and train on the windows that end in them."""
        seen, setup = many.observed(items, weights), self._setup_
        latest = seen.latest_windows(many, items.ids)
        if latest is None:
            return self._adopt_panel(seen)
        trained = self._net_to_train(setup, resumed, 1)
        joined, of_rows, origins = latest
        batches = training.training_batches(setup, joined, of_rows, origins, trained.rng)
        with Interruption(trained.net) as interruption:
            trained.net.partial_fit(batches)
        seen = replace(seen, predictor=replace(seen.predictor, net=trained.net))
        chosen = setup.attributes() | {"max_epochs_": self.max_epochs_}
        self._adopt(trained, chosen | seen.attributes())
        interruption.raise_again()
        return self

    def _adopt_panel(self, forecaster: PanelForecaster) -> Self:
        """Replace what forecasts many series at once."""
        self.__dict__ |= {"_panel_": forecaster}
        return self

    def update(self, X: Any, y: Any = None) -> Self:
        """Append what has been observed, without training.

        Forecasts follow the new rows, and intervals learn from how well the forecasts of these rows
        have covered them. Each call is one step of that adaptation for its rows together, so
        frequent calls adapt best; very many rows are observed in pieces. Neither time nor memory
        depend on the number of rows seen before. A call that raises changes nothing.

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
        if self._many is not None:
            return self._adopt_panel(self._many.observed(self._many.container.split(X, y)))
        return self._moved_on(*self._observed(X, y))

    @property
    def _many(self) -> PanelForecaster | None:
        """What forecasts many series, None after a fit to one."""
        return getattr(self, "_panel_", None)

    def _checked_parameters(self) -> tuple[Calendar | None, list[float]]:
        """Return the features of the calendar and the levels, or raise if any is not valid."""
        self._check_parameters()
        calendar = check_calendar(self.calendar, self.holidays)
        return calendar, self._levels()

    @property
    def _may_be_short(self) -> bool:
        """Whether windows whose contexts begin before the first row are trained on."""
        return self.context_length == "auto" and self.missing == "mask"

    def _levels(self) -> list[float]:
        """Return the levels that are learned, or used where none are given."""
        return check_levels(DEFAULT_LEVELS if self.quantiles is None else self.quantiles)

    def _with_validation_rows(
        self,
        reader: SeriesReader,
        rows: TimeRows,
        X_val: Any,
        y_val: Any,
        *,
        n_series: int = 1,
        is_given: bool = False,
    ) -> tuple[Columns, int]:
        """Return all rows, those of validation last, and the number of rows to train on.

        Of several series, a few rows of each make enough origins; where validation rows are given
        of some, others have none.
        """
        if X_val is not None:
            later = reader.read_following(rows, X_val, y_val)
            if np.isnan(later.columns().values).all():
                raise ValueError(
                    "The validation rows must have an observed target, got only missing ones. Pass "
                    "other rows, or none."
                )
            return rows.followed_by(later).columns(), len(rows)
        if y_val is not None:
            raise ValueError("X_val must be given where y_val is, got only y_val.")
        columns = rows.columns()
        if is_given:
            return columns, len(columns)
        n_train = training.n_rows_to_train_on(
            columns.values,
            int(self.horizon),
            self.context_length,
            self.validation_fraction,
            self.early_stopping if n_series == 1 else self.early_stopping and "auto",
            min_origins=-(-training.MIN_ORIGINS // n_series),
        )
        return columns, n_train

    def _setup(
        self,
        reader: SeriesReader,
        train: Columns,
        levels: list[float],
        resumed: Trained | None,
        timeline: Timeline,
    ) -> training.Setup:
        """Return what is chosen from the training rows of the first fit."""
        if resumed is not None:
            setup: training.Setup = self._setup_
            setup.windows.encoder.check(train.values)
            return setup
        names = reader.form.names
        check_each_observed(train.values, names, "to train on")
        shown = training.shown_period(train)
        periods = training.likely_periods(shown, timeline)
        period = periods[0] if periods else 1
        longest = len(train) - int(self.horizon)
        if self._may_be_short:
            longest = min(2 * longest, len(train))
        context_length = training.resolve_context_length(
            self.context_length, len(timeline), longest, period
        )
        patch_size = training.resolve_patch_size(self.patch_size, context_length, period)
        if self.context_length == "auto":
            context_length = training.in_whole_patches(context_length, patch_size)
        encoder = self._make_encoder().fit(train.values, train.covariates, counts=train.weights > 0)
        n_windows = len(train) - context_length - int(self.horizon) + 1
        setup = self._setup_of(encoder, context_length, patch_size, n_windows, levels, periods)
        return replace(setup, gap_period=min(shown or 1, context_length))

    def _make_encoder(self) -> SeriesEncoder:
        """Return an encoder that is not fitted."""
        return SeriesEncoder(
            self.standardize is not None,
            self.missing,
            fix_constants=self.standardize == "global",
        )

    def _setup_of(
        self,
        encoder: SeriesEncoder,
        context_length: int,
        patch_size: int,
        n_windows: int,
        levels: list[float],
        periods: tuple[int, ...],
        n_series: int = 1,
    ) -> training.Setup:
        """Return what follows from the size of a window and the number of windows."""
        n_patches = -(-context_length // patch_size)
        n_steps = n_patches * (encoder.n_targets_ if self.channels == "independent" else 1)
        windows = Windows(
            encoder=encoder,
            context_length=context_length,
            horizon=int(self.horizon),
            n_steps=n_steps,
            levels=np.array(levels) if self.loss == "quantile" else None,
            dtype=self.dtype,
        )
        is_corrected = (
            self.standardize == "window"
            and windows.levels is None
            and not encoder.n_covariates_
            and (n_series > 1 or training.least_share(n_windows) < 1)
        )
        return training.Setup(
            windows,
            training.resolve_batch_size(self.batch_size, n_windows, n_steps, n_series),
            resolve_dt_range(np.array([n_patches]), self.dt_min, self.dt_max),
            patch_size,
            periods if is_corrected else None,
        )

    def _net_to_train(
        self,
        setup: training.Setup,
        resumed: Trained | None,
        max_epochs: int,
        *,
        early_stopping: bool = False,
    ) -> Trained:
        """Return a new net, or the one to resume with the parameters as they are now."""
        windows = setup.windows
        run = Run(
            criterion=training.build_loss(self.loss, windows.levels),
            max_epochs=max_epochs,
            early_stopping=early_stopping,
            callbacks=[("weight_average", WeightAverage(_AVERAGE_DECAY))],
        )
        if resumed is not None:
            return self._resumed_net(run, resumed)
        seeds = draw_seeds(self.random_state)
        return self._new_net(
            run,
            seeds,
            S4ForecastModel,
            rng=np.random.default_rng(seeds.data),
            dt_range=setup.dt_range,
            n_targets=windows.encoder.n_targets_,
            context_length=windows.context_length,
            n_covariates=windows.encoder.n_covariates_,
            n_quantiles=None if windows.levels is None else len(windows.levels),
            standardize=self.standardize == "window",
            patch_size=setup.patch_size,
            period=setup.period,
            gap_period=setup.gap_period,
            n_static=setup.n_static,
            n_known=setup.n_known,
        )

    def _observed(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[TimeRows, Intervals]:
        """Return the rows seen with new ones, and intervals that have learned from them."""
        predictor, windows = self._predictor_, self._predictor_.windows
        new = self._reader_.read_following(self._seen_, X, y, sample_weight)
        windows.encoder.check(new.columns().values)
        seen, intervals = self._seen_, self._intervals_
        if not intervals.adapts:
            return seen.followed_by(new), intervals
        for piece in new.pieces(rows_at_once(windows.horizon, windows.encoder.n_targets_)):
            seen = seen.followed_by(piece)
            # the forecasts that reach into the new rows
            first = max(windows.context_length, len(seen) - len(piece) + 1 - windows.horizon)
            if first < len(seen):
                columns = seen.latest(len(seen) - first + predictor.n_rows)
                origins = np.arange(first, len(seen)) - (len(seen) - len(columns))
                outputs, truths = predictor.backtest(columns, origins, windows.horizon)
                intervals = intervals.observe(outputs, truths, len(piece))
        return seen, intervals

    def _moved_on(self, seen: TimeRows, intervals: Intervals) -> Self:
        """Replace the rows seen and the intervals at once."""
        self.__dict__ |= {"_seen_": seen, "_intervals_": intervals}
        return self

    # ------------------------------------------------------------------ forecasts

    def predict(self, X: Any) -> np.ndarray:
        """Return one forecast for each row of X.

        Rows of an array always follow the last row seen. Rows with an index are aligned by it: rows
        that were seen are forecast one step ahead, each from the context before it; rows to come
        from all that was seen, also across a gap, in which covariates stay as they were. A forecast
        never depends on later values of the targets.

        Parameters
        ----------
        X : array-like of shape (n_rows,) or (n_rows, n_features)
            What is known ahead of the rows to forecast. Where `fit` got a series alone, only the
            length and the index are read; dates alone are enough, as an index, a Series, an array
            or a list. After a fit to many series, the rows of some of them in their container.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets), float64
            Forecasts; the median where quantiles are learned. NaN for a target that has no value
            before the row. Of many series, one for each in their container: of rows with labels a
            Series or a frame, of a long table its series, times and "forecast".

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If the index has a hole, is not the continuation of that of `fit`, or begins within the
            first context; if features differ from those of `fit`; or a forecast is not finite.
        """
        check_is_fitted(self)
        if self._many is not None:
            return self._many.predict(X)
        forecasts = self._forecasts(X)
        return self._reader_.form.arrange(self._predictor_.point(forecasts.outputs))

    def forecast(
        self,
        horizon: int | None = None,
        *,
        history: Any = None,
        X_future: Any = None,
        coverage: float | None = None,
        static: Any = None,
    ) -> Any:
        """Return forecasts of the rows that follow.

        Parameters
        ----------
        horizon : int or None, default=None
            Number of rows. Beyond the horizon of the model, it rolls on over its own forecasts.
            None: that horizon, or the number of rows of `X_future`.
        history : array-like, tuple (X, y) or None, default=None
            Other rows that the forecasts follow, in the form of `fit`, `context_length_` at
            least; None: those seen. After a fit to many series, a new one, of any length, or
            several in a container. Those in `fit` are known by their name.
        X_future : array-like of shape (horizon, n_features) or None, default=None
            What is known ahead of the rows to forecast, where `fit` got such columns; of many
            series in their container.
        coverage : float or None, default=None
            Share of the truths that intervals should contain, as in `predict_interval`; None:
            forecasts alone.
        static : DataFrame, array-like or None, default=None
            Static features of the series in `history` that were not in `fit`, if it got some, in
            its form; those of a single one are one row.

        Returns
        -------
        ndarray, Series or DataFrame of shape (horizon,) or (horizon, n_targets)
            Forecasts, with the labels of their rows if the targets came with an index. With
            `coverage` a DataFrame with the columns "forecast", "lower" and "upper", for a table of
            targets below the name of each target. Of many series, one for each in their container;
            of a long table, a table of series, time and "forecast".

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If `horizon` is not a positive integer, there is too little history, or `X_future` is
            missing, or does not have `horizon` rows that follow the last one known; with
            `coverage` also as in `predict_interval`.
        """
        check_is_fitted(self)
        if coverage is not None:
            check_coverage(coverage)
        if self._many is not None:
            return self._many.forecast(horizon, history, X_future, coverage, static)
        if static is not None:
            raise ValueError("static must be None after a fit to one series, got some.")
        reader, predictor, windows = self._reader_, self._predictor_, self._predictor_.windows
        rows = self._seen_
        if history is not None:
            rows = reader.read_history(history, windows.context_length)
        if horizon is None:
            horizon = windows.horizon if X_future is None else n_samples_of(X_future)
        n_steps = check_integer("horizon", horizon)
        covariates = reader.future(X_future, rows.timeline, n_steps)
        forecasts = predictor.ahead(rows.latest(predictor.n_rows), covariates)
        point, labels = predictor.point(forecasts.outputs), rows.timeline.following(n_steps)
        if coverage is not None:
            interval = self._intervals_.interval(forecasts, coverage)
            return reader.form.label_interval(point, interval, labels)
        return reader.form.label(point, labels if rows.timeline.has_labels else None)

    def _forecasts(self, X: Any) -> Forecasts:
        """Forecast the rows that X requests: those seen from the rows before, others from all."""
        check_is_fitted(self)
        reader, predictor, seen = self._reader_, self._predictor_, self._seen_
        context_length = predictor.windows.context_length
        start, covariates = reader.requested(X, seen)
        if start >= len(seen):
            ahead = reader.ahead(seen, start, covariates)
            forecasts = predictor.ahead(seen.latest(predictor.n_rows), ahead)
            return forecasts[start - len(seen) :]
        reader.check_start(start, seen, context_length)
        rows = seen.columns().with_covariates(start, covariates)
        stop = start + len(covariates)
        inside = predictor.one_step_ahead(rows, start, min(stop, len(seen)))
        if stop <= len(seen):
            return inside
        return inside.followed_by(predictor.ahead(rows, covariates[len(seen) - start :]))

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
        if self._many is not None:
            return self._many.score(X, y, sample_weight)
        truth = self._reader_.truth(X, y, self._seen_)
        predicted = self.predict(X)
        is_known = ~np.isnan(np.column_stack([truth, predicted])).any(axis=1)
        weights = check_weights(as_weights(sample_weight), len(truth))
        return r_squared(truth[is_known], predicted[is_known], weights[is_known])

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
            if missing), "forecast" (NaN if the target has no value up to the origin) and, with
            ``loss="quantile"`` or `quantiles` given, one for each level, named by the number. With
            another loss than "quantile", the level 0.5 is the forecast plus the median of its
            errors on the validation rows, not the forecast itself.

        Raises
        ------
        NotFittedError
            If it has not been fitted.
        ValueError, TypeError
            If the rows are not of the form of `fit`, or too few for one origin.
        """
        check_is_fitted(self)
        levels = None if self.quantiles is None else self._levels()
        if self._many is not None:
            return self._many.backtest(X, y, horizon, stride, levels)
        reader, predictor, windows = self._reader_, self._predictor_, self._predictor_.windows
        rows = reader.read(X, y)
        n_steps = check_integer("horizon", windows.horizon if horizon is None else horizon)
        stride = check_integer("stride", stride)
        origins = backtest_origins(
            len(rows),
            windows.context_length,
            n_steps,
            stride,
            advice="Pass also the rows before the first origin.",
        )
        columns = rows.columns()
        check_each_observed(columns.values, reader.form.names, "passed")
        outputs, truths = predictor.backtest(columns, origins, n_steps)
        return backtest_frame(
            rows.timeline.labels()[origins - 1],
            reader.form.names,
            truths,
            predictor.point(outputs),
            self._intervals_.of_origins(outputs, levels),
        )

    # ------------------------------------------------------------------ intervals

    def predict_quantiles(
        self, X: Any, quantiles: float | Sequence[float] | None = None
    ) -> np.ndarray:
        """Return quantiles of the forecast of each row.

        With ``loss="quantile"`` they are learned; levels between the learned ones, and beyond, are
        interpolated. With another loss they are the forecast plus quantiles of the errors on the
        validation data, by step of the horizon; further steps have those of the last one. So the
        quantile at 0.5 is the forecast of `predict` plus the median of its errors there, which is
        another number unless the forecast is unbiased.

        Parameters
        ----------
        X : array-like of shape (n_rows,) or (n_rows, n_features)
            Rows to forecast, as in `predict`.
        quantiles : float, sequence of float or None, default=None
            Rising levels between 0 and 1; None: the parameter `quantiles`.

        Returns
        -------
        ndarray of shape (n_rows, n_quantiles) or (n_rows, n_targets, n_quantiles), float64
            Quantiles.

        Raises
        ------
        ValueError, TypeError
            As in `predict`, and if there was no validation data to learn errors from.
        """
        check_is_fitted(self)
        levels = self._setup_.windows.levels
        if quantiles is not None:
            levels = np.array(check_levels(quantiles))
        elif levels is None:
            levels = np.array(self._levels())
        if self._many is not None:
            return self._many.predict_quantiles(X, levels)
        return self._reader_.form.arrange(self._intervals_.quantiles(self._forecasts(X), levels))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Return an interval for each row that holds the truth with a given probability.

        Its ends are quantiles (see `predict_quantiles`), which split what is not covered evenly.
        After `update`, their levels have adapted to the share of truths that such intervals held.

        Parameters
        ----------
        X : array-like of shape (n_rows,) or (n_rows, n_features)
            Rows to forecast, as in `predict`.
        coverage : float, default=0.9
            Share of the truths that the intervals should contain, above 0 and below 1.

        Returns
        -------
        ndarray of shape (n_rows, 2) or (n_rows, n_targets, 2), float64
            Lower and upper end.

        Raises
        ------
        ValueError, TypeError
            As in `predict`, and if there was no validation data to learn errors from.

        References
        ----------
        Gibbs and Candès 2021 (Adaptive conformal inference under distribution shift,
        arXiv:2106.00170).
        """
        check_is_fitted(self)
        coverage = check_coverage(coverage)
        if self._many is not None:
            return self._many.predict_interval(X, coverage)
        return self._reader_.form.arrange(self._intervals_.interval(self._forecasts(X), coverage))

    # ------------------------------------------------------------------ streams and tags

    def stream(
        self, n_streams: int = 1, *, series: Sequence[Hashable] | None = None
    ) -> ForecasterStream:
        """Return an object that reads series row by row, in constant memory.

        Parameters
        ----------
        n_streams : int, default=1
            Number of series side by side, each with all targets.
        series : sequence or None, default=None
            After a fit to many series, the names of those to read, a stream for each, with its
            scale; None: all of them.

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
            If `fit` got covariates or a calendar, `n_streams` is not positive, or a series is not
            known.

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
        if self._many is not None:
            if n_streams != 1:
                raise ValueError(
                    f"n_streams must be 1 for many series, got {n_streams}: pass series."
                )
            return self._many.stream(series)
        if series is not None:
            raise ValueError("series must be None after a fit to one series, got some.")
        return ForecasterStream(self._predictor_, self._reader_.form, n_streams)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False  # a series alone is enough
        tags.target_tags.multi_output = True
        tags.input_tags.allow_nan = True
        return tags


def check_coverage(coverage: Any) -> float:
    """Return the coverage if it is between 0 and 1, else raise."""
    if not 0 < check_positive("coverage", coverage) < 1:
        raise ValueError(f"coverage must be above 0 and below 1, got {coverage}.")
    return float(coverage)


def _attributes(
    reader: SeriesReader, seen: TimeRows, predictor: WindowPredictor, intervals: Intervals
) -> dict[str, Any]:
    """Return what was fitted as attributes of the estimator."""
    return reader.features.attributes() | {
        "context_length_": predictor.windows.context_length,
        "encoder_": predictor.windows.encoder,
        "base_": None if predictor.base is None else predictor.base.base.name,
        "base_weight_": 1.0 if predictor.base is None else predictor.base.weight,
        "base_correction_": predictor.share,
        "_reader_": reader,
        "_seen_": seen,
        "_predictor_": predictor,
        "_intervals_": intervals,
    }
