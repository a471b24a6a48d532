"""Tensors as NumPy arrays and back, and the names of their dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.signature import DType

__all__ = ["dtype_of", "tensor_from_array", "to_array", "torch_dtype"]

_TORCH_DTYPES: Mapping[DType, torch.dtype] = MappingProxyType(
    {dtype: getattr(torch, dtype.value) for dtype in DType}
)
_DTYPES: Mapping[torch.dtype, DType] = MappingProxyType({t: d for d, t in _TORCH_DTYPES.items()})


def dtype_of(tensor: Tensor) -> DType:
    """The dtype of a tensor.

    Raises:
        InvalidInputError: It is one that edgeconv has no name for, such as a quantized one.
    """
    try:
        return _DTYPES[tensor.dtype]
    except KeyError as error:
        raise InvalidInputError(
            f"a tensor has the dtype '{tensor.dtype}'",
            why="no format that edgeconv writes can take it in or give it out",
            hint="convert it inside forward, e.g. with .float()",
        ) from error


def torch_dtype(dtype: DType) -> torch.dtype:
    """PyTorch's dtype of the same name."""
    return _TORCH_DTYPES[dtype]


def to_array(tensor: Tensor) -> Array:
    """A NumPy copy; bfloat16, which NumPy does not have, as float32."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.cpu().resolve_conj().resolve_neg().contiguous().numpy().copy()


def tensor_from_array(array: Array, dtype: DType) -> Tensor:
    """A tensor with `dtype` that holds a copy of the array."""
    return torch.from_numpy(np.array(array, order="C")).to(torch_dtype(dtype))
