"""What is rewritten for XNNPACK computes the same, and XNNPACK takes it: asked of the runtime itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeconv.formats.tflite_delegation import Execution, RuntimeNode, read_execution, sort_nodes
from edgeconv.graph import Builder, Graph, Tensor, check_graph
from edgeconv.passes.legalize import legalize
from edgeconv.plugin import Job
from edgeconv.signature import DType

pytest.importorskip("ai_edge_litert")
from edgeconv_converters.edge_graph_tflite import worker
from edgeconv_converters.edge_graph_tflite.delegated import prefer_delegated
from edgeconv_converters.edge_graph_tflite.kernels import TFLITE

pytestmark = pytest.mark.integration

Make = Callable[[Builder, Tensor], Tensor | list[Tensor]]


def _constant(b: Builder, *shape: int) -> Tensor:
    return b.constant(np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32))


def _pool(b: Builder, x: Tensor, value: float) -> Tensor:
    low = b.constant(np.asarray(value, np.float32))
    padded = b.op("PADV2", x, low, before=(0, 1, 1, 0), after=(0, 1, 0, 0))
    window = {"filter_height": 3, "filter_width": 3, "stride_h": 2, "stride_w": 2}
    return b.op("MAX_POOL_2D", padded, **window)


def _mask(b: Builder, x: Tensor, *, is_shown: bool) -> Tensor:
    mask = b.constant(np.tri(4, dtype=np.bool_))
    lowest = b.scalar(float(np.finfo(np.float32).min), DType.FLOAT32)
    return b.op("SELECT_V2", mask, *((x, lowest) if is_shown else (lowest, x)))


def _slice(b: Builder, x: Tensor, begin: int, axis: int, stride: int) -> Tensor:
    first, strides = [0] * x.rank, [1] * x.rank
    first[axis], strides[axis] = begin, stride
    return b.op("STRIDED_SLICE", x, begin=tuple(first), end=x.shape, strides=tuple(strides))


def _convolve(kernel: tuple[int, int, int], stride: int, dilation: int, padding: str) -> Make:
    def make(b: Builder, x: Tensor) -> Tensor:
        weight, bias = _constant(b, *kernel, 4, 6), _constant(b, 6)
        wide = 1 if kernel[1:] == (1, 1) else 2
        return b.op(
            "CONV_3D", x, weight, bias, stride_d=stride, stride_h=wide, stride_w=wide,
            dilation_d_factor=dilation, padding=padding, fused_activation_function="RELU",
        )  # fmt: skip

    return make


_CASES: dict[str, tuple[tuple[int, ...], Make]] = {
    "parts of any size": ((2, 8, 3), lambda b, x: b.node("SPLIT_V", [x], axis=1, sizes=(1, 5, 2)).outputs),
    "every second": ((2, 8, 61), lambda b, x: _slice(b, x, 0, 2, 2)),
    "every second, from the second": ((2, 8, 61), lambda b, x: _slice(b, x, 1, 2, 2)),
    "every third": ((2, 8, 61), lambda b, x: _slice(b, x, 2, 1, 3)),
    "a stack": ((2, 3), lambda b, x: b.op("PACK", x, b.op("EXP", x), axis=1)),
    "many joined": ((2, 3), lambda b, x: b.node("CONCATENATION", [x, b.op("EXP", x), *[x] * 9], axis=1).output),
    "a broadcast": ((1, 3, 1, 4), lambda b, x: b.op("BROADCAST_TO", x, shape=(2, 2, 3, 5, 4))),
    "pooling of what is positive": ((1, 8, 8, 4), lambda b, x: _pool(b, b.op("RELU", x), -np.inf)),
    "pooling": ((1, 8, 8, 4), lambda b, x: _pool(b, x, -np.inf)),
    "padding with a number": ((1, 8, 8, 4), lambda b, x: _pool(b, b.op("RELU", x), 3)),
    "a mirrored border": (
        (1, 5, 6, 2),
        lambda b, x: b.op("MIRROR_PAD", x, before=(0, 2, 1, 0), after=(0, 1, 0, 0), mode="REFLECT"),
    ),
    "a doubled border": (
        (1, 5, 6, 2),
        lambda b, x: b.op("MIRROR_PAD", x, before=(0, 2, 1, 0), after=(0, 2, 2, 0), mode="SYMMETRIC"),
    ),
    "a grown image": ((2, 3, 4, 5), lambda b, x: b.op("RESIZE_NEAREST_NEIGHBOR", x, size=(6, 12))),
    "an image of grown pixels": (
        (2, 3, 4, 5),
        lambda b, x: b.op("RESIZE_NEAREST_NEIGHBOR", x, size=(9, 4), half_pixel_centers=True),
    ),
    "a causal mask": ((2, 4, 4), lambda b, x: b.op("SOFTMAX", _mask(b, x, is_shown=True))),
    "hidden values": ((2, 4, 4), lambda b, x: _mask(b, x, is_shown=False)),
    "a clamp": ((2, 3), lambda b, x: b.op("RELU_0_TO_1", x)),
    "planes": ((2, 9, 8, 7, 4), _convolve((1, 3, 3), 1, 1, "SAME")),
    "planes with steps": ((2, 9, 8, 7, 4), _convolve((1, 3, 3), 2, 1, "VALID")),
    "depth": ((2, 9, 8, 7, 4), _convolve((3, 1, 1), 2, 1, "SAME")),
    "volumes": ((2, 9, 8, 7, 4), _convolve((3, 3, 3), 2, 1, "SAME")),
    "volumes with gaps": ((2, 9, 8, 7, 4), _convolve((3, 3, 3), 1, 2, "VALID")),
    "deep volumes": ((2, 9, 8, 7, 4), _convolve((7, 5, 3), 3, 1, "SAME")),
}  # fmt: skip


def _graph(name: str) -> Graph:
    shape, make = _CASES[name]
    b = Builder("case")
    x = b.input("x", DType.FLOAT32, shape)
    made = make(b, b.op("TANH", x))
    b.graph.outputs = made if isinstance(made, list) else [made]
    return b.graph


def _run(name: str, folder: Path) -> tuple[list[np.ndarray], Execution]:
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "case.tflite"
    worker.write_graph_as_tflite(_graph(name), Job(name="case", inputs={}, output=path))
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    values = np.random.default_rng(0).normal(size=taken["shape"]).astype(np.float32)
    interpreter.set_tensor(taken["index"], values)
    interpreter.invoke()
    found = [interpreter.get_tensor(item["index"]) for item in interpreter.get_output_details()]
    return found, read_execution(interpreter)


@pytest.mark.parametrize("name", _CASES)
def test_a_rewritten_operator_is_delegated_and_computes_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got, execution = _run(name, tmp_path)
    assert execution.undelegated == {}
    assert execution.delegated_share == 1.0
    monkeypatch.setattr(worker, "prefer_delegated", lambda graph: 0)
    wanted, before = _run(name, tmp_path)
    assert before.undelegated
    for mine, right in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, right, rtol=0, atol=2e-6 * float(np.abs(right).max()))


def test_a_softmax_that_may_be_nan_stays_behind_its_mask() -> None:
    b = Builder("infinite")
    x = b.input("x", DType.FLOAT32, (2, 4))
    shares = b.op("SOFTMAX", x)
    is_open = b.op("GREATER", x, b.scalar(-np.inf, DType.FLOAT32))
    b.graph.outputs = [b.op("SELECT_V2", is_open, shares, b.scalar(0, DType.FLOAT32))]
    assert prefer_delegated(b.graph) == 0


def test_a_mask_that_is_not_known_is_read_once_for_all_layers() -> None:
    b = Builder("layers")
    x = b.input("x", DType.FLOAT32, (2, 3, 4, 4))
    mask = b.input("mask", DType.BOOL, (2, 1, 1, 4))
    lowest = b.scalar(float(np.finfo(np.float32).min), DType.FLOAT32)
    for _ in range(3):
        shares = b.op("SOFTMAX", b.op("SELECT_V2", mask, x, lowest))
        x = b.op("SELECT_V2", mask, shares, b.scalar(0, DType.FLOAT32))
    b.graph.outputs = [x]
    assert prefer_delegated(b.graph) == 6
    assert sorted(node.op for node in b.graph.nodes) == [
        *["MINIMUM"] * 3, *["MUL"] * 3, *["SELECT_V2"] * 2, *["SOFTMAX"] * 3
    ]  # fmt: skip
    check_graph(b.graph)


@pytest.mark.parametrize("name", _CASES)
def test_what_is_rewritten_is_legal(name: str) -> None:
    graph = _graph(name)
    legalize(graph, TFLITE)
    assert prefer_delegated(graph) > 0
    legalize(graph, TFLITE)


def test_the_parts_a_delegate_takes_are_told_from_those_it_leaves() -> None:
    own = [
        RuntimeNode(op="TRANSPOSE", inputs=(0,), outputs=(1,)),
        RuntimeNode(op="CONV_2D", inputs=(1, 9), outputs=(2,)),
        RuntimeNode(op="SELECT_V2", inputs=(8, 2, 7), outputs=(3,)),
        RuntimeNode(op="TRANSPOSE", inputs=(3,), outputs=(4,)),
        RuntimeNode(op="SOFTMAX", inputs=(4,), outputs=(5,)),
        RuntimeNode(op="TRANSPOSE", inputs=(5,), outputs=(6,)),
    ]
    parts = [
        RuntimeNode(op="DELEGATE", inputs=(0, 9), outputs=(2,)),
        RuntimeNode(op="DELEGATE", inputs=(3,), outputs=(6,)),
    ]
    found = sort_nodes([*own, *parts], inputs=(0,), outputs=(6,))
    assert found == Execution(
        operators=6,
        partitions=2,
        undelegated={"SELECT_V2": 1},
        border_transposes=2,
        inner_transposes=1,
    )
    assert found.delegated_share == pytest.approx(5 / 6)
