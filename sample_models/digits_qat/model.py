"""Inverted residual blocks after MobileNetV2 (Sandler et al. 2018), with ReLU for ReLU6, which quantizers fold into convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution that keeps the size divided by its stride, batch normalization, and ReLU unless it is linear."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        is_linear: bool = False,
    ) -> None:
        super().__init__()
        self.is_linear = is_linear
        self.convolve = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.norm(self.convolve(features))
        return result if self.is_linear else torch.relu(result)


class InvertedResidual(nn.Module):
    """Channels are tripled, filtered one by one, and joined again; where the shape stays, the input is added."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 3 * inputs
        self.layers = nn.Sequential(
            Convolution(inputs, wide),
            Convolution(wide, wide, 3, stride=stride, groups=wide),
            Convolution(wide, outputs, is_linear=True),
        )
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.layers(features)
        return features + result if self.is_residual else result


class SmallMobileNet(nn.Module):
    """An image of 32x32 pixels to one logit per class."""

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.stem = Convolution(channels, 16, 3, stride=2)
        self.blocks = nn.Sequential(
            InvertedResidual(16, 24, 2),
            InvertedResidual(24, 24, 1),
            InvertedResidual(24, 40, 2),
            InvertedResidual(40, 40, 1),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(40, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Images of shape (N, 1, 32, 32), values 0 to 1, to logits of shape (N, 10)."""
        pooled = self.pool(self.blocks(self.stem(image))).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def create() -> nn.Module:
    """The network with initial weights in float, in evaluation mode."""
    return SmallMobileNet().eval()
