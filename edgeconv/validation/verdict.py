"""What a comparison of an artifact with its reference found. Plain data: no framework, no NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import cast

from edgeconv.plugin.job import Json

__all__ = ["NO_SAMPLES", "OutputMetrics", "Verdict"]

NO_SAMPLES = "a quantized artifact is judged on real inputs, and there are none: give --samples FILE or --data DATA"
"""The problem of a verdict on nothing but noise, which is outside of the ranges that were calibrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputMetrics:
    """How one output differs from the reference, over all samples.

    Attributes:
        name: The output's name.
        max_abs_error: Largest absolute difference.
        mean_abs_error: Mean absolute difference.
        relative_error: Largest absolute difference over the reference's range (max - min); over its magnitude
            where all values are the same.
        cosine: Smallest cosine similarity of any sample; 1 is the same direction, and two zeros are the same.
        snr_db: Signal-to-noise ratio in dB; None when there is no difference at all, or no signal.
        top1_agreement: Share of positions whose largest class agrees; None where there are no classes.
        noise_floor: Largest absolute difference of the model in float32 and in float64; of integers and truth
            values the share that differs.
        error_over_floor: `max_abs_error` over the noise floor; None when the floor is 0, and for integers.
        tolerance: The largest absolute difference that passes; 0 for integers, some of which may differ where
            the floor says that they follow from rounded numbers.
        passed: Whether the output is within the tolerance, with NaN and Inf where the reference has them.
        reason: Why it did not pass.
        min_snr_db: The least signal-to-noise ratio that passes; None where `tolerance` decides.
        min_cosine: The least cosine similarity of a sample that passes; None where `tolerance` decides.
    """

    name: str
    max_abs_error: float
    mean_abs_error: float
    relative_error: float
    cosine: float
    snr_db: float | None
    top1_agreement: float | None
    noise_floor: float
    error_over_floor: float | None
    tolerance: float
    passed: bool
    reason: str = ""
    min_snr_db: float | None = None
    min_cosine: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an artifact is what the model is.

    Attributes:
        reference: What it was compared with.
        candidate: Digest of the artifact.
        format: Its format id.
        device: Where it ran.
        samples: How many inputs the outputs were compared on; of a quantized artifact only real ones count.
        sizes: The sizes of the dynamic dims it was run at, one mapping per group of samples.
        outputs: Metrics per output.
        problems: What is wrong with the names, order, dtypes, dims, or with running it at all.
        passed: No problem, and every output passed.
        first_divergence: The first tensor that diverges, where it was looked for.
        precision: `float32`, or the recipe that the artifact was quantized with.
        metrics: What was measured on labelled data, by name of the metric.
        reference_metrics: The same of the model.
        metric_samples: How many samples the metrics were measured on; 0 where there are none.
        notes: What the user should know of how it was judged.
    """

    reference: str
    candidate: str
    format: str
    device: str
    samples: int
    sizes: tuple[Mapping[str, int], ...]
    outputs: tuple[OutputMetrics, ...]
    problems: tuple[str, ...]
    passed: bool
    first_divergence: str | None = None
    precision: str = "float32"
    metrics: Mapping[str, float] = field(default_factory=dict)
    reference_metrics: Mapping[str, float] = field(default_factory=dict)
    metric_samples: int = 0
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> OutputMetrics | None:
        """The output with the largest error relative to its tolerance; of a quantized artifact the noisiest."""
        if any(output.min_snr_db is not None for output in self.outputs):
            noisy = [output for output in self.outputs if output.snr_db is not None]
            return min(noisy or self.outputs, key=lambda o: o.snr_db or 0.0)
        return max(self.outputs, key=lambda o: o.max_abs_error / (o.tolerance or 1.0), default=None)

    def summary(self) -> str:
        """One line that says whether it passed, and by how much or why not."""
        reasons = [*self.problems, *(f"'{o.name}' {o.reason}" for o in self.outputs if o.reason)]
        if not self.passed:
            return "; ".join(reasons) or "failed"
        worst = self.worst
        if worst is None:
            return "passed"
        if worst.min_snr_db is not None:
            snr = "no difference" if worst.snr_db is None else f"SNR {worst.snr_db:.1f} dB"
            return f"passed: {self.precision}, {snr}, cosine {worst.cosine:.4f}"
        floor = "" if worst.error_over_floor is None else f", {worst.error_over_floor:.1f} x floor"
        return f"passed: max abs error {worst.max_abs_error:.1e}{floor}"

    def to_json(self) -> dict[str, Json]:
        """The verdict as JSON data."""
        return cast("dict[str, Json]", asdict(self)) | {
            "sizes": [dict(size) for size in self.sizes],
            "outputs": [cast("Json", asdict(output)) for output in self.outputs],
            "problems": list(self.problems),
            "notes": list(self.notes),
            "metrics": dict(self.metrics),
            "reference_metrics": dict(self.reference_metrics),
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> Verdict:
        """The verdict that `to_json` wrote."""
        fields = dict(data)
        outputs = cast("list[dict[str, object]]", fields.pop("outputs"))
        sizes = cast("list[dict[str, int]]", fields.pop("sizes"))
        problems = cast("list[str]", fields.pop("problems"))
        notes = cast("list[str]", fields.pop("notes", []))
        return Verdict(
            outputs=tuple(OutputMetrics(**output) for output in outputs),  # type: ignore[arg-type]
            sizes=tuple(sizes),
            problems=tuple(problems),
            notes=tuple(notes),
            **fields,  # type: ignore[arg-type]
        )
