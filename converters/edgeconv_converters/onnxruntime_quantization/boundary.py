"""Inputs and outputs of a quantized model as 8-bit integers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgeconv.errors import ConversionError
from edgeconv.formats.affine import IO_ENTRY, Affine, parse_affines
from edgeconv.plugin.quantizer import Range
from edgeconv.signature import DType

if TYPE_CHECKING:
    Array: TypeAlias = NDArray[np.generic]

__all__ = ["FLOAT_SUFFIX", "make_integer_boundary", "read_affines"]

FLOAT_SUFFIX = "/float"
"""What an input or output that is an integer now is called where it is float32."""

_TYPES = {DType.INT8: (TensorProto.INT8, -128), DType.UINT8: (TensorProto.UINT8, 0)}


def read_affines(model: ModelProto) -> dict[str, Affine]:
    """Those of the inputs and outputs, by name; none where they are float32."""
    stored = {entry.key: entry.value for entry in model.metadata_props}
    return parse_affines(stored.get(IO_ENTRY, ""))


def make_integer_boundary(
    model: ModelProto, dtype: DType, ranges: Mapping[str, Range]
) -> dict[str, str]:
    """Make integers of the float32 inputs and outputs; they keep their names.

    Returns:
        The metadata that tells their scales.

    Raises:
        ConversionError: An input or output has no range.
    """
    if dtype not in _TYPES:
        return {}
    work = _Boundary(model, dtype, ranges)
    for value in list(model.graph.input):
        work.change_input(value)
    for value in list(model.graph.output):
        work.change_output(value)
    scales = {
        name: {"scale": affine.scale, "zero_point": affine.zero_point}
        for name, affine in sorted(work.affines.items())
    }
    return {IO_ENTRY: json.dumps(scales, sort_keys=True)}


class _Boundary:
    def __init__(self, model: ModelProto, dtype: DType, ranges: Mapping[str, Range]) -> None:
        self._graph = model.graph
        self._type, self._lowest = _TYPES[dtype]
        self._ranges = ranges
        self.affines: dict[str, Affine] = {}

    def change_input(self, value: ValueInfoProto) -> None:
        """Dequantize an input first of all; where it was quantized again with the same scale, not at all."""
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            return
        name, real = value.name, value.name + FLOAT_SUFFIX
        quantizing = [n for n in self._readers(name) if n.op_type == "QuantizeLinear"]
        affine = self._affine(name, quantizing[0].input if quantizing else ())
        parameters = self._add_parameters(name, affine)
        for node in self._readers(name):
            for index, read in enumerate(node.input):
                if read == name:
                    node.input[index] = real
        back = helper.make_node(
            "DequantizeLinear", [name, *parameters], [real], name=f"{name}/dequantize"
        )
        self._graph.node.insert(0, back)
        value.type.tensor_type.elem_type = self._type
        for node in quantizing:
            if self._is_same(node.input, affine):
                self._replace(node.output[0], name)
                self._graph.node.remove(node)
        if not self._readers(real):
            self._graph.node.remove(back)

    def change_output(self, value: ValueInfoProto) -> None:
        """Quantize an output last of all; what was dequantized with the same scale comes as it was."""
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            return
        name, real = value.name, value.name + FLOAT_SUFFIX
        maker = next((node for node in self._graph.node if name in node.output), None)
        if maker is None:
            raise ConversionError(f"the output '{name}' is an input, which is not computed")
        affine = self._affine(name, maker.input if maker.op_type == "DequantizeLinear" else ())
        value.type.tensor_type.elem_type = self._type
        for node in self._readers(name):
            for index, read in enumerate(node.input):
                if read == name:
                    node.input[index] = real
        if maker.op_type == "DequantizeLinear" and self._is_same(maker.input, affine):
            inner = maker.input[0]
            maker.output[0] = real
            self._rename(inner, name)
            if not self._readers(real):
                self._graph.node.remove(maker)
            return
        maker.output[list(maker.output).index(name)] = real
        parameters = self._add_parameters(name, affine)
        self._graph.node.append(
            helper.make_node("QuantizeLinear", [real, *parameters], [name], name=f"{name}/quantize")
        )

    def _readers(self, name: str) -> list[NodeProto]:
        return [node for node in self._graph.node if name in node.input]

    def _affine(self, name: str, pair: Sequence[str]) -> Affine:
        """That of the 8-bit pair whose inputs are given; where there is none, what the range says."""
        scale, zero = (self._array(pair[i]) if len(pair) > i else None for i in (1, 2))
        if scale is not None and zero is not None and zero.dtype.itemsize == 1:
            lowest = 0 if zero.dtype.kind == "u" else -128
            affine = Affine(scale=float(scale), zero_point=int(zero) - lowest + self._lowest)
        elif name in self._ranges:
            affine = self._from_range(self._ranges[name])
        else:
            raise ConversionError(f"'{name}' has no range, which an integer input or output needs")
        self.affines[name] = affine
        return affine

    def _from_range(self, given: Range) -> Affine:
        low, high = min(given.low, 0.0), max(given.high, 0.0)
        scale = float(np.float32((high - low) / 255)) or 1.0
        return Affine(scale=scale, zero_point=self._lowest + min(255, round(-low / scale)))

    def _is_same(self, pair: Sequence[str], affine: Affine) -> bool:
        scale, zero = self._array(pair[1]), self._array(pair[2])
        return (
            scale is not None
            and zero is not None
            and zero.dtype == helper.tensor_dtype_to_np_dtype(self._type)
            and (float(scale), int(zero)) == (affine.scale, affine.zero_point)
        )

    def _array(self, name: str) -> NDArray[np.generic] | None:
        """A constant scalar."""
        tensor = next((t for t in self._graph.initializer if t.name == name), None)
        array = None if tensor is None else numpy_helper.to_array(tensor)
        return array if array is not None and array.ndim == 0 else None

    def _add_parameters(self, name: str, affine: Affine) -> tuple[str, str]:
        scale, zero = f"{name}/io_scale", f"{name}/io_zero_point"
        dtype = helper.tensor_dtype_to_np_dtype(self._type)
        self._graph.initializer.append(
            numpy_helper.from_array(np.array(affine.scale, np.float32), scale)
        )
        self._graph.initializer.append(
            numpy_helper.from_array(np.array(affine.zero_point, dtype), zero)
        )
        return scale, zero

    def _replace(self, before: str, after: str) -> None:
        """Let everyone read another value."""
        for node in self._graph.node:
            for index, name in enumerate(node.input):
                if name == before:
                    node.input[index] = after

    def _rename(self, before: str, after: str) -> None:
        self._replace(before, after)
        for node in self._graph.node:
            for index, name in enumerate(node.output):
                if name == before:
                    node.output[index] = after
