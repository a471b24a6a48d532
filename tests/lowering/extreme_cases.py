"""Numbers at the ends of their dtypes, and what has none: each kernel library has its own way there, so all run in all formats."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from tests.lowering.case import Case, case, integers, randn

__all__ = ["CASES"]

_INF, _NAN = float("inf"), float("nan")
_INT64 = torch.tensor([
    [2**24 + 1, 2**31 + 1, 2**53 + 1, -(2**24) - 1], [-(2**31) - 1, -(2**53) - 1, 2**62 + 3, -(2**62) - 3],
    [7, -7, 2**31 - 1, -(2**63)],
])  # fmt: skip
_INT32 = torch.tensor(
    [[2**24 + 1, 2**31 - 1, 2**30 + 1, -(2**24) - 1], [-(2**31), -(2**30) - 1, 7, -7]],
    dtype=torch.int32,
)
_DIVISORS = torch.tensor([[3, 7, -5, 2**24 + 1], [7, -3, -2, 2]])


def _divided(x: Tensor, y: Tensor | int) -> tuple[Tensor, ...]:
    return x // y, x % y, torch.fmod(x, y), torch.div(x, y, rounding_mode="trunc")


def _ordered(x: Tensor) -> tuple[Tensor, ...]:
    return x.sort(1).values, x.argsort(1), x.median(), x.topk(2, largest=False).values


def _compared(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return (
        x < y,
        x == y,
        x > 2**24,
        x == 2**24 + 1,
        torch.maximum(x, y),
        x.argmax(1),
        x.clamp(-7, 2**24 + 1),
    )


def _hashed(x: Tensor) -> Tensor:
    factors = torch.tensor([2654435761, 40503, 2246822519, 1])
    return (x * factors).sum(1) % 64


def _small_precision(x: Tensor) -> tuple[Tensor, ...]:
    return (
        F.layer_norm(x, (300,)), F.group_norm(x[None], 4), F.rms_norm(x, (300,)), x.std(1), x.norm(), x.softmax(1), x.mean(),
        (x / 100) @ (x / 100).T, (x / 100).cumsum(1), (x.abs() / 400 + 1).lgamma(),
    )  # fmt: skip


def _bfloat16(x: Tensor) -> tuple[Tensor, ...]:
    h = x.bfloat16()
    row = h[:1]
    return (
        (h + row).float(), torch.where(x > 0, h, row).float(), h.expand(2, 3, 4).float(), F.gelu(h).float(), h.softmax(1).float(),
        h.repeat(2, 1).float(), h.sum(1).float(), torch.cat([h, torch.ones_like(row)]).float(),
    )  # fmt: skip


def _halved(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=True)


def _reflected(x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    corners, edges = (
        F.grid_sample(x, grid * 2, padding_mode="reflection", align_corners=aligned)
        for aligned in (True, False)
    )
    return corners, edges


def _grids(theta: Tensor) -> tuple[Tensor, ...]:
    sizes = ((1, 1), (1, 4), (3, 1), (3, 2))
    return tuple(
        F.affine_grid(theta, [theta.shape[0], 1, *size], align_corners=aligned)
        for size in sizes
        for aligned in (True, False)
    )


def _layers() -> list[Case]:
    """Recurrent layers in double precision, which not every runtime has."""
    torch.manual_seed(0)
    layers = {
        "LSTM": nn.LSTM(4, 3, batch_first=True, bidirectional=True),
        "GRU": nn.GRU(4, 3, batch_first=True),
        "RNN": nn.RNN(4, 3, batch_first=True),
    }
    x = randn(2, 5, 4).double()
    return [case(f"{name} of float64", layer.double().eval(), x) for name, layer in layers.items()]


CASES = [
    case("dividing the largest int64", _divided, _INT64[:2], _DIVISORS),
    case("dividing the smallest int64", lambda x: (*_divided(x, 7), *_divided(x, -1000003)), _INT64),
    case("dividing the largest int32", _divided, _INT32, _DIVISORS.int()),
    case("dividing int32 by a number", lambda x: (*_divided(x, 7), *_divided(x, -1000003)), _INT32),
    case("dividing bytes by a number", lambda x: _divided(x, 3), integers(3, 4, low=0, high=256, dtype=torch.uint8)),
    case("order of the smallest int64", _ordered, _INT64),
    case("order of the smallest int32", _ordered, _INT32),
    case("comparing large int64", _compared, _INT64, _INT64 - 1),
    case("sums of large int64", lambda x: (x.sum(), x.sum(0), x.sum(1, keepdim=True), x.cumsum(1)), _INT64),
    case("products of large int64", lambda x: (x.prod(), x.prod(0), x.prod(1, keepdim=True), x[:0].prod(0)), _INT64),
    case("sums and products of large int32", lambda x: (x.sum(1, dtype=torch.int32), x.prod(1, dtype=torch.int32), x.prod()), _INT32),
    case("hash of int64", _hashed, _INT64, dynamic=({0: "N"},)),
    case("running sums of infinite logarithms", lambda x: x.logcumsumexp(0), torch.tensor([-_INF, -_INF, 1.0, _INF, _INF])),
    case("running extremes of no numbers", lambda x: (*x.cummax(0), *x.cummin(0)), torch.tensor([1.0, _NAN, 3.0, _NAN, 7.0, -1.0])),
    case("threshold of no number", lambda x: F.threshold(x, 0.1, 2.0), torch.tensor([1.0, _NAN, -1.0, 0.1])),
    case("acosh out of its domain", torch.acosh, torch.tensor([1.0, 1.0001, 2.0, 1e5, -2.0, -1e10, 0.5])),
    case("float floor division by zero", lambda x, y: (x // y, x // 0.0), torch.tensor([1.5, -1.5, 0.0, 7.0]), torch.tensor([0.0, 0.0, 0.0, 2.0])),
    case("any and all over no axes", lambda x: (x.any(()), x.all(()), x.sum(()), x.amax(())), randn(3, 4)),
    case("every second element between corners", _halved, randn(1, 2, 5, 7)),
    case("every second element between dynamic corners", _halved, randn(1, 2, 4, 4), dynamic=({2: "H", 3: "W"},)),
    case("reflections of one pixel", _reflected, randn(1, 2, 2, 2), randn(1, 2, 3, 2), dynamic=({2: "H", 3: "W"},), growths=(0, -1)),
    case("affine grids of one pixel", _grids, randn(2, 2, 3), dynamic=({0: "N"},)),
    case("affine grid of a volume", lambda t: F.affine_grid(t, [1, 1, 2, 1, 3], align_corners=False), randn(1, 3, 4)),
    case("float16 beyond its squares", _small_precision, (randn(4, 300) * 400).half()),
    case("bfloat16 broadcast", _bfloat16, randn(3, 4)),
    *_layers(),
]  # fmt: skip
