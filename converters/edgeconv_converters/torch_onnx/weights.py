"""Takes the weights out of an exported model, so that they are written from where PyTorch holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

import onnx_ir as ir

from edgeconv.formats.onnx_file import Weight

__all__ = ["take_weights"]

_SMALLEST_WEIGHT_BYTES = 1024


class _Tensor(Protocol):
    """A tensor of onnx_ir's as far as it is used here; its own protocol lacks `tofile`, which all of them have."""

    nbytes: int

    def tofile(self, file: IO[bytes]) -> None: ...


@dataclass(frozen=True, slots=True)
class _TensorWeight:
    """The bytes of a tensor of the exporter's, which is PyTorch's own."""

    tensor: _Tensor

    @property
    def size_bytes(self) -> int:
        return self.tensor.nbytes

    def write_to(self, stream: IO[bytes]) -> None:
        self.tensor.tofile(stream)


def take_weights(model: ir.Model) -> tuple[Any, list[Weight | None]]:
    """The model as a protocol buffer without the bytes of its large initializers, and these.

    The model given loses them.
    """
    taken: dict[str, Weight] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < _SMALLEST_WEIGHT_BYTES:
            continue
        if tensor.dtype == ir.DataType.STRING:
            continue
        taken[name] = _TensorWeight(cast("_Tensor", tensor))
        value.const_value = ir.ExternalTensor(
            "taken",
            0,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(list(tensor.shape.numpy())),
            name=name,
        )
    proto = ir.serde.serialize_model(model)
    for tensor_proto in proto.graph.initializer:
        if tensor_proto.name in taken:
            tensor_proto.ClearField("data_location")
            tensor_proto.ClearField("external_data")
    return proto, [taken.get(tensor.name) for tensor in proto.graph.initializer]
