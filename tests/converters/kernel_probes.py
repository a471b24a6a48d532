"""Operators of the edge graph, each to be run alone: what it is given, and what NumPy makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.graph import Builder, Graph, Tensor
from edgeconv.graph.arrays import numpy_dtype
from edgeconv.graph.model import Attribute
from edgeconv.passes.legalize import Kernel
from edgeconv.signature import DType

__all__ = ["PROBES", "Array", "Trial", "assert_alike", "list_settings", "make_trial"]

Array = NDArray[Any]
_SIZES = (2, 3, 2, 2, 1, 2, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How an operator is run alone.

    Attributes:
        compute: What NumPy makes of the data.
        inputs: How many inputs of data there are.
        attributes: For a rank.
        rest: Inputs that are no data, made by the builder; they come after it.
        ranks: The lowest rank, or the only one.
        is_positive: Whether it takes positive numbers alone.
    """

    compute: Callable[..., Array]
    inputs: int = 1
    attributes: Callable[[int], Mapping[str, Attribute]] = field(default=lambda _: {})
    rest: Callable[[Builder, Array], list[Tensor]] = field(default=lambda *_: [])
    ranks: tuple[int, int] = (0, 8)
    is_positive: bool = False


def _along(
    name: str, value: Attribute, **more: Attribute
) -> Callable[[int], Mapping[str, Attribute]]:
    return lambda _: {name: value, **more}


def _reduction(compute: Callable[..., Array]) -> Probe:
    return Probe(
        compute=lambda x: compute(x, axis=x.ndim - 1),
        attributes=lambda rank: {"axes": (rank - 1,)},
        ranks=(1, 8),
    )


def _constant(*values: int) -> Callable[[Builder, Array], list[Tensor]]:
    return lambda b, _: [b.constant(np.asarray(values, np.int32))]


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _whole_division(x: Array, y: Array) -> Array:
    return np.asarray(x / y if x.dtype.kind == "f" else np.trunc(x / y).astype(x.dtype))


_UNARY: Mapping[str, Callable[[Array], Array]] = {
    "ABS": np.abs,
    "CEIL": np.ceil,
    "COS": np.cos,
    "ELU": lambda x: np.where(x > 0, x, np.expm1(x)),
    "EXP": np.exp,
    "FLOOR": np.floor,
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "LOGICAL_NOT": np.logical_not,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "NEG": np.negative,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_0_TO_1": lambda x: np.clip(x, 0, 1),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
    "ROUND": np.round,
    "SIGN": np.sign,
    "SIN": np.sin,
    "SQUARE": np.square,
    "TANH": np.tanh,
}
_BINARY: Mapping[str, Callable[[Array, Array], Array]] = {
    "ADD": np.add,
    "ATAN2": np.arctan2,
    "BITWISE_XOR": np.bitwise_xor,
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "NOT_EQUAL": np.not_equal,
    "SQUARED_DIFFERENCE": lambda x, y: (x - y) ** 2,
    "SUB": np.subtract,
}
_POSITIVE: Mapping[str, Callable[[Array, Array], Array]] = {
    "DIV": _whole_division,
    "FLOOR_DIV": np.floor_divide,
    "FLOOR_MOD": np.mod,
    "POW": np.power,
    "RIGHT_SHIFT": np.right_shift,
}
_REDUCTIONS: Mapping[str, Callable[..., Array]] = {
    "MEAN": np.mean,
    "REDUCE_ALL": np.all,
    "REDUCE_ANY": np.any,
    "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min,
    "REDUCE_PROD": np.prod,
    "SUM": np.sum,
}

PROBES: Mapping[str, Probe] = {
    **{name: Probe(compute=function) for name, function in _UNARY.items()},
    **{name: Probe(compute=function, inputs=2) for name, function in _BINARY.items()},
    **{
        name: Probe(compute=function, inputs=2, is_positive=True)
        for name, function in _POSITIVE.items()
    },
    **{name: _reduction(function) for name, function in _REDUCTIONS.items()},
    **{
        name: Probe(
            compute=lambda x, f=function: f(x, axis=x.ndim - 1),
            attributes=lambda rank: {"axis": rank - 1},
            ranks=(1, 8),
        )
        for name, function in (("ARG_MAX", np.argmax), ("ARG_MIN", np.argmin))
    },
    **{
        name: Probe(compute=function, is_positive=True)
        for name, function in (
            ("LOG", np.log),
            ("SQRT", np.sqrt),
            ("RSQRT", lambda x: 1 / np.sqrt(x)),
        )
    },
    "BATCH_MATMUL": Probe(
        compute=lambda x, y: x @ np.swapaxes(y, -1, -2),
        inputs=2,
        attributes=_along("adj_y", True),
        ranks=(2, 8),
    ),
    "BROADCAST_TO": Probe(
        compute=lambda x: np.broadcast_to(x, (3, *x.shape)),
        attributes=lambda rank: {"shape": (3, *_SIZES[:rank])},
        ranks=(0, 7),
    ),
    "CONCATENATION": Probe(
        compute=lambda x, y: np.concatenate([x, y], -1),
        inputs=2,
        attributes=lambda rank: {"axis": rank - 1},
        ranks=(1, 8),
    ),
    "CUMSUM": Probe(
        compute=lambda x: np.cumsum(x, 0), attributes=_along("axis", 0), ranks=(1, 8)
    ),
    "DYNAMIC_UPDATE_SLICE": Probe(
        compute=lambda _, y: y,
        inputs=2,
        rest=lambda b, x: [b.constant(np.zeros(x.ndim, np.int32))],
        ranks=(1, 8),
    ),
    "FILL": Probe(
        compute=lambda x: np.full((2, 3), x), attributes=_along("shape", (2, 3)), ranks=(0, 0)
    ),
    "GATHER": Probe(compute=lambda x: x[[1, 0]], rest=_constant(1, 0), ranks=(1, 8)),
    "GATHER_ND": Probe(
        compute=lambda x: x[[1, 0]],
        rest=lambda b, _: [b.constant(np.asarray([[1], [0]], np.int32))],
        ranks=(1, 8),
    ),
    "LEAKY_RELU": Probe(
        compute=lambda x: np.where(x > 0, x, 0.2 * x), attributes=_along("alpha", 0.2)
    ),
    "LOG_SOFTMAX": Probe(compute=lambda x: np.log(_softmax(x)), ranks=(1, 8)),
    "MIRROR_PAD": Probe(
        compute=lambda x: np.pad(x, [(1, 0), *[(0, 0)] * (x.ndim - 1)], mode="reflect"),
        attributes=lambda rank: {
            "before": (1, *[0] * (rank - 1)),
            "after": (0,) * rank,
            "mode": "REFLECT",
        },
        ranks=(1, 8),
    ),
    "PACK": Probe(
        compute=lambda x, y: np.stack([x, y]), inputs=2, attributes=_along("axis", 0), ranks=(0, 7)
    ),
    "PAD": Probe(
        compute=lambda x: np.pad(x, 1),
        attributes=lambda rank: {"before": (1,) * rank, "after": (1,) * rank},
        ranks=(1, 8),
    ),
    "PADV2": Probe(
        compute=lambda x: np.pad(x, 1, constant_values=1),
        attributes=lambda rank: {"before": (1,) * rank, "after": (1,) * rank},
        rest=lambda b, x: [b.constant(np.ones((), x.dtype))],
        ranks=(1, 8),
    ),
    "PRELU": Probe(compute=lambda x, slope: np.where(x > 0, x, slope * x), inputs=2),
    "RESHAPE": Probe(
        compute=lambda x: x.reshape(-1),
        attributes=lambda rank: {"shape": (int(np.prod(_SIZES[:rank])),)},
    ),
    "REVERSE_V2": Probe(
        compute=lambda x: x[::-1], attributes=_along("axes", (0,)), ranks=(1, 8)
    ),
    "SOFTMAX": Probe(compute=_softmax, ranks=(1, 8)),
    "SPLIT_V": Probe(
        compute=lambda x: x[:1], attributes=_along("axis", 0, sizes=(1, 1)), ranks=(1, 8)
    ),
    "STRIDED_SLICE": Probe(
        compute=lambda x: x[1:],
        attributes=lambda rank: {
            "begin": (1, *[0] * (rank - 1)),
            "end": _SIZES[:rank],
            "strides": (1,) * rank,
        },
        ranks=(1, 8),
    ),
    "TILE": Probe(
        compute=lambda x: np.tile(x, (2,) * x.ndim),
        attributes=lambda rank: {"multiples": (2,) * rank},
        ranks=(1, 8),
    ),
    **{
        f"UNSORTED_SEGMENT_{name}": Probe(
            compute=lambda x, f=function: f(x, axis=0, keepdims=True),
            rest=_constant(0, 0),
            attributes=_along("count", (1,)),
            ranks=(1, 8),
        )
        for name, function in (("MAX", np.max), ("MIN", np.min), ("PROD", np.prod))
    },
    "TOPK_V2": Probe(
        compute=lambda x: np.sort(x, -1)[..., ::-1][..., :1],
        attributes=_along("k", (1,)),
        ranks=(1, 8),
    ),
    "TRANSPOSE": Probe(
        compute=np.transpose,
        attributes=lambda rank: {"perm": tuple(range(rank))[::-1]},
        ranks=(1, 8),
    ),
}  # fmt: skip


def _data(dtype: DType, shape: tuple[int, ...], seed: int, *, is_positive: bool) -> Array:
    generator = np.random.default_rng(seed)
    if dtype == DType.BOOL:
        return generator.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        low = 1 if is_positive else (0 if dtype.value.startswith("u") else -5)
        return np.asarray(generator.integers(low, 6, shape)).astype(numpy_dtype(dtype))
    values = np.asarray(generator.normal(size=shape))
    return np.asarray(np.abs(values) + 0.1 if is_positive else values, numpy_dtype(dtype))


@dataclass(frozen=True)
class Trial:
    """A graph of one operator, its inputs by name, and what its first output must be."""

    graph: Graph
    inputs: Mapping[str, Array]
    wanted: Array


def make_trial(op: str, dtype: DType, rank: int) -> Trial:
    """An operator with a dtype and a rank."""
    probe = PROBES[op]
    shape = _SIZES[:rank]
    arrays = [
        _data(dtype, shape, index, is_positive=probe.is_positive) for index in range(probe.inputs)
    ]
    b = Builder("probe")
    inputs = [b.input(f"x{index}", dtype, shape) for index in range(probe.inputs)]
    node = b.node(op, [*inputs, *probe.rest(b, arrays[0])], **probe.attributes(rank))
    b.graph.outputs = node.outputs[:1]
    named = {f"x{index}": array for index, array in enumerate(arrays)}
    return Trial(b.graph, named, probe.compute(*arrays))


def assert_alike(got: Array, wanted: Array) -> None:
    """Equal shapes and values, within rounding."""
    assert got.shape == np.shape(wanted)
    tolerance = 1e-2 if got.dtype.itemsize == 2 else 1e-4
    np.testing.assert_allclose(
        got.astype(np.float64), np.asarray(wanted).astype(np.float64), tolerance, tolerance
    )


def list_settings(op: str, kernel: Kernel) -> Iterator[tuple[DType, int]]:
    """Every dtype that a kernel takes at a middle rank, and every rank with one dtype."""
    low, high = PROBES[op].ranks
    dtypes = sorted(kernel.dtypes)
    usual = DType.FLOAT32 if DType.FLOAT32 in kernel.dtypes else dtypes[0]
    yield from ((dtype, min(max(low, 2), high)) for dtype in dtypes if dtype != DType.BFLOAT16)
    yield from ((usual, rank) for rank in range(low, min(high, kernel.max_rank) + 1))
