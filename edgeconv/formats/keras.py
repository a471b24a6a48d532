"""Keras files (`.keras`): what goes in and out, and running them. They are read, never written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from edgeconv.dims import DimExpr, Size
from edgeconv.errors import (
    InvalidInputError,
    MissingDependencyError,
    UnsafeInputError,
    UsageError,
)
from edgeconv.formats.handler import Array, RunResult, Session
from edgeconv.formats.inputs import check_inputs
from edgeconv.signature import Dim, DType, Signature, TensorSpec

__all__ = ["HANDLER", "KerasHandler", "call_flat", "describe_model", "load_model"]


def load_model(path: Path) -> Any:  # noqa: ANN401 - Keras has no types
    """The model in a file; layers made of Python code are refused.

    Raises:
        InvalidInputError: The file is damaged, or of classes that are not Keras's own.
        UnsafeInputError: Reading it would run code that is inside.
        MissingDependencyError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf

        keras = tf.keras
    except ImportError as error:
        raise MissingDependencyError(
            "a Keras model needs TensorFlow",
            why=str(error),
            hint="pip install 'edgeconv[tensorflow]'",
        ) from error
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        first = str(error).strip().partition("\n")[0].partition(". ")[0]
        if "unsafe" in str(error) or "lambda" in str(error).lower():
            raise UnsafeInputError(
                f"'{path}' would run code when read",
                why=first,
                hint="load it yourself and write a SavedModel: model.export('folder')",
            ) from error
        raise InvalidInputError(
            f"'{path}' cannot be loaded by Keras",
            why=first,
            hint="if it has classes of your own, write a SavedModel: model.export('folder')",
        ) from error
    if not getattr(model, "inputs", None):
        raise InvalidInputError(
            f"'{path}' does not say what goes into the model",
            hint="call the model once before saving it, or write a SavedModel: model.export('folder')",
        )
    if isinstance(model, keras.Sequential):
        # A sequential model has no structure of inputs and outputs of its own; the functional one has.
        return keras.Model(model.inputs, model.outputs)
    return model


def call_flat(model: Any, tensors: Sequence[object]) -> list[Any]:  # noqa: ANN401 - Keras has no types
    """The outputs of a model, flat, for flat inputs; in inference mode."""
    import tensorflow as tf

    structure = tf.nest.pack_sequence_as(model.input, list(tensors))
    flat: list[Any] = tf.nest.flatten(model(structure, training=False))
    return flat


def describe_model(model: Any) -> Signature:  # noqa: ANN401 - Keras has no types
    """Names, dtypes and shapes, in the order of `call_flat`: inputs by their own names, outputs by keys or layers."""
    import tensorflow as tf

    dims: dict[str, Dim] = {}
    inputs = tf.nest.flatten(model.input)
    outputs = tf.nest.flatten(model.output)
    return Signature(
        inputs=tuple(_spec(tensor.name, tensor, dims) for tensor in inputs),
        outputs=tuple(
            _spec(name, tensor, dims)
            for name, tensor in zip(_output_names(model, len(outputs)), outputs, strict=True)
        ),
        dims=tuple(dims.values()),
    )


def _output_names(model: Any, count: int) -> list[str]:  # noqa: ANN401 - Keras has no types
    if isinstance(model.output, Mapping):
        return sorted(model.output)
    names = list(getattr(model, "output_names", ()))
    if len(set(names)) == count:
        return names
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _spec(name: str, tensor: Any, dims: dict[str, Dim]) -> TensorSpec:  # noqa: ANN401 - Keras has no types
    shape: list[Size] = []
    for axis, size in enumerate(tensor.shape):
        if size is None:
            dim = Dim(name=f"{name}_{axis}", example=1)
            dims[dim.name] = dim
            shape.append(DimExpr.symbol(dim.name))
        else:
            shape.append(int(size))
    return TensorSpec(name=name, dtype=DType(str(tensor.dtype)), shape=tuple(shape))


class KerasSession:
    """A loaded Keras model.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - Keras has no types
        self._model = model
        self._signature = describe_model(model)

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit, or Keras refuses the inputs.
        """
        import tensorflow as tf

        check_inputs(self._signature, inputs)
        tensors = [tf.constant(inputs[spec.name]) for spec in self._signature.inputs]
        latencies, results = [], []
        try:
            for _ in range(repeat):
                started = time.perf_counter()
                results = call_flat(self._model, tensors)
                latencies.append(time.perf_counter() - started)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise InvalidInputError(
                "the Keras model does not run on these inputs",
                why=str(error).strip().partition("\n")[0],
            ) from error
        outputs = {
            spec.name: result.numpy()
            for spec, result in zip(self._signature.outputs, results, strict=True)
        }
        return RunResult(outputs=outputs, latencies_seconds=tuple(latencies))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._model = None


class KerasHandler:
    """Reads and runs Keras files."""

    def read_signature(self, path: Path) -> Signature:
        """Names, dtypes and shapes.

        Raises:
            InvalidInputError: The file is damaged.
            UnsafeInputError: Reading it would run code.
        """
        return describe_model(load_model(path))

    def read_metadata(self, path: Path) -> dict[str, str]:  # noqa: ARG002 - every handler has it
        """Nothing: a Keras file has no place for it."""
        return {}

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:  # noqa: ARG002 - every handler has it
        """Refuse: edgeconv writes no Keras files.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"'{path}' cannot be labelled", why="a Keras file has no place for it")

    def open(self, path: Path, *, threads: int = 1) -> Session:  # noqa: ARG002 - TensorFlow's threads belong to the process
        """Load in Keras, in this process.

        Raises:
            InvalidInputError: The file is damaged.
            UnsafeInputError: Reading it would run code.
        """
        return KerasSession(load_model(path))


HANDLER = KerasHandler()
