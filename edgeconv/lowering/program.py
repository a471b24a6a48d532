"""Walks an exported program and translates it operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from edgeconv.errors import UnsupportedOperatorsError
from edgeconv.graph import Graph, Tensor, check_graph
from edgeconv.lowering.aliasing import find_mutated, needs_functionalization
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families import built_in_registry
from edgeconv.lowering.fillings import is_filling
from edgeconv.lowering.interpreter import Interpreter
from edgeconv.lowering.refusal import unsupported_error
from edgeconv.lowering.registry import LoweringRegistry
from edgeconv.lowering.results import empty_results
from edgeconv.lowering.retracing import run_decompositions
from edgeconv.lowering.sizes import symbol_names
from edgeconv.lowering.values import ComplexPair
from edgeconv.signature import Signature

__all__ = ["lower_program"]

_MAX_DECOMPOSITIONS = 4


def lower_program(
    program: ExportedProgram,
    signature: Signature,
    *,
    name: str,
    registry: LoweringRegistry | None = None,
) -> Graph:
    """Translate a program into an edge graph.

    Args:
        program: What `torch.export.export` made, with flat inputs and outputs.
        signature: Names of its inputs and outputs in order, and its dynamic dims.
        name: Name of the graph.
        registry: Lowerings to use; the built-in ones if None.

    Returns:
        A checked graph whose inputs and outputs have the names of the signature. Constants are views of
        the program's own weights.

    Raises:
        UnsupportedOperatorsError: The graph cannot express some operators; all are listed.
    """
    registry = registry or built_in_registry()
    program = _make_lowerable(program, registry)
    builder = LoweringBuilder(name, signature.dims)
    interpreter = Interpreter(builder, registry, symbol_names(program, signature))
    with torch.no_grad():
        _bind_inputs(program, signature, interpreter)
        results = _run(interpreter, program)
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    outputs = [r for r, kind in zip(results, kinds, strict=True) if kind == OutputKind.USER_OUTPUT]
    _bind_outputs(builder, outputs, signature)
    check_graph(builder.graph)
    return builder.graph


def _run(interpreter: Interpreter, program: ExportedProgram) -> list[object]:
    """The values of the program's outputs.

    Raises:
        UnsupportedOperatorsError: Something could not be lowered.
    """
    results: list[object] = []
    try:
        results = interpreter.run(program.graph_module)
    except Exception:
        # What follows an operator that was refused may fail for no fault of its own.
        if not interpreter.refusals:
            raise
    if interpreter.refusals:
        raise unsupported_error(interpreter.refusals)
    return results


def _make_lowerable(program: ExportedProgram, registry: LoweringRegistry) -> ExportedProgram:
    """Functionalize where mutations are seen elsewhere; decompose what has no lowering."""
    known = _known_nodes(program)
    graphs = [module.graph for module in _modules(program)]
    if any(needs_functionalization(graph, known) or _casts_itself(graph) for graph in graphs):
        program = run_decompositions(program, {})
    for _ in range(_MAX_DECOMPOSITIONS):
        missing = _unsupported(program, registry)
        table = {op: how for op in missing if (how := _decomposition(op)) is not None}
        if not table:
            break
        program = run_decompositions(program, table)
    return program


def _casts_itself(graph: fx.Graph) -> bool:
    """Whether a block runs under autocast, whose casts are written down by retracing alone."""
    return any(
        str(node.target) == "wrap_with_autocast" and node.args[2] is True for node in graph.nodes
    )


def _known_nodes(program: ExportedProgram) -> set[fx.Node]:
    """Nodes that depend on no user input: PyTorch computes them, mutations included."""
    user = set(program.graph_signature.user_inputs)
    known: set[fx.Node] = set()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            is_known = node.name not in user
        else:
            is_known = node.op != "output" and all(arg in known for arg in node.all_input_nodes)
            is_known = is_known or is_filling(node)
        if is_known:
            known.add(node)
    return known


def _modules(program: ExportedProgram) -> list[fx.GraphModule]:
    """The program's graph and those of the blocks in it."""
    return [m for m in program.graph_module.modules() if isinstance(m, fx.GraphModule)]


def _unsupported(
    program: ExportedProgram, registry: LoweringRegistry
) -> set[torch._ops.OpOverload]:
    known = _known_nodes(program)
    return {
        node.target
        for module in _modules(program)
        for node in module.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
        and node not in known
        and not registry.knows(str(node.target))
        and not Interpreter.is_built_in(node)
    }


def _decomposition(op: torch._ops.OpOverload) -> Callable[..., object] | None:
    table = torch.export.default_decompositions()
    if op in table:
        kept: Callable[..., object] = table[op]
        return kept
    if op._can_decompose():
        return op.decompose
    found: Callable[..., object] | None = torch._decomp.decomposition_table.get(op)
    return found


def _bind_inputs(program: ExportedProgram, signature: Signature, interpreter: Interpreter) -> None:
    specs = iter(signature.inputs)
    state: Mapping[str, torch.Tensor] = program.state_dict
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    changed = find_mutated(program.graph)
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind == InputKind.USER_INPUT:
            declared = next(specs)
            if declared.dtype.is_complex:
                raise _complex_error(f"input '{declared.name}'")
            tensor = interpreter.builder.input(declared.name, declared.dtype, declared.shape)
            # A tensor without elements is known.
            empty = empty_results([(tensor.dtype, tensor.shape)])
            interpreter.bind(node, tensor if empty is None else empty[0])
            continue
        target = spec.target or ""  # a token, which orders assertions, has none
        value = state[target] if target in state else program.constants.get(target)
        if isinstance(value, torch.Tensor):
            value = value.detach()
            value = value.clone() if node in changed else value  # the module's own stays as it is
        interpreter.bind(node, value)
        interpreter.name_constant(value, target)


def _bind_outputs(builder: LoweringBuilder, results: list[object], signature: Signature) -> None:
    for value, spec in zip(results, signature.outputs, strict=True):
        if isinstance(value, ComplexPair):
            raise _complex_error(f"output '{spec.name}'")
        if not isinstance(value, Tensor):
            raise UnsupportedOperatorsError(f"output '{spec.name}' is no tensor")
        builder.graph.outputs.append(_named_output(builder, value, spec.name))


def _complex_error(what: str) -> UnsupportedOperatorsError:
    return UnsupportedOperatorsError(
        f"{what} is complex",
        why="the inputs and outputs of graphs are real",
        hint="pass torch.view_as_real(x), and call torch.view_as_complex on it",
    )


def _named_output(builder: LoweringBuilder, tensor: Tensor, name: str) -> Tensor:
    """The tensor under the output's name; an input, a constant or a doubled output is copied first."""
    graph = builder.graph
    if tensor in graph.inputs or tensor.is_constant or tensor in graph.outputs:
        builder.source = tensor.source
        tensor = builder.op("RESHAPE", tensor, shape=tensor.shape)
    made = [t for node in graph.nodes for t in node.outputs]
    for other in (*made, *graph.constants()):
        if other.name == name and other is not tensor:
            other.name = builder.unique_name(name)
    tensor.name = name
    return tensor
