"""Small models that between them have every kind of input and output that formats treat differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MODELS", "Example", "Port"]


@dataclass(frozen=True)
class Port:
    """An input or output as the model has it: None stands for a dynamic size."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Example:
    """A model, its example inputs, and what goes in and out of it in words of no format."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, str]]
    takes: tuple[Port, ...]
    gives: tuple[Port, ...]


def pair() -> Example:
    """Token ids and an image; scores and the best class, under names of their own, not in alphabetical order."""
    import torch
    from torch import nn

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(12, 6)
            self.mix = nn.Linear(6, 5)

        def forward(self, tokens: Tensor, image: Tensor) -> dict[str, Tensor]:
            hidden = self.table(tokens).mean(1) + image.mean((2, 3))
            scores: Tensor = self.mix(hidden)
            return {"scores": scores, "best": scores.argmax(-1)}

    torch.manual_seed(1)
    return Example(
        module=Pair(),
        inputs={"tokens": torch.randint(0, 12, (2, 7)), "image": torch.randn(2, 6, 4, 4)},
        dynamic={"tokens": {0: "N"}, "image": {0: "N"}},
        takes=(Port("tokens", "int64", (None, 7)), Port("image", "float32", (None, 6, 4, 4))),
        gives=(Port("scores", "float32", (None, 5)), Port("best", "int64", (None,))),
    )


def masked() -> Example:
    """A bool input, a bool output, and outputs without names."""
    import torch
    from torch import nn

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 3)

        def forward(self, features: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
            hidden = torch.where(keep, features, torch.zeros_like(features))
            return self.mix(hidden), keep.logical_not()

    torch.manual_seed(2)
    return Example(
        module=Masked(),
        inputs={"features": torch.randn(2, 4), "keep": torch.rand(2, 4) > 0.5},
        dynamic={"features": {0: "N"}, "keep": {0: "N"}},
        takes=(Port("features", "float32", (None, 4)), Port("keep", "bool", (None, 4))),
        gives=(Port("output_0", "float32", (None, 3)), Port("output_1", "bool", (None, 4))),
    )


def twins() -> Example:
    """Two outputs that only their values tell apart, of a convolution of many channels."""
    import torch
    from torch import nn

    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.second = nn.Conv2d(8, 4, 1)

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            hidden = self.first(image).relu()
            wide: Tensor = self.second(hidden)
            return {"left": wide.amax((2, 3)), "right": wide.mean((2, 3))}

    torch.manual_seed(3)
    return Example(
        module=Twins(),
        inputs={"image": torch.randn(2, 3, 8, 8)},
        dynamic={"image": {0: "N"}},
        takes=(Port("image", "float32", (None, 3, 8, 8)),),
        gives=(Port("left", "float32", (None, 4)), Port("right", "float32", (None, 4))),
    )


MODELS: Mapping[str, Callable[[], Example]] = {"pair": pair, "masked": masked, "twins": twins}
