"""Lets a linear layer behind a flattened image read it as it lies in memory: its weights are put in that order.

`flatten(1)` of an image with its channels last is a transpose and a reshape, which the columns of the weight can undo once
and for all.
"""

from __future__ import annotations

from edgeconv.dims import is_static
from edgeconv.graph import Graph, Node, Tensor
from edgeconv.graph.builder import make_node

__all__ = ["flatten_into_weights"]


def flatten_into_weights(graph: Graph) -> int:
    """Reorder the weights of linear layers that alone read a flattened transpose.

    Returns:
        The number of transposes that went.
    """
    producers, consumers = graph.producers(), graph.consumers()
    returned = set(graph.outputs)
    changed = 0
    for node in list(graph.nodes):
        if node.op != "FULLY_CONNECTED":
            continue
        flat = producers.get(node.input(0))
        turned = producers.get(flat.input(0)) if flat and flat.op == "RESHAPE" else None
        if flat is None or turned is None or not _fits(node, flat, turned):
            continue
        read = (flat.output, turned.output, node.input(1))
        if all(len(consumers[tensor]) == 1 and tensor not in returned for tensor in read):
            _reorder(graph, node, turned)
            changed += 1
    graph.remove_dead_nodes()
    return changed


def _fits(node: Node, flat: Node, turned: Node) -> bool:
    """Whether all axes but the first are permuted among themselves, and then merged."""
    if turned.op != "TRANSPOSE" or flat.output.rank != 2 or not node.input(1).is_constant:
        return False
    image = turned.output.shape
    quantization = node.input(1).quantization
    if quantization is not None and quantization.axis not in (None, 0):
        return False
    return (
        turned.integers("perm")[0] == 0
        and is_static(image[1:])
        and flat.output.shape[0] == image[0]
    )


def _reorder(graph: Graph, node: Node, turned: Node) -> None:
    x, weight, perm = turned.input(0), node.input(1), turned.integers("perm")
    if weight.constant is None:
        raise ValueError(f"{weight!r} is no constant")
    sizes = [int(str(size)) for size in turned.output.shape[1:]]
    # Column (c, h, w) of the weight goes where element (c, h, w) lies in x.
    back = [perm.index(axis) for axis in range(1, x.rank)]
    columns = weight.constant.reshape(-1, *sizes).transpose(0, *back)
    node.inputs[1] = Tensor(
        name=weight.name,
        dtype=weight.dtype,
        shape=weight.shape,
        constant=columns.reshape(weight.constant.shape),
        source=weight.source,
        # Only columns move.
        quantization=weight.quantization,
    )
    name = f"{node.output.name}/flat"
    flat = make_node("RESHAPE", [x], names=[name], attributes={"shape": node.input(0).shape})
    flat.source = node.source
    node.inputs[0] = flat.output
    graph.nodes.insert(graph.nodes.index(node), flat)
