"""Factories for the benchmarks: random weights, no downloads."""

from __future__ import annotations

import torch
from torch import nn


def mobilenet_v2() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """MobileNetV2 of torchvision and one image."""
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.mobilenet_v2(weights=None).eval(), (torch.randn(1, 3, 224, 224),)


def large_perceptron() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """100 million float32 weights (400 MB) in 25 layers of 2000 x 2000."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(25):
        layers += [nn.Linear(2000, 2000), nn.ReLU()]
    return nn.Sequential(*layers).eval(), (torch.randn(1, 2000),)
