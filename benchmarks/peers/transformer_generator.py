"""A decoder-only transformer that generates with a cache of its keys and values."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_WIDTH = 16


class CausalAttention(nn.Module):
    """Attention to what came before, over a whole sequence or step by step.

    Parameters
    ----------
    d_model : int
        Number of features.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.n_heads = max(1, d_model // HEAD_WIDTH)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.cache: Tensor | None = None  # (2, batch, heads, context, width)

    def _heads(self, x: Tensor) -> Tensor:
        """Return queries, keys and values of ``x (batch, length, d_model)``."""
        parts = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))
        return parts.permute(2, 0, 3, 1, 4)  # (3, batch, heads, length, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, length, d_model)`` to the same shape."""
        q, k, v = self._heads(x)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))

    def step(self, x: Tensor, position: int) -> Tensor:
        """Map one step ``x (batch, d_model)``; its keys and values go into the cache."""
        q, *kv = self._heads(x[:, None])
        assert self.cache is not None
        for cache, new in zip(self.cache, kv, strict=True):
            cache[:, :, position] = new[:, :, 0]
        k, v = self.cache[..., : position + 1, :]
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y[:, :, 0].flatten(1))


class TransformerLayer(nn.Module):
    """Attention and two linear layers, each behind a norm and in a residual."""

    def __init__(self, d_model: int, d_hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.attention = CausalAttention(d_model)
        self.mix = nn.Sequential(
            nn.Linear(d_model, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_model)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x))
        return x + self.mix(self.norms[1](x))

    def step(self, x: Tensor, position: int) -> Tensor:
        x = x + self.attention.step(self.norms[0](x), position)
        return x + self.mix(self.norms[1](x))


class TransformerGenerator(nn.Module):
    """Scores of the next symbol, from all symbols so far.

    Parameters
    ----------
    n_symbols : int
        Number of symbols.
    d_model, n_layers, d_hidden : int
        Features, layers, and width between the two linear layers of each.
    max_length : int
        Number of positions.
    """

    def __init__(
        self, n_symbols: int, d_model: int, n_layers: int, d_hidden: int, max_length: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, d_model)
        self.layers = nn.ModuleList(TransformerLayer(d_model, d_hidden) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, n_symbols)
        self.register_buffer("positions", _sinusoids(max_length, d_model))

    def forward(self, u: Tensor) -> Tensor:
        """Map symbols ``u (batch, length)`` to scores ``(batch, length, n_symbols)``."""
        x = self.embedding(u) + self.positions[: u.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))

    def allocate(self, batch: int) -> None:
        """Make room for the keys and values of `batch` sequences of the full length."""
        max_length, d_model = self.positions.shape
        for layer in self.layers:
            heads = layer.attention.n_heads
            layer.attention.cache = self.positions.new_zeros(
                2, batch, heads, max_length, d_model // heads
            )

    def step(self, u: Tensor, position: int) -> Tensor:
        """Map the symbols ``u (batch,)`` at one position to scores ``(batch, n_symbols)``."""
        x = self.embedding(u) + self.positions[position]
        for layer in self.layers:
            x = layer.step(x, position)
        return self.head(self.norm(x))


def _sinusoids(length: int, d_model: int) -> Tensor:
    """Return the positions of Vaswani et al. 2017, section 3.5, ``(length, d_model)``."""
    rates = 10_000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
