"""Loads what PyTorch can load again, a `.pt2` or a TorchScript file, as a module that can be captured anew."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import sympy
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from edgeconv.dims import Size, evaluate, symbols
from edgeconv.errors import UsageError
from edgeconv.formats import detect
from edgeconv.formats.declared import new_dim_name
from edgeconv.formats.record import read_record
from edgeconv.formats.torch_export import load_program, read_stored
from edgeconv.formats.torchscript import load_script
from edgeconv.lowering.sizes import size_from_torch, symbol_names, user_placeholders
from edgeconv.signature import Dim, InputSpec, Signature
from edgeconv_converters.torch_export.built import Built
from edgeconv_converters.torch_export.examples import InputShapes

__all__ = ["Signed", "load_file", "sign_loaded", "sign_script"]


def load_file(path: Path, *, is_trusted: bool) -> Built:
    """Load a `.pt2` or a TorchScript file.

    Raises:
        InvalidInputError: It is damaged.
        UnsafeInputError: It would run code when read, and is not trusted.
        UsageError: It is of another format.
    """
    known = detect(path).id
    if known == "torchscript":
        return _load_script(path, is_trusted=is_trusted)
    if known == "torch-export":
        return _load_program(path, is_trusted=is_trusted)
    raise UsageError(
        f"'{path}' is in the format '{known}', which cannot be captured",
        hint="give a PyTorch model: a factory, a .pt2 or a TorchScript file",
    )


def _load_script(path: Path, *, is_trusted: bool) -> Built:
    script, text = load_script(path, is_trusted=is_trusted)
    module = sign_script(script)
    stored = read_record(text)[0] if text else None
    names = list(module.signature.parameters)
    if stored is None or [spec.name for spec in stored.inputs] != names:
        return Built(module=module)
    return Built(
        module=module,
        specs=tuple(
            InputSpec(tensor=spec, dims=_dims_of(spec.shape, stored)) for spec in stored.inputs
        ),
        output_names=tuple(spec.name for spec in stored.outputs),
    )


def _load_program(path: Path, *, is_trusted: bool) -> Built:
    program = load_program(path, is_trusted=is_trusted)
    args, kwargs = program.example_inputs or ((), None)
    module = sign_loaded(program.module())
    stored = read_stored(path)
    signature = None if stored is None else stored[0]
    names = () if signature is None else tuple(spec.name for spec in signature.outputs)
    return Built(
        module=module,
        args=tuple(args),
        kwargs=kwargs,
        shapes=_read_shapes(program, signature),
        output_names=names,
    )


def _dims_of(shape: tuple[Size, ...], signature: Signature) -> tuple[Dim, ...]:
    used = frozenset().union(*map(symbols, shape))
    return tuple(dim for dim in signature.dims if dim.name in used)


def _read_shapes(program: ExportedProgram, stored: Signature | None) -> InputShapes | None:
    """Shapes of the program's inputs with its own dynamic dims, named as stored where that is known."""
    nodes = user_placeholders(program)
    values = [node.meta["val"] for node in nodes if isinstance(node.meta.get("val"), Tensor)]
    if len(values) != len(nodes):
        return None
    if stored is not None and len(stored.inputs) == len(nodes):
        names, dims = symbol_names(program, stored), stored.dims
    else:
        found = _find_dims(program, nodes)
        names = {symbol: dim.name for symbol, dim in found.items()}
        dims = tuple(found.values())
    shapes = tuple(tuple(size_from_torch(size, names) for size in value.shape) for value in values)
    return InputShapes(shapes=shapes, dims=dims, bounded=frozenset())


def _find_dims(program: ExportedProgram, nodes: Sequence[fx.Node]) -> dict[str, Dim]:
    """A dim for each symbol in the shapes of the inputs, named after where it appears first."""
    found: dict[str, Dim] = {}
    for node in nodes:
        for axis, size in enumerate(node.meta["val"].shape):
            if not isinstance(size, torch.SymInt) or len(size.node.expr.free_symbols) != 1:
                continue
            (symbol,) = size.node.expr.free_symbols
            if symbol.name not in found:
                name = new_dim_name(node.name, axis)
                example = _solve(
                    size_from_torch(size, {symbol.name: name}), name, cast("int", size.node.hint)
                )
                limits = program.range_constraints.get(symbol)
                found[symbol.name] = _limit(Dim(name=name, example=example), limits)
    return found


def _solve(size: Size, name: str, wanted: int) -> int:
    """The value of a dim that makes a size what it is in the example."""
    return next((n for n in range(1, wanted + 1) if evaluate(size, {name: n}) == wanted), wanted)


def _limit(dim: Dim, limits: ValueRanges[sympy.Expr] | None) -> Dim:
    """The dim with the range of sizes the program takes; PyTorch says 2 also where it takes 1."""
    if limits is None:
        return dim
    low = int(limits.lower) if limits.lower > 2 else dim.min
    return replace(dim, min=low, max=None if limits.upper == int_oo else int(limits.upper))


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


def sign_loaded(module: nn.Module) -> nn.Module:
    """What PyTorch loaded from a script or a program, behind a Python forward; any other module as it is.

    The module itself is not changed; what is given shares its weights.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return sign_script(module)
    # The module of a program has its own `train`, which refuses.
    if not (isinstance(module, fx.GraphModule) and "train" in vars(module)):
        return module
    copied = _with_own_graph(module)
    make_traceable(copied)
    return Signed(copied, inspect.signature(module.forward))


def _with_own_graph(module: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    results = graph.graph_copy(module.graph, {})
    graph.output(results)
    graph.set_codegen(copy.copy(module.graph._codegen))  # noqa: SLF001 - nothing else tells it
    return fx.GraphModule(module, graph)


def sign_script(script: torch.jit.ScriptModule) -> Signed:
    """A script behind a Python forward with its parameter names."""
    return Signed(script, _script_signature(script))


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

    def __deepcopy__(self, memo: dict[int, object]) -> Signed:
        """A copy that calls the copy: `forward`, a function, would go on calling the original."""
        is_hidden = "loaded" in self.__dict__
        copied = Signed(copy.deepcopy(self.loaded, memo), self.signature, is_hidden=is_hidden)
        copied.training = self.training
        memo[id(self)] = copied
        return copied

    @property
    def is_script(self) -> bool:
        """Whether TorchScript runs it."""
        return isinstance(self.loaded, torch.jit.ScriptModule)

    def hidden(self) -> Signed:
        """The same model with its weights not to be seen."""
        return Signed(self.loaded, self.signature, is_hidden=True)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - PyTorch's own signature
        """Do nothing."""
        del mode
        return self
