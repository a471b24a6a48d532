"""Quantized files that are made to be compared, and what is measured of each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edgeconv.artifact import measure_size
from edgeconv.formats import load_handler
from edgeconv.formats.handler import Session
from edgeconv.plugin.quantizer import FloatModel, Precision, QuantizationPlan, QuantizedFile
from edgeconv.quantization.evaluation import Evaluation, mean_snr_db
from edgeconv.quantization.evidence import OutputEvidence, compare_outputs
from edgeconv.quantization.metrics.spec import Metric
from edgeconv.signature import DType, Signature
from edgeconv.validation.integers import IntegerEnds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["Budget", "Candidate", "Workbench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a quantized model may lose.

    Attributes:
        metric: The figure that may become worse.
        max_drop: By how much, in the metric's own unit; None to measure only.
        before: The float model's figure.
        evaluation: The samples it is measured on.
    """

    metric: Metric
    max_drop: float | None
    before: float
    evaluation: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A quantized file, as it would be delivered, and its figures.

    Attributes:
        name: Tells it from others: `int8`, `int8, 3 operators in int16x8`.
        path: The file.
        plan: What it was made by.
        file: What came of the plan.
        size_bytes: Its size.
        snr_db: Of its outputs to the float model's, on samples that are not evaluated.
        outputs: How each of them differs from the float model's there.
        score: The metric's figure; None where nothing is evaluated.
        drop: By how much it is worse than the float model's.
        latency_seconds: Median of a run; None where it was not measured.
        is_within: Whether it meets the budget.
    """

    name: str
    path: Path
    plan: QuantizationPlan
    file: QuantizedFile
    size_bytes: int
    snr_db: float | None
    outputs: tuple[OutputEvidence, ...] = ()
    score: float | None = None
    drop: float | None = None
    latency_seconds: float | None = None
    is_within: bool = False


@dataclass(slots=True, kw_only=True)
class Workbench:
    """Makes candidates and measures them.

    Attributes:
        format: Format id of the files.
        suffix: Of their names.
        scratch: Where they are written.
        fidelity: Samples on which outputs are compared with the float model's.
        budget: Of what is evaluated; None where nothing is.
        signature: Of the float model; needed where `io` is no float.
        io: What float inputs and outputs of the files are.
        made: Every candidate, in order.
    """

    format: str
    suffix: str
    scratch: Path
    fidelity: Evaluation | None
    budget: Budget | None
    signature: Signature | None = None
    io: DType = DType.FLOAT32
    made: list[Candidate] = field(default_factory=list)

    def make(self, model: FloatModel, plan: QuantizationPlan, name: str) -> Candidate:
        """Quantize a model, and compare its outputs with the float model's.

        Raises:
            ConversionError: The library cannot do it.
        """
        path = self.scratch / f"{len(self.made):04}{self.suffix}"
        plan = replace(plan, io=self.io)
        file = model.quantize(plan, path)
        outputs = self._compare(path)
        candidate = Candidate(
            name=name,
            path=path,
            plan=plan,
            file=file,
            size_bytes=measure_size(path),
            snr_db=statistics.fmean(one.snr_db for one in outputs) if outputs else None,
            outputs=outputs,
        )
        self.made.append(candidate)
        return candidate

    def _compare(self, path: Path) -> tuple[OutputEvidence, ...]:
        """How a file's outputs differ from the float model's: looked at here, so that none need be kept."""
        if self.fidelity is None:
            return ()
        return compare_outputs(self.fidelity.reference, self.run(path, self.fidelity))

    def probe(self, model: FloatModel, plan: QuantizationPlan) -> float | None:
        """The fidelity of a plan in dB, of which nothing is kept.

        Inputs and outputs are those of the plan: rounded ones would hide what a single operator loses.

        Raises:
            ConversionError: The library cannot do it.
        """
        path = self.scratch / f"probe{self.suffix}"
        model.quantize(plan, path)
        if self.fidelity is None:
            return None
        return mean_snr_db(self.fidelity.reference, self.run(path, self.fidelity))

    def evaluate(self, candidate: Candidate) -> Candidate:
        """Measure the metric; the candidate with its figures takes the place of the one without."""
        if self.budget is None or candidate.score is not None:
            return candidate
        budget = self.budget
        score = budget.evaluation.measure(
            budget.metric, self.run(candidate.path, budget.evaluation)
        )
        # NaN is as bad as can be, and no reason to give up the other candidates.
        drop = budget.metric.drop(budget.before, score) if math.isfinite(score) else math.inf
        is_within = budget.max_drop is None or drop <= budget.max_drop + 1e-12
        return self._renew(
            candidate, replace(candidate, score=score, drop=drop, is_within=is_within)
        )

    def with_latency(self, candidate: Candidate, seconds: float) -> Candidate:
        """The candidate with its latency."""
        return self._renew(candidate, replace(candidate, latency_seconds=seconds))

    def run(self, path: Path, evaluation: Evaluation) -> dict[str, Array]:
        """What a file makes of some samples, in the float model's dtypes."""
        with self.open(path, threads=2) as session:
            return evaluation.run(lambda inputs: _outputs(session, inputs))

    def open(self, path: Path, *, threads: int) -> Session:
        """A file, to be run as the float model is: what it has in integers is converted by its own scales."""
        handler = load_handler(self.format)
        if self.io == DType.FLOAT32 or self.signature is None:
            return handler.open(path, threads=threads)
        ends = IntegerEnds.between(self.signature, handler, path)
        return ends.open(handler.open(path, threads=threads))

    def _renew(self, old: Candidate, new: Candidate) -> Candidate:
        self.made[self.made.index(old)] = new
        return new


def _outputs(session: Session, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return session.run(inputs).outputs


def is_integer(precision: Precision | None) -> bool:
    """Whether an operator computes in integers."""
    return precision is not None and (precision.is_static or precision.is_dynamic)
