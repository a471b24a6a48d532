"""An opened float TFLite model: what the parts that all formats share prepare, calibrate and search on."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.errors import InternalError
from edgeconv.formats.inputs import check_inputs
from edgeconv.plugin.quantizer import (
    FLOAT32,
    Operator,
    Precision,
    QuantizationPlan,
    QuantizedFile,
)
from edgeconv.signature import Signature
from edgeconv_converters.ai_edge_quantizer.operators import describe_operators, tensor_name
from edgeconv_converters.ai_edge_quantizer.policy import installed_policy
from edgeconv_converters.ai_edge_quantizer.quantizing import quantize_file
from edgeconv_converters.ai_edge_quantizer.reading import FloatFile
from edgeconv_converters.ai_edge_quantizer.refusals import refusal_of
from edgeconv_converters.ai_edge_quantizer.running import Runner
from edgeconv_converters.ai_edge_quantizer.tables import (
    Array,
    add_buffer,
    constant_of,
    write_tables,
)
from edgeconv_converters.ai_edge_quantizer.watching import QuantizedWatcher

__all__ = ["LiteRtModel"]

_FLOAT = schema.TensorType.FLOAT32


class LiteRtModel:
    """A `FloatModel` in LiteRT's format.

    Args:
        file: The file; its tables belong to the model from then on.
    """

    def __init__(self, file: FloatFile) -> None:
        self._file = file
        self._tables = file.tables
        self._graph = file.tables.subgraphs[0]
        self._operators = describe_operators(file.tables)
        self._indices = {
            tensor_name(self._graph, index): index for index in range(len(self._graph.tensors))
        }
        self._activations = self._find_activations()
        self._policy = installed_policy()
        self._runner: Runner | None = None
        self._watcher: QuantizedWatcher | None = None
        self._is_changed = False
        self._folder: Path | None = None

    @property
    def signature(self) -> Signature:
        """Names, dtypes, shapes and dynamic dims."""
        return self._file.declared.signature

    @property
    def operators(self) -> Sequence[Operator]:
        """Every operator of the main graph; bodies of loops and branches are none of them."""
        return self._operators

    def constant(self, tensor: str) -> Array | None:
        """The value of a constant, not to be written to; None for a tensor that is none."""
        index = self._indices.get(tensor)
        return None if index is None else constant_of(self._tables, self._graph.tensors[index])

    def set_constant(self, tensor: str, value: Array) -> None:
        """Give a constant another value; a tensor that shares its bytes in the file, as equal ones do, keeps its own.

        Raises:
            InternalError: It is no constant, or of another shape or dtype.
        """
        before = self.constant(tensor)
        if before is None or before.shape != value.shape or before.dtype != value.dtype:
            raise InternalError(
                f"'{tensor}' cannot be set",
                why=f"it is {_describe(before)}, the value is {_describe(value)}",
            )
        changed = self._graph.tensors[self._indices[tensor]]
        if self._is_shared(changed.buffer):
            changed.buffer = add_buffer(self._tables, np.array(value, copy=True))
        else:
            self._tables.buffers[changed.buffer].data = np.array(value, order="C", copy=True)
        self._runner = None
        self._is_changed = True

    def observe(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; every float32 activation by tensor name.

        Raises:
            InvalidInputError: The inputs do not fit, or the runtime fails.
        """
        check_inputs(self.signature, inputs)
        if self._runner is None:
            declared = self._file.declared
            self._runner = Runner(self._current(), declared.inputs, list(self._activations))
        values = self._runner.run(inputs)
        named = {self._activations[index]: value for index, value in values.items()}
        return self._with_all_outputs(named)

    def refusal(self, operator: Operator, precision: Precision) -> str:
        """Why the installed LiteRT computes an operator in a precision not; empty if it does."""
        if precision != FLOAT32 and not self._has_floats(operator):
            return "it has no float32 values"
        return refusal_of(self._policy, operator, precision, self.constant)

    def _has_floats(self, operator: Operator) -> bool:
        """Whether it reads or makes any; the tables say nothing of others, which the library leaves alone."""
        indices = (self._indices.get(name) for name in (*operator.inputs, *operator.outputs))
        return any(i is not None and self._graph.tensors[i].type == _FLOAT for i in indices)

    def save(self, path: Path) -> None:
        """Write the float model as it is now.

        Raises:
            OSError: It cannot be written.
        """
        write_tables(self._tables, path, self._file.path)

    def quantize(self, plan: QuantizationPlan, path: Path) -> QuantizedFile:
        """Write the quantized model; the same plan gives the same bytes.

        Raises:
            ConversionError: A range is missing, or ai-edge-quantizer fails.
            OSError: It cannot be written.
        """
        return quantize_file(self._file, self._operators, plan, path, refuse=self.refusal)

    def observe_quantized(self, path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a file that `quantize` wrote; the float32 value of each activation by its name in the float model.

        Raises:
            InvalidInputError: The inputs do not fit, or the runtime fails.
        """
        check_inputs(self.signature, inputs)
        if self._watcher is None or not self._watcher.is_of(path):
            self._watcher = QuantizedWatcher(path, frozenset(self._activations.values()))
        return self._with_all_outputs(self._watcher.run(inputs))

    def _with_all_outputs(self, values: dict[str, Array]) -> Mapping[str, Array]:
        """The same, with an output that is another's tensor, or an input's, under its own name too."""
        for name, index in self._file.declared.outputs:
            if self._activations.get(index) in values:
                values.setdefault(name, values[self._activations[index]])
        return values

    def _is_shared(self, buffer: int) -> bool:
        """Whether several tensors of the file have their values in a buffer."""
        found = (t for graph in self._tables.subgraphs for t in graph.tensors if t.buffer == buffer)
        return len(list(islice(found, 2))) > 1

    def _find_activations(self) -> dict[int, str]:
        """Name by index of every float32 tensor that is computed or given."""
        made = [int(i) for operator in self._graph.operators for i in operator.outputs if i >= 0]
        found = dict.fromkeys([*map(int, self._graph.inputs), *made])
        return {
            i: tensor_name(self._graph, i) for i in found if self._graph.tensors[i].type == _FLOAT
        }

    def _current(self) -> Path:
        """The file as it is now; the one that was opened as long as nothing changed."""
        if not self._is_changed:
            return self._file.path
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="edgeconv-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / "changed.tflite"
        write_tables(self._tables, path, self._file.path)
        return path


def _describe(value: Array | None) -> str:
    return "no constant" if value is None else f"{value.dtype}{list(value.shape)}"
