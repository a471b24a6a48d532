"""Operators that LiteRT has integer kernels for and ai-edge-quantizer does not know.

It is shown another operator in their place, whose scales follow the same rule: a RESHAPE for each that passes values on,
a RELU for each whose output has a scale of its own. Which tensors become integers, and where casts stand, it then
finds out as for its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ai_edge_litert import schema_py_generated as schema

from edgeconv.plugin.quantizer import Range
from edgeconv_converters.ai_edge_quantizer.tables import Tables, code_of, find_or_add_code

__all__ = ["FIXED", "SURROGATES", "disguise"]

_SAME, _OWN, _OUTPUT = "RESHAPE", "RELU", "MAXIMUM"

SURROGATES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "BATCH_TO_SPACE_ND",
            "DEPTH_TO_SPACE",
            "EXPAND_DIMS",
            "NEG",
            "REDUCE_MAX",
            "REVERSE_V2",
            "SPACE_TO_BATCH_ND",
            "SPLIT_V",
            "SQUEEZE",
            "TILE",
            "TOPK_V2",
        ),
        _SAME,
    ),
    **dict.fromkeys(
        (
            "ABS",
            "ARG_MAX",
            "ELU",
            "EXP",
            "L2_NORMALIZATION",
            "LEAKY_RELU",
            "LOG",
            "LOG_SOFTMAX",
            "PRELU",
            "RELU6",
            "RELU_0_TO_1",
            "RELU_N1_TO_1",
        ),
        _OWN,
    ),
    "MINIMUM": _OUTPUT,
}
"""What stands in for each. NEG is symmetric: it has a kernel for 16 bits alone."""

FIXED: Mapping[str, Range] = {
    "LOGISTIC": Range(low=0.0, high=1.0),
    "L2_NORMALIZATION": Range(low=-1.0, high=127 / 128),
    "LOG_SOFTMAX": Range(low=-255 / 16, high=0.0),
    "SOFTMAX": Range(low=0.0, high=1.0),
    "TANH": Range(low=-1.0, high=1.0),
}
"""Ranges of outputs whose scale the kernel fixes."""


@contextmanager
def disguise(tables: Tables) -> Iterator[None]:
    """Show surrogates for as long as it lasts."""
    hidden = []
    for operator in tables.subgraphs[0].operators:
        surrogate = SURROGATES.get(code_of(tables, operator))
        if surrogate is not None:
            hidden.append((operator, operator.opcodeIndex))
            number = getattr(schema.BuiltinOperator, surrogate)
            operator.opcodeIndex = find_or_add_code(tables, number, 1)
    try:
        yield
    finally:
        for operator, code in hidden:
            operator.opcodeIndex = code
