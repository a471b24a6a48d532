"""One realistic run for the report's tests: two cores, four formats, a failed route, and strings that try to break out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeconv.artifact import Artifact
from edgeconv.dims import parse_size
from edgeconv.errors import FailureKind, StepError, ValidationError
from edgeconv.execute.records import Attempt, GoalOutcome, Outcome, Step, StepRecord
from edgeconv.plan.plan import Node, Plan, Rejected, RouteCost
from edgeconv.plugin.converter import ConverterSpec, Cost
from edgeconv.report.build import RunFacts
from edgeconv.signature import Dim, DType, Signature, TensorSpec
from edgeconv.validation.verdict import OutputMetrics, Verdict

MIB = 1 << 20
HOSTILE = "<script>alert(1)</script>"

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="image", dtype=DType.FLOAT32, shape=(parse_size("N"), 3, 224, 224)),
        TensorSpec(name="mask", dtype=DType.BOOL, shape=()),
    ),
    outputs=(
        TensorSpec(name="logits", dtype=DType.FLOAT32, shape=(parse_size("N"), 1000)),
        TensorSpec(name=HOSTILE, dtype=DType.FLOAT32, shape=(parse_size("4*N+2"), 8)),
    ),
    dims=(Dim(name="N", example=1, min=1, max=8),),
)


def make_metrics(name: str, error: float, *, passed: bool = True) -> OutputMetrics:
    return OutputMetrics(
        name=name,
        max_abs_error=error,
        mean_abs_error=error / 7,
        relative_error=error / 20,
        cosine=0.9999998,
        snr_db=118.4,
        top1_agreement=1.0,
        noise_floor=2.1e-6,
        error_over_floor=error / 2.1e-6,
        tolerance=4.2e-5,
        passed=passed,
        reason="" if passed else f"is off by {error:.1e}, {4.2e-5:.1e} would pass",
    )


def make_verdict(format_id: str, error: float, *, passed: bool = True) -> Verdict:
    return Verdict(
        reference="pytorch 2.14.0",
        candidate="c0ffee" * 10,
        format=format_id,
        device="local",
        samples=6,
        sizes=({"N": 1}, {"N": 3}),
        outputs=(make_metrics("logits", error, passed=passed), make_metrics(HOSTILE, error / 9)),
        problems=(),
        passed=passed,
    )


def make_step(
    step_id: str,
    kind: str,
    edge: tuple[str, str],
    times: tuple[float, float],
    **more: object,
) -> StepRecord:
    converter = "verify" if kind == "verify" else step_id.rpartition("/")[2]
    source, target = edge
    return StepRecord(
        step=Step(id=step_id, kind=kind, converter=converter, source=source, target=target),  # type: ignore[arg-type]
        started_seconds=times[0],
        seconds=times[1],
        peak_memory_bytes=640 * MIB,
        **more,  # type: ignore[arg-type]
    )


CRASH = StepError(
    "'litert-torch' crashed", kind=FailureKind.CRASHED, why="its process ended with signal SIGSEGV"
)

STEPS = (
    make_step(
        "capture",
        "capture",
        ("torch", "torch-export"),
        (0.02, 3.4),
        versions={"torch": "2.14.0"},
        details={"parameters": 3504872, "dependencies": [{"path": "net.py", "sha256": "00"}]},
    ),
    make_step("torchscript", "convert", ("torch", "torchscript"), (3.5, 0.9)),
    make_step("torchscript/verify", "verify", ("torchscript", "torchscript"), (4.4, 0.3)),
    make_step(
        "torch-export/torch-onnx",
        "convert",
        ("torch-export", "onnx"),
        (4.7, 1.8),
        versions={"onnx": "1.23.0", "onnxscript": "0.7.1"},
        warnings=("the constant folder left 3 nodes",),
        details={"opset": 18},
    ),
    make_step(
        "torch-export/torch-onnx/verify",
        "verify",
        ("onnx", "onnx"),
        (6.5, 0.4),
        versions={"onnxruntime": "1.32.0"},
        details={"verdict": {}, "delegated": float("inf")},
    ),
    make_step("torch-export/edge-lowering", "convert", ("torch-export", "edge-graph"), (6.6, 0.2)),
    make_step(
        "torch-export/edge-lowering/edge-tflite",
        "convert",
        ("edge-graph", "tflite"),
        (6.8, 0.21),
        is_cache_hit=True,
        details={"oldest_runtime": "2.14"},
    ),
    make_step(
        "torch-export/edge-lowering/edge-tflite/verify", "verify", ("tflite", "tflite"), (7.1, 0.3)
    ),
    make_step(
        "torch-export/litert-torch",
        "convert",
        ("torch-export", "tflite"),
        (7.3, 2.1),
        error=CRASH,
    ),
    make_step(
        "torch-export/edge-lowering/edge-savedmodel",
        "convert",
        ("edge-graph", "savedmodel"),
        (6.8, 1.9),
        versions={"tensorflow": "2.21.0"},
    ),
    make_step(
        "torch-export/edge-lowering/edge-savedmodel/verify",
        "verify",
        ("savedmodel", "savedmodel"),
        (8.7, 0.5),
    ),
)


def make_artifact(folder: Path, format_id: str, name: str, size: int) -> Artifact:
    path = folder / name
    path.write_bytes(b"\0" * size)
    return Artifact(
        name="mobilenet",
        format=format_id,
        path=path,
        digest="ab" * 32,
        signature=SIGNATURE,
        metadata={"author": HOSTILE},
    )


def _goals(folder: Path) -> tuple[GoalOutcome, ...]:
    good = {name: make_verdict(name, 3.1e-6) for name in ("torchscript", "onnx", "tflite")}
    bad = make_verdict("savedmodel", 1.9e-2, passed=False)
    lite = ("torch-export", "edge-lowering", "edge-tflite")
    saved = ("torch-export", "edge-lowering", "edge-savedmodel")
    onnx = ("torch-export", "torch-onnx")
    script = ("torchscript",)
    return (
        GoalOutcome(
            format="onnx",
            attempts=(Attempt(route=onnx, result="delivered", verdict=good["onnx"]),),
            artifact=make_artifact(folder, "onnx", "mobilenet.onnx", 14 * MIB),
            verdict=good["onnx"],
        ),
        GoalOutcome(
            format="torchscript",
            attempts=(Attempt(route=script, result="delivered", verdict=good["torchscript"]),),
            artifact=make_artifact(folder, "torchscript", "mobilenet.torchscript.pt", 14 * MIB),
            verdict=good["torchscript"],
        ),
        GoalOutcome(
            format="savedmodel",
            attempts=(Attempt(route=saved, result="rejected", reason=bad.summary(), verdict=bad),),
            verdict=bad,
            rejected_path=folder / "rejected" / "mobilenet.savedmodel",
            error=ValidationError(
                "'savedmodel' was made, but does not compute what it should",
                why=bad.summary(),
                hint="try another route with --avoid edge-savedmodel",
                details=[f"{' → '.join(saved)}: {HOSTILE}"],
            ),
        ),
        GoalOutcome(
            format="tflite",
            attempts=(
                Attempt(
                    route=("torch-export", "litert-torch"),
                    result="failed",
                    reason=f"{CRASH.message}: {CRASH.why} {HOSTILE}",
                ),
                Attempt(route=lite, result="delivered", verdict=good["tflite"]),
            ),
            artifact=make_artifact(folder, "tflite", "mobilenet.tflite", 13 * MIB),
            verdict=good["tflite"],
        ),
    )


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    """A run of which one format of four was rejected, and another needed its second route."""
    return Outcome(
        name="mobilenet",
        source=f"models/{HOSTILE}.py:mobilenet_v2",
        source_digest="5ca1ab1e" * 8,
        signature=SIGNATURE,
        parameters=3504872,
        goals=_goals(tmp_path),
        steps=tuple(sorted(STEPS, key=lambda record: record.started_seconds)),
        seconds=9.6,
        peak_memory_bytes=1900 * MIB,
        seed=0,
        warnings=("the cache is on another filesystem",),
    )


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    """What the report says beside the outcome."""
    spec = ConverterSpec(
        id="torch-onnx",
        version="1",
        kind="convert",
        source="torch-export",
        target="onnx",
        summary="",
        entry="m:f",
        lane="torch",
        cost=Cost(fidelity=0, install_bytes=0, seconds=2.0),
    )
    plan = Plan(
        source=Node(format="torch-export"),
        goal="onnx",
        steps=(spec,),
        cost=RouteCost(hops=1, seconds=2.0, ids=("torch-onnx",)),
    )
    return RunFacts(
        edgeconv="0.1.0",
        folder=tmp_path,
        command=("edgeconv", "convert", "net.py:mobilenet_v2", "--author", HOSTILE),
        cores=2,
        memory_bytes=8 << 30,
        plans={"onnx": (plan,)},
        rejected=(Rejected(converter="onnx2tf", reason=f"not installed {HOSTILE}"),),
        ended=datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
    )
