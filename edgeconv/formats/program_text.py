"""Finds what could become code in the text of an exported program: names, operators, expressions, trees."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, cast

__all__ = ["find_code"]

_Json: TypeAlias = "bool | int | float | str | list[_Json] | Mapping[str, _Json] | None"

_NAME = re.compile(r"\w*")
# Names of weights and modules may be any text, which PyTorch puts between quotes.
_QUOTED = re.compile(r"[^'\"\\\n\r]*")
_TREE = re.compile(r"[\w\s.,:\[\]{}\"\-/]*")
_SIZE_OPERATOR = re.compile(r"torch\.(_sym_sqrt|sym_\w+)|math\.[a-z]\w*")
_PYTHON_OPERATOR = re.compile(
    r"_operator\.(abs|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|lshift|rshift|and_|or_|not_"
    r"|eq|ne|lt|le|gt|ge|getitem)"
)
# Control flow, and what wraps a part of the graph; others call functions that are no operators.
_HIGHER_ORDER = re.compile(
    "cond|while_loop|scan|associative_scan|map_impl|wrap_with_set_grad_enabled|wrap_with_autocast"
    "|tag_activation_checkpoint|invoke_subgraph|auto_functionalized|auto_functionalized_v2"
)
# An operator that takes the name of a file reads or writes that file.
_FILE_ARGUMENTS = frozenset({"filename", "file_name", "file", "path"})
_SIZE_FUNCTION = re.compile(
    "Symbol|Dummy|Integer|Rational|Float|Add|Mul|Pow|Mod|Max|Min|Abs|floor|ceiling|sqrt|Piecewise"
    "|ExprCondPair|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan"
    "|GreaterThan|And|Or|Not|FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt"
    "|CeilDiv|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt"
    "|RoundToInt|RoundDecimal|ToFloat|Identity|IsNonOverlappingAndDenseIndicator"
)
_SIZE_TEXT = re.compile(r"[\w.+-]*")
_GUARD_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "numel"})
_MATH = frozenset(name for name in vars(math) if not name.startswith("_"))
_GUARD_NAMES = frozenset({"L", "math", "inf"})


def find_code(model: Mapping[str, _Json]) -> list[str]:
    """What in the JSON of a program is no name, arithmetic or operator where one of these must be."""
    found = dict.fromkeys(_walk(model))
    guards = cast("Iterable[str]", model.get("guards_code") or ())
    found |= dict.fromkeys(
        f"guard {guard!r}" for guard in guards if not _is_expression(guard, is_guard=True)
    )
    return list(found)


def _walk(value: _Json) -> Iterator[str]:
    """Every text under a key that is checked, wherever it stands; PyTorch takes nothing but text there."""
    if isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check = _CHECKS.get(key)
            if check is not None and isinstance(item, str) and not check(item):
                yield f"{key} {item!r}"
            if key in _NAMED and isinstance(item, list | Mapping):
                yield from (f"{key} {name!r}" for name in item if not _NAME.fullmatch(str(name)))
            yield from _walk(item)


def _is_operator(text: str) -> bool:
    """Whether a text names an operator of PyTorch or of an extension, or arithmetic on sizes."""
    is_arithmetic = _PYTHON_OPERATOR.fullmatch(text) or _SIZE_OPERATOR.fullmatch(text)
    return is_arithmetic is not None or _is_torch_operator(text)


def _is_torch_operator(text: str) -> bool:
    import torch
    from torch._ops import HigherOrderOperator, OpOverload

    root, *parts = text.split(".")
    if root != "torch" or parts[:1] != ["ops"]:
        return False
    found: object = torch
    for part in parts:
        found = getattr(found, part, None)
    if isinstance(found, HigherOrderOperator):
        return _HIGHER_ORDER.fullmatch(parts[-1]) is not None
    if isinstance(found, OpOverload):
        return not any(a.name in _FILE_ARGUMENTS for a in found._schema.arguments)  # noqa: SLF001 - there is no public way to ask
    return found is None  # what is not there cannot run


def _is_size(text: str) -> bool:
    return _is_expression(text, is_guard=False)


def _is_expression(text: str, *, is_guard: bool) -> bool:
    """Whether a text is arithmetic and comparisons, over sizes of inputs in a guard, over symbols otherwise."""
    if set(text) & set("\n\r#"):
        return False  # SymPy takes line ends away before it reads the text
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    accepts = _accepts_in_guard if is_guard else _accepts_in_size
    return all(isinstance(node, _ARITHMETIC) or accepts(node) for node in ast.walk(tree))


_ARITHMETIC = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
    ast.expr_context,
    ast.Tuple,
)


def _accepts_in_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and _is_size_function(node.func)
    if isinstance(node, ast.Constant):
        is_number = isinstance(node.value, int | float)
        return is_number or _SIZE_TEXT.fullmatch(str(node.value)) is not None
    if isinstance(node, ast.Name):
        return "__" not in node.id
    return isinstance(node, ast.keyword)


def _is_size_function(name: ast.Name) -> bool:
    return _SIZE_FUNCTION.fullmatch(name.id) is not None


def _accepts_in_guard(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return not node.keywords and isinstance(node.func, ast.Name | ast.Attribute)
    if isinstance(node, ast.Attribute):
        return node.attr in _GUARD_METHODS or (
            isinstance(node.value, ast.Name) and node.value.id == "math" and node.attr in _MATH
        )
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or _QUOTED.fullmatch(node.value) is not None
    if isinstance(node, ast.Name):
        return node.id in _GUARD_NAMES or _is_size_function(node)
    return isinstance(node, ast.Subscript)


def _is_tree(text: str) -> bool:
    """Whether the structure of inputs or outputs names no module to import, and no key that ends its quotes."""
    _, root = json.loads(text)
    nodes = [root]
    for node in nodes:
        nodes += node["children_spec"]
    contexts = [str(node["context"]) for node in nodes]
    return not any(node["type"] == "collections.defaultdict" for node in nodes) and all(
        _TREE.fullmatch(text) and "__enum__" not in text for text in contexts
    )


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "name": _NAME.fullmatch,
    "as_name": _NAME.fullmatch,
    "user_input_name": _NAME.fullmatch,
    "parameter_name": _QUOTED.fullmatch,
    "buffer_name": _QUOTED.fullmatch,
    "tensor_constant_name": _QUOTED.fullmatch,
    "custom_obj_name": _QUOTED.fullmatch,
    "fqn": _QUOTED.fullmatch,
    "target": _is_operator,
    "as_operator": _is_operator,
    "expr_str": _is_size,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
}
_NAMED = frozenset({"forward_arg_names", "as_string_to_argument"})
