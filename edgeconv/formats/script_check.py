"""Makes sure that a TorchScript file is only arithmetic: its code can write files, and its pickles can be anything.

PyTorch's reader of TorchScript knows no Python and imports nothing, but TorchScript has two operators that open files
by name, `aten::save` and `aten::from_file` (which creates them), and runs a module's `__setstate__` while it loads.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import InvalidInputError, UnsafeInputError
from edgeconv.formats.pickles import find_foreign_imports

if TYPE_CHECKING:
    import torch

__all__ = ["check_script"]

_FILE_OPERATORS = frozenset({"save", "from_file"})
# Classes of the file itself, of C++, and the helpers of PyTorch's own pickler.
_OWN_MODULES = ("__torch__.", "torch.jit._pickle.")
_PICKLES = ("data.pkl", "constants.pkl")
_MAX_SHOWN = 20


def check_script(path: Path) -> None:
    """Refuse a TorchScript file that names Python objects, or opens files.

    Raises:
        InvalidInputError: It is damaged.
        UnsafeInputError: It would run other code, or open files; nothing of it ran.
    """
    import torch

    try:
        reader = torch._C.PyTorchFileReader(str(path))  # noqa: SLF001 - what torch.jit reads with
        found = list(_find_all(reader))
    except (RuntimeError, ValueError) as error:
        raise InvalidInputError(
            f"'{path}' is no intact TorchScript file",
            why=str(error).strip().partition("\n")[0],
            hint="fetch or export it again",
        ) from error
    if found:
        raise UnsafeInputError(
            f"'{path}' would do more than compute",
            why="its code opens files, or its pickles import Python objects",
            details=found[:_MAX_SHOWN],
            hint="export the model again, or pass --trust if you trust the file to do so",
        )


def _find_all(reader: torch._C.PyTorchFileReader) -> Iterator[str]:
    for name in sorted(reader.get_all_records()):
        if name in _PICKLES:
            yield from _find_imports(name, reader.get_record(name))
        elif name.startswith("code/") and name.endswith(".py"):
            yield from _find_files(name, reader.get_record(name))


def _find_imports(name: str, content: bytes) -> Iterator[str]:
    for each in find_foreign_imports(io.BytesIO(content)):
        if not each.startswith(_OWN_MODULES):
            yield f"'{name}' imports {each}"


def _find_files(name: str, content: bytes) -> Iterator[str]:
    """TorchScript is stored as source text in the syntax of Python."""
    try:
        tree = ast.parse(content)
    except SyntaxError as error:
        yield f"'{name}' cannot be examined: {error.msg} in line {error.lineno}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _FILE_OPERATORS:
            yield f"'{name}' line {node.lineno} calls {node.attr}"
        elif isinstance(node, ast.Call) and _looks_up_file_operator(node):
            yield f"'{name}' line {node.lineno} looks up a name"


def _looks_up_file_operator(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Name) or call.func.id != "getattr":
        return False
    names = [argument.value for argument in call.args[1:2] if isinstance(argument, ast.Constant)]
    return not names or names[0] in _FILE_OPERATORS
