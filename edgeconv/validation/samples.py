"""Reads the user's own samples (`--samples`): a `.npz`, or a folder of `.npy`, or a mapping of arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edgeconv.dims import evaluate
from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.signature import DType, Signature, TensorSpec

__all__ = ["MAX_SAMPLES", "fit_samples", "read_samples"]

MAX_SAMPLES = 16


def read_samples(path: Path) -> dict[str, Array]:
    """Arrays by name; those of a folder are memory-mapped.

    Raises:
        InvalidInputError: Missing, empty, damaged, or holding Python objects.
    """
    try:
        if path.is_dir():
            arrays = {f.stem: _load(f, mmap=True) for f in sorted(path.glob("*.npy"))}
        else:
            arrays = _load_archive(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidInputError(
            f"the samples '{path}' cannot be read",
            why=str(error),
            hint="give a .npz, or a folder of .npy, with one array per input name",
        ) from error
    if not arrays:
        raise InvalidInputError(
            f"the samples '{path}' hold no arrays", hint="give one array per input name"
        )
    return arrays


def _load(path: Path, *, mmap: bool) -> Array:
    loaded = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise ValueError(f"{path.name} is no .npy file")  # noqa: TRY004  a file, not an argument
    return loaded


def _load_archive(path: Path) -> dict[str, Array]:
    # NumPy leaves a file open that it fails to read.
    with path.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("a single array has no input names")  # noqa: TRY004
        return {name: loaded[name] for name in loaded.files}


def fit_samples(
    arrays: Mapping[str, Array], signature: Signature
) -> Iterator[tuple[dict[str, Array], dict[str, int]]]:
    """Cut the first samples out of the arrays, each as inputs of the model with the sizes of its dims.

    The first axis counts samples. Where an array has the rank of its input, a sample is a batch of one, or of
    the input's own fixed batch size; where it has one axis more, a sample is a whole input. Arrays that are
    no input, such as labels, are left alone.

    Raises:
        InvalidInputError: An input has no array, or one whose dtype or shape does not fit.
    """
    missing = [spec.name for spec in signature.inputs if spec.name not in arrays]
    if missing:
        raise InvalidInputError(
            f"the samples have no array for input '{missing[0]}'",
            why=f"they hold {', '.join(arrays)}",
            hint="name the arrays as the inputs are named",
        )
    counts = [_count(arrays[spec.name], spec) for spec in signature.inputs]
    for index in range(min(MAX_SAMPLES, *counts)):
        inputs = {spec.name: _cut(arrays[spec.name], spec, index) for spec in signature.inputs}
        yield inputs, _solve_sizes(inputs, signature)


def _batch(spec: TensorSpec) -> int:
    return spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 1


def _count(array: Array, spec: TensorSpec) -> int:
    if array.ndim == len(spec.shape) + 1:
        return int(array.shape[0])
    if array.ndim != len(spec.shape) or not array.ndim:
        raise _misfit(array, spec)
    return int(array.shape[0]) // _batch(spec)


def _cut(array: Array, spec: TensorSpec, index: int) -> Array:
    if array.ndim == len(spec.shape) + 1:
        piece = array[index]
    else:
        step = _batch(spec)
        piece = array[index * step : (index + 1) * step]
    wanted = np.dtype("float32" if spec.dtype == DType.BFLOAT16 else spec.dtype.value)
    if piece.dtype.kind != wanted.kind:
        raise _misfit(array, spec)
    return np.ascontiguousarray(piece, dtype=wanted)


def _misfit(array: Array, spec: TensorSpec) -> InvalidInputError:
    return InvalidInputError(
        f"the samples for input '{spec.name}' do not fit",
        why=f"they are {array.dtype}{list(array.shape)}, and the input is {spec}",
        hint="the first axis counts samples, the others are those of the input, with its kind of dtype",
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
