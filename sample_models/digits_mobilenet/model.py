"""MobileNetV1 of width 0.25, the shape of MLPerf Tiny's visual wake words, after Howard et al. 2017."""

from __future__ import annotations

from torch import Tensor, nn

_WIDTHS_AND_STRIDES = (
    (16, 1),
    (32, 2),
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (256, 2),
    (256, 1),
)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class MobileNetV1(nn.Module):
    """An image to one logit per class, by depthwise and pointwise convolutions in turn."""

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        width = 8
        layers: list[nn.Module] = [_convolution(channels, width, 3, 2, 1)]
        for wider, stride in _WIDTHS_AND_STRIDES:
            layers.append(_convolution(width, width, 3, stride, width))
            layers.append(_convolution(width, wider, 1, 1, 1))
            width = wider
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Images of shape (N, 3, 48, 48), values 0 to 1, to logits of shape (N, 10)."""
        pooled = self.features(image).mean((2, 3))
        logits: Tensor = self.classifier(pooled)
        return logits


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return MobileNetV1().eval()
