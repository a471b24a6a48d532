"""Runs `torch.export` on a flat module with named dynamic dims, and puts what it refuses into the user's words."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils._sympy.numbers import int_oo

from edgeconv.dims import DimExpr, Size, evaluate, symbols
from edgeconv.errors import CaptureError, EdgeconvError
from edgeconv.lowering.retracing import keep_recurrent_operators
from edgeconv.lowering.sizes import symbol_names, user_placeholders
from edgeconv.signature import Dim, Signature, TensorSpec
from edgeconv_converters.torch_export.arrays import dtype_of
from edgeconv_converters.torch_export.code_on_demand import code_on_demand
from edgeconv_converters.torch_export.flatten import FlatModule
from edgeconv_converters.torch_export.refusals import (
    SizeLines,
    constant_refusal,
    equality_refusal,
    explain_refusal,
    explain_violation,
    is_violation,
    range_refusal,
    script_refusal,
    torch_dim_name,
)
from edgeconv_converters.torch_export.size_lines import find_size_lines

__all__ = ["ExportRequest", "Exported", "export_program"]

_LOG = logging.getLogger(__name__)
# A warning that names an attribute of the user's as well does not match.
_FLAT_WEIGHTS_WARNING = (
    r"The tensor attributes? (\S+\._flat_weights\[\d+\],? )+(was|were) assigned during export"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        module: The flat module.
        examples: One tensor per input, with the example sizes.
        names: Names of the inputs.
        shapes: Shapes of the inputs over the named dims.
        dims: The dynamic dims.
        bounded: Names of the dims whose range the user gave: these may not be narrowed.
        is_script: Whether TorchScript runs the module.
    """

    module: FlatModule
    examples: tuple[Tensor, ...]
    names: tuple[str, ...]
    shapes: tuple[tuple[Size, ...], ...]
    dims: tuple[Dim, ...]
    bounded: frozenset[str]
    is_script: bool = False

    def axes(self) -> dict[tuple[str, int], str]:
        """The dim that stands on an axis of an input, by input name and axis."""
        return {
            (name, axis): str(symbol)
            for name, shape in zip(self.names, self.shapes, strict=True)
            for axis, size in enumerate(shape)
            if not isinstance(size, int)
            for symbol in symbols(size)
        }

    def signature(self) -> Signature:
        """The inputs alone, as a signature."""
        specs = tuple(
            TensorSpec(name=name, dtype=dtype_of(tensor), shape=shape)
            for name, tensor, shape in zip(self.names, self.examples, self.shapes, strict=True)
        )
        return Signature(inputs=specs, outputs=(), dims=self.dims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The program, and the dims with the ranges it really takes; or why there is no program."""

    program: ExportedProgram | None
    dims: tuple[Dim, ...]
    error: CaptureError | None = None


def export_program(request: ExportRequest) -> Exported:
    """Export, and name parameters as the user's own module names them.

    Named dims are tried first, since they state which sizes are the same. Where PyTorch only objects that
    some sizes of the range do not work, it is asked to find the range itself.

    Returns:
        The program; or, where PyTorch refuses the model itself, the error to tell the user. Formats that do
        not go through a program can still be reached.

    Raises:
        CaptureError: A dynamic dim that was asked for is not possible.
    """
    try:
        return _export_as_asked(request)
    except CaptureError as error:
        if not (request.is_script and request.dims):
            raise
        refusal = script_refusal(request.dims)
        refusal.__cause__ = error
        return Exported(program=None, dims=request.dims, error=refusal)


def _export_as_asked(request: ExportRequest) -> Exported:
    examples = _enlarge(request)
    try:
        program = _export(request, examples, _named_dims(request))
    except EdgeconvError:
        raise
    except Exception as error:  # noqa: BLE001  torch.export raises errors of any class
        retried = _retry(request, examples, error)
        if isinstance(retried, CaptureError):
            return Exported(program=None, dims=request.dims, error=retried)
        program = retried
    _strip_wrapper(program)
    lines = partial(_size_lines, request, examples)
    return Exported(program=program, dims=_found_ranges(program, request, lines))


def _export(
    request: ExportRequest,
    examples: tuple[Tensor, ...],
    dims: tuple[dict[int, object], ...],
    *,
    strict: bool = False,
) -> ExportedProgram:
    with torch.no_grad(), _quiet(), keep_recurrent_operators(), code_on_demand():
        return torch.export.export(
            request.module,
            examples,
            dynamic_shapes=dims,
            strict=strict,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from logging a program it gives up on: the error says it, in the user's words.

    Of a recurrent layer PyTorch also warns that its weights are no buffers: the layer keeps a list of its own
    parameters, in which torch.export replaced them itself.
    """
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_FLAT_WEIGHTS_WARNING)
            yield
    finally:
        logger.setLevel(before)


def _retry(
    request: ExportRequest, examples: tuple[Tensor, ...], first: Exception
) -> ExportedProgram | CaptureError:
    """Try what may still work after the first refusal, else say in the user's words what it was."""
    lines = partial(_size_lines, request, examples)
    if problem := explain_violation(first, request.dims, lines, request.axes()):
        raise problem from first
    try:
        if is_violation(first):
            return _export(request, examples, _inferred_dims(request))
        if _may_help_strict(first):
            return _export(request, examples, _named_dims(request), strict=True)
    except Exception as second:
        _LOG.info("the second try failed as well: %s", second)
        if problem := explain_violation(second, request.dims, lines, request.axes()):
            raise problem from second
    return explain_refusal(first)


def _size_lines(
    request: ExportRequest, examples: tuple[Tensor, ...], dims: Sequence[str]
) -> list[str]:
    """The lines of the model that assume something about the sizes of some dims."""
    return find_size_lines(
        lambda: _export(request, examples, _inferred_dims(request)), request.axes(), dims
    )


def _may_help_strict(error: Exception) -> bool:
    """Dynamo evaluates Python itself, which helps with Python objects but not with values of tensors."""
    name = type(error).__name__
    return name not in {"GuardOnDataDependentSymNode", "UserError", "UnsupportedOperatorException"}


def _enlarge(request: ExportRequest) -> tuple[Tensor, ...]:
    """The examples at sizes of 2 or more: PyTorch takes sizes of 0 and 1 for constants."""
    sizes = {dim.name: dim.example for dim in request.dims}
    wanted = {
        dim.name: min(max(dim.example, 2), dim.max or max(dim.example, 2)) for dim in request.dims
    }
    if wanted == sizes:
        return request.examples
    return tuple(
        _tile(tensor, tuple(evaluate(size, wanted) for size in shape))
        for tensor, shape in zip(request.examples, request.shapes, strict=True)
    )


def _tile(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    for axis, size in enumerate(shape):
        if tensor.shape[axis] != size:
            index = torch.arange(size) % max(tensor.shape[axis], 1)
            tensor = tensor.index_select(axis, index)
    return tensor


def _named_dims(request: ExportRequest) -> tuple[dict[int, object], ...]:
    roots = {
        dim.name: torch.export.Dim(torch_dim_name(dim.name), min=dim.min, max=dim.max)
        for dim in request.dims
    }
    return _per_axis(request, lambda size: _derive(size, roots))


def _derive(size: DimExpr, roots: Mapping[str, torch.export.Dim]) -> object:
    """PyTorch's own form of `a*N + b`, the only expressions it takes for the size of an input."""
    factors = dict(size.terms)
    offset = factors.pop((), 0)
    monomials = list(factors.items())
    if len(monomials) != 1 or len(monomials[0][0]) != 1 or str(monomials[0][0][0]) not in roots:
        raise CaptureError(
            f"the size '{size}' of an input is more than PyTorch can express",
            why="torch.export takes multiples of one dim, plus a constant",
            hint="give this dim a name of its own",
        )
    ((name,), factor) = monomials[0]
    derived = roots[str(name)]
    if factor != 1:
        derived = derived * factor
    return derived + offset if offset else derived


def _inferred_dims(request: ExportRequest) -> tuple[dict[int, object], ...]:
    ranges = {dim.name: (dim.min, dim.max) for dim in request.dims}

    def hint(size: DimExpr) -> object:
        if str(size) not in ranges:
            return torch.export.Dim.DYNAMIC
        low, high = ranges[str(size)]
        return torch.export.Dim.DYNAMIC(min=low, max=high)

    return _per_axis(request, hint)


def _per_axis(
    request: ExportRequest, make: Callable[[DimExpr], object]
) -> tuple[dict[int, object], ...]:
    return tuple(
        {axis: make(size) for axis, size in enumerate(shape) if not isinstance(size, int)}
        for shape in request.shapes
    )


def _found_ranges(
    program: ExportedProgram, request: ExportRequest, lines: SizeLines
) -> tuple[Dim, ...]:
    """The dims with the ranges PyTorch found, where those are narrower.

    A lower end of 2 says nothing: PyTorch always assumes sizes of 2 or more, and whether 1 works is tried.

    Raises:
        CaptureError: The range is one the user gave, or two dims turned out to be one.
    """
    _check_distinct(program, request, lines)
    names = symbol_names(program, request.signature())
    dims = {dim.name: dim for dim in request.dims}
    for symbol, limits in program.range_constraints.items():
        dim = dims.get(names.get(str(symbol), ""))
        if dim is None:
            continue
        low = int(limits.lower) if limits.lower > 2 else dim.min
        high = dim.max if limits.upper == int_oo else int(limits.upper)
        dims[dim.name] = _narrow(dim, low, high, lines if dim.name in request.bounded else None)
    return tuple(dims.values())


def _narrow(dim: Dim, low: int, high: int | None, bounded: SizeLines | None) -> Dim:
    """The dim within narrower limits; an error with the model's lines where its range may not be narrowed."""
    low = max(low, dim.min)
    if dim.max is not None:
        high = dim.max if high is None else min(high, dim.max)
    if bounded and (low, high) != (dim.min, dim.max):
        raise range_refusal(dim, low, high, bounded([dim.name]))
    return replace(dim, min=low, max=high)


def _check_distinct(program: ExportedProgram, request: ExportRequest, lines: SizeLines) -> None:
    """Refuse a program in which two named dims became one symbol, or one became a constant."""
    owners: dict[str, str] = {}
    for shape, node in zip(request.shapes, user_placeholders(program), strict=True):
        for declared, actual in zip(shape, node.meta["val"].shape, strict=True):
            if isinstance(declared, int) or str(declared) not in {d.name for d in request.dims}:
                continue
            if isinstance(actual, int):
                raise constant_refusal(str(declared), actual, lines([str(declared)]))
            owner = owners.setdefault(str(actual), str(declared))
            if owner != str(declared):
                raise equality_refusal(owner, str(declared), lines([owner, str(declared)]))


def _strip_wrapper(program: ExportedProgram) -> None:
    """Name weights and modules as the user's own module does: the wrapper's child prefix goes."""
    prefix = "module."
    for spec in (*program.graph_signature.input_specs, *program.graph_signature.output_specs):
        if spec.target is not None:
            spec.target = spec.target.removeprefix(prefix)
    for table in (program.state_dict, program.constants):
        for name in list(table):
            table[name.removeprefix(prefix)] = table.pop(name)
    _strip_stacks(program.graph_module)
    for entry in program.module_call_graph:
        entry.fqn = entry.fqn.removeprefix(prefix)
    program.module_call_graph[:] = [e for e in program.module_call_graph if e.fqn != "module"]


def _strip_stacks(root: torch.fx.GraphModule) -> None:
    graphs = [child.graph for child in root.modules() if isinstance(child, torch.fx.GraphModule)]
    for node in (node for graph in graphs for node in graph.nodes):
        if stack := node.meta.get("nn_module_stack"):
            node.meta["nn_module_stack"] = _strip_stack(stack)


def _strip_stack(stack: Mapping[str, tuple[str, object]]) -> dict[str, tuple[str, object]]:
    return {
        key: (path.removeprefix("module").removeprefix("."), kind)
        for key, (path, kind) in stack.items()
        if path
    }
