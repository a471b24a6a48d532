"""Pooling over windows and to a given size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.dims import Size, is_static
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.convolution import (
    pad_image,
    to_channels_first,
    to_channels_last,
)
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower

Ints = Sequence[int]


def _spread(value: int | Ints, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


def _on_image(b: LoweringBuilder, x: Tensor, axes: int, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Run a pooling of NHWC images on [n,] c, (h,) w."""
    batched = x if x.rank == axes + 2 else b.reshape(x, (1, *x.shape))
    image = to_channels_last(b, batched)
    if axes == 1:
        image = b.reshape(image, (image.shape[0], 1, *image.shape[1:]))
    result = pool(image)
    if axes == 1:
        result = b.reshape(result, (result.shape[0], *result.shape[2:]))
    result = to_channels_first(b, result)
    return result if x.rank == axes + 2 else b.reshape(result, result.shape[1:])


def _overhang(
    size: Size, kernel: int, stride: int, padding: int, dilation: int, result: Size
) -> int:
    """What ceil_mode reaches beyond the padding at the end."""
    if not isinstance(size, int) or not isinstance(result, int):
        return 0
    needed = (result - 1) * stride + (kernel - 1) * dilation + 1
    return max(needed - size - 2 * padding, 0)


@lower("aten.max_pool2d", "aten.max_pool1d")
def max_pool(
    b: LoweringBuilder,
    x: Tensor,
    kernel_size: int | Ints,
    stride: int | Ints = (),
    padding: int | Ints = 0,
    dilation: int | Ints = 1,
    ceil_mode: bool = False,
) -> Tensor:
    axes = _pool_axes(b, x, kernel_size)
    kernel = _spread(kernel_size, axes)
    steps = _spread(stride, axes) if stride not in ([], ()) else kernel
    sides, gaps = _spread(padding, axes), _spread(dilation, axes)
    if set(gaps) != {1}:
        raise CannotLowerError("dilated max pooling")
    window = (kernel, steps, sides)
    return _on_image(b, x, axes, lambda image: _max_pool_image(b, image, window))


def _pool_axes(b: LoweringBuilder, x: Tensor, kernel_size: int | Ints) -> int:
    """1 or 2: the result keeps the rank, so the kernel or the operator's name tells."""
    if not isinstance(kernel_size, int) and len(kernel_size) > 1:
        return 2
    name = b.source.node if b.source else ""
    return 1 if "pool1d" in name or x.rank == 2 else 2


def _max_pool_image(
    b: LoweringBuilder, image: Tensor, window: tuple[list[int], list[int], list[int]]
) -> Tensor:
    kernel, stride, sides = _as_two(window)
    result = b.shape[-len(window[0]) :]
    result = result if len(result) == 2 else (1, *result)
    after = [
        p + _overhang(size, k, s, p, 1, r)
        for size, k, s, p, r in zip(image.shape[1:3], kernel, stride, sides, result, strict=True)
    ]
    lowest = float(np.finfo(np.dtype(image.dtype.value)).min) if image.dtype.is_floating else 0
    image, mode = pad_image(b, image, sides, after, (kernel, stride, [1, 1]), lowest)
    return _pool(b, "MAX_POOL_2D", image, kernel, stride, mode)


def _as_two(
    window: tuple[list[int], list[int], list[int]],
) -> tuple[list[int], list[int], list[int]]:
    kernel, stride, sides = window
    if len(kernel) == 2:
        return window
    return [1, *kernel], [1, *stride], [0, *sides]


def _pool(
    b: LoweringBuilder, op: str, image: Tensor, kernel: Ints, stride: Ints, padding: str = "VALID"
) -> Tensor:
    return b.op(
        op,
        image,
        filter_height=kernel[0],
        filter_width=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        padding=padding,
    )


@lower("aten.avg_pool2d", "aten.avg_pool1d")
def avg_pool(
    b: LoweringBuilder,
    x: Tensor,
    kernel_size: int | Ints,
    stride: int | Ints = (),
    padding: int | Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    axes = _pool_axes(b, x, kernel_size)
    kernel = _spread(kernel_size, axes)
    steps = _spread(stride, axes) if stride not in ([], ()) else kernel
    window = _as_two((kernel, steps, _spread(padding, axes)))

    def reference(ones: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(
            ones, *window, ceil_mode, count_include_pad, divisor_override
        )

    return _on_image(b, x, axes, lambda image: _avg_pool_image(b, image, window, reference))


def _avg_pool_image(
    b: LoweringBuilder,
    image: Tensor,
    window: tuple[list[int], list[int], list[int]],
    reference: Callable[[torch.Tensor], torch.Tensor],
) -> Tensor:
    """Zero padding and a plain average, corrected by how PyTorch counts the padding at each position."""
    kernel, stride, sides = window
    if not is_static(image.shape[1:3]):
        if any(sides):
            raise CannotLowerError("average pooling with padding over a dynamic size")
        return _pool(b, "AVERAGE_POOL_2D", image, kernel, stride)
    height, width = (int(str(size)) for size in image.shape[1:3])
    wanted = reference(torch.ones(1, 1, height, width, dtype=torch.float64))
    after = [
        p + _overhang(size, k, s, p, 1, r)
        for size, k, s, p, r in zip(
            (height, width), kernel, stride, sides, wanted.shape[2:], strict=True
        )
    ]
    padded = torch.nn.functional.pad(
        torch.ones(1, 1, height, width, dtype=torch.float64),
        (sides[1], after[1], sides[0], after[0]),
    )
    plain = torch.nn.functional.avg_pool2d(padded, kernel, stride)
    plain = plain[:, :, : wanted.shape[2], : wanted.shape[3]]
    if any((*sides, *after)):
        image = b.op("PAD", image, before=(0, *sides, 0), after=(0, *after, 0))
    result = _pool(b, "AVERAGE_POOL_2D", image, kernel, stride)
    ratio = (wanted / plain).permute(0, 2, 3, 1).numpy()
    if np.allclose(ratio, 1, atol=1e-12):
        return result
    factor = b.constant(ratio.astype(np.dtype(image.dtype.value)))
    return b.op("MUL", result, factor)


@lower("aten.adaptive_avg_pool2d", "aten._adaptive_avg_pool2d", "aten.adaptive_avg_pool1d")
def adaptive_avg_pool(b: LoweringBuilder, x: Tensor, output_size: int | Ints) -> Tensor:
    sizes = [output_size] if isinstance(output_size, int) else list(output_size)
    axes = range(x.rank - len(sizes), x.rank)
    if set(sizes) == {1}:
        return b.reduce("MEAN", x, axes, keep_dims=True)
    uneven = [a for a, s in zip(axes, sizes, strict=True) if _is_uneven(x.shape[a], s)]
    if not uneven and len(sizes) == 2:
        return _even_pool(b, x, "AVERAGE_POOL_2D", sizes)
    for axis, size in zip(axes, sizes, strict=True):
        x = _pool_by_matrix(b, x, axis, size)
    return x


def _is_uneven(size: Size, result: int) -> bool:
    return not isinstance(size, int) or size % result != 0


def _even_pool(b: LoweringBuilder, x: Tensor, op: str, sizes: Ints) -> Tensor:
    window = [int(str(x.shape[a])) // s for a, s in zip((-2, -1), sizes, strict=True)]
    return _on_image(b, x, 2, lambda image: _pool(b, op, image, window, window))


def _bins(size: int, result: int) -> list[tuple[int, int]]:
    """Begin and end of each bin: floor(i * size / result) to ceil((i + 1) * size / result)."""
    return [(i * size // result, -(-(i + 1) * size // result)) for i in range(result)]


def _pool_by_matrix(b: LoweringBuilder, x: Tensor, axis: int, result: int) -> Tensor:
    """Averages over uneven bins of one axis, as a product with a constant matrix."""
    size = x.shape[axis]
    if not isinstance(size, int):
        raise CannotLowerError("adaptive pooling of a dynamic size to more than one bin")
    matrix: NDArray[np.float64] = np.zeros((result, size))
    for row, (begin, end) in enumerate(_bins(size, result)):
        matrix[row, begin:end] = 1 / (end - begin)
    weight = b.constant(matrix.astype(np.dtype(x.dtype.value)))
    perm = [i for i in range(x.rank) if i != axis] + [axis]
    back = [perm.index(i) for i in range(x.rank)]
    product = b.op("FULLY_CONNECTED", b.transpose(x, perm), weight, None)
    return b.transpose(product, back)


@lower("aten.adaptive_max_pool2d", "aten.adaptive_max_pool1d")
def adaptive_max_pool(
    b: LoweringBuilder, x: Tensor, output_size: int | Ints
) -> list[Tensor | None]:
    """The values; nobody has asked for the indices yet, so they are left out."""
    sizes = [output_size] if isinstance(output_size, int) else list(output_size)
    b.results = b.results[:1]
    axes = range(x.rank - len(sizes), x.rank)
    if len(sizes) == 2 and not any(
        _is_uneven(x.shape[a], s) for a, s in zip(axes, sizes, strict=True)
    ):
        return [_even_pool(b, x, "MAX_POOL_2D", sizes), None]
    for axis, size in zip(axes, sizes, strict=True):
        whole = x.shape[axis]
        if not isinstance(whole, int):
            raise CannotLowerError("adaptive pooling of a dynamic size")
        bins = [b.slice(x, axis, begin, end) for begin, end in _bins(whole, size)]
        parts = [b.reduce("REDUCE_MAX", part, [axis], keep_dims=True) for part in bins]
        x = parts[0] if len(parts) == 1 else b.node("CONCATENATION", parts, axis=axis).output
    return [x, None]
