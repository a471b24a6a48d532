"""Converters on plain text, to exercise planning, running, caching and delivery without any framework.

A "model" is a text file; each converter copies it and adds a line with metadata and its options; verification
passes while the first line is the model's. The formats are real ids, the contents are not.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from edgeconv.artifact import digest_path
from edgeconv.errors import CaptureError, InvalidInputError, UnsupportedOperatorsError
from edgeconv.execute.verification import Verifier
from edgeconv.plugin import PLUGIN_OPERATORS, ConverterSpec, Cost, Job, JobResult, Json
from edgeconv.validation.verdict import Verdict

__all__ = [
    "PLAIN_SPECS",
    "PLAIN_VERIFIERS",
    "capture",
    "copy",
    "fail",
    "lower",
    "save_program",
    "trace",
    "verify",
]

_MODULE = "edgeconv.testing.plain"
_LIVE = "edgeconv.testing.live"
_PROGRAM = "edgeconv.testing.program"
_SIGNATURE: dict[str, Json] = {"inputs": [], "outputs": [], "dims": []}


def capture(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Capture the text file named by the option `file`.

    Options: `refuse` leaves no program, with a reason; `invalid` fails; `seconds` is slept; `save_program` is false where
    the program is to stay in memory.
    """
    job = Job.from_json(request)
    source = Path(str(job.options["file"]))
    time.sleep(float(str(job.options.get("seconds", 0))))
    if job.options.get("invalid"):
        raise InvalidInputError(f"'{source}' is no model", hint="give another file")
    text = source.read_text()
    (job.output / "reference").mkdir(parents=True)
    (job.output / "reference" / "first-line.txt").write_text(text.splitlines()[0])
    refused = CaptureError("control flow depends on data", details=["model.py:7"])
    program = f"{text}\n{json.dumps(dict(job.metadata))}"
    if not job.options.get("refuse"):
        context[_PROGRAM] = (str(job.output / "model.pt2"), program)
    if not job.options.get("refuse") and job.options.get("save_program", True):
        (job.output / "model.pt2").write_text(program)
    (job.output / "capture.json").write_text(json.dumps(_SIGNATURE))
    context[_LIVE] = str(job.output)
    details: dict[str, Json] = {
        "signature": _SIGNATURE,
        "source_digest": hashlib.sha256(text.encode()).hexdigest(),
        "parameters": len(text),
        "dependencies": [{"path": str(source), "sha256": digest_path(source)}],
        "distributions": {},
        "export_error": json.loads(json.dumps(refused.to_json()))
        if job.options.get("refuse")
        else None,
    }
    return JobResult(output=job.output, details=details).to_json()


def save_program(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Write the program that the capture left in this very process."""
    job = Job.from_json(request)
    path, text = cast("tuple[str, str]", context.get(_PROGRAM, ("", "")))
    if path != str(job.inputs["source"]):
        raise InvalidInputError("the program is not in this process")
    job.output.write_text(text)
    return JobResult(output=job.output).to_json()


def lower(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Copy the program from memory, or from its file; options as `copy` has them."""
    job = Job.from_json(request)
    if job.inputs["source"].exists():
        return copy(request, context)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        save_program(replace(job, output=path).to_json(), context)
        inputs = {**job.inputs, "source": path}
        return copy(replace(job, inputs=inputs).to_json(), context)


def copy(request: dict[str, Json], _context: MutableMapping[str, object]) -> dict[str, Json]:
    """Copy the source; the option `damage` changes its first line, `seconds` is slept, `plugin_operators` are told."""
    job = Job.from_json(request)
    time.sleep(float(str(job.options.get("seconds", 0))))
    source = job.inputs["source"]
    text = (source / "saved_model.pb" if source.is_dir() else source).read_text()
    if job.options.get("damage"):
        text = f"damaged {text}"
    target = job.output
    if target.suffix == ".savedmodel":
        record = target / "assets.extra" / "edgeconv.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps(dict(job.metadata)))
        target /= "saved_model.pb"
    facts = json.dumps({**job.metadata, **job.options}, sort_keys=True)
    target.write_text(f"{text}\n{facts}")
    details = {PLUGIN_OPERATORS: job.options.get("plugin_operators")}
    return JobResult(output=job.output, versions={"plain": "1"}, details=details).to_json()


def trace(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Needs the model that capture left in this very process."""
    job = Job.from_json(request)
    if context.get(_LIVE) != str(job.inputs["source"]):
        raise InvalidInputError("the model is not in this process")
    text = (job.inputs["reference"] / "first-line.txt").read_text()
    job.output.write_text(f"{text}\ntraced\n{json.dumps(dict(job.metadata))}")
    return JobResult(output=job.output).to_json()


def fail(request: dict[str, Json], _context: MutableMapping[str, object]) -> dict[str, Json]:
    """Refuse the model as a converter does that lacks operators."""
    name = Job.from_json(request).name
    raise UnsupportedOperatorsError(
        f"2 operators of '{name}' are not supported",
        details=["aten::fft x 2 (model.py:3)", "aten::svd x 1 (model.py:9)"],
    )


def verify(request: dict[str, Json], _context: MutableMapping[str, object]) -> dict[str, Json]:
    """Compare the first line of the artifact with the model's."""
    job = Job.from_json(request)
    artifact = job.inputs["artifact"]
    text = (artifact / "saved_model.pb" if artifact.is_dir() else artifact).read_text()
    passed = text.splitlines()[0] == (job.inputs["reference"] / "first-line.txt").read_text()
    verdict = Verdict(
        reference="text",
        candidate=digest_path(artifact),
        format=str(job.options["format"]),
        device="host",
        samples=1,
        sizes=(),
        outputs=(),
        problems=() if passed else ("the first line differs",),
        passed=passed,
    )
    return {"details": {"verdict": verdict.to_json()}}


def _spec(
    converter_id: str, source: str, target: str, *, lane: str, entry: str = "copy"
) -> ConverterSpec:
    return ConverterSpec(
        id=converter_id,
        version="1",
        kind="convert",
        source=source,
        target=target,
        summary="copies text",
        entry=f"{_MODULE}:{entry}",
        lane=lane,
        cost=Cost(fidelity=0, install_bytes=0, seconds=1.0),
    )


def _second(spec: ConverterSpec) -> ConverterSpec:
    return replace(spec, cost=Cost(fidelity=1, install_bytes=0, seconds=5.0))


PLAIN_SPECS: tuple[ConverterSpec, ...] = (
    _spec("plain-capture", "torch", "torch-export", lane="torch", entry="capture"),
    _spec("plain-trace", "torch", "torchscript", lane="torch", entry="trace"),
    _spec("plain-onnx", "torch-export", "onnx", lane="torch"),
    _second(_spec("plain-onnx-trace", "torch", "onnx", lane="torch", entry="trace")),
    replace(
        _spec("plain-lowering", "torch-export", "edge-graph", lane="torch", entry="lower"),
        takes_live=True,
    ),
    _spec("plain-tflite", "edge-graph", "tflite", lane="light"),
    _spec("plain-savedmodel", "edge-graph", "savedmodel", lane="heavy"),
    _second(_spec("plain-tflite-direct", "torch-export", "tflite", lane="direct")),
)
"""The shape of the real graph, second routes included."""

PLAIN_VERIFIERS: dict[str, Verifier] = {
    "torch-export": Verifier(entry=f"{_MODULE}:verify", lane="torch"),
    "torchscript": Verifier(entry=f"{_MODULE}:verify", lane="torch"),
    "onnx": Verifier(entry=f"{_MODULE}:verify", lane="light"),
    "tflite": Verifier(entry=f"{_MODULE}:verify", lane="light"),
    "savedmodel": Verifier(entry=f"{_MODULE}:verify", lane="heavy"),
}
"""Verification of plain text, in the lanes of the real formats."""
