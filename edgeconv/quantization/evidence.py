"""What is said of a quantized file: its figures against the float model's, per output and per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.plugin.quantizer import FloatModel, QuantizedFile
from edgeconv.quantization.evaluation import Evaluation, snr_db
from edgeconv.quantization.plans import with_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = [
    "LayerEvidence",
    "OutputEvidence",
    "compare_layers",
    "compare_outputs",
    "describe_precision",
    "tell_lost_infinities",
]

_SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEvidence:
    """One operator of the float model, and what became of it.

    Attributes:
        name: Its name.
        code: The operator.
        precision: What it computes in.
        snr_db: Of its output to the float model's, over the samples; None where its output is gone, fused away.
        source: The line of the user's program.
        reason: Why it is not in the precision of the recipe.
    """

    name: str
    code: str
    precision: str
    snr_db: float | None
    source: str
    reason: str

    def to_json(self) -> dict[str, object]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEvidence:
    """How an output differs from the float model's over all samples.

    Attributes:
        name: Its name.
        snr_db: Signal-to-noise ratio.
        cosine: Cosine similarity.
        max_abs_error: The largest difference; None where something is not finite that should be.
        top1_agreement: The share of samples with the same largest value; None where the output is no row of classes.
        is_finite: Whether it is finite wherever the float model's is.
        has_lost_infinities: Whether it is finite somewhere where the float model's is infinite.
    """

    name: str
    snr_db: float
    cosine: float
    max_abs_error: float | None
    top1_agreement: float | None
    is_finite: bool
    has_lost_infinities: bool

    def to_json(self) -> dict[str, object]:
        """As JSON data."""
        return asdict(self)


def compare_layers(
    model: FloatModel,
    quantized: Path,
    file: QuantizedFile,
    fidelity: Evaluation | None,
    *,
    sources: Mapping[str, str],
) -> tuple[LayerEvidence, ...]:
    """Every operator in the order in which they run, with the error of its output on a few samples."""
    errors = _Errors()
    samples = fidelity.dataset.read(fidelity.indices[:_SAMPLES]) if fidelity is not None else ()
    for batch in samples:
        reference = {n: v.copy() for n, v in model.observe(batch.inputs).items()}
        errors.add(reference, model.observe_quantized(quantized, batch.inputs))
    return tuple(
        LayerEvidence(
            name=one.name,
            code=one.code,
            precision=describe_precision(file, one.name),
            snr_db=errors.snr_db(one.name),
            source=with_source(one, sources).source,
            reason=file.reasons.get(one.name, ""),
        )
        for one in model.operators
    )


def describe_precision(file: QuantizedFile, operator: str) -> str:
    """In a word what an operator computes in: `int8`, `int16x8`, `float32`, `int8 weights`."""
    precision = file.precisions.get(operator)
    if precision is None:
        return "float32"
    if precision.is_dynamic:
        return f"{precision.weights} dynamic"
    if precision.activations == "int16":
        return "int16x8"
    if precision.activations == "float32" and precision.weights != "float32":
        return f"{precision.weights} weights"
    return precision.activations


class _Errors:
    """Power of signal and noise of each tensor."""

    def __init__(self) -> None:
        self._power: dict[str, list[float]] = {}

    def add(self, reference: Mapping[str, Array], values: Mapping[str, Array]) -> None:
        for name, wanted in reference.items():
            got = values.get(name)
            if got is None or got.shape != wanted.shape or wanted.dtype.kind != "f":
                continue
            signal, noise = self._power.setdefault(name, [0.0, 0.0])
            finite = np.isfinite(wanted)
            exact = np.where(finite, wanted, 0).astype(np.float64)
            difference = np.where(finite, got, 0).astype(np.float64) - exact
            self._power[name] = [
                signal + float(np.square(exact).sum()),
                noise + float(np.square(difference).sum()),
            ]

    def snr_db(self, name: str) -> float | None:
        if name not in self._power:
            return None
        signal, noise = self._power[name]
        if not noise:
            return 200.0
        return round(float(10 * np.log10(max(signal, 1e-300) / noise)), 2)


def tell_lost_infinities(outputs: Sequence[OutputEvidence]) -> list[str]:
    """What to know of outputs that are infinite in the float model, as masked scores are, and finite now."""
    return [
        f"output '{one.name}' is infinite for some values in the float model, and finite here: look for large values, not for infinite ones"
        for one in outputs
        if one.has_lost_infinities
    ]


def compare_outputs(
    reference: Mapping[str, Array], outputs: Mapping[str, Array]
) -> tuple[OutputEvidence, ...]:
    """How each output differs from the float model's."""
    return tuple(_compare_output(name, wanted, outputs[name]) for name, wanted in reference.items())


def _compare_output(name: str, wanted: Array, got: Array) -> OutputEvidence:
    is_told = np.isfinite(wanted)  # a masked score is infinite, and says nothing
    is_finite = bool(np.isfinite(got[is_told]).all())
    exact = np.where(is_told, wanted, 0).astype(np.float64)
    other = np.where(is_told & np.isfinite(got), got, 0).astype(np.float64)
    lengths = float(np.linalg.norm(exact) * np.linalg.norm(other))
    is_classes = exact.ndim == 2 and exact.shape[1] > 1
    return OutputEvidence(
        name=name,
        snr_db=snr_db(wanted, got),
        cosine=float((exact * other).sum()) / lengths if lengths else 1.0,
        max_abs_error=float(np.abs(exact - other).max(initial=0.0)) if is_finite else None,
        top1_agreement=float(np.mean(wanted.argmax(1) == got.argmax(1))) if is_classes else None,
        is_finite=is_finite,
        has_lost_infinities=bool((np.isinf(wanted) & np.isfinite(got)).any()),
    )
