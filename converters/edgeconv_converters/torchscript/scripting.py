"""Scripts a module behind the flat forward that its capture wrote, and says why TorchScript refuses one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from edgeconv.errors import StepError
from edgeconv.plugin.live import ScriptCall

__all__ = ["script_module", "with_forward", "without_advice"]

_PLACE = re.compile(
    r'File "(?P<file>[^"<]+)", line (?P<line>\d+)\n(?P<code>(?:.*\n)*?)\s*~+.*<--- HERE'
)


def script_module(call: ScriptCall) -> torch.jit.ScriptModule:
    """Compile the user's module with its branches and loops.

    Raises:
        StepError: TorchScript does not take it; the details are the user's source lines.
    """
    if not call.forward:
        raise StepError("torch.jit.script cannot call the model", why=call.problem)
    try:
        return with_forward(call.module, call.forward)
    except Exception as error:
        text = str(error).strip()
        raise StepError(
            "torch.jit.script does not take the model",
            why=next(iter(text.splitlines()), type(error).__name__).rstrip(":"),
            hint="annotate or rewrite the lines named above, or use torch.where instead of branches",
            details=_places(text),
        ) from error


def with_forward(module: nn.Module, source: str) -> torch.jit.ScriptModule:
    """A script whose child `module` is the given one, scripted, and whose `forward` has this source; frozen."""

    # A class of its own for each: PyTorch keeps what it compiled of a class, and would not compile it anew.
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

    with without_advice():
        script = torch.jit.script(Flat().eval())
        script.define(source)
        frozen: torch.jit.ScriptModule = torch.jit.freeze(script)
    return frozen


@contextmanager
def without_advice() -> Iterator[None]:
    """PyTorch advises to use something else than TorchScript, which the user asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _places(text: str) -> list[str]:
    """`file:line: code` of every place that a message of the compiler points at, innermost first."""
    found = []
    for match in _PLACE.finditer(text):
        code = match["code"].rstrip().rpartition("\n")[2].strip()
        found.append(f"{match['file']}:{match['line']}: {code}")
    return list(dict.fromkeys(found))
