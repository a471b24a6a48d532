"""Runs a PyTorch graph with edge-graph tensors as values.

What depends on no input is computed by PyTorch itself (masks, position tables, folded weights); the rest goes
through the registry. After every operator the result is compared with what PyTorch's own shape propagation says,
so a wrong lowering is found where it is, not at the end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import fx

from edgeconv.dims import DimExpr, Size, evaluate, is_static, maximum, minimum
from edgeconv.errors import ConversionError, UnsupportedOperatorsError
from edgeconv.graph import GraphError, Tensor
from edgeconv.graph.check import shapes_agree
from edgeconv.graph.ops.spec import TensorType
from edgeconv.lowering.aliasing import is_in_place
from edgeconv.lowering.builder import LoweringBuilder, array_of, dtype_of
from edgeconv.lowering.registry import LoweringRegistry
from edgeconv.lowering.sizes import size_from_torch
from edgeconv.lowering.sources import source_of
from edgeconv.lowering.values import Value, is_known

__all__ = ["Interpreter"]

_SUBGRAPH_CALLS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


class Interpreter:
    """Lowers one graph module after the other into one builder."""

    _IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            "aten._assert_tensor_metadata.default",
            "aten._assert_scalar.default",
            "aten.sym_constrain_range_for_size.default",
            "aten.sym_constrain_range.default",
            "aten._assert_async.msg",
        }
    )

    def __init__(
        self, builder: LoweringBuilder, registry: LoweringRegistry, names: Mapping[str, str]
    ) -> None:
        self.builder = builder
        self._registry = registry
        self._names = names
        self._values: dict[fx.Node, Value] = {}
        self._constants: dict[int, Tensor] = {}
        self._kept: list[torch.Tensor] = []
        self._constant_names: dict[int, str] = {}

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
                return [self._tensor(self._resolve(item)) for item in results]
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

    def _tensor(self, value: Value) -> Value:
        """A constant that PyTorch computed, as a graph constant; the same one for the same memory."""
        if isinstance(value, list):
            return [self._tensor(item) for item in value]
        if not isinstance(value, torch.Tensor):
            return value
        found = self._constants.get(id(value))
        if found is None:
            name = self._constant_names.get(value.data_ptr(), "")
            found = self.builder.constant(array_of(value), name=name)
            self._constants[id(value)] = found
            self._kept.append(value)  # ids stay unique only while the tensor lives
        return found

    def _call(self, node: fx.Node) -> Value:
        arguments = [self._resolve(argument) for argument in node.args]
        keywords = {name: self._resolve(value) for name, value in node.kwargs.items()}
        target = str(node.target)
        if node.target is operator.getitem and isinstance(arguments[0], list | tuple):
            return arguments[0][int(str(arguments[1]))]
        if target in self._IGNORED:
            return None
        if isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool | int):
            return self._symbolic(node, arguments)
        if target in _SUBGRAPH_CALLS:
            return self._call_subgraph(arguments)
        if is_known(arguments) and is_known(keywords) and _is_deterministic(node):
            return self._evaluate(node, arguments, keywords)
        return self._lower(node, arguments, keywords)

    def _symbolic(self, node: fx.Node, arguments: list[Value]) -> Value:
        """A size: PyTorch's symbolic expression for it, over the named dims."""
        value = node.meta["val"]
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, torch.SymInt):
            return size_from_torch(value, self._names)
        apply = _SIZE_OPERATORS.get(node.target)
        if apply is None:
            raise UnsupportedOperatorsError(
                f"'{node.target}' on sizes cannot be lowered", details=[str(source_of(node))]
            )
        size: Size = apply(*arguments)
        return size

    def _call_subgraph(self, arguments: list[Value]) -> Value:
        position = next(i for i, a in enumerate(arguments) if isinstance(a, fx.GraphModule))
        module = arguments[position]
        if not isinstance(module, fx.GraphModule):
            raise ConversionError("a wrapped block holds no graph")
        placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
        for placeholder, value in zip(placeholders, arguments[position + 1 :], strict=True):
            self.bind(placeholder, value)
        return self.run(module)

    def _evaluate(self, node: fx.Node, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        target = node.target
        if not callable(target):
            raise ConversionError(f"'{target}' cannot be called")
        if is_in_place(node) and node.args[0] in self._values and self._is_weight(arguments[0]):
            raise UnsupportedOperatorsError(
                f"'{target}' changes a weight of the model", details=[str(source_of(node))]
            )
        result = target(*arguments, **keywords)
        return list(result) if isinstance(result, tuple) else result

    def _is_weight(self, value: Value) -> bool:
        return isinstance(value, torch.Tensor) and value.data_ptr() in self._constant_names

    def _lower(self, node: fx.Node, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        builder = self.builder
        builder.source = source_of(node)
        builder.prefix = node.name
        builder.results = self._expected(node)
        lowering = self._registry.find(str(node.target))
        if lowering is None:
            raise UnsupportedOperatorsError(
                f"'{node.target}' cannot be lowered", details=[str(builder.source)]
            )
        inputs = [self._tensor(argument) for argument in arguments]
        named = {name: self._tensor(value) for name, value in keywords.items()}
        try:
            result = lowering.function(builder, *inputs, **named)
            self._check(node, result)
        except GraphError as error:
            raise ConversionError(
                f"the lowering of '{node.target}' failed",
                why=str(error),
                details=[str(builder.source)],
                hint="this is a gap in edgeconv: please report it",
            ) from error
        if is_in_place(node) and isinstance(node.args[0], fx.Node):
            self._values[node.args[0]] = result
        return result

    def _expected(self, node: fx.Node) -> list[TensorType]:
        value = node.meta.get("val")
        tensors = value if isinstance(value, list | tuple) else [value]
        return [
            (dtype_of(t.dtype), tuple(size_from_torch(s, self._names) for s in t.shape))
            for t in tensors
            if isinstance(t, torch.Tensor)
        ]

    def _check(self, node: fx.Node, result: object) -> None:
        """Refuse a result that is not what PyTorch says, and take over its form of dynamic sizes."""
        got = [t for t in (result if isinstance(result, list) else [result]) if t is not None]
        for tensor, (dtype, shape) in zip(got, self.builder.results, strict=True):
            if dtype.is_complex:
                continue
            if not isinstance(tensor, Tensor):
                raise GraphError(f"{node.target} gave {tensor!r}, not a tensor")
            if tensor.dtype != dtype or not shapes_agree(tensor.shape, shape):
                raise GraphError(f"{node.target} gave {tensor!r}, PyTorch says {dtype}{shape}")
            if not is_static(shape) and not tensor.is_constant:
                tensor.shape = shape


def _is_deterministic(node: fx.Node) -> bool:
    target = node.target
    tags = target.tags if isinstance(target, torch._ops.OpOverload) else ()
    return torch.Tag.nondeterministic_seeded not in tags


def _size(value: Value) -> Size:
    if isinstance(value, int | DimExpr):
        return value
    raise ConversionError(f"'{value}' is no size")


_SIZE_OPERATORS: dict[object, Callable[..., Size]] = {
    max: lambda a, b: maximum(_size(a), _size(b)),
    min: lambda a, b: minimum(_size(a), _size(b)),
    torch.sym_max: lambda a, b: maximum(_size(a), _size(b)),
    torch.sym_min: lambda a, b: minimum(_size(a), _size(b)),
    int: lambda a: evaluate(_size(a), {}),
}
