"""Small ONNX files to be quantized, written as ONNX text; weights are the inputs whose names begin with `w`, drawn anew."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper, parser

from edgeconv.plugin.quantizer import (
    FloatModel,
    Precision,
    QuantizationPlan,
    QuantizedFile,
    Range,
)
from edgeconv.signature import DType
from edgeconv_converters.onnxruntime_quantization.worker import open_model

__all__ = [
    "INT8",
    "NETWORK",
    "Array",
    "Floats",
    "assert_near",
    "build",
    "draw",
    "draw_inputs",
    "fused_operators",
    "measure_ranges",
    "node_types",
    "open_text",
    "quantize",
    "snr_db",
    "write",
]

Array = NDArray[np.generic]
Floats = NDArray[np.float32]

INT8 = Precision(weights="int8", activations="int8")

NETWORK = """
network (float[N,3,8,8] image, float[8,3,3,3] w1, float[8] w2, float[8,1,3,3] w3, float[8] w4, float[8,5] w5, float[5] w6)
  => (float[N,5] logits, float[N,5] scores) {
    conv = Conv <pads = [1, 1, 1, 1]> (image, w1, w2)
    relu = Relu (conv)
    depthwise = Conv <group = 8, pads = [1, 1, 1, 1]> (relu, w3, w4)
    low = Constant <value = float {0.0}> ()
    high = Constant <value = float {6.0}> ()
    clip = Clip (depthwise, low, high)
    sum = Add (relu, clip)
    pooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (sum)
    mean = GlobalAveragePool (pooled)
    flat = Flatten (mean)
    logits = Gemm (flat, w5, w6)
    scores = Softmax <axis = -1> (logits)
  }
"""
"""A convolution, a depthwise one, a residual, pooling, a matrix product and Softmax, as image networks have them."""


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Floats:
    """Normally distributed numbers."""
    values = np.random.default_rng(seed).normal(size=shape) * scale
    return values.astype(np.float32)


def build(
    text: str, *, opset: int = 17, ir_version: int = 8, given: Mapping[str, Array] | None = None
) -> ModelProto:
    """A model from ONNX text, with weights for the inputs that begin with `w`."""
    head = f'<ir_version: {ir_version}, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    model = parser.parse_model(head + text)
    model.producer_name = "elsewhere"
    model.metadata_props.add(key="author", value="Ann Example")
    weights = [value for value in model.graph.input if value.name.startswith("w")]
    for seed, value in enumerate(weights):
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        array = (given or {}).get(value.name)
        if array is None:
            fan = max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else 1
            array = draw(*shape, seed=seed + 1, scale=fan**-0.5)
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        if ir_version >= 4:
            model.graph.input.remove(value)
    return model


def write(model: ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write a model as a file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def open_text(
    text: str, folder: Path, *, opset: int = 17, given: Mapping[str, Array] | None = None
) -> FloatModel:
    """Open the model of an ONNX text."""
    return open_model(write(build(text, opset=opset, given=given), folder))


def draw_inputs(model: FloatModel, *, batch: int = 4, seed: int = 0) -> dict[str, Array]:
    """Inputs of a model, its dynamic dims of the same size."""
    inputs: dict[str, Array] = {}
    for index, spec in enumerate(model.signature.inputs):
        shape = tuple(size if isinstance(size, int) else batch for size in spec.shape)
        if spec.dtype == DType.FLOAT32:
            inputs[spec.name] = draw(*shape, seed=seed + index)
        else:
            inputs[spec.name] = np.random.default_rng(seed).integers(0, 4, shape, np.int64)
    return inputs


def measure_ranges(model: FloatModel, *seeds: int, batch: int = 4) -> dict[str, Range]:
    """Least and greatest values over some inputs."""
    ranges: dict[str, Range] = {}
    for seed in seeds or (0, 1, 2):
        for name, values in model.observe(draw_inputs(model, batch=batch, seed=seed)).items():
            low, high = float(values.min()), float(values.max())
            before = ranges.get(name, Range(low=low, high=high))
            ranges[name] = Range(low=min(low, before.low), high=max(high, before.high))
    return ranges


def quantize(
    model: FloatModel,
    path: Path,
    default: Precision = INT8,
    *,
    operators: Mapping[str, Precision] | None = None,
    ranges: Mapping[str, Range] | None = None,
    io: DType = DType.FLOAT32,
) -> QuantizedFile:
    """Quantize with the ranges that some inputs have."""
    plan = QuantizationPlan(
        default=default,
        operators=operators or {},
        ranges=measure_ranges(model) if ranges is None else ranges,
        io=io,
    )
    return model.quantize(plan, path)


def assert_near(got: Array, wanted: Array, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Compare as double precision."""
    exact = wanted.astype(np.float64)
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=rtol, atol=atol)


def snr_db(wanted: Array, got: Array) -> float:
    """Signal to noise, both summed over all values."""
    exact = wanted.astype(np.float64)
    noise = np.square(got.astype(np.float64) - exact).sum()
    return float(10 * np.log10(np.square(exact).sum() / max(noise, 1e-30)))


def node_types(path: Path) -> list[str]:
    """The operators of a file."""
    return [node.op_type for node in onnx.load(path).graph.node]


def fused_operators(path: Path) -> list[str]:
    """The operators that ONNX Runtime makes of a file when it opens it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return node_types(Path(options.optimized_model_filepath))
