"""What is told of a quantization that ended: the figures of what was chosen and of everything that was tried."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from edgeconv.artifact import measure_size
from edgeconv.errors import EdgeconvError, counted
from edgeconv.plugin.job import Json
from edgeconv.plugin.quantizer import FLOAT32, QuantizedFile
from edgeconv.quantization.alarm import find_alarm
from edgeconv.quantization.candidates import Candidate, is_integer
from edgeconv.quantization.engine import Attempt, Result
from edgeconv.quantization.evaluation import Evaluation
from edgeconv.quantization.evidence import (
    LayerEvidence,
    compare_layers,
    tell_lost_infinities,
)
from edgeconv.quantization.observers import is_sparse
from edgeconv.quantization.reasons import find_reasons
from edgeconv.quantization.recipes import name_precision
from edgeconv.quantization.request import QuantizationRequest
from edgeconv.signature import DType

__all__ = ["Account", "give_account", "mark_pareto"]

_ENTROPY = "entropy"
_CUT_SHORT = "the search ended when its {:g} seconds were over: with more --search-seconds it may find a better file"
_SLOWER = 1.05  # less is noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A quantization that ended.

    Attributes:
        chosen: The file that is best.
        facts: All about it, as JSON data.
    """

    chosen: Path
    facts: dict[str, Json]


def give_account(request: QuantizationRequest, result: Result) -> Account:
    """Measure what is left to measure, and tell everything.

    Raises:
        InvalidInputError: The chosen file does not run.
    """
    assert result.chosen is not None
    attempt, candidate = result.chosen
    material, float_seconds = result.material, result.float_seconds
    path, file = candidate.path, candidate.file
    layers, problems = _layers(request, result, path, file)
    alarm = find_alarm(request, attempt.recipe.name, material.budget, candidate)
    warnings = [*([alarm] if alarm else []), *_warnings(request, result, problems)]
    facts: dict[str, object] = {
        "recipe": attempt.recipe.name,
        "io": request.io.value,
        "observer": attempt.observer if _needs_ranges(candidate) else None,
        "preparation": attempt.prepared.changes,
        "calibration": dict(material.manifest) or None,
        "evaluation": _evaluation(result, candidate),
        "is_met": result.is_met,
        "is_cut_short": result.is_cut_short,
        "float": {"size_bytes": measure_size(request.artifact), "latency_seconds": float_seconds},
        "size_bytes": measure_size(path),
        "latency_seconds": candidate.latency_seconds,
        "snr_db": candidate.snr_db,
        "integer_share": _integer_share(file, layers),
        "precisions": dict(Counter(layer.precision for layer in layers)),
        "operators_kept": _kept(layers),
        "outputs": [one.to_json() for one in candidate.outputs],
        "compared_samples": len(material.fidelity.indices) if material.fidelity else 0,
        "layers": [layer.to_json() for layer in layers],
        "ranking": [{"operator": one.operator, "snr_db": one.snr_db} for one in result.ranking],
        "candidates": _candidates(result, candidate),
        "chosen": candidate.name,
        "reproduce": _reproduce(request, attempt, candidate),
        "versions": dict(file.versions),
        "alarm": alarm or None,
        "warnings": list(dict.fromkeys(warnings)),
    }
    return Account(chosen=path, facts=cast("dict[str, Json]", facts))


def _warnings(
    request: QuantizationRequest, result: Result, problems: Sequence[str]
) -> Iterator[str]:
    """What the user should know, `problems` of looking into the file among it."""
    assert result.chosen is not None
    attempt, candidate = result.chosen
    yield from result.warnings
    yield from attempt.prepared.notes
    yield from _sparse_activations(attempt, candidate)
    if result.is_cut_short:
        yield _CUT_SHORT.format(request.search_seconds)
    yield from candidate.file.warnings
    yield from problems
    yield from tell_lost_infinities(candidate.outputs)
    yield from _disappointments(candidate, request.artifact, result.float_seconds)


def _needs_ranges(candidate: Candidate) -> bool:
    return candidate.plan.io != DType.FLOAT32 or any(
        precision.is_static for precision in candidate.file.precisions.values()
    )


def _sparse_activations(attempt: Attempt, candidate: Candidate) -> Iterator[str]:
    """Where the observer that was asked for could not choose the range."""
    statistics = attempt.prepared.statistics
    if attempt.observer != _ENTROPY or statistics is None or not _needs_ranges(candidate):
        return
    histograms = statistics.histograms
    sparse = sum(is_sparse(histogram) for histogram in histograms.values())
    if sparse:
        yield (
            f"too few values for '{_ENTROPY}' were seen of {sparse} of {counted(len(histograms), 'activation')}, whose ranges"
            " are those of 'min-max': give more calibration samples"
        )


def _disappointments(
    candidate: Candidate, artifact: Path, float_seconds: float | None
) -> Iterator[str]:
    """What one quantizes for, and did not get."""
    seconds = candidate.latency_seconds
    if float_seconds and seconds and seconds > _SLOWER * float_seconds:
        ratio = seconds / float_seconds
        yield f"slower than the float model on this machine: {ratio:.2f} times its latency"
    if all(precision == FLOAT32 for precision in candidate.file.precisions.values()):
        yield "every operator stays in float32: nothing less keeps within the budget"
    elif candidate.size_bytes >= measure_size(artifact):
        yield "no smaller than the float model: it has few weights, or most stay as they are"


def _layers(
    request: QuantizationRequest, result: Result, path: Path, file: QuantizedFile
) -> tuple[tuple[LayerEvidence, ...], list[str]]:
    """Every layer, with its error where the runtime lets look inside; and what is wrong if it does not."""
    assert result.chosen is not None
    material, (attempt, candidate) = result.material, result.chosen
    model = attempt.prepared.model
    file = replace(file, reasons=find_reasons(request, attempt.prepared, candidate))

    def compare(fidelity: Evaluation | None) -> tuple[LayerEvidence, ...]:
        return compare_layers(model, path, file, fidelity, sources=request.sources)

    try:
        return compare(material.fidelity), []
    except EdgeconvError as error:
        told = f"its layers cannot be compared: the runtime's own kernels refuse it ({error.why})"
        return compare(None), [told]


def _evaluation(result: Result, chosen: Candidate) -> dict[str, object] | None:
    budget = result.material.budget
    if budget is None:
        return None
    return {
        "metric": budget.metric.name,
        "unit": budget.metric.unit,
        "is_higher_better": budget.metric.is_higher_better,
        "samples": len(budget.evaluation.indices),
        "before": budget.before,
        "after": chosen.score,
        "drop": chosen.drop,
        "max_drop": budget.max_drop,
    }


def _integer_share(file: QuantizedFile, layers: Sequence[LayerEvidence]) -> float:
    integers = [layer for layer in layers if is_integer(file.precisions.get(layer.name))]
    return len(integers) / max(len(layers), 1)


def _kept(layers: Iterable[LayerEvidence]) -> list[object]:
    """Operators that are not in the recipe's precision, and why."""
    return [
        {"name": one.name, "code": one.code, "precision": one.precision, "reason": one.reason}
        for one in layers
        if one.reason
    ]


def mark_pareto(candidates: Sequence[Candidate]) -> set[Path]:
    """Files of candidates that none other beats in both size and what they lose."""
    known = [one for one in candidates if one.drop is not None]
    return {
        one.path
        for one in known
        if not any(
            (other.size_bytes <= one.size_bytes and (other.drop or 0) <= (one.drop or 0))
            and (other.size_bytes < one.size_bytes or (other.drop or 0) < (one.drop or 0))
            for other in known
        )
    }


def _candidates(result: Result, chosen: Candidate) -> list[object]:
    front = mark_pareto(result.bench.made)
    return [
        {
            "name": one.name,
            "size_bytes": one.size_bytes,
            "snr_db": one.snr_db,
            "score": one.score,
            "drop": one.drop,
            "latency_seconds": one.latency_seconds,
            "is_within": one.is_within,
            "is_pareto": one.path in front,
            "is_chosen": one == chosen,
        }
        for one in result.bench.made
    ]


def _reproduce(
    request: QuantizationRequest,
    attempt: Attempt,
    candidate: Candidate,
) -> dict[str, object]:
    """The chosen recipe as data that makes the same file again without any search."""
    operators = candidate.plan.operators
    return {
        "recipe": attempt.recipe.name,
        "overrides": {
            glob.escape(name): name_precision(operators[name]) for name in sorted(operators)
        },
        "io": request.io.value,
        "observer": attempt.observer,
        "prepare": sorted(request.steps) if attempt.prepared.changes else [],
        "samples": request.most_samples,
        "seed": request.seed,
    }
