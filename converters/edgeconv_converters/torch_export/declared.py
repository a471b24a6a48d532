"""What an exported program says about its own inputs: dtypes, sizes, and which of these are dynamic.

PyTorch keeps the ranges of dynamic dims, but not the names they were exported with: here they are named after the
first place they stand in, as `image_0`.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves
from torch.utils._sympy.numbers import int_oo

from edgeconv.errors import CaptureError, ConversionError
from edgeconv.lowering.sizes import size_from_torch, user_placeholders
from edgeconv.signature import Dim, Signature, TensorSpec
from edgeconv.source import InputSpec
from edgeconv_converters.torch_export.arrays import dtype_of

__all__ = ["check_fixed", "declare_inputs", "declared_specs"]

_LEAST_EXAMPLE = 2  # PyTorch takes sizes of 0 and 1 for constants


def declare_inputs(program: ExportedProgram) -> Signature | None:
    """The inputs of a program, without outputs; None if their sizes cannot be told."""
    names: dict[str, str] = {}
    dims: list[Dim] = []
    inputs = []
    nodes = user_placeholders(program)
    for node, example in zip(nodes, _examples(program, len(nodes)), strict=True):
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return None
        for axis, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt):
                known = _LEAST_EXAMPLE if example is None else example.shape[axis]
                dims += _declare(program, size, (f"{node.name}_{axis}", known), names)
        try:
            shape = tuple(size_from_torch(size, names) for size in value.shape)
        except ConversionError:
            return None
        inputs.append(TensorSpec(name=node.name, dtype=dtype_of(value), shape=shape))
    return Signature(inputs=tuple(inputs), outputs=(), dims=tuple(dims))


def _examples(program: ExportedProgram, count: int) -> Sequence[torch.Tensor | None]:
    """The example tensors that the file brings, in the order of the inputs; None for each if it has none."""
    leaves = [x for x in tree_leaves(program.example_inputs) if isinstance(x, torch.Tensor)]
    return leaves if len(leaves) == count else [None] * count


def _declare(
    program: ExportedProgram, size: torch.SymInt, known: tuple[str, int], names: dict[str, str]
) -> list[Dim]:
    """The dims that a size brings, under their first name.

    Args:
        program: The program.
        size: The size of an axis.
        known: What to call it, and its size in the example.
        names: Names by symbol; those of new symbols are added.
    """
    name, example = known
    found = []
    for symbol in sorted(size.node.expr.free_symbols, key=str):
        if str(symbol) in names:
            continue
        is_plain = size.node.expr == symbol
        names[str(symbol)] = name if is_plain else f"{name}_{symbol}"
        found.append(
            _describe(program, symbol, names[str(symbol)], example if is_plain else _LEAST_EXAMPLE)
        )
    return found


def _describe(program: ExportedProgram, symbol: sympy.Symbol, name: str, example: int) -> Dim:
    limits = program.range_constraints.get(symbol)
    low = int(limits.lower) if limits is not None and limits.lower > _LEAST_EXAMPLE else 1
    high = None if limits is None or limits.upper == int_oo else int(limits.upper)
    return Dim(name=name, example=max(low, example), min=low, max=high)


def check_fixed(declared: Signature, specs: Sequence[InputSpec], names: Sequence[str]) -> None:
    """Refuse dynamic dims where a program was exported with a fixed size.

    Args:
        declared: The program's own inputs.
        specs: What the user said of them.
        names: What the inputs are called now, in the same order.

    Raises:
        CaptureError: A dim stands where the program takes one size only.
    """
    by_name = {spec.tensor.name: spec.tensor for spec in specs}
    for name, own in zip(names, declared.inputs, strict=False):
        asked = by_name.get(name)
        if asked is None or len(asked.shape) != len(own.shape):
            continue
        for axis, (wanted, fixed) in enumerate(zip(asked.shape, own.shape, strict=True)):
            if isinstance(fixed, int) and not isinstance(wanted, int):
                raise CaptureError(
                    f"dim '{wanted}' cannot be dynamic",
                    why=f"the program was exported with the size {fixed} on axis {axis} of '{name}'",
                    hint=f"give --input the plain size {fixed}, or export the program again with a dynamic dim",
                )


def declared_specs(declared: Signature, names: Sequence[str]) -> tuple[InputSpec, ...]:
    """A declared signature as if it had been given with `--input`; none if it has other inputs.

    Args:
        declared: From a file.
        names: What the inputs are called now, in the same order.
    """
    if len(declared.inputs) != len(names):
        return ()
    return tuple(
        InputSpec(
            tensor=TensorSpec(name=name, dtype=spec.dtype, shape=spec.shape), dims=declared.dims
        )
        for name, spec in zip(names, declared.inputs, strict=True)
    )
