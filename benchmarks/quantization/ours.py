"""edgeconv's own quantization, through its public interface and with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.quantization.cases import Case

__all__ = ["OURS", "quantize_ours"]

OURS: Mapping[str, str] = {"edgeconv tflite": "tflite", "edgeconv onnx": "onnx"}
"""Format id by the name that the report shows."""


def quantize_ours(
    case: Case, recipe: str, format_id: str, *, max_drop: float | None = None
) -> Path:
    """Quantize the float artifact of a case; the path of the result.

    Args:
        case: The model, and its calibration data.
        recipe: Name of a recipe.
        format_id: `tflite` or `onnx`.
        max_drop: The budget of a search on the held-out samples; None for no search.
    """
    import edgeconv as ec

    artifact = ec.Artifact.read(case.artifact(format_id))
    out = case.folder / f"edgeconv-{recipe}{'' if max_drop is None else '-searched'}"
    if max_drop is None:
        return ec.quantize(
            artifact, recipe=recipe, calibration=case.calibration_file, out=out, use_cache=False
        ).path
    return ec.quantize(
        artifact,
        recipe=recipe,
        calibration=case.calibration_file,
        data=case.test_file,
        metric=case.metric,
        max_drop=max_drop,
        out=out,
        use_cache=False,
    ).path
