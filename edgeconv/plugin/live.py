"""A captured model that is still in memory, for the steps that need more than its file.

Tracing to TorchScript and the older ONNX exporter need the module itself, and the lowering can use the program
without reading it back. Both live in the worker that captured the model: a worker hands every entry function
a `context`, a dictionary that lasts as long as the process, and the capture step leaves its `LiveCapture`
there.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from edgeconv.errors import EdgeconvError
    from edgeconv.signature import Signature

__all__ = ["LiveCapture", "ScriptCall", "find_live", "fresh_examples", "keep_live", "read_program"]

_KEY = "edgeconv.live"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCall:
    """How TorchScript, which cannot compile a flat module's Python, calls what the user wrote.

    Attributes:
        module: The user's own module, or the script it was loaded as.
        forward: Source of a `forward` in TorchScript: it takes the flat inputs by name, calls `self.module` with them
            as its user does, and returns a tensor or a flat tuple of tensors; empty if it cannot be written.
        problem: Why it cannot.
        is_single: Whether the user's `forward` returns one tensor, and no container of tensors.
    """

    module: nn.Module
    forward: str
    problem: str
    is_single: bool


@dataclass(slots=True, kw_only=True)
class LiveCapture:
    """The module, its exported program, and one example for each argument of `forward`, flattened in order.

    Attributes:
        program_path: The `.pt2` file the program was saved to; tells one capture from another.
        module: In eval mode, taking its inputs flat and positionally and returning a flat tuple of outputs,
            both in the order of the signature.
        program: None when torch.export refused the model.
        export_error: Why it did.
        examples: Example inputs in the order of the signature.
        signature: Names, dtypes, dims.
        call: How a script calls the user's module.
        input_turns: For each input the permutation that makes it what the user's module takes, or None; empty where no
            input is turned.
    """

    program_path: Path
    module: nn.Module
    program: ExportedProgram | None
    export_error: EdgeconvError | None
    examples: tuple[Tensor, ...]
    signature: Signature
    call: ScriptCall
    input_turns: tuple[tuple[int, ...] | None, ...] = ()


def fresh_examples(live: LiveCapture) -> tuple[Tensor, ...]:
    """Copies of the example inputs, for whoever runs the module: it may write into its inputs."""
    return tuple(tensor.clone() for tensor in live.examples)


def keep_live(context: MutableMapping[str, object], live: LiveCapture) -> None:
    """Leave a captured model for later steps of this process."""
    context[_KEY] = live


def find_live(context: MutableMapping[str, object], program_path: Path) -> LiveCapture | None:
    """The model captured into `program_path` by this process, or None."""
    live = context.get(_KEY)
    if isinstance(live, LiveCapture) and live.program_path == program_path:
        return live
    return None


def read_program(context: MutableMapping[str, object], path: Path) -> ExportedProgram:
    """The program of a capture: the live one, or the one in the file."""
    live = find_live(context, path)
    if live is not None and live.program is not None:
        return live.program
    from edgeconv.formats.torch_export import load_program

    return load_program(path)
