"""A sentence encoder: token ids to one vector per sentence and one per token, after Devlin et al. 2019."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 512
LONGEST = 128


class MaskedAttention(nn.Module):
    """Every token looks at every token that is no padding, with several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (N, S, width) and a boolean mask (N, 1, 1, S) to tokens of the same shape."""
        projections = (self.query, self.key, self.value)
        query, key, value = (self._split(project(tokens)) for project in projections)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention and a two-layer network, each added to what came in and normalized after."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = MaskedAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.network_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (N, S, width) and a boolean mask (N, 1, 1, S) to tokens of the same shape."""
        tokens = self.attention_norm(tokens + self.attention(tokens, mask))
        mixed: Tensor = self.network_norm(tokens + self.network(tokens))
        return mixed


class SentenceEncoder(nn.Module):
    """Two encoder layers over word and position embeddings; the mean of real tokens is the sentence."""

    def __init__(self, width: int = 48, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(LONGEST, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Ids and mask (1: token, 0: padding), both of shape (N, S), to two outputs.

        `embedding` has shape (N, 48) and unit length; `tokens` has shape (N, S, 48).
        """
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        tokens = self.norm(self.words(input_ids) + self.positions(positions))
        mask = attention_mask[:, None, None, :].bool()
        for layer in self.layers:
            tokens = layer(tokens, mask)
        weights = attention_mask[:, :, None].to(tokens.dtype)
        mean = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return {"embedding": functional.normalize(mean, dim=-1), "tokens": tokens}


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return SentenceEncoder().eval()
