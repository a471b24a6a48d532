"""Finds the images among the inputs and outputs of a program.

An image is a tensor of four axes, or of five for clips and volumes, that reaches a spatial operator (a convolution,
pooling, resizing) through operators that keep its axes, or that comes from one in the same way. A permutation on the
way means that the model itself takes or gives its images channels last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from edgeconv.lowering.sizes import user_placeholders
from edgeconv.signature import Layout, to_channels_first, to_channels_last

__all__ = ["find_layouts", "user_outputs"]

_RANKS = (4, 5)
_SPATIAL_NAMES = (
    "conv2d conv3d conv_transpose2d conv_transpose3d convolution max_pool2d max_pool3d max_pool2d_with_indices "
    "max_pool3d_with_indices avg_pool2d avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d "
    "adaptive_max_pool3d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d upsample_bilinear2d "
    "upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler "
    "grid_sampler_2d grid_sampler_3d pixel_shuffle pixel_unshuffle"
)
_SPATIAL = frozenset(_SPATIAL_NAMES.split())
# What keeps the axes of a tensor, or takes one away that comes back, and is no pointwise operator to PyTorch.
_KEEPING_NAMES = (
    "to _to_copy type_as clone contiguous alias detach lift_fresh_copy dropout feature_dropout pad constant_pad_nd "
    "reflection_pad2d replication_pad2d reflection_pad3d replication_pad3d cat concat slice narrow split "
    "split_with_sizes chunk getitem flip roll softmax _softmax log_softmax _log_softmax batch_norm instance_norm "
    "group_norm select unsqueeze squeeze stack prelu"
)
_KEEPING = frozenset(_KEEPING_NAMES.split())


def find_layouts(program: ExportedProgram) -> tuple[list[Layout], list[Layout]]:
    """The layout of each input and of each output, in order; `none` for those that are no images."""
    inputs = [_layout_of_input(node) for node in user_placeholders(program)]
    outputs = [_layout_of_output(node) for node in user_outputs(program)]
    return inputs, outputs


def user_outputs(program: ExportedProgram) -> list[fx.Node]:
    """The nodes of the program's user outputs, in order."""
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    results = program.graph.output_node().args[0]
    return [
        node for node, kind in zip(results, kinds, strict=True) if kind == OutputKind.USER_OUTPUT
    ]


def _layout_of_input(node: fx.Node) -> Layout:
    """Search what reads the input, and what reads that, for an operator that takes it as its data."""

    def visit(reader: fx.Node, read: fx.Node) -> bool | None:
        return reader.args[:1] == (read,) if _name(reader) in _SPATIAL else None

    return _search(
        node,
        lambda found: [(reader, found, reader) for reader in found.users],
        visit,
        to_channels_first,
    )


def _layout_of_output(node: fx.Node) -> Layout:
    """Search what made the output, and what that was made from."""

    def visit(maker: fx.Node, _: fx.Node) -> bool | None:
        return True if _name(maker) in _SPATIAL else None

    return _search(
        node,
        lambda found: [(found, found, source) for source in [*found.all_input_nodes, found]],
        visit,
        to_channels_last,
    )


def _search(
    start: fx.Node,
    steps: Callable[[fx.Node], Iterable[tuple[fx.Node, fx.Node, fx.Node]]],
    visit: Callable[[fx.Node, fx.Node], bool | None],
    turning: Callable[[int], tuple[int, ...]],
) -> Layout:
    """Breadth first.

    Args:
        start: An input or an output.
        steps: From a value: the operator beside it, the value, and the value behind the operator.
        visit: Whether an operator settles it; None if the search goes on behind it.
        turning: The permutation that stands between an image channels last and its operator.
    """
    if _rank(start) not in _RANKS:
        return Layout.NONE
    waiting, seen = deque([(start, Layout.NCHW)]), {start}
    while waiting:
        value, layout = waiting.popleft()
        for operator, read, behind in steps(value):
            settled = visit(operator, read)
            if settled:
                return layout
            after = None if settled is False else _behind(operator, layout, turning)
            if after is not None and behind not in seen:
                seen.add(behind)
                waiting.append((behind, after))
    return Layout.NONE


def _behind(
    operator: fx.Node, layout: Layout, turning: Callable[[int], tuple[int, ...]]
) -> Layout | None:
    """The layout on the other side of an operator, or None if it does not keep the axes."""
    if _name(operator) == "permute":
        perm = _permutation(operator)
        return Layout.NHWC if layout == Layout.NCHW and perm == turning(len(perm)) else None
    return layout if _keeps_axes(operator) else None


def _permutation(node: fx.Node) -> tuple[int, ...]:
    dims = node.args[1]
    if not isinstance(dims, Sequence):
        return ()
    return tuple(dim % len(dims) for dim in dims if isinstance(dim, int))


def _keeps_axes(node: fx.Node) -> bool:
    name = _name(node).removesuffix("_")
    if name in _KEEPING:
        return True
    packet = getattr(torch.ops.aten, name, None) if name else None
    if packet is None or not isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001
        return False
    overloads = [getattr(packet, overload) for overload in packet.overloads()]
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)


def _name(node: fx.Node) -> str:
    """`conv2d`; of an in-place operator with its underscore; empty for what is no operator."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001
        return str(target._schema.name.partition("::")[2])  # noqa: SLF001
    return getattr(target, "__name__", "") if node.op == "call_function" else ""


def _rank(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.dim() if isinstance(value, Tensor) else 0
