"""Reading elements at indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import Size, minimum, product
from edgeconv.graph import Tensor
from edgeconv.graph.ops.spec import Shape, broadcast_shapes
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower
from edgeconv.signature import DType

Indices = Sequence[Tensor | None]


@lower("aten.index_select")
def index_select(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor) -> Tensor:
    if x.rank == 0:
        return x
    return b.op("GATHER", x, b.reshape(index, (product(index.shape),)), axis=dim % x.rank)


@lower("aten.index.Tensor")
def index(b: LoweringBuilder, x: Tensor, indices: Indices) -> Tensor:
    """NumPy's advanced indexing: the indexed axes move together, the rest stays."""
    indices = integer_indices(b, x, indices)
    axes = [axis for axis, item in enumerate(indices) if item is not None]
    if len(axes) == 1:
        return b.op("GATHER", x, _item(indices, axes[0]), axis=axes[0])
    coordinates = coordinates_of(b, indices)
    rest = [axis for axis in range(x.rank) if axis not in axes]
    found = b.op("GATHER_ND", b.transpose(x, axes + rest), coordinates)
    order = order_of_result(axes, coordinates.rank - 1, found.rank)
    return b.transpose(found, order)


def _item(indices: Indices, axis: int) -> Tensor:
    item = indices[axis]
    if item is None:
        raise CannotLowerError("without indices")
    return item


def integer_indices(b: LoweringBuilder, x: Tensor, indices: Indices) -> list[Tensor | None]:
    """The indices as whole numbers counted from the front; a known mask becomes the places where it is set.

    Raises:
        CannotLowerError: A mask is computed, so that the size of the result depends on the data.
    """
    found: list[Tensor | None] = []
    for item in indices:
        if item is None:
            found.append(None)
        elif item.dtype == DType.BOOL:
            found += _places(b, item)
        else:
            found.append(_count_from_front(b, item, x.shape[len(found)]))
    return found


def _places(b: LoweringBuilder, mask: Tensor) -> list[Tensor]:
    if mask.constant is None:
        raise CannotLowerError("with a mask, so that the size of the result depends on the data")
    return [b.constant(axis.astype(np.int32)) for axis in np.nonzero(mask.constant)]


def coordinates_of(b: LoweringBuilder, indices: Indices) -> Tensor:
    """Integer indices of several axes, broadcast, as one tensor whose last axis runs over the axes."""
    chosen = [b.cast(item, DType.INT32) for item in indices if item is not None]
    common = broadcast_shapes(*(item.shape for item in chosen))
    return pack_columns(b, chosen, common)


def pack_columns(b: LoweringBuilder, columns: Sequence[Tensor], shape: Shape) -> Tensor:
    """Columns of coordinates, broadcast to a shape, along a new last axis; known ones stay known."""
    arrays = [column.constant for column in columns if column.constant is not None]
    static = tuple(size for size in shape if isinstance(size, int))
    if len(arrays) == len(columns) and len(static) == len(shape):
        return b.constant(np.stack([np.broadcast_to(a, static) for a in arrays], axis=-1))
    wide = [b.broadcast(column, shape) for column in columns]
    return b.node("PACK", wide, axis=len(shape)).output


def order_of_result(axes: Sequence[int], taken: int, rank: int) -> list[int]:
    """Where NumPy puts the `taken` axes of the indices: where they were if they were adjacent, in front else."""
    is_adjacent = list(axes) == list(range(axes[0], axes[0] + len(axes)))
    if not is_adjacent or axes[0] == 0:
        return list(range(rank))
    ahead = [taken + i for i in range(axes[0])]
    return [*ahead, *range(taken), *range(taken + axes[0], rank)]


def _count_from_front(b: LoweringBuilder, item: Tensor, size: Size) -> Tensor:
    """Indices as counted from the front; negative ones count from the end."""
    if item.constant is not None:
        array = item.constant.astype(np.int64)
        if not array.size or array.min() >= 0:
            return item
        if isinstance(size, int):
            return b.constant(np.where(array < 0, array + size, array).astype(np.int32))
    end = b.like(size, item.dtype)
    is_negative = b.op("LESS", item, b.scalar(0, item.dtype))
    return b.op("SELECT_V2", is_negative, b.op("ADD", item, end), item)


@lower("aten.gather")
def gather(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor, **_: object) -> Tensor:
    return gather_along(b, x, dim, index)


def gather_along(b: LoweringBuilder, x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Element i of the result is x at index[i] along `dim`, and at i along the other axes."""
    if x.rank == 0:
        return b.broadcast(x, index.shape)
    if index.rank == 0:
        return b.reshape(gather_along(b, x, dim, b.vector(index)), ())
    return b.op("GATHER_ND", x, coordinates_along(b, index, dim % x.rank))


@lower("aten.take_along_dim")
def take_along_dim(
    b: LoweringBuilder, x: Tensor, indices: Tensor, dim: int | None = None
) -> Tensor:
    if dim is None:
        flat = [b.reshape(t, (product(t.shape),)) for t in (x, indices)]
        return gather_along(b, flat[0], 0, _count_from_front(b, flat[1], flat[0].shape[0]))
    axis = dim % x.rank
    common = broadcast_shapes(*((*t.shape[:axis], 1, *t.shape[axis + 1 :]) for t in (x, indices)))
    whole = [
        b.broadcast(t, (*common[:axis], t.shape[axis], *common[axis + 1 :])) for t in (x, indices)
    ]
    return gather_along(b, whole[0], dim, _count_from_front(b, whole[1], x.shape[axis]))


@lower("aten.take")
def take(b: LoweringBuilder, x: Tensor, index: Tensor) -> Tensor:
    count = product(x.shape)
    return b.op("GATHER", b.reshape(x, (count,)), _count_from_front(b, index, count))


def coordinates_along(b: LoweringBuilder, index: Tensor, axis: int) -> Tensor:
    """Coordinates of elements that have `index` along one axis and their own place along the others."""
    columns = [
        b.cast(index, DType.INT32) if other == axis else _places_along(b, index.shape, other)
        for other in range(index.rank)
    ]
    return pack_columns(b, columns, index.shape)


def _places_along(b: LoweringBuilder, shape: Shape, axis: int) -> Tensor:
    """0, 1, 2, ... along one axis, of size 1 along the others."""
    size = shape[axis]
    view = [size if other == axis else 1 for other in range(len(shape))]
    return b.reshape(count_up(b, size), view)


def count_up(b: LoweringBuilder, size: Size) -> Tensor:
    """0, 1, 2, ... in int32."""
    if isinstance(size, int):
        return b.constant(np.arange(size, dtype=np.int32))
    return b.op("RANGE", start=(0,), limit=(size,), delta=(1,), dtype="int32")


@lower("aten.diagonal")
def diagonal(
    b: LoweringBuilder, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    return take_diagonal(b, x, offset, dim1, dim2)


def take_diagonal(
    b: LoweringBuilder, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """The matrix of two axes laid flat: its diagonal is every (columns + 1)th element, and becomes the last axis."""
    first, second = dim1 % x.rank, dim2 % x.rank
    rest = [axis for axis in range(x.rank) if axis not in (first, second)]
    rows, columns = x.shape[first], x.shape[second]
    turned = b.transpose(x, (*rest, first, second))
    flat = b.reshape(turned, (*(x.shape[axis] for axis in rest), rows * columns))
    return b.op("GATHER", flat, diagonal_places(b, rows, columns, offset), axis=len(rest))


def diagonal_places(b: LoweringBuilder, rows: Size, columns: Size, offset: int) -> Tensor:
    """Where the elements of a diagonal are in a matrix laid flat."""
    count = minimum(rows + min(offset, 0), columns - max(offset, 0))
    start = columns * -offset if offset < 0 else offset
    if isinstance(count, int) and isinstance(start, int) and isinstance(columns, int):
        return b.constant((start + np.arange(max(count, 0)) * (columns + 1)).astype(np.int32))
    stop = start + count * (columns + 1)
    places = b.op("RANGE", start=(start,), limit=(stop,), delta=(columns + 1,), dtype="int32")
    places.shape = (count,)
    return places


@lower("aten.trace")
def trace(b: LoweringBuilder, x: Tensor) -> Tensor:
    return b.reduce("SUM", b.cast(take_diagonal(b, x), b.dtype), [0], keep_dims=False)


@lower("aten.as_strided")
def as_strided(
    b: LoweringBuilder,
    x: Tensor,
    size: Sequence[Size],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A view of memory; what lies where in memory is known of contiguous tensors only."""
    flat = b.reshape(x, (product(x.shape),))
    return b.op("GATHER", flat, strided_places(b, size, stride, storage_offset))


def strided_places(
    b: LoweringBuilder, size: Sequence[Size], stride: Sequence[int], offset: int | None
) -> Tensor:
    """Where the elements of a view are in memory.

    Raises:
        CannotLowerError: That is not known.
    """
    if not b.is_contiguous or not all(isinstance(n, int) for n in (*size, *stride)):
        raise CannotLowerError("of a tensor whose order in memory is not that of its axes")
    places = np.full((1,) * len(size), offset or 0)
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        shape = [-1 if other == axis else 1 for other in range(len(size))]
        places = places + (np.arange(int(str(count))) * step).reshape(shape)
    return b.constant(places.astype(np.int32))


@lower("aten.one_hot")
def one_hot(b: LoweringBuilder, x: Tensor, num_classes: int) -> Tensor:
    on, off = b.scalar(1, DType.INT64), b.scalar(0, DType.INT64)
    return b.op("ONE_HOT", x, on, off, depth=(num_classes,))
