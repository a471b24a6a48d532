"""What PyTorch's own samples brought to light: 64-bit integers, ends of ranges, scalars, empty tensors, places of maxima."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention

from tests.lowering.case import case, integers, randn, weight

__all__ = ["CASES"]

X = randn(3, 5)
NUMBERS = torch.tensor([2**40 + 7, -(2**40) - 3, 5, -7, 2**62, -(2**62), 3])
DIVISORS = torch.tensor([3, 7, -2, 2, 2**33 + 1, -5, 1])
EDGES = torch.tensor([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan])
VOLUME = randn(2, 3, 5, 7)
ROWS = torch.tensor([0, 2, 0, 2, 2])

CASES = [
    case("64-bit quotients", lambda x, y: (
        torch.div(x, y, rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc"), x % y, torch.fmod(x, y)),
        NUMBERS, DIVISORS),
    case("64-bit bits", lambda x, y: (x & y, x | y, x ^ y, ~x), NUMBERS, DIVISORS),
    case("64-bit shifts", lambda x, y: (x << y, x >> y), NUMBERS, torch.tensor([1, 33, 3, 63, 0, 1, 60])),
    case("64-bit places of extremes", lambda x: (x.argmax(), x.argmin(), x.max(0)), NUMBERS),
    case("64-bit powers", lambda x, y: (x**y, 3**y, x**3), torch.tensor([3, -3, 2, 1, -1]),
         torch.tensor([20, 21, 62, -5, -3])),
    case("common divisors", lambda x, y: (torch.gcd(x, y), torch.lcm(x, y)), integers(9, low=-60, high=60),
         integers(3, 3, low=-40, high=40).reshape(9)),
    case("erfc is relatively exact", lambda x: torch.special.erfc(x).log(), torch.linspace(-3, 9, 97)),
    case("tangent beside its poles", torch.tan, torch.linspace(-9, 9, 481)),
    case("sign of NaN", torch.sign, EDGES),
    case("reciprocal root of zero", torch.rsqrt, EDGES),
    case("expm1 of NaN", torch.expm1, EDGES),
    case("angle of a real number", torch.angle, EDGES),
    case("sums of infinite powers", lambda x: (x.logsumexp(1), x.logsumexp((0, 1), keepdim=True)),
         torch.tensor([[-math.inf, -math.inf], [math.inf, 1.0], [1.0, 2.0]])),
    *(
        case(f"scattered {how} {include}", lambda x, i, s, how=how, include=include: (
            x.scatter_reduce(1, i, s, how, include_self=include),
            x.long().scatter_reduce(1, i, s.long(), how, include_self=include)),
            X * 3, integers(3, 4, low=0, high=5), randn(3, 4) * 3)
        for how in ("sum", "prod", "mean", "amax", "amin") for include in (True, False)
    ),
    case("scattered with multiply", lambda x, i: x.scatter(0, i, x + 1, reduce="multiply"), X,
         integers(2, 5, low=0, high=3)),
    case("reduced at an index", lambda x, i, s: (
        x.index_reduce(0, i, s, "prod"), x.index_reduce(0, i, s, "amax", include_self=False)), X, ROWS, randn(5, 5)),
    case("values where a mask is set", lambda x, m, v: (
        x.index_put((m,), v), x.index_put((m,), v, accumulate=True), x.masked_scatter(m[:, None], v)),
        X, torch.tensor([True, False, True]), randn(2, 5)),
    case("max pooling and its places", lambda x: (
        *F.max_pool2d(x, 3, 2, 1, return_indices=True), *F.max_pool2d(x, (2, 3), dilation=2, return_indices=True),
        *F.adaptive_max_pool2d(x, (2, 3), return_indices=True)), VOLUME),
    case("pools of whole numbers", lambda x: (
        F.avg_pool2d(x, 2, ceil_mode=True), F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.avg_pool2d(x, 2, divisor_override=3)), integers(2, 3, 5, 7, low=-50, high=50)),
    *(
        case(f"cut by {mode} padding", lambda x, mode=mode: F.pad(x, (-1, 2, 1, -2), mode=mode), VOLUME)
        for mode in ("reflect", "replicate", "circular")
    ),
    case("a dilated transposed convolution of computed weights",
         lambda x, w: F.conv_transpose1d(x, w, dilation=3, stride=2), randn(2, 3, 5), randn(3, 4, 3)),
    case("batch norm of computed statistics", lambda x, m, v: F.batch_norm(x, m, v, weight(3), weight(3)),
         VOLUME, randn(3), randn(3).abs()),
    case("writes through views", lambda x, d, s: (
        torch.diagonal_scatter(x, d, 1), torch.as_strided_scatter(x, s, (2, 2), (5, 1), 1)), X, randn(3), randn(2, 2)),
    case("written in a flat tensor", lambda x, i, s: (x.put(i, s), x.put(i, s, accumulate=True)), X,
         torch.tensor([3, 7, -1]), randn(3)),
    case("axes of a scalar", lambda x, i: (*x.max(0), *x.min(-1), x.argmax(0), x.index_fill(0, i, 2.0)),
         torch.tensor(1.5), torch.tensor(0)),
    case("products of nothing", lambda x, y, z: (torch.addmm(z, x, y), x @ y), torch.zeros(4, 0), torch.zeros(0, 5),
         randn(4, 5)),
    case("medians without NaN", lambda x: (x.nanmedian(), *x.nanmedian(1)),
         torch.tensor([[1.0, math.nan, 3.0], [math.nan, 2.0, 1.0], [5.0, 4.0, 6.0]])),
    case("gamma functions", lambda x: (torch.lgamma(x), torch.digamma(x), torch.mvlgamma(x.abs() + 3, 2)),
         torch.linspace(-4.9, 9.3, 57)),
    case("Bessel functions of imaginary argument", lambda x: (
        torch.special.i0e(x), torch.special.i1e(x), torch.i0(x / 4), torch.special.i1(x / 4)), torch.linspace(-20, 20, 49)),
    case("normal distributions", lambda x: (
        torch.special.erfcx(x), torch.special.log_ndtr(x), torch.special.ndtri(x / 10), torch.special.ndtr(x)),
        torch.linspace(0.001, 9.999, 33)),
    case("modes", lambda x: (*x.mode(1), x.mode(0, keepdim=True)[0]), integers(4, 7, low=0, high=3)),
    case("bags with a padding row", lambda i, w: (
        F.embedding_bag(i, w, torch.tensor([0, 3, 4]), mode="mean", padding_idx=2),
        F.embedding_bag(i, w, torch.tensor([0, 3, 4]), mode="max"), F.embedding(i, w.clone(), max_norm=1.5)),
        integers(9, low=0, high=5), randn(5, 4)),
    case("bags whose padding row is counted from the end", lambda i, w: (
        F.embedding_bag(i, w, torch.tensor([0, 3, 4]), mode="sum", padding_idx=-1),
        F.embedding_bag(i.reshape(3, 3), w, mode="max", padding_idx=-4)), integers(9, low=0, high=5), randn(5, 4)),
    case("places that are not zero", lambda x, y: (
        torch.nonzero_static(x, size=9), torch.nonzero_static(x > 1, size=2, fill_value=7), torch.nonzero_static(y, size=3)),
        integers(3, 4, low=-1, high=3), integers(6, low=0, high=2)),
    case("places that are not zero, of any number of rows", lambda x: torch.nonzero_static(x, size=5), integers(3, 4, low=0, high=2),
         dynamic=({0: "N"},)),
    case("spectrum of whole numbers", lambda x: torch.view_as_real(torch.fft.rfft(x)), integers(3, 8)),
    case("variance without a correction", lambda x: torch.var_mean(x, False), X),
    case("hypotenuses at the ends of the range", torch.hypot, torch.tensor([0.0, 3e38, 1e-30, math.inf, -3.0]),
         torch.tensor([0.0, 1e38, 1e-30, 1.0, 4.0])),
    case("searched in the order of a sorter", lambda x, v: torch.searchsorted(x, v, sorter=x.argsort(-1)), X,
         randn(3, 4)),
    case("windows of a scalar", lambda x: x.unfold(0, 1, 1), torch.tensor(1.5)),
    case("bools added", lambda x, y: (torch.add(x, y), torch.add(x, y, alpha=False)), X > 0, X < 0.5),
    case("added products of a batch", lambda x, y, z: torch.addbmm(z, x, y, beta=2, alpha=0.5), randn(3, 4, 5),
         randn(3, 5, 2), randn(4, 2)),
]  # fmt: skip
