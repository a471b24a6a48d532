"""Runs an artifact whose inputs or outputs are integers that stand for real numbers, as if they were these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edgeconv.formats import detect, load_handler
from edgeconv.formats.affine import Affine
from edgeconv.formats.handler import FormatHandler, HasIntegerEnds, RunResult, Session
from edgeconv.signature import DType, Signature, TensorSpec

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["NO_INTEGERS", "IntegerEnds", "RealSession", "read_affines", "read_real_signature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerEnds:
    """The inputs and outputs of an artifact that are integers where its model has real numbers.

    Attributes:
        affines: What the integers stand for, by name.
        dtypes: What they are, by name.
    """

    affines: Mapping[str, Affine]
    dtypes: Mapping[str, DType]

    @staticmethod
    def between(model: Signature, handler: FormatHandler, path: Path) -> IntegerEnds:
        """Those of a file; none in formats that have none.

        Raises:
            InvalidInputError: The file is damaged.
        """
        affines = read_affines(handler, path)
        if not affines:
            return NO_INTEGERS
        declared = handler.read_signature(path)
        dtypes = {spec.name: spec.dtype for spec in (*declared.inputs, *declared.outputs)}
        real = [s.name for s in (*model.inputs, *model.outputs) if s.dtype.is_floating]
        found = [name for name in real if name in affines and name in dtypes]
        return IntegerEnds(
            affines={name: affines[name] for name in found},
            dtypes={name: dtypes[name] for name in found},
        )

    def in_artifact(self, model: Signature) -> Signature:
        """The model's signature with the artifact's integers in place of the real numbers that they stand for."""
        return _with_dtypes(model, self.dtypes)

    def open(self, session: Session) -> Session:
        """A session that takes and gives real numbers."""
        return RealSession(session, self) if self.affines else session


def read_affines(handler: FormatHandler, path: Path) -> dict[str, Affine]:
    """What the integer inputs and outputs of a file stand for; nothing in formats that do not say.

    Raises:
        InvalidInputError: The file is damaged.
    """
    return handler.read_affines(path) if isinstance(handler, HasIntegerEnds) else {}


def read_real_signature(path: Path) -> Signature:
    """The signature of an artifact with float32 for integers that stand for real numbers.

    Raises:
        InvalidInputError: The file is damaged, or of no known format.
    """
    handler = load_handler(detect(path).id)
    dtypes = dict.fromkeys(read_affines(handler, path), DType.FLOAT32)
    return _with_dtypes(handler.read_signature(path), dtypes)


def _with_dtypes(signature: Signature, dtypes: Mapping[str, DType]) -> Signature:
    def now(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple(replace(s, dtype=dtypes.get(s.name, s.dtype)) for s in specs)

    return replace(signature, inputs=now(signature.inputs), outputs=now(signature.outputs))


NO_INTEGERS = IntegerEnds(affines={}, dtypes={})
"""Of an artifact whose inputs and outputs are what they are."""


class RealSession:
    """A session whose real inputs are quantized, and whose integer outputs are made real.

    Args:
        session: The artifact's.
        ends: What its integers stand for.
    """

    def __init__(self, session: Session, ends: IntegerEnds) -> None:
        self._session = session
        self._ends = ends

    def run(self, inputs: Mapping[str, Array], *, repeat: int = 1) -> RunResult:
        """Run on inputs by name, `repeat` times; see `Session`."""
        ran = self._session.run(
            {name: self._quantize(name, array) for name, array in inputs.items()}, repeat=repeat
        )
        affines = self._ends.affines
        real = {n: affines[n].real(a) if n in affines else a for n, a in ran.outputs.items()}
        return replace(ran, outputs=real)

    def _quantize(self, name: str, array: Array) -> Array:
        affine = self._ends.affines.get(name)
        if affine is None or array.dtype.kind != "f":
            return array
        return affine.quantize(array, self._ends.dtypes[name].value)

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.__exit__(*exception)
