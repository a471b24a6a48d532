"""Runs a PyTorch graph with edge-graph tensors as values.

What depends on no input is computed by PyTorch itself (masks, position tables, folded weights); the rest goes
through the registry. After every operator the result is compared with what PyTorch's own shape propagation says,
so a wrong lowering is found where it is, not at the end. What cannot be lowered is noted, and lowering goes on, so
that all of it is told at once.
"""

from __future__ import annotations

import inspect
import operator
import traceback
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import fx

from edgeconv.errors import ConversionError
from edgeconv.graph import GraphError, Tensor
from edgeconv.graph.quantization import Quantization
from edgeconv.lowering.aliasing import is_in_place
from edgeconv.lowering.builder import LoweringBuilder, array_of
from edgeconv.lowering.control import lower_cond, lower_while
from edgeconv.lowering.fillings import is_filling, make_filling
from edgeconv.lowering.impossible import why_impossible
from edgeconv.lowering.items import is_plain_number
from edgeconv.lowering.refusal import CannotLowerError, Refusal, refuse
from edgeconv.lowering.registry import Lowering, LoweringRegistry
from edgeconv.lowering.results import (
    check_results,
    empty_results,
    expected_results,
    has_several,
    placeholders,
)
from edgeconv.lowering.size_values import size_value
from edgeconv.lowering.sources import source_of
from edgeconv.lowering.trained_integers import read_integers
from edgeconv.lowering.values import ComplexPair, Value, is_known
from edgeconv.signature import DType

__all__ = ["Interpreter"]

_ITEMS = ("aten.item.default", "aten._local_scalar_dense.default")
_SUBGRAPH_CALLS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
_Symbol = torch.SymInt | torch.SymFloat | torch.SymBool


class Interpreter:
    """Lowers one graph module after the other into one builder.

    Attributes:
        builder: What is built with.
        refusals: What could not be lowered; the graph is of no use when there are any.
    """

    _IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            "aten._assert_tensor_metadata.default",
            "aten._assert_scalar.default",
            "aten.sym_constrain_range_for_size.default",
            "aten.sym_constrain_range.default",
            "aten._assert_async.msg",
            "aten._linalg_check_errors.default",
        }
    )

    def __init__(
        self, builder: LoweringBuilder, registry: LoweringRegistry, names: Mapping[str, str]
    ) -> None:
        self.builder = builder
        self.refusals: list[Refusal] = []
        self._registry = registry
        self._names = dict(names)
        self._values: dict[fx.Node, Value] = {}
        self._constants: dict[int, Value] = {}
        self._items: dict[str, Tensor] = {}
        self._kept: list[torch.Tensor] = []
        self._constant_names: dict[int, str] = {}
        self._integers: dict[int, Quantization] = {}

    @classmethod
    def is_built_in(cls, node: fx.Node) -> bool:
        """Whether the node needs no lowering: an assertion or a size."""
        return str(node.target) in cls._IGNORED or str(node.target).startswith("aten.sym_")

    def bind(self, node: fx.Node, value: Value) -> None:
        """Say what a placeholder stands for."""
        self._values[node] = value

    def name_constant(self, value: object, name: str) -> None:
        """Give a weight the name it has in the module."""
        if isinstance(value, torch.Tensor):
            self._constant_names[value.data_ptr()] = name

    def run(self, module: fx.GraphModule) -> list[Value]:
        """Lower every node; returns what the graph returns, constants as graph tensors."""
        for node in module.graph.nodes:
            if node.op == "output":
                results = node.args[0] if isinstance(node.args[0], Sequence) else node.args
                return [self.tensor(self._resolve(item)) for item in results]
            if node.op == "get_attr":
                self._values[node] = operator.attrgetter(str(node.target))(module)
            elif node.op == "call_function":
                self._values[node] = self._call(node)
        raise ConversionError("the program has no output")

    def _resolve(self, argument: object) -> Value:
        if isinstance(argument, fx.Node):
            return self._values[argument]
        if isinstance(argument, list | tuple):
            return [self._resolve(item) for item in argument]
        if isinstance(argument, slice):
            return slice(
                *(self._resolve(x) for x in (argument.start, argument.stop, argument.step))
            )
        return argument

    def tensor(self, value: Value) -> Value:
        """A constant that PyTorch computed, as a graph constant; the same one for the same memory."""
        if isinstance(value, list):
            return [self.tensor(item) for item in value]
        if not isinstance(value, torch.Tensor):
            return value
        found = self._constants.get(id(value))
        if found is None:
            found = self._constants[id(value)] = self._constant(value)
            self._kept.append(value)  # ids stay unique only while the tensor lives
        return found

    def _constant(self, value: torch.Tensor) -> Value:
        name = self._constant_names.get(value.data_ptr(), "")
        if value.is_complex():
            parts = (value.real.contiguous(), value.imag.contiguous())
            return ComplexPair(*(self.builder.constant(array_of(p), name=name) for p in parts))
        constant = self.builder.constant(array_of(value), name=name)
        constant.quantization = self._integers.get(id(value))
        return constant

    def _call(self, node: fx.Node) -> Value:
        try:
            return make_filling(node) if is_filling(node) else self._lower(node)
        except CannotLowerError as problem:
            return self._refuse(node, str(problem))
        except GraphError as error:
            raise self._blame(node, error) from error

    def _blame(self, node: fx.Node, error: GraphError) -> ConversionError:
        """A lowering that failed, and whose it is."""
        what, line = f"the lowering of '{node.target}' failed", str(source_of(node))
        lowering = self._registry.find(str(node.target))
        module = lowering.function.__module__ if lowering else ""
        if lowering is None or module.startswith("edgeconv."):
            hint = "this is a gap in edgeconv: please report it"
            return ConversionError(what, why=str(error), details=[line], hint=hint)
        file = lowering.function.__code__.co_filename
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{module}, line {frame.lineno}" for frame in frames if frame.filename == file]
        hint = f"mend the lowering in '{module}', which a plug-in brings, or tell its authors"
        return ConversionError(what, why=str(error), details=[*places[-1:], line], hint=hint)

    def _lower(self, node: fx.Node) -> Value:
        arguments = [self._resolve(argument) for argument in node.args]
        keywords = {name: self._resolve(value) for name, value in node.kwargs.items()}
        if node.target is operator.getitem and isinstance(arguments[0], list | tuple):
            return arguments[0][int(str(arguments[1]))]
        if str(node.target) in self._IGNORED:
            return None
        is_block = isinstance(node.target, torch._ops.HigherOrderOperator)
        is_fixed = is_known(arguments) and is_known(keywords) and _is_deterministic(node)
        if is_fixed and not is_block:
            return self._evaluate(node, arguments, keywords)
        self._learn_count(node, arguments)
        self._begin(node)
        if isinstance(node.meta.get("val"), _Symbol | int):
            self._note_item(node, arguments)
            return size_value(self.builder, node.meta["val"], self._names, self._items)
        if is_block:
            return self._lower_blocks(node, arguments)
        return self._lower_operator(node, arguments, keywords)

    def _note_item(self, node: fx.Node, arguments: list[Value]) -> None:
        """Remember the scalar that a number is taken from, unless the number is a size."""
        if str(node.target) not in _ITEMS or not is_plain_number(node):
            return
        (scalar,) = (self.tensor(argument) for argument in arguments)
        if isinstance(scalar, Tensor):
            self._items[node.meta["val"].node.expr.name] = self.builder.reshape(scalar, ())

    def _begin(self, node: fx.Node) -> None:
        self.builder.source = source_of(node)
        self.builder.prefix = node.name
        self.builder.results = expected_results(node, self._names)
        self.builder.is_contiguous = all(map(_is_contiguous, node.all_input_nodes))

    def _lower_blocks(self, node: fx.Node, arguments: list[Value]) -> Value:
        match str(node.target):
            case "cond":
                result = lower_cond(self, arguments)
            case "while_loop":
                result = lower_while(self, arguments)
            case name if name in _SUBGRAPH_CALLS:
                return self._call_subgraph(arguments)
            case "with_effects" if str(arguments[1]) in self._IGNORED:
                return [arguments[0], None]  # a token that orders assertions
            case _:
                raise CannotLowerError("it runs a part of the model in a way that graphs have not")
        check_results(node, result, self.builder.results)
        return result

    def _call_subgraph(self, arguments: list[Value]) -> list[Value]:
        position = next(i for i, a in enumerate(arguments) if isinstance(a, fx.GraphModule))
        return self.run_inner(arguments[position], arguments[position + 1 :])

    def run_inner(self, module: Value, values: Sequence[Value]) -> list[Value]:
        """Lower the graph of a block with these values for its inputs.

        Raises:
            ConversionError: There is no graph.
        """
        if not isinstance(module, fx.GraphModule):
            raise ConversionError("a wrapped block holds no graph")
        placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
        for placeholder, value in zip(placeholders, values, strict=True):
            self.bind(placeholder, value)
        return self.run(module)

    def _evaluate(self, node: fx.Node, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        if not callable(node.target):
            raise ConversionError(f"'{node.target}' cannot be called")
        result = node.target(*arguments, **keywords)
        if (integers := read_integers(node, arguments)) is not None:
            self._integers[id(result)] = integers
            self._kept.append(result)
        expected = node.meta.get("val")
        if isinstance(result, torch.Tensor) and isinstance(expected, torch.Tensor):
            for size, declared in zip(result.shape, expected.shape, strict=True):
                self._learn(declared, size)
        if isinstance(result, int) and isinstance(expected, torch.SymInt):
            self._learn(expected, result)
        return list(result) if isinstance(result, tuple) else result

    def _learn_count(self, node: fx.Node, arguments: list[Value]) -> None:
        """How many elements a known mask selects, which PyTorch has a symbol for."""
        if str(node.target) != "aten.index.Tensor" or not isinstance(arguments[1], list):
            return
        masks = [m for m in arguments[1] if isinstance(m, torch.Tensor) and m.dtype == torch.bool]
        value = node.meta.get("val")
        if len(masks) == 1 and isinstance(value, torch.Tensor):
            for declared in value.shape:
                self._learn(declared, int(masks[0].sum()))

    def _learn(self, declared: int | torch.SymInt, size: int) -> None:
        """What a symbol stands for that depends on data, but on known data alone."""
        if isinstance(declared, torch.SymInt) and declared.node.expr.is_Symbol:
            self._names.setdefault(declared.node.expr.name, str(size))

    def _lower_operator(
        self, node: fx.Node, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        empty = empty_results(self.builder.results)
        if empty is not None:
            return empty if has_several(node) else empty[0]
        inputs = [self.tensor(argument) for argument in arguments]
        named = {name: self.tensor(value) for name, value in keywords.items()}
        is_complex = _has_complex([inputs, named, *self.builder.results])
        lowering = self._registry.find(str(node.target), is_complex=is_complex)
        if lowering is None:
            raise CannotLowerError(
                "of complex numbers" if is_complex and not why_impossible(node) else ""
            )
        result = _apply(lowering, self.builder, inputs, named)
        check_results(node, result, self.builder.results)
        if is_in_place(node) and isinstance(node.args[0], fx.Node):
            self._values[node.args[0]] = result
        return result

    def _refuse(self, node: fx.Node, why: str) -> Value:
        """Note it, and go on with tensors that nothing makes."""
        self.refusals.append(refuse(node, why))
        made = placeholders(node, expected_results(node, self._names))
        return made if has_several(node) else made[0]


def _apply(
    lowering: Lowering, builder: LoweringBuilder, inputs: list[Value], named: dict[str, Value]
) -> object:
    try:
        inspect.signature(lowering.function).bind(builder, *inputs, **named)
    except TypeError as error:
        raise CannotLowerError(str(error)) from error
    result = lowering.function(builder, *inputs, **named)
    return list(result) if isinstance(result, tuple) else result


def _has_complex(value: object) -> bool:
    """Whether a complex tensor or dtype is somewhere in nested values."""
    if isinstance(value, list | tuple):
        return any(_has_complex(item) for item in value)
    if isinstance(value, dict):
        return any(_has_complex(item) for item in value.values())
    return isinstance(value, ComplexPair) or (isinstance(value, DType) and value.is_complex)


def _is_contiguous(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return True
    return bool(value.is_contiguous()) and bool(value.storage_offset() == 0)


def _is_deterministic(node: fx.Node) -> bool:
    """Whether it draws no random numbers; a dropout that is told that nothing is trained draws none."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return True
    if torch.Tag.nondeterministic_seeded not in target.tags:
        return True
    names = [argument.name for argument in target._schema.arguments]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    return any(given.get(name) is False for name in ("train", "training"))
