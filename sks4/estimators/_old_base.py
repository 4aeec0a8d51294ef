"""What all estimators share: parameters, their "auto" values, model, net and training."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)

from sks4.estimators._auto import (
    resolve_batch_size,
    resolve_device,
    resolve_dt_range,
    resolve_max_epochs,
)
from sks4.exceptions import TrainingDivergedError
from sks4.training import (
    EarlyStopping,
    LearningRateSchedule,
    RandomStream,
    S4Net,
    display_callbacks,
)

_POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NONNEGATIVE = Interval(Real, 0, None, closed="left")
_AUTO = StrOptions({"auto"})


@dataclass(kw_only=True, eq=False, repr=False)
class S4Estimator(BaseEstimator, ABC):
    """Base of the estimators: from parameters to a trained net.

    The parameters are fields of a dataclass, whose ``__init__`` does nothing but assign them, as
    scikit-learn asks. The classes that users see document them.
    """

    d_model: int = 64
    n_layers: int = 4
    d_state: int = 64
    ssm: str = "s4"
    init: str = "legs"
    dt_min: float | str = "auto"
    dt_max: float | str = "auto"
    bidirectional: bool = False
    patch_size: int = 1
    pooling: str = "mean"
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
        "bidirectional": ["boolean"],
        "patch_size": [_POSITIVE_INTEGER],
        "pooling": [StrOptions({"mean", "last", "max"})],
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

    # Parameters that the model takes, and others that shape its input or output: fixed once there
    # are weights.
    _model_parameters: ClassVar[tuple[str, ...]] = (
        *("d_model", "n_layers", "d_state", "ssm", "init", "dt_min", "dt_max"),
        *("bidirectional", "patch_size", "pooling", "dropout", "norm", "prenorm"),
    )
    _data_parameters: ClassVar[tuple[str, ...]] = ("standardize", "missing", "dtype")

    # What was chosen from the data, to be shown before training.
    _announced: ClassVar[tuple[str, ...]] = ("batch_size_", "max_epochs_")

    # What an error or a message calls a training sample.
    _samples: ClassVar[str] = "sequences"

    @abstractmethod
    def _criterion(self) -> torch.nn.Module:
        """Return the loss."""

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is a net that has been trained for an epoch at least."""
        return hasattr(self, "net_")

    def _check_parameters(self, *, goes_on: bool) -> None:
        """Check all parameters, and if training goes on, that they still fit the weights."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        resolve_device(self.device)
        if not (goes_on and self.__sklearn_is_fitted__()):
            return
        changed = [
            name
            for name, old in self._built_with_.items()
            if not np.array_equal(getattr(self, name), old)  # sequences may be arrays
        ]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} must stay as in the first fit for training to go on. "
                "Call fit with warm_start=False to begin anew."
            )

    def _forget(self) -> None:
        """Remove all that earlier fits have learned, so that a failed fit leaves no mixture."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    # ------------------------------------------------------------------ setting up

    def _resolve_auto(self, lengths: np.ndarray) -> None:
        """Choose what depends on the data and is fixed from the first fit on."""
        self.dt_range_ = resolve_dt_range(lengths, self.dt_min, self.dt_max)
        self.batch_size_ = (
            resolve_batch_size(lengths) if self.batch_size == "auto" else int(self.batch_size)
        )

    def _resolve_max_epochs(self, lengths: np.ndarray, n_batches: int) -> None:
        """Choose the number of epochs of a run."""
        self.max_epochs_ = (
            resolve_max_epochs(lengths, n_batches)
            if self.max_epochs == "auto"
            else int(self.max_epochs)
        )

    def _seed(self) -> None:
        """Draw the seeds of the model, of dropout and of the batches, and leave numpy's alone."""
        random_state = self.random_state
        if random_state is None:
            random_state = int(np.random.SeedSequence().generate_state(1)[0])
        seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=3)
        self._model_seed_, self._net_seed_, data_seed = seeds.tolist()
        self._rng_ = np.random.default_rng(data_seed)

    def _build_model(
        self, model_class: Callable[..., torch.nn.Module], **options: Any
    ) -> torch.nn.Module:
        """Return a model with initial weights, of the estimator's parameters and the options."""
        parameters = {name: getattr(self, name) for name in self._model_parameters}
        parameters["dt_min"], parameters["dt_max"] = self.dt_range_
        with RandomStream(self._model_seed_).installed():
            model = model_class(**(parameters | options))
        self._built_with_ = {
            name: getattr(self, name) for name in self._model_parameters + self._data_parameters
        }
        self.n_parameters_ = _n_parameters(model)
        return model.to(getattr(torch, self.dtype))

    def _build_net(self, model: torch.nn.Module, *, early_stopping: bool = False) -> S4Net:
        """Return an initialized net with the parameters as they are now."""
        options = {
            "max_epochs": getattr(self, "max_epochs_", 1),
            "lr": self.lr,
            "ssm_lr": self.ssm_lr,
            "weight_decay": self.weight_decay,
            "gradient_clip": self.gradient_clip,
            "max_time": self.max_time,
            "seed": self._net_seed_,
            "device": resolve_device(self.device),
            "compile": self.compile,
            "callbacks": self._callbacks(early_stopping=early_stopping),
            "warm_start": True,  # initialized here and not by the net's fit
        }
        options |= self._net_options()
        extra = self.net_params or {}
        taken = sorted({*options, "module", "criterion", "train_split"} & set(extra))
        if taken:
            raise ValueError(
                f"net_params must not hold {taken}: the estimator sets them, from parameters of "
                "its own ('net_callbacks' for callbacks)."
            )
        return S4Net(model, self._criterion(), **options, **extra).initialize()

    def _announce(self, n_samples: int) -> None:
        """Say what training starts with: verbose=1 only to a terminal, verbose=2 always."""
        stream = {1: sys.stderr, 2: sys.stdout}.get(self.verbose)
        if stream is None or (self.verbose == 1 and not stream.isatty()):
            return
        dt_min, dt_max = self.dt_range_
        chosen = "".join(f"{name}={getattr(self, name)!r}, " for name in self._announced)
        print(
            f"{type(self).__name__}: {n_samples} {self._samples}, {self.n_parameters_} parameters, "
            f"dt_range_=({dt_min:.3g}, {dt_max:.3g}), {chosen}device={resolve_device(self.device)}",
            file=stream,
        )

    def _callbacks(self, *, early_stopping: bool) -> list:
        """Return the callbacks; what the user's write can be seen by those that follow."""
        callbacks: list = []
        if self.lr_schedule is not None:
            callbacks.append(("lr_schedule", LearningRateSchedule()))
        callbacks += clone(self.net_callbacks or [], safe=False)
        callbacks += self._averaging_callbacks()
        if early_stopping:
            callbacks.append(("early_stopping", EarlyStopping(self.patience)))
        return callbacks + display_callbacks(self.verbose)

    def _averaging_callbacks(self) -> list:
        """Return what averages the weights, before early stopping keeps the best."""
        return []

    # ------------------------------------------------------------------ training

    def _net_options(self) -> dict[str, Any]:
        """Return what else the net takes from the estimator."""
        return {}

    def _continued_net(self, old: S4Net, *, early_stopping: bool = False) -> S4Net:
        """Return a net with the parameters as they are now, which goes on where `old` stopped."""
        net = self._build_net(old.module_, early_stopping=early_stopping)
        net.optimizer_.load_state_dict(old.optimizer_.state_dict())
        net.history, net.random_stream_ = old.history, old.random_stream_
        return net

    @contextmanager
    def _keeping(self, net: S4Net) -> Iterator[None]:
        """Keep the net trained inside: after an interrupt if it is of use, after a failure not."""
        try:
            yield
        except KeyboardInterrupt:
            if net.history:
                self._keep(net)
            raise
        except TrainingDivergedError:
            self._forget()
            raise
        self._keep(net)

    def _keep(self, net: S4Net) -> None:
        """Make the trained net, and what it says about its training, attributes."""
        self.net_ = net
        self.n_parameters_ = _n_parameters(net.module_)
        self.history_ = net.history
        self.n_epochs_ = len(net.history)
        stopper = dict(net.callbacks_).get("early_stopping")
        best = None if stopper is None else stopper.best_epoch_
        self.best_epoch_ = self.n_epochs_ if best is None else best


def _n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
