"""Traces or scripts the live module, freezes it, and stores names and metadata in the file."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

import torch

from edgeconv.errors import StepError
from edgeconv.formats.torchscript import save_script
from edgeconv.plugin import Job, JobResult, Json
from edgeconv.plugin.live import LiveCapture, find_live
from edgeconv.plugin.tracing import trace_live
from edgeconv_converters.torchscript.scripting import script_module, with_forward

__all__ = ["convert", "convert_otherwise"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Write the live module of the capture `inputs["source"]` as the TorchScript file `output`.

    What torch.export took has one path, which is traced. What it refused is scripted.

    The file's `forward` takes the inputs positionally, under their names, and returns a tensor or a tuple of
    tensors, as C++ and Android consumers expect; the names of the outputs are in the file's record.

    Raises:
        StepError: PyTorch refuses the module, or it is no longer in memory.
    """
    return _convert(request, context, _ways)


def convert_otherwise(
    request: dict[str, Json], context: MutableMapping[str, object]
) -> dict[str, Json]:
    """As `convert`, the other way: what torch.export took is scripted, and what it refused is traced.

    Raises:
        StepError: PyTorch refuses the module, a trace would hold one of several paths, or the module is no longer in
            memory.
    """
    return _convert(request, context, lambda live: tuple(reversed(_ways(live))))


_Way = tuple[str, Callable[[LiveCapture], torch.jit.ScriptModule]]


def _convert(
    request: dict[str, Json],
    context: MutableMapping[str, object],
    ways: Callable[[LiveCapture], tuple[_Way, ...]],
) -> dict[str, Json]:
    job = Job.from_json(request)
    live = find_live(context, job.inputs["source"] / "model.pt2")
    if live is None:
        raise StepError("the module is not in this process")
    name, make = ways(live)[0]
    script = make(live)
    signature = job.signature or live.signature
    save_script(script, job.output, signature, job.metadata)
    return JobResult(
        output=job.output, versions={"torch": torch.__version__}, details={"method": name}
    ).to_json()


def _ways(live: LiveCapture) -> tuple[_Way, ...]:
    """The way that keeps what the model does, and the other."""
    ways = (("trace", _trace), ("script", _script))
    return ways if live.program is not None else ways[::-1]


def _script(live: LiveCapture) -> torch.jit.ScriptModule:
    return script_module(live.call)


def _trace(live: LiveCapture) -> torch.jit.ScriptModule:
    traced = trace_live(live)
    if traced.decisions:
        raise StepError(
            "torch.jit.trace would record one of several paths",
            why="the model decides by values of tensors",
            details=traced.decisions,
        )
    try:
        return with_forward(traced.script, _flat_forward(live))
    except RuntimeError as error:
        why = str(error).strip().partition("\n")[0]
        raise StepError("torch.jit.freeze fails", why=why) from error


def _flat_forward(live: LiveCapture) -> str:
    """The source of a forward around the traced module, which returns a tuple in any case."""
    names = [spec.name for spec in live.signature.inputs]
    return (
        f"def forward(self, {', '.join(f'{name}: Tensor' for name in names)}):\n"
        f"    return self.module({', '.join(names)}){'[0]' if live.call.is_single else ''}\n"
    )
