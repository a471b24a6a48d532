"""Finds the user's factory, calls it, and says in plain words what went wrong with it."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from edgeconv.errors import EdgeconvError, InvalidInputError
from edgeconv.source import ModelSource

__all__ = ["FactoryResult", "call_factory"]

_CONTRACT = "a factory takes no arguments and returns an nn.Module, or (module, example_inputs)"
_MACHINERY = ("edgeconv_converters", "importlib", "edgeconv/execute")
_MAX_LINES = 5
_MAX_NAMES = 10

FactoryResult = tuple[nn.Module, tuple[object, ...], Mapping[str, object] | None]
"""A module, and its positional and keyword example inputs."""


def call_factory(source: ModelSource) -> FactoryResult:
    """Import the user's code and call the function that builds the model.

    What it prints goes to the log of the process. `sys.exit`, as scripts call it, ends the capture and not the
    process.

    Raises:
        InvalidInputError: It cannot be imported, is no function, raises, or returns something else.
    """
    with _user_code_importable(source):
        function = _find_function(source)
        _check_arguments(source, function)
        try:
            with _only_here():
                result = function()
        except EdgeconvError:
            raise
        except BaseException as error:
            raise InvalidInputError(
                f"the factory '{source.text}' failed",
                why=_describe_error(error),
                details=_own_lines(error),
                hint="call it in Python to see the whole traceback, and mend it",
            ) from error
    return _read_result(source, result)


@contextmanager
def _only_here() -> Iterator[None]:
    """End processes that the factory forked where they leave it: they would go on as this one, beside it.

    A child that calls sys.exit ends with the status it asked for, as it does in Python.
    """
    process, status = os.getpid(), 0
    try:
        yield
    except BaseException as error:
        status = _exit_status(error)
        if os.getpid() != process:
            traceback.print_exc()
        raise
    finally:
        if os.getpid() != process:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _exit_status(error: BaseException) -> int:
    if not isinstance(error, SystemExit):
        return 1
    return error.code if isinstance(error.code, int) else int(error.code is not None)


def _find_function(source: ModelSource) -> Callable[[], object]:
    try:
        module = _import_file(source.path) if source.path else _import_module(source.module)
    except BaseException as error:
        raise InvalidInputError(
            f"'{source.text}' cannot be imported",
            why=_describe_error(error),
            details=_own_lines(error),
            hint=_import_hint(error),
        ) from error
    function = getattr(module, source.function, None)
    if not callable(function):
        where = source.path.name if source.path else source.module
        raise InvalidInputError(
            f"'{where}' has no function '{source.function}'",
            why="nothing in it has this name"
            if function is None
            else f"'{source.function}' is of type {type(function).__name__}",
            hint=_suggest_function(module, source.function),
        )
    found: Callable[[], object] = function
    return found


def _import_module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{path}' is no Python file: its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _import_hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install '{error.name}' beside edgeconv, or call edgeconv from the folder that holds it"
    return "mend the code: Python itself cannot import it"


def _suggest_function(module: ModuleType, name: str) -> str:
    own = [
        key
        for key, value in vars(module).items()
        if callable(value)
        and not key.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]
    if not own:
        return "it defines no function: write one that returns the model"
    close = difflib.get_close_matches(name, own, n=1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    more = ", …" if len(own) > _MAX_NAMES else ""
    return f"{meant}it has: {', '.join(own[:_MAX_NAMES])}{more}"


def _check_arguments(source: ModelSource, function: Callable[[], object]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some built-in functions nothing is known
        return
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in kinds
    ]
    if needed:
        raise InvalidInputError(
            f"the factory '{source.text}' needs arguments",
            why=f"it takes {', '.join(needed)}",
            hint=f"write a function without arguments that calls it; {_CONTRACT}",
        )


@contextmanager
def _user_code_importable(source: ModelSource) -> Iterator[None]:
    """The folders that the source names lead the import path meanwhile."""
    added = [str(folder) for folder in source.search_path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _describe_error(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it called sys.exit" + (f": {error.code}" if isinstance(error.code, str) else "")
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _own_lines(error: BaseException) -> list[str]:
    """`file:line: code` of the user's own frames, the innermost last."""
    if isinstance(error, SyntaxError) and error.filename:
        return [f"{error.filename}:{error.lineno}: {(error.text or '').strip()}"]
    frames = traceback.extract_tb(error.__traceback__)
    return [
        f"{frame.filename}:{frame.lineno}: {frame.line}"
        for frame in frames
        if not any(part in frame.filename for part in _MACHINERY)
    ][-_MAX_LINES:]


def _read_result(source: ModelSource, result: object) -> FactoryResult:
    if isinstance(result, nn.Module):
        return result, (), None
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], nn.Module):
        module, examples = result
        if isinstance(examples, Tensor):
            return module, (examples,), None
        if isinstance(examples, Mapping):
            return module, (), dict(examples)
        if isinstance(examples, tuple | list):
            return module, tuple(examples), None
    what, hint = _describe_result(result)
    raise InvalidInputError(f"the factory '{source.text}' returned {what}", hint=hint)


def _describe_result(result: object) -> tuple[str, str]:
    """What a factory returned, and what to do about it."""
    if result is None:
        return "nothing", "end it with `return model`"
    if isinstance(result, type) and issubclass(result, nn.Module):
        name = result.__name__
        return f"the class '{name}'", f"return an instance: {name}()"
    if isinstance(result, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in result)}", _CONTRACT
    if isinstance(result, Mapping):
        return f"a {type(result).__name__}", f"build the module and load these weights; {_CONTRACT}"
    return f"an object of type {type(result).__name__}", _CONTRACT
