"""Half precision, by the converter of onnxruntime.transformers; inputs and outputs stay float32.

ONNX Runtime's processor provider has hardly any kernels for it: it casts to float32 around each operator that has none
when it opens the file. What half precision is for are smaller files, and providers for GPUs.
"""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from edgeconv.errors import ConversionError

__all__ = ["FLOAT_ONLY", "to_half_precision"]

FLOAT_ONLY = frozenset(DEFAULT_OP_BLOCK_LIST)
"""Operators that the converter leaves in float32."""


def to_half_precision(model: ModelProto, names: Collection[str]) -> ModelProto:
    """Convert the operators with these names, and leave the others in float32, with casts where they meet.

    Args:
        model: With the types of all values; it is used up.
        names: Of operators.

    Raises:
        ConversionError: The converter fails.
    """
    if not names:
        return model
    blocked = [node.name for node in model.graph.node if node.name not in names]
    try:
        result: ModelProto = convert_float_to_float16(
            model, keep_io_types=True, disable_shape_infer=True, node_block_list=blocked
        )
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise ConversionError(
            "onnxruntime.transformers.float16 cannot convert the model",
            why=str(error).partition("\n")[0] or type(error).__name__,
        ) from error
    return result
