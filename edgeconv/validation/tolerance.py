"""How far an output may be off: a multiple of the model's own noise, not a constant.

Two correct float32 implementations of a model differ in the order of their sums, so each is about one noise floor
(the distance between the model in float32 and in float64) from the truth and up to two from one another. Kernels that
reassociate more (Winograd convolutions, blocked matrix products, vectorized approximations of exp and tanh with an
error of a few units in the last place) reach several floors, and the floor itself is a maximum over a few samples
only; ten leaves room for that. A model that is exact in float32 has a floor near 0: there the smallest tolerance is
5e-6 of the output's magnitude, about 40 units in the last place, which approximations of transcendental functions keep.

However much a model's own noise, nothing passes that is off by more than a tenth of the output's magnitude: where float32 and
float64 are so far apart (a model that draws random numbers under a fixed seed, or takes another way for another dtype),
their distance says nothing about rounding.

Integers and truth values do not round: they are the same, or they are wrong. Only where they follow from rounded numbers
(an argmax over two scores that are nearly the same) may some flip; their noise floor is the share that flips between
float32 and float64, and the same multiple of it may differ, but never more than half.

A quantized artifact is off by far more than rounding, by design: it is judged by how much of the signal is left, on real samples
alone. Noise lies outside of the ranges that were calibrated, where integers saturate: an int8 network with 40 dB on digits
has 2 dB on noise. What is lost depends on the network more than on the numbers, so that the minimums below tell a
damaged artifact, or one of other weights (0 dB and less), from one that is quantized, and not a good one from a better one:
that is what a metric on labelled data is for. Of each bit 6 dB are what rounding alone leaves (Bennett, "Spectra of
Quantized Signals", 1948); some tens of layers on end, whose noise adds up, leave about half of that. The sample models keep, at
the least: fp16 61 dB, int16x8 35, int8-weights 44, int8-dynamic 30, int8 29, int4-weights 18; networks that are deeper or
harder to quantize keep less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = [
    "FLOOR_MULTIPLE",
    "LARGEST_FRACTION",
    "LARGEST_SHARE",
    "QUANTIZED",
    "QUIET_FRACTION",
    "RANGE_FRACTION",
    "SignalTolerance",
    "float_tolerance",
    "share_tolerance",
    "signal_tolerance",
]

FLOOR_MULTIPLE = 10.0
RANGE_FRACTION = 5e-6
LARGEST_FRACTION = 0.1
LARGEST_SHARE = 0.5
QUIET_FRACTION = 0.1
"""A sample whose output stays below this share of the largest output has no direction of its own: its cosine is not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalTolerance:
    """How much of an output must be left after quantization.

    Attributes:
        min_snr_db: The least signal-to-noise ratio over all samples.
        min_cosine: The least cosine similarity of any sample that is not all but silent.
        max_share: The largest share of integers or truth values that may differ: they follow from rounded numbers.
    """

    min_snr_db: float
    min_cosine: float
    max_share: float


def _tolerance(min_snr_db: float, min_cosine: float, max_share: float) -> SignalTolerance:
    return SignalTolerance(min_snr_db=min_snr_db, min_cosine=min_cosine, max_share=max_share)


QUANTIZED: Mapping[str, SignalTolerance] = MappingProxyType(
    {
        # 11 significant bits, 66 dB at each operator; activations stay floats, so that none saturates.
        "fp16": _tolerance(35.0, 0.995, 0.1),
        # Activations round as finely as in fp16, weights to 8 bits: 48 dB at each operator.
        "int16x8": _tolerance(20.0, 0.95, 0.2),
        "int8-weights": _tolerance(20.0, 0.95, 0.2),
        # Activations have 8 bits too, over the range that each has just then.
        "int8-dynamic": _tolerance(15.0, 0.9, 0.25),
        # Over the range that was calibrated: what exceeds it saturates.
        "int8": _tolerance(10.0, 0.85, 0.25),
        # 15 levels, 24 dB at each operator.
        "int4-weights": _tolerance(7.0, 0.7, 0.5),
    }
)
"""By recipe; blocks of weights of all sizes are under one name."""


def signal_tolerance(precision: str) -> SignalTolerance:
    """What an artifact of this recipe must keep; of a recipe that is not known, the least of all.

    Args:
        precision: Name of the recipe, other than `float32`.
    """
    return QUANTIZED.get(precision.partition("-b")[0], QUANTIZED["int4-weights"])


def float_tolerance(noise_floor: float, largest: float) -> float:
    """The largest absolute error that a float32 output may have.

    Args:
        noise_floor: Largest distance of the output in float32 and in float64.
        largest: Largest magnitude of the output over all samples.
    """
    noise = min(FLOOR_MULTIPLE * noise_floor, LARGEST_FRACTION * largest)
    return max(noise, RANGE_FRACTION * largest)


def share_tolerance(noise_floor: float) -> float:
    """The largest share of an output's integers or truth values that may differ.

    Args:
        noise_floor: The share that flips between float32 and float64.
    """
    return min(FLOOR_MULTIPLE * noise_floor, LARGEST_SHARE)
