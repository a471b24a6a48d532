"""Small TFLite files to be quantized, written with edgeconv's own writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeconv.dims import DimExpr
from edgeconv.graph import Builder, Graph, Tensor
from edgeconv.plugin import Job
from edgeconv.plugin.quantizer import FloatModel, Range
from edgeconv.signature import Dim, DType
from edgeconv_converters.edge_graph_tflite.worker import write_graph_as_tflite

__all__ = ["Array", "Floats", "draw", "measure_ranges", "network", "snr_db", "write"]

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
_WINDOW = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2}
METADATA = {"author": "Ann Example", "labels": "\n".join("abcde")}


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Floats:
    """Normally distributed numbers."""
    values = np.random.default_rng(seed).normal(size=shape) * scale
    return values.astype(np.float32)


def write(graph: Graph, folder: Path, *, metadata: Mapping[str, str] = METADATA) -> Path:
    """Write a graph as a file of its name."""
    path = folder / f"{graph.name}.tflite"
    job = Job(inputs={}, output=path, name=graph.name, metadata=dict(metadata))
    write_graph_as_tflite(graph, job)
    return path


def network(*, is_dynamic: bool = False, name: str = "network") -> Graph:
    """A convolution, a depthwise one, pooling, a residual, a matrix product and SOFTMAX, as image networks have them."""
    dims = (Dim(name="N", example=1),) if is_dynamic else ()
    b = Builder(name, dims=dims)
    batch = DimExpr.symbol("N") if is_dynamic else 1
    x = b.input("image", DType.FLOAT32, (batch, 8, 8, 3))
    x = _conv(b, x, 3, 8, seed=1)
    y = b.op(
        "DEPTHWISE_CONV_2D",
        x,
        b.constant(draw(1, 3, 3, 8, seed=2, scale=0.4)),
        b.constant(draw(8, seed=3)),
        padding="SAME",
        fused_activation_function="RELU6",
    )
    x = b.op("ADD", x, y)
    x = b.op("MAX_POOL_2D", x, **_WINDOW)
    x = b.op("MEAN", x, axes=(1, 2))
    x = b.op("FULLY_CONNECTED", x, b.constant(draw(5, 8, seed=4)), b.constant(draw(5, seed=5)))
    return close(b, {"logits": x, "scores": b.op("SOFTMAX", x)})


def _conv(b: Builder, x: Tensor, channels: int, outputs: int, *, seed: int) -> Tensor:
    weights = b.constant(draw(outputs, 3, 3, channels, seed=seed, scale=0.3))
    bias = b.constant(draw(outputs, seed=seed + 100))
    return b.op("CONV_2D", x, weights, bias, padding="SAME", fused_activation_function="RELU")


def close(b: Builder, outputs: Mapping[str, Tensor]) -> Graph:
    """The graph with these outputs."""
    for name, tensor in outputs.items():
        tensor.name = name
        b.graph.outputs.append(tensor)
    return b.graph


def measure_ranges(model: FloatModel, samples: Sequence[Mapping[str, Array]]) -> dict[str, Range]:
    """The least and greatest value of each activation."""
    found: dict[str, Range] = {}
    for sample in samples:
        for name, value in model.observe(sample).items():
            known = found.get(name, Range(low=np.inf, high=-np.inf))
            low, high = float(value.min()), float(value.max())
            found[name] = Range(low=min(low, known.low), high=max(high, known.high))
    return found


def snr_db(wanted: Array, got: Array) -> float:
    """Signal-to-noise ratio."""
    noise = float(np.square(wanted.astype(np.float64) - got.astype(np.float64)).sum())
    signal = float(np.square(wanted.astype(np.float64)).sum())
    return float(10 * np.log10(signal / max(noise, 1e-30)))
