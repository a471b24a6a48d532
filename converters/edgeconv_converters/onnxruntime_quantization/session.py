"""ONNX Runtime sessions: how they are set, and all activations of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import onnxruntime
from onnx import ModelProto

from edgeconv.errors import InvalidInputError
from edgeconv.formats.inputs import TRY_OTHERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["FLOAT_TYPE", "Observer", "Value", "open_session"]

FLOAT_TYPE = "tensor(float)"
"""What ONNX Runtime calls tensors of float32."""

_FATAL_ONLY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What ONNX Runtime knows of a value before it runs.

    Attributes:
        type: `tensor(float)` and alike.
        shape: Integers, and names or None where a size is not known.
    """

    type: str
    shape: tuple[object, ...]

    @property
    def is_float(self) -> bool:
        """Whether it is a tensor of float32."""
        return self.type == FLOAT_TYPE


def open_session(
    model: ModelProto, *, optimized: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session on one thread of the processor, so that sums come out the same on every machine.

    Args:
        model: A whole model.
        optimized: Where to write the model that has only been simplified: no operators but ONNX's own.

    Raises:
        InvalidInputError: ONNX Runtime refuses it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    if optimized is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise InvalidInputError(
            "ONNX Runtime refuses the model",
            why=str(error).partition("\n")[0],
            hint="it may need operators, or an opset, that this version does not have",
        ) from error


class Observer:
    """A session that gives more values of the main graph than its outputs.

    That they are outputs keeps ONNX Runtime from fusing them away, so that it may optimize the rest.

    Args:
        model: A whole model; it is not changed.
        names: The values that are wanted, outputs of nodes; all of them unless given.
    """

    def __init__(self, model: ModelProto, names: Iterable[str] | None = None) -> None:
        if names is None:
            names = [name for node in model.graph.node for name in node.output if name]
        more = ModelProto()
        more.CopyFrom(model)
        known = {value.name for value in (*model.graph.input, *model.graph.output)}
        for name in names:
            if name not in known:
                # Without a type: ONNX Runtime infers it.
                more.graph.output.add(name=name)
                known.add(name)
        self._session = open_session(more)
        self._inputs = [argument.name for argument in self._session.get_inputs()]
        self.values: Mapping[str, Value] = {
            argument.name: Value(type=argument.type, shape=tuple(argument.shape or ()))
            for argument in (*self._session.get_inputs(), *self._session.get_outputs())
        }

    def run(
        self, inputs: Mapping[str, Array], wanted: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Run once; the inputs, the outputs, and all that was wanted besides, by name.

        Args:
            inputs: By name.
            wanted: What is to be computed at all; everything unless given.

        Raises:
            InvalidInputError: ONNX Runtime fails.
        """
        feeds = {name: inputs[name] for name in self._inputs}
        names = [
            name for name in self.values if name not in feeds and (wanted is None or name in wanted)
        ]
        try:
            results: list[Array] = self._session.run(names, feeds)
        except Exception as error:
            raise InvalidInputError(
                "the ONNX model does not run on these inputs",
                why=str(error).partition("\n")[0],
                hint=TRY_OTHERS,
            ) from error
        return feeds | dict(zip(names, results, strict=True))
