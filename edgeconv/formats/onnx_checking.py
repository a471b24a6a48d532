"""Has onnx.checker judge a model whose weights are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeconv.errors import ConversionError
from edgeconv.formats.onnx_file import Weight

__all__ = ["check_model"]


def check_model(model: Any, weights: Sequence[Weight | None]) -> None:  # noqa: ANN401 - a protocol buffer
    """Check all but the bytes of the weights: the checker would hold a file of 400 MB six times over.

    For it, an initializer without its bytes is an input of the same name, dtype and shape.

    Raises:
        ConversionError: The checker refuses the model.
    """
    import onnx

    light = onnx.ModelProto()
    light.CopyFrom(model)
    del light.graph.initializer[:]
    declared = {value.name for value in light.graph.input}
    for tensor, weight in zip(model.graph.initializer, weights, strict=True):
        if weight is None:
            light.graph.initializer.append(tensor)
        elif tensor.name not in declared:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(value)
    try:
        onnx.checker.check_model(light)
    except onnx.checker.ValidationError as error:
        raise ConversionError(
            "onnx.checker refuses the exported model", why=str(error).partition("\n")[0]
        ) from error
