"""Records what a model file of another framework computes: it is run in its own runtime, and is its own reference.

The counterpart of the capture of PyTorch models. There is no float64 form of such a file, so its noise floor is how
far its outputs move when every input moves by one rounding step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from edgeconv.artifact import digest_path
from edgeconv.dims import DimExpr, Size, is_static
from edgeconv.errors import InvalidInputError
from edgeconv.formats import find_format, load_handler
from edgeconv.formats.handler import Array, Session
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.signature import Dim, DType, InputSpec, Signature, TensorSpec
from edgeconv.validation.cases import Drawer, Drawn, choose_sizes, draw_first
from edgeconv.validation.reference import NoiseSource, Reference, write_case
from edgeconv.validation.samples import read_samples
from edgeconv.validation.shapes import Observed, infer_shape

__all__ = ["observe"]

_NOISE_CASES = 2
_BATCH = "N"


def observe(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:  # noqa: ARG001 - the worker's interface
    """Run the model file `inputs["source"]` on seeded inputs and write the folder `output` with its reference.

    Args:
        request: The JSON of a `Job`; options: `format`, `inputs`: what the user says of them.
        context: Of the worker; not used.

    Raises:
        InvalidInputError: The file is damaged, or does not run on inputs of its signature.
        MissingDependencyError: The runtime of the format is not installed.
    """
    job = Job.from_json(request)
    path, format_id = job.inputs["source"], str(job.options["format"])
    handler = load_handler(format_id)
    given = [
        InputSpec.from_json(item)
        for item in cast("list[dict[str, object]]", job.options.get("inputs") or [])
    ]
    signature = _settle_inputs(handler.read_signature(path), given)
    with handler.open(path) as session:
        trial = _Trial(session, signature, job.seed)
        trial.run(job.inputs.get("samples"))
    signature = trial.describe()
    trial.write(job.output / "reference", signature, find_format(format_id).title)
    details: dict[str, Json] = {
        "signature": cast("Json", signature.to_json()),
        "source_digest": digest_path(path),
        "notes": list(trial.facts),
    }
    return JobResult(output=job.output, warnings=tuple(trial.notes), details=details).to_json()


def _settle_inputs(declared: Signature, given: Sequence[InputSpec]) -> Signature:
    """What the file declares, with what the user says of dims; first axes that are free are one batch.

    Raises:
        InvalidInputError: The user names an input that the file has not, or another dtype or rank.
    """
    specs = {item.tensor.name: item for item in given}
    names = [spec.name for spec in declared.inputs]
    for name in specs:
        if name not in names:
            raise InvalidInputError(
                f"the model has no input '{name}'", hint=f"its inputs are {', '.join(names)}"
            )
    dims = {dim.name: dim for item in given for dim in item.dims}
    known = {dim.name: dim for dim in declared.dims}
    inputs = []
    for spec in declared.inputs:
        settled = _take(spec, specs[spec.name]) if spec.name in specs else _name_batch(spec, known)
        for size in settled.shape:
            if isinstance(size, DimExpr):
                dims.setdefault(str(size), known.get(str(size), Dim(name=str(size), example=1)))
        inputs.append(settled)
    return Signature(inputs=tuple(inputs), outputs=(), dims=tuple(dims.values()))


def _take(spec: TensorSpec, given: InputSpec) -> TensorSpec:
    wanted = given.tensor
    fits = wanted.dtype == spec.dtype and len(wanted.shape) == len(spec.shape)
    if not fits or any(
        is_static((own,)) and own != size
        for own, size in zip(spec.shape, wanted.shape, strict=True)
    ):
        raise InvalidInputError(
            f"--input '{wanted}' does not fit the model", why=f"the file declares {spec}"
        )
    return wanted


def _name_batch(spec: TensorSpec, known: dict[str, Dim]) -> TensorSpec:
    """Files that do not name their dims leave the batch of each input unnamed: it is the same one."""
    unnamed = f"{spec.name}_0"
    if not spec.shape or str(spec.shape[0]) != unnamed or unnamed not in known:
        return spec
    rest: tuple[Size, ...] = spec.shape[1:]
    return replace(spec, shape=(DimExpr.symbol(_BATCH), *rest))


class _Trial:
    """Runs a session on case after case and keeps what it gave.

    Args:
        session: The opened model.
        signature: Its inputs.
        seed: All is drawn from it.
    """

    def __init__(self, session: Session, signature: Signature, seed: int) -> None:
        self._session = session
        self._signature = signature
        self._seed = seed
        self._ran: list[tuple[Drawn, dict[str, Array]]] = []
        self._floors: dict[str, float] = {}
        self.notes: list[str] = []
        self.facts: list[str] = []

    def run(self, samples: Path | None) -> None:
        """Run the example, noise, the user's samples, and other sizes of every dynamic dim.

        Raises:
            InvalidInputError: The model does not run on inputs of its own signature, or on a sample.
        """
        sizes = self._signature.example_sizes()
        first = draw_first(self._signature.inputs, sizes, self._seed)
        self._add(Drawn(name="example", kind="example", sizes=sizes, inputs=first))
        drawer = Drawer(self._signature.inputs, first, self._seed)
        for number in range(_NOISE_CASES):
            self._add(drawer.draw(f"noise_{number}", "noise", sizes, number))
        for drawn in self._sampled(samples):
            self._add(drawn)
        for number, candidates in enumerate(choose_sizes(self._signature.dims)):
            self._add_first(drawer, number, candidates)
        self._floors = self._perturb()

    def _sampled(self, samples: Path | None) -> Iterator[Drawn]:
        if samples is None:
            return
        read = read_samples(samples, self._signature)
        self.facts += filter(None, [read.note])
        for number, sample in enumerate(read.items):
            name = f"sample_{number}"
            yield Drawn(name=name, kind="sample", sizes=sample.sizes, inputs=sample.inputs)

    def _add(self, drawn: Drawn) -> None:
        self._ran.append((drawn, self._session.run(drawn.inputs).outputs))

    def _add_first(
        self, drawer: Drawer, number: int, candidates: Sequence[Mapping[str, int]]
    ) -> None:
        refusals = []
        for sizes in candidates:
            try:
                self._add(drawer.draw(f"sizes_{number}", "sizes", sizes, 100 + number))
            except InvalidInputError as error:
                refusals.append(error.why or error.message)
            else:
                return
        self.notes.append(f"not verified at {dict(candidates[0])}: {refusals[0]}")

    def _perturb(self) -> dict[str, float]:
        floors = dict.fromkeys(self._ran[0][1], 0.0)
        generator = np.random.default_rng([self._seed, 1000])
        for drawn, outputs in self._ran[: 1 + _NOISE_CASES]:
            moved = {name: _move(array, generator) for name, array in drawn.inputs.items()}
            for name, array in self._session.run(moved).outputs.items():
                floors[name] = max(floors[name], _distance(array, outputs[name]))
        return floors

    def describe(self) -> Signature:
        """The signature with its outputs, their shapes inferred from the runs."""
        names = list(self._ran[0][1])
        runs = [
            Observed(sizes=drawn.sizes, shapes=tuple(outputs[name].shape for name in names))
            for drawn, outputs in self._ran
        ]
        outputs = tuple(
            TensorSpec(
                name=name,
                dtype=DType(self._ran[0][1][name].dtype.name),
                shape=infer_shape(name, index, runs),
            )
            for index, name in enumerate(names)
        )
        return replace(self._signature, outputs=outputs)

    def write(self, folder: Path, signature: Signature, computed_by: str) -> None:
        """Write the reference."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [spec.name for spec in signature.outputs]
        source: NoiseSource = "perturbation" if any(self._floors.values()) else "none"
        Reference(
            signature=signature,
            cases=tuple(
                write_case(
                    folder,
                    drawn.name,
                    drawn.kind,
                    drawn.sizes,
                    inputs=drawn.inputs,
                    outputs=outputs,
                )
                for drawn, outputs in self._ran
            ),
            noise_floor=self._floors,
            noise_source=source,
            ranges={name: _range([outputs[name] for _, outputs in self._ran]) for name in names},
            seed=self._seed,
            notes=tuple(self.notes),
            computed_by=computed_by,
        ).write(folder)


def _move(array: Array, generator: np.random.Generator) -> Array:
    """Every floating-point number off by one rounding step, up or down at random."""
    if array.dtype.kind != "f":
        return array
    towards = np.where(generator.integers(0, 2, array.shape) == 1, np.inf, -np.inf)
    moved: Array = np.nextafter(array, towards.astype(array.dtype))
    return moved


def _distance(left: Array, right: Array) -> float:
    if left.dtype.kind not in "fc":
        # What follows from rounded numbers may flip: then the floor says so.
        return 0.0 if np.array_equal(left, right) else 1.0
    finite = np.isfinite(left) & np.isfinite(right)
    wide = np.complex128 if left.dtype.kind == "c" else np.float64
    distances = np.abs(np.asarray(left, wide) - np.asarray(right, wide))[finite]
    return float(distances.max()) if distances.size else 0.0


def _range(arrays: Sequence[Array]) -> tuple[float, float]:
    parts = [
        part
        for array in arrays
        for part in ((array.real, array.imag) if array.dtype.kind == "c" else (array,))
    ]
    values = np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
