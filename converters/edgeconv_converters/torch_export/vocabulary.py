"""Finds out how large integers a model takes, so that examples drawn for it use all rows of its embeddings.

0 and 1 are valid as token ids, class ids and masks alike, but a comparison with them alone would prove two rows of
an embedding. Here the model runs once while every lookup in a table is watched: an input that is looked up, or a
view of it, may have any value that the smallest of its tables has a row for. Integers of one or two bytes that are
looked up nowhere are pixels and sound: they may have any value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgeconv_converters.torch_export.arrays import dtype_of, tensor_from_array
from edgeconv_converters.torch_export.flatten import Bound

__all__ = ["spread_integers"]

_SIGNAL_BYTES = 2
_LOG = logging.getLogger(__name__)


def spread_integers(module: nn.Module, bound: Bound, drawn: Sequence[str], seed: int) -> Bound:
    """Draw integer inputs again, over all values that the tables they are looked up in have.

    Args:
        module: In eval mode, on the CPU.
        bound: The inputs, integers among them 0 or 1.
        drawn: Names of inputs whose values are ours to choose.
        seed: What is drawn from.

    Returns:
        The inputs as they were where nothing is looked up, or where the model does not take more.
    """
    chosen = {
        name: tensor
        for name, tensor in zip(bound.names, bound.tensors, strict=True)
        if name in drawn and dtype_of(tensor).is_integer and tensor.numel()
    }
    if not chosen:
        return bound
    watch = _Lookups(chosen)
    if not _runs(module, bound, watch):
        return bound
    ranges = {name: (0, rows - 1) for name, rows in watch.rows.items()}
    for name, tensor in chosen.items():
        if name not in ranges and tensor.element_size() <= _SIGNAL_BYTES:
            limits = torch.iinfo(tensor.dtype)
            ranges[name] = (limits.min, limits.max)
    if not ranges:
        return bound
    generator = np.random.default_rng([seed, len(chosen)])
    tensors = tuple(
        _draw(tensor, ranges[name], generator) if name in ranges else tensor
        for name, tensor in zip(bound.names, bound.tensors, strict=True)
    )
    wide = bound.with_tensors(tensors)
    return wide if _runs(module, wide, torch.no_grad()) else bound


def _runs(module: nn.Module, bound: Bound, inside: TorchFunctionMode | torch.no_grad) -> bool:
    args, kwargs = bound.rebuild(bound.tensors)
    try:
        with torch.no_grad(), inside:
            module(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the first proper run says what is wrong
        _LOG.info("the model does not run on these integers: %s", error)
        return False
    return True


def _draw(tensor: Tensor, limits: tuple[int, int], generator: np.random.Generator) -> Tensor:
    drawn = generator.integers(*limits, tuple(tensor.shape), endpoint=True)
    return tensor_from_array(drawn, dtype_of(tensor))


class _Lookups(TorchFunctionMode):
    """Watches lookups in tables.

    Attributes:
        rows: By input name, how many rows the smallest table has in which it was looked up.
    """

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = {t.untyped_storage().data_ptr(): name for name, t in inputs.items()}
        self.rows: dict[str, int] = {}

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        found = _table_and_index(func, args, kwargs or {})
        if found is not None:
            table, index = found
            name = self._names.get(index.untyped_storage().data_ptr())
            if name is not None:
                self.rows[name] = min(self.rows.get(name, table), table)
        return func(*args, **(kwargs or {}))


def _table_and_index(
    func: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> tuple[int, Tensor] | None:
    """How many rows a table has, and what it is looked up with, if that is what a call does."""
    named = dict(zip(_LOOKUPS.get(func, ()), args, strict=False)) | dict(kwargs)
    table = named.get("weight" if func is functional.embedding else "table")
    index = named.get("input" if func is functional.embedding else "index")
    if func not in _LOOKUPS or not isinstance(table, Tensor) or not isinstance(index, Tensor):
        return None
    axis = named.get("dim", 0)
    rows = table.shape[axis] if isinstance(axis, int) and table.dim() else 0
    return (rows, index) if rows else None


_LOOKUPS: Mapping[Callable[..., object], tuple[str, ...]] = {
    functional.embedding: ("input", "weight"),
    torch.index_select: ("table", "dim", "index"),
    Tensor.index_select: ("table", "dim", "index"),
    Tensor.__getitem__: ("table", "index"),
}
"""Calls that look something up in a table, and the names of their arguments in order."""
