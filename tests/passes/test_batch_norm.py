"""What batch norms become where channels come first."""

from __future__ import annotations

import numpy as np

from edgeconv.graph import Builder, Graph, Tensor, check_graph
from edgeconv.passes.batch_norm import join_batch_norms
from edgeconv.passes.fold import fold_affine
from edgeconv.signature import DType

CHANNELS = 3


def _channels(b: Builder, value: float, rank: int = 4) -> Tensor:
    shape = (1, CHANNELS, *([1] * (rank - 2)))
    return b.constant(
        np.full(shape, value, np.float32)
        * np.arange(1, CHANNELS + 1, dtype=np.float32).reshape(shape)
    )


def _begin(rank: int = 4) -> tuple[Builder, Tensor]:
    b = Builder("graph")
    return b, b.input("x", DType.FLOAT32, (2, CHANNELS, *([5] * (rank - 2))))


def _finish(b: Builder, *outputs: Tensor) -> Graph:
    b.graph.outputs = list(outputs)
    return b.graph


def test_a_pair_becomes_one_operator() -> None:
    b, x = _begin()
    graph = _finish(b, b.op("ADD", b.op("MUL", x, _channels(b, 2)), _channels(b, 3)))
    assert join_batch_norms(graph) == 1
    check_graph(graph)
    (node,) = graph.nodes
    assert node.op == "BATCH_NORM"
    scale, shift = (node.input(i).constant for i in (1, 2))
    np.testing.assert_array_equal(np.stack([scale, shift]), [[2, 4, 6], [3, 6, 9]])  # type: ignore[list-item]


def test_a_product_that_others_read_stays() -> None:
    b, x = _begin()
    product = b.op("MUL", x, _channels(b, 2))
    graph = _finish(b, b.op("ADD", product, _channels(b, 3)), b.op("RELU", product))
    assert join_batch_norms(graph) == 0
    b, x = _begin()
    product = b.op("MUL", x, _channels(b, 2))
    graph = _finish(b, b.op("ADD", product, _channels(b, 3)), product)
    assert join_batch_norms(graph) == 0


def test_what_is_no_image_or_has_one_number_for_all_stays() -> None:
    b, x = _begin(3)
    graph = _finish(b, b.op("ADD", b.op("MUL", x, _channels(b, 2, 3)), _channels(b, 3, 3)))
    assert join_batch_norms(graph) == 0
    b, x = _begin()
    two = b.scalar(2, DType.FLOAT32)
    graph = _finish(b, b.op("ADD", b.op("MUL", x, two), two))
    assert join_batch_norms(graph) == 0


def test_a_convolution_takes_up_what_is_along_its_channels_alone() -> None:
    for shape, count in (((1, 5, 1, 1), 1), ((1, 1, 1, 5), 0)):
        b = Builder("graph")
        x = b.input("x", DType.FLOAT32, (2, 3, 5, 5))
        weight = b.constant(np.ones((5, 3, 1, 1), np.float32))
        made = b.op(
            "CONV",
            x,
            weight,
            None,
            strides=(1, 1),
            before=(0, 0),
            after=(0, 0),
            dilations=(1, 1),
            groups=1,
        )
        factors = b.constant(np.arange(1, 6, dtype=np.float32).reshape(shape))
        graph = _finish(b, b.op("MUL", made, factors))
        assert fold_affine(graph) == count
        check_graph(graph)
        if count:
            folded = graph.nodes[0].input(1).constant
            assert folded is not None
            np.testing.assert_array_equal(folded[:, 0, 0, 0], [1, 2, 3, 4, 5])
