"""What every format must be able to do, and what it means to run an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, runtime_checkable

from edgeconv.formats.affine import Affine
from edgeconv.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A string, so that importing this module does not import NumPy.
Array: TypeAlias = "NDArray[np.generic]"

__all__ = [
    "Array",
    "DescribesExecution",
    "FormatHandler",
    "HasIntegerEnds",
    "RunResult",
    "Session",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Outputs by name, and the wall time of every repetition in seconds."""

    outputs: dict[str, Array]
    latencies_seconds: tuple[float, ...]


class Session(Protocol):
    """An opened artifact, ready to run; a context manager that frees the runtime on exit."""

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times; dynamic dims take their size from the arrays.

        Raises:
            InvalidInputError: A name, dtype or shape does not fit the signature.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


@runtime_checkable
class DescribesExecution(Protocol):
    """A session whose runtime tells how it carries out the model."""

    def describe_execution(self) -> dict[str, object]:
        """JSON data on the run before: operators, and which of them a delegate took."""
        ...


class FormatHandler(Protocol):
    """Reads, labels and runs files of one format."""

    def read_signature(self, path: Path) -> Signature:
        """Names, dtypes and shapes as the file itself declares them.

        Raises:
            InvalidInputError: The file is damaged or not of this format.
        """
        ...

    def read_metadata(self, path: Path) -> dict[str, str]:
        """The metadata that edgeconv or another tool stored inside the file; empty if none."""
        ...

    def stamp(self, path: Path, signature: Signature, metadata: Mapping[str, str]) -> None:
        """Give the file's inputs and outputs the names of `signature` (same order) and store metadata.

        The file is rewritten aside and replaced; on failure it is as it was.
        """
        ...

    def open(self, path: Path, *, threads: int = 1) -> Session:
        """Open the file in its own runtime on this machine.

        Raises:
            InvalidInputError: The runtime refuses the file.
            MissingDependencyError: The runtime is not installed.
        """
        ...


@runtime_checkable
class HasIntegerEnds(Protocol):
    """A handler of a format whose inputs and outputs may be integers that stand for real numbers."""

    def read_affines(self, path: Path) -> dict[str, Affine]:
        """What the integers of inputs and outputs stand for, by name; nothing of those that are just integers.

        Raises:
            InvalidInputError: The file is damaged or not of this format.
        """
        ...
