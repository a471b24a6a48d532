"""What TFLite's int8 kernels take, and the constants they take it with.

Facts of TFLite's quantization specification and of its kernels; `tests/converters/test_trained_integers.py` runs each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeconv.graph import Node, Tensor
from edgeconv.graph.quantization import Quantization
from edgeconv.signature import DType

__all__ = ["JOINING", "MOVING", "Constants8", "Lookup", "find_integer_inputs", "padding_value"]

Lookup = Callable[[Tensor], Tensor | None]
"""The int8 tensor that a float tensor is made of, if it is made of one."""

JOINING = ("CONCATENATION", "PACK")
# They copy values or choose among them, and ask for the same scale before and behind.
MOVING = frozenset(
    (
        *JOINING, "DEPTH_TO_SPACE", "GATHER", "MAX_POOL_2D", "MIRROR_PAD", "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN",
        "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SPACE_TO_DEPTH", "SPLIT_V", "STRIDED_SLICE", "TILE",
        "TRANSPOSE",
    )
)  # fmt: skip
# The axis of the weights that scales may be counted along.
_WEIGHTED = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
_FREE = ("ADD", "BATCH_MATMUL", "HARD_SWISH", "LEAKY_RELU", "MEAN", "MUL", "RELU", "RELU6", "SUB")
_SAME_SCALE = ("AVERAGE_POOL_2D", "RESIZE_BILINEAR")
# Scale and zero point of the results are the kernel's own.
_FIXED = {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}
_LIMITS = np.iinfo(np.int32)


class Constants8:
    """The integers of constants, each made once."""

    def __init__(self) -> None:
        self._stored: dict[Tensor, Tensor] = {}

    def find(self, tensor: Tensor) -> Tensor | None:
        """A constant as the int8 values that it was trained as; None where it was not."""
        quantization = tensor.quantization
        if tensor.constant is None or quantization is None or quantization.dtype != DType.INT8:
            return None
        if tensor not in self._stored:
            self._stored[tensor] = _constant(
                tensor.name, quantization.integers(tensor.constant), quantization
            )
        return self._stored[tensor]


def _constant(name: str, values: np.ndarray, quantization: Quantization) -> Tensor:
    return Tensor(
        name=name,
        dtype=quantization.dtype,
        shape=tuple(values.shape),
        constant=values,
        quantization=quantization,
    )


def find_integer_inputs(
    node: Node, output: Quantization, lookup: Lookup, constants: Constants8
) -> list[Tensor | None] | None:
    """The inputs of a node's int8 kernel.

    Args:
        node: An operator on float32.
        output: Of its result.
        lookup: Finds the integers behind a float tensor.
        constants: Finds those behind a constant.

    Returns:
        None where there is no such kernel, or the trained numbers are not what it takes.
    """
    if node.op in _WEIGHTED:
        return _weighted_inputs(node, lookup, constants)
    fits = node.op in _FREE or node.op in _SAME_SCALE
    if not fits and _FIXED.get(node.op) != (output.scales[0], output.zero_points[0]):
        return None
    inputs: list[Tensor | None] = []
    for tensor in node.inputs:
        found = None if tensor is None else lookup(tensor) or constants.find(tensor)
        if found is None or found.quantization is None or found.quantization.axis is not None:
            return None
        if node.op in _SAME_SCALE and found.quantization != output:
            return None
        inputs.append(found)
    return inputs


def _weighted_inputs(
    node: Node, lookup: Lookup, constants: Constants8
) -> list[Tensor | None] | None:
    x, weight = lookup(node.input(0)), constants.find(node.input(1))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if x is None or weight is None or x.quantization is None or weight.quantization is None:
        return None
    if not weight.quantization.is_symmetric or weight.quantization.axis not in (
        None,
        _WEIGHTED[node.op],
    ):
        return None
    # Optimized kernels add two products in 16 bits, which -128 times -128 twice is too large for.
    if weight.constant is None or weight.constant.min() < -np.iinfo(np.int8).max:
        return None
    stored = _bias(node, bias, x.quantization, weight.quantization)
    return None if stored is None else [x, weight, stored]


def _bias(node: Node, bias: Tensor | None, x: Quantization, weight: Quantization) -> Tensor | None:
    """The bias in steps of the products that it is added to; None where that is no constant of 32 bits."""
    channels = int(str(node.output.shape[-1]))
    constant = np.zeros(channels, np.float32) if bias is None else bias.constant
    if constant is None:
        return None
    values = constant.astype(np.float32)
    step = np.float32(x.scales[0]) * np.asarray(weight.scales, np.float32)
    quantization = Quantization(
        dtype=DType.INT32,
        scales=tuple(step.tolist()),
        zero_points=(0,) * step.size,
        axis=None if weight.axis is None else 0,
    )
    if (np.abs(values / step) >= _LIMITS.max).any():
        return None
    name = f"{node.output.name}/bias" if bias is None else bias.name
    return _constant(name, quantization.integers(values), quantization)


def padding_value(node: Node, x: Tensor, *, is_pooled: bool) -> Tensor | None:
    """What PADV2 pads int8 values with; None where no integer stands for it.

    Args:
        node: The operator on float32.
        x: What is padded.
        is_pooled: Whether nothing but maxima are taken of the result, to which a value below all others is nothing.
    """
    value, quantization = node.input(1).constant, x.quantization
    if value is None or quantization is None:
        return None
    stored = quantization.integers(value)
    back = (float(stored.item()) - quantization.zero_points[0]) * quantization.scales[0]
    is_below = is_pooled and value.item() < back and stored.item() == np.iinfo(np.int8).min
    if not is_below and np.float32(back) != np.float32(value.item()):
        return None
    return _constant(f"{node.output.name}/value", stored, quantization)
