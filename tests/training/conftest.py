"""A tiny data set and module with the interfaces that the training loop expects."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from sks4.training import Batches, S4Net, SquaredError


class ToyDataset(Dataset):
    """Random sequences (n, 5, 2); the target is the mean over time of the first channel."""

    def __init__(self, n_rows=12, weight=None, seed=0, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        self.u = torch.randn(n_rows, 5, 2, generator=generator, dtype=dtype)
        self.y = self.u[:, :, :1].mean(dim=1)
        self.weight = torch.ones(n_rows, dtype=dtype) if weight is None else weight

    def __len__(self):
        return len(self.u)

    def __getitems__(self, rows):
        inputs = {"u": self.u[rows], "rate": 1.0}
        return inputs, {"y": self.y[rows], "weight": self.weight[rows]}


class ToySampler:
    """Batches of `size` rows, shuffled by a generator of its own if a seed is given."""

    def __init__(self, n_rows, size=4, seed=None):
        self.n_rows, self.size = n_rows, size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self):
        return math.ceil(self.n_rows / self.size)

    def __iter__(self):
        rows = torch.arange(self.n_rows)
        if self.generator is not None:
            rows = torch.randperm(self.n_rows, generator=self.generator)
        return (part.tolist() for part in rows.split(self.size))


class ToyDropout(nn.Module):
    """Dropout that draws from the generator that it is lent."""

    generator = None

    def __init__(self, p):
        super().__init__()
        self.p = p

    def __getstate__(self):
        return super().__getstate__() | {"generator": None}

    def forward(self, u):
        if not self.training or self.p == 0:
            return u
        kept = torch.empty(u.shape).bernoulli_(1 - self.p, generator=self.generator)
        return u * kept.to(u) / (1 - self.p)


class ToyModel(nn.Module):
    """Linear in the mean over time, with dropout."""

    def __init__(self, seed=0, dropout=0.5, dtype=torch.float32):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(2, 1, generator=generator, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(1, dtype=dtype))
        self.dropout = ToyDropout(dropout)

    def forward(self, u, lengths=None, rate=1.0):
        return self.dropout(u).mean(dim=1) @ self.weight * rate + self.bias

    def parameter_groups(self, lr, ssm_lr, weight_decay):
        return [
            {"params": [self.weight], "lr": lr, "weight_decay": weight_decay},
            {"params": [self.bias], "lr": ssm_lr, "weight_decay": 0.0},
        ]

    def check_weights(self):
        if not all(parameter.isfinite().all() for parameter in self.parameters()):
            raise ArithmeticError("All weights must be finite.")


@pytest.fixture
def make_batches():
    def make(n_rows=12, *, size=4, seed=0, shuffle_seed=None, **options):
        dataset = ToyDataset(n_rows, seed=seed, **options)
        return Batches(dataset, ToySampler(n_rows, size, shuffle_seed))

    return make


@pytest.fixture
def make_net():
    def make(*, dropout=0.5, dtype=torch.float32, module=None, criterion=None, **options):
        options = {"max_epochs": 3, "lr": 0.05, "ssm_lr": 0.01} | options
        module = module or ToyModel(dropout=dropout, dtype=dtype)
        return S4Net(module, criterion or SquaredError(), **options)

    return make


@pytest.fixture
def generators_untouched():
    """Fail the test that leaves a global generator of Python, NumPy or torch in another state."""
    before = _global_states()
    yield
    assert _global_states() == before


def _global_states():
    _, numpy_state, *numpy_rest = np.random.get_state()  # noqa: NPY002 - the global one is meant
    numpy_state = numpy_state.tobytes(), *numpy_rest
    return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()
