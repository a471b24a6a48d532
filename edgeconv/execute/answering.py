"""The steps that judge an artifact by a metric: the model answers to all samples, then the artifact does, and both are measured."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from edgeconv.errors import InvalidInputError, UsageError
from edgeconv.execute.capture import Capture, send_live
from edgeconv.execute.records import Step
from edgeconv.execute.request import ConversionRequest
from edgeconv.execute.runner import Lane, Reply
from edgeconv.execute.steps import Steps
from edgeconv.execute.verification import Verifier
from edgeconv.execute.work import Done, Material, Work
from edgeconv.formats import Format, load_handler
from edgeconv.plugin.job import Job, Json
from edgeconv.signature import Layout

__all__ = ["CONFIG", "Accuracy", "answer", "check_budget", "digest_data", "with_metric"]

CONFIG = Path("edgeconv.toml")
"""Says how images become inputs, unless another file is named."""

_ANSWER = "edgeconv.quantization.answers:answer"
_VERIFY = "edgeconv.quantization.accuracy:verify_with_metric"
_PROGRAM = "torch-export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What is measured on labelled data.

    Attributes:
        data: A `.npz`, or a folder of `.npy`, of `.npz` or of images.
        metric: Its name, or `module:function`; empty for the one that fits the data.
        max_drop: By how much it may be worse than the model's; None to measure only.
        preprocess: How images become inputs.
        python_path: Where a metric of the user's own is found.
    """

    data: Path
    metric: str = ""
    max_drop: float | None = None
    preprocess: Json = None
    python_path: tuple[str, ...] = ()

    @staticmethod
    def of(
        artifact: Path,
        known: Format,
        *,
        data: Path | None,
        metric: str = "",
        max_drop: float | None = None,
        config: Path | None = None,
    ) -> Accuracy | None:
        """What the user asks for; None where there is no data.

        Args:
            artifact: May declare how images become its inputs.
            known: Its format.
            data: Labelled samples.
            metric: Its name.
            max_drop: By how much it may be worse than the model's.
            config: An edgeconv.toml with the `[preprocess]` of images; the one in the working folder unless given.

        Raises:
            UsageError: There is no such metric, or no data for it.
            InvalidInputError: The data or the config is missing or damaged.
        """
        if data is None:
            _refuse_without_data(metric, max_drop)
            return None
        from edgeconv.quantization.metrics import find_metric

        if metric and ":" not in metric:
            find_metric(metric)
        check_budget(max_drop)
        return Accuracy(
            data=data.absolute(),
            metric=metric,
            max_drop=max_drop,
            preprocess=_read_preprocess(artifact, known, data, config),
            python_path=(str(Path.cwd()),),
        )


def _refuse_without_data(metric: str, max_drop: float | None) -> None:
    if metric or max_drop is not None:
        asked = f"metric '{metric}'" if metric else "an accuracy budget"
        raise UsageError(f"{asked} needs data to be measured on", hint="give it with --data DATA")


def check_budget(max_drop: float | None) -> None:
    """Refuse a budget that is none.

    Raises:
        UsageError: It is negative or no number.
    """
    if max_drop is not None and not 0 <= max_drop < math.inf:
        raise UsageError(
            f"the budget is {max_drop}", hint="give a number from 0 on, or a percentage"
        )


def _read_preprocess(artifact: Path, known: Format, data: Path, config: Path | None) -> Json:
    """How images become inputs, as JSON; None where the data is no images, or nobody says."""
    from edgeconv.quantization.images import is_image_folder
    from edgeconv.quantization.preprocess import METADATA_KEY, read_preprocess

    if config is None and not (data.is_dir() and is_image_folder(data)):
        return None
    config = config or (CONFIG if CONFIG.is_file() else None)
    declared = load_handler(known.id).read_metadata(artifact).get(METADATA_KEY)
    found = read_preprocess(config, declared)
    return None if found is None else cast("Json", found.model_dump(mode="json"))


def answer(
    accuracy: Accuracy,
    captured: Capture,
    request: ConversionRequest,
    verifier: Verifier,
    steps: Steps,
    *,
    on_miss: Callable[[], None],
) -> Done:
    """Have the model run on all samples.

    Args:
        accuracy: The data.
        captured: The model.
        request: The run.
        verifier: Where the model runs.
        steps: Does the step.
        on_miss: Called before anything is computed.

    Raises:
        EdgeconvError: The data does not fit, or the model fails on it.
    """
    source = request.source_format
    options: dict[str, Json] = {"preprocess": accuracy.preprocess}
    if captured.live is None:
        options["format"] = source
    work = Work(
        step=Step(id="answer", kind="measure", converter="answer", source=source, target=source),
        entry=_ANSWER,
        lane=Lane(name=verifier.lane),
        seconds=verifier.seconds,
        name=request.name,
        seed=request.seed,
        output_name="answers",
        requires=verifier.requires,
        inputs={"source": captured.head, "data": _data(accuracy, steps)},
        options=options,
        signature=captured.signature,
    )
    return steps.do(work, _send_to(captured, steps), on_miss=on_miss)


def _send_to(captured: Capture, steps: Steps) -> Callable[[Work, Job], Reply] | None:
    """How the work reaches the model: where it is in memory, or from the program's file, so that it is not captured again.

    A program that cannot be read or run without the user's own code is captured again all the same.
    """
    if captured.live is None:
        return None
    to_module = send_live(captured.live, steps)
    program = captured.program
    # The program may take images in another layout than the module does, and data has them as the module takes them.
    may_be_turned = any(spec.layout == Layout.NHWC for spec in captured.signature.inputs)
    if captured.live.is_there or not captured.is_saved or may_be_turned:
        return to_module

    def send(work: Work, job: Job) -> Reply:
        read = replace(
            job,
            inputs={**job.inputs, "source": cast("Material", program).path},
            options={**job.options, "format": _PROGRAM},
        )
        reply = steps.send(work, read)
        return reply if reply.error is None else to_module(work, job)

    return send


def with_metric(verification: Work, accuracy: Accuracy, answers: Done, steps: Steps) -> Work:
    """A verification that measures too."""
    # What a function of the user's does, no key of the cache tells.
    own = {"run": time.time_ns()} if ":" in accuracy.metric else {}
    return replace(
        verification,
        entry=_VERIFY,
        inputs={
            **verification.inputs,
            "answers": cast("Material", answers.material),
            "data": _data(accuracy, steps),
        },
        options={
            **verification.options,
            "metric": accuracy.metric,
            "max_drop": accuracy.max_drop,
            "preprocess": accuracy.preprocess,
            "python_path": list(accuracy.python_path),
            "data_signature": answers.result.details["signature"],
        },
        depends_on=own,
    )


def _data(accuracy: Accuracy, steps: Steps) -> Material:
    path = accuracy.data
    try:
        digest = digest_data(path, lambda item: steps.digest(item, is_ours=False))
    except OSError as error:
        raise InvalidInputError(
            f"'{path}' cannot be read", why=error.strerror or str(error), hint="check the path"
        ) from error
    return Material(path=path, digest=digest)


def digest_data(path: Path, digest: Callable[[Path], str]) -> str:
    """A digest of data: of its files, and of the names of classes, since an empty folder changes what labels are.

    Args:
        path: The data.
        digest: Of the files at a path.

    Raises:
        OSError: It cannot be read.
    """
    from edgeconv.quantization.images import class_folders

    files = digest(path)
    classes = class_folders(path) if path.is_dir() else ()
    if not classes:
        return files
    named = "\0".join([files, *(item.name for item in classes)])
    return hashlib.sha256(named.encode()).hexdigest()
