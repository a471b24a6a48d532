"""The graph: what the builder infers, what the checker refuses, and the file and text forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.dims import DimExpr
from edgeconv.errors import InvalidInputError
from edgeconv.graph import Builder, Graph, GraphError, Source, Tensor, check_graph, format_graph
from edgeconv.graph.file import is_edge_graph, read_graph, read_metadata, write_graph
from edgeconv.graph.ops import list_ops
from edgeconv.signature import Dim, DType

N = DimExpr.symbol("N")


def small_graph() -> Graph:
    """A convolution, a residual, a dynamic batch, and a constant that two nodes share."""
    b = Builder("small", (Dim(name="N", example=1),))
    b.source = Source(node="conv", module="layers.0", line="model.py:7 in forward")
    x = b.input("x", DType.FLOAT32, (N, 8, 8, 4))
    weight = b.constant(np.arange(4 * 9 * 4, dtype=np.float32).reshape(4, 3, 3, 4), "weight")
    bias = b.constant(np.ones(4, dtype=np.float32), "bias")
    y = b.op("CONV_2D", x, weight, bias, padding="SAME")
    y = b.op("ADD", b.op("RELU", y), x)
    y = b.op("MUL", y, bias)
    flat = b.op("RESHAPE", y, shape=(N, 256))
    b.graph.outputs = [flat]
    return b.graph


def test_shapes_follow_from_operators() -> None:
    graph = small_graph()
    assert [node.output.shape for node in graph.nodes][:2] == [(N, 8, 8, 4)] * 2
    assert graph.outputs[0].shape == (N, 256)
    check_graph(graph)


def test_text_shows_operators_shapes_and_lines() -> None:
    text = format_graph(small_graph())
    assert "CONV_2D(x, const weight:float32[4,3,3,4]" in text
    assert "float32[N,8,8,4]" in text
    assert "model.py:7 in forward" in text
    assert "dim N: 1.., example 1" in text


def test_where_operators_came_from_is_told_in_parts() -> None:
    assert set(small_graph().sources().values()) == {"conv, layers.0, model.py:7 in forward"}


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "small.edge.safetensors"
    write_graph(small_graph(), path, {"author": "someone"})
    again = read_graph(path)
    assert is_edge_graph(path)
    assert read_metadata(path) == {"author": "someone"}
    assert format_graph(again) == format_graph(small_graph())
    stored = {t.name: t.constant for t in again.constants()}
    np.testing.assert_array_equal(
        stored["weight"], np.arange(144, dtype=np.float32).reshape(4, 3, 3, 4)
    )


def test_equal_graphs_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_graph(small_graph(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_views_are_stored_as_they_look(tmp_path: Path) -> None:
    b = Builder("view", ())
    x = b.input("x", DType.FLOAT32, (2, 3))
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    b.graph.outputs = [b.op("ADD", x, b.constant(array.T, "turned"))]
    write_graph(b.graph, tmp_path / "view")
    (constant,) = read_graph(tmp_path / "view").constants()
    np.testing.assert_array_equal(constant.constant, array.T)


def _constant_graph(value: float, name: str) -> Graph:
    inner = Builder(name, ())
    x = inner.input("x", DType.FLOAT32, ())
    bound = inner.constant(np.asarray(value, dtype=np.float32), "value")
    inner.graph.outputs = [inner.op("LESS" if name == "cond" else "ADD", x, bound)]
    return inner.graph


def test_constants_of_one_name_in_several_graphs_are_stored_apart(tmp_path: Path) -> None:
    b = Builder("loop", ())
    x = b.op("ADD", b.input("x", DType.FLOAT32, ()), b.scalar(1, DType.FLOAT32))
    loop = b.node("WHILE", [x], cond=_constant_graph(9, "cond"), body=_constant_graph(2, "body"))
    b.graph.outputs = loop.outputs
    write_graph(b.graph, tmp_path / "loop")
    inner = [graph.constants()[0] for graph in read_graph(tmp_path / "loop").subgraphs()]
    assert [str(tensor.constant) for tensor in inner] == ["9.0", "2.0"]


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.edge.safetensors"
    write_graph(small_graph(), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InvalidInputError):
        read_graph(path)


def test_plain_safetensors_is_no_graph(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"w": np.zeros(3, dtype=np.float32)}, path)
    assert not is_edge_graph(path)
    with pytest.raises(InvalidInputError, match="no edge graph"):
        read_graph(path)


def test_checker_refuses_a_wrong_shape() -> None:
    graph = small_graph()
    graph.nodes[0].output.shape = (N, 8, 8, 5)
    with pytest.raises(GraphError, match="CONV_2D"):
        check_graph(graph)


def test_checker_refuses_a_wrong_order() -> None:
    graph = small_graph()
    graph.nodes.reverse()
    with pytest.raises(GraphError, match="before anything made it"):
        check_graph(graph)


def test_checker_refuses_a_doubled_name() -> None:
    graph = small_graph()
    graph.nodes[1].output.name = graph.nodes[0].output.name
    with pytest.raises(GraphError, match="stands for 2 tensors"):
        check_graph(graph)


def test_checker_refuses_an_output_nobody_makes() -> None:
    graph = small_graph()
    graph.outputs = [Tensor(name="ghost", dtype=DType.FLOAT32, shape=(1,))]
    with pytest.raises(GraphError, match="made by nothing"):
        check_graph(graph)


def test_unknown_attributes_are_refused() -> None:
    b = Builder("bad", ())
    x = b.input("x", DType.FLOAT32, (1,))
    with pytest.raises(GraphError, match="unknown attributes"):
        b.op("RELU", x, alpha=1)
    with pytest.raises(GraphError, match="missing"):
        b.op("RESHAPE", x)


def test_mixed_dtypes_are_refused() -> None:
    b = Builder("bad", ())
    x = b.input("x", DType.FLOAT32, (1,))
    with pytest.raises(GraphError, match="different dtypes"):
        b.op("ADD", x, b.scalar(1, DType.INT32))


def test_every_operator_name_is_upper_case() -> None:
    assert all(name == name.upper() for name in list_ops())
