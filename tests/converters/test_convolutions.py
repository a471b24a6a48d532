from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, memory_format

from edgeconv_converters.torch_export import convolutions
from edgeconv_converters.torch_export.convolutions import convolve

pytestmark = pytest.mark.integration

_VOLUME, _PLANE = torch.ops.aten.conv3d.default, torch.ops.aten.conv2d.default


def _draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    drawn: Tensor = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return drawn


@pytest.mark.parametrize(
    ("function", "input_shape", "weight_shape", "options"),
    [
        (_VOLUME, (1, 3, 9, 8, 7), (4, 3, 3, 3, 3), {}),
        (_VOLUME, (2, 4, 9, 8, 7), (6, 2, 7, 1, 1), {"padding": [3, 0, 0], "stride": [2, 1, 1], "groups": 2}),
        (_VOLUME, (1, 3, 11, 6, 6), (2, 3, 3, 2, 2), {"padding": [4, 1, 1], "dilation": [3, 1, 2]}),
        (_PLANE, (1, 3, 12, 9), (4, 3, 3, 3), {"padding": [1], "stride": [2, 2]}),
        (_PLANE, (1, 3, 2, 9), (4, 3, 3, 3), {"padding": [5, 1]}),
    ],
)  # fmt: skip
def test_slices_are_what_the_whole_is(
    function: Callable[..., Tensor],
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    options: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolutions, "_MOST_WINDOW_BYTES", 1)
    args = (_draw(*input_shape), _draw(*weight_shape), _draw(weight_shape[0]))
    for each in ((*args,), args[:2]):
        found = convolve(function, each, options)
        assert found is not None
        torch.testing.assert_close(found, function(*each, **options), rtol=1e-12, atol=1e-12)


def test_no_slice_has_more_windows_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    # A row of the output has 4 x 5 windows of 2 x 3 x 3 numbers of 8 bytes.
    monkeypatch.setattr(convolutions, "_MOST_WINDOW_BYTES", 3 * 4 * 5 * 2 * 9 * 8)
    call = convolutions._read(_VOLUME, (_draw(1, 2, 8, 6, 7), _draw(3, 2, 1, 3, 3)), {})
    assert call is not None
    assert call.rows_at_once() == 3


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (_PLANE, (_draw(1, 3, 8, 8), _draw(4, 3, 3, 3))),  # small
        (_VOLUME, (_draw(3, 9, 8, 8), _draw(4, 3, 3, 3, 3))),  # without a batch
        (torch.ops.aten.relu.default, (_draw(1, 3, 8, 8),)),
    ],
)
def test_what_is_small_or_no_convolution_is_left_alone(
    function: Callable[..., Tensor], args: tuple[Tensor, ...]
) -> None:
    assert convolve(function, args, {}) is None


def test_a_kernel_of_one_place_has_no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_MOST_WINDOW_BYTES", 1)
    assert convolve(_PLANE, (_draw(1, 3, 8, 8), _draw(4, 3, 1, 1)), {}) is None


@pytest.mark.parametrize("weight_shape", [(12, 1, 3, 3), (6, 3, 3, 3)])
def test_groups_are_computed_channel_after_channel_and_the_output_lies_as_pytorch_lays_it(
    weight_shape: tuple[int, ...],
) -> None:
    plain, weight = _draw(2, 6, 9, 8), _draw(*weight_shape)
    scattered = plain.to(memory_format=torch.channels_last)
    options = {"padding": [1], "groups": 6 // weight_shape[1]}
    found, wanted = (
        convolve(_PLANE, (scattered, weight), options),
        _PLANE(scattered, weight, **options),
    )
    assert found is not None
    assert found.stride() == wanted.stride()
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert convolve(_PLANE, (plain, weight), options) is None


@pytest.mark.parametrize(
    ("function", "shapes", "order"),
    [
        (_PLANE, [(1, 3, 9, 8), (4, 3, 3, 3)], torch.channels_last),
        (_VOLUME, [(1, 3, 6, 9, 8), (4, 3, 3, 3, 3)], torch.channels_last_3d),
    ],
)
def test_a_sliced_output_lies_as_pytorch_lays_it(
    function: Callable[..., Tensor],
    shapes: Sequence[tuple[int, ...]],
    order: memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolutions, "_MOST_WINDOW_BYTES", 1)
    args = (_draw(*shapes[0]).to(memory_format=order), _draw(*shapes[1]))
    found, wanted = convolve(function, args, {}), function(*args)
    assert found is not None
    assert found.stride() == wanted.stride()
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
