"""A model that needs no runtime: a chain of operators, each of which adds noise of its own once it is quantized."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import ConversionError
from edgeconv.plugin.quantizer import (
    FLOAT32,
    Dependence,
    Operator,
    Precision,
    QuantizationPlan,
    QuantizedFile,
)
from edgeconv.quantization.candidates import Candidate, Workbench
from edgeconv.quantization.dataset import Dataset
from edgeconv.quantization.evaluation import Evaluation
from edgeconv.signature import DType, Signature, TensorSpec

__all__ = ["Bench", "FakeModel"]

Array = NDArray[np.generic]
_FILE_BYTES = 1000


@dataclass
class FakeModel:
    """Operators `op0`, `op1`, …

    Attributes:
        noise: What each adds to the output's error in int8; a sixteenth of it in 16 bits.
        shapes: Operators that only change the shape.
        impossible: Operators that the library fails on in int8.
    """

    noise: Sequence[float]
    shapes: frozenset[str] = frozenset()
    impossible: frozenset[str] = frozenset()
    made: list[QuantizationPlan] = field(default_factory=list)

    @property
    def signature(self) -> Signature:
        shape = (1, 4)
        return Signature(
            inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=shape),),
            outputs=(TensorSpec(name="y", dtype=DType.FLOAT32, shape=shape),),
            dims=(),
        )

    @property
    def operators(self) -> Sequence[Operator]:
        names = [f"op{number}" for number in range(len(self.noise))]
        return [
            Operator(
                name=name,
                code="FAKE",
                inputs=("x" if name == "op0" else names[number - 1],),
                outputs=(name,),
                dependence=Dependence.SHAPE if name in self.shapes else Dependence.OTHER,
            )
            for number, name in enumerate(names)
        ]

    def constant(self, tensor: str) -> Array | None:
        return None

    def set_constant(self, tensor: str, value: Array) -> None:
        raise NotImplementedError

    def observe(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {one.name: inputs["x"] for one in self.operators} | {"x": inputs["x"]}

    def refusal(self, operator: Operator, precision: Precision) -> str:
        del operator, precision
        return ""

    def save(self, path: Path) -> None:
        raise NotImplementedError

    def quantize(self, plan: QuantizationPlan, path: Path) -> QuantizedFile:
        self.made.append(plan)
        precisions = {one.name: plan.precision_of(one.name) for one in self.operators}
        broken = [n for n in self.impossible if precisions[n].activations == "int8"]
        if broken:
            raise ConversionError(f"'{broken[0]}' is impossible")
        error, size = 0.0, _FILE_BYTES
        for name, noise in zip(precisions, self.noise, strict=True):
            precision = precisions[name]
            bits = precision.activations if precision.is_static else precision.weights
            error += {"int4": noise, "int8": noise, "int16": noise / 16}.get(bits, 0.0)
            size += {"int4": 5, "int8": 10, "int16": 15}.get(bits, 40)
        path.write_text(json.dumps({"error": error}).ljust(size))
        return QuantizedFile(precisions=precisions)

    def observe_quantized(self, path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise NotImplementedError


class Bench(Workbench):
    """Measures files of a `FakeModel`: the loss of the metric is the error that is written in them."""

    def run(self, path: Path, evaluation: Evaluation) -> dict[str, Array]:
        error = json.loads(path.read_text())["error"]
        return {"y": evaluation.reference["y"].astype(np.float32) + np.float32(error)}


def reference(model: FakeModel) -> Evaluation:
    x = np.ones((1, 4), np.float32)
    dataset = Dataset([{"x": x}], model.signature, "the data")
    return Evaluation.of(dataset, [0], lambda inputs: {"y": inputs["x"]}, keeps_inputs=False)


def kept(candidate: Candidate, precision: Precision = FLOAT32) -> set[str]:
    """Operators that a candidate has in a precision."""
    return {name for name, found in candidate.plan.operators.items() if found == precision}
