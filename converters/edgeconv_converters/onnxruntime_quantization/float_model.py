"""A float ONNX model that is opened to be quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from onnx import ModelProto, TensorProto, numpy_helper

from edgeconv.errors import InvalidInputError
from edgeconv.formats.inputs import check_inputs
from edgeconv.formats.onnx import put_record
from edgeconv.plugin.quantizer import Operator, Precision, QuantizationPlan, QuantizedFile
from edgeconv.signature import Signature
from edgeconv_converters.onnxruntime_quantization.integer_file import IntegerFile
from edgeconv_converters.onnxruntime_quantization.opening import FloatFile
from edgeconv_converters.onnxruntime_quantization.operators import describe_operators
from edgeconv_converters.onnxruntime_quantization.policy import Policy
from edgeconv_converters.onnxruntime_quantization.quantizing import Task, quantize_model
from edgeconv_converters.onnxruntime_quantization.session import Observer, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["OnnxFloatModel"]


class OnnxFloatModel:
    """A `FloatModel` of an ONNX file.

    Args:
        file: As it was read; from then on its model belongs to this object.
    """

    def __init__(self, file: FloatFile) -> None:
        self._file = file
        self._model = file.model
        self._tensors: dict[str, TensorProto] = {t.name: t for t in self._model.graph.initializer}
        self._arrays: dict[str, Array] = {}
        self._observer: Observer | None = Observer(self._model)
        self._values: Mapping[str, Value] = self._observer.values
        self._floats = {name for name, value in self._values.items() if value.is_float}
        self._opened: tuple[object, IntegerFile] | None = None

    @property
    def signature(self) -> Signature:
        """Names, dtypes, shapes and dynamic dims of the float model."""
        return self._file.signature

    @cached_property
    def operators(self) -> Sequence[Operator]:
        """Every node of the main graph, in an order in which they can run."""
        return describe_operators(self._model, self._values, self._file.sources)

    @cached_property
    def _policy(self) -> Policy:
        return Policy(self._model, self._values)

    def constant(self, tensor: str) -> Array | None:
        """The value of an initializer; None for a tensor that is none. Not to be written to."""
        if tensor not in self._tensors:
            return None
        if tensor not in self._arrays:
            array = numpy_helper.to_array(self._tensors[tensor])
            array.flags.writeable = False
            self._arrays[tensor] = array
        return self._arrays[tensor]

    def set_constant(self, tensor: str, value: Array) -> None:
        """Give an initializer another value of the same shape and dtype.

        Raises:
            InvalidInputError: There is no such initializer, or it has another shape or dtype.
        """
        before = self.constant(tensor)
        if before is None or before.shape != value.shape or before.dtype != value.dtype:
            is_what = "is no constant" if before is None else f"is {before.dtype}{before.shape}"
            raise InvalidInputError(
                f"'{tensor}' cannot be set to {value.dtype}{value.shape}", why=f"it {is_what}"
            )
        self._tensors[tensor].CopyFrom(numpy_helper.from_array(value.copy(), tensor))
        self._arrays.pop(tensor)
        self._observer = None

    def observe(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; every float activation by tensor name, inputs and outputs of the graph among them.

        Raises:
            InvalidInputError: The inputs do not fit, or ONNX Runtime fails.
        """
        check_inputs(self.signature, inputs)
        if self._observer is None:
            self._observer = Observer(self._model)
        seen = self._observer.run(inputs, self._floats)
        return {name: array for name, array in seen.items() if name in self._floats}

    def refusal(self, operator: Operator, precision: Precision) -> str:
        """Why no kernel of ONNX Runtime's processor provider computes an operator in a precision; empty if one does."""
        return self._policy.refusal(operator, precision)

    def save(self, path: Path) -> None:
        """Write the float model as it is now, with names and metadata as in the file that was opened."""
        model = ModelProto()
        model.CopyFrom(self._model)
        put_record(model, self.signature, self._file.metadata)
        path.write_bytes(model.SerializeToString(deterministic=True))

    def quantize(self, plan: QuantizationPlan, path: Path) -> QuantizedFile:
        """Write the quantized model.

        Raises:
            ConversionError: ONNX Runtime's tools cannot do it.
        """
        task = Task(
            file=self._file,
            operators=self.operators,
            values=self._values,
            policy=self._policy,
            plan=plan,
        )
        return quantize_model(task, path)

    def observe_quantized(self, path: Path, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run a file that `quantize` wrote; the float32 value of each activation, under its name in the float model.

        Raises:
            InvalidInputError: The inputs do not fit, or ONNX Runtime fails.
        """
        check_inputs(self.signature, inputs)
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        if self._opened is None or self._opened[0] != key:
            self._opened = (key, IntegerFile(path))
        return self._opened[1].run(inputs, self._floats)
