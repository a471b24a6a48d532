"""The first step for a model that is a file of another framework: it is run in its own runtime, and is the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from edgeconv.errors import InternalError
from edgeconv.execute.capture import Capture, samples_of
from edgeconv.execute.records import Step
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Lane
from edgeconv.execute.steps import Steps
from edgeconv.execute.verification import Verifier
from edgeconv.execute.work import Material, Work
from edgeconv.signature import Signature

__all__ = ["observe"]

_ENTRY = "edgeconv.validation.observe:observe"


def observe(
    request: ConversionRequest, verifier: Verifier, steps: Steps, *, on_miss: Callable[[], None]
) -> Capture:
    """Run the file that the request names, and take down what it computes.

    Args:
        request: The run; it has a source file.
        verifier: Where files of this format run.
        steps: Does the step.
        on_miss: Called before anything is computed.

    Raises:
        EdgeconvError: The file is damaged, or cannot be run.
    """
    path = request.source_path
    if path is None:
        raise InternalError("there is no file to observe", why="the request names none")
    source = Material(path=path, digest=steps.digest(path, is_ours=False))
    done = steps.do(_work(request, verifier, source, steps), on_miss=on_miss)
    folder = cast("Material", done.material).path
    details = done.result.details
    reference = folder / "reference"
    return Capture(
        head=source,
        program=None,
        is_saved=False,
        reference=Material(path=reference, digest=steps.digest(reference)),
        signature=Signature.from_json(cast("dict[str, object]", details["signature"])),
        source_digest=str(details["source_digest"]),
        parameters=None,
        export_error=None,
        live=None,
    )


def _work(request: ConversionRequest, verifier: Verifier, source: Material, steps: Steps) -> Work:
    format_id = request.source_format
    return Work(
        step=Step(
            id="observe", kind="capture", converter="observe", source=format_id, target=format_id
        ),
        entry=_ENTRY,
        lane=Lane(name=verifier.lane),
        seconds=verifier.seconds,
        name=request.name,
        seed=request.seed,
        output_name="observed",
        requires=verifier.requires,
        inputs={"source": source, **samples_of(request, steps)},
        options={"format": format_id, "inputs": request.capture_options.get("inputs")},
        metadata=request.metadata,
    )
