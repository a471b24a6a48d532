"""Operators that only rearrange: views, permutations, joins, repetitions, casts."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.dims import Size, product
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower


@lower(
    "aten.view.default", "aten.reshape", "aten._unsafe_view", "aten.view_as", "aten.reshape_as",
    "aten.flatten", "aten.unflatten", "aten.squeeze", "aten.unsqueeze", "aten._reshape_alias",
)  # fmt: skip
def reshape(b: LoweringBuilder, x: Tensor, *_: object) -> Tensor:
    return b.reshape(x, b.shape)


@lower(
    "aten.alias", "aten.contiguous", "aten.clone", "aten.detach", "aten.dropout", "aten.alpha_dropout",
    "aten.feature_dropout", "aten.feature_alpha_dropout", "aten.lift_fresh_copy", "aten.lift_fresh",
    "aten.resolve_conj", "aten.resolve_neg", "aten.positive",
)  # fmt: skip
def identity(b: LoweringBuilder, x: Tensor, *_: object, **__: object) -> Tensor:
    return x


@lower("aten.real", "aten.conj", "aten.conj_physical", "aten._conj", "aten._conj_physical")
def real_part(b: LoweringBuilder, x: Tensor) -> Tensor:
    """Of a real tensor; `complex_numbers` has those of complex ones."""
    return x


@lower(
    "aten.to", "aten._to_copy", "aten.type_as", "aten.float", "aten.double", "aten.int", "aten.long",
    "aten.half", "aten.bool",
)  # fmt: skip
def cast(b: LoweringBuilder, x: Tensor, *_: object, **__: object) -> Tensor:
    return b.cast(x, b.dtype)


@lower("aten.permute")
def permute(b: LoweringBuilder, x: Tensor, dims: Sequence[int]) -> Tensor:
    return b.transpose(x, [dim % x.rank for dim in dims])


@lower("aten.transpose", "aten.swapaxes", "aten.swapdims")
def transpose(b: LoweringBuilder, x: Tensor, dim0: int, dim1: int) -> Tensor:
    return swap(b, x, dim0, dim1)


def swap(b: LoweringBuilder, x: Tensor, dim0: int, dim1: int) -> Tensor:
    """`x` with two axes exchanged."""
    if x.rank == 0:
        return x
    perm = list(range(x.rank))
    perm[dim0], perm[dim1] = perm[dim1], perm[dim0]
    return b.transpose(x, perm)


@lower("aten.t", "aten.numpy_T", "aten.mT")
def t(b: LoweringBuilder, x: Tensor) -> Tensor:
    return swap(b, x, -2, -1) if x.rank > 1 else x


@lower("aten.movedim")
def movedim(
    b: LoweringBuilder, x: Tensor, source: int | list[int], destination: int | list[int]
) -> Tensor:
    sources = [d % x.rank for d in (source if isinstance(source, list) else [source])]
    targets = [
        d % x.rank for d in (destination if isinstance(destination, list) else [destination])
    ]
    order = [axis for axis in range(x.rank) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return b.transpose(x, order)


@lower("aten.expand", "aten.expand_as", "aten.broadcast_to")
def expand(b: LoweringBuilder, x: Tensor, *_: object, **__: object) -> Tensor:
    return b.broadcast(x, b.shape)


@lower("aten.repeat", "aten.tile")
def repeat(b: LoweringBuilder, x: Tensor, repeats: Sequence[Size]) -> Tensor:
    rank = max(len(repeats), x.rank)
    wide = b.reshape(x, (*([1] * (rank - x.rank)), *x.shape))
    multiples = (*([1] * (rank - len(repeats))), *repeats)
    return wide if set(multiples) == {1} else b.op("TILE", wide, multiples=multiples)


@lower("aten.repeat_interleave.self_int")
def repeat_interleave(
    b: LoweringBuilder, x: Tensor, repeats: int, dim: int | None = None, output_size: object = None
) -> Tensor:
    if dim is None:
        dim, x = 0, b.reshape(x, (product(x.shape),))
    axis = dim % x.rank
    shape = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
    wide = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    return b.reshape(b.broadcast(b.reshape(x, shape), wide), b.shape)


@lower("aten.cat", "aten.concat", "aten.concatenate")
def cat(b: LoweringBuilder, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors without elements add nothing; PyTorch takes them in any rank."""
    kept = [b.cast(t, b.dtype) for t in tensors if 0 not in t.shape]
    if len(kept) == 1:
        return kept[0]
    return b.node("CONCATENATION", kept, axis=dim % kept[0].rank).output


@lower("aten.stack")
def stack(b: LoweringBuilder, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    cast_all = [b.cast(t, b.dtype) for t in tensors]
    return b.node("PACK", cast_all, axis=dim % (cast_all[0].rank + 1)).output


@lower("aten.roll")
def roll(
    b: LoweringBuilder, x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] = ()
) -> Tensor:
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if not axes:
        return b.reshape(_roll_axis(b, b.reshape(x, (product(x.shape),)), moves[0], 0), x.shape)
    for shift, axis in zip(moves, axes, strict=True):
        x = _roll_axis(b, x, shift, axis % x.rank)
    return x


def _roll_axis(b: LoweringBuilder, x: Tensor, shift: int, axis: int) -> Tensor:
    size = x.shape[axis]
    if isinstance(size, int):
        cut: Size = (-shift) % size if size else 0
    else:
        cut = -shift if shift < 0 else size - shift
    if cut == 0:
        return x
    parts = (b.slice(x, axis, cut, size), b.slice(x, axis, 0, cut))
    return b.node("CONCATENATION", parts, axis=axis).output


@lower("aten.flip")
def flip(b: LoweringBuilder, x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        x = b.op("REVERSE_V2", x, axes=(dim % x.rank,))
    return x


@lower("aten.pixel_shuffle")
def pixel_shuffle(b: LoweringBuilder, x: Tensor, factor: int) -> Tensor:
    *batch, channels, height, width = x.shape
    split = (*batch, channels // (factor * factor), factor, factor, height, width)
    first = len(batch)
    if channels == factor * factor and first == 1:
        nhwc = b.transpose(x, (0, 2, 3, 1))
        return b.transpose(b.op("DEPTH_TO_SPACE", nhwc, block_size=factor), (0, 3, 1, 2))
    perm = [*range(first + 1), first + 3, first + 1, first + 4, first + 2]
    return b.reshape(b.transpose(b.reshape(x, split), perm), b.shape)


@lower("aten.pixel_unshuffle")
def pixel_unshuffle(b: LoweringBuilder, x: Tensor, factor: int) -> Tensor:
    *batch, channels, height, width = x.shape
    split = (*batch, channels, height // factor, factor, width // factor, factor)
    first = len(batch)
    perm = [*range(first + 1), first + 2, first + 4, first + 1, first + 3]
    return b.reshape(b.transpose(b.reshape(x, split), perm), b.shape)


@lower("aten.channel_shuffle")
def channel_shuffle(b: LoweringBuilder, x: Tensor, groups: int) -> Tensor:
    n, channels, *spatial = x.shape
    split = b.reshape(x, (n, groups, channels // groups, *spatial))
    return b.reshape(swap(b, split, 1, 2), x.shape)


@lower("aten.pad")
def pad(
    b: LoweringBuilder,
    x: Tensor,
    padding: Sequence[Size],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    before, after = _paddings(x, padding)
    if mode == "constant":
        return pad_constant(b, x, before, after, value or 0)
    return _pad_from_within(b, x, before, after, mode)


def _pad_from_within(
    b: LoweringBuilder, x: Tensor, before: Sequence[Size], after: Sequence[Size], mode: str
) -> Tensor:
    """Padding with elements of the tensor; a negative padding cuts, afterwards, but of circular padding before."""
    cuts, pads = ((tuple(map(limit, before)), tuple(map(limit, after))) for limit in (_cut, _grown))
    if mode == "circular":
        return _pad_by_slices(b, pad_constant(b, x, cuts[0], cuts[1]), pads[0], pads[1], mode)
    if mode != "reflect":
        wide = _pad_by_slices(b, x, pads[0], pads[1], mode)
    elif any((*pads[0], *pads[1])):
        wide = b.op("MIRROR_PAD", x, before=pads[0], after=pads[1], mode="REFLECT")
    else:
        wide = x
    return pad_constant(b, wide, cuts[0], cuts[1])


def _cut(padding: Size) -> Size:
    return padding if isinstance(padding, int) and padding < 0 else 0


def _grown(padding: Size) -> Size:
    return 0 if isinstance(padding, int) and padding < 0 else padding


@lower("aten.constant_pad_nd")
def constant_pad_nd(
    b: LoweringBuilder, x: Tensor, padding: Sequence[Size], value: float = 0
) -> Tensor:
    return pad_constant(b, x, *_paddings(x, padding), value)


@lower("aten.reflection_pad1d", "aten.reflection_pad2d", "aten.reflection_pad3d")
def reflection_pad(b: LoweringBuilder, x: Tensor, padding: Sequence[Size]) -> Tensor:
    return _pad_from_within(b, x, *_paddings(x, padding), "reflect")


@lower("aten.replication_pad1d", "aten.replication_pad2d", "aten.replication_pad3d")
def replication_pad(b: LoweringBuilder, x: Tensor, padding: Sequence[Size]) -> Tensor:
    return _pad_from_within(b, x, *_paddings(x, padding), "replicate")


def _paddings(x: Tensor, padding: Sequence[Size]) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """PyTorch's list starts with the last axis."""
    before: list[Size] = [0] * x.rank
    after: list[Size] = [0] * x.rank
    for position in range(len(padding) // 2):
        before[-1 - position], after[-1 - position] = padding[2 * position : 2 * position + 2]
    return tuple(before), tuple(after)


def pad_constant(
    b: LoweringBuilder,
    x: Tensor,
    before: Sequence[Size],
    after: Sequence[Size],
    value: float = 0,
) -> Tensor:
    """Padding with one value; a negative padding cuts."""
    for axis in range(x.rank):
        low, high = before[axis], after[axis]
        begin = -low if isinstance(low, int) and low < 0 else 0
        end = x.shape[axis] + high if isinstance(high, int) and high < 0 else x.shape[axis]
        x = b.slice(x, axis, begin, end)
    low_side, high_side = (tuple(_grown(p) for p in sides) for sides in (before, after))
    if not any((*low_side, *high_side)):
        return x
    if value == 0:
        return b.op("PAD", x, before=low_side, after=high_side)
    return b.op("PADV2", x, b.scalar(value, x.dtype), before=low_side, after=high_side)


def _pad_by_slices(
    b: LoweringBuilder, x: Tensor, before: Sequence[Size], after: Sequence[Size], mode: str
) -> Tensor:
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if not isinstance(low, int) or not isinstance(high, int):
            raise CannotLowerError(f"'{mode}' padding by a dynamic size")
        x = _pad_axis(b, x, axis, low, high, mode)
    return x


def _pad_axis(b: LoweringBuilder, x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    size = x.shape[axis]
    if mode == "circular":
        head = [b.slice(x, axis, size - low, size)] if low else []
        tail = [b.slice(x, axis, 0, high)] if high else []
    else:
        head = [b.slice(x, axis, 0, 1)] * low
        tail = [b.slice(x, axis, size - 1, size)] * high
    parts = [*head, x, *tail]
    return x if len(parts) == 1 else b.node("CONCATENATION", parts, axis=axis).output
