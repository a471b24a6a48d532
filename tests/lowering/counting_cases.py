"""Histograms, runs of rows, and distances between the rows of one matrix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.lowering.case import case, integers, randn

__all__ = ["CASES"]

X = randn(6, 4)
LENGTHS = torch.tensor([2, 0, 3])
EDGES = torch.tensor([-1.0, -0.2, 0.0, 0.7, 1.5])


def _runs(reduce: str, initial: float | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, n: torch.segment_reduce(x, reduce, lengths=n, initial=initial, unsafe=True)


CASES = [
    case("histogram", lambda x: [*torch.histogram(x, 5), *torch.histogram(x, 4, range=(-1, 1), density=True)], X),
    case("even steps between whole numbers", lambda x, y: (
        torch.linspace(x, y, 50, dtype=torch.int64), torch.linspace(x, 9, 7, dtype=torch.int64)), torch.tensor(4.3), torch.tensor(50)),
    case("even steps between numbers", lambda x, y: (torch.linspace(x, y, 6), torch.linspace(0, y, 1), torch.linspace(x, 2.5, 0)),
         torch.tensor(-1.7), torch.tensor(8.1)),
    case("histogram of given edges", lambda x, e, w: [*torch.histogram(x, e), *torch.histogram(x, e, weight=w)],
         X, EDGES, randn(6, 4).abs()),
    case("histogram of equal elements", lambda x: torch.histogram(x, 3), torch.ones(4)),
    case("histogram of points", lambda x: torch.histogramdd(x, [2, 3], density=True)[0], randn(9, 2)),
    case("histogram without edges", lambda x: (torch.histc(x, 6), torch.histc(x, 4, min=-1, max=1)), X),
    *(case(f"{reduce} of runs", _runs(reduce), X, LENGTHS) for reduce in ("sum", "mean", "max", "min", "prod")),
    case("runs with an initial value", _runs("max", 0.5), X, LENGTHS),
    case("runs of a batch", lambda x, n: torch.segment_reduce(x, "sum", offsets=n, axis=1, unsafe=True), randn(2, 5, 3),
         torch.tensor([[0, 2, 5], [0, 1, 4]])),
    case("rows repeated as often as is said", lambda x, n: x.repeat_interleave(n, 0, output_size=5),
         randn(3, 4), LENGTHS),
    case("distances between rows", lambda x: (torch.pdist(x), torch.pdist(x, 1)), X),
    case("resized", lambda x: x.clone().resize_(5, 3), X),
    case("taken from the end", lambda x, i: torch.take_along_dim(x, i, 1), X, integers(6, 4, low=-4, high=4)),
    case("one number searched", lambda x: torch.searchsorted(x, 0.3), X.sort(1).values[0]),
    case("hypotenuses of nothing known", torch.hypot, torch.tensor([float("inf"), float("nan"), 1.0]),
         torch.tensor([float("nan"), 2.0, float("-inf")])),
]  # fmt: skip
