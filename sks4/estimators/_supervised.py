"""What the classifier and the regressor share: the training on sequences with a target each."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from sklearn.utils import column_or_1d

from sks4._compat import Interval, StrOptions
from sks4._validation import check_positive, check_weights
from sks4.data import (
    Panel,
    SequenceDataset,
    SequenceEncoder,
    as_weights,
    check_one_target_each,
)
from sks4.estimators._auto import (
    candidate_embeddings,
    resolve_batch_size,
    resolve_dt_range,
    resolve_max_epochs,
    resolve_patch_size,
    resolve_standardize,
)
from sks4.estimators._base import (
    Interruption,
    Run,
    Seeds,
    Trained,
    random_numbers,
)
from sks4.estimators._evidence import (
    TRIAL,
    apart_from,
    blocks_of,
    deserves_trial,
    excess_of,
    first_look,
    is_hopeless,
    trial_epochs,
)
from sks4.estimators._filters import FilterSummaries, Select, summarize_filters
from sks4.estimators._predictor import SequencePredictor
from sks4.estimators._readout import LeftOut, Readout, readout_outputs
from sks4.estimators._sequences import (
    SequenceEstimator,
    SequenceReader,
    count_steps,
    evaluation_sampler,
)
from sks4.estimators._split import split_rows
from sks4.estimators._targets import TargetEncoder
from sks4.nn import S4Model
from sks4.training import Batches, FirstLook, S4Net, Stretch

# Spectra are scaled by those of so many sequences.
_SEQUENCES_OF_SPECTRA = 256

# Other regressions must be better by so many standard errors.
_BEYOND_CHANCE = 2.0

_SCALINGS = {"auto", "global", "running", "running_split", "series", "split"}


@dataclass(frozen=True, eq=False)
class LabeledSequences:
    """Sequences with their targets and weights.

    Attributes
    ----------
    panel : Panel
        The sequences.
    targets : ndarray of shape (n_samples,), int64, or (n_samples, n_targets), float64
        Class indices, or values.
    weights : ndarray of shape (n_samples,), float64
        Sample weights.
    groups : ndarray of shape (n_samples,), int64, or None
        Groups that are held out together, if given.
    """

    panel: Panel
    targets: np.ndarray
    weights: np.ndarray
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "LabeledSequences":
        """Return some of the samples."""
        groups = None if self.groups is None else self.groups[rows]
        panel = self.panel.take(rows)
        return LabeledSequences(panel, self.targets[rows], self.weights[rows], groups)

    def distinct(self) -> "LabeledSequences":
        """Return the samples that count, equal ones as a single one with all their weight.

        So a sample that is left out has no copy among the others.
        """
        rows: list[int] = []
        weights: list[float] = []
        known: dict[tuple[bytes, bytes], int] = {}
        for row in np.flatnonzero(self.weights).tolist():
            values = np.ascontiguousarray(self.panel[row])
            key = hashlib.blake2b(values.tobytes()).digest(), self.targets[row].tobytes()
            if key in known:
                weights[known[key]] += self.weights[row]
            else:
                known[key] = len(rows)
                rows.append(row)
                weights.append(float(self.weights[row]))
        taken = self.take(np.array(rows, dtype=np.int64))
        return replace(taken, weights=np.array(weights))


@dataclass(frozen=True, eq=False)
class FoundReadout:
    """A last layer found by regression, and what is told about it.

    Attributes
    ----------
    readout : Readout
        The layer, and what it reads.
    attributes : mapping
        Fitted attributes of the estimator.
    left_out : LeftOut
        Predictions for samples by regressions without them.
    """

    readout: Readout
    attributes: Mapping[str, Any]
    left_out: LeftOut


class FitReadout(Protocol):
    """Finds the last layer for a net."""

    def __call__(
        self, net: S4Net, select: Select, filters: FilterSummaries, *, reads_blocks: bool
    ) -> FoundReadout:
        """Find it with batches of selected samples, with the features of the blocks or without."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a classifier or a regressor asks of the common training.

    Attributes
    ----------
    targets : TargetEncoder
        Reads the targets.
    criterion : nn.Module
        The loss.
    net_options : mapping
        Other options of the net.
    plan_readout : callable
        Decides before the training, from samples without copies, how to find the last layer:
        returns a function that does, or None to keep the trained layer.
    decides : bool
        Whether held-out samples decide if blocks are trained.
    recalls : bool
        Whether the last layer reads what filters recall of the level and the end of a sequence.
    score : callable
        Returns accuracy or R² of outputs for samples, given the encoder of their targets.
    losses : callable
        Returns the loss of each sample, with the same arguments.
    judge : callable
        Returns a last layer with what a trial tells about it: its outputs for held-out samples,
        given the encoder of their targets.
    no_readout : mapping
        Fitted attributes of the estimator if the trained layer is kept.
    """

    targets: TargetEncoder
    criterion: torch.nn.Module
    net_options: Mapping[str, Any] = field(default_factory=dict)
    plan_readout: Callable[[LabeledSequences], FitReadout | None] = lambda samples: None
    decides: bool = False
    recalls: bool = False
    score: Callable[[Any, LabeledSequences, np.ndarray], float]
    losses: Callable[[Any, LabeledSequences, np.ndarray], np.ndarray]
    judge: Callable[[FoundReadout, Any, LabeledSequences, np.ndarray], FoundReadout]
    no_readout: Mapping[str, Any] = field(default_factory=lambda: {"readout_score_": np.nan})


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sizes:
    """What "auto" has become, fixed from the first fit on."""

    embedding: str
    patch_size: int
    standardize: str | None
    dt_range: tuple[float, float]
    batch_size: int

    def attributes(self) -> dict[str, Any]:
        """Return them as fitted attributes."""
        return {f"{name}_": value for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Form:
    """The form of the user's data.

    Attributes
    ----------
    reader : SequenceReader
        The form of X.
    rate : float
        Sampling interval of this data over that of the first fit.
    sampling_rate : float or None
        Sampling rate of the first fit.
    """

    reader: SequenceReader
    rate: float
    sampling_rate: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Setting:
    """What has been learned from the training samples before there is a net.

    Attributes
    ----------
    form : _Form
        The form of the data.
    targets : TargetEncoder
        Encodes the targets.
    sizes : _Sizes
        What "auto" has become.
    encoder : SequenceEncoder
        Scaling of the channels, and treatment of missing values.
    dtype : {"float32", "float64"}
        Type in which the model computes.
    """

    form: _Form
    targets: TargetEncoder
    sizes: _Sizes
    encoder: SequenceEncoder
    dtype: str

    def weighted(self, samples: LabeledSequences) -> LabeledSequences:
        """Return samples with their weights in the loss."""
        return replace(samples, weights=self.targets.weigh(samples.targets, samples.weights))

    def n_steps(self, samples: LabeledSequences) -> np.ndarray:
        """Return the number of steps of each sequence, (n_samples,)."""
        return count_steps(samples.panel, self.sizes.patch_size)

    def dataset(self, samples: LabeledSequences) -> SequenceDataset:
        """Return samples as the net takes them."""
        return SequenceDataset(
            samples.panel,
            self.encoder,
            y=self.targets.encode(samples.targets),
            sample_weight=self.weighted(samples).weights,
            rate=self.form.rate,
            dtype=self.dtype,
        )

    def batches(self, samples: LabeledSequences, device: Any) -> Batches:
        """Return batches to evaluate."""
        return Batches(self.dataset(samples), evaluation_sampler(self.n_steps(samples), device))

    def select(self, samples: LabeledSequences, device: Any) -> Select:
        """Return a function that returns batches of some of the samples."""
        return lambda rows: self.batches(samples.take(rows), device)

    def outputs(self, samples: LabeledSequences, net: S4Net, readout: Readout) -> np.ndarray:
        """Return the outputs of a readout for samples, (n_samples, n_outputs)."""
        batches, model = self.batches(samples, net.device), readout.model(net.module_.backbone)
        return net.predict_dataset(batches.dataset, batches.batch_sampler, module=model)

    def predictor(self, net: S4Net, readout: Readout | None) -> SequencePredictor:
        """Return the result of a fit."""
        return SequencePredictor(
            net=net,
            reader=self.form.reader,
            encoder=self.encoder,
            patch_size=self.sizes.patch_size,
            dtype=self.dtype,
            sampling_rate=self.form.sampling_rate,
            readout=readout,
        )


@dataclass(frozen=True, eq=False)
class _Chance:
    """Random numbers of a fit: seeds of weights and dropout, and a generator of the batches."""

    seeds: Seeds
    rng: np.random.Generator


@dataclass(frozen=True, eq=False)
class _Result:
    """What a run results in.

    Attributes
    ----------
    trained : Trained
        The net.
    setting : _Setting
        What was learned before.
    chosen : mapping
        What "auto" has become, as fitted attributes.
    distinct : LabeledSequences
        The samples that count, each once, with their weights in the loss.
    found : FoundReadout or None
        The last layer found by regression.
    filters : FilterSummaries or None
        What filters tell of `distinct`, if there was a regression.
    interruption : Interruption
        An interrupt of the user to raise again.
    """

    trained: Trained
    setting: _Setting
    chosen: Mapping[str, Any]
    distinct: LabeledSequences
    found: FoundReadout | None
    filters: FilterSummaries | None
    interruption: Interruption


@dataclass(kw_only=True, eq=False, repr=False)
class SupervisedEstimator(SequenceEstimator):
    """Base of the estimators that learn one target for each sequence."""

    n_layers: int = 2
    d_state: int = 16
    bidirectional: bool = False
    embedding: str = "auto"
    patch_size: int | str = "auto"
    pooling: str = "mean"
    standardize: str | None = "auto"
    stretch: float = 1.0

    _parameter_constraints: ClassVar[dict[str, list]] = SequenceEstimator._parameter_constraints | {
        "bidirectional": ["boolean"],
        "embedding": [StrOptions({"auto", "values", "spectrum"})],
        "patch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "pooling": [StrOptions({"mean", "last", "max"})],
        "stretch": [Interval(Real, 1, None, closed="left")],
        "standardize": [StrOptions(_SCALINGS), None],
    }
    _model_parameters: ClassVar[tuple[str, ...]] = (
        *SequenceEstimator._model_parameters,
        *("bidirectional", "patch_size", "pooling"),
    )

    def _fit(
        self,
        task: Task,
        resumed: Trained | None,
        X: Any,
        y: Any,
        *,
        X_val: Any,
        y_val: Any,
        sample_weight: Any,
        sampling_rate: float | None,
        groups: Any,
    ) -> Self:
        """Train for a whole run, from the beginning or from where `resumed` stopped."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, got only one of them.")
        old = None if resumed is None else self._predictor_
        form, panel = self._read(old, X, sampling_rate)
        samples = _labeled(X, panel, y, sample_weight, task.targets)
        samples = replace(samples, groups=_check_groups(groups, len(samples.panel)))
        valid = None
        if X_val is not None:
            valid = _labeled(X_val, form.reader.read(X_val), y_val, None, task.targets)
        seeds, rng = random_numbers(self.random_state, resumed)
        chance = _Chance(seeds, rng)
        by_evidence = (
            task.decides
            and resumed is None
            and valid is None
            and self.max_epochs == "auto"
            and self.early_stopping is not True
        )
        if by_evidence:
            return self._fit_by_evidence(task, form, samples, chance)
        return self._adopt_run(task, self._run(task, resumed, form, samples, valid, chance))

    def _fit_by_evidence(
        self, task: Task, form: _Form, samples: LabeledSequences, chance: "_Chance"
    ) -> Self:
        """Fit the regression on filters, and train if held-out samples are then told better."""
        start = time.monotonic()
        result = self._run(task, None, form, samples, None, chance)
        try:
            for embedding in self._embeddings(form, samples)[1:]:
                is_late = self.max_time is not None and time.monotonic() - start > self.max_time
                if is_late or result.found is None or result.interruption.is_pending:
                    break
                other = self._run(task, None, form, samples, None, chance, embedding=embedding)
                better = other if _tells_better(task, other, result) else result
                result = replace(better, interruption=other.interruption)
            trial = self._winning_trial(task, result, self._time_left(start))
            if trial is not None:
                left = self._time_left(start)
                result = self._run(
                    task, None, form, samples, None, chance, plain=result, max_time=left
                )
                assert result.found is not None  # as without training
                found = task.judge(result.found, result.setting.targets, *trial)
                result = replace(result, found=found)
        except KeyboardInterrupt:  # before an epoch was finished
            self._adopt_run(task, result)
            raise
        return self._adopt_run(task, result)

    def _time_left(self, start: float) -> float | None:
        """Return what is left of `max_time`, a millisecond at least; None for no limit."""
        if self.max_time is None:
            return None
        return max(1e-3, self.max_time - (time.monotonic() - start))

    def _run(
        self,
        task: Task,
        resumed: Trained | None,
        form: _Form,
        samples: LabeledSequences,
        valid: LabeledSequences | None,
        chance: "_Chance",
        *,
        embedding: str | None = None,
        plain: "_Result | None" = None,
        max_time: float | None = None,
    ) -> "_Result":
        """Return the result of a run, with nothing adopted.

        `embedding` is what a first fit reads of patches, None for what it reads if nothing is held
        out to choose by. `plain` is the result of a run with the same samples whose blocks were not
        trained; now they are. `max_time` replaces the parameter if it is not None.
        """
        old = None if resumed is None else self._predictor_
        samples, valid, stops_early = self._hold_out(samples, valid, task.targets, chance.rng)
        targets = task.targets.learn(samples.targets, samples.weights)
        weights = targets.weigh(samples.targets, samples.weights)
        distinct = replace(samples, weights=weights).distinct()
        fit_readout = task.plan_readout(distinct)
        has_trained = resumed is not None and len(resumed.net.history) > 0
        trains = plain is not None or valid is not None or has_trained
        trains = trains or fit_readout is None or self.max_epochs != "auto"
        if plain is None:
            setting = self._learn(form, targets, samples, old, embedding=embedding)
        else:
            setting = plain.setting
        batches = self._training_batches(setting, samples, chance.rng)
        n_epochs = self._n_epochs(setting.n_steps(samples), len(batches.batch_sampler))
        run = Run(
            criterion=task.criterion,
            max_epochs=n_epochs if trains else 0,
            early_stopping=stops_early,
            max_time=max_time,
            options=self._net_options(task),
        )
        trained = self._start(run, resumed, chance.seeds, chance.rng, setting, samples)
        device = trained.net.device
        chosen = setting.sizes.attributes() | {"max_epochs_": run.max_epochs}
        self._announce(f"{len(samples.panel)} sequences", trained.net, chosen)
        with Interruption(trained.net) as interruption:
            if trains:
                trained.net.fit(
                    batches, valid=None if valid is None else setting.batches(valid, device)
                )
        found, filters = None, None if plain is None else plain.filters
        if fit_readout is not None:
            select = setting.select(distinct, device)
            if filters is None:
                filters = interruption.repeat(
                    partial(
                        summarize_filters,
                        trained.net,
                        select,
                        len(distinct.panel),
                        recalls=task.recalls,
                    )
                )
            reads_blocks = len(trained.net.history) > 0
            found = interruption.repeat(
                partial(fit_readout, trained.net, select, filters, reads_blocks=reads_blocks)
            )
            if valid is not None:
                held_out = setting.weighted(valid)
                outputs = partial(setting.outputs, held_out, trained.net, found.readout)
                found = task.judge(found, targets, held_out, interruption.repeat(outputs))
        return _Result(trained, setting, chosen, distinct, found, filters, interruption)

    def _partial_fit(
        self, task: Task, resumed: Trained | None, X: Any, y: Any, sample_weight: Any
    ) -> Self:
        """Train for one epoch; the first call fixes the scaling and what is "auto"."""
        old = None if resumed is None else self._predictor_
        form, panel = self._read(old, X, None)
        samples = _labeled(X, panel, y, sample_weight, task.targets)
        seeds, rng = random_numbers(self.random_state, resumed)
        setting = self._learn(form, task.targets, samples, old)
        run = Run(criterion=task.criterion, options=self._net_options(task))
        trained = self._start(run, resumed, seeds, rng, setting, samples)
        with Interruption(trained.net) as interruption:
            trained.net.partial_fit(self._training_batches(setting, samples, rng))
        chosen = setting.sizes.attributes()
        result = _Result(trained, setting, chosen, samples, None, None, interruption)
        return self._adopt_run(task, result)

    # ------------------------------------------------------------------ steps of a fit

    def _winning_trial(
        self, task: Task, plain: _Result, max_time: float | None
    ) -> tuple[LabeledSequences, np.ndarray] | None:
        """Return held-out samples and outputs for them after a short training, if that wins.

        None if the regression alone is as good, or misses too little for a trial.
        """
        found, distinct = plain.found, plain.distinct
        if found is None:  # trained already
            return None
        score = partial(task.score, plain.setting.targets)
        rows, _, blocked, gap = found.left_out
        n_samples = len(distinct.panel)
        missed = 1 - score(distinct.take(rows), blocked)
        if plain.interruption.is_pending or not deserves_trial(missed, n_samples):
            return None
        blocks = blocks_of(task.targets.strata(distinct.targets), n_samples, distinct.groups)
        block = np.bincount(blocks[rows]).argmax()
        judged = blocks[rows] == block
        rest, held_out = apart_from(blocks == block, gap), rows[judged]
        outputs = self._trial(task, plain, rest, held_out, blocked[judged], max_time)
        if outputs is None:
            return None
        test = distinct.take(held_out)
        wins = score(test, outputs) > score(test, blocked[judged])
        if gap:  # a few samples as good as those of a block must not decide
            losses = partial(task.losses, plain.setting.targets, test)
            excess = excess_of(losses(outputs), losses(blocked[judged]), test.weights, gap)
            wins = wins and excess < -1
        return (test, outputs) if wins else None

    def _trial(
        self,
        task: Task,
        plain: _Result,
        rest: np.ndarray,
        held_out: np.ndarray,
        known: np.ndarray,
        max_time: float | None,
    ) -> np.ndarray | None:
        """Return outputs for held-out samples after a short training on the rest.

        Scaling, filters and their limits are those of all samples, as for what it is compared with,
        whose outputs are `known`. None if the training is given up since it is hopeless.
        """
        seeds, rng = random_numbers(0, None)
        samples, test = plain.distinct.take(rest), plain.distinct.take(held_out)
        # the weights of the samples have those of the classes already
        targets = plain.setting.targets.unweighted().learn(samples.targets, samples.weights)
        setting = replace(plain.setting, targets=targets)
        losses = partial(task.losses, plain.setting.targets, test)

        def outputs_of(net: S4Net) -> np.ndarray:
            assert plain.filters is not None
            fit_readout = task.plan_readout(samples)
            assert fit_readout is not None  # as for all samples
            select, others = (setting.select(part, net.device) for part in (samples, test))
            found = fit_readout(net, select, plain.filters.take(rest), reads_blocks=True)
            return readout_outputs(net, others, plain.filters.take(held_out), found.readout)

        def gives_up(net: S4Net) -> bool:
            return is_hopeless(losses(outputs_of(net)), losses(known), test.weights)

        batches = self._training_batches(setting, samples, rng)
        n_epochs = self._n_epochs(setting.n_steps(samples), len(batches.batch_sampler))
        n_epochs = trial_epochs(n_epochs)
        run = Run(
            criterion=task.criterion,
            max_epochs=n_epochs,
            callbacks=[("first_look", FirstLook(first_look(n_epochs), gives_up))],
            max_time=None if max_time is None else TRIAL * max_time,
            options=self._net_options(task),
            is_trial=True,
        )
        net = self._start(run, None, seeds, rng, setting, plain.distinct).net.fit(batches)
        return None if net.stop_reason_ == "hopeless" else outputs_of(net)

    def _read(
        self, old: SequencePredictor | None, X: Any, sampling_rate: float | None
    ) -> tuple[_Form, Panel]:
        """Check training sequences; without an earlier fit, learn their form."""
        if old is not None:
            rate = old.rate(sampling_rate)
            form = _Form(reader=old.reader, rate=rate, sampling_rate=old.sampling_rate)
            return form, old.reader.read(X)
        if sampling_rate is not None:
            sampling_rate = check_positive("sampling_rate", sampling_rate)
        reader, panel = SequenceReader(type(self).__name__, self.layout).fit_read(X)
        return _Form(reader=reader, rate=1.0, sampling_rate=sampling_rate), panel

    def _hold_out(
        self,
        samples: LabeledSequences,
        valid: LabeledSequences | None,
        targets: TargetEncoder,
        rng: np.random.Generator,
    ) -> tuple[LabeledSequences, LabeledSequences | None, bool]:
        """Return training data, validation data, and whether training stops early."""
        stops_early = self.early_stopping is True or (
            self.early_stopping == "auto" and valid is not None
        )
        if not stops_early or valid is not None:
            return samples, valid, stops_early
        train_rows, valid_rows = split_rows(
            len(samples.panel),
            self.validation_fraction,
            int(rng.integers(2**31)),
            classes=targets.strata(samples.targets),
        )
        if valid_rows is None:
            return samples, None, False
        return samples.take(train_rows), samples.take(valid_rows), True

    def _learn(
        self,
        form: _Form,
        targets: TargetEncoder,
        samples: LabeledSequences,
        old: SequencePredictor | None,
        *,
        embedding: str | None = None,
    ) -> _Setting:
        """Learn from the samples to train on; the scaling and the sizes in the first fit only."""
        if old is None:
            sizes = self._sizes(form, samples, embedding or self._embeddings(form, samples)[0])
            encoder = SequenceEncoder(sizes.standardize, self.missing).fit(samples.panel)
        else:
            sizes, encoder = self._sizes_now(), old.encoder
        return _Setting(
            form=form,
            targets=targets.learn(samples.targets, samples.weights),
            sizes=sizes,
            encoder=encoder,
            dtype=self.dtype,
        )

    def _embeddings(self, form: _Form, samples: LabeledSequences) -> tuple[str, ...]:
        """Return the embeddings of patches to choose from."""
        return candidate_embeddings(
            samples.panel.lengths,
            self.embedding,
            self.patch_size,
            may_change_rate=form.sampling_rate is not None,
        )

    def _sizes(self, form: _Form, samples: LabeledSequences, embedding: str) -> _Sizes:
        """Return what "auto" becomes for these samples."""
        panel = samples.panel
        patch_size = resolve_patch_size(
            panel.lengths,
            self.patch_size,
            embedding=embedding,
            may_change_rate=form.sampling_rate is not None,
        )
        n_steps = count_steps(panel, patch_size)
        return _Sizes(
            embedding=embedding,
            patch_size=patch_size,
            standardize=resolve_standardize(panel, samples.targets, self.standardize),
            dt_range=resolve_dt_range(n_steps, self.dt_min, self.dt_max),
            batch_size=(
                resolve_batch_size(n_steps) if self.batch_size == "auto" else int(self.batch_size)
            ),
        )

    def _sizes_now(self) -> _Sizes:
        """Return what "auto" became in the first fit; a given batch size may change."""
        is_auto = self.batch_size == "auto"
        return _Sizes(
            embedding=self.embedding_,
            patch_size=self.patch_size_,
            standardize=self.standardize_,
            dt_range=self.dt_range_,
            batch_size=self.batch_size_ if is_auto else int(self.batch_size),
        )

    def _net_options(self, task: Task) -> Mapping[str, Any]:
        """Return the options of a net, whose batches are stretched if they are to be."""
        if self.stretch == 1:
            return task.net_options
        stretch = Stretch(self.stretch, then=task.net_options.get("batch_transform"))
        return {**task.net_options, "batch_transform": stretch}

    def _n_epochs(self, n_steps: np.ndarray, n_batches: int) -> int:
        if self.max_epochs == "auto":
            return resolve_max_epochs(n_steps, n_batches)
        return int(self.max_epochs)

    def _training_batches(
        self, setting: _Setting, samples: LabeledSequences, rng: np.random.Generator
    ) -> Batches:
        """Return shuffled batches."""
        sampler = self._training_sampler(setting.n_steps(samples), setting.sizes.batch_size, rng)
        return Batches(setting.dataset(samples), sampler)

    def _start(
        self,
        run: Run,
        resumed: Trained | None,
        seeds: Seeds,
        rng: np.random.Generator,
        setting: _Setting,
        samples: LabeledSequences,
    ) -> Trained:
        """Return a net to train on samples: one that resumes, or a new one."""
        if resumed is not None:
            return self._resumed_net(run, resumed)
        trained = self._new_net(
            run,
            seeds,
            S4Model,
            rng=rng,
            dt_range=setting.sizes.dt_range,
            n_inputs=setting.encoder.n_inputs_,
            n_outputs=setting.targets.n_outputs,
            embedding=setting.sizes.embedding,
            patch_size=setting.sizes.patch_size,
        )
        spectrum = trained.net.module_.backbone.spectrum
        if spectrum is not None:
            spectrum.fit(_some_patches(setting, samples.distinct(), spectrum.patch_size))
        return trained

    def _adopt_run(self, task: Task, result: _Result) -> Self:
        """Adopt the result of a run, and raise the interrupt of the user, if there was one."""
        trained, setting, found = result.trained, result.setting, result.found
        readout = None if found is None else found.readout
        attributes = {
            "_predictor_": setting.predictor(trained.net, readout),
            "_targets_": setting.targets,
            "encoder_": setting.encoder,
            "sampling_rate_": setting.form.sampling_rate,
        }
        attributes |= task.no_readout if found is None else found.attributes
        if readout is not None:
            attributes["n_parameters_"] = readout.n_parameters(trained.net.module_.backbone)
        form = setting.form.reader.attributes() | setting.targets.attributes()
        self._adopt(trained, dict(result.chosen) | form | attributes)
        result.interruption.raise_again()
        return self


def _tells_better(task: Task, other: _Result, result: _Result) -> bool:
    """Tell whether another regression on filters predicts blocks better, and not by chance."""
    assert other.found is not None
    assert result.found is not None
    rows, _, known, gap = result.found.left_out
    samples, outputs = result.distinct.take(rows), other.found.left_out.blocked
    score = partial(task.score, result.setting.targets, samples)
    losses = partial(task.losses, result.setting.targets, samples)
    if score(outputs) <= score(known):
        return False
    return excess_of(losses(outputs), losses(known), samples.weights, gap) < -_BEYOND_CHANCE


def _some_patches(setting: _Setting, samples: LabeledSequences, patch_size: int) -> torch.Tensor:
    """Return whole patches of some training sequences, (n_patches, patch_size * n_inputs).

    Of shorter sequences, the only one is filled with zeros.
    """
    n_samples = len(samples.panel)
    rows = np.unique(np.linspace(0, n_samples - 1, _SEQUENCES_OF_SPECTRA).astype(np.int64))
    dataset = setting.dataset(samples.take(rows))
    patches = []
    for row in range(len(rows)):
        u = dataset[row][0]["u"][0]
        missing = max(0, patch_size - len(u))
        filled = torch.nn.functional.pad(u, (0, 0, 0, missing))
        n_whole = len(filled) // patch_size
        patches.append(filled[: n_whole * patch_size].reshape(n_whole, -1))
    return torch.cat(patches)


def check_target_given(estimator: Any, y: Any) -> None:
    """Raise ValueError if there is no target."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )


def _labeled(
    X: Any, panel: Panel, y: Any, sample_weight: Any, targets: TargetEncoder
) -> LabeledSequences:
    """Return sequences with their targets, both checked."""
    read = targets.read(y)
    check_one_target_each(X, panel, read)
    weights = check_weights(as_weights(sample_weight), len(panel))
    return LabeledSequences(panel, read, weights)


def _check_groups(groups: Any, n_samples: int) -> np.ndarray | None:
    """Return indices of groups, (n_samples,) int64, of which there must be two at least."""
    if groups is None:
        return None
    values = column_or_1d(groups)
    if len(values) != n_samples:
        raise ValueError(
            f"groups must have one entry for each of {n_samples} samples, got {len(values)}."
        )
    names, indices = np.unique(values, return_inverse=True)
    if len(names) < 2:
        only = names.tolist()[0]
        raise ValueError(
            f"groups must hold two different ones at least, got only {only!r}. Pass None to "
            "hold out each sample by itself."
        )
    return indices.astype(np.int64)
