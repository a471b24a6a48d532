"""The Python interface: capture a model, convert it, validate what came out.

Converters run in worker processes, like those of the command line; only what needs the module itself runs in the caller's
process, where the module is. Programs that use this from a script need no `if __name__` guard: workers are started from
a file of their own. All functions may be called from several threads; what runs PyTorch in this process takes turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeconv.artifact import Artifact
from edgeconv.conversion import (
    DEFAULT_GOALS,
    DIAGNOSIS_SECONDS,
    ConversionOptions,
    as_criterion,
    check_diagnosis,
    check_numbers,
    default_name,
    make_request,
    parse_layout,
    run_request,
)
from edgeconv.data import Data, check_data, write_batches
from edgeconv.embedding import unnoticed
from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.examination import verify_artifact
from edgeconv.execute.answering import Accuracy
from edgeconv.execute.in_process import InProcessLane
from edgeconv.execute.records import Step, StepRecord
from edgeconv.execute.request import ConversionRequest
from edgeconv.formats import detect
from edgeconv.model import CaptureFolder, ConversionResult, Model
from edgeconv.plugin.job import JobResult
from edgeconv.signature import Dim, Layout, Signature
from edgeconv.source import parse_model
from edgeconv.validation.verdict import Verdict
from edgeconv.version import edgeconv_version

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["capture", "convert", "load", "validate"]

_LANE = "torch"
# Named, not imported: the layers below know no converter by name, and PyTorch stays out of `import edgeconv`.
_CAPTURING = "edgeconv_converters.torch_export"
_MAX_BATCHES = 16


class Silent:
    """A listener for callers who look at the result alone."""

    def step_started(self, step: Step) -> None:
        """Nothing is shown."""

    def step_ended(self, record: StepRecord, verdict: Verdict | None) -> None:
        """Nothing is shown."""


def capture(
    module: nn.Module,
    example_inputs: Tensor | Sequence[object] | Mapping[str, object],
    *,
    name: str = "model",
    dynamic: Mapping[str, Mapping[int, str | Dim]] | None = None,
    samples: Data | None = None,
    seed: int = 0,
) -> Model:
    """Capture a module that this program holds; the module, its mode, gradients and buffers are left as they were.

    Args:
        module: In any mode; captured in eval mode on the CPU.
        example_inputs: One tensor; positional inputs in order; or inputs by the name of forward's parameter. Each is a
            tensor, or nested tuples, lists and dicts of them.
        name: Names the files made from it.
        dynamic: Per input name and axis the name of a dynamic dim, such as `{"image": {0: "N"}}`, a multiple such
            as `"8*H"`, or a `Dim` with its range.
        samples: Real inputs to verify with: a `.npz`, a folder of `.npy`, a mapping from input name to array, or
            batches of such mappings; the first axis counts samples.
        seed: What random samples are drawn from.

    Raises:
        CaptureError: A dim that was asked for cannot be dynamic.
        InvalidInputError: The inputs or samples do not fit `forward`, or the weights hold NaN.
        UsageError: `dynamic` names an input or an axis that there is not.

    Example:
        >>> import torch, edgeconv as ec
        >>> net = torch.nn.Linear(4, 2)
        >>> model = ec.capture(net, (torch.randn(1, 4),), dynamic={"input": {0: "N"}})
        >>> str(model.signature.inputs[0])
        'input:float32[N,4]'
    """
    _check_module(module)
    check_numbers(seed=seed)
    if samples is not None:
        check_data(samples)
    call = _Call(example_inputs=example_inputs, dynamic=dynamic)
    return _capture(module, call, name=name, samples=samples, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """How a module that is captured is called: see `capture`."""

    example_inputs: Tensor | Sequence[object] | Mapping[str, object]
    dynamic: Mapping[str, Mapping[int, str | Dim]] | None


def _capture(
    module: nn.Module,
    call: _Call,
    *,
    name: str,
    samples: Data | None,
    seed: int,
    layout: Layout | None = None,
) -> Model:
    core, worker = (import_module(f"{_CAPTURING}.{part}") for part in ("core", "worker"))
    folder = CaptureFolder()
    context: dict[str, object] = {}
    settings = core.CaptureSettings(
        name=name,
        output=folder.path / "capture",
        samples=samples,
        seed=seed,
        metadata={"edgeconv_version": edgeconv_version()},
        layout=layout,
        saves_program=False,
    )
    args, kwargs = _split_inputs(call.example_inputs)
    with unnoticed():
        found = core.capture_module(
            module, args, kwargs, dynamic=call.dynamic, settings=settings, context=context
        )
        result: JobResult = worker.describe_capture(
            found, settings.output, dependencies=[], distributions={}
        )
    again = partial(_capture, module, call, name=name, samples=samples, seed=seed)
    return Model(
        name=name,
        source=name,
        captured=result,
        seed=seed,
        context=context,
        folder=folder,
        again=lambda wanted: again(layout=wanted),
    )


def load(
    model: str | Path,
    *,
    inputs: Sequence[str] = (),
    weights: str | Path | None = None,
    name: str | None = None,
    trust: bool = False,
) -> Model:
    r"""Name a model by its file or factory; it is captured in a process of its own when it is needed.

    Args:
        model: A `.pt2` or TorchScript file, `package.module:function` or `path/file.py:function`.
        inputs: One description per input, such as `image:float32[N=1,3,224,224]`.
        weights: State dict for a factory.
        name: Names the files made from it; that of the factory or file unless given.
        trust: Whether a pickle may run code.

    Raises:
        UsageError: The text is neither a factory nor a path.
        InvalidInputError: A file does not exist.

    Example:
        >>> import pathlib, tempfile, edgeconv as ec
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "net.py"
        >>> _ = file.write_text("import torch\ndef create(): return torch.nn.Linear(4, 2)")
        >>> model = ec.load(f"{file}:create", inputs=["input:float32[N=1,4]"])
        >>> list(ec.convert(model, to=["onnx"], out=file.with_name("out")))
        ['onnx']
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


def convert(  # noqa: PLR0913 - one parameter for each option
    model: Model | str | Path,
    *,
    to: str | Sequence[str] = DEFAULT_GOALS,
    out: str | Path,
    layout: str | None = None,
    via: Sequence[str] = (),
    avoid: Sequence[str] = (),
    best: Literal["latency", "size", "accuracy"] | None = None,
    samples: Data | None = None,
    metadata: Mapping[str, str] | None = None,
    use_cache: bool = True,
    diagnosis_seconds: float = DIAGNOSIS_SECONDS,
    allow_partial: bool = False,
) -> ConversionResult:
    """Convert a model; each artifact is verified before it appears in `out`.

    Args:
        model: From `capture` or `load`, or what `load` takes.
        to: Format ids.
        out: Folder that receives the artifacts, report.json and report.html; created if missing.
        layout: Where images have their channels in every format: `nhwc` as cameras deliver, or `nchw`; the model's own
            if None. What an image is, is found in the program: see `docs/decisions/0016-layout-is-settled-at-the-capture.md`.
        via: Converters or formats that routes must pass.
        avoid: Converters or formats that no route may pass.
        best: Follow all routes to the end, measure what they made on this machine, and keep the best; the first that is
            verified is kept unless given.
        samples: Real inputs to verify with besides those that the model was captured with; see `capture`.
        metadata: Stored inside the artifacts.
        use_cache: Whether results of earlier runs are used, and kept.
        diagnosis_seconds: How long the smallest part of the model that fails may be looked for when a format failed; 0
            not to look. It is kept under `out`, with a script for a bug report.
        allow_partial: Whether a format that failed is left to `errors` of the result instead of raising.

    Raises:
        ConversionError: Every route to a format failed. What succeeded is in `out` all the same.
        ValidationError: A format's artifacts do not compute what the model computes.
        UsageError: The metadata is not text.
        OutputError: `out` cannot be written, or holds files that edgeconv did not make; nothing was done.

    Example:
        >>> import tempfile, torch, edgeconv as ec
        >>> model = ec.capture(torch.nn.Linear(4, 2), (torch.randn(1, 4),))
        >>> out = tempfile.mkdtemp()
        >>> lite = ec.convert(model, to=["tflite"], out=out)["tflite"]
        >>> lite.run({"input": torch.ones(1, 4).numpy()})["output"].shape
        (1, 2)
    """
    if not str(out):
        raise UsageError("the output folder is an empty text", hint="name a folder")
    _check_metadata(metadata or {})
    check_diagnosis(diagnosis_seconds)
    model = _as_model(model)
    if layout is not None:
        model = model.in_layout(parse_layout(layout))
    goals = (to,) if isinstance(to, str) else tuple(dict.fromkeys(to))
    with _requested(model, samples) as request:
        wanted = replace(
            request,
            goals=goals,
            out=Path(out),
            via=tuple(via),
            avoid=tuple(avoid),
            best=as_criterion(best),
            metadata={**request.metadata, **(metadata or {})},
            use_cache=use_cache,
        )
        done = run_request(
            wanted, Silent(), lanes=_lanes(model), diagnosis_seconds=diagnosis_seconds
        )
    result = ConversionResult(outcome=done.outcome, report=done.folder)
    problems = [*result.errors.values(), *([done.report_error] if done.report_error else [])]
    if problems and not allow_partial:
        raise problems[0]
    return result


def validate(
    artifact: Artifact | str | Path,
    *,
    reference: Model | str | Path,
    samples: Data | None = None,
    data: Data | None = None,
    metric: str = "",
    max_drop: float | None = None,
    config: str | Path | None = None,
) -> Verdict:
    """Compare an artifact with its model on this machine.

    A quantized artifact is judged on real inputs alone, the first 16 of `samples` and of `data`; a float one on these and on others.

    Args:
        artifact: From `convert` or `quantize`, or the path of a file or SavedModel folder. What is not said of the inputs of a factory is
            read from it.
        reference: From `capture` or `load`, or what `load` takes.
        samples: Real inputs to compare on, besides random ones: see `capture`. The first 16 are used.
        data: Labelled samples to measure a metric on, all of them: see `quantize`.
        metric: `top1`, `top5`, `mAP`, `auc`, `mse`, `cosine`, `agreement` or `module:function`; what fits the data unless given.
        max_drop: By how much the metric may be worse than the model's, in its own unit.
        config: An edgeconv.toml whose `[preprocess]` table says how images become inputs.

    Returns:
        The verdict: ask it whether it `passed`, for a `summary()` in one line, and for its `metrics` and `reference_metrics` by name.

    Raises:
        InvalidInputError: The artifact is damaged or of no known format, the samples or data do not fit, or labels are missing.
        UsageError: There is no such metric.
        EdgeconvError: The reference cannot be captured, or the runtime of the format is missing.

    Example:
        >>> import numpy, tempfile, torch, edgeconv as ec
        >>> model = ec.capture(torch.nn.Linear(4, 2), (torch.randn(1, 4),))
        >>> lite = ec.convert(model, to="tflite", out=tempfile.mkdtemp())["tflite"]
        >>> batches = [{"input": numpy.ones((2, 4), "float32")} for _ in range(3)]
        >>> verdict = ec.validate(lite, reference=model, samples=batches)
        >>> assert verdict.passed, verdict.summary()
    """
    path = artifact.path if isinstance(artifact, Artifact) else Path(artifact)
    known = detect(path)
    model = _as_model(reference)
    with (
        _requested(model, samples) as request,
        tempfile.TemporaryDirectory(prefix="edgeconv-data-") as folder,
    ):
        accuracy = Accuracy.of(
            path,
            known,
            data=_spool(data, model.signature, path, Path(folder) / "data"),
            metric=metric,
            max_drop=max_drop,
            config=None if config is None else Path(config),
        )
        return verify_artifact(
            path.absolute(),
            known,
            request,
            Silent(),
            accuracy=accuracy,
            lanes=None if accuracy is None else _lanes(model),
        )


def _spool(
    data: Data | None, signature: Signature | None, artifact: Path, folder: Path
) -> Path | None:
    """Data where workers read it; it fits the model's signature, or the artifact's if that is not known yet."""
    if data is None or isinstance(data, str | Path):
        return None if data is None else Path(data)
    from edgeconv.quantization.spooling import spool
    from edgeconv.validation.integers import read_real_signature

    return spool(data, signature or read_real_signature(artifact), folder, most=0, seed=0)


def _as_model(model: Model | str | Path) -> Model:
    return model if isinstance(model, Model) else load(model)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key, text in metadata.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise UsageError(
                f"metadata '{key}' is no text", why=f"it is {text!r}", hint="use str()"
            )


def _check_module(module: object) -> None:
    from torch import nn

    if isinstance(module, type):
        raise UsageError(
            f"the class '{module.__name__}' cannot be captured", hint="give an instance of it"
        )
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"a {type(module).__name__} cannot be captured",
            hint="give an nn.Module; a file or a factory is named with edgeconv.load",
        )


def _split_inputs(
    given: Tensor | Sequence[object] | Mapping[str, object],
) -> tuple[tuple[object, ...], dict[str, object] | None]:
    """Positional and keyword inputs; a tensor by itself is the only input, not a sequence of its rows."""
    from torch import Tensor

    if isinstance(given, Tensor):
        return (given,), None
    if isinstance(given, Mapping):
        return (), dict(given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(given), None
    raise InvalidInputError(
        f"example inputs cannot be an object of type {type(given).__name__}",
        hint="give a tensor, a tuple of them, or a mapping from the names of forward's parameters",
    )


@contextmanager
def _requested(model: Model, samples: Data | None) -> Iterator[ConversionRequest]:
    """What is to be done for a model, with samples where the run finds them; they are gone afterwards."""
    if samples is not None:
        check_data(samples)
    with tempfile.TemporaryDirectory(prefix="edgeconv-samples-") as folder:
        yield _request(model, samples, Path(folder))


def _request(model: Model, samples: Data | None, folder: Path) -> ConversionRequest:
    if model.options is not None:
        request = make_request(model.options)
        if samples is None:
            return request
        written = write_batches(samples, folder / "batches", most=_MAX_BATCHES)
        return replace(request, samples=written)
    request = ConversionRequest(
        name=model.name,
        source=model.source,
        goals=(),
        out=Path(),
        captured=model.captured,
        seed=model.seed,
    )
    if samples is None or model.captured is None:
        return request
    more = import_module(f"{_CAPTURING}.more_samples")
    with unnoticed():
        reference = more.add_samples(
            model.context,
            model.captured.output,
            samples,
            folder / "reference",
        )
    return replace(request, reference=reference)


def _lanes(model: Model) -> dict[str, InProcessLane] | None:
    """A module that this process holds is traced and exported here."""
    if model.captured is None:
        return None
    return {_LANE: InProcessLane(model.context, around=unnoticed)}
