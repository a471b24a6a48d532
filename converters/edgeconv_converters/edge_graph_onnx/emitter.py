"""Makes ONNX nodes: one emitter for the model's graph, and one for the body of each branch and loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from edgeconv.formats.onnx_file import Weight
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.graph.model import Constant
from edgeconv.signature import DType

__all__ = ["Constants", "Emitter", "Names", "onnx_dtype", "place_of", "value_info"]

# From here on the bytes of a constant are written from where they are.
_SMALLEST_WEIGHT_BYTES = 1024
_DTYPES = {DType.FLOAT32: "FLOAT", DType.FLOAT64: "DOUBLE"}

Key = tuple[object, ...]


def onnx_dtype(dtype: DType) -> int:
    """The number of a dtype in ONNX."""
    number: int = TensorProto.DataType.Value(_DTYPES.get(dtype, dtype.value.upper()))
    return number


class Names:
    """Names that were not given yet, in the whole model."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def take(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2`, … when it is taken."""
        count = self._counts.get(wish, 0)
        self._counts[wish] = count + 1
        return self.take(f"{wish}_{count}") if count else wish


@dataclass(frozen=True, slots=True)
class _ArrayWeight:
    """The bytes of an array, which may be a view of the module's own weight."""

    array: Constant

    @property
    def size_bytes(self) -> int:
        return int(self.array.nbytes)

    def write_to(self, stream: IO[bytes]) -> None:
        stream.write(np.ascontiguousarray(self.array).view(np.uint8).data)


class Constants:
    """The initializers of a model: each array once, also where several nodes or bodies read it.

    Attributes:
        tensors: In the order of their first use.
        weights: For each the bytes that are not in it, or None.
    """

    def __init__(self, names: Names) -> None:
        self.tensors: list[TensorProto] = []
        self.weights: list[Weight | None] = []
        self._names = names
        self._read_as_they_are: set[Key] = set()
        self._known: dict[Key, str] = {}
        self._kept: list[Constant] = []

    def add(self, array: Constant, dtype: DType, wish: str) -> str:
        """The name of the initializer that holds an array."""
        is_weight = array.nbytes >= _SMALLEST_WEIGHT_BYTES
        key = place_of(array) if is_weight else (dtype, array.shape, array.tobytes())
        if key not in self._known:
            self._kept.append(array)  # its place stays its own as long as it lives
            self._known[key] = self._make(array, dtype, wish, is_weight=is_weight)
        return self._known[key]

    def expect(self, array: Constant) -> None:
        """Say that a weight will be added as it is."""
        self._read_as_they_are.add(place_of(array))

    def is_expected(self, array: Constant) -> bool:
        """Whether a weight is in the model as it is, so that another order of its axes is better computed than stored."""
        return place_of(array) in self._read_as_they_are

    def _make(self, array: Constant, dtype: DType, wish: str, *, is_weight: bool) -> str:
        tensor = TensorProto(
            name=self._names.take(wish), data_type=onnx_dtype(dtype), dims=array.shape
        )
        if not is_weight:
            tensor.raw_data = array.tobytes()
        self.tensors.append(tensor)
        self.weights.append(_ArrayWeight(array) if is_weight else None)
        return tensor.name


def place_of(array: Constant) -> Key:
    """What is the same for two views of the same memory alone."""
    pointer = array.__array_interface__["data"][0]
    return pointer, array.dtype.str, array.shape, array.strides


@dataclass(slots=True, kw_only=True)
class Emitter:
    """Appends nodes.

    Attributes:
        names: Of the whole model.
        constants: Of the whole model.
        prefix: What the names of values begin with.
        nodes: Appended so far.
        dequantized: The values that are made of stored integers, by the place of the constant and what it stands for.
    """

    names: Names
    constants: Constants
    prefix: str = ""
    nodes: list[NodeProto] = field(default_factory=list)
    dequantized: dict[Key, str] = field(default_factory=dict)

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        """Append a node with one output; the name of an input that is missing is empty.

        Returns:
            The name of the output.
        """
        (output,) = self.ops(op_type, 1, *inputs, **attributes)
        return output

    def ops(self, op_type: str, count: int, *inputs: str, **attributes: object) -> list[str]:
        """Append a node with `count` outputs."""
        wish = f"{self.prefix}/{op_type}" if self.prefix else op_type
        outputs = [self.names.take(wish) for _ in range(count)]
        node = NodeProto(op_type=op_type, input=inputs, output=outputs)
        node.attribute.extend(
            helper.make_attribute(name, value) for name, value in sorted(attributes.items())
        )
        self.nodes.append(node)
        return outputs

    def integers(self, values: Sequence[int]) -> str:
        """A constant vector of int64, which shapes, axes and places are."""
        return self._constant(np.asarray(values, np.int64).reshape(-1), DType.INT64)

    def integer(self, value: int) -> str:
        """A constant scalar of int64."""
        return self._constant(np.asarray(value, np.int64), DType.INT64)

    def number(self, value: float, dtype: DType) -> str:
        """A constant scalar of any dtype."""
        return self._constant(np.asarray(value).astype(numpy_dtype(dtype)), dtype)

    def cast(self, value: str, dtype: DType) -> str:
        """The value in another dtype."""
        return self.op("Cast", value, to=onnx_dtype(dtype))

    def fork(self) -> Emitter:
        """An emitter for a body."""
        return Emitter(names=self.names, constants=self.constants, prefix=self.prefix)

    def _constant(self, array: Constant, dtype: DType) -> str:
        return self.constants.add(array, dtype, "constant")


def value_info(name: str, dtype: DType, shape: Sequence[object]) -> onnx.ValueInfoProto:
    """Name, dtype and shape of a value; a size that depends on dims is written as its expression."""
    sizes = [size if isinstance(size, int) else str(size) for size in shape]
    return helper.make_tensor_value_info(name, onnx_dtype(dtype), sizes)
