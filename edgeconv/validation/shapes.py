"""Infers the shape of an output over the named dims from runs at several sizes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeconv.dims import DimExpr, Size, evaluate
from edgeconv.errors import CaptureError

__all__ = ["Observed", "infer_shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The sizes of the dims in one run, and the outputs' shapes."""

    sizes: Mapping[str, int]
    shapes: tuple[tuple[int, ...], ...]


def infer_shape(
    name: str,
    index: int,
    runs: Sequence[Observed],
    find_lines: Callable[[], Sequence[str]] = tuple,
) -> tuple[Size, ...]:
    """The shape of the output at `index` of every run, each size a constant or `a*dim + b`.

    Args:
        name: The output's, for messages.
        index: Where it stands in `runs`.
        runs: At several sizes of the dims, and at each of them with several values of the inputs.
        find_lines: Gives the lines of the model that make shapes of values; called only to refuse it.

    Raises:
        CaptureError: The shape depends on the values of the inputs, or its sizes follow no such rule.
    """
    _check_values_alone(name, [(run.sizes, run.shapes[index]) for run in runs], find_lines)
    rank = len(runs[0].shapes[index])
    return tuple(
        _infer_size(name, [(run.sizes, run.shapes[index][axis]) for run in runs])
        for axis in range(rank)
    )


def _check_values_alone(
    name: str,
    runs: Iterable[tuple[Mapping[str, int], tuple[int, ...]]],
    find_lines: Callable[[], Sequence[str]],
) -> None:
    """Refuse an output that has several shapes where only the values of the inputs differed, or several ranks."""
    seen: dict[tuple[tuple[str, int], ...], tuple[int, ...]] = {}
    for sizes, shape in runs:
        first = seen.setdefault(tuple(sorted(sizes.items())), shape)
        if first != shape:
            raise CaptureError(
                f"the shape of output '{name}' cannot be written down",
                why="it depends on the values of the inputs: inputs of the same shapes give "
                f"{list(first)} and {list(shape)}",
                hint="return tensors whose shapes follow from the shapes of the inputs, e.g. top-k and a count",
                details=find_lines(),
            )
    ranks = {len(shape) for shape in seen.values()}
    if len(ranks) > 1:
        raise CaptureError(
            f"the shape of output '{name}' cannot be told",
            why=f"it has {' or '.join(map(str, sorted(ranks)))} axes, depending on the sizes of the inputs",
            hint="make fewer dims dynamic",
            details=find_lines(),
        )


def _infer_size(name: str, runs: Sequence[tuple[Mapping[str, int], int]]) -> Size:
    """A constant, or `a*dim + b` that agrees with every run."""
    sizes = [size for _, size in runs]
    if len(set(sizes)) == 1:
        return sizes[0]
    for dim in runs[0][0]:
        candidate = _fit_line(dim, [(values[dim], size) for values, size in runs])
        if candidate is not None and all(evaluate(candidate, v) == size for v, size in runs):
            return candidate
    raise CaptureError(
        f"the shape of output '{name}' cannot be told",
        why=f"it takes the sizes {sorted(set(sizes))}, which are no multiple of one dim plus a constant",
        hint="make fewer dims dynamic",
    )


def _fit_line(dim: str, points: Sequence[tuple[int, int]]) -> Size | None:
    (first_x, first_y), *others = points
    for x, y in others:
        if x != first_x:
            slope, rest = divmod(y - first_y, x - first_x)
            offset = first_y - slope * first_x
            return None if rest or slope <= 0 else DimExpr.symbol(dim) * slope + offset
    return None
