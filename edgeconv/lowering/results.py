"""What PyTorch's own shape propagation says an operator gives, and whether a lowering gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx

from edgeconv.dims import is_static
from edgeconv.errors import ConversionError, counted
from edgeconv.graph import GraphError, Tensor
from edgeconv.graph.ops.spec import TensorType, shapes_agree
from edgeconv.lowering.builder import dtype_of
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.sizes import size_from_torch
from edgeconv.lowering.values import ComplexPair, Value

__all__ = ["check_results", "empty_results", "expected_results", "has_several", "placeholders"]


def has_several(node: fx.Node) -> bool:
    """Whether an operator gives a list of results."""
    return isinstance(node.meta.get("val"), list | tuple)


def expected_results(node: fx.Node, names: Mapping[str, str]) -> list[TensorType]:
    """Dtype and shape of every tensor that a node gives.

    Raises:
        CannotLowerError: A dtype has no counterpart, or a size depends on the values of tensors.
    """
    value = node.meta.get("val")
    tensors = value if isinstance(value, list | tuple) else [value]
    try:
        return [
            (dtype_of(t.dtype), tuple(size_from_torch(s, names) for s in t.shape))
            for t in tensors
            if isinstance(t, torch.Tensor)
        ]
    except ConversionError as error:
        raise CannotLowerError(f"{error.message}: {error.why}") from error


def empty_results(expected: Sequence[TensorType]) -> list[Value] | None:
    """The results, where none has an element: known, whatever they are made from; few kernels take such tensors."""
    if not expected or not all(0 in shape and is_static(shape) for _, shape in expected):
        return None
    return [
        torch.zeros([int(str(size)) for size in shape], dtype=getattr(torch, dtype.value))
        for dtype, shape in expected
    ]


def placeholders(node: fx.Node, expected: Sequence[TensorType]) -> list[Value]:
    """Results that nothing makes, to go on with where an operator was refused."""
    tensors = [Tensor(name=node.name, dtype=dtype, shape=shape) for dtype, shape in expected]
    return [ComplexPair(t, t) if t.dtype.is_complex else t for t in tensors]


def check_results(node: fx.Node, result: Value, expected: Sequence[TensorType]) -> None:
    """Refuse a result that is not what PyTorch says, and take over PyTorch's form of dynamic sizes.

    Raises:
        CannotLowerError: A result that something reads was left out.
        GraphError: It is not what PyTorch says.
    """
    values = result if isinstance(result, list) else [result]
    for index, value in enumerate(values):
        if value is None and _is_read(node, index):
            raise CannotLowerError(f"its output {index}")
    got = [value for value in values if value is not None]
    if len(got) != len(expected):
        given, wanted = len(got), len(expected)
        raise GraphError(
            f"the lowering gave {given} of {counted(wanted, 'result')}; several are to be a list"
        )
    for value, kind in zip(got, expected, strict=True):
        for part in (value.real, value.imag) if isinstance(value, ComplexPair) else (value,):
            _check_tensor(node, part, kind)


def _check_tensor(node: fx.Node, tensor: Value, kind: TensorType) -> None:
    dtype, shape = kind
    if not isinstance(tensor, Tensor):
        raise GraphError(f"{node.target} gave {tensor!r}, not a tensor")
    is_right = dtype.is_complex or tensor.dtype == dtype
    if not is_right or not shapes_agree(tensor.shape, shape):
        raise GraphError(f"{node.target} gave {tensor!r}, PyTorch says {dtype}{shape}")
    if not is_static(shape) and not tensor.is_constant:
        tensor.shape = shape


def _is_read(node: fx.Node, index: int) -> bool:
    """Whether something reads one of several outputs."""
    return any(user.args[1] == index and user.users for user in node.users)
