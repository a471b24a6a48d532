"""Runs an artifact whose inputs or outputs are integers that stand for real numbers, as if they were these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from edgeconv.formats.affine import Affine
from edgeconv.formats.handler import FormatHandler, HasIntegerEnds, RunResult, Session
from edgeconv.signature import DType, Signature, TensorSpec

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["NO_INTEGERS", "IntegerEnds", "RealSession"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerEnds:
    """What the integers of an artifact's inputs and outputs stand for.

    Attributes:
        affines: By name, of those that stand for real numbers.
        dtypes: By name, those of the artifact's inputs.
    """

    affines: Mapping[str, Affine]
    dtypes: Mapping[str, DType]

    @staticmethod
    def of(handler: FormatHandler, path: Path, declared: Signature) -> IntegerEnds:
        """Those of a file; none in formats that have none.

        Raises:
            InvalidInputError: The file is damaged.
        """
        has_any = isinstance(handler, HasIntegerEnds)
        affines: Mapping[str, Affine] = handler.read_affines(path) if has_any else {}
        dtypes = {spec.name: spec.dtype for spec in declared.inputs}
        return IntegerEnds(affines=MappingProxyType(affines), dtypes=dtypes)

    def real_signature(self, declared: Signature) -> Signature:
        """The artifact's signature with float32 where it has integers that stand for real numbers."""
        return self._replaced(declared, dict.fromkeys(self.affines, DType.FLOAT32))

    def expected(self, model: Signature, declared: Signature) -> Signature:
        """The model's signature with the artifact's integers in place of the real numbers that they stand for."""
        floats = {s.name for s in (*model.inputs, *model.outputs) if s.dtype.is_floating}
        found = {spec.name: spec.dtype for spec in (*declared.inputs, *declared.outputs)}
        return self._replaced(
            model, {n: found[n] for n in self.affines if n in floats & set(found)}
        )

    def open(self, session: Session) -> Session:
        """A session that takes and gives real numbers."""
        return RealSession(session, self) if self.affines else session

    @staticmethod
    def _replaced(signature: Signature, dtypes: Mapping[str, DType]) -> Signature:
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
