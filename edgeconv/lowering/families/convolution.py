"""Convolutions. PyTorch's are channels first, the graph's channels last: the layout pass removes what cancels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeconv.dims import Size
from edgeconv.graph import Tensor
from edgeconv.lowering.builder import LoweringBuilder
from edgeconv.lowering.families.shaping import pad_constant
from edgeconv.lowering.refusal import CannotLowerError
from edgeconv.lowering.registry import lower

Ints = Sequence[int]


@lower("aten.conv2d", "aten.conv1d", "aten.conv3d")
def conv(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Ints = 1,
    padding: str | int | Ints = 0,
    dilation: int | Ints = 1,
    groups: int = 1,
) -> Tensor:
    return convolve(b, x, weight, bias, (stride, padding, dilation, groups))


def convolve(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: tuple[int | Ints, str | int | Ints, int | Ints, int],
) -> Tensor:
    """A convolution of 1 to 3 axes; `options` are stride, padding, dilation and groups."""
    if x.rank < weight.rank:  # no batch axis
        whole = _conv(b, b.reshape(x, (1, *x.shape)), weight, bias, options)
        return b.reshape(whole, whole.shape[1:])
    return _conv(b, x, weight, bias, options)


def spread(value: int | Ints, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


def _conv(
    b: LoweringBuilder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: tuple[int | Ints, str | int | Ints, int | Ints, int],
) -> Tensor:
    axes = x.rank - 2
    stride, dilation = spread(options[0], axes), spread(options[2], axes)
    kernel = [int(str(size)) for size in weight.shape[2:]]
    before, after = find_padding(options[1], kernel, dilation)
    if axes == 3:
        return _conv_3d(b, x, weight, bias, (stride, (before, after), dilation, options[3]))
    return _conv_2d(b, x, weight, bias, (stride, (before, after), dilation, options[3]))


def find_padding(
    padding: str | int | Ints, kernel: Ints, dilation: Ints
) -> tuple[list[int], list[int]]:
    if padding == "valid":
        return [0] * len(kernel), [0] * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [t // 2 for t in total], [t - t // 2 for t in total]
    if isinstance(padding, str):
        raise CannotLowerError(f"padding '{padding}'")
    sides = spread(padding, len(kernel))
    return sides, sides


Options = tuple[list[int], tuple[list[int], list[int]], list[int], int]


def _conv_2d(
    b: LoweringBuilder, x: Tensor, weight: Tensor, bias: Tensor | None, options: Options
) -> Tensor:
    """One or two axes; one axis is an image of height 1."""
    is_line = x.rank == 3
    stride, (before, after), dilation, groups = options
    image = to_channels_last(b, x)
    weight = b.transpose(weight, (0, *range(2, weight.rank), 1))
    if is_line:
        image, weight = as_image(b, image), as_image(b, weight)
        stride, dilation = [1, *stride], [1, *dilation]
        before, after = [0, *before], [0, *after]
    window = [int(str(size)) for size in weight.shape[1:3]]
    image, padding = pad_image(b, image, before, after, (window, stride, dilation))
    attributes: dict[str, int | str] = {
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1],
        "padding": padding,
    }
    result = _convolve(b, image, weight, bias, groups, attributes)
    if is_line:
        result = b.reshape(result, (result.shape[0], *result.shape[2:]))
    return to_channels_first(b, result)


def _convolve(
    b: LoweringBuilder,
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    groups: int,
    attributes: dict[str, int | str],
) -> Tensor:
    if groups == 1 or groups != image.shape[-1]:
        return b.op("CONV_2D", image, weight, bias, **attributes)
    multiplier = int(str(weight.shape[0])) // groups
    depthwise = b.transpose(weight, (3, 1, 2, 0))
    return b.op(
        "DEPTHWISE_CONV_2D", image, depthwise, bias, depth_multiplier=multiplier, **attributes
    )


def to_channels_last(b: LoweringBuilder, x: Tensor) -> Tensor:
    """NCHW to NHWC, and alike for other ranks."""
    return b.transpose(x, (0, *range(2, x.rank), 1))


def to_channels_first(b: LoweringBuilder, x: Tensor) -> Tensor:
    """NHWC to NCHW, and alike for other ranks."""
    return b.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))


def as_image(b: LoweringBuilder, x: Tensor) -> Tensor:
    """[n, length, c] as [n, 1, length, c]."""
    return b.reshape(x, (x.shape[0], 1, *x.shape[1:]))


def pad_image(
    b: LoweringBuilder,
    image: Tensor,
    before: Sequence[Size],
    after: Sequence[Size],
    window: tuple[Ints, Ints, Ints],
    value: float = 0,
) -> tuple[Tensor, str]:
    """Padding of the two spatial axes: left to the operator where SAME or VALID means it, else explicit.

    Args:
        b: The builder.
        image: NHWC.
        before: Padding before each spatial axis.
        after: Padding after each.
        window: Kernel sizes, strides and dilations.
        value: What to pad with.

    Returns:
        The image, padded or not, and the operator's `padding` attribute.
    """
    if not any((*before, *after)):
        return image, "VALID"
    axes = zip(image.shape[1:3], before, after, *window, strict=True)
    if all(_is_same_padding(*axis) for axis in axes):
        return image, "SAME"
    padded = pad_constant(b, image, (0, *before, 0), (0, *after, 0), value)
    return padded, "VALID"


def _is_same_padding(
    size: Size, before: Size, after: Size, kernel: int, stride: int, dilation: int
) -> bool:
    reach = (kernel - 1) * dilation + 1
    if stride == 1:
        total = reach - 1
    elif isinstance(size, int):
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    else:
        return False
    return (before, after) == (total // 2, total - total // 2)


def _conv_3d(
    b: LoweringBuilder, x: Tensor, weight: Tensor, bias: Tensor | None, options: Options
) -> Tensor:
    stride, (before, after), dilation, groups = options
    volume = pad_constant(b, to_channels_last(b, x), (0, *before, 0), (0, *after, 0))
    attributes = {
        **{f"stride_{axis}": s for axis, s in zip("dhw", stride, strict=True)},
        **{f"dilation_{axis}_factor": d for axis, d in zip("dhw", dilation, strict=True)},
    }
    kernel = b.transpose(weight, (2, 3, 4, 1, 0))
    if groups == 1:
        return to_channels_first(b, b.op("CONV_3D", volume, kernel, bias, **attributes))
    inputs = cut_groups(b, volume, -1, groups)
    kernels = cut_groups(b, kernel, -1, groups)
    parts = [
        b.op("CONV_3D", i, k, None, **attributes) for i, k in zip(inputs, kernels, strict=True)
    ]
    joined = b.node("CONCATENATION", parts, axis=4).output
    result = joined if bias is None else b.op("ADD", joined, bias)
    return to_channels_first(b, result)


def cut_groups(b: LoweringBuilder, x: Tensor, axis: int, parts: int) -> list[Tensor]:
    """Equal parts of an axis; those of a constant are constants."""
    if parts == 1:
        return [x]
    axis %= x.rank
    size = int(str(x.shape[axis])) // parts
    if x.constant is not None:
        pieces = np.split(x.constant, parts, axis=axis)
        return [b.constant(piece) for piece in pieces]
    return b.node("SPLIT_V", [x], axis=axis, sizes=(size,) * parts).outputs
