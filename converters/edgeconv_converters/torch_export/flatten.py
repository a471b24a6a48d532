"""Gives the inputs and outputs of any `forward` flat names, and makes a module that takes and returns them flat.

Names are those of `forward`. What is nested inside an input is named `<parameter>_<key or index>`. Outputs: a
single tensor is `output` (it is no tuple, so it has no index); a tuple or list gives `output_0`, `output_1`, …; a
mapping (the ModelOutput of transformers is one) or dataclass keeps its keys; nesting joins with `_`. `None`
keeps its place in the count but is no output.

Every format must take the names, so input names become Python identifiers, and output names keep letters,
digits, `_`, `.` and `-`, start with a letter or `_`, and get the suffix `_out` where an input has the same name
(ONNX and TFLite know one namespace for both).
"""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Never, TypeAlias, cast

import torch
from torch import Tensor, nn

from edgeconv.errors import InvalidInputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "Bound",
    "FlatModule",
    "OutputPlan",
    "Turn",
    "Turns",
    "bind_inputs",
    "describe_forward",
    "flatten_outputs",
    "make_flat_module",
    "parameter_names",
    "required_names",
    "turn_tensors",
]

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Slot:
    """The place of the tensor with this index in the flat inputs."""

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Example inputs, flat, and how to build the arguments of `forward` from flat tensors again.

    Attributes:
        names: One for each tensor, in the order of `forward`'s parameters.
        tensors: The example tensors.
        constants: Inputs that are no tensors, by name: they become part of the captured program.
    """

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    constants: tuple[tuple[str, object], ...]
    args_template: tuple[object, ...]
    kwargs_template: Mapping[str, object]

    def rebuild(self, flat: Sequence[object]) -> tuple[tuple[object, ...], dict[str, object]]:
        """Positional and keyword arguments of `forward` with `flat` in the places of the tensors."""
        args = tuple(_fill(item, flat) for item in self.args_template)
        return args, {name: _fill(item, flat) for name, item in self.kwargs_template.items()}

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> Bound:
        """The same inputs with other example tensors."""
        return dataclasses.replace(self, tensors=tensors)

    def with_own_memory(self) -> Bound:
        """The same inputs with examples that share no memory with one another.

        Two inputs for which the same tensor was given are two inputs all the same: whoever runs an artifact may give
        others, and a model that writes into the one must not be captured as writing into the other.
        """
        seen: set[int] = set()
        own: list[Tensor] = []
        for tensor in self.tensors:
            memory = tensor.untyped_storage().data_ptr()
            own.append(tensor.clone() if memory in seen else tensor)
            seen.add(memory)
        return self.with_tensors(tuple(own))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """What is kept of the outputs, and what is not.

    Attributes:
        paths: Where each tensor stands in what `forward` returns.
        names: What it is called.
        dropped: Names and types of outputs that are no tensors.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]

    def renamed(self, names: Sequence[str]) -> OutputPlan:
        """The same outputs under other names; as they are where there are not as many names."""
        if len(names) != len(self.names):
            return self
        return dataclasses.replace(self, names=tuple(names))


Turn: TypeAlias = "tuple[int, ...] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """How images are turned between what the flat module takes and gives and what the user's module does.

    Attributes:
        inputs: One permutation for each flat input, or None; nothing at all where no input is turned.
        outputs: The same for the outputs.
    """

    inputs: tuple[Turn, ...] = ()
    outputs: tuple[Turn, ...] = ()


_NO_TURNS = Turns()


def parameter_names(module: nn.Module) -> list[str]:
    """The names of `forward`'s parameters; `*args` and `**kwargs` are left out."""
    return [
        name
        for name, parameter in _forward_signature(module).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def required_names(module: nn.Module) -> list[str]:
    """The names of `forward`'s parameters that have no default."""
    parameters = _forward_signature(module).parameters
    return [
        name
        for name in parameter_names(module)
        if parameters[name].default is inspect.Parameter.empty
    ]


def describe_forward(module: nn.Module) -> str:
    """`forward takes (image, mask=None)`: names and defaults, without annotations."""
    signature = _forward_signature(module)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return f"forward takes {inspect.Signature(plain)}"


def _forward_signature(module: nn.Module) -> inspect.Signature:
    return inspect.signature(module.forward)


def bind_inputs(
    module: nn.Module, args: Sequence[object], kwargs: Mapping[str, object] | None = None
) -> Bound:
    """Name and flatten example inputs.

    Raises:
        InvalidInputError: They do not fit the parameters of `forward`, or hold no tensor.
    """
    signature = _forward_signature(module)
    try:
        bound = _bind(signature, args, kwargs or {})
    except TypeError as error:
        raise InvalidInputError(
            "the example inputs do not fit the model's forward",
            why=str(error),
            hint=describe_forward(module),
        ) from error
    leaves = _Leaves()
    for name, value in bound.arguments.items():
        is_rest = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        bound.arguments[name] = leaves.template(value, () if is_rest else (name,))
    if not leaves.tensors:
        raise InvalidInputError(
            "the example inputs hold no tensor", hint="give one tensor for each input of forward"
        )
    return Bound(
        names=_unique(_identifier("_".join(path)) for path in leaves.paths),
        tensors=tuple(leaves.tensors),
        constants=tuple(leaves.constants),
        args_template=bound.args,
        kwargs_template=bound.kwargs,
    )


def _bind(
    signature: inspect.Signature, args: Sequence[object], kwargs: Mapping[str, object]
) -> inspect.BoundArguments:
    """Bind by name also what Python takes by position only: every input has a name here."""
    unnamed = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.POSITIONAL_ONLY and name in kwargs
    ]
    rest = {name: value for name, value in kwargs.items() if name not in unnamed}
    return signature.bind(*args, *(kwargs[name] for name in unnamed), **rest)


class _Leaves:
    """Collects the tensors of nested inputs and leaves slots in their places."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.paths: list[Path] = []
        self.constants: list[tuple[str, object]] = []

    def template(self, value: object, path: Path) -> object:
        if isinstance(value, Tensor):
            self.tensors.append(value.detach())
            self.paths.append(path)
            return _Slot(len(self.tensors) - 1)
        if _is_container(value):
            return _replace_items(
                value, [self.template(item, (*path, key)) for key, item in _items(value)]
            )
        if type(value).__module__ == "numpy":
            raise InvalidInputError(
                f"the example input '{'_'.join(path)}' is a NumPy array",
                why="it would become a constant of the program",
                hint="give a tensor: torch.from_numpy(array)",
            )
        if value is not None:
            self.constants.append(("_".join(path), value))
        return value


def _fill(value: object, flat: Sequence[object]) -> object:
    if isinstance(value, _Slot):
        return flat[value.index]
    if _is_container(value):
        return _replace_items(value, [_fill(item, flat) for _, item in _items(value)])
    return value


def _is_container(value: object) -> bool:
    if isinstance(value, _Slot):
        return False
    if isinstance(value, Mapping | list | tuple):
        return True
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _items(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key), item
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield str(index), item
    else:
        for field in dataclasses.fields(cast("DataclassInstance", value)):
            yield field.name, getattr(value, field.name)


def _replace_items(value: object, items: list[object]) -> object:
    """The same container with other items, in the order of `_items`."""
    if isinstance(value, Mapping):
        return dict(zip(value, items, strict=True))
    if isinstance(value, list):
        return items
    if isinstance(value, tuple):
        return (
            type(value)(*cast("list[Never]", items)) if hasattr(value, "_fields") else tuple(items)
        )
    changes = dict(zip((key for key, _ in _items(value)), items, strict=True))
    return dataclasses.replace(cast("DataclassInstance", value), **changes)


def flatten_outputs(value: object, input_names: Iterable[str]) -> OutputPlan:
    """Name the tensors in what `forward` returned.

    Args:
        value: What one run of the model returned.
        input_names: Names that outputs must not have.

    Raises:
        InvalidInputError: There is no tensor in it.
    """
    paths: list[Path] = []
    raw: list[str] = []
    dropped: list[tuple[str, str]] = []
    for path, leaf in _walk(value, ()):
        if isinstance(leaf, Tensor):
            paths.append(path)
            raw.append(_output_name(value, path))
        elif leaf is not None:
            dropped.append((_output_name(value, path), type(leaf).__name__))
    if not paths:
        raise InvalidInputError(
            "the model returns no tensor",
            why=f"forward returned {type(value).__name__}",
            hint="return a tensor, or a tuple, list or dict of tensors",
        )
    return OutputPlan(
        paths=tuple(paths),
        names=_unique(raw, taken=frozenset(input_names)),
        dropped=tuple(dropped),
    )


def output_tensors(value: object) -> tuple[Tensor, ...]:
    """The tensors in what `forward` returned, in the order of its `OutputPlan`."""
    return tuple(leaf.detach() for _, leaf in _walk(value, ()) if isinstance(leaf, Tensor))


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if not isinstance(value, Tensor) and _is_container(value):
        for key, item in _items(value):
            yield from _walk(item, (*path, key))
    else:
        yield path, value


def _output_name(value: object, path: Path) -> str:
    keeps_keys = isinstance(value, Mapping) or not isinstance(value, Tensor | list | tuple)
    text = "_".join(path if keeps_keys else ("output", *path)) or "output"
    text = re.sub(r"[^0-9A-Za-z_.\-]", "_", text)
    return text if re.match(r"[A-Za-z_]", text) else f"output_{text}"


def _identifier(text: str) -> str:
    text = re.sub(r"\W", "_", text, flags=re.ASCII)
    if not text or text[0].isdigit():
        text = f"input_{text}"
    return f"{text}_" if keyword.iskeyword(text) or text == "self" else text


def _unique(names: Iterable[str], *, taken: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Names made distinct: `_out` where an input has the name, then a running number."""
    found: list[str] = []
    for name in names:
        first = f"{name}_out" if name in taken else name
        choices = [
            first,
            *(f"{first}_{number}" for number in range(2, len(found) + len(taken) + 3)),
        ]
        found.append(next(c for c in choices if c not in taken and c not in found))
    return tuple(found)


class FlatModule(nn.Module):
    """Takes the inputs of `forward` flat and positionally, and returns its output tensors as a flat tuple.

    Args:
        module: The user's module; it is the only child, under the name `module`.
        bound: How to build the arguments of its `forward`.
        outputs: Which of its outputs to return, in which order.
        turns: How images are turned on their way in and out.
    """

    def __init__(
        self, module: nn.Module, bound: Bound, outputs: OutputPlan, turns: Turns = _NO_TURNS
    ) -> None:
        super().__init__()
        self.module = module
        self._bound = bound
        self._paths = outputs.paths
        self._turns = turns

    def run(self, flat: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs for flat inputs.

        Raises:
            InvalidInputError: The model returned tensors in other places than it did for the example.
        """
        args, kwargs = self._bound.rebuild(turn_tensors(flat, self._turns.inputs))
        found = {
            path: leaf
            for path, leaf in _walk(self.module(*args, **kwargs), ())
            if isinstance(leaf, Tensor)
        }
        # The tracer turns sizes into tensors, which are no outputs.
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # PyTorch types neither
            found = {path: leaf for path, leaf in found.items() if path in self._paths}
        if tuple(found) != self._paths:
            raise InvalidInputError(
                "the model returns other outputs for other inputs",
                why=f"{sorted(found)} instead of {sorted(self._paths)}",
                hint="return the same structure for every input",
            )
        return turn_tensors(tuple(found.values()), self._turns.outputs)


def turn_tensors(tensors: Sequence[Tensor], turns: Sequence[Turn]) -> tuple[Tensor, ...]:
    """Permute the axes of those tensors that have a turn; no turns at all turn nothing."""
    if not turns:
        return tuple(tensors)
    pairs = zip(tensors, turns, strict=True)
    return tuple(tensor if turn is None else tensor.permute(turn) for tensor, turn in pairs)


def make_flat_module(
    module: nn.Module, bound: Bound, outputs: OutputPlan, turns: Turns = _NO_TURNS
) -> FlatModule:
    """A `FlatModule` whose `forward` has parameters named as the inputs are.

    torch.export and TorchScript name the inputs of what they write after `forward`'s parameters, and both read
    them through `inspect.signature`.
    """

    def forward(self: FlatModule, *flat: Tensor) -> tuple[Tensor, ...]:
        return self.run(flat)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ("self", *bound.names)
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    forward.__signature__ = signature  # type: ignore[attr-defined]
    specific = type("FlatModule", (FlatModule,), {"forward": forward})
    return cast("FlatModule", specific(module, bound, outputs, turns))
