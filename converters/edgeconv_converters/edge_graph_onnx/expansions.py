"""What replaces operators that ONNX has not: those of TFLite's that take channels last, and some functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from edgeconv.graph import Builder, Node, Tensor
from edgeconv.graph.model import Attribute
from edgeconv.passes.error_functions import expand_erfc
from edgeconv.passes.integer_division import expand_floor_division
from edgeconv.passes.integer_power import expand_power
from edgeconv.passes.legalize import Expansion
from edgeconv.signature import DType, to_channels_first, to_channels_last

__all__ = ["EXPANSIONS"]


def _always(_: Node) -> bool:
    return True


def _by(build: Callable[[Builder, Node], Tensor]) -> tuple[Expansion, ...]:
    return (Expansion(applies=_always, build=build),)


def _transpose(b: Builder, x: Tensor, perm: Sequence[int]) -> Tensor:
    if x.constant is not None:
        return b.constant(x.constant.transpose(perm), name=x.name)
    return b.op("TRANSPOSE", x, perm=tuple(perm))


def _first(b: Builder, x: Tensor) -> Tensor:
    return _transpose(b, x, to_channels_first(x.rank))


def _last(b: Builder, x: Tensor) -> Tensor:
    return _transpose(b, x, to_channels_last(x.rank))


def _bias(node: Node) -> Tensor | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def _strides(node: Node, axes: str) -> tuple[int, ...]:
    return tuple(node.integer(f"stride_{axis}") for axis in axes)


def _dilations(node: Node, axes: str) -> tuple[int, ...]:
    return tuple(node.integer(f"dilation_{axis}_factor") for axis in axes)


def _numbers(sizes: Iterable[object]) -> tuple[int, ...]:
    return tuple(int(str(size)) for size in sizes)


def _window(
    node: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> dict[str, Attribute]:
    """The padding that TFLite's SAME and VALID stand for, written out."""
    count = len(kernel)
    before, after = [0] * count, [0] * count
    if node.text("padding") == "SAME":
        sizes = node.input(0).shape[1:-1]
        for i, (size, k, s, d) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
            reach = (k - 1) * d + 1
            # With a stride the size is known: the lowering asks for SAME of no other.
            total = (
                reach - 1
                if s == 1
                else max((-(-int(str(size)) // s) - 1) * s + reach - int(str(size)), 0)
            )
            before[i], after[i] = total // 2, total - total // 2
    return {
        "strides": tuple(strides),
        "before": tuple(before),
        "after": tuple(after),
        "dilations": tuple(dilations),
    }


def _convolve(b: Builder, node: Node, weight: Tensor, axes: str) -> Tensor:
    """`weight` is [outputs, channels / groups, ...]."""
    x = _first(b, node.input(0))
    window = _window(node, _numbers(weight.shape[2:]), _strides(node, axes), _dilations(node, axes))
    groups = int(str(x.shape[1])) // int(str(weight.shape[1]))
    return _last(b, b.op("CONV", x, weight, _bias(node), groups=groups, **window))


def _conv_2d(b: Builder, node: Node) -> Tensor:
    return _convolve(b, node, _transpose(b, node.input(1), (0, 3, 1, 2)), "hw")


def _depthwise_conv_2d(b: Builder, node: Node) -> Tensor:
    return _convolve(b, node, _transpose(b, node.input(1), (3, 0, 1, 2)), "hw")


def _conv_3d(b: Builder, node: Node) -> Tensor:
    return _convolve(b, node, _transpose(b, node.input(1), (4, 3, 0, 1, 2)), "dhw")


def _transpose_convolve(b: Builder, node: Node, weight: Tensor, axes: str) -> Tensor:
    """`weight` is [channels, outputs, ...]. SAME cuts the full result to the input's size times the stride."""
    kernel, strides = _numbers(weight.shape[2:]), _strides(node, axes)
    cut = [
        k - s if node.text("padding") == "SAME" else 0 for k, s in zip(kernel, strides, strict=True)
    ]
    result = b.op(
        "CONV_TRANSPOSE",
        _first(b, node.input(0)),
        weight,
        _bias(node),
        strides=strides,
        before=tuple(c // 2 for c in cut),
        after=tuple(c - c // 2 for c in cut),
        dilations=(1,) * len(axes),
        output_padding=(0,) * len(axes),
        groups=1,
    )
    return _last(b, result)


def _transpose_conv(b: Builder, node: Node) -> Tensor:
    return _transpose_convolve(b, node, _transpose(b, node.input(1), (3, 0, 1, 2)), "hw")


def _conv_3d_transpose(b: Builder, node: Node) -> Tensor:
    return _transpose_convolve(b, node, _transpose(b, node.input(1), (4, 3, 0, 1, 2)), "dhw")


def _pool(op: str) -> Callable[[Builder, Node], Tensor]:
    def build(b: Builder, node: Node) -> Tensor:
        kernel = (node.integer("filter_height"), node.integer("filter_width"))
        window = _window(node, kernel, _strides(node, "hw"), (1, 1))
        # TFLite's mean over a window counts what is there.
        options: dict[str, Attribute] = {"counts_padding": False} if op == "AVERAGE_POOL" else {}
        x = _first(b, node.input(0))
        return _last(b, b.op(op, x, kernel=kernel, **window, **options))

    return build


def _resize(mode: str) -> Callable[[Builder, Node], Tensor]:
    def build(b: Builder, node: Node) -> Tensor:
        coordinates = "asymmetric"
        if node.flag("align_corners"):
            coordinates = "align_corners"
        elif node.flag("half_pixel_centers"):
            coordinates = "half_pixel"
        resized = b.op(
            "RESIZE",
            _first(b, node.input(0)),
            size=node.sizes("size"),
            mode=mode,
            coordinates=coordinates,
            rounding="floor" if coordinates == "asymmetric" else "round_prefer_ceil",
        )
        return _last(b, resized)

    return build


def _depth_to_space(b: Builder, node: Node) -> Tensor:
    n, h, w, c = node.input(0).shape
    k = node.integer("block_size")
    parts = b.op("RESHAPE", node.input(0), shape=(n, h, w, k, k, c // (k * k)))
    moved = b.op("TRANSPOSE", parts, perm=(0, 1, 3, 2, 4, 5))
    return b.op("RESHAPE", moved, shape=node.output.shape)


def _space_to_depth(b: Builder, node: Node) -> Tensor:
    n, h, w, c = node.input(0).shape
    k = node.integer("block_size")
    parts = b.op("RESHAPE", node.input(0), shape=(n, h // k, k, w // k, k, c))
    moved = b.op("TRANSPOSE", parts, perm=(0, 1, 3, 2, 4, 5))
    return b.op("RESHAPE", moved, shape=node.output.shape)


def _atan2(b: Builder, node: Node) -> Tensor:
    """The angle of (x, y): atan(y / x), half a turn further on the left, and 0 at the origin."""
    y, x = node.input(0), node.input(1)
    zero, half_turn = b.scalar(0, x.dtype), b.scalar(math.pi, x.dtype)
    angle = b.op("ATAN", b.op("DIV", y, x))
    is_above = b.op("GREATER_EQUAL", y, zero)
    turned = b.op(
        "SELECT_V2", is_above, b.op("ADD", angle, half_turn), b.op("SUB", angle, half_turn)
    )
    full = b.op("SELECT_V2", b.op("LESS", x, zero), turned, angle)
    is_origin = b.op("LOGICAL_AND", b.op("EQUAL", x, zero), b.op("EQUAL", y, zero))
    return b.op("SELECT_V2", is_origin, zero, full)


def _copy(b: Builder, node: Node) -> Tensor:
    return b.op("RESHAPE", node.input(0), shape=node.output.shape)


def _is_integer(node: Node) -> bool:
    return node.input(0).dtype.is_integer


def _is_wide(node: Node) -> bool:
    return node.input(0).dtype == DType.INT64


def _is_known_integer_product(node: Node) -> bool:
    x = node.input(0)
    return x.dtype.is_integer and all(isinstance(x.shape[a], int) for a in node.integers("axes"))


def _multiply_up(b: Builder, node: Node) -> Tensor:
    """Halves multiplied with each other until one element is left: products wrap around, as reductions do not."""
    x, axes = node.input(0), [axis % node.input(0).rank for axis in node.integers("axes")]
    kept = [axis for axis in range(x.rank) if axis not in axes]
    count = math.prod(_numbers(x.shape[axis] for axis in axes))
    rows = tuple(x.shape[axis] for axis in kept)
    moved = b.op("TRANSPOSE", x, perm=(*kept, *axes))
    factors = b.op("RESHAPE", moved, shape=(*rows, count))
    if count == 0:
        return b.broadcast(b.scalar(1, x.dtype), node.output.shape)
    while count > 1:
        half = count // 2
        sizes = (half, half, count % 2) if count % 2 else (half, half)
        left, right, *odd = b.node("SPLIT_V", [factors], axis=len(rows), sizes=sizes).outputs
        factors = b.op("MUL", left, right)
        if odd:
            factors = b.node("CONCATENATION", [factors, *odd], axis=len(rows)).output
        count -= half
    return b.op("RESHAPE", factors, shape=node.output.shape)


def _is_bool(node: Node) -> bool:
    return node.input(1).dtype == DType.BOOL


def _select_bool(b: Builder, node: Node) -> Tensor:
    mask, yes, no = (node.input(i) for i in range(3))
    chosen = b.op("LOGICAL_AND", mask, yes)
    return b.op("LOGICAL_OR", chosen, b.op("LOGICAL_AND", b.op("LOGICAL_NOT", mask), no))


EXPANSIONS: Mapping[str, tuple[Expansion, ...]] = {
    "ATAN2": _by(_atan2),
    "AVERAGE_POOL_2D": _by(_pool("AVERAGE_POOL")),
    "CONV_2D": _by(_conv_2d),
    "CONV_3D": _by(_conv_3d),
    "CONV_3D_TRANSPOSE": _by(_conv_3d_transpose),
    "DEPTHWISE_CONV_2D": _by(_depthwise_conv_2d),
    "DEPTH_TO_SPACE": _by(_depth_to_space),
    "ERFC": _by(expand_erfc),
    "FLOOR_DIV": (Expansion(applies=_is_integer, build=expand_floor_division),),
    "MAX_POOL_2D": _by(_pool("MAX_POOL")),
    "POW": (Expansion(applies=_is_wide, build=expand_power),),
    "REDUCE_PROD": (Expansion(applies=_is_known_integer_product, build=_multiply_up),),
    "RESIZE_BILINEAR": _by(_resize("linear")),
    "RESIZE_NEAREST_NEIGHBOR": _by(_resize("nearest")),
    "ROUND": (Expansion(applies=_is_integer, build=_copy),),
    "SELECT_V2": (Expansion(applies=_is_bool, build=_select_bool),),
    "SPACE_TO_DEPTH": _by(_space_to_depth),
    "TRANSPOSE_CONV": _by(_transpose_conv),
}
