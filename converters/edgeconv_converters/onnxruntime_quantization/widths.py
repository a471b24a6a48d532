"""Where some operators compute in 16-bit activations and others in 8-bit ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import ModelProto
from onnxruntime.quantization import QuantType

from edgeconv.plugin.quantizer import Operator, Precision

__all__ = ["find_types"]

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def find_types(
    model: ModelProto, operators: Sequence[Operator], precisions: Mapping[str, Precision]
) -> dict[str, list[dict[str, object]]]:
    """The integer type of each value, where it is another than 8 bits: as the library's `TensorQuantOverrides`.

    An activation has the type that the operator before it computes in, and is converted for an operator behind it
    that computes in fewer bits; one in more bits reads it as it is.

    Args:
        model: The float model.
        operators: All of it.
        precisions: Of the static ones, by name.
    """
    wide = {name for name, precision in precisions.items() if precision.activations == "int16"}
    if not wide:
        return {}
    constants = {tensor.name for tensor in model.graph.initializer}
    result: dict[str, list[dict[str, object]]] = {
        name: [{"quant_type": QuantType.QInt16}]
        for operator in operators
        if operator.name in wide and operator.code not in _WEIGHTED
        for name in operator.inputs
        if name in constants
    }
    narrow = precisions.keys() - wide
    for name in _wide_activations(operators, wide, narrow):
        if name in constants:
            continue
        entry: dict[str, object] = {"quant_type": QuantType.QInt16}
        readers = {op.name for op in operators if name in op.inputs and op.name in narrow}
        if readers:
            entry["convert"] = {"quant_type": QuantType.QUInt8, "recv_nodes": readers}
        result[name] = [entry]
    return result


def _wide_activations(
    operators: Sequence[Operator], wide: set[str], narrow: set[str]
) -> Iterator[str]:
    made_narrow: set[str] = set()
    for operator in operators:
        if operator.name in narrow:
            made_narrow.update(operator.outputs)
        if operator.name in wide:
            yield from operator.outputs
            yield from (name for name in operator.inputs if name and name not in made_narrow)
