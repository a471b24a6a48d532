"""Writes in TorchScript how a module is called with flat inputs, for modules that can only be scripted.

A `FlatModule` is Python that no compiler of PyTorch's takes; what it does for one particular structure of inputs and
outputs is two lines, which are written out here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from edgeconv.plugin.live import ScriptCall
from edgeconv_converters.torch_export.flatten import Bound, OutputPlan, Path, Turn, Turns
from edgeconv_converters.torch_export.loaded import Signed

__all__ = ["describe_call"]


class _UnwritableError(Exception):
    """TorchScript has no words for a value."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A parameter of the flat forward, where the tensor it stands for was."""

    text: str


def describe_call(
    module: nn.Module, bound: Bound, plan: OutputPlan, returned: object, turns: Turns
) -> ScriptCall:
    """How a script calls a module.

    Args:
        module: The user's, as it was captured.
        bound: Its inputs.
        plan: Its outputs.
        returned: What one run of it returned.
        turns: How images are turned on their way in and out.
    """
    forward, problem = "", ""
    try:
        forward = _write_forward(bound, plan, returned, turns)
    except _UnwritableError as error:
        problem = str(error)
    return ScriptCall(
        module=_loaded(module),
        forward=forward,
        problem=problem,
        is_single=isinstance(returned, Tensor),
    )


def _loaded(module: nn.Module) -> nn.Module:
    """What was loaded from a file stands behind Python that names its parameters."""
    if isinstance(module, Signed) and isinstance(module.loaded, nn.Module):
        return module.loaded
    return module


def _write_forward(bound: Bound, plan: OutputPlan, returned: object, turns: Turns) -> str:
    inputs = zip(bound.names, turns.inputs or [None] * len(bound.names), strict=True)
    args, kwargs = bound.rebuild([_Name(f"{name}{_write_turn(turn)}") for name, turn in inputs])
    given = [_write_value(value) for value in args]
    given += [f"{name}={_write_value(value)}" for name, value in kwargs.items()]
    result = "result"
    while result in bound.names:
        result += "_"
    outputs = zip(plan.paths, turns.outputs or [None] * len(plan.paths), strict=True)
    items = [f"{result}{_write_path(returned, path)}{_write_turn(turn)}" for path, turn in outputs]
    parameters = ", ".join(f"{name}: Tensor" for name in bound.names)
    return (
        f"def forward(self, {parameters}):\n"
        f"    {result} = self.module({', '.join(given)})\n"
        f"    return {items[0] if plan.paths == ((),) else _write_tuple(items)}\n"
    )


def _write_turn(turn: Turn) -> str:
    return "" if turn is None else f".permute({list(turn)})"


def _write_value(value: object) -> str:
    """An argument as TorchScript writes it.

    Raises:
        _UnwritableError: It is of a type that TorchScript does not have.
    """
    if isinstance(value, _Name):
        return value.text
    if type(value) is dict:
        pairs = (f"{_write_value(k)}: {_write_value(v)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    if type(value) is list:
        return f"[{', '.join(map(_write_value, value))}]"
    if type(value) is tuple:
        return _write_tuple([_write_value(item) for item in value])
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    raise _UnwritableError(
        f"an input is of the type '{type(value).__name__}', and a script is only handed tensors, numbers, texts,"
        " and lists, tuples and dicts of them"
    )


def _write_tuple(items: list[str]) -> str:
    return f"({', '.join(items)},)"


def _write_path(returned: object, path: Path) -> str:
    """The subscripts that lead to a tensor inside of what was returned."""
    text = ""
    for key in path:
        if isinstance(returned, Mapping):
            actual = next(k for k in returned if str(k) == key)
            text, returned = f"{text}[{_write_value(actual)}]", returned[actual]
        elif isinstance(returned, list | tuple):
            text, returned = f"{text}[{key}]", returned[int(key)]
        elif dataclasses.is_dataclass(returned):
            text, returned = f"{text}.{key}", getattr(returned, key)
    return text
