"""Modules that decide by values of tensors, in every structure of inputs and outputs that TorchScript knows."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Branch(nn.Module):
    """Two layers, of which the sign of the sum chooses one."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 3)
        self.down = nn.Linear(4, 3)

    def forward(self, features: Tensor) -> Tensor:
        if features.sum() > 0:
            up: Tensor = self.up(features)
            return up
        down: Tensor = self.down(features)
        return down


class RareBranch(nn.Module):
    """No input that is drawn takes the first branch."""

    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 100:
            return x * 0
        return x + 1


class Nested(nn.Module):
    """Dicts, tuples and lists of tensors, a number, and a keyword; a dict comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(
        self,
        batch: dict[str, Tensor],
        pair: tuple[Tensor, list[Tensor]],
        scale: float,
        *,
        mask: Tensor,
    ) -> dict[str, Tensor]:
        if batch["left"].sum() > 0:
            return {"logits": self.layer(batch["left"]) * scale, "kept": mask}
        shift = pair[0].sum() - pair[1][0].sum() * pair[1][1].sum()
        return {"logits": self.layer(batch["right"]) + shift, "kept": ~mask}


class Loop(nn.Module):
    """As many rounds as an input says; a tuple comes out."""

    def forward(self, x: Tensor, rounds: Tensor) -> tuple[Tensor, Tensor]:
        y = x
        for _ in range(int(rounds.sum())):
            y = y * 0.5 + 1
        return y, x


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


class NamedOutputs(nn.Module):
    """A named tuple comes out."""

    def forward(self, x: Tensor) -> Pair:
        if x.sum() > 0:
            return Pair(x, x + 1)
        return Pair(x * 2, x)


class NamedInputs(nn.Module):
    """A named tuple goes in."""

    def forward(self, pair: Pair) -> Tensor:
        if pair.first.sum() > 0:
            return pair.first
        return pair.second


class NumpyBranch(nn.Module):
    """Neither a script nor a trace can keep what NumPy decides."""

    def forward(self, x: Tensor) -> Tensor:
        if x.numpy().sum() > 0:
            return x + 1
        return x - 1
