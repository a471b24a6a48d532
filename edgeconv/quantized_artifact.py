"""What `ec.quantize` gives: the smaller artifact, with what was measured on it beside the float one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.report.figures import format_size

__all__ = ["QuantizedArtifact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedArtifact(Artifact):
    """A quantized artifact and its evidence; metrics are named as those of a `Verdict` are.

    Attributes:
        metrics: Its accuracy on `data`, by name of the metric; empty where there was no data.
        reference_metrics: The same of the float artifact that it was made from.
        drop: By how much it is worse, in the metric's own unit; negative where it is better, None where there was no data.
        snr_db: Signal-to-noise ratio of its outputs to the float artifact's; 200 where they are the same.
        float_size_bytes: Bytes of the float artifact.
        report: Everything that was measured and tried, as JSON.
        page: The same as a page.
        warnings: What its user should know.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    reference_metrics: Mapping[str, float] = field(default_factory=dict)
    drop: float | None = None
    snr_db: float | None = None
    float_size_bytes: int
    report: Path
    page: Path
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """Accuracy, size and noise beside the float artifact's, in one line."""
        accuracy = [
            f"{name} {figure:.4f} (float {self.reference_metrics[name]:.4f})"
            for name, figure in self.metrics.items()
        ]
        size = f"{format_size(self.size_bytes)} of {format_size(self.float_size_bytes)}"
        noise = [] if self.snr_db is None else [f"SNR {self.snr_db:.1f} dB"]
        return ", ".join([f"{self.precision}: {size}", *accuracy, *noise])
