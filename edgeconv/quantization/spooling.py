"""Puts samples that a Python program holds where the worker reads them: so many of them at most, whatever their number."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edgeconv.data import Batch, Data, check_data
from edgeconv.errors import InvalidInputError, OutputError
from edgeconv.quantization.dataset import LABEL
from edgeconv.signature import Signature
from edgeconv.validation.samples import count_samples, cut_sample

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["spool"]


def spool(data: Data, signature: Signature, folder: Path, *, most: int, seed: int) -> Path:
    """Write samples, one file for each.

    Of more than `most` samples a random selection is kept as they go by, all equally likely, so that nothing need be
    counted first (Vitter, "Random Sampling with a Reservoir", ACM TOMS 1985, algorithm R).

    Args:
        data: In any form; a path is returned as it is.
        signature: Of the model that takes them.
        folder: Receives the files.
        most: How many are kept; 0 for all.
        seed: Of the selection.

    Raises:
        InvalidInputError: There is none, or one does not fit.
        OutputError: They cannot be written.
    """
    check_data(data)
    if isinstance(data, str | Path):
        return Path(data).absolute()
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    seen = 0
    for sample in _samples(data, signature):
        slot = seen if not most or seen < most else int(random.integers(0, seen + 1))
        if not most or slot < most:
            _write(folder / f"{slot:06}.npz", sample)
        seen += 1
    if not seen:
        raise InvalidInputError("the data holds no samples", hint="give at least one")
    return folder


def _samples(data: object, signature: Signature) -> Iterator[dict[str, Array]]:
    """Inputs and labels of each sample."""
    names = {spec.name for spec in signature.inputs}
    for number, batch in enumerate(_batches(data)):
        arrays = _with_label(batch, number)
        for index in range(count_samples(arrays, signature)):
            extras = {
                key: arrays[key][index : index + 1]
                for key in arrays
                if key not in names and arrays[key].ndim
            }
            yield {**cut_sample(arrays, index, signature).inputs, **extras}


def _batches(data: object) -> Iterator[Batch]:
    if isinstance(data, Mapping):
        yield data
        return
    yield from data() if callable(data) else cast("Iterator[Batch]", data)


def _with_label(batch: object, number: int) -> dict[str, Array]:
    """The arrays of a batch, labels among them.

    Raises:
        InvalidInputError: It is no batch.
    """
    inputs, labels = batch, dict[str, object]()
    if isinstance(batch, tuple) and len(batch) == 2:
        inputs, labels = batch[0], {LABEL: batch[1]}
    if not isinstance(inputs, Mapping):
        raise InvalidInputError(
            f"batch {number} of the data is a {type(inputs).__name__}",
            why="a batch is a mapping from input name to array, or (mapping, labels)",
            hint='yield {"image": array}, or ({"image": array}, labels)',
        )
    held = {**cast("Mapping[str, object]", inputs), **labels}
    arrays = {str(name): np.asarray(value) for name, value in held.items()}
    objects = [name for name, array in arrays.items() if array.dtype == object]
    if objects:
        raise InvalidInputError(
            f"'{objects[0]}' in batch {number} of the data is no array of numbers",
            hint="give NumPy arrays",
        )
    return arrays


def _write(path: Path, arrays: dict[str, Array]) -> None:
    try:
        # Not `savez`: an input may have the name of one of its options.
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
    except OSError as error:
        raise OutputError(
            f"the data cannot be written to '{path.parent}'",
            why=error.strerror or str(error),
            hint="make room there, or set TMPDIR to another folder",
        ) from error
