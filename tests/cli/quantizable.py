"""A small network in both formats that are quantized, and data for it: written once, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact
from edgeconv.dims import DimExpr
from edgeconv.graph import Builder, Graph
from edgeconv.plugin import Job
from edgeconv.signature import Dim, DType
from edgeconv_converters.edge_graph_onnx.worker import write_graph_as_onnx
from tests.cli.conftest import CommandLine
from tests.converters.ai_edge_quantizer.graphs import close, draw, write

__all__ = ["Shelf", "names_in", "stock", "succeed"]


@dataclass(frozen=True)
class Shelf:
    """What lies ready.

    Attributes:
        tflite: The network; `logits` and `scores` of five classes from `image`, in batches of any size.
        onnx: The same.
        calibration: Images.
        test: Others, with the classes that the network sees in them.
    """

    tflite: Path
    onnx: Path
    calibration: Path
    test: Path

    def artifact(self, format_id: str) -> Path:
        """The network in a format."""
        return self.tflite if format_id == "tflite" else self.onnx


def network() -> Graph:
    """Two convolutions and a classifier; activations stand alone, as the writer of ONNX takes them."""
    b = Builder("network", dims=(Dim(name="N", example=1),))
    x = b.input("image", DType.FLOAT32, (DimExpr.symbol("N"), 8, 8, 3))
    for inputs, outputs in ((3, 8), (8, 8)):
        weights = b.constant(draw(outputs, 3, 3, inputs, seed=outputs + inputs, scale=0.3))
        bias = b.constant(draw(outputs, seed=inputs))
        x = b.op("RELU", b.op("CONV_2D", x, weights, bias, padding="SAME"))
    x = b.op("MEAN", x, axes=(1, 2))
    x = b.op("FULLY_CONNECTED", x, b.constant(draw(5, 8, seed=4)), b.constant(draw(5, seed=5)))
    return close(b, {"logits": x, "scores": b.op("SOFTMAX", x)})


def images(count: int, seed: int) -> NDArray[np.float32]:
    """Noise, each image with a brightness of its own."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 8, 8, 3)) + random.normal(size=(count, 1, 1, 3)) * 2
    return values.astype(np.float32)


def stock(folder: Path) -> Shelf:
    """Write all of it."""
    tflite = write(network(), folder)
    onnx = folder / "network.onnx"
    write_graph_as_onnx(network(), Job(inputs={}, output=onnx, name="network"))
    np.savez(folder / "calibration.npz", image=images(48, 0))
    test = images(120, 1)
    scores = Artifact.read(tflite).run({"image": test})["logits"]
    np.savez(folder / "test.npz", image=test, label=scores.argmax(axis=1))
    return Shelf(
        tflite=tflite,
        onnx=onnx,
        calibration=folder / "calibration.npz",
        test=folder / "test.npz",
    )


def names_in(folder: Path) -> Sequence[str]:
    """Everything below a folder, as paths in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def succeed(edgeconv: CommandLine, *words: str | Path) -> dict[str, object]:
    """The report of a quantization that must not fail."""
    said = edgeconv("quantize", *words, "--json")
    assert said.status == 0, said.err
    return said.data
