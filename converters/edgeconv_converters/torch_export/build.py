"""Builds the module that a source names: a factory is called, a file is loaded."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from edgeconv.errors import EdgeconvError, InvalidInputError
from edgeconv.source import ModelSource
from edgeconv_converters.torch_export.built import Built
from edgeconv_converters.torch_export.loaded import load_file
from edgeconv_converters.torch_export.weights import load_weights, read_weights

__all__ = ["build_source", "user_code_importable"]


def build_source(source: ModelSource) -> Built:
    """Build or load the module.

    Raises:
        InvalidInputError: The factory raises or returns something else; the file or the weights do not fit.
        UnsafeInputError: A file would run code when read.
        UsageError: The file is of a format that does not enter here.
    """
    if source.kind == "file" and source.path is not None:
        return load_file(source.path, is_trusted=source.trust)
    built = _call_factory(source)
    if source.weights is not None:
        weights = read_weights(source.weights, trust=source.trust)
        load_weights(built.module, weights, source.weights)
    return built


def _call_factory(source: ModelSource) -> Built:
    with user_code_importable(source):
        function = _find_function(source)
        try:
            result = function()
        except EdgeconvError:
            raise
        except Exception as error:
            raise InvalidInputError(
                f"the factory '{source.text}' failed",
                why=f"{type(error).__name__}: {error}",
                details=_own_lines(error),
                hint="it must return an nn.Module, or (module, example_inputs)",
            ) from error
    return _read_result(source, result)


def _find_function(source: ModelSource) -> Callable[[], object]:
    try:
        if source.path is not None:
            module = _import_file(source.path)
        else:
            module = importlib.import_module(source.module)
    except Exception as error:
        raise InvalidInputError(
            f"'{source.text}' cannot be imported",
            why=f"{type(error).__name__}: {error}",
            details=_own_lines(error),
        ) from error
    function = getattr(module, source.function, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        raise InvalidInputError(
            f"'{source.text}': there is no function '{source.function}'",
            hint=f"the module has: {', '.join(names[:10])}",
        )
    found: Callable[[], object] = function
    return found


def _import_file(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"'{path}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def user_code_importable(source: ModelSource) -> Iterator[None]:
    """The user's folders on the import path; later entries first, so that the file's own folder leads."""
    folders = [f for f in (source.folder, source.path.parent if source.path else None) if f]
    added = [str(folder.absolute()) for folder in folders]
    sys.path[:0] = reversed(added)
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def _own_lines(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [
        f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}"
        for frame in frames
        if "edgeconv_converters" not in frame.filename and "importlib" not in frame.filename
    ][-5:]


def _read_result(source: ModelSource, result: object) -> Built:
    if isinstance(result, nn.Module):
        return Built(module=result)
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], nn.Module):
        module, examples = result
        if isinstance(examples, Tensor):
            return Built(module=module, args=(examples,))
        if isinstance(examples, Mapping):
            return Built(module=module, kwargs=dict(examples))
        if isinstance(examples, tuple | list):
            return Built(module=module, args=tuple(examples))
    raise InvalidInputError(
        f"the factory '{source.text}' returned {_describe(result)}",
        hint="return an nn.Module, or (module, example_inputs)",
    )


def _describe(result: object) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in result)}"
    return f"a {type(result).__name__}"
