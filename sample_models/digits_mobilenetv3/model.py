"""A small MobileNetV3: inverted residuals, squeeze-and-excite and hard-swish, after Howard et al. 2019."""

from __future__ import annotations

from torch import Tensor, nn

_STEM, _HEAD, _HIDDEN = 8, 72, 48
# kernel, expanded channels, output channels, squeeze-and-excite, hard-swish, stride
_BLOCKS = (
    (3, 24, 12, True, False, 2),
    (3, 36, 16, False, False, 2),
    (3, 48, 16, False, False, 1),
    (5, 48, 20, True, True, 1),
    (5, 60, 20, True, True, 1),
    (5, 60, 24, True, True, 2),
)


class SqueezeExcite(nn.Module):
    """Each channel times a number between 0 and 1 that depends on the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        reduced = max(8, channels // 4)
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.activation = nn.ReLU()
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (N, channels, H, W) to the same shape."""
        gates: Tensor = self.gate(self.expand(self.activation(self.reduce(self.pool(features)))))
        return features * gates


class InvertedResidual(nn.Module):
    """Wider by a 1x1 convolution, then depthwise, then narrow again; added to its input where the shape stays."""

    def __init__(
        self, inputs: int, *, shape: tuple[int, int, int], stride: int, excites: bool, swishes: bool
    ) -> None:
        super().__init__()
        kernel, width, outputs = shape
        activation = nn.Hardswish if swishes else nn.ReLU
        self.widen = nn.Conv2d(inputs, width, 1, bias=False)
        self.widen_norm = nn.BatchNorm2d(width)
        self.widen_activation = activation()
        self.depthwise = nn.Conv2d(
            width, width, kernel, stride=stride, padding=kernel // 2, groups=width, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.depthwise_activation = activation()
        self.excite = SqueezeExcite(width) if excites else nn.Identity()
        self.narrow = nn.Conv2d(width, outputs, 1, bias=False)
        self.narrow_norm = nn.BatchNorm2d(outputs)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        hidden = self.widen_activation(self.widen_norm(self.widen(features)))
        hidden = self.depthwise_activation(self.depthwise_norm(self.depthwise(hidden)))
        narrow: Tensor = self.narrow_norm(self.narrow(self.excite(hidden)))
        return features + narrow if self.is_residual else narrow


class MobileNetV3(nn.Module):
    """An image of 32x32 grey pixels to one logit per class."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, _STEM, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(_STEM)
        self.stem_activation = nn.Hardswish()
        blocks: list[InvertedResidual] = []
        channels = _STEM
        for kernel, width, outputs, excites, swishes, stride in _BLOCKS:
            shape = (kernel, width, outputs)
            blocks.append(
                InvertedResidual(
                    channels, shape=shape, stride=stride, excites=excites, swishes=swishes
                )
            )
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(channels, _HEAD, 1, bias=False)
        self.head_norm = nn.BatchNorm2d(_HEAD)
        self.head_activation = nn.Hardswish()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(_HEAD, _HIDDEN)
        self.hidden_activation = nn.Hardswish()
        self.classifier = nn.Linear(_HIDDEN, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Images of shape (N, 1, 32, 32), values 0 to 1, to logits of shape (N, 10)."""
        features = self.blocks(self.stem_activation(self.stem_norm(self.stem(image))))
        features = self.head_activation(self.head_norm(self.head(features)))
        hidden = self.hidden_activation(self.hidden(self.pool(features).flatten(1)))
        logits: Tensor = self.classifier(hidden)
        return logits


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return MobileNetV3().eval()
