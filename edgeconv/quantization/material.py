"""The data of a quantization: opened, told apart, and recorded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeconv.dims import evaluate
from edgeconv.errors import InvalidInputError, UsageError, counted
from edgeconv.formats import load_handler
from edgeconv.plugin.job import Json
from edgeconv.plugin.quantizer import FloatModel
from edgeconv.quantization.calibration import FEW_SAMPLES
from edgeconv.quantization.candidates import Budget
from edgeconv.quantization.dataset import Dataset, open_dataset
from edgeconv.quantization.evaluation import Evaluation, Run
from edgeconv.quantization.metrics import choose_metric
from edgeconv.quantization.preprocess import METADATA_KEY, Preprocess, read_preprocess
from edgeconv.quantization.request import QuantizationRequest
from edgeconv.signature import DType, Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

__all__ = ["Material", "open_material"]

_RANDOM_SAMPLES = 64
_FIDELITY_SAMPLES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Samples for each purpose.

    Attributes:
        calibration: Where samples to calibrate with are; None where nothing is calibrated.
        indices: Which of them.
        fidelity: Samples on which outputs are compared with the float model's; None if it runs on none.
        budget: What is evaluated; None without evaluation data.
        manifest: What was calibrated with, for the report.
        warnings: What the user should know.
    """

    calibration: Dataset | None
    indices: tuple[int, ...]
    fidelity: Evaluation | None
    budget: Budget | None
    manifest: Mapping[str, Json]
    warnings: tuple[str, ...]


def open_material(
    request: QuantizationRequest, model: FloatModel, *, needs_calibration: bool
) -> Material:
    """Open all data, and run the float model on what it is compared on.

    Raises:
        InvalidInputError: Data is missing, damaged, empty, or does not fit the model.
        UsageError: What is needed was not given.
    """
    signature = model.signature
    declared = load_handler(request.format).read_metadata(request.artifact).get(METADATA_KEY)
    preprocess = read_preprocess(request.preprocess, declared)
    evaluated = _open(request.data, request, signature, preprocess, "the evaluation data")
    calibration = _open(request.calibration, request, signature, preprocess, "the calibration data")
    warnings = [] if evaluated is None else [*evaluated.notes]
    if calibration is None and needs_calibration:
        calibration = _random(request, signature)
        warnings.append("calibrated on noise: the accuracy on real inputs may be anything")
    indices: tuple[int, ...] = ()
    if calibration is not None:
        indices, told = _select(calibration, evaluated, request)
        warnings += told
    with load_handler(request.format).open(request.artifact, threads=2) as session:

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return session.run(inputs).outputs

        fidelity, told = _fidelity(request, signature, run, (calibration, indices), evaluated)
        warnings += told
        budget = None if evaluated is None else _budget(request, evaluated, run)
    return Material(
        calibration=calibration,
        indices=indices,
        fidelity=fidelity,
        budget=budget,
        manifest=_manifest(request, calibration, indices, preprocess),
        warnings=tuple(warnings),
    )


def _fidelity(
    request: QuantizationRequest,
    signature: Signature,
    run: Run,
    calibration: tuple[Dataset | None, tuple[int, ...]],
    evaluated: Dataset | None,
) -> tuple[Evaluation | None, list[str]]:
    """Samples to compare outputs on: real ones if there are any, else noise; and what the user should know of them."""
    dataset, indices = calibration
    if dataset is None and evaluated is not None:
        dataset, indices = evaluated, tuple(range(evaluated.count))
    if dataset is not None:
        few = indices[:: max(1, len(indices) // _FIDELITY_SAMPLES)][:_FIDELITY_SAMPLES]
        return Evaluation.of(dataset, few, run, keeps_inputs=False), []
    noise = _noise(request.seed, signature)
    try:
        found = Evaluation.of(noise, range(noise.count), run, keeps_inputs=False)
    except InvalidInputError as error:
        return None, [f"not compared with the float model, which does not run on noise: {error}"]
    return found, ["compared with the float model on noise: give real inputs with --calibration"]


def _open(
    path: Path | None,
    request: QuantizationRequest,
    signature: Signature,
    preprocess: Preprocess | None,
    what: str,
) -> Dataset | None:
    if path is None:
        return None
    scratch = request.scratch / what.replace(" ", "-")
    return open_dataset(path, signature, scratch=scratch, preprocess=preprocess, what=what)


def _select(
    calibration: Dataset, evaluated: Dataset | None, request: QuantizationRequest
) -> tuple[tuple[int, ...], list[str]]:
    """The samples to calibrate with: none that is evaluated."""
    indices = calibration.select(request.most_samples, request.seed)
    warnings = []
    if evaluated is not None:
        held_out = set(evaluated.digests(range(evaluated.count)))
        kept = tuple(
            index
            for index, digest in zip(indices, calibration.digests(indices), strict=True)
            if digest not in held_out
        )
        if len(kept) < len(indices):
            left_out = counted(len(indices) - len(kept), "sample")
            warnings.append(
                f"{left_out} of the calibration data left out: also in the evaluation data"
            )
        indices = kept
    if 0 < len(indices) < FEW_SAMPLES:
        warnings.append(
            f"calibrated with {counted(len(indices), 'sample')} only: give {FEW_SAMPLES} or more for ranges that hold"
        )
    return indices, warnings


def _random(request: QuantizationRequest, signature: Signature) -> Dataset:
    """Noise to calibrate with.

    Raises:
        UsageError: It was not allowed.
    """
    if not request.random_samples:
        what, whose = f"recipe '{request.recipe}' needs", "activations"
        if request.io != DType.FLOAT32:
            what, whose = f"{request.io} inputs and outputs need", "what they stand for"
        raise UsageError(
            f"{what} real inputs to find the ranges of {whose}",
            why="there is no calibration data, and ranges found on noise lose accuracy without a word",
            hint="give --calibration DATA: a .npz, a folder of .npy, or of images (or --allow-random-calibration to try)",
        )
    return _noise(request.seed, signature)


def _noise(seed: int, signature: Signature) -> Dataset:
    random = np.random.default_rng(seed)
    sizes = signature.example_sizes()
    arrays = {spec.name: _draw(random, spec, sizes) for spec in signature.inputs}
    return Dataset([arrays], signature, "noise")


def _draw(random: np.random.Generator, spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape = (_RANDOM_SAMPLES, *(evaluate(size, sizes) for size in spec.shape))
    if spec.dtype.value.startswith("float"):
        return random.standard_normal(shape).astype(spec.dtype.value)
    if spec.dtype.value == "bool":
        return random.integers(0, 2, shape).astype(bool)
    return random.integers(0, 2, shape).astype(spec.dtype.value)


def _budget(
    request: QuantizationRequest,
    dataset: Dataset,
    run: Run,
) -> Budget:
    metric = choose_metric(request.metric, dataset.extra_names, request.python_path)
    indices = tuple(range(dataset.count))
    evaluation = Evaluation.of(dataset, indices, run, keeps_inputs=metric.needs_inputs)
    before = evaluation.measure(metric, evaluation.reference)
    if not math.isfinite(before):
        raise InvalidInputError(
            f"metric '{metric.name}' of the float model is {before}",
            hint="check the labels, the metric and the model's outputs",
        )
    return Budget(metric=metric, max_drop=request.max_drop, before=before, evaluation=evaluation)


def _manifest(
    request: QuantizationRequest,
    calibration: Dataset | None,
    indices: tuple[int, ...],
    preprocess: Preprocess | None,
) -> dict[str, Json]:
    if calibration is None:
        return {}
    total = hashlib.sha256()
    for digest in calibration.digests(indices):
        total.update(digest)
    return {
        "samples": len(indices),
        "of": calibration.count,
        "digest": total.hexdigest(),
        "seed": request.seed,
        "is_random": request.calibration is None,
        "preprocess": None if preprocess is None else preprocess.model_dump(mode="json"),
    }
