"""What a model answers to all samples of some data: run where the model is, kept for whoever compares an artifact with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edgeconv.errors import StepError
from edgeconv.formats import load_handler
from edgeconv.formats.handler import Session
from edgeconv.formats.torch_session import TorchSession
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.plugin.live import find_live
from edgeconv.quantization.dataset import Dataset, open_dataset
from edgeconv.quantization.evaluation import Evaluation
from edgeconv.quantization.preprocess import Preprocess
from edgeconv.signature import Layout, Signature, TensorSpec
from edgeconv.validation.reference import Reference, write_case
from edgeconv.validation.samples import MAX_SAMPLES

if TYPE_CHECKING:
    from edgeconv.formats.handler import Array

__all__ = ["ANSWERS_NAME", "answer", "open_data"]

ANSWERS_NAME = "answers.npz"
"""The file with all outputs, beside the bundle of the first samples."""

_OTHER = {Layout.NCHW: Layout.NHWC, Layout.NHWC: Layout.NCHW}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A model that is ready to run.

    Attributes:
        session: Takes inputs as the captured model does.
        signature: Of the captured model.
        own: The same with its inputs as the user's module takes them, and as data has them.
    """

    session: Session
    signature: Signature
    own: Signature

    def turn(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs of the user's module in the layout of the captured model."""
        turned = {}
        for mine, other in zip(self.own.inputs, self.signature.inputs, strict=True):
            turn = mine.layout.permutation_to(other.layout, len(mine.shape))
            array = inputs[mine.name]
            turned[mine.name] = (
                array if turn is None else np.ascontiguousarray(array.transpose(turn))
            )
        return turned

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Outputs of the captured model for inputs of the user's module."""
        return self.session.run(self.turn(inputs)).outputs


def answer(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Run the model `inputs["source"]` on all of `inputs["data"]`, and write the folder `output`.

    It receives all outputs, and a bundle of the first samples with what the model made of them.

    Args:
        request: The JSON of a `Job`; options: `format` of a model that is a file, and `preprocess`, how images become inputs.
        context: Of the worker, which holds a model of PyTorch.

    Returns:
        The JSON of a `JobResult`: in its details `signature`, what the data has to fit, and the number of `samples`.

    Raises:
        InvalidInputError: The data is missing, damaged or does not fit, or the model fails on a sample.
        UsageError: Images have no `preprocess`.
    """
    job = Job.from_json(request)
    job.output.mkdir(parents=True, exist_ok=True)
    with _open(job, context) as model, tempfile.TemporaryDirectory() as scratch:
        dataset = open_data(job, model.own, Path(scratch))
        everything = tuple(range(dataset.count))
        ran = Evaluation.of(dataset, everything, model.run, keeps_inputs=False)
        with (job.output / ANSWERS_NAME).open("wb") as stream:
            np.savez(stream, **ran.reference)  # type: ignore[arg-type]  # the stub takes the keys for options
        _write_bundle(job, model, dataset)
    details: dict[str, Json] = {
        "signature": cast("Json", model.own.to_json()),
        "samples": dataset.count,
    }
    return JobResult(output=job.output, details=details).to_json()


def open_data(job: Job, signature: Signature, scratch: Path) -> Dataset:
    """The data of a job.

    Raises:
        InvalidInputError: It is missing, empty, damaged, or does not fit.
        UsageError: Images have no `preprocess`.
    """
    told = job.options.get("preprocess")
    return open_dataset(
        job.inputs["data"],
        signature,
        scratch=scratch,
        preprocess=None if told is None else Preprocess.model_validate(told),
        what="the evaluation data",
    )


@contextmanager
def _open(job: Job, context: MutableMapping[str, object]) -> Iterator[_Model]:
    source, format_id = job.inputs["source"], job.options.get("format")
    if format_id is not None:
        signature = cast("Signature", job.signature)
        with load_handler(str(format_id)).open(source) as session:
            yield _Model(session=session, signature=signature, own=signature)
        return
    live = find_live(context, source / "model.pt2")
    if live is None:
        raise StepError("the model is not in this process")
    turns = live.input_turns or (None,) * len(live.signature.inputs)
    own = tuple(_own(s, turn) for s, turn in zip(live.signature.inputs, turns, strict=True))
    yield _Model(
        session=TorchSession(live.signature, live.module),
        signature=live.signature,
        own=replace(live.signature, inputs=own),
    )


def _own(spec: TensorSpec, turn: tuple[int, ...] | None) -> TensorSpec:
    return spec if turn is None else spec.in_layout(_OTHER[spec.layout])


def _write_bundle(job: Job, model: _Model, dataset: Dataset) -> None:
    """The first samples as cases of a reference, each by itself."""
    cases, limits = [], dict[str, tuple[float, float]]()
    first = range(min(MAX_SAMPLES, dataset.count))
    for number, batch in enumerate(dataset.read(first)):
        inputs = model.turn(batch.inputs)
        outputs = model.session.run(inputs).outputs
        sizes = _sizes(model.signature, inputs)
        cases.append(
            write_case(
                job.output, f"data_{number}", "sample", sizes, inputs=inputs, outputs=outputs
            )
        )
        for name, array in outputs.items():
            low, high = _limits(array)
            before = limits.get(name, (low, high))
            limits[name] = (min(low, before[0]), max(high, before[1]))
    Reference(
        signature=model.signature,
        cases=tuple(cases),
        noise_floor=dict.fromkeys(limits, 0.0),
        noise_source="none",
        ranges=limits,
        seed=job.seed,
    ).write(job.output)


def _sizes(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, int]:
    named = {dim.name for dim in signature.dims}
    return {
        str(size): int(actual)
        for spec in signature.inputs
        for size, actual in zip(spec.shape, inputs[spec.name].shape, strict=True)
        if str(size) in named
    }


def _limits(array: Array) -> tuple[float, float]:
    """The smallest and largest finite number."""
    numbers = np.abs(array) if array.dtype.kind == "c" else array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
