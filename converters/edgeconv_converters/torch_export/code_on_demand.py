"""Has PyTorch write the Python code of graphs when it is run or read, which that of most graphs an export makes never is.

`torch.fx.GraphModule` generates and compiles the code of its graph whenever that was edited: six times in an export and four
times in `ExportedProgram.module()`, of which one is run; a tenth of the time of either.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.graph import PythonCode, _PyTreeCodeGen

__all__ = ["code_on_demand", "program_module"]

_LOCK = threading.Lock()
_THREADS: list[int] = []  # those inside, once for each time
_compile = GraphModule.recompile


def program_module(program: ExportedProgram) -> GraphModule:
    """The program as a module of its user inputs alone, which checks their sizes where these may vary.

    Example:
        >>> import torch
        >>> program = torch.export.export(torch.nn.ReLU(), (torch.tensor([-1.0, 2.0]),))
        >>> program_module(program)(torch.tensor([-3.0, 4.0]))
        tensor([0., 4.])
    """
    if program.range_constraints:
        return program.module()  # reads the names of the inputs off the code
    with code_on_demand():
        return program.module(check_guards=False)


@contextmanager
def code_on_demand() -> Iterator[None]:
    """Inside, a graph module of this thread gets its code when it first runs or is read, then or later."""
    thread = threading.get_ident()
    with _LOCK:
        _THREADS.append(thread)
        GraphModule.recompile = _recompile  # type: ignore[method-assign,assignment]  # returns no code, which only pickling takes
    try:
        yield
    finally:
        with _LOCK:
            _THREADS.remove(thread)
            if not _THREADS:
                GraphModule.recompile = _compile  # type: ignore[method-assign]  # PyTorch's own again


def _recompile(module: GraphModule) -> PythonCode | None:
    if threading.get_ident() not in _THREADS or type(module).recompile is not _recompile:
        return _compile(module)
    # What PyTorch's leaves on a module beside its code; there are no public names for it.
    codegen = module.graph._codegen  # noqa: SLF001  knows the structure of inputs and outputs
    if isinstance(codegen, _PyTreeCodeGen):
        module._in_spec = codegen.pytree_info.in_spec  # noqa: SLF001  read by export's check of inputs
        module._out_spec = codegen.pytree_info.out_spec  # noqa: SLF001  read by export's call signature
    vars(module).pop("_code", None)
    type(module)._code = _CodeWhenRead()  # noqa: SLF001  what `code` and str() read
    type(module).forward = _first_forward
    for child in module.children():
        if isinstance(child, GraphModule):
            child.recompile()
    return None


class _CodeWhenRead:
    """Stands on the class, of which each graph module has one of its own, until the module has an attribute of that name."""

    def __get__(self, module: GraphModule, owner: type[GraphModule]) -> str:
        return _compile(module).src


def _first_forward(module: GraphModule, *args: object, **kwargs: object) -> object:
    _compile(module)
    return type(module).forward(module, *args, **kwargs)
