"""Integers, bools and the rarer floats: what TFLite has few kernels for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from tests.lowering.case import Case, case, integers, randn, weight

__all__ = ["CASES"]

_BINARY: Mapping[str, Callable[[Tensor, Tensor], object]] = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "true division": lambda x, y: x / y,
    "floor division": lambda x, y: x // y,
    "remainder": lambda x, y: x % y,
    "fmod": torch.fmod,
    "truncating division": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    "maximum": torch.maximum,
    "less": lambda x, y: x < y,
    "equal": lambda x, y: x == y,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "shifts": lambda x, y: (x << (y & 3)) + (x >> (y & 1)),
    "clamp": lambda x, y: x.clamp(min=-(y // 2), max=y),
    "squared difference": lambda x, y: (x - y) ** 2,
}
_UNARY: Mapping[str, Callable[[Tensor], object]] = {
    "abs neg sign": lambda x: (x.abs(), -x, x.sign()),
    "bitwise not": lambda x: ~x,
    "powers": lambda x: (x**2, x**3, x**0),
    "compared with a number": lambda x: (x > 1, x == 2, x > 1.5),
    "times a float": lambda x: (x * 0.5, x + 1.5, x / 2),
    "reductions": lambda x: (x.sum(1), x.prod(0), x.amax(1), x.max(1), x.min(0), x.argmax(1)),
    "any all": lambda x: (x.any(1), x.all(), (x > 0).sum()),
    "sort": lambda x: (x.sort(1).values, x.sort(1, descending=True).values, x.topk(2).values),
    "cumsum": lambda x: (x.cumsum(1), x.cumprod(1)),
    "matmul": lambda x: x @ x.T,
    "rearranged": lambda x: (x.flip(1), x.roll(1, 0), x.tril(), F.pad(x, (1, 2), value=7), x.t()),
    "joined": lambda x: (torch.stack([x > 0, x < 0]), torch.cat([x, x.float()], 1), x.unbind(0)),
    "repeated": lambda x: (x.repeat(2, 2), x.repeat_interleave(2, 0), x.expand(2, 3, 4)),
    "converted": lambda x: (x.float(), x.int(), x.bool(), x.to(torch.int16), x.to(torch.uint8)),
    "indexed": lambda x: (x[:, [0, 2]], x[[-1, 0]], x[..., -1], x[::2]),
    "masked": lambda x: (x.masked_fill(x > 2, 0), torch.where(x > 0, x, -1)),
}
_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _numbers(dtype: torch.dtype) -> Tensor:
    return integers(3, 4, low=-9 if dtype.is_signed else 0, high=10, dtype=dtype)


def _divisors(dtype: torch.dtype) -> Tensor:
    signs = integers(4, 3, low=0, high=2).reshape(3, 4) * 2 - 1 if dtype.is_signed else 1
    return (integers(3, 4, low=1, high=6) * signs).to(dtype)


def _of_dtypes() -> list[Case]:
    cases = []
    for dtype in _DTYPES:
        name = str(dtype).removeprefix("torch.")
        cases += [
            case(f"{what} of {name}", function, _numbers(dtype), _divisors(dtype))
            for what, function in _BINARY.items()
        ]
        cases += [
            case(f"{what} of {name}", function, _numbers(dtype))
            for what, function in _UNARY.items()
        ]
    return cases


HALF = randn(3, 4).half()
DOUBLE = randn(3, 4).double()
MASK = randn(3, 4) > 0
LARGE = torch.arange(6) + 2**33

CASES = [
    *_of_dtypes(),
    case("arithmetic of float16", lambda x: (x * 2 + 1, x.sum(), x.sin(), x.softmax(-1), x.max(1)), HALF),
    case("rearranging float16", lambda x: (x.reshape(4, 3), torch.cat([x, x]), x.split(2, 1)), HALF),
    case("linear of float16", lambda x: F.linear(x, weight(5, 4).half(), weight(5).half()), HALF),
    case("conv2d of float16", lambda x: F.conv2d(x, weight(4, 3, 3, 3).half()), randn(1, 3, 8, 8).half()),
    case("max_pool2d of float16", lambda x: F.max_pool2d(x, 2), randn(1, 3, 8, 8).half()),
    case("bfloat16 in between", lambda x: (x.bfloat16() * 2).float(), randn(3, 4)),
    case("float16 and float32", lambda x, y: (x + y, x * y), HALF, randn(3, 4)),
    case("arithmetic of float64", lambda x: (x * 2 + 1, x.sum(), x @ x.T), DOUBLE),
    case("float64 scalar", lambda x: x + torch.tensor(0.5, dtype=torch.float64), randn(3, 4)),
    case("bools", lambda x, y: (x + y, x * y, x | y, x & y, x ^ y, x != y, ~x), MASK, randn(4, 3).T > 0),
    case("bools as numbers", lambda m, x: (m + 1, m * x, m * 0.5, m.float().mean()), MASK, randn(3, 4)),
    case("bool maximum", lambda x: (x.amax(1), torch.maximum(x, ~x), x.cumsum(1)), MASK),
    case("large int64", lambda x: (x + 1, x * 2, -x, x.abs(), x.sign(), x.sum(), x > 2**33), LARGE),
    case("int32 and int64", lambda x, y: (x + y, x > y), _numbers(torch.int32), _numbers(torch.int64)),
    case("image of bytes", lambda x: (x.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25,
         integers(1, 4, 4, 3, low=0, high=256, dtype=torch.uint8)),
    case("negative float to uint8", lambda x: (x * 3).to(torch.uint8), randn(3, 4)),
    case("float floor division", lambda x: (x // 0.1, torch.div(x, -0.3, rounding_mode="floor")),
         torch.tensor([1.0, 0.3, -0.3, 0.9, -1.0, 7.25])),
    case("float remainders", lambda x: (x % 0.7, x % -0.7, torch.fmod(x, 0.7), torch.fmod(x, -0.7)),
         torch.tensor([1.0, -1.0, 1e6, -1e6, 0.7, 2.1])),
    case("numbers that are none", lambda x: (x.isnan(), x.isinf(), x.isfinite(), torch.nan_to_num(x, 0, 9, -9)),
         torch.tensor([1.0, float("nan"), float("inf"), -float("inf")])),
    case("fmax fmin", lambda x, y: (torch.fmax(x, y), torch.fmin(x, y)),
         torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([3.0, 1.0, float("nan")])),
    case("signs of zero", lambda x: (torch.signbit(x), torch.copysign(torch.ones(4), x)),
         torch.tensor([0.0, -0.0, 1.5, -2.5])),
    case("scalars", lambda x: (x + 1, x.reshape(1), x.expand(3), x.sum(), x.softmax(0)), torch.tensor(2.5)),
    case("no elements", lambda x: (x[:0], torch.cat([x[:0], x]), x[:, 4:]), randn(3, 4)),
    case("sum over no elements", lambda x: (x.sum(0), torch.cat([x, x])), torch.zeros(0, 4)),
    case("six axes", lambda x: (x.sum(2), x.permute(0, 5, 4, 1, 3, 2), x * x[:, :1], F.pad(x, (1, 0) * 6)),
         randn(2, 3, 2, 3, 2, 2)),
    case("seven axes", lambda x: (x.sum((0, 6)), x.mean(3), x.amax(1), torch.cat([x, x], 2), x.softmax(-1)),
         randn(2, 1, 2, 3, 2, 2, 2)),
    case("linear of seven axes", lambda x: F.linear(x, weight(3, 2)), randn(2, 1, 2, 3, 2, 2, 2)),
    case("matmul of six axes", lambda x, y: x @ y, randn(2, 1, 2, 2, 3, 4), randn(2, 1, 1, 4, 2)),
    case("broadcast of six axes", lambda x, y: (x + y, x > y, torch.atan2(x, y), torch.where(x > y, x, y)),
         randn(2, 3, 1, 3, 2, 1), randn(3, 2, 1, 2, 4)),
]  # fmt: skip
