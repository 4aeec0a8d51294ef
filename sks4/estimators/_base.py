"""What all estimators share: parameters, building and resuming a net, adopting a result."""

import copy
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state

from sks4._compat import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sks4._version import __version__
from sks4.estimators._auto import resolve_device
from sks4.exceptions import SavedModelError, SavedModelWarning
from sks4.training import (
    EarlyStopping,
    LearningRateSchedule,
    Progress,
    S4Net,
    display_callbacks,
    has_bars,
)

# Layout of the fitted attributes. A pickle of another layout cannot be read.
_LAYOUT = 2

_T = TypeVar("_T")

_POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NONNEGATIVE = Interval(Real, 0, None, closed="left")
_AUTO = StrOptions({"auto"})


@dataclass(frozen=True)
class Seeds:
    """Seeds of the initial weights, of dropout, and of splits and batches."""

    model: int
    net: int
    data: int


def draw_seeds(random_state: int | np.random.RandomState | None) -> Seeds:
    """Return seeds drawn from `random_state`; None draws from the operating system."""
    if random_state is None:  # the global generator of numpy is left untouched
        random_state = int(np.random.SeedSequence().generate_state(1)[0])
    seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=3)
    return Seeds(*seeds.tolist())


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run of training needs beside the model and the data.

    Attributes
    ----------
    criterion : nn.Module
        The loss.
    max_epochs : int
        Number of epochs.
    early_stopping : bool
        Whether to stop early, and to keep the best weights.
    callbacks : sequence of (str, Callback)
        Called after the user's callbacks and before early stopping.
    options : mapping
        Other options of the net.
    max_time : float or None
        Seconds after which training ends; None for the parameter of the estimator.
    is_trial : bool
        Whether the run only decides something: without the user's callbacks.
    """

    criterion: torch.nn.Module
    max_epochs: int = 1
    early_stopping: bool = False
    callbacks: Sequence[tuple[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    max_time: float | None = None
    is_trial: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run of training leaves behind, enough to resume it.

    Attributes
    ----------
    net : S4Net
        Model, optimizer, history and random numbers.
    rng : numpy.random.Generator
        Draws the order of the batches.
    fixed : dict
        Parameters that must not change before training is resumed.
    """

    net: S4Net
    rng: np.random.Generator
    fixed: dict[str, Any]


def random_numbers(
    random_state: int | np.random.RandomState | None, resumed: Trained | None
) -> tuple[Seeds, np.random.Generator]:
    """Return seeds of a new net, and the generator of splits and batches, which is resumed."""
    seeds = draw_seeds(random_state)
    return seeds, np.random.default_rng(seeds.data) if resumed is None else resumed.rng


class Interruption:
    """Hold back a KeyboardInterrupt of the user until the result has been adopted.

    An interrupt before the run has finished an epoch passes through, since there is no result.

    Parameters
    ----------
    net : S4Net
        The net to be trained inside the context.

    Examples
    --------
    ::

        with Interruption(net) as interruption:
            net.fit(batches)
        ...  # a second interrupt passes through
        self._adopt(trained, attributes)
        interruption.raise_again()
    """

    def __init__(self, net: S4Net) -> None:
        self._net = net
        self._n_epochs_before = len(net.history)
        self._interrupt: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, KeyboardInterrupt) and len(self._net.history) > self._n_epochs_before:
            self._interrupt = error
        return self._interrupt is not None

    def repeat(self, compute: Callable[[], _T]) -> _T:
        """Return what `compute` returns, from the beginning again after a first interrupt.

        It must change nothing before it returns. A second interrupt passes through.
        """
        try:
            return compute()
        except KeyboardInterrupt as interrupt:
            if self._interrupt is not None:
                raise
            self._interrupt = interrupt
        return compute()

    @property
    def is_pending(self) -> bool:
        """Whether there was an interrupt."""
        return self._interrupt is not None

    def raise_again(self) -> None:
        """Raise the interrupt, if there was one."""
        if self._interrupt is not None:
            raise self._interrupt


@dataclass(kw_only=True, eq=False, repr=False)
class S4Estimator(BaseEstimator):
    """Base of the estimators.

    The parameters are fields of a dataclass, whose ``__init__`` only assigns them, as scikit-learn
    requires. The public classes document them. Methods that fit compute local variables only, and
    end with :meth:`_adopt`.
    """

    d_model: int = 64
    n_layers: int = 4
    d_state: int = 64
    ssm: str = "s4"
    init: str = "legs"
    dt_min: float | str = "auto"
    dt_max: float | str = "auto"
    dropout: float = 0.1
    norm: str | None = "layer"
    prenorm: bool = True
    max_epochs: int | str = "auto"
    batch_size: int | str = "auto"
    lr: float = 0.01
    ssm_lr: float = 0.001
    weight_decay: float = 0.05
    lr_schedule: str | None = "cosine"
    gradient_clip: float | None = 1.0
    validation_fraction: float = 0.1
    early_stopping: bool | str = "auto"
    patience: int = 20
    max_time: float | None = None
    standardize: str | None = "global"
    missing: str = "mask"
    device: str = "auto"
    dtype: str = "float32"
    compile: bool = False
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0
    net_callbacks: list | None = None
    net_params: dict[str, Any] | None = None
    warm_start: bool = False

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "d_model": [_POSITIVE_INTEGER],
        "n_layers": [_POSITIVE_INTEGER],
        "d_state": [Interval(Integral, 2, None, closed="left")],
        "ssm": [StrOptions({"s4", "s4d"})],
        "init": [StrOptions({"legs", "legt", "fout", "lin", "inv"})],
        "dt_min": [_POSITIVE, _AUTO],
        "dt_max": [_POSITIVE, _AUTO],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "norm": [StrOptions({"layer", "batch"}), None],
        "prenorm": ["boolean"],
        "max_epochs": [_POSITIVE_INTEGER, _AUTO],
        "batch_size": [_POSITIVE_INTEGER, _AUTO],
        "lr": [_POSITIVE],
        "ssm_lr": [_NONNEGATIVE],
        "weight_decay": [_NONNEGATIVE],
        "lr_schedule": [StrOptions({"cosine"}), None],
        "gradient_clip": [_POSITIVE, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean", _AUTO],
        "patience": [_POSITIVE_INTEGER],
        "max_time": [_POSITIVE, None],
        "standardize": [StrOptions({"global"}), None],
        "missing": [StrOptions({"mask", "ffill", "error"})],
        "device": [str],
        "dtype": [StrOptions({"float32", "float64"})],
        "compile": ["boolean"],
        "random_state": ["random_state"],
        "verbose": [Options(Integral, {0, 1, 2})],
        "net_callbacks": [list, None],
        "net_params": [dict, None],
        "warm_start": ["boolean"],
    }

    # Parameters that the model takes, and others that shape its input or output. Both are fixed
    # once there are weights.
    _model_parameters: ClassVar[tuple[str, ...]] = (
        *("d_model", "n_layers", "d_state", "ssm", "init", "dt_min", "dt_max"),
        *("dropout", "norm", "prenorm"),
    )
    _fixed_parameters: ClassVar[tuple[str, ...]] = ("standardize", "missing", "dtype")

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a trained net."""
        return hasattr(self, "net_")

    def _check_parameters(self) -> None:
        """Raise if a parameter is not valid."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        resolve_device(self.device)
        check_net_params(self.net_params)

    # ------------------------------------------------------------------ training

    def _trained_to_resume(self) -> Trained | None:
        """Return what the last run has left, with a copy of its generator; None if there was none.

        Raises
        ------
        ValueError
            If a parameter has changed that the weights depend on.
        """
        if not self.__sklearn_is_fitted__():
            return None
        trained: Trained = self._trained_
        changed = [
            name
            for name, old in trained.fixed.items()
            if not np.array_equal(getattr(self, name), old)  # sequences may be arrays
        ]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} must stay as in the first fit to resume training. Call fit "
                "with warm_start=False to start again."
            )
        return replace(trained, rng=copy.deepcopy(trained.rng))

    def _new_net(
        self,
        run: Run,
        seeds: Seeds,
        model_class: Callable[..., torch.nn.Module],
        *,
        rng: np.random.Generator,
        dt_range: tuple[float, float],
        **options: Any,
    ) -> Trained:
        """Return a net with initial weights.

        Parameters
        ----------
        run : Run
            The run of training.
        seeds : Seeds
            Of weights and dropout.
        model_class : callable
            Takes the parameters of the model, `options`, a generator of random numbers and a dtype.
        rng : numpy.random.Generator
            Draws the order of the batches; kept to resume training.
        dt_range : tuple of float
            Range of the initial steps.
        **options
            Other arguments of `model_class`.
        """
        parameters = {name: getattr(self, name) for name in self._model_parameters}
        parameters["dt_min"], parameters["dt_max"] = dt_range
        model = model_class(
            **(parameters | options),
            generator=torch.Generator().manual_seed(seeds.model),
            dtype=getattr(torch, self.dtype),
        )
        names = self._model_parameters + self._fixed_parameters
        fixed = {name: copy.deepcopy(getattr(self, name)) for name in names}
        return Trained(self._net(model, run, seeds.net), rng, fixed)

    def _resumed_net(self, run: Run, trained: Trained) -> Trained:
        """Return a copy of a net, with the parameters as they are now, that resumes training."""
        old = trained.net
        net = self._net(copy.deepcopy(old.module_), run, old.seed)
        return Trained(net.continue_from(old), trained.rng, trained.fixed)

    def _net(self, model: torch.nn.Module, run: Run, seed: int) -> S4Net:
        """Return an initialized net."""
        return S4Net(
            model,
            run.criterion,
            max_epochs=run.max_epochs,
            lr=self.lr,
            ssm_lr=self.ssm_lr,
            weight_decay=self.weight_decay,
            gradient_clip=self.gradient_clip,
            max_time=self.max_time if run.max_time is None else run.max_time,
            seed=seed,
            device=resolve_device(self.device),
            compile=self.compile,
            callbacks=self._callbacks(run),
            warm_start=True,  # initialized here and not by the net's fit
            **run.options,
            **(self.net_params or {}),
        ).initialize()

    def _callbacks(self, run: Run) -> list:
        """Return the callbacks; later ones see what the user's callbacks write."""
        callbacks: list = []
        if self.lr_schedule is not None:
            callbacks.append(("lr_schedule", LearningRateSchedule()))
        if run.is_trial:
            name = type(self).__name__
            progress = Progress(self.verbose, name, stage="trial ")
            return [*callbacks, *run.callbacks, ("progress", progress)]
        callbacks += clone(self.net_callbacks or [], safe=False)
        callbacks += run.callbacks
        if run.early_stopping:
            callbacks.append(("early_stopping", EarlyStopping(self.patience)))
        return callbacks + display_callbacks(self.verbose, type(self).__name__)

    def _announce(self, samples: str, net: S4Net, chosen: Mapping[str, Any]) -> None:
        """Print what training starts with."""
        listed = "".join(f"{name}={_short(value)}, " for name, value in chosen.items())
        n_parameters = count_parameters(net.module_)
        self._say(f"{samples}, {n_parameters} parameters, {listed}device={net.device}")

    def _say(self, text: str) -> None:
        """Print a line: with verbose=1 only where a bar is shown, with verbose=2 always."""
        stream = {1: sys.stderr, 2: sys.stdout}.get(self.verbose)
        if stream is not None and (self.verbose == 2 or has_bars(stream)):
            print(f"{type(self).__name__}: {text}", file=stream, flush=True)

    def _adopt(self, trained: Trained, attributes: Mapping[str, Any]) -> Self:
        """Replace all fitted attributes at once."""
        net = trained.net
        stopper = dict(net.callbacks_).get("early_stopping")
        best = None if stopper is None else stopper.best_epoch_
        fitted = {
            "_trained_": trained,
            "net_": net,
            "n_parameters_": count_parameters(net.module_),
            "history_": net.history,
            "n_epochs_": len(net.history),
            "best_epoch_": len(net.history) if best is None else best,
        }
        kept = {name: value for name, value in vars(self).items() if not name.endswith("_")}
        # one assignment, so that an interrupt comes before or after it
        self.__dict__ = kept | fitted | dict(attributes)
        score = attributes.get("readout_score_", math.nan)
        if not math.isnan(score):
            self._say(f"score of held-out samples {_short(float(score))}")
        return self

    # ------------------------------------------------------------------ pickles

    def __getstate__(self) -> dict[str, Any]:
        """Return the state, with the version and the layout that it has."""
        return super().__getstate__() | {"_sks4_version": __version__, "_sks4_layout": _LAYOUT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state if its layout is known."""
        state = dict(state)
        version, layout = state.pop("_sks4_version", "0.1"), state.pop("_sks4_layout", 1)
        name = type(self).__name__
        if layout != _LAYOUT:
            raise SavedModelError(
                f"{name} was saved by sks4 {version} in a layout that sks4 {__version__} cannot "
                f"read (layout {layout}, expected {_LAYOUT}). Load it with sks4 {version}, or fit "
                "it again."
            )
        if version != __version__:
            warnings.warn(
                f"{name} was saved by sks4 {version} and is loaded by sks4 {__version__}. Its "
                "predictions may differ; fit it again if they must not.",
                SavedModelWarning,
                stacklevel=2,
            )
        super().__setstate__(state)


def check_net_params(net_params: Mapping[str, Any] | None) -> None:
    """Raise ValueError if `net_params` holds what the estimator sets itself."""
    own = {
        *("module", "criterion", "train_split", "max_epochs", "lr", "ssm_lr", "weight_decay"),
        *("gradient_clip", "max_time", "seed", "device", "compile", "callbacks", "warm_start"),
        *("batch_transform", "predict_nonlinearity"),
    }
    taken = sorted(own & set(net_params or {}))
    if taken:
        raise ValueError(
            f"net_params must not hold {taken}: the estimator sets them, from parameters of "
            "its own ('net_callbacks' for callbacks)."
        )


def count_parameters(model: torch.nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def _short(value: Any) -> str:
    """Return a value as it is printed, numbers to three digits."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.3g}" if isinstance(value, float) else repr(value)
