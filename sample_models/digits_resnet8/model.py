"""ResNet-8, the image classifier of MLPerf Tiny: three residual blocks, after He et al. 2016."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        hidden = torch.relu(self.first_norm(self.first(features)))
        hidden = self.second_norm(self.second(hidden))
        return torch.relu(hidden + self.shortcut(features))


class ResNet8(nn.Module):
    """An image of 32x32 pixels to one logit per class."""

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(
            ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Images of shape (N, 3, 32, 32), values 0 to 1, to logits of shape (N, 10)."""
        features = torch.relu(self.stem_norm(self.stem(image)))
        pooled = self.pool(self.blocks(features)).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return ResNet8().eval()
