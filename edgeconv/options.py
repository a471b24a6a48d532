"""What the user asks of a conversion, as typed data, and what of it means nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError, counted
from edgeconv.execute.records import CRITERIA, Criterion

__all__ = [
    "DEFAULT_GOALS",
    "DIAGNOSIS_SECONDS",
    "ConversionOptions",
    "as_criterion",
    "check_diagnosis",
    "check_numbers",
]

DEFAULT_GOALS = ("onnx", "torchscript", "savedmodel", "tflite")
"""What a model is converted to unless the user says otherwise."""

DIAGNOSIS_SECONDS = 60.0
"""How long failures are looked into unless the user says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """What the user asked for.

    Attributes:
        model: The model as the user wrote it: a file or a factory.
        out: Folder that receives the artifacts and the report.
        goals: Format ids.
        name: The model's name; that of the factory or the file unless given.
        inputs: One description for each input, such as `image:float32[N=1,3,224,224]`.
        weights: Weights for a factory.
        samples: Real inputs to verify with.
        via: Converters or formats that routes must pass.
        avoid: Converters or formats that no route may pass.
        best: What decides between the artifacts of all routes; the first that is verified is taken unless given.
        jobs: Steps that may run side by side; None for one per core.
        timeout_seconds: For one step; None for no limit.
        use_cache: Whether results of earlier runs are used, and kept.
        trust: Whether a pickle may run code when it is read.
        seed: For anything random.
        metadata: Stored inside artifacts: author, description.
        labels: File with one class name per line, stored inside artifacts.
        layout: The layout that images are to go in and come out in: `nchw` or `nhwc`; the model's own if None.
        diagnosis_seconds: How long the smallest part of the model that fails may be looked for when a format failed;
            0 not to look.
        command: The command line, for the report; empty when called from Python.
    """

    model: str
    out: Path
    goals: tuple[str, ...] = DEFAULT_GOALS
    name: str | None = None
    inputs: tuple[str, ...] = ()
    weights: Path | None = None
    samples: Path | None = None
    via: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    best: Criterion | None = None
    jobs: int | None = None
    timeout_seconds: float | None = None
    use_cache: bool = True
    trust: bool = False
    seed: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    labels: Path | None = None
    layout: str | None = None
    diagnosis_seconds: float = DIAGNOSIS_SECONDS
    command: tuple[str, ...] = ()


def check_numbers(*, seed: int, timeout_seconds: float | None = None) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UsageError: The seed is none that all random generators take, or the timeout is no time.
    """
    if timeout_seconds is not None and not 0 < timeout_seconds < math.inf:
        raise UsageError(
            f"a timeout of {counted(timeout_seconds, 'second')} means nothing",
            hint="give a number of seconds above 0, or none for no limit",
        )
    if not 0 <= seed < 2**63:
        raise UsageError(f"{seed} is no seed", hint="give a number from 0 to 2**63 - 1")


def check_diagnosis(seconds: float) -> None:
    """Refuse what is no time.

    Raises:
        UsageError: It is negative, infinite or not a number.
    """
    if not 0 <= seconds < math.inf:
        raise UsageError(
            f"failures cannot be looked into for {counted(seconds, 'second')}",
            hint="give a number of seconds, or 0 not to look into them",
        )


def as_criterion(best: str | None) -> Criterion | None:
    """What the user compares by.

    Raises:
        UsageError: It is no criterion.
    """
    if best is None:
        return None
    for known in CRITERIA:
        if best == known:
            return known
    raise UsageError(f"nothing is compared by '{best}'", hint=f"use one of: {', '.join(CRITERIA)}")
