"""Each observer against what it promises, found by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.errors import UsageError
from edgeconv.plugin.quantizer import Range
from edgeconv.quantization.histogram import Histogram
from edgeconv.quantization.observers import OBSERVERS, find_observer, is_sparse

Values = NDArray[np.float32]


def _random() -> np.random.Generator:
    return np.random.default_rng(3)


DISTRIBUTIONS: dict[str, Values] = {
    "normal": _random().normal(size=40_000).astype(np.float32),
    "laplace": _random().laplace(size=40_000).astype(np.float32),
    "relu": np.maximum(_random().normal(size=40_000), 0).astype(np.float32),
    "heavy": _random().standard_t(3, size=40_000).astype(np.float32),
    "skewed": (_random().lognormal(size=40_000) - 0.3).astype(np.float32),
    "negative": (-_random().exponential(size=40_000)).astype(np.float32),
    "uniform": _random().uniform(-1, 3, size=40_000).astype(np.float32),
}


def seen(values: Values) -> Histogram:
    histogram = Histogram()
    for part in np.array_split(values, 5):
        histogram.add(part)
    return histogram


def quantization_error(values: Values, found: Range, bits: int) -> float:
    """The mean squared error of real integers in a range, whose zero is one of them."""
    scale = (found.high - found.low) / (2**bits - 1)
    zero = round(-found.low / scale)
    integers = np.clip(np.rint(values / scale) + zero, 0, 2**bits - 1)
    return float(np.mean(np.square((integers - zero) * scale - values, dtype=np.float64)))


def least_error(values: Values, bits: int) -> float:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    shares = np.linspace(0.04, 1.0, 49)
    lows = shares * low if low < 0 else np.zeros(1)
    highs = shares * high if high > 0 else np.zeros(1)
    return min(
        quantization_error(values, Range(low=float(a), high=float(b)), bits)
        for a in lows
        for b in highs
    )


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("bits", [4, 8])
def test_mse_finds_the_range_that_loses_least(name: str, bits: int) -> None:
    values = DISTRIBUTIONS[name][:8000]
    found = find_observer("mse")(seen(values), bits)
    assert quantization_error(values, found, bits) <= 1.05 * least_error(values, bits)


def test_mse_clips_where_that_pays_and_not_elsewhere() -> None:
    observe = find_observer("mse")
    normal, uniform = DISTRIBUTIONS["normal"], DISTRIBUTIONS["uniform"]
    assert observe(seen(normal), 4).high < 0.8 * normal.max()
    assert observe(seen(uniform), 8).high > 0.97 * uniform.max()
    ends = find_observer("min-max")(seen(normal), 4)
    clipped = observe(seen(normal), 4)
    assert quantization_error(normal, clipped, 4) < 0.7 * quantization_error(normal, ends, 4)


def test_mse_does_not_count_zeros_that_were_seen_first() -> None:
    values = DISTRIBUTIONS["heavy"]
    zeros = np.zeros(len(values) * 3, np.float32)
    first, last = Histogram(), Histogram()
    for histogram, order in ((first, (zeros, values)), (last, (values, zeros))):
        for part in order:
            histogram.add(part)
    assert find_observer("mse")(first, 8) == find_observer("mse")(last, 8)
    assert find_observer("mse")(first, 8) == find_observer("mse")(seen(values), 8)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_min_max_is_everything_and_zero(name: str) -> None:
    values = DISTRIBUTIONS[name]
    found = find_observer("min-max")(seen(values), 8)
    assert found == Range(low=min(0, float(values.min())), high=max(0, float(values.max())))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentile_leaves_out_the_outermost(name: str) -> None:
    values = DISTRIBUTIONS[name]
    histogram = seen(values)
    found = find_observer("percentile")(histogram, 8)
    width = 2 * histogram.limit / len(histogram.counts)
    most = 0.0001 * len(values)
    assert np.sum(values > found.high + width) <= most
    assert np.sum(values < found.low - width) <= most
    # And no more is kept than that asks for.
    assert np.sum(values > found.high - 2 * width) >= most
    assert np.sum(values < found.low + 2 * width) >= most


def test_entropy_cuts_a_far_outlier_off_and_keeps_what_is_spread_evenly() -> None:
    observe = find_observer("entropy")
    normal = np.append(DISTRIBUTIONS["normal"], np.float32(60.0))
    assert 2.5 < observe(seen(normal), 8).high < 20
    assert observe(seen(DISTRIBUTIONS["uniform"]), 8).high > 2.8


def clusters(count: int, seed: int) -> Values:
    """Most values far from zero on one side, and some farther on the other."""
    random = np.random.default_rng(seed)
    near, far = random.normal(-4, 1, count), random.normal(9, 1, count)
    return np.where(random.random(count) < 0.9, near, far).astype(np.float32)


@pytest.mark.parametrize("count", [200, 500, 1000, 2000])
def test_entropy_of_few_values_clips_nothing(count: int) -> None:
    observe, everything = find_observer("entropy"), find_observer("min-max")
    for seed in range(40):
        values = clusters(count, seed)
        histogram = seen(values)
        assert is_sparse(histogram)
        assert observe(histogram, 8) == everything(histogram, 8)


def test_entropy_of_many_values_keeps_what_there_are_many_of() -> None:
    values = clusters(40_000, 0)
    assert not is_sparse(seen(values))
    found = find_observer("entropy")(seen(values), 8)
    assert found.high > 0.8 * values.max()
    # Zeros tell nothing of the others, however many there are.
    few = np.concatenate([values[:500], np.zeros(400_000, np.float32)])
    assert is_sparse(seen(few))


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_range_holds_zero_and_lies_within_what_was_seen(observer: str, bits: int) -> None:
    for values in DISTRIBUTIONS.values():
        found = find_observer(observer)(seen(values), bits)
        assert min(0, float(values.min())) <= found.low <= 0 <= found.high
        assert found.low < found.high <= max(0, float(values.max()))


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("values", [[], [0.0, 0.0], [3.0], [-2.0], [np.nan]])
def test_hardly_anything_seen(observer: str, values: list[float]) -> None:
    found = find_observer(observer)(seen(np.asarray(values, np.float32)), 8)
    finite = [value for value in values if np.isfinite(value)]
    assert found.low == pytest.approx(min([0.0, *finite]), rel=0.01)
    assert found.high == pytest.approx(max([0.0, *finite]), rel=0.01)


def test_an_unknown_observer() -> None:
    with pytest.raises(UsageError, match="no observer 'median'") as caught:
        find_observer("median")
    assert "min-max" in caught.value.hint
