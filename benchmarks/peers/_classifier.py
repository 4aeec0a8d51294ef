"""The loop around the networks that S4 is compared with: the data and training of sks4 itself.

So a comparison is one of networks: batches of similar lengths, warm-up and cosine, the end by a
time limit are the same. What is each network's own are its optimizer, rate, clipping and batches.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor, nn

from sks4.data import BucketBatchSampler, SequenceDataset, SequenceEncoder, as_panel
from sks4.training import Batches, CrossEntropy, LearningRateSchedule, S4Net

MAX_TOKENS = 2**16  # in a batch of prediction


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """Train a network with Adam to classify sequences, each standardized on its own.

    Parameters
    ----------
    network : callable
        ``network(n_classes)`` returns a module that maps ``u (batch, length, 1)`` and ``lengths
        (batch,)``, None if nothing is padded, to ``(batch, n_classes)``.
    lr : float, default=1e-3
        Largest learning rate of the schedule.
    batch_size : int, default=16
        Sequences in a batch.
    gradient_clip : float or None, default=None
        Largest norm of the gradient.
    max_epochs : int, default=100
        Passes over the data, if the time suffices.
    max_time : float or None, default=None
        Seconds; the learning rate comes down to zero within them.
    random_state : int, default=0
        Seed of weights, batches and dropout.
    """

    def __init__(
        self,
        network: Callable[[int], nn.Module],
        *,
        lr: float = 1e-3,
        batch_size: int = 16,
        gradient_clip: float | None = None,
        max_epochs: int = 100,
        max_time: float | None = None,
        random_state: int = 0,
    ) -> None:
        self.network = network
        self.lr = lr
        self.batch_size = batch_size
        self.gradient_clip = gradient_clip
        self.max_epochs = max_epochs
        self.max_time = max_time
        self.random_state = random_state

    def fit(self, X: Sequence[np.ndarray], y: np.ndarray) -> Self:
        """Train on sequences of one channel, each at its own length."""
        self.classes_, y_indices = np.unique(y, return_inverse=True)
        panel = as_panel(X)
        self.encoder_ = SequenceEncoder("series").fit(panel)
        dataset = SequenceDataset(panel, self.encoder_, y=y_indices)
        sampler = BucketBatchSampler(panel.lengths, self.batch_size, seed=self.random_state)
        with torch.random.fork_rng():  # initial weights and dropout of torch's own modules
            torch.manual_seed(self.random_state)
            self.net_ = self._train(Batches(dataset, sampler))
        return self

    def _train(self, batches: Batches) -> S4Net:
        return S4Net(
            _Module(self.network(len(self.classes_))),
            CrossEntropy(),
            optimizer=torch.optim.Adam,
            lr=self.lr,
            gradient_clip=self.gradient_clip,
            max_epochs=self.max_epochs,
            max_time=self.max_time,
            seed=self.random_state,
            callbacks=[LearningRateSchedule()],
        ).fit(batches)

    def predict(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """Return the class of each sequence."""
        panel = as_panel(X)
        sampler = BucketBatchSampler(panel.lengths, 64, max_tokens=MAX_TOKENS, shuffle=False)
        scores = self.net_.predict_dataset(SequenceDataset(panel, self.encoder_), sampler)
        return self.classes_[scores.argmax(axis=1)]


class _Module(nn.Module):
    """A network as the training loop calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, u: Tensor, lengths: Tensor | None = None, rate: float = 1.0) -> Tensor:
        return self.network(u, lengths)

    def check_weights(self) -> None:
        if not all(parameter.isfinite().all() for parameter in self.parameters()):
            raise ArithmeticError("All weights must be finite.")

    def parameter_groups(
        self, lr: float, ssm_lr: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters()), "lr": lr, "weight_decay": weight_decay}]


def real_steps(x: Tensor, lengths: Tensor) -> Tensor:
    """Return 1 in the real steps of each sequence and 0 in the padding, ``(batch, length)``."""
    return (torch.arange(x.shape[1], device=x.device) < lengths[:, None]).to(x.dtype)
