"""Builds the module that a source names: a factory is called, a file is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, fx, nn

from edgeconv.errors import EdgeconvError, InvalidInputError, UsageError
from edgeconv.formats import detect
from edgeconv.formats.pickles import refuse_pickled_code
from edgeconv.formats.record import RECORD_NAME, read_record
from edgeconv.signature import Signature
from edgeconv.source import ModelSource
from edgeconv_converters.torch_export.archive import check_archive
from edgeconv_converters.torch_export.declared import declare_inputs
from edgeconv_converters.torch_export.factory import call_factory
from edgeconv_converters.torch_export.weights import load_weights, read_weights

__all__ = ["Built", "Signed", "build_source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A module, and what its source says about its inputs.

    Attributes:
        module: In whatever mode it came.
        args: Positional example inputs.
        kwargs: Keyword example inputs.
        declared: The signature that a file declares: its dynamic dims hold unless the user gives others. Its
            outputs are empty where the file has no names for them.
    """

    module: nn.Module
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] | None = None
    declared: Signature | None = None

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
        return _load_file(source.path, trust=source.trust)
    module, args, kwargs = call_factory(source)
    if source.weights is not None:
        weights = read_weights(source.weights, trust=source.trust)
        load_weights(module, weights, source.weights)
    if isinstance(module, torch.jit.ScriptModule):
        module = Signed(module, _script_signature(module))
    return Built(module=module, args=args, kwargs=kwargs)


def _load_file(path: Path, *, trust: bool) -> Built:
    known = detect(path).id
    if known not in ("torch-export", "torchscript"):
        raise UsageError(
            f"'{path}' is in the format '{known}', which cannot be captured",
            hint="give a PyTorch model: a factory, a .pt2 or a TorchScript file",
        )
    check_archive(path)
    if known == "torch-export" and not trust:
        refuse_pickled_code(path)
    try:
        return _load_script(path) if known == "torchscript" else _load_program(path)
    except EdgeconvError:
        raise
    except Exception as error:  # PyTorch's readers raise errors of any class
        raise InvalidInputError(
            f"'{path}' cannot be loaded",
            why=str(error).strip().partition("\n")[0] or type(error).__name__,
            hint="it is damaged, or was saved by another version of PyTorch: export it again",
        ) from error


def _load_script(path: Path) -> Built:
    extra = {RECORD_NAME: ""}
    script = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    text = extra[RECORD_NAME]
    declared = _read_declared(text.decode() if isinstance(text, bytes) else text)
    return Built(module=Signed(script, _script_signature(script)), declared=declared)


def _load_program(path: Path) -> Built:
    extra = {RECORD_NAME: ""}
    program = torch.export.load(path, extra_files=extra)
    args, kwargs = program.example_inputs or ((), None)
    module = program.module()
    if isinstance(module, fx.GraphModule):
        make_traceable(module)
    signed = Signed(module, inspect.signature(module.forward))
    declared = _read_declared(extra[RECORD_NAME]) or declare_inputs(program)
    return Built(module=signed, args=tuple(args), kwargs=kwargs, declared=declared)


def _read_declared(text: str) -> Signature | None:
    """The signature that edgeconv stored in the file; None in a file of another tool."""
    return read_record(text)[0] if text else None


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

    Args:
        loaded: The model.
        signature: Of its forward.
        is_hidden: Whether its weights are not to be seen: those of a script are no `nn.Parameter`, which
            torch.export insists on; it takes what it does not see for constants.
    """

    def __init__(
        self,
        loaded: Callable[..., object],
        signature: inspect.Signature,
        *,
        is_hidden: bool = False,
    ) -> None:
        super().__init__()
        if is_hidden:
            self.__dict__["loaded"] = loaded
        else:
            self.loaded = loaded
        self.signature = signature

        def forward(*args: Tensor, **kwargs: Tensor) -> object:
            return loaded(*args, **kwargs)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        self.forward = forward

    @property
    def is_script(self) -> bool:
        """Whether TorchScript runs it, which knows sizes as plain numbers only."""
        return isinstance(self.loaded, torch.jit.ScriptModule)

    def hidden(self) -> Signed:
        """The same model with its weights not to be seen."""
        return Signed(self.loaded, self.signature, is_hidden=True)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - PyTorch's own signature
        """Do nothing."""
        del mode
        return self
