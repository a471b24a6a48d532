"""The Python interface: capture a model, convert it, validate what came out.

Converters run in worker processes, like those of the command line; only what needs the module itself runs in the caller's
process, where the module is. Programs that use this from a script need no `if __name__` guard: workers are started from
a file of their own.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeconv.artifact import Artifact
from edgeconv.conversion import (
    DEFAULT_GOALS,
    ConversionOptions,
    default_name,
    make_request,
    run_request,
)
from edgeconv.errors import EdgeconvError, InvalidInputError, UsageError
from edgeconv.examination import verify_artifact
from edgeconv.execute.in_process import InProcessLane
from edgeconv.execute.records import Outcome, Step, StepRecord
from edgeconv.execute.request import ConversionRequest
from edgeconv.formats import detect
from edgeconv.plugin.job import JobResult
from edgeconv.signature import Dim, Signature
from edgeconv.source import parse_model
from edgeconv.validation.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn

    from edgeconv.formats.handler import Array

__all__ = ["ConversionResult", "Model", "capture", "convert", "load", "validate"]

_LANE = "torch"


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Model:
    """A model to convert: captured in this process, or named by a file or factory that is captured when needed.

    Attributes:
        name: Names the files made from it.
        source: As the user named it.
        captured: The result of the capture, for a module that was captured here.
        options: How it is captured otherwise.
    """

    name: str
    source: str
    captured: JobResult | None = None
    options: ConversionOptions | None = None
    _context: MutableMapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def signature(self) -> Signature | None:
        """Inputs and outputs; None until the model was captured."""
        if self.captured is None:
            return None
        return Signature.from_json(cast("Mapping[str, object]", self.captured.details["signature"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionResult(Mapping[str, Artifact]):
    """The artifacts of a conversion by format id; asking for one that failed raises its error.

    Attributes:
        outcome: All that happened: steps, attempts, verdicts.
        report: The folder that holds the artifacts, report.json and report.html.
    """

    outcome: Outcome
    report: Path | None

    def __getitem__(self, format_id: str) -> Artifact:
        for goal in self.outcome.goals:
            if goal.format == format_id:
                if goal.artifact is None:
                    raise goal.error or InvalidInputError(f"'{format_id}' was not made")
                return goal.artifact
        raise KeyError(format_id)

    def __iter__(self) -> Iterator[str]:
        return iter([goal.format for goal in self.outcome.goals if goal.artifact is not None])

    def __len__(self) -> int:
        return sum(goal.artifact is not None for goal in self.outcome.goals)

    @property
    def errors(self) -> dict[str, EdgeconvError]:
        """Why formats were not made, by format id."""
        return {goal.format: goal.error for goal in self.outcome.goals if goal.error is not None}


class _Silent:
    """A listener for callers who look at the result alone."""

    def step_started(self, step: Step) -> None:
        """Nothing is shown."""

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Nothing is shown."""


def capture(
    module: nn.Module,
    example_inputs: Sequence[object] | Mapping[str, object],
    *,
    name: str = "model",
    dynamic: Mapping[str, Mapping[int, str | Dim]] | None = None,
    samples: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Model:
    """Capture a module that this program holds; the module is left as it was.

    Args:
        module: In any mode; captured in eval mode on the CPU.
        example_inputs: Positional inputs, or keyword inputs by name: tensors, or nested tuples, lists and dicts.
        name: Names the files made from it.
        dynamic: Per input name and axis the name of a dynamic dim, such as `{"image": {0: "N"}}`.
        samples: Real inputs to verify with, by input name; the first axis counts samples.
        seed: What random samples are drawn from.

    Raises:
        CaptureError: A dim that was asked for cannot be dynamic.
        InvalidInputError: The inputs do not fit `forward`, or the weights hold NaN.

    Example:
        >>> import torch, edgeconv as ec
        >>> net = torch.nn.Linear(4, 2)
        >>> model = ec.capture(net, (torch.randn(1, 4),), dynamic={"input": {0: "N"}})
        >>> str(model.signature.inputs[0])
        'input:float32[N,4]'
    """
    folder = Path(tempfile.mkdtemp(prefix="edgeconv-"))
    context: dict[str, object] = {}
    facts = {"name": name, "samples": samples, "seed": seed, "output": folder / "capture"}
    try:
        result = _capture(module, example_inputs, dynamic, facts, context)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    model = Model(name=name, source=name, captured=result, _context=context)
    # The capture's files last as long as the model does.
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return model


def _capture(
    module: nn.Module,
    example_inputs: Sequence[object] | Mapping[str, object],
    dynamic: Mapping[str, Mapping[int, str | Dim]] | None,
    facts: Mapping[str, object],
    context: MutableMapping[str, object],
) -> JobResult:
    from importlib import import_module

    # Named, not imported: the layers below know no converter by name, and PyTorch stays out of `import edgeconv`.
    core = import_module("edgeconv_converters.torch_export.core")
    worker = import_module("edgeconv_converters.torch_export.worker")
    named = dict(example_inputs) if isinstance(example_inputs, Mapping) else None
    settings = core.CaptureSettings(**facts)
    found = core.capture_module(
        module,
        tuple(example_inputs) if named is None else (),
        named,
        dynamic=dynamic,
        settings=settings,
        context=context,
    )
    result: JobResult = worker.describe_capture(
        found, settings.output, dependencies=[], distributions={}
    )
    return result


def load(
    model: str | Path,
    *,
    inputs: Sequence[str] = (),
    weights: str | Path | None = None,
    name: str | None = None,
    trust: bool = False,
) -> Model:
    """Name a model by its file or factory; it is captured in a process of its own when it is needed.

    Args:
        model: A `.pt2` or TorchScript file, `package.module:function` or `path/file.py:function`.
        inputs: One description per input, such as `image:float32[N=1,3,224,224]`.
        weights: State dict for a factory.
        name: Names the files made from it; that of the factory or file unless given.
        trust: Whether a pickle may run code.

    Raises:
        UsageError: The text is neither a factory nor a path.
        InvalidInputError: A file does not exist.
    """
    file = None if weights is None else Path(weights)
    source = parse_model(str(model), weights=file, trust=trust)
    options = ConversionOptions(
        model=str(model),
        out=Path(),
        name=name or default_name(source),
        inputs=tuple(inputs),
        weights=file,
        trust=trust,
    )
    return Model(name=options.name or "model", source=str(model), options=options)


def convert(
    model: Model | str | Path,
    *,
    to: Sequence[str] = DEFAULT_GOALS,
    out: str | Path,
    via: Sequence[str] = (),
    avoid: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
    use_cache: bool = True,
    allow_partial: bool = False,
) -> ConversionResult:
    """Convert a model; each artifact is verified before it appears in `out`.

    Args:
        model: From `capture` or `load`, or what `load` takes.
        to: Format ids.
        out: Folder that receives the artifacts, report.json and report.html; created if missing.
        via: Converters or formats that routes must pass.
        avoid: Converters or formats that no route may pass.
        metadata: Stored inside the artifacts.
        use_cache: Whether results of earlier runs are used, and kept.
        allow_partial: Whether a format that failed is left to `errors` of the result instead of raising.

    Raises:
        ConversionError: Every route to a format failed. What succeeded is in `out` all the same.
        ValidationError: A format's artifacts do not compute what the model computes.
        UsageError: The metadata is not text.
        OutputError: `out` cannot be written; nothing was done.

    Example:
        >>> import tempfile, torch, edgeconv as ec
        >>> model = ec.capture(torch.nn.Linear(4, 2), (torch.randn(1, 4),))
        >>> out = tempfile.mkdtemp()
        >>> lite = ec.convert(model, to=["tflite"], out=out)["tflite"]
        >>> lite.run({"input": torch.ones(1, 4).numpy()})["output"].shape
        (1, 2)
    """
    model = _as_model(model)
    request = _request(model, Path(out), to=to, via=via, avoid=avoid, metadata=metadata)
    request = replace(request, use_cache=use_cache)
    done = run_request(request, _Silent(), lanes=_lanes(model))
    result = ConversionResult(outcome=done.outcome, report=done.folder)
    if result.errors and not allow_partial:
        raise next(iter(result.errors.values()))
    return result


def validate(artifact: Artifact | str | Path, *, reference: Model | str | Path) -> Verdict:
    """Compare an artifact with its model on this machine.

    Args:
        artifact: From `convert`, or the path of a file or SavedModel folder.
        reference: From `capture` or `load`, or what `load` takes.

    Returns:
        The verdict; ask it whether it `passed`.

    Raises:
        EdgeconvError: The reference cannot be captured, or the runtime of the format is missing.
    """
    path = artifact.path if isinstance(artifact, Artifact) else Path(artifact)
    known = detect(path)
    return verify_artifact(path, known, _request(_as_model(reference), Path()), _Silent())


def _as_model(model: Model | str | Path) -> Model:
    return model if isinstance(model, Model) else load(model)


def _request(
    model: Model,
    out: Path,
    *,
    to: Sequence[str] = (),
    via: Sequence[str] = (),
    avoid: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> ConversionRequest:
    for key, text in (metadata or {}).items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise UsageError(
                f"metadata '{key}' is no text", why=f"it is {text!r}", hint="use str()"
            )
    if model.options is not None:
        request = make_request(model.options)
    else:
        request = ConversionRequest(
            name=model.name, source=model.source, goals=(), out=out, captured=model.captured
        )
    return replace(
        request,
        goals=tuple(dict.fromkeys(to)),
        out=out,
        via=tuple(via),
        avoid=tuple(avoid),
        metadata={**request.metadata, **(metadata or {})},
    )


def _lanes(model: Model) -> dict[str, InProcessLane] | None:
    """A module that this process holds is traced and exported here."""
    return None if model.captured is None else {_LANE: InProcessLane(model._context)}  # noqa: SLF001
