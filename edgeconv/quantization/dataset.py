"""Data for calibration and evaluation, read sample by sample: what it takes in memory does not depend on its size.

Arrays in `.npy` files are mapped into memory; an archive (`.npz`) is unpacked beside the run first, in pieces, and then
mapped; images are decoded when they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.data import open_arrays
from edgeconv.errors import InvalidInputError, counted
from edgeconv.quantization.archives import Archives
from edgeconv.quantization.images import ImageColumn, is_image_folder, open_images
from edgeconv.quantization.preprocess import Preprocess
from edgeconv.signature import Signature
from edgeconv.validation.samples import count_samples, cut_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["LABEL", "Batch", "Dataset", "open_dataset"]

LABEL = "label"
"""The key of labels in a file."""

_Column: TypeAlias = "Array | ImageColumn"
_DIGEST_BYTES = 16
_ANY_BATCH = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples that are run at once.

    Attributes:
        inputs: By name, as the model takes them.
        extras: What is no input, such as labels: arrays whose first axis counts the samples.
        indices: Which samples of the dataset these are.
    """

    inputs: dict[str, Array]
    extras: dict[str, Array]
    indices: tuple[int, ...]


class Dataset:
    """Samples in one or several parts, each a mapping from name to what holds one value per sample.

    Args:
        parts: The parts, one after another.
        signature: Of the model that takes the samples.
        what: Names the data in messages.
        notes: What the user should know of it.

    Raises:
        InvalidInputError: There is no sample, or an input has no array.
    """

    def __init__(
        self,
        parts: Sequence[Mapping[str, _Column]],
        signature: Signature,
        what: str,
        *,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._parts = parts
        self._signature = signature
        self._rows = _rows_of_a_sample(parts[0], signature)
        counts, extras = [], []
        for part in parts:
            counts.append(count_samples(part, signature))  # type: ignore[arg-type]  # images quack
            extras.append(_extras(part, signature, counts[-1] * self._rows, what))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        self._extra_names = frozenset.intersection(*extras)
        self.what = what
        self.notes = tuple(f"{what}: {text}" for text in notes)
        if not self.count:
            raise InvalidInputError(
                f"{what} holds no samples",
                why="the first axis of each array counts samples, and it has none",
                hint="give at least one sample",
            )

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self._starts[-1])

    @property
    def extra_names(self) -> frozenset[str]:
        """Names of what is no input and has a value for each sample, in all parts."""
        return self._extra_names

    def select(self, most: int, seed: int) -> tuple[int, ...]:
        """So many samples, drawn from a seed without repetition, in the order in which they lie; all if there are fewer."""
        if most <= 0 or self.count <= most:
            return tuple(range(self.count))
        drawn = np.random.default_rng(seed).choice(self.count, size=most, replace=False)
        return tuple(sorted(int(index) for index in drawn))

    def read(self, indices: Sequence[int], *, most: int = 1) -> Iterator[Batch]:
        """The samples with these indices, in batches of at most `most` where the model takes batches of any size.

        Raises:
            InvalidInputError: A sample does not fit, or holds NaN.
        """
        size = min(most, self._largest_batch())
        samples = (self._read_one(index) for index in indices)
        for _, alike in groupby(samples, key=_shapes):
            group: list[Batch] = []
            for sample in alike:
                group.append(sample)
                if len(group) == size:
                    yield _join(group)
                    group = []
            if group:
                yield _join(group)

    def digests(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        """A digest of the inputs of each sample: equal ones are the same sample."""
        return tuple(_digest(self._read_one(index)) for index in indices)

    def _read_one(self, index: int) -> Batch:
        part_index = int(np.searchsorted(self._starts, index, side="right")) - 1
        part, place = self._parts[part_index], index - int(self._starts[part_index])
        try:
            sample = cut_sample(part, place, self._signature)  # type: ignore[arg-type]  # images quack
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{self.what}: {error.message}",
                why=f"sample {index}: {error.why}",
                hint=error.hint,
                details=error.details,
            ) from error
        rows = slice(place * self._rows, (place + 1) * self._rows)
        extras = {name: np.array(part[name][rows]) for name in self.extra_names}  # type: ignore[index]  # no image
        return Batch(inputs=sample.inputs, extras=extras, indices=(index,))

    def _largest_batch(self) -> int:
        """How many samples fit in a run: the first axis of every input and output must be the same dynamic dim."""
        specs = (*self._signature.inputs, *self._signature.outputs)
        first = {str(spec.shape[0]) if spec.shape else "" for spec in specs}
        dims = [dim for dim in self._signature.dims if {dim.name} == first]
        return (dims[0].max or _ANY_BATCH) if dims else 1


def open_dataset(
    path: Path, signature: Signature, *, scratch: Path, preprocess: Preprocess | None, what: str
) -> Dataset:
    """Open data without reading it.

    Args:
        path: A `.npz`; a folder of `.npy`, one for each input and further key; of `.npz` archives; of images, or of one
            folder of images per class.
        signature: Of the model that takes the samples.
        scratch: Where archives are unpacked.
        preprocess: How images become inputs.
        what: Names the data in messages.

    Raises:
        InvalidInputError: It is missing, empty, damaged or of another kind, or an input has no array.
        UsageError: Images have no `preprocess`.
    """
    if not path.exists():
        raise InvalidInputError(f"{what} '{path}' does not exist", hint="check the path")
    name = f"{what} '{path}'"
    if path.is_dir() and is_image_folder(path):
        images = open_images(path, signature, preprocess)
        return Dataset([images.columns], signature, name, notes=images.notes)
    archives = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not archives:
        return Dataset([open_arrays(path)], signature, name)
    return Dataset(Archives(archives, scratch), signature, name)


def _rows_of_a_sample(part: Mapping[str, _Column], signature: Signature) -> int:
    """How many values of a label belong to a sample: one, or one for each row of an input whose batch size is fixed."""
    for spec in signature.inputs:
        column = part.get(spec.name)
        is_rows = column is not None and column.ndim == len(spec.shape) and bool(spec.shape)
        if is_rows and isinstance(spec.shape[0], int):
            return spec.shape[0]
    return 1


def _extras(
    part: Mapping[str, _Column], signature: Signature, rows: int, what: str
) -> frozenset[str]:
    """Names of what is no input; an array of another length, such as names of classes, is nobody's.

    Raises:
        InvalidInputError: There are too many labels, or too few.
    """
    inputs = {spec.name for spec in signature.inputs}
    held = {name: part[name].shape[:1] for name in part if name not in inputs}
    if LABEL in held and held[LABEL] != (rows,):
        raise InvalidInputError(
            f"{what} has other numbers of labels and samples",
            why=f"'{LABEL}' is {list(part[LABEL].shape)} for {counted(rows, 'sample')}",
            hint="give one label for each sample",
        )
    return frozenset(name for name, length in held.items() if length == (rows,))


def _shapes(batch: Batch) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in (*batch.inputs.values(), *batch.extras.values()))


def _join(group: Sequence[Batch]) -> Batch:
    if len(group) == 1:
        return group[0]
    first = group[0]
    return Batch(
        inputs={n: np.concatenate([one.inputs[n] for one in group]) for n in first.inputs},
        extras={n: np.concatenate([one.extras[n] for one in group]) for n in first.extras},
        indices=tuple(index for one in group for index in one.indices),
    )


def _digest(sample: Batch) -> bytes:
    total = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name, array in sorted(sample.inputs.items()):
        total.update(f"{name}{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.digest()
