"""Joins what is known of the inputs: examples of the factory or the caller, `--input`, and dynamic dims."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import psutil
from torch import Tensor, nn

from edgeconv.dims import Size, evaluate, parse_size, symbols
from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.signature import Dim, InputSpec, TensorSpec
from edgeconv.validation.cases import draw_first, draw_like
from edgeconv_converters.torch_export.arrays import dtype_of, tensor_from_array, to_array
from edgeconv_converters.torch_export.flatten import (
    Bound,
    describe_forward,
    parameter_names,
    required_names,
)

__all__ = ["DynamicDims", "InputShapes", "apply_specs", "arguments_from_specs", "resolve_dims"]

_DRAWN_BYTES = 8  # inputs are drawn in float64

DynamicDims = Mapping[str, Mapping[int, "str | Dim"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputShapes:
    """Shapes of the inputs over named dims, one per input.

    Attributes:
        shapes: In the order of the inputs.
        dims: The dynamic dims, in order of appearance.
        bounded: Names of those whose range the user gave.
    """

    shapes: tuple[tuple[Size, ...], ...]
    dims: tuple[Dim, ...]
    bounded: frozenset[str]


def resolve_dims(bound: Bound, dynamic: DynamicDims | None) -> InputShapes:
    """Put the caller's dynamic dims into the shapes of the example tensors.

    Args:
        bound: The example inputs.
        dynamic: Per input and axis the name of a dim (`"N"`), a multiple (`"8*H"`), or a `Dim` with a range.

    Raises:
        UsageError: An input, an axis or a size does not fit.
    """
    dynamic = dynamic or {}
    unknown = sorted(set(dynamic) - set(bound.names))
    if unknown:
        raise UsageError(
            f"'{unknown[0]}' is no input of the model", hint=f"inputs: {', '.join(bound.names)}"
        )
    dims: dict[str, Dim] = {}
    bounded: set[str] = set()
    shapes = []
    for name, tensor in zip(bound.names, bound.tensors, strict=True):
        shape: list[Size] = list(tensor.shape)
        for axis, declared in dynamic.get(name, {}).items():
            if not -len(shape) <= axis < len(shape):
                raise UsageError(
                    f"input '{name}' has no axis {axis}",
                    why=f"its shape is {shape}",
                    hint="axes count from 0",
                )
            shape[axis] = _declare(name, declared, int(tensor.shape[axis]), dims, bounded)
        shapes.append(tuple(shape))
    return InputShapes(shapes=tuple(shapes), dims=tuple(dims.values()), bounded=frozenset(bounded))


def _declare(
    name: str, declared: str | Dim, actual: int, dims: dict[str, Dim], bounded: set[str]
) -> Size:
    if isinstance(declared, Dim):
        bounded |= {declared.name} if (declared.min, declared.max) != (1, None) else set()
        size = parse_size(declared.name)
        dim = Dim(name=declared.name, example=actual, min=declared.min, max=declared.max)
    else:
        size, dim = _solve(name, declared, actual, dims)
    known = dims.setdefault(dim.name, dim)
    if evaluate(size, {known.name: known.example}) != actual:
        raise UsageError(
            f"dim '{dim.name}' has two sizes in the example inputs",
            why=f"it was {known.example}, and input '{name}' has {actual} where '{declared}' stands",
            hint="use another name for a dim that may differ",
        )
    return size


def _solve(name: str, text: str, actual: int, dims: Mapping[str, Dim]) -> tuple[Size, Dim]:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise UsageError(
            f"'{text}' is no name of a dim",
            why=f"it stands in the dynamic dims of input '{name}'",
            hint='write "N", or a multiple like "8*H"',
        ) from error
    names = sorted(symbols(size))
    if len(names) != 1:
        raise UsageError(
            f"'{text}' is no name of a dim", hint='write "N", or a multiple like "8*H"'
        )
    if names[0] in dims:
        return size, dims[names[0]]
    for example in range(1, actual + 1):
        if evaluate(size, {names[0]: example}) == actual:
            return size, Dim(name=names[0], example=example)
    raise UsageError(
        f"no whole {names[0]} makes {text} equal {actual}",
        why=f"which input '{name}' has there",
        hint="give example inputs of another size, or another expression",
    )


def arguments_from_specs(
    module: nn.Module, specs: Sequence[InputSpec], seed: int
) -> dict[str, Tensor]:
    """Example inputs drawn for `--input` alone, as keyword arguments of `forward`.

    Raises:
        InvalidInputError: A parameter of `forward` has no `--input`, an `--input` no parameter, or the example
            does not fit into memory.
    """
    known, required = parameter_names(module), required_names(module)
    given = {spec.tensor.name for spec in specs}
    missing = [name for name in required if name not in given]
    unknown = sorted(given - set(known))
    if unknown:
        raise _unknown_inputs(unknown, describe_forward(module), known)
    if missing or not given:
        raise _missing_inputs(missing, describe_forward(module))
    sizes = _example_sizes(specs)
    _check_memory(specs, sizes)
    drawn = draw_first([spec.tensor for spec in specs], sizes, seed)
    return {
        spec.tensor.name: tensor_from_array(drawn[spec.tensor.name], spec.tensor.dtype)
        for spec in specs
    }


def _check_memory(specs: Sequence[InputSpec], sizes: Mapping[str, int]) -> None:
    """Refuse what cannot be drawn before the system runs out of memory over it."""
    needed = {s.tensor.name: _DRAWN_BYTES * prod(s.tensor.concrete_shape(sizes)) for s in specs}
    available = psutil.virtual_memory().available
    if sum(needed.values()) <= available:
        return
    largest = max(specs, key=lambda spec: needed[spec.tensor.name]).tensor
    raise InvalidInputError(
        f"input '{largest.name}' is too large for this machine",
        why=f"an example of {largest} takes {needed[largest.name] / 2**30:,.0f} GiB of memory,"
        f" and {available / 2**30:,.0f} GiB are free",
        hint="give it smaller sizes",
    )


def _example_sizes(specs: Sequence[InputSpec]) -> dict[str, int]:
    return {dim.name: dim.example for spec in specs for dim in spec.dims}


def _missing_inputs(missing: Sequence[str], forward: str) -> InvalidInputError:
    names = ", ".join(f"'{name}'" for name in missing)
    what = f"input{'s' if len(missing) > 1 else ''} {names}" if missing else "the inputs"
    examples = " ".join(f"--input '{name}:float32[N=1,...]'" for name in missing)
    add = f"add {examples}, or let" if missing else "let"
    return InvalidInputError(
        f"nothing is known about {what} of the model",
        why=f"{forward}, and there are no example inputs",
        hint=f"{add} the factory return (module, example_inputs)",
    )


def _unknown_inputs(
    unknown: Sequence[str], forward: str, known: Sequence[str]
) -> InvalidInputError:
    names = ", ".join(f"'{name}'" for name in unknown)
    nested = [name for name in unknown if any(name.startswith(f"{part}_") for part in known)]
    close = difflib.get_close_matches(unknown[0], known, n=1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    hint = f"{meant}name the inputs as the parameters of forward are named"
    if nested or "*" in forward:
        hint = (
            "inputs inside of tuples, lists, dicts and *args need an example: let the factory return"
            " (module, example_inputs)"
        )
    return InvalidInputError(f"the model has no input {names}", why=forward, hint=hint)


def apply_specs(bound: Bound, specs: Sequence[InputSpec], seed: int) -> tuple[Bound, InputShapes]:
    """Lay `--input` over the example inputs.

    An example keeps its values where its shape is the one asked for; otherwise values like it are drawn.

    Raises:
        InvalidInputError: A name is no input, or a dtype or rank differs from the example's.
    """
    by_name = {spec.tensor.name: spec.tensor for spec in specs}
    unknown = sorted(set(by_name) - set(bound.names))
    if unknown:
        raise _unknown_inputs(unknown, f"its inputs are {', '.join(bound.names)}", bound.names)
    sizes = _example_sizes(specs)
    _check_memory(specs, sizes)
    generator = np.random.default_rng([seed, len(specs)])
    tensors = tuple(
        _fit(tensor, by_name[name], sizes, generator) if name in by_name else tensor
        for name, tensor in zip(bound.names, bound.tensors, strict=True)
    )
    shapes = tuple(
        by_name[name].shape if name in by_name else tuple(tensor.shape)
        for name, tensor in zip(bound.names, bound.tensors, strict=True)
    )
    dims = {dim.name: dim for spec in specs for dim in spec.dims}
    bounded = frozenset(name for spec in specs for name in spec.bounded)
    return bound.with_tensors(tensors), InputShapes(
        shapes=shapes, dims=tuple(dims.values()), bounded=bounded
    )


def _fit(
    tensor: Tensor, spec: TensorSpec, sizes: Mapping[str, int], generator: np.random.Generator
) -> Tensor:
    shape = spec.concrete_shape(sizes)
    if dtype_of(tensor) != spec.dtype or tensor.dim() != len(shape):
        raise InvalidInputError(
            f"--input '{spec}' does not fit the model's example",
            why=f"the example of '{spec.name}' is {dtype_of(tensor)}{list(tensor.shape)}",
            hint="give the same dtype and number of dims, or let the factory return another example",
        )
    if tuple(tensor.shape) == shape:
        return tensor
    return tensor_from_array(draw_like(to_array(tensor), shape, generator), spec.dtype)
