"""The training loop, a net of skorch."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import skorch.callbacks
import torch
from skorch.callbacks import EpochTimer, GradientNormClipping
from torch import Tensor, nn
from torch.utils.data import Dataset

from sks4._compat import SkorchNet
from sks4.exceptions import TrainingDivergedError
from sks4.training._batch import Batch, Batches, BatchSampler, BatchTransform
from sks4.training._callbacks import ReturnMemory, WeightedEpochLoss
from sks4.training._history import TrainingHistory
from sks4.training._schedule import Budget
from sks4.training._snapshot import Snapshot, generator_from

_ADVICE = (
    "Try a smaller lr or ssm_lr, a smaller gradient_clip, or data of a smaller scale (standardize "
    "X, and y for a regression)."
)


class S4Net(SkorchNet):
    """Train a module on batches that carry lengths and sample weights.

    It differs from skorch's net in this: the module names its parameter groups; the loss is called
    as ``criterion(output, y, weight)``; random numbers come from a generator of the net's own;
    training stops by :meth:`stop_training`, so that a KeyboardInterrupt is always the user's and is
    raised again; neither data nor samplers stay in the net.

    Whatever ends a run before its time (an interrupt, an error in a callback, a divergence) leaves
    weights, optimizer, random numbers and history in their state after the last finished
    epoch, or before the run if there is none; with early stopping, the weights are
    those of the best finished epoch. An epoch is finished when all callbacks have seen its end.

    Nets can be pickled and copied by :func:`copy.deepcopy`: the copy has its own weights, optimizer
    and stream of random numbers, and continues as the original would.

    Parameters
    ----------
    module : nn.Module
        Trained in place. Needs ``parameter_groups(lr, ssm_lr, weight_decay)``, which returns the
        groups for the optimizer, each with its own "lr", and ``check_weights()``, which raises an
        ArithmeticError if the weights are of no use. Modules in it that draw random numbers take
        them from their attribute ``generator``, which is set while the net trains.
    criterion : nn.Module
        One of the losses of this package, or another one with the same arguments.
    optimizer : type, default=torch.optim.AdamW
        Optimizer class.
    lr, ssm_lr, weight_decay : float
        Passed to ``parameter_groups`` at the beginning of each run.
    gradient_clip : float or None, default=None
        Largest norm of all gradients together; ``None`` does not clip.
    max_time : float or None, default=None
        Seconds after which :meth:`fit` ends the epoch early, validates and stops. Checked after
        each batch, so a run exceeds it by at most one batch and one validation.
    batch_transform : callable or None, default=None
        Called with each training batch and a generator, returns the batch to train on, such as
        :class:`Mixup`.
    mixed_precision : bool, default=True
        Use bfloat16 autocast on GPUs that compute in it. Elsewhere, and for float64, no effect.
    seed : int, default=0
        Seed of dropout, of the transforms of batches and of the workers of the data loader.
    verbose : int, default=0
        Verbosity of skorch itself; see :func:`display_callbacks` for the display.
    **kwargs
        Other parameters of skorch's net.

    Attributes
    ----------
    generator_ : torch.Generator
        Source of all random numbers; pickles hold its state as bytes.
    stop_reason_ : str or None
        Why the last run ended before its last epoch, such as "max_time" or "early_stopping".
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module,
        *,
        optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
        lr: float = 1e-2,
        ssm_lr: float = 1e-3,
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        max_time: float | None = None,
        batch_transform: BatchTransform | None = None,
        mixed_precision: bool = True,
        seed: int = 0,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            lr=lr,
            train_split=None,  # validation data is an argument of fit
            predict_nonlinearity=None,  # outputs are what the module returns
            verbose=verbose,
            **({"history": TrainingHistory()} | kwargs),
        )
        self.ssm_lr = ssm_lr
        self.weight_decay = weight_decay
        self.gradient_clip = gradient_clip
        self.max_time = max_time
        self.batch_transform = batch_transform
        self.mixed_precision = mixed_precision
        self.seed = seed
        self.budget_: Budget | None = None
        self.stop_reason_: str | None = None
        self._finished: Snapshot | None = None  # the last finished epoch, while training

    # ------------------------------------------------------------------ setting up

    def initialize(self) -> "S4Net":
        """Initialize all parts; the random numbers start again from the seed."""
        self.generator_ = torch.Generator().manual_seed(self.seed)
        return super().initialize()

    def continue_from(self, other: "S4Net") -> "S4Net":
        """Continue from the state of another net, which is left unchanged.

        Parameters
        ----------
        other : S4Net
            An initialized net, whose module and optimizer have the form of those here, as those of
            a copy of its module have.

        Returns
        -------
        self : S4Net
            With copies of the weights, of the state of the optimizer, of the history and of the
            stream of random numbers. Its rates are those of its own parameters.

        Raises
        ------
        ValueError
            If both nets train the same module.
        """
        if self.module_ is other.module_:
            raise ValueError(
                "A net must not continue from one with the same module, which would be changed. "
                "Build it with copy.deepcopy(other.module_)."
            )
        Snapshot.of(other).restore(self)
        return self

    def default_callbacks(self) -> list[tuple[str, Any]]:
        """Return the callbacks of every net."""
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", WeightedEpochLoss("train_loss", on_train=True)),
            ("valid_loss", WeightedEpochLoss("valid_loss")),
            ("gradient_clip", GradientNormClipping(self.gradient_clip)),
            ("return_memory", ReturnMemory()),
        ]

    def initialize_callbacks(self) -> "S4Net":
        """Initialize the callbacks; raise for skorch's EarlyStopping."""
        super().initialize_callbacks()
        for name, callback in self.callbacks_:
            if isinstance(callback, skorch.callbacks.EarlyStopping):
                raise ValueError(
                    f"callbacks must not hold skorch's EarlyStopping, got {name!r}: it stops by "
                    "KeyboardInterrupt, which here is the user's. Use the early stopping of the "
                    "estimator, or call net.stop_training(reason) in a callback of your own."
                )
        return self

    def initialize_optimizer(self, triggered_directly: None = None) -> "S4Net":
        """Build the optimizer on the parameter groups of the module."""
        options = self.get_params_for("optimizer")
        taken = {"lr", "weight_decay", "param_groups"} & set(options)
        if taken:
            raise ValueError(
                f"optimizer options must leave the parameter groups to the module, got "
                f"{sorted(taken)}. Set lr, ssm_lr and weight_decay instead."
            )
        self.optimizer_ = self.optimizer(self._parameter_groups(), **options)
        return self

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return self.module_.parameter_groups(self.lr, self.ssm_lr, self.weight_decay)

    def _reset_rates(self) -> None:
        """Reset the rates of each group, which a schedule or the user may have changed."""
        fresh_groups = self._parameter_groups()
        for group, fresh in zip(self.optimizer_.param_groups, fresh_groups, strict=True):
            group.update({name: value for name, value in fresh.items() if name != "params"})
            group["initial_lr"] = group["lr"]

    def torch_compile(self, module: nn.Module, name: str) -> nn.Module:
        """Compile the module in place if ``compile=True``.

        In place it keeps its class and the names in its state, and a pickle holds nothing compiled.
        """
        if self.compile and name == "module":
            module.compile(**self.get_params_for("compile"))
        return module

    def get_iterator(self, dataset: Dataset | Batches, training: bool = False) -> Any:
        """Return the loader of `dataset`, whose ``__getitems__`` makes the batches.

        A plain data set is read in its own order, in batches of `batch_size`.
        """
        options: dict[str, Any] = {
            "collate_fn": _identity,
            "pin_memory": torch.device(self.device).type == "cuda",
        }
        # else a loader draws from the global one
        options["generator"] = self.generator_ if training else torch.Generator()
        options |= self.get_params_for("iterator_train" if training else "iterator_valid")
        if isinstance(dataset, Batches):
            options["batch_sampler"] = dataset.batch_sampler
            dataset = dataset.dataset
        else:
            options.setdefault("batch_size", self.batch_size)
        loader = self.iterator_train if training else self.iterator_valid
        return loader(dataset, **options)

    # ------------------------------------------------------------------ one batch

    def infer(
        self, x: dict[str, Any], *, module: nn.Module | None = None, **fit_params: Any
    ) -> Tensor:
        """Return the output of a module for the inputs of one batch, never in bfloat16."""
        module = self.module_ if module is None else module
        inputs = {name: self._to_device(value) for name, value in x.items()}
        if not self._uses_autocast():
            return module(**inputs, **fit_params)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            output = module(**inputs, **fit_params)
        return output.float() if output.dtype == torch.bfloat16 else output

    def get_loss(
        self, y_pred: Tensor, y_true: dict[str, Tensor], X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the weighted mean loss of one batch."""
        y, weight = self._to_device(y_true["y"]), self._to_device(y_true["weight"])
        return self.criterion_(y_pred, y, weight)

    def _uses_autocast(self) -> bool:
        return (
            self.mixed_precision
            and torch.device(self.device).type == "cuda"
            # Emulated bfloat16 is slower than float32. No GradScaler: the exponents have the same
            # range as in float32.
            and torch.cuda.is_bf16_supported(including_emulation=False)
        )

    def _to_device(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self.device, non_blocking=True)
        return value

    # ------------------------------------------------------------------ training

    def fit(self, X: Batches, y: None = None, *, valid: Batches | None = None) -> "S4Net":
        """Train for `max_epochs` epochs, or until `max_time` or a callback ends the run.

        Parameters
        ----------
        X : Batches
            The training data, with its targets.
        y : None
            Not used, the targets are in `X`.
        valid : Batches or None, default=None
            Validation data, evaluated after each epoch. It is not kept in the net.

        Returns
        -------
        self : S4Net
            The trained net. With ``warm_start=True``, optimizer and history continue.

        Raises
        ------
        TrainingDivergedError
            If the training loss or a weight becomes NaN or infinite.
        KeyboardInterrupt
            If the user interrupts.
        """
        if not (self.warm_start and self.initialized_):
            self.initialize()
        self.budget_ = Budget(self.max_epochs * len(X.batch_sampler), self.max_time)
        try:
            return self._train(X, valid, self.max_epochs)
        finally:
            self.budget_ = None

    def partial_fit(self, X: Batches, y: None = None) -> "S4Net":
        """Train for one more epoch at the constant rates, without validation or time limit.

        Parameters
        ----------
        X : Batches
            The training data, with its targets.
        y : None
            Not used, the targets are in `X`.

        Returns
        -------
        self : S4Net
            The net, with one more epoch in its history.

        Raises
        ------
        TrainingDivergedError
            If the training loss or a weight becomes NaN or infinite.
        """
        if not self.initialized_:
            self.initialize()
        return self._train(X, None, 1)

    def stop_training(self, reason: str) -> None:
        """End the run after the current batch, validation and epoch; for callbacks."""
        self.stop_reason_ = reason

    def _train(self, train: Batches, valid: Batches | None, epochs: int) -> "S4Net":
        self.stop_reason_ = None
        self._finished = Snapshot.of(self)
        try:
            with self._lent_generator():
                self._run(train, valid, epochs)
        finally:
            self._finished = None
        return self

    @contextmanager
    def _lent_generator(self) -> Iterator[None]:
        """Set the generator of the net in the modules that draw random numbers."""
        modules = [module for module in self.module_.modules() if hasattr(module, "generator")]
        try:
            for module in modules:
                module.generator = self.generator_
            yield
        finally:
            for module in modules:
                module.generator = None

    def _run(self, train: Batches, valid: Batches | None, epochs: int) -> None:
        """Train; after a failure, go back to the end of the last finished epoch."""
        try:
            self._reset_rates()
            self.notify("on_train_begin", X=train.dataset, y=None)
            self.fit_loop(train, valid, epochs)
        except BaseException as err:
            cause = self._cause_of(err)
            self._go_back()
            with suppress(Exception):  # one that fails now may do so because of the first error
                self._end(train)
            if cause is err:
                raise
            raise cause from err
        self._end(train)

    def _end(self, train: Batches) -> None:
        """Call ``on_train_end`` of all callbacks, even if one of them raises."""
        errors: list[BaseException] = []
        for callback in (self, *(callback for _, callback in self.callbacks_)):
            try:
                callback.on_train_end(self, X=train.dataset, y=None)
            except BaseException as err:
                errors.append(err)
        if errors:
            self._go_back()
            raise errors[0]

    def _go_back(self) -> None:
        assert self._finished is not None  # while training
        self._finished.restore(self)

    def fit_loop(self, X: Batches, valid: Batches | None = None, epochs: int = 1) -> "S4Net":
        """Run the epochs until one stops the run."""
        datasets = {
            "dataset_train": X.dataset,
            "dataset_valid": None if valid is None else valid.dataset,
        }
        loader = self.get_iterator(X, training=True)
        valid_loader = None if valid is None else self.get_iterator(valid)
        for _ in range(epochs):
            self.notify("on_epoch_begin", **datasets)
            self.run_single_epoch(loader, True, "train", self.train_step)
            self._check_weights()
            self.run_single_epoch(valid_loader, False, "valid", self.validation_step)
            self.notify("on_epoch_end", **datasets)
            self._finished = Snapshot.of(self)
            self._stop_if_time_is_up()
            if self.stop_reason_ is not None:
                break
        return self

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run over all batches; in training, until the run is stopped."""
        if iterator is None:
            return
        n_batches = 0
        for n_batches, batch in enumerate(self._transformed(iterator, training), start=1):
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            loss = step["loss"].item()
            self._record_step(prefix, loss, batch[1]["weight"])
            if training:
                self._count_step(loss, n_batches)
            self.notify("on_batch_end", batch=batch, training=training, **step)
            if training and self.stop_reason_ is not None:
                break
        self.history.record(prefix + "_batch_count", n_batches)

    def _transformed(self, batches: Any, training: bool) -> Iterator[Batch]:
        """Yield the batches to train on, or to validate."""
        transform = self.batch_transform
        for batch in batches:
            yield transform(batch, self.generator_) if training and transform else batch

    def _record_step(self, prefix: str, loss: float, weight: Tensor) -> None:
        self.history.record_batch(prefix + "_loss", loss)
        self.history.record_batch(prefix + "_batch_size", len(weight))
        self.history.record_batch(prefix + "_weight", float(weight.sum(dtype=torch.float64)))

    def _count_step(self, loss: float, n_batches: int) -> None:
        """Raise if the loss is not finite, and check the time limit."""
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"The training loss must stay finite, got {loss} in epoch {len(self.history)}, "
                f"batch {n_batches}. {_ADVICE}"
            )
        if self.budget_ is not None:
            self.budget_.step()
        self._stop_if_time_is_up()

    def _stop_if_time_is_up(self) -> None:
        if self.stop_reason_ is None and self.budget_ is not None and self.budget_.time_is_up:
            self.stop_training("max_time")

    def _check_weights(self) -> None:
        """Raise if the model cannot compute with its weights, although the loss was finite."""
        try:
            self.module_.check_weights()
        except ArithmeticError as err:
            raise TrainingDivergedError(
                f"{err} Training diverged in epoch {len(self.history)}. {_ADVICE}"
            ) from err

    def _cause_of(self, error: BaseException) -> BaseException:
        """Return the divergence that caused an error, otherwise the error."""
        if not isinstance(error, Exception) or isinstance(error, TrainingDivergedError):
            return error
        if "overflow" in str(error):  # raised by torch if a rate is too large for the weights
            return TrainingDivergedError(f"A step of the optimizer overflows. {_ADVICE}")
        try:
            self._check_weights()
        except TrainingDivergedError as diverged:
            return diverged
        return error

    # ------------------------------------------------------------------ prediction and storage

    def predict_dataset(
        self,
        dataset: Dataset,
        batch_sampler: BatchSampler,
        module: nn.Module | None = None,
        on_batch: Callable[[int], None] = lambda n_rows: None,
    ) -> np.ndarray:
        """Return the outputs of a module for all rows of `dataset`.

        Parameters
        ----------
        dataset : Dataset
            As in :class:`Batches`; its targets are ignored.
        batch_sampler : BatchSampler
            The row numbers of each batch. Sorted by length they save padding.
        module : nn.Module or None, default=None
            A module on the same device; None: the trained one.
        on_batch : callable, optional
            Called after each batch with the number of its rows.

        Returns
        -------
        ndarray of shape (n_rows, ...)
            The outputs in the order of the data set, whatever the order of the batches.
        """
        self.check_is_fitted()
        batches = list(batch_sampler)
        self._check_each_row_once(batches, len(dataset))  # type: ignore[arg-type]
        outputs: np.ndarray | None = None
        module = (self.module_ if module is None else module).eval()
        with torch.inference_mode():
            loader = self.get_iterator(Batches(dataset, batches))
            for rows, batch in zip(batches, loader, strict=True):
                output = self.infer(batch[0], module=module).cpu().numpy()
                if outputs is None:
                    outputs = np.empty((len(dataset), *output.shape[1:]), output.dtype)  # type: ignore[arg-type]
                outputs[rows] = output
                on_batch(len(rows))
        assert outputs is not None
        return outputs

    @staticmethod
    def _check_each_row_once(batches: list[list[int]], n_rows: int) -> None:
        rows = np.concatenate(batches) if batches else np.empty(0, dtype=int)
        if n_rows == 0 or not np.array_equal(np.sort(rows), np.arange(n_rows)):
            raise ValueError(
                f"batch_sampler must yield each of the {n_rows} rows once, at least one, "
                f"got {len(rows)} rows."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state: the generator as bytes, the module and the criterion once.

        skorch stores ``module_`` and ``criterion_`` apart, so that a net from a GPU loads without
        one; under their other names they would be stored twice, and bound to the GPU.
        """
        state = super().__getstate__() | {"_finished": None}
        if not self.initialized_:
            return state
        stream = self.generator_.get_state().numpy().tobytes()
        return state | {"module": None, "criterion": None, "generator_": stream}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.initialized_:
            self.generator_ = generator_from(state["generator_"])
            self.__dict__.update(module=self.module_, criterion=self.criterion_)


def _identity(batch: Any) -> Any:
    """Return the batch as the data set made it."""
    return batch
