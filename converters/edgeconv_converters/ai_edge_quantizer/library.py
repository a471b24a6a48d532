"""Calls ai-edge-quantizer.

Its parts are called one by one, not its `Quantizer`, which opens an interpreter to look for statistics that are missing,
writes the model into memory and prints a report; here the tables go on to be finished.

It calls what reads the graph's outputs operator -1, and then rewires the inputs of the last operator, which -1 is to
Python: an output that the last operator reads too, logits beside their SOFTMAX, came to it in the wrong dtype. An
operator that reads nothing stands last while it works. (0.10.0; `insert_dequant` and `insert_quant`.)
"""

from __future__ import annotations

from collections.abc import Iterable

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
from edgeconv_converters.ai_edge_quantizer.tables import Tables

__all__ = ["quantize_tables"]


def quantize_tables(tables: Tables, recipe: PlannedRecipe, statistics: Statistics) -> None:
    """Quantize tables in place: tensors keep their index, new ones come behind them.

    Raises:
        ConversionError: The library fails.
    """
    operators = tables.subgraphs[0].operators
    guard = schema.OperatorT()
    guard.inputs, guard.outputs = [], []
    operators.append(guard)
    try:
        with disguise(tables):
            _transform(tables, recipe, statistics)
    except (ValueError, RuntimeError, KeyError, IndexError, NotImplementedError) as error:
        raise ConversionError(
            "ai-edge-quantizer cannot quantize the model",
            why=f"{type(error).__name__}: {error}",
            hint="keep the operator it speaks of in float32 with an override",
        ) from error
    finally:
        operators.remove(guard)


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
