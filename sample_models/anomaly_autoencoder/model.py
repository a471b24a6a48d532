"""The anomaly detector of MLPerf Tiny: an autoencoder of dense layers, after Koizumi et al. 2020."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

_WIDTHS = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)


class Autoencoder(nn.Module):
    """640 features through a bottleneck of 8 and back; what is not normal comes back wrong."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(_WIDTHS):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(_WIDTHS[-1], _WIDTHS[0])

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (N, 640), 5 frames of 128 mel bands, to their reconstruction."""
        reconstruction: Tensor = self.output(self.layers(features))
        return reconstruction


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return Autoencoder().eval()
