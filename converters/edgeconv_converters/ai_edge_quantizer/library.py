"""Calls ai-edge-quantizer.

Its parts are called one by one, not its `Quantizer`, which opens an interpreter to look for statistics that are missing,
writes the model into memory and prints a report; here the tables go on to be finished.

An output that is read inside of the graph too is not safe with it (0.10.0): it calls the graph's caller operator -1, and
rewires the inputs of the last operator, which -1 is to Python (`insert_dequant`, `insert_quant`); and where an inner reader
gets a QUANTIZE, the output becomes what that makes. So it is shown a graph without outputs, and a last operator in which
they all end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.params_generator import ParamsGenerator
from ai_edge_quantizer.transformation_instruction_generator import (
    TransformationInstructionsGenerator,
)
from ai_edge_quantizer.transformation_performer import TransformationPerformer
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

from edgeconv.errors import ConversionError
from edgeconv_converters.ai_edge_quantizer.recipe import PlannedRecipe
from edgeconv_converters.ai_edge_quantizer.statistics import Statistics
from edgeconv_converters.ai_edge_quantizer.surrogates import disguise
from edgeconv_converters.ai_edge_quantizer.tables import Tables, find_or_add_code

__all__ = ["quantize_tables"]


def quantize_tables(tables: Tables, recipe: PlannedRecipe, statistics: Statistics) -> None:
    """Quantize tables in place: tensors keep their index, new ones come behind them.

    Raises:
        ConversionError: The library fails.
    """
    try:
        with disguise(tables), _sink(tables, recipe.sink):
            _transform(tables, recipe, statistics)
    # The library has no errors of its own: these are what it raises for models that it cannot take.
    except (ValueError, RuntimeError, KeyError, IndexError, NotImplementedError) as error:
        raise ConversionError(
            "ai-edge-quantizer cannot quantize the model",
            why=f"{type(error).__name__}: {error}",
            hint="keep the operator it speaks of in float32 with an override",
        ) from error
    for tensor in tables.subgraphs[0].tensors:
        if isinstance(tensor.name, str):  # of constants that it duplicates
            tensor.name = tensor.name.encode()


@contextmanager
def _sink(tables: Tables, name: str) -> Iterator[None]:
    """End the graph in an operator for as long as it lasts."""
    graph = tables.subgraphs[0]
    sink = schema.OperatorT()
    sink.opcodeIndex = find_or_add_code(tables, getattr(schema.BuiltinOperator, name), 1)
    sink.inputs, sink.outputs = graph.outputs, []
    graph.operators.append(sink)
    graph.outputs = []
    try:
        yield
    finally:
        graph.operators.remove(sink)
        graph.outputs = sink.inputs


def _transform(tables: Tables, recipe: PlannedRecipe, statistics: Statistics) -> None:
    parameters = ParamsGenerator(tables).generate_quantization_parameters(
        recipe, statistics, enable_progress_bar=False
    )
    instructions = TransformationInstructionsGenerator().quant_params_to_transformation_insts(
        parameters, tables, enable_progress_bar=False
    )
    TransformationPerformer().transform_graph(
        instructions, tables, _order(tables, instructions.keys()), enable_progress_bar=False
    )


def _order(tables: Tables, names: Iterable[str]) -> list[str]:
    """Tensors by the buffer they share: the last of each must come last, since it keeps the buffer."""
    wanted = set(names)
    sharing = tfl_flatbuffer_utils.buffer_to_tensors(tables).values()
    ordered = (tensor.name.decode() for tensors in sharing for tensor in tensors)
    return [name for name in ordered if name in wanted]
