"""What ONNX has whole and TFLite has not; images, volumes and lines alike with channels first.

Lowered for the ONNX writer alone; every list of numbers has one for each axis behind the channels.
"""

from __future__ import annotations

from edgeconv.dims import Size
from edgeconv.graph.model import Attribute, Node
from edgeconv.graph.ops.spec import OpSpec, TensorType, expect, same_as

__all__ = ["OPS"]

_UNARY = (
    "ACOS", "ACOSH", "ASIN", "ASINH", "ATAN", "ATANH", "COSH", "HARD_SIGMOID", "SINH", "SOFTPLUS", "SOFTSIGN", "TAN",
)  # fmt: skip
_PLACES = ("strides", "before", "after", "dilations")
_WINDOW = ("kernel", *_PLACES)


def _windows(node: Node, kernel: tuple[Size, ...]) -> tuple[Size, ...]:
    """How many windows fit into each axis."""
    strides, before, after, dilations = (node.sizes(name) for name in _PLACES)
    axes = zip(node.input(0).shape[2:], kernel, strides, before, after, dilations, strict=True)
    return tuple((s + b + a - (k - 1) * d - 1) // t + 1 for s, k, t, b, a, d in axes)


def _infer_conv(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    groups = node.integer("groups")
    expect(x.rank == weight.rank, node, "the weight has another rank")
    expect(x.shape[1] == weight.shape[1] * groups, node, "the weight does not fit the channels")
    return [(x.dtype, (x.shape[0], weight.shape[0], *_windows(node, weight.shape[2:])))]


def _infer_conv_transpose(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    expect(x.shape[1] == weight.shape[0], node, "the weight does not fit the channels")
    lists = (node.sizes(name) for name in (*_PLACES, "output_padding"))
    sizes = tuple(
        (size - 1) * stride + (kernel - 1) * dilation + 1 - before - after + extra
        for size, kernel, stride, before, after, dilation, extra in zip(
            x.shape[2:], weight.shape[2:], *lists, strict=True
        )
    )
    return [(x.dtype, (x.shape[0], weight.shape[1] * node.integer("groups"), *sizes))]


def _infer_pool(node: Node) -> list[TensorType]:
    x = node.input(0)
    return [(x.dtype, (*x.shape[:2], *_windows(node, node.sizes("kernel"))))]


def _infer_resize(node: Node) -> list[TensorType]:
    x, size = node.input(0), node.sizes("size")
    expect(len(size) == x.rank - 2, node, "one size for each axis behind the channels")
    return [(x.dtype, (*x.shape[:2], *size))]


def _infer_grid_sample(node: Node) -> list[TensorType]:
    x, grid = node.input(0), node.input(1)
    expect(x.dtype == grid.dtype and x.rank == grid.rank, node, "the grid does not fit")
    return [(x.dtype, (*x.shape[:2], *grid.shape[1:-1]))]


def _infer_gather_elements(node: Node) -> list[TensorType]:
    x, index = node.input(0), node.input(1)
    expect(x.rank == index.rank, node, "the indices have another rank")
    return [(x.dtype, index.shape)]


def _infer_recurrent(node: Node) -> list[TensorType]:
    x, weight = node.input(0), node.input(1)
    length, batch, _ = x.shape
    directions, size = weight.shape[0], node.integer("hidden_size")
    states = 2 if node.op == "LSTM" else 1
    return [
        (x.dtype, (length, directions, batch, size)),
        *[(x.dtype, (directions, batch, size))] * states,
    ]


def _recurrent(name: str, arity: int, attributes: dict[str, Attribute]) -> OpSpec:
    return OpSpec(
        name=name,
        arity=(arity, arity),
        infer=_infer_recurrent,
        required=("hidden_size", "direction"),
        attributes=attributes,
        is_composite=True,
    )


OPS = (
    *(
        OpSpec(name=n, arity=(1, 1), infer=same_as(0), is_agnostic=True, is_composite=True)
        for n in _UNARY
    ),
    # x [n, channels, ...], weight [outputs, channels / groups, ...], optional bias [outputs].
    OpSpec(
        name="CONV",
        arity=(2, 3),
        infer=_infer_conv,
        required=(*_PLACES, "groups"),
        is_composite=True,
    ),
    # x [n, channels, ...], weight [channels, outputs / groups, ...], optional bias [outputs]; `before` and `after` are cut
    # off the full result, and `output_padding` is added at its end.
    OpSpec(
        name="CONV_TRANSPOSE",
        arity=(2, 3),
        infer=_infer_conv_transpose,
        required=(*_PLACES, "output_padding", "groups"),
        is_composite=True,
    ),
    OpSpec(name="MAX_POOL", arity=(1, 1), infer=_infer_pool, required=_WINDOW, is_composite=True),
    OpSpec(
        name="AVERAGE_POOL",
        arity=(1, 1),
        infer=_infer_pool,
        required=_WINDOW,
        attributes={"counts_padding": True},
        is_composite=True,
    ),
    # `mode` is nearest, linear or cubic; `coordinates` and `rounding` are named as in ONNX's Resize.
    OpSpec(
        name="RESIZE",
        arity=(1, 1),
        infer=_infer_resize,
        required=("size", "mode", "coordinates"),
        attributes={"rounding": "floor"},
        is_composite=True,
    ),
    # x [n, channels, ...], grid [n, ..., axes] in -1 to 1.
    OpSpec(
        name="GRID_SAMPLE",
        arity=(2, 2),
        infer=_infer_grid_sample,
        required=("mode", "padding_mode", "align_corners"),
        is_composite=True,
    ),
    # x, indices of the same rank: at each place of the result, the element with that index along `axis`.
    OpSpec(
        name="GATHER_ELEMENTS",
        arity=(2, 2),
        infer=_infer_gather_elements,
        required=("axis",),
        is_composite=True,
    ),
    # x, scale, optional bias; normalized over `axis` and all behind it.
    OpSpec(
        name="LAYER_NORM",
        arity=(2, 3),
        infer=same_as(0),
        required=("axis", "epsilon"),
        is_composite=True,
    ),
    # x [n, channels, ...], scale [channels], shift [channels]: x scale + shift.
    OpSpec(name="BATCH_NORM", arity=(3, 3), infer=same_as(0), is_composite=True),
    # x [n, channels, ...], scale [channels], bias [channels].
    OpSpec(
        name="INSTANCE_NORM",
        arity=(3, 3),
        infer=same_as(0),
        required=("epsilon",),
        is_composite=True,
    ),
    # x [t, n, i], W [d, g h, i], R [d, g h, h], both biases [d, 2 g h] or none, states [d, n, h]: the gates in the order of
    # ONNX. The outputs are all steps [t, d, n, h] and the last states.
    _recurrent("LSTM", 6, {}),
    _recurrent("GRU", 5, {}),
    _recurrent("RNN", 5, {"activation": "TANH"}),
)
