"""Legalization puts casts around what has no kernel, expands what has an expansion, and refuses the rest by name."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.errors import UnsupportedOperatorsError
from edgeconv.graph import Builder, Graph, Node, Source, Tensor, check_graph
from edgeconv.passes.legalize import Expansion, Kernel, KernelSet, legalize
from edgeconv.signature import DType

_ALL = frozenset(dtype for dtype in DType if not dtype.is_complex)
_FLOAT = frozenset({DType.FLOAT32})


def _square(b: Builder, node: Node) -> Tensor:
    return b.op("MUL", node.input(0), node.input(0))


TARGET = KernelSet(
    title="Toy",
    kernels={
        "ADD": Kernel(dtypes=_FLOAT | {DType.INT32}),
        "MUL": Kernel(dtypes=_FLOAT, max_rank=3),
        "LESS": Kernel(dtypes=_FLOAT),
        "CAST": Kernel(dtypes=_ALL, results=_ALL - {DType.UINT64}),
        "GATHER": Kernel(dtypes=_ALL, indices={1: (DType.INT32, DType.INT64)}),
        "SPLIT_V": Kernel(dtypes=_FLOAT),
    },
    expansions={
        "SQUARE": (
            Expansion(applies=lambda _: True, build=_square, warning="squares are products"),
        )
    },
)


def _input(b: Builder, dtype: DType, *shape: int) -> Tensor:
    return b.input("x", dtype, shape or (2, 3))


def _ops(graph: Graph) -> list[str]:
    check_graph(graph)
    return [node.op for node in graph.nodes]


def test_what_has_a_kernel_stays() -> None:
    b = Builder("plain")
    x = _input(b, DType.FLOAT32)
    b.graph.outputs = [b.op("ADD", x, x)]
    assert legalize(b.graph, TARGET) == []
    assert _ops(b.graph) == ["ADD"]


def test_a_narrow_dtype_is_computed_in_a_wider_one() -> None:
    b = Builder("narrow")
    x = _input(b, DType.INT8)
    b.graph.outputs = [b.op("ADD", x, b.scalar(1, DType.INT8))]
    name = b.graph.outputs[0].name
    assert legalize(b.graph, TARGET) == []
    assert _ops(b.graph) == ["CAST", "ADD", "CAST"]
    assert b.graph.nodes[1].output.dtype == DType.INT32
    assert (b.graph.outputs[0].name, b.graph.outputs[0].dtype) == (name, DType.INT8)


def test_a_constant_is_cast_once_and_without_an_operator() -> None:
    b = Builder("constant")
    x = _input(b, DType.FLOAT16)
    weight = b.constant(np.ones((2, 3), np.float16))
    b.graph.outputs = [b.op("ADD", b.op("ADD", x, weight), weight)]
    legalize(b.graph, TARGET)
    first, second = (node for node in b.graph.nodes if node.op == "ADD")
    assert first.inputs[1] is second.inputs[1]
    assert first.input(1).dtype == DType.FLOAT32


def test_floats_are_not_cast_back_and_forth() -> None:
    b = Builder("chain")
    x = _input(b, DType.FLOAT16)
    b.graph.outputs = [b.op("MUL", b.op("ADD", x, x), x)]
    legalize(b.graph, TARGET)
    assert _ops(b.graph) == ["CAST", "ADD", "MUL", "CAST"]


def test_small_integers_wrap_around_between_operators() -> None:
    b = Builder("wrap")
    x = _input(b, DType.UINT8)
    b.graph.outputs = [b.op("ADD", b.op("ADD", x, x), x)]
    legalize(b.graph, TARGET)
    assert _ops(b.graph) == ["CAST", "ADD", "CAST", "CAST", "ADD", "CAST"]


def test_a_result_of_another_dtype_is_kept() -> None:
    b = Builder("compare")
    x = _input(b, DType.FLOAT16)
    b.graph.outputs = [b.op("LESS", x, x)]
    legalize(b.graph, TARGET)
    assert _ops(b.graph) == ["CAST", "LESS"]
    assert b.graph.outputs[0].dtype == DType.BOOL


def test_several_outputs_are_cast_back() -> None:
    b = Builder("split")
    b.graph.outputs = b.node("SPLIT_V", [_input(b, DType.BOOL, 4)], axis=0, sizes=(1, 3)).outputs
    legalize(b.graph, TARGET)
    assert _ops(b.graph) == ["CAST", "SPLIT_V", "CAST", "CAST"]
    assert [t.dtype for t in b.graph.outputs] == [DType.BOOL, DType.BOOL]


def test_indices_are_cast_alone() -> None:
    b = Builder("indices")
    x = _input(b, DType.FLOAT64)
    index = b.input("index", DType.UINT8, (1,))
    b.graph.outputs = [b.op("GATHER", x, index)]
    legalize(b.graph, TARGET)
    assert _ops(b.graph) == ["CAST", "GATHER"]
    assert b.graph.nodes[1].input(1).dtype == DType.INT32


def test_what_loses_precision_is_said() -> None:
    b = Builder("double")
    x = _input(b, DType.FLOAT64)
    b.graph.outputs = [b.op("MUL", b.op("ADD", x, x), x)]
    (warning,) = legalize(b.graph, TARGET)
    assert warning.startswith("ADD, MUL of float64: computed in float32")


def test_an_expansion_is_legalized_itself() -> None:
    b = Builder("expansion")
    b.graph.outputs = [b.op("SQUARE", _input(b, DType.FLOAT16))]
    assert legalize(b.graph, TARGET) == ["squares are products"]
    assert _ops(b.graph) == ["CAST", "MUL", "CAST"]


def test_an_expansion_that_gives_an_input_back_is_a_copy() -> None:
    same = Expansion(applies=lambda _: True, build=lambda _, node: node.input(0))
    kernels = {**TARGET.kernels, "RESHAPE": Kernel(dtypes=_ALL)}
    b = Builder("same")
    b.graph.outputs = [b.op("ABS", _input(b, DType.FLOAT32))]
    legalize(b.graph, KernelSet(title="Toy", kernels=kernels, expansions={"ABS": (same,)}))
    assert _ops(b.graph) == ["RESHAPE"]


def test_everything_without_a_kernel_is_refused_at_once() -> None:
    b = Builder("refused")
    b.source = Source(node="exp", line="net.py:7 in forward")
    x = _input(b, DType.FLOAT32, 1, 2, 3, 4)
    y = b.op("EXP", b.op("EXP", b.op("MUL", x, x)))
    b.graph.outputs = [b.op("CAST", y, dtype="uint64")]
    with pytest.raises(UnsupportedOperatorsError) as caught:
        legalize(b.graph, TARGET)
    assert caught.value.message == "4 operators cannot be written as Toy"
    assert [line.partition(",")[0] for line in caught.value.details] == [
        "MUL of float32",
        "EXP of float32",
        "CAST of float32",
    ]
    assert "x2, first at exp net.py:7 in forward" in caught.value.details[1]


def test_graphs_inside_are_legalized() -> None:
    inner = Builder("then")
    t = inner.input("t", DType.INT8, (2,))
    inner.graph.outputs = [inner.op("ADD", t, t)]
    b = Builder("outer")
    chosen = b.input("chosen", DType.BOOL, ())
    x = b.input("x", DType.INT8, (2,))
    b.graph.outputs = b.node(
        "IF", [chosen, x], then_branch=inner.graph, else_branch=inner.graph
    ).outputs
    kernels = {**TARGET.kernels, "IF": Kernel(dtypes=_ALL)}
    legalize(b.graph, KernelSet(title="Toy", kernels=kernels))
    assert [node.op for node in inner.graph.nodes] == ["CAST", "ADD", "CAST"]
