"""TFLite files: what they declare, what is stored in them, and how they run, in LiteRT's own interpreter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from edgeconv.errors import InvalidInputError, MissingDependencyError
from edgeconv.formats.affine import Affine
from edgeconv.formats.handler import RunResult
from edgeconv.formats.inputs import TRY_OTHERS, check_inputs
from edgeconv.formats.tflite_delegation import read_execution
from edgeconv.formats.tflite_file import METADATA_NAME
from edgeconv.formats.tflite_model import TfliteModel, read_model
from edgeconv.formats.tflite_stamp import stamp_model
from edgeconv.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["HANDLER", "TfliteFacts", "TfliteHandler", "TfliteSession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteFacts:
    """What is inside a TFLite file.

    Attributes:
        operators: How often each operator occurs, subgraphs included.
        oldest_runtime: The first release that runs the file, as far as the file says; empty if it does not.
        description: What the tool that wrote the file says of it.
    """

    operators: Mapping[str, int]
    oldest_runtime: str
    description: str


class TfliteSession:
    """An opened TFLite file.

    Args:
        model: What the file declares.
        interpreter: LiteRT's `Interpreter` of the same file.
    """

    def __init__(self, model: TfliteModel, interpreter: Any) -> None:  # noqa: ANN401 - untyped library
        self._model = model
        self._signature = model.signature
        self._interpreter = interpreter
        self._shapes: tuple[tuple[int, ...], ...] | None = None

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times; dynamic dims take their size from the arrays.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit the signature, or the runtime refuses it.
        """
        check_inputs(self._signature, inputs)
        arrays = [inputs[name] for name, _ in self._model.inputs]
        try:
            self._allocate(arrays)
            latencies = [self._invoke(arrays) for _ in range(repeat)]
        except (RuntimeError, ValueError) as error:
            self._shapes = None
            raise InvalidInputError(
                "the TFLite model does not run on these inputs",
                why=str(error),
                hint=TRY_OTHERS,
                details=[f"'{name}' {list(inputs[name].shape)}" for name, _ in self._model.inputs],
            ) from error
        outputs = {name: self._interpreter.get_tensor(index) for name, index in self._model.outputs}
        return RunResult(outputs=outputs, latencies_seconds=tuple(latencies))

    def describe_execution(self) -> dict[str, object]:
        """What the runtime does with the file at the sizes it ran at last; see `Execution`."""
        return read_execution(self._interpreter).to_json()

    def _allocate(self, arrays: list[Array]) -> None:
        shapes = tuple(array.shape for array in arrays)
        if shapes == self._shapes:
            return
        self._shapes = None
        for (_, index), shape in zip(self._model.inputs, shapes, strict=True):
            self._interpreter.resize_tensor_input(index, list(shape))
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def _invoke(self, arrays: list[Array]) -> float:
        """One run. Inputs are set every time: the memory of an input may be reused for what is computed from it."""
        for (_, index), array in zip(self._model.inputs, arrays, strict=True):
            self._interpreter.set_tensor(index, array)
        started = time.perf_counter()
        self._interpreter.invoke()
        return time.perf_counter() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._interpreter = None


class TfliteHandler:
    """Reads, labels and runs TFLite files."""

    def read_signature(self, path: Path) -> Signature:
        """Names, dtypes and shapes: dtypes always from the tensors, names of dims from edgeconv's metadata.

        Raises:
            InvalidInputError: The file is damaged or no TFLite file.
        """
        return read_model(path).signature

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What edgeconv stored inside the file, and other tools' metadata that is text; empty if none.

        Raises:
            InvalidInputError: The file is damaged or no TFLite file.
        """
        model = read_model(path)
        texts = {name: text for name, text in model.metadata.items() if name != METADATA_NAME}
        return texts | model.record

    def read_affines(self, path: Path) -> dict[str, Affine]:
        """What integer inputs and outputs stand for, as their tensors say.

        Raises:
            InvalidInputError: The file is damaged or no TFLite file.
        """
        return dict(read_model(path).affines)

    def read_facts(self, path: Path) -> TfliteFacts:
        """Operators and the oldest runtime.

        Raises:
            InvalidInputError: The file is damaged or no TFLite file.
        """
        model = read_model(path)
        return TfliteFacts(
            operators=dict(Counter(model.operators).most_common()),
            oldest_runtime=model.metadata.get("min_runtime_version", ""),
            description=model.description,
        )

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Give the file's inputs and outputs the names and the order of `signature` and store metadata.

        The file is rewritten aside and replaced; on failure it is as it was.

        Raises:
            InvalidInputError: The file has another number of inputs or outputs.
        """
        stamp_model(path, signature, metadata)

    def open(self, path: Path, *, threads: int = 1) -> TfliteSession:
        """Open the file in LiteRT's interpreter, with its XNNPACK delegate.

        Raises:
            InvalidInputError: The runtime refuses the file.
            MissingDependencyError: LiteRT is not installed.
        """
        model = read_model(path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingDependencyError(
                "TFLite files need LiteRT to run",
                why="ai-edge-litert is not installed",
                hint="pip install 'edgeconv[tflite]'",
            ) from error
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
        except (ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"LiteRT refuses '{path}'",
                why=str(error),
                hint="it may need operators that LiteRT does not have",
            ) from error
        return TfliteSession(model, interpreter)


HANDLER = TfliteHandler()
