"""A vision transformer small enough for a microcontroller-sized image, after Dosovitskiy et al. 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Every patch looks at every patch, with several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (N, tokens, width) to the same shape."""
        query, key, value = (
            self._split(part) for part in self.query_key_value(tokens).chunk(3, -1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        merged: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return merged

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class TransformerBlock(nn.Module):
    """Attention and a two-layer network, each normalized before and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.network_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (N, tokens, width) to the same shape."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        mixed: Tensor = tokens + self.network(self.network_norm(tokens))
        return mixed


class VisionTransformer(nn.Module):
    """An image of 32x32 pixels, cut into 16 patches, to one logit per class."""

    def __init__(self, width: int = 64, heads: int = 4, blocks: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 8, stride=8)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 17, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Images of shape (N, 1, 32, 32), values 0 to 1, to logits of shape (N, 10)."""
        patches = self.patches(image).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(image.shape[0], -1, -1)
        tokens = torch.cat((class_token, patches), dim=1) + self.positions
        logits: Tensor = self.classifier(self.norm(self.blocks(tokens))[:, 0])
        return logits


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return VisionTransformer().eval()
