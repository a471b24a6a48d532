"""Runs a captured model: as PyTorch runs it, as the exported program runs it, and in float64.

The distance between float32 and float64 is the model's noise floor: what rounding alone does to its outputs.
Every later comparison is judged by it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar, cast

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from edgeconv_converters.torch_export.convolutions import convolve
from edgeconv_converters.torch_export.threads import alone_if_grouped

__all__ = ["largest_difference", "perturb", "run", "run_in_float64"]

_Tree = TypeVar("_Tree")
_LOG = logging.getLogger(__name__)
_GUARDS = "_guards_fn"  # as ExportedProgram.module() calls what checks the inputs
_WIDER: Mapping[torch.dtype, torch.dtype] = MappingProxyType(
    {
        torch.float16: torch.float64,
        torch.bfloat16: torch.float64,
        torch.float32: torch.float64,
        torch.complex32: torch.complex128,
        torch.complex64: torch.complex128,
    }
)


def run(module: nn.Module, inputs: Sequence[Tensor], seed: int = 0) -> tuple[Tensor, ...]:
    """The outputs of a flat module or an exported program's module; inputs are left as they are."""
    torch.manual_seed(seed)
    with torch.no_grad():
        outputs = module(*(tensor.clone() for tensor in inputs))
    return tuple(output.detach() for output in outputs)


def run_in_float64(
    program: fx.GraphModule | None, module: nn.Module, inputs: Sequence[Tensor]
) -> tuple[Tensor, ...] | None:
    """The outputs with everything that is a floating-point number in float64; None if that fails.

    The program is interpreted node by node, so that only the weights in use are held twice. Without a
    program, a float64 copy of the module runs.
    """
    wide = [_widen(tensor) for tensor in inputs]
    try:
        with torch.no_grad():
            if program is not None:
                return tuple(_Float64Interpreter(program).run(*wide))
            # Copied outside of the mode, which would hand the copy storage of another dtype than it asks for.
            copied = copy.deepcopy(module).double()
            with _Float64Mode():  # type: ignore[no-untyped-call]
                return tuple(copied(*wide))
    except Exception as error:  # noqa: BLE001  a model may fail in float64 in any way
        _LOG.info("the model does not run in float64: %s", error)
        return None


class _Float64Interpreter(fx.Interpreter):
    """Interprets a program in float64, whatever dtypes it names; a weight is wide for as long as it is used."""

    def call_module(
        self, target: fx.node.Target, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        # Guards compare dtypes, and the sizes have been compared in float32 already.
        return None if target == _GUARDS else super().call_module(target, args, kwargs)  # type: ignore[arg-type]  # fx knows fewer

    def call_function(
        self, target: fx.node.Target, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        if str(target) == "aten._assert_tensor_metadata.default":
            return None
        wide, options = _widen_all((args, kwargs))
        with alone_if_grouped(target, wide, options):
            convolved = convolve(target, wide, options)
            if convolved is not None:
                return convolved
            return _widen_all(super().call_function(target, wide, options))  # type: ignore[arg-type]  # fx knows fewer


class _Float64Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operator in float64, whatever dtypes the code names."""

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        wide, options = _widen_all((args, kwargs or {}))
        with alone_if_grouped(func, wide, options):
            return _widen_all(func(*wide, **options))


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(_WIDER[tensor.dtype]) if tensor.dtype in _WIDER else tensor


def _widen_all(value: _Tree) -> _Tree:
    """The same with all tensors in float64, and all dtypes that are named."""
    if isinstance(value, Tensor):
        return cast("_Tree", _widen(value))
    return cast("_Tree", tree_map(_widen_leaf, value))


def _widen_leaf(leaf: object) -> object:
    if isinstance(leaf, Tensor):
        return _widen(leaf)
    return _WIDER.get(leaf, leaf) if isinstance(leaf, torch.dtype) else leaf


def perturb(inputs: Sequence[Tensor], seed: int) -> list[Tensor]:
    """The inputs with each floating-point number off by one rounding step, up or down at random."""
    generator = torch.Generator().manual_seed(seed)
    return [
        tensor * (1 + torch.finfo(tensor.dtype).eps * _random_signs(tensor, generator))
        if tensor.is_floating_point()
        else tensor
        for tensor in inputs
    ]


def _random_signs(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1).to(tensor.dtype)


def largest_difference(left: Tensor, right: Tensor) -> float:
    """The largest absolute difference where both are finite; infinite where only one is, or shapes differ.

    Values of other types than floating-point differ by 0 or by infinity.
    """
    if left.shape != right.shape:
        return float("inf")
    if not (left.is_floating_point() or left.is_complex()):
        return 0.0 if torch.equal(left, right.to(left.dtype)) else float("inf")
    left, right = _widen(left), _widen(right)
    same = (left == right) | (left.isnan() & right.isnan())
    distance = torch.where(same, 0.0, (left - right).abs()).nan_to_num(nan=float("inf"))
    return float(distance.max()) if distance.numel() else 0.0
