"""Writes down the signature of a captured model: names, dtypes, and shapes over the named dims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from edgeconv.dims import DimExpr, Size, evaluate
from edgeconv.errors import CaptureError, ConversionError
from edgeconv.lowering.sizes import size_from_torch, symbol_names
from edgeconv.signature import Dim, Signature, TensorSpec
from edgeconv_converters.torch_export.arrays import dtype_of

__all__ = ["Observed", "describe_inputs", "describe_program", "describe_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The sizes of the dims in one run, and the outputs' shapes."""

    sizes: Mapping[str, int]
    shapes: tuple[tuple[int, ...], ...]


def describe_inputs(
    names: Sequence[str],
    tensors: Sequence[Tensor],
    shapes: Sequence[tuple[Size, ...]],
    dims: tuple[Dim, ...],
) -> Signature:
    """The inputs alone, as a signature."""
    inputs = tuple(
        TensorSpec(name=name, dtype=dtype_of(tensor), shape=shape)
        for name, tensor, shape in zip(names, tensors, shapes, strict=True)
    )
    return Signature(inputs=inputs, outputs=(), dims=dims)


def describe_program(
    program: ExportedProgram, inputs: Signature, output_names: Sequence[str]
) -> Signature:
    """Add the outputs, their shapes as the program's symbols give them.

    Raises:
        CaptureError: The shape of an output depends on the values of tensors.
    """
    symbols = symbol_names(program, inputs)
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    nodes = [
        node
        for node, kind in zip(program.graph.output_node().args[0], kinds, strict=True)
        if kind == OutputKind.USER_OUTPUT
    ]
    outputs = []
    for name, node in zip(output_names, nodes, strict=True):
        value = node.meta["val"]
        try:
            shape = tuple(size_from_torch(size, symbols) for size in value.shape)
        except ConversionError as error:
            raise CaptureError(
                f"the shape of output '{name}' cannot be written down",
                why=error.why,
                hint=error.hint,
                details=[error.message],
            ) from error
        outputs.append(TensorSpec(name=name, dtype=dtype_of(value), shape=shape))
    return Signature(inputs=inputs.inputs, outputs=tuple(outputs), dims=inputs.dims)


def describe_runs(
    inputs: Signature,
    output_names: Sequence[str],
    example: Sequence[Tensor],
    runs: Sequence[Observed],
) -> Signature:
    """Add the outputs, their shapes inferred from runs at several sizes, where there is no program to ask.

    Raises:
        CaptureError: The sizes of an output follow no simple rule.
    """
    outputs = []
    for index, (name, tensor) in enumerate(zip(output_names, example, strict=True)):
        shape = tuple(
            _infer_size(name, [(run.sizes, run.shapes[index][axis]) for run in runs])
            for axis in range(tensor.dim())
        )
        outputs.append(TensorSpec(name=name, dtype=dtype_of(tensor), shape=shape))
    return Signature(inputs=inputs.inputs, outputs=tuple(outputs), dims=inputs.dims)


def _infer_size(name: str, runs: Sequence[tuple[Mapping[str, int], int]]) -> Size:
    """A constant, or `a*dim + b` that agrees with every run."""
    sizes = [size for _, size in runs]
    if len(set(sizes)) == 1:
        return sizes[0]
    for dim in runs[0][0]:
        candidate = _fit_line(dim, [(values[dim], size) for values, size in runs])
        if candidate is not None and all(evaluate(candidate, v) == size for v, size in runs):
            return candidate
    raise CaptureError(
        f"the shape of output '{name}' cannot be told",
        why=f"it takes the sizes {sorted(set(sizes))}, which are no multiple of one dim plus a constant",
        hint="make fewer dims dynamic",
    )


def _fit_line(dim: str, points: Sequence[tuple[int, int]]) -> Size | None:
    (first_x, first_y), *others = points
    for x, y in others:
        if x != first_x:
            slope, rest = divmod(y - first_y, x - first_x)
            offset = first_y - slope * first_x
            return None if rest or slope <= 0 else DimExpr.symbol(dim) * slope + offset
    return None
