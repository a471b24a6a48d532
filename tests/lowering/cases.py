"""One small function for each operator and mode that the lowering translates, with inputs to run it on."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from tests.lowering.case import case, integers, randn, weight

__all__ = ["CASES"]


X, Y = randn(2, 3, 4), randn(2, 3, 4) + 0.1
POSITIVE = X.abs() + 0.1
IMAGE = randn(2, 4, 9, 8)
LINE = randn(2, 4, 11)
VOLUME = randn(1, 2, 5, 6, 7)
INTS = integers(2, 3, 4)
MASK = randn(2, 3, 4) > 0
LOG1P = torch.tensor(
    [
        -2,
        -1,
        -0.99999994,
        -0.5,
        -0.34,
        -0.333,
        -1e-8,
        -0.0,
        1e-38,
        1e-4,
        0.49,
        0.51,
        3,
        1e30,
        math.nan,
    ]
)


def _gelu_written_out(x: Tensor) -> tuple[Tensor, Tensor]:
    slope = math.sqrt(2 / math.pi)
    approximate = 0.5 * x * (1.0 + torch.tanh(slope * (x + 0.044715 * torch.pow(x, 3.0))))
    return approximate, x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def _gather_complex(x: Tensor) -> Tensor:
    index = torch.tensor([[[3, 0]], [[1, 1]]])
    return torch.view_as_real(torch.complex(x, -x).gather(2, index))


ELEMENTWISE = [
    *(
        case(name, getattr(torch, name), X)
        for name in (
            "abs",
            "neg",
            "exp",
            "sin",
            "cos",
            "tanh",
            "sigmoid",
            "erf",
            "expm1",
            "square",
            "floor",
            "ceil",
            "round",
            "trunc",
            "sign",
            "relu",
            "exp2",
            "tan",
        )
    ),
    *(
        case(name, getattr(torch, name), POSITIVE)
        for name in ("log", "sqrt", "rsqrt", "log1p", "log2", "log10", "reciprocal")
    ),
    *(
        case(name, getattr(F, name), X * 3)
        for name in (
            "relu6",
            "hardtanh",
            "hardswish",
            "hardsigmoid",
            "gelu",
            "silu",
            "elu",
            "selu",
            "celu",
            "softplus",
            "mish",
            "logsigmoid",
            "softsign",
            "leaky_relu",
            "tanhshrink",
        )
    ),
    case("log1p of tiny values", torch.log1p, X * 1e-6),
    case("log1p everywhere", torch.log1p, LOG1P),
    case("log1p in double precision", torch.log1p, LOG1P.double()),
    case("expm1 of tiny values", torch.expm1, X * 1e-6),
    case("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), X),
    case("gelu written out", _gelu_written_out, X * 3),
    case("hardswish written out", lambda x: x * F.relu6(x + 3) / 6, X * 3),
    case("hardsigmoid times x", lambda x: x * F.hardsigmoid(x), X * 3),
    case("elu alpha", lambda x: F.elu(x, 0.7), X),
    case("celu alpha", lambda x: F.celu(x, 0.7), X),
    case("softplus beta", lambda x: F.softplus(x, beta=2, threshold=3), X * 4),
    case("hardtanh range", lambda x: F.hardtanh(x, -0.3, 0.8), X),
    case("threshold", lambda x: F.threshold(x, 0.2, -1), X),
    case("prelu", lambda x: F.prelu(x, torch.tensor([0.1, 0.2, 0.3])), X),
    case("glu", lambda x: F.glu(x, 2), X),
    case("clamp", lambda x: x.clamp(-0.5, 0.7), X),
    case("clamp_min", lambda x: x.clamp_min(0.2), X),
    case("clamp_max", lambda x: x.clamp_max(0.2), X),
    case("clamp integers", lambda x: x.clamp(-1, 3), INTS),
    case("add", torch.add, X, Y),
    case("add alpha", lambda x, y: torch.add(x, y, alpha=0.5), X, Y),
    case("add broadcast", lambda x: x + torch.arange(4.0), X),
    case("add int to float", torch.add, X, INTS),
    case("sub", torch.sub, X, Y),
    case("rsub", lambda x: 1 - x, X),
    case("mul", torch.mul, X, Y),
    case("div", torch.div, X, Y),
    case("div ints", lambda x: x / 3, INTS),
    case("div floor", lambda x: torch.div(x, 0.3, rounding_mode="floor"), X),
    case("div trunc", lambda x: torch.div(x, 0.3, rounding_mode="trunc"), X),
    case("floor_divide ints", lambda x: x // 2, INTS),
    case("remainder", lambda x: x % 0.7, X),
    case("remainder ints", lambda x: x % 3, INTS),
    case("fmod", lambda x: torch.fmod(x, 0.7), X),
    case("pow 2", lambda x: x**2, X),
    case("pow 3", lambda x: x**3, X),
    case("pow 0.5", lambda x: x**0.5, POSITIVE),
    case("pow 1.7", lambda x: x**1.7, POSITIVE),
    case("pow tensor", torch.pow, POSITIVE, Y),
    case("pow scalar base", lambda x: 2.0**x, X),
    case("maximum", torch.maximum, X, Y),
    case("minimum", torch.minimum, X, Y),
    case("atan2", torch.atan2, X, Y),
    case("addcmul", lambda x, y: torch.addcmul(x, y, y, value=0.5), X, Y),
    case("lerp", lambda x, y: torch.lerp(x, y, 0.3), X, Y),
    case("where", torch.where, MASK, X, Y),
    case("where scalar", lambda m, x: torch.where(m, x, 0.0), MASK, X),
    case("masked_fill", lambda x, m: x.masked_fill(m, -1e9), X, MASK),
    *(
        case(name, getattr(torch, name), X.round(), Y.round())
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ),
    case("compare int with float", lambda x: x > 0.5, INTS),
    case("logical_and", torch.logical_and, MASK, X > 0.3),
    case("logical_or", torch.logical_or, MASK, X > 0.3),
    case("logical_not", torch.logical_not, MASK),
    case("logical_xor", torch.logical_xor, MASK, X > 0.3),
    case("to int", lambda x: (x * 4).to(torch.int64), X),
    case("to float", lambda x: x.float() * 0.5, INTS),
    case("bool to float", lambda x: x.float(), MASK),
    case("in place", lambda x: (x * 2).add_(1).relu_().mul_(3), X),
]


def assign_slice(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0, 1:3] = 7
    return y * 2


SHAPING = [
    case("view", lambda x: x.view(2, 12) + 0, X),
    case("flatten", lambda x: x.flatten(1), X),
    case("unflatten", lambda x: x.unflatten(2, (2, 2)) * 1.5, X),
    case("squeeze", lambda x: x[:, :1].squeeze(1), X),
    case("unsqueeze", lambda x: x.unsqueeze(1) * 2, X),
    case("permute", lambda x: x.permute(2, 0, 1), X),
    case("transpose", lambda x: x.transpose(0, -1), X),
    case("movedim", lambda x: x.movedim(0, 2), X),
    case("expand", lambda x: x[:, :1].expand(2, 3, 4), X),
    case("repeat", lambda x: x.repeat(2, 1, 3), X),
    case("repeat more axes", lambda x: x.repeat(2, 1, 1, 2), X),
    case("repeat_interleave", lambda x: x.repeat_interleave(2, 1), X),
    case("cat", lambda x, y: torch.cat([x, y], 1), X, Y),
    case("stack", lambda x, y: torch.stack([x, y], -1), X, Y),
    case("split", lambda x: x.split(3, 2), X),
    case("split sizes", lambda x: x.split([1, 2], 1), X),
    case("chunk", lambda x: x.chunk(3, 2), X),
    case("unbind", lambda x: x.unbind(1), X),
    case("slice", lambda x: x[:, 1:, ::2], X),
    case("slice negative", lambda x: x[..., -3:-1], X),
    case("select", lambda x: x[:, -1], X),
    case("slice assignment", assign_slice, X),
    case("roll", lambda x: x.roll((1, -1), (1, 2)), X),
    case("roll flat", lambda x: x.roll(5), X),
    case("flip", lambda x: x.flip(0, 2), X),
    case("pad", lambda x: F.pad(x, (1, 2, 0, 1)), X),
    case("pad value", lambda x: F.pad(x, (1, 2), value=0.5), X),
    case("pad cut", lambda x: F.pad(x, (-1, 2)), X),
    case("pad reflect", lambda x: F.pad(x, (1, 2), mode="reflect"), LINE),
    case("pad replicate", lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"), IMAGE),
    case("pad circular", lambda x: F.pad(x, (1, 2), mode="circular"), LINE),
    case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), randn(2, 8, 3, 4)),
    case("pixel_shuffle one channel", lambda x: F.pixel_shuffle(x, 2), IMAGE),
    case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), randn(2, 3, 4, 6)),
    case("channel_shuffle", lambda x: F.channel_shuffle(x, 2), IMAGE),
    case("unfold", lambda x: x.unfold(2, 3, 2), LINE),
    case("tril", torch.tril, X),
    case("triu", lambda x: torch.triu(x, 1), X),
    case("zeros_like", lambda x: torch.zeros_like(x) + x, X),
    case("full_like", lambda x: torch.full_like(x, 2.5) * x, X),
]


INDEXING = [
    case("embedding", lambda i: F.embedding(i, weight(7, 5)), integers(2, 3, low=0, high=7)),
    case("index", lambda x: x[:, torch.tensor([2, 0, -1])], X),
    case("index two", lambda x: x[:, torch.tensor([2, 0]), torch.tensor([1, -1])], X),
    case("index apart", lambda x: x[torch.tensor([1, 0]), :, torch.tensor([1, 3])], X),
    case("index dynamic", lambda x, i: x[:, i], X, torch.tensor([-1, 1, 0])),
    case("index_select", lambda x: x.index_select(2, torch.tensor([3, 1])), X),
    case("gather", lambda x, i: x.gather(1, i), X, integers(2, 2, 4, low=0, high=3)),
    case("gather fewer", lambda x, i: x.gather(-1, i), X, integers(1, 2, 6, low=0, high=4)),
    case("gather int32", lambda x, i: x.gather(0, i), X, integers(2, 3, 4, low=0, high=2).int()),
    case("gather known", lambda x: x.bool().gather(2, torch.tensor([[[3, 0]], [[1, 1]]])), X),
    case("gather none", lambda x, i: x.gather(1, i), X, integers(2, 0, 4, low=0, high=3)),
    case("gather scalars", lambda x, i: x[0, 0, 0].gather(0, i), X, torch.tensor([0, 0])),
    case("gather a scalar", lambda x, i: x[0, 0].gather(0, i), X, torch.tensor(2)),
    case("gather complex", _gather_complex, X),
]

REDUCTIONS = [
    *(
        case(f"{name} {dim} {keep}", lambda x, n=name, d=dim, k=keep: getattr(torch, n)(x, d, k), X)
        for name in ("sum", "mean", "amax", "amin")
        for dim in (1, (0, 2), -1)
        for keep in (False, True)
    ),
    case("sum all", torch.sum, X),
    case("sum of ints", lambda x: x.sum(1), INTS),
    case("sum of bools", lambda x: x.sum(1), MASK),
    case("mean all", torch.mean, X),
    case("max", torch.max, X),
    case("max dim", lambda x: x.max(1), X),
    case("min dim keep", lambda x: x.min(2, keepdim=True), X),
    case("prod", lambda x: x.prod(1), X),
    case("any", lambda x: x.any(1), MASK),
    case("all", lambda x: x.all(2), MASK),
    case("argmax", lambda x: x.argmax(1), X),
    case("argmax all", lambda x: x.argmax(), X),
    case("argmin keep", lambda x: x.argmin(2, keepdim=True), X),
    case("cumsum", lambda x: x.cumsum(1), X),
    case("var", lambda x: x.var(1), X),
    case("var biased", lambda x: x.var(1, unbiased=False), X),
    case("std", lambda x: x.std((1, 2)), X),
    case("var_mean", lambda x: torch.var_mean(x, 1), X),
    case("norm 2", lambda x: torch.linalg.vector_norm(x, 2, 1), X),
    case("norm 1", lambda x: torch.linalg.vector_norm(x, 1, (1, 2)), X),
    case("norm inf", lambda x: torch.linalg.vector_norm(x, float("inf"), -1), X),
    case("normalize", lambda x: F.normalize(x, dim=1), X),
    case("logsumexp", lambda x: x.logsumexp(1), X * 50),
    case("topk", lambda x: x.topk(2, 2), X),
    case("topk smallest", lambda x: x.topk(2, 1, largest=False), X),
    case("sort", lambda x: x.sort(1), X),
    case("softmax last", lambda x: x.softmax(-1), X * 5),
    case("softmax middle", lambda x: x.softmax(1), X * 5),
    case("log_softmax", lambda x: x.log_softmax(1), X * 5),
]

MATRIX = [
    case("linear", lambda x: F.linear(x, weight(5, 4), weight(5)), X),
    case("linear vector", lambda x: F.linear(x, weight(5, 4)), randn(4)),
    case("linear computed weight", F.linear, X, weight(5, 4)),
    case("matmul", torch.matmul, X, randn(2, 4, 5)),
    case("matmul broadcast", torch.matmul, X, randn(4, 5)),
    case("matmul vector", torch.matmul, X, randn(4)),
    case("matmul vector left", torch.matmul, randn(3), X),
    case("matmul rank 4", torch.matmul, randn(2, 3, 4, 5), randn(3, 5, 2)),
    case("bmm", torch.bmm, X, randn(2, 4, 5)),
    case("addmm", lambda x: torch.addmm(weight(5), x, weight(4, 5)), randn(3, 4)),
    case("baddbmm", lambda a, x, y: torch.baddbmm(a, x, y, beta=0.5, alpha=2), randn(2, 3, 5), X,
          randn(2, 4, 5)),
    case("einsum", lambda x, y: torch.einsum("bij,bkj->bik", x, y), X, Y),
    case("einsum outer", lambda x, y: torch.einsum("bij,bik->jk", x, y), X, Y),
    case("einsum implicit", lambda x, y: torch.einsum("ij,jk", x, y), randn(2, 3), randn(3, 4)),
    case("einsum three", lambda x, y: torch.einsum("bij,bij,j->b", x, y, torch.arange(4.0)), X, Y),
    case("attention", F.scaled_dot_product_attention, randn(2, 3, 5, 4), randn(2, 3, 6, 4),
          randn(2, 3, 6, 4)),
    case("attention causal", lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
          randn(2, 3, 5, 4)),
    case("attention masked", lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
          randn(2, 3, 5, 4), torch.eye(5) > 0),
    case("attention additive", lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
          randn(2, 3, 5, 4), randn(5, 5)),
    case("attention grouped", lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True),
          randn(2, 4, 5, 4), randn(2, 2, 5, 4)),
]  # fmt: skip

NORMALIZATION = [
    case("batch_norm", lambda x: F.batch_norm(x, weight(4), weight(4).abs() + 1, weight(4), None), IMAGE),
    case("layer_norm", lambda x: F.layer_norm(x, (4,), weight(4), weight(4)), X),
    case("layer_norm two axes", lambda x: F.layer_norm(x, (3, 4)), X),
    case("group_norm", lambda x: F.group_norm(x, 2, weight(4), weight(4)), IMAGE),
    case("group_norm one", lambda x: F.group_norm(x, 1, weight(4), weight(4)), IMAGE),
    case("instance_norm", F.instance_norm, IMAGE),
    case("rms_norm", lambda x: F.rms_norm(x, (4,), weight(4)), X),
]  # fmt: skip

CONVOLUTIONS = [
    *(
        case(
            f"conv2d k{kernel} s{stride} p{padding} d{dilation}",
            lambda x, k=kernel, s=stride, p=padding, d=dilation: F.conv2d(
                x, weight(6, 4, k, k), weight(6), s, p, d
            ),
            IMAGE,
        )
        for kernel in (1, 3, 4)
        for stride in (1, 2)
        for padding in (0, 1, 2)
        for dilation in (1, 2)
        if (kernel - 1) * dilation < 8
    ),
    case("conv2d same", lambda x: F.conv2d(x, weight(6, 4, 4, 3), padding="same"), IMAGE),
    case("conv2d uneven", lambda x: F.conv2d(x, weight(6, 4, 3, 5), None, (2, 1), (0, 3)), IMAGE),
    case("conv2d depthwise", lambda x: F.conv2d(x, weight(4, 1, 3, 3), weight(4), 2, 1, groups=4), IMAGE),
    case("conv2d multiplier", lambda x: F.conv2d(x, weight(8, 1, 3, 3), None, 1, 1, groups=4), IMAGE),
    case("conv2d groups", lambda x: F.conv2d(x, weight(6, 2, 3, 3), weight(6), 1, 1, groups=2), IMAGE),
    case("conv2d no batch", lambda x: F.conv2d(x, weight(6, 4, 3, 3)), IMAGE[0]),
    case("conv1d", lambda x: F.conv1d(x, weight(6, 4, 3), weight(6), 2, 1), LINE),
    case("conv1d dilated", lambda x: F.conv1d(x, weight(6, 4, 3), None, 1, 0, 3), LINE),
    case("conv1d depthwise", lambda x: F.conv1d(x, weight(4, 1, 3), None, 1, 1, groups=4), LINE),
    case("conv3d", lambda x: F.conv3d(x, weight(3, 2, 2, 3, 3), weight(3), (1, 2, 1), (0, 1, 1)), VOLUME),
    case("conv_transpose2d", lambda x: F.conv_transpose2d(x, weight(4, 5, 3, 3), weight(5), 2, 1, 1), IMAGE),
    case("conv_transpose2d plain", lambda x: F.conv_transpose2d(x, weight(4, 5, 2, 2), None, 2), IMAGE),
    case("conv_transpose2d groups", lambda x: F.conv_transpose2d(x, weight(4, 3, 3, 3), None, 2, groups=2), IMAGE),
    case("conv_transpose2d dilated", lambda x: F.conv_transpose2d(x, weight(4, 3, 2, 2), None, 1, 1, dilation=2), IMAGE),
    case("conv_transpose1d", lambda x: F.conv_transpose1d(x, weight(4, 5, 3), weight(5), 2, 1), LINE),
    case("conv then batch norm then relu", lambda x: F.relu(F.batch_norm(F.conv2d(x, weight(6, 4, 3, 3)), weight(6), weight(6).abs() + 1)), IMAGE),
]  # fmt: skip

POOLING = [
    *(
        case(
            f"{name} k{kernel} s{stride} p{padding} ceil={ceil}",
            lambda x, n=name, k=kernel, s=stride, p=padding, c=ceil: getattr(F, n)(
                x, k, s, p, ceil_mode=c
            ),
            IMAGE,
        )
        for name in ("max_pool2d", "avg_pool2d")
        for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0))
        for ceil in (False, True)
    ),
    case(
        "avg_pool2d uncounted", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE
    ),
    case("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), LINE),
    case("avg_pool1d", lambda x: F.avg_pool1d(x, 3, 2), LINE),
    case("adaptive_avg 1", lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    case("adaptive_avg even", lambda x: F.adaptive_avg_pool2d(x, (3, 4)), IMAGE),
    case("adaptive_avg uneven", lambda x: F.adaptive_avg_pool2d(x, (4, 3)), IMAGE),
    case("adaptive_avg 1d", lambda x: F.adaptive_avg_pool1d(x, 4), LINE),
    case("adaptive_max even", lambda x: F.adaptive_max_pool2d(x, (3, 4)), IMAGE),
    case("adaptive_max uneven", lambda x: F.adaptive_max_pool2d(x, (4, 3)), IMAGE),
]

RESIZE = [
    *(
        case(
            f"{mode} {size} corners={corners}",
            lambda x, m=mode, s=size, a=corners: F.interpolate(x, s, mode=m, align_corners=a),
            IMAGE,
        )
        for mode in ("bilinear", "bicubic")
        for size in ((18, 16), (5, 11))
        for corners in (False, True)
    ),
    case("nearest", lambda x: F.interpolate(x, (18, 16)), IMAGE),
    case("nearest uneven", lambda x: F.interpolate(x, (5, 11)), IMAGE),
    case("nearest scale", lambda x: F.interpolate(x, scale_factor=2), IMAGE),
    case("bilinear scale", lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear"), IMAGE),
]


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], width: int, **options: bool | int | str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = kind(4, width, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor, *states: Tensor) -> object:
        if not states:
            return self.net(x)
        return self.net(x, states[0] if len(states) == 1 else states)


def _lstm_with_computed_weights(x: Tensor, scale: Tensor) -> object:
    zero, weights = torch.zeros(1, 2, 5), [weight(20, 4) * scale, weight(20, 5) * scale]
    return torch.lstm(x, [zero, zero], weights, False, 1, 0.0, False, False, False)


def _lstm_with_constant_states(x: Tensor) -> object:
    weights = [weight(20, 4), weight(20, 5)]
    return torch.lstm(x, [weight(1, 2, 5)] * 2, weights, False, 1, 0.0, False, False, False)


RECURRENT = [
    *(
        case(f"{kind.__name__} {options} {length} steps", _Recurrent(kind, 5, **options),
              randn(2, length, 4) if options.get("batch_first") else randn(length, 2, 4))
        for kind in (nn.LSTM, nn.GRU, nn.RNN)
        for options, length in (
            ({"batch_first": True}, 6),
            ({"batch_first": True, "bidirectional": True, "num_layers": 2}, 6),
            ({"bias": False}, 6),
            ({"batch_first": True, "bidirectional": True}, 40),
            ({"bidirectional": True}, 35),
        )
    ),
    case("RNN relu", _Recurrent(nn.RNN, 5, nonlinearity="relu"), randn(6, 2, 4)),
    case("LSTM projected", _Recurrent(nn.LSTM, 5, proj_size=3, bidirectional=True), randn(6, 2, 4)),
    case("LSTM with states", _Recurrent(nn.LSTM, 5), randn(40, 2, 4), randn(1, 2, 5), randn(1, 2, 5)),
    case("LSTM with constant states", _lstm_with_constant_states, randn(40, 2, 4)),
    case("LSTM of one step", _Recurrent(nn.LSTM, 5), randn(1, 2, 4)),
    case("LSTM without batch", _Recurrent(nn.LSTM, 5), randn(6, 4)),
    case("LSTM too wide to unroll", _Recurrent(nn.LSTM, 800), randn(6, 2, 4)),
    case("LSTM with computed weights", _lstm_with_computed_weights, randn(6, 2, 4), randn(1)),
    case("rfft", lambda x: torch.fft.rfft(x, n=16).abs(), randn(2, 16)),
    case("rfft longer", lambda x: torch.view_as_real(torch.fft.rfft(x, norm="ortho")), randn(2, 15)),
]  # fmt: skip

CASES = [
    *ELEMENTWISE, *SHAPING, *INDEXING, *REDUCTIONS, *MATRIX, *NORMALIZATION, *CONVOLUTIONS, *POOLING,
    *RESIZE, *RECURRENT,
]  # fmt: skip
