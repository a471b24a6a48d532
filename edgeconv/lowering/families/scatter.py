"""Writing elements at indices: a new tensor that differs from the old one where it was written.

What is written is scattered into zeros, and so is a mark for every place; the marks choose between new and old.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.graph.ops.spec import Shape
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.indexing import (
    Indices,
    coordinates_along,
    coordinates_of,
    count_up,
    integer_indices,
    order_of_result,
    pack_columns,
)
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType


@lower("aten.index_put", "aten._unsafe_index_put")
def index_put(
    b: LoweringBuilder, x: Tensor, indices: Indices, values: Tensor, accumulate: bool = False
) -> Tensor:
    return put_at(b, x, indices, b.cast(values, x.dtype), accumulate=accumulate)


def put_at(
    b: LoweringBuilder, x: Tensor, indices: Indices, values: Tensor, *, accumulate: bool = False
) -> Tensor:
    masks = [item for item in indices if item is not None and item.dtype == DType.BOOL]
    if any(not mask.is_constant for mask in masks):
        return _put_by_mask(b, x, indices, values, accumulate=accumulate)
    places = integer_indices(b, x, indices)
    axes = [axis for axis, item in enumerate(places) if item is not None]
    if len(axes) == 1 and not accumulate:
        item = places[axes[0]]
        if item is not None and item.shape in ((), (1,)):
            return _put_row(b, x, item, values, axes[0])
    return _put_anywhere(b, x, places, values, accumulate=accumulate)


def _put_by_mask(
    b: LoweringBuilder, x: Tensor, indices: Indices, values: Tensor, *, accumulate: bool
) -> Tensor:
    """The next one of the values, or the only one, wherever a mask is set."""
    first = len([item for item in indices if item is None])
    (mask,) = masks if len(masks := [i for i in indices if i is not None]) == 1 else (None,)
    if mask is None or mask.dtype != DType.BOOL or any(i is not None for i in indices[:first]):
        raise CannotLowerError("with a computed mask beside other indices")
    after = x.shape[first + mask.rank :]
    wide = b.reshape(mask, (*([1] * first), *mask.shape, *([1] * len(after))))
    rank = first + 1 + len(after)
    new = b.reshape(values, (*([1] * (rank - values.rank)), *values.shape))
    if new.shape[first] == 1:
        new = b.reshape(new, (*new.shape[:first], *[1] * mask.rank, *new.shape[first + 1 :]))
    else:
        last = b.op("SUB", b.like(new.shape[first], DType.INT32), b.scalar(1, DType.INT32))
        places = b.op("MINIMUM", _order_of_set(b, mask), last)
        found = b.op("GATHER", new, places, axis=first)
        new = b.reshape(found, (*found.shape[:first], *mask.shape, *found.shape[first + 1 :]))
    new = add_up(b, x, new) if accumulate else new
    return b.op("SELECT_V2", wide, new, x)


def _order_of_set(b: LoweringBuilder, mask: Tensor) -> Tensor:
    """For each place of a mask, laid flat, how many places before it are set."""
    flat = b.reshape(b.cast(mask, DType.INT32), (product(mask.shape),))
    return b.op("CUMSUM", flat, axis=0, exclusive=True)


def add_up(b: LoweringBuilder, x: Tensor, y: Tensor) -> Tensor:
    """The sum; of bools whether one is set."""
    return b.op("LOGICAL_OR" if x.dtype == DType.BOOL else "ADD", x, y)


def _put_row(b: LoweringBuilder, x: Tensor, item: Tensor, values: Tensor, axis: int) -> Tensor:
    """One slice of one axis, as a cache of keys and values is written."""
    result = (*x.shape[:axis], *item.shape, *x.shape[axis + 1 :])
    row = b.reshape(b.broadcast(values, result), (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    position = b.reshape(b.cast(item, DType.INT32), ())
    zero = b.scalar(0, DType.INT32)
    start = [position if other == axis else zero for other in range(x.rank)]
    return b.op("DYNAMIC_UPDATE_SLICE", x, row, b.node("PACK", start, axis=0).output)


def _put_anywhere(
    b: LoweringBuilder, x: Tensor, indices: Indices, values: Tensor, *, accumulate: bool
) -> Tensor:
    axes = [axis for axis, item in enumerate(indices) if item is not None]
    rest = [axis for axis in range(x.rank) if axis not in axes]
    coordinates = coordinates_of(b, indices)
    common = coordinates.shape[:-1]
    found = (*common, *(x.shape[axis] for axis in rest))
    order = order_of_result(axes, len(common), len(found))
    updates = b.reshape(values, ()) if set(values.shape) <= {1} else values
    if updates.rank:
        wide = b.broadcast(updates, tuple(found[axis] for axis in order))
        updates = b.transpose(wide, [order.index(axis) for axis in range(len(order))])
    turned = b.transpose(x, axes + rest)
    written = write(b, turned, coordinates, updates, adds=accumulate)
    return b.transpose(written, [(axes + rest).index(axis) for axis in range(x.rank)])


def write(
    b: LoweringBuilder, x: Tensor, coordinates: Tensor, updates: Tensor, *, adds: bool
) -> Tensor:
    """`x` with updates at coordinates of its first axes, put in place of what was there or added to it.

    An update of one element is one value for all places.
    """
    if not adds and updates.rank == 0:
        return b.op("SELECT_V2", _marks(b, coordinates, x.shape), updates, x)
    updates = b.broadcast(updates, (*coordinates.shape[:-1], *x.shape[_depth(coordinates) :]))
    if adds:
        total = b.op("SCATTER_ND", coordinates, updates, shape=x.shape)
        return total if is_zero(x) else add_up(b, x, total)
    coordinates, updates = _without_overwritten(b, x, coordinates, updates)
    scattered = b.op("SCATTER_ND", coordinates, updates, shape=x.shape)
    if is_zero(x):
        return scattered
    return b.op("SELECT_V2", _marks(b, coordinates, x.shape), scattered, x)


def _depth(coordinates: Tensor) -> int:
    """How many axes coordinates speak of."""
    return int(str(coordinates.shape[-1]))


def is_zero(x: Tensor) -> bool:
    """Whether every element is known to be 0."""
    return x.constant is not None and not x.constant.any()


# Up to as many places every two are compared, to find which is overwritten; of more, computed ones are taken to differ.
_MAX_COMPARED = 512


def _without_overwritten(
    b: LoweringBuilder, x: Tensor, coordinates: Tensor, updates: Tensor
) -> tuple[Tensor, Tensor]:
    """Of several updates of one place the last counts; SCATTER_ND would add them."""
    count = product(coordinates.shape[:-1])
    tail = updates.shape[coordinates.rank - 1 :]
    if coordinates.constant is None:
        if not isinstance(count, int) or count > _MAX_COMPARED or count < 2:
            return coordinates, updates
        flat = linear_places(b, b.reshape(coordinates, (count, coordinates.shape[-1])), x.shape)
        is_same = b.op("EQUAL", b.reshape(flat, (count, 1)), b.reshape(flat, (1, count)))
        is_later = b.constant(np.triu(np.ones((count, count), dtype=np.bool_), 1))
        is_lost = b.reduce(
            "REDUCE_ANY", b.op("LOGICAL_AND", is_same, is_later), [1], keep_dims=False
        )
        where = b.reshape(is_lost, (*coordinates.shape[:-1], *([1] * len(tail))))
        return coordinates, b.op("SELECT_V2", where, b.scalar(0, updates.dtype), updates)
    rows = coordinates.constant.reshape(-1, coordinates.constant.shape[-1])
    _, last = np.unique(rows[::-1], axis=0, return_index=True)
    if len(last) == len(rows):
        return coordinates, updates
    kept = np.sort(len(rows) - 1 - last).astype(np.int32)
    flat = b.reshape(updates, (len(rows), *tail))
    return b.constant(rows[kept]), b.op("GATHER", flat, b.constant(kept))


def linear_places(b: LoweringBuilder, rows: Tensor, shape: Shape) -> Tensor:
    """The number of each place, counted row by row."""
    depth = _depth(rows)
    steps = [b.like(product(shape[axis + 1 : depth]), DType.INT32) for axis in range(depth)]
    return b.reduce(
        "SUM", b.op("MUL", rows, b.node("PACK", steps, axis=0).output), [1], keep_dims=False
    )


def _marks(b: LoweringBuilder, coordinates: Tensor, shape: Shape) -> Tensor:
    """Whether a place is written, of size 1 along the axes that coordinates do not speak of."""
    depth = _depth(coordinates)
    marked = (*shape[:depth], *([1] * (len(shape) - depth)))
    static = [size for size in marked if isinstance(size, int)]
    if coordinates.constant is not None and len(static) == len(marked):
        mask = np.zeros(static, dtype=np.bool_)
        mask[tuple(coordinates.constant.reshape(-1, depth).T)] = True
        return b.constant(mask)
    ones = b.op("FILL", b.scalar(1, DType.INT32), shape=coordinates.shape[:-1])
    counts = b.op("SCATTER_ND", coordinates, ones, shape=shape[:depth])
    return b.op("GREATER", b.reshape(counts, marked), b.scalar(0, DType.INT32))


@lower("aten.scatter.src", "aten.scatter.value")
def scatter(
    b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, source: Tensor | float
) -> Tensor:
    return scatter_along(b, x, dim, index, source, adds=False)


@lower("aten.scatter_add")
def scatter_add(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    return scatter_along(b, x, dim, index, source, adds=True)


def scatter_along(
    b: LoweringBuilder,
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor | float,
    *,
    adds: bool,
) -> Tensor:
    """X at index[i] along `dim`, and at i along the other axes, becomes source[i]."""
    updates = updates_of(b, index, source, x.dtype)
    if x.rank == 0:
        new = b.reshape(updates, ())
        return add_up(b, x, new) if adds else new
    index = b.vector(index)
    return write(b, x, coordinates_along(b, index, dim % x.rank), updates, adds=adds)


def updates_of(b: LoweringBuilder, index: Tensor, source: Tensor | float, dtype: DType) -> Tensor:
    """What is written: one value, or as much of the source as there are indices."""
    if not isinstance(source, Tensor):
        return b.scalar(source, dtype)
    updates = source
    for axis, size in enumerate(index.shape):
        updates = b.slice(updates, axis, 0, size)
    return b.cast(b.vector(updates), dtype)


def _at(index: Tensor, dim: int, x: Tensor) -> list[Tensor | None]:
    """Indices of one axis."""
    return [index if axis == dim % x.rank else None for axis in range(x.rank)]


@lower("aten.index_add")
def index_add(
    b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    if alpha != 1:
        source = b.op("MUL", source, b.scalar(alpha, source.dtype))
    wide = b.vector(x)
    index, source = b.vector(index), b.vector(source)
    written = _put_anywhere(b, wide, _at(index, dim, wide), source, accumulate=True)
    return b.reshape(written, x.shape)


@lower("aten.index_copy")
def index_copy(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    wide = b.vector(x)
    return b.reshape(put_at(b, wide, _at(b.vector(index), dim, wide), b.vector(source)), x.shape)


@lower("aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor")
def index_fill(
    b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, value: float | Tensor
) -> Tensor:
    wide = b.vector(x)
    filled = put_at(b, wide, _at(b.vector(index), dim, wide), b.like(value, x.dtype))
    return b.reshape(filled, x.shape)


@lower("aten.put")
def put(
    b: LoweringBuilder, x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False
) -> Tensor:
    """Places are counted in the tensor laid flat."""
    flat, count = b.reshape(x, (product(x.shape),)), product(index.shape)
    places, values = b.reshape(index, (count,)), b.reshape(source, (count,))
    return b.reshape(put_at(b, flat, [places], values, accumulate=accumulate), x.shape)


@lower("aten.masked_scatter")
def masked_scatter(b: LoweringBuilder, x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The next element of the source wherever the mask is set: a running count says which one that is."""
    count = product(source.shape)
    wide = b.broadcast(mask, b.shape)
    # Behind the last one that is set the count may lead past the end, where nothing is read.
    last = b.op("SUB", b.like(count, DType.INT32), b.scalar(1, DType.INT32))
    places = b.op("MINIMUM", _order_of_set(b, wide), last)
    found = b.op("GATHER", b.reshape(source, (count,)), places)
    return b.op("SELECT_V2", wide, b.reshape(found, b.shape), x)


@lower("aten.nonzero_static")
def nonzero_static(b: LoweringBuilder, x: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The places of the first elements that are not zero, each written where the running count says."""
    is_set = x if x.dtype == DType.BOOL else b.op("NOT_EQUAL", x, b.scalar(0, x.dtype))
    count, end = product(x.shape), b.scalar(size, DType.INT32)
    order = b.op("MINIMUM", _order_of_set(b, is_set), end)
    # What is not wanted goes behind the last row, which is cut off.
    rows = b.op("SELECT_V2", b.reshape(is_set, (count,)), order, end)
    written = b.op("SCATTER_ND", b.reshape(rows, (count, 1)), count_up(b, count), shape=(size + 1,))
    places = b.slice(written, 0, 0, size)
    found = b.reduce("SUM", b.cast(is_set, DType.INT32), [], keep_dims=False)
    is_found = b.op("LESS", b.reshape(count_up(b, size), (size, 1)), b.reshape(found, (1, 1)))
    told = b.op(
        "SELECT_V2", is_found, _coordinates(b, places, x.shape), b.scalar(fill_value, DType.INT32)
    )
    return b.cast(told, b.dtype)


def _coordinates(b: LoweringBuilder, places: Tensor, shape: Sequence[Size]) -> Tensor:
    """[n, rank] from n places in a tensor laid flat."""
    columns: list[Tensor] = []
    for axis, extent in enumerate(shape):
        step = b.like(product(shape[axis + 1 :]), DType.INT32)
        row = b.op("FLOOR_DIV", places, step)
        columns.append(b.op("FLOOR_MOD", row, b.like(extent, DType.INT32)))
    return pack_columns(b, columns, places.shape)
