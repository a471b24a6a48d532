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


def large_table() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """561 million float32 weights (2.24 GB) in one table and a linear layer: more than a protocol buffer can hold."""

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(560_000, 1000)
            self.head = nn.Linear(1000, 1000)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.head(self.table(ids)).tanh()
            return scores

    torch.manual_seed(0)
    return Table().eval(), (torch.tensor([[0, 5, 559_999, 17]]),)
