"""Arrays that go together: the inputs of many samples, their labels, and the `.npz` they are kept in.

One container serves digits, sound, motion and tokens alike, so that training, evaluation and storage are
written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Samples", "Split", "load_samples", "overlapping_rows", "save_samples"]

Array: TypeAlias = "npt.NDArray[np.generic]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Samples of a model; the first axis of every array counts them.

    Attributes:
        inputs: One array per input name of the model.
        extras: What a metric needs besides the outputs: `label`, and `target` where there is one.
    """

    inputs: Mapping[str, Array]
    extras: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def only_input(self) -> Array:
        """The input of a model that has just one."""
        (array,) = self.inputs.values()
        return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What a model is trained on, and what it is judged by and has never seen."""

    train: Samples
    test: Samples


def save_samples(path: Path, samples: Samples) -> None:
    """Write `samples` as a compressed `.npz` whose keys are the names of inputs and extras."""
    arrays = {**samples.inputs, **samples.extras}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_samples(path: Path, input_names: tuple[str, ...]) -> Samples:
    """Read an `.npz`: arrays called as an input are inputs, all others extras."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Samples(
        inputs={name: arrays[name] for name in input_names},
        extras={name: array for name, array in arrays.items() if name not in input_names},
    )


def overlapping_rows(left: Array, right: Array) -> int:
    """How many samples of `right` occur, bit for bit, among those of `left`."""
    known = {np.ascontiguousarray(row).tobytes() for row in left}
    return sum(np.ascontiguousarray(row).tobytes() in known for row in right)
