"""Builds the module that a source names: a factory is called, a file is loaded."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, fx, nn

from edgeconv.errors import EdgeconvError, InvalidInputError, UsageError
from edgeconv.formats import detect
from edgeconv.source import ModelSource
from edgeconv_converters.torch_export.archive import check_archive
from edgeconv_converters.torch_export.weights import load_weights, read_weights

__all__ = ["Built", "build_source", "user_code_importable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A module, and its example inputs where the source has them."""

    module: nn.Module
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] | None = None

    @property
    def has_examples(self) -> bool:
        """Whether the source brought example inputs."""
        return bool(self.args or self.kwargs)


def build_source(source: ModelSource) -> Built:
    """Build or load the module.

    Raises:
        InvalidInputError: The factory raises or returns something else; the file or the weights do not fit.
        UnsafeInputError: A file would run code when read.
        UsageError: The file is of a format that does not enter here.
    """
    if source.kind == "file" and source.path is not None:
        return _load_file(source.path)
    built = _call_factory(source)
    if source.weights is not None:
        weights = read_weights(source.weights, trust=source.trust)
        load_weights(built.module, weights, source.weights)
    return built


def _load_file(path: Path) -> Built:
    known = detect(path).id
    if known not in ("torch-export", "torchscript"):
        raise UsageError(
            f"'{path}' is in the format '{known}', which cannot be captured",
            hint="give a PyTorch model: a factory, a .pt2 or a TorchScript file",
        )
    check_archive(path)
    try:
        if known == "torchscript":
            script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            return Built(module=Signed(script, _script_signature(script)))
        program = torch.export.load(path)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise InvalidInputError(
            f"'{path}' cannot be loaded",
            why=str(error).strip().partition("\n")[0],
            hint="it is damaged, or was saved by another version of PyTorch: export it again",
        ) from error
    args, kwargs = program.example_inputs or ((), None)
    module = program.module()
    if isinstance(module, fx.GraphModule):
        make_traceable(module)
    signed = Signed(module, inspect.signature(module.forward))
    return Built(module=signed, args=tuple(args), kwargs=kwargs)


def make_traceable(module: fx.GraphModule) -> None:
    """Ask tensors for their sizes, where the program calls an operator for it.

    torch.jit.trace records `x.size(0)` and what a method makes of it; the operators that an exported program
    calls instead give it plain integers, and the example's batch size would be baked in.
    """
    sizes: set[fx.Node] = set()
    for node in list(module.graph.nodes):
        if str(node.target) == "aten.sym_size.int":
            with module.graph.inserting_before(node):
                asked = module.graph.call_method("size", tuple(node.args))
            node.replace_all_uses_with(asked)
            module.graph.erase_node(node)
            sizes.add(asked)
        elif sizes & set(node.all_input_nodes) and node.op == "call_function":
            if isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001 - PyTorch's class is underscored
                name = node.target._schema.name.removeprefix("aten::")  # noqa: SLF001
                node.target = getattr(torch.Tensor, name, None) or getattr(torch, name, node.target)
            elif not isinstance(node.meta.get("val"), torch.Tensor):
                sizes.add(node)  # arithmetic on sizes gives a size
    module.recompile()


def _script_signature(script: torch.jit.ScriptModule) -> inspect.Signature:
    """The parameters of a script's forward, which are only in its schema."""
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(
                a.name, kind, default=a.default_value if a.has_default_value() else empty
            )
            for a in script.forward.schema.arguments[1:]  # type: ignore[attr-defined]
        ]
    )


class Signed(nn.Module):
    """A loaded model behind a Python forward with its parameter names: what torch.export and the binding read.

    It is in eval mode for good: an exported program refuses to be told so.
    """

    def __init__(self, loaded: Callable[..., object], signature: inspect.Signature) -> None:
        super().__init__()
        self.loaded = loaded

        def forward(*args: Tensor, **kwargs: Tensor) -> object:
            return loaded(*args, **kwargs)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        self.forward = forward

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - PyTorch's own signature
        """Do nothing."""
        del mode
        return self


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
