"""Records a live module as TorchScript, and tells whether the recording left out what the module does for other values.

A trace holds the one path that the example took. Of a model that torch.export took, that is all there is, since it takes
no model that branches on the values of tensors; unless its program reads a value (`.item()`), which the trace holds as the
number that the example gave. Of any other model it may be a part. Then PyTorch's tracer has seen a tensor become a Python
value, and the trace must not be believed.
"""

from __future__ import annotations

import linecache
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import StepError
from edgeconv.plugin.live import fresh_examples
from edgeconv.plugin.plain_quantizers import plain_quantizers

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from edgeconv.plugin.live import LiveCapture

_READS = ("aten._local_scalar_dense", "aten.item")

__all__ = ["Traced", "trace_live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A trace.

    Attributes:
        script: Takes the inputs flat and returns a flat tuple of outputs; in eval mode.
        decisions: `file:line: code` of the user's lines that turned a tensor into a Python value, where no exported
            program proves that nothing follows from it: with any of these, the trace holds for some values only.
    """

    script: torch.jit.ScriptModule
    decisions: tuple[str, ...]


def trace_live(live: LiveCapture) -> Traced:
    """Trace the flat module with its example inputs.

    Raises:
        StepError: The tracer fails.
    """
    import torch
    from torch.jit._trace import TracerWarning

    try:
        with (
            torch.no_grad(),
            plain_quantizers(live.module),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always", TracerWarning)
            script: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
                live.module, fresh_examples(live), check_trace=False
            ).eval()
    except Exception as error:
        raise StepError(
            "torch.jit.trace fails", why=str(error).strip().partition("\n")[0]
        ) from error
    seen = [item for item in caught if issubclass(item.category, TracerWarning)]
    is_proven = live.program is not None and not _reads_values(live.program)
    decisions = () if is_proven else _places(seen, Path(torch.__file__).parent)
    return Traced(script=script, decisions=decisions)


def _reads_values(program: ExportedProgram) -> bool:
    import torch

    graphs = [
        m.graph for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)
    ]
    return any(str(node.target).startswith(_READS) for graph in graphs for node in graph.nodes)


def _places(caught: Iterable[warnings.WarningMessage], pytorch: Path) -> tuple[str, ...]:
    """The user's lines, each once; PyTorch's own where there are no others."""
    places = {(item.filename, item.lineno): None for item in caught}
    own = [place for place in places if not place[0].startswith(f"{pytorch}{os.sep}")]
    return tuple(
        f"{file}:{line}: {linecache.getline(file, line).strip()}" for file, line in own or places
    )
