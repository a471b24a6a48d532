"""`edgeconv inspect`: what goes in and out of a model, and what it is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeconv.cli.options import (
    AsJson,
    Inputs,
    Model,
    NoCache,
    Quiet,
    Seed,
    Timeout,
    Trust,
    Verbose,
    Weights,
)
from edgeconv.cli.screen import Screen, as_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeconv.conversion import ConversionOptions
    from edgeconv.examination import Examination
    from edgeconv.inspection.facts import ModelFacts
    from edgeconv.signature import Dim

__all__ = ["inspect"]

GraphText = Annotated[bool, typer.Option("--graph", help="Print the edge graph as text.")]


def inspect(  # noqa: PLR0913 - one parameter for each option
    model: Model,
    *,
    graph: GraphText = False,
    inputs: Inputs = None,
    weights: Weights = None,
    timeout: Timeout = None,
    no_cache: NoCache = False,
    trust: Trust = False,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Show a model's signature, operators, size and parameters.

    A factory, a .pt2, or TorchScript with --input is captured and lowered to the edge graph; any other file is
    read as it is.
    """
    from edgeconv.cli.failure import tell_error
    from edgeconv.conversion import ConversionOptions

    screen = Screen(is_json=as_json, is_quiet=quiet, is_verbose=verbose)
    options = ConversionOptions(
        model=model,
        out=Path(),
        inputs=tuple(inputs or ()),
        weights=weights,
        timeout_seconds=timeout,
        use_cache=not no_cache,
        trust=trust,
        seed=seed,
    )
    found = _examine(options, screen, with_graph=graph)
    error = found.error.to_json() if found.error else None
    data = {"model": model, **found.facts.to_json(), "unsupported": [*found.unsupported]}
    screen.show({**data, "error": error}, _tell(found.facts, found.unsupported))
    if found.error is None:
        return 0
    return tell_error(found.error, Screen(is_verbose=verbose))


def _examine(options: ConversionOptions, screen: Screen, *, with_graph: bool) -> Examination:
    from edgeconv.artifact import measure_size
    from edgeconv.cli.progress import watch
    from edgeconv.conversion import make_request
    from edgeconv.examination import Examination, examine_file, examine_model
    from edgeconv.formats import detect, load_handler
    from edgeconv.source import parse_model

    source = parse_model(options.model, weights=options.weights)
    known = detect(source.path) if source.kind == "file" and source.path else None
    # A script of another tool stores no shapes: with --input it is captured, as a program always is.
    is_captured = known is None or known.id in (
        "torch-export",
        "torchscript" if options.inputs else "",
    )
    if known is not None and source.path and not is_captured:
        limit = options.timeout_seconds
        return Examination(facts=examine_file(source.path, known, timeout_seconds=limit))
    with watch(screen) as listener:
        found = examine_model(make_request(options), listener, with_graph=with_graph)
    if known is None or source.path is None:
        return found
    # Reading the metadata of TorchScript would need PyTorch, in this process.
    has_metadata = known.id == "torch-export"
    facts = replace(
        found.facts,
        format=known.id,
        size_bytes=measure_size(source.path),
        metadata=load_handler(known.id).read_metadata(source.path) if has_metadata else {},
    )
    return replace(found, facts=facts)


def _tell(facts: ModelFacts, unsupported: Sequence[str]) -> str:
    rows = [line for line in _lines(facts) if line[1]]
    width = max(len(title) for title, _ in rows)
    blocks = ["\n".join(f"{title:{width}}  {text}" for title, text in rows)]
    if facts.operators:
        marks = dict.fromkeys(unsupported, "not supported")
        table = [[name, str(n), marks.get(name, "")] for name, n in facts.operators.items()]
        header = ["operator", "count", ""]
        kept = 3 if unsupported else 2
        blocks.append(as_table(header[:kept], [cells[:kept] for cells in table], right=(1,)))
    if facts.graph:
        blocks.append(facts.graph)
    return "\n\n".join(blocks)


def _lines(facts: ModelFacts) -> Iterable[tuple[str, str]]:
    from edgeconv.formats import find_format
    from edgeconv.report.figures import format_count, format_size

    yield "format", find_format(facts.format).title
    yield "size", format_size(facts.size_bytes) if facts.size_bytes else ""
    yield "parameters", "" if facts.parameters is None else format_count(facts.parameters)
    for title, tensors in (("input", facts.signature.inputs), ("output", facts.signature.outputs)):
        for tensor in tensors:
            yield title, str(tensor)
    for dim in facts.signature.dims:
        yield "dim", _describe_dim(dim)
    for key, text in sorted(facts.metadata.items()):
        yield key, text.replace("\n", ", ")


def _describe_dim(dim: Dim) -> str:
    largest = "" if dim.max is None else dim.max
    return f"{dim.name} = {dim.min}..{largest}, example {dim.example}"
