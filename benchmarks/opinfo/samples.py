"""The samples of PyTorch's OpInfo database, each as a module whose inputs are the sample's tensors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils import _pytree as pytree

__all__ = ["DTYPES", "Sample", "Unit", "chosen_indices", "draw_samples", "find_units"]

DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
_SEED = 20240229

# Of vectors that are determined up to their sign the database itself says what of them can be compared.
_UP_TO_SIGN = ("linalg.eig", "linalg.eigh", "linalg.svd", "svd")

Unit: TypeAlias = tuple[str, str]
"""Name of an operator, variant included, and a dtype."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of an operator.

    Attributes:
        index: Its place among the samples of the operator and dtype.
        module: Makes the call; complex tensors enter and leave it as pairs of real numbers.
        inputs: The tensors of the call.
    """

    index: int
    module: nn.Module
    inputs: tuple[Tensor, ...]


def find_units() -> list[Unit]:
    """Every operator with every dtype that PyTorch computes it in on a CPU."""
    return [
        (op.full_name, name)
        for op in op_db
        for name, dtype in DTYPES.items()
        if dtype in op.supported_dtypes("cpu")  # type: ignore[no-untyped-call]  # PyTorch types none of its tests
    ]


def draw_samples(unit: Unit) -> Iterator[Sample]:
    """The samples of an operator, the same at every call."""
    name, dtype = unit
    (op,) = (op for op in op_db if op.full_name == name)
    random.seed(_SEED)
    np.random.seed(_SEED)
    torch.manual_seed(_SEED)
    drawn = op.sample_inputs("cpu", DTYPES[dtype])  # type: ignore[no-untyped-call]  # PyTorch types none of its tests
    for index, sample in enumerate(drawn):
        yield _make_sample(op, index, sample)


def chosen_indices(count: int, most: int) -> list[int]:
    """Places spread evenly over `count` samples, the first and the last among them; 0 stands for all."""
    if most == 0 or count <= most:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, most)})


def _make_sample(op: OpInfo, index: int, sample: SampleInput) -> Sample:
    leaves, tree = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    # A sample that passes one tensor twice passes it once.
    tensors = list({id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}.values())
    places = {id(tensor): place for place, tensor in enumerate(tensors)}
    slots = [places.get(id(leaf)) for leaf in leaves]
    is_complex = [tensor.is_complex() for tensor in tensors]

    def call(*given: Tensor) -> object:
        values = [_as_complex(t) if flag else t for t, flag in zip(given, is_complex, strict=True)]
        filled = [
            leaf if slot is None else values[slot] for leaf, slot in zip(leaves, slots, strict=True)
        ]
        first, args, kwargs = pytree.tree_unflatten(filled, tree)
        result = op(first, *args, **kwargs)
        return sample.output_process_fn_grad(result) if op.full_name in _UP_TO_SIGN else result

    inputs = tuple(_as_real(tensor.detach()) for tensor in tensors)
    return Sample(index, _Call(call), inputs)


class _Call(nn.Module):
    def __init__(self, call: Callable[..., object]) -> None:
        super().__init__()
        self._call = call

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(_as_real(tensor) for tensor in _tensors(self._call(*inputs)))


def _tensors(value: object) -> Sequence[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _as_real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _as_complex(tensor: Tensor) -> Tensor:
    return torch.view_as_complex(tensor)
