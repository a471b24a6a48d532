"""What a model computes, on disk: inputs, the outputs it gave for them, and the model's noise floor.

Capture writes this bundle once; every later verification, in whatever process and runtime, reads it with NumPy
alone, so that nothing but the artifact's own runtime is needed to judge an artifact.

A bundle is a folder: `reference.json`, and one `.npz` per case with the arrays `input/<name>` and
`output/<name>`. NumPy has no bfloat16: such tensors are stored as float32, which holds every value exactly.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from edgeconv.errors import InvalidInputError
from edgeconv.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["Case", "CaseKind", "NoiseSource", "Reference", "read_reference", "write_case"]

CaseKind: TypeAlias = Literal["example", "noise", "sample", "sizes"]
NoiseSource: TypeAlias = Literal["float64", "rounding", "perturbation", "none"]

_FILE = "reference.json"
_SCHEMA = "edgeconv.reference/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of the model: `inputs` and `outputs` read their file anew on every call.

    Attributes:
        name: `example`, `noise_0`, `sample_3`, `sizes_1`; also the stem of its file.
        kind: Where the inputs come from.
        sizes: The sizes of the dynamic dims.
        path: The `.npz` file.
    """

    name: str
    kind: CaseKind
    sizes: Mapping[str, int]
    path: Path

    def inputs(self) -> dict[str, Array]:
        """Input arrays by name."""
        return self._read("input/")

    def outputs(self) -> dict[str, Array]:
        """What PyTorch computed, by output name."""
        return self._read("output/")

    def _read(self, prefix: str) -> dict[str, Array]:
        import numpy as np

        try:
            # NumPy leaves a file open that it fails to read.
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                return {
                    key[len(prefix) :]: arrays[key]
                    for key in arrays.files
                    if key.startswith(prefix)
                }
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(self.path, str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A bundle.

    Attributes:
        signature: Of the model.
        cases: All runs; the example comes first.
        noise_floor: Per output, the largest absolute difference between float32 and float64; of integers and
            truth values the share that differs.
        noise_source: How the floor was found: `float64`; or `rounding` of a model that rounds its activations to integers,
            with values that lie between two integers going to the other one; or `perturbation` of float32 where float64 could
            not be evaluated, or `none` where no output is a floating-point number.
        ranges: Per output, the smallest and largest finite value over all cases.
        seed: What the random inputs were drawn from.
        computed_by: What gave the outputs, for people.
    """

    signature: Signature
    cases: tuple[Case, ...]
    noise_floor: Mapping[str, float]
    noise_source: NoiseSource
    ranges: Mapping[str, tuple[float, float]]
    seed: int
    notes: tuple[str, ...] = field(default=())
    computed_by: str = "PyTorch, float32"

    def groups(self) -> Iterator[tuple[Mapping[str, int], tuple[Case, ...]]]:
        """Cases that share the sizes of their dynamic dims, in order of first appearance."""
        seen: dict[tuple[tuple[str, int], ...], list[Case]] = {}
        for case in self.cases:
            seen.setdefault(tuple(sorted(case.sizes.items())), []).append(case)
        for sizes, cases in seen.items():
            yield dict(sizes), tuple(cases)

    def joined(self, more: Reference) -> Reference:
        """The same with the cases of another bundle of the same model, whose own noise was not measured.

        Where its outputs are larger, what float32 rounds off is taken to be larger by as much.
        """
        floors = {
            spec.name: self.noise_floor[spec.name] * self._growth(more, spec)
            for spec in self.signature.outputs
        }
        ranges = {
            name: (min(low, more.ranges[name][0]), max(high, more.ranges[name][1]))
            for name, (low, high) in self.ranges.items()
        }
        cases = (*self.cases, *more.cases)
        return replace(self, cases=cases, ranges=ranges, noise_floor=floors)

    def _growth(self, more: Reference, spec: TensorSpec) -> float:
        """By how much the outputs of another bundle are larger; of integers the floor is a share, which does not grow."""
        if not (spec.dtype.is_floating or spec.dtype.is_complex):
            return 1.0
        before, now = (max(map(abs, one.ranges[spec.name])) for one in (self, more))
        return max(1.0, now / before) if before else 1.0

    def write(self, folder: Path) -> None:
        """Write `reference.json`; the cases' own files are already in `folder` (see `write_case`)."""
        data = {
            "schema": _SCHEMA,
            "signature": self.signature.to_json(),
            "cases": [
                {"name": c.name, "kind": c.kind, "sizes": dict(c.sizes), "file": c.path.name}
                for c in self.cases
            ],
            "noise_floor": dict(self.noise_floor),
            "noise_source": self.noise_source,
            "ranges": {name: list(limits) for name, limits in self.ranges.items()},
            "seed": self.seed,
            "notes": list(self.notes),
            "computed_by": self.computed_by,
        }
        (folder / _FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def write_case(
    folder: Path,
    name: str,
    kind: CaseKind,
    sizes: Mapping[str, int],
    *,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> Case:
    """Write the arrays of one run into `folder`."""
    import numpy as np

    path = folder / f"{name}.npz"
    arrays = {f"input/{key}": array for key, array in inputs.items()}
    arrays |= {f"output/{key}": array for key, array in outputs.items()}
    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stub takes the keys for options
    return Case(name=name, kind=kind, sizes=dict(sizes), path=path)


def read_reference(folder: Path) -> Reference:
    """Read a bundle; arrays are read when asked for.

    Raises:
        InvalidInputError: The folder is no reference bundle, or damaged.
    """
    path = folder / _FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != _SCHEMA:
            raise _damaged(path, f"its schema is {data['schema']!r}, not {_SCHEMA!r}")
        return _from_json(folder, data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _from_json(folder: Path, data: Mapping[str, object]) -> Reference:
    floors = cast("Mapping[str, float]", data["noise_floor"])
    ranges = cast("Mapping[str, list[float]]", data["ranges"])
    source = str(data["noise_source"])
    if source not in get_args(NoiseSource):
        raise ValueError(f"unknown noise source {source!r}")
    return Reference(
        signature=Signature.from_json(cast("Mapping[str, object]", data["signature"])),
        cases=tuple(
            _case_from_json(folder, item)
            for item in cast("list[Mapping[str, object]]", data["cases"])
        ),
        noise_floor={name: float(value) for name, value in floors.items()},
        noise_source=cast("NoiseSource", source),
        ranges={name: (float(low), float(high)) for name, (low, high) in ranges.items()},
        seed=int(str(data["seed"])),
        notes=tuple(cast("list[str]", data.get("notes") or [])),
        computed_by=str(data["computed_by"]),
    )


def _case_from_json(folder: Path, data: Mapping[str, object]) -> Case:
    return Case(
        name=str(data["name"]),
        kind=cast("CaseKind", data["kind"]),
        sizes=dict(cast("Mapping[str, int]", data["sizes"])),
        path=folder / Path(str(data["file"])).name,
    )


def _damaged(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"'{path}' is not a reference that edgeconv can read",
        why=why,
        hint="capture the model again; `edgeconv cache clear` if it came from the cache",
    )
