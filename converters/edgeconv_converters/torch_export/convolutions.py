"""Convolutions in float64: large ones a few rows of the output at a time, and those with groups channel after channel.

For float64 PyTorch has but one way to convolve: it writes all windows of the input side by side and multiplies them with
the weights. The windows are as many times the input as the kernel has places: 360 MB for the second convolution of S3D, more
than all of its weights and values together, and the most that its whole conversion holds.

Of an input whose channels lie side by side (`torch.channels_last`) the windows of one group are gathered from all over it: the
depthwise convolutions of ConvNeXt take three to nine times as long as they do on the same numbers channel after channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["convolve"]

_MOST_WINDOW_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class _Convolution:
    """One call of `aten.conv2d` or `aten.conv3d`, its arguments in their order; rows are along the first axis of space."""

    function: Callable[..., Tensor]
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def output_sizes(self) -> list[int]:
        sizes = zip(
            self.input.shape[2:],
            self.weight.shape[2:],
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]

    def is_large(self) -> bool:
        """Whether its windows are too many at once; a kernel of one place has none."""
        return self.weight[0, 0].numel() > 1 and self.rows_at_once() < self.output_sizes()[0]

    def has_channels_last(self) -> bool:
        """Whether the channels of an image lie side by side; PyTorch makes its output likewise. Volumes it copies first."""
        if self.input.ndim != 4 or self.input.is_contiguous():
            return False
        return self.input.is_contiguous(memory_format=torch.channels_last)

    def compute(self) -> Tensor:
        """The output, as one call of the operator."""
        spatial = (self.stride, self.padding, self.dilation)
        return self.function(self.input, self.weight, self.bias, *spatial, self.groups)

    def compute_in_slices(self) -> Tensor:
        """The output, a few rows at a time."""
        count, step = self.output_sizes()[0], self.rows_at_once()
        shape = (self.input.shape[0], self.weight.shape[0], *self.output_sizes())
        output = self.input.new_empty(shape)
        for start in range(0, count, step):
            rows = min(step, count - start)
            output[:, :, start : start + rows] = self.rows(start, rows)
        return output

    def rows_at_once(self) -> int:
        """How many rows of the output have few enough windows; at least one."""
        first, *others = self.output_sizes()
        a_place = self.input.shape[0] * self.weight[0].numel() * self.input.element_size()
        return min(first, max(1, _MOST_WINDOW_BYTES // max(1, a_place * math.prod(others))))

    def rows(self, start: int, count: int) -> Tensor:
        """`count` rows of the output, from the rows of the input that they are made from."""
        reach = self.dilation[0] * (self.weight.shape[2] - 1) + 1
        low = start * self.stride[0] - self.padding[0]
        high = low + (count - 1) * self.stride[0] + reach
        size = self.input.shape[2]
        used = self.input[:, :, max(low, 0) : max(high, 0)]
        # A slice may lie in the padding alone.
        above, below = max(min(high, 0) - low, 0), max(high - max(low, size), 0)
        missing = [0, 0] * (len(self.stride) - 1) + [above, below]
        padding = [0, *self.padding[1:]]
        weights = (self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return self.function(pad(used, missing), *weights)


def convolve(
    function: object, args: Sequence[object], kwargs: Mapping[str, object]
) -> Tensor | None:
    """What a convolution gives that takes too much memory or time as it is; None if it is none, or is to be called as it is.

    Args:
        function: An operator.
        args: Its arguments.
        kwargs: Its arguments by name.
    """
    found = _read(function, args, kwargs)
    if found is None:
        return None
    is_large, is_scattered = found.is_large(), found.has_channels_last()
    if not is_large and not (is_scattered and found.groups > 1):
        return None
    plain = replace(found, input=found.input.contiguous())
    output = plain.compute_in_slices() if is_large else plain.compute()
    # Views that follow may rely on the order in memory.
    return output.contiguous(memory_format=torch.channels_last) if is_scattered else output


def _read(
    function: object, args: Sequence[object], kwargs: Mapping[str, object]
) -> _Convolution | None:
    """The call as a convolution of a batch in float64, with all that was left out."""
    if function not in (torch.ops.aten.conv2d.default, torch.ops.aten.conv3d.default):
        return None
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    source, weight, bias = given["input"], given["weight"], given.get("bias")
    if not (isinstance(source, Tensor) and isinstance(weight, Tensor)):
        return None
    if source.dtype != torch.float64 or source.ndim != weight.ndim or not callable(function):
        return None
    return _Convolution(
        function=function,
        input=source,
        weight=weight,
        bias=bias if isinstance(bias, Tensor) else None,
        stride=_each_axis(given.get("stride", [1]), weight),
        padding=_each_axis(given.get("padding", [0]), weight),
        dilation=_each_axis(given.get("dilation", [1]), weight),
        groups=int(str(given.get("groups", 1))),
    )


def _each_axis(value: object, weight: Tensor) -> tuple[int, ...]:
    """One number for each axis of space; a list of one holds for all."""
    numbers = tuple(cast("Sequence[int]", value))
    return numbers * (weight.ndim - 2) if len(numbers) == 1 else numbers
