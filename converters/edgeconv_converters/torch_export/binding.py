"""Settles the inputs of a model that was built: what the user says counts before what its file declares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeconv.errors import CaptureError
from edgeconv.signature import InputSpec, TensorSpec
from edgeconv_converters.torch_export.arrays import dtype_of
from edgeconv_converters.torch_export.built import Built
from edgeconv_converters.torch_export.examples import (
    InputShapes,
    apply_specs,
    arguments_from_specs,
)
from edgeconv_converters.torch_export.flatten import Bound, bind_inputs
from edgeconv_converters.torch_export.prepare import ready_module
from edgeconv_converters.torch_export.vocabulary import spread_integers

__all__ = ["bind_source"]


def bind_source(built: Built, specs: Sequence[InputSpec], seed: int) -> tuple[Bound, InputShapes]:
    """Example inputs and their shapes.

    Args:
        built: The module, and what its source knows of its inputs.
        specs: What the user says of some or all of them.
        seed: Values are drawn from it where there are no examples.

    Raises:
        InvalidInputError: An input is unknown, or nothing is known about one.
        CaptureError: A dim is to be dynamic where a program takes one size only.
    """
    if not built.has_examples:
        known = _complete(specs, built.specs)
        drawn = arguments_from_specs(built.module, known, seed)
        module = ready_module(built.module, is_owned=True)
        bound = spread_integers(module, bind_inputs(module, (), drawn), list(drawn), seed)
        return apply_specs(bound, known, seed)
    bound = bind_inputs(built.module, built.args, built.kwargs)
    if built.shapes is None or len(built.shapes.shapes) != len(bound.names):
        return apply_specs(bound, specs, seed)
    if not specs:
        return bound, built.shapes
    declared = _as_specs(built.shapes, bound)
    _check_fixed(declared, specs)
    return apply_specs(bound, _complete(specs, declared), seed)


def _complete(given: Sequence[InputSpec], declared: Iterable[InputSpec]) -> list[InputSpec]:
    """What is given, and what is declared of the other inputs."""
    names = {spec.tensor.name for spec in given}
    return [*(spec for spec in declared if spec.tensor.name not in names), *given]


def _as_specs(shapes: InputShapes, bound: Bound) -> list[InputSpec]:
    """What a program declares, as if it had been given with `--input`."""
    return [
        InputSpec(
            tensor=TensorSpec(name=name, dtype=dtype_of(tensor), shape=shape), dims=shapes.dims
        )
        for name, tensor, shape in zip(bound.names, bound.tensors, shapes.shapes, strict=True)
    ]


def _check_fixed(declared: Sequence[InputSpec], given: Sequence[InputSpec]) -> None:
    own = {spec.tensor.name: spec.tensor for spec in declared}
    for asked in (spec.tensor for spec in given if spec.tensor.name in own):
        sizes = zip(asked.shape, own[asked.name].shape, strict=False)
        for axis, (wanted, fixed) in enumerate(sizes):
            if isinstance(fixed, int) and not isinstance(wanted, int):
                raise CaptureError(
                    f"dim '{wanted}' cannot be dynamic",
                    why=f"the program was exported with the size {fixed} on axis {axis} of '{asked.name}'",
                    hint=f"give --input the plain size {fixed}, or export the program again with a dynamic dim",
                )
