"""Elementary functions that are made of several kernels, and the activations that models rarely have."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention

from tests.lowering.case import case, randn

__all__ = ["CASES"]

X, Y = randn(3, 5), randn(5, 3).T + 0.3
UNIT = torch.linspace(-0.99, 0.99, 23)
WIDE = torch.linspace(-12, 12, 49)

CASES = [
    *(case(name, getattr(torch, name), UNIT) for name in ("acos", "asin", "atanh", "erfinv")),
    *(
        case(name, getattr(torch, name), WIDE)
        for name in ("atan", "asinh", "erfc", "sinh", "cosh", "frac", "deg2rad", "sinc")
    ),
    case("acosh", torch.acosh, torch.linspace(1, 30, 30)),
    case("asinh of large numbers", torch.asinh, torch.tensor([1e-8, 1.0, 1e9, -1e20, 1e30])),
    case("inverse functions of tiny numbers", lambda x: (x.asin(), x.atanh(), x.sinh(), x.asinh()), X * 1e-5),
    case("logit", lambda x: torch.logit(x, 1e-4), UNIT.abs()),
    case("hypot", torch.hypot, X, Y),
    case("logaddexp", torch.logaddexp, X * 50, Y * 50),
    case("round to digits", lambda x: (torch.round(x, decimals=2), torch.round(x * 1e3, decimals=-2)), X),
    case("powers", lambda x: (x**2.0, x**4, x**-1, x**-2, x**0, x**1), X),
    case("xlogy", torch.xlogy, torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 3.0, 0.5])),
    case("rrelu", lambda x: F.rrelu(x, training=False), X),
    case("shrinks", lambda x: (F.hardshrink(x), F.softshrink(x), F.tanhshrink(x)), X),
    case("softmin", lambda x: (F.softmin(x, 1), F.softmax(x, 0, dtype=torch.float32)), X),
    case("losses", lambda x, y: (F.mse_loss(x, y), F.smooth_l1_loss(x, y), F.huber_loss(x, y)), X, Y),
    case("cosine similarity", lambda x, y: (F.cosine_similarity(x, y), F.pairwise_distance(x, y)), X, Y),
    case("clamped by tensors", lambda x, y: (x.clamp(-y.abs(), y.abs()), x.clamp(min=y)), X, Y),
    case("extreme values", lambda x: (x.exp(), x.tanh(), x.sigmoid(), F.softplus(x), F.gelu(x), F.silu(x)),
         torch.tensor([0.0, -200.0, 80.0, -88.0])),
    case("halves and whole numbers", lambda x: (x.round(), x.floor(), x.ceil(), x.trunc(), x.sign()),
         torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -2.7])),
]  # fmt: skip
