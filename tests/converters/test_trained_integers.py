"""What stands between trained integers becomes TFLite's int8 kernel and computes the same; what has none stays in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgeconv.graph import Builder, Graph, Tensor
from edgeconv.graph.quantization import Quantization
from edgeconv.plugin import Job, Json
from edgeconv.signature import DType

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgeconv_converters.edge_graph_tflite import trained, worker

pytestmark = pytest.mark.integration

Array = np.ndarray
Scale = tuple[float, int]
Make = Callable[[Builder, Tensor], Tensor | list[Tensor]]

IN: Scale = (0.05, -7)
OUT: Scale = (0.21, 11)
PROBABILITY: Scale = (1 / 256, -128)


def _through(b: Builder, x: Tensor, scale: Scale, dtype: str = "int8") -> Tensor:
    step, zero = float(np.float32(scale[0])), scale[1]
    stored = b.op("QUANTIZE", x, scale=step, zero_point=zero, dtype=dtype)
    return b.op("DEQUANTIZE", stored, scale=step, zero_point=zero)


def _constant(b: Builder, *shape: int, axis: int | None = None, zero: int = 0) -> Tensor:
    """A constant that was trained as integers."""
    random = np.random.default_rng(sum(shape))
    count = 1 if axis is None else shape[axis]
    scales = random.uniform(0.004, 0.02, count).astype(np.float32)
    spread = [-1 if place == axis else 1 for place in range(len(shape))]
    stored = random.integers(-127, 128, shape)
    made = b.constant(((stored - zero) * scales.reshape(spread)).astype(np.float32))
    made.quantization = Quantization(
        dtype=DType.INT8, scales=tuple(scales.tolist()), zero_points=(zero,) * count, axis=axis
    )
    return made


def _bias(b: Builder, count: int) -> Tensor:
    return b.constant(np.random.default_rng(count).normal(size=count).astype(np.float32))


def _graph(make: Make, shape: tuple[int, ...], ends: tuple[Scale, Scale], dtype: str) -> Graph:
    b = Builder("trained")
    x = b.input("x", DType.FLOAT32, shape)
    made = make(b, _through(b, x, ends[0], dtype))
    for index, tensor in enumerate(made if isinstance(made, list) else [made]):
        result = _through(b, tensor, ends[1], dtype)
        result.name = f"y{index}"
        b.graph.outputs.append(result)
    return b.graph


def _write(graph: Graph, path: Path) -> Mapping[str, Json]:
    job = Job(name="trained", inputs={}, output=path, signature=graph.signature())
    return worker.write_graph_as_tflite(graph, job).details


def _run(path: Path, x: Array, resolver: OpResolverType = OpResolverType.AUTO) -> list[Array]:
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def _weighted(
    op: str, *shape: int, axis: int | None, **attributes: int | str | tuple[int, ...]
) -> Make:
    def make(b: Builder, x: Tensor) -> Tensor:
        count = shape[-1] if op == "DEPTHWISE_CONV_2D" else shape[0]
        weight = _constant(b, *shape, axis=axis)
        return b.op(op, x, weight, _bias(b, count), **attributes)

    return make


def _two(op: str, **attributes: str) -> Make:
    return lambda b, x: b.op(op, x, _through(b, b.op("NEG", x), (0.03, 4)), **attributes)


def _with_constant(op: str) -> Make:
    return lambda b, x: b.op(op, x, _constant(b, 1, 1, 1, 4))


def _one(op: str, **attributes: object) -> Make:
    return lambda b, x: b.op(op, x, **attributes)  # type: ignore[arg-type]


def _pool_padded(b: Builder, x: Tensor) -> Tensor:
    low = b.constant(np.asarray(-np.inf, np.float32))
    padded = b.op("PADV2", x, low, before=(0, 1, 1, 0), after=(0, 1, 1, 0))
    return b.op("MAX_POOL_2D", padded, **WINDOW)


WINDOW = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2}
IMAGE = (1, 6, 6, 4)
# Name, what is computed, scale of the result, how many operators, how many steps kernels may be off by.
COMPUTED: list[tuple[str, Make, Scale, int, int]] = [
    ("convolution", _weighted("CONV_2D", 5, 3, 3, 4, axis=0, padding="SAME"), OUT, 1, 1),
    (
        "activated",
        _weighted("CONV_2D", 5, 3, 3, 4, axis=0, fused_activation_function="RELU"),
        (0.1, -128),
        1,
        1,
    ),
    ("one scale", _weighted("CONV_2D", 5, 1, 1, 4, axis=None), OUT, 1, 1),
    (
        "depthwise",
        _weighted("DEPTHWISE_CONV_2D", 1, 3, 3, 8, axis=3, depth_multiplier=2),
        OUT,
        1,
        1,
    ),
    (
        "transposed",
        _weighted("TRANSPOSE_CONV", 5, 2, 2, 4, axis=0, stride_h=2, stride_w=2, output_shape=(1, 12, 12, 5)),
        OUT,
        1,
        1,
    ),
    ("linear", _weighted("FULLY_CONNECTED", 5, 4, axis=0), OUT, 1, 1),
    ("linear, one scale", _weighted("FULLY_CONNECTED", 5, 4, axis=None), OUT, 1, 1),
    ("sum", _two("ADD"), OUT, 1, 1),
    ("activated sum", _two("ADD", fused_activation_function="RELU"), OUT, 1, 1),
    ("sum with a constant", _with_constant("ADD"), OUT, 1, 1),
    ("difference", _two("SUB"), OUT, 1, 1),
    ("product", _two("MUL"), OUT, 1, 1),
    ("mean", _one("MEAN", axes=(1, 2), keep_dims=False), (0.02, 3), 1, 1),
    ("average", _one("AVERAGE_POOL_2D", **WINDOW), IN, 1, 1),
    ("ReLU", _one("RELU"), OUT, 1, 1),
    ("ReLU6", _one("RELU6"), (6 / 255, -128), 1, 1),
    ("leaky ReLU", _one("LEAKY_RELU", alpha=0.1), OUT, 1, 1),
    ("hard swish", _one("HARD_SWISH"), OUT, 1, 1),
    ("sigmoid", _one("LOGISTIC"), PROBABILITY, 1, 1),
    ("softmax", _one("SOFTMAX"), PROBABILITY, 1, 1),
    ("tanh", _one("TANH"), (1 / 128, 0), 1, 1),
    ("bilinear", _one("RESIZE_BILINEAR", size=(9, 9), half_pixel_centers=True), IN, 1, 1),
    ("rows", lambda b, x: b.op("BATCH_MATMUL", x, _through(b, x, (0.03, 4)), adj_y=True), OUT, 1, 1),
    ("pooling", _one("MAX_POOL_2D", **WINDOW), IN, 1, 0),
    ("padded pooling", _pool_padded, OUT, 2, 0),
    ("padding", _one("PAD", before=(0, 1, 0, 0), after=(0, 1, 2, 0)), IN, 1, 0),
    ("mirror", _one("MIRROR_PAD", before=(0, 1, 1, 0), after=(0, 1, 1, 0), mode="REFLECT"), IN, 1, 0),
    ("reshape", _one("RESHAPE", shape=(1, 36, 4)), OUT, 1, 0),
    ("transpose", _one("TRANSPOSE", perm=(0, 3, 1, 2)), IN, 1, 0),
    (
        "slice",
        _one("STRIDED_SLICE", begin=(0, 1, 0, 0), end=(1, 5, 6, 4), strides=(1, 1, 1, 1)),
        IN,
        1,
        0,
    ),
    ("parts", lambda b, x: b.node("SPLIT_V", [x], axis=3, sizes=(1, 3)).outputs, IN, 1, 0),
    ("columns", lambda b, x: b.op("GATHER", x, b.constant(np.array([2, 0])), axis=3), IN, 1, 0),
    ("stack", lambda b, x: b.node("PACK", [x, x], axis=0).output, IN, 1, 0),
    ("tiles", _one("TILE", multiples=(1, 2, 1, 1)), IN, 1, 0),
    ("reverse", _one("REVERSE_V2", axes=(1,)), IN, 1, 0),
    ("maximum", _one("REDUCE_MAX", axes=(1,), keep_dims=False), IN, 1, 0),
    ("nearest", _one("RESIZE_NEAREST_NEIGHBOR", size=(12, 12)), IN, 1, 0),
    ("to depth", _one("SPACE_TO_DEPTH", block_size=2), IN, 1, 0),
    ("from depth", _one("DEPTH_TO_SPACE", block_size=2), IN, 1, 0),
    # Inputs with scales of their own are brought to that of the result.
    ("join", lambda b, x: b.node("CONCATENATION", [x, _through(b, x, (0.03, 4))], axis=3).output, OUT, 1, 0),
    ("moved result", lambda b, x: b.op("RESHAPE", b.op("HARD_SWISH", x), shape=(1, 144)), OUT, 2, 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("case", COMPUTED, ids=[case[0] for case in COMPUTED])
def test_an_operator_between_integers_computes_with_them(
    case: tuple[str, Make, Scale, int, int],
    dtype: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, make, out, count, tolerance = case
    shift = 128 if dtype == "uint8" else 0
    ends = ((IN[0], IN[1] + shift), (out[0], out[1] + shift))
    if dtype == "uint8" and "_through" in make.__code__.co_names:
        pytest.skip("its inner scales are those of int8")
    x = np.random.default_rng(0).normal(size=IMAGE).astype(np.float32) * 4
    details = _write(_graph(make, IMAGE, ends, dtype), tmp_path / "integer.tflite")
    operators = details["operators"]
    assert isinstance(operators, dict)
    extra = "NEG" in operators  # makes a second input, in float
    assert details["integer_operators"] == count
    assert details["float_operators"] == ({"NEG": 1} if extra else {})
    monkeypatch.setattr(trained._Rewriter, "_rewrite", lambda *_: False)
    _write(_graph(make, IMAGE, ends, dtype), tmp_path / "float.tflite")
    wanted = _run(tmp_path / "float.tflite", x, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    assert np.ptp(wanted[0]) > 3 * out[0]
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        got = _run(tmp_path / "integer.tflite", x, resolver)
        for mine, theirs in zip(got, wanted, strict=True):
            steps = np.abs(mine - theirs) / np.float32(out[0])
            assert steps.max() <= tolerance + 1e-3, resolver
            assert (steps > 0.5).mean() < 0.1


def _weight(values: Array, scale: float, zero: int = 0) -> Make:
    def make(b: Builder, x: Tensor) -> Tensor:
        weight = b.constant(((values - zero) * np.float32(scale)).astype(np.float32))
        weight.quantization = Quantization(
            dtype=DType.INT8, scales=(scale,), zero_points=(zero,), axis=None
        )
        return b.op("FULLY_CONNECTED", x, weight, None)

    return make


def _read_twice(b: Builder, x: Tensor) -> Tensor:
    made = b.op("HARD_SWISH", x)
    b.graph.outputs.append(b.op("EXP", made))
    return made


LEFT: list[tuple[str, Make, Scale, set[str]]] = [
    ("the kernel's scale is another", _one("SOFTMAX"), OUT, {"SOFTMAX"}),
    ("the average has another scale", _one("AVERAGE_POOL_2D", **WINDOW), OUT, {"AVERAGE_POOL_2D"}),
    ("there is no kernel", _one("SIN"), OUT, {"SIN"}),
    ("a constant was not trained", lambda b, x: b.op("ADD", x, _bias(b, 4)), OUT, {"ADD"}),
    ("weights reach -128", _weight(np.full((2, 4), -128), 0.01), OUT, {"FULLY_CONNECTED"}),
    ("weights are not symmetric", _weight(np.full((2, 4), 5), 0.01, 3), OUT, {"FULLY_CONNECTED"}),
    ("it is read in float, too", _read_twice, OUT, {"HARD_SWISH", "EXP"}),
]


@pytest.mark.parametrize("case", LEFT, ids=[case[0] for case in LEFT])
def test_what_no_integer_kernel_computes_as_trained_stays_in_float(
    case: tuple[str, Make, Scale, set[str]], tmp_path: Path
) -> None:
    _, make, out, left = case
    details = _write(_graph(make, IMAGE, (IN, out), "int8"), tmp_path / "float.tflite")
    assert details["integer_operators"] == 0
    assert isinstance(details["float_operators"], dict)
    assert set(details["float_operators"]) == left


def test_a_bias_is_stored_in_steps_of_the_products(tmp_path: Path) -> None:
    path = tmp_path / "linear.tflite"
    _write(_graph(_weighted("FULLY_CONNECTED", 5, 4, axis=0), IMAGE, (IN, OUT), "int8"), path)
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    tensors = {str(tensor.type): tensor for tensor in model.subgraphs[0].tensors if tensor.buffer}
    weight, bias = tensors[str(schema.TensorType.INT8)], tensors[str(schema.TensorType.INT32)]
    step = np.float32(IN[0]) * weight.quantization.scale
    assert np.array_equal(bias.quantization.scale, step.astype(np.float32))
    stored = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.int32)
    wanted = np.random.default_rng(5).normal(size=5).astype(np.float32)
    assert np.abs(stored * step - wanted).max() <= step.max() / 2 * 1.001


def test_a_graph_without_trained_scales_is_not_touched(tmp_path: Path) -> None:
    b = Builder("plain")
    x = b.input("x", DType.FLOAT32, IMAGE)
    b.graph.outputs.append(b.op("HARD_SWISH", x))
    assert "integer_operators" not in _write(b.graph, tmp_path / "plain.tflite")
