"""Raises a model's operator set, where what it is to have needs a newer one."""

from __future__ import annotations

from onnx import ModelProto, version_converter

from edgeconv.errors import ConversionError

__all__ = ["PER_CHANNEL_OPSET", "SMALL_INTEGERS_OPSET", "find_opset", "raise_opset"]

PER_CHANNEL_OPSET = 13
"""The first whose DequantizeLinear takes a scale for each channel."""

SMALL_INTEGERS_OPSET = 21
"""The first whose QuantizeLinear and DequantizeLinear take 16-bit and 4-bit integers, and a scale for each block."""

_IR_VERSIONS = {PER_CHANNEL_OPSET: 7, SMALL_INTEGERS_OPSET: 10}
# What opset 21 says otherwise than 20: GroupNormalization. All else takes more types than before.
_CHANGED_IN_21 = "GroupNormalization"


def find_opset(model: ModelProto) -> int:
    """The version of ONNX's own operator set."""
    return max((e.version for e in model.opset_import if e.domain in {"", "ai.onnx"}), default=1)


def raise_opset(model: ModelProto, version: int) -> ModelProto:
    """The model with an operator set of at least this version, and an IR version that can have it.

    The IR version is the first that has what the file needs, so that older ONNX Runtimes read it as well: opset 13 is
    read from ONNX Runtime 1.7 on, opset 21 from 1.18.

    Raises:
        ConversionError: onnx.version_converter cannot rewrite the model.
    """
    model.ir_version = max(model.ir_version, _IR_VERSIONS[version])
    before = find_opset(model)
    if before >= version:
        return model
    if before == 20 and all(node.op_type != _CHANGED_IN_21 for node in model.graph.node):
        for entry in model.opset_import:
            if entry.domain in {"", "ai.onnx"}:
                entry.version = version
        return model
    try:
        raised: ModelProto = version_converter.convert_version(model, version)
    except Exception as error:
        raise ConversionError(
            f"the model cannot be brought from opset {before} to {version}, which its integers need",
            why=str(error).partition("\n")[0],
            hint="export it with a newer opset",
        ) from error
    raised.ir_version = model.ir_version
    return raised
