"""Cuts the user's own samples into inputs of the model, and refuses those that do not fit or say nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeconv.data import Data, read_batches
from edgeconv.dims import evaluate
from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.signature import DType, Signature, TensorSpec

__all__ = [
    "MAX_SAMPLES",
    "Sample",
    "Samples",
    "check_names",
    "count_samples",
    "cut_sample",
    "fit_samples",
    "read_samples",
]

MAX_SAMPLES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Inputs of the model, and the sizes of its dims in them."""

    inputs: dict[str, Array]
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The first samples of some data.

    Attributes:
        items: At most `MAX_SAMPLES`.
        note: What the user should know; empty if all are used.
    """

    items: tuple[Sample, ...]
    note: str = ""


def read_samples(data: Data, signature: Signature) -> Samples:
    """The first samples of data in any form.

    Raises:
        InvalidInputError: It cannot be read, there are none, or they do not fit.
    """
    return fit_samples(read_batches(data), signature)


def fit_samples(batches: Iterable[Mapping[str, Array]], signature: Signature) -> Samples:
    """Cut the first samples out of batches, each as inputs of the model with the sizes of its dims.

    The first axis counts samples. Where an array has the rank of its input, a sample is a batch of one, or of
    the input's own fixed batch size; where it has one axis more, a sample is a whole input. Arrays that are
    no input, such as labels, are left alone.

    Raises:
        InvalidInputError: There is no sample, an input has no array, or one whose dtype or shape does not fit,
            arrays have other numbers of samples, or hold NaN.
    """
    found: list[Sample] = []
    for batch in batches:
        count = count_samples(batch, signature)
        room = MAX_SAMPLES - len(found)
        found += [cut_sample(batch, index, signature) for index in range(min(count, room))]
        if count > room:
            note = f"verified with the first {MAX_SAMPLES} samples; there are more"
            return Samples(items=tuple(found), note=note)
    if not found:
        raise InvalidInputError(
            "there are no samples",
            why="the first axis of each array counts samples, and it has none",
            hint="give at least one sample",
        )
    return Samples(items=tuple(found))


def check_names(data: Data, names: Iterable[str]) -> None:
    """Refuse samples that are not named as the inputs are, before anything else is done with them.

    Raises:
        InvalidInputError: An input has no array in the first of them, or they cannot be read.
    """
    for batch in read_batches(data):
        _check_names(batch, names)
        return


def _check_names(batch: Mapping[str, Array], names: Iterable[str]) -> None:
    missing = [name for name in names if name not in batch]
    if missing:
        close = difflib.get_close_matches(missing[0], batch, n=1)
        raise InvalidInputError(
            f"the samples have no array for input '{missing[0]}'",
            why=f"they hold {', '.join(batch)}",
            hint=(f"did you mean '{close[0]}'? " if close else "")
            + "name the arrays as the inputs are named",
        )


def count_samples(batch: Mapping[str, Array], signature: Signature) -> int:
    """How many samples a batch holds.

    Raises:
        InvalidInputError: An input has no array, or arrays have other numbers of samples.
    """
    _check_names(batch, [spec.name for spec in signature.inputs])
    counts = {spec.name: _count(batch[spec.name], spec) for spec in signature.inputs}
    if len(set(counts.values())) > 1:
        raise InvalidInputError(
            "the inputs have different numbers of samples",
            why=", ".join(f"{count} for '{name}'" for name, count in counts.items()),
            hint="the first axis counts samples: give as many for each input",
        )
    return next(iter(counts.values()))


def _batch(spec: TensorSpec) -> int:
    return spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 1


def _count(array: Array, spec: TensorSpec) -> int:
    if array.ndim == len(spec.shape) + 1:
        return int(array.shape[0])
    if array.ndim != len(spec.shape) or not array.ndim:
        raise _misfit(array, spec)
    return int(array.shape[0]) // _batch(spec)


def cut_sample(batch: Mapping[str, Array], index: int, signature: Signature) -> Sample:
    """One sample of a batch, as inputs of the model.

    Raises:
        InvalidInputError: It does not fit, or holds NaN.
    """
    inputs = {spec.name: _cut(batch[spec.name], spec, index) for spec in signature.inputs}
    for name, array in inputs.items():
        if array.dtype.kind in "fc" and np.isnan(array).any():
            raise InvalidInputError(
                f"sample {index} holds NaN for input '{name}'",
                why="what a model makes of NaN proves nothing",
                hint="leave such samples out",
            )
    return Sample(inputs=inputs, sizes=_solve_sizes(inputs, signature))


def _cut(array: Array, spec: TensorSpec, index: int) -> Array:
    if array.ndim == len(spec.shape) + 1:
        piece = array[index]
    else:
        step = _batch(spec)
        piece = array[index * step : (index + 1) * step]
    wanted = np.dtype("float32" if spec.dtype == DType.BFLOAT16 else spec.dtype.value)
    if piece.dtype.kind != wanted.kind:
        raise InvalidInputError(
            f"the samples for input '{spec.name}' are of another dtype",
            why=f"they are {array.dtype}, and the input is {spec}",
            hint=f"convert them as the model's training does, or with .astype('{wanted}')",
        )
    return np.ascontiguousarray(piece, dtype=wanted)


def _misfit(array: Array, spec: TensorSpec) -> InvalidInputError:
    return InvalidInputError(
        f"the samples for input '{spec.name}' do not fit",
        why=f"they are {array.dtype}{list(array.shape)}, and the input is {spec}",
        hint="the first axis counts samples, the others are those of the input",
    )


def _solve_sizes(inputs: Mapping[str, Array], signature: Signature) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for spec in signature.inputs:
        for declared, actual in zip(spec.shape, inputs[spec.name].shape, strict=True):
            if str(declared) in {dim.name for dim in signature.dims}:
                sizes.setdefault(str(declared), int(actual))
    sizes = {**signature.example_sizes(), **sizes}
    for spec in signature.inputs:
        if tuple(evaluate(size, sizes) for size in spec.shape) != inputs[spec.name].shape:
            raise _misfit(inputs[spec.name], spec)
    _check_ranges(sizes, signature)
    return sizes


def _check_ranges(sizes: Mapping[str, int], signature: Signature) -> None:
    for dim in signature.dims:
        if not dim.min <= sizes[dim.name] <= (dim.max or sizes[dim.name]):
            raise InvalidInputError(
                f"the samples have {sizes[dim.name]} where dim '{dim.name}' stands",
                why=f"it takes {dim.min}..{dim.max if dim.max is not None else ''}",
                hint="leave out such samples, or widen the range of the dim",
            )
