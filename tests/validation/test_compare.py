"""The metrics of a comparison against formulas of NumPy, SciPy and scikit-learn, and what passes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial import distance

from edgeconv.signature import DType
from edgeconv.validation.compare import OutputComparison
from edgeconv.validation.tolerance import float_tolerance
from edgeconv.validation.verdict import OutputMetrics

Numbers: TypeAlias = NDArray[np.generic]
Case: TypeAlias = tuple[Numbers, Numbers]


def compare(cases: Sequence[Case], *, dtype: str = "", noise_floor: float = 0.0) -> OutputMetrics:
    """The metrics over some cases; the limits are those of the reference, as capture finds them."""
    wanted = [np.asarray(case[0]) for case in cases]
    parts = [np.stack([w.real, w.imag]) if w.dtype.kind == "c" else w for w in wanted]
    finite = np.concatenate([p.astype(np.float64)[np.isfinite(p)].reshape(-1) for p in parts])
    limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    comparison = OutputComparison(
        name="y",
        dtype=DType(dtype or wanted[0].dtype.name),
        noise_floor=noise_floor,
        limits=limits,
    )
    for index, (want, got) in enumerate(cases):
        comparison.add(f"case_{index}", np.asarray(want), np.asarray(got))
    return comparison.metrics()


def _f32(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def floats(
    width: Literal[32, 64] = 32, limit: float = 1e6
) -> st.SearchStrategy[NDArray[np.float32]]:
    return hnp.arrays(
        np.dtype(f"float{width}"),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
        elements=st.floats(-limit, limit, width=width, allow_subnormal=False),
    )


@st.composite
def pairs(draw: st.DrawFn) -> list[Case]:
    """Several cases, each an output and another one near it or far from it."""
    found: list[Case] = []
    for _ in range(draw(st.integers(1, 3))):
        wanted = draw(floats())
        scale = draw(st.sampled_from([0.0, 1e-6, 1e-2, 10.0]))
        noise = draw(hnp.arrays(np.float32, wanted.shape, elements=st.floats(-1, 1, width=32)))
        found.append((wanted, (wanted + np.float32(scale) * noise).astype(np.float32)))
    return found


@settings(deadline=None)
@given(cases=pairs())
def test_errors_are_those_of_numpy(cases: list[Case]) -> None:
    wanted = np.concatenate([w.ravel() for w, _ in cases]).astype(np.float64)
    got = np.concatenate([g.ravel() for _, g in cases]).astype(np.float64)
    metrics = compare(cases)
    assert metrics.max_abs_error == np.abs(wanted - got).max()
    assert metrics.mean_abs_error == pytest.approx(np.abs(wanted - got).mean(), rel=1e-12)
    if np.ptp(wanted):
        assert metrics.relative_error == np.abs(wanted - got).max() / np.ptp(wanted)


@settings(deadline=None)
@given(cases=pairs())
def test_the_cosine_is_the_smallest_of_scipys(cases: list[Case]) -> None:
    flat = [(w.ravel().astype(np.float64), g.ravel().astype(np.float64)) for w, g in cases]
    assume(all(np.linalg.norm(w) and np.linalg.norm(g) for w, g in flat))
    expected = min(1 - distance.cosine(w, g) for w, g in flat)
    assert compare(cases).cosine == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(cases=pairs())
def test_the_signal_to_noise_ratio_is_that_of_the_powers(cases: list[Case]) -> None:
    wanted = np.concatenate([w.ravel() for w, _ in cases]).astype(np.float64)
    noise = wanted - np.concatenate([g.ravel() for _, g in cases]).astype(np.float64)
    found = compare(cases).snr_db
    if not np.any(noise) or not np.any(wanted):
        assert found is None
    else:
        expected = 10 * np.log10(np.mean(wanted**2) / np.mean(noise**2))
        assert found == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(
    scores=hnp.arrays(np.float32, (6, 4), elements=st.floats(-5, 5, width=32)),
    others=hnp.arrays(np.float32, (6, 4), elements=st.floats(-5, 5, width=32)),
)
def test_top1_agreement_is_the_accuracy_of_scikit_learn(
    scores: NDArray[np.float32], others: NDArray[np.float32]
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    expected = metrics.accuracy_score(scores.argmax(1), others.argmax(1))
    assert compare([(scores, others)]).top1_agreement == pytest.approx(expected)


def test_one_snr_in_decibels_by_hand() -> None:
    """A tenth of the amplitude is a hundredth of the power: 20 dB."""
    assert compare([(np.array([1.0, -1.0]), np.array([1.1, -1.1]))]).snr_db == pytest.approx(20)


@settings(deadline=None)
@given(wanted=floats())
def test_an_output_equals_itself(wanted: NDArray[np.float32]) -> None:
    metrics = compare([(wanted, wanted.copy())])
    assert metrics.passed
    assert metrics.max_abs_error == metrics.mean_abs_error == metrics.relative_error == 0
    assert metrics.cosine == pytest.approx(1)
    assert metrics.snr_db is None
    assert metrics.top1_agreement in (1, None)


@settings(deadline=None)
@given(wanted=floats(), floor=st.floats(0, 1), share=st.floats(0, 4))
def test_an_error_passes_within_the_tolerance_and_not_beyond(
    wanted: NDArray[np.float32], floor: float, share: float
) -> None:
    values = wanted.astype(np.float64)
    largest = float(np.abs(values).max())
    tolerance = max(min(10 * floor, 0.1 * largest), 5e-6 * largest)
    got = values.copy()
    got.reshape(-1)[-1] += share * tolerance
    error = float(np.abs(got - values).max())
    metrics = compare([(values, got)], noise_floor=floor)
    assert metrics.tolerance == tolerance
    assert metrics.passed == (error <= tolerance)
    assert bool(metrics.reason) == (error > tolerance)


@pytest.mark.parametrize(
    ("floor", "largest", "expected"),
    [
        (0.0, 0.0, 0.0),
        (1e-6, 0.0, 0.0),
        (0.0, 2.0, 1e-5),
        (1e-5, 2.0, 1e-4),
        (1e-9, 2.0, 1e-5),
        (1, 2.0, 0.2),
    ],
)
def test_the_tolerance_by_hand(floor: float, largest: float, expected: float) -> None:
    assert float_tolerance(floor, largest) == pytest.approx(expected)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ([NAN, 1.0], [0.0, 1.0]),
        ([0.0, 1.0], [NAN, 1.0]),
        ([INF, 1.0], [-INF, 1.0]),
        ([INF, 1.0], [NAN, 1.0]),
        ([INF, 1.0], [3e38, 1.0]),
        ([3e38, 1.0], [INF, 1.0]),
    ],
)
@pytest.mark.parametrize("noise_floor", [0.0, 1e30])
def test_nan_and_inf_must_be_where_the_model_has_them(
    wanted: list[float], got: list[float], noise_floor: float
) -> None:
    metrics = compare([(_f32(wanted), _f32(got))], noise_floor=noise_floor)
    assert not metrics.passed
    assert "NaN or Inf" in metrics.reason


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_the_same_special_values_pass_and_do_not_hide_others(special: float) -> None:
    wanted = _f32([special, 1.0, 2.0])
    assert compare([(wanted, wanted.copy())]).passed
    wrong = compare([(wanted, _f32([special, 1.0, 2.1]))])
    assert not wrong.passed
    assert wrong.max_abs_error == pytest.approx(0.1, rel=1e-5)


def test_a_complex_output_is_compared_as_such() -> None:
    wanted = np.array([1 + 2j, 3 - 1j], np.complex64)
    assert compare([(wanted, wanted.copy())]).passed
    conjugate = compare([(wanted, wanted.conj())])
    assert not conjugate.passed
    assert conjugate.max_abs_error == pytest.approx(4)
    expected = np.vdot(wanted, wanted.conj()).real / np.linalg.norm(wanted) ** 2
    assert conjugate.cosine == pytest.approx(expected)
    nan = compare([(wanted, np.array([complex(NAN, 2), 3 - 1j], np.complex64))])
    assert "NaN" in nan.reason


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "bool"])
def test_integers_and_truth_values_must_be_the_same(dtype: str) -> None:
    wanted = np.array([0, 1, 1, 0]).astype(dtype)
    assert compare([(wanted, wanted.copy())]).passed
    got = np.array([0, 1, 0, 0]).astype(dtype)
    metrics = compare([(wanted, got)])
    assert not metrics.passed
    assert metrics.reason == "differs in 1 of 4 values"
    assert metrics.tolerance == 0


@pytest.mark.parametrize("value", [2**53, 2**63 - 2, -(2**63)])
def test_integers_that_float64_does_not_tell_apart_differ(value: int) -> None:
    wanted, got = np.array([value], np.int64), np.array([value + 1], np.int64)
    assert float(wanted[0]) == float(got[0])
    assert not compare([(wanted, got)]).passed


def test_integers_that_follow_from_rounding_may_flip_in_a_few_places() -> None:
    wanted = np.zeros(100, np.int64)
    few, many = wanted.copy(), wanted.copy()
    few[:10], many[:11] = 7, 7
    assert compare([(wanted, few)], noise_floor=0.01).passed
    assert not compare([(wanted, many)], noise_floor=0.01).passed


def test_never_more_than_half_of_the_integers_may_differ() -> None:
    wanted = np.zeros(10, np.int64)
    assert not compare([(wanted, wanted + 1)], noise_floor=1.0).passed


@pytest.mark.parametrize(
    ("shape", "other"), [((2, 3), (3, 2)), ((2, 3), (6,)), ((1,), ()), ((0,), (1,)), ((2,), (1,))]
)
def test_a_wrong_shape_fails(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    metrics = compare([(np.zeros(shape), np.zeros(other))], noise_floor=1e9)
    assert not metrics.passed
    assert f"has shape {list(other)}, not {list(shape)}" in metrics.reason


@pytest.mark.parametrize(
    ("dtype", "other"),
    [
        ("int64", "int32"),
        ("float32", "float64"),
        ("float32", "float16"),
        ("bool", "uint8"),
        ("float32", "int64"),
        ("complex64", "float32"),
        ("float32", "complex64"),
        ("int64", "complex64"),
    ],
)
def test_another_dtype_fails_whatever_the_values_are(dtype: str, other: str) -> None:
    wanted = np.ones(3, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = compare([(wanted, np.ones(3, other))], noise_floor=1e9)
    assert not metrics.passed
    assert metrics.reason == f"is {other}, not {dtype}"


def test_bfloat16_may_come_as_float32() -> None:
    values = _f32([0.5, 1.5])
    assert compare([(values, values.copy())], dtype="bfloat16").passed
    assert not compare([(values, values.astype(np.float16))], dtype="bfloat16").passed


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0)])
def test_an_empty_output_passes(dtype: str, shape: tuple[int, ...]) -> None:
    metrics = compare([(np.zeros(shape, dtype), np.zeros(shape, dtype))])
    assert metrics.passed
    assert metrics.max_abs_error == metrics.mean_abs_error == metrics.relative_error == 0
    assert metrics.cosine == 1
    assert metrics.snr_db is metrics.top1_agreement is None


@pytest.mark.parametrize(
    ("wanted", "got", "relative", "cosine", "passed"),
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0, 1.0, True),
        ([0.0, 0.0], [0.0, 1.0], 1.0, 0.0, False),
        ([4.0, 4.0], [4.0, 3.0], 0.25, 0.98994949, False),
        ([4.0], [4.0], 0.0, 1.0, True),
        ([4.0], [3.0], 0.25, 1.0, False),
        ([-2.0], [2.0], 2.0, -1.0, False),
        ([0.0], [0.0], 0.0, 1.0, True),
        ([1.0, 1.0], [0.0, 0.0], 1.0, 0.0, False),
    ],
)
def test_outputs_without_a_range_divide_by_nothing(
    wanted: list[float], got: list[float], relative: float, cosine: float, *, passed: bool
) -> None:
    with np.errstate(all="raise"):
        metrics = compare([(_f32(wanted), _f32(got))])
    assert metrics.relative_error == pytest.approx(relative)
    assert metrics.cosine == pytest.approx(cosine)
    assert metrics.passed == passed
    assert metrics.snr_db is None or math.isfinite(metrics.snr_db)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_extreme_values_keep_their_direction(scale: float) -> None:
    """Squares of these overflow or vanish in float64."""
    wanted, got = np.array([3.0, 4.0]) * scale, np.array([4.0, 3.0]) * scale
    assert compare([(wanted, got)]).cosine == pytest.approx(0.96)


@settings(deadline=None)
@given(
    case=st.tuples(floats(64, 1e308), floats(64, 1e308)).map(
        lambda pair: (pair[0], np.resize(pair[1], pair[0].shape))
    )
)
def test_no_metric_is_nan(case: Case) -> None:
    metrics = compare([case])
    numbers = [metrics.cosine, metrics.mean_abs_error, metrics.relative_error, metrics.tolerance]
    assert not any(math.isnan(number) for number in numbers)
    assert metrics.snr_db is None or math.isfinite(metrics.snr_db)
    assert -1 <= metrics.cosine <= 1


def test_classes_are_looked_for_in_scores_only() -> None:
    image = np.random.default_rng(0).random((1, 2, 3, 4))
    assert compare([(image, image)]).top1_agreement is None
    assert compare([(image[0], image[0])]).top1_agreement == 1
    assert compare([(image[0, 0], image[0, 0])]).top1_agreement == 1
    assert compare([(image[0, 0, 0], image[0, 0, 0])]).top1_agreement is None
    assert compare([(image[..., :1][0], image[..., :1][0])]).top1_agreement is None


def test_a_reason_is_told_once_for_all_cases() -> None:
    case = (np.ones(2, np.int64), np.ones(2, np.int32))
    assert compare([case, case]).reason == "is int32, not int64"
