"""A convolutional network in the style of InceptionTime.

References
----------
Ismail Fawaz et al. 2020 (InceptionTime, arXiv:1909.04939), figures 1 and 2. The paper's classifier
is an ensemble of five such networks after 1,500 epochs; here it is one, with the training of
:class:`~benchmarks.peers._classifier.NetworkClassifier`. Kernels are odd, so that they have a
middle.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._classifier import real_steps

N_FILTERS = 32
KERNELS = (39, 19, 9)
DEPTH = 6


def convolution(n_inputs: int, n_outputs: int, kernel: int) -> nn.Conv1d:
    """Return a convolution that keeps the length and leaves zeros zero."""
    return nn.Conv1d(n_inputs, n_outputs, kernel, padding=kernel // 2, bias=False)


class Inception(nn.Module):
    """Convolutions of three lengths and a maximum beside each other."""

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        is_narrow = n_inputs == 1
        width = 1 if is_narrow else N_FILTERS
        self.bottleneck = nn.Identity() if is_narrow else convolution(n_inputs, width, 1)
        self.branches = nn.ModuleList(convolution(width, N_FILTERS, k) for k in KERNELS)
        self.after_maximum = convolution(n_inputs, N_FILTERS, 1)
        self.norm = nn.BatchNorm1d(4 * N_FILTERS)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, n_inputs, length)`` to ``(batch, 4 * N_FILTERS, length)``."""
        narrow = self.bottleneck(x)
        # Padded with zeros, as the end of a shorter sequence in the batch is.
        maximum = F.max_pool1d(F.pad(x, (1, 1)), 3, stride=1)
        outputs = [branch(narrow) for branch in self.branches]
        return self.norm(torch.cat([*outputs, self.after_maximum(maximum)], dim=1))


class InceptionNet(nn.Module):
    """Six inception modules, a shortcut around each three, and the mean over time.

    Sequences that are shorter than their batch stay zero behind their end, so the output does not
    depend on the padding; the statistics of the batch norm in training include it.

    Parameters
    ----------
    n_classes : int
        Number of outputs.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        width = 4 * N_FILTERS
        inputs = [1] + [width] * (DEPTH - 1)
        self.modules_in_order = nn.ModuleList(Inception(n) for n in inputs)
        self.shortcuts = nn.ModuleList(
            nn.Sequential(convolution(n, width, 1), nn.BatchNorm1d(width)) for n in inputs[::3]
        )
        self.linear = nn.Linear(width, n_classes)

    def forward(self, u: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``u (batch, length, 1)`` to ``(batch, n_classes)``."""
        real = None if lengths is None else real_steps(u, lengths)[:, None]
        x = residual = u.transpose(1, 2)  # (batch, 1, length)
        for i, module in enumerate(self.modules_in_order):
            x = module(x)
            if i % 3 == 2:
                x = x + self.shortcuts[i // 3](residual)
            x = F.relu(x)
            if real is not None:
                x = x * real
            if i % 3 == 2:
                residual = x
        n_steps = u.shape[1] if lengths is None else lengths[:, None]
        return self.linear(x.sum(2) / n_steps)
