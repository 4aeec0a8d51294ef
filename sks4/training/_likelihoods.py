"""Distributions of the next value: their likelihood as a loss, and samples from them.

The output of a model at one step holds the parameters of the distribution of what comes next. All
are called as ``loss(output, target, weight)``, like the other losses, and give the negative
log-likelihood in nats for each value.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sks4.training._losses import weighted_mean

# Least scale of a density, in standard deviations of the data. Values that repeat exactly would
# else have a likelihood without bound, which training would find.
SMALLEST_SCALE = 1e-3


class Likelihood(nn.Module, ABC):
    """Distribution of the next value of each channel, independent of each other given the past."""

    @abstractmethod
    def n_outputs(self, size: int) -> int:
        """Return how many parameters `size` channels, or symbols, need at each step."""

    @abstractmethod
    def log_prob(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the natural logarithm of the density, or probability, of each target.

        Parameters
        ----------
        output : Tensor of shape (..., n_outputs)
            Parameters.
        target : Tensor of shape (..., n_channels), or (...) of symbols
            What came.

        Returns
        -------
        Tensor of the shape of `target`
            Log-likelihood.
        """

    @abstractmethod
    def noise(
        self, n: int, output: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Return the random numbers of `n` draws, each tensor of shape ``(n, batch, ...)``.

        Parameters
        ----------
        n : int
            Number of draws from distributions like those of `output`.
        output : Tensor of shape (batch, n_outputs)
            Parameters, of which shape, dtype and device count.
        generator : torch.Generator or None, default=None
            Source of random numbers.
        """

    @abstractmethod
    def draw(
        self, output: Tensor, *noise: Tensor, temperature: float = 1.0, top_k: int | None = None
    ) -> Tensor:
        """Return the draw that random numbers make.

        Parameters
        ----------
        output : Tensor of shape (batch, n_outputs)
            Parameters.
        *noise : Tensors of shape (batch, ...)
            One of the entries of :meth:`noise`.
        temperature, top_k
            See :meth:`sample`.

        Returns
        -------
        Tensor of shape (batch, n_channels), or (batch,) of symbols
            What comes next.
        """

    def sample(
        self,
        output: Tensor,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw one value.

        Parameters
        ----------
        output : Tensor of shape (batch, n_outputs)
            Parameters.
        temperature : float, default=1.0
            Exponent ``1 / temperature`` of the distribution; below 1, likely values come more
            often than they should. For a mixture, the weights of its components have that
            exponent, and their scales are multiplied by it: its power has no closed form.
        top_k : int or None, default=None
            Draw from so many most probable symbols only.
        generator : torch.Generator or None, default=None
            Source of random numbers.

        Returns
        -------
        Tensor of shape (batch, n_channels), or (batch,) of symbols
            What comes next.
        """
        noise = [x[0] for x in self.noise(1, output, generator)]
        return self.draw(output, *noise, temperature=temperature, top_k=top_k)

    def forward(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean of the negative log-likelihood; `weight` as the target."""
        return weighted_mean(-self.log_prob(output, target), weight)


class CategoricalLikelihood(Likelihood):
    """One of several symbols, by a softmax over their scores.

    Examples
    --------
    >>> import torch
    >>> likelihood = CategoricalLikelihood()
    >>> likelihood.log_prob(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([0.2500])
    """

    def n_outputs(self, size: int) -> int:
        """Return the number of symbols."""
        return size

    def log_prob(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the log-probability of the symbols `target` (...)."""
        # the cross entropy is faster than a log-softmax of which one entry is picked
        loss = functional.cross_entropy(output.flatten(0, -2), target.flatten(), reduction="none")
        return -loss.view(target.shape)

    def noise(
        self, n: int, output: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Return a uniform number for each symbol, ``(n, batch)``."""
        return (_uniform((n, len(output)), output, generator),)

    def draw(
        self, output: Tensor, *noise: Tensor, temperature: float = 1.0, top_k: int | None = None
    ) -> Tensor:
        """Return symbols (batch,)."""
        if top_k is not None and top_k < output.shape[-1]:
            best = output.topk(top_k, -1)
            output = torch.full_like(output, -torch.inf).scatter_(-1, best.indices, best.values)
        return _index(output, noise[0], temperature)


class GaussianLikelihood(Likelihood):
    """A normal distribution for each channel.

    Examples
    --------
    >>> import torch
    >>> likelihood = GaussianLikelihood()
    >>> output = torch.zeros(1, likelihood.n_outputs(2))
    >>> likelihood.log_prob(output, torch.tensor([[0.0, 1.0]])).shape
    torch.Size([1, 2])
    """

    def n_outputs(self, size: int) -> int:
        """Return a mean and a deviation for each channel."""
        return 2 * size

    @staticmethod
    def _split(output: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, each (..., n_channels)."""
        mean, raw = output.chunk(2, -1)
        return mean, _scale(raw)

    def log_prob(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the log-density of the values `target` (..., n_channels)."""
        mean, deviation = self._split(output)
        z = (target - mean) / deviation
        return -0.5 * z * z - deviation.log() - 0.5 * math.log(2 * math.pi)

    def noise(
        self, n: int, output: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Return a normal number for each value, ``(n, batch, n_channels)``."""
        shape = n, len(output), output.shape[-1] // 2
        options: dict[str, Any] = {"dtype": output.dtype, "device": output.device}
        return (torch.randn(shape, generator=generator, **options),)

    def draw(
        self, output: Tensor, *noise: Tensor, temperature: float = 1.0, top_k: int | None = None
    ) -> Tensor:
        """Return values (batch, n_channels)."""
        mean, deviation = self._split(output)
        # a normal density to the power 1/T is one with T times the variance
        return mean + math.sqrt(temperature) * deviation * noise[0]


class LogisticMixtureLikelihood(Likelihood):
    """A mixture of logistic distributions for each channel: several peaks, heavier tails.

    Parameters
    ----------
    n_components : int, default=5
        Number of logistic distributions.

    References
    ----------
    Salimans et al. 2017, PixelCNN++ (arXiv:1701.05517), equation 1, here as a density.

    Examples
    --------
    >>> import torch
    >>> likelihood = LogisticMixtureLikelihood(n_components=3)
    >>> output = torch.zeros(7, likelihood.n_outputs(2))
    >>> likelihood.sample(output).shape
    torch.Size([7, 2])
    """

    def __init__(self, n_components: int = 5) -> None:
        super().__init__()
        self.n_components = n_components

    def n_outputs(self, size: int) -> int:
        """Return weights, means and scales of all components of each channel."""
        return 3 * self.n_components * size

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, means and scales, each (..., n_channels, n_components)."""
        parts = output.unflatten(-1, (-1, 3 * self.n_components))
        scores, means, raw = parts.chunk(3, -1)
        return scores, means + self.starts(means), _scale(raw)

    def starts(self, like: Tensor) -> Tensor:
        """Return what is added to the means, ``(n_components,)``.

        They spread over the range of the data, else all components would start, and learn, the
        same.
        """
        options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        return torch.linspace(-1.5, 1.5, self.n_components + 2, **options)[1:-1]

    def log_prob(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the log-density of the values `target` (..., n_channels)."""
        scores, means, scales = self._split(output)
        z = ((target[..., None] - means) / scales).abs()  # the density is symmetric
        density = -z - 2 * functional.softplus(-z) - scales.log()
        return torch.logsumexp(scores.log_softmax(-1) + density, -1)

    def noise(
        self, n: int, output: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Return a uniform and a logistic number for each value, ``(n, batch, n_channels)``."""
        shape = n, len(output), output.shape[-1] // (3 * self.n_components)
        uniform, other = (_uniform(shape, output, generator) for _ in range(2))
        # the quantile function of the logistic distribution, away from 0 and 1
        logistic = torch.logit(other, eps=torch.finfo(output.dtype).eps)
        return uniform, logistic.to(output.dtype)

    def draw(
        self, output: Tensor, *noise: Tensor, temperature: float = 1.0, top_k: int | None = None
    ) -> Tensor:
        """Return values (batch, n_channels)."""
        scores, means, scales = self._split(output)
        choice = _index(scores, noise[0], temperature)[..., None]
        mean, scale = (x.gather(-1, choice)[..., 0] for x in (means, scales))
        return mean + temperature * scale * noise[1]


def _scale(raw: Tensor) -> Tensor:
    """Return a positive scale."""
    return functional.softplus(raw) + SMALLEST_SCALE


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return numbers in [0, 1), in double precision so that rare symbols are not rounded away."""
    return torch.rand(shape, dtype=_wide(like), device=like.device, generator=generator)


def _wide(x: Tensor) -> torch.dtype:
    """Return double precision where the device of `x` has it."""
    return x.dtype if x.device.type == "mps" else torch.float64


def _index(scores: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Return where a uniform number falls in the cumulative ``softmax(scores / temperature)``.

    Indices along the last axis, of the shape of `uniform`.
    """
    # as differences to the largest, which cannot overflow to several infinite ones
    weights = ((scores - scores.amax(-1, keepdim=True)) / temperature).exp()
    sums = weights.cumsum(-1, dtype=_wide(weights))
    # never the last sum itself, as a number below 1 times it rounds to less
    return (sums <= uniform[..., None] * sums[..., -1:]).sum(-1)
