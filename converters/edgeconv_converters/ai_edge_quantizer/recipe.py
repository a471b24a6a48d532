"""A plan as ai-edge-quantizer reads it: for each operator an algorithm and a configuration.

Its own recipes name operators by regular expressions, which it compiles again for each operator once there are more
than 512, and skips what its built-in policy does not know. Here operators are looked up by the scope that it asks with,
and the policy is `kernels.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

from edgeconv.plugin.quantizer import Precision
from edgeconv.signature import DType
from edgeconv_converters.ai_edge_quantizer.operators import tensor_name
from edgeconv_converters.ai_edge_quantizer.surrogates import SURROGATES
from edgeconv_converters.ai_edge_quantizer.tables import Tables, code_of

__all__ = ["PlannedRecipe", "make_recipe"]

Config: TypeAlias = qtyping.OpQuantizationConfig
Key: TypeAlias = tuple[str, str]
_Granularity = qtyping.QuantGranularity
_Compute = qtyping.ComputePrecision

_NOTHING = (AlgorithmName.NO_QUANTIZE, qtyping.OpQuantizationConfig())
_SCALED_AS_ONE = ("BATCH_MATMUL",)
"""Kernels that, static, take the first channel's scale for all."""

_LOOKUPS = ("EMBEDDING_LOOKUP",)
"""Kernels that give float32 of a table of integers, row by row: nothing is to be dequantized before."""

_SINKS = ("ADD", "MUL")
"""Operators that can stand for the reader of the outputs: the first that does not make all of them itself."""

_STATIC_INT8 = Precision(weights="int8", activations="int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRecipe:
    """Stands where ai-edge-quantizer has its `RecipeManager`.

    Attributes:
        configs: By operator and scope, of each that is quantized.
        sink: The operator that stands for whoever takes the outputs.
    """

    configs: Mapping[Key, Config]
    sink: str

    def get_quantization_configs(
        self, operation: qtyping.TFLOperationName, scope: str
    ) -> tuple[str, Config]:
        """The algorithm and configuration of an operator; called by ai-edge-quantizer."""
        config = self.configs.get((str(operation.value), scope))
        return _NOTHING if config is None else (AlgorithmName.MIN_MAX_UNIFORM_QUANT, config)

    def need_calibration(self) -> bool:
        """Statistics are always given; called by ai-edge-quantizer."""
        return False


def make_recipe(tables: Tables, precisions: Mapping[str, Precision], io: DType) -> PlannedRecipe:
    """The recipe.

    Args:
        tables: The float model; the scopes are those of its main graph.
        precisions: Of each operator that ai-edge-quantizer is to quantize, by name.
        io: Dtype of the inputs and outputs; those of uint8 are int8 here.
    """
    graph = tables.subgraphs[0]
    configs: dict[Key, Config] = {}
    for operator in graph.operators:
        name = tensor_name(graph, operator.outputs[0]) if operator.outputs else ""
        if name in precisions:
            code = code_of(tables, operator)
            configs[_operation(code), _scope(graph, operator)] = _config(precisions[name], code)
    source, end = tfl_flatbuffer_utils.get_subgraph_input_output_operators(graph)
    scope = _scope(graph, end)
    sink = next(name for name in _SINKS if (name, scope) not in configs)
    if io != DType.FLOAT32:
        configs[str(source.op_key.value), _scope(graph, source)] = _config(_STATIC_INT8)
        configs[sink, scope] = _config(_STATIC_INT8)
    return PlannedRecipe(configs=configs, sink=sink)


def _operation(code: str) -> str:
    """What ai-edge-quantizer calls an operator, or the one that stands in for it."""
    number = getattr(schema.BuiltinOperator, SURROGATES.get(code, code))
    return str(tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME[number].value)


def _scope(graph: Any, operator: Any) -> str:  # noqa: ANN401 - untyped library
    return str(tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors))


def _config(precision: Precision, code: str = "") -> Config:
    """A configuration; weights are symmetric, with a scale for each channel or block."""
    granularity = _Granularity.CHANNELWISE
    if precision.block:
        granularity = _Granularity(f"BLOCKWISE_{precision.block}")
    elif precision.is_static and code in _SCALED_AS_ONE:
        granularity = _Granularity.TENSORWISE
    is_integer = precision.is_static or precision.is_dynamic or code in _LOOKUPS
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=_activations(precision),
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=_bits(precision.weights), symmetric=True, granularity=granularity
        ),
        compute_precision=_Compute.INTEGER if is_integer else _Compute.FLOAT,
        explicit_dequantize=not is_integer,
    )


def _activations(precision: Precision) -> Any:  # noqa: ANN401 - untyped library
    """Of 8 bits with a zero point, of 16 without: so the kernels are."""
    if not precision.is_static:
        return None
    bits = _bits(precision.activations)
    return qtyping.TensorQuantizationConfig(num_bits=bits, symmetric=bits == 16)


def _bits(dtype: str) -> int:
    return int(dtype.removeprefix("int"))
