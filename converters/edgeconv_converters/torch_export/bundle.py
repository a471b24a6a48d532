"""Writes what the trial found as a reference: the cases, and the model's noise floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from edgeconv.signature import Signature
from edgeconv.validation.reference import NoiseSource, Reference, write_case
from edgeconv_converters.torch_export.arrays import to_array
from edgeconv_converters.torch_export.evaluate import (
    largest_difference,
    perturb,
    run,
    run_in_float64,
)
from edgeconv_converters.torch_export.trial import Ran, Trial

__all__ = ["write_reference"]

_MAX_FLOAT64_CASES = 4


def write_reference(
    folder: Path, trial: Trial, signature: Signature, program: ExportedProgram | None
) -> list[str]:
    """Write the bundle into `folder`.

    Returns:
        What the user should know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [spec.name for spec in signature.outputs]
    cases = tuple(
        write_case(
            folder,
            ran.drawn.name,
            ran.drawn.kind,
            ran.drawn.sizes,
            inputs=ran.drawn.inputs,
            outputs={n: to_array(t) for n, t in zip(names, ran.outputs, strict=True)},
        )
        for ran in trial.ran
    )
    floors, source = _noise_floor(trial, program)
    notes = _special_values(trial, names)
    if source == "perturbation":
        notes.append(
            "the model does not run in float64: its noise floor is that of perturbed inputs"
        )
    Reference(
        signature=signature,
        cases=cases,
        noise_floor=dict(zip(names, floors, strict=True)),
        noise_source=source,
        ranges={name: _range(trial.ran, index) for index, name in enumerate(names)},
        seed=trial.seed,
        notes=tuple(notes),
    ).write(folder)
    return notes


def _noise_floor(trial: Trial, program: ExportedProgram | None) -> tuple[list[float], NoiseSource]:
    outputs = trial.ran[0].outputs
    floors = [0.0] * len(outputs)
    if not any(o.is_floating_point() or o.is_complex() for o in outputs):
        return floors, "none"
    source: NoiseSource = "float64"
    for ran in _spread(trial.ran):
        exact = run_in_float64(program, trial.module, ran.inputs)
        if exact is None:
            source = "perturbation"
            exact = run(trial.module, perturb(ran.inputs, trial.seed), trial.seed)
        for index, (mine, truth) in enumerate(zip(ran.outputs, exact, strict=True)):
            floors[index] = max(floors[index], _distance(mine, truth))
    return floors, source


def _spread(ran: list[Ran]) -> list[Ran]:
    """The first cases, and the first of each other kind: float64 costs several times float32."""
    kinds = {one.drawn.kind: one for one in reversed(ran)}
    chosen = [*ran[:2], *(one for kind, one in kinds.items() if kind not in ("example", "noise"))]
    return chosen[:_MAX_FLOAT64_CASES]


def _distance(mine: Tensor, truth: Tensor) -> float:
    if mine.is_floating_point() or mine.is_complex():
        distance = largest_difference(mine, truth)
        return distance if np.isfinite(distance) else 0.0
    # Integers that follow from rounded numbers may flip: then the floor says so.
    return 0.0 if torch.equal(mine, truth.to(mine.dtype)) else 1.0


def _range(ran: list[Ran], index: int) -> tuple[float, float]:
    low, high = float("inf"), -float("inf")
    for one in ran:
        values = one.outputs[index]
        values = torch.view_as_real(values) if values.is_complex() else values.double()
        values = values[values.isfinite()]
        if values.numel():
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _special_values(trial: Trial, names: list[str]) -> list[str]:
    return [
        f"output '{name}' holds NaN for {trial.ran[0].drawn.name} inputs"
        for index, name in enumerate(names)
        if bool(trial.ran[0].outputs[index].isnan().any())
    ]
