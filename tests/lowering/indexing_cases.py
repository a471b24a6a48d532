"""Reading and writing elements at indices, order, and what runs along an axis."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from tests.lowering.case import case, integers, randn, weight

__all__ = ["CASES"]

X = randn(3, 4, 5)
ROWS = randn(3, 4)
PLACES = torch.tensor([[0, 3], [1, 2], [2, 0]])
TWICE = torch.tensor([[0, 0], [1, 2], [2, 2]])
ONES = torch.ones(3, 2)


def assign_list(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, [0, 2]] = 5.0
    y[0] = x[1]
    y[..., -1] += 1
    y[:, 1] *= 2
    return y


def assign_mask(x: Tensor) -> Tensor:
    y = x.clone()
    y[y < 0] = 0.0
    y[y[:, 0] > 0] = 1.0
    return y


def assign_every_second(x: Tensor) -> Tensor:
    y = torch.zeros(3, 8)
    y[:, 0::2] = x.sin()
    y[:, 1::2] = x.cos()
    return y


def write_cache(cache: Tensor, row: Tensor, position: Tensor) -> Tensor:
    cache = cache.clone()
    cache[:, position] = row
    return cache


CASES = [
    case("index lists", lambda x: (x[[0, 2]], x[:, [1, -1, 0]], x[[0, 1], [1, 2]], x[[0, 1], :, [1, 2]]), X),
    case("index tensors", lambda x, i: (x[i], x[:, i], x[i, i], x[i][:, i]), randn(4, 4, 5), torch.tensor([0, 3, -1])),
    case("index of each row", lambda x, i: x[torch.arange(x.shape[0]), i], X, torch.tensor([0, 3, 1]),
         dynamic=({0: "N"}, {0: "N"})),
    case("index by a known mask", lambda x: x[:, torch.tensor([True, False, True, True])].sum(1), X),
    case("take", lambda x, i: (x.take(i), torch.take_along_dim(x, i)), ROWS, torch.tensor([0, 11, 5])),
    case("take_along_dim", lambda x: x.take_along_dim(x.argsort(1), 1), ROWS),
    case("diagonals", lambda x: (x.diagonal(), x.diagonal(1, -2, -1), x.diagonal(-1, 1, 2), torch.diag_embed(x)),
         randn(4, 4, 4)),
    case("trace", torch.trace, randn(4, 4)),
    case("as_strided", lambda x: torch.as_strided(x, (3, 4), (2, 1)), randn(12)),
    case("assign to lists", assign_list, X),
    case("assign to masks", assign_mask, ROWS),
    case("assign to every second", assign_every_second, ROWS),
    case("write to a cache", write_cache, torch.zeros(2, 8, 4), randn(2, 1, 4), torch.tensor([3])),
    case("index_put", lambda x, i: torch.ones(6, 4).index_put((i,), x), ROWS, torch.tensor([0, 5, 0])),
    case("index_put known", lambda x: torch.ones(6, 4).index_put((torch.tensor([0, 5, 0]),), x), ROWS),
    case("index_put added", lambda x, i: torch.ones(6, 4).index_put((i,), x, accumulate=True), ROWS,
         torch.tensor([0, 5, 0])),
    case("index_put two axes", lambda x, i: x.index_put((i, i + 1), torch.tensor(7.0)), ROWS, torch.tensor([0, 2])),
    case("index_add", lambda x, i: torch.ones(6, 4).index_add(0, i, x, alpha=2), ROWS, torch.tensor([0, 5, 0])),
    case("index_copy", lambda x, i: torch.ones(3, 9).index_copy(1, i, x), ROWS, torch.tensor([0, 5, 1, 8])),
    case("index_fill", lambda x, i: x.index_fill(1, i, 2.0), ROWS, torch.tensor([0, 2])),
    case("scatter a number", lambda x, i: x.scatter(1, i, 9.0), ROWS, TWICE),
    case("scatter", lambda x, i: x.scatter(1, i, torch.full((3, 4), 9.0)), ROWS, PLACES),
    case("scatter over itself", lambda x, i: torch.zeros(3, 4).scatter(1, i, x[:, :2]), ROWS, TWICE),
    case("scatter_add", lambda x, i: x.scatter_add(1, i, ONES * 3), ROWS, TWICE),
    case("scatter_reduce", lambda x, i: (x.scatter_reduce(1, i, ONES, "sum", include_self=False),
                                         x.scatter_reduce(1, i, ONES, "mean")), ROWS, TWICE),
    case("masked_scatter", lambda x, m: x.masked_scatter(m, torch.arange(12.0)), ROWS, ROWS > 0),
    case("unfold dynamic", lambda x: x.unfold(1, 4, 2), randn(2, 16), dynamic=({0: "B", 1: "T"},)),
    case("col2im", lambda x: F.fold(x, (5, 5), 3, padding=1), randn(1, 18, 25)),
    case("im2col", lambda x: F.unfold(x, (2, 3), dilation=(1, 2), stride=2), randn(1, 3, 9, 8)),
    case("max_unpool2d", lambda x: torch.nn.MaxUnpool2d(2)(*F.max_pool2d(x, 2, return_indices=True)), randn(1, 3, 6, 8)),
    case("sort two ways", lambda x: (*x.sort(0), *x.sort(-1, descending=True), x.argsort(-1)), randn(3, 7)),
    case("sort equal elements", lambda x: torch.sort(x, dim=-1, stable=True),
         torch.tensor([[1.0, 0.0, 1.0, 0.0], [2.0, 2.0, 1.0, 1.0]])),
    case("sort a dynamic axis", lambda x: (x.sort(1)[0], x.argsort(1)), randn(2, 5), dynamic=({0: "B", 1: "T"},)),
    case("equal maxima", lambda x: (x.argmax(1), x.max(1), x.min(1)), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])),
    case("kthvalue", lambda x: x.kthvalue(2, 1), randn(3, 7)),
    case("medians", lambda x: (*x.median(1), x.median()), randn(3, 7)),
    case("quantile", lambda x: x.quantile(0.3, dim=1), randn(3, 7)),
    case("searchsorted", lambda x: (torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0]), x, right=True),
                                    torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0]))), ROWS),
    case("running products", lambda x: (x.cumprod(1), x.cumprod(0)), randn(3, 7)),
    case("running extremes", lambda x: (*x.cummax(1), *x.cummin(0)), randn(3, 7)),
    case("logcumsumexp", lambda x: torch.logcumsumexp(x, 1), randn(3, 7) * 20),
    case("variance of a dynamic axis", lambda x: (x.var(1), x.std(1), x.var((1, 2), unbiased=False)), X,
         dynamic=({0: "B", 1: "T"},)),
    case("distances", lambda x, y: (torch.cdist(x, y), torch.cdist(x, y, p=1)), randn(4, 3), randn(5, 3)),
    *(
        case(f"embedding_bag {mode} {shape}",
             lambda i, m=mode, s=shape: F.embedding_bag(
                 i, weight(7, 5), torch.tensor([0, 2, 4]) if s == "uneven" else None, mode=m),
             integers(7, low=0, high=7) if shape == "uneven" else integers(3, 5, low=0, high=7))
        for mode, shape in (("sum", "even"), ("mean", "even"), ("max", "even"), ("sum", "uneven"), ("mean", "uneven"))
    ),
    case("embedding with a largest norm", lambda i: F.embedding(i, weight(7, 5).clone(), max_norm=0.5),
         integers(2, 3, low=0, high=7)),
]  # fmt: skip
