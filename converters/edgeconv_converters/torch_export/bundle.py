"""Writes what the trial found as a reference: the cases, and the model's noise floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeconv.signature import Signature
from edgeconv.validation.reference import NoiseSource, Reference, write_case
from edgeconv.validation.tolerance import share_tolerance
from edgeconv_converters.torch_export.arrays import to_array
from edgeconv_converters.torch_export.evaluate import largest_difference, perturb, run
from edgeconv_converters.torch_export.exact import ExactRuns, is_rounded
from edgeconv_converters.torch_export.trial import Ran, Trial

__all__ = ["write_reference"]

# Ten times as much would pass: a tenth of the output's largest value.
_LOUD_FRACTION = 0.01
# Ten floors pass. Where values that are rounded otherwise tell how far apart two implementations are, three times as far will do.
_ROUNDED_SHARE = 0.3
_WHERE = {"rounding": "where activations are rounded the other way"}


def write_reference(
    folder: Path, trial: Trial, exact: ExactRuns, signature: Signature
) -> list[str]:
    """Write the bundle into `folder`.

    Args:
        folder: Made if missing.
        trial: What ran.
        exact: What of it runs in float64, or rounded otherwise.
        signature: Of the model.

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
    floors, source = _noise_floor(trial, exact)
    ranges = {name: _range(trial.ran, index) for index, name in enumerate(names)}
    notes = [*_special_values(trial, names), *_loud(trial, names, floors, ranges, source)]
    if source == "perturbation":
        notes.append(
            "the model does not run in float64: its noise floor is that of perturbed inputs"
        )
    Reference(
        signature=signature,
        cases=cases,
        noise_floor=dict(zip(names, floors, strict=True)),
        noise_source=source,
        ranges=ranges,
        seed=trial.seed,
        notes=tuple(notes),
    ).write(folder)
    return notes


def _noise_floor(trial: Trial, exact: ExactRuns) -> tuple[list[float], NoiseSource]:
    first = trial.ran[0]
    floors = [_Floor() for _ in first.outputs]
    state = trial.module.state_dict().values()
    if not any(is_rounded(tensor) for tensor in (*first.outputs, *first.inputs, *state)):
        return [0.0] * len(floors), "none"
    source: NoiseSource = "rounding" if exact.are_rounded_otherwise else "float64"
    for ran, found in exact.results():
        truths = found
        if truths is None:
            source = "perturbation"
            truths = run(trial.module, perturb(ran.inputs, trial.seed), trial.seed)
        for floor, mine, truth in zip(floors, ran.outputs, truths, strict=True):
            floor.add(mine, truth)
    share = _ROUNDED_SHARE if source == "rounding" else 1.0
    return [share * floor.value for floor in floors], source


@dataclass(slots=True)
class _Floor:
    """The noise floor of one output: a distance; of integers and truth values the share that flips."""

    distance: float = 0.0
    flipped: int = 0
    count: int = 0

    def add(self, mine: Tensor, truth: Tensor) -> None:
        if is_rounded(mine):
            distance = largest_difference(mine, truth)
            # An infinite distance is a value that overflows or is undefined, which is no rounding.
            self.distance = max(self.distance, distance if np.isfinite(distance) else 0.0)
        elif mine.shape == truth.shape:
            self.flipped += int((mine != truth.to(mine.dtype)).sum())
            self.count += mine.numel()

    @property
    def value(self) -> float:
        return self.flipped / self.count if self.count else self.distance


def _range(ran: list[Ran], index: int) -> tuple[float, float]:
    low, high = float("inf"), -float("inf")
    for one in ran:
        values = one.outputs[index]
        values = torch.view_as_real(values) if values.is_complex() else values.double()
        values = values[values.isfinite()]
        if values.numel():
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _loud(
    trial: Trial,
    names: list[str],
    floors: list[float],
    ranges: Mapping[str, tuple[float, float]],
    source: NoiseSource,
) -> Iterator[str]:
    """What the user should know of outputs that verification can tell little about."""
    where = _WHERE.get(source, "in float64")
    for name, floor, output in zip(names, floors, trial.ran[0].outputs, strict=True):
        largest = max(abs(limit) for limit in ranges[name])
        if not is_rounded(output) and floor:
            yield (
                f"output '{name}' follows from rounded numbers: {floor:.1%} of it flips {where},"
                f" and {share_tolerance(floor):.1%} may differ"
            )
        elif is_rounded(output) and floor > _LOUD_FRACTION * largest > 0:
            yield (
                f"output '{name}' depends on rounding: it is off by {floor:.1e} {where}, with a"
                f" largest value of {largest:.1e}: a wrong artifact may pass"
            )


def _special_values(trial: Trial, names: list[str]) -> list[str]:
    return [
        f"output '{name}' holds NaN for {trial.ran[0].drawn.name} inputs"
        for index, name in enumerate(names)
        if bool(trial.ran[0].outputs[index].isnan().any())
    ]
