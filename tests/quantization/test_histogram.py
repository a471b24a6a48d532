"""What is kept of a tensor: the same however the data was cut, and exact at its ends."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.quantization.histogram import Histogram

RANDOM = np.random.default_rng(7)


def whole(*arrays: object) -> Histogram:
    histogram = Histogram()
    histogram.add(np.concatenate([np.asarray(one, np.float32).ravel() for one in arrays]))
    return histogram


def streamed(*arrays: object) -> Histogram:
    histogram = Histogram()
    for one in arrays:
        histogram.add(np.asarray(one, np.float32))
    return histogram


@pytest.mark.parametrize("order", [1, -1], ids=["growing", "shrinking"])
def test_what_is_streamed_is_what_is_seen_at_once(order: int) -> None:
    parts = [RANDOM.normal(size=(3, 50, 7)) * 10.0**power for power in range(-4, 3)][::order]
    once, bit_by_bit = whole(*parts), streamed(*parts)
    assert bit_by_bit.limit == once.limit
    np.testing.assert_array_equal(bit_by_bit.counts, once.counts)
    assert (bit_by_bit.low, bit_by_bit.high) == (once.low, once.high)


def test_the_range_grows_and_no_value_is_lost() -> None:
    histogram = streamed([0.1, -0.2], [3.0], [-1000.0])
    assert histogram.limit == 1024
    assert histogram.counts.sum() == 4
    assert histogram.counts[0:200].sum() == 1  # -1000 alone lies below -900


@pytest.mark.parametrize("parts", [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0])])
def test_zeros_are_counted_before_and_after_anything_else(parts: tuple[list[float], ...]) -> None:
    histogram = streamed(*parts)
    assert histogram.zeros == 2
    assert histogram.counts.sum() == 4
    assert histogram.counts[len(histogram.counts) // 2] == 2


def test_nothing_but_zeros() -> None:
    histogram = streamed([0.0] * 5)
    assert (histogram.low, histogram.high, histogram.limit) == (0, 0, 0)
    assert histogram.counts.sum() == 5
    assert histogram.quantile(0.5) == 0


def test_infinities_and_nan_are_counted_and_left_out() -> None:
    histogram = streamed([np.inf, -np.inf, np.nan, 1.0, -2.0], [np.inf])
    assert (histogram.infinities, histogram.nans) == (3, 1)
    assert (histogram.low, histogram.high) == (-2, 1)
    assert histogram.counts.sum() == 2


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf]])
def test_nothing_finite_is_nothing(values: list[float]) -> None:
    assert streamed(values).is_empty


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 3e38])
def test_extreme_magnitudes(scale: float) -> None:
    histogram = streamed(np.linspace(-1, 1, 101) * scale)
    assert histogram.counts.sum() == 101
    assert histogram.counts.max() <= 4


def test_every_channel_of_a_large_array_is_counted() -> None:
    """Every n-th value would be that of the same channels again and again."""
    array = np.zeros((1, 512, 512, 8), np.float32)
    array[..., 1] = 5.0
    histogram = streamed(array)
    share = histogram.counts[len(histogram.counts) // 2 + 1 :].sum() / histogram.counts.sum()
    assert share == pytest.approx(1 / 8, rel=0.05)
    assert histogram.counts.sum() == pytest.approx(array.size)


def test_an_outlier_of_a_large_array_is_never_missed() -> None:
    array = RANDOM.normal(size=1 << 20).astype(np.float32)
    array[12345] = 77.0
    assert streamed(array).high == 77


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_quantiles(share: float) -> None:
    values = RANDOM.gamma(2.0, size=50_000)
    histogram = streamed(*np.array_split(values, 9))
    bin_width = 2 * histogram.limit / len(histogram.counts)
    assert histogram.quantile(share) == pytest.approx(
        float(np.quantile(values, share)), abs=2 * bin_width
    )
