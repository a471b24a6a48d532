"""Data for calibration and evaluation, read sample by sample: what it takes in memory does not depend on its size.

Arrays in `.npy` files are mapped into memory; an archive (`.npz`) is unpacked beside the run first, in pieces, and then
mapped; images are decoded when they are read.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.data import check_archive, open_arrays
from edgeconv.errors import InvalidInputError
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

    Raises:
        InvalidInputError: There is no sample, or an input has no array.
    """

    def __init__(
        self, parts: Sequence[Mapping[str, _Column]], signature: Signature, what: str
    ) -> None:
        self._parts = parts
        self._signature = signature
        counts = [count_samples(part, signature) for part in parts]  # type: ignore[arg-type]  # images quack
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        self.what = what
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
        """Names of what is no input, in all parts."""
        inputs = {spec.name for spec in self._signature.inputs}
        return frozenset.intersection(*(frozenset(part) - inputs for part in self._parts))

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
        size = most if self._takes_batches() else 1
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
        extras = {name: _row(part[name], place) for name in self.extra_names}
        return Batch(inputs=sample.inputs, extras=extras, indices=(index,))

    def _takes_batches(self) -> bool:
        """Whether the first axis of every input and output is the same dynamic dim by itself."""
        specs = (*self._signature.inputs, *self._signature.outputs)
        first = {str(spec.shape[0]) if spec.shape else "" for spec in specs}
        return len(first) == 1 and first <= {dim.name for dim in self._signature.dims}


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
        return Dataset([open_images(path, signature, preprocess)], signature, name)
    archives = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not archives:
        return Dataset([open_arrays(path)], signature, name)
    parts = [open_arrays(_unpack(file, scratch / f"{n:06}")) for n, file in enumerate(archives)]
    return Dataset(parts, signature, name)


def _unpack(archive: Path, folder: Path) -> Path:
    """The arrays of an archive as files, written piece by piece."""
    check_archive(archive)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                # Only a name, never a path: the archive may be anyone's.
                target = folder / Path(member.filename).name
                with opened.open(member) as source, target.open("wb") as written:
                    shutil.copyfileobj(source, written, 1 << 20)
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InvalidInputError(
            f"'{archive}' cannot be read",
            why=str(error),
            hint="give a .npz, or a folder of .npy, with one array per input name",
        ) from error
    return folder


def _row(column: _Column, place: int) -> Array:
    """What is no input, of one sample."""
    return column[place] if isinstance(column, ImageColumn) else np.array(column[place])[None]


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
