"""What a lowering builds with: the graph builder, and what PyTorch says the result must be."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeconv.dims import Size
from edgeconv.graph import Builder, Tensor
from edgeconv.graph.model import Constant
from edgeconv.graph.ops.spec import TensorType
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.signature import DType

__all__ = ["LoweringBuilder", "array_of", "dtype_of"]

Scalar = bool | int | float


def dtype_of(dtype: torch.dtype) -> DType:
    """The name of a PyTorch dtype.

    Raises:
        CannotLowerError: The edge graph has no such dtype.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in set(DType):
        raise CannotLowerError(f"the dtype {name} has no counterpart")
    return DType(name)


def array_of(tensor: torch.Tensor) -> Constant:
    """The tensor's own memory as an array; bfloat16, which NumPy lacks, as ml_dtypes' type."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        array: Constant = tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return array
    plain: Constant = tensor.resolve_conj().resolve_neg().numpy()
    return plain


class LoweringBuilder(Builder):
    """A graph builder that knows the operator being lowered.

    Attributes:
        results: Dtype and shape of each output, as PyTorch's own shape propagation gives them.
        is_contiguous: Whether PyTorch keeps all inputs in memory in the order of their axes.
    """

    results: Sequence[TensorType] = ()
    is_contiguous: bool = True

    @property
    def dtype(self) -> DType:
        """Dtype of the (first) result."""
        return self.results[0][0]

    @property
    def shape(self) -> tuple[Size, ...]:
        """Shape of the (first) result."""
        return self.results[0][1]

    def like(self, value: Tensor | Size | Scalar, dtype: DType) -> Tensor:
        """A tensor, size or number as a tensor of a dtype."""
        if isinstance(value, Tensor):
            return self.cast(value, dtype)
        if isinstance(value, bool | int | float):
            return self.scalar(value, dtype)
        whole = self.op("SIZE_VALUE", value=(value,), dtype="int32")
        return self.cast(whole, dtype)

    def reshape(self, x: Tensor, shape: Sequence[Size]) -> Tensor:
        """`x` in another shape."""
        if x.shape == tuple(shape):
            return x
        if x.constant is not None and all(isinstance(size, int) for size in shape):
            array = x.constant.reshape([int(str(size)) for size in shape])
            made = self.constant(array)
            made.quantization = x.quantization and x.quantization.reshaped(
                x.constant.shape, array.shape
            )
            return made
        return self.op("RESHAPE", x, shape=tuple(shape))

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        """`x` with its axes permuted; a constant is viewed, not copied."""
        if list(perm) == list(range(x.rank)):
            return x
        if x.constant is not None:
            made = self.constant(x.constant.transpose(perm), name=x.name)
            made.quantization = x.quantization and x.quantization.transposed(perm)
            return made
        return self.op("TRANSPOSE", x, perm=tuple(perm))

    def slice(self, x: Tensor, axis: int, begin: Size, end: Size, step: int = 1) -> Tensor:
        """A range of one axis; `begin` and `end` count from the front and lie within the axis."""
        if begin == 0 and end == x.shape[axis] and step == 1:
            return x
        begins = [0 if i != axis else begin for i in range(x.rank)]
        ends = [s if i != axis else end for i, s in enumerate(x.shape)]
        strides = [1 if i != axis else step for i in range(x.rank)]
        return self.op(
            "STRIDED_SLICE", x, begin=tuple(begins), end=tuple(ends), strides=tuple(strides)
        )

    def reduce(self, op: str, x: Tensor, axes: Sequence[int], *, keep_dims: bool) -> Tensor:
        """A reduction over axes, which may be negative; none means all."""
        if x.rank == 0:
            return x
        chosen = tuple(sorted(axis % x.rank for axis in axes)) or tuple(range(x.rank))
        return self.op(op, x, axes=chosen, keep_dims=keep_dims)

    def vector(self, x: Tensor) -> Tensor:
        """`x` with an axis: PyTorch takes a scalar for a vector of one element where an axis is asked for."""
        return self.reshape(x, (1,)) if x.rank == 0 else x
