"""Passes keep what a graph computes, and do what they are for."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.dims import parse_size
from edgeconv.graph import Builder, Graph, GraphError, Tensor
from edgeconv.passes import OPTIMIZATIONS, Pass, run_passes
from edgeconv.passes.cleanup import clean_graph, has_inverse_transposes
from edgeconv.passes.layout import assign_layout
from edgeconv.signature import Dim, DType
from tests.passes.evaluate import evaluate_graph

_FIRST, _LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def _conv(b: Builder, x: Tensor, outputs: int, rng: np.random.Generator) -> Tensor:
    """A 1x1 convolution as the lowering writes it: between two transposes."""
    channels = x.shape[1]
    assert isinstance(channels, int)
    weight = b.constant(rng.normal(size=(outputs, 1, 1, channels)).astype(np.float32))
    y = b.op("CONV_2D", b.op("TRANSPOSE", x, perm=_LAST), weight)
    return b.op("TRANSPOSE", y, perm=_FIRST)


def _channel_constant(b: Builder, channels: int, rng: np.random.Generator) -> Tensor:
    return b.constant(rng.normal(size=(1, channels, 1, 1)).astype(np.float32))


def residual_network() -> Graph:
    """conv → batch norm → relu6, twice with a residual, a concat, a pad, a slice, and a mean."""
    rng = np.random.default_rng(0)
    b = Builder("residual", ())
    x = b.input("x", DType.FLOAT32, (2, 3, 4, 5))
    y = _conv(b, x, 6, rng)
    y = b.op("MUL", y, _channel_constant(b, 6, rng))
    y = b.op("RELU6", b.op("ADD", y, _channel_constant(b, 6, rng)))
    z = b.op("ADD", y, b.op("TANH", _conv(b, y, 6, rng)))
    z = b.node("CONCATENATION", [z, y], axis=1).output
    z = b.op("PAD", z, before=(0, 0, 1, 0), after=(0, 0, 0, 2))
    z = b.op("STRIDED_SLICE", z, begin=(0, 2, 0, 1), end=(2, 12, 5, 7), strides=(1, 1, 1, 2))
    z = _conv(b, z, 4, rng)
    pooled = b.op("MEAN", z, axes=(2, 3), keep_dims=True)
    b.graph.outputs = [b.op("RESHAPE", pooled, shape=(2, 4))]
    return b.graph


def _inputs(graph: Graph) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    rng = np.random.default_rng(1)
    return {t.name: rng.normal(size=[int(str(size)) for size in t.shape]) for t in graph.inputs}


def _count(graph: Graph, op: str) -> int:
    return sum(node.op == op for node in graph.nodes)


def test_optimizations_keep_the_function() -> None:
    before, after = residual_network(), residual_network()
    run_passes(after, should_check=True)
    inputs = _inputs(before)
    for wanted, got in zip(
        evaluate_graph(before, inputs), evaluate_graph(after, inputs), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_the_comparison_has_teeth() -> None:
    before, after = residual_network(), residual_network()
    run_passes(after)
    weight = after.constants()[0]
    assert weight.constant is not None
    weight.constant = weight.constant * 1.01  # type: ignore[operator]
    inputs = _inputs(before)
    (wanted,), (got,) = evaluate_graph(before, inputs), evaluate_graph(after, inputs)
    assert not np.allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_one_transpose_is_left_at_the_input() -> None:
    graph = residual_network()
    run_passes(graph)
    assert _count(graph, "TRANSPOSE") == 1
    assert graph.nodes[0].op == "TRANSPOSE"


def test_batch_norm_and_activation_are_gone() -> None:
    graph = residual_network()
    changes = run_passes(graph)
    assert (changes["fold"], changes["fuse"]) == (2, 1)
    assert _count(graph, "MUL") == 0
    assert _count(graph, "RELU6") == 0


def test_a_cheap_side_branch_pays_the_transpose() -> None:
    """A channels-first reader of a small tensor does not drag the large ones back."""
    b = Builder("branch", ())
    rng = np.random.default_rng(0)
    x = b.input("x", DType.FLOAT32, (1, 8, 16, 16))
    y = b.op("RELU", _conv(b, x, 8, rng))
    small = b.op("MEAN", y, axes=(3,), keep_dims=True)
    flat = b.op("RESHAPE", small, shape=(1, 128))
    b.graph.outputs = [_conv(b, b.op("TANH", y), 4, rng), flat]
    before = evaluate_graph(b.graph, inputs := _inputs(b.graph))
    run_passes(b.graph, should_check=True)
    transposed = [node.output for node in b.graph.nodes if node.op == "TRANSPOSE"]
    sizes = sorted(np.prod([int(str(s)) for s in t.shape]) for t in transposed)
    assert sizes == [128, 1024, 2048]
    for wanted, got in zip(before, evaluate_graph(b.graph, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_graph_without_convolutions_keeps_its_layout() -> None:
    b = Builder("plain", ())
    x = b.input("x", DType.FLOAT32, (1, 2, 3, 4))
    b.graph.outputs = [b.op("RELU", x)]
    assert assign_layout(b.graph) == 0


def test_chains_of_transposes_and_reshapes_collapse() -> None:
    b = Builder("chain", ())
    x = b.input("x", DType.FLOAT32, (2, 1, 3, 4))
    y = b.op("TRANSPOSE", b.op("TRANSPOSE", x, perm=_LAST), perm=_FIRST)
    y = b.op("RESHAPE", b.op("RESHAPE", b.op("RELU", y), shape=(6, 4)), shape=(24,))
    b.graph.outputs = [b.op("TRANSPOSE", b.op("TANH", y), perm=(0,))]
    clean_graph(b.graph)
    assert [node.op for node in b.graph.nodes] == ["RELU", "RESHAPE", "TANH"]
    assert b.graph.outputs[0].name == "transpose_2"


def test_a_shared_weight_is_not_scaled() -> None:
    b = Builder("shared", ())
    x = b.input("x", DType.FLOAT32, (1, 3))
    weight = b.constant(np.ones((3, 3), dtype=np.float32))
    one = b.op("FULLY_CONNECTED", x, weight)
    two = b.op("FULLY_CONNECTED", one, weight)
    b.graph.outputs = [b.op("MUL", two, b.constant(np.full(3, 2, dtype=np.float32)))]
    assert run_passes(b.graph)["fold"] == 0


def test_a_false_declaration_is_found() -> None:
    graph = residual_network()
    liar = Pass(name="liar", run=lambda _: 0, ensures=(has_inverse_transposes,))
    x = graph.nodes[0].output
    b = Builder("double", ())
    b.graph = graph
    graph.outputs = [b.op("TRANSPOSE", x, perm=_FIRST)]
    with pytest.raises(GraphError, match="'liar' was to ensure"):
        run_passes(graph, (liar,), should_check=True)


def test_every_pass_has_a_name_of_its_own() -> None:
    names = [item.name for item in OPTIMIZATIONS]
    assert len(set(names)) == len(names)


def _tokens(b: Builder, x: Tensor) -> Tensor:
    """What `x.flatten(2).transpose(1, 2)` is of NCHW."""
    n, channels, height, width = x.shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    flat = b.op("RESHAPE", x, shape=(n, channels, height * width))
    return b.op("TRANSPOSE", flat, perm=(0, 2, 1))


def test_transposes_cancel_over_a_reshape_that_merges_axes() -> None:
    b, rng = Builder("tokens"), np.random.default_rng(0)
    x = b.input("x", DType.FLOAT32, (2, 3, 4, 5))
    b.graph.outputs = [b.op("TANH", _tokens(b, _conv(b, x, 6, rng)))]
    wanted = evaluate_graph(b.graph, inputs := _inputs(b.graph))
    run_passes(b.graph, should_check=True)
    assert [node.op for node in b.graph.nodes] == ["TRANSPOSE", "CONV_2D", "RESHAPE", "TANH"]
    np.testing.assert_allclose(evaluate_graph(b.graph, inputs)[0], wanted[0], rtol=1e-6)


def test_transposes_cancel_over_a_reshape_that_splits_axes() -> None:
    b, rng = Builder("image"), np.random.default_rng(0)
    tokens = b.input("tokens", DType.FLOAT32, (2, 20, 3))
    turned = b.op("TRANSPOSE", tokens, perm=(0, 2, 1))
    image = b.op("RESHAPE", turned, shape=(2, 3, 4, 5))
    b.graph.outputs = [b.op("TANH", _conv(b, image, 6, rng))]
    wanted = evaluate_graph(b.graph, inputs := _inputs(b.graph))
    run_passes(b.graph, should_check=True)
    assert [node.op for node in b.graph.nodes] == ["RESHAPE", "CONV_2D", "TANH", "TRANSPOSE"]
    np.testing.assert_allclose(evaluate_graph(b.graph, inputs)[0], wanted[0], rtol=1e-6)


def test_a_reshape_that_mixes_axes_keeps_its_transposes() -> None:
    b = Builder("mixed")
    x = b.input("x", DType.FLOAT32, (4, 6, 5))
    mixed = b.op("RESHAPE", b.op("TRANSPOSE", x, perm=(1, 0, 2)), shape=(8, 3, 5))
    b.graph.outputs = [b.op("TANH", b.op("TRANSPOSE", mixed, perm=(1, 0, 2)))]
    wanted = evaluate_graph(b.graph, inputs := _inputs(b.graph))
    run_passes(b.graph, should_check=True)
    assert _count(b.graph, "TRANSPOSE") == 2
    np.testing.assert_array_equal(evaluate_graph(b.graph, inputs)[0], wanted[0])


def test_a_matrix_product_takes_its_operand_transposed() -> None:
    b = Builder("scores")
    q, k = (b.input(name, DType.FLOAT32, (2, 5, 3)) for name in "qk")
    b.graph.outputs = [b.op("BATCH_MATMUL", q, b.op("TRANSPOSE", k, perm=(0, 2, 1)))]
    run_passes(b.graph, should_check=True)
    (node,) = b.graph.nodes
    assert node.flag("adj_y")
    assert node.input(1) is k


def test_doubled_work_is_done_once() -> None:
    b = Builder("doubled")
    x = b.input("x", DType.FLOAT32, (2, 3))
    halves = [b.op("MUL", x, b.scalar(0.5, DType.FLOAT32)) for _ in range(2)]
    other = b.op("MUL", x, b.scalar(0.25, DType.FLOAT32))
    b.graph.outputs = [b.op("ADD", b.op("ADD", *halves), other)]
    run_passes(b.graph, should_check=True)
    assert [node.op for node in b.graph.nodes] == ["MUL", "MUL", "ADD", "ADD"]


def test_outputs_that_are_alike_stay_two() -> None:
    b = Builder("twins")
    x = b.input("x", DType.FLOAT32, (2, 3))
    b.graph.outputs = [b.op("TANH", x), b.op("TANH", x)]
    names = [tensor.name for tensor in b.graph.outputs]
    run_passes(b.graph, should_check=True)
    assert [tensor.name for tensor in b.graph.outputs] == names
    assert len(set(b.graph.outputs)) == 2


def test_casts_that_lose_nothing_are_merged() -> None:
    b = Builder("casts")
    x = b.input("x", DType.INT32, (3,))
    wide = b.op("CAST", b.op("CAST", x, dtype="int64"), dtype="float32")
    lossy = b.op("CAST", b.op("CAST", wide, dtype="int32"), dtype="float32")
    b.graph.outputs = [lossy]
    run_passes(b.graph, should_check=True)
    assert [node.text("dtype") for node in b.graph.nodes] == ["float32", "int32", "float32"]


def test_indices_are_not_widened() -> None:
    b = Builder("indices")
    x = b.input("x", DType.FLOAT32, (3, 4))
    index = b.op("CAST", b.input("index", DType.INT32, (2,)), dtype="int64")
    b.graph.outputs = [b.op("GATHER", x, index)]
    run_passes(b.graph, should_check=True)
    assert [node.op for node in b.graph.nodes] == ["GATHER"]


def test_outputs_keep_their_names_in_any_layout() -> None:
    b, rng = Builder("named"), np.random.default_rng(0)
    x = b.input("x", DType.FLOAT32, (2, 3, 4, 5))
    y = b.op("RELU", _conv(b, x, 6, rng))
    last = b.op("TRANSPOSE", y, perm=_LAST)
    b.graph.outputs = [y, last]
    y.name, last.name = "first", "last"
    run_passes(b.graph, should_check=True)
    assert [(t.name, t.shape) for t in b.graph.outputs] == [
        ("first", (2, 6, 4, 5)),
        ("last", (2, 4, 5, 6)),
    ]


def test_folded_weights_keep_the_names_of_the_modules_weights() -> None:
    b, rng = Builder("names"), np.random.default_rng(0)
    x = b.input("x", DType.FLOAT32, (2, 3))
    weight = b.constant(rng.normal(size=(4, 3)).astype(np.float32), name="layer.weight")
    bias = b.constant(rng.normal(size=4).astype(np.float32), name="layer.bias")
    y = b.op("FULLY_CONNECTED", x, weight, bias)
    b.graph.outputs = [b.op("MUL", y, b.constant(np.full(4, 2, np.float32)))]
    run_passes(b.graph, should_check=True)
    assert [tensor.name for tensor in b.graph.constants()] == ["layer.weight", "layer.bias"]


def test_a_scale_is_folded_behind_a_dynamic_size_of_another_form() -> None:
    b = Builder("dynamic", (Dim(name="H", example=9),))
    size = parse_size("H")
    x = b.input("x", DType.FLOAT32, (size, 3))
    y = b.op("FULLY_CONNECTED", x, b.constant(np.ones((4, 3), np.float32)))
    y.shape = (parse_size("max(H, 1)"), 4)
    b.graph.outputs = [b.op("MUL", y, b.constant(np.full(4, 2, np.float32)))]
    b.graph.outputs[0].shape = (size, 4)
    assert run_passes(b.graph)["fold"] == 1


def test_a_mask_that_hides_nothing_is_gone() -> None:
    b = Builder("masked", ())
    x = b.input("x", DType.FLOAT32, (2, 3))
    low = b.scalar(-1e9, DType.FLOAT32)
    every, none = (b.constant(np.full((1, 3), shown)) for shown in (True, False))
    shown = b.op("SELECT_V2", every, x, low)
    b.graph.outputs = [b.op("TANH", b.op("SELECT_V2", none, low, shown))]
    clean_graph(b.graph)
    assert [node.op for node in b.graph.nodes] == ["TANH"]


def test_a_mean_of_pixels_reads_channels_last() -> None:
    """Global pooling without kept axes needs no transpose; a mean over rows alone does."""
    for axes, transposes in (((2, 3), 1), ((1,), 1), ((2,), 2)):
        b = Builder("pooled", ())
        y = _conv(b, b.input("x", DType.FLOAT32, (1, 3, 4, 5)), 6, np.random.default_rng(0))
        b.graph.outputs = [b.op("MEAN", b.op("RELU", y), axes=axes, keep_dims=False)]
        before = evaluate_graph(b.graph, inputs := _inputs(b.graph))
        run_passes(b.graph, should_check=True)
        assert _count(b.graph, "TRANSPOSE") == transposes, axes
        (wanted,), (got,) = before, evaluate_graph(b.graph, inputs)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_flattened_image_is_undone_in_the_weight() -> None:
    b = Builder("flat", ())
    rng = np.random.default_rng(0)
    y = b.op("RELU", _conv(b, b.input("x", DType.FLOAT32, (2, 3, 4, 5)), 6, rng))
    weight = b.constant(rng.normal(size=(7, 120)).astype(np.float32))
    b.graph.outputs = [b.op("FULLY_CONNECTED", b.op("RESHAPE", y, shape=(2, 120)), weight)]
    (wanted,) = evaluate_graph(b.graph, inputs := _inputs(b.graph))
    assert run_passes(b.graph, should_check=True)["flatten"] == 1
    assert [node.op for node in b.graph.nodes] == [
        "TRANSPOSE",
        "CONV_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
    ]
    (got,) = evaluate_graph(b.graph, inputs)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_tensor_of_one_element_needs_no_transpose() -> None:
    b = Builder("gain", ())
    x, gain = b.input("x", DType.FLOAT32, (1, 3, 4, 5)), b.input("gain", DType.FLOAT32, (1,))
    rng = np.random.default_rng(0)
    y = _conv(b, b.op("MUL", _conv(b, x, 6, rng), gain), 2, rng)
    b.graph.outputs = [y]
    run_passes(b.graph, should_check=True)
    assert _count(b.graph, "TRANSPOSE") == 2


def test_a_channel_shuffle_costs_one_transpose() -> None:
    b, rng = Builder("shuffle"), np.random.default_rng(0)
    y = _conv(b, b.input("x", DType.FLOAT32, (2, 3, 4, 5)), 6, rng)
    parts = b.op("RESHAPE", y, shape=(2, 2, 3, 4, 5))
    turned = b.op("TRANSPOSE", parts, perm=(0, 2, 1, 3, 4))
    merged = b.op("RESHAPE", turned, shape=(2, 6, 4, 5))
    b.graph.outputs = [b.op("MEAN", _conv(b, merged, 4, rng), axes=(2, 3), keep_dims=False)]
    (wanted,) = evaluate_graph(b.graph, inputs := _inputs(b.graph))
    run_passes(b.graph, should_check=True)
    assert _count(b.graph, "TRANSPOSE") == 2  # that of the input, and the shuffle itself
    (got,) = evaluate_graph(b.graph, inputs)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
