"""Adds the user's samples to the reference of a model that was captured without them, while it is still in memory."""

from __future__ import annotations

import shutil
from collections.abc import MutableMapping
from pathlib import Path

from edgeconv.data import Data
from edgeconv.errors import UsageError
from edgeconv.plugin.live import find_live
from edgeconv.validation.reference import Reference, read_reference
from edgeconv_converters.torch_export.bundle import write_reference
from edgeconv_converters.torch_export.code_on_demand import program_module
from edgeconv_converters.torch_export.exact import exact_runs
from edgeconv_converters.torch_export.layout import read_turned
from edgeconv_converters.torch_export.trial import Trial

__all__ = ["add_samples"]


def add_samples(
    context: MutableMapping[str, object], captured: Path, data: Data, output: Path
) -> Path:
    """Run the captured model on samples, and write a reference of these and of what it was run on before.

    Args:
        context: Where the capture left the model.
        captured: The folder of the capture.
        data: The samples.
        output: Folder for the new reference; made if missing.

    Returns:
        The folder of the new reference.

    Raises:
        UsageError: The model is no longer in memory.
        InvalidInputError: The samples cannot be read or do not fit, or the model fails on one.
    """
    live = find_live(context, captured / "model.pt2")
    if live is None:
        raise UsageError("the model is no longer in memory", hint="capture it again")
    before = read_reference(captured / "reference")
    trial = Trial(
        module=live.module,
        program=None if live.program is None else program_module(live.program),
        signature=live.signature,
        output_names=tuple(spec.name for spec in live.signature.outputs),
        bounded=frozenset(),
        seed=before.seed,
    )
    known = sum(case.kind == "sample" for case in before.cases)
    with exact_runs(trial, is_own_process=False) as exact:
        trial.run_samples(read_turned(data, live.signature, live.input_turns), first=known)
        write_reference(output, trial, exact, live.signature)
    _join(before, read_reference(output), output)
    return output


def _join(before: Reference, added: Reference, output: Path) -> None:
    """One reference of both: all cases, and the larger of each noise floor and range."""
    for case in before.cases:
        shutil.copyfile(case.path, output / case.path.name)
    Reference(
        signature=before.signature,
        cases=(*before.cases, *added.cases),
        noise_floor={
            name: max(floor, added.noise_floor[name]) for name, floor in before.noise_floor.items()
        },
        noise_source=before.noise_source,
        ranges={
            name: (min(low, added.ranges[name][0]), max(high, added.ranges[name][1]))
            for name, (low, high) in before.ranges.items()
        },
        seed=before.seed,
        notes=(*before.notes, *added.notes),
    ).write(output)
