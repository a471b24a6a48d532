"""Complex numbers, blocks of programs, mutation, dynamic sizes, and attention with masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop as untyped_while_loop

from tests.lowering.case import case, randn, weight

__all__ = ["CASES"]

X = randn(3, 4)
TOKENS = randn(2, 6, 4)
BT = ({0: "B", 1: "T"},)
SIGNAL = randn(2, 16)
SQUARE = weight(4, 4)  # made here: blocks are traced even when they are only run


while_loop: Callable[..., tuple[Tensor, Tensor]] = untyped_while_loop


def complex_arithmetic(x: Tensor, y: Tensor) -> list[Tensor]:
    a, b = torch.complex(x, y), torch.complex(y, x)
    return [(a * b).imag, (a / b).real, (a + 2 * b).abs(), a.angle()]


def return_again(x: Tensor) -> list[Tensor]:
    y = x * 2
    return [y, x, y]


def rotate(x: Tensor) -> Tensor:
    """Rotary embedding, as complex numbers."""
    angles = torch.outer(torch.arange(6.0), torch.tensor([1.0, 0.1]))
    turns = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.reshape(2, 6, 2, 2))
    return torch.view_as_real(pairs * turns).flatten(2)


def branch(x: Tensor) -> object:
    return torch.cond(x.sum() > 0, lambda t: F.relu(t @ SQUARE), lambda t: t.tanh() * 2, (x,))


def count(x: Tensor) -> tuple[Tensor, Tensor]:
    turns, y = while_loop(
        lambda i, y: (i < 4) & (y.abs().sum() < 1e6),
        lambda i, y: (i + 1, torch.tanh(y @ SQUARE) + y),
        (torch.tensor(0), x),
    )
    return y, turns


def branch_in_loop(x: Tensor) -> Tensor:
    def body(i: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return i + 1, torch.cond(y.sum() > 0, lambda t: t - 0.5, lambda t: t + 0.25, (y,))

    return while_loop(lambda i, _: i < 4, body, (torch.tensor(0), x))[1]


def mutate_views(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x.clone()
    flat = y.view(-1)
    flat[3:6] = 0
    y[:, 1].add_(10)
    return y, flat


def numbers(x: Tensor, n: Tensor, k: Tensor) -> list[Tensor]:
    """Numbers that Python takes from tensors, and computes with."""
    s = n.item()
    return [x * s + (2.5 * s - 1) / 3, x / k.item(), torch.where(x > s, x, s), x - k.item() / 2]


CASES = [
    case("numbers from tensors", numbers, X, torch.tensor([1.5]), torch.tensor(3)),
    case("fft", lambda x: torch.view_as_real(torch.fft.fft(x)), SIGNAL),
    case("irfft", lambda x: torch.fft.irfft(torch.fft.rfft(x) * 0.5, n=16), SIGNAL),
    case("fft of two axes", lambda x: torch.fft.fft2(x).real, randn(2, 4, 6)),
    case("rfft of two axes", lambda x: torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho"), s=(4, 6), norm="ortho"),
         randn(2, 4, 6)),
    case("stft", lambda x: torch.stft(x, 16, 8, window=torch.hann_window(16), return_complex=True).abs(), randn(2, 64)),
    case("istft", lambda x: torch.istft(torch.stft(x, 16, 8, window=torch.hann_window(16), return_complex=True), 16, 8,
                                        window=torch.hann_window(16)), randn(1, 64)),
    case("rotary embedding", rotate, TOKENS),
    case("complex arithmetic", complex_arithmetic, randn(3, 2), randn(2, 3).T + 2),
    case("complex einsum", lambda x: torch.fft.irfft(torch.einsum(
        "bix,iox->box", torch.fft.rfft(x)[:, :, :4], torch.complex(weight(2, 3, 4), weight(2, 3, 4) * 2)), n=16),
        randn(1, 2, 16)),
    case("branch taken", branch, X.abs()),
    case("branch not taken", branch, -X.abs()),
    case("branch of dynamic size", branch, X, dynamic=({0: "N"},)),
    case("loop", count, X),
    case("loop of dynamic size", count, X, dynamic=({0: "N"},)),
    case("branch in a loop", branch_in_loop, X),
    case("mutated views", mutate_views, X),
    case("one tensor twice, and an input", return_again, X),
    case("a constant", lambda x: (x + weight(4), weight(4)), X),
    case("einsum of a diagonal", lambda x: (torch.einsum("ii->i", x), torch.einsum("ii", x)), randn(4, 4)),
    case("einsum with an ellipsis", lambda x, y: torch.einsum("...ij,...jk->...ik", x, y), randn(2, 3, 4), randn(4, 5)),
    case("einsum with axes of one", lambda x, y: torch.einsum("bij,bij->ij", x, y), randn(2, 3, 4), randn(1, 3, 4)),
    case("attention of a masked row", lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
         randn(1, 2, 3, 4), torch.tensor([[True, False, False], [False, False, False], [True, True, True]])),
    case("attention of an infinite mask", lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
         randn(1, 2, 3, 4), torch.tensor([[0, -math.inf, 0], [-math.inf] * 3, [0, 0, 0]])),
    case("attention dynamic", lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), TOKENS, dynamic=BT),
    case("sizes as numbers", lambda x: (x / x.size(1), x * x.size(0), x.sum() / x.numel(), x.mean(1)), TOKENS,
         dynamic=BT),
    case("positions", lambda x: (torch.arange(x.size(1)) * 0.5 + x[:, :, 0], torch.arange(0, x.size(1), 2)), TOKENS,
         dynamic=BT),
    case("causal mask", lambda x: (x @ x.mT).masked_fill(
        torch.triu(torch.ones(x.size(1), x.size(1), dtype=torch.bool), 1), -math.inf).softmax(-1), TOKENS, dynamic=BT),
    case("padded to windows", lambda x: F.pad(x, (0, 0, 0, -x.size(1) % 4)).reshape(x.size(0), -1, 4, 4).sum(2), TOKENS,
         dynamic=BT),
    case("two dims", lambda x, y: (x[:, None] * y[None]).reshape(-1), randn(3), randn(5), dynamic=({0: "A"}, {0: "B"})),
    case("merged and split", lambda x: (x.reshape(-1, 4) @ weight(4, 3)).reshape(x.size(0), x.size(1), 3), TOKENS,
         dynamic=BT),
    case("joined with itself", lambda x: torch.cat([x, x[:, :1], x], 1), TOKENS, dynamic=BT),
    case("every second", lambda x: x[:, 1::2] + x[:, :-1:2], randn(2, 9), dynamic=({1: "2*N + 1"},)),
    case("a diagonal of dynamic size", lambda x: x.diagonal(dim1=1, dim2=2), randn(2, 5, 5),
         dynamic=({0: "B", 1: "T", 2: "T"},)),
]  # fmt: skip
