"""The Python interface: quantize an artifact; see `edgeconv.api` for the rest of it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from edgeconv.api import Silent, validate
from edgeconv.artifact import Artifact
from edgeconv.data import Data
from edgeconv.errors import ValidationError
from edgeconv.model import Model
from edgeconv.quantization.request import STEPS
from edgeconv.quantization_options import QuantizationChoices, make_options
from edgeconv.quantized_artifact import QuantizedArtifact
from edgeconv.quantizing import run_quantization

__all__ = ["quantize"]

_LOG = logging.getLogger(__name__)


def quantize(  # noqa: PLR0913 - one parameter for each option
    artifact: Artifact | str | Path,
    *,
    recipe: str | Path = "int8",
    calibration: Data | None = None,
    data: Data | None = None,
    metric: str = "",
    max_drop: float | None = None,
    optimize: Literal["size", "latency"] = "size",
    overrides: Mapping[str, str] | None = None,
    io: Literal["float32", "int8", "uint8"] = "float32",
    observer: str = "auto",
    prepare: Sequence[str] = STEPS,
    calibration_samples: int = 512,
    allow_random_calibration: bool = False,
    config: str | Path | None = None,
    reference: Model | str | Path | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    search_seconds: float = 170.0,
    seed: int = 0,
    use_cache: bool = True,
) -> QuantizedArtifact:
    """Quantize an artifact; it is verified, and measured against the float one, before it appears in `out`.

    Args:
        artifact: A float TFLite or ONNX artifact.
        recipe: `fp16`, `int8`, `int8-dynamic`, `int8-weights`, `int16x8`, `int4-weights`, `int4-weights-b32` and so on;
            `auto` for the best one within the budget; or the path of a `.recipe.json` that an earlier run saved.
        calibration: Real inputs, needed for `int8` and `int16x8`: a `.npz`, a folder of `.npy` or of images, a mapping from input
            name to array, batches of such mappings, or a function that returns them; the first axis counts samples.
        data: Held-out data of the same forms to measure accuracy on, with `label` or as `(mapping, labels)`.
        metric: `top1`, `top5`, `mAP`, `auc`, `mse`, `cosine`, `agreement` or `module:function`; top-1 with labels and agreement
            with the float model without, unless given.
        max_drop: How much the metric may become worse, in its own unit; the most sensitive operators keep more bits until it holds.
        optimize: What is best among those within the budget.
        overrides: Another recipe, or `float32`, by the pattern of operators' names or source lines.
        io: Dtype of the inputs and outputs that are float32.
        observer: `min-max`, `percentile`, `mse` or `entropy`; `auto` takes the one that serves this model best.
        prepare: Steps of the preparation; empty for the file as it is.
        calibration_samples: Most samples to calibrate with, selected by the seed; 0 for all.
        allow_random_calibration: Whether noise may take the place of `calibration`.
        config: An edgeconv.toml whose `[preprocess]` table says how images become inputs.
        reference: The model that the float artifact must agree with, checked first.
        out: Folder that receives the artifact, its report and its recipe; that of the artifact unless given.
        name: Names the files; the artifact's own name unless given.
        search_seconds: How long is searched within the budget at most.
        seed: Of the selection of samples.
        use_cache: Whether the result of the same quantization before is used, and this one's kept; with a metric of your own never.

    Returns:
        The quantized artifact with its `metrics` and the float one's, `reference_metrics`, both by name; its `snr_db`, `size_bytes` and
        `float_size_bytes`; a `summary()` in one line; and the paths of its `report` and its `page`, which have everything.

    Raises:
        ValidationError: Nothing within the budget was found, or the result computes NaN or nothing like the float model; the best is
            under `rejected/`.
        UsageError: The options mean nothing.
        InvalidInputError: The artifact or the data is damaged, does not fit, or says nothing.
        ConversionError: The library cannot quantize this model.
        MissingDependencyError: The library is not installed.
        OutputError: `out` cannot be written.

    Example:
        >>> import numpy, tempfile, torch, edgeconv as ec
        >>> model = ec.capture(torch.nn.Linear(8, 4), (torch.randn(1, 8),))
        >>> lite = ec.convert(model, to="tflite", out=tempfile.mkdtemp())["tflite"]
        >>> batches = [{"input": numpy.random.default_rng(n).normal(size=(8, 8)).astype("float32")} for n in range(8)]
        >>> held_out = {"input": numpy.random.default_rng(8).normal(size=(20, 8)).astype("float32")}
        >>> small = ec.quantize(lite, recipe="int8", calibration=batches, data=held_out, metric="cosine")
        >>> small.precision, small.path.name, small.report.name
        ('int8', 'model.int8.tflite', 'model.int8.tflite.report.json')
        >>> small.metrics["cosine"] > 0.99, small.reference_metrics["cosine"]
        (True, 1.0)
    """
    path = artifact.path if isinstance(artifact, Artifact) else Path(artifact)
    if reference is not None:
        verdict = validate(artifact, reference=reference)
        if not verdict.passed:
            raise ValidationError(
                f"'{path}' does not compute what its reference computes", why=verdict.summary()
            )
    with tempfile.TemporaryDirectory(prefix="edgeconv-data-") as folder:
        spooled = [
            _spool(items, path, Path(folder) / what, most=most, seed=seed)
            for what, items, most in (
                ("calibration", calibration, calibration_samples),
                ("data", data, 0),
            )
        ]
        choices = QuantizationChoices(
            recipe=str(recipe),
            calibration=spooled[0],
            data=spooled[1],
            metric=metric,
            max_drop=max_drop,
            optimize=optimize,
            overrides=tuple(f"{key}={value}" for key, value in (overrides or {}).items()),
            io=io,
            observer=observer,
            prepare=tuple(prepare) or ("none",),
            most_samples=calibration_samples,
            random_samples=allow_random_calibration,
            config=None if config is None else Path(config),
            search_seconds=search_seconds,
            seed=seed,
        )
        folder_out = path.parent if out is None else Path(out)
        done = run_quantization(
            make_options(path, folder_out, choices, name=name, use_cache=use_cache), Silent()
        )
    if done.report.alarm:
        _LOG.warning("'%s': %s", path, done.report.alarm)
    if done.artifact is None:
        raise done.error or ValidationError(f"'{path}' was not quantized")
    return done.artifact


def _spool(data: Data | None, artifact: Path, folder: Path, *, most: int, seed: int) -> Path | None:
    """Data where the worker reads it."""
    if data is None or isinstance(data, str | Path):
        return None if data is None else Path(data)
    from edgeconv.quantization.spooling import spool

    return spool(data, Artifact.read(artifact).signature, folder, most=most, seed=seed)
