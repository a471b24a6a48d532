"""Steps that are done a number of times: written out one by one where they are few, else a loop of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.signature import DType

__all__ = ["Step", "repeat"]

Step: TypeAlias = Callable[
    [LoweringBuilder, Tensor, Sequence[Tensor], Sequence[Tensor]], "list[Tensor]"
]
"""Takes a builder, the number of the turn (an int32 scalar), what changes and what does not; gives what changes anew."""

_MAX_WRITTEN_OUT = 4


def repeat(
    b: LoweringBuilder,
    count: int | Tensor,
    state: Sequence[Tensor],
    step: Step,
    fixed: Sequence[Tensor] = (),
) -> list[Tensor]:
    """The state after `count` steps: a number, or an int32 scalar that the model computes.

    Args:
        b: Builds.
        count: Of the steps.
        state: What the steps change, but neither its dtypes nor its shapes.
        step: One of them; it builds with the builder that it is given, and reads nothing but its arguments.
        fixed: What the steps read besides.
    """
    if isinstance(count, int) and count <= _MAX_WRITTEN_OUT:
        done = list(state)
        for turn in range(count):
            done = step(b, b.scalar(turn, DType.INT32), done, fixed)
        return done
    limit = b.scalar(count, DType.INT32) if isinstance(count, int) else count
    computed = [tensor for tensor in fixed if not tensor.is_constant]
    carried = [limit, b.scalar(0, DType.INT32), *state, *computed]
    end = 2 + len(state)

    inner, values = _inner(b, "cond", carried)
    inner.graph.outputs = [inner.op("LESS", values[1], values[0])]
    condition = inner.graph

    inner, values = _inner(b, "body", carried)
    rest = iter(values[end:])
    known = [_copy(inner, t) if t.is_constant else next(rest) for t in fixed]
    following = inner.op("ADD", values[1], inner.scalar(1, DType.INT32))
    made = step(inner, values[1], values[2:end], known)
    inner.graph.outputs = [values[0], following, *made, *values[end:]]
    return b.node("WHILE", carried, cond=condition, body=inner.graph).outputs[2:end]


def _inner(
    b: LoweringBuilder, name: str, carried: Sequence[Tensor]
) -> tuple[LoweringBuilder, list[Tensor]]:
    inner = LoweringBuilder(f"{b.prefix}/{name}", b.graph.dims)
    inner.source, inner.results = b.source, b.results
    return inner, [inner.input(f"{name}_{i}", t.dtype, t.shape) for i, t in enumerate(carried)]


def _copy(b: LoweringBuilder, tensor: Tensor) -> Tensor:
    """A constant of the surrounding graph in this one; its memory is shared."""
    if tensor.constant is None:
        raise ValueError(f"{tensor!r} is no constant")
    return b.constant(tensor.constant, name=tensor.name)
