"""Writes down the signature of a captured model: names, dtypes, and shapes over the named dims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor
from torch.export import ExportedProgram

from edgeconv.errors import CaptureError, ConversionError
from edgeconv.lowering.sizes import size_from_torch, symbol_names
from edgeconv.signature import Layout, Signature, TensorSpec
from edgeconv.validation.shapes import Observed, infer_shape
from edgeconv_converters.torch_export.arrays import dtype_of
from edgeconv_converters.torch_export.images import find_layouts, user_outputs
from edgeconv_converters.torch_export.value_reads import value_lines

__all__ = ["describe_program", "describe_runs"]


def describe_program(
    program: ExportedProgram, inputs: Signature, output_names: Sequence[str]
) -> Signature:
    """Add the outputs, their shapes as the program's symbols give them, and the layouts of images.

    Raises:
        CaptureError: The shape of an output depends on the values of tensors.
    """
    symbols = symbol_names(program, inputs)
    outputs = []
    for name, node in zip(output_names, user_outputs(program), strict=True):
        value = node.meta["val"]
        try:
            shape = tuple(size_from_torch(size, symbols) for size in value.shape)
        except ConversionError as error:
            raise CaptureError(
                f"the shape of output '{name}' cannot be written down",
                why=error.why,
                hint=error.hint,
                details=value_lines(program, value.shape) or [error.message],
            ) from error
        outputs.append(TensorSpec(name=name, dtype=dtype_of(value), shape=shape))
    taken, given = find_layouts(program)
    return Signature(
        inputs=_with_layouts(inputs.inputs, taken),
        outputs=_with_layouts(outputs, given),
        dims=inputs.dims,
    )


def _with_layouts(specs: Sequence[TensorSpec], found: Sequence[Layout]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, layout=layout) for spec, layout in zip(specs, found, strict=True))


def describe_runs(
    inputs: Signature,
    output_names: Sequence[str],
    example: Sequence[Tensor],
    runs: Sequence[Observed],
    find_lines: Callable[[], Sequence[str]] = tuple,
) -> Signature:
    """Add the outputs, their shapes inferred from runs at several sizes, where there is no program to ask.

    Args:
        inputs: The signature so far.
        output_names: In order.
        example: The outputs of one run.
        runs: Sizes in, shapes out, of all runs.
        find_lines: Gives the lines of the model that make shapes of values; called only to refuse it.

    Raises:
        CaptureError: The shape of an output depends on values, or its sizes follow no simple rule.
    """
    outputs = tuple(
        TensorSpec(
            name=name,
            dtype=dtype_of(tensor),
            shape=infer_shape(name, index, runs, find_lines),
        )
        for index, (name, tensor) in enumerate(zip(output_names, example, strict=True))
    )
    return Signature(inputs=inputs.inputs, outputs=outputs, dims=inputs.dims)
