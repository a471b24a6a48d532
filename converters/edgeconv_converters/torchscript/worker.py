"""Traces or scripts the live module, freezes it, and stores names and metadata in the file."""

from __future__ import annotations

import warnings
from collections.abc import MutableMapping

import torch
from torch import nn

from edgeconv.errors import StepError
from edgeconv.formats.record import RECORD_NAME, write_record
from edgeconv.formats.torch_files import torch_file
from edgeconv.plugin import Job, JobResult, Json
from edgeconv.plugin.live import LiveCapture, find_live

__all__ = ["convert"]


def convert(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Write the live module of the capture `inputs["source"]` as the TorchScript file `output`.

    The file's `forward` takes the inputs positionally, under their names, and returns a tensor or a tuple of
    tensors, as C++ and Android consumers expect; the names of the outputs are in the file's record.

    Raises:
        StepError: PyTorch can neither trace nor script the module, or it is no longer in memory.
    """
    job = Job.from_json(request)
    live = find_live(context, job.inputs["source"] / "model.pt2")
    if live is None:
        raise StepError("the module is not in this process")
    how, script = _make(live)
    signature = job.signature or live.signature
    extra = {RECORD_NAME: write_record(signature, job.metadata)}
    with torch_file(job.output) as stream:
        torch.jit.save(script, stream, _extra_files=extra)
    return JobResult(
        output=job.output, versions={"torch": torch.__version__}, details={"method": how}
    ).to_json()


def _make(live: LiveCapture) -> tuple[str, torch.jit.ScriptModule]:
    """Tracing follows what an exported program does; a module that torch.export refused has control flow."""
    if live.program is not None:
        return "trace", _trace(live)
    inner = getattr(live.module, "module", live.module)
    try:
        return "script", torch.jit.freeze(torch.jit.script(inner))
    except Exception as error:
        raise StepError(
            "torch.jit can neither trace nor script the model",
            why=str(error).strip().partition("\n")[0],
        ) from error


def _trace(live: LiveCapture) -> torch.jit.ScriptModule:
    module: nn.Module = live.module
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what tracing warns of, verification finds or clears
            traced = torch.jit.trace(module, live.examples, check_trace=False)  # type: ignore[no-untyped-call]
            frozen: torch.jit.ScriptModule = torch.jit.freeze(traced.eval())
    except Exception as error:
        raise StepError(
            "torch.jit.trace fails", why=str(error).strip().partition("\n")[0]
        ) from error
    return frozen
