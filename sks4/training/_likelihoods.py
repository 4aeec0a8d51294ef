"""Distributions of the next value: their likelihood as a loss, and samples from them.

The output of a model at one step holds the parameters of the distribution of what comes next. All
are called as ``loss(output, target, weight)``, like the other losses, and give the negative
log-likelihood in nats for each value.
"""

import math
from abc import ABC, abstractmethod

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
            often than they should.
        top_k : int or None, default=None
            Draw from so many most probable symbols only.
        generator : torch.Generator or None, default=None
            Source of random numbers.

        Returns
        -------
        Tensor of shape (batch, n_channels), or (batch,) of symbols
            What comes next.
        """

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

    def sample(
        self,
        output: Tensor,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw symbols (batch,)."""
        if top_k is not None and top_k < output.shape[-1]:
            best = output.topk(top_k, -1)
            output = torch.full_like(output, -torch.inf).scatter_(-1, best.indices, best.values)
        return _draw_index(output, temperature, generator)


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

    def sample(
        self,
        output: Tensor,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw values (batch, n_channels)."""
        mean, deviation = self._split(output)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        # a normal density to the power 1/T is one with T times the variance
        return mean + math.sqrt(temperature) * deviation * noise


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
        # spread over the range of the data, else all components would start, and learn, the same
        start = torch.linspace(
            -1.5, 1.5, self.n_components + 2, dtype=means.dtype, device=means.device
        )
        return scores, means + start[1:-1], _scale(raw)

    def log_prob(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the log-density of the values `target` (..., n_channels)."""
        scores, means, scales = self._split(output)
        z = ((target[..., None] - means) / scales).abs()  # the density is symmetric
        density = -z - 2 * functional.softplus(-z) - scales.log()
        return torch.logsumexp(scores.log_softmax(-1) + density, -1)

    def sample(
        self,
        output: Tensor,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw values (batch, n_channels).

        The weights of the components get the exponent, and their scales the factor `temperature`:
        the power of a mixture has no closed form.
        """
        scores, means, scales = self._split(output)
        choice = _draw_index(scores, temperature, generator)[..., None]
        mean, scale = (x.gather(-1, choice)[..., 0] for x in (means, scales))
        noise = torch.rand(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        # the quantile function of the logistic distribution, away from 0 and 1
        return mean + temperature * scale * torch.logit(noise, eps=torch.finfo(noise.dtype).eps)


def _scale(raw: Tensor) -> Tensor:
    """Return a positive scale."""
    return functional.softplus(raw) + SMALLEST_SCALE


def _draw_index(scores: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Draw along the last axis with the probabilities ``softmax(scores / temperature)``.

    The first of exponential waiting times with the rates p is that of i with probability p_i, so
    the largest of ``log p_i - log(waiting_i)``; faster than a search in the cumulative sum.
    """
    waiting = torch.empty_like(scores).exponential_(generator=generator)
    if temperature != 1:
        # as differences to the largest, which cannot overflow to several infinite ones
        scores = (scores - scores.amax(-1, keepdim=True)) / temperature
    return (scores - waiting.log_()).argmax(-1)
