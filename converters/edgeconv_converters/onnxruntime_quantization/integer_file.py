"""Quantized ONNX files: written the same way each time, and run with all activations seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from edgeconv.errors import ConversionError
from edgeconv.formats.affine import Affine
from edgeconv.formats.onnx import put_record
from edgeconv.signature import DType, Signature, TensorSpec
from edgeconv_converters.onnxruntime_quantization.boundary import FLOAT_SUFFIX, read_affines
from edgeconv_converters.onnxruntime_quantization.nodes import bodies_of, nodes_within
from edgeconv_converters.onnxruntime_quantization.opening import FloatFile
from edgeconv_converters.onnxruntime_quantization.ordering import sort_nodes
from edgeconv_converters.onnxruntime_quantization.session import Observer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["IntegerFile", "write_integer_file"]

_BEFORE_OUTPUT = "_QuantizeLinear_Input"
_PAIR = frozenset({"DequantizeLinear", "QuantizeLinear"})
_TOOLS_OWN = ("onnx.infer", "onnx.quant.pre_process")


def write_integer_file(
    file: FloatFile, model: ModelProto, path: Path, added: Mapping[str, str]
) -> None:
    """Write a quantized model under the names and with the metadata of the float file.

    Args:
        file: The float file.
        model: Quantized; it is used up.
        path: Where to; what is there is overwritten.
        added: More metadata.

    Raises:
        ConversionError: onnx.checker refuses the model.
        OSError: The file cannot be written.
    """
    sort_nodes(model.graph)
    _drop_unread(model)
    model.producer_name = file.model.producer_name
    model.producer_version = file.model.producer_version
    del model.graph.value_info[:]
    metadata = {**file.metadata, **added}
    kept = [entry for entry in model.metadata_props if entry.key not in _TOOLS_OWN]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    put_record(model, _find_signature(file.signature, model), metadata)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ConversionError(
            "onnx.checker refuses the quantized model", why=str(error).partition("\n")[0]
        ) from error
    path.write_bytes(model.SerializeToString(deterministic=True))


def _drop_unread(model: ModelProto) -> None:
    """Drop the float weights that integers took the place of."""
    read = {name for node in nodes_within(model.graph) for name in node.input}
    read |= {value.name for value in model.graph.output}
    read |= {
        value.name
        for node in nodes_within(model.graph)
        for body in bodies_of(node)
        for value in body.output
    }
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _find_signature(signature: Signature, model: ModelProto) -> Signature:
    """As before, with the dtypes that inputs and outputs have now."""
    dtypes = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
        for value in (*model.graph.input, *model.graph.output)
    }

    def now(spec: TensorSpec) -> TensorSpec:
        return replace(spec, dtype=DType(dtypes[spec.name]))

    return replace(
        signature,
        inputs=tuple(now(spec) for spec in signature.inputs),
        outputs=tuple(now(spec) for spec in signature.outputs),
    )


class IntegerFile:
    """A file that `write_integer_file` wrote, opened so that its activations are seen.

    Of integer activations the integers are looked at: float32 values between the operators would keep ONNX Runtime
    from computing in integers.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        self._affines = read_affines(model)
        self._readings = dict(_find_readings(model)) | {
            name: (name, affine) for name, affine in self._affines.items()
        }
        self._inputs = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in model.graph.input
        }
        floats = _find_floats(model)
        self._observer = Observer(model, [*floats, *(r[0] for r in self._readings.values())])

    def run(self, inputs: Mapping[str, Array], wanted: Iterable[str]) -> Mapping[str, Array]:
        """Run once.

        Args:
            inputs: As of the float model.
            wanted: Names of the float activations of the float model.

        Returns:
            By those names, the float32 value that each has for those who read it; what is gone is left out.

        Raises:
            InvalidInputError: ONNX Runtime fails.
        """
        feeds = {
            name: self._affines[name].quantize(array, self._inputs[name])
            if name in self._affines
            else array
            for name, array in inputs.items()
        }
        seen = self._observer.run(feeds)
        results: dict[str, Array] = {}
        for name in wanted:
            stored, affine = self._readings.get(name, (name, None))
            if stored in seen:
                results[name] = seen[stored] if affine is None else affine.real(seen[stored])
        return {name: array.astype(np.float32, copy=False) for name, array in results.items()}


def _find_readings(model: ModelProto) -> Iterator[tuple[str, tuple[str, Affine]]]:
    """Float activations by name: the integers that are made of each, and what these stand for."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    again = {n for d in model.graph.node if d.op_type == "DequantizeLinear" for n in d.output}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in again:
            continue
        scale, zero = (numpy_helper.to_array(tensors[name]) for name in node.input[1:3])
        affine = Affine(scale=float(scale), zero_point=int(zero))
        name = node.input[0].removesuffix(_BEFORE_OUTPUT).removesuffix(FLOAT_SUFFIX)
        yield name, (node.output[0], affine)


def _find_floats(model: ModelProto) -> list[str]:
    """What is computed, but for what is an integer just before or behind."""
    nodes = model.graph.node
    made = {name for node in nodes if node.op_type not in _PAIR for name in node.output if name}
    rounded = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    return sorted(made - rounded)
