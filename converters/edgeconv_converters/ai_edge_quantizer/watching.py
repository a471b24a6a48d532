"""Runs a quantized file and gives its activations back as float32, under their names in the float model.

ai-edge-quantizer keeps the name of a tensor whatever its dtype becomes, and gives what casts make a name of its own; so a
name of the float model is the same activation in the quantized one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeconv.formats.tflite_model import read_model
from edgeconv.formats.tflite_stamp import unpack_model
from edgeconv_converters.ai_edge_quantizer.running import Runner
from edgeconv_converters.ai_edge_quantizer.tables import Array, copy_tables

__all__ = ["QuantizedWatcher"]

Scale: TypeAlias = tuple[float, int]
_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


class QuantizedWatcher:
    """A quantized file, opened.

    Args:
        path: The file.
        names: Activations that are wanted.

    Raises:
        InvalidInputError: The file is damaged, or the runtime refuses it.
    """

    def __init__(self, path: Path, names: frozenset[str]) -> None:
        self._identity = _identity(path)
        declared = read_model(path)
        graph = copy_tables(unpack_model(path)).subgraphs[0]
        made = {i for operator in graph.operators for i in operator.outputs}
        self._names = {
            index: tensor.name.decode()
            for index, tensor in enumerate(graph.tensors)
            if tensor.name.decode() in names and (index in made or index in graph.inputs)
        }
        self._scales = {
            index: (float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
            for index, tensor in enumerate(graph.tensors)
            if tensor.quantization is not None
            and tensor.quantization.scale is not None
            and len(tensor.quantization.scale) == 1
        }
        self._inputs = declared.inputs
        self._dtypes = {spec.name: spec.dtype.value for spec in declared.signature.inputs}
        self._runner = Runner(path, declared.inputs, list(self._names))

    def is_of(self, path: Path) -> bool:
        """Whether it is this file that was opened, unchanged."""
        return self._identity == _identity(path)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Every activation in float32.

        Args:
            inputs: As the float model takes them.
        """
        given = {name: self._quantize(name, index, inputs[name]) for name, index in self._inputs}
        values = self._runner.run(given)
        return {self._names[index]: self._widen(index, value) for index, value in values.items()}

    def _quantize(self, name: str, index: int, value: Array) -> Array:
        dtype = self._dtypes[name]
        if value.dtype == dtype:
            return value
        scale, zero = self._scales[index]
        return quantize(value.astype(np.float32), scale, zero, dtype)

    def _widen(self, index: int, value: Array) -> Array:
        if value.dtype.kind == "f" or index not in self._scales:
            return value
        scale, zero = self._scales[index]
        return (value.astype(np.float32) - zero) * np.float32(scale)


def quantize(value: NDArray[np.float32], scale: float, zero: int, dtype: str) -> Array:
    """Integers of float values."""
    low, high = _RANGES[dtype]
    whole: Array = np.clip(np.rint(value / np.float32(scale)) + zero, low, high).astype(dtype)
    return whole


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size
