"""DS-CNN, the keyword spotter of MLPerf Tiny: depthwise separable convolutions, after Zhang et al. 2017."""

from __future__ import annotations

from torch import Tensor, nn


def _separable_convolution(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class KeywordDSCNN(nn.Module):
    """49 frames of 10 cepstral coefficients to one logit per keyword."""

    def __init__(self, width: int = 64, classes: int = 12) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, (10, 4), stride=2, padding=(5, 1)),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        self.blocks = nn.Sequential(*(_separable_convolution(width) for _ in range(4)))
        self.dropout = nn.Dropout(0.4)
        self.pool = nn.AvgPool2d((25, 5))
        self.classifier = nn.Linear(width, classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Spectrograms of shape (N, 1, 49, 10) to logits of shape (N, 12)."""
        features = self.dropout(self.blocks(self.stem(spectrogram)))
        logits: Tensor = self.classifier(self.pool(features).flatten(1))
        return logits


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return KeywordDSCNN().eval()
