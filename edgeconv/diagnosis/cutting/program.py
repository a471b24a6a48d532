"""Cuts parts out of an exported program: what a part takes in are the tensors that really arrive there.

Runs in the process that captured the model, and holds its program.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from edgeconv.diagnosis.cutting.origins import find_origins
from edgeconv.errors import ConversionError
from edgeconv.lowering.refusal import describe_operator
from edgeconv.lowering.retracing import keep_recurrent_operators
from edgeconv.lowering.sources import source_of
from edgeconv.plugin.job import Job, JobResult, Json
from edgeconv.plugin.live import find_live

__all__ = ["cut", "describe"]

_KEY = "edgeconv.diagnosis"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """A program in memory.

    Attributes:
        path: The file it is of.
        module: Its graph, weights as attributes.
        examples: Inputs, in order.
        units: Its operators, each with the nodes that take its results apart.
    """

    path: Path
    module: fx.GraphModule
    examples: tuple[object, ...]
    units: tuple[tuple[fx.Node, ...], ...]


def describe(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Tell the operators of the program `inputs["program"]`.

    Returns:
        The JSON of a `JobResult`; in its details for each operator its names, what tells its kind, and where it
        comes from, and the modules that define those that are not PyTorch's own.

    Raises:
        ConversionError: The program is not in this process.
    """
    job = Job.from_json(request)
    program = _find_program(job, context)
    details: dict[str, Json] = {
        "operators": [
            {
                "names": cast("Json", sorted({str(unit[0].target), describe_operator(unit[0])})),
                "kind": _kind_of(unit[0]),
                "source": str(source_of(unit[0])),
            }
            for unit in program.units
        ],
        "origins": cast("Json", find_origins(unit[0].target for unit in program.units)),
    }
    return JobResult(output=job.output, details=details).to_json()


def cut(request: dict[str, Json], context: MutableMapping[str, object]) -> dict[str, Json]:
    """Write some operators of the program `inputs["program"]` as the program `output`.

    Args:
        request: The JSON of a `Job`; options: `part`, indices of operators; `is_whole`, whether all that leads to
            them stays, and with it the inputs of the model and their dynamic dims.
        context: Of the worker; the program stays there.

    Raises:
        ConversionError: These operators make no program: none of them gives a tensor, or PyTorch refuses them.
    """
    job = Job.from_json(request)
    program = _find_program(job, context)
    part = cast("list[int]", job.options["part"])
    is_whole = bool(job.options.get("is_whole"))
    chosen = [node for index in part for node in program.units[index]]
    keep = _with_all_before(chosen) if is_whole else set(chosen)
    try:
        found = _Runner(program.module, keep).record(program.examples)
        module, examples = _extract(program, keep, found, results=chosen if is_whole else None)
        _write(module, examples, job.output, shapes=_shapes(program, module) if is_whole else None)
    except Exception as error:
        raise ConversionError(
            "this part of the model is no program by itself", why=f"{type(error).__name__}: {error}"
        ) from error
    kept: list[Json] = [i for i, unit in enumerate(program.units) if keep & set(unit)]
    return JobResult(output=job.output, details={"operators": kept}).to_json()


def _find_program(job: Job, context: MutableMapping[str, object]) -> _Program:
    path = job.inputs["program"]
    known = context.get(_KEY)
    if isinstance(known, _Program) and known.path == path:
        return known
    live = find_live(context, path)
    if live is None or live.program is None:
        raise ConversionError("the program is not in this process")
    program = _read(path, live.program, live.examples)
    context[_KEY] = program
    return program


def _read(path: Path, exported: ExportedProgram, examples: tuple[object, ...]) -> _Program:
    module = exported.module(check_guards=False)
    if not isinstance(module, fx.GraphModule):
        raise ConversionError("the program is no graph")
    units: dict[fx.Node, list[fx.Node]] = {}
    for node in module.graph.nodes:
        if node.op != "call_function" or not _gives_tensor(node.meta.get("val")):
            continue
        owner = node
        while owner.target is operator.getitem and isinstance(owner.args[0], fx.Node):
            owner = owner.args[0]
        units.setdefault(owner, []).append(node)
    found = tuple(tuple(nodes) for owner, nodes in units.items() if owner.op == "call_function")
    return _Program(path=path, module=module, examples=examples, units=found)


def _gives_tensor(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_gives_tensor(item) for item in value)
    return isinstance(value, Tensor)


def _kind_of(node: fx.Node) -> str:
    """The operator, its plain arguments, and the dtypes and ranks of its tensors: what failures depend on."""

    def tell(argument: object) -> str:
        value = argument.meta.get("val") if isinstance(argument, fx.Node) else argument
        if isinstance(value, Tensor):
            return f"{value.dtype}/{value.ndim}"
        return type(value).__name__ if isinstance(argument, fx.Node) else repr(value)

    told = fx.node.map_aggregate((node.args, dict(node.kwargs)), tell)
    return f"{node.target}{told}"


def _with_all_before(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found and node.op in ("call_function", "placeholder"):
            found.add(node)
            waiting += node.all_input_nodes
    return found


class _Runner(fx.Interpreter):
    """Runs a program and records what arrives at some of its nodes from outside of them.

    Args:
        module: The program.
        keep: The nodes.
    """

    def __init__(self, module: fx.GraphModule, keep: set[fx.Node]) -> None:
        super().__init__(module)
        self._keep = keep
        self._found: dict[fx.Node, object] = {}

    def record(self, examples: Sequence[object]) -> dict[fx.Node, object]:
        """Values by the node that gave them, as they were when they were first used."""
        copies = [x.clone() if isinstance(x, Tensor) else x for x in examples]
        with torch.no_grad():
            self.run(*copies)
        return self._found

    def run_node(self, n: fx.Node) -> object:
        """Look at what arrives, then run the node."""
        if n in self._keep:
            for source in n.all_input_nodes:
                if source not in self._keep and source not in self._found:
                    value = self.env[source]
                    is_weight = source.op == "get_attr"
                    copied = isinstance(value, Tensor) and not is_weight
                    self._found[source] = value.clone() if copied else value
            if n.op == "placeholder":
                self._found[n] = value = super().run_node(n)
                return value
        return super().run_node(n)


def _extract(
    program: _Program,
    keep: set[fx.Node],
    found: Mapping[fx.Node, object],
    *,
    results: Sequence[fx.Node] | None,
) -> tuple[fx.GraphModule, tuple[object, ...]]:
    """A graph of the nodes to keep, and its example inputs.

    Args:
        program: What it is cut from.
        keep: The nodes.
        found: What arrives at them.
        results: Nodes whose tensors are returned; all that is used elsewhere unless given.
    """
    graph = fx.Graph()
    copies: dict[fx.Node, object] = {}
    examples: list[object] = []
    outside = [node for node in program.module.graph.nodes if node in found]
    for node in outside:
        value = found[node]
        if node.op == "get_attr":
            copies[node] = graph.get_attr(str(node.target))
        elif isinstance(value, Tensor):
            copies[node] = graph.placeholder(node.name)
            examples.append(value)
        else:
            copies[node] = value
    for node in program.module.graph.nodes:
        if node in keep and node.op == "call_function":
            args = fx.node.map_arg(node.args, copies.__getitem__)  # type: ignore[arg-type]
            kwargs = fx.node.map_arg(node.kwargs, copies.__getitem__)  # type: ignore[arg-type]
            made = graph.call_function(node.target, args, kwargs)
            made.meta = dict(node.meta)
            copies[node] = made
    wanted = [copies[node] for node in _results(program.module, keep, results)]
    graph.output(tuple(wanted))  # type: ignore[arg-type]
    graph.lint()
    return fx.GraphModule(program.module, graph), tuple(examples)


def _results(
    module: fx.GraphModule, keep: set[fx.Node], results: Sequence[fx.Node] | None
) -> list[fx.Node]:
    chosen = keep if results is None else set(results)
    found = [
        node
        for node in module.graph.nodes
        if node in chosen
        and node.op == "call_function"
        and isinstance(node.meta.get("val"), Tensor)
        and (not set(node.users) <= chosen or not node.users)
    ]
    if not found:
        raise ValueError("nothing comes out of it")
    return found


def _shapes(program: _Program, module: fx.GraphModule) -> tuple[dict[int, object], ...]:
    """Which axes of the model's inputs are dynamic."""
    values = {n.name: n.meta.get("val") for n in program.module.graph.nodes}
    kept = [values[node.target] for node in module.graph.nodes if node.op == "placeholder"]
    return tuple(dict(_dynamic_axes(value)) for value in kept)


def _dynamic_axes(value: object) -> Iterator[tuple[int, object]]:
    if isinstance(value, Tensor):
        for axis, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt):
                yield axis, torch.export.Dim.DYNAMIC


def _write(
    module: fx.GraphModule,
    examples: tuple[object, ...],
    path: Path,
    *,
    shapes: tuple[dict[int, object], ...] | None,
) -> None:
    with torch.no_grad(), keep_recurrent_operators():
        exported = torch.export.export(module.eval(), examples, dynamic_shapes=shapes, strict=False)
    torch.export.save(exported, path)
