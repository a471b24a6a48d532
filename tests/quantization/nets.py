"""Small networks to be prepared, as opened models of both formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeconv.graph import Builder, Graph, Tensor
from edgeconv.plugin import Job
from edgeconv.plugin.quantizer import FloatModel
from edgeconv.quantization.dataset import Dataset
from edgeconv.signature import DType
from tests.converters.ai_edge_quantizer.graphs import close, draw, write

if TYPE_CHECKING:
    Array = NDArray[np.generic]

__all__ = ["BOTH", "SCALES", "images", "opener", "rescaled", "samples"]

BOTH = ("tflite", "onnx")
SCALES = 10.0 ** np.linspace(-1.2, 1.2, 8)
"""What output channels of the first convolution are multiplied with, and what the second takes back."""


def opener(graph: Graph, folder: Path, format_id: str) -> Callable[[], FloatModel]:
    """Write a graph in a format; each call opens it anew."""
    folder.mkdir(parents=True, exist_ok=True)
    if format_id == "tflite":
        from edgeconv_converters.ai_edge_quantizer.worker import open_model

        path = write(graph, folder)
        return lambda: open_model(path)
    from edgeconv_converters.edge_graph_onnx.worker import write_graph_as_onnx
    from edgeconv_converters.onnxruntime_quantization.worker import open_model as open_onnx

    path = folder / f"{graph.name}.onnx"
    write_graph_as_onnx(graph, Job(inputs={}, output=path, name=graph.name))
    return lambda: open_onnx(path)


def images(count: int = 24, *, seed: int = 0, size: int = 8) -> NDArray[np.float32]:
    """Inputs whose mean is not zero, as those of layers behind a ReLU are."""
    values = np.random.default_rng(seed).normal(0.4, 1.0, size=(count, size, size, 3))
    return values.astype(np.float32)


def samples(model: FloatModel, values: Mapping[str, Array]) -> Dataset:
    """Values as data for a model."""
    return Dataset([dict(values)], model.signature, "the data")


def rescaled(scales: NDArray[np.float64], *, between: str = "RELU") -> Graph:
    """Two convolutions, of which the second takes back what the output channels of the first are multiplied with."""
    b = Builder("rescaled")
    x = b.input("image", DType.FLOAT32, (1, 8, 8, 3))
    first = draw(8, 3, 3, 3, seed=1, scale=0.3) * scales.reshape(8, 1, 1, 1)
    bias = draw(8, seed=2, scale=0.3) * scales
    x = _conv(b, x, first, bias)
    x = b.op(between, x)
    x = b.op("MAX_POOL_2D", x, filter_height=2, filter_width=2, stride_h=2, stride_w=2)
    x = _conv(b, x, draw(4, 3, 3, 8, seed=3, scale=0.3) / scales, draw(4, seed=4))
    return close(b, {"y": x})


def _conv(b: Builder, x: Tensor, weights: NDArray[np.generic], bias: NDArray[np.generic]) -> Tensor:
    constants = (b.constant(array.astype(np.float32)) for array in (weights, bias))
    return b.op("CONV_2D", x, *constants, padding="SAME")
